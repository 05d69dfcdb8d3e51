"""Read the YAML cameras of Rubin's observatory packages, and `camera_geometry` datasets, which hold the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CameraFileError
from ..geometry import ARCSEC
from ..lists import shown
from ..yaml_files import load_yaml
from .model import Camera, Transform, box_corners

FloatArray = npt.NDArray[np.float64]

_Shape = tuple[int | None, ...]

_LARGEST = 1e30
"""What nothing in a camera is, whatever its unit; powers of larger numbers overflow."""

_FLAT = 1e-12
"""Of its pixels' area, which a detector that is seen from the side has by rounding."""

_RADII = 256
"""At which a distortion is looked at."""

_EXPECTED = {
    ((),): "a number",
    ((2,),): "two numbers",
    ((2,), (3,)): "two or three numbers",
    ((2, 2),): "[[x0, y0], [x1, y1]]",
    ((4,), (2, 2)): "four numbers, row by row",
    ((None,),): "numbers",
}


def read_yaml_camera(content: bytes | str, source: str) -> Camera:
    """Read a camera from YAML text; a `CameraFileError` if it is none."""
    try:
        data = load_yaml(content)
    except ValueError as error:
        raise CameraFileError(f"{source} is not a YAML camera, or it is damaged ({error}).") from error
    return camera_from_mapping(data, source)


def camera_from_mapping(data: Any, source: str) -> Camera:
    """Make a camera from the content of a YAML camera.

    Raises `CameraFileError` if a field is missing or has a value that it cannot have.
    """
    data = _mapping(data, "the camera", source)
    ccds = {
        f"detector {key}": _mapping(ccd, f"detector {key}", source)
        for key, ccd in _mapping(_field(data, "CCDs", "the camera", source), "CCDs", source).items()
    }
    if not ccds:
        raise CameraFileError(f"The camera in {source} has no detectors.")
    if len(ccds) < len(data["CCDs"]):
        name, _ = Counter(str(key) for key in data["CCDs"]).most_common(1)[0]
        raise CameraFileError(f"{source}: CCDs has several detectors with the name {name}; each needs its own.")
    camera = Camera(
        name=str(data.get("name", "camera")),
        detector_ids=_column(ccds, "id", (), source, integers=True).astype(np.int64),
        detector_names=tuple(str(key) for key in data["CCDs"]),
        bounding_boxes=_column(ccds, "bbox", (2, 2), source, integers=True).astype(np.int64),
        pixels_to_focal_plane=_pixels_to_focal_plane(ccds, source),
        focal_plane_to_field_angle=_focal_plane_to_field_angle(data, source),
        source=source,
        detector_types=tuple(detector_type(ccd) for ccd in ccds.values()),
    )
    try:
        camera.corners()
    except CameraFileError as error:
        raise CameraFileError(
            f"{error} They are made of plateScale, transforms.FieldAngle (coeffs, or linear and translation), and each "
            "detector's bbox, pixelSize, refpos, offset, yaw, pitch and roll."
        ) from error
    _check_distortion(camera)
    return camera


def _pixels_to_focal_plane(ccds: Mapping[str, Mapping[str, Any]], source: str) -> tuple[Transform, ...]:
    """Make offset + J (p - refpos) of each detector, J from its orientation and pixel size."""
    offset = np.array(
        [_numbers(ccd, "offset", what, source, (2,), (3,))[:2] for what, ccd in ccds.items()], dtype=float
    ).reshape(-1, 2)
    reference = _column(ccds, "refpos", (2,), source)
    angles = np.deg2rad([_column(ccds, name, (), source, default=0.0) for name in ("yaw", "pitch", "roll")])
    (cos_y, cos_p, cos_r), (sin_y, sin_p, sin_r) = np.cos(angles), np.sin(angles)
    # The upper left 2 x 2 block of Rz(yaw) Ry(pitch) Rx(roll).
    rotation = np.array(
        [
            [cos_y * cos_p, cos_y * sin_p * sin_r - sin_y * cos_r],
            [sin_y * cos_p, sin_y * sin_p * sin_r + cos_y * cos_r],
        ]
    )
    jacobian = np.moveaxis(rotation, -1, 0) * _column(ccds, "pixelSize", (2,), source)[:, None, :]
    area = np.prod(_column(ccds, "pixelSize", (2,), source), axis=1)
    if (flat := np.abs(np.linalg.det(jacobian)) <= _FLAT * np.abs(area)).any():
        what = list(ccds)[int(np.argmax(flat))]
        raise CameraFileError(f"{source}: {what} has no area on the focal plane; check pixelSize and its angles.")
    return tuple(partial(_linear, *of_detector) for of_detector in zip(offset, jacobian, reference, strict=True))


