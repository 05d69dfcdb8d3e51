"""From what a caller gives to the visits to define."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from lsst.daf.butler import Butler, DataCoordinate, DataIdValueError, DimensionRecord
from lsst.daf.butler.registry import DataIdError

from .. import repository
from ..errors import DefinitionError
from ..instruments import described
from ..lists import FAILURES, batches, isolate
from ..repository.stored import fetch_visit_names
from .doubts import doubts, id_limit, limit_hint
from .groups import GroupExposuresTask
from .pointings import is_on_sky, saw_sky
from .regions import ComputeVisitRegionsTask
from .visits import Failure, Options, VisitDefinitionData, ids_of

_BATCH = 10_000
"""Exposures whose groups are completed with one query."""


_MAX_ID = 2**63 - 1
"""What a database's integers hold."""


@dataclasses.dataclass
class Selection:
    """The visits to define, and what was left out on the way to them."""

    visits: list[VisitDefinitionData] = dataclasses.field(default_factory=list)
    filtered: list[int] = dataclasses.field(default_factory=list)
    """Ids of exposures that were dropped because they have a visit already."""

    off_sky: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    """Ids of exposures that are not on the sky, by observation type."""

    failures: list[Failure] = dataclasses.field(default_factory=list)
    """Exposures of which no visit can be made."""

    warnings: list[str] = dataclasses.field(default_factory=list)
    """What is doubtful of the visits, a line for each kind."""


