"""Convex polygons on the sphere: their bytes, boundaries and areas."""

from __future__ import annotations

import numpy as np

from .sphere import FloatArray

_POLYGON = np.frombuffer(b"p", dtype=np.uint8)[0]
"""The first byte of an encoded `lsst.sphgeom.ConvexPolygon`."""


def encode_polygons(vertices: FloatArray) -> list[bytes]:
    """Encode polygons (N, V, 3), counterclockwise from outside, as `lsst.sphgeom.ConvexPolygon.encode` does.

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
    """Read the vertices (V, 3) of an encoded `lsst.sphgeom.ConvexPolygon`.

    `None` if the region is of another kind, or damaged: with vertices that are not numbers.
    """
    if encoded[0] != _POLYGON:
        return None
    vertices = np.frombuffer(encoded, dtype="<f8", offset=1).reshape(-1, 3).astype(float)
    return vertices if np.isfinite(vertices).all() else None


def boundary_distance(points: FloatArray, polygon: FloatArray) -> FloatArray:
    """Measure how far points (..., K, 3) are from the boundary of a polygon (..., V, 3), inside or outside, radians.

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
    """Measure the largest distance of a vertex of either polygon to the other's boundary, radians."""
    return np.maximum(boundary_distance(a, b).max(axis=-1), boundary_distance(b, a).max(axis=-1))


def polygon_area(vertices: FloatArray) -> float:
    """Measure the area of a convex polygon (V, 3), counterclockwise from outside, steradians.

    The sum over a fan of triangles, each with the formula of F. Eriksson (Mathematics Magazine 63, 184, 1990): tan(E /
    2) = a . (b x c) / (1 + a . b + b . c + c . a).
    """
    a, b, c = vertices[0], vertices[1:-1], vertices[2:]
    # The triple product from differences, which small polygons do not cancel.
    triple = np.einsum("i,ji->j", a, np.cross(b - a, c - a))
    return float(2 * np.arctan2(triple, 1 + b @ a + np.einsum("ji,ji->j", b, c) + c @ a).sum())
