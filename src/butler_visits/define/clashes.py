"""What is stored and in the way of visits, whatever the options say."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence, Set

from lsst.daf.butler import Butler, DimensionUniverse

from ..lists import listed
from ..repository.stored import (
    fetch_visit_names,
    fetch_visit_systems,
    fetch_visits_of_exposures,
    fetch_visits_of_names,
    systems_in_use,
)
from .groups import fitting_grouping
from .records import stored_systems
from .visits import Action, Options, PlannedVisit, VisitDefinitionData, VisitSystem, ids_of, name_systems

REMOVE = (
    "What no option replaces can be removed with 'butler-visits remove-visits', and then be defined again with "
    "--incremental; --skip-conflicting leaves it as it is."
)
_RENAME = (
    "No two visits have one name: correct obs_id or group of the exposures, or use another grouping algorithm for "
    "them; 'butler-visits remove-visits' removes a visit whose name is wrong."
)


@dataclasses.dataclass
class PlannedNames:
    """What becomes of visits' names by what is planned and not written yet."""

    taken: dict[str, int] = dataclasses.field(default_factory=dict)
    """The visit that gets each name."""

    freed: set[str] = dataclasses.field(default_factory=set)
    """Names that stored visits give up."""


def missing_systems(plan: PlannedVisit, systems: Set[int]) -> set[VisitSystem]:
    """Find the visit systems that a stored visit lacks."""
    wanted = stored_systems(plan.definition, plan.record.definition.universe)
    return {system for system in wanted if system.value not in systems}


def clash_of_systems(
    visit: VisitDefinitionData, universe: DimensionUniverse, joined: Set[int], systems: Set[int]
) -> str:
    """Say why what is stored under a visit's id is the visit of another grouping algorithm, if it is."""
    wanted = {system.value for system in stored_systems(visit, universe)}
    if "visit_system_membership" not in universe.elements.names:
        # There is room for one system only, and it is part of the keys of other rows.
        other = systems != wanted
    else:
        other = joined != ids_of(visit) and not systems <= wanted
        # Of a visit that has lost its exposures one system is enough.
        other &= bool(joined) or systems.isdisjoint(wanted)
    if not other:
        return ""
    return f"it is stored as a visit of {name_systems(systems)} with {_exposures(joined)}, and is now one of " + (
        f"{name_systems(wanted)} with {_exposures(ids_of(visit))}"
    )


def refuse_clashes(
    butler: Butler,
    planned: Sequence[PlannedVisit],
    joined: Mapping[int, Set[int]],
    systems: Mapping[int, Set[int]],
    options: Options,
) -> None:
    """Refuse visits that would share an exposure within a visit system with another visit.

    ``joined`` and ``systems``: the ids of the exposures and of the visit systems of stored visits.
    """
    _refuse_shared(butler, planned, joined, systems, options)
    if any(plan.clash and not plan.advice for plan in planned):
        fitting = fitting_grouping(systems_in_use(butler, planned[0].definition.instrument))
        advice = REMOVE
        if fitting not in (None, options.grouping):
            advice = (
                f"What is stored fits the grouping algorithm {fitting}: choose it with -c groupExposures={fitting} (in "
                f"Python config.groupExposures = {fitting!r}). {REMOVE}"
            )
        for plan in planned:
            if plan.clash and not plan.advice:
                plan.advice = advice


def _refuse_shared(
    butler: Butler,
    planned: Sequence[PlannedVisit],
    joined: Mapping[int, Set[int]],
    systems: Mapping[int, Set[int]],
    options: Options,
) -> None:
    """Refuse visits that would put an exposure into a second visit of a visit system."""
    nothing: set[int] = set()
    # The visit systems that exposures get into, by visit.
    gains = {
        visit: own
        for plan in planned
        if (own := _gains(plan, joined.get(visit := plan.definition.id, nothing), systems.get(visit, nothing)))
    }
    if not gains:
        return
    instrument = planned[0].definition.instrument
    visits_of = fetch_visits_of_exposures(butler, instrument, set().union(*gains.values()))
    others = set().union(*visits_of.values())
    systems_of = fetch_visit_systems(butler, instrument, others) if others else {}
    shared: dict[int, dict[int, set[int]]] = {}
    for visit, own in gains.items():
        for exposure, gained in own.items():
            for other in visits_of.get(exposure, set()) - {visit}:
                if gained & systems_of.get(other, set()):
                    shared.setdefault(visit, {}).setdefault(other, set()).add(exposure)
    if not shared:
        return
    names = fetch_visit_names(butler, instrument, set().union(*shared.values()))
    for plan in planned:
        if (found := shared.get(plan.definition.id)) is not None:
            parts = (
                f"{_exposures(exposures)} {'is' if len(exposures) == 1 else 'are'} already in visit {other} "
                f"({names.get(other)}) of {name_systems(systems_of[other])}"
                for other, exposures in sorted(found.items())
            )
            clash = "; ".join(filter(None, [plan.clash, " and ".join(parts)]))
            plan.refuse(clash, plan.advice, skip=options.skip_conflicting)


