"""``butler-visits describe --write``: drafts of descriptions, which ``ingest`` takes as they are."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from click.testing import Result
from lsst.daf.butler import Butler
from lsst.daf.butler.cli.utils import LogCliRunner

from acquisition_programs import (
    APT,
    ASIAIR,
    DEC,
    EKOS,
    MAXIM,
    NINA,
    PROGRAMS,
    RA,
    SGPRO,
    SHARPCAP,
    THESKYX,
    Cards,
    solved,
    write_frame,
)
from butler_visits import DefineVisitsConfig, DefineVisitsTask
from butler_visits.camera.yaml_camera import camera_from_mapping
from butler_visits.cli.program import butler_visits
from butler_visits.errors import IngestError
from butler_visits.ingest import ingest_raws
from butler_visits.ingest.describe import describe_file
from butler_visits.ingest.draft import Draft, draft_description
from butler_visits.instruments.description import InstrumentDescription
from butler_visits.yaml_files import load_yaml
from templates import make_repository

pytestmark = pytest.mark.sqlite_only  # Headers are the same for either database.


def run(*arguments: object) -> Result:
    return LogCliRunner().invoke(butler_visits, [*map(str, arguments)])


def drafted(*places: Path) -> tuple[Draft, InstrumentDescription]:
    draft = draft_description(list(places))
    return draft, InstrumentDescription.from_mapping(load_yaml(draft.text), "the draft")


def ingested(folder: Path, description: InstrumentDescription, *files: Path) -> list[dict[str, Any]]:
    """Ingest files into a new repository, and return the exposures in the order of their ids."""
    butler = make_repository(folder / "repository")
    ingest_raws(butler, list(files), instrument=description)
    with butler.query() as query:
        records = [one.toDict() for one in query.dimension_records("exposure").where(instrument=description.name)]
    return sorted(records, key=lambda record: record["id"])


def exposures(description: InstrumentDescription, *files: Path) -> list[dict[str, Any]]:
    """Return the exposures that files become."""
    records = [describe_file(file, description).record for file in files]
    return [record.toDict() for record in records if record is not None]


def exposure(tmp_path: Path, cards: Cards, **changes: Any) -> dict[str, Any]:
    """Draft a description from one frame, and return the exposure that it becomes."""
    file = write_frame(tmp_path / "one.fits", cards, **changes)
    (record,) = exposures(drafted(file)[1], file)
    return record


def pixel_scale(description: InstrumentDescription) -> float:
    """Return the size of a detector's own pixel on the sky, arcsec."""
    assert description.camera is not None
    camera = camera_from_mapping(description.camera, "the draft")
    low, high = camera.corners()[0][[0, 2]]
    pixels = np.hypot(*(np.diff(camera.bounding_boxes[0], axis=0)[0] + 1))
    return float(np.rad2deg(np.hypot(*(high - low))) * 3600 / pixels)


def value(cards: Cards, key: str) -> Any:
    return cards[key][0] if isinstance(cards[key], tuple) else cards[key]


