"""Tangent plane, hulls, polygon bytes and boundary distance: numpy in, numpy out.

Directions are unit vectors (x, y, z) in ICRS; angles are in radians. The tangent plane touches the sphere at the
boresight, its coordinates are xi (to the east) and eta (to the north), and great circles are its straight lines.
"""

from __future__ import annotations

__all__ = [
    "ARCSEC",
    "boundary_distance",
    "decode_polygon",
    "encode_polygons",
    "field_angle_to_sky",
    "outline_distance",
    "plane_hull",
    "polygon_area",
    "sky_hull",
]

import math

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

ARCSEC = math.pi / 180 / 3600
"""One second of arc, in radians."""

HULL_TOLERANCE = 1e-15
"""Points this close (radians) to an edge of a hull are no vertices of it.

Above the rounding of unit vectors (1e-16), so that a hull stays convex when it is lifted to the sphere, and 2e-10
arcsec, so that nobody can see it.
"""

_POLYGON = np.frombuffer(b"p", dtype=np.uint8)[0]
"""The first byte of an encoded `lsst.sphgeom.ConvexPolygon`."""


def field_angle_to_sky(
    field_angle: npt.ArrayLike,
    ra: npt.ArrayLike,
    dec: npt.ArrayLike,
    rotation: npt.ArrayLike,
    *,
    flip: npt.ArrayLike = False,
) -> FloatArray:
    """Lift points of the field to the sky, for many pointings at once.

    Parameters
    ----------
    field_angle : array_like, shape (K, 2)
        Field angles (x, y) on the tangent plane, radians.
    ra, dec : array_like, shape (...)
        Boresight of each pointing, radians.
    rotation : array_like, shape (...)
        Rotation angle of each pointing (``sky_angle`` of its exposure), radians.
    flip : array_like of bool, shape (...), optional
        Whether the field's x axis is mirrored.

    Returns
    -------
    directions : `numpy.ndarray`, shape (..., K, 3)
        Unit vectors.

    Notes
    -----
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


def plane_hull(points: npt.ArrayLike, tolerance: float = HULL_TOLERANCE) -> npt.NDArray[np.intp]:
    """Find the convex hull of points in the plane.

    Parameters
    ----------
    points : array_like, shape (K, 2)
        The points, in radians on the tangent plane.
    tolerance : `float`, optional
        Points not further than this outside the line between their neighbours are no vertices.

    Returns
    -------
    indices : `numpy.ndarray`, shape (H,)
        The hull's vertices among ``points``, counterclockwise.

    Raises
    ------
    ValueError
        If fewer than three vertices are left: the points lie on a line.

    Notes
    -----
    Andrew's monotone chain (Information Processing Letters 9, 216, 1979), whose vertices are then thinned: with a
    tolerance in the chain itself, points that lie nearly above each other would push out the farthest of them.
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
    """Find a convex polygon with few vertices that contains all points.

    Parameters
    ----------
    directions : `numpy.ndarray`, shape (K, 3)
        Unit vectors within less than a right angle of their mean.
    tolerance : `float`
        How far (radians) the polygon may reach beyond the points' convex hull.

    Returns
    -------
    vertices : `numpy.ndarray`, shape (V, 3)
        Unit vectors, counterclockwise as seen from outside the sphere.

    Raises
    ------
    ValueError
        If the points are too far apart, or on a great circle.

    Notes
    -----
    The hull is found on the plane that touches the sphere at the points' mean. Vertices that stand out little are left
    out, and the polygon is then enlarged until these, too, are inside.
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


def encode_polygons(vertices: FloatArray) -> list[bytes]:
    """Encode polygons as `lsst.sphgeom.ConvexPolygon.encode` does.

    Parameters
    ----------
    vertices : `numpy.ndarray`, shape (N, V, 3)
        Vertices of N polygons, counterclockwise as seen from outside the sphere.

    Returns
    -------
    encoded : `list` [`bytes`]
        The N encoded polygons.

    Notes
    -----
    The format is one type byte and the vertices' coordinates as little-endian doubles.
    """
    count, n_vertices = vertices.shape[:2]
    size = 1 + 24 * n_vertices
    rows = np.empty((count, size), dtype=np.uint8)
    rows[:, 0] = _POLYGON
    rows[:, 1:] = np.ascontiguousarray(vertices, dtype="<f8").view(np.uint8).reshape(count, size - 1)
    buffer = rows.tobytes()
    return [buffer[start : start + size] for start in range(0, count * size, size)]


def decode_polygon(encoded: bytes) -> FloatArray | None:
    """Read the vertices of an encoded `lsst.sphgeom.ConvexPolygon`.

    Parameters
    ----------
    encoded : `bytes`
        What ``Region.encode`` returned.

    Returns
    -------
    vertices : `numpy.ndarray`, shape (V, 3), or `None`
        The vertices, or `None` if the region is of another kind, or damaged: vertices that are not numbers.
    """
    if encoded[0] != _POLYGON:
        return None
    vertices = np.frombuffer(encoded, dtype="<f8", offset=1).reshape(-1, 3).astype(float)
    return vertices if np.isfinite(vertices).all() else None


def boundary_distance(points: FloatArray, polygon: FloatArray) -> FloatArray:
    """Measure how far points are from the boundary of a polygon, inside or outside.

    Parameters
    ----------
    points : `numpy.ndarray`, shape (..., K, 3)
        Unit vectors.
    polygon : `numpy.ndarray`, shape (..., V, 3)
        Vertices; its edges are great-circle arcs.

    Returns
    -------
    distance : `numpy.ndarray`, shape (..., K)
        Angle to the nearest point of the nearest edge, radians.

    Notes
    -----
    Everything is computed from differences of nearby vectors, because the sine of a distance, taken as the product of a
    point and an edge's normal, is lost in rounding where two vertices are closer than a milliarcsecond.
    """
    start = polygon[..., None, :, :]
    step = np.roll(polygon, -1, axis=-2)[..., None, :, :] - start
    offset = points[..., :, None, :] - start
    normal = np.cross(start, step)
    length = np.linalg.norm(normal, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        sine = np.einsum("...i,...i->...", offset, normal) / length
    # The point is beside the arc where it is ahead of its start and behind its end.
    ahead = np.einsum("...i,...i->...", offset, np.cross(normal, start))
    behind = np.einsum("...i,...i->...", offset - step, np.cross(normal, start + step))
    beside = (ahead >= 0) & (behind <= 0) & (length > 0)
    to_arc = np.where(beside, np.abs(np.arcsin(np.clip(np.nan_to_num(sine), -1, 1))), np.inf)
    to_start = 2 * np.arcsin(np.minimum(np.linalg.norm(offset, axis=-1) / 2, 1))
    return np.minimum(to_arc, to_start).min(axis=-1)


def outline_distance(a: FloatArray, b: FloatArray) -> FloatArray:
    """Measure the largest distance of a vertex of either polygon to the other's boundary.

    Parameters
    ----------
    a, b : `numpy.ndarray`, shapes (..., V, 3) and (..., W, 3)
        Vertices of the polygons.

    Returns
    -------
    distance : `numpy.ndarray`, shape (...)
        Angle in radians.
    """
    return np.maximum(boundary_distance(a, b).max(axis=-1), boundary_distance(b, a).max(axis=-1))


def polygon_area(vertices: FloatArray) -> float:
    """Measure the area of a convex polygon.

    Parameters
    ----------
    vertices : `numpy.ndarray`, shape (V, 3)
        Unit vectors, counterclockwise as seen from outside the sphere.

    Returns
    -------
    area : `float`
        Steradians.

    Notes
    -----
    The sum over a fan of triangles, each with the formula of F. Eriksson (Mathematics Magazine 63, 184, 1990):
    tan(E / 2) = a . (b x c) / (1 + a . b + b . c + c . a).
    """
    a, b, c = vertices[0], vertices[1:-1], vertices[2:]
    # The triple product from differences, which small polygons do not cancel.
    triple = np.einsum("i,ji->j", a, np.cross(b - a, c - a))
    return float(2 * np.arctan2(triple, 1 + b @ a + np.einsum("ji,ji->j", b, c) + c @ a).sum())
