"""Where an exposure looked."""

from __future__ import annotations

__all__ = ["Pointings", "is_on_sky", "record_pointings"]

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from lsst.daf.butler import DimensionRecord

from .errors import DefinitionError

_FIELDS = ("tracking_ra", "tracking_dec", "sky_angle")


class Pointings(NamedTuple):
    """Boresight and rotation of exposures, radians, each of shape (N,)."""

    ra: npt.NDArray[np.float64]
    dec: npt.NDArray[np.float64]
    rotation: npt.NDArray[np.float64]


def is_on_sky(exposure: DimensionRecord) -> bool:
    """Tell whether an exposure saw the sky and its record says where.

    Parameters
    ----------
    exposure : `lsst.daf.butler.DimensionRecord`
        The ``exposure`` record.

    Returns
    -------
    on_sky : `bool`
        `False` if a field of its pointing is null or not a number, or if ``can_see_sky`` is false.
    """
    if getattr(exposure, "can_see_sky", None) is False:
        return False
    return all(value is not None and math.isfinite(value) for value in _values(exposure))


def record_pointings(exposures: Sequence[DimensionRecord]) -> Pointings:
    """Take pointings from exposure records.

    Parameters
    ----------
    exposures : `~collections.abc.Sequence` [`lsst.daf.butler.DimensionRecord`]
        The ``exposure`` records.

    Returns
    -------
    pointings : `Pointings`
        Their boresights and rotations.

    Raises
    ------
    DefinitionError
        If a record has no pointing, or one that is not on the sphere.
    """
    for exposure in exposures:
        if not is_on_sky(exposure):
            raise DefinitionError(f"Exposure {exposure.id} is not on the sky; it has no pointing.")
        if abs(exposure.tracking_dec) > 90:
            raise DefinitionError(
                f"Exposure {exposure.id} has tracking_dec {exposure.tracking_dec}; expected -90 to 90 degrees. "
                "Correct its exposure record."
            )
    degrees = np.array([_values(exposure) for exposure in exposures], dtype=float).reshape(-1, 3)
    return Pointings(*np.deg2rad(degrees).T)


def _values(exposure: DimensionRecord) -> list[float | None]:
    return [getattr(exposure, field) for field in _FIELDS]