EXPECTED: dict[str, dict[str, Any]] = {
    "NINA": {"scale": 206264.806 * 0.00376 / 800, "seconds": 300.0, "filter": "Ha", "sky_angle": None},
    "MaxIm DL": {
        "ra": 15 * (20 + 34 / 60 + 52 / 3600),
        "dec": 60 + 9 / 60 + 14 / 3600,
        "scale": 206264.806 * 0.009 / 4000,
        "seconds": 120.0,
        "filter": "Luminance",
        "sky_angle": None,
        "day": 20141025,
    },
    "SharpCap": {"scale": 206264.806 * 0.00463 / 430, "seconds": 15.0, "filter": "none", "sky_angle": None},
    "APT": {"scale": 206264.806 * 0.00376 / 530, "seconds": 180.0, "filter": "Sii", "sky_angle": None},
    "Ekos": {"scale": 206264.806 * 0.0038 / 600, "seconds": 60.0, "filter": "Red", "sky_angle": None},
    "ASIAIR": {"scale": 206264.806 * 0.00376 / 382, "seconds": 300.0, "filter": "none", "sky_angle": None},
    "SGPro": {"scale": 206264.806 * 0.0054 / 530, "seconds": 600.0, "filter": "Lum", "sky_angle": None},
    "TheSkyX": {"scale": 206264.806 * 0.0054 / 1200, "seconds": 240.0, "filter": "Blue", "sky_angle": 30.0},
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs(tmp_path: Path, program: str) -> None:
    """A folder of an acquisition program becomes exposures with the right values, without a change to the draft."""
    cards, expected = PROGRAMS[program], EXPECTED[program]
    day = str(value(cards, "DATE-OBS"))[:10]
    light = str(value(cards, "IMAGETYP"))
    files = [write_frame(tmp_path / "light.fits", cards)]
    for number, (kind, word) in enumerate((("bias", "Bias"), ("dark", "Dark"), ("flat", "Flat"))):
        other = light.replace("Light", word).replace("LIGHT", word.upper())
        changes: dict[str, Any] = {
            "IMAGETYP": other,
            "FRAME": None,
            "PICTTYPE": None,
            "DATE-OBS": f"{day}T01:00:{number:02d}",
            "JD": None,
        }
        # Darks are taken with the mount at home, or without one.
        changes |= dict.fromkeys(("RA", "DEC", "OBJCTRA", "OBJCTDEC", "CENTALT", "OBJCTALT", "TELESCOP", "FILTER"))
        files.append(write_frame(tmp_path / f"{kind}.fits", cards, **changes))
    draft, description = drafted(tmp_path)
    assert draft.n_files == 4
    records = ingested(tmp_path, description, *files)
    assert [one["observation_type"] for one in records[:3]] == ["bias", "dark", "flat"]
    assert all(one["tracking_ra"] is None and one["can_see_sky"] is False for one in records[:3])
    record = records[-1]
    begin = str(value(cards, "DATE-OBS"))
    assert record["id"] == int("".join(digit for digit in begin[:19] if digit.isdecimal()))
    assert record["timespan"].begin.utc.isot[:22] == f"{begin if '.' in begin else begin + '.'}000"[:22]
    assert record["observation_type"] == "science"
    assert record["exposure_time"] == expected["seconds"]
    assert record["physical_filter"] == expected["filter"]
    assert record["day_obs"] == expected.get("day", 20240506)
    # FK5 J2000 and ICRS are 0.02 arcsec apart, and JNow of the mount is rounded.
    assert record["tracking_ra"] == pytest.approx(expected.get("ra", RA), abs=3e-5)
    assert record["tracking_dec"] == pytest.approx(expected.get("dec", DEC), abs=3e-5)
    assert record["sky_angle"] == expected["sky_angle"]
    if "CENTALT" in cards or "OBJCTAZ" in cards:
        assert record["zenith_angle"] is None or record["zenith_angle"] in (6.5, 32.0)
    assert pixel_scale(description) == pytest.approx(expected["scale"], rel=1e-6)
    if expected["sky_angle"] is None:
        assert "only frames that are solved (with a WCS) become visits" in draft.text
        assert any("only frames that are solved" in line for line in draft.check)


def test_visit_of_a_draft(tmp_path: Path) -> None:
    """From a folder to a visit whose region is where the frame looked, turned as the rotator says."""
    write_frame(tmp_path / "light.fits", THESKYX, size=(300, 200))
    _, description = drafted(tmp_path)
    butler = make_repository(tmp_path / "repository")
    ingest_raws(butler, [tmp_path / "light.fits"], instrument=description)
    config = DefineVisitsConfig()
    config.computeVisitRegions["single-raw-wcs"].padding = 0
    task = DefineVisitsTask(config, butler=butler)
    with butler.query() as query:
        assert task.run(list(query.dimension_records("exposure").where(instrument=description.name))).n_new == 1
        (visit,) = query.dimension_records("visit").where(instrument=description.name)
    ra, dec = math.radians(RA), math.radians(DEC)
    centre = np.array([math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec)])
    east = np.array([-math.sin(ra), math.cos(ra), 0])
    north = np.cross(centre, east)
    corners = np.array([list(vertex) for vertex in visit.region.getVertices()])
    arcsec = np.stack([corners @ east, corners @ north], axis=-1) / (corners @ centre)[:, None] * 206264.806
    # Frames are binned by 2: 600 x 400 pixels of 5.4 micrometres at 1200 mm. The y axis is 30 degrees east of north.
    scale, a = 206264.806 * 0.0054 / 1200, math.radians(30)
    x, y = np.array([-math.cos(a), math.sin(a)]), np.array([math.sin(a), math.cos(a)])
    expected = [scale * (sx * 300 * x + sy * 200 * y) for sx in (-1, 1) for sy in (-1, 1)]
    for corner in expected:
        # OBJCTRA has a hundredth of a second of time.
        assert np.abs(arcsec - corner).max(axis=1).min() < 0.2
    assert len(arcsec) == 4


# The camera's rotation


@pytest.mark.parametrize(
    ("cards", "changes", "angle"),
    [
        (NINA, {"POSANGLE": 77.5}, 77.5),
        (MAXIM, {"ROTATANG": 181.25}, 181.25),
        (MAXIM, {"ROTATANG": " 181.25"}, 181.25),
        (MAXIM, {"PA": 15.0, "ROTATANG": 250.0}, 15.0),
        # What was planned is not how it was.
        (NINA, {"OBJCTROT": 45.0}, None),
        (NINA, {"ROTATANG": "N/A"}, None),
    ],
)
def test_rotation_of_the_header(tmp_path: Path, cards: Cards, changes: dict[str, Any], angle: float | None) -> None:
    assert exposure(tmp_path, cards, **changes)["sky_angle"] == angle


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("angle", [0.5, 123.4, 359.8])
def test_rotation_of_a_solved_frame(tmp_path: Path, angle: float, mirrored: bool) -> None:
    """It also gives the scale, which FOCALLEN has not exactly, and the parity."""
    light = write_frame(tmp_path / "a.fits", APT)
    write_frame(tmp_path / "b.fits", APT, DATE_OBS="2024-05-06T22:31:43", **solved(1.5, angle, mirrored=mirrored))
    draft, description = drafted(tmp_path)
    (record,) = exposures(description, light)
    assert record["sky_angle"] == pytest.approx(angle, abs=2e-3)
    assert pixel_scale(description) == pytest.approx(1.5, rel=1e-6)
    assert description.raws_flipped is mirrored
    assert any("as long as nobody turns the camera" in line for line in draft.check)
    assert any(
        "FOCALLEN and the size of a pixel give 1.463 arcsec, and solved frames 1.5" in one for one in draft.check
    )


def series(folder: Path, frames: list[tuple[float, dict[str, Any]]], cards: Cards = APT) -> None:
    """Write solved frames with their angles."""
    for number, (angle, changes) in enumerate(frames):
        begin: dict[str, Any] = {"DATE-OBS": f"2024-05-06T22:{number:02d}:43"}
        write_frame(folder / f"s{number}.fits", cards, **begin, **changes, **solved(1.5, angle))


def angle_of(tmp_path: Path, **changes: Any) -> float | None:
    """Draft from what is in the folder, and return the rotation of a frame that is not solved."""
    _, description = drafted(tmp_path)
    file = write_frame(tmp_path / "later.fits", APT, DATE_OBS="2024-05-06T23:31:43", **changes)
    (record,) = exposures(description, file)
    return None if record["sky_angle"] is None else float(record["sky_angle"]) % 360


