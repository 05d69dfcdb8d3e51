"""Which exposures have no visit, and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from lsst.daf.butler import Butler, DimensionRecord

from ... import repository
from ...config import DefineVisitsConfig
from ...define.pointings import is_on_sky
from ...define.visit_plan import VisitPlan
from ...define.visits import Action, PlannedVisit
from ...errors import CameraLookupError
from ...lists import FAILURES, reason_of
from ...repository.write_camera import latest_camera
from ...task import DefineVisitsTask
from .model import Undefined

UNTOLD = "It cannot be told through a Butler server whether they have a visit"
"""No reason why exposures have none."""
NEW = "Not defined yet: define-visits would define them"
_OFF_SKY = "Not on the sky: {}"
_OF_UNKNOWN_TYPE = "of unknown type"


def undefined_exposures(
    butler: Butler,
    instrument: str,
    exposures: Sequence[DimensionRecord],
    *,
    collections: Sequence[str] | None = None,
    config: DefineVisitsConfig | None = None,
) -> list[Undefined]:
    """Say which exposures have no visit, and why: what define-visits would make of them is planned, and not done."""
    defined = repository.fetch_visits_of_exposures(butler, instrument, (exposure.id for exposure in exposures))
    without = {exposure.id: exposure for exposure in exposures if exposure.id not in defined}
    if not without:
        return []
    reasons: dict[int, str] = {}
    unplanned = ""
    try:
        plan = _plan(butler, instrument, list(without.values()), collections, config)
    except FAILURES as error:
        unplanned = f"Not defined yet, and define-visits would not: {reason_of(error)}"
    else:
        for failure in failures_of(plan):
            reasons.update(dict.fromkeys(failure.exposures, failure.reason))
        # An exposure can be in several visits; if one of them is new, that is why it has none.
        for visit in sorted(plan, key=lambda visit: visit.is_new):
            reason = _reason(visit)
            reasons.update({exposure.id: reason for exposure in visit.definition.exposures})
    grouped: dict[str, list[int]] = defaultdict(list)
    for exposure in without.values():
        # What was planned neither has a visit of the others nor fails for them.
        off = not unplanned or not is_on_sky(exposure)
        other = _OFF_SKY.format(exposure.observation_type or _OF_UNKNOWN_TYPE) if off else unplanned
        grouped[reasons.get(exposure.id, other)].append(exposure.id)
    return _sorted([Undefined(reason, tuple(sorted(ids)), len(ids)) for reason, ids in grouped.items()])


def _plan(
    butler: Butler,
    instrument: str,
    exposures: Sequence[DimensionRecord],
    collections: Sequence[str] | None,
    config: DefineVisitsConfig | None,
) -> VisitPlan:
    """Plan visits, as many as can be."""
    task = DefineVisitsTask(config, butler=butler)
    try:
        return task.plan(exposures, collections=collections, incremental=True)
    except CameraLookupError:
        # Without any camera all fail alike, and to find that out of each of them takes long.
        latest_camera(butler.clone(collections=collections) if collections else butler, instrument)
    except FAILURES:
        pass
    return task.plan(exposures, collections=collections, incremental=True, on_error="skip")


def _reason(visit: PlannedVisit) -> str:
    """Say why exposures of a planned visit have no visit."""
    if visit.untold:
        return UNTOLD
    if visit.action is Action.NEW:
        return NEW
    if visit.action is Action.UPDATE:
        return "Not joined to their visit yet: define-visits --incremental would do it"
    if visit.action is Action.UNCHANGED:
        return "Not joined to their visit, which is there"
    return f"In conflict with their visit, which is there: {visit.reason}"


def failures_of(plan: VisitPlan) -> list[Undefined]:
    """Say of which exposures a plan makes no visit."""
    grouped: dict[str, list[int]] = defaultdict(list)
    first: dict[str, str] = {}
    for failure in plan.failures:
        # Those of many exposures often differ in nothing but the exposure that they name.
        common = failure.common or failure.reason
        grouped[common].extend(failure.exposures)
        first.setdefault(common, failure.reason)
    named = {common if len(ids) > 1 else first[common]: ids for common, ids in grouped.items()}
    return _sorted([Undefined(reason, tuple(sorted(ids)), len(ids)) for reason, ids in named.items()])


def off_sky(types: Mapping[str, Sequence[int]]) -> list[Undefined]:
    """Say which exposures are not on the sky."""
    return _sorted([Undefined(_OFF_SKY.format(name), tuple(sorted(ids)), len(ids)) for name, ids in types.items()])


def _sorted(undefined: list[Undefined]) -> list[Undefined]:
    """Sort reasons: those first that somebody can do something about, and of these what most exposures have."""
    off = _OFF_SKY.format("")
    return sorted(undefined, key=lambda entry: (entry.reason.startswith(off), -entry.count, entry.reason))
