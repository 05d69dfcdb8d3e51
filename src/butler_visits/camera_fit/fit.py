"""Fit a camera to places on the sky: where its detectors lie, how large their pixels are, and the distortion."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..camera.yaml_camera import camera_from_mapping
from ..errors import CameraFitError
from ..geometry import ARCSEC, directions, field_angle_to_sky, ra_dec
from .samples import DetectorSamples, check_detectors, make_observations
from .solver import BoolArray, FloatArray, Model, Observations, deviations, frames_at, linked, project, solve
from .start import start

_OUTLIER = 5.0
"""A detector's samples of one exposure are left out if they deviate so many times more than the median of all."""
_OUTLIER_PIXELS = 1.0
"""But never if they deviate less than this: exact headers have a median of nothing."""
_MAX_RESIDUAL = 20.0
"""Largest root mean square distance of a detector's samples that is a fit, pixels."""


class Pointing(NamedTuple):
    """Where an exposure looked, radians; where ``rotation`` is `None`, only its boresight is known."""

    ra: float
    dec: float
    rotation: float | None = None


class Residual(NamedTuple):
    """Distances between a camera and samples, pixels."""

    rms: float
    max: float


@dataclass(frozen=True, eq=False)
class FittedCamera:
    """A camera that was fitted, and how well it fits."""

    mapping: dict[str, Any]  # the content of a YAML camera
    residuals: dict[str, Residual]  # for each detector, of the samples that were used
    pointings: dict[Hashable, Pointing]  # where each exposure looked
    flipped: bool  # whether the camera's focal plane is seen mirrored
    rejected: tuple[tuple[Hashable, str, Residual], ...] = ()  # exposures and detectors that contradict the others
    notes: tuple[str, ...] = ()  # what was assumed


def fit_camera(
    samples: Sequence[DetectorSamples],
    *,
    name: str,
    pixel_size: float = 0.015,
    pointings: Mapping[Any, Pointing] | None = None,
    hold_boresights: bool = True,
) -> FittedCamera:
    """Fit a camera to where its pixels were on the sky, in exposures that hang together by detectors that they share.

    The focal plane's unit follows from the mean size of a pixel, mm. The boresights of ``pointings`` say where the
    camera's centre is; by default, it is in the middle of the distortion, and if there is none, of the samples. Held,
    they decide even where the distortion says otherwise: regions from exposure records, which know nothing but such
    boresights, then are where the samples are. Their rotations say how the camera is turned; by default, so that most
    detectors have a yaw near zero. One that differs from the others does no harm.
    """
    if not samples:
        raise CameraFitError("There are no samples to fit a camera to.")
    if not (np.isfinite(pixel_size) and pixel_size > 0):
        raise CameraFitError(f"The size of a pixel must be a positive number of millimetres, not {pixel_size}.")
    ids, boxes = check_detectors(samples)
    data = make_observations(samples, boxes)
    known = {exposure: Pointing(*pointing) for exposure, pointing in (pointings or {}).items()}
    boresight, rotation = _expected_pointings(data, known)

    model, usable = start(data, boresight, rotation, pixel_size)
    _check_linked(data, usable)
    # Exposures with other detectors have other middles: those say nothing, but one centre of all does.
    is_known = np.array([exposure in known for exposure in data.exposures])
    boresight = np.where(is_known[:, None], boresight, np.nan) if known else model.frame[:, 2]
    model = solve(data.select(usable), model, boresight, robust=True)
    used = _select(data, usable, deviations(data, model))
    seen = np.unique(data.exposure[used])
    of_known = seen[is_known[seen]]
    held = None
    if hold_boresights and len(of_known):
        offsets = project(model.frame[of_known], boresight[of_known])
        held = of_known[_middle(np.linalg.norm(offsets[:, None] - offsets, axis=-1))]
    model = solve(data.select(used), model, boresight, held=held, robust=False)
    rotations = {number: known[data.exposures[number]].rotation for number in of_known}
    model = _normalized(model, {number: angle for number, angle in rotations.items() if angle is not None})
    return _fitted(name, ids, boxes, data, used, model)