@pytest.mark.parametrize(
    ("frames", "rotator", "expected"),
    [
        # What the rotator says and where north is: the zero point.
        ([(40, 10), (75, 45)], 20.0, 50.0),
        # It counts the other way round.
        ([(350, 10), (315, 45)], 20.0, 340.0),
        ([(100, 80), (170, 10)], 20.0, 160.0),
        # Beyond the meridian it is upside down; the outline is the same.
        ([(40, 10), (255, 45)], 20.0, 50.0),
        # One frame: it counts from north through east, unless backwards fits without a zero point.
        ([(42, 10)], 20.0, 52.0),
        ([(350, 10)], 20.0, 340.0),
    ],
)
def test_rotator_and_solved_frames(
    tmp_path: Path, frames: list[tuple[float, float]], rotator: float, expected: float
) -> None:
    series(tmp_path, [(angle, {"ROTATANG": value}) for angle, value in frames])
    assert angle_of(tmp_path, ROTATANG=rotator) == pytest.approx(expected, abs=2e-3)


def test_rotator_that_solved_frames_contradict(tmp_path: Path) -> None:
    """A rotator that says 0 while the camera is turned is none; without it nothing says how unsolved frames lie."""
    series(tmp_path, [(40, {"ROTATANG": 0.0}), (75, {"ROTATANG": 0.0})])
    draft, _ = drafted(tmp_path)
    assert any("is turned differently in 2 solved frames" in line for line in draft.check)
    assert angle_of(tmp_path, ROTATANG=0.0) is None


def test_planned_rotation_is_none(tmp_path: Path) -> None:
    """One solved frame fits any card."""
    series(tmp_path, [(40, {"OBJCTROT": 0.0})])
    _, description = drafted(tmp_path)
    assert description.properties.boresight_rotation_angle is not None
    assert description.properties.boresight_rotation_angle.value == pytest.approx(40, abs=2e-3)


def night(folder: Path, *frames: dict[str, Any]) -> list[Path]:
    """Write frames of one night."""
    files = []
    for number, changes in enumerate(frames):
        begin: dict[str, Any] = {"DATE-OBS": f"2024-05-06T22:{number:02d}:43"}
        files.append(write_frame(folder / f"{number}.fits", APT, **begin, **changes))
    return files


WITHOUT = "of the sky without "
"""A check of frames that become no visits."""


@pytest.mark.parametrize(
    ("frames", "angles", "lacking"),
    [
        # Nothing is solved: the other key is taken, or its lack is said.
        ([{"POSANGLE": 30.0}, {"ROTATANG": 75.0}], [30.0, 75.0], None),
        ([{"ROTATANG": 30.0}, {"ROTATANG": "n/a"}], [30.0, None], "1 frame of the sky without ROTATANG, first "),
        ([{"ROTATANG": 30.0}, {}, {}], [30.0, None, None], "2 frames of the sky without ROTATANG, first "),
        ([{"POSANGLE": 30.0}, {"PA": "n/a", "ROTATANG": 75.0}], [30.0, 75.0], None),
        ([{"POSANGLE": 30.0}, {"ROTATANG": 75.0}, {}], [30.0, 75.0, None], "without POSANGLE, ROTATANG, first "),
        # Frames that are not of the sky need none.
        ([{"ROTATANG": 30.0}, {"IMAGETYP": "Dark Frame"}], [30.0, None], None),
        # A solved frame confirms the first, and nothing says anything of the second.
        ([{"POSANGLE": 30.0, **solved(1.5, 30)}, {"ROTATANG": 75.0}], [30.0, 75.0], None),
        # Both mean the same, as far as can be told.
        ([{"POSANGLE": 30.0, "ROTATANG": 30.0, **solved(1.5, 30)}, {"ROTATANG": 75.0}], [30.0, 75.0], None),
        # They do not.
        (
            [{"POSANGLE": 30.0, "ROTATANG": 200.0, **solved(1.5, 30)}, {"ROTATANG": 245.0}],
            [30.0, None],
            "1 frame of the sky without POSANGLE, first ",
        ),
        # The first key has a zero point, that of another one is not known.
        (
            [{"POSANGLE": 10.0, **solved(1.5, 50)}, {"POSANGLE": 30.0, **solved(1.5, 70)}, {"ROTATANG": 75.0}],
            [50.0, 70.0, None],
            "1 frame of the sky without POSANGLE, first ",
        ),
        # A solved frame needs none.
        (
            [{"ROTATANG": 10.0, **solved(1.5, 10)}, {"ROTATANG": 30.0, **solved(1.5, 30)}, solved(1.5, 50)],
            [10.0, 30.0, None],
            None,
        ),
    ],
)
def test_frames_without_the_rotation(
    tmp_path: Path, frames: list[dict[str, Any]], angles: list[float | None], lacking: str | None
) -> None:
    """Another key is taken, or the draft says how many frames become no visits."""
    files = night(tmp_path, *frames)
    draft, description = drafted(tmp_path)
    assert [record["sky_angle"] for record in exposures(description, *files)] == angles
    said = [line for line in draft.check if WITHOUT in line]
    if lacking is None:
        assert not said
    else:
        (line,) = said
        assert lacking in line
        assert f"CHECK: {line[:30]}" in draft.text
    other = any("it is not sure that both mean the same" in line for line in draft.check)
    assert other == ("[POSANGLE, ROTATANG]" in draft.text)


