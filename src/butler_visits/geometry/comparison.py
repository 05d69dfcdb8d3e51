"""Compare many stored polygons at once, from their encoded bytes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from lsst.sphgeom import Region

from ..lists import batches
from .polygons import boundary_distance, decode_polygon, outline_distance
from .sphere import ARCSEC, FloatArray

_BATCH = 5000
"""Polygons that are compared at once, so that the arrays stay in the processor's cache."""

_ROUNDING = 1e-15
"""Of coordinates of unit vectors, with room to spare."""

_POLYGON = b"p"

_NO_UNIT = 1e-6
"""How much the square of a unit vector's length may differ from 1."""


def unreadable(regions: Mapping[int, bytes]) -> set[int]:
    """Find encoded regions that are damaged."""
    polygons = {key: region for key, region in regions.items() if _is_polygon_like(region)}
    found = {key for key in regions.keys() - polygons.keys() if not _is_region(regions[key])}
    if polygons:
        points = _vertices(polygons)
        # True of what is not a number as well.
        wrong = ~(np.abs(np.einsum("ij,ij->i", points, points) - 1) < _NO_UNIT)
        if wrong.any():
            found.update(_owners(polygons)[wrong].tolist())
    return found


def outline_distances(a: Sequence[bytes], b: Sequence[bytes]) -> FloatArray:
    """Measure the largest distance of a vertex of either polygon to the other's boundary, pair by pair: (N,) arcsec.

    It is not a number where one of the two is no polygon.
    """
    alike: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, (one, other) in enumerate(zip(a, b, strict=True)):
        if one[:1] == other[:1] == _POLYGON:
            alike[len(one), len(other)].append(index)
    distances = np.full(len(a), np.nan)
    for members in alike.values():
        for batch in batches(members, _BATCH):
            distances[batch] = outline_distance(_stacked([a[i] for i in batch]), _stacked([b[i] for i in batch]))
    return distances / ARCSEC


def are_same(a: Sequence[bytes], b: Sequence[bytes], tolerance: float) -> npt.NDArray[np.bool_]:
    """Tell which of N pairs of encoded regions are equal: in bytes, or polygons within a tolerance (arcsec).

    Most that are equal have the same vertices to rounding, in an order that begins elsewhere, so that is tried first.
    """
    same = np.array([one == other for one, other in zip(a, b, strict=True)], dtype=bool)
    if tolerance <= 0:
        return same
    polygons = [
        index for index in np.flatnonzero(~same).tolist() if _is_polygon_like(a[index]) and _is_polygon_like(b[index])
    ]
    by_size: dict[int, list[int]] = defaultdict(list)
    for index in polygons:
        if len(a[index]) == len(b[index]):
            by_size[len(a[index])].append(index)
    for members in by_size.values():
        first, second = _stacked([a[i] for i in members]), _stacked([b[i] for i in members])
        # Turn the second so that it begins with the vertex that is nearest to the first's first.
        shift = np.einsum("ni,nvi->nv", first[:, 0], second).argmax(axis=1)
        order = (shift[:, None] + np.arange(first.shape[1])) % first.shape[1]
        offset = first - np.take_along_axis(second, order[..., None], axis=1)
        same[members] = np.sqrt(np.einsum("nvi,nvi->nv", offset, offset).max(axis=1)) <= tolerance * ARCSEC
    others = [index for index in polygons if not same[index]]
    if others:
        same[others] = outline_distances([a[i] for i in others], [b[i] for i in others]) <= tolerance
    return same


def outside_distances(regions: Mapping[int, bytes], outline: bytes, tolerance: float) -> dict[int, float]:
    """Measure how far detectors' regions reach out of their visit's, arcsec, where that is more than a tolerance.

    Nothing is found if the visit's region is no polygon. A convex polygon is inside another if its vertices are, and
    these are if they are on the inner side of all edges.
    """
    polygons = {detector: region for detector, region in regions.items() if region[:1] == _POLYGON}
    vertices = decode_polygon(outline)
    if vertices is None or not polygons:
        return {}
    points, owners = _vertices(polygons), _owners(polygons)
    # An edge's normal from a difference: the product of two vertices that are close would be lost in rounding.
    normals = np.cross(vertices, np.roll(vertices, -1, axis=0) - vertices)
    lengths = np.linalg.norm(normals, axis=1)
    # The direction of an edge is the less certain the shorter it is, and that counts the more the farther a point is.
    size = np.linalg.norm(vertices - vertices[0], axis=1).max()
    margin = tolerance * ARCSEC * lengths + _ROUNDING * (lengths + size)
    outside = np.flatnonzero((points @ normals.T < -margin).any(axis=1))
    if not len(outside):
        return {}
    found: dict[int, float] = {}
    distances = boundary_distance(points[outside], vertices) / ARCSEC
    for detector, distance in zip(owners[outside].tolist(), distances.tolist(), strict=True):
        if distance > tolerance:
            found[detector] = max(distance, found.get(detector, 0.0))
    return found


def _is_region(encoded: bytes) -> bool:
    try:
        Region.decode(encoded)
    except (RuntimeError, ValueError):
        return False
    # A polygon of another length is none, whatever is made of it.
    return encoded[:1] != _POLYGON


def _vertices(polygons: Mapping[int, bytes]) -> FloatArray:
    """Decode the vertices of all polygons, one after the other, to the shape (K, 3)."""
    return np.frombuffer(b"".join(region[1:] for region in polygons.values()), dtype="<f8").reshape(-1, 3)


def _owners(polygons: Mapping[int, bytes]) -> npt.NDArray[np.int64]:
    """Return the key of each vertex's polygon."""
    return np.repeat(np.array(list(polygons)), [(len(region) - 1) // 24 for region in polygons.values()])


def _stacked(encoded: Sequence[bytes]) -> FloatArray:
    """Decode polygons of V vertices each, to the shape (N, V, 3)."""
    rows = np.frombuffer(b"".join(encoded), dtype=np.uint8).reshape(len(encoded), -1)
    return np.ascontiguousarray(rows[:, 1:]).view("<f8").reshape(len(encoded), -1, 3)


def _is_polygon_like(encoded: bytes) -> bool:
    """Tell whether bytes have the length of a polygon with three and more vertices, and begin like one."""
    return encoded[:1] == _POLYGON and len(encoded) >= 1 + 3 * 24 and len(encoded) % 24 == 1
