"""Remove visits with all that belongs to them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy
from lsst.daf.butler import Butler
from lsst.daf.butler.registry.obscore import ObsCoreLiveTableManager
from lsst.sphgeom import ConvexPolygon, UnitVector3d

from ..errors import VisitsError
from ..lists import id_batches, listed
from .database import database_of, lock_visits, require_writeable, table_of, tables_of_visits
from .kept import unharmed
from .reading import fetch_detector_regions, fetch_detectors
from .stored import fetch_exposures_of_visits, fetch_owners, fetch_visit_names

_LISTED = 10
"""Visits that a message names."""


def select_visits(butler: Butler, instrument: str, where: str) -> list[int]:
    """Find the ids of the visits that an expression selects; their regions are not read.

    Raises `lsst.daf.butler.InvalidQueryError` or `OverflowError` if the expression is wrong.
    """
    with butler.query() as query:
        return sorted({int(row["visit"]) for row in query.data_ids(["visit"]).where(where, instrument=instrument)})


def remove_visits(butler: Butler, instrument: str, visits: Iterable[int], *, dry_run: bool = False) -> dict[int, str]:
    """Remove visits whole: definitions, visit systems, regions, overlaps with the sky's pixels and ObsCore's regions.

    Returns the names of the visits by their ids, with ``dry_run`` of those that would be removed. Raises `VisitsError`
    if a visit is not there, or if datasets belong to one; nothing is removed then.
    """
    if not dry_run:
        require_writeable(butler)
    wanted = sorted(set(visits))
    with butler.transaction(), unharmed(butler):
        if not dry_run:
            lock_visits(butler, instrument, wanted)
        names = fetch_visit_names(butler, instrument, wanted)
        if unknown := [visit for visit in wanted if visit not in names]:
            raise VisitsError(f"{instrument} has no visit {listed(unknown, _LISTED)}.")
        tables = tables_of_visits(butler)
        if used := _datasets_of(butler, instrument, wanted, [table for table in tables if "dataset_id" in table.c]):
            kinds = {visit: " and ".join(sorted(types)) for visit, types in sorted(used.items())}
            shown = listed((f"{visit} ({names[visit]}) has {kind}" for visit, kind in kinds.items()), _LISTED)
            raise VisitsError(
                f"Nothing is removed, because datasets belong to {len(used)} of the visits: {shown}. Remove the "
                "datasets first ('butler prune-datasets', 'butler remove-runs'), or leave these visits out."
            )
        if not dry_run:
            exposures = fetch_exposures_of_visits(butler, instrument, wanted)
            database = database_of(butler)
            rows = [{"instrument": instrument, "visit": visit} for visit in wanted]
            for table in tables:
                if "dataset_id" not in table.c:
                    database.delete(table, ["instrument", "visit"], *rows)
            rows = [{"instrument": instrument, "id": visit} for visit in wanted]
            database.delete(table_of(database, "visit", ["instrument"], ids=["id"]), ["instrument", "id"], *rows)
            _update_obscore(butler, instrument, set().union(*exposures.values()))
    return names


def _datasets_of(butler: Butler, instrument: str, visits: list[int], tables: Iterable[Any]) -> dict[int, set[str]]:
    """Find the types of the datasets of visits."""
    database = database_of(butler)
    types = table_of(database, "dataset_type", ["id", "name"])
    found: dict[int, set[str]] = {}
    for table in tables:
        source = table.join(types, types.c.id == table.c.dataset_type_id)
        for batch in id_batches(visits):
            of_batch = sqlalchemy.and_(table.c.instrument == instrument, table.c.visit.in_(batch))
            rows = sqlalchemy.select(table.c.visit, types.c.name).select_from(source).where(of_batch).distinct()
            with database.query(rows) as result:
                for visit, name in result:
                    found.setdefault(visit, set()).add(name)
    return found


def _update_obscore(butler: Butler, instrument: str, exposures: set[int]) -> None:
    """Give exposures the regions of the visits that they are still in, or none."""
    obscore = butler.registry.obsCoreTableManager
    if not isinstance(obscore, ObsCoreLiveTableManager) or not exposures:
        return
    owners = fetch_owners(butler, instrument, exposures)
    regions = fetch_detector_regions(butler, instrument, owners.values())
    columns = {"instrument": "of", "exposure": "of_exposure", "detector": "of_detector"}
    where = {
        column: key for name, key in columns.items() if (column := obscore.schema.dimension_column(name)) is not None
    }
    if len(where) < len(columns):
        return
    # Which columns there are for regions nobody tells but by filling them.
    octant = ConvexPolygon([UnitVector3d.X(), UnitVector3d.Y(), UnitVector3d.Z()])
    nothing = dict.fromkeys(obscore.record_factory.make_spatial_records(octant))
    known = [
        (exposure, detector)
        for exposure in sorted(exposures)
        for detector in sorted(fetch_detectors(butler, instrument))
        if regions.get(owners.get(exposure, -1), {}).get(detector) is None
    ]
    if known and nothing:
        keys = [dict(zip(columns.values(), (instrument, *key), strict=True)) for key in known]
        database_of(butler).update(obscore.table, where, *({**key, **nothing} for key in keys))
    obscore.update_exposure_regions(
        instrument,
        [
            (exposure, detector, region)
            for exposure, owner in sorted(owners.items())
            for detector, region in regions.get(owner, {}).items()
            if region is not None
        ],
    )