def test_frames_without_a_pointing(tmp_path: Path) -> None:
    files = night(
        tmp_path, {"POSANGLE": 30.0}, {"POSANGLE": 30.0, "OBJCTRA": None}, {"OBJCTRA": None, **solved(1.5, 0)}
    )
    draft, description = drafted(tmp_path)
    assert [record["tracking_ra"] is None for record in exposures(description, *files)] == [False, True, True]
    said = [line for line in draft.check if f"1 frame {WITHOUT}OBJCTRA, OBJCTDEC, first " in line]
    assert len(said) == 1


@pytest.mark.parametrize(
    ("frames", "how", "is_sure"),
    [
        # One frame fits any zero point.
        ([(42, 24.0)], "fitted to 1 solved frame:", False),
        ([(42, 24.0), (42, 24.0)], "fitted to 2 solved frames:", False),
        ([(42, 132.0)], "fitted to 1 solved frame:", True),
        ([(42, 42.0)], "as 1 solved frame confirms:", True),
        ([(42, 24.0), (68, 50.0)], "as 2 solved frames confirm:", True),
    ],
)
def test_what_solved_frames_confirm(tmp_path: Path, frames: list[tuple[float, float]], how: str, is_sure: bool) -> None:
    """A zero point that was fitted to one value is not confirmed by it."""
    series(tmp_path, [(angle, {"ROTATANG": rotator}) for angle, rotator in frames])
    draft, _ = drafted(tmp_path)
    assert f"From ROTATANG, {how}" in draft.text
    assert any("is not sure" in line for line in draft.check) != is_sure


def test_pier(tmp_path: Path) -> None:
    series(tmp_path, [(40.2, {"PIERSIDE": "WEST"}), (40.0, {"PIERSIDE": "WEST"})])
    assert angle_of(tmp_path, PIERSIDE="WEST") == pytest.approx(40.1, abs=2e-3)
    (tmp_path / "other").mkdir()
    series(tmp_path / "other", [(40.0, {"PIERSIDE": "West"}), (221.0, {"PIERSIDE": "East"})])
    assert angle_of(tmp_path / "other", PIERSIDE="East") == pytest.approx(221, abs=2e-3)


def test_other_side_of_the_pier(tmp_path: Path) -> None:
    series(tmp_path, [(40.0, {"PIERSIDE": "West"})])
    draft, _ = drafted(tmp_path)
    assert any("the other side of the pier" in line for line in draft.check)
    assert angle_of(tmp_path, PIERSIDE="East") == pytest.approx(220, abs=2e-3)


@pytest.mark.parametrize("is_text", [False, True])
def test_wcs_that_was_not_solved(tmp_path: Path, is_text: bool) -> None:
    write_frame(tmp_path / "a.fits", APT, **solved(1.5, 40), PLTSOLVD="F" if is_text else False)
    _, description = drafted(tmp_path)
    assert description.properties.boresight_rotation_angle is None
    assert pixel_scale(description) == pytest.approx(206264.806 * 0.00376 / 530, rel=1e-6)


# The camera


