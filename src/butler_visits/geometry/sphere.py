"""Directions, angles and the tangent plane.

Directions are unit vectors (x, y, z) in ICRS; angles are in radians. The tangent plane touches the sphere at the
boresight, its coordinates are xi (to the east) and eta (to the north), and great circles are its straight lines.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

ARCSEC = math.pi / 180 / 3600
"""One second of arc, in radians."""


def directions(ra: npt.ArrayLike, dec: npt.ArrayLike) -> FloatArray:
    """Turn angles (...) into directions (..., 3)."""
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def ra_dec(directions: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Turn directions (..., 3), of any length, into angles (...), the right ascension from -pi to pi."""
    x, y, z = np.moveaxis(directions, -1, 0)
    return np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))


def largest_distance(directions: FloatArray) -> float:
    """Return the largest distance (radians) of any two of some directions (n, 3)."""
    # Of a chord, because the cosine of a small angle has lost its digits.
    chords = np.linalg.norm(directions[:, None] - directions, axis=-1)
    return float(2 * np.arcsin(np.clip(chords.max(initial=0.0) / 2, 0, 1)))


def axes(ra: npt.ArrayLike, dec: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return the directions (..., 3) to the east and to the north at angles (...)."""
    sin_ra, cos_ra, sin_dec, cos_dec = np.sin(ra), np.cos(ra), np.sin(dec), np.cos(dec)
    east = np.stack([-sin_ra, cos_ra, np.zeros_like(sin_ra)], axis=-1)
    return east, np.stack([-sin_dec * cos_ra, -sin_dec * sin_ra, cos_dec], axis=-1)


def field_angle_to_sky(
    field_angle: npt.ArrayLike,
    ra: npt.ArrayLike,
    dec: npt.ArrayLike,
    rotation: npt.ArrayLike,
    *,
    flip: npt.ArrayLike = False,
) -> FloatArray:
    """Lift points (K, 2) of the field to directions (..., K, 3), for many pointings (...) at once.

    The field angles are (x, y) on the tangent plane, ``rotation`` is an exposure's ``sky_angle``, and ``flip`` mirrors
    the field's x axis. docs/design.md, Regions, step 3: the direction of p + xi e + eta n, with p the boresight, e east
    and n north of it.
    """
    ra, dec, rotation = np.broadcast_arrays(
        np.asarray(ra, dtype=float), np.asarray(dec, dtype=float), np.asarray(rotation, dtype=float)
    )
    east, north = axes(ra, dec)
    cos_a, sin_a = np.cos(rotation)[..., None], np.sin(rotation)[..., None]
    mirror = np.where(np.asarray(flip, dtype=bool), 1.0, -1.0)[..., None]
    # The images of the field's axes, so that all corners cost one product of matrices.
    x_axis = mirror * (cos_a * east - sin_a * north)
    y_axis = sin_a * east + cos_a * north
    points = np.asarray(field_angle, dtype=float) @ np.stack([x_axis, y_axis], axis=-2)
    points += directions(ra, dec)[..., None, :]
    points /= np.sqrt(np.einsum("...i,...i->...", points, points))[..., None]
    return points


def lon_lat(directions: FloatArray) -> FloatArray:
    """Turn directions (..., 3) into angles (..., 2) in degrees, right ascensions from 0 up to but without 360."""
    ra, dec = np.rad2deg(ra_dec(directions))
    ra %= 360
    # The remainder of a negative angle below the rounding of 360 is 360.
    return np.stack([np.where(ra < 360, ra, 0.0), dec], axis=-1)
