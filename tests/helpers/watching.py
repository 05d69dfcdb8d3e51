"""Watches that run in a thread while a test lets files arrive, and what must be in the repository in the end."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from astropy.io import fits
from lsst.daf.butler import Butler

from butler_visits import DefineVisitsTask
from butler_visits.config import make_config
from butler_visits.ingest import ingest_raws
from butler_visits.repository import fetch_exposures
from butler_visits.repository.instruments import register_instrument
from butler_visits.watch.settings import Settings
from butler_visits.watch.watcher import Watcher
from fitted_visits import tables
from ingest_helpers import DESCRIPTION, science, stored
from simulated_raws import raw_header, write_raws
from simulated_survey import INSTRUMENT, night
from templates import make_repository

QUICK: Final[Mapping[str, Any]] = {
    "batch": 0.02,
    "settle": 0.1,
    "first_wait": 0.05,
    "longest_wait": 0.2,
    "images": None,
}
"""Waits that are short enough for a test."""

LONGEST: Final = 60.0
"""Seconds after which what a test waits for will not come any more."""


class Watching:
    """A watch that runs in a thread."""

    def __init__(self, repository: Path, *sources: object, **settings: Any) -> None:
        self.lines: list[str] = []
        self.states: list[str] = []
        extra = {name: settings.pop(name) for name in ("shows", "standard_input") if name in settings}
        extra["shows"] = [*extra.get("shows", ()), lambda tally: self.states.append(tally.state)]
        self.watcher = Watcher(
            lambda: Butler.from_config(str(repository), writeable=True),
            str(repository),
            list(map(str, sources)),
            Settings(**{**QUICK, **settings}),
            say=self.lines.append,
            **extra,
        )
        self.tally = self.watcher.tally
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.watcher.run()
        except BaseException as error:
            self._error = error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def until(self, condition: Callable[[], object], longest: float = LONGEST) -> None:
        """Wait until something is so."""
        end = time.monotonic() + longest
        while not condition():
            assert self._thread.is_alive(), f"the watch has ended: {self._error or self.tally}"
            assert time.monotonic() < end, f"it does not come: {self.tally}, {self.lines}"
            time.sleep(0.01)

    def until_idle(self) -> None:
        """Wait until all that was there at the beginning is taken."""
        self.until(lambda: self.tally.state == "watching")

    def until_visits(self, number: int) -> None:
        """Wait until so many visits are defined."""
        self.until(lambda: self.tally.visits >= number)

    def join(self) -> None:
        """Wait until it ends by itself."""
        self._thread.join(LONGEST)
        assert not self._thread.is_alive(), f"it does not end: {self.tally}, {self.lines}"
        if self._error is not None:
            raise self._error

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.watcher.stop()
        self._thread.join(LONGEST)
        if error is None:
            self.join()


def once(repository: Path, *sources: object, **settings: Any) -> Watching:
    """Let a watch take what is there, and end."""
    with Watching(repository, *sources, once=True, **settings) as watching:
        watching.join()
    return watching


def repository_of(path: Path, **options: Any) -> Path:
    """Make a repository that knows the simulated instrument and its camera."""
    butler = make_repository(path, _described, **options)
    butler.close()
    return path


def _described(butler: Butler) -> None:
    register_instrument(butler, DESCRIPTION)


def raws(folder: Path, n: int = 3, **options: Any) -> list[Path]:
    """Write raws of exposures of the sky."""
    return write_raws(folder, science(n), **options)


def many_raws(folder: Path, n: int) -> list[Path]:
    """Write raws of nine detectors of each exposure of a night, much faster than astropy does."""
    folder.mkdir(parents=True)
    structure = fits.Header([("SIMPLE", True), ("BITPIX", 16), ("NAXIS", 2), ("NAXIS1", 4), ("NAXIS2", 4)])
    files = []
    for exposure in night(n):
        header = structure.copy()
        header.extend(raw_header(exposure).cards)
        header["CCDNUM"] = 0
        before, after = (header.tostring() + "\0" * 2880).encode().split(fits.Card("CCDNUM", 0).image.encode())
        for detector in range(9):
            files.append(folder / f"{exposure['obs_id']}_{detector:03d}.fits")
            files[-1].write_bytes(before + fits.Card("CCDNUM", detector).image.encode() + after)
    return files


def arrive(file: Path, folder: Path, name: str = "") -> Path:
    """Let a file arrive as programs should do it: under another name first."""
    target = folder / (name or file.name)
    partial = folder / f".{target.name}.partial"
    shutil.copyfile(file, partial)
    os.rename(partial, target)
    return target


def everything(butler: Butler | Path) -> dict[str, Any]:
    """Read all that a watch writes."""
    if isinstance(butler, Path):
        butler = Butler.from_config(str(butler))
    return {**stored(butler), **tables(butler)}


def undisturbed(folder: Path, files: Iterable[Path], **options: Any) -> dict[str, Any]:
    """Return what one ingest of all files stores, and one definition of their visits."""
    butler = make_repository(folder, _described, **options)
    result = ingest_raws(butler, list(files), images=None)
    exposures = fetch_exposures(butler, INSTRUMENT, result.exposures[INSTRUMENT]).values()
    DefineVisitsTask(make_config(butler, INSTRUMENT), butler=butler).run(exposures, incremental=True)
    found = everything(butler)
    butler.close()
    return found


def n_visits(repository: Path) -> int:
    """Count the visits that are stored."""
    return len(everything(repository)["visit"])
