"""What a run would do, before it does it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.time import Time
from lsst.sphgeom import LonLat

from ..geometry import decode_polygon, polygon_area
from ..lists import counted, one_line
from .visits import Action, Difference, Failure, Options, PlannedVisit, ids_of

if TYPE_CHECKING:
    from astropy.table import Table


@dataclasses.dataclass(frozen=True, eq=False)
class VisitPlan:
    """What `DefineVisitsTask.apply` will do; iterate over it for its visits.

    ``print(plan)`` shows every visit that there is something to do or to say about.
    """

    visits: list[PlannedVisit]
    options: Options
    failures: list[Failure]
    """Exposures of which no visit can be made."""

    filtered: list[int]
    """Ids of exposures that were dropped because they have a visit already."""

    off_sky: dict[str, list[int]]
    """Ids of exposures that are not on the sky, by observation type."""

    def __iter__(self) -> Iterator[PlannedVisit]:
        return iter(self.visits)

    def __len__(self) -> int:
        return len(self.visits)

    def __str__(self) -> str:
        lines = [self.summary]
        for visit in self.visits:
            if visit.action is not Action.UNCHANGED:
                reason = f": {visit.reason}" if visit.reason else ""
                line = f"  {visit.action.value:<9} {visit.definition.id} ({visit.definition.name}){reason}"
                lines.append(one_line(line))
        lines.extend(f"  {'failed':<9} {failure}" for failure in self.failures)
        return "\n".join(lines)

    @property
    def n_filtered(self) -> int:
        """How many exposures were dropped because they have a visit already."""
        return len(self.filtered)

    @property
    def off_sky_types(self) -> dict[str, int]:
        """Numbers of exposures that are not on the sky, by observation type."""
        return {name: len(exposures) for name, exposures in self.off_sky.items()}

    @property
    def summary(self) -> str:
        """One line with the number of visits of each action."""
        counts = Counter(visit.action for visit in self.visits)
        parts = [_counted(counts[action], action) for action in Action if counts[action]]
        if self.failures:
            parts.append(f"{len(self.failures)} failed")
        number = len(self) + len(self.failures)
        return f"{counted(number, 'visit')}: {', '.join(parts)}" if parts else "Nothing to define"

    @property
    def sound(self) -> bool:
        """Whether nothing is in conflict or fails."""
        return not self.failures and all(visit.action is not Action.CONFLICT for visit in self.visits)

    def explain(self, visit: int) -> list[Difference]:
        """Say how a visit differs from what is stored.

        Parameters
        ----------
        visit : `int`
            The visit's id.

        Returns
        -------
        differences : `list` [`Difference`]
            Each field that differs, with the stored and the computed value and, for regions, the largest distance in
            arcsec; none for a visit that is new or equal.

        Raises
        ------
        KeyError
            If the visit is not in the plan.
        """
        if visit not in self._by_id:
            raise KeyError(f"Visit {visit} is not in this plan.")
        return self._by_id[visit].differences

    @cached_property
    def _by_id(self) -> dict[int, PlannedVisit]:
        return {visit.definition.id: visit for visit in self.visits}

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the rows of `to_table` as JSON has them: ``exposures`` is a list of ids, what is null is `None`."""
        return [
            {
                **{name: None if value == "" else value for name, value in _row(visit).items()},
                "exposures": sorted(ids_of(visit.definition)),
            }
            for visit in self.visits
        ]

    def to_table(self) -> Table:
        """Make a table with one row for each visit.

        Returns
        -------
        table : `astropy.table.Table`
            Columns ``visit``, ``name``, ``action``, ``exposures`` (ids, with spaces between), ``physical_filter``,
            ``target_name`` (empty if null), ``begin`` and ``end`` (ISO 8601, TAI; empty if null), ``ra`` and ``dec``
            (centre, degrees), ``area`` (square degrees) and ``reason``.
        """
        from astropy.table import Table

        rows = [_row(visit) for visit in self.visits]
        columns = {name: [row[name] for row in rows] for name in _TYPES}
        return Table(columns, names=list(_TYPES), dtype=list(_TYPES.values()), units=_UNITS)


def _counted(number: int, action: Action) -> str:
    return counted(number, "conflict") if action is Action.CONFLICT else f"{number} {action.value}"


_TYPES = {
    "visit": "i8",
    "name": "U",
    "action": "U",
    "exposures": "U",
    "physical_filter": "U",
    "target_name": "U",
    "begin": "U",
    "end": "U",
    "ra": "f8",
    "dec": "f8",
    "area": "f8",
    "reason": "U",
}
_UNITS = {"ra": "deg", "dec": "deg", "area": "deg2"}


def _row(visit: PlannedVisit) -> dict[str, Any]:
    record = visit.record
    centre = LonLat(record.region.getCentroid())
    vertices = decode_polygon(record.region.encode())
    assert vertices is not None, "plans hold polygons only"
    # Of a stored visit the timespan itself may be null.
    begin, end = (None, None) if record.timespan is None else (record.timespan.begin, record.timespan.end)
    return {
        "visit": record.id,
        "name": record.name,
        "action": visit.action.value,
        "exposures": " ".join(str(exposure.id) for exposure in visit.definition.exposures),
        "physical_filter": record.physical_filter,
        "target_name": record.target_name or "",
        "begin": _iso(begin),
        "end": _iso(end),
        "ra": centre.getLon().asDegrees() % 360,
        "dec": centre.getLat().asDegrees(),
        "area": polygon_area(vertices) * (180 / np.pi) ** 2,
        "reason": visit.reason,
    }


def _iso(time: Any) -> str:
    return str(time.tai.isot) if isinstance(time, Time) else ""
