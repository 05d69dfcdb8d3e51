"""Convex hulls in the plane and on the sphere."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from .sphere import FloatArray

HULL_TOLERANCE = 1e-15
"""Points this close (radians) to an edge of a hull are no vertices of it.

Above the rounding of unit vectors (1e-16), so that a hull stays convex when it is lifted to the sphere, and 2e-10
arcsec, so that nobody can see it.
"""


def plane_hull(points: npt.ArrayLike, tolerance: float = HULL_TOLERANCE) -> npt.NDArray[np.intp]:
    """Find the convex hull of points (K, 2) in radians: indices (H,) of its vertices among them, counterclockwise.

    Raises `ValueError` if the points lie on a line. Andrew's monotone chain (Information Processing Letters 9, 216,
    1979), whose vertices are then thinned: with a tolerance in the chain itself, points that lie nearly above each
    other would push out the farthest of them.
    """
    xy = np.asarray(points, dtype=float)
    x, y = xy[:, 0].tolist(), xy[:, 1].tolist()
    order = np.lexsort((xy[:, 1], xy[:, 0])).tolist()

    def cross(a: int, b: int, c: int) -> float:
        return (x[b] - x[a]) * (y[c] - y[a]) - (y[b] - y[a]) * (x[c] - x[a])

    def chain(indices: list[int]) -> list[int]:
        hull: list[int] = []
        for index in indices:
            while len(hull) > 1 and cross(hull[-2], hull[-1], index) <= 0:
                hull.pop()
            hull.append(index)
        return hull[:-1]

    def between(a: int, b: int, c: int) -> bool:
        """Tell whether b is within the tolerance of the straight line from a to c."""
        length = math.hypot(x[c] - x[a], y[c] - y[a])
        along = (x[b] - x[a]) * (x[c] - x[a]) + (y[b] - y[a]) * (y[c] - y[a])
        if not 0 <= along <= length**2:
            return min(math.hypot(x[b] - x[e], y[b] - y[e]) for e in (a, c)) <= tolerance
        return abs(cross(a, b, c)) <= tolerance * length

    hull = chain(order) + chain(order[::-1])
    at = 0
    while at < len(hull) and len(hull) > 2:
        if between(hull[at - 1], hull[at], hull[(at + 1) % len(hull)]):
            del hull[at]
            # Its neighbour has a new neighbour.
            at = max(at - 1, 0)
        else:
            at += 1
    if len(hull) < 3:
        raise ValueError(f"{len(xy)} points on a line have no convex hull with an area")
    return np.array(hull, dtype=np.intp)


def sky_hull(directions: FloatArray, tolerance: float) -> FloatArray:
    """Find a convex polygon (V, 3) with few vertices that contains all of some directions (K, 3).

    It reaches beyond their convex hull by no more than the tolerance, radians. It is found on the plane that touches
    the sphere at their mean: vertices that stand out little are left out, and what is left is enlarged until they are
    inside. Raises `ValueError` if the directions are not within a right angle of their mean, or on a great circle.
    """
    centre = directions.mean(axis=0)
    length = np.linalg.norm(centre)
    if not (length > 1e-3 and (directions @ centre > 1e-2 * length).all()):
        raise ValueError(f"{len(directions)} points do not all lie in one half of the sky")
    centre /= length
    east = np.cross(np.eye(3)[np.argmin(np.abs(centre))], centre)
    east /= np.linalg.norm(east)
    axes = np.stack([east, np.cross(centre, east)])
    # The components of the difference from the centre, which small fields do not cancel.
    plane = ((directions - centre) @ axes.T) / (directions @ centre)[:, None]
    hull = plane[plane_hull(plane)]
    middle = hull.mean(axis=0)
    thinning = tolerance / 2
    while True:
        kept = hull[plane_hull(hull, thinning)]
        # How far the hull stands out of each edge of what is left of it, and how far the edges are from the middle.
        edges = np.roll(kept, -1, axis=0) - kept
        outward = np.stack([edges[:, 1], -edges[:, 0]], axis=-1) / np.linalg.norm(edges, axis=1)[:, None]
        distance = np.einsum("ei,ei->e", outward, kept - middle)
        standing_out = np.einsum("ei,kei->ke", outward, hull[:, None] - kept[None]).max(axis=0)
        growth = max(float((standing_out / distance).max()), 0.0)
        reach = growth * np.linalg.norm(kept - middle, axis=1).max()
        if reach <= tolerance or thinning <= HULL_TOLERANCE:
            break
        thinning /= 2
    # A little more, so that the points are inside in spite of rounding.
    kept = middle + (kept - middle) * (1 + growth + 1e-11)
    vertices = centre + kept @ axes
    return vertices / np.linalg.norm(vertices, axis=1)[:, None]