@pytest.mark.parametrize(
    ("frames", "size"),
    [
        # As its comment says.
        ([{"XBINNING": 2, "XPIXSZ": (7.52, "[um] binned"), "YPIXSZ": 7.52}], 3.76),
        ([{"XBINNING": 2, "XPIXSZ": (3.76, "[um] unbinned"), "YPIXSZ": 3.76}], 3.76),
        # As frames of several binnings say.
        ([{"XBINNING": 2}, {"XBINNING": 1}], 3.76),
        ([{"XBINNING": 2}, {"XBINNING": 3}], 3.76),
        ([{"XBINNING": 2, "XPIXSZ": 7.52, "YPIXSZ": 7.52}, {"XBINNING": 3, "XPIXSZ": 11.28, "YPIXSZ": 11.28}], 3.76),
        # As FITS headers have it.
        ([{"XBINNING": 2, "XPIXSZ": 7.52, "YPIXSZ": 7.52}], 3.76),
        ([{"XBINNING": None, "CCDSUM": "2 2", "XPIXSZ": 7.52, "YPIXSZ": 7.52}], 3.76),
        ([{"XBINNING": 2, "XPIXSZ": 7.52, "YPIXSZ": 7.52, "PIXSIZE1": 3.76}], 3.76),
        # Millimetres.
        ([{"XPIXSZ": 0.00376, "YPIXSZ": 0.00376}], 3.76),
    ],
)
def test_binned_pixels(tmp_path: Path, frames: list[dict[str, Any]], size: float) -> None:
    """The camera is in the detector's own pixels."""
    largest = 1
    for number, changes in enumerate(frames):
        binning = int(changes.get("XBINNING") or (2 if "CCDSUM" in changes else 1))
        largest = max(binning, largest)
        begin: dict[str, Any] = {"DATE-OBS": f"2024-05-06T22:{number:02d}:43", "YBINNING": changes.get("XBINNING", 1)}
        pixels = (120 // binning, 60 // binning)
        write_frame(tmp_path / f"{number}.fits", APT, size=pixels, **{**begin, **changes})
    draft, description = drafted(tmp_path)
    assert pixel_scale(description) == pytest.approx(206264.806 * size / 1000 / 530, rel=1e-6)
    assert description.camera is not None
    assert description.camera["CCDs"]["CCD"]["bbox"] == [[0, 0], [119, 59]]
    assert ("the detector's own pixels" in draft.text) == (largest > 1)


def test_size_of_binned_pixels_by_solved_frames(tmp_path: Path) -> None:
    """Some programs write the size of a pixel that is not binned; FOCALLEN and a WCS tell."""
    scale = 206.264806 * 3.76 / 530
    write_frame(tmp_path / "a.fits", APT, XBINNING=2, YBINNING=2, **solved(2 * scale, 0))
    _, description = drafted(tmp_path)
    assert pixel_scale(description) == pytest.approx(scale, rel=1e-6)
    assert description.camera is not None
    assert description.camera["CCDs"]["CCD"]["pixelSize"] == [0.00376, 0.00376]


@pytest.mark.parametrize(
    ("focal_length", "millimetres"),
    [((0.53, "[m] focal length"), 530), ((53.0, "Focal length (cm)"), 530), ("530.0", 530), ((530, "mm"), 530)],
)
def test_focal_length(tmp_path: Path, focal_length: Any, millimetres: float) -> None:
    write_frame(tmp_path / "a.fits", APT, FOCALLEN=focal_length)
    assert pixel_scale(drafted(tmp_path)[1]) == pytest.approx(206.264806 * 3.76 / millimetres, rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"FOCALLEN": None}, "No header has the focal length (FOCALLEN, mm)"),
        ({"FOCALLEN": 0.0}, "No header has the focal length (FOCALLEN, mm)"),
        ({"FOCALLEN": 0.53}, "FOCALLEN is 0.53, which is not a focal length in mm."),
        ({"XPIXSZ": None, "YPIXSZ": None}, "No header has the size of a pixel (XPIXSZ, micrometres)"),
    ],
)
def test_no_scale(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    """Without it there is no camera, and only solved frames become visits; a solved one gives it."""
    write_frame(tmp_path / "a.fits", APT, **changes)
    draft, description = drafted(tmp_path)
    assert description.camera is None
    assert any(said in line for line in draft.check)
    assert any("computeVisitRegions=all-raw-wcs" in line for line in draft.check)
    write_frame(tmp_path / "b.fits", APT, **changes, DATE_OBS="2024-05-06T22:01:43", **solved(1.5, 10))
    assert pixel_scale(drafted(tmp_path)[1]) == pytest.approx(1.5, rel=1e-6)


def test_windows(tmp_path: Path) -> None:
    write_frame(tmp_path / "a.fits", APT)
    write_frame(tmp_path / "b.fits", APT, size=(30, 20), DATE_OBS="2024-05-06T22:01:43")
    draft, description = drafted(tmp_path)
    assert description.camera is not None
    assert description.camera["CCDs"]["CCD"]["bbox"] == [[0, 0], [59, 39]]
    assert any("1 frame of the sky shows only a part of the detector" in line for line in draft.check)


# Places and times


@pytest.mark.parametrize(
    ("cards", "site", "expected"),
    [
        (NINA, {"SITELAT": 47.7, "SITELONG": 11.6}, (11.6, 47.7)),
        (APT, {"SITELAT": "47 42 00 N", "SITELONG": "11 36 00 E"}, (11.6, 47.7)),
        (APT, {"SITELAT": "47.7N", "SITELONG": "11.6E"}, (11.6, 47.7)),
        (APT, {"SITELAT": "N 47:42:00", "SITELONG": "E 11:36:00"}, (11.6, 47.7)),
        (APT, {"SITELAT": "47d42m00s", "SITELONG": "11d36m00s"}, (11.6, 47.7)),
        (APT, {"SITELAT": None, "LAT-OBS": 47.7, "LONG-OBS": 11.6}, (11.6, 47.7)),
        (MAXIM, {"SITELAT": "+32 24 00", "SITELONG": "110 48 00 W"}, (-110.8, 32.4)),
        (MAXIM, {"SITELONG": "249 12 00"}, (-110.8, 32.4)),
        (MAXIM, {"SITELONG": ("+110 48 00", "Longitude, west positive"), "OBJCTALT": None}, (-110.8, 32.4)),
        (MAXIM, {"SITELONG": ("-110 48 00", "Longitude, west is negative")}, (-110.8, 32.4)),
        # Positive to the west, which the altitude does not allow.
        (MAXIM, {"SITELONG": "+110 48 00"}, (-110.8, 32.4)),
        # Nor does the Sun.
        (MAXIM, {"SITELONG": "+110 48 00", "OBJCTALT": None, "OBJCTAZ": None}, (-110.8, 32.4)),
        (NINA, {"SITELONG": -11.6}, (11.6, 47.7)),
    ],
)
def test_site(tmp_path: Path, cards: Cards, site: dict[str, Any], expected: tuple[float, float]) -> None:
    write_frame(tmp_path / "a.fits", cards, **site)
    draft, description = drafted(tmp_path)
    assert description.location is not None
    place = description.location
    assert (place.longitude, place.latitude) == pytest.approx(expected, abs=1e-6)
    assert description.day_obs_offset_hours == round(12 - expected[0] / 15)
    is_turned = site.get("SITELONG") in ("+110 48 00", -11.6)
    assert any("counts to the west" in line for line in draft.check) == is_turned


@pytest.mark.parametrize("site", [{"SITELAT": None, "SITELONG": None}, {"SITELAT": 0.0, "SITELONG": 0.0}])
def test_no_site(tmp_path: Path, site: dict[str, Any]) -> None:
    """The observing day begins while it is day all the same."""
    write_frame(tmp_path / "a.fits", APT, **site)
    _, description = drafted(tmp_path)
    assert description.location is None
    assert description.day_obs_offset_hours == 10


@pytest.mark.parametrize(
    ("cards", "changes"),
    [
        (MAXIM, {"DATE-OBS": ("2014-10-25T20:04:05.12", "local")}),
        (NINA, {"DATE-OBS": "2024-05-07T00:21:43.118", "MJD-OBS": 60436.931749051}),
    ],
)
def test_local_time(tmp_path: Path, cards: Cards, changes: dict[str, Any]) -> None:
    """Where DATE-OBS is hours from a card that counts days, that counts."""
    record = exposure(tmp_path, cards, **changes)
    expected = "2014-10-26T03:04:05.1" if cards is MAXIM else "2024-05-06T22:21:43.1"
    assert record["timespan"].begin.utc.isot[:21] == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"DATE-OBS": "2024-05-06", "TIME-OBS": "22:21:43"},
        {"DATE-OBS": "2024-05-06", "UT": "22:21:43"},
        {"DATE-OBS": None, "DATE-BEG": "2024-05-06T22:21:43"},
        {"DATE-OBS": "2024-05-06T22:22:20", "TIMESYS": "TAI"},
        {"DATE-OBS": None, "JD": 2460437.43174769},
    ],
)
def test_where_the_time_is(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert exposure(tmp_path, APT, **changes)["timespan"].begin.utc.isot[:19] == "2024-05-06T22:21:43"


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({"EXPTIME": None}, 180.0),
        ({"EXPTIME": None, "EXPOSURE": None}, None),
        ({"EXPTIME": "180.0", "EXPOSURE": None}, 180.0),
        ({"EXPTIME": None, "EXPOSURE": None, "EXPOINUS": 2500000}, 2.5),
        ({"EXPTIME": (1500.0, "exposure time [ms]"), "EXPOSURE": None}, 1.5),
        ({"EXPTIME": (1500.0, "exposure time in milliseconds"), "EXPOSURE": (1.5, "s")}, 1.5),
    ],
)
def test_exposure_time(tmp_path: Path, changes: dict[str, Any], seconds: float | None) -> None:
    assert exposure(tmp_path, APT, **changes)["exposure_time"] == seconds