def _expected_pointings(data: Observations, known: Mapping[Hashable, Pointing]) -> tuple[FloatArray, FloatArray]:
    """Return boresights (E, 3), where unknown the middle of an exposure's detectors, and rotations (E,)."""
    boresight, rotation = np.zeros((len(data.exposures), 3)), np.zeros(len(data.exposures))
    np.add.at(boresight, data.exposure, data.means(data.directions))
    for number, exposure in enumerate(data.exposures):
        if exposure in known:
            ra, dec, angle = known[exposure]
            boresight[number] = directions(ra, dec)
            rotation[number] = angle or 0.0
    length = np.linalg.norm(boresight, axis=1)
    bad = ~(np.isfinite(length) & (length > 0) & np.isfinite(rotation))
    if bad.any():
        raise CameraFitError(
            f"Exposure {data.exposures[np.argmax(bad)]} has a pointing that is not a number, or samples all over the "
            "sky."
        )
    return boresight / length[:, None], rotation


def _check_linked(data: Observations, used: BoolArray) -> None:
    """Check that all exposures that are used show one mosaic."""
    selected = data.select(used)
    apart = ~linked(selected)
    if apart.any():
        first = int(np.argmax(apart))
        raise CameraFitError(
            f"Exposure {data.exposures[selected.exposure[first]]}, with detector "
            f"{data.detectors[selected.detector[first]]}, shares no detector with exposure "
            f"{data.exposures[selected.exposure[0]]} and those that hang together with it, or only such as contradict "
            "each other; add an exposure that has detectors of both."
        )


def _select(data: Observations, usable: BoolArray, rms: FloatArray) -> BoolArray:
    """Leave out groups that deviate from the others; but a detector without better ones keeps those that it has."""
    good = usable & (rms <= max(_OUTLIER * float(np.median(rms[usable])), _OUTLIER_PIXELS))
    # Where most of an exposure is wrong, the rest of it agrees by accident.
    mostly = np.bincount(data.exposure, good) >= 0.5 * np.bincount(data.exposure)
    good &= mostly[data.exposure]
    used = good | (usable & ~np.isin(data.detector, data.detector[good]))
    _check_linked(data, used)
    return used


def _normalized(model: Model, rotations: Mapping[int, float]) -> Model:
    """Apply what are conventions: the mean size of a pixel, and how the mosaic is turned."""
    growth = float(np.exp(model.log_size).mean())
    if rotations:
        differences = np.array([_pointing(model, number)[2] - angle for number, angle in rotations.items()])
        distances = np.abs(_wrapped(differences[:, None] - differences, 2 * np.pi))
        turn = differences[_middle(distances)] * (-1 if model.mirrored else 1)
    else:
        # To the nearest multiple of 90 degrees, and of these to the one that most detectors have.
        quarter = np.angle(np.exp(4j * model.yaw).sum()) / 4
        quarters = np.round((model.yaw - quarter) / (np.pi / 2)).astype(int) % 4
        quarter += float(np.median(_wrapped(model.yaw - quarter, np.pi / 2)))
        turn = -(quarter + np.bincount(quarters).argmax() * np.pi / 2)
    cos, sin = np.cos(turn), np.sin(turn)
    rotation = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    return replace(
        model,
        offset=model.offset @ rotation[:2, :2].T / growth,
        yaw=model.yaw + turn,
        log_size=model.log_size - np.log(growth),
        frame=rotation @ model.frame,
        log_scale=model.log_scale + np.log(growth),
        reach=model.reach / growth,
    )


def _middle(distances: FloatArray) -> int:
    """Return which of several things is nearest to all, given the distances (E, E) between them: their median."""
    return int(np.argmin(distances.sum(axis=1)))


def _wrapped(angle: FloatArray, period: float) -> FloatArray:
    """Move angles into the period around zero."""
    return angle - period * np.round(angle / period)


def _pointing(model: Model, exposure: int) -> tuple[float, float, float]:
    """Return right ascension, declination and rotation of a frame, radians."""
    frame = model.frame[exposure]
    west, north, boresight = frames_at(frame[None, 2], False, np.zeros(1))[0]
    ra, dec = map(float, ra_dec(boresight))
    return ra % (2 * np.pi), dec, float(np.arctan2(-frame[1] @ west, frame[1] @ north))


