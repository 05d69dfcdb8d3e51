"""Times of exposures that are possible, and hardly right."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Sequence

from .records import ExposureValues

_LOG = logging.getLogger(__name__)

_SECOND = 1_000_000_000
"""Nanoseconds."""

_FIRST = 631_152_000 * _SECOND
"""1990-01-01, TAI nanoseconds since 1970: few telescopes had a CCD before."""

_DAY = 86_400 * _SECOND

_OVERHEAD = 300 * _SECOND
"""What an exposure takes beyond its own time, at most."""


def warn_of_times(exposures: Sequence[ExposureValues]) -> None:
    """Warn of exposures before 1990 or after tomorrow, and of those that end long after their exposure time."""
    tomorrow = time.time_ns() + _DAY
    found: dict[str, list[str]] = defaultdict(list)
    for one in exposures:
        timespan, seconds = one.fields["timespan"], one.fields["exposure_time"]
        if timespan is None:
            continue
        begin, end = timespan.nsec
        when = "before 1990" if begin < _FIRST else "in the future" if begin > tomorrow else ""
        if when:
            date = timespan.begin.utc.isot[:19]
            found[when].append(f"{one.source}: the exposure begins {date}, {when}")
        if seconds is not None and end - begin > 2 * seconds * _SECOND + _OVERHEAD:
            length = (end - begin) / _SECOND
            problem = f"the exposure lasts {length:g} s, and its exposure time is {seconds:g} s"
            found["lasts"].append(f"{one.source}: {problem}")
    for first, *others in found.values():
        more = f" (and so {'does' if len(others) == 1 else 'do'} {len(others)} more)" if others else ""
        _LOG.warning("%s%s; is that right?", first, more)
