"""Which camera an exposure gets."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from astropy.time import Time
from lsst.daf.butler import (
    Butler,
    CollectionType,
    DatasetRef,
    DatasetType,
    DimensionRecord,
    FileDataset,
    MissingCollectionError,
    Timespan,
)
from lsst.daf.butler.tests.testFormatters import DoNothingFormatter
from lsst.pipe.base import Instrument
from lsst.sphgeom import ConvexPolygon, LonLat, Region, UnitVector3d

from butler_visits import (
    Camera,
    CameraFileError,
    CameraLookupError,
    DefineVisitsConfig,
    DefineVisitsTask,
)
from butler_visits.camera.yaml_camera import camera_from_mapping
from butler_visits.repository import fetch_instrument
from butler_visits.repository.cameras import CameraFinder
from simulated_survey import camera as survey_camera
from simulated_survey import insert_exposures, night

pytestmark = (
    pytest.mark.sqlite_only
)  # What is stored is read with the same queries; those of several cameras are marked.

SIMCAM: dict[str, Any] = {"instrument": "SimCam"}


def _exposures(butler: Butler, count: int = 20) -> list[DimensionRecord]:
    insert_exposures(butler, night(count))
    with butler.query() as query:
        return sorted(query.dimension_records("exposure").where(**SIMCAM), key=lambda record: record.id)


def _named(name: str) -> dict[str, Any]:
    return survey_camera(rafts=1) | {"name": name}


def _put(butler: Butler, name: str, run: str, calibration: str | None = None, span: Timespan | None = None) -> None:
    """Store a camera_geometry dataset, and certify it if asked."""
    butler.collections.register(run)
    ref = butler.put(_named(name), "camera_geometry", SIMCAM, run=run)
    if calibration is not None:
        butler.collections.register(calibration, CollectionType.CALIBRATION)
        butler.registry.certify(calibration, [ref], span or Timespan(None, None))


def _names(butler: Butler, exposures: list[DimensionRecord], collections: list[str] | None = None) -> list[str]:
    finder = CameraFinder(butler)
    return [camera.name for camera in finder.find(exposures, fetch_instrument(butler, "SimCam"), collections)]


def test_conventional_collection(make_survey: Callable[..., Butler], caplog: pytest.LogCaptureFixture) -> None:
    butler = make_survey()
    exposures = _exposures(butler, 3)
    with caplog.at_level(logging.INFO, logger="butler_visits"):
        assert _names(butler, exposures) == ["SimCam"] * 3
    assert [record.getMessage() for record in caplog.records] == [
        "Camera SimCam is from dataset type camera_geometry in collection SimCam/calib."
    ]


@pytest.mark.both_databases
def test_given_collections_go_first_and_in_order(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    exposures = _exposures(butler, 3)
    _put(butler, "a", "run/a")
    _put(butler, "b", "run/b", "calib/b")
    butler.collections.register("chain", CollectionType.CHAINED)
    butler.collections.redefine_chain("chain", ["run/a", "calib/b"])
    assert set(_names(butler, exposures, ["run/a"])) == {"a"}
    assert set(_names(butler, exposures, ["calib/b", "run/a"])) == {"b"}
    assert set(_names(butler, exposures, ["chain"])) == {"a"}
    assert set(_names(butler, exposures, [])) == {"SimCam"}
    butler.collections.redefine_chain("chain", ["calib/b", "run/a"])
    defaults = Butler.from_config(butler=butler, collections=["chain"])
    assert set(_names(defaults, exposures)) == {"b"}


@pytest.mark.both_databases
def test_each_exposure_gets_the_camera_of_its_time(make_survey: Callable[..., Butler]) -> None:
    """Two cameras, certified for the two halves of a night; the visits of each half have that half's detectors."""
    butler = make_survey()
    exposures = [e for e in _exposures(butler, 30) if e.observation_type == "science"]
    middle = exposures[len(exposures) // 2].timespan.begin
    butler.collections.register("run/late")
    _put(butler, "early", "run/early", "halves", Timespan(None, middle))
    late = _named("late")
    for ccd in late["CCDs"].values():
        ccd["offset"] = [ccd["offset"][0] + 50.0, *ccd["offset"][1:]]
    ref = butler.put(late, "camera_geometry", SIMCAM, run="run/late")
    butler.registry.certify("halves", [ref], Timespan(middle, None))
    names = _names(butler, exposures, ["halves"])
    half = len(exposures) // 2
    assert names == ["early"] * half + ["late"] * (len(exposures) - half)

    DefineVisitsTask(DefineVisitsConfig(), butler=butler).run(exposures, collections=["halves"])
    with butler.query() as query:
        regions = {visit.id: visit.region for visit in query.dimension_records("visit").where(**SIMCAM)}
    for exposure, name in zip(exposures, names, strict=True):
        # 50 mm at 20 arcsec/mm is 1000 arcsec from the boresight.
        expected = 0 if name == "early" else 1000
        assert _distance(regions[exposure.id], exposure) * 3600 == pytest.approx(expected, abs=20)


def _distance(region: Region, exposure: DimensionRecord) -> float:
    """Return how far a region's centre is from an exposure's boresight, degrees."""
    boresight = LonLat.fromDegrees(exposure.tracking_ra, exposure.tracking_dec)
    assert isinstance(region, ConvexPolygon)
    centre = region.getCentroid()
    return float(np.rad2deg(2 * np.arcsin((centre - UnitVector3d(boresight)).getNorm() / 2)))


def test_camera_datasets_go_before_camera_geometry(
    make_survey: Callable[..., Butler], golden: Path, tmp_path: Path
) -> None:
    """A Rubin camera in the conventional collection is preferred to ours in a given one."""
    butler = make_survey()
    exposures = _exposures(butler, 2)
    _put(butler, "ours", "run/ours")
    (path,) = (golden / "repos" / "comCamSim").glob("*/calib/unbounded/camera/*.fits")
    _ingest_camera(butler, path, "SimCam/calib/unbounded", "SimCam/calib")
    assert set(_names(butler, exposures, ["run/ours"])) == {"LSSTComCamSim"}


class AfwFormatter(DoNothingFormatter):
    """Stands for the formatter of Rubin's stack, which this project never calls."""

    supportedExtensions = frozenset({".fits"})


def _ingest_camera(butler: Butler, path: Path, run: str, calibration: str) -> None:
    """Ingest an afw camera file as Rubin's stack would have put it."""
    dataset_type = DatasetType("camera", ["instrument"], "Camera", isCalibration=True, universe=butler.dimensions)
    butler.registry.registerDatasetType(dataset_type)
    butler.collections.register(run)
    ref = DatasetRef(dataset_type, butler.registry.expandDataId(SIMCAM), run=run)
    butler.ingest(
        FileDataset(path=str(path), refs=[ref], formatter=AfwFormatter),
        transfer="copy",
    )
    butler.registry.certify(calibration, [ref], Timespan(None, None))


def test_no_camera_says_what_was_tried(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    exposures = _exposures(butler, 2)
    (ref,) = butler.query_datasets("camera_geometry", "SimCam/calib/unbounded")
    butler.pruneDatasets([ref], purge=True, unstore=True, disassociate=True)
    butler.collections.register("mine")
    with pytest.raises(CameraLookupError) as error:
        _names(butler, exposures, ["mine"])
    message = str(error.value)
    assert isinstance(error.value, LookupError)
    for part in (str(exposures[0].id), "mine, SimCam/calib, SimCam/calib/unbounded", "camera_geometry"):
        assert part in message


def test_no_camera_of_that_time(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    exposures = _exposures(butler, 2)
    _only_until_2001(butler)
    with pytest.raises(CameraLookupError, match=r"the only certified camera is not valid .* begins at 2026-04-01T"):
        _names(butler, exposures)


@pytest.mark.both_databases
def test_exposures_without_a_time_take_unbounded_cameras_only(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    insert_exposures(butler, [night(1)[0] | {"timespan": None}])
    with butler.query() as query:
        exposures = list(query.dimension_records("exposure").where(**SIMCAM))
    assert _names(butler, exposures) == ["SimCam"]
    _only_until_2001(butler)
    with pytest.raises(CameraLookupError, match="has no timespan"):
        _names(butler, exposures)


def _only_until_2001(butler: Butler) -> None:
    """Replace the survey's camera by one that was valid long ago."""
    (ref,) = butler.query_datasets("camera_geometry", "SimCam/calib/unbounded")
    butler.pruneDatasets([ref], purge=True, unstore=True, disassociate=True)
    _put(butler, "old", "run/old", "SimCam/calib", Timespan(None, Time("2001-01-01", scale="tai")))


@pytest.mark.both_databases
def test_missing_collection(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    with pytest.raises(MissingCollectionError, match="nowhere"):
        _names(butler, _exposures(butler, 1), ["nowhere"])


class CameraInstrument(Instrument):
    """An instrument whose class has a camera of its own."""

    camera: Any = None

    @classmethod
    def getName(cls) -> str:
        return "SimCam"

    def register(self, registry: Any, *, update: bool = False) -> None:
        raise AssertionError("not used")

    def getRawFormatter(self, dataId: Any) -> Any:
        raise AssertionError("not used")

    def getCamera(self) -> Any:
        return self.camera


def _of_class(butler: Butler) -> None:
    """Make the registered class importable, and leave it the only source of a camera."""
    (ref,) = butler.query_datasets("camera_geometry", "SimCam/calib/unbounded")
    butler.pruneDatasets([ref], purge=True, unstore=True, disassociate=True)
    with butler.query() as query:
        (record,) = query.dimension_records("instrument").where(**SIMCAM)
    fields = record.toDict() | {"class_name": f"{__name__}.CameraInstrument"}
    butler.registry.syncDimensionData("instrument", fields, update=True)


@pytest.mark.parametrize("kind", ["mapping", "camera"])
def test_camera_of_the_instrument_class(
    make_survey: Callable[..., Butler], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    butler = make_survey()
    exposures = [e for e in _exposures(butler) if e.observation_type == "science"]
    _of_class(butler)
    camera = _named("of the class")
    monkeypatch.setattr(CameraInstrument, "camera", camera if kind == "mapping" else camera_from_mapping(camera, "x"))
    assert set(_names(butler, exposures)) == {"of the class"}
    config = DefineVisitsConfig()
    assert DefineVisitsTask(config, butler=butler).run(exposures[:1]).n_new == 1
    config.computeVisitRegions["single-raw-wcs"].requireVersionedCamera = True
    with pytest.raises(CameraLookupError):
        DefineVisitsTask(config, butler=butler).run(exposures[1:2])
    _put(butler, "dataset", "SimCam/calib/unbounded")
    assert DefineVisitsTask(config, butler=butler).run(exposures[1:2]).n_new == 1


def test_camera_of_another_kind(make_survey: Callable[..., Butler], monkeypatch: pytest.MonkeyPatch) -> None:
    butler = make_survey()
    exposures = _exposures(butler, 1)
    _of_class(butler)
    monkeypatch.setattr(CameraInstrument, "camera", 42)
    with pytest.raises(CameraFileError, match=r"CameraInstrument.getCamera\(\) returned a int"):
        _names(butler, exposures)


def test_a_camera_is_read_once(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    exposures = _exposures(butler, 2)
    finder = CameraFinder(butler)
    instrument = fetch_instrument(butler, "SimCam")
    cameras: list[Camera] = finder.find(exposures, instrument)
    assert cameras[0] is cameras[1] is finder.find(exposures, instrument)[0]


def test_camera_file_that_is_gone(make_survey: Callable[..., Butler], golden: Path) -> None:
    butler = make_survey()
    exposures = _exposures(butler, 1)
    (path,) = (golden / "repos" / "comCamSim").glob("*/calib/unbounded/camera/*.fits")
    _ingest_camera(butler, path, "SimCam/calib/unbounded", "SimCam/calib")
    (ref,) = butler.query_datasets("camera", "SimCam/calib")
    Path(butler.getURI(ref).ospath).unlink()
    with pytest.raises(CameraFileError, match="is gone"):
        _names(butler, exposures)


def test_camera_file_that_changes_in_the_middle(make_survey: Callable[..., Butler]) -> None:
    """A task has read it once; whoever reads it anew does not take half a camera for the whole."""
    butler = make_survey()
    exposures = [one for one in _exposures(butler) if one.observation_type == "science"][:3]
    (ref,) = butler.query_datasets("camera_geometry", "SimCam/calib/unbounded")
    path = Path(butler.getURI(ref).ospath)
    content = path.read_bytes()
    whole = yaml.safe_load(content)
    whole["CCDs"] = dict(list(whole["CCDs"].items())[:4])
    task = DefineVisitsTask(butler=butler)
    assert task.run(exposures[:1]).n_new == 1
    path.write_text(yaml.safe_dump(whole))
    assert task.run(exposures[1:2]).n_new == 1
    with pytest.raises(CameraFileError, match=rf"{path.name} of .* bytes, and had {len(content)} when it was stored"):
        DefineVisitsTask(butler=butler).run(exposures[2:])
    result = DefineVisitsTask(butler=butler).run(exposures[2:], on_error="skip")
    assert (result.n_new, result.n_failed) == (0, 1)
    path.write_bytes(content)
    result = DefineVisitsTask(butler=butler).run(exposures)
    assert (result.n_new, result.n_skipped) == (1, 2)


def test_reason_of_another_instrument(make_survey: Callable[..., Butler], monkeypatch: pytest.MonkeyPatch) -> None:
    """That one instrument's class cannot give its camera is no reason why another has none."""
    butler = make_survey()
    exposures = _exposures(butler, 1)
    (ref,) = butler.query_datasets("camera_geometry", "SimCam/calib/unbounded")
    butler.pruneDatasets([ref], purge=True, unstore=True, disassociate=True)

    def fail(self: Any) -> None:
        raise ImportError("no afw")

    monkeypatch.setattr(CameraInstrument, "getCamera", fail)
    finder = CameraFinder(butler)
    with pytest.raises(
        CameraLookupError, match=r"CameraInstrument.getCamera\(\) needs what is not installed \(no afw\)"
    ):
        finder.find(exposures, CameraInstrument())
    with pytest.raises(CameraLookupError) as error:
        finder.find(exposures, fetch_instrument(butler, "SimCam"))
    assert "getCamera" not in str(error.value)
