"""Put the regions and pointings of an astrometric fit in the place of those that were computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from lsst.daf.butler import Butler, DatasetRef, DimensionRecord
from lsst.daf.butler.progress import Progress, ProgressBar
from lsst.sphgeom import Region

from .. import repository
from ..define.plan import compare_records
from ..define.records import detector_region_records
from ..define.visit_plan import VisitPlan
from ..define.visits import Action, Difference, Options, PlannedVisit, VisitDefinitionData, VisitRegions
from ..errors import VisitsError, noting
from ..geometry.comparison import outline_distances, unreadable
from ..lists import batches, counted
from ..repository.stored import fetch_encoded_regions, fetch_exposures_of_visits, fetch_owners
from .geometries import VisitGeometry, read_geometries

_PROGRESS = Progress("butler_visits.updateRegions")

_POLYGON = b"p"
"""How an encoded polygon begins."""


@dataclasses.dataclass
class FittedVisit(PlannedVisit):
    """A stored visit, and what there is to write of its fitted geometry."""

    own_exposures: tuple[int, ...] = ()
    """Ids of the exposures whose regions are this visit's; see `update_visit_regions`."""

    stored_exposure: DimensionRecord | None = None
    """The stored ``exposure`` record whose pointing is this visit's, if there is one."""

    exposure: DimensionRecord | None = None
    """That record with the fitted pointing, if it is to be written."""

    n_added: int = 0
    """Detectors that get a region and have none yet, or one that is no polygon."""

    n_kept: int = 0
    """Detectors that keep their regions because the fit has none for them."""

    @property
    def reason(self) -> str:
        """Why there is something to do; empty if there is nothing."""
        reasons = [str(difference) for difference in self.differences]
        if self.n_added:
            get = "gets" if self.n_added == 1 else "get"
            reasons.append(f"{counted(self.n_added, 'detector')} without a polygon {get} one")
        if self.writes and self.n_kept:
            keep = "keeps" if self.n_kept == 1 else "keep"
            reasons.append(f"{counted(self.n_kept, 'detector')} without a fit {keep} what is stored")
        return "; ".join(reasons)


def update_visit_regions(
    butler: Butler,
    datasets: Sequence[DatasetRef],
    *,
    dry_run: bool = False,
    chunk_size: int = 500,
    update_obscore: bool = True,
) -> VisitPlan:
    """Replace the regions of visits and the pointings of their exposures by those of an astrometric fit.

    The ``visit`` record gets the fitted region and each ``visit_detector_region`` record its detector's, bit by bit.
    Detectors without a fit keep what is stored. ``tracking_ra``, ``tracking_dec`` and ``sky_angle`` of the visit's
    first exposure become the boresight and the orientation; all other fields stay.

    An exposure in several visits has one that it takes its pointing and regions from: the one with the fewest
    exposures, of these the one with the lowest id. So its own visit goes before a sequence that it is part of, and
    the same visit is taken whichever of them are given.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository, writeable unless ``dry_run``.
    datasets : `~collections.abc.Sequence` [`lsst.daf.butler.DatasetRef`]
        The fitted geometry of visits of one instrument, one dataset for each, as
        `~butler_visits.fitted.geometries.find_geometries` returns them.
    dry_run : `bool`, optional
        Write nothing.
    chunk_size : `int`, optional
        Visits that are read, compared and written together, in one transaction.
    update_obscore : `bool`, optional
        Whether to update the regions of exposures in the registry's ObsCore table, if it has one.

    Returns
    -------
    plan : `VisitPlan`
        What was done, or would be: a visit is to be updated, with the differences, or unchanged.

    Raises
    ------
    VisitsError
        If a dataset cannot be read or makes no sense, or if a visit's stored region cannot be read. The chunks before
        its own are written, and no others.
    DatabaseError
        If the database fails.
    TypeError
        If the Butler is read-only and something is to be written.
    """
    if not dry_run:
        repository.require_writeable(butler)
    planned: list[PlannedVisit] = []
    detectors: set[int] = set()
    if datasets:
        instrument = str(datasets[0].dataId["instrument"])
        detectors = repository.try_again(butler, lambda: repository.fetch_detectors(butler, instrument))
    bar: ProgressBar[None]
    with (
        noting(
            lambda: (
                ""
                if dry_run
                else f"at least {len(planned)} of {counted(len(datasets), 'visit')} have the regions of the fit"
            )
        ),
        _PROGRESS.bar(total=len(datasets), desc=f"Updating {counted(len(datasets), 'visit')}") as bar,
    ):
        for chunk in batches(datasets, chunk_size):
            planned += _update(butler, chunk, detectors, dry_run=dry_run, update_obscore=update_obscore)
            bar.update(len(chunk))
    return VisitPlan(planned, Options(), [], [], {})


def _update(
    butler: Butler, datasets: Sequence[DatasetRef], detectors: set[int], *, dry_run: bool, update_obscore: bool
) -> list[FittedVisit]:
    """Update visits, all of them or, if it fails, none."""
    instrument = str(datasets[0].dataId["instrument"])
    geometries = repository.try_again(butler, lambda: read_geometries(butler, datasets, detectors))

    def plan() -> list[FittedVisit]:
        return repository.try_again(butler, lambda: _plan(butler, instrument, geometries))

    def write(planned: Sequence[FittedVisit]) -> None:
        repository.try_again(butler, lambda: _write(butler, planned, update_obscore))

    try:
        planned, _ = (plan(), None) if dry_run else repository.until_written(plan, write, len)
    except repository.GaveUpError as error:
        raise VisitsError(
            f"Others changed some of the {counted(len(geometries), 'visit')} from {min(geometries)} to "
            f"{max(geometries)} {error.attempts} times in between; try again when they are done."
        ) from error
    # The regions of all visits of a survey would fill the memory; whoever asks for them again reads the file again.
    for dataset, visit in zip(datasets, planned, strict=True):
        visit.regions = _unread(butler, dataset, visit.regions, detectors)
    return planned


