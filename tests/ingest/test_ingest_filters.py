"""Filters that a description lacks are said once, for all files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lsst.daf.butler import Butler

from butler_visits.errors import IngestError
from butler_visits.ingest import ingest_raws
from example_raws import describe, write_hillcam
from ingest_helpers import records
from templates import make_repository

MYCAM = describe()
"""Its only filter is V."""


@pytest.fixture
def butler(tmp_path: Path) -> Butler:
    return make_repository(tmp_path / "repo")


def write(folder: Path, *filters: Any) -> None:
    folder.mkdir()
    for number, name in enumerate(filters):
        cards = {"INSTRUME": "MyCam", "DATE-OBS": f"2026-04-01T23:14:{number:02d}"}
        write_hillcam(folder / f"{number}.fits", FILTER=name, **cards)


def test_in_one_message(butler: Butler, tmp_path: Path) -> None:
    write(tmp_path / "raws", "V", "OIII", "Ha", "V", "OIII", None, "SII", "OIII")
    (tmp_path / "raws" / "9.fits").write_text("This is no FITS file, which is said when the filters are there.")
    with pytest.raises(IngestError) as error:
        ingest_raws(butler, [tmp_path / "raws"], instrument=MYCAM)
    raws = tmp_path / "raws"
    assert str(error.value) == (
        f"6 files have filters that the description lacks: 'Ha' (1, first in {raws}/2.fits), 'OIII' (3, first in "
        f"{raws}/1.fits), 'SII' (1, first in {raws}/6.fits), none (1, first in {raws}/5.fits); add them to filters or "
        "to the map of properties.physical_filter, or give that a default or default_off_sky for files that have none."
    )
    assert not records(butler, "exposure")


def test_of_one_file(butler: Butler, tmp_path: Path) -> None:
    """The message of one says what is in its header."""
    write(tmp_path / "raws", "V", "Ha", "V")
    with pytest.raises(IngestError, match=r"1\.fits: Property physical_filter of instrument MyCam \(FILTER\): 'Ha'"):
        ingest_raws(butler, [tmp_path / "raws"], instrument=MYCAM)


def test_each_where_files_are_skipped(butler: Butler, tmp_path: Path) -> None:
    write(tmp_path / "raws", "V", "Ha", "SII")
    result = ingest_raws(butler, [tmp_path / "raws"], instrument=MYCAM, on_error="skip")
    assert (result.n_ingested, result.n_failed) == (1, 2)
