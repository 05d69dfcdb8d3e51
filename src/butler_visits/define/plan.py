"""Compute visits, compare them with what is stored and decide what becomes of each; reads only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lsst.daf.butler import Butler, DimensionRecord, DimensionUniverse
from lsst.sphgeom import ConvexPolygon, Region

from .. import repository
from ..errors import DefinitionError
from ..geometry import ARCSEC, decode_polygon, outline_distance
from ..geometry.comparison import are_same
from ..lists import listed
from ..repository.database import StoredRow, one_connection, read_visit_rows
from ..repository.stored import fetch_exposures_of_visits, fetch_visit_systems, hides_days, region_bytes
from .clashes import REMOVE, clash_of_systems, missing_systems, refuse_clashes
from .records import stored_systems, visit_fields
from .regions import ComputeVisitRegionsTask
from .visits import Action, Difference, Options, PlannedVisit, VisitDefinitionData, VisitRegions, ids_of


def plan_visits(
    butler: Butler,
    visits: Sequence[VisitDefinitionData],
    compute_regions: ComputeVisitRegionsTask,
    options: Options,
    region_tolerance: float,
) -> list[PlannedVisit]:
    """Compute visits and compare them with what is stored, but for names that others have.

    ``region_tolerance``: distance up to which regions are equal, arcsec. Raises `DefinitionError` if no valid visit can
    be made of some exposures; `LookupError` if there is no camera geometry for an exposure.
    """
    if not visits:
        return []
    instrument, universe = visits[0].instrument, butler.dimensions
    regions = compute_regions.compute_all(visits, collections=options.collections)
    for visit, region in zip(visits, regions, strict=True):
        if not isinstance(region.region, ConvexPolygon):
            raise DefinitionError(
                f"The region of visit {visit.id} is a {type(region.region).__name__}; expected a ConvexPolygon from "
                f"{type(compute_regions).__name__}."
            )
        if region_tolerance == 0:
            region.make_exact()
    with one_connection(butler):
        rows = read_visit_rows(butler, instrument, [visit.id for visit in visits])
        joined = fetch_exposures_of_visits(butler, instrument, rows)
        systems = fetch_visit_systems(butler, instrument, rows)
    covered: dict[int, set[int]] = {}
    if options.check_detector_regions:
        covered = repository.fetch_detectors_of_visits(butler, instrument, rows)
    have = {
        visit: _Stored(joined.get(visit, set()), systems.get(visit, set()), covered.get(visit, set())) for visit in rows
    }
    computed = {visit.id: visit_fields(visit, universe) for visit in visits}
    unchanged = set()
    if not options.update_records:
        unchanged = _find_unchanged(visits, regions, computed, rows, have, options, region_tolerance, universe)
    stored = repository.fetch_visits(butler, instrument, rows.keys() - unchanged) if rows.keys() - unchanged else {}
    hidden = hides_days(butler)
    planned: list[PlannedVisit] = []
    for visit, region in zip(visits, regions, strict=True):
        if visit.id in unchanged:
            planned.append(_Unchanged(visit, region, computed[visit.id], rows[visit.id], universe["visit"].RecordClass))
            continue
        record = universe["visit"].RecordClass(region=region.region, **computed[visit.id])
        plan = PlannedVisit(visit, record, region, stored.get(visit.id))
        if plan.stored is None:
            _define(plan)
        else:
            _decide(plan, have.get(visit.id, _Stored(set(), set(), set())), options, region_tolerance)
            if hidden and (others := [e.id for e in visit.exposures if e.day_obs != plan.stored.day_obs]):
                plan.leave(
                    f"exposures {listed(others)} have another day_obs than it: it cannot be told through a Butler "
                    "server whether they are joined to it; use the repository's own configuration"
                )
                plan.untold = True
        planned.append(plan)
    changed = [plan for plan in planned if plan.definition.id not in unchanged]
    refuse_clashes(butler, changed, joined, systems, options)
    return planned


class _Unchanged(PlannedVisit):
    """A visit that is stored as it was computed; hardly anybody asks for its records, so they are made then."""

    def __init__(
        self,
        definition: VisitDefinitionData,
        regions: VisitRegions,
        computed: dict[str, Any],
        row: StoredRow,
        record_class: type[DimensionRecord],
    ) -> None:
        super().__init__(definition, None, regions)  # type: ignore[arg-type]
        del self.record, self.stored
        self._make = (computed, row, record_class)

    def __getattr__(self, name: str) -> Any:
        # Called for what is not there.
        if name not in ("record", "stored"):
            raise AttributeError(name)
        computed, row, record_class = self._make
        if name == "record":
            self.record = record_class(region=self.regions.region, **computed)
        else:
            fields, encoded = row
            self.stored = record_class(region=Region.decode(region_bytes(encoded or "")), **fields)
        return self.__dict__[name]

    def __reduce__(self) -> tuple[Any, ...]:
        return PlannedVisit, (self.definition, self.record, self.regions, self.stored)


def _find_unchanged(
    visits: Sequence[VisitDefinitionData],
    regions: Sequence[VisitRegions],
    computed: Mapping[int, Mapping[str, Any]],
    rows: Mapping[int, StoredRow],
    have: Mapping[int, _Stored],
    options: Options,
    tolerance: float,
    universe: DimensionUniverse,
) -> set[int]:
    """Find the visits that are stored as they were computed, with all that belongs to them, without making a record."""
    alike: list[tuple[int, bytes, bytes]] = []
    for visit, region in zip(visits, regions, strict=True):
        fields, encoded = rows.get(visit.id, ({}, ""))
        if fields != computed[visit.id]:
            continue
        own = have[visit.id]
        if (
            own.exposures == ids_of(visit)
            and own.systems == {system.value for system in stored_systems(visit, universe)}
            and not (options.check_detector_regions and set(region.detector_ids) - own.detectors)
        ):
            alike.append((visit.id, region_bytes(encoded or ""), region.region.encode()))
    if not alike:
        return set()
    ids, old, new = zip(*alike, strict=True)
    return {visit for visit, same in zip(ids, are_same(old, new, tolerance).tolist(), strict=True) if same}


class _Stored(NamedTuple):
    """What else is stored of a visit."""

    exposures: set[int]
    """Ids of the exposures that are joined to it."""

    systems: set[int]
    """Ids of the visit systems that it is in."""

    detectors: set[int]
    """Ids of the detectors that have a region, if that matters."""


def _define(plan: PlannedVisit) -> None:
    """Let a visit be defined that is not there."""
    plan.action = Action.NEW
    plan.write_record = True
    plan.exposures_to_join = [exposure.id for exposure in plan.definition.exposures]
    plan.systems_to_add = plan.definition.visit_systems
    plan.detectors_to_write = None


def _decide(plan: PlannedVisit, stored: _Stored, options: Options, region_tolerance: float) -> None:
    """Decide what becomes of a visit that is there."""
    assert plan.stored is not None
    skip = options.skip_conflicting
    plan.differences = compare_records(plan.stored, plan.record, region_tolerance)
    if any(difference.field == "region" for difference in plan.differences) and plan.make_exact():
        # The plane's formula is not always that of what is stored.
        plan.differences = compare_records(plan.stored, plan.record, region_tolerance)
    ids = [exposure.id for exposure in plan.definition.exposures]
    plan.exposures_of_others = stored.exposures - set(ids)
    if clash := clash_of_systems(plan.definition, plan.record.definition.universe, stored.exposures, stored.systems):
        plan.refuse(clash, "", skip=skip)
        return
    if stored.exposures and stored.exposures.isdisjoint(ids):
        # Two groups can give one id, and come one after the other.
        plan.refuse(str(Difference("exposures", sorted(stored.exposures), ids)), REMOVE, skip=skip)
        return
    plan.systems_to_add = missing_systems(plan, stored.systems)
    if not (options.update_records or options.incremental) and (plan.differences or plan.systems_to_add):
        plan.action = Action.SKIPPED if skip else Action.CONFLICT
        return
    lacking = [exposure for exposure in ids if exposure not in stored.exposures]
    if options.incremental or (options.update_records and not plan.differences):
        plan.exposures_to_join = lacking
    elif options.update_records and lacking:
        which = f"exposure{'s' * (len(lacking) > 1)} {listed(lacking)}"
        plan.warning = f"its new values are also made of {which}, not joined to it as yet; --incremental does that"
    if options.update_records or any(difference.field == "region" for difference in plan.differences):
        plan.detectors_to_write = None
    elif options.check_detector_regions:
        plan.detectors_to_write = set(plan.regions.detector_ids) - stored.detectors
    plan.write_record = options.update_records or bool(plan.differences)
    if plan.write_record or plan.exposures_to_join or plan.systems_to_add or plan.detectors_to_write != set():
        plan.action = Action.UPDATE


def compare_records(stored: DimensionRecord, computed: DimensionRecord, region_tolerance: float) -> list[Difference]:
    """Compare a stored visit with a computed one, field by field.

    ``region_tolerance``: distance up to which regions are equal, arcsec.
    """
    differences = []
    for field in computed.fields.names:
        old, new = getattr(stored, field), getattr(computed, field)
        if field == "region":
            if (difference := _compare_regions(old, new, region_tolerance)) is not None:
                differences.append(difference)
        elif old != new:
            differences.append(Difference(field, old, new))
    return differences


def _compare_regions(stored: Region | None, computed: Region, tolerance: float) -> Difference | None:
    if stored is None:
        return Difference("region", stored, computed)
    old, new = stored.encode(), computed.encode()
    if old == new:
        return None
    a, b = decode_polygon(old), decode_polygon(new)
    if a is None or b is None:
        return Difference("region", stored, computed)
    distance = float(outline_distance(a, b)) / ARCSEC
    if tolerance > 0 and distance <= tolerance:
        return None
    return Difference("region", stored, computed, distance)
