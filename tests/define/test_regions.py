"""The region algorithm, its config, and the parity rule."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from lsst.daf.butler import Butler, CollectionType, DimensionRecord, Timespan
from lsst.sphgeom import ConvexPolygon, Region

from butler_visits import (
    CameraFileError,
    ComputeVisitRegionsFromSingleRawWcsConfig,
    ComputeVisitRegionsFromSingleRawWcsTask,
    ComputeVisitRegionsTask,
    DefineVisitsConfig,
    DefinitionError,
    VisitDefinitionData,
    VisitSystem,
)
from butler_visits.geometry import outline_distance
from butler_visits.repository import fetch_instrument
from raw_repository import vertices
from simulated_survey import camera as survey_camera
from simulated_survey import insert_exposures, night

pytestmark = pytest.mark.sqlite_only  # Regions are computed in memory.

ARCSEC = math.pi / 180 / 3600
TOLERANCE = 1e-9 * ARCSEC


def _exposures(butler: Butler, instrument: str = "SimCam", **changes: Any) -> list[DimensionRecord]:
    """Insert and return a few exposures on the sky."""
    science = [row for row in night(40) if row["observation_type"] == "science"][:4]
    insert_exposures(butler, [row | {"instrument": instrument} | changes for row in science])
    with butler.query() as query:
        records = query.dimension_records("exposure").where(instrument=instrument)
        return sorted(records, key=lambda record: record.id)


def _visit(*exposures: DimensionRecord) -> VisitDefinitionData:
    return VisitDefinitionData(
        exposures[0].instrument, exposures[0].id, "visit", {VisitSystem.ONE_TO_ONE}, list(exposures)
    )


def _task(butler: Butler, **fields: Any) -> ComputeVisitRegionsFromSingleRawWcsTask:
    config = ComputeVisitRegionsFromSingleRawWcsConfig()
    config.update(**fields)
    return ComputeVisitRegionsFromSingleRawWcsTask(config, butler=butler)


def _corners(exposure: DimensionRecord, camera: dict[str, Any], padding: int, *, flip: bool) -> dict[int, np.ndarray]:
    """Compute all detectors' corners one by one, straight from SPEC sections 4 and 5."""
    scale = camera["plateScale"] * ARCSEC
    coefficients = camera["transforms"]["FieldAngle"]["coeffs"]
    ra, dec, a = (math.radians(v) for v in (exposure.tracking_ra, exposure.tracking_dec, exposure.sky_angle))
    m = 1 if flip else -1
    result = {}
    for ccd in camera["CCDs"].values():
        (x0, y0), (x1, y1) = ccd["bbox"]
        lower, upper = -padding - 0.5, padding + 0.5
        box = [(x0 + lower, y0 + lower), (x1 + upper, y0 + lower), (x1 + upper, y1 + upper), (x0 + lower, y1 + upper)]
        directions = []
        for px, py in box:
            fx = ccd["offset"][0] + ccd["pixelSize"][0] * (px - ccd["refpos"][0])
            fy = ccd["offset"][1] + ccd["pixelSize"][1] * (py - ccd["refpos"][1])
            r = math.hypot(fx, fy)
            factor = scale * sum(c * r**k for k, c in enumerate(coefficients)) / r if r else 0.0
            x, y = fx * factor, fy * factor
            xi = m * math.cos(a) * x + math.sin(a) * y
            eta = -m * math.sin(a) * x + math.cos(a) * y
            p = np.array([math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec)])
            e = np.array([-math.sin(ra), math.cos(ra), 0])
            n = np.array([-math.sin(dec) * math.cos(ra), -math.sin(dec) * math.sin(ra), math.cos(dec)])
            v = p + xi * e + eta * n
            directions.append(v / np.linalg.norm(v))
        result[ccd["id"]] = np.array(directions)
    return result


def _assert_hulls(region: Region, detectors: dict[int, Region], corners: dict[int, np.ndarray]) -> None:
    """Check regions against the hulls that sphgeom finds of the corners."""
    assert sorted(detectors) == sorted(corners)
    for detector, points in corners.items():
        _assert_hull(detectors[detector], points)
    _assert_hull(region, np.concatenate(list(corners.values())))


