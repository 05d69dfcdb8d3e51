"""Take a camera from an object of Rubin's ``lsst.afw.cameraGeom.Camera``, whose package is never imported."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CameraFileError
from .model import Camera, Transform


def camera_from_afw(camera: Any, source: str) -> Camera:
    """Make a camera from an object with the public interface of ``lsst.afw.cameraGeom.Camera``.

    Raises `CameraFileError` if it does not behave as that class does.
    """
    try:
        systems = {system.getSysName(): system for system in camera.getTransformMap()}
        focal_plane, field_angle = systems["FocalPlane"], systems["FieldAngle"]
        detectors = list(camera)
        boxes = [detector.getBBox() for detector in detectors]
        return Camera(
            name=str(camera.getName()),
            detector_ids=np.array([detector.getId() for detector in detectors], dtype=np.int64),
            detector_names=tuple(str(detector.getName()) for detector in detectors),
            bounding_boxes=np.array(
                [[[box.getMinX(), box.getMinY()], [box.getMaxX(), box.getMaxY()]] for box in boxes], dtype=np.int64
            ).reshape(-1, 2, 2),
            pixels_to_focal_plane=tuple(
                _transform(detector.getTransform(detector.getNativeCoordSys(), focal_plane)) for detector in detectors
            ),
            focal_plane_to_field_angle=_transform(camera.getTransform(focal_plane, field_angle)),
            source=source,
            detector_types=tuple(int(detector.getType()) for detector in detectors),
        )
    except CameraFileError:
        raise
    except Exception as error:
        # The object is somebody else's, whose methods can fail in any way.
        missing = f"it has no system {error}" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
        raise CameraFileError(
            f"{source}: this {type(camera).__name__} does not behave as an lsst.afw.cameraGeom.Camera ({missing}); "
            "certify a camera dataset instead."
        ) from error


def _transform(transform: Any) -> Transform:
    """Wrap a ``TransformPoint2ToPoint2``, whose mapping takes points as columns, and try it."""
    applied = partial(_apply, transform.getMapping())
    if (shape := applied(np.zeros((3, 2))).shape) != (3, 2):
        raise TypeError(f"applyForward takes three points to an array of shape {shape[::-1]}, not (2, 3)")
    return applied


def _apply(mapping: Any, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(mapping.applyForward(np.ascontiguousarray(points.T)), dtype=float).T
