"""Write what the floor writes without the Butler's and SQLAlchemy's work for each row: prototypes, to see the gain.

Only the two tables that have nearly all rows, the detectors' regions and their overlaps with the pixels of the sky, are
written so; the rest goes through the public API. Everything is done from the same records as the floor is.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy
from lsst.daf.butler import Butler, DimensionRecord

from butler_visits.repository.database import database_of
from classic import ELEMENTS, Records

REGIONS = "visit_detector_region"
OVERLAPS = "visit_detector_region_skypix_overlap"

Rows = list[tuple[Any, ...]]
Writer = Callable[[Any, str, Rows], None]


def write_directly(butler: Butler, records: Records, write: Writer) -> None:
    """Insert the floor's records in one transaction, the two large tables with a function of one's own."""
    with butler.registry.transaction():
        for element in ELEMENTS:
            if element in records and element != REGIONS:
                butler.registry.insertDimensionData(butler.dimensions[element], *records[element], conform=False)
        with database_of(butler)._transaction() as (_, connection):
            cursor = driver_connection(connection).cursor()
            write(cursor, REGIONS, region_rows(records[REGIONS]))
            write(cursor, OVERLAPS, overlap_rows(butler, records[REGIONS]))


def driver_connection(connection: sqlalchemy.Connection) -> Any:
    """Return the database driver's own connection."""
    return connection.connection.driver_connection


def region_rows(records: Sequence[DimensionRecord]) -> Rows:
    """Make the rows of the detectors' regions: instrument, detector, visit, region."""
    return [
        (record.instrument, record.detector, record.visit, base64.b64encode(record.region.encode()).decode())
        for record in records
    ]


def overlap_rows(butler: Butler, records: Sequence[DimensionRecord]) -> Rows:
    """Make the rows of the overlaps: system, level, instrument, detector, visit, index."""
    pixels = butler.dimensions.commonSkyPix
    system, level, envelope = pixels.system.name, pixels.level, pixels.pixelization.envelope
    return [
        (system, level, record.instrument, record.detector, record.visit, index)
        for record in records
        for begin, end in envelope(record.region)
        for index in range(begin, end)
    ]


def by_statement(cursor: Any, table: str, rows: Rows) -> None:
    """Use the driver's ``executemany``."""
    mark = "?" if type(cursor).__module__.startswith("sqlite3") else "%s"
    cursor.executemany(f"INSERT INTO {table} VALUES ({', '.join([mark] * len(rows[0]))})", rows)


def by_copy(cursor: Any, table: str, rows: Rows) -> None:
    """Use PostgreSQL's ``COPY``; none of the values needs to be escaped."""
    with cursor.copy(f"COPY {table} FROM STDIN") as copy:
        copy.write("".join(["\t".join(map(str, row)) + "\n" for row in rows]))
