"""Values of tables that are missing, in another time scale or of another range."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable, Table
from astropy.time import Time
from astropy.utils.masked import Masked
from lsst.daf.butler import Butler

from butler_visits.errors import IngestError
from butler_visits.ingest import ingest_table
from ingest_helpers import DESCRIPTION, records, run_command
from templates import make_repository

BEGIN = "2026-04-01T23:15:00"
MJD = 61131.96875
LEAP_SECONDS = 37


@pytest.fixture
def butler(tmp_path: Path) -> Butler:
    """Create an empty repository."""
    return make_repository(tmp_path / "repository")


def small(**columns: Any) -> dict[str, Any]:
    return {"exposure_id": [1, 2, 3], "physical_filter": ["g", "r", "g"], **columns}


def shifts(butler: Butler) -> list[float]:
    """Return how long after `BEGIN`, as UTC, the exposures began."""
    first = Time(BEGIN, scale="utc").unix_tai
    return [one.timespan.nsec[0] / 1e9 - first for one in records(butler, "exposure")]


@pytest.mark.parametrize("ending", ["fits", "ecsv"])
@pytest.mark.parametrize("begin", [BEGIN, MJD])
@pytest.mark.parametrize(
    ("timesys", "scale", "shift"),
    [("TAI", None, -LEAP_SECONDS), ("IAT", None, -LEAP_SECONDS), ("UTC", None, 0), ("TAI", "utc", 0), ("X", "utc", 0)],
)
def test_timesys(
    butler: Butler, tmp_path: Path, ending: str, begin: Any, timesys: str, scale: str | None, shift: float
) -> None:
    path = tmp_path / f"a.{ending}"
    Table(small(begin=[begin] * 3), meta={"TIMESYS": timesys}).write(path)
    ingest_table(butler, path, "NewCam", time_scale=scale)
    assert shifts(butler) == pytest.approx([shift] * 3, abs=1e-4)


@pytest.mark.parametrize(("options", "shift"), [((), -LEAP_SECONDS), (("--time-scale", "utc"), 0)])
def test_timesys_in_the_command(tmp_path: Path, options: tuple[str, ...], shift: float) -> None:
    Table(small(begin=[BEGIN] * 3), meta={"TIMESYS": "TAI"}).write(tmp_path / "a.fits")
    result = run_command("ingest-table", tmp_path / "repo", tmp_path / "a.fits", "--instrument", "NewCam", *options)
    assert result.exit_code == 0, result.output
    assert shifts(Butler.from_config(tmp_path / "repo")) == pytest.approx([shift] * 3, abs=1e-4)


def test_timesys_that_is_not_known(butler: Butler) -> None:
    table = Table(small(begin=[BEGIN] * 3), meta={"TIMESYS": "LOCAL"})
    with pytest.raises(
        IngestError, match=r"TIMESYS in the metadata is 'LOCAL'; expected one of utc, tai, tt\. Say with"
    ):
        ingest_table(butler, table, "NewCam")


@pytest.mark.parametrize("kind", [Table, QTable])
@pytest.mark.parametrize(("scale", "shift"), [("utc", 0), ("tai", -LEAP_SECONDS)])
def test_fits_columns_of_times(butler: Butler, tmp_path: Path, kind: type[Table], scale: str, shift: float) -> None:
    table = kind(small(begin=Time([BEGIN] * 3, scale=scale), exptime=[0.5, 1.0, 2.0] * u.min))
    table["end"] = table["begin"] + [30, 60, 120] * u.s
    table["end"][1] = np.ma.masked
    table.write(tmp_path / "a.fits")
    ingest_table(butler, tmp_path / "a.fits", "NewCam")
    assert shifts(butler) == pytest.approx([shift] * 3, abs=1e-6)
    found = records(butler, "exposure")
    assert [one.timespan.nsec[1] - one.timespan.nsec[0] for one in found] == pytest.approx([30e9, 60e9, 120e9], abs=100)
    assert [one.exposure_time for one in found] == [30.0, 60.0, 120.0]


def test_times_that_astropy_cannot_read(butler: Butler, tmp_path: Path) -> None:
    Table(small(begin=Time([BEGIN] * 3))).write(tmp_path / "a.fits")
    fits.setval(tmp_path / "a.fits", "TIMESYS", value="X", ext=1)
    with pytest.raises(IngestError, match=r"column begin: each row has an array of shape \(2,\); expected one value"):
        ingest_table(butler, tmp_path / "a.fits", "NewCam", time_scale="utc")


@pytest.mark.parametrize("frame", ["icrs", "fk5"])
@pytest.mark.parametrize("masked", [False, True])
def test_coordinates_that_are_missing(butler: Butler, frame: str, masked: bool) -> None:
    ra, dec = np.array([10.0, np.nan, 30.0]), np.array([1.0, 2.0, np.nan])
    if masked:
        ra, dec = (Masked(np.nan_to_num(one), mask=[False, True, True]) for one in (ra, dec))
    table = Table(small(begin=[BEGIN] * 3, tracking_radec=SkyCoord(ra * u.deg, dec * u.deg, frame=frame)))
    ingest_table(butler, table, "NewCam")
    found = [(one.tracking_ra, one.tracking_dec) for one in records(butler, "exposure")]
    assert found[0] == pytest.approx((10.0, 1.0), abs=1e-4)
    assert found[1:] == [(None, None), (None, None)]


def test_largest_exposure_id(butler: Butler) -> None:
    description = DESCRIPTION.model_copy(update={"exposure_max": 100})
    table = Table(small(exposure_id=[1, 2, 100], begin=[BEGIN] * 3))
    assert ingest_table(butler, table, description).n_ingested == 3
    table["exposure_id"][2] = 101
    for instrument in (description, description.name):
        with pytest.raises(IngestError, match=r"row 3, column exposure_id: 101 is out of range; expected 0 to 100\."):
            ingest_table(butler, table, instrument)
