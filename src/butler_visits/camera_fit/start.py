"""Find a mosaic from which a camera fit can start, however wrong some of its samples are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..errors import CameraFitError
from .solver import BoolArray, FloatArray, Model, Observations, frames_at, project

ComplexArray = npt.NDArray[np.complex128]

_AGREEMENT = 50.0
"""Detectors that exposures put at the same place within so many pixels agree well enough to start from."""


def start(
    data: Observations, boresight: FloatArray, rotation: FloatArray, pixel_size: float
) -> tuple[Model, BoolArray]:
    """Find a mosaic without distortion from which the fit can start, and which groups (G,) it can use.

    Boresights (E, 3) are about where exposures looked, rotations (E,) any, radians, and the pixels' mean size is in mm.
    Groups are usable if they are mirrored, or not, as their detector is in most exposures.
    """
    frame = frames_at(boresight, False, rotation)
    exposure = data.exposure[data.group]
    if (bad := np.einsum("ni,ni->n", frame[exposure, 2], data.directions) < 0.5).any():
        wide = data.exposures[exposure[np.argmax(bad)]]
        raise CameraFitError(
            f"Exposure {wide} has samples that are more than 60 degrees from its boresight or from each other; "
            "check its WCSs and its pointing."
        )
    parity = _parities(data, project(frame[exposure], data.directions))
    votes = np.bincount(data.detector, parity, len(data.detectors))
    detector_parity = np.where(votes < 0, -1.0, 1.0)
    mirrored = bool(detector_parity.sum() < 0)
    usable = parity == detector_parity[data.detector]
    if mirrored:
        frame[:, 0] *= -1
        detector_parity *= -1

    # Complex numbers for the plane: a group's pixel z is at b + a z in its exposure's field.
    z = data.pixels[:, 0] + 1j * data.pixels[:, 1] * detector_parity[data.detector[data.group]]
    field = project(frame[exposure], data.directions)
    w = field[:, 0] + 1j * field[:, 1]
    z_mean, w_mean = data.means(z), data.means(w)
    z_rest, w_rest = z - z_mean[data.group], w - w_mean[data.group]
    a = data.means(z_rest.conj() * w_rest) / data.means(np.abs(z_rest) ** 2)
    b = w_mean - a * z_mean
    tables = np.full((2, len(data.exposures), len(data.detectors)), np.nan, dtype=complex)
    tables[:, data.exposure[usable], data.detector[usable]] = a[usable], b[usable]
    (a, b), turn, shift = _align(*tables)

    # Turn the frames so that all exposures see the common field.
    handed = np.linalg.det(frame)[:, None]
    centre = np.einsum("eij,ei->ej", frame, np.stack([shift.real, shift.imag, np.ones(len(shift))], 1))
    centre /= np.linalg.norm(centre, axis=1, keepdims=True)
    x_axis = np.einsum("eij,ei->ej", frame, np.stack([turn.real, turn.imag, np.zeros(len(turn))], 1))
    x_axis -= np.einsum("ei,ei->e", x_axis, centre)[:, None] * centre
    x_axis /= np.linalg.norm(x_axis, axis=1, keepdims=True)
    scale = float(np.median(np.abs(a))) / pixel_size
    reach = np.abs(b[data.detector[data.group]] + a[data.detector[data.group]] * z) / scale
    model = Model(
        offset=np.stack([b.real, b.imag], axis=-1) / scale,
        yaw=np.angle(a),
        log_size=np.log(np.abs(a) / (scale * pixel_size)),
        back=detector_parity,
        frame=np.stack([x_axis, handed * np.cross(centre, x_axis), centre], axis=1),
        log_scale=float(np.log(scale)),
        radial=np.zeros(2),
        reach=float(reach.max()),
        pixel_size=pixel_size,
        mirrored=mirrored,
    )
    return model, usable


def _parities(data: Observations, field: FloatArray) -> FloatArray:
    """Return for each group whether its field (N, 2) is its pixels mirrored (-1) or not (1)."""
    pixels = data.pixels - data.means(data.pixels)[data.group]
    square = data.means(pixels[:, :, None] * pixels[:, None, :])
    product = data.means(field[:, :, None] * pixels[:, None, :])
    determinants, squares = np.linalg.det(product), np.linalg.det(square)
    # Pixels on a line span no area: 1e-6 of that of a square with the same extent is rounding.
    flat = (squares <= 1e-6 * np.trace(square, axis1=1, axis2=2) ** 2) | (determinants == 0)
    if flat.any():
        detector, exposure = data.detector[np.argmax(flat)], data.exposure[np.argmax(flat)]
        raise CameraFitError(
            f"Detector {data.detectors[detector]} has fewer than three pixels off a line in exposure "
            f"{data.exposures[exposure]}, or they are all at one place; give it more samples."
        )
    return np.sign(determinants)


def _align(a: ComplexArray, b: ComplexArray) -> tuple[ComplexArray, ComplexArray, ComplexArray]:
    """Put the detectors of all exposures in one field; in an exposure's, their pixels z are at b + a z, or at NaN.

    From a and b (E, D) come those of the common field (2, D), and turn and shift (E,): its point z is at shift + turn z
    in an exposure's field.
    """

    def transfer(e: int, a_known: ComplexArray, b_known: ComplexArray) -> tuple[complex, complex, int]:
        """Find turn, shift and how many detectors agree; medians, because some samples may be wrong."""
        both = np.isfinite(a[e]) & np.isfinite(a_known)
        if not both.any():
            return 1, 0, 0
        ratio = a[e, both] / a_known[both]
        turn = np.median(ratio.real) + 1j * np.median(ratio.imag)
        turn /= abs(turn) or 1
        differences = b[e, both] - turn * b_known[both]
        shift = np.median(differences.real) + 1j * np.median(differences.imag)
        return turn, shift, int((np.abs(differences - shift) < _AGREEMENT * np.abs(a[e, both])).sum())

    exposures = range(len(a))
    # Begin with the exposure that agrees with most others, and of those the one that has most detectors.
    support = [sum(transfer(e, a[r], b[r])[2] for e in exposures if e != r) for r in exposures]
    first = max(exposures, key=lambda r: (support[r], np.isfinite(a[r]).sum()))
    mosaic = np.stack([a[first], b[first]])
    turn, shift = np.ones(len(a), dtype=complex), np.zeros(len(a), dtype=complex)
    left = set(exposures) - {first}
    while left:
        transfers = {e: transfer(e, *mosaic) for e in sorted(left)}
        e = max(transfers, key=lambda e: transfers[e][2])
        turn[e], shift[e], _ = transfers[e]
        new = np.isnan(mosaic[0])
        mosaic[:, new] = a[e, new] / turn[e], (b[e, new] - shift[e]) / turn[e]
        left.remove(e)
    # Where most exposures put a detector; the first that has it may be wrong.
    back = np.stack([a, b - shift[:, None]]) / turn[:, None]
    return np.nanmedian(back.real, axis=1) + 1j * np.nanmedian(back.imag, axis=1), turn, shift
