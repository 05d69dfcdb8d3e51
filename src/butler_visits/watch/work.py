"""What is done with files: they are ingested, and the visits of their exposures defined, with everything warm."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from lsst.daf.butler import Butler, DimensionRecord

from ..config import make_config
from ..ingest.choice import choose_instrument
from ..ingest.datasets import stored_raws
from ..ingest.files import FoundFiles
from ..ingest.raws import RawIngest
from ..ingest.result import IngestFailure
from ..lists import reason_of
from ..raws.headers import THREADS
from ..repository import fetch_exposures, fetch_exposures_without_visit, fetch_instrument, fetch_instruments
from ..task import DefineVisitsTask
from .memory import Taken
from .settings import MOST_FILES, Settings
from .trouble import is_database_trouble

_LOG = logging.getLogger(__name__)

_T = TypeVar("_T")

Exposure = tuple[str, int]
"""An exposure's instrument and id."""


@dataclass
class Ingested:
    """What became of files."""

    files: dict[str, tuple[str, int, tuple[int, ...]]] = field(default_factory=dict)
    """By place those that are in the repository: instrument, exposure and detectors."""

    exposures: dict[str, list[int]] = field(default_factory=dict)
    """By instrument the exposures that they show."""

    n_files: int = 0
    n_exposures: int = 0
    """How many of these were not there before."""

    failures: list[IngestFailure] = field(default_factory=list)


@dataclass
class Defined:
    """What became of exposures."""

    n_visits: int = 0
    """Visits that are new."""

    last: DimensionRecord | None = None
    failures: dict[int, str] = field(default_factory=dict)
    """By exposure why it has no visit, or not the one that it should have."""


class Work:
    """Ingests files and defines visits: one Butler, one task for each instrument."""

    def __init__(self, butler: Butler, settings: Settings) -> None:
        self.butler = butler
        self._settings = settings
        self._tasks: dict[str, DefineVisitsTask] = {}
        self.renew()
        for instrument in self._instruments():
            # What is wrong with a config is to be said now.
            self._task(instrument)

    def renew(self) -> None:
        """Learn what the repository has come to know of instruments."""
        settings = self._settings
        choice = choose_instrument(self.butler, settings.instrument, translator=settings.translator)
        self._ingest = RawIngest(
            self.butler,
            choice,
            settings.transfer,
            settings.output_run,
            THREADS,
            # Whether a file is whole says the file alone.
            index=False,
            skip_errors=True,
            update_records=False,
            images=settings.images,
            dry_run=False,
            may_grow=True,
        )
        self._choice = choice

    def _instruments(self) -> list[str]:
        known = fetch_instruments(self.butler)
        return [name for name in known if self._choice.name in (None, name)]

    def _task(self, instrument: str) -> DefineVisitsTask:
        if instrument not in self._tasks:
            config = make_config(self.butler, instrument, self._settings.config_file, self._settings.config)
            self._tasks[instrument] = DefineVisitsTask(config, butler=self.butler)
        return self._tasks[instrument]

    def ingest(self, places: Sequence[str]) -> Ingested:
        """Ingest files."""
        whole = Ingested()
        _item_by_item(lambda some: self._ingest_together(some, whole), places, whole.failures)
        return whole

    def _ingest_together(self, places: Sequence[str], whole: Ingested) -> None:
        result = self._ingest.run(FoundFiles(list(places), []), MOST_FILES)
        for (instrument, exposure), files in self._ingest.seen.items():
            whole.files |= {place: (instrument, exposure, detectors) for place, detectors in files}
        for instrument, exposures in result.exposures.items():
            whole.exposures.setdefault(instrument, []).extend(exposures)
        whole.n_files += result.n_ingested
        whole.n_exposures += result.n_exposures
        whole.failures += result.failures

    def define(self, instrument: str, exposures: Sequence[int]) -> Defined:
        """Define the visits of exposures."""
        whole = Defined()
        failures: list[IngestFailure] = []
        _item_by_item(lambda some: self._define_together(instrument, some, whole), exposures, failures)
        whole.failures |= {int(failure.source): failure.reason for failure in failures}
        return whole

    def _define_together(self, instrument: str, exposures: Sequence[int], whole: Defined) -> None:
        records = fetch_exposures(self.butler, instrument, exposures)
        if not records:
            return
        collections = self._settings.collections
        result = self._task(instrument).run(
            records.values(), collections=collections, incremental=True, on_error="skip"
        )
        whole.n_visits += result.n_new
        whole.last = records[max(records)]
        for failure in result.failures:
            whole.failures.update(dict.fromkeys(failure.exposures, failure.reason))

    def undefined(self) -> list[Exposure]:
        """Find exposures that are in no visit."""
        return [
            (instrument, exposure)
            for instrument in self._instruments()
            for exposure in fetch_exposures_without_visit(self.butler, instrument)
        ]

    def not_stored(self, files: Iterable[Taken]) -> list[str]:
        """Find the files of which the repository lacks a raw."""
        by_instrument: dict[str, list[Taken]] = defaultdict(list)
        for file in files:
            by_instrument[file.instrument].append(file)
        known = fetch_instruments(self.butler)
        lost: list[str] = []
        for instrument, some in by_instrument.items():
            stored: Collection[tuple[int, int]] = ()
            if instrument in known:
                run = self._settings.output_run
                run = run or fetch_instrument(self.butler, instrument).makeDefaultRawIngestRunName()
                stored = stored_raws(self.butler, run, instrument, {one.exposure for one in some})
            lost += [one.place for one in some if any((one.exposure, id_) not in stored for id_ in one.detectors)]
        return lost


def _item_by_item(call: Callable[[Sequence[_T]], None], items: Sequence[_T], failures: list[IngestFailure]) -> None:
    """Call a function with all items, or with ever fewer until those are found for which it fails.

    What one file or exposure provokes, be it a mistake of ours or of a translator, must not keep the others waiting.
    """
    try:
        call(items)
    except Exception as error:
        if is_database_trouble(error):
            raise
        if len(items) > 1:
            half = len(items) // 2
            _item_by_item(call, items[:half], failures)
            _item_by_item(call, items[half:], failures)
            return
        _LOG.exception("%s failed in a way that was not foreseen.", items[0])
        failures.append(IngestFailure(str(items[0]), reason_of(error), type(error)))
