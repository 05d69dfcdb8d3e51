"""Write dimension records, in bulk."""

from __future__ import annotations

__all__ = [
    "StaleError",
    "check_detectors",
    "register_run",
    "sync_visit_systems",
    "write_fitted_visits",
    "write_visits",
]

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from lsst.daf.butler import Butler, DimensionRecord
from lsst.sphgeom import Region

from ..definition import VisitSystem
from ..errors import DefinitionError
from ..records import definition_records, detector_region_records, membership_records, visit_system_records
from .database import lock_visits
from .reading import fetch_detectors, fetch_exposures, fetch_visits

if TYPE_CHECKING:
    from ..plan import PlannedVisit
    from ..update_regions import FittedVisit


class StaleError(Exception):
    """What is stored is no longer what a plan was made from."""


def register_run(butler: Butler, name: str) -> None:
    """Make sure that a RUN collection is there.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    name : `str`
        Name of the collection.
    """
    # The Butler writes two rows, and a process that is killed between them would leave a run that takes no datasets.
    with butler.transaction():
        butler.collections.register(name)


def sync_visit_systems(butler: Butler, instrument: str, systems: Iterable[VisitSystem]) -> None:
    """Make sure that visit systems are there.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    instrument : `str`
        Name of the instrument.
    systems : `~collections.abc.Iterable` [`VisitSystem`]
        The systems.

    Raises
    ------
    lsst.daf.butler.registry.ConflictingDefinitionError
        If one of the ids is there with another name.
    """
    with butler.query() as query:
        known = {
            record.id: record.name for record in query.dimension_records("visit_system").where(instrument=instrument)
        }
    for record in visit_system_records(instrument, systems, butler.dimensions):
        # Reading first spares a second run its only write.
        if known.get(record.id) != record.name:
            butler.registry.syncDimensionData("visit_system", record)


def write_visits(butler: Butler, planned: Sequence[PlannedVisit], *, update_obscore: bool) -> None:
    """Write planned visits in one transaction: all of them whole, or none.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    planned : `~collections.abc.Sequence` [`PlannedVisit`]
        The visits, those without anything to write included.
    update_obscore : `bool`
        Whether to update the regions of exposures in the registry's ObsCore table, if it has one.

    Raises
    ------
    sqlalchemy.exc.IntegrityError
        If another process has inserted one of the new visits since they were planned.
    StaleError
        If another process has changed one of the others.
    """
    universe = butler.dimensions
    # Everybody writes in the order of ids, so that two writers cannot wait for each other.
    written = sorted((visit for visit in planned if visit.writes), key=lambda visit: visit.definition.id)
    if not written:
        return
    inserted: dict[str, list[DimensionRecord]] = defaultdict(list)
    replaced: dict[str, list[DimensionRecord]] = defaultdict(list)
    for visit in written:
        definition = visit.definition
        target = inserted if visit.is_new else replaced
        if visit.write_record:
            target["visit"].append(visit.record)
        inserted["visit_definition"] += definition_records(definition, visit.exposures_to_join, universe)
        if visit.is_new:
            inserted["visit_system_membership"] += membership_records(definition, universe)
        regions = visit.detector_regions_to_write()
        target["visit_detector_region"] += detector_region_records(definition, regions, universe)
    # In a transaction of the caller's, only what is written here may be undone if it is refused.
    with butler.registry.transaction(savepoint=True):
        if seen := {visit.definition.id: visit.stored for visit in written if not visit.is_new}:
            # What is there now stays. Locks come before inserts in every writer, lest two wait for each other.
            lock_visits(butler, written[0].definition.instrument, seen)
            stored = fetch_visits(butler, written[0].definition.instrument, seen)
            if changed := [visit for visit, record in seen.items() if not _same(stored.get(visit), record)]:
                raise StaleError(f"Visit {changed[0]} has changed since it was planned.")
        for element in ("visit", "visit_definition", "visit_system_membership", "visit_detector_region"):
            if inserted[element]:
                butler.registry.insertDimensionData(universe[element], *inserted[element], conform=False)
            if replaced[element]:
                butler.registry.insertDimensionData(universe[element], *replaced[element], conform=False, replace=True)
        if update_obscore and (obscore := butler.registry.obsCoreTableManager) is not None:
            obscore.update_exposure_regions(written[0].definition.instrument, _exposure_regions(planned))


