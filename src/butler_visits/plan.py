"""Computed visits against stored ones: what there is to do, and why."""

from __future__ import annotations

__all__ = [
    "Action",
    "Difference",
    "Failure",
    "Options",
    "PlannedVisit",
    "compare_records",
    "conflict_line",
    "conflict_message",
    "listed",
]

import dataclasses
import enum
from collections.abc import Sequence
from typing import Any

from lsst.daf.butler import DimensionRecord, Timespan
from lsst.sphgeom import ConvexPolygon, Region

from .definition import VisitDefinitionData
from .geometry import ARCSEC, decode_polygon, outline_distance
from .regions import VisitRegions

_LISTED_CONFLICTS = 10


@dataclasses.dataclass(frozen=True)
class Options:
    """What a run or a plan was asked for; see `DefineVisitsTask.run`."""

    collections: Sequence[str] | None = None
    update_records: bool = False
    incremental: bool = False
    skip_conflicting: bool = False
    prefilter: bool = False
    check_detector_regions: bool = False
    skip_errors: bool = False


class Action(enum.Enum):
    """What becomes of a visit."""

    NEW = "new"
    UNCHANGED = "unchanged"
    UPDATE = "update"
    SKIPPED = "skipped"
    CONFLICT = "conflict"


@dataclasses.dataclass(frozen=True)
class Difference:
    """A field of a visit that is stored otherwise than it is computed."""

    field: str
    stored: Any
    computed: Any
    distance: float | None = None
    """For two polygons the largest distance of a vertex of either to the other's boundary, arcsec.

    `None` also if a vertex is not a number.
    """

    def __str__(self) -> str:
        if self.distance is not None:
            return f"{self.field} differs by up to {self.distance:.3g} arcsec"
        if isinstance(self.computed, Region):
            return f"{self.field} is stored as {_kind(self.stored)} and is now {_kind(self.computed)}"
        return f"{self.field} is stored as {_shown(self.stored)} and is now {_shown(self.computed)}"


@dataclasses.dataclass(frozen=True)
class Failure:
    """Exposures of which no visit could be made."""

    exposures: tuple[int, ...]
    """Their ids."""

    reason: str

    def __str__(self) -> str:
        which = "Exposure" if len(self.exposures) == 1 else "Exposures"
        return f"{which} {', '.join(map(str, self.exposures))}: {self.reason}"


@dataclasses.dataclass
class PlannedVisit:
    """A visit, and what there is to write of it."""

    definition: VisitDefinitionData
    record: DimensionRecord
    """The computed ``visit`` record."""

    regions: VisitRegions
    stored: DimensionRecord | None = None
    """The stored ``visit`` record, if there is one."""

    action: Action = Action.UNCHANGED
    differences: list[Difference] = dataclasses.field(default_factory=list)
    exposures_to_join: list[int] = dataclasses.field(default_factory=list)
    """Ids of the exposures whose ``visit_definition`` rows are to be inserted."""

    exposures_of_others: set[int] = dataclasses.field(default_factory=set)
    """Ids of exposures that are stored as the visit's and are not in its definition."""

    detectors_to_write: set[int] | None = dataclasses.field(default_factory=set)
    """Ids of the detectors whose regions are to be written; `None` means all."""

    write_record: bool = False
    """Whether the ``visit`` record is to be written."""

    @property
    def is_new(self) -> bool:
        """Whether the visit is not stored yet."""
        return self.action is Action.NEW

    @property
    def writes(self) -> bool:
        """Whether there is anything to write."""
        return self.action in (Action.NEW, Action.UPDATE)

    @property
    def fully_updated(self) -> bool:
        """Whether a stored visit gets detector regions, and not only new fields or exposures."""
        return self.action is Action.UPDATE and self.detectors_to_write != set()

    @property
    def partially_updated(self) -> bool:
        """Whether a stored visit gets new fields or exposures only."""
        return self.action is Action.UPDATE and not self.fully_updated

    @property
    def to_write(self) -> tuple[Any, ...]:
        """What is to be written, to be compared with another plan of the same visit."""
        return (self.definition.id, self.action, self.exposures_to_join, self.detectors_to_write)

    @property
    def reason(self) -> str:
        """Why there is something to do, or nothing; empty where the action says it all."""
        reasons = [str(difference) for difference in self.differences]
        if self.action is Action.UPDATE:
            if self.exposures_to_join:
                reasons.append(f"exposures {', '.join(map(str, self.exposures_to_join))} are not joined to it yet")
            if self.detectors_to_write is None and not self.differences:
                reasons.append("all its records are replaced, as asked")
            elif self.detectors_to_write:
                reasons.append(f"{len(self.detectors_to_write)} detectors have no region")
        return "; ".join(reasons)

    def detector_regions_to_write(self) -> dict[int, Region]:
        """Make the detector regions that are to be written.

        Returns
        -------
        regions : `dict` [`int`, `lsst.sphgeom.Region`]
            Regions by detector id.
        """
        if self.detectors_to_write == set():
            return {}
        regions = self.regions.detectors()
        if self.detectors_to_write is None:
            return regions
        return {detector: regions[detector] for detector in sorted(self.detectors_to_write)}


