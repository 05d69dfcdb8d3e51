"""Find what is wrong with some visits."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from contextlib import suppress

from lsst.daf.butler import DimensionRecord, MissingDatasetTypeError

from ..define.clashes import clash_of_systems
from ..define.plan import plan_visits
from ..define.records import stored_systems
from ..define.visits import Options, PlannedVisit, VisitDefinitionData, VisitSystem, ids_of
from ..errors import CameraLookupError
from ..geometry.comparison import unreadable
from ..lists import FAILURES, isolate, reason_of
from ..repository import fetch_detectors, fetch_visits, try_again
from ..repository.cameras import CAMERA_DATASET_TYPES
from ..repository.stored import fetch_encoded_regions
from ..task import DefineVisitsTask
from .findings import Finding, Kind, named
from .regions import ROUNDING, check_detectors, check_fields, compare_detectors, differing_detectors
from .scope import Scope


class Checker:
    """Collects findings, chunk by chunk: first of the visits that would be computed, then of all others."""

    def __init__(self, task: DefineVisitsTask, instrument: str, scope: Scope, options: Options) -> None:
        self.findings: list[Finding] = []
        # What can be mended of the last chunk.
        self.to_define: list[PlannedVisit] = []
        self.to_complete: list[PlannedVisit] = []
        self._task = task
        self._instrument = instrument
        self._scope = scope
        self._options = options
        self._tolerance: float = task.config.regionTolerance
        self._id_of = {name: visit for visit, name in scope.names.items()}
        self._name_of = scope.names | {visit.id: visit.name for visit in scope.visits}
        self._systems = {system.value for system in task.groupExposures.getVisitSystems()}
        self._registered = try_again(task.butler, lambda: fetch_detectors(task.butler, instrument))
        # The detectors of the camera of each exposure; most have one camera, and share them.
        self._detectors: dict[int, frozenset[int]] = {}
        self._shared: dict[frozenset[int], frozenset[int]] = {}
        self._without_camera: list[tuple[VisitDefinitionData, Exception]] = []
        self._universe = task.butler.dimensions

    def check_chunk(self, chunk: list[VisitDefinitionData]) -> None:
        """Check visits that would be computed now, whether they are stored or not."""
        joined = self._scope.joined
        planned, failed = self._plan(chunk)
        plans = {plan.definition.id: plan for plan in planned}
        stored = [visit for visit in chunk if visit.id in joined]
        regions = self._read_regions([visit.id for visit in stored])
        records = {visit: plan.stored for visit, plan in plans.items() if plan.stored is not None}
        # A visit fails as well if what is stored of it cannot be read.
        others, damaged = self._read_records([visit.id for visit, _ in failed if visit.id in joined])
        records |= others
        self._add_failed((visit, error) for visit, error in failed if visit.id not in damaged)
        clashes = {visit.id: clash for visit in stored if (clash := self._clash(visit))}
        # The record of a group that is joined in part was made of that part, and is to be compared with that.
        own = [visit for visit in stored if visit.id not in clashes]
        whole = {visit.id for visit in own if joined[visit.id] in (set(), ids_of(visit))}
        parts = [part for visit in own if visit.id not in whole and (part := self._as_joined(visit)) is not None]
        compared = {visit: plan for visit, plan in plans.items() if visit in whole}
        compared |= {plan.definition.id: plan for plan in self._plan(parts)[0]}
        differing = [
            detector
            for visit, plan in compared.items()
            for detector in differing_detectors(plan, regions.get(visit, {}))
        ]
        found, changed = compare_detectors(differing, self._tolerance)
        self.findings += found
        for visit in chunk:
            plan = plans.get(visit.id)
            if plan is not None:
                detectors = frozenset(plan.regions.detector_ids)
                detectors = self._shared.setdefault(detectors, detectors)
                self._detectors.update(dict.fromkeys(ids_of(visit), detectors))
            if visit.id not in joined:
                # Others may have defined it since the check began.
                if plan is not None and plan.stored is None:
                    self._check_new(plan)
                continue
            as_joined = compared.get(visit.id)
            if visit.id in clashes:
                self._check_other(visit, clashes[visit.id], regions.get(visit.id, {}))
            else:
                equal = as_joined is not None and not as_joined.differences and visit.id not in changed
                self._check_stored(visit, plan, regions.get(visit.id, {}), equal=equal)
            if as_joined is not None:
                self._check_name(as_joined)
                self.findings += check_fields(as_joined, self._tolerance)
            if (record := records.get(visit.id)) is not None:
                if as_joined is None and record.region is None:
                    self._add(Kind.NULL_REGION, f"Visit {visit.id} ({visit.name}) has the region null.", visit.id)
                self.findings += check_detectors(record, regions.get(visit.id, {}), self._tolerance)

    def check_unexpected(self, visits: list[int]) -> None:
        """Check stored visits that would not be computed now."""
        scope = self._scope
        records, damaged = self._read_records(visits)
        regions = self._read_regions(visits)
        # Others may have been removed since the check began.
        for visit in sorted(records.keys() | damaged):
            name, joined = f"Visit {visit} ({scope.names[visit]})", scope.joined[visit]
            if not joined:
                self._add(Kind.NO_DEFINITION, f"{name} has no exposures, and none would give it.", visit)
            good = joined - self._check_exposures(name, visit, joined)
            systems = scope.systems.get(visit, set())
            if not systems:
                self._add(Kind.NO_MEMBERSHIP, f"{name} is in no visit system.", visit)
            # Visits of another grouping algorithm are none of this one's, and nobody knows what failed exposures give.
            if good and systems & self._systems and joined.isdisjoint(scope.failed):
                self._add(
                    Kind.UNEXPECTED_VISIT,
                    f"{name} is not what {named('exposure', joined)} would give now.",
                    visit,
                    exposures=joined,
                )
            own_regions = regions.get(visit, {})
            if absent := self._expected_detectors(joined) - own_regions.keys():
                text = f"{name} has no region of {named('detector', absent)}."
                self._add(Kind.NO_DETECTOR_REGION, text, visit, detectors=absent)
            if (record := records.get(visit)) is not None:
                if record.region is None:
                    self._add(Kind.NULL_REGION, f"{name} has the region null.", visit)
                self.findings += check_detectors(record, own_regions, self._tolerance)

    def without_camera(self) -> list[Finding]:
        """Say once which visits have no camera."""
        if not self._without_camera:
            return []
        visits = [visit for visit, _ in self._without_camera]
        exposures = set().union(*map(ids_of, visits))
        text = f"{named('Visit', [visit.id for visit in visits])} cannot be computed. {self._without_camera[0][1]}"
        return [Finding(Kind.NO_CAMERA, text, exposures=tuple(sorted(exposures)))]

    def _add(
        self,
        kind: Kind,
        text: str,
        visit: int,
        *,
        exposures: Iterable[int] = (),
        detectors: Iterable[int] = (),
        repairable: bool = False,
    ) -> None:
        ids = tuple(sorted(exposures)), tuple(sorted(detectors))
        self.findings.append(Finding(kind, text, visit, *ids, repairable=repairable))

    def _plan(
        self, visits: Sequence[VisitDefinitionData]
    ) -> tuple[list[PlannedVisit], list[tuple[VisitDefinitionData, Exception]]]:
        """Plan visits, and return also those that cannot be computed, with the reason."""
        butler, regions, tolerance = self._task.butler, self._task.computeVisitRegions, min(self._tolerance, ROUNDING)

        def plan(some: Sequence[VisitDefinitionData]) -> list[PlannedVisit]:
            return try_again(butler, lambda: plan_visits(butler, some, regions, self._options, tolerance))

        try:
            return (plan(visits) if visits else []), []
        except CameraLookupError as error:
            if not self._has_camera():
                # Looking for those that have one would take long.
                return [], [(visit, error) for visit in visits]
        except FAILURES:
            pass
        return isolate(plan, visits)

    def _has_camera(self) -> bool:
        """Tell whether the repository has a camera of the instrument at all."""
        for dataset_type in CAMERA_DATASET_TYPES:
            with suppress(MissingDatasetTypeError):
                if self._task.butler.query_datasets(
                    dataset_type, collections="*", find_first=False, limit=1, explain=False, instrument=self._instrument
                ):
                    return True
        return False

    def _add_failed(self, failed: Iterable[tuple[VisitDefinitionData, Exception]]) -> None:
        """Say why visits cannot be computed."""
        for visit, error in failed:
            if isinstance(error, CameraLookupError):
                # Said once for all of them.
                self._without_camera.append((visit, error))
            else:
                text = f"Visit {visit.id} ({visit.name}): {reason_of(error)}"
                self._add(Kind.FAILED, text, visit.id, exposures=ids_of(visit))

    def _read_records(self, visits: Sequence[int]) -> tuple[dict[int, DimensionRecord], set[int]]:
        """Read the records of visits, and report those that the Butler cannot make of what is stored."""
        butler, instrument = self._task.butler, self._instrument

        def read(some: Sequence[int]) -> list[DimensionRecord]:
            return list(try_again(butler, lambda: fetch_visits(butler, instrument, some)).values())

        records, failed = isolate(read, visits)
        for visit, _ in failed:
            name = f"Visit {visit} ({self._scope.names[visit]})"
            self._add(Kind.UNREADABLE_REGION, f"{name}: its region is damaged.", visit)
        return {record.id: record for record in records}, {visit for visit, _ in failed}

    def _read_regions(self, visits: Sequence[int]) -> dict[int, dict[int, bytes | None]]:
        """Read the regions of visits' detectors, and report those that are null or damaged; these are `None`."""
        butler, instrument = self._task.butler, self._instrument
        regions = try_again(butler, lambda: fetch_encoded_regions(butler, instrument, visits))
        for visit, of_visit in regions.items():
            null = {detector for detector, region in of_visit.items() if region is None}
            damaged = unreadable({detector: region for detector, region in of_visit.items() if region is not None})
            name = f"Visit {visit} ({self._scope.names[visit]})"
            if null:
                text = f"{name}: the region of {named('detector', null)} is null."
                self._add(Kind.NULL_REGION, text, visit, detectors=null)
            if damaged:
                text = f"{name}: the region of {named('detector', damaged)} is damaged."
                self._add(Kind.UNREADABLE_REGION, text, visit, detectors=damaged)
                of_visit.update(dict.fromkeys(damaged))
        return regions

    def _expected_detectors(self, exposures: Iterable[int]) -> set[int]:
        """Return the detectors of a visit's camera; if that is not known, all that are registered."""
        return set().union(*(self._detectors.get(exposure, ()) for exposure in exposures)) or self._registered

    def _as_joined(self, visit: VisitDefinitionData) -> VisitDefinitionData | None:
        """Return a visit with the exposures that are joined to it, if it can have been made of them."""
        scope, joined = self._scope, self._scope.joined[visit.id]
        # One with exposures of others is to be removed, whatever its record is like.
        if not joined <= ids_of(visit) or joined & scope.off_sky or not joined <= scope.exposures.keys():
            return None
        return dataclasses.replace(visit, exposures=[scope.exposures[exposure] for exposure in sorted(joined)])

    def _check_new(self, plan: PlannedVisit) -> None:
        """Say that a visit is not stored, and whether it can be."""
        visit = plan.definition
        ids = ids_of(visit)
        text = f"Visit {visit.id} ({visit.name}) of {named('exposure', ids)} is not defined"
        if (other := self._id_of.setdefault(visit.name, visit.id)) != visit.id:
            text = f"{text}: visit {other} has its name."
            self._add(Kind.CLASHING_NAME, text, visit.id, exposures=ids)
        elif others := self._in_other_visits(visit, ids):
            text = f"{text}; its exposures are in {named('visit', others)}."
            self._add(Kind.NO_VISIT, text, visit.id, exposures=ids)
        elif unregistered := self._unregistered(plan):
            self._add(Kind.FAILED, f"{text}. {unregistered}", visit.id, exposures=ids)
        else:
            self._add(Kind.NO_VISIT, f"{text}.", visit.id, exposures=ids, repairable=True)
            self.to_define.append(plan)

    def _check_name(self, plan: PlannedVisit) -> None:
        """Say that a stored visit is to get the name of another one, which keeps it; nothing can replace that."""
        visit = plan.definition
        other = self._id_of.get(visit.name, visit.id)
        if other == visit.id or self._name_of[other] != visit.name:
            return
        plan.differences = [difference for difference in plan.differences if difference.field != "name"]
        name = f"Visit {visit.id} ({self._scope.names[visit.id]})"
        text = f"{name} is to be called {visit.name!r} now, which is the name of visit {other}."
        self._add(Kind.CLASHING_NAME, text, visit.id, exposures=ids_of(visit))

    def _unregistered(self, plan: PlannedVisit) -> str:
        """Say what detectors of a visit's camera are to be registered first, if any are."""
        unknown = set(plan.regions.detector_ids) - self._registered
        return f"The camera's {named('detector', unknown)} must be registered first." if unknown else ""

    def _in_other_visits(
        self, visit: VisitDefinitionData, exposures: Iterable[int], gained: Iterable[VisitSystem] | None = None
    ) -> set[int]:
        """Find other visits that exposures are in: in each visit system (those gained) they can be in one only."""
        systems = {system.value for system in (visit.visit_systems if gained is None else gained)}
        if gained is None:
            systems |= self._scope.systems.get(visit.id, set())
        others = set().union(*(self._scope.visits_of.get(exposure, ()) for exposure in exposures)) - {visit.id}
        return {other for other in others if systems & self._scope.systems.get(other, set())}

    def _clash(self, visit: VisitDefinitionData) -> str:
        """Say why a stored visit is one of another grouping, if it is."""
        systems = self._scope.systems.get(visit.id, set())
        return clash_of_systems(visit, self._universe, self._scope.joined[visit.id], systems)

    def _check_other(self, visit: VisitDefinitionData, clash: str, regions: dict[int, bytes | None]) -> None:
        """Say that the visit of another grouping has a visit's id."""
        name, joined = f"Visit {visit.id} ({self._scope.names[visit.id]})", self._scope.joined[visit.id]
        self._add(Kind.CLASHING_ID, f"{name}: {clash}.", visit.id, exposures=ids_of(visit))
        self._check_exposures(name, visit.id, joined)
        if absent := self._expected_detectors(joined) - regions.keys():
            text = f"{name} has no region of {named('detector', absent)}."
            self._add(Kind.NO_DETECTOR_REGION, text, visit.id, detectors=absent)

    def _check_exposures(self, name: str, visit: int, joined: set[int]) -> set[int]:
        """Return the exposures of a visit that no visit can be made of."""
        gone = joined - self._scope.exposures.keys()
        if gone:
            text = f"{name} has {named('exposure', gone)}, which the repository does not have."
            self._add(Kind.NO_EXPOSURE, text, visit, exposures=gone)
        off_sky = joined & self._scope.off_sky
        if off_sky:
            text = f"{name} has {named('exposure', off_sky)} not on the sky."
            self._add(Kind.OFF_SKY, text, visit, exposures=off_sky)
        return gone | off_sky

    def _check_stored(
        self, visit: VisitDefinitionData, plan: PlannedVisit | None, regions: dict[int, bytes | None], *, equal: bool
    ) -> None:
        """Check a visit's exposures, and that no detectors are absent; ``equal`` is all that is stored of it."""
        name, ids, joined = f"Visit {visit.id} ({visit.name})", ids_of(visit), self._scope.joined[visit.id]
        missing = ids - joined
        extra = joined - ids - self._check_exposures(name, visit.id, joined) - self._scope.failed
        expected = self._expected_detectors(ids) if plan is None else set(plan.regions.detector_ids)
        absent = expected - regions.keys()
        unregistered = "" if plan is None else self._unregistered(plan)
        lacking = {
            system
            for system in stored_systems(visit, self._universe)
            if system.value not in self._scope.systems.get(visit.id, set())
        }
        others = self._in_other_visits(visit, missing) | self._in_other_visits(visit, ids, lacking)
        # Nothing that is stored may be overwritten but what more exposures change.
        safe = plan is not None and equal and joined <= ids and not others and not unregistered
        completable = safe and bool(missing or lacking)
        elsewhere = f"; its exposures are in {named('visit', others)}" if others else ""
        if not joined:
            text = f"{name} has no exposures, and {named('exposure', ids)} would give it{elsewhere}."
            self._add(Kind.NO_DEFINITION, text, visit.id, exposures=ids, repairable=completable)
        elif missing == ids:
            text = f"{name} has {named('exposure', joined)}, and {named('exposure', ids)} would give it too."
            self._add(Kind.CLASHING_ID, text, visit.id, exposures=ids)
            extra = set()
        elif missing:
            text = f"{name} lacks {named('exposure', missing)} of its group{elsewhere}."
            self._add(Kind.PARTIAL_GROUP, text, visit.id, exposures=missing, repairable=completable)
        if extra:
            text = f"{name} has {named('exposure', extra)}, which would give another visit."
            self._add(Kind.EXTRA_EXPOSURE, text, visit.id, exposures=extra)
        if lacking:
            systems = " and ".join(sorted(map(str, lacking)))
            text = f"{name} is not in visit system {systems}{elsewhere}."
            self._add(Kind.NO_MEMBERSHIP, text, visit.id, repairable=completable)
        if absent:
            text = f"{name} has no region of {named('detector', absent)}. {unregistered}".rstrip()
            self._add(Kind.NO_DETECTOR_REGION, text, visit.id, detectors=absent, repairable=safe)
        if plan is not None and completable:
            self.to_complete.append(plan)
        elif plan is not None and safe and absent:
            self.to_define.append(plan)
