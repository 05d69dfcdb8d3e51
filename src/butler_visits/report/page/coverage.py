"""How often visits cover the cells of a grid on the sky."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import hpgeom
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from ...geometry import FloatArray, directions
from ...geometry.cells import order_for

_ORDERS = range(3, 9)
"""Orders of HEALPix grids: cells of 7.3 degrees to those of 0.23."""

_ACROSS = 4
"""Cells across a field, if the sky that is covered is not too large for it."""

_BATCH = 500
"""Visits whose cells are found at once."""


class Coverage(NamedTuple):
    """The cells that visits cover, M of them."""

    order: int
    """Of the HEALPix grid."""

    corners: FloatArray
    """Ra and dec of each cell's corners, degrees, shape (M, 4, 2); counterclockwise as seen from outside the sphere."""

    starts: npt.NDArray[np.int64]
    """Where each visit's cells begin in ``members``, and where the last one's end; shape (N + 1,)."""

    members: npt.NDArray[np.int64]
    """The cells of the first visit, of the second, and so on: indices of ``corners``."""


def cover(outlines: Sequence[FloatArray | None], *, max_cells: int, max_members: int) -> Coverage:
    """Find the cells whose centres lie in outlines (V, 3), on the finest grid that is not too large."""
    index = np.flatnonzero([outline is not None for outline in outlines])
    visits = cells = np.zeros(0, dtype=np.int64)
    order = _ORDERS[0]
    if len(index):
        vertices = _stacked([outline for outline in outlines if outline is not None])
        centres = vertices.mean(axis=1)
        centres /= np.linalg.norm(centres, axis=1)[:, None]
        # Chords to the farthest vertex; a little more, so that no cell is lost to rounding.
        radii = np.linalg.norm(vertices - centres[:, None], axis=-1).max(axis=1) * (1 + 1e-9)
        # Some cells across a typical field.
        order = min(max(order_for(2 * float(np.median(radii)) / _ACROSS), _ORDERS[0]), _ORDERS[-1])
        while (pairs := _pairs(order, vertices, centres, radii, max_cells, max_members)) is None:
            order -= 1
        visits, cells = pairs
    covered, members = np.unique(cells, return_inverse=True)
    lengths = np.zeros(len(outlines), dtype=np.int64)
    np.add.at(lengths, index[visits], 1)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    lon, lat = hpgeom.boundaries(1 << order, covered)
    return Coverage(order, np.stack([lon, lat], axis=-1), starts, members.reshape(-1))


def _stacked(outlines: Sequence[FloatArray]) -> FloatArray:
    """Make one array of outlines; the last vertices of those that have fewer are there more than once."""
    longest = max(map(len, outlines), default=0)
    stacked = np.empty((len(outlines), longest, 3))
    for row, outline in zip(stacked, outlines, strict=True):
        row[: len(outline)] = outline
        row[len(outline) :] = outline[-1]
    return stacked


def _pairs(
    order: int, vertices: FloatArray, centres: FloatArray, radii: FloatArray, max_cells: int, max_members: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None:
    """Find which visits cover which cells, sorted by visits; `None` if too many, and there is a coarser grid."""
    nside = 1 << order
    coarsest = order == _ORDERS[0]
    lon, lat = np.deg2rad(hpgeom.pixel_to_angle(nside, np.arange(12 * nside**2)))
    tree = cKDTree(directions(lon, lat))
    # The visits' centres alone tell of most grids that they are too fine.
    if not coarsest and len(np.unique(tree.query(centres)[1])) > max_cells:
        return None
    visits, cells = np.concatenate(list(_pairs_of_batches(tree, vertices, centres, radii)), axis=1)
    if not coarsest and (len(visits) > max_members or len(np.unique(cells)) > max_cells):
        return None
    return visits, cells


def _pairs_of_batches(
    tree: cKDTree, vertices: FloatArray, centres: FloatArray, radii: FloatArray
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield visits and their cells, shape (2, K), batch by batch."""
    for start in range(0, len(centres), _BATCH):
        batch = slice(start, start + _BATCH)
        near = tree.query_ball_point(centres[batch], radii[batch])
        lengths = [len(cells) for cells in near]
        visits = np.repeat(np.arange(start, start + len(near)), lengths)
        cells = np.fromiter((cell for some in near for cell in some), dtype=np.int64, count=sum(lengths))
        corners = vertices[batch]
        # A point is inside where it is on the inner side of each edge's great circle.
        normals = np.cross(corners, np.roll(corners, -1, axis=1))
        inside = (np.einsum("pei,pi->pe", normals[visits - start], tree.data[cells]) >= 0).all(axis=1)
        visits, cells = visits[inside], cells[inside]
        without = np.setdiff1d(np.arange(start, start + len(near)), visits)
        visits = np.concatenate([visits, without])
        cells = np.concatenate([cells, tree.query(centres[without])[1].reshape(-1)])
        order = np.lexsort((cells, visits))
        yield np.stack([visits[order], cells[order]])
