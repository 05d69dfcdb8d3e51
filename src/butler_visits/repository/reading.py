"""Read dimension records, in bulk."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from lsst.daf.butler import Butler, DimensionRecord, InvalidQueryError
from lsst.pipe.base import Instrument
from lsst.resources import ResourcePath
from lsst.sphgeom import Region
from sqlalchemy.exc import DataError

from ..errors import RecordError, VisitsError
from ..instruments import import_instrument_class, known_class_name, load_instrument
from ..lists import first_line, id_batches


def resolve_instrument(butler: Butler, name: str) -> str:
    """Find the name of a registered instrument by that or its class; `VisitsError` if there is none."""
    records = fetch_instruments(butler).values()
    # A class can be known under several names; if it can be imported, it says what its instrument is called.
    cls = import_instrument_class(name) if "." in name else None
    for record in records:
        names = (record.name, record.class_name, known_class_name(record.name))
        if name in names or (cls is not None and cls.getName() == record.name):
            return str(record.name)
    known = ", ".join(sorted(record.name for record in records)) or "none"
    raise VisitsError(f"No instrument {name!r} is registered in this repository; registered: {known}.")


def datastore_roots(butler: Butler) -> list[ResourcePath]:
    """List the places where a repository has its files."""
    return [root for root in butler.get_datastore_roots().values() if root is not None]


def fetch_instruments(butler: Butler) -> dict[str, DimensionRecord]:
    """Read the records of all instruments, by name."""
    with butler.query() as query:
        return {record.name: record for record in query.dimension_records("instrument")}


def fetch_instrument(butler: Butler, name: str) -> Instrument:
    """Make the instrument that is registered under a name."""
    with butler.query() as query:
        (record,) = query.dimension_records("instrument").where(instrument=name)
    return load_instrument(record)


def expand_collections(butler: Butler, collections: Any) -> list[str] | None:
    """List the names that an expression for collections means: a name, a pattern, ``...``, or an iterable of these.

    Names stay in their order, and those that match a pattern are sorted; `None` stays `None`.
    """
    if collections is None:
        return None
    if isinstance(collections, str | re.Pattern) or collections is ...:
        collections = [collections]
    names: list[str] = []
    for one in collections:
        if isinstance(one, re.Pattern):
            names += sorted(name for name in butler.collections.query("*") if one.fullmatch(name))
        elif one is ... or set(one) & set("*?["):
            names += sorted(butler.collections.query("*" if one is ... else one))
        else:
            names.append(one)
    return list(dict.fromkeys(names))


def select_exposures(butler: Butler, instrument: str, where: str) -> list[DimensionRecord]:
    """Read the exposures that an expression selects; `InvalidQueryError` if it is wrong."""
    with expression(where), butler.query() as query:
        return list(query.dimension_records("exposure").where(where, instrument=instrument))


@contextmanager
def expression(where: str) -> Iterator[None]:
    """Blame an expression for numbers in it that are too large for the database.

    Raises `lsst.daf.butler.InvalidQueryError`, as the Butler does of what it finds wrong with one itself.
    """
    try:
        yield
    except (OverflowError, DataError) as error:
        if not where:
            raise
        raise InvalidQueryError(first_line(error)) from error


def fetch_exposures(butler: Butler, instrument: str, exposures: Iterable[int]) -> dict[int, DimensionRecord]:
    """Read exposure records."""
    return {record.id: record for record in _records(butler, "exposure", instrument, "exposure", exposures)}


def fetch_visits(butler: Butler, instrument: str, visits: Iterable[int]) -> dict[int, DimensionRecord]:
    """Read visit records."""
    return {record.id: record for record in _records(butler, "visit", instrument, "visit", visits)}


def fetch_detectors_of_visits(butler: Butler, instrument: str, visits: Iterable[int]) -> dict[int, set[int]]:
    """Read which detectors of visits have regions."""
    return sets_of(
        (record.visit, record.detector)
        for record in _records(butler, "visit_detector_region", instrument, "visit", visits)
    )


def fetch_detector_regions(
    butler: Butler, instrument: str, visits: Iterable[int]
) -> dict[int, dict[int, Region | None]]:
    """Read the regions of visits' detectors."""
    regions: dict[int, dict[int, Region | None]] = defaultdict(dict)
    for record in _records(butler, "visit_detector_region", instrument, "visit", visits):
        regions[record.visit][record.detector] = record.region
    return {visit: dict(sorted(regions[visit].items())) for visit in sorted(regions)}


def _records(
    butler: Butler, element: str, instrument: str, dimension: str, ids: Iterable[int]
) -> Iterator[DimensionRecord]:
    """Read an element's records for the given values of a dimension."""
    for batch in id_batches(ids):
        what = f"{element} record of {instrument}, {dimension} {batch[0]} to {batch[-1]},"
        with readable(what), butler.query() as query:
            yield from query.dimension_records(element).where(
                f"{dimension} IN (ids)", instrument=instrument, bind={"ids": batch}
            )


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Raise `RecordError` where a record holds a region that the Butler cannot make of what is stored."""
    try:
        yield
    except RuntimeError as error:
        # What sphgeom raises for bytes that are not its own is of no class of its own.
        if type(error) is not RuntimeError:
            raise
        raise RecordError(
            f"A {what} cannot be read: {error}. 'butler-visits check' says which; leave it out with --where (in Python "
            "where)."
        ) from error


def sets_of(pairs: Iterable[tuple[int, int]]) -> dict[int, set[int]]:
    """Collect the values of each key."""
    sets: dict[int, set[int]] = defaultdict(set)
    for key, value in pairs:
        sets[key].add(value)
    return dict(sets)


def fetch_detectors(butler: Butler, instrument: str) -> set[int]:
    """Read the ids of an instrument's detectors."""
    return set(fetch_detector_names(butler, instrument))


def fetch_detector_names(butler: Butler, instrument: str) -> dict[int, str]:
    """Read the names of an instrument's detectors."""
    with butler.query() as query:
        records = query.dimension_records("detector").where(instrument=instrument)
        return {int(record.id): str(record.full_name) for record in records}


def fetch_bands(butler: Butler, instrument: str) -> dict[str, str | None]:
    """Read the bands of an instrument's filters."""
    with butler.query() as query:
        records = query.dimension_records("physical_filter").where(instrument=instrument)
        return {record.name: record.band for record in records}
