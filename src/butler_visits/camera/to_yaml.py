"""Write any camera as a YAML camera, where the format can say what its transforms do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import CameraFileError
from ..geometry import ARCSEC
from ..lists import angle_text
from .model import Camera, box_corners
from .yaml_camera import camera_from_mapping

FloatArray = npt.NDArray[np.float64]

_PADDING = 250
"""Pixels around the detectors in which both are compared: by so many regions are grown."""

_GRID = np.linspace(0.0, 1.0, 11)
_HIGHEST_POWER = 12
_EXACT, _CLOSE = 1e-6, 1e-2
"""Pixels: below the first a polynomial has terms enough, and beyond the second the format cannot say it."""


class YamlCamera(NamedTuple):
    """A camera as a YAML file says it."""

    mapping: dict[str, Any]
    deviation: float
    """Arcseconds between the same pixel of both cameras, at most, on the detectors and 250 pixels around them."""


def camera_to_mapping(camera: Camera) -> YamlCamera:
    """Find the content of a YAML camera with the same geometry.

    Raises `CameraFileError` if there is none: its optics are neither radial nor linear.
    """
    corners = box_corners(camera.bounding_boxes, _PADDING)
    # (D, 121, 2)
    x, y = (corners[:, 0, axis, None] + np.outer(corners[:, 2, axis] - corners[:, 0, axis], _GRID) for axis in (0, 1))
    pixels = np.stack(np.broadcast_arrays(x[:, :, None], y[:, None, :]), axis=-1).reshape(len(corners), -1, 2)
    focal_plane = np.stack([to_plane(p) for to_plane, p in zip(camera.pixels_to_focal_plane, pixels, strict=True)])
    field = camera.focal_plane_to_field_angle(focal_plane.reshape(-1, 2))
    if not np.isfinite(field).all():
        raise CameraFileError(f"The camera in {camera.source} puts some pixels at no finite field angle.")
    columns = camera.detector_names, camera.detector_ids, camera.bounding_boxes, pixels, focal_plane
    types = camera.detector_types or (0,) * len(camera.detector_names)
    ccds = {
        name: {
            "id": int(number),
            "detectorType": kind,
            "bbox": box.tolist(),
            **_orientation(box.mean(axis=0), pixel, plane),
        }
        for name, number, box, pixel, plane, kind in zip(*columns, types, strict=True)
    }
    steps = np.linalg.norm(field.reshape(-1, 11, 11, 2)[:, 0, 1] - field.reshape(-1, 11, 11, 2)[:, 0, 0], axis=-1)
    pixel = float(np.min(steps / ((corners[:, 2, 1] - corners[:, 0, 1]) * _GRID[1])))
    best: YamlCamera | None = None
    some = slice(None, None, max(1, len(field) // 20_000))
    for optics in _optics(camera, focal_plane.reshape(-1, 2)[some], field[some]):
        mapping = {"name": camera.name, **optics, "CCDs": ccds}
        try:
            other = camera_from_mapping(mapping, camera.source)
        except CameraFileError:
            # What is not radial may be fitted by a distortion that turns back. Linear optics are the last ones.
            if optics["transforms"]["FieldAngle"]["transformType"] == "radial":
                continue
            raise
        planes = [to_plane(p) for to_plane, p in zip(other.pixels_to_focal_plane, pixels, strict=True)]
        difference = other.focal_plane_to_field_angle(np.concatenate(planes)) - field
        deviation = float(np.linalg.norm(difference, axis=-1).max())
        if best is None or deviation < best.deviation:
            best = YamlCamera(mapping, deviation)
        if deviation < _EXACT * pixel:
            break
    assert best is not None
    if not best.deviation < _CLOSE * pixel:
        raise CameraFileError(
            f"The camera in {camera.source} cannot be written as YAML: its transforms are neither radial nor linear. "
            f"The nearest that YAML can say is {angle_text(best.deviation / ARCSEC)} away "
            f"({best.deviation / pixel:.3g} pixels). Store the FITS file itself with write-camera."
        )
    return best._replace(deviation=best.deviation / ARCSEC)


def _orientation(middle: FloatArray, pixels: FloatArray, focal_plane: FloatArray) -> dict[str, Any]:
    """Find where a detector lies, from points (K, 2) of it and of the focal plane: the nearest linear transform."""
    design = np.column_stack([np.ones(len(pixels)), pixels - middle])
    offset, along_x, along_y = np.linalg.lstsq(design, focal_plane, rcond=None)[0]
    width = math.hypot(*along_x)
    # The step along y, seen from that along x.
    skew, height = np.array([along_x @ along_y, along_x[0] * along_y[1] - along_x[1] * along_y[0]]) / width
    pitch = 0.0
    if abs(skew) < 1e-9 * abs(height):
        size, roll = [width, abs(height)], 0.0 if height > 0 else 180.0
    else:
        # A square pixel s that is tilted: s cos(pitch) = width, s cos(roll) = height, s sin(pitch) sin(roll) = skew.
        total, product = width**2 + height**2 + skew**2, (width * height) ** 2
        s = math.sqrt((total + math.sqrt(total**2 - 4 * product)) / 2)
        size, roll = [s, s], math.degrees(math.acos(height / s))
        pitch = math.copysign(math.degrees(math.acos(width / s)), skew)
    yaw = math.degrees(math.atan2(along_x[1], along_x[0]))
    return {
        "pixelSize": [float(one) for one in size],
        "refpos": middle.tolist(),
        "offset": offset.tolist(),
        "yaw": yaw,
        "pitch": pitch,
        "roll": roll,
    }


def _optics(camera: Camera, focal_plane: FloatArray, field: FloatArray) -> Iterator[dict[str, Any]]:
    """Make what YAML can say of the way from the focal plane to the field: radial of growing powers, then linear."""
    radius, angle = np.hypot(*focal_plane.T), np.hypot(*field.T)
    farthest = radius.max()
    for power in range(1, _HIGHEST_POWER + 1):
        # Weights of the radius, and no constant: the centre is a point.
        powers = np.arange(1, power + 1)
        terms = np.linalg.lstsq((radius[:, None] / farthest) ** powers, angle, rcond=None)[0] / farthest**powers
        if terms[0] > 0:
            yield {
                "plateScale": float(terms[0] / ARCSEC),
                "focalPlaneParity": camera.flipped,
                "transforms": {
                    "nativeSys": "FocalPlane",
                    "FieldAngle": {"transformType": "radial", "coeffs": [0.0, *(terms / terms[0]).tolist()]},
                },
            }
    design = np.column_stack([np.ones(len(focal_plane)), focal_plane])
    translation, *linear = np.linalg.lstsq(design, field, rcond=None)[0]
    yield {
        "plateScale": math.sqrt(abs(np.linalg.det(np.array(linear)))) / ARCSEC,
        "transforms": {
            "nativeSys": "FocalPlane",
            "FieldAngle": {
                "transformType": "affine",
                "linear": np.array(linear).T.ravel().tolist(),
                "translation": translation.tolist(),
            },
        },
    }
