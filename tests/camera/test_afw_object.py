"""Cameras that an instrument's class gives as objects of Rubin's own class, for which a stand-in stands here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from lsst.daf.butler import Butler

from butler_visits import Camera, CameraFileError
from butler_visits.camera.afw_fits import read_afw_camera
from butler_visits.camera.afw_object import camera_from_afw
from butler_visits.camera.model import Transform
from butler_visits.camera.yaml_camera import camera_from_mapping
from command_line import define_visits, message
from instrument_classes import SimCam, remove_camera, set_class
from simulated_survey import INSTRUMENT
from simulated_survey import camera as survey_camera
from visit_tables import add_exposures, counts, data_ids, exposure, make_task, root, stored, tables

pytestmark = pytest.mark.sqlite_only  # Cameras are the same from either database.

# The public interface of lsst.afw.cameraGeom, as far as it matters; as strict as that is about what it takes.


class CameraSys(NamedTuple):
    sys_name: str
    detector_name: str = ""

    def getSysName(self) -> str:
        return self.sys_name

    def getDetectorName(self) -> str:
        return self.detector_name


class Mapping:
    def __init__(self, transform: Transform) -> None:
        self._transform = transform

    def applyForward(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        assert points.dtype == np.float64
        assert points.flags.c_contiguous
        assert points.shape[0] == 2
        return self._transform(points.T).T


class TransformPoint2ToPoint2:
    def __init__(self, transform: Transform) -> None:
        self._transform = transform

    def getMapping(self) -> Mapping:
        return Mapping(self._transform)


class TransformMap:
    def __init__(self, transforms: dict[tuple[CameraSys, CameraSys], Transform]) -> None:
        self._transforms = transforms

    def __iter__(self) -> Iterator[CameraSys]:
        yield from dict.fromkeys(system for ends in self._transforms for system in ends)

    def getTransform(self, fromSys: CameraSys, toSys: CameraSys) -> TransformPoint2ToPoint2:
        return TransformPoint2ToPoint2(self._transforms[fromSys, toSys])


class Box2I(NamedTuple):
    corners: npt.NDArray[np.int64]

    def getMinX(self) -> int:
        return int(self.corners[0, 0])

    def getMinY(self) -> int:
        return int(self.corners[0, 1])

    def getMaxX(self) -> int:
        return int(self.corners[1, 0])

    def getMaxY(self) -> int:
        return int(self.corners[1, 1])


class Detector:
    def __init__(self, identifier: int, name: str, box: Box2I, transform_map: TransformMap) -> None:
        self._id, self._name, self._box, self._transform_map = identifier, name, box, transform_map

    def getId(self) -> int:
        return self._id

    def getName(self) -> str:
        return self._name

    def getType(self) -> int:
        return 0

    def getBBox(self) -> Box2I:
        return self._box

    def getNativeCoordSys(self) -> CameraSys:
        return CameraSys("Pixels", self._name)

    def getTransformMap(self) -> TransformMap:
        return self._transform_map

    def getTransform(self, fromSys: CameraSys, toSys: CameraSys) -> TransformPoint2ToPoint2:
        return self._transform_map.getTransform(fromSys, toSys)


class AfwCamera:
    def __init__(self, model: Camera) -> None:
        focal_plane, field_angle = CameraSys("FocalPlane"), CameraSys("FieldAngle")
        transforms = {(focal_plane, field_angle): model.focal_plane_to_field_angle}
        for name, transform in zip(model.detector_names, model.pixels_to_focal_plane, strict=True):
            transforms[CameraSys("Pixels", name), focal_plane] = transform
        self._name = model.name
        self._transform_map = TransformMap(transforms)
        self._detectors = [
            Detector(int(identifier), name, Box2I(box), self._transform_map)
            for identifier, name, box in zip(
                model.detector_ids, model.detector_names, model.bounding_boxes, strict=True
            )
        ]

    def __iter__(self) -> Iterator[Detector]:
        return iter(self._detectors)

    def getName(self) -> str:
        return self._name

    def getTransformMap(self) -> TransformMap:
        return self._transform_map

    def getTransform(self, fromSys: CameraSys, toSys: CameraSys) -> TransformPoint2ToPoint2:
        return self._transform_map.getTransform(fromSys, toSys)


def small_camera() -> Camera:
    return camera_from_mapping(survey_camera(rafts=1), "small")


@pytest.mark.parametrize("name", ["imsim", "comCamSim", "lsstCamSim"])
def test_real_camera(golden: Path, name: str) -> None:
    (path,) = (golden / "repos" / name).glob("*/calib/unbounded/camera/*.fits")
    expected = read_afw_camera(path.read_bytes(), "file")
    camera = camera_from_afw(AfwCamera(expected), "object")
    assert (camera.name, camera.source) == (expected.name, "object")
    assert camera.detector_names == expected.detector_names
    assert np.array_equal(camera.detector_ids, expected.detector_ids)
    assert np.array_equal(camera.bounding_boxes, expected.bounding_boxes)
    assert np.abs(camera.corners(250) - expected.corners(250)).max() < 1e-12
    assert camera.flipped is expected.flipped


class AfwSimCam(SimCam):
    """An instrument whose class has a camera of Rubin's kind."""

    def getCamera(self) -> Any:
        return AfwCamera(small_camera())