# Where the telescope looked


@pytest.mark.parametrize(
    ("cards", "changes"),
    [
        # Telescope, not target.
        (NINA, {"OBJCTRA": "13 40 00"}),
        (NINA, {"RA": None, "DEC": None, "OBJCTRA": "13 29 52.698", "OBJCTDEC": "+47 11 42.93"}),
        (ASIAIR, {}),
        (ASIAIR, {"RA": (RA / 15, "hours")}),
        (ASIAIR, {"RA": "13:29:52.698", "DEC": "+47:11:42.93"}),
        (ASIAIR, {"RA": (f"{RA}", "")}),
        (ASIAIR, {"RA": ("202:28:10.47", ""), "DEC": "+47:11:42.93"}),
        # A number that is hours by another card.
        (SGPRO, {"OBJCTRA": (RA / 15, ""), "OBJCTDEC": (DEC, ""), "RA": "13 29 52.698", "DEC": "+47 11 42.93"}),
        (SGPRO, {"OBJCTRA": (RA, ""), "OBJCTDEC": (DEC, "")}),
        (SHARPCAP, {"OBJCTRA": None, "OBJCTDEC": None}),
        # Of the equinox that the header says.
        (APT, {"OBJCTRA": "13 30 54.096", "OBJCTDEC": "+47 04 12.47", "EQUINOX": 2024.3466}),
        (EKOS, {}),
        (EKOS, {"OBJCTRA": None, "OBJCTDEC": None}),
    ],
)
def test_pointing(tmp_path: Path, cards: Cards, changes: dict[str, Any]) -> None:
    record = exposure(tmp_path, cards, **changes)
    assert record["tracking_ra"] == pytest.approx(RA, abs=3e-5)
    assert record["tracking_dec"] == pytest.approx(DEC, abs=3e-5)


@pytest.mark.parametrize(
    "changes",
    [
        # JNow, and nothing says so.
        {"OBJCTRA": "13 30 54.096", "OBJCTDEC": "+47 04 12.47"},
        # Hours, and nothing says so.
        {"OBJCTRA": None, "OBJCTDEC": None, "RA": RA / 15, "DEC": DEC},
    ],
)
def test_pointing_by_solved_frames(tmp_path: Path, changes: dict[str, Any]) -> None:
    write_frame(tmp_path / "a.fits", APT, **changes, **solved(1.5, 10))
    draft, description = drafted(tmp_path)
    if "OBJCTRA" in changes and changes["OBJCTRA"] is not None:
        assert any("are taken as hours, JNow, because solved frames say so" in line for line in draft.check)
    (record,) = exposures(description, tmp_path / "a.fits")
    assert record["tracking_ra"] == pytest.approx(RA, abs=3e-5)
    assert record["tracking_dec"] == pytest.approx(DEC, abs=3e-5)


@pytest.mark.parametrize("n_wrong", [1, 2])
def test_pointing_that_solved_frames_contradict(tmp_path: Path, n_wrong: int) -> None:
    """A mount that was not aligned: the visits of solved frames are where these are, as the draft advises."""
    (tmp_path / "night").mkdir()
    for number, dec in enumerate((47.2, 20.0, -10.0)):
        wrong = dec + (1.5 if number < n_wrong else 0)
        begin: dict[str, Any] = {"DATE-OBS": f"2024-05-06T22:{number:02d}:43"}
        places: dict[str, Any] = {"OBJCTRA": f"{RA}", "OBJCTDEC": f"{wrong:.3f}", "POSANGLE": 10.0 * number}
        wcs = solved(1.5, 10.0 * number, dec=dec)
        write_frame(tmp_path / "night" / f"{number}.fits", APT, **begin, **places, **wcs)
    draft = tmp_path / "mycam.yaml"
    result = run("describe", tmp_path / "night", "--write", draft)
    said = f"OBJCTRA and OBJCTDEC are not where the camera looked in {n_wrong} of 3 solved frames, by 90 arcmin in "
    assert f"- {said}" in result.stdout
    advised = "computeVisitRegions.active.wcsSource=prefer-raw"
    assert f"-c {advised}" in result.stdout
    assert "from the middle" not in draft.read_text()
    repository = tmp_path / "repository"
    assert run("ingest", repository, tmp_path / "night", "--instrument", draft).exit_code == 0
    result = run("define-visits", repository, "QHY268M", "-c", advised)
    assert result.exit_code == 0, result.output
    with Butler.from_config(repository).query() as query:
        visits = list(query.dimension_records("visit").where(instrument="QHY268M"))
    centres = [one.region.getCentroid() for one in sorted(visits, key=lambda one: one.id)]
    decs = [math.degrees(math.asin(centre.z())) for centre in centres]
    assert decs == pytest.approx([47.2, 20.0, -10.0], abs=1e-3)


