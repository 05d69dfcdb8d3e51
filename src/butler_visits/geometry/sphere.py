"""Directions, angles and the tangent plane.

Directions are unit vectors (x, y, z) in ICRS; angles are in radians. The tangent plane touches the sphere at the
boresight, its coordinates are xi (to the east) and eta (to the north), and great circles are its straight lines.
"""

from __future__ import annotations

__all__ = ["ARCSEC", "FloatArray", "field_angle_to_sky", "lon_lat"]

import math

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

ARCSEC = math.pi / 180 / 3600
"""One second of arc, in radians."""


def field_angle_to_sky(
    field_angle: npt.ArrayLike,
    ra: npt.ArrayLike,
    dec: npt.ArrayLike,
    rotation: npt.ArrayLike,
    *,
    flip: npt.ArrayLike = False,
) -> FloatArray:
    """Lift points of the field to the sky, for many pointings at once.

    ``field_angle`` (K, 2): field angles (x, y) on the tangent plane, radians; ``ra, dec`` (...): boresight of each
    pointing, radians; ``rotation`` (...): rotation angle of each pointing (``sky_angle`` of its exposure), radians;
    ``flip`` (...): whether the field's x axis is mirrored; returns ``directions`` (..., K, 3): unit vectors.

    docs/design.md, Regions, step 3: the direction of p + xi e + eta n, with p the boresight, e east and n north of it.
    """
    ra, dec, rotation = np.broadcast_arrays(
        np.asarray(ra, dtype=float), np.asarray(dec, dtype=float), np.asarray(rotation, dtype=float)
    )
    sin_ra, cos_ra, sin_dec, cos_dec = np.sin(ra), np.cos(ra), np.sin(dec), np.cos(dec)
    boresight = np.stack([cos_dec * cos_ra, cos_dec * sin_ra, sin_dec], axis=-1)
    east = np.stack([-sin_ra, cos_ra, np.zeros_like(ra)], axis=-1)
    north = np.stack([-sin_dec * cos_ra, -sin_dec * sin_ra, cos_dec], axis=-1)
    cos_a, sin_a = np.cos(rotation)[..., None], np.sin(rotation)[..., None]
    mirror = np.where(np.asarray(flip, dtype=bool), 1.0, -1.0)[..., None]
    # The images of the field's axes, so that all corners cost one product of matrices.
    x_axis = mirror * (cos_a * east - sin_a * north)
    y_axis = sin_a * east + cos_a * north
    directions = np.asarray(field_angle, dtype=float) @ np.stack([x_axis, y_axis], axis=-2)
    directions += boresight[..., None, :]
    directions /= np.sqrt(np.einsum("...i,...i->...", directions, directions))[..., None]
    return directions


def lon_lat(directions: FloatArray) -> FloatArray:
    """Turn directions into right ascensions and declinations.

    ``directions`` (..., 3): unit vectors; returns ``angles`` (..., 2): right ascension, from 0 up to but without 360,
    and declination, degrees.
    """
    x, y, z = directions[..., 0], directions[..., 1], directions[..., 2]
    angles = np.empty((*x.shape, 2))
    ra = np.rad2deg(np.arctan2(y, x)) % 360
    # The remainder of a negative angle below the rounding of 360 is 360.
    angles[..., 0] = np.where(ra < 360, ra, 0.0)
    angles[..., 1] = np.rad2deg(np.arctan2(z, np.hypot(x, y)))
    return angles
