"""What became of visits, in numbers and words: all that a worker needs to send back."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self

from lsst.daf.butler.registry.interfaces import DatabaseConflictError
from lsst.pipe.base import Struct

from ..lists import counted, listed
from .exposures import Selection
from .visits import Action, Failure, Options, PlannedVisit

_LISTED_CONFLICTS = 10


_REPLACE = (
    "--update-records (in Python update_records) replaces what is stored, --incremental does so where exposures were "
    "added, --skip-conflicting leaves it as it is."
)


class Conflict(NamedTuple):
    """A visit that is stored otherwise."""

    line: str
    """How."""

    advice: str
    """What can be done."""


class RunResult(Struct):
    """What a run returns: its ``getDict`` has integers only, as clients of the original expect."""

    # Kept out of the namespace that getDict returns.
    __slots__ = ("failures", "off_sky_types")

    def __init__(self, failures: list[Failure], off_sky_types: dict[str, int], **counts: int) -> None:
        super().__init__(**counts)
        self.failures = failures
        self.off_sky_types = off_sky_types

    def __reduce__(self) -> Any:
        return type(self), (self.failures, self.off_sky_types), self.getDict()


@dataclasses.dataclass
class Outcome:
    """What became of visits."""

    n_given: int = 0
    """Visits that there were to do."""

    n_visits: int = 0
    """Visits that are stored now as they were computed, or are left alone because that was asked for."""

    n_skipped: int = 0
    n_new: int = 0
    n_fully_updated: int = 0
    n_partially_updated: int = 0
    n_completed: int = 0
    """Stored visits that got detector regions which they lacked, and nothing else of them."""

    conflicts: list[Conflict] = dataclasses.field(default_factory=list)
    """The visits that are stored otherwise, unless failures are to be skipped."""

    warnings: list[str] = dataclasses.field(default_factory=list)
    """A line for each visit of which there is something to know."""

    stored: list[int] = dataclasses.field(default_factory=list)
    """Ids of the visits that were written, or found stored as they were computed."""

    apart: list[int] = dataclasses.field(default_factory=list)
    """Ids of the visits whose exposures look farther apart than the camera is wide."""

    failures: list[Failure] = dataclasses.field(default_factory=list)
    """Exposures whose visit could not be defined."""

    @classmethod
    def of(cls, planned: Sequence[PlannedVisit], failures: Iterable[Failure], options: Options) -> Self:
        """Sum up what became of visits."""
        conflicts = [visit for visit in planned if visit.action is Action.CONFLICT]
        outcome = cls(
            n_visits=len(planned) - len(conflicts),
            n_skipped=sum(visit.action in (Action.UNCHANGED, Action.SKIPPED) for visit in planned),
            n_new=sum(visit.is_new for visit in planned),
            n_fully_updated=sum(visit.fully_updated for visit in planned),
            n_partially_updated=sum(visit.partially_updated for visit in planned),
            n_completed=sum(visit.action is Action.UPDATE and bool(visit.detectors_to_write) for visit in planned),
            failures=list(failures),
            stored=[visit.definition.id for visit in planned if visit.action not in (Action.CONFLICT, Action.SKIPPED)],
            apart=[visit.definition.id for visit in planned if visit.regions.apart],
            warnings=[
                f"Visit {visit.definition.id} ({visit.definition.name}): {visit.warning}."
                for visit in planned
                if visit.warning
            ],
        )
        outcome.n_given = len(planned) + len(outcome.failures)
        if not options.skip_errors:
            outcome.conflicts = [Conflict(conflict_line(visit), visit.advice or _REPLACE) for visit in conflicts]
        else:
            outcome.failures += [
                Failure(
                    tuple(exposure.id for exposure in visit.definition.exposures),
                    f"Visit {visit.definition.id} is in conflict with what the repository has: {visit.reason}.",
                )
                for visit in conflicts
            ]
        return outcome

    def all_warnings(self) -> list[str]:
        """Say what there is to know of the visits: one line for those whose exposures look far apart."""
        # Workers finish in any order.
        warnings = sorted(self.warnings)
        if self.apart:
            warnings.append(
                f"{counted(len(self.apart), 'visit')} with exposures that look farther apart than the camera is wide: "
                f"{listed(sorted(self.apart), _LISTED_CONFLICTS)}. Correct the exposures' pointings, or their group."
            )
        return warnings

    def add(self, other: Outcome) -> None:
        """Add what became of other visits."""
        for field in dataclasses.fields(self):
            # In place, because lists grow.
            setattr(self, field.name, operator.iadd(getattr(self, field.name), getattr(other, field.name)))

    def check(self) -> None:
        """Raise `DatabaseConflictError` if there are conflicts that are not skipped."""
        if self.conflicts:
            # Workers finish in any order.
            raise DatabaseConflictError(conflict_message(sorted(self.conflicts)))

    def to_struct(self, selection: Selection) -> RunResult:
        """Make what a run returns."""
        # Workers finish in any order.
        failures = selection.failures + sorted(self.failures, key=lambda failure: failure.exposures)
        return RunResult(
            failures,
            {name: len(exposures) for name, exposures in selection.off_sky.items()},
            n_visits=self.n_visits,
            n_skipped=self.n_skipped,
            n_new=self.n_new,
            n_fully_updated=self.n_fully_updated,
            n_partially_updated=self.n_partially_updated,
            n_filtered=len(selection.filtered),
            n_off_sky=sum(map(len, selection.off_sky.values())),
            n_failed=len(failures),
        )


def conflict_line(visit: PlannedVisit) -> str:
    """Say how a visit is in conflict with what is stored."""
    definition = visit.definition
    return (
        f"Visit {definition.id} ({definition.name}) of {definition.instrument} is in conflict with what the repository "
        f"has: {visit.reason}."
    )


def conflict_message(conflicts: Sequence[Conflict]) -> str:
    """Say what is in conflict, and what can be done."""
    lines = [conflict.line for conflict in conflicts[:_LISTED_CONFLICTS]]
    if len(conflicts) > _LISTED_CONFLICTS:
        others = len(conflicts) - _LISTED_CONFLICTS
        lines.append(f"And {counted(others, 'more visit')}.")
    *others_advice, last = dict.fromkeys(conflict.advice for conflict in conflicts)
    return "\n".join([*lines, *others_advice, f"{last.rstrip('.')}; --dry-run shows all conflicts and writes nothing."])