def test_pointing_that_no_telescope_misses(tmp_path: Path) -> None:
    """Define-visits refuses such a frame whatever it is told, so that the draft does not advise it."""
    write_frame(tmp_path / "a.fits", APT, **solved(1.5, 10, dec=DEC - 20))
    draft, _ = drafted(tmp_path)
    (line,) = [line for line in draft.check if "not where the camera looked in 1 of 1 solved frame" in line]
    assert "by 20 degrees in " in line
    assert "correct the pointings or the WCSs" in line
    assert "prefer-raw" not in line


@pytest.mark.parametrize(("off", "text"), [(0.0, "less than 1 arcsec"), (5.0, "5 arcsec")])
def test_pointing_that_solved_frames_confirm(tmp_path: Path, off: float, text: str) -> None:
    place: dict[str, Any] = {"OBJCTRA": f"{RA}", "OBJCTDEC": f"{DEC + off / 3600:.9f}"}
    write_frame(tmp_path / "a.fits", APT, **place, **solved(1.5, 10))
    write_frame(tmp_path / "b.fits", APT, OBJCTRA=None, DATE_OBS="2024-05-06T22:31:43", **solved(1.5, 10))
    draft, _ = drafted(tmp_path)
    assert f"In 1 solved frame it is {text} from the middle." in draft.text
    assert not any("OBJCTRA" in line for line in draft.check)


def test_no_pointing(tmp_path: Path) -> None:
    write_frame(tmp_path / "a.fits", APT, OBJCTRA=None, OBJCTDEC=None)
    draft, description = drafted(tmp_path)
    assert any("No header says where the telescope looked" in line for line in draft.check)
    (record,) = exposures(description, tmp_path / "a.fits")
    assert record["tracking_ra"] is None


def test_pointing_without_a_mount(tmp_path: Path) -> None:
    """Programs write zeros where no mount says where it looks."""
    write_frame(tmp_path / "a.fits", APT, OBJCTRA="00 00 00", OBJCTDEC="+00 00 00")
    write_frame(tmp_path / "b.fits", APT, DATE_OBS="2024-05-06T22:31:43")
    draft, description = drafted(tmp_path)
    records = exposures(description, tmp_path / "a.fits", tmp_path / "b.fits")
    assert records[0]["tracking_ra"] is None
    assert records[1]["tracking_ra"] == pytest.approx(RA, abs=3e-5)
    assert any("are 0 in 1 frame" in line for line in draft.check)


def test_some_frames_have_another_key(tmp_path: Path) -> None:
    """N.I.N.A. writes RA with a mount, and OBJCTRA with a target."""
    files = [write_frame(tmp_path / "a.fits", NINA)]
    begin: dict[str, Any] = {"DATE-OBS": "2024-05-06T22:31:43"}
    files.append(write_frame(tmp_path / "b.fits", NINA, **begin, RA=None, DEC=None))
    records = exposures(drafted(tmp_path)[1], *files)
    assert [record["tracking_ra"] for record in records] == pytest.approx([RA, RA], abs=5e-3)


# Files, types and filters


def test_filters(tmp_path: Path) -> None:
    """All of them, however they are spelt."""
    names: list[Any] = ["L", "Ha", "ha", "Sloan r'", 3, "No", "Y", "x" * 40, "O III 5nm"]
    files = []
    for number, name in enumerate(names):
        begin: dict[str, Any] = {"DATE-OBS": f"2024-05-06T22:{number:02d}:43"}
        files.append(write_frame(tmp_path / f"{number}.fits", APT, FILTER=name, **begin))
    _, description = drafted(tmp_path)
    records = exposures(description, *files)
    expected = ["L", "Ha", "Ha", "Sloan r'", "3", "No", "Y", "x" * 32, "O III 5nm"]
    assert [record["physical_filter"] for record in records] == expected
    bands = {one.name: one.band for one in description.filters}
    assert (bands["L"], bands["Ha"], bands["Sloan r'"], bands["Y"]) == ("white", "Ha", "r", "y")


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("LIGHT", "science"), ("Tricolor Image", "science"), ("light frame (dark subtracted)", "science"),
        ("DARKFLAT", "dark"), ("FlatDark", "dark"), ("Master Dark Frame", "dark"), ("ZERO", "bias"),
        ("Offset", "bias"), ("Flat Field", "flat"), ("SKYFLAT", "skyflat"), ("SNAPSHOT", "acq"), ("Autofocus", "focus"),
    ],
)  # fmt: skip
def test_types(tmp_path: Path, word: str, kind: str) -> None:
    assert exposure(tmp_path, NINA, IMAGETYP=word)["observation_type"] == kind


def test_numbered_types(tmp_path: Path) -> None:
    assert exposure(tmp_path, THESKYX, IMAGETYP=None, PICTTYPE=3)["observation_type"] == "dark"