def _assert_hull(region: Region, points: np.ndarray) -> None:
    from lsst.sphgeom import UnitVector3d

    hull = ConvexPolygon([UnitVector3d(*point) for point in points.tolist()])
    assert outline_distance(vertices(region), vertices(hull)) < TOLERANCE
    # Counterclockwise seen from outside, as sphgeom wants it: the middle is inside.
    middle = points.mean(axis=0)
    assert region.contains(UnitVector3d(*middle))


@pytest.mark.parametrize("padding", [0, 250, 4000, -100])
def test_one_exposure(make_survey: Callable[..., Butler], padding: int) -> None:
    butler = make_survey()
    exposures = _exposures(butler)
    task = _task(butler, padding=padding)
    together = task.compute_all([_visit(exposure) for exposure in exposures])
    for exposure, regions in zip(exposures, together, strict=True):
        region, detectors = task.compute(_visit(exposure))
        _assert_hulls(region, detectors, _corners(exposure, survey_camera(rafts=1), padding, flip=False))
        assert regions.region == region
        assert regions.detectors() == detectors


def test_default_padding() -> None:
    assert ComputeVisitRegionsFromSingleRawWcsConfig().padding == 250


@pytest.mark.parametrize("padding", [-2000, -3000])
def test_padding_that_leaves_nothing(make_survey: Callable[..., Butler], padding: int) -> None:
    butler = make_survey()
    with pytest.raises(CameraFileError, match=f"R22_S00 .* has no pixels with a padding of {padding}"):
        _task(butler, padding=padding).compute(_visit(*_exposures(butler)))


