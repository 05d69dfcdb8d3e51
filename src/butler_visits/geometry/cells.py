"""Which HEALPix cells polygons cover. Cells are numbered in the nested scheme, and come as ranges of numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable

import hpgeom
import numpy as np
import numpy.typing as npt

from .hulls import sky_hull
from .sphere import FloatArray, lon_lat

IntArray = npt.NDArray[np.int64]

_MAX_ORDER = 27
"""Cells of 0.0016 arcsec: the finest that polygons are compared with, by way of cells two orders finer."""

_THINNING = 1e-8
"""Radians (2 milliarcsec). hpgeom takes no polygon with a corner that stands out less than 1e-10."""


def order_for(width: float) -> int:
    """Find the coarsest cells that are not wider than something, radians: squares of their area are meant."""
    return min(max(math.ceil(math.log2(math.sqrt(math.pi / 3) / width)), 0), _MAX_ORDER)


def cover(vertices: FloatArray, order: int, *, whole: bool) -> IntArray:
    """Find the cells that a polygon (V, 3) covers, or those whose centres it has if the ``whole`` is not asked for.

    Returns ranges (R, 2): the first cell of each, and the first behind it.
    """
    try:
        return _query(vertices, order, whole)
    except RuntimeError:
        # It has corners that are none, as hulls have where detectors are in line; the hull without them contains it.
        return _query(sky_hull(vertices, _THINNING), order, whole)


def _query(vertices: FloatArray, order: int, whole: bool) -> IntArray:
    ra, dec = lon_lat(vertices).T
    ranges: IntArray = hpgeom.query_polygon(2**order, ra, dec, inclusive=whole, return_pixel_ranges=True)
    return ranges


def depth(polygons: Iterable[FloatArray], order: int) -> tuple[IntArray, IntArray]:
    """Find the cells (C,) whose centres are in any of some polygons (V, 3), in their order, and in how many (C,).

    A polygon that has no cell's centre counts for the cell that its middle is in.
    """
    found = []
    for vertices in polygons:
        ranges = cover(vertices, order, whole=False)
        if not len(ranges):
            cell = hpgeom.vector_to_pixel(2**order, *vertices.mean(axis=0))
            ranges = np.array([[cell, cell + 1]])
        found.append(ranges)
    begins, ends = np.concatenate(found).T
    # Between two neighbouring ends of ranges the count is the same: the ranges that have begun less those that ended.
    bounds = np.unique(np.concatenate([begins, ends]))
    counts = np.searchsorted(np.sort(begins), bounds, "right") - np.searchsorted(np.sort(ends), bounds, "right")
    covered = counts[:-1] > 0
    cells = hpgeom.pixel_ranges_to_pixels(np.stack([bounds[:-1][covered], bounds[1:][covered]], axis=-1))
    return cells, np.repeat(counts[:-1][covered], np.diff(bounds)[covered])
