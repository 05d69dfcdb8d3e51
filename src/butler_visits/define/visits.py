"""What is passed on from step to step: a visit, its regions, what is asked for and what is planned."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Self

from astropy.time import Time
from lsst.daf.butler import DimensionRecord, Timespan
from lsst.sphgeom import ConvexPolygon, Region

from ..geometry import decode_polygon
from ..lists import angle_text, counted, listed, reason_of


class VisitSystem(enum.Enum):
    """A self-consistent set of visits: in each, an exposure belongs to one visit at most."""

    ONE_TO_ONE = 0
    BY_GROUP_METADATA = 1
    BY_SEQ_START_END = 2

    def __str__(self) -> str:
        return self.name.lower().replace("_", "-")

    @classmethod
    def all(cls) -> frozenset[VisitSystem]:
        """Return all visit systems."""
        return frozenset(cls)

    @classmethod
    def from_name(cls, name: str) -> Self:
        """Find a visit system by its name.

        Parameters
        ----------
        name : `str`
            Name in any case, with dashes or underscores.

        Returns
        -------
        system : `VisitSystem`
            The system.

        Raises
        ------
        KeyError
            If there is none.
        """
        try:
            return cls[name.upper().replace("-", "_")]
        except KeyError:
            names = ", ".join(sorted(str(system) for system in cls))
            raise KeyError(f"No visit system {name!r}; there are {names}.") from None

    @classmethod
    def from_names(cls, names: Iterable[str] | None) -> frozenset[VisitSystem]:
        """Find visit systems by their names.

        Parameters
        ----------
        names : `~collections.abc.Iterable` [`str`] or `None`
            The names; none, or no names, means all systems.

        Returns
        -------
        systems : `frozenset` [`VisitSystem`]
            The systems.
        """
        return frozenset(cls.from_name(name) for name in names or ()) or cls.all()


@dataclasses.dataclass
class VisitDefinitionData:
    """A visit to be: its identity and its exposures."""

    instrument: str
    """Name of the instrument."""

    id: int
    """The visit's id, unique for the instrument."""

    name: str
    """The visit's name."""

    visit_systems: set[VisitSystem]
    """The systems that the visit is in."""

    exposures: list[DimensionRecord] = dataclasses.field(default_factory=list)
    """The ``exposure`` records of the visit."""


class VisitRegions:
    """The regions of a visit; its detectors' are made when they are asked for.

    Parameters
    ----------
    region : `lsst.sphgeom.Region`
        The visit's region.
    detector_ids : `~collections.abc.Collection` [`int`]
        Ids of the detectors.
    detectors : `~collections.abc.Callable`
        Returns the detectors' regions by their ids. Most visits of a second run need none of them.
    exact_region : `~collections.abc.Callable`, optional
        Returns the visit's region to the bit, if ``region`` is rounded otherwise than what is to be stored. It takes
        longer to make, so it is asked for only where the bits count.
    """

    def __init__(
        self,
        region: Region,
        detector_ids: Collection[int],
        detectors: Callable[[], Mapping[int, Region]],
        exact_region: Callable[[], Region] | None = None,
    ) -> None:
        self.region = region
        self.detector_ids = detector_ids
        self._detectors = detectors
        self._exact_region = exact_region
        self.apart = False
        """Whether the visit's exposures look farther apart than the camera is wide."""

    def __reduce__(self) -> tuple[Any, ...]:
        # How they are made cannot be taken along in general, but they can.
        regions = self.detectors()
        return type(self), (self.region, tuple(regions), partial(dict, regions))

    def detectors(self) -> dict[int, Region]:
        """Return the detectors' regions, to the bit.

        Returns
        -------
        regions : `dict` [`int`, `lsst.sphgeom.Region`]
            Regions by detector id.
        """
        return dict(self._detectors())

    def make_exact(self) -> bool:
        """Make ``region`` the one that is to be stored, to the bit.

        Returns
        -------
        changed : `bool`
            Whether it was another one before.
        """
        if self._exact_region is None:
            return False
        self.region = self._exact_region()
        self._exact_region = None
        return True


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
    grouping: str = ""
    """Name of the grouping algorithm, for advice."""


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
            return f"{self.field} differs by up to {angle_text(self.distance)}"
        if isinstance(self.computed, Region):
            return f"{self.field} is stored as {_kind(self.stored)} and is now {_kind(self.computed)}"
        stored, computed = self.shown
        return f"{self.field} is stored as {stored} and is now {computed}"

    @property
    def shown(self) -> tuple[str, str]:
        """Both values for messages, so that they can be told apart."""
        texts = _shown(self.stored), _shown(self.computed)
        if texts[0] == texts[1] and isinstance(self.stored, Timespan) and isinstance(self.computed, Timespan):
            return _with_fractions(self.stored), _with_fractions(self.computed)
        return texts