def test_a_detector_that_is_a_line_on_the_sky(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    camera = survey_camera(rafts=1)
    camera["transforms"]["FieldAngle"] = {"transformType": "affine", "linear": [1e-4, 0, 1e-4, 0]}
    _add_instrument(butler, "FlatCam", camera)
    with pytest.raises(CameraFileError, match="has no area in the field"):
        _task(butler).compute(_visit(_exposures(butler, "FlatCam")[0]))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_several_exposures(make_survey: Callable[..., Butler], order: tuple[int, ...]) -> None:
    """The first exposure's corners, or those of all if asked; the order they come in does not matter."""
    butler = make_survey()
    exposures = _exposures(butler)[:3]
    camera = survey_camera(rafts=1)
    visit = _visit(*(exposures[i] for i in order))
    _assert_hulls(*_task(butler).compute(visit), _corners(exposures[0], camera, 250, flip=False))
    each = [_corners(exposure, camera, 250, flip=False) for exposure in exposures]
    merged = {detector: np.concatenate([corners[detector] for corners in each]) for detector in each[0]}
    _assert_hulls(*_task(butler, mergeExposures=True).compute(visit), merged)


def test_merging_equal_pointings_is_one_of_them(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    exposures = _exposures(butler, tracking_ra=0.001, tracking_dec=89.9, sky_angle=33.0)
    merged, detectors = _task(butler, mergeExposures=True).compute(_visit(*exposures))
    single, single_detectors = _task(butler).compute(_visit(exposures[0]))
    for a, b in [(merged, single), *((detectors[d], single_detectors[d]) for d in single_detectors)]:
        assert outline_distance(vertices(a), vertices(b)) < TOLERANCE


def test_merging_takes_each_exposures_own_camera(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    first, second = _exposures(butler)[:2]
    moved = survey_camera(rafts=1)
    for ccd in moved["CCDs"].values():
        ccd["offset"] = [ccd["offset"][0] + 80.0, *ccd["offset"][1:]]
    butler.collections.register("moved/run")
    butler.collections.register("moved", CollectionType.CALIBRATION)
    ref = butler.put(moved, "camera_geometry", {"instrument": "SimCam"}, run="moved/run")
    butler.registry.certify("moved", [ref], Timespan(second.timespan.begin, None))
    cameras = [survey_camera(rafts=1), moved]
    each = [_corners(e, c, 250, flip=False) for e, c in zip((first, second), cameras, strict=True)]
    merged = {detector: np.concatenate([corners[detector] for corners in each]) for detector in each[0]}
    task = _task(butler, mergeExposures=True)
    _assert_hulls(*task.compute(_visit(first, second), collections=["moved"]), merged)


def test_nothing_is_nothing(make_survey: Callable[..., Butler]) -> None:
    assert _task(make_survey()).compute_all([]) == []


@pytest.mark.parametrize("source", ["auto", "record"])
def test_config_fields(make_survey: Callable[..., Butler], source: str) -> None:
    """Fields of a Rubin config file load; a detector of its own makes no difference to the record's pointing."""
    butler = make_survey()
    visit = _visit(_exposures(butler)[0])
    assert _task(butler, detectorId=3, wcsSource=source).compute(visit) == _task(butler).compute(visit)


def test_declination_off_the_sphere(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    exposure = _exposures(butler, tracking_dec=91.0)[0]
    with pytest.raises(DefinitionError, match=f"Exposure {exposure.id} has tracking_dec 91.0; expected -90 to 90"):
        _task(butler).compute(_visit(exposure))


def _add_instrument(butler: Butler, name: str, camera: dict[str, Any]) -> None:
    """Register another instrument with the survey's detectors and a camera."""
    with butler.query() as query:
        (instrument,) = query.dimension_records("instrument")
        detectors = list(query.dimension_records("detector"))
        filters = list(query.dimension_records("physical_filter"))
    fields = instrument.toDict() | {"name": name, "class_name": f"nowhere.{name}"}
    butler.registry.insertDimensionData("instrument", fields)
    for element, records in (("detector", detectors), ("physical_filter", filters)):
        butler.registry.insertDimensionData(element, *(r.toDict() | {"instrument": name} for r in records))
    butler.collections.register(f"{name}/calib/unbounded")
    butler.put(camera, "camera_geometry", {"instrument": name}, run=f"{name}/calib/unbounded")


@pytest.mark.parametrize("camera_flipped", [False, True])
@pytest.mark.parametrize("name", ["DECam", "LATISS"])
def test_an_instrument_that_expects_a_flip(make_survey: Callable[..., Butler], name: str, camera_flipped: bool) -> None:
    """Its raws are mirrored, whether the camera file says so or not: the sky is the same both times."""
    butler = make_survey()
    camera = survey_camera(rafts=1)
    _add_instrument(butler, name, camera | {"focalPlaneParity": camera_flipped})
    exposure = _exposures(butler, name)[0]
    _assert_hulls(*_task(butler).compute(_visit(exposure)), _corners(exposure, camera, 250, flip=True))


@pytest.mark.parametrize("name", ["OtherCam", "HSC", "LSSTCam"])
def test_a_flip_that_nobody_expects(make_survey: Callable[..., Butler], name: str) -> None:
    butler = make_survey()
    _add_instrument(butler, name, survey_camera(rafts=1) | {"focalPlaneParity": True})
    with pytest.raises(CameraFileError, match=f"is mirrored, which the raws of {name} are not"):
        _task(butler).compute(_visit(_exposures(butler, name)[0]))


@pytest.mark.parametrize(("name", "padding"), [("LATISS", 4000), ("DECam", 250)])
def test_known_instruments_change_the_config(make_survey: Callable[..., Butler], name: str, padding: int) -> None:
    butler = make_survey()
    _add_instrument(butler, name, survey_camera(rafts=1))
    config, other = DefineVisitsConfig(), DefineVisitsConfig()
    instrument = fetch_instrument(butler, name)
    assert instrument.getName() == name
    instrument.applyConfigOverrides("defineVisits", config)
    assert config.computeVisitRegions.active.padding == padding
    instrument.applyConfigOverrides("anotherTask", other)
    assert other == DefineVisitsConfig()


def test_the_base_class_is_abstract(make_survey: Callable[..., Butler]) -> None:
    with pytest.raises(TypeError, match="abstract"):
        ComputeVisitRegionsTask(butler=make_survey())  # type: ignore[abstract]