def _write(butler: Butler, planned: Sequence[FittedVisit], update_obscore: bool) -> None:
    """Write fitted regions and pointings in one transaction."""
    universe = butler.dimensions
    written = sorted((visit for visit in planned if visit.writes), key=lambda visit: visit.definition.id)
    if not written:
        return
    changes = repository.Changes(written[0].definition.instrument)
    regions = {visit.definition.id: visit.detector_regions_to_write() for visit in written}
    pointed: dict[int, DimensionRecord] = {}
    for visit in written:
        changes.visits[visit.definition.id] = visit.stored
        if visit.stored_exposure is not None and visit.exposure is not None:
            changes.exposures[visit.stored_exposure.id] = visit.stored_exposure
            pointed[visit.exposure.id] = visit.exposure
        if visit.write_record:
            changes.replaced["visit"].append(visit.record)
        changes.replaced["visit_detector_region"] += detector_region_records(
            visit.definition, regions[visit.definition.id], universe
        )
    changes.replaced["exposure"] = [pointed[exposure] for exposure in sorted(pointed)]
    if update_obscore:
        changes.exposure_regions = lambda: sorted(
            (
                (exposure, detector, region)
                for visit in written
                for exposure in visit.own_exposures
                for detector, region in regions[visit.definition.id].items()
            ),
            key=lambda row: row[:2],
        )
    repository.write_changes(butler, changes)


def _unread(butler: Butler, dataset: DatasetRef, regions: VisitRegions, detectors: set[int]) -> VisitRegions:
    def read() -> Mapping[int, Region]:
        (geometry,) = read_geometries(butler, [dataset], detectors).values()
        return geometry.detector_regions

    return VisitRegions(regions.region, tuple(regions.detector_ids), read)


def _plan(butler: Butler, instrument: str, geometries: Mapping[int, VisitGeometry]) -> list[FittedVisit]:
    """Compare visits and exposures with what is stored; a number of queries that does not depend on theirs."""
    stored = repository.fetch_visits(butler, instrument, geometries)
    regions = fetch_encoded_regions(butler, instrument, geometries)
    joined = fetch_exposures_of_visits(butler, instrument, geometries)
    exposures = repository.fetch_exposures(butler, instrument, set().union(*joined.values()))
    owners = fetch_owners(butler, instrument, exposures)
    planned = []
    for visit, geometry in geometries.items():
        record = stored[visit]
        own = [exposures[exposure] for exposure in sorted(joined.get(visit, ()))]
        plan = FittedVisit(
            VisitDefinitionData(instrument, visit, record.name, set(), own),
            _changed(record, region=geometry.visit_region),
            VisitRegions(geometry.visit_region, geometry.detector_regions.keys(), geometry.detector_regions.copy),
            record,
            own_exposures=tuple(exposure.id for exposure in own if owners[exposure.id] == visit),
        )
        # The first exposure's pointing is the visit's.
        if own and own[0].id in plan.own_exposures:
            plan.stored_exposure = own[0]
        _compare(plan, geometry, regions.get(visit, {}))
        planned.append(plan)
    return planned


def _compare(plan: FittedVisit, geometry: VisitGeometry, regions: Mapping[int, bytes | None]) -> None:
    """Find out what differs from the encoded regions of a visit's detectors, its own region and its pointing."""
    assert plan.stored is not None, "datasets belong to stored visits"
    # Other fields are the stored ones, and what is not a number differs from itself.
    plan.differences = [one for one in compare_records(plan.stored, plan.record, 0.0) if one.field == "region"]
    plan.write_record = bool(plan.differences)
    fitted = {detector: region.encode() for detector, region in geometry.detector_regions.items()}
    plan.detectors_to_write = {detector for detector, region in fitted.items() if regions.get(detector) != region}
    old = {detector: regions.get(detector) or b"" for detector in sorted(plan.detectors_to_write)}
    damaged = unreadable(old) if old else set()
    replaced = [one for one, region in old.items() if region.startswith(_POLYGON) and one not in damaged]
    if replaced:
        distance = float(outline_distances([old[one] for one in replaced], [fitted[one] for one in replaced]).max())
        what = f"visit_detector_region of {counted(len(replaced), 'detector')}"
        plan.differences.append(Difference(what, None, None, distance))
    plan.n_added = len(plan.detectors_to_write) - len(replaced)
    plan.n_kept = len(regions.keys() - fitted.keys())
    if (exposure := plan.stored_exposure) is not None:
        pointing = {
            "tracking_ra": geometry.boresight_ra,
            "tracking_dec": geometry.boresight_dec,
            "sky_angle": geometry.orientation,
        }
        differences = [
            Difference(field, getattr(exposure, field), value)
            for field, value in pointing.items()
            if getattr(exposure, field) != value
        ]
        if differences:
            plan.exposure = _changed(exposure, **pointing)
            plan.differences += differences
    if plan.differences or plan.detectors_to_write:
        plan.action = Action.UPDATE


def _changed(record: DimensionRecord, **fields: Any) -> DimensionRecord:
    return type(record)(**{**record.toDict(), **fields})
