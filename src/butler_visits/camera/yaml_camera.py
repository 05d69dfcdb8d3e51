"""Read the YAML cameras of Rubin's observatory packages, and `camera_geometry` datasets, which hold the same."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CameraFileError
from ..geometry import ARCSEC
from ..yaml_files import load_yaml
from .model import Camera, Transform

FloatArray = npt.NDArray[np.float64]


def read_yaml_camera(content: bytes | str, source: str) -> Camera:
    """Read a camera from YAML text; a `CameraFileError` if it is none."""
    try:
        data = load_yaml(content)
    except ValueError as error:
        raise CameraFileError(f"{source} is no YAML camera or is damaged ({error}).") from error
    return camera_from_mapping(data, source)


def camera_from_mapping(data: Any, source: str) -> Camera:
    """Make a camera from the content of a YAML camera.

    Raises `CameraFileError` if a field is missing or has a value that it cannot have.
    """
    data = _mapping(data, "the camera", source)
    ccds = _mapping(_field(data, "CCDs", "the camera", source), "CCDs", source)
    names, ids, boxes, transforms = [], [], [], []
    for key, ccd in ccds.items():
        what = f"detector {key}"
        ccd = _mapping(ccd, what, source)
        names.append(str(key))
        ids.append(int(_integers(ccd, "id", (), what, source)))
        boxes.append(_integers(ccd, "bbox", (2, 2), what, source))
        transforms.append(_pixels_to_focal_plane(ccd, what, source))
    return Camera(
        name=str(data.get("name", "camera")),
        detector_ids=np.array(ids, dtype=np.int64),
        detector_names=tuple(names),
        bounding_boxes=np.array(boxes, dtype=np.int64),
        pixels_to_focal_plane=tuple(transforms),
        focal_plane_to_field_angle=_focal_plane_to_field_angle(data, source),
        source=source,
    )


def _pixels_to_focal_plane(ccd: Mapping[str, Any], what: str, source: str) -> Transform:
    """Make offset + J (p - refpos), J from the detector's orientation and pixel size."""
    pixel_size = _numbers(ccd, "pixelSize", (2,), what, source)
    reference = _numbers(ccd, "refpos", (2,), what, source)
    offset = _numbers(ccd, "offset", None, what, source)
    if offset.shape not in ((2,), (3,)):
        raise CameraFileError(f"{source}: offset of {what} must be two or three numbers in mm.")
    angles = np.deg2rad([_numbers(ccd, name, (), what, source, default=0.0) for name in ("yaw", "pitch", "roll")])
    (cos_y, cos_p, cos_r), (sin_y, sin_p, sin_r) = np.cos(angles), np.sin(angles)
    # The upper left 2 x 2 block of Rz(yaw) Ry(pitch) Rx(roll).
    rotation = np.array(
        [
            [cos_y * cos_p, cos_y * sin_p * sin_r - sin_y * cos_r],
            [sin_y * cos_p, sin_y * sin_p * sin_r + cos_y * cos_r],
        ]
    )
    jacobian = rotation * pixel_size
    if np.linalg.det(jacobian) == 0:
        raise CameraFileError(f"{source}: {what} has no area on the focal plane; check pixelSize and its angles.")
    return partial(_linear, offset[:2], jacobian, reference)


def _focal_plane_to_field_angle(data: Mapping[str, Any], source: str) -> Transform:
    transforms = _mapping(_field(data, "transforms", "the camera", source), "transforms", source)
    what = "transforms.FieldAngle"
    field_angle = _mapping(_field(transforms, "FieldAngle", "transforms", source), what, source)
    native = transforms.get("nativeSys", "FocalPlane")
    if native != "FocalPlane":
        raise CameraFileError(f"{source}: transforms.nativeSys must be FocalPlane, not {native!r}.")
    # The parity switch stands beside the transforms in some files and at the top in others.
    parity = data.get("focalPlaneParity", transforms.get("focalPlaneParity", False))
    mirror = np.array([-1.0, 1.0]) if parity else np.ones(2)
    kind = field_angle.get("transformType")
    if kind == "radial":
        plate_scale = float(_numbers(data, "plateScale", (), "the camera", source)) * ARCSEC
        coefficients = _numbers(field_angle, "coeffs", None, what, source)
        if coefficients.ndim != 1 or len(coefficients) < 2 or coefficients[0] != 0:
            raise CameraFileError(f"{source}: coeffs of {what} must be numbers [0, c1, ...]: the centre is a point.")
        # radius / r = scale (c1 + c2 r + ...), which needs no division at the centre.
        return partial(_radial, mirror, np.polynomial.Polynomial(coefficients[1:] * plate_scale))
    if kind == "affine":
        linear = _numbers(field_angle, "linear", None, what, source)
        if linear.size != 4:
            raise CameraFileError(f"{source}: linear of {what} must be four numbers, row by row.")
        matrix = linear.reshape(2, 2)
        translation = _numbers(field_angle, "translation", (2,), what, source, default=(0.0, 0.0))
        return partial(_affine, mirror, matrix, translation)
    raise CameraFileError(f"{source}: transformType of {what} must be radial or affine, not {kind!r}.")


# Functions of a module, so that a camera can be pickled.


def _linear(origin: FloatArray, jacobian: FloatArray, reference: FloatArray, pixels: FloatArray) -> FloatArray:
    return origin + (pixels - reference) @ jacobian.T


def _radial(mirror: FloatArray, per_radius: np.polynomial.Polynomial, focal_plane: FloatArray) -> FloatArray:
    radius = np.hypot(focal_plane[:, 0], focal_plane[:, 1])
    return mirror * focal_plane * per_radius(radius)[:, None]


def _affine(mirror: FloatArray, matrix: FloatArray, translation: FloatArray, focal_plane: FloatArray) -> FloatArray:
    return mirror * (focal_plane @ matrix.T + translation)


def _mapping(value: Any, what: str, source: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise CameraFileError(f"{source}: {what} must be a mapping of names to values.")
    return value


def _field(data: Mapping[str, Any], name: str, what: str, source: str) -> Any:
    if name not in data:
        raise CameraFileError(f"{source}: {what} lacks the field {name}.")
    return data[name]


def _integers(
    data: Mapping[str, Any], name: str, shape: tuple[()] | tuple[int, int], what: str, source: str
) -> npt.NDArray[np.int64]:
    """Read a field that holds integers of the given shape."""
    numbers = _numbers(data, name, shape, what, source)
    if (numbers != np.round(numbers)).any() or (np.abs(numbers) >= 2**31).any():
        raise CameraFileError(f"{source}: {name} of {what} must be integers, not {data[name]!r}.")
    return numbers.astype(np.int64)


def _numbers(
    data: Mapping[str, Any],
    name: str,
    shape: tuple[()] | tuple[int] | tuple[int, int] | None,
    what: str,
    source: str,
    *,
    default: Any = None,
) -> npt.NDArray[np.float64]:
    """Read a field that holds finite numbers of the given shape (any if `None`)."""
    value = default if default is not None and name not in data else _field(data, name, what, source)
    try:
        numbers = np.array(value, dtype=float)
    except (TypeError, ValueError):
        numbers = np.array(np.nan)
    if not np.isfinite(numbers).all() or (shape is not None and numbers.shape != shape):
        shapes = {(): "a number", (2,): "two numbers", (2, 2): "[[x0, y0], [x1, y1]]"}
        expected = "numbers" if shape is None else shapes[shape]
        raise CameraFileError(f"{source}: {name} of {what} must be {expected}, not {value!r}.")
    return numbers
