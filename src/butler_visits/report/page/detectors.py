"""The outlines and the detectors of many visits in little space.

Visits of a camera have the same detectors, only turned to another place on the sky. So a layout of polygons is kept
once, as points on the tangent plane around its centre, and of each visit the centre and angle at which it lies.
"""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from lsst.sphgeom import Region

from ...geometry import ARCSEC, FloatArray, axes, decode_polygon, ra_dec

_TOLERANCE = 0.1 * ARCSEC
"""Detectors that are nowhere further apart than this (radians) are drawn alike: a page rounds more than that."""

_SHARED = 5
"""Layouts of one kind that further visits are compared with: a repository has few cameras, or none that fits."""


class _Kind(NamedTuple):
    """What two layouts must have in common to be compared."""

    detectors: tuple[int, ...]
    counts: tuple[int, ...]
    """Vertices of each detector."""


class Layouts:
    """Collects the detectors of visits, or other polygons.

    Points are kept as integers of a type; 16 bits are some tenths of an arcsecond in a field of some degrees.
    """

    def __init__(self, names: Mapping[int, str], max_bytes: float, dtype: str = "<i2") -> None:
        self._names = names
        self._left = max_bytes
        self._dtype = np.dtype(dtype)
        self.kinds: list[dict[str, Any]] = []
        """Of each kind of layout the ``names`` of its detectors, and the number of vertices of each (``counts``)."""

        self.layouts: list[dict[str, Any]] = []
        """Of each layout the number of its ``kind``, and all vertices (``points``): base64 of little-endian
        integers xi, eta, in units of ``step`` degrees on the tangent plane.
        """

        self.places: dict[int, tuple[int, float, float, float]] = {}
        """By visit the number of its layout, its centre (ra, dec) and the angle from the sky's axes, to the east and
        north, to the layout's, counterclockwise on the plane; degrees.
        """

        self.n_left_out = 0
        """Visits whose detectors there was no space for."""

        self._kinds: dict[_Kind, int] = {}
        self._shared: dict[_Kind, list[tuple[int, FloatArray]]] = defaultdict(list)

    def add(self, regions: Mapping[int, Mapping[int, Region | None]]) -> None:
        """Add the detectors of visits."""
        decoded = {
            visit: {
                number: decode_polygon(region.encode()) for number, region in detectors.items() if region is not None
            }
            for visit, detectors in regions.items()
        }
        self.add_polygons(
            {
                visit: {number: polygon for number, polygon in polygons.items() if polygon is not None}
                for visit, polygons in decoded.items()
            }
        )

    def add_polygons(self, visits: Mapping[int, Mapping[int, FloatArray]]) -> None:
        """Add polygons, vertices of shape (V, 3), of visits."""
        of_kind: dict[_Kind, dict[int, FloatArray]] = defaultdict(dict)
        for visit, polygons in visits.items():
            if polygons:
                kind = _Kind(tuple(polygons), tuple(map(len, polygons.values())))
                of_kind[kind][visit] = np.concatenate(list(polygons.values()))
        for kind, vertices in of_kind.items():
            self._add(kind, np.array(list(vertices)), np.stack(list(vertices.values())))

    def _add(self, kind: _Kind, visits: npt.NDArray[np.int64], vertices: FloatArray) -> None:
        """Add visits with vertices of shape (N, P, 3)."""
        shared = self._shared[kind]
        tried = 0
        while len(visits):
            if tried == len(shared):
                if len(shared) == _SHARED or not self._keep(kind, vertices[0]):
                    break
                shared.append((len(self.layouts) - 1, vertices[0]))
            number, reference = shared[tried]
            rotations, fits = _fit(kind.counts, reference, vertices)
            self._place(number, reference, visits[fits], rotations[fits])
            visits, vertices = visits[~fits], vertices[~fits]
            tried += 1
        for visit, own in zip(visits, vertices, strict=True):
            if self._keep(kind, own):
                self._place(len(self.layouts) - 1, own, np.array([visit]), np.eye(3)[None])
            else:
                self.n_left_out += 1

    def _keep(self, kind: _Kind, vertices: FloatArray) -> bool:
        """Keep a layout, if there is space for it."""
        centre, plane = _frame(vertices)
        offsets = np.rad2deg((vertices @ plane.T) / (vertices @ centre)[:, None])
        # One point has no size.
        step = max(float(np.abs(offsets).max() / np.iinfo(self._dtype).max), 1e-12)
        points = base64.b64encode(np.rint(offsets / step).astype(self._dtype).tobytes()).decode()
        number = self._kinds.get(kind, len(self.kinds))
        layout = {"kind": number, "step": step, "points": points}
        size = len(json.dumps(layout))
        names = [self._names.get(detector, str(detector)) for detector in kind.detectors]
        description = {"names": names, "counts": kind.counts}
        if number == len(self.kinds):
            size += len(json.dumps(description))
        if size > self._left:
            return False
        self._left -= size
        if number == len(self.kinds):
            self._kinds[kind] = number
            self.kinds.append(description)
        self.layouts.append(layout)
        return True

    def _place(self, number: int, reference: FloatArray, visits: Sequence[int] | Any, rotations: FloatArray) -> None:
        """Note where visits are that have a layout, turned by rotations of shape (N, 3, 3)."""
        centre, plane = _frame(reference)
        centres = rotations @ centre
        ra, dec = ra_dec(centres)
        first_axis = rotations @ plane[0]
        along_east, along_north = (np.einsum("ni,ni->n", first_axis, axis) for axis in axes(ra, dec))
        degrees = np.rad2deg([ra % (2 * np.pi), dec, np.arctan2(along_north, along_east)]).round(6)
        for visit, place in zip(visits, degrees.T.tolist(), strict=True):
            self.places[int(visit)] = (number, *place)


