"""What is wrong with the ids and the days of stored visits, and with the visit systems that they share."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable

from lsst.daf.butler import Butler

from ..define.doubts import day_hint, day_matters, id_limit, later_exposures, limit_hint
from ..define.visits import name_systems
from ..lists import listed
from ..repository import fetch_instruments, try_again
from .findings import Finding, Kind, named
from .scope import Scope


def check_identities(butler: Butler, instrument: str, scope: Scope) -> list[Finding]:
    """Find exposures in several visits of one visit system, visits of several days, and ids that are too large."""
    return [*_shared(scope), *_days(butler, instrument, scope), *_large(butler, instrument, scope)]


def _shared(scope: Scope) -> list[Finding]:
    # The exposures that visits share, by these visits and their visit system.
    shared: dict[tuple[tuple[int, ...], int], list[int]] = defaultdict(list)
    for exposure in sorted(set().union(*scope.joined.values())):
        of_systems: dict[int, list[int]] = defaultdict(list)
        for visit in scope.visits_of.get(exposure, ()):
            for system in scope.systems.get(visit, ()):
                of_systems[system].append(visit)
        for system, visits in of_systems.items():
            if len(visits) > 1:
                shared[tuple(sorted(visits)), system].append(exposure)
    findings = []
    for (several, system), exposures in sorted(shared.items()):
        which = listed((f"{visit} ({scope.names[visit]})" for visit in several), 5)
        verb = "is" if len(exposures) == 1 else "are"
        text = f"{named('Exposure', exposures)} {verb} in visits {which}, all of visit system {name_systems([system])}."
        findings.append(Finding(Kind.TWO_VISITS, text, several[0], tuple(exposures)))
    return findings


def _days(butler: Butler, instrument: str, scope: Scope) -> list[Finding]:
    if not day_matters(butler):
        return []
    findings = []
    for visit, joined in scope.joined.items():
        if later := later_exposures([scope.exposures[one] for one in joined & scope.exposures.keys()]):
            which = listed((f"{exposure} of {day}" for exposure, day in sorted(later.items())), 5)
            text = f"Visit {visit} ({scope.names[visit]}) has exposures of later days: {which}."
            findings.append(Finding(Kind.SEVERAL_DAYS, text, visit, tuple(sorted(later))))
    return _with_hint(findings, lambda: day_hint(butler, instrument))


def _large(butler: Butler, instrument: str, scope: Scope) -> list[Finding]:
    record = try_again(butler, lambda: fetch_instruments(butler))[instrument]
    limit = id_limit(record)
    if limit is None or not (large := [visit for visit in scope.joined if visit >= limit]):
        return []
    findings = [
        Finding(
            Kind.LARGE_ID,
            f"Visit {visit} ({scope.names[visit]}) is not below {limit}, the visit_max of {instrument}.",
            visit,
        )
        for visit in large
    ]
    return _with_hint(findings, lambda: limit_hint(butler, record, max(large)))


def _with_hint(findings: list[Finding], hint: Callable[[], str]) -> list[Finding]:
    """Say with the first finding what can be done about all of them."""
    first = [dataclasses.replace(one, text=f"{one.text} {hint()}") for one in findings[:1]]
    return first + findings[1:]
