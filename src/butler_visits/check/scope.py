"""What a check looks at: exposures, the visits that they would give now, and the visits that are stored."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence

from lsst.daf.butler import Butler, DimensionRecord

from ..define.exposures import Selector
from ..define.visits import Failure, Options, VisitDefinitionData
from ..errors import VisitsError
from ..repository import fetch_exposures, select_exposures
from ..repository.stored import (
    fetch_exposures_of_visits,
    fetch_visit_days,
    fetch_visit_names,
    fetch_visit_systems,
    hides_days,
)
from ..task import DefineVisitsTask
from .findings import Finding, Kind


@dataclasses.dataclass
class Scope:
    """What is to be checked."""

    exposures: dict[int, DimensionRecord]
    """The selected exposures and those of their visits and groups, by id."""

    selected: set[int]
    """Ids of the exposures that were asked for."""

    off_sky: set[int]
    """Ids of the exposures that are not on the sky."""

    failed: set[int]
    """Ids of the exposures of which no visit can be made."""

    failures: list[Finding]
    """Why not."""

    visits: list[VisitDefinitionData]
    """The visits that the exposures would give now, families of them together."""

    names: dict[int, str]
    """The names of all visits that are stored, by id."""

    joined: dict[int, set[int]]
    """Ids of the exposures of each stored visit that is to be checked; empty for a visit that has none."""

    visits_of: dict[int, set[int]]
    """Ids of the stored visits of each exposure that is in any."""

    systems: dict[int, set[int]]
    """Ids of the visit systems of all stored visits that are in any."""

    untold: list[int]
    """Ids of stored visits that are not checked, because it cannot be told which exposures they have."""


def find_scope(task: DefineVisitsTask, instrument: str, where: str, collections: Sequence[str] | None) -> Scope:
    """Read what is to be checked, in bulk.

    Raises `VisitsError` if the expression selects nothing; `lsst.daf.butler.InvalidQueryError` or `OverflowError` if
    the expression is wrong.
    """
    butler = task.butler
    # Visits are written whole, so that one whose name is seen has all that is read later.
    names = fetch_visit_names(butler, instrument)
    of_all = fetch_exposures_of_visits(butler, instrument)
    systems = fetch_visit_systems(butler, instrument)
    exposures = {record.id: record for record in select_exposures(butler, instrument, where)}
    selected = set(exposures)
    joined = {
        visit: of_all.get(visit, set())
        for visit in sorted(names)
        if not where or not selected.isdisjoint(of_all.get(visit, ()))
    }
    if where and not selected:
        raise VisitsError(f"No exposure of {instrument} matches {where!r}; correct the expression.")
    # Of all exposures no group can lack any.
    options = Options(collections=collections, incremental=bool(where), skip_errors=True)
    clashes_known = not where
    # Until all exposures are known that are joined to the visits, and all groups that have any of their ids.
    while True:
        others = set().union(*joined.values()) - exposures.keys()
        exposures |= fetch_exposures(butler, instrument, others)
        selection = task.selector.select(exposures.values(), options)
        visits = [
            visit
            for visit in selection.visits
            if visit.id in joined or not selected.isdisjoint(exposure.id for exposure in visit.exposures)
        ]
        more = {
            visit.id: of_all.get(visit.id, set()) for visit in visits if visit.id in names and visit.id not in joined
        }
        joined |= more
        if not clashes_known and any(visit.id not in names for visit in visits):
            # Before any is defined: exposures that were not selected can give the same ids.
            exposures = {record.id: record for record in select_exposures(butler, instrument, "")} | exposures
            clashes_known = True
        elif set().union(*more.values()) <= exposures.keys():
            break
    untold = _untold(butler, instrument, visits, joined) if hides_days(butler) else set()
    visits = [visit for visit in visits if visit.id not in untold]
    joined = {visit: own for visit, own in joined.items() if visit not in untold}
    failed = {exposure for failure in selection.failures for exposure in failure.exposures}
    on_sky = {exposure.id: exposure for visit in selection.visits for exposure in visit.exposures}
    off_sky = exposures.keys() - on_sky.keys() - failed
    exposures |= on_sky
    visits_of: dict[int, set[int]] = defaultdict(set)
    for visit_id, ids in of_all.items():
        for exposure_id in ids & exposures.keys():
            visits_of[exposure_id].add(visit_id)
    own_failures = [failure for failure in selection.failures if not selected.isdisjoint(failure.exposures)]
    return Scope(
        exposures,
        selected,
        off_sky,
        failed,
        [_why_not(task.selector, failure, exposures, collections) for failure in own_failures],
        visits,
        names,
        joined,
        visits_of,
        systems,
        sorted(untold),
    )


def _untold(
    butler: Butler, instrument: str, visits: Sequence[VisitDefinitionData], joined: Mapping[int, set[int]]
) -> set[int]:
    """Find the stored visits which may have exposures that are not shown."""
    days = fetch_visit_days(butler, instrument, joined)
    planned = {visit.id: {exposure.day_obs for exposure in visit.exposures} for visit in visits}
    # Of a visit that no exposures would give, all that it has may be of other days.
    return {
        visit
        for visit, own in joined.items()
        if (day := days.get(visit)) is None or (planned[visit] != {day} if visit in planned else not own)
    }


def _why_not(
    selector: Selector, failure: Failure, exposures: dict[int, DimensionRecord], collections: Sequence[str] | None
) -> Finding:
    """Tell exposures whose visit clashes with another one from those that give none."""
    given = [exposures[exposure] for exposure in failure.exposures if exposure in exposures]
    alone = selector.select(given, Options(collections=collections, skip_errors=True))
    # What can be a visit alone could not only beside others.
    kind = Kind.CLASHING_ID if alone.visits and not alone.failures else Kind.FAILED
    visit = alone.visits[0].id if kind is Kind.CLASHING_ID else None
    return Finding(kind, str(failure), visit=visit, exposures=failure.exposures)
