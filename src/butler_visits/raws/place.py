"""Whether a WCS puts a detector where the telescope looked."""

from __future__ import annotations

import logging

import numpy as np

from ..errors import RawFileError
from ..geometry import FloatArray

_LOG = logging.getLogger(__name__)

_FIELDS = 3.0
"""A place so many fields from where the telescope looked is suspicious."""

LARGEST_MISS = np.deg2rad(5.0)
"""And wrong, if it is so far off: telescopes do not miss by more."""


def angle_between(a: FloatArray, b: FloatArray) -> FloatArray:
    """Compute the angles between unit vectors (..., 3), radians."""
    return 2 * np.arcsin(np.clip(np.linalg.norm(a - b, axis=-1) / 2, 0, 1))


def check_place(what: str, distance: float, field: float, reference: str) -> None:
    """Warn if something is far from where the telescope looked, by its own ``field`` (both radians).

    Raises `RawFileError` if it is so far off that its WCS or the reference must be wrong.
    """
    if distance <= _FIELDS * field:
        return
    problem = f"{what} by CRVAL1 and CRVAL2 {np.rad2deg(distance):.3g} degrees from where {reference}"
    if distance > LARGEST_MISS:
        raise RawFileError(f"{problem}; correct the one or the other, or leave the exposure out.")
    _LOG.warning("%s; the WCS counts.", problem)