@dataclasses.dataclass(frozen=True)
class Failure:
    """Exposures of which no visit could be made."""

    exposures: tuple[int, ...]
    """Their ids."""

    reason: str

    common: str = ""
    """The reason without what it says of these exposures only, if others can have the same."""

    @classmethod
    def of(cls, exposures: Iterable[int], error: BaseException) -> Self:
        """Make the failure of exposures that an error is about."""
        return cls(tuple(exposures), reason_of(error), getattr(error, "common", ""))

    def __str__(self) -> str:
        which = "Exposure" if len(self.exposures) == 1 else "Exposures"
        return f"{which} {listed(self.exposures)}: {self.reason}"


@dataclasses.dataclass
class PlannedVisit:
    """A visit, and what there is to write of it."""

    definition: VisitDefinitionData
    record: DimensionRecord
    """The computed ``visit`` record."""

    regions: VisitRegions
    # No attribute of the class, so that of an unchanged visit it can be made when it is asked for.
    stored: DimensionRecord | None = dataclasses.field(default_factory=lambda: None)
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

    systems_to_add: set[VisitSystem] = dataclasses.field(default_factory=set)
    """The visit systems that a stored visit lacks."""

    clash: str = ""
    """What is in the way that no option replaces."""

    advice: str = ""
    """What can be done about a clash."""

    warning: str = ""
    """What is not as it should be of a visit that is no conflict."""

    untold: bool = False
    """Whether it cannot be told which exposures the stored visit has."""

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
        systems = sorted(system.value for system in self.systems_to_add)
        return (self.definition.id, self.action, self.exposures_to_join, systems, self.detectors_to_write)

    @property
    def reason(self) -> str:
        """Why there is something to do, or nothing; empty where the action says it all."""
        reasons = [text for text in (self.clash, self.warning) if text]
        reasons += [str(difference) for difference in self.differences]
        if self.systems_to_add and self.stored is not None:
            reasons.append(f"it is not in visit system {' and '.join(sorted(map(str, self.systems_to_add)))}")
        if self.action is Action.UPDATE:
            if self.exposures_to_join:
                reasons.append(f"exposures {listed(self.exposures_to_join)} are not joined to it yet")
            if self.detectors_to_write is None and not self.differences:
                reasons.append("all its records are replaced, as asked")
            elif self.detectors_to_write:
                n = len(self.detectors_to_write)
                reasons.append(f"{counted(n, 'detector')} {'has' if n == 1 else 'have'} no region")
        return "; ".join(reasons)

    def refuse(self, clash: str, advice: str, *, skip: bool) -> None:
        """Write nothing of the visit, because of what is stored, and leave that alone if ``skip`` says so."""
        self.action = Action.SKIPPED if skip else Action.CONFLICT
        self.clash, self.advice, self.warning = clash, advice, ""

    def leave(self, warning: str) -> None:
        """Leave what is stored of the visit alone."""
        self.action = Action.SKIPPED
        self.warning = warning
        self.clash = self.advice = ""

    def make_exact(self) -> bool:
        """Make the computed region the one that is to be stored, to the bit; tell whether it was another one before."""
        if not self.regions.make_exact():
            return False
        self.record = type(self.record)(**{**self.record.toDict(), "region": self.regions.region})
        return True

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


def ids_of(visit: VisitDefinitionData) -> set[int]:
    """Return the ids of a visit's exposures."""
    return {exposure.id for exposure in visit.exposures}


def label_of(visits: Sequence[PlannedVisit]) -> str:
    """Name visits in a message."""
    first, last = visits[0].definition, visits[-1].definition
    if len(visits) == 1:
        return f"visit {first.id} ({first.name})"
    return f"the {len(visits)} visits from {first.id} to {last.id}"


def name_systems(systems: Iterable[int]) -> str:
    """Name visit systems by their ids, of which there may be more than we know."""
    known = {system.value: str(system) for system in VisitSystem}
    return " and ".join(known.get(system, f"visit system {system}") for system in sorted(systems)) or "no visit system"


def _kind(region: Region | None) -> str:
    if region is None:
        return "null"
    damaged = isinstance(region, ConvexPolygon) and decode_polygon(region.encode()) is None
    return f"a {type(region).__name__}{' with vertices that are not numbers' * damaged}"


def _with_fractions(timespan: Timespan) -> str:
    """Write a timespan with all digits of its seconds, which its own text leaves out."""

    def text(end: Any) -> str:
        if not isinstance(end, Time):
            return str(end)
        tai = end.tai.copy()
        tai.precision = 9
        return str(tai.isot).rstrip("0").rstrip(".")

    begin, end = text(timespan.begin), text(timespan.end)
    return f"[{begin}, {end}) TAI"


def _shown(value: Any) -> str:
    return f"{value} TAI" if isinstance(value, Timespan) else repr(value)
