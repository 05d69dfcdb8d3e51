"""The task that defines visits."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing
from functools import partial, wraps
from types import EllipsisType
from typing import Any, ClassVar, Literal, TypedDict, TypeVar, Unpack, cast

from lsst.daf.butler import Butler, DataCoordinate, DimensionRecord
from lsst.daf.butler.progress import Progress, ProgressBar
from lsst.pex.config import Config
from lsst.pipe.base import Task
from lsst.utils.logging import getLogger
from lsst.utils.timer import timeMethod

from . import repository
from .config import DefineVisitsConfig
from .define.clashes import PlannedNames, leave_moved, passing_names, refuse_names
from .define.exposures import Selection, Selector, as_list
from .define.groups import GroupExposuresTask
from .define.outcome import Outcome, RunResult
from .define.plan import plan_visits
from .define.records import visit_system_records
from .define.regions import ComputeVisitRegionsTask
from .define.visit_plan import VisitPlan
from .define.visits import Failure, Options, PlannedVisit, VisitDefinitionData, ids_of
from .define.write import write_again
from .errors import WorkerError, noting
from .lists import batches_of_families, counted, isolate
from .workers.distribute import distribute, distributed_chunk_size

_Item = TypeVar("_Item", VisitDefinitionData, PlannedVisit)


DataIds = Iterable[Mapping[str, Any] | DataCoordinate | DimensionRecord]

Collections = str | re.Pattern[str] | EllipsisType | Iterable[str | re.Pattern[str] | EllipsisType] | None
"""Whatever the Butler takes for collections to search."""


SUMMARY = {"is_summary": True}
"""What marks the log records that the command line prints itself."""

_Method = TypeVar("_Method", bound=Callable[..., Any])


def _timed(method: _Method) -> _Method:
    """Put the times of a method's last call into the task's metadata, as `timeMethod` does for all calls.

    A task may live as long as its process, and its metadata must not grow.
    """
    timed = timeMethod(method)
    names = (f"{method.__name__}Start", f"{method.__name__}End")

    @wraps(method)
    def call(self: Task, *args: Any, **kwargs: Any) -> Any:
        for name in [name for name in self.metadata if name.startswith(names)]:
            del self.metadata[name]
        return timed(self, *args, **kwargs)

    return cast(_Method, call)


class RunOptions(TypedDict, total=False):
    """The options of `DefineVisitsTask.run`."""

    collections: Collections
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
        if hasattr(type(self), "_buildVisitRecords"):
            raise TypeError(
                f"{type(self).__name__} has _buildVisitRecords, which this task does not call: it makes the records of "
                "many visits at once. Change what is in them with a grouping or a region algorithm of your own."
            )
        # The logger's name is lsst.defineVisits, for which people have set levels.
        kwargs.setdefault("log", getLogger("lsst"))
        super().__init__(config, **kwargs)
        self.butler = butler
        self.universe = butler.dimensions
        self.progress = Progress(self.log.name)
        self.makeSubtask("groupExposures")
        self.makeSubtask("computeVisitRegions", butler=butler)
        ignore = self.config.ignoreNonScienceExposures
        self.selector = Selector(butler, self.groupExposures, self.computeVisitRegions, ignore_off_sky=ignore)

    def _reduce_kwargs(self) -> dict[str, Any]:
        return {**super()._reduce_kwargs(), "butler": self.butler}

    @_timed
    def run(
        self,
        dataIds: DataIds | None = None,
        *,
        dataIds_or_records: DataIds | None = None,
        collections: Collections = None,
        update_records: bool = False,
        incremental: bool = False,
        skip_conflicting: bool = False,
        prefilter: bool = False,
        check_detector_regions: bool = False,
        on_error: Literal["raise", "skip"] = "raise",
        executor: Executor | None = None,
    ) -> RunResult:
        """Define the visits of exposures: `plan` and `apply` them, chunk by chunk.

        Parameters
        ----------
        dataIds : `~collections.abc.Iterable`
            Data IDs or ``exposure`` records of one instrument, mixed or not; duplicates are dropped.
        dataIds_or_records : `~collections.abc.Iterable`, optional
            Another name of ``dataIds``.
        collections : `str`, `re.Pattern`, ``...`` or `~collections.abc.Iterable` of these, optional
            Names or patterns of collections to search for the camera; by default the Butler's own.
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
        executor : `~concurrent.futures.Executor`, optional
            Workers that compute and write the chunks, such as a `~concurrent.futures.ProcessPoolExecutor` or what
            ``get_executor()`` of a Dask client returns. Each opens the repository itself, so the Butler must not be in
            a transaction. Processes must not be forks, which would share its connections.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            Integers ``n_visits``, ``n_skipped``, ``n_new``, ``n_fully_updated``, ``n_partially_updated``,
            ``n_filtered``, ``n_off_sky`` and ``n_failed``; ``off_sky_types``, a `dict` of the number of exposures that
            were ignored because they are not on the sky by observation type; and ``failures``, a `list` of
            `~butler_visits.define.visits.Failure` with the exposures of each and the reason.

        Raises
        ------
        lsst.daf.butler.registry.interfaces.DatabaseConflictError
            If a visit is stored otherwise; it is a `lsst.daf.butler.registry.ConflictingDefinitionError`. The others of
            its chunk have been written; with an executor, all others.
        RuntimeError
            If the exposures are of several instruments, if one that is not on the sky is not to be ignored, if
            no valid visit can be made of some, if the workers of an executor died, or if there is one in a transaction.
        LookupError
            If there is no camera geometry for an exposure.
        lsst.daf.butler.registry.DataIdError
            If a data ID is incomplete, or an exposure is not in the repository.
        TypeError
            If ``prefilter`` is combined with ``update_records`` or ``incremental``, or if the Butler is read-only.
        ValueError
            If a record is not of the ``exposure`` dimension.
        """
        repository.require_writeable(self.butler)
        if executor is not None and repository.in_transaction(self.butler):
            raise WorkerError(
                "Workers cannot define visits while the Butler is in a transaction: they have connections of their "
                "own, which wait for it or do not see what it has written. Leave it, or call run without executor."
            )
        options = self._options(
            collections=collections,
            update_records=update_records,
            incremental=incremental,
            skip_conflicting=skip_conflicting,
            prefilter=prefilter,
            check_detector_regions=check_detector_regions,
            on_error=on_error,
        )
        given = _given(dataIds, dataIds_or_records)
        selection = repository.try_again(self.butler, lambda: self.selector.select(given, options))
        if executor is None:
            outcomes = self._one_by_one(self._define, selection.visits, options)
        else:
            size = distributed_chunk_size(len(selection.visits), self.config.chunkSize)
            outcomes = distribute(self, self._chunks(selection.visits, size, options), options, executor)
        return self._write(selection.visits, outcomes, selection)

    def define_chunk(self, visits: Sequence[VisitDefinitionData], options: Options) -> Outcome:
        """Define visits that are written together; this is what a worker does.

        Parameters
        ----------
        visits : `~collections.abc.Sequence` [`VisitDefinitionData`]
            The visits.
        options : `~butler_visits.define.visits.Options`
            What was asked for.

        Returns
        -------
        outcome : `~butler_visits.define.outcome.Outcome`
            What became of them.
        """
        return self._do(self._define, visits, options)

    @_timed
    def plan(
        self,
        dataIds: DataIds | None = None,
        *,
        dataIds_or_records: DataIds | None = None,
        **options: Unpack[RunOptions],
    ) -> VisitPlan:
        """Say what `run` would do; reads only.

        Parameters
        ----------
        dataIds, dataIds_or_records, **options
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
        given = _given(dataIds, dataIds_or_records)
        selection = repository.try_again(self.butler, lambda: self.selector.select(given, asked))
        self._warn(selection.warnings)
        self._sync_visit_systems(selection.visits, dry_run=True)
        planned: list[PlannedVisit] = []
        names = PlannedNames()
        for chunk in self._chunks(selection.visits, self.config.chunkSize, asked):
            planned += self._attempt(lambda visits: self._plan(visits, asked, names), chunk, asked, selection.failures)
        self._warn(Outcome(apart=[one.definition.id for one in planned if one.regions.apart]).all_warnings())
        return VisitPlan(planned, asked, selection.failures, selection.filtered, selection.off_sky)

    @_timed
    def apply(self, plan: VisitPlan) -> RunResult:
        """Write what was planned.

        Parameters
        ----------
        plan : `VisitPlan`
            What `plan` returned. Visits that another process has written since, or whose exposures have other records
            since, are planned anew.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            As `run` returns.

        Raises
        ------
        lsst.daf.butler.registry.interfaces.DatabaseConflictError
            If a visit is stored otherwise. All others of its chunk have been written.
        TypeError
            If the Butler is read-only.
        """
        repository.require_writeable(self.butler)
        left_out = Selection(filtered=plan.filtered, off_sky=plan.off_sky, failures=list(plan.failures))
        return self._write(plan.visits, self._one_by_one(self._apply_later, plan.visits, plan.options), left_out)

    def _options(
        self,
        *,
        collections: Collections = None,
        on_error: str = "raise",
        prefilter: bool = False,
        **others: bool,
    ) -> Options:
        if prefilter and (others.get("update_records") or others.get("incremental")):
            raise TypeError("prefilter drops the visits that update_records and incremental are to update.")
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error must be 'raise' or 'skip', not {on_error!r}.")
        return Options(
            collections=repository.expand_collections(self.butler, collections),
            prefilter=prefilter,
            skip_errors=on_error == "skip",
            grouping=self.config.groupExposures.name,
            **others,
        )

    def _write(self, items: Sequence[_Item], outcomes: Generator[Outcome], selection: Selection) -> RunResult:
        """Let visits be written chunk by chunk, and count them."""
        # Each time: a transaction of the caller's that was rolled back takes them along.
        self._sync_visit_systems(items)
        total = Outcome()
        bar: ProgressBar[None]
        with (
            # A chunk may be stored and not counted yet.
            noting(lambda: f"at least {total.n_visits} of {counted(len(items), 'visit')} are stored"),
            self.progress.bar(total=len(items), desc=f"Defining {counted(len(items), 'visit')}") as bar,
            closing(outcomes),
        ):
            n_chunks = 0
            for outcome in outcomes:
                n_chunks += 1
                total.add(outcome)
                bar.update(outcome.n_given)
        # What the last transaction has written is there.
        if n_chunks > 1 or total.n_skipped:
            repository.check_kept(self.butler, "visit", _definition(items[0]).instrument, total.stored)
        self._warn(selection.warnings + total.all_warnings())
        total.check()
        result = total.to_struct(selection)
        self.log.verbose("Defined: %s", result)
        self._say(result, total.n_completed)
        return result

    def _sync_visit_systems(self, items: Sequence[_Item], *, dry_run: bool = False) -> None:
        """Make sure that the visit systems of the grouping algorithm are there, or can be."""
        if items:
            name = _definition(items[0]).instrument
            systems = visit_system_records(name, self.groupExposures.getVisitSystems(), self.universe)
            repository.try_again(
                self.butler, lambda: repository.sync_visit_systems(self.butler, name, systems, dry_run=dry_run)
            )

    def _warn(self, warnings: Iterable[str]) -> None:
        for warning in warnings:
            self.log.warning("%s", warning)

    def _say(self, result: RunResult, n_completed: int) -> None:
        """Log what was done."""
        # The adapter around it would drop the mark.
        log = self.log.logger
        log.info(
            "%s: %d new, %d updated, %d left as they are.",
            counted(result.n_visits, "visit"),
            result.n_new,
            result.n_fully_updated + result.n_partially_updated,
            result.n_skipped,
            extra=SUMMARY,
        )
        if result.n_filtered:
            log.info("Left out %s with a visit already.", counted(result.n_filtered, "exposure"), extra=SUMMARY)
        if n_completed:
            log.info("Added detector regions that %s lacked.", counted(n_completed, "visit"), extra=SUMMARY)
        for failure in result.failures:
            log.info("Failed: %s", failure, extra=SUMMARY)

    def _chunks(self, items: Sequence[_Item], size: int, options: Options) -> Iterator[list[_Item]]:
        """Split visits into chunks, never within a group; those that pass names on to each other are one chunk."""
        if options.incremental or options.update_records:
            visits = [_definition(item) for item in items]
            passing = repository.try_again(self.butler, lambda: passing_names(self.butler, visits))
            if passing:
                together: list[_Item] = []
                others: list[_Item] = []
                for family in batches_of_families(items, 1, _exposure_ids):
                    bound = any(_definition(item).id in passing for item in family)
                    (together if bound else others).extend(family)
                yield together
                items = others
        yield from batches_of_families(items, size, _exposure_ids)

    def _one_by_one(
        self, write: Callable[[Sequence[_Item], Options], list[PlannedVisit]], items: Sequence[_Item], options: Options
    ) -> Generator[Outcome]:
        """Write visits in this process, and end with the first chunk that has a conflict."""
        for chunk in self._chunks(items, self.config.chunkSize, options):
            outcome = self._do(write, chunk, options)
            yield outcome
            if outcome.conflicts:
                break

    def _do(
        self, write: Callable[[Sequence[_Item], Options], list[PlannedVisit]], chunk: Sequence[_Item], options: Options
    ) -> Outcome:
        """Write a chunk of visits, and sum up what became of them."""
        failures: list[Failure] = []
        planned = self._attempt(lambda some: write(some, options), chunk, options, failures)
        return Outcome.of(planned, failures, options)

    def _attempt(
        self,
        call: Callable[[Sequence[_Item]], list[PlannedVisit]],
        items: Sequence[_Item],
        options: Options,
        failures: list[Failure],
    ) -> list[PlannedVisit]:
        """Do something with visits or, if failures are to be skipped, with all those it does not fail for."""

        def patiently(some: Sequence[_Item]) -> list[PlannedVisit]:
            return repository.try_again(self.butler, lambda: call(some))

        planned, failed = isolate(patiently, items, skip=options.skip_errors)
        failures += [Failure.of(sorted(_exposure_ids(item)), error) for item, error in failed]
        return planned

    def _plan(
        self, visits: Sequence[VisitDefinitionData], options: Options, names: PlannedNames | None = None
    ) -> list[PlannedVisit]:
        """Compare visits with what is stored."""
        tolerance = self.config.regionTolerance
        planned = plan_visits(self.butler, visits, self.computeVisitRegions, options, tolerance)
        if options.incremental and any(visit.exposures_of_others for visit in planned):
            # Exposures have come, and with another process into their visits, since these were grouped.
            visits = self.selector.group_again(visits, options)
            planned = plan_visits(self.butler, visits, self.computeVisitRegions, options, tolerance)
        leave_moved(planned, partial(self.selector.visits_now, collections=options.collections))
        refuse_names(self.butler, planned, options, names or PlannedNames())
        return planned

    def _define(self, visits: Sequence[VisitDefinitionData], options: Options) -> list[PlannedVisit]:
        """Plan and write visits."""
        return self._apply(self._plan(visits, options), options)

    def _apply_later(self, planned: Sequence[PlannedVisit], options: Options) -> list[PlannedVisit]:
        """Write visits that were planned some time ago, as their exposures are now."""
        now = self.selector.reread([visit.definition for visit in planned])
        if all(one.exposures == visit.definition.exposures for one, visit in zip(now, planned, strict=True)):
            return self._apply(planned, options)
        return self._define(self.selector.group_again(now, options), options)

    def _apply(self, planned: Sequence[PlannedVisit], options: Options) -> list[PlannedVisit]:
        """Write planned visits, all of them or, if it fails, none."""

        def plan_again(visits: Sequence[PlannedVisit]) -> list[PlannedVisit]:
            # Another process was first with one of the visits: read again what it wrote, and compare.
            definitions = self.selector.reread([visit.definition for visit in visits])
            if options.incremental:
                definitions = self.selector.group_again(definitions, options)
            return self._plan(definitions, options)

        return write_again(
            self.butler,
            planned,
            plan_again,
            update_obscore=self.config.updateObsCoreTable,
            # For skip_errors the halving is the caller's.
            halve=not options.skip_errors,
        )


def _given(dataIds: DataIds | None, dataIds_or_records: DataIds | None) -> list[Any]:
    """Take what was given under either name."""
    if dataIds is not None and dataIds_or_records is not None:
        raise TypeError("Give the exposures as dataIds or as dataIds_or_records.")
    return as_list(dataIds if dataIds_or_records is None else dataIds_or_records)


def _definition(item: VisitDefinitionData | PlannedVisit) -> VisitDefinitionData:
    return item.definition if isinstance(item, PlannedVisit) else item


def _exposure_ids(item: VisitDefinitionData | PlannedVisit) -> set[int]:
    return ids_of(_definition(item))