def compare_records(stored: DimensionRecord, computed: DimensionRecord, region_tolerance: float) -> list[Difference]:
    """Compare a stored visit with a computed one, field by field.

    Parameters
    ----------
    stored, computed : `lsst.daf.butler.DimensionRecord`
        The ``visit`` records.
    region_tolerance : `float`
        Distance up to which regions are equal, arcsec; 0 asks for identical bits.

    Returns
    -------
    differences : `list` [`Difference`]
        The fields that differ.
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


def conflict_line(visit: PlannedVisit) -> str:
    """Say how a visit is in conflict with what is stored.

    Parameters
    ----------
    visit : `PlannedVisit`
        The visit.

    Returns
    -------
    line : `str`
        A line with its fields and both values.
    """
    definition = visit.definition
    return (
        f"Visit {definition.id} ({definition.name}) of {definition.instrument} is in conflict with what the repository "
        f"has: {visit.reason}."
    )


def conflict_message(conflicts: Sequence[str]) -> str:
    """Say what is in conflict, and what can be done.

    Parameters
    ----------
    conflicts : `~collections.abc.Sequence` [`str`]
        A line for each visit that differs from what is stored.

    Returns
    -------
    message : `str`
        Text with up to ten of the lines.
    """
    lines = list(conflicts[:_LISTED_CONFLICTS])
    if len(conflicts) > _LISTED_CONFLICTS:
        others = len(conflicts) - _LISTED_CONFLICTS
        lines.append("So is 1 more visit." if others == 1 else f"So are {others} more visits.")
    lines.append(
        "--update-records (in Python update_records) replaces what is stored, --incremental does so where exposures "
        "were added, --skip-conflicting leaves it as it is; --dry-run shows all conflicts and writes nothing."
    )
    return "\n".join(lines)


def listed(visits: Sequence[PlannedVisit]) -> str:
    """Name visits in a message.

    Parameters
    ----------
    visits : `~collections.abc.Sequence` [`PlannedVisit`]
        The visits, at least one.

    Returns
    -------
    text : `str`
        Text to be put into a sentence.
    """
    first, last = visits[0].definition, visits[-1].definition
    if len(visits) == 1:
        return f"visit {first.id} ({first.name})"
    return f"the {len(visits)} visits from {first.id} to {last.id}"


def _kind(region: Region | None) -> str:
    if region is None:
        return "null"
    damaged = isinstance(region, ConvexPolygon) and decode_polygon(region.encode()) is None
    return f"a {type(region).__name__}{' with vertices that are no numbers' * damaged}"


def _shown(value: Any) -> str:
    return f"{value} TAI" if isinstance(value, Timespan) else repr(value)
