"""Compute visits, compare them with what is stored and decide what becomes of each; reads only."""

from __future__ import annotations

__all__ = ["compare_records", "plan_visits"]

from collections.abc import Sequence

from lsst.daf.butler import Butler, DimensionRecord
from lsst.sphgeom import ConvexPolygon, Region

from .. import repository
from ..errors import DefinitionError
from ..geometry import ARCSEC, decode_polygon, outline_distance
from .records import visit_record
from .regions import ComputeVisitRegionsTask
from .visits import Action, Difference, Options, PlannedVisit, VisitDefinitionData


def plan_visits(
    butler: Butler,
    visits: Sequence[VisitDefinitionData],
    compute_regions: ComputeVisitRegionsTask,
    options: Options,
    region_tolerance: float,
) -> list[PlannedVisit]:
    """Compute visits and compare them with what is stored.

    ``region_tolerance``: distance up to which regions are equal, arcsec. Raises `DefinitionError` if no valid visit can
    be made of some exposures; `LookupError` if there is no camera geometry for an exposure.
    """
    instrument = visits[0].instrument
    regions = compute_regions.compute_all(visits, collections=options.collections)
    stored = repository.fetch_visits(butler, instrument, [visit.id for visit in visits])
    joined: dict[int, set[int]] = {}
    if options.incremental:
        joined = repository.fetch_exposures_of_visits(butler, instrument, stored)
    covered: dict[int, set[int]] = {}
    if options.check_detector_regions:
        covered = repository.fetch_detectors_of_visits(butler, instrument, stored)
    planned = []
    for visit, region in zip(visits, regions, strict=True):
        if not isinstance(region.region, ConvexPolygon):
            raise DefinitionError(
                f"The region of visit {visit.id} is a {type(region.region).__name__}; expected a ConvexPolygon from "
                f"{type(compute_regions).__name__}."
            )
        record = visit_record(visit, region.region, butler.dimensions)
        plan = PlannedVisit(visit, record, region, stored.get(visit.id))
        _decide(plan, options, region_tolerance, joined.get(visit.id, set()), covered.get(visit.id, set()))
        planned.append(plan)
    return planned


def _decide(plan: PlannedVisit, options: Options, region_tolerance: float, joined: set[int], covered: set[int]) -> None:
    """Decide what becomes of a visit, given the exposures joined to it and the detectors with a region."""
    exposures = plan.definition.exposures
    if plan.stored is None:
        plan.action = Action.NEW
        plan.write_record = True
        plan.exposures_to_join = [exposure.id for exposure in exposures]
        plan.detectors_to_write = None
        return
    if region_tolerance == 0:
        plan.make_exact()
    plan.differences = compare_records(plan.stored, plan.record, region_tolerance)
    if any(difference.field == "region" for difference in plan.differences) and plan.make_exact():
        # The plane's formula is not always that of what is stored.
        plan.differences = compare_records(plan.stored, plan.record, region_tolerance)
    ids = [exposure.id for exposure in exposures]
    strange = bool(joined) and joined.isdisjoint(ids)
    if strange:
        # Two groups can give one id, and come one after the other.
        plan.differences.append(Difference("exposures", sorted(joined), ids))
    if plan.differences and (strange or not (options.update_records or options.incremental)):
        plan.action = Action.SKIPPED if options.skip_conflicting else Action.CONFLICT
        return
    plan.exposures_of_others = joined - set(ids)
    if options.incremental and len(exposures) > 1:
        plan.exposures_to_join = [exposure for exposure in ids if exposure not in joined]
    if options.update_records or any(difference.field == "region" for difference in plan.differences):
        plan.detectors_to_write = None
    elif options.check_detector_regions:
        plan.detectors_to_write = set(plan.regions.detector_ids) - covered
    plan.write_record = options.update_records or bool(plan.differences)
    if plan.write_record or plan.exposures_to_join or plan.detectors_to_write != set():
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