@dataclasses.dataclass
class Selector:
    """Finds the visits to define; reads only."""

    butler: Butler
    grouping: GroupExposuresTask
    regions: ComputeVisitRegionsTask
    ignore_off_sky: bool

    def __post_init__(self) -> None:
        self._records: dict[str, DimensionRecord] = {}

    def select(
        self, data_ids: Iterable[Mapping[str, Any] | DataCoordinate | DimensionRecord], options: Options
    ) -> Selection:
        """Find the visits of exposures.

        Raises `DefinitionError` if exposures are of several instruments, not on the sky or give no visit, unless
        failures are skipped; `lsst.daf.butler.DataIdValueError` if an exposure is not in the repository, unless
        failures are skipped; `ValueError` if a record is of another dimension.
        """
        selection = Selection()
        exposures, unknown = _expand(self.butler, data_ids)
        if unknown and not options.skip_errors:
            others = f" {len(unknown) - 1} other exposures are not there either." if len(unknown) > 1 else ""
            raise DataIdValueError(unknown[0].reason + others)
        selection.failures += unknown
        if options.prefilter and exposures:
            given = [exposure.id for exposure in exposures]
            exposures = _without_visit(self.butler, exposures, complete_only=options.check_detector_regions)
            selection.filtered = sorted(set(given).difference(exposure.id for exposure in exposures))
        exposures = self._on_sky(exposures, options, selection)
        if options.skip_errors and exposures:
            exposures, failed = isolate(self._groupable, exposures)
            selection.failures += [Failure.of((exposure.id,), error) for exposure, error in failed]
        if options.incremental:
            exposures += self._missing(exposures, options.collections)
        if exposures:
            visits = self._group(exposures, options, selection.failures)
            instrument = self._record_of(exposures[0].instrument, visits)
            selection.visits = self._below_limit(visits, instrument, options, selection.failures)
            selection.warnings = doubts(self.butler, instrument, selection.visits)
        return selection

    def reread(self, visits: Sequence[VisitDefinitionData]) -> list[VisitDefinitionData]:
        """Make visits again of the exposure records that are stored now."""
        ids = {exposure.id for visit in visits for exposure in visit.exposures}
        stored = repository.fetch_exposures(self.butler, visits[0].instrument, ids)
        return [
            dataclasses.replace(visit, exposures=[stored.get(exposure.id, exposure) for exposure in visit.exposures])
            for visit in visits
        ]

    def group_again(self, visits: Sequence[VisitDefinitionData], options: Options) -> list[VisitDefinitionData]:
        """Make visits again, if incremental with the exposures of their groups that have come since."""
        ids = {visit.id for visit in visits}
        exposures = list({exposure.id: exposure for visit in visits for exposure in visit.exposures}.values())
        missing = self._missing(exposures, options.collections) if options.incremental else []
        grouped = self._group(exposures + missing, Options(), [])
        # A group can give more visits than these, which are somebody else's to define; or others instead of these.
        kept = [visit for visit in grouped if visit.id in ids]
        lost = ids - {visit.id for visit in kept}
        orphans = {exposure.id for exposure in exposures}.difference(*map(ids_of, kept))
        orphans.update(*(ids_of(visit) for visit in visits if visit.id in lost))
        return [visit for visit in grouped if visit.id in ids or not orphans.isdisjoint(ids_of(visit))]

    def _record_of(self, name: str, visits: Sequence[VisitDefinitionData]) -> DimensionRecord:
        """Read an instrument's record, again if its limit may have been raised for visits since."""
        record = self._records.get(name)
        limit = None if record is None else id_limit(record)
        if record is None or (limit is not None and any(visit.id >= limit for visit in visits)):
            record = repository.fetch_instruments(self.butler)[name]
            if not repository.in_transaction(self.butler):
                # What the caller may undo is not remembered.
                self._records[name] = record
        return record

    def _below_limit(
        self,
        visits: list[VisitDefinitionData],
        instrument: DimensionRecord,
        options: Options,
        failures: list[Failure],
    ) -> list[VisitDefinitionData]:
        """Refuse new visits whose ids pipelines cannot pack, of instruments that this package has registered."""
        limit = id_limit(instrument)
        if limit is None or not instrument.class_name.startswith(described.__name__):
            return visits
        large = {visit.id for visit in visits if visit.id >= limit}
        if large:
            large -= fetch_visit_names(self.butler, instrument.name, large).keys()
        for visit in visits:
            if visit.id in large:
                reason = (
                    f"Visit {visit.id} is not below {limit}, the visit_max of {instrument.name}, by which pipelines "
                    f"pack the ids of visits. {limit_hint(self.butler, instrument, max(large))}"
                )
                _refuse(sorted(ids_of(visit)), DefinitionError(reason), options, failures)
        return [visit for visit in visits if visit.id not in large]

    def visits_now(
        self, instrument: str, exposures: Iterable[int], collections: Sequence[str] | None
    ) -> dict[int, list[VisitDefinitionData]]:
        """Find the visits that each of some exposures would give now; none if it is not on the sky or not there."""
        now: dict[int, list[VisitDefinitionData]] = {exposure: [] for exposure in exposures}
        stored = repository.fetch_exposures(self.butler, instrument, now)
        on_sky, _ = self._split_off_sky(stored.values(), collections)
        if on_sky:
            for visit in self._group(on_sky + self._missing(on_sky, collections), Options(skip_errors=True), []):
                for exposure in ids_of(visit) & now.keys():
                    now[exposure].append(visit)
        return now

    def _on_sky(
        self, exposures: Iterable[DimensionRecord], options: Options, selection: Selection
    ) -> list[DimensionRecord]:
        """Drop exposures that are not on the sky, if that is no error."""
        on_sky, off_sky = self._split_off_sky(exposures, options.collections)
        if self.ignore_off_sky:
            for exposure in off_sky:
                selection.off_sky.setdefault(exposure.observation_type or "of unknown type", []).append(exposure.id)
            return on_sky
        for exposure in off_sky:
            problem = (
                f", of observation type {exposure.observation_type!r}, is not on the sky, and "
                "ignoreNonScienceExposures is false; leave it out or change the config."
            )
            error = DefinitionError.of_exposure(exposure.id, problem)
            _refuse([exposure.id], error, options, selection.failures)
        return on_sky

    def _split_off_sky(
        self, exposures: Iterable[DimensionRecord], collections: Sequence[str] | None
    ) -> tuple[list[DimensionRecord], list[DimensionRecord]]:
        """Split exposures into those on the sky and others."""
        exposures = list(exposures)
        off_sky = [exposure for exposure in exposures if not is_on_sky(exposure)]
        lost = [exposure for exposure in off_sky if saw_sky(exposure)]
        pointed = self.regions.find_pointed(lost, collections=collections) if lost else set()
        left_out = {exposure.id for exposure in off_sky} - pointed
        return (
            [exposure for exposure in exposures if exposure.id not in left_out],
            [exposure for exposure in off_sky if exposure.id in left_out],
        )

    def _groupable(self, exposures: Sequence[DimensionRecord]) -> list[DimensionRecord]:
        """Return the exposures if the grouping algorithm can split them into groups."""
        self.grouping.group_exposures(list(exposures))
        return list(exposures)

    def _missing(self, exposures: list[DimensionRecord], collections: Sequence[str] | None) -> list[DimensionRecord]:
        """Find further exposures of the same groups that are on the sky."""
        given = {exposure.id for exposure in exposures}
        found = {
            exposure.id: exposure
            for batch in batches(exposures, _BATCH)
            for exposure in self.grouping.find_missing(batch, self.butler.registry)
        }
        missing = [found[exposure] for exposure in sorted(found.keys() - given)]
        return self._split_off_sky(missing, collections)[0]

    def _group(
        self, exposures: list[DimensionRecord], options: Options, failures: list[Failure]
    ) -> list[VisitDefinitionData]:
        """Group exposures into visits whose ids are unique."""
        instrument = self.regions.getInstrument(exposures[0].instrument)
        try:
            visits = list(self.grouping.group(exposures, instrument))
        except FAILURES:
            if not options.skip_errors:
                raise
            groups = list(self.grouping.group_exposures(exposures).values())
            visits, failed = isolate(
                lambda some: list(self.grouping.group([e for group in some for e in group], instrument)), groups
            )
            failures += [Failure.of((e.id for e in group), error) for group, error in failed]
        by_id: dict[int, list[VisitDefinitionData]] = defaultdict(list)
        for visit in visits:
            # Nothing may depend on the order in which exposures arrived.
            visit.exposures = sorted(visit.exposures, key=lambda exposure: exposure.id)
            if (reason := _flaw(visit)) is None:
                by_id[visit.id].append(visit)
            else:
                _refuse([e.id for e in visit.exposures], DefinitionError(reason), options, failures)
        unique: list[VisitDefinitionData] = []
        for visit_id, clashing in by_id.items():
            if len(clashing) == 1:
                unique += clashing
                continue
            error = DefinitionError(
                f"Several groups of exposures give the same visit id {visit_id}: "
                f"{' and '.join(repr(visit.name) for visit in clashing)}; use another grouping algorithm for them."
            )
            for visit in clashing:
                _refuse([e.id for e in visit.exposures], error, options, failures)
        return unique


