"""Instrument classes: those that can be imported, with what they bring, and those that cannot."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lsst.daf.butler import Butler
from lsst.pipe.base import Instrument

from butler_visits import CameraFileError, CameraLookupError
from command_line import define_visits, message
from instrument_classes import SimCam, add_instrument, remove_camera, set_class
from simulated_survey import CCD_SIZE, INSTRUMENT, PIXEL_SIZE, PLATE_SCALE
from visit_tables import add_exposures, data_ids, exposure, make_task, root, stored

# It is about classes, which do not know what the database is.
pytestmark = pytest.mark.sqlite_only

CENTRAL_CCD = 4
DEFAULT_PADDING = 250


class Latiss(SimCam):
    """An instrument of a name that the table of known ones has too."""

    @classmethod
    def getName(cls) -> str:
        return "LATISS"


class AbstractCam(Instrument):
    """A class that lacks what every instrument must have."""

    @classmethod
    def getName(cls) -> str:
        return INSTRUMENT


class NoCamera(SimCam):
    def getCamera(self) -> Any:
        raise ImportError("no module lsst.afw here")


class BrokenCamera(SimCam):
    def getCamera(self) -> Any:
        raise ZeroDivisionError("the focal length is 0")


@pytest.fixture
def butler(make_survey: Callable[..., Butler]) -> Butler:
    butler = make_survey()
    add_exposures(butler, [exposure(1)])
    return butler


def padding_of(butler: Butler, instrument: str = INSTRUMENT) -> int:
    """Measure by how many pixels the central CCD is grown on the sky, to 10 pixels."""
    with butler.query() as query:
        (record,) = query.dimension_records("visit_detector_region").where(instrument=instrument, detector=CENTRAL_CCD)
    a, b, c, _ = record.region.getVertices()
    sides = [math.degrees(2 * math.asin((q - p).getNorm() / 2)) * 3600 for p, q in ((a, b), (b, c))]
    pixels = max(sides) / (PLATE_SCALE * PIXEL_SIZE)
    return round((pixels - CCD_SIZE[0]) / 20) * 10


def define(butler: Butler, *arguments: object, instrument: str = INSTRUMENT) -> None:
    result = define_visits(root(butler), instrument, *arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("1 visit: 1 new")


# The config


@pytest.fixture
def overrides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file with which the instrument classes of this module override the config."""
    folder = tmp_path / "overrides"
    folder.mkdir()
    monkeypatch.setattr(SimCam, "configPaths", [str(folder)])
    return folder / "defineVisits.py"


def padding_is(padding: int) -> str:
    return f'config.computeVisitRegions["single-raw-wcs"].padding = {padding}\n'


def test_config_in_order(butler: Butler, overrides: Path, tmp_path: Path) -> None:
    """Each of the defaults, the class, the config file and -c goes before the one in front of it."""
    class_name = f"{__name__}.SimCam"
    file = tmp_path / "config.py"
    file.write_text(padding_is(50))
    options: tuple[object, ...] = ()

    def measure() -> int:
        define(butler, "--update-records" if stored(butler, "visit") else "--no-update-records", *options)
        return padding_of(butler)

    def define(butler: Butler, *arguments: object) -> None:
        result = define_visits(root(butler), INSTRUMENT, *arguments)
        assert result.exit_code == 0, result.output

    assert measure() == DEFAULT_PADDING
    set_class(butler, class_name)
    assert measure() == DEFAULT_PADDING
    overrides.write_text(padding_is(100))
    assert measure() == 100
    options = ("-C", file)
    assert measure() == 50
    options = ("-C", file, "-c", "computeVisitRegions.active.padding=20")
    assert measure() == 20
    options = ("-c", "computeVisitRegions.active.padding=30")
    assert measure() == 30


@pytest.mark.parametrize(
    ("class_name", "own", "padding"),
    [
        ("nowhere.Latiss", None, 4000),
        (f"{__name__}.Latiss", 600, 600),
        (f"{__name__}.Latiss", None, DEFAULT_PADDING),
    ],
    ids=["no class", "class with overrides", "class without overrides"],
)
def test_known_instrument(butler: Butler, overrides: Path, class_name: str, own: int | None, padding: int) -> None:
    """The table of known instruments stands in for a class, and only where there is none."""
    if own is not None:
        overrides.write_text(padding_is(own))
    add_instrument(butler, "LATISS", class_name)
    define(butler, instrument="LATISS")
    assert padding_of(butler, "LATISS") == padding


def test_config_file_goes_before_the_known_instrument(butler: Butler, tmp_path: Path) -> None:
    file = tmp_path / "config.py"
    file.write_text(padding_is(40))
    add_instrument(butler, "LATISS", "nowhere.Latiss")
    define(butler, "-C", file, instrument="LATISS")
    assert padding_of(butler, "LATISS") == 40


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("1 / 0\n", "division by zero"),
        ("config.nonsense = 1\n", "nonsense"),
        ("config.chunkSize = 0\n", "chunkSize"),
        ("config.groupExposures.name = \n", "SyntaxError"),
        ("import no_such_module\n", "no_such_module"),
    ],
)
def test_overrides_that_fail(butler: Butler, overrides: Path, content: str, said: str) -> None:
    overrides.write_text(content)
    set_class(butler, f"{__name__}.SimCam")
    text = message(define_visits(root(butler), INSTRUMENT))
    assert said in text
    # The user learns whose overrides they are: the class's, not the ones of a config file that was given.
    assert f"{__name__}.SimCam" in text or INSTRUMENT in text
    assert not stored(butler, "visit")