class LesserSimCam(SimCam):
    def getCamera(self) -> Any:
        camera = AfwCamera(small_camera())
        camera._transform_map = TransformMap({})
        return camera


def test_visits_of_an_instrument_class(make_survey: Callable[..., Butler]) -> None:
    """The visits are to the bit those of a repository that has the same camera as a dataset."""
    with_dataset, with_class = make_survey(), make_survey()
    set_class(with_class, f"{__name__}.AfwSimCam")
    remove_camera(with_class)
    for butler in (with_dataset, with_class):
        ids = add_exposures(butler, [exposure(1), exposure(2)])
        assert counts(make_task(butler).run(data_ids(ids))) == {"n_visits": 2, "n_new": 2}
    assert tables(with_class) == tables(with_dataset)


def test_class_whose_camera_is_incomplete(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    add_exposures(butler, [exposure(1)])
    set_class(butler, f"{__name__}.LesserSimCam")
    remove_camera(butler)
    said = message(define_visits(root(butler), INSTRUMENT))
    assert f"{__name__}.LesserSimCam.getCamera()" in said
    assert "it has no system 'FocalPlane'" in said
    assert not stored(butler, "visit")


class NoBox(Detector):
    @property
    def getBBox(self) -> Any:
        raise AttributeError("'NoBox' object has no attribute 'getBBox'")


def _no_box(camera: AfwCamera) -> None:
    for detector in camera:
        detector.__class__ = NoBox


def _no_field_angle(camera: AfwCamera) -> None:
    transforms = camera._transform_map._transforms
    del transforms[CameraSys("FocalPlane"), CameraSys("FieldAngle")]


def _one_pixel_system_missing(camera: AfwCamera) -> None:
    del camera._transform_map._transforms[CameraSys("Pixels", "R22_S11"), CameraSys("FocalPlane")]


def _one_number_for_two(camera: AfwCamera) -> None:
    ends = CameraSys("FocalPlane"), CameraSys("FieldAngle")
    camera._transform_map._transforms[ends] = lambda points: points[:, :1]


def _no_detectors(camera: AfwCamera) -> None:
    camera._detectors.clear()


def _detector_ids_are_not_numbers(camera: AfwCamera) -> None:
    camera._detectors[0]._id = "zero"  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_no_box, "getBBox"),
        (_no_field_angle, "no system 'FieldAngle'"),
        (_one_pixel_system_missing, "R22_S11"),
        (_one_number_for_two, "applyForward .* shape"),
        (_no_detectors, "has no detectors"),
        (_detector_ids_are_not_numbers, "zero"),
    ],
)
def test_object_that_does_not_behave(change: Callable[[AfwCamera], None], said: str) -> None:
    camera = AfwCamera(small_camera())
    change(camera)
    with pytest.raises(CameraFileError, match=said) as error:
        camera_from_afw(camera, "MyCam.getCamera()")
    assert "MyCam.getCamera()" in str(error.value)


@pytest.mark.parametrize("thing", [None, 42, [], object()])
def test_object_of_another_kind(thing: object) -> None:
    with pytest.raises(CameraFileError, match="getTransformMap"):
        camera_from_afw(thing, "MyCam.getCamera()")