def write_fitted_visits(butler: Butler, planned: Sequence[FittedVisit], *, update_obscore: bool) -> None:
    """Write the fitted regions and pointings of stored visits in one transaction: all of them, or none.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    planned : `~collections.abc.Sequence` [`FittedVisit`]
        The visits, those without anything to write included.
    update_obscore : `bool`
        Whether to update the regions of exposures in the registry's ObsCore table, if it has one.

    Raises
    ------
    StaleError
        If another process has changed one of the visits or exposures since they were planned.
    """
    universe = butler.dimensions
    written = sorted((visit for visit in planned if visit.writes), key=lambda visit: visit.definition.id)
    if not written:
        return
    instrument = written[0].definition.instrument
    visits = {visit.definition.id: visit.stored for visit in written}
    pointed = {
        visit.stored_exposure.id: (visit.stored_exposure, visit.exposure)
        for visit in written
        if visit.stored_exposure is not None and visit.exposure is not None
    }
    regions = {visit.definition.id: visit.detector_regions_to_write() for visit in written}
    replaced = {
        # In the order of ids, as all rows are written, so that two writers cannot wait for each other.
        "exposure": [new for _, (_, new) in sorted(pointed.items(), key=lambda item: item[0])],
        "visit": [visit.record for visit in written if visit.write_record],
        "visit_detector_region": [
            record
            for visit in written
            for record in detector_region_records(visit.definition, regions[visit.definition.id], universe)
        ],
    }
    with butler.registry.transaction(savepoint=True):
        # An exposure takes its pointing from one visit only, so whoever holds that is alone with the exposure too.
        lock_visits(butler, instrument, visits)
        stored = fetch_visits(butler, instrument, visits)
        exposures = fetch_exposures(butler, instrument, pointed)
        changed = [f"Visit {visit}" for visit, record in visits.items() if not _same(stored.get(visit), record)]
        changed += [f"Exposure {one}" for one, (old, _) in pointed.items() if not _same(exposures.get(one), old)]
        if changed:
            raise StaleError(f"{changed[0]} has changed since it was planned.")
        for element, records in replaced.items():
            if records:
                butler.registry.insertDimensionData(universe[element], *records, conform=False, replace=True)
        if update_obscore and (obscore := butler.registry.obsCoreTableManager) is not None:
            rows = [
                (exposure, detector, region)
                for visit in written
                for exposure in visit.own_exposures
                for detector, region in regions[visit.definition.id].items()
            ]
            obscore.update_exposure_regions(instrument, sorted(rows, key=lambda row: row[:2]))


def check_detectors(butler: Butler, planned: Sequence[PlannedVisit]) -> None:
    """Refuse cameras with more detectors than are registered.

    The database refuses them too, so this needs to be called only when it has refused something.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    planned : `~collections.abc.Sequence` [`PlannedVisit`]
        The visits that could not be written.

    Raises
    ------
    DefinitionError
        If a detector is not registered.
    """
    instrument = planned[0].definition.instrument
    wanted = {detector for visit in planned if visit.writes for detector in visit.detector_regions_to_write()}
    if unknown := wanted - fetch_detectors(butler, instrument):
        raise DefinitionError(
            f"The camera of {instrument} has {len(unknown)} detectors that are not registered (the first is "
            f"{min(unknown)}); register them, or use the camera that belongs to this repository."
        )


def _same(a: DimensionRecord | None, b: DimensionRecord | None) -> bool:
    """Tell whether two records are equal; what is not a number, as PostgreSQL stores it, is equal to itself."""
    if a is None or b is None:
        return a is b
    pairs = ((_comparable(getattr(a, name)), _comparable(getattr(b, name))) for name in a.fields.names)
    return all(x == y or (x != x and y != y) for x, y in pairs)


def _comparable(value: Any) -> Any:
    # Polygons with vertices that are no numbers are not equal, even if they are the same.
    return value.encode() if isinstance(value, Region) else value


def _exposure_regions(planned: Sequence[PlannedVisit]) -> list[tuple[int, int, Region]]:
    """List the exposures of written visits with their detectors' regions.

    An exposure that has a visit of its own among the planned ones has the regions of that. Like all rows, these are
    written in one order.
    """
    own = {visit.definition.exposures[0].id: visit for visit in planned if len(visit.definition.exposures) == 1}
    found: dict[int, PlannedVisit] = {}
    for visit in planned:
        if visit.writes:
            for exposure in visit.definition.exposures:
                found[exposure.id] = own.get(exposure.id, visit)
    return [
        (exposure, detector, region)
        for exposure, visit in sorted(found.items(), key=lambda item: item[0])
        for detector, region in sorted(visit.regions.detectors().items(), key=lambda item: item[0])
    ]