def _refuse(exposures: Iterable[int], error: DefinitionError, options: Options, failures: list[Failure]) -> None:
    """Note why no visit can be made of exposures or, if failures are not to be skipped, raise the error."""
    if not options.skip_errors:
        raise error
    failures.append(Failure.of(exposures, error))


def _flaw(visit: VisitDefinitionData) -> str | None:
    """Say what is wrong with a visit that an algorithm made, if anything is."""
    ids = [exposure.id for exposure in visit.exposures]
    if not 0 <= visit.id <= _MAX_ID:
        return f"Visit {visit.name!r} of the exposures {ids} has the id {visit.id}; expected 0 to 2^63 - 1."
    if len(set(ids)) != len(ids) or not ids:
        return f"Visit {visit.id} ({visit.name!r}) has the exposures {ids}; expected at least one, and each once."
    return None


def as_list(
    data_ids: Iterable[Mapping[str, Any] | DataCoordinate | DimensionRecord] | None,
) -> list[Mapping[str, Any] | DataCoordinate | DimensionRecord]:
    """Make a list of data IDs or records, of which a single one is none.

    Raises `ValueError` if they cannot be iterated over.
    """
    if isinstance(data_ids, Mapping) and not data_ids:
        return []
    if isinstance(data_ids, Mapping | DataCoordinate | DimensionRecord) or not isinstance(data_ids, Iterable):
        raise ValueError(f"Expected an iterable of exposure records or data IDs, got {data_ids!r}.")
    return list(data_ids)


