"""The model of a mosaic of detectors and its exposures, and how it is fitted by least squares.

A detector's pixel p lies at q = offset + size R(yaw) diag(1, back) (p - reference) on the focal plane, in mm, and at
f(q) = scale q (1 + k3 (|q| / reach)^2 + k5 (|q| / reach)^4) in the field, in radians. An exposure's frame turns a
direction on the sky to where the camera sees it: its rows are the field's x axis, its y axis and the boresight, and
a direction (X, Y, Z) in the frame is at (X, Y) / Z in the field. A camera that is seen mirrored has frames whose x axis
is mirrored, so that nothing else depends on it.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..errors import CameraFitError
from ..geometry import FloatArray, axes, ra_dec

IntArray = npt.NDArray[np.intp]
BoolArray = npt.NDArray[np.bool_]

# What a camera is like as far as the samples do not say (standard deviations): detectors are made alike, optics
# distort little, and telescopes look where their headers say. Each counts as one measurement among thousands.
_SIZE_PRIOR = 1e-3
_RADIAL_PRIOR = 0.1
_BORESIGHT_PRIOR = np.deg2rad(1 / 60)

_FLOOR = 1e-3
"""Samples are never taken to be better than this, pixels; else these expectations would vanish in rounding."""


@dataclass(frozen=True, eq=False)
class Observations:
    """Where N pixels were on the sky, sorted by group; a group is one detector in one exposure."""

    detectors: tuple[str, ...]  # names of the D detectors
    exposures: tuple[Hashable, ...]  # the E exposures
    pixels: FloatArray  # (N, 2), less their detector's reference
    directions: FloatArray  # (N, 3), unit vectors
    group: IntArray  # (N,), ascending
    detector: IntArray  # (G,), each group's
    exposure: IntArray  # (G,), each group's

    def select(self, groups: BoolArray) -> Observations:
        """Keep some of the groups; detectors and exposures keep their numbers."""
        points = groups[self.group]
        return replace(
            self,
            pixels=self.pixels[points],
            directions=self.directions[points],
            group=(np.cumsum(groups) - 1)[self.group[points]],
            detector=self.detector[groups],
            exposure=self.exposure[groups],
        )

    def means(self, values: npt.NDArray) -> npt.NDArray:
        """Average values of the pixels, shape (N, ...), over each group, shape (G, ...)."""
        sums = np.add.reduceat(values, np.searchsorted(self.group, np.arange(len(self.detector))))
        return sums / np.bincount(self.group).reshape(-1, *[1] * (values.ndim - 1))


@dataclass(frozen=True, eq=False)
class Model:
    """A mosaic and its exposures: the symbols of this module's description."""

    offset: FloatArray  # (D, 2), mm
    yaw: FloatArray  # (D,), radians
    log_size: FloatArray  # (D,), of sizes in units of pixel_size
    back: FloatArray  # (D,), -1 for detectors that are mirrored in comparison to the others
    frame: FloatArray  # (E, 3, 3)
    log_scale: float  # of radians per mm
    radial: FloatArray  # (k3, k5)
    reach: float  # mm
    pixel_size: float  # mm
    mirrored: bool  # the frames' x axes

    @property
    def pixel_angle(self) -> float:
        """The angle of a pixel, radians."""
        return float(np.exp(self.log_scale)) * self.pixel_size


def frames_at(directions: FloatArray, mirrored: bool, rotation: FloatArray) -> FloatArray:
    """Make frames (E, 3, 3) with the given boresights (E, 3) and rotations (E,), as docs/design.md, Regions, does."""
    east, north = axes(*ra_dec(directions))
    cos, sin = np.cos(rotation)[:, None], np.sin(rotation)[:, None]
    x_axis = (1 if mirrored else -1) * (cos * east - sin * north)
    return np.stack([x_axis, sin * east + cos * north, directions], axis=1)


def project(frames: FloatArray, directions: FloatArray) -> FloatArray:
    """Project directions (..., 3) to the fields of frames (..., 3, 3): shape (..., 2)."""
    seen = np.einsum("...ij,...j->...i", frames, directions)
    return seen[..., :2] / seen[..., 2:]


def linked(data: Observations) -> BoolArray:
    """Tell which groups hang together with the first one by shared detectors and exposures, shape (G,)."""
    reached = np.zeros(len(data.detector), dtype=bool)
    reached[:1] = True
    while True:
        more = np.isin(data.detector, data.detector[reached]) | np.isin(data.exposure, data.exposure[reached])
        if (more == reached).all():
            return reached
        reached = more


def deviations(data: Observations, model: Model) -> FloatArray:
    """Return each group's root mean square distance from the model, pixels, shape (G,)."""
    return _rms(data, _linearize(data, model)[0])


