"""Repositories to ingest into, and what is stored in them afterwards."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from click.testing import Result
from lsst.daf.butler import Butler, DimensionRecord, MissingCollectionError, MissingDatasetTypeError
from lsst.daf.butler.cli.utils import LogCliRunner

from butler_visits.cli.program import butler_visits
from butler_visits.ingest import InstrumentDescription
from simulated_raws import describe
from simulated_survey import INSTRUMENT, night

DESCRIPTION: Final = InstrumentDescription.from_mapping(describe(), "the simulated instrument")
RUN: Final = f"{INSTRUMENT}/raw/all"

ELEMENTS: Final = ("instrument", "physical_filter", "detector", "day_obs", "group", "exposure")

SUMMARY_FIELDS: Final = ("n_files", "n_ingested", "n_skipped", "n_failed", "n_datasets", "n_exposures")


def science(n: int) -> list[dict[str, Any]]:
    """Take a few exposures of the sky."""
    return [one for one in night(2 * n + 5) if one["observation_type"] == "science"][:n]


def summary(result: Any) -> tuple[int, ...]:
    """Return the numbers of a result: files, ingested, skipped, failed, datasets, exposures."""
    return tuple(getattr(result, name) for name in SUMMARY_FIELDS)


def records(butler: Butler, element: str) -> list[DimensionRecord]:
    """Read all records of an element, of all instruments."""
    with butler.query() as query:
        return sorted(query.dimension_records(element), key=lambda record: str(record.dataId))


def stored(butler: Butler, run: str = RUN) -> dict[str, Any]:
    """Read all that an ingest writes, so that two repositories can be compared."""
    known = [element for element in ELEMENTS if element in butler.dimensions.elements.names]
    found: dict[str, Any] = {element: [record.toDict() for record in records(butler, element)] for element in known}
    try:
        with butler.query() as query:
            refs = list(query.datasets("raw", run))
    except (MissingCollectionError, MissingDatasetTypeError):
        refs = []
    uris = butler.get_many_uris(refs)
    found["raw"] = sorted(
        (ref.dataId["exposure"], ref.dataId["detector"], str(ref.id), uris[ref].primaryURI.exists()) for ref in refs
    )
    return found


def files_in(folder: Path) -> list[Path]:
    """List the files in a folder and all folders in it."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def run_command(*arguments: object) -> Result:
    """Run ``butler-visits`` in this process; unexpected exceptions are left in the result."""
    return LogCliRunner().invoke(butler_visits, [str(argument) for argument in arguments])


def reasons(result: Any, names: Iterable[str]) -> dict[str, str]:
    """Return the reason of the failure of each file, by its name."""
    return {name: next(str(one) for one in result.failures if name in one.source) for name in names}