def _expand(
    butler: Butler, data_ids: Iterable[Mapping[str, Any] | DataCoordinate | DimensionRecord]
) -> tuple[list[DimensionRecord], list[Failure]]:
    """Turn data IDs into exposure records."""
    records: dict[tuple[str, int], DimensionRecord] = {}
    wanted: set[tuple[str, int]] = set()
    dimensions = butler.dimensions.conform(["exposure"])
    for data_id in data_ids:
        if isinstance(data_id, DimensionRecord):
            if data_id.definition.name != "exposure":
                raise ValueError(f"Expected exposure records or data IDs, got a {data_id.definition.name} record.")
            records[data_id.instrument, data_id.id] = data_id
            continue
        try:
            coordinate = DataCoordinate.standardize(
                data_id, dimensions=dimensions, defaults=butler.registry.defaults.dataId
            )
            instrument, exposure = coordinate["instrument"], coordinate["exposure"]
        except LookupError as error:
            if data_id is None:
                raise ValueError("Expected exposure records or data IDs, got None.") from error
            instrument, exposure = None, None
        except (TypeError, ValueError) as error:
            raise ValueError(f"Expected exposure records or data IDs, got {data_id!r}.") from error
        if instrument is None or exposure is None:
            raise DataIdError(f"Data ID {data_id!r} is incomplete: expected values for instrument and exposure.")
        if isinstance(exposure, str) and exposure.isdecimal():
            exposure = int(exposure)
        if not isinstance(exposure, int | np.integer):
            raise ValueError(f"Expected exposure records or data IDs whose exposure is an integer, got {data_id!r}.")
        if not 0 <= exposure <= _MAX_ID:
            raise DataIdValueError(f"{instrument} has no exposure {exposure}; ids are from 0 to 2^63 - 1.")
        wanted.add((str(instrument), int(exposure)))
    instruments = {instrument for instrument, _ in records} | {instrument for instrument, _ in wanted}
    if len(instruments) > 1:
        raise DefinitionError(
            f"The exposures are of several instruments ({', '.join(sorted(instruments))}); define the visits of "
            "one instrument at a time."
        )
    failures: list[Failure] = []
    for instrument in instruments:
        ids = {exposure for _, exposure in wanted - records.keys()}
        found = repository.fetch_exposures(butler, instrument, ids)
        failures = [
            Failure((id_,), f"{instrument} has no exposure {id_}.", f"{instrument} has no exposure ….")
            for id_ in sorted(ids - found.keys())
        ]
        records.update(((instrument, exposure), record) for exposure, record in found.items())
    return [records[key] for key in sorted(records)], failures


def _without_visit(
    butler: Butler, exposures: Sequence[DimensionRecord], *, complete_only: bool
) -> list[DimensionRecord]:
    """Drop exposures that belong to a visit."""
    instrument = exposures[0].instrument
    visits = repository.fetch_visits_of_exposures(butler, instrument, [exposure.id for exposure in exposures])
    incomplete: set[int] = set()
    if complete_only:
        detectors = repository.fetch_detectors(butler, instrument)
        all_visits = set().union(*visits.values())
        stored = repository.fetch_detectors_of_visits(butler, instrument, all_visits)
        incomplete = {visit for visit in all_visits if not detectors <= stored.get(visit, set())}
    return [exposure for exposure in exposures if exposure.id not in visits or visits[exposure.id] & incomplete]