def solve(data: Observations, model: Model, boresight: FloatArray, *, held: int | None = None, robust: bool) -> Model:
    """Fit the model to the samples by least squares: Gauss-Newton, where robust with Cauchy's weights of groups.

    Boresights (E, 3) are about where exposures looked, NaN if unknown; the exposure ``held`` looked there exactly.
    """
    n_detectors, n_exposures = len(data.detectors), len(data.exposures)
    size = n_detectors * 4 + n_exposures * 3 + 3
    # The parameters: four of each detector, three of each exposure (a small rotation), scale, k3, k5.
    of_detector, of_exposure, of_optics = np.split(np.arange(size), [n_detectors * 4, size - 3])
    of_detector, of_exposure = of_detector.reshape(-1, 4), of_exposure.reshape(-1, 3)
    yaws, sizes = of_detector[:, 2], of_detector[:, 3]
    # A group knows ten of them, so the normal equations are summed group by group: scipy's least_squares with a sparse
    # Jacobian is as exact, but takes ten times as long.
    of_groups = np.broadcast_to(of_optics, (len(data.detector), 3))
    of_groups = np.concatenate([of_detector[data.detector], of_exposure[data.exposure], of_groups], axis=1)
    counts = np.bincount(data.group)
    expecting = np.isin(np.arange(n_exposures), data.exposure) & np.isfinite(boresight).all(axis=1)
    for _ in range(100):
        residuals, jacobian = _linearize(data, model)
        rms = _rms(data, residuals)
        noise = max(float(np.median(rms)), _FLOOR)
        weights = counts / (1 + (rms / (3 * noise)) ** 2) if robust else counts
        matrix, vector = np.zeros((size, size)), np.zeros(size)
        products = data.means(np.einsum("nki,nkj->nij", jacobian, jacobian)) * weights[:, None, None]
        np.add.at(matrix, (of_groups[:, :, None], of_groups[:, None, :]), products)
        np.add.at(vector, of_groups, data.means(np.einsum("nki,nk->ni", jacobian, residuals)) * weights[:, None])

        # What is expected of cameras, in the noise's units.
        for at, values, prior in ((sizes, model.log_size, _SIZE_PRIOR), (of_optics[1:], model.radial, _RADIAL_PRIOR)):
            matrix[at, at] += (noise / prior) ** 2
            vector[at] += (noise / prior) ** 2 * values
        expected = expecting * (noise / _BORESIGHT_PRIOR) ** 2
        if held is not None:
            # As sure as where an exposure looked in comparison to the others.
            expected[held] = matrix[of_exposure[held], of_exposure[held]].mean()
        field = np.where(expecting[:, None], project(model.frame, boresight), 0)
        towards = _rotation_jacobian(field)
        products = np.einsum("e,eki,ekj->eij", expected, towards, towards)
        matrix[of_exposure[:, :, None], of_exposure[:, None, :]] += products
        vector[of_exposure] += np.einsum("e,eki,ek->ei", expected, towards, field)
        # The mosaic as a whole can turn against the sky: keep the sum of the yaws.
        matrix[yaws[:, None], yaws] += matrix[yaws, yaws].mean() / n_detectors

        diagonal = np.sqrt(np.diag(matrix))
        diagonal[diagonal == 0] = 1
        scaled = matrix / diagonal[:, None] / diagonal
        scaled[np.diag_indices(size)] = 1
        step = -np.linalg.solve(scaled, vector / diagonal) / diagonal
        if not np.isfinite(step).all():
            break
        model = replace(
            model,
            offset=model.offset + step[of_detector[:, :2]],
            yaw=model.yaw + step[yaws],
            log_size=model.log_size + step[sizes],
            frame=_rotations(step[of_exposure]) @ model.frame,
            log_scale=model.log_scale + step[-3],
            radial=model.radial + step[-2:],
        )
        # The mean change in pixels.
        if step @ matrix @ step < (1e-3 * noise) ** 2 * counts.sum():
            return model
    raise CameraFitError("The fit does not converge; check the WCSs, or leave exposures out.")


def _rms(data: Observations, residuals: FloatArray) -> FloatArray:
    """Return each group's root mean square (G,) of residuals (N, 2)."""
    return np.sqrt(data.means((residuals**2).sum(axis=1)))


def _linearize(data: Observations, model: Model) -> tuple[FloatArray, FloatArray]:
    """Return residuals (N, 2) in pixels and their derivatives (N, 2, 10) by the parameters of their group."""
    detector, exposure = data.detector[data.group], data.exposure[data.group]
    cos, sin = np.cos(model.yaw[detector]), np.sin(model.yaw[detector])
    size = model.pixel_size * np.exp(model.log_size[detector])
    x, y = size * data.pixels[:, 0], size * data.pixels[:, 1] * model.back[detector]
    arm = np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)
    q = model.offset[detector] + arm
    square = ((q / model.reach) ** 2).sum(axis=-1)
    k3, k5 = model.radial
    scale = np.exp(model.log_scale)
    predicted = scale * q * (1 + k3 * square + k5 * square**2)[:, None]
    observed = project(model.frame[exposure], data.directions)

    by_q = scale * (2 * k3 + 4 * k5 * square)[:, None, None] * q[:, :, None] * q[:, None, :] / model.reach**2
    by_q[:, [0, 1], [0, 1]] += scale * (1 + k3 * square + k5 * square**2)[:, None]
    turned = np.stack([-arm[:, 1], arm[:, 0]], axis=-1)
    by_detector = np.concatenate([by_q, by_q @ turned[:, :, None], by_q @ arm[:, :, None]], axis=2)
    by_optics = np.stack([predicted, scale * q * square[:, None], scale * q * square[:, None] ** 2], axis=-1)
    jacobian = np.concatenate([-by_detector, _rotation_jacobian(observed), -by_optics], axis=2)
    unit = scale * model.pixel_size
    return (observed - predicted) / unit, jacobian / unit


def _rotation_jacobian(field: FloatArray) -> FloatArray:
    """Return the derivatives (..., 2, 3) of places in the field (..., 2) by a small rotation of the frame."""
    x, y = field[..., 0], field[..., 1]
    return np.stack([np.stack([-x * y, 1 + x * x, -y], axis=-1), np.stack([-1 - y * y, x * y, x], axis=-1)], axis=-2)


def _rotations(vectors: FloatArray) -> FloatArray:
    """Return the matrices (E, 3, 3) of rotations by vectors (E, 3), radians."""
    # It takes a third of a second to import, which those who fit no camera need not wait for.
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(vectors).as_matrix()