def _frame(vertices: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the centre of points, and the axes to the east and north there, of shape (2, 3)."""
    centre = vertices.mean(axis=0)
    centre /= np.linalg.norm(centre)
    return centre, np.stack(axes(*ra_dec(centre)))


def _fit(
    counts: Sequence[int], reference: FloatArray, vertices: FloatArray
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Find the rotations (N, 3, 3) that turn a layout (P, 3) onto others (N, P, 3), and whether (N,) it lies on them.

    By least squares (W. Kabsch, Acta Crystallographica A32, 922, 1976).
    """
    starts = np.cumsum([0, *counts[:-1]])
    if len(counts) > 2:
        # Centres do not depend on the vertex that a polygon begins with, which may be another in each visit.
        a, b = (np.add.reduceat(points, starts, axis=-2) for points in (reference, vertices))
    else:
        a, b = reference, _rolled_like(reference, vertices) if len(counts) == 1 else vertices
    u, _, vt = np.linalg.svd(np.einsum("npi,pj->nij", b, a))
    proper = np.broadcast_to(np.eye(3), u.shape).copy()
    proper[:, 2, 2] = np.linalg.det(u) * np.linalg.det(vt)
    rotations = u @ proper @ vt
    # All detectors with as many vertices as the largest number: a vertex that is there twice does no harm.
    padded = starts[:, None] + np.minimum(np.arange(max(counts)), np.array(counts)[:, None] - 1)
    turned = (reference @ rotations.transpose(0, 2, 1))[:, padded]
    cosines = turned @ vertices[:, padded].swapaxes(-1, -2)
    farthest = np.minimum(cosines.max(axis=-1), cosines.max(axis=-2)).min(axis=(1, 2))
    return rotations, farthest >= np.cos(_TOLERANCE)


def _rolled_like(reference: FloatArray, polygons: FloatArray) -> FloatArray:
    """Let polygons (N, V, 3) begin with the vertex that another one (V, 3) of the same shape begins with."""

    def chords(vertices: FloatArray) -> FloatArray:
        """Measure from each vertex to the next two: that tells a convex polygon from others."""
        ends = (np.roll(vertices, -step, axis=-2) for step in (1, 2))
        return np.stack([np.linalg.norm(end - vertices, axis=-1) for end in ends], axis=-1)

    expected, found = chords(reference), chords(polygons)
    rolls = range(len(reference))
    differences = np.stack([np.abs(np.roll(found, -roll, axis=1) - expected).sum(axis=(1, 2)) for roll in rolls])
    at = (np.arange(len(reference)) + differences.argmin(axis=0)[:, None]) % len(reference)
    return np.take_along_axis(polygons, at[..., None], axis=1)
