"""``butler-visits describe``: what is understood from a file."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from click.testing import Result
from lsst.daf.butler.cli.utils import LogCliRunner

from butler_visits.cli.program import butler_visits
from butler_visits.ingest.describe import describe_file
from butler_visits.ingest.translate import DETECTOR_PROPERTIES, EXPOSURE_PROPERTIES
from butler_visits.instruments.description import read_description
from command_line import run_program
from example_raws import EXAMPLES, write_hillcam, write_quadcam

HILLCAM = EXAMPLES / "hillcam.yaml"
QUADCAM = EXAMPLES / "quadcam.yaml"


def describe(*arguments: object) -> Result:
    return LogCliRunner().invoke(butler_visits, ["describe", *map(str, arguments)])


def rows(result: Result, *, status: int = 0) -> dict[str, str]:
    """Return the lines of the output by their first word, without the blanks between columns."""
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    lines = [re.sub(r"  +", " | ", line) for line in result.stdout.splitlines() if line]
    return {line.split(" | ")[0]: line for line in reversed(lines)}


def message(result: Result) -> str:
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    return result.stderr.split("Error: ", 1)[1]


def test_single_ccd(tmp_path: Path) -> None:
    file = write_hillcam(tmp_path / "h.fits")
    said = rows(describe(file, "--instrument-description", HILLCAM))
    for line in (
        "exposure_id | 20260401231402 | DATE-OBS",
        "datetime_begin | 2026-04-01T23:14:02.500 UTC | DATE-OBS",
        "datetime_end | 2026-04-01T23:16:39.500 TAI | DATE-OBS, EXPTIME",
        "exposure_time | 120.0 s | EXPTIME",
        "physical_filter | Johnson V | FILTER",
        "science_program | survey | not from the header",
        "tracking_radec | 202.469583 +47.195278 deg (ICRS) | IMAGETYP, OBJCTDEC, OBJCTRA",
        "0 | 0 | CCD | not from the header",
        "sky_angle | 60.0",
        "zenith_angle | 18.5",
        "id | 20260401231402",
        "timespan | [2026-04-01T23:14:39, 2026-04-01T23:16:39)",
    ):
        assert said[line.split(" | ")[0]] == line
    assert "Translator HillCam (made from its description)" in said
    assert not any(line.startswith("Missing") for line in said)


def test_several_detectors_in_one_file(tmp_path: Path) -> None:
    file = write_quadcam(tmp_path / "q.fits", chips=(3, 1, 9), PROGRAM="P-7")
    result = describe(file, "--instrument-description", QUADCAM)
    said = rows(result)
    assert said["1"] == "1 | 2 | SW | CHIP"
    assert said["2"] == "2 | 0 | NW | CHIP"
    assert said["3"].startswith("3 | - | - | Property detector_num of instrument QuadCam (CHIP): 8 is none of")
    assert said["exposure_id"] == "exposure_id | 2026040100017 | FRAME, NIGHT"
    assert "Missing: dark_time." in said


def test_known_telescope(tmp_path: Path) -> None:
    """A telescope that astro_metadata_translator knows needs no description."""
    header = fits.Header()
    for name, value in (
        ("INSTRUME", "DECam"),
        ("TELESCOP", "CTIO 4.0-m telescope"),
        ("OBSID", "ct4m20260402t011402"),
        ("EXPNUM", 1234567),
        ("DATE-OBS", "2026-04-02T01:14:02.513"),
        ("TIMESYS", "UTC"),
        ("EXPTIME", 30.0),
        ("DARKTIME", 31.0),
        ("OBSTYPE", "object"),
        ("FILTER", "g DECam SDSS c0001 4720.0 1520.0"),
        ("OBJECT", "field 3"),
        ("PROPID", "2026A-0001"),
        ("RADESYS", "ICRS"),
        ("TELRA", "10:01:00"),
        ("TELDEC", "-20:30:00"),
        ("ZD", 31.25),
        ("AZ", 200.0),
        ("AIRMASS", 1.17),
        ("CCDNUM", 5),
        ("DETPOS", "S29"),
    ):
        header[name] = value
    file = tmp_path / "d.fits"
    fits.PrimaryHDU(np.zeros((4, 4), dtype=np.int16), header).writeto(file)
    said = rows(describe(file))
    assert "Translator DECam (astro_metadata_translator.translators.decam.DecamTranslator)" in said
    assert said["exposure_id"] == "exposure_id | 1234567 | EXPNUM"
    assert said["0"].startswith("0 | 5 | ")


def test_missing_pointing(tmp_path: Path) -> None:
    description = tmp_path / "d.yaml"
    text = HILLCAM.read_text()
    description.write_text(re.sub(r"  boresight_rotation_angle:.*?(?=  altaz)", "", text, flags=re.DOTALL))
    said = rows(describe(write_hillcam(tmp_path / "h.fits"), "--instrument-description", description))
    assert "Missing: sky_angle." in said
    assert any(line.startswith("Without tracking_ra, tracking_dec and sky_angle") for line in said)
    # A bias has none and needs none.
    file = write_hillcam(tmp_path / "b.fits", IMAGETYP="Bias Frame", FILTER=None)
    said = rows(describe(file, "--instrument-description", HILLCAM))
    assert said["physical_filter"] == "physical_filter | none | not from the header"
    assert "sky_angle" in next(line for line in said if line.startswith("Missing"))
    assert not any(line.startswith("Without") for line in said)


def test_header_that_lacks_something(tmp_path: Path) -> None:
    """What is understood is printed all the same, and the exit status tells that it is not enough."""
    file = write_hillcam(tmp_path / "h.fits", **{"DATE-OBS": "2026-04-01", "EXPTIME": "long"})
    result = describe(file, "--instrument-description", HILLCAM)
    said = rows(result, status=1)
    assert "there is no time of day" in said["exposure_id"]
    assert said["datetime_begin"] == "datetime_begin | - | as for exposure_id"
    assert said["exposure_time"].endswith("(EXPTIME, EXPOSURE): expected a number, not 'long'.")
    assert said["datetime_end"] == "datetime_end | - | as for exposure_time"
    assert said["object"] == "object | M 51 | OBJECT"
    assert "No exposure record can be made." in said
    assert str(file) in message(result)
    assert "Property datetime_begin" in message(result)
    assert "Property exposure_time" in message(result)


def test_described_pointing_that_is_missing(tmp_path: Path) -> None:
    """What a description asks for is not passed over."""
    file = write_hillcam(tmp_path / "h.fits", OBJCTRA=None)
    text = message(describe(file, "--instrument-description", HILLCAM))
    assert "Property tracking_radec.ra of instrument HillCam (OBJCTRA): the header has no value" in text


@pytest.mark.parametrize("kind", ["other", "unknown", "text", "none", "no image", "description"])
def test_errors(tmp_path: Path, kind: str) -> None:
    file = write_hillcam(tmp_path / "h.fits", INSTRUME="Nobody's")
    options: tuple[object, ...] = ("--instrument-description", QUADCAM)
    match kind:
        case "other":
            expected = "is not from QuadCam: expected "
        case "unknown":
            options, expected = (), "no translator knows this telescope"
        case "text":
            file.write_text("no FITS file")
            expected = "no FITS file"
        case "none":
            file, expected = tmp_path / "nothing.fits", "There is no file"
        case "no image":
            file, expected = write_quadcam(tmp_path / "q.fits", chips=()), "there is no image in it"
        case "description":
            options = ("--instrument-description", tmp_path / "x.yaml")
            expected = f"There is no instrument description {tmp_path / 'x.yaml'}"
    text = message(describe(file, *options))
    assert expected in text
    if kind == "other":
        # In the order of the first description with these that this process has met.
        assert "TELESCOP='Ridge 1.2m'" in text and "INSTRUME='QuadCam'" in text and "and the header has " in text
    assert str(file) in text or kind == "description"


@pytest.mark.parametrize("seconds", [1e7, 1e13, 1e18, 1e300])
def test_an_end_in_no_year(tmp_path: Path, seconds: float) -> None:
    """What makes it is said all the same."""
    result = describe(write_hillcam(tmp_path / "h.fits", EXPTIME=seconds), "--instrument", HILLCAM)
    assert f"exposure_time is {seconds:g} s; expected 0 to 864000 s" in message(result)


def test_in_a_process_of_its_own(tmp_path: Path) -> None:
    file = write_quadcam(tmp_path / "q.fits")
    done = run_program("butler-visits", "describe", file, "--instrument-description", QUADCAM)
    assert done.returncode == 0, done.stderr
    assert "QC.20260401.00017" in done.stdout
    failed = run_program("butler-visits", "describe", file)
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr


def test_from_python(tmp_path: Path) -> None:
    described = describe_file(write_quadcam(tmp_path / "q.fits"), read_description(QUADCAM))
    assert described.record is not None
    assert described.record.id == 2026040100017
    assert described.missing == ["dark_time", "science_program"]
    assert [number.value for _, number, _ in described.detectors] == [0, 1, 2, 3]
    assert {one.name for one in described.properties} == EXPOSURE_PROPERTIES | DETECTOR_PROPERTIES | {"instrument"}
