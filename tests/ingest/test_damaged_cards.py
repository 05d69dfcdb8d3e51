"""Files with damaged cards and impossible times: the good ones go in, each bad one is reported with its card."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from lsst.daf.butler import Butler
from lsst.daf.butler.registry import ConflictingDefinitionError

from butler_visits.errors import IngestError
from butler_visits.ingest import ingest_raws
from butler_visits.ingest.describe import describe_file
from example_raws import describe
from ingest_helpers import reasons, records, run_command, summary
from raw_files import warnings_of
from templates import make_repository

CARDS = {
    "INSTRUME": "MyCam",
    "DATE-OBS": "2024-05-06T07:08:09.500",
    "EXPTIME": 30.0,
    "IMAGETYP": "object",
    "FILTER": "V",
    "OBJECT": "M 1",
    "RA": 150.0,
    "DEC": 2.0,
}
WCS = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 150.0,
    "CRVAL2": 2.0,
    "CRPIX1": 3.0,
    "CRPIX2": 2.5,
    **{"CD1_1": -1e-4, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 1e-4},
}

MINUTES = iter(range(1000))

OPTIONAL = {
    "OBJECT  = 'M 1     '": [
        *("OBJECT  = 'M 1      ", "OBJECT  = 'M 1\0\0\0\0\0'"),
        *("OBJECT    'M 1     '", "OBJECT  =  M 1      ", "OBJECT  = 'M\xfcnch   '"),
    ],
    "RA      =                150.0": ["RA      =                150,0", "RA                       150.0"],
}
REQUIRED = {
    "EXPTIME =                 30.0": ["EXPTIME =                 30,0", "EXPTIME =               30.0.0"],
    "INSTRUME= 'MyCam   '": ["INSTRUME= 'MyCam    ", "INSTRUME= 'My\0am   '"],
    "FILTER  = 'V       '": ["FILTER  = 'V        "],
    "IMAGETYP= 'object  '": ["IMAGETYP=  object   "],
}


@pytest.fixture
def butler(tmp_path: Path) -> Butler:
    """Create an empty repository."""
    return make_repository(tmp_path / "repository")


def write(path: Path, *patches: tuple[str, str], **cards: Any) -> Path:
    """Write a raw of a minute of its own with other cards, and then other bytes."""
    begin = datetime.datetime(2024, 5, 6, 7) + datetime.timedelta(minutes=next(MINUTES))
    own = {key.replace("DATE_", "DATE-"): value for key, value in cards.items()}
    content = {**CARDS, "DATE-OBS": f"{begin.isoformat()}.500", **own}
    path.parent.mkdir(exist_ok=True)
    fits.PrimaryHDU(np.zeros((4, 5), np.int16), fits.Header(content.items())).writeto(path)
    content_bytes = path.read_bytes()
    for old, new in patches:
        assert old.encode() in content_bytes
        assert len(old) == len(new)
        content_bytes = content_bytes.replace(old.encode(), new.encode("latin-1"))
    path.write_bytes(content_bytes)
    return path


def write_all(folder: Path, kinds: dict[str, list[str]]) -> dict[str, str]:
    """Write a raw of each kind of damage; return the damaged keywords by the names of files."""
    names = {}
    for old, others in kinds.items():
        for number, new in enumerate(others):
            key = old[:8].rstrip("= ")
            write(folder / f"{key}{number}.fits", (old, new))
            names[f"{key}{number}.fits"] = key
    return names


@pytest.mark.parametrize("given", [True, False])
def test_damaged_cards(butler: Butler, tmp_path: Path, caplog: pytest.LogCaptureFixture, given: bool) -> None:
    write(tmp_path / "raw" / "good.fits")
    description = describe()
    if not given:
        ingest_raws(butler, [tmp_path / "raw"], instrument=description)
    poor, bad = write_all(tmp_path / "raw", OPTIONAL), write_all(tmp_path / "raw", REQUIRED)
    result = ingest_raws(butler, [tmp_path / "raw"], instrument=description if given else None, on_error="skip")
    assert result.n_ingested + result.n_skipped == 1 + len(poor)
    for name, reason in reasons(result, bad).items():
        assert str(tmp_path / "raw" / name) in reason
        assert f"card {bad[name]} cannot be read: " in reason
        assert "Error calculating" not in reason
    for name, key in poor.items():
        (warning,) = [one for one in warnings_of(caplog) if name in one]
        assert f"{name}, HDU 0: card {key} cannot be read: " in warning
    found = records(butler, "exposure")
    assert sum(one.target_name is None for one in found) == len(OPTIONAL["OBJECT  = 'M 1     '"])
    assert sum(one.tracking_ra is None for one in found) == 2


def test_what_the_error_of_a_card_says(butler: Butler, tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", ("EXPTIME =                 30.0", "EXPTIME =                 30,0"))
    with pytest.raises(IngestError, match="card EXPTIME cannot be read: '30,0'; correct the header"):
        ingest_raws(butler, [path], instrument=describe())
    assert "card EXPTIME cannot be read: '30,0'" in describe_file(path, describe()).problem


def test_repeated_cards(butler: Butler, tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", ("SPARE   =                 60.0", "EXPTIME =                 60.0"), SPARE=60.0)
    with pytest.raises(IngestError, match=r"card EXPTIME is there 2 times, with different values: 30\.0, 60\.0"):
        ingest_raws(butler, [path], instrument=describe())


def test_damage_in_an_inherited_header(butler: Butler, tmp_path: Path) -> None:
    """It is not the other HDU's."""
    path = tmp_path / "a.fits"
    first = fits.PrimaryHDU(header=fits.Header({**CARDS, "SITE": "north"}.items()))
    image = fits.ImageHDU(np.zeros((4, 5), np.int16), fits.Header({"INHERIT": True, "GAIN": 1.5}.items()))
    fits.HDUList([first, image]).writeto(path)
    path.write_bytes(path.read_bytes().replace(b"'north   '", b"'north    ").replace(b" 1.5", b" 1,5"))
    ingest_raws(butler, [path], instrument=describe())
    assert [one.target_name for one in records(butler, "exposure")] == ["M 1"]


