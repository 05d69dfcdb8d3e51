"""The database behind a Butler, for the little that the Butler's own methods cannot do."""

from __future__ import annotations

__all__ = ["BATCH", "database_of", "lock_exposures", "lock_visits"]

from collections.abc import Iterable

import sqlalchemy
from lsst.daf.butler import Butler
from lsst.daf.butler.direct_butler import DirectButler
from lsst.daf.butler.registry.interfaces import Database

from ..errors import VisitsError
from ..lists import batches

BATCH = 10_000
"""Values in one list of a statement: PostgreSQL takes 65,535 in all."""


def database_of(butler: Butler) -> Database:
    """Return the database of a repository's registry.

    Raises `VisitsError` if the Butler speaks to a server and not to a database.
    """
    if not isinstance(butler, DirectButler):
        raise VisitsError(
            f"A {type(butler).__name__} has no database of its own; open the repository with a configuration that "
            "names its database."
        )
    # The Butler has no public way to it.
    return butler._registry._db


def lock_visits(butler: Butler, instrument: str, visits: Iterable[int]) -> None:
    """Keep everybody else from changing visits until the transaction ends, and wait for those who are changing them.

    SQLite has locked the whole database when the transaction began, so SQLAlchemy leaves the lock out of the statement.
    PostgreSQL locks a row only when it is written, so that somebody else could change it between our look at it and our
    writing, and lose the change. Locking rows leaves other visits to other writers, which locking the table would not.
    """
    _lock(butler, "visit", instrument, visits, shares_key=False)


def lock_exposures(butler: Butler, instrument: str, exposures: Iterable[int]) -> None:
    """Let nobody else write datasets of exposures until the transaction ends, and wait for those who are writing them.

    As `lock_visits`, but whoever only refers to the exposures, as visits do, is not kept from it.
    """
    _lock(butler, "exposure", instrument, exposures, shares_key=True)


def _lock(butler: Butler, element: str, instrument: str, ids: Iterable[int], *, shares_key: bool) -> None:
    database = database_of(butler)
    # Ids do not fit into what SQLAlchemy takes for an integer by itself.
    table = sqlalchemy.table(
        element,
        sqlalchemy.column("instrument"),
        sqlalchemy.column("id", sqlalchemy.BigInteger),
        schema=database.namespace,
    )
    # In the order of ids, as all rows are written, so that two writers cannot wait for each other.
    for batch in batches(sorted(ids), BATCH):
        rows = sqlalchemy.select(table.c.id).where(table.c.instrument == instrument, table.c.id.in_(batch))
        with database.query(rows.order_by(table.c.id).with_for_update(key_share=shares_key)):
            pass
