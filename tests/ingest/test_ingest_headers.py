"""Real headers become exposures that hold what the headers say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from astro_metadata_translator.tests import read_test_file
from lsst.daf.butler import Butler, DimensionRecord

from butler_visits import DefineVisitsTask
from butler_visits.ingest import ingest_raws
from butler_visits.repository.write_camera import write_camera
from ingest_helpers import write_header
from simulated_survey import camera
from templates import make_repository


def sexagesimal(text: str) -> float:
    """Return the value of a text such as -13:36:23.8."""
    parts = [abs(float(part)) for part in text.split(":")]
    return (-1 if text.startswith("-") else 1) * (parts[0] + parts[1] / 60 + parts[2] / 3600)


def nsec(text: str, leap_seconds: int) -> int:
    """Return the TAI nanoseconds since 1970 of a time, which is so many seconds ahead of UTC."""
    whole, _, fraction = text.partition(".")
    seconds = (datetime.fromisoformat(whole) - datetime(1970, 1, 1)) / timedelta(seconds=1) + leap_seconds
    return round(seconds) * 1_000_000_000 + int(fraction.ljust(9, "0"))


@dataclass(frozen=True)
class Expected:
    """What a header says, taken from it by hand."""

    instrument: str
    detector: tuple[int, str]
    band: str
    begin: Callable[[Any], int]
    end: Callable[[Any], int]
    pointing: Callable[[Any], tuple[float, float]]
    sky_angle: float
    """Of HSC and MegaPrime from the header; what the others have on the sky is known."""
    horizontal: Callable[[Any], tuple[float, float]]
    """Azimuth and zenith angle."""
    fields: dict[str, str] = field(default_factory=dict)
    """Keys of other fields."""
    constants: dict[str, Any] = field(default_factory=dict)


def decam(
    detector: tuple[int, str],
    band: str,
    leap_seconds: int,
    end: Callable[[Any], int],
    shift: tuple[float, float] | None = None,
) -> Expected:
    def pointing(header: Any) -> tuple[float, float]:
        if shift is not None:
            # Pointings of this programme are known to be wrong, and are corrected by astro_metadata_translator.
            return sexagesimal(header["RA"]) * 15 + shift[0], sexagesimal(header["DEC"]) + shift[1]
        return sexagesimal(header["TELRA"]) * 15, sexagesimal(header["TELDEC"])

    return Expected(
        "DECam",
        detector,
        band,
        lambda header: nsec(header["DATE-OBS"], leap_seconds),
        end,
        pointing,
        90.0,
        lambda header: (header["AZ"], header["ZD"]),
        {"id": "EXPNUM", "obs_id": "OBSID", "physical_filter": "FILTER", "dark_time": "DARKTIME"},
    )


EXPECTED = {
    "fitsheader-decam-instcal-c4d_190402_050618_ooi_VR_v1": decam(
        (1, "S29"), "VR", 37, lambda header: nsec(header["DATE-OBS"], 37) + round(header["EXPTIME"] * 1e9)
    ),
    "fitsheader-decam-raw_dec050441_25": decam(
        (25, "S1"), "g", 35, lambda header: nsec(header["DTUTC"], 35), shift=(-0.027417, -0.002833)
    ),
    "fitsheader-decam": decam((25, "S1"), "z", 35, lambda header: nsec(header["DTUTC"], 35)),
    "fitsheader-hsc": Expected(
        "HSC",
        (50, "1_12"),
        "i",
        lambda header: nsec(f"{header['DATE-OBS']}T{header['UT-STR']}", 35),
        lambda header: nsec(f"{header['DATE-OBS']}T{header['UT-END']}", 35),
        lambda header: (sexagesimal(header["RA2000"]) * 15, sexagesimal(header["DEC2000"])),
        270.0,
        lambda header: (header["AZIMUTH"], 90 - header["ALTITUDE"]),
        {"obs_id": "EXP-ID"},
        {"id": 904024, "physical_filter": "HSC-I"},
    ),
    "fitsheader-megaprime": Expected(
        "MegaPrime",
        (2, "ccd02"),
        "i",
        lambda header: nsec(f"{header['DATE-OBS']}T{header['UTC-OBS']}", 33),
        lambda header: nsec(f"{header['DATE-OBS']}T{header['UTCEND']}", 33),
        lambda header: (header["RA_DEG"], header["DEC_DEG"]),
        0.0,
        lambda header: (header["TELAZ"], 90 - header["TELALT"]),
        {"id": "EXPNUM", "physical_filter": "FILTER", "dark_time": "DARKTIME"},
    ),
    "fitsheader-sdss-fpC-006377-g4-0399": Expected(
        "SDSS",
        (15, "g4"),
        "g",
        lambda header: nsec(f"{header['DATE-OBS']}T{header['TAIHMS']}", 0),
        lambda header: (
            nsec(f"{header['DATE-OBS']}T{header['TAIHMS']}", 0) + round(float(header["EXPTIME"]) * 1_000_000_000)
        ),
        lambda header: (header["RA"], header["DEC"]),
        0.0,
        lambda header: (180 - header["AZ"], 90 - header["ALT"]),
        {"id": "RUN", "physical_filter": "FILTER"},
    ),
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def ingested(
    golden: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[Butler, dict[str, Any]]:
    """Ingest all real headers into one repository."""
    folder = tmp_path_factory.mktemp("headers")
    headers = {path.stem: read_test_file(path) for path in sorted((golden / "headers").glob("*.yaml"))}
    for name, header in headers.items():
        write_header(header, folder / f"{name}.fits")
    cluster = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    butler = make_repository(folder / "repository", cluster=cluster)
    result = ingest_raws(butler, [folder])
    assert (result.n_files, result.n_ingested, result.n_exposures, result.failures) == (6, 6, 6, [])
    return butler, headers


def exposure(butler: Butler, expected: Expected, header: Any) -> DimensionRecord:
    number = header[expected.fields["id"]] if "id" in expected.fields else expected.constants["id"]
    with butler.query() as query:
        where = query.dimension_records("exposure").where(instrument=expected.instrument, exposure=number)
        (record,) = where
    return record


def test_all_headers_are_known(ingested: tuple[Butler, dict[str, Any]]) -> None:
    assert set(ingested[1]) == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_exposure(ingested: tuple[Butler, dict[str, Any]], name: str) -> None:
    butler, headers = ingested
    expected, header = EXPECTED[name], headers[name]
    record = exposure(butler, expected, header)
    for field_name, key in expected.fields.items():
        assert getattr(record, field_name) == header[key], field_name
    for field_name, value in expected.constants.items():
        assert getattr(record, field_name) == value, field_name
    begin, end = record.timespan.nsec
    assert begin == pytest.approx(expected.begin(header), abs=20)
    assert end == pytest.approx(expected.end(header), abs=20)
    ra, dec = expected.pointing(header)
    # FK5 of J2000 is less than 0.03 arcsec from ICRS.
    assert record.tracking_ra == pytest.approx(ra, abs=1e-5)
    assert record.tracking_dec == pytest.approx(dec, abs=1e-5)
    assert record.sky_angle == expected.sky_angle
    azimuth, zenith_angle = expected.horizontal(header)
    assert record.azimuth == pytest.approx(azimuth)
    assert record.zenith_angle == pytest.approx(zenith_angle)
    assert record.exposure_time == float(header["EXPTIME"])
    assert record.target_name == header["OBJECT"]
    assert record.observation_type == "science"
    assert record.can_see_sky is True
    assert record.has_simulated is False


@pytest.mark.parametrize("key", ["FILTER", "OBSID"])
def test_a_name_of_blanks(golden: Path, tmp_path: Path, key: str) -> None:
    """A translator gives it as it is, and it is none."""
    header = {**read_test_file(golden / "headers" / "fitsheader-decam.yaml"), key: "  "}
    write_header(header, tmp_path / "blank.fits")
    result = ingest_raws(make_repository(tmp_path / "repository"), [tmp_path / "blank.fits"], on_error="skip")
    (failure,) = result.failures
    prop = {"FILTER": "physical_filter", "OBSID": "observation_id"}[key]
    assert f"translator DECam finds no {prop} in the header (the header says none)" in str(failure)


@pytest.mark.parametrize("name", EXPECTED)
def test_detector_and_band(ingested: tuple[Butler, dict[str, Any]], name: str) -> None:
    butler, headers = ingested
    expected = EXPECTED[name]
    record = exposure(butler, expected, headers[name])
    number, full_name = expected.detector
    with butler.query() as query:
        (detector,) = query.dimension_records("detector").where(instrument=expected.instrument, detector=number)
        (physical_filter,) = query.dimension_records("physical_filter").where(
            instrument=expected.instrument, physical_filter=record.physical_filter
        )
        (ref,) = query.datasets("raw", f"{expected.instrument}/raw/all").where(
            instrument=expected.instrument, exposure=record.id
        )
    assert detector.full_name == full_name
    assert physical_filter.band == expected.band
    assert (ref.dataId["detector"], ref.datasetType.storageClass_name) == (number, "Exposure")
    assert butler.getURI(ref).ospath.endswith(f"{name}.fits")


def test_days(ingested: tuple[Butler, dict[str, Any]]) -> None:
    butler, _ = ingested
    with butler.query() as query:
        days = {record.id: record for record in query.dimension_records("day_obs").where(instrument="DECam")}
        exposures = list(query.dimension_records("exposure").where(instrument="DECam"))
    # A night in Chile has one day, which begins at noon UTC.
    assert set(days) == {20130212, 20130831, 20190401}
    for one in exposures:
        assert days[one.day_obs].timespan.nsec[0] <= one.timespan.nsec[0] < days[one.day_obs].timespan.nsec[1]


@pytest.mark.parametrize("instrument", ["DECam", "HSC", "MegaPrime", "SDSS"])
def test_visits(ingested: tuple[Butler, dict[str, Any]], instrument: str) -> None:
    butler, _ = ingested
    used = {one.detector for one in EXPECTED.values() if one.instrument == instrument}
    ccds = camera(rafts=1)["CCDs"].values()
    small = {name: {**ccd, "id": number} for (number, name), ccd in zip(sorted(used), ccds, strict=False)}
    write_camera(butler, instrument, {**camera(rafts=1), "name": instrument, "CCDs": small})
    with butler.query() as query:
        exposures = list(query.dimension_records("exposure").where(instrument=instrument))
    result = DefineVisitsTask(butler=butler).run(exposures)
    assert (result.n_new, result.n_off_sky) == (len(exposures), 0)
    with butler.query() as query:
        visits = {record.id: record for record in query.dimension_records("visit").where(instrument=instrument)}
    for one in exposures:
        assert visits[one.id].physical_filter == one.physical_filter
        assert visits[one.id].timespan == one.timespan
        assert visits[one.id].region is not None
