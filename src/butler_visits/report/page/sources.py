"""Pages of the visits that are stored, and of a plan."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import partial

from lsst.daf.butler import Butler, DimensionRecord
from lsst.sphgeom import Region

from ... import repository
from ...config import DefineVisitsConfig
from ...define.visit_plan import VisitPlan
from ...define.visits import PlannedVisit
from ...geometry import FloatArray, decode_polygon
from ...lists import counted, listed
from .model import Page, PageVisit, Undefined
from .undefined import NEW, UNTOLD, failures_of, off_sky, undefined_exposures


def visits_page(
    butler: Butler,
    instrument: str,
    *,
    where: str = "",
    collections: Sequence[str] | None = None,
    config: DefineVisitsConfig | None = None,
) -> Page:
    """Read what a page of stored visits shows.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository; it may be read-only.
    instrument : `str`
        Name of the instrument.
    where : `str`, optional
        A Butler expression that selects exposures: their visits are shown, and which of them have none. The default is
        all.
    collections : `~collections.abc.Sequence` [`str`], optional
        Collections to search for the camera, to say why an exposure has no visit.
    config : `DefineVisitsConfig`, optional
        The config of define-visits, for the same.

    Returns
    -------
    page : `Page`
        What the page shows.

    Raises
    ------
    lsst.daf.butler.InvalidQueryError
        If the expression is wrong.
    """
    exposures = repository.select_exposures(butler, instrument, where)
    bands = repository.fetch_bands(butler, instrument)
    visits = [
        PageVisit(_fields(record), joined, bands.get(record.physical_filter), _outline(record.region))
        for record, joined in repository.read_visits(butler, instrument, where)
    ]
    found = undefined_exposures(butler, instrument, exposures, collections=collections, config=config)
    undefined = [entry for entry in found if entry.reason != UNTOLD]
    missing = sum(entry.count for entry in undefined)
    selected = f"the {counted(len(exposures), 'exposure', ',')} of {instrument} that match {where!r}" if where else ""
    return Page(
        title=f"Visits of {instrument}",
        lines=[
            f"{counted(len(visits), 'visit', ',')} of {selected or counted(len(exposures), 'exposure', ',')}.",
            *([f"{counted(missing, 'exposure', ',')} without a visit."] if missing else []),
            *(f"{UNTOLD}: exposures {listed(entry.exposures)}." for entry in found if entry.reason == UNTOLD),
        ],
        visits=visits,
        undefined=undefined,
        detector_names=repository.fetch_detector_names(butler, instrument),
        detector_regions=partial(repository.fetch_detector_regions, butler, instrument),
        next_steps=_next_steps(instrument, exposures, undefined, where),
    )


def _next_steps(
    instrument: str, exposures: Sequence[DimensionRecord], undefined: Sequence[Undefined], where: str
) -> list[str]:
    """Say what leads to visits where there are none."""
    define = f"$ butler define-visits REPO {shlex.quote(instrument)}"
    if not exposures and where:
        return [f"No exposure of {instrument} matches {where!r}."]
    if not exposures:
        return [
            f"There are no exposures of {instrument} yet. Ingest raws, define their visits, and make this page again. "
            "FILE describes the instrument; leave --instrument out where the headers tell it:",
            "$ butler-visits ingest REPO RAW… --instrument FILE",
            define,
        ]
    selected = f" that match {where!r}" if where else ""
    possible = sum(entry.count for entry in undefined if entry.reason == NEW)
    of = f"of {counted(len(exposures), 'exposure', ',')} of {instrument}{selected} can become visits"
    if not possible:
        return [f"None {of}: the reasons stand below."]
    define += f" --where {shlex.quote(where)}" if where else ""
    return [
        f"{possible:,} {of}. See what would be defined, define it, and make this page again:",
        f"{define} --dry-run",
        define,
    ]


def plan_page(butler: Butler, plan: VisitPlan) -> Page:
    """Make what a page of a plan shows.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository that the plan is for.
    plan : `VisitPlan`
        The plan.

    Returns
    -------
    page : `Page`
        What the page shows.
    """
    instrument = plan.visits[0].definition.instrument if plan.visits else None
    bands = repository.fetch_bands(butler, instrument) if instrument else {}
    by_id = {visit.definition.id: visit for visit in plan}

    def detector_regions(visits: Sequence[int]) -> dict[int, dict[int, Region]]:
        return {visit: by_id[visit].regions.detectors() for visit in visits}

    filtered = [Undefined("They have a visit already", tuple(plan.filtered), plan.n_filtered)] if plan.filtered else []
    return Page(
        title=f"Plan for the visits of {instrument}" if instrument else "Plan without visits",
        lines=[f"{plan.summary}."],
        visits=[_planned(visit, bands) for visit in plan],
        undefined=[*failures_of(plan), *off_sky(plan.off_sky), *filtered],
        detector_names=repository.fetch_detector_names(butler, instrument) if instrument else {},
        detector_regions=detector_regions,
    )


def _planned(visit: PlannedVisit, bands: dict[str, str | None]) -> PageVisit:
    differences = {difference.field: difference.stored for difference in visit.differences}
    return PageVisit(
        fields=_fields(visit.record),
        exposures=tuple(exposure.id for exposure in visit.definition.exposures),
        band=bands.get(visit.record.physical_filter),
        outline=_outline(visit.record.region),
        action=visit.action.value,
        reason=visit.reason,
        stored={name: value for name, value in differences.items() if name != "region"},
        stored_outline=_outline(differences.get("region")),
    )


def _fields(record: DimensionRecord) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.fields.names if name != "region"}


def _outline(region: Region | None) -> FloatArray | None:
    return None if region is None else decode_polygon(region.encode())
