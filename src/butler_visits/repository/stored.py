"""The visits that a repository has, and all that belongs to them."""

from __future__ import annotations

import logging
from base64 import b64decode
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from lsst.daf.butler import Butler, DimensionRecord, Timespan
from lsst.sphgeom import Region

from ..lists import listed
from .database import is_served, read_columns, read_unmatched, read_values
from .reading import fetch_visits, readable, select_exposures, sets_of

_LOG = logging.getLogger(__name__)

_LISTED = 10
"""Visits that a message names."""

_WHEN = ("id", "day_obs", "timespan")
_When = tuple[int, int | None, Timespan | None]


class StoredVisit(NamedTuple):
    """A visit as it is stored."""

    record: DimensionRecord
    """Its ``visit`` record."""

    exposures: tuple[int, ...]
    """Ids of the exposures that are joined to it, in their order."""


def read_visits(butler: Butler, instrument: str, where: str = "") -> list[StoredVisit]:
    """Read the visits of an instrument, or those of the exposures that an expression selects."""
    unseen: dict[int, set[int]] = {}
    if where:
        exposures = select_exposures(butler, instrument, where)
        of_exposures = fetch_visits_of_exposures(butler, instrument, [record.id for record in exposures])
        ids: set[int] = set().union(*of_exposures.values())
        if hides_days(butler):
            rows = read_columns(butler, "visit", instrument, *_WHEN)
            unseen = _unseen(rows, [(record.id, record.day_obs, record.timespan) for record in exposures])
        records = fetch_visits(butler, instrument, ids | unseen.keys())
    else:
        with readable(f"visit record of {instrument}"), butler.query() as query:
            records = {record.id: record for record in query.dimension_records("visit").where(instrument=instrument)}
    joined = fetch_exposures_of_visits(butler, instrument, records)
    if hides_days(butler):
        visits = [(record.id, record.day_obs, record.timespan) for record in records.values()]
        unseen |= _unseen(visits, read_columns(butler, "exposure", instrument, *_WHEN))
    if unseen:
        _LOG.warning(
            "Through a Butler server it cannot be told which exposures of other days (day_obs) visits have; those of "
            "visits %s are taken for theirs that lie within them.",
            listed(sorted(unseen), _LISTED),
        )
    return [
        StoredVisit(record, tuple(sorted(joined.get(visit, set()) | unseen.get(visit, set()))))
        for visit, record in sorted(records.items())
    ]


def hides_days(butler: Butler) -> bool:
    """Tell whether it is not seen that visits have exposures of other days: a server answers the Butler's queries only.

    From universe 6 on, these join a visit and its exposures on ``day_obs``.
    """
    return is_served(butler) and "day_obs" in butler.dimensions.dimensions.names


def _unseen(visits: Iterable[_When], exposures: Iterable[_When]) -> dict[int, set[int]]:
    """Find the exposures within visits that are of other days than these."""
    spans = sorted((*time.nsec, day or 0, exposure) for exposure, day, time in exposures if time is not None)
    begins = [span[0] for span in spans]
    found: dict[int, set[int]] = {}
    for visit, day, time in visits:
        if time is not None:
            begin, end = time.nsec
            within = spans[bisect_left(begins, begin) : bisect_left(begins, end)]
            if others := {exposure for _, last, of_day, exposure in within if last <= end and of_day != day}:
                found[visit] = others
    return found


def fetch_visit_names(butler: Butler, instrument: str, visits: Iterable[int] | None = None) -> dict[int, str]:
    """Read which visits there are."""
    return dict(read_columns(butler, "visit", instrument, "id", "name", id=visits))


def fetch_visit_days(butler: Butler, instrument: str, visits: Iterable[int]) -> dict[int, int | None]:
    """Read of which days visits are."""
    return dict(read_columns(butler, "visit", instrument, "id", "day_obs", id=visits))


def fetch_visits_of_names(butler: Butler, instrument: str, names: Iterable[str]) -> dict[str, int]:
    """Read which visits have names."""
    return dict(read_columns(butler, "visit", instrument, "name", "id", name=names))


def fetch_exposures_of_visits(
    butler: Butler, instrument: str, visits: Iterable[int] | None = None
) -> dict[int, set[int]]:
    """Read which exposures belong to visits."""
    return sets_of(read_columns(butler, "visit_definition", instrument, "visit", "exposure", visit=visits))


def fetch_visits_of_exposures(butler: Butler, instrument: str, exposures: Iterable[int]) -> dict[int, set[int]]:
    """Read which visits exposures belong to."""
    return sets_of(read_columns(butler, "visit_definition", instrument, "exposure", "visit", exposure=exposures))


def fetch_exposures_without_visit(butler: Butler, instrument: str) -> list[int]:
    """Read which exposures belong to no visit and may have seen the sky, in their order."""
    sky = "can_see_sky" if "can_see_sky" in butler.dimensions["exposure"].RecordClass.fields.names else None
    return read_unmatched(butler, "exposure", "id", "visit_definition", "exposure", instrument, unless_false=sky)


def fetch_owners(butler: Butler, instrument: str, exposures: Iterable[int]) -> dict[int, int]:
    """Find the visit that tells best where each exposure looked: that with the fewest exposures, then the lowest id."""
    visits_of = fetch_visits_of_exposures(butler, instrument, exposures)
    members = fetch_exposures_of_visits(butler, instrument, set().union(*visits_of.values()))
    return {exposure: min(own, key=lambda visit: (len(members[visit]), visit)) for exposure, own in visits_of.items()}


def fetch_visit_systems(butler: Butler, instrument: str, visits: Iterable[int] | None = None) -> dict[int, set[int]]:
    """Read which visit systems visits are in."""
    table, visit = _memberships(butler)
    return sets_of(read_columns(butler, table, instrument, visit, "visit_system", **{visit: visits}))


def systems_in_use(butler: Butler, instrument: str) -> set[int]:
    """Read which visit systems have any visits of an instrument."""
    return read_values(butler, _memberships(butler)[0], instrument, "visit_system")


def _memberships(butler: Butler) -> tuple[str, str]:
    """Name the table that says which visit systems visits are in, and its column of visits."""
    if "visit_system_membership" in butler.dimensions.elements.names:
        return "visit_system_membership", "visit"
    return "visit", "id"


def fetch_encoded_regions(butler: Butler, instrument: str, visits: Iterable[int]) -> dict[int, dict[int, bytes | None]]:
    """Read the regions of visits' detectors, encoded."""
    regions: dict[int, dict[int, bytes | None]] = defaultdict(dict)
    rows = read_columns(butler, "visit_detector_region", instrument, "visit", "detector", "region", visit=visits)
    for visit, detector, region in rows:
        regions[visit][detector] = None if region is None else region_bytes(region)
    return dict(regions)


def region_bytes(region: str | Region) -> bytes:
    """Make the bytes of a region from the text that the Butler stores, none if it is damaged; or from what it reads."""
    if isinstance(region, Region):
        return region.encode()
    try:
        return b64decode(region, validate=True)
    except ValueError:
        # A damaged one must not keep the others from being read.
        return b""
