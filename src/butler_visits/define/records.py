"""Turn visits and regions into dimension records, for every dimension universe."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any

from lsst.daf.butler import DimensionRecord, DimensionUniverse, Timespan
from lsst.sphgeom import Region

from ..errors import DefinitionError
from .visits import VisitDefinitionData, VisitSystem


def visit_fields(visit: VisitDefinitionData, universe: DimensionUniverse) -> dict[str, Any]:
    """Make the fields of the ``visit`` record but for the region, as docs/design.md, Records, says.

    Raises `DefinitionError` if there is no common filter.
    """
    physical_filter = _common(visit, "physical_filter")
    if physical_filter is None:
        listed = ", ".join(f"{exposure.id} ({exposure.physical_filter})" for exposure in visit.exposures)
        raise DefinitionError(
            f"Visit {visit.id} ({visit.name}) has no common physical_filter, and a visit must have one. Its exposures "
            f"with their filters: {listed}."
        )
    reason = _common(visit, "observation_reason")
    fields = {
        "instrument": visit.instrument,
        "id": visit.id,
        "name": visit.name,
        "physical_filter": physical_filter,
        "target_name": _common(visit, "target_name"),
        "science_program": _common(visit, "science_program"),
        "observation_reason": "various" if reason is None else reason,
        "day_obs": _of_all(visit, "day_obs", min),
        "seq_num": _of_all(visit, "seq_num", min),
        "exposure_time": _of_all(visit, "exposure_time", _sum),
        "zenith_angle": _of_all(visit, "zenith_angle", lambda values: _sum(values) / len(values)),
        "azimuth": _of_all(visit, "azimuth", _mean_angle),
        "timespan": _timespan(visit),
    }
    known = universe["visit"].RecordClass.fields.names
    if "visit_system" in known:
        fields["visit_system"] = _visit_system(visit).value
    return {name: value for name, value in fields.items() if name in known}


def definition_records(
    visit: VisitDefinitionData, exposures: Iterable[int], universe: DimensionUniverse
) -> list[DimensionRecord]:
    """Make ``visit_definition`` records."""
    record_class = universe["visit_definition"].RecordClass
    fields: dict[str, Any] = {"instrument": visit.instrument, "visit": visit.id}
    if "visit_system" in record_class.fields.names:
        fields["visit_system"] = _visit_system(visit).value
    return [record_class(exposure=exposure, **fields) for exposure in exposures]


def membership_records(
    visit: VisitDefinitionData, systems: Iterable[VisitSystem], universe: DimensionUniverse
) -> list[DimensionRecord]:
    """Make ``visit_system_membership`` records."""
    if "visit_system_membership" not in universe.elements.names:
        return []
    record_class = universe["visit_system_membership"].RecordClass
    return [
        record_class(instrument=visit.instrument, visit=visit.id, visit_system=value)
        for value in sorted(system.value for system in systems)
    ]


def detector_region_records(
    visit: VisitDefinitionData, regions: Mapping[int, Region], universe: DimensionUniverse
) -> list[DimensionRecord]:
    """Make ``visit_detector_region`` records."""
    record_class = universe["visit_detector_region"].RecordClass
    return [
        record_class(instrument=visit.instrument, visit=visit.id, detector=detector, region=region)
        for detector, region in regions.items()
    ]


def visit_system_records(
    instrument: str, systems: Iterable[VisitSystem], universe: DimensionUniverse
) -> list[DimensionRecord]:
    """Make ``visit_system`` records."""
    record_class = universe["visit_system"].RecordClass
    return [
        record_class(instrument=instrument, id=system.value, name=str(system))
        for system in sorted(systems, key=lambda system: system.value)
    ]


def stored_systems(visit: VisitDefinitionData, universe: DimensionUniverse) -> set[VisitSystem]:
    """Return the visit systems that a visit is stored in."""
    if "visit_system_membership" in universe.elements.names:
        return visit.visit_systems
    return {_visit_system(visit)}


def _visit_system(visit: VisitDefinitionData) -> VisitSystem:
    """Choose the one visit system that universes 0 and 1 have room for."""
    return (
        VisitSystem.ONE_TO_ONE
        if VisitSystem.ONE_TO_ONE in visit.visit_systems
        else min(visit.visit_systems, key=lambda system: system.value)
    )


def _common(visit: VisitDefinitionData, field: str) -> Any:
    """Return the value that all exposures have, or `None`."""
    if len(visit.exposures) == 1:
        return getattr(visit.exposures[0], field)
    values = {getattr(exposure, field) for exposure in visit.exposures}
    return values.pop() if len(values) == 1 else None


def _of_all(visit: VisitDefinitionData, field: str, combine: Any) -> Any:
    """Combine the exposures' values, or return `None` if any is null or the universe lacks the field.

    What is not a number is null: SQLite stores it so, and a visit must equal what is stored of it.
    """
    values = [getattr(exposure, field, None) for exposure in visit.exposures]
    for value in values:
        if value is None or not math.isfinite(value):
            return None
    return combine(values)


def _sum(values: list[float]) -> float:
    """Add in order; from Python 3.12 on the built-in sum rounds differently."""
    return reduce(operator.add, values)


def _mean_angle(degrees: list[float]) -> float:
    """Return the angle of the mean of unit vectors, in (-180, 180]; a single angle as it is."""
    if len(degrees) == 1:
        return degrees[0]
    x = _sum([math.cos(math.radians(angle)) for angle in degrees]) / len(degrees)
    y = _sum([math.sin(math.radians(angle)) for angle in degrees]) / len(degrees)
    mean = math.degrees(math.atan2(y, x))
    return 180.0 if mean == -180.0 else mean


def _timespan(visit: VisitDefinitionData) -> Timespan:
    """Span all exposures, without an end that is null in any of them."""
    spans = [exposure.timespan for exposure in visit.exposures]
    if len(spans) == 1 and spans[0] is not None:
        return spans[0]
    unknown = Timespan(None, None).nsec
    bounds = [unknown if span is None or span.isEmpty() else span.nsec for span in spans]
    # The ends that nobody knows are the earliest and latest that there are.
    return Timespan.model_validate((min(begin for begin, _ in bounds), max(end for _, end in bounds)))
