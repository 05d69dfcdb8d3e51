"""All reading and writing of dimension records, in bulk."""

from __future__ import annotations

__all__ = [
    "fetch_detectors",
    "fetch_detectors_of_visits",
    "fetch_exposures",
    "fetch_exposures_of_visits",
    "fetch_instrument",
    "fetch_visits",
    "fetch_visits_of_exposures",
    "resolve_instrument",
    "sync_visit_systems",
    "write_visits",
]

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from lsst.daf.butler import Butler, DimensionRecord
from lsst.pipe.base import Instrument
from lsst.sphgeom import Region

from .batches import batches
from .definition import VisitSystem
from .errors import DefinitionError, VisitsError
from .instruments import import_instrument_class, load_instrument
from .records import (
    definition_records,
    detector_region_records,
    membership_records,
    visit_system_records,
)

if TYPE_CHECKING:
    from .plan import PlannedVisit


_BATCH = 10_000
"""Values in one query's list: PostgreSQL takes 65,535 in a statement."""


def resolve_instrument(butler: Butler, name: str) -> str:
    """Find the name of a registered instrument.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    name : `str`
        A registered name, or the full name of a registered instrument's class.

    Returns
    -------
    instrument : `str`
        The registered name.

    Raises
    ------
    VisitsError
        If there is none.
    """
    with butler.query() as query:
        records = list(query.dimension_records("instrument"))
    # A class can be known under several names; if it can be imported, it says what its instrument is called.
    cls = import_instrument_class(name) if "." in name else None
    for record in records:
        if name in (record.name, record.class_name) or (cls is not None and cls.getName() == record.name):
            return str(record.name)
    known = ", ".join(sorted(record.name for record in records)) or "none"
    raise VisitsError(f"No instrument {name!r} is registered in this repository; registered: {known}.")


def fetch_instrument(butler: Butler, name: str) -> Instrument:
    """Make the instrument that is registered under a name.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    name : `str`
        The registered name.

    Returns
    -------
    instrument : `lsst.pipe.base.Instrument`
        Its class's instance, or a stand-in.
    """
    with butler.query() as query:
        (record,) = query.dimension_records("instrument").where(instrument=name)
    return load_instrument(record)


def fetch_exposures(butler: Butler, instrument: str, exposures: Iterable[int]) -> dict[int, DimensionRecord]:
    """Read exposure records.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    instrument : `str`
        Name of the instrument.
    exposures : `~collections.abc.Iterable` [`int`]
        Ids of the exposures.

    Returns
    -------
    records : `dict` [`int`, `lsst.daf.butler.DimensionRecord`]
        The ``exposure`` records that there are, by id.
    """
    return {record.id: record for record in _records(butler, "exposure", instrument, "exposure", exposures)}


def fetch_visits(butler: Butler, instrument: str, visits: Iterable[int]) -> dict[int, DimensionRecord]:
    """Read visit records.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    instrument : `str`
        Name of the instrument.
    visits : `~collections.abc.Iterable` [`int`]
        Ids of the visits.

    Returns
    -------
    records : `dict` [`int`, `lsst.daf.butler.DimensionRecord`]
        The ``visit`` records that there are, by id.
    """
    return {record.id: record for record in _records(butler, "visit", instrument, "visit", visits)}


def fetch_exposures_of_visits(butler: Butler, instrument: str, visits: Iterable[int]) -> dict[int, set[int]]:
    """Read which exposures are joined to visits.

    From universe 6 on the Butler's queries leave out exposures of another day than their visit's.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    instrument : `str`
        Name of the instrument.
    visits : `~collections.abc.Iterable` [`int`]
        Ids of the visits.

    Returns
    -------
    exposures : `dict` [`int`, `set` [`int`]]
        Ids of the exposures of each visit that has any.
    """
    return _sets(
        (record.visit, record.exposure) for record in _records(butler, "visit_definition", instrument, "visit", visits)
    )


def fetch_visits_of_exposures(butler: Butler, instrument: str, exposures: Iterable[int]) -> dict[int, set[int]]:
    """Read which visits exposures belong to.

    From universe 6 on the Butler's queries leave out visits of another day than the exposure's.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    instrument : `str`
        Name of the instrument.
    exposures : `~collections.abc.Iterable` [`int`]
        Ids of the exposures.

    Returns
    -------
    visits : `dict` [`int`, `set` [`int`]]
        Ids of the visits of each exposure that has any.
    """
    return _sets(
        (record.exposure, record.visit)
        for record in _records(butler, "visit_definition", instrument, "exposure", exposures)
    )


def fetch_detectors_of_visits(butler: Butler, instrument: str, visits: Iterable[int]) -> dict[int, set[int]]:
    """Read which detectors of visits have regions.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    instrument : `str`
        Name of the instrument.
    visits : `~collections.abc.Iterable` [`int`]
        Ids of the visits.

    Returns
    -------
    detectors : `dict` [`int`, `set` [`int`]]
        Ids of the detectors of each visit that has any.
    """
    return _sets(
        (record.visit, record.detector)
        for record in _records(butler, "visit_detector_region", instrument, "visit", visits)
    )


