"""What a visit is before it has regions and records, and which systems it can be in."""

from __future__ import annotations

__all__ = ["VisitDefinitionData", "VisitSystem"]

import dataclasses
import enum
from collections.abc import Iterable
from typing import Self

from lsst.daf.butler import DimensionRecord


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
