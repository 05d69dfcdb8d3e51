"""Write planned visits, as often as it takes while others write too."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lsst.daf.butler import Butler
from lsst.sphgeom import Region
from sqlalchemy.exc import IntegrityError

from ..errors import DefinitionError
from ..lists import counted
from ..repository.reading import fetch_detectors
from ..repository.retry import GaveUpError, until_written
from ..repository.writing import Changes, write_changes
from .records import definition_records, detector_region_records, membership_records
from .visits import PlannedVisit, label_of


def write_visits(butler: Butler, planned: Sequence[PlannedVisit], *, update_obscore: bool) -> None:
    """Write planned visits, those without anything to write included, in one transaction; see `write_changes`.

    Exposures' regions go to the registry's ObsCore table, if it has one and ``update_obscore`` says so.
    """
    universe = butler.dimensions
    written = sorted((visit for visit in planned if visit.writes), key=lambda visit: visit.definition.id)
    if not written:
        return
    changes = Changes(written[0].definition.instrument)
    for visit in written:
        definition = visit.definition
        target = changes.inserted if visit.is_new else changes.replaced
        if visit.write_record:
            visit.make_exact()
            target["visit"].append(visit.record)
        changes.inserted["visit_definition"] += definition_records(definition, visit.exposures_to_join, universe)
        changes.inserted["visit_system_membership"] += membership_records(definition, visit.systems_to_add, universe)
        if not visit.is_new:
            changes.visits[definition.id] = visit.stored
        regions = visit.detector_regions_to_write()
        target["visit_detector_region"] += detector_region_records(definition, regions, universe)
    if update_obscore:
        changes.exposure_regions = lambda: _exposure_regions(planned)
    write_changes(butler, changes)


def write_again(
    butler: Butler,
    planned: Sequence[PlannedVisit],
    plan_again: Callable[[Sequence[PlannedVisit]], list[PlannedVisit]],
    *,
    update_obscore: bool,
    halve: bool,
) -> list[PlannedVisit]:
    """Write visits, all or none, and plan them again from what is stored then where others were first.

    Visits that cannot be written together are written by halves if ``halve`` is true. A `DefinitionError` says which
    cannot be written at all; the others are written then.
    """
    current = list(planned)
    first = True

    def plan() -> list[PlannedVisit]:
        nonlocal current, first
        if not first:
            current = plan_again(current)
        first = False
        return current

    try:
        until_written(
            plan,
            lambda visits: write_visits(butler, visits, update_obscore=update_obscore),
            lambda visits: [visit.to_write for visit in visits],
        )
        return current
    except GaveUpError as error:
        if isinstance(error.reason, IntegrityError):
            _check_detectors(butler, current)
            reason = (
                f"The database refuses {label_of(current)}: {error}. Another visit may have the name, or an exposure "
                "may not be registered."
            )
        else:
            # Others are busy with the same visits. The fewer are written at once, the rarer they are in the way.
            reason = f"Others wrote some of {label_of(current)} {error.attempts} times; try again when they are done."
        if len(current) == 1 or not halve:
            raise DefinitionError(reason) from error.reason
    written: list[PlannedVisit] = []
    refused: list[DefinitionError] = []
    half = len(current) // 2
    for part in (current[:half], current[half:]):
        try:
            written += write_again(butler, part, plan_again, update_obscore=update_obscore, halve=True)
        except DefinitionError as error:
            # The others of the chunk are written all the same.
            refused.append(error)
    if refused:
        raise refused[0]
    return written


def _check_detectors(butler: Butler, planned: Sequence[PlannedVisit]) -> None:
    """Refuse cameras with more detectors than are registered, as the database has done."""
    instrument = planned[0].definition.instrument
    wanted = {detector for visit in planned if visit.writes for detector in visit.detector_regions_to_write()}
    if unknown := wanted - fetch_detectors(butler, instrument):
        which = f"{counted(len(unknown), 'detector')} that {'is' if len(unknown) == 1 else 'are'} not registered"
        raise DefinitionError(
            f"The camera of {instrument} has {which} (the first is {min(unknown)}); register them, or use the "
            "camera that belongs to this repository."
        )


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