def _fitted(
    name: str,
    ids: Mapping[str, int],
    boxes: Mapping[str, npt.NDArray[np.int64]],
    data: Observations,
    used: BoolArray,
    model: Model,
) -> FittedCamera:
    """Write the camera down, and measure what was written against the samples."""
    mapping = _mapping(name, ids, boxes, model)
    camera = camera_from_mapping(mapping, "the fit")
    angles = [_pointing(model, number) for number in range(len(data.exposures))]
    distance = np.empty(len(data.pixels))
    for group, (number, exposure) in enumerate(zip(data.detector, data.exposure, strict=True)):
        points = data.group == group
        pixels = data.pixels[points] + boxes[data.detectors[number]].mean(axis=0)
        field_angle = camera.focal_plane_to_field_angle(camera.pixels_to_focal_plane[number](pixels))
        off = field_angle_to_sky(field_angle, *angles[exposure]) - data.directions[points]
        distance[points] = np.linalg.norm(off, axis=1) / model.pixel_angle

    def residual(points: BoolArray) -> Residual:
        return Residual(float(np.sqrt((distance[points] ** 2).mean())), float(distance[points].max()))

    detector, is_used = data.detector[data.group], used[data.group]
    residuals = {name: residual(is_used & (detector == number)) for number, name in enumerate(data.detectors)}
    worst = max(residuals, key=lambda name: residuals[name].rms)
    if not residuals[worst].rms <= _MAX_RESIDUAL:
        exposure = data.exposures[data.exposure[data.group[np.argmax(np.where(is_used, distance, -1))]]]
        raise CameraFitError(
            f"Detector {worst} is {residuals[worst].rms:.1f} pixels (root mean square) from any camera, which is more "
            f"than {_MAX_RESIDUAL:g}; exposure {exposure} deviates most. Check its WCSs, or leave it out."
        )
    return FittedCamera(
        mapping=mapping,
        residuals=residuals,
        pointings={data.exposures[number]: Pointing(*angles[number]) for number in np.unique(data.exposure[used])},
        flipped=model.mirrored,
        rejected=tuple(
            (data.exposures[data.exposure[group]], data.detectors[data.detector[group]], residual(data.group == group))
            for group in np.flatnonzero(~used)
        ),
    )


def _mapping(
    name: str, ids: Mapping[str, int], boxes: Mapping[str, npt.NDArray[np.int64]], model: Model
) -> dict[str, Any]:
    """Write a model as the content of a YAML camera, with digits enough for a ten-thousandth of a pixel."""
    k3, k5 = (model.radial / model.reach ** np.array([2, 4])).tolist()
    yaws = np.rad2deg(_wrapped(model.yaw, 2 * np.pi))
    sizes = model.pixel_size * np.exp(model.log_size)
    return {
        "name": name,
        "plateScale": float(f"{np.exp(model.log_scale) / ARCSEC:.10g}"),
        "focalPlaneParity": model.mirrored,
        "transforms": {
            "nativeSys": "FocalPlane",
            "FieldAngle": {
                "transformType": "radial",
                "coeffs": [0.0, 1.0, 0.0, float(f"{k3:.8g}"), 0.0, float(f"{k5:.8g}")],
            },
        },
        "CCDs": {
            detector: {
                "id": ids[detector],
                "serial": detector,
                "detectorType": 0,
                "bbox": boxes[detector].tolist(),
                "pixelSize": [float(f"{sizes[number]:.9g}")] * 2,
                "refpos": boxes[detector].mean(axis=0).tolist(),
                "offset": np.round(model.offset[number], 6).tolist(),
                "yaw": round(float(yaws[number]), 7) + 0.0,  # no -0.0
                "pitch": 0.0,
                # A detector that is mirrored in comparison to the others is seen from behind.
                "roll": 0.0 if model.back[number] > 0 else 180.0,
            }
            for number, detector in enumerate(ids)
        },
    }