def _gains(plan: PlannedVisit, joined: Set[int], systems: Set[int]) -> dict[int, set[int]]:
    """Return the visit systems that a visit's exposures are not in yet as its exposures."""
    if plan.action in (Action.UNCHANGED, Action.SKIPPED):
        return {}
    added = {system.value for system in plan.systems_to_add}
    gains = {exposure: set(added) for exposure in ids_of(plan.definition)} if added else {}
    wanted = {system.value for system in stored_systems(plan.definition, plan.record.definition.universe)} | systems
    # Also those that the options do not join: the record would be made of them.
    gains.update(dict.fromkeys(ids_of(plan.definition) - joined, wanted))
    return gains


def refuse_names(butler: Butler, planned: Sequence[PlannedVisit], options: Options, names: PlannedNames) -> None:
    """Refuse visits that would get the name of another one, which keeps it; the last look at a plan.

    ``names``: what is planned and not written yet of other visits' names; that of these is added.
    """
    changing = [
        plan
        for plan in planned
        if plan.writes and plan.write_record and (plan.stored is None or plan.stored.name != plan.record.name)
    ]
    if not changing:
        return
    wanted = {plan.record.name for plan in changing if plan.record.name is not None}
    owners = fetch_visits_of_names(butler, changing[0].definition.instrument, wanted - names.freed)
    owners |= {name: names.taken[name] for name in wanted & names.taken.keys()}
    refused = True
    while refused:
        # A visit that keeps its name after all keeps it from others.
        refused = False
        renamed = {plan.stored.name for plan in changing if plan.writes and plan.stored is not None}
        taken = {name: owner for name, owner in owners.items() if name not in renamed}
        for plan in changing:
            visit, name = plan.definition.id, plan.record.name
            if plan.writes and name is not None and (owner := taken.setdefault(name, visit)) != visit:
                plan.refuse(f"its name {name!r} is that of visit {owner}", _RENAME, skip=options.skip_conflicting)
                refused = True
    written = [plan for plan in changing if plan.writes]
    names.taken.update({plan.record.name: plan.definition.id for plan in written})
    names.freed |= {plan.stored.name for plan in written if plan.stored is not None}


def passing_names(butler: Butler, visits: Sequence[VisitDefinitionData]) -> set[int]:
    """Find the visits that are stored with the name of another of these, and those that are to get such a name."""
    if not visits:
        return set()
    stored = fetch_visit_names(butler, visits[0].instrument, [visit.id for visit in visits])
    given_up = {name for visit in visits if (name := stored.get(visit.id, visit.name)) != visit.name}
    passed_on = given_up & {visit.name for visit in visits}
    return {visit.id for visit in visits if not passed_on.isdisjoint((visit.name, stored.get(visit.id)))}


def leave_moved(
    planned: Sequence[PlannedVisit], visits_now: Callable[[str, set[int]], Mapping[int, Sequence[VisitDefinitionData]]]
) -> None:
    """Leave stored visits alone that have exposures which are of other visits now, or of none.

    ``visits_now`` finds the visits that exposures would give now.
    """
    strange = [plan for plan in planned if plan.exposures_of_others and not plan.clash]
    if not strange:
        return
    exposures = set().union(*(plan.exposures_of_others for plan in strange))
    now = visits_now(strange[0].definition.instrument, exposures)
    for plan in strange:
        reasons = []
        for exposure in sorted(plan.exposures_of_others):
            visits = now.get(exposure, ())
            if not visits:
                reasons.append(f"exposure {exposure} is in it, which is not on the sky or no longer gives a visit")
            elif plan.definition.id not in {visit.id for visit in visits}:
                others = " and ".join(f"{visit.id} ({visit.name})" for visit in visits)
                reasons.append(f"exposure {exposure} is in it, which is now of visit {others}")
        if reasons:
            plan.leave(
                f"{'; '.join(reasons)}; it is left as it is. 'butler-visits remove-visits' removes it, for "
                "'define-visits --incremental' to define what its exposures give now"
            )


def _exposures(exposures: Iterable[int]) -> str:
    ids = sorted(exposures)
    return f"exposure{'s' * (len(ids) > 1)} {listed(ids)}" if ids else "no exposures"