# INSTRUMENT


@pytest.mark.parametrize("registered", [f"{__name__}.SimCam", "nowhere.SimCam"], ids=["registered", "alias"])
def test_instrument_by_its_class(butler: Butler, registered: str) -> None:
    """A class that is registered, or that can be imported and says the name of a registered instrument."""
    set_class(butler, registered)
    define(butler, instrument=f"{__name__}.SimCam")


def test_class_of_another_instrument(butler: Butler) -> None:
    assert "Latiss" in message(define_visits(root(butler), f"{__name__}.Latiss"))


def test_class_that_cannot_be_imported_by_its_name(butler: Butler) -> None:
    set_class(butler, "lsst.obs.nowhere.SimCam")
    define(butler, instrument="lsst.obs.nowhere.SimCam")


# Classes that are of no use

BROKEN_MODULES = {
    "runtime": ("raise RuntimeError('the licence server is down')\n", "the licence server is down"),
    "syntax": ("def class\n", "syntax"),
    "import": ("import no_such_package\n", "no_such_package"),
    "key": ("{}['nothing']\n", "nothing"),
}


def assert_stand_in(butler: Butler, caplog: pytest.LogCaptureFixture, class_name: str, reason: str) -> None:
    """Check that visits are defined all the same, and that one warning says why the class is not used."""
    set_class(butler, class_name)
    with caplog.at_level(logging.WARNING, logger="butler_visits"):
        assert make_task(butler).run(data_ids([exposure(1)["id"]])).n_new == 1
    texts = {r.getMessage() for r in caplog.records if r.name.startswith("butler_visits")}
    assert any(class_name in text and reason in text for text in texts), texts
    assert len(texts) == 1


@pytest.mark.parametrize("kind", BROKEN_MODULES)
def test_module_that_fails(
    butler: Butler, caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    content, reason = BROKEN_MODULES[kind]
    (tmp_path / f"broken_{kind}.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    assert_stand_in(butler, caplog, f"broken_{kind}.SimCam", reason)


def test_module_that_fails_on_the_command_line(
    butler: Butler, caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the registered class nor the argument INSTRUMENT stops the command, and it says so once."""
    (tmp_path / "broken_cam.py").write_text(BROKEN_MODULES["runtime"][0])
    monkeypatch.syspath_prepend(tmp_path)
    set_class(butler, "broken_cam.SimCam")
    define(butler, instrument="broken_cam.SimCam")
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


def test_abstract_class(butler: Butler, caplog: pytest.LogCaptureFixture) -> None:
    assert_stand_in(butler, caplog, f"{__name__}.AbstractCam", "abstract")


@pytest.mark.parametrize("class_name", ["pathlib.Path", "os.path.join", "os", "no name", "", "a..b"])
def test_class_that_is_no_instrument(butler: Butler, class_name: str) -> None:
    set_class(butler, class_name)
    assert make_task(butler).run(data_ids([exposure(1)["id"]])).n_new == 1


# The class's camera


def test_class_that_cannot_load_its_camera(butler: Butler) -> None:
    set_class(butler, f"{__name__}.NoCamera")
    remove_camera(butler)
    with pytest.raises(CameraLookupError) as error:
        make_task(butler).run(data_ids([exposure(1)["id"]]))
    for part in (str(exposure(1)["id"]), "getCamera", "no module lsst.afw here"):
        assert part in str(error.value)
    assert not stored(butler, "visit")


def test_class_whose_camera_fails(butler: Butler) -> None:
    set_class(butler, f"{__name__}.BrokenCamera")
    remove_camera(butler)
    with pytest.raises(CameraFileError) as error:
        make_task(butler).run(data_ids([exposure(1)["id"]]))
    for part in (f"{__name__}.BrokenCamera", "ZeroDivisionError", "the focal length is 0"):
        assert part in str(error.value)
    assert not stored(butler, "visit")


@pytest.mark.parametrize("name", ["NoCamera", "BrokenCamera"])
def test_camera_of_the_class_is_not_needed(butler: Butler, name: str) -> None:
    """Where a dataset is the camera, the class is not asked."""
    set_class(butler, f"{__name__}.{name}")
    assert make_task(butler).run(data_ids([exposure(1)["id"]])).n_new == 1


def test_camera_of_the_class_fails_on_the_command_line(butler: Butler) -> None:
    set_class(butler, f"{__name__}.BrokenCamera")
    remove_camera(butler)
    assert "the focal length is 0" in message(define_visits(root(butler), INSTRUMENT))
