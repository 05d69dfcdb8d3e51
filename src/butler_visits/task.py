"""The task that defines visits."""

from __future__ import annotations

__all__ = ["DefineVisitsConfig", "DefineVisitsTask"]

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from lsst.daf.butler import Butler, DataCoordinate, DimensionRecord
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.pex.config import Config, Field, RangeField
from lsst.pipe.base import Struct, Task
from lsst.utils.timer import timeMethod
from sqlalchemy.exc import IntegrityError

from . import registry
from .batches import batches
from .busy import when_free
from .definition import VisitDefinitionData
from .errors import DefinitionError
from .grouping import GroupExposuresTask
from .plan import Action, PlannedVisit, compare_records, conflict_message
from .records import visit_record
from .regions import ComputeVisitRegionsTask, VisitRegions
from .selection import expand, split_off_sky, without_visit

_ATTEMPTS = 10
"""How often a chunk is planned anew because another process wrote some of its visits first."""

_BATCH = 10_000
"""Exposures whose groups are completed with one query."""


class DefineVisitsConfig(Config):
    """Config of `DefineVisitsTask`."""

    groupExposures = GroupExposuresTask.registry.makeField(
        doc="Algorithm that groups exposures into visits.", default="one-to-one"
    )
    computeVisitRegions = ComputeVisitRegionsTask.registry.makeField(
        doc="Algorithm that computes the regions of visits and of their detectors.", default="single-raw-wcs"
    )
    ignoreNonScienceExposures = Field[bool](
        doc="Whether exposures that are not on the sky are ignored; otherwise they are an error.",
        default=True,
    )
    updateObsCoreTable = Field[bool](
        doc="Whether exposures' regions are updated in the registry's ObsCore table, if it has one.",
        default=True,
    )
    regionTolerance = RangeField(
        dtype=float,
        doc="Distance (arcsec) up to which a computed region equals a stored one; 0 asks for identical bits.",
        default=1e-6,
        min=0.0,
    )
    chunkSize = RangeField(
        dtype=int,
        doc="Visits that are computed, compared and written together, in one transaction.",
        default=500,
        min=1,
    )