def test_unknown_and_missing_types(tmp_path: Path) -> None:
    write_frame(tmp_path / "a.fits", APT, IMAGETYP="Whatever")
    draft, _ = drafted(tmp_path)
    assert any("Frames of type 'Whatever'" in line for line in draft.check)
    (tmp_path / "other").mkdir()
    write_frame(tmp_path / "other" / "b.fits", APT, IMAGETYP=None)
    draft, _ = drafted(tmp_path / "other")
    assert any("all are taken for science" in line for line in draft.check)


def test_exposures_of_one_second(tmp_path: Path) -> None:
    files = []
    for number in range(3):
        begin: dict[str, Any] = {"DATE-OBS": f"2024-05-06T22:21:43.{number}18"}
        files.append(write_frame(tmp_path / f"{number}.fits", NINA, IMAGETYP="BIAS", **begin))
    records = exposures(drafted(tmp_path)[1], *files)
    assert [one["id"] for one in records] == [20240506222143018, 20240506222143118, 20240506222143218]


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({}, {"INSTRUME": "QHY5"}, "several cameras by INSTRUME: 'QHY268M' (1 file, first "),
        ({}, {"FOCALLEN": 2000}, "FOCALLEN is 530 to 2000"),
        ({"CCDNUM": 1}, {"CCDNUM": 2}, "CCDNUM differs: 1 (1 file, first "),
        ({"INSTRUME": None, "TELESCOP": None}, {}, "does not say which camera it is from (INSTRUME)"),
        ({"DATE-OBS": None}, {"DATE-OBS": None}, "does not say when it was taken"),
        (solved(1.5, 0), solved(3.0, 0), "Solved frames have pixels of 1.5 to 3 arcsec"),
    ],
)
def test_refused(tmp_path: Path, first: dict[str, Any], second: dict[str, Any], message: str) -> None:
    write_frame(tmp_path / "a.fits", APT, **first)
    write_frame(tmp_path / "b.fits", APT, **{"DATE-OBS": "2024-05-06T22:31:43"} | second)
    with pytest.raises(IngestError) as caught:
        draft_description([tmp_path])
    assert message in str(caught.value)


@pytest.mark.parametrize(("n_bad", "more"), [
    (1, ""), (2, " 1 more file would be refused too."), (3, " 2 more files would be refused too."),
])  # fmt: skip
def test_files_that_a_draft_does_not_fit(tmp_path: Path, n_bad: int, more: str) -> None:
    night(tmp_path, {"ROTATANG": 10.0}, *[{"ROTATANG": "to the left"}] * n_bad)
    draft, _ = drafted(tmp_path)
    (line,) = [line for line in draft.check if line.startswith("ingest will refuse ")]
    assert "1.fits: " in line
    assert line.endswith(f"not 'to the left'.{more}")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.fits").write_text("no FITS file")
    with pytest.raises(IngestError):
        draft_description([tmp_path])
    write_frame(tmp_path / "b.fits", APT)
    draft, _ = drafted(tmp_path)
    assert draft.n_files == 1
    assert any("a.fits" in line for line in draft.check)


def test_compressed_and_other_images(tmp_path: Path) -> None:
    """A compressed image is in an HDU of its own, and colours are planes of one."""
    light = write_frame(tmp_path / "a.fits", APT, POSANGLE=20.0)
    with fits.open(light) as hdus:
        header, pixels = hdus[0].header, hdus[0].data
        fits.CompImageHDU(pixels, header).writeto(tmp_path / "b.fits.fz")
        fits.PrimaryHDU(np.zeros((3, 40, 60), dtype=np.uint16), header).writeto(tmp_path / "c.fits")
    light.unlink()
    _, description = drafted(tmp_path / "b.fits.fz")
    (record,) = exposures(description, tmp_path / "b.fits.fz")
    assert record["sky_angle"] == 20.0
    assert description.camera is not None
    assert description.camera["CCDs"]["CCD"]["bbox"] == [[0, 0], [59, 39]]
    draft, both = drafted(tmp_path)
    assert draft.n_files == 2
    assert both.camera == description.camera


# The command


def test_command(tmp_path: Path) -> None:
    """From a folder to exposures by commands alone; a description that somebody has worked on is not overwritten."""
    (tmp_path / "night").mkdir()
    write_frame(tmp_path / "night" / "light.fits", NINA, POSANGLE=10.0)
    draft = tmp_path / "mycam.yaml"
    result = run("describe", tmp_path / "night", "--write", draft)
    assert result.exit_code == 0, result.output
    assert f"The draft of a description of ZWO-ASI2600MM-Pro, from 1 file, is in {draft}." in result.stdout
    assert "POSANGLE is taken as it is" in result.stdout
    assert "CHECK: POSANGLE" in draft.read_text()
    repository = tmp_path / "repository"
    result = run("ingest", repository, tmp_path / "night", "--instrument", draft, "--define-visits")
    assert result.exit_code == 0, result.output
    assert "1 visit: 1 new" in result.stdout
    with Butler.from_config(repository).query() as query:
        (record,) = query.dimension_records("exposure").where(instrument="ZWO-ASI2600MM-Pro")
    assert record.sky_angle == 10.0
    before = draft.read_bytes()
    result = run("describe", tmp_path / "night", "--write", draft)
    assert result.exit_code == 2
    assert "already exists" in result.stderr
    assert draft.read_bytes() == before


def test_command_needs_one_file_or_write(tmp_path: Path) -> None:
    write_frame(tmp_path / "a.fits", NINA)
    for arguments in ([tmp_path], [tmp_path / "a.fits", tmp_path / "a.fits"]):
        result = run("describe", *arguments)
        assert result.exit_code == 2
        assert "--write" in result.stderr
    result = run("describe", tmp_path / "none", "--write", tmp_path / "d.yaml")
    assert result.exit_code == 1
    assert "There is no file or folder" in result.stderr
    assert not (tmp_path / "d.yaml").exists()