def _focal_plane_to_field_angle(data: Mapping[str, Any], source: str) -> Transform:
    transforms = _mapping(_field(data, "transforms", "the camera", source), "transforms", source)
    what = "transforms.FieldAngle"
    field_angle = _mapping(_field(transforms, "FieldAngle", "transforms", source), what, source)
    native = transforms.get("nativeSys", "FocalPlane")
    if native != "FocalPlane":
        raise CameraFileError(f"{source}: transforms.nativeSys must be FocalPlane, not {shown(native)}.")
    # The parity switch stands beside the transforms in some files and at the top in others.
    parity = data.get("focalPlaneParity", transforms.get("focalPlaneParity", False))
    if not isinstance(parity, bool):
        raise CameraFileError(f"{source}: focalPlaneParity must be true or false, not {shown(parity)}.")
    mirror = np.array([-1.0, 1.0]) if parity else np.ones(2)
    kind = field_angle.get("transformType")
    if kind == "radial":
        plate_scale = float(_numbers(data, "plateScale", "the camera", source, ())) * ARCSEC
        coefficients = np.array(_numbers(field_angle, "coeffs", what, source, (None,)), dtype=float)
        if len(coefficients) < 2 or coefficients[0] != 0:
            raise CameraFileError(f"{source}: coeffs of {what} must be numbers [0, c1, ...]: the centre is a point.")
        # radius / r = scale (c1 + c2 r + ...), which needs no division at the centre.
        return partial(_radial, mirror, np.polynomial.Polynomial(coefficients[1:] * plate_scale))
    if kind == "affine":
        matrix = np.array(_numbers(field_angle, "linear", what, source, (4,), (2, 2)), dtype=float).reshape(2, 2)
        translation = np.array(_numbers(field_angle, "translation", what, source, (2,), default=(0.0, 0.0)))
        return partial(_affine, mirror, matrix, translation)
    raise CameraFileError(f"{source}: transformType of {what} must be radial or affine, not {shown(kind)}.")


def _check_distortion(camera: Camera) -> None:
    """Refuse a radial distortion that has two places of the focal plane at one in the field."""
    transform = camera.focal_plane_to_field_angle
    if not isinstance(transform, partial) or transform.func is not _radial:
        return
    corners = zip(camera.pixels_to_focal_plane, box_corners(camera.bounding_boxes), strict=True)
    largest = max(float(np.hypot(*to_focal_plane(pixels).T).max()) for to_focal_plane, pixels in corners)
    radii = np.linspace(0, largest, _RADII + 1)[1:]
    signs = np.sign((transform.args[1] * np.polynomial.Polynomial([0.0, 1.0])).deriv()(radii))
    if (turned := signs != signs[0]).any():
        raise CameraFileError(
            f"{camera.source}: coeffs of transforms.FieldAngle turn back at a radius of {radii[np.argmax(turned)]:.2g} "
            f"mm, and the detectors reach to {largest:.4g} mm; check the signs and powers of ten."
        )


def detector_type(ccd: Mapping[str, Any]) -> int:
    """Tell what a detector is for; what is no number is science."""
    kind = ccd.get("detectorType", 0)
    return kind if isinstance(kind, int) else 0


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


def _column(
    ccds: Mapping[str, Mapping[str, Any]],
    name: str,
    shape: _Shape,
    source: str,
    *,
    default: Any = None,
    integers: bool = False,
) -> FloatArray:
    """Read a field of all detectors, (D, *shape)."""
    numbers = [_numbers(ccd, name, what, source, shape, default=default) for what, ccd in ccds.items()]
    column = np.array(numbers, dtype=float).reshape(len(ccds), *shape)
    if integers:
        wrong = ((column != np.round(column)) | (np.abs(column) >= 2**31)).reshape(len(ccds), -1).any(axis=1)
        if wrong.any():
            what = list(ccds)[int(np.argmax(wrong))]
            raise CameraFileError(f"{source}: {name} of {what} must be integers, not {shown(ccds[what][name])}.")
    return column


def _numbers(data: Mapping[str, Any], name: str, what: str, source: str, *shapes: _Shape, default: Any = None) -> Any:
    """Read a field that holds numbers of one of the given shapes, in which `None` is any length."""
    value = default if default is not None and name not in data else _field(data, name, what, source)
    if not any(_has_shape(value, shape) for shape in shapes):
        hint = "; numbers have no quotes, colons, nor zeros before them" if "'" in shown(value) else ""
        raise CameraFileError(f"{source}: {name} of {what} must be {_EXPECTED[shapes]}, not {shown(value)}{hint}.")
    return value


def _has_shape(value: Any, shape: _Shape) -> bool:
    """Tell whether it is a number, or lists of numbers; a text is none, and true and false are none."""
    if not shape:
        is_number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        return is_number and bool(abs(value) < _LARGEST)
    return (
        isinstance(value, (list, tuple, np.ndarray))
        and len(value) == (shape[0] or len(value))
        and all(_has_shape(one, shape[1:]) for one in value)
    )
