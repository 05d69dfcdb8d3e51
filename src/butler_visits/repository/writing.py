"""Write dimension records, in bulk."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from lsst.daf.butler import Butler, DimensionRecord
from lsst.daf.butler.registry.interfaces import DatabaseConflictError
from lsst.sphgeom import Region

from .database import lock_visits, park_names, read_columns, update_exposure_regions
from .kept import unharmed
from .reading import fetch_exposures, fetch_visits

_ORDER = ("exposure", "visit", "visit_definition", "visit_system_membership", "visit_detector_region")
"""The elements, in the order in which everybody writes them."""


class StaleError(Exception):
    """What is stored is no longer what a plan was made from."""


@dataclasses.dataclass
class Changes:
    """Records of visits that are written together: all of them, or none."""

    instrument: str
    inserted: dict[str, list[DimensionRecord]] = dataclasses.field(default_factory=lambda: defaultdict(list))
    """Records that are not there yet, by element."""

    replaced: dict[str, list[DimensionRecord]] = dataclasses.field(default_factory=lambda: defaultdict(list))
    """Records that take the place of others, by element."""

    visits: dict[int, DimensionRecord | None] = dataclasses.field(default_factory=dict)
    """The ``visit`` records that must still be stored, by id."""

    exposures: dict[int, DimensionRecord] = dataclasses.field(default_factory=dict)
    """The ``exposure`` records that must still be stored, by id; only those of visits that must be, too."""

    exposure_regions: Callable[[], list[tuple[int, int, Region]]] = list
    """Returns exposures, detectors and their regions for the registry's ObsCore table; called if there is one."""


def register_run(butler: Butler, name: str) -> None:
    """Make sure that a RUN collection is there."""
    # The Butler writes two rows, and a process that is killed between them would leave a run that takes no datasets.
    with butler.transaction(), unharmed(butler):
        butler.collections.register(name)


def sync_visit_systems(
    butler: Butler, instrument: str, records: Sequence[DimensionRecord], *, dry_run: bool = False
) -> None:
    """Make sure that visit systems are there; `DatabaseConflictError` where an id or a name is another one's."""
    known = dict(read_columns(butler, "visit_system", instrument, "id", "name"))
    missing = [record for record in records if known.get(record.id) != record.name]
    for record in missing:
        for id_, name in known.items():
            if id_ == record.id or name == record.name:
                raise DatabaseConflictError(
                    f"Visit system {record.id} of {instrument} is {record.name!r}, and the repository has {id_} with "
                    f"the name {name!r}: rename that with butler.registry.syncDimensionData('visit_system', "
                    f"{{'instrument': {instrument!r}, 'id': {id_}, 'name': …}}, update=True), or use another grouping "
                    "algorithm."
                )
    if not dry_run:
        # Reading first spares a second run its only write.
        for record in missing:
            butler.registry.syncDimensionData("visit_system", record)


def write_changes(butler: Butler, changes: Changes) -> None:
    """Write records in one transaction.

    Raises `sqlalchemy.exc.IntegrityError` if another process has inserted one of them, and `StaleError` if another
    process has changed one that must still be stored.
    """
    universe = butler.dimensions
    # In a transaction of the caller's, only what is written here may be undone if it is refused.
    with butler.registry.transaction(savepoint=True), unharmed(butler):
        if changes.visits:
            # What is there now stays. Locks come before inserts in every writer, lest two wait for each other. An
            # exposure is changed with one visit only, so whoever holds that is alone with the exposure too.
            lock_visits(butler, changes.instrument, changes.visits)
            _check_unchanged("Visit", changes.visits, fetch_visits(butler, changes.instrument, changes.visits))
        if changes.exposures:
            stored = fetch_exposures(butler, changes.instrument, changes.exposures)
            _check_unchanged("Exposure", changes.exposures, stored)
        if parked := _passed_on(changes):
            park_names(butler, changes.instrument, parked)
        for element in _ORDER:
            for records, replace in ((changes.inserted.get(element), False), (changes.replaced.get(element), True)):
                if records:
                    butler.registry.insertDimensionData(universe[element], *records, conform=False, replace=replace)
        update_exposure_regions(butler, changes.instrument, changes.exposure_regions)


def _passed_on(changes: Changes) -> set[int]:
    """Find the visits whose names others get: no two may have one, not even between two rows."""
    owners = {
        record.name: visit for visit, record in changes.visits.items() if record is not None and record.name is not None
    }
    written = changes.inserted.get("visit", []) + changes.replaced.get("visit", [])
    return {owners[record.name] for record in written if owners.get(record.name, record.id) != record.id}


def _check_unchanged(what: str, expected: dict[int, Any], stored: dict[int, DimensionRecord]) -> None:
    for key, record in expected.items():
        if not _same(stored.get(key), record):
            raise StaleError(f"{what} {key} has changed since it was planned.")


def _same(a: DimensionRecord | None, b: DimensionRecord | None) -> bool:
    """Tell whether two records are equal; what is not a number, as PostgreSQL stores it, is equal to itself."""
    if a is None or b is None:
        return a is b
    pairs = ((_comparable(getattr(a, name)), _comparable(getattr(b, name))) for name in a.fields.names)
    return all(x == y or (x != x and y != y) for x, y in pairs)


def _comparable(value: Any) -> Any:
    # Polygons with vertices that are no numbers are not equal, even if they are the same.
    return value.encode() if isinstance(value, Region) else value
