"""The outlines of visits and of their detectors, one after the other."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeGuard

import numpy as np
import numpy.typing as npt
from lsst.daf.butler import Butler, DimensionRecord
from lsst.sphgeom import ConvexPolygon, Region

from ..geometry import decode_polygon
from ..lists import batches, listed
from ..repository import StoredVisit, fetch_bands, fetch_detector_names, fetch_detector_regions, read_visits

_LOG = logging.getLogger(__name__)

_BATCH = 100
"""Visits whose detectors are read at once: a large camera has 200 regions for each."""


class Outline(NamedTuple):
    """A polygon on the sky, and what it is the outline of."""

    region: ConvexPolygon
    """The polygon."""

    visit: DimensionRecord
    """The ``visit`` record."""

    band: str | None
    """Band of the visit's physical filter."""

    detector: int | None = None
    """The detector's id; `None` if it is the outline of the whole visit."""

    detector_name: str | None = None
    """The detector's full name."""


def read_outlines(butler: Butler, instrument: str, where: str = "", *, detectors: bool = False) -> Iterator[Outline]:
    """Read the outlines of an instrument's visits.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    instrument : `str`
        Name of the instrument.
    where : `str`, optional
        A Butler expression that selects exposures, whose visits are taken. The default is all visits.
    detectors : `bool`, optional
        Whether to take each detector of each visit instead of the visits.

    Returns
    -------
    outlines : `~collections.abc.Iterator` [`Outline`]
        In the order of visits' and detectors' ids. Detectors are read as the iteration goes on, some visits at a time.
        What has no region, or one that is no polygon, is left out, and the log has a warning that names it.

    Raises
    ------
    lsst.daf.butler.InvalidQueryError
        If the expression is wrong.
    """
    visits = read_visits(butler, instrument, where)
    bands = fetch_bands(butler, instrument)
    if detectors:
        return _of_detectors(butler, instrument, visits, bands)
    return _of_visits(visits, bands)


def _of_visits(visits: Iterable[StoredVisit], bands: Mapping[str, str | None]) -> Iterator[Outline]:
    left_out = []
    for record, _ in visits:
        if is_polygon(record.region):
            yield Outline(record.region, record, bands.get(record.physical_filter))
        else:
            left_out.append(record.id)
    _warn_of_visits(left_out, "a polygon as region")


def _of_detectors(
    butler: Butler, instrument: str, visits: Iterable[StoredVisit], bands: Mapping[str, str | None]
) -> Iterator[Outline]:
    names = fetch_detector_names(butler, instrument)
    for batch in batches(visits, _BATCH):
        regions = fetch_detector_regions(butler, instrument, [visit.record.id for visit in batch])
        for record, _ in batch:
            left_out = []
            for detector, region in regions.get(record.id, {}).items():
                if is_polygon(region):
                    yield Outline(region, record, bands.get(record.physical_filter), detector, names.get(detector))
                else:
                    left_out.append(detector)
            if left_out:
                _LOG.warning(
                    "Left out: the region of visit %d is not a polygon for detectors %s.", record.id, listed(left_out)
                )
        _warn_of_visits([visit.record.id for visit in batch if visit.record.id not in regions], "detectors' regions")


def _warn_of_visits(visits: Sequence[int], what: str) -> None:
    if visits:
        _LOG.warning("Left out, for lack of %s: visit%s %s.", what, "s" * (len(visits) > 1), listed(visits))


def finite_or_none(value: float | None) -> float | None:
    """Return a number that formats without NaN and infinity can write."""
    return value if value is not None and np.isfinite(value) else None


def is_polygon(region: Region | None) -> TypeGuard[ConvexPolygon]:
    """Tell whether a stored region is a polygon that is not damaged."""
    return region is not None and decode_polygon(region.encode()) is not None


def read_vertices(region: Region) -> npt.NDArray[np.float64]:
    """Read the vertices (V, 3) of a polygon, counterclockwise as seen from outside the sphere."""
    vertices = decode_polygon(region.encode())
    assert vertices is not None, "outlines are polygons"
    return vertices
