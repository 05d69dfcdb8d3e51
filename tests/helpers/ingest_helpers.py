"""Repositories to ingest into, and what is stored in them afterwards."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from astro_metadata_translator.file_helpers import read_file_info
from astro_metadata_translator.indexing import calculate_index
from astropy.io import fits
from astropy.table import Table
from click.testing import Result
from lsst.daf.butler import Butler, DimensionRecord, MissingCollectionError, MissingDatasetTypeError
from lsst.daf.butler.cli.utils import LogCliRunner

from butler_visits.cli.program import butler_visits
from butler_visits.instruments.description import InstrumentDescription
from postgres import Cluster
from simulated_raws import describe
from simulated_survey import INSTRUMENT, night

DESCRIPTION: Final = InstrumentDescription.from_mapping(describe(), "the simulated instrument")
RUN: Final = f"{INSTRUMENT}/raw/all"

ELEMENTS: Final = ("instrument", "physical_filter", "detector", "day_obs", "group", "exposure")

SUMMARY_FIELDS: Final = ("n_files", "n_ingested", "n_skipped", "n_failed", "n_datasets", "n_exposures")


def cluster_of(request: pytest.FixtureRequest) -> Cluster | None:
    """Return the PostgreSQL cluster where a test runs with both databases and has come to PostgreSQL."""
    if "database" not in request.fixturenames or request.getfixturevalue("database") == "sqlite":
        return None
    cluster: Cluster = request.getfixturevalue("postgres")
    return cluster


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
        (ref.dataId["exposure"], ref.dataId["detector"], str(ref.id), uri is not None and uri.exists())
        for ref in refs
        for uri in [uris[ref].primaryURI]
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


BEGINS = ["2026-04-01T23:15:00", "2026-04-01T23:16:00.5", "2026-04-02T00:03:00"]


def small(**columns: Any) -> Table:
    """Make a table with what must be there, and more; columns that are `None` are left out."""
    given = {"exposure_id": [1, 2, 3], "datetime_begin": BEGINS, "physical_filter": ["g", "r", "g"], **columns}
    return Table({name: column for name, column in given.items() if column is not None})


_STRUCTURE = ("NAXIS", "TTYPE", "TFORM", "ZNAXIS", "ZTILE", "ZNAME", "ZVAL")
_STRUCTURAL = frozenset(
    {
        *("SIMPLE", "XTENSION", "BITPIX", "EXTEND", "PCOUNT", "GCOUNT", "TFIELDS", "NEXTEND", "BSCALE", "BZERO"),
        *("BLANK", "CHECKSUM", "DATASUM", "INHERIT", "COMMENT", "HISTORY", ""),
        *("ZIMAGE", "ZBITPIX", "ZCMPTYPE", "ZQUANTIZ", "ZSIMPLE", "ZTENSION", "ZPCOUNT", "ZGCOUNT"),
    }
)


def write_header(header: Any, path: Path) -> None:
    """Write a FITS file with a small image and all of a header's cards that are not about the image."""
    cards = fits.Header()
    for key, value in header.items():
        if key in _STRUCTURAL or key.startswith(_STRUCTURE) or isinstance(value, list):
            continue
        cards[key] = value
    fits.PrimaryHDU(np.zeros((4, 5), dtype=np.int16), cards).writeto(path, output_verify="silentfix")


OLD: Final = 1_700_000_000
"""When raws were written that are older than their index, seconds since 1970."""


def age(folder: Path) -> None:
    """Let raws be older than what is written now."""
    for file in folder.rglob("*.fits*"):
        os.utime(file, (OLD, OLD))


def make_unreadable(files: Iterable[Path]) -> None:
    """Replace the content of files by noise of the same size, so that reading one of them is an error."""
    for file in files:
        file.write_bytes(b"\xff" * file.stat().st_size)
        os.utime(file, (OLD, OLD))


def write_index(folder: Path, content: str, hdu: int = -1) -> None:
    """Write the index of a folder, as astrometadata does where Rubin's stack is installed."""
    files = sorted(path for path in folder.iterdir() if ".fits" in path.name)
    entries: dict[str, Any] = {path.name: read_file_info(path, hdu, None, content, "simple") for path in files}
    index = calculate_index({name: dict(entry) for name, entry in entries.items()}, content)
    (folder / "_index.json").write_text(json.dumps(index))
