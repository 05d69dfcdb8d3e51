"""The sky that outlines cover, as an IVOA Multi-Order Coverage map (MOC)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import hpgeom
import numpy as np

from ..errors import require
from ..geometry.cells import cover, order_for
from ..lists import batches
from .outlines import Outline, read_vertices

if TYPE_CHECKING:
    from mocpy import MOC

_BATCH = 1000
"""Outlines whose cells are united at once."""
_CELLS, _CELLS_OF_DETECTOR = 100, 20
"""Cells across the diameter of a visit's and of a detector's outline, at least."""
_FINEST = 29
"""The order in which a MOC's ranges are given."""


def coverage_moc(outlines: Iterable[Outline], *, order: int | None = None) -> MOC:
    """Unite outlines to the coverage of the sky.

    Parameters
    ----------
    outlines : `~collections.abc.Iterable` [`Outline`]
        Outlines of visits or detectors.
    order : `int`, optional
        HEALPix order of the finest cells, 27 at most. By default they are at most a hundredth as wide as a visit is
        across, or a twentieth as wide as a detector is: the smallest of the first thousand.

    Returns
    -------
    moc : `mocpy.MOC`
        All points of all outlines are in it. Beyond them it reaches by no more than three times a cell's width (58.6
        degrees divided by 2 to the power of the order), at corners sharper than 30 degrees by more.

    Raises
    ------
    VisitsError
        If mocpy is not installed.
    """
    require("mocpy")
    from mocpy import MOC

    united = np.empty((0, 2), dtype=np.int64)
    for batch in batches(outlines, _BATCH):
        if order is None:
            order = order_for(min(map(_cell, batch)))
        ranges = [cover(read_vertices(outline.region), order, whole=True) for outline in batch]
        united = hpgeom.pixel_ranges_union([united, *ranges])
    order = order or 0
    return MOC.from_depth29_ranges(order, (united << 2 * (_FINEST - order)).astype(np.uint64))


def _cell(outline: Outline) -> float:
    """Return how wide a cell may be for an outline, radians."""
    diameter = 2 * outline.region.getBoundingCircle().getOpeningAngle().asRadians()
    return float(diameter / (_CELLS if outline.detector is None else _CELLS_OF_DETECTOR))
