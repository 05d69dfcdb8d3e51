"""Groups of exposures that lie on two observing days."""

from __future__ import annotations

import logging

from lsst.daf.butler import Butler

from ..define.doubts import day_hint, day_matters
from .records import ExposureValues

_LOG = logging.getLogger(__name__)


class DayRollover:
    """Warns once that groups of an instrument's exposures have several observing days."""

    def __init__(self, butler: Butler) -> None:
        self._butler = butler
        self._matters = day_matters(butler)
        # Of each group the first exposure, and its day.
        self._first: dict[tuple[str, str], tuple[int, int]] = {}
        self._warned: set[str] = set()

    def add(self, instrument: str, exposure: ExposureValues) -> None:
        """Look at an exposure that is in the repository now."""
        if not self._matters:
            return
        group, day = exposure.fields["group"], exposure.fields["day_obs"]
        first, before = self._first.setdefault((instrument, group), (exposure.id, day))
        if day == before or instrument in self._warned:
            return
        self._warned.add(instrument)
        _LOG.warning(
            "Exposures %d and %d of %s are of one group (%s) and of two observing days (%s, %s), of which the Butler's "
            "queries show only one with a visit. %s",
            first,
            exposure.id,
            instrument,
            group,
            before,
            day,
            day_hint(self._butler, instrument),
        )
