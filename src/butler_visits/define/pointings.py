"""Where an exposure looked: from its record, or fitted to the WCS of its raws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from lsst.daf.butler import DimensionRecord

from ..errors import DefinitionError
from ..geometry import axes, ra_dec


class Pointings(NamedTuple):
    """Boresight and rotation of exposures, radians, each of shape (N,)."""

    ra: npt.NDArray[np.float64]
    dec: npt.NDArray[np.float64]
    rotation: npt.NDArray[np.float64]


class FittedPointing(NamedTuple):
    """The pointing with which a camera reproduces directions on the sky."""

    ra: float
    """Boresight, radians."""
    dec: float
    rotation: float
    """Rotation angle as in ``sky_angle`` of an exposure, radians."""
    flip: bool
    """Whether the camera's field is mirrored."""
    residual: float
    """Largest distance between the directions and the camera's, radians."""


def is_on_sky(exposure: DimensionRecord) -> bool:
    """Tell whether an exposure saw the sky and its record says where."""
    return getattr(exposure, "can_see_sky", None) is not False and has_pointing(exposure)


def has_pointing(exposure: DimensionRecord) -> bool:
    """Tell whether an exposure's record says where it looked."""
    ra, dec, angle = _values(exposure)
    if ra is None or dec is None or angle is None:
        return False
    return math.isfinite(ra) and math.isfinite(dec) and math.isfinite(angle)


def saw_sky(exposure: DimensionRecord) -> bool:
    """Tell whether an exposure is known to have seen the sky, wherever it looked."""
    can_see_sky = getattr(exposure, "can_see_sky", None)
    if can_see_sky is None:
        return (exposure.observation_type or "").casefold() == "science"
    return bool(can_see_sky)


def record_pointings(exposures: Sequence[DimensionRecord]) -> Pointings:
    """Take pointings from exposure records.

    Raises `DefinitionError` if a record has no pointing, or one that is not on the sphere.
    """
    for exposure in exposures:
        if not is_on_sky(exposure):
            raise DefinitionError.of_exposure(exposure.id, " is not on the sky; it has no pointing.")
        if abs(exposure.tracking_dec) > 90:
            raise DefinitionError.of_exposure(
                exposure.id,
                f" has tracking_dec {exposure.tracking_dec}; expected -90 to 90 degrees. Correct its exposure record.",
            )
    degrees = np.array([_values(exposure) for exposure in exposures], dtype=float).reshape(-1, 3)
    return Pointings(*np.deg2rad(degrees).T)


def fit_pointing(
    field_angle: npt.NDArray[np.float64], directions: npt.NDArray[np.float64], pixel_scale: float
) -> FittedPointing:
    """Fit pointing, rotation and parity so that a camera's points of the field (K, 2), radians, lie on directions.

    Points that are off by more than ``pixel_scale``, radians, count less and less. The field lies on the sky by a
    rotation, whose least-squares solution is known in closed form (W. Kabsch, Acta Crystallographica A32, 922, 1976);
    it is found for either parity, the better one is taken, and a robust fit goes on from there.
    """
    # It takes a third of a second to import, which those who need no raw need not wait for.
    from scipy.optimize import least_squares
    from scipy.spatial.transform import Rotation

    fits = []
    for mirror in (-1.0, 1.0):
        local = np.column_stack([np.ones(len(field_angle)), mirror * field_angle[:, 0], field_angle[:, 1]])
        local /= np.linalg.norm(local, axis=1)[:, None]
        # scipy's align_vectors does the same, and warns of square fields.
        u, _, vt = np.linalg.svd(directions.T @ local)
        matrix = u @ np.diag([1.0, 1.0, np.linalg.det(u) * np.linalg.det(vt)]) @ vt
        start = Rotation.from_matrix(matrix)
        fits.append((np.linalg.norm(local @ matrix.T - directions), mirror, local, start))
    _, mirror, local, start = min(fits, key=lambda fit: fit[0])

    def offsets(turn: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        turned = Rotation.from_rotvec(turn * pixel_scale) * start
        return ((turned.apply(local) - directions) / pixel_scale).ravel()

    fitted = least_squares(offsets, np.zeros(3), loss="soft_l1")
    boresight, x_axis, y_axis = (Rotation.from_rotvec(fitted.x * pixel_scale) * start).as_matrix().T
    ra, dec = map(float, ra_dec(boresight))
    # docs/design.md, Regions, step 3: the field's y axis is sin(a) e + cos(a) n, its x axis m (cos(a) e - sin(a) n).
    east, _ = axes(ra, dec)
    rotation = math.atan2(float(y_axis @ east), float(x_axis @ east))
    residual = np.linalg.norm(fitted.fun.reshape(-1, 3), axis=1).max() * pixel_scale
    return FittedPointing(ra % (2 * math.pi), dec, rotation % (2 * math.pi), mirror > 0, float(residual))


def _values(exposure: DimensionRecord) -> list[float | None]:
    return [exposure.tracking_ra, exposure.tracking_dec, exposure.sky_angle]