def _records(
    butler: Butler, element: str, instrument: str, dimension: str, ids: Iterable[int]
) -> Iterator[DimensionRecord]:
    """Read an element's records for the given values of a dimension."""
    for batch in batches(sorted(set(ids)), _BATCH):
        with butler.query() as query:
            yield from query.dimension_records(element).where(
                f"{dimension} IN (ids)", instrument=instrument, bind={"ids": batch}
            )


def _sets(pairs: Iterable[tuple[int, int]]) -> dict[int, set[int]]:
    sets: dict[int, set[int]] = defaultdict(set)
    for key, value in pairs:
        sets[key].add(value)
    return dict(sets)


def fetch_detectors(butler: Butler, instrument: str) -> set[int]:
    """Read the ids of an instrument's detectors.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    instrument : `str`
        Name of the instrument.

    Returns
    -------
    detectors : `set` [`int`]
        The registered ids.
    """
    with butler.query() as query:
        return {record.id for record in query.dimension_records("detector").where(instrument=instrument)}


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


def write_visits(butler: Butler, planned: Sequence[PlannedVisit], *, update_obscore: bool) -> set[int]:
    """Write planned visits in one transaction: all of them whole, or none.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    planned : `~collections.abc.Sequence` [`PlannedVisit`]
        The visits, those without anything to write included.
    update_obscore : `bool`
        Whether to update the regions of exposures in the registry's ObsCore table, if it has one.

    Returns
    -------
    joined : `set` [`int`]
        Ids of the visits that got exposures which had to be checked first.

    Raises
    ------
    sqlalchemy.exc.IntegrityError
        If another process has inserted one of the new visits since they were planned.
    """
    universe = butler.dimensions
    # Everybody writes in the order of ids, so that two writers cannot wait for each other.
    written = sorted((visit for visit in planned if visit.writes), key=lambda visit: visit.definition.id)
    joined: set[int] = set()
    if not written:
        return joined
    inserted: dict[str, list[DimensionRecord]] = defaultdict(list)
    replaced: dict[str, list[DimensionRecord]] = defaultdict(list)
    regions = {visit.definition.id: visit.detector_regions_to_write() for visit in written}
    _check_detectors(butler, written[0].definition.instrument, regions)
    for visit in written:
        definition = visit.definition
        target = inserted if visit.is_new else replaced
        if visit.write_record:
            target["visit"].append(visit.record)
        inserted["visit_definition"] += definition_records(definition, visit.exposures_to_join, universe)
        if visit.is_new:
            inserted["visit_system_membership"] += membership_records(definition, universe)
        target["visit_detector_region"] += detector_region_records(definition, regions[definition.id], universe)
    with butler.registry.transaction():
        for element in ("visit", "visit_definition", "visit_system_membership", "visit_detector_region"):
            if inserted[element]:
                butler.registry.insertDimensionData(universe[element], *inserted[element], conform=False)
            if replaced[element]:
                butler.registry.insertDimensionData(universe[element], *replaced[element], conform=False, replace=True)
        for visit in written:
            for record in definition_records(visit.definition, visit.exposures_to_check, universe):
                if butler.registry.syncDimensionData("visit_definition", record):
                    joined.add(visit.definition.id)
        if update_obscore and (obscore := butler.registry.obsCoreTableManager) is not None:
            obscore.update_exposure_regions(written[0].definition.instrument, _exposure_regions(planned))
    return joined


def _check_detectors(butler: Butler, instrument: str, regions: dict[int, dict[int, Region]]) -> None:
    """Refuse cameras with more detectors than are registered, in words better than the database's."""
    registered = fetch_detectors(butler, instrument)
    unknown = {detector for by_detector in regions.values() for detector in by_detector} - registered
    if unknown:
        raise DefinitionError(
            f"The camera of {instrument} has {len(unknown)} detectors that are not registered (the first is "
            f"{min(unknown)}); register them, or use the camera that belongs to this repository."
        )


def _exposure_regions(planned: Sequence[PlannedVisit]) -> list[tuple[int, int, Region]]:
    """List the exposures of written visits with their detectors' regions.

    An exposure that has a visit of its own among the planned ones has the regions of that.
    """
    own = {visit.definition.exposures[0].id: visit for visit in planned if len(visit.definition.exposures) == 1}
    found: dict[int, PlannedVisit] = {}
    for visit in planned:
        if visit.writes:
            for exposure in visit.definition.exposures:
                found[exposure.id] = own.get(exposure.id, visit)
    return [
        (exposure, detector, region)
        for exposure, visit in found.items()
        for detector, region in visit.regions.detectors().items()
    ]
