"""The task that defines visits."""

from __future__ import annotations

__all__ = ["DefineVisitsTask", "RunOptions"]

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, TypedDict, TypeVar, Unpack

from lsst.daf.butler import Butler, DataCoordinate, DimensionRecord
from lsst.daf.butler.progress import Progress, ProgressBar
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.pex.config import Config
from lsst.pipe.base import Struct, Task
from lsst.utils.timer import timeMethod
from sqlalchemy.exc import IntegrityError

from . import registry
from .batches import batches_of_families
from .config import DefineVisitsConfig
from .definition import VisitDefinitionData
from .errors import DefinitionError
from .grouping import GroupExposuresTask
from .isolate import isolate, reason_of
from .plan import Action, Failure, Options, PlannedVisit, conflict_message
from .planning import plan_visits
from .regions import ComputeVisitRegionsTask
from .selection import Selection, Selector, as_list
from .visit_plan import VisitPlan

_Item = TypeVar("_Item", VisitDefinitionData, PlannedVisit)

_PROGRESS = Progress("butler_visits.defineVisits")

_ATTEMPTS = 10
"""How often a chunk is planned anew because another process wrote some of its visits first."""


class RunOptions(TypedDict, total=False):
    """The options of `DefineVisitsTask.run`."""

    collections: Sequence[str] | str | None
    update_records: bool
    incremental: bool
    skip_conflicting: bool
    prefilter: bool
    check_detector_regions: bool
    on_error: Literal["raise", "skip"]