def test_a_damaged_raw_of_a_known_instrument(butler: Butler, tmp_path: Path, golden: Path) -> None:
    """What its translator needs is named, though it only knows that it is missing."""
    from astro_metadata_translator.tests import read_test_file

    from ingest_helpers import write_header

    path = tmp_path / "a.fits"
    write_header(read_test_file(golden / "headers" / "fitsheader-decam.yaml"), path)
    content = path.read_bytes()
    start = content.index(b"EXPTIME =")
    path.write_bytes(content[: start + 10] + b"30,0".ljust(70) + content[start + 80 :])
    result = ingest_raws(butler, [path], on_error="skip")
    assert "card EXPTIME cannot be read: '30,0'" in str(result.failures[0])


@pytest.mark.parametrize(
    ("cards", "problem"),
    [
        ({"EXPTIME": 1e10}, "exposure_time is 1e\\+10 s; expected 0 to 864000 s"),
        ({"EXPTIME": -5.0}, "expected no negative number"),
        ({"DATE_OBS": "1960-01-01T00:00:00"}, "begins 1960-01-01.* expected a time from 1970 to 2099"),
        ({"DATE_OBS": "2150-01-01T00:00:00"}, "begins 2150-01-01.* expected a time from 1970 to 2099"),
        ({"TIMESYS": "LOCAL"}, "TIMESYS is LOCAL"),
        ({"RA": 999.0}, r"\(RA\): 999\.0 degrees is not from -360 to 360"),
    ],
)
def test_impossible_values(tmp_path: Path, cards: dict[str, Any], problem: str) -> None:
    path = write(tmp_path / "a.fits", **cards)
    butler = make_repository(tmp_path / "repository")
    with pytest.raises(IngestError, match=problem):
        ingest_raws(butler, [path], instrument=describe())


def test_doubtful_times(butler: Butler, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tomorrow = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=3)
    folder = tmp_path / "raw"
    write(folder / "good.fits", DATE_END="2024-05-06T07:00:40")
    for number in range(3):
        write(folder / f"old{number}.fits", DATE_OBS=f"1985-05-0{number + 1}T00:00:00")
    write(folder / "new.fits", DATE_OBS=tomorrow.strftime("%Y-%m-%dT%H:%M:%S"))
    write(folder / "slow.fits", DATE_OBS="2024-05-07T01:00:00", DATE_END="2024-05-07T02:00:00")
    properties = {"datetime_end": {"key": ["DATE-END", "DATE-OBS"]}}
    result = ingest_raws(butler, [folder], instrument=describe(properties=properties))
    assert result.n_ingested == 6
    old, new, slow = sorted(one for one in warnings_of(caplog) if one.endswith("is that right?"))[:3]
    said = " ".join([old, new, slow])
    assert "old0.fits: the exposure begins 1985-05-01T00:00:00, before 1990 (and so do 2 more)" in said
    assert "new.fits: the exposure begins" in said
    assert "slow.fits: the exposure lasts 3600 s, and its exposure time is 30 s" in said


def test_two_exposures_in_one_second(butler: Butler, tmp_path: Path) -> None:
    """The default id stays, and the second one's error says how to get ids with fractions."""
    folder = tmp_path / "raw"
    for name in "123":
        write(folder / f"{name}.fits", DATE_OBS=f"2024-05-06T07:08:09.{name}00", IMAGETYP="zero", EXPTIME=0.0)
    result = ingest_raws(butler, [folder], instrument=describe(), on_error="skip")
    assert [one.id for one in records(butler, "exposure")] == [20240506070809]
    assert summary(result)[:4] == (3, 1, 0, 2)
    said = str(result.failures[0])
    assert "2.fits: exposure 20240506070809 (20240506070809) of MyCam begins in the same second as" in said
    assert "timespan is [2024-05-06T07:08:46.1, " in said
    assert "[2024-05-06T07:08:46.2, " in said
    assert "exposure_id" in said
    assert "exposure_max: 30000000000000000" in said
    # Another day, the first one is in the repository.
    with pytest.raises(ConflictingDefinitionError, match="in the same second as the one that the repository has"):
        ingest_raws(butler, [folder / "2.fits"], instrument=describe())
    other = make_repository(tmp_path / "other")
    own_ids = describe(properties={"exposure_id": {"template": "{DATE-OBS}"}}, exposure_max=30000000000000000)
    ingest_raws(other, [folder], instrument=own_ids)
    assert [one.id for one in records(other, "exposure")] == [20240506070809000 + 100 * n for n in (1, 2, 3)]


def test_two_exposures_whose_times_have_no_fractions(butler: Butler, tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path / "raw" / f"{name}.fits", DATE_OBS="2024-05-06T07:08:09")
    with pytest.raises(IngestError, match=r"leave one of them out\. If they are two exposures, .*exposure_id"):
        ingest_raws(butler, [tmp_path / "raw"], instrument=describe())


def test_fit_camera_with_damaged_cards(tmp_path: Path) -> None:
    """It is no traceback: what it needs is named."""
    path = write(tmp_path / "a.fits", ("CRVAL1  =                150.0", "CRVAL1  =                150,0"), **WCS)
    result = run_command("fit-camera", path, "-o", tmp_path / "camera.yaml")
    assert result.exit_code == 1
    assert "card CRVAL1 cannot be read: '150,0'" in result.stderr
    assert "Traceback" not in result.output