@dataclasses.dataclass(frozen=True)
class _Options:
    """What `DefineVisitsTask.run` was asked for."""

    collections: Sequence[str] | None
    update_records: bool
    incremental: bool
    skip_conflicting: bool
    prefilter: bool
    check_detector_regions: bool


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
    ) -> Struct:
        """Define the visits of exposures.

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

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            Integers ``n_visits``, ``n_skipped``, ``n_new``, ``n_fully_updated``, ``n_partially_updated``,
            ``n_filtered`` and ``n_off_sky``, and ``off_sky_types``, a `dict` of the number of exposures that were
            ignored because they are not on the sky by observation type.

        Raises
        ------
        lsst.daf.butler.registry.ConflictingDefinitionError
            If a visit is stored otherwise. All others of its chunk have been written.
        RuntimeError
            If the exposures are of several instruments, if one that is not on the sky is not to be ignored, or if
            no valid visit can be made of some.
        LookupError
            If there is no camera geometry for an exposure.
        TypeError
            If ``prefilter`` is combined with ``update_records`` or ``incremental``, or if the Butler is read-only.
        ValueError
            If a record is not of the ``exposure`` dimension.
        """
        if prefilter and (update_records or incremental):
            raise TypeError("prefilter drops the visits that update_records and incremental are to update.")
        if not self.butler.isWriteable():
            raise TypeError("Visits cannot be defined through a read-only Butler; open it with writeable=True.")
        options = _Options(
            collections=[collections] if isinstance(collections, str) else collections,
            update_records=update_records,
            incremental=incremental,
            skip_conflicting=skip_conflicting,
            prefilter=prefilter,
            check_detector_regions=check_detector_regions,
        )
        result = Struct(
            n_visits=0,
            n_skipped=0,
            n_new=0,
            n_fully_updated=0,
            n_partially_updated=0,
            n_filtered=0,
            n_off_sky=0,
            off_sky_types={},
        )
        given = list(dataIds)
        exposures = when_free(lambda: self._select(given, options, result))
        if exposures:
            instrument = exposures[0].instrument
            systems = self.groupExposures.getVisitSystems()
            when_free(lambda: registry.sync_visit_systems(self.butler, instrument, systems))
            for chunk in batches(self._definitions(exposures), self.config.chunkSize):
                self._count(when_free(partial(self._define, chunk, options)), result)
        self.log.verbose(
            "%d visits: %d new, %d fully and %d partially updated, %d left as they are; ignored %d exposures with "
            "visits and %d that are not on the sky.",
            result.n_visits,
            result.n_new,
            result.n_fully_updated,
            result.n_partially_updated,
            result.n_skipped,
            result.n_filtered,
            result.n_off_sky,
        )
        return result

    def _select(
        self,
        data_ids: Iterable[Mapping[str, Any] | DataCoordinate | DimensionRecord],
        options: _Options,
        result: Struct,
    ) -> list[DimensionRecord]:
        """Find the exposures to make visits of, and count the others in the result; reads only."""
        exposures, off_sky = split_off_sky(expand(self.butler, data_ids), self.config.ignoreNonScienceExposures)
        result.n_off_sky = len(off_sky)
        result.off_sky_types = dict(Counter(str(exposure.observation_type) for exposure in off_sky))
        if options.prefilter and exposures:
            n_given = len(exposures)
            exposures = without_visit(self.butler, exposures, complete_only=options.check_detector_regions)
            result.n_filtered = n_given - len(exposures)
        if options.incremental:
            exposures += self._missing(exposures)
        return exposures

    def _missing(self, exposures: list[DimensionRecord]) -> list[DimensionRecord]:
        """Find further exposures of the same groups that are on the sky."""
        given = {exposure.id for exposure in exposures}
        found = {
            exposure.id: exposure
            for batch in batches(exposures, _BATCH)
            for exposure in self.groupExposures.find_missing(batch, self.butler.registry)
        }
        others = [found[exposure] for exposure in sorted(found.keys() - given)]
        on_sky, _ = split_off_sky(others, self.config.ignoreNonScienceExposures)
        return on_sky

    def _definitions(self, exposures: list[DimensionRecord]) -> Iterator[VisitDefinitionData]:
        """Group exposures into visits whose ids are unique."""
        names: dict[int, str] = {}
        instrument = registry.fetch_instrument(self.butler, exposures[0].instrument)
        for visit in self.groupExposures.group(exposures, instrument):
            if visit.id in names:
                raise DefinitionError(
                    f"Two groups of exposures give the same visit id {visit.id}: {names[visit.id]!r} and "
                    f"{visit.name!r}; use another grouping algorithm for one of them."
                )
            names[visit.id] = visit.name
            # Nothing may depend on the order in which exposures arrived.
            visit.exposures = sorted(visit.exposures, key=lambda exposure: exposure.id)
            yield visit

    def _define(self, visits: Sequence[VisitDefinitionData], options: _Options) -> list[PlannedVisit]:
        """Plan and write a chunk of visits."""
        for _ in range(_ATTEMPTS):
            planned = self._plan(visits, options)
            if options.incremental and any(visit.exposures_of_others for visit in planned):
                # Exposures have come, and with another process into their visits, since these were grouped.
                visits = self._regroup(visits)
                planned = self._plan(visits, options)
            try:
                joined = registry.write_visits(self.butler, planned, update_obscore=self.config.updateObsCoreTable)
            except IntegrityError as error:
                # Another process was first with one of the visits: read again what it wrote, and compare.
                refused = error
                if options.incremental:
                    visits = self._regroup(visits)
                continue
            for visit in planned:
                if visit.only_checks and visit.definition.id not in joined:
                    visit.action = Action.UNCHANGED
            return planned
        raise DefinitionError(
            f"Visits {visits[0].id} to {visits[-1].id} could not be written after {_ATTEMPTS} attempts: {refused.orig}"
        ) from refused

    def _regroup(self, visits: Sequence[VisitDefinitionData]) -> list[VisitDefinitionData]:
        """Make the same visits again, with the exposures that have come since."""
        ids = {visit.id for visit in visits}
        exposures = list({exposure.id: exposure for visit in visits for exposure in visit.exposures}.values())
        # Visits of another chunk may share a group with these.
        return [visit for visit in self._definitions(exposures + self._missing(exposures)) if visit.id in ids]

    @staticmethod
    def _count(planned: Sequence[PlannedVisit], result: Struct) -> None:
        """Count visits in the result, and complain of those in conflict."""
        for visit in planned:
            result.n_visits += 1
            result.n_new += visit.is_new
            result.n_fully_updated += visit.fully_updated
            result.n_partially_updated += visit.action is Action.UPDATE and not visit.fully_updated
            result.n_skipped += visit.action in (Action.UNCHANGED, Action.SKIPPED)
        if conflicts := [visit for visit in planned if visit.action is Action.CONFLICT]:
            raise ConflictingDefinitionError(conflict_message(conflicts))

    def _plan(self, visits: Sequence[VisitDefinitionData], options: _Options) -> list[PlannedVisit]:
        """Compute visits and compare them with what is stored; reads only."""
        instrument = visits[0].instrument
        ids = [visit.id for visit in visits]
        regions = self.computeVisitRegions.compute_all(visits, collections=options.collections)
        stored = registry.fetch_visits(self.butler, instrument, ids)
        joined: dict[int, set[int]] = {}
        if options.incremental:
            joined = registry.fetch_exposures_of_visits(self.butler, instrument, stored)
        covered: dict[int, set[int]] = {}
        if options.check_detector_regions:
            covered = registry.fetch_detectors_of_visits(self.butler, instrument, stored)
        return [
            self._plan_visit(
                visit,
                region,
                stored.get(visit.id),
                options,
                joined=joined.get(visit.id, set()),
                covered=covered.get(visit.id, set()),
            )
            for visit, region in zip(visits, regions, strict=True)
        ]

    def _plan_visit(
        self,
        visit: VisitDefinitionData,
        regions: VisitRegions,
        stored: DimensionRecord | None,
        options: _Options,
        *,
        joined: set[int],
        covered: set[int],
    ) -> PlannedVisit:
        """Decide what becomes of a visit, given the exposures joined to it and the detectors with a region."""
        record = visit_record(visit, regions.region, self.butler.dimensions)
        planned = PlannedVisit(visit, record, regions, Action.UNCHANGED)
        exposures = [exposure.id for exposure in visit.exposures]
        if stored is None:
            planned.action = Action.NEW
            planned.write_record = True
            planned.exposures_to_join = exposures
            planned.detectors_to_write = None
            return planned
        planned.differences = compare_records(stored, record, self.config.regionTolerance)
        if planned.differences and not (options.update_records or options.incremental):
            planned.action = Action.SKIPPED if options.skip_conflicting else Action.CONFLICT
            return planned
        planned.exposures_of_others = joined - set(exposures)
        if options.incremental and len(exposures) > 1:
            for exposure in visit.exposures:
                if exposure.id not in joined:
                    same_day = "day_obs" not in record.definition.implied.names or exposure.day_obs == record.day_obs
                    (planned.exposures_to_join if same_day else planned.exposures_to_check).append(exposure.id)
        if options.update_records or any(d.field == "region" for d in planned.differences):
            planned.detectors_to_write = None
        elif options.check_detector_regions:
            planned.detectors_to_write = set(regions.detectors()) - covered
        planned.write_record = options.update_records or bool(planned.differences)
        to_join = planned.exposures_to_join or planned.exposures_to_check
        if planned.write_record or to_join or planned.detectors_to_write != set():
            planned.action = Action.UPDATE
        return planned