class DefineVisitsTask(Task):
    """Defines visits: groups exposures, computes their regions and writes both into the repository's registry.

    Parameters
    ----------
    config : `DefineVisitsConfig`, optional
        The config.
    butler : `lsst.daf.butler.Butler`
        The repository, writeable.
    **kwargs
        Passed to `lsst.pipe.base.Task`.
    """

    ConfigClass: ClassVar[type[Config]] = DefineVisitsConfig
    _DefaultName: ClassVar[str] = "defineVisits"
    config: DefineVisitsConfig
    groupExposures: GroupExposuresTask
    computeVisitRegions: ComputeVisitRegionsTask

    def __init__(self, config: DefineVisitsConfig | None = None, *, butler: Butler, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.butler = butler
        self.makeSubtask("groupExposures")
        self.makeSubtask("computeVisitRegions", butler=butler)
        # Instruments whose visit systems are known to be there.
        self._with_visit_systems: set[str] = set()
        self._selector = Selector(
            butler,
            self.groupExposures,
            self.computeVisitRegions,
            ignore_off_sky=self.config.ignoreNonScienceExposures,
        )

    def _reduce_kwargs(self) -> dict[str, Any]:
        # Docstring inherited.
        return {**super()._reduce_kwargs(), "butler": self.butler}

    @timeMethod
    def run(
        self,
        dataIds: Iterable[Mapping[str, Any] | DataCoordinate | DimensionRecord],
        *,
        collections: Sequence[str] | str | None = None,
        update_records: bool = False,
        incremental: bool = False,
        skip_conflicting: bool = False,
        prefilter: bool = False,
        check_detector_regions: bool = False,
        on_error: Literal["raise", "skip"] = "raise",
    ) -> Struct:
        """Define the visits of exposures: `plan` and `apply` them, chunk by chunk.

        Parameters
        ----------
        dataIds : `~collections.abc.Iterable`
            Data IDs or ``exposure`` records of one instrument, mixed or not; duplicates are dropped.
        collections : `~collections.abc.Sequence` [`str`] or `str`, optional
            Collections to search for the camera; by default the Butler's own.
        update_records : `bool`, optional
            Update visits that exist and replace their detector regions.
        incremental : `bool`, optional
            Complete the groups with exposures that the registry has already, and update visits that have changed.
            The mode to use wherever exposures may arrive one by one.
        skip_conflicting : `bool`, optional
            Leave visits alone that are stored otherwise, instead of raising.
        prefilter : `bool`, optional
            First drop exposures that belong to any visit already.
        check_detector_regions : `bool`, optional
            Add the detector regions that existing visits lack.
        on_error : `str`, optional
            ``raise`` stops at exposures that cannot be handled; ``skip`` reports them and defines all others.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            Integers ``n_visits``, ``n_skipped``, ``n_new``, ``n_fully_updated``, ``n_partially_updated``,
            ``n_filtered``, ``n_off_sky`` and ``n_failed``; ``off_sky_types``, a `dict` of the number of exposures that
            were ignored because they are not on the sky by observation type; and ``failures``, a `list` of
            `~butler_visits.plan.Failure` with the exposures of each and the reason.

        Raises
        ------
        lsst.daf.butler.registry.ConflictingDefinitionError
            If a visit is stored otherwise. All others of its chunk have been written.
        RuntimeError
            If the exposures are of several instruments, if one that is not on the sky is not to be ignored, or if
            no valid visit can be made of some.
        LookupError
            If there is no camera geometry for an exposure.
        lsst.daf.butler.DataIdValueError
            If an exposure is not in the repository.
        TypeError
            If ``prefilter`` is combined with ``update_records`` or ``incremental``, or if the Butler is read-only.
        ValueError
            If a record is not of the ``exposure`` dimension.
        """
        self._require_writeable()
        options = self._options(
            collections=collections,
            update_records=update_records,
            incremental=incremental,
            skip_conflicting=skip_conflicting,
            prefilter=prefilter,
            check_detector_regions=check_detector_regions,
            on_error=on_error,
        )
        selection = self._selector.select(as_list(dataIds), options)
        return self._write(selection.visits, lambda chunk: self._define(chunk, options), selection, options)

    @timeMethod
    def plan(
        self, dataIds: Iterable[Mapping[str, Any] | DataCoordinate | DimensionRecord], **options: Unpack[RunOptions]
    ) -> VisitPlan:
        """Say what `run` would do; reads only.

        Parameters
        ----------
        dataIds, **options
            As for `run`.

        Returns
        -------
        plan : `VisitPlan`
            What there is to do, visit by visit. Conflicts are in it and raise nothing.

        Raises
        ------
        RuntimeError, LookupError, TypeError, ValueError
            As `run` does.
        """
        asked = self._options(**options)
        selection = self._selector.select(as_list(dataIds), asked)
        planned: list[PlannedVisit] = []
        for chunk in batches_of_families(selection.visits, self.config.chunkSize, _exposure_ids):
            planned += self._attempt(lambda visits: self._plan(visits, asked), chunk, asked, selection.failures)
        return VisitPlan(planned, asked, selection.failures, selection.n_filtered, selection.off_sky_types)

    @timeMethod
    def apply(self, plan: VisitPlan) -> Struct:
        """Write what was planned.

        Parameters
        ----------
        plan : `VisitPlan`
            What `plan` returned. Visits that another process has written since are planned anew.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            As `run` returns.

        Raises
        ------
        lsst.daf.butler.registry.ConflictingDefinitionError
            If a visit is stored otherwise. All others of its chunk have been written.
        TypeError
            If the Butler is read-only.
        """
        self._require_writeable()
        left_out = Selection(n_filtered=plan.n_filtered, off_sky_types=plan.off_sky_types, failures=list(plan.failures))
        return self._write(plan.visits, lambda chunk: self._apply(chunk, plan.options), left_out, plan.options)

    def _require_writeable(self) -> None:
        if not self.butler.isWriteable():
            raise TypeError("Visits cannot be defined through a read-only Butler; open it with writeable=True.")

    @staticmethod
    def _options(
        *,
        collections: Sequence[str] | str | None = None,
        on_error: str = "raise",
        prefilter: bool = False,
        **others: bool,
    ) -> Options:
        if prefilter and (others.get("update_records") or others.get("incremental")):
            raise TypeError("prefilter drops the visits that update_records and incremental are to update.")
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error must be 'raise' or 'skip', not {on_error!r}.")
        return Options(
            collections=[collections] if isinstance(collections, str) else collections,
            prefilter=prefilter,
            skip_errors=on_error == "skip",
            **others,
        )

    def _write(
        self,
        items: Sequence[_Item],
        write: Callable[[Sequence[_Item]], list[PlannedVisit]],
        selection: Selection,
        options: Options,
    ) -> Struct:
        """Write visits chunk by chunk, and count them."""
        result = Struct(
            n_visits=0,
            n_skipped=0,
            n_new=0,
            n_fully_updated=0,
            n_partially_updated=0,
            n_filtered=selection.n_filtered,
            n_off_sky=sum(selection.off_sky_types.values()),
            n_failed=0,
            off_sky_types=selection.off_sky_types,
            failures=selection.failures,
        )
        if items:
            first = items[0].definition if isinstance(items[0], PlannedVisit) else items[0]
            if first.instrument not in self._with_visit_systems:
                systems = self.groupExposures.getVisitSystems()
                registry.sync_visit_systems(self.butler, first.instrument, systems)
                self._with_visit_systems.add(first.instrument)
        bar: ProgressBar[None]
        with _PROGRESS.bar(total=len(items), desc=f"Defining {len(items)} visits") as bar:
            for chunk in batches_of_families(items, self.config.chunkSize, _exposure_ids):
                planned = self._attempt(write, chunk, options, result.failures)
                self._count(planned, options, result)
                bar.update(len(chunk))
        result.n_failed = len(result.failures)
        self.log.verbose(
            "%d visits: %d new, %d fully and %d partially updated, %d left as they are; ignored %d exposures with "
            "visits and %d that are not on the sky; %d failed.",
            result.n_visits,
            result.n_new,
            result.n_fully_updated,
            result.n_partially_updated,
            result.n_skipped,
            result.n_filtered,
            result.n_off_sky,
            result.n_failed,
        )
        return result

    @staticmethod
    def _attempt(
        call: Callable[[Sequence[_Item]], list[PlannedVisit]],
        items: Sequence[_Item],
        options: Options,
        failures: list[Failure],
    ) -> list[PlannedVisit]:
        """Do something with visits or, if failures are to be skipped, with all those it does not fail for."""
        if not options.skip_errors:
            return call(items)
        planned, failed = isolate(call, items)
        for item, error in failed:
            failures.append(Failure(tuple(sorted(_exposure_ids(item))), reason_of(error)))
        return planned

    def _plan(self, visits: Sequence[VisitDefinitionData], options: Options) -> list[PlannedVisit]:
        """Compare visits with what is stored."""
        tolerance = self.config.regionTolerance
        planned = plan_visits(self.butler, visits, self.computeVisitRegions, options, tolerance)
        if options.incremental and any(visit.exposures_of_others for visit in planned):
            # Exposures have come, and with another process into their visits, since these were grouped.
            visits = self._selector.complete(visits, options.collections)
            planned = plan_visits(self.butler, visits, self.computeVisitRegions, options, tolerance)
        return planned

    def _define(self, visits: Sequence[VisitDefinitionData], options: Options) -> list[PlannedVisit]:
        """Plan and write visits."""
        return self._apply(self._plan(visits, options), options)

    def _apply(self, planned: Sequence[PlannedVisit], options: Options) -> list[PlannedVisit]:
        """Write planned visits, all of them or, if it fails, none."""
        for _ in range(_ATTEMPTS):
            try:
                joined = registry.write_visits(self.butler, planned, update_obscore=self.config.updateObsCoreTable)
            except (IntegrityError, registry.StaleError) as error:
                # Another process was first with one of the visits: read again what it wrote, and compare.
                refused = error
                visits = self._selector.reread([visit.definition for visit in planned])
                if options.incremental:
                    visits = self._selector.complete(visits, options.collections)
                again = self._plan(visits, options)
                if isinstance(error, IntegrityError) and [v.to_write for v in again] == [v.to_write for v in planned]:
                    return self._apply_refused(again, options, error)
                planned = again
                continue
            for visit in planned:
                if visit.only_checks and visit.definition.id not in joined:
                    visit.action = Action.UNCHANGED
            return list(planned)
        ids = f"{planned[0].definition.id} to {planned[-1].definition.id}"
        raise DefinitionError(f"Visits {ids} could not be written: others wrote some of them {_ATTEMPTS} times.") from (
            refused
        )

    def _apply_refused(
        self, planned: Sequence[PlannedVisit], options: Options, error: IntegrityError
    ) -> list[PlannedVisit]:
        """Write visits of which the database refuses some, and say which."""
        registry.check_detectors(self.butler, planned)
        if len(planned) == 1:
            visit = planned[0].definition
            raise DefinitionError(
                f"The database refuses visit {visit.id} ({visit.name}): {error.orig}. Another visit may have its name, "
                "or one of its exposures may not be registered."
            ) from error
        if options.skip_errors:
            # The halving is the caller's.
            raise DefinitionError(f"The database refuses one of {len(planned)} visits: {error.orig}.") from error
        half = len(planned) // 2
        written: list[PlannedVisit] = []
        refused: list[DefinitionError] = []
        for part in (planned[:half], planned[half:]):
            try:
                written += self._apply(part, options)
            except DefinitionError as part_error:
                # The others of the chunk are written all the same.
                refused.append(part_error)
        if refused:
            raise refused[0]
        return written

    @staticmethod
    def _count(planned: Sequence[PlannedVisit], options: Options, result: Struct) -> None:
        """Count visits in the result, and complain of those in conflict."""
        conflicts = [visit for visit in planned if visit.action is Action.CONFLICT]
        result.n_visits += len(planned) - len(conflicts)
        result.n_new += sum(visit.is_new for visit in planned)
        result.n_fully_updated += sum(visit.fully_updated for visit in planned)
        result.n_partially_updated += sum(visit.partially_updated for visit in planned)
        result.n_skipped += sum(visit.action in (Action.UNCHANGED, Action.SKIPPED) for visit in planned)
        if conflicts and not options.skip_errors:
            raise ConflictingDefinitionError(conflict_message(conflicts))
        result.failures += [
            Failure(
                tuple(exposure.id for exposure in visit.definition.exposures),
                f"Visit {visit.definition.id} is in conflict with what the repository has: {visit.reason}.",
            )
            for visit in conflicts
        ]


def _exposure_ids(item: VisitDefinitionData | PlannedVisit) -> set[int]:
    visit = item.definition if isinstance(item, PlannedVisit) else item
    return {exposure.id for exposure in visit.exposures}
