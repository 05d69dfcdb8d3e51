"""What a page shows, wherever it is from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from lsst.daf.butler import Timespan
from lsst.sphgeom import Region

_DAY_STARTS = np.timedelta64(12, "h")
"""An observing day is named after the date, TAI, on which it began at noon."""

_ALWAYS = Timespan(None, None)


@dataclasses.dataclass(frozen=True)
class PageVisit:
    """A visit to be shown."""

    fields: Mapping[str, Any]
    """The fields of its record without the region; at least ``id`` and ``name``."""

    exposures: tuple[int, ...]
    """Ids of its exposures."""

    band: str | None
    """The band of its filter."""

    outline: npt.NDArray[np.float64] | None
    """The vertices of its region, unit vectors of shape (V, 3); `None` if it has none that is a polygon."""

    action: str | None = None
    """What is to become of it, in a plan."""

    reason: str = ""
    """Why, in a plan."""

    stored: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """In a plan, the stored values of the fields that differ, without the region."""

    stored_outline: npt.NDArray[np.float64] | None = None
    """In a plan, the vertices of the stored region if it differs."""

    @property
    def night(self) -> str:
        """The observing day, as in ``day_obs``: of the record or, if it has none, of the time at which it began."""
        if (day := self.fields.get("day_obs")) is not None:
            return str(day)
        begin = begin_of(self.fields.get("timespan"))
        return "unknown" if begin is None else str((begin - _DAY_STARTS).astype("datetime64[D]")).replace("-", "")


@dataclasses.dataclass(frozen=True)
class Undefined:
    """Exposures without a visit, all for one reason."""

    reason: str
    exposures: tuple[int, ...]
    """Their ids."""

    count: int
    """How many they are."""


@dataclasses.dataclass(frozen=True)
class Page:
    """All that a page shows."""

    title: str
    lines: Sequence[str]
    """What is to be said above the map."""

    visits: Sequence[PageVisit]
    undefined: Sequence[Undefined]
    detector_names: Mapping[int, str]
    detector_regions: Callable[[Sequence[int]], Mapping[int, Mapping[int, Region | None]]]
    """Returns the regions of visits' detectors, for a batch of the visits' ids."""

    next_steps: Sequence[str] = ()
    """Where there are no visits, what to do next: sentences, and commands after ``$``."""


def begin_of(timespan: Timespan | None) -> np.datetime64 | None:
    """Return when a timespan begins, TAI; `None` if it has no beginning."""
    return None if timespan is None else _time(timespan.nsec[0])


def end_of(timespan: Timespan | None) -> np.datetime64 | None:
    """Return when a timespan ends, TAI; `None` if it has no end."""
    return None if timespan is None else _time(timespan.nsec[1])


def _time(nanoseconds: int) -> np.datetime64 | None:
    """Return a time that the Butler stores as TAI nanoseconds since 1970; astropy's take a thousand times longer."""
    if nanoseconds in _ALWAYS.nsec:
        return None
    return np.datetime64(round(nanoseconds / 1_000_000), "ms")
