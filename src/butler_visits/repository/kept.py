"""Look after SQLite's file: SQLite hardly notices that somebody removes or overwrites it."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from typing import Final
from urllib.parse import quote

from lsst.daf.butler import Butler
from sqlalchemy.exc import OperationalError

from ..errors import DatabaseError
from ..lists import first_line, id_batches, listed
from .database import close_connections, database_name, in_transaction, sqlite_file
from .reading import datastore_roots

_LOG = logging.getLogger(__name__)

_PATIENCE = 300.0
"""Seconds to wait for those who write, as the Butler does."""

_HEADER = 28
_COUNTER = slice(24, 28)
"""Where a database has the number of its transactions, which each of them adds to as the last thing that it does."""
_WAL = b"\x02\x02"
"""What is at byte 18 where there is none."""

_Inode = tuple[int, int]
_OPEN: Final[dict[_Inode, tuple[str, int]]] = {}
"""By file its path and descriptor. Closing one takes all locks of this process, SQLite's too, from the file."""


def open_butler(repo: str, *, writeable: bool) -> Butler:
    """Open a repository, also where a program that was killed has left a transaction in SQLite's journal."""
    try:
        return Butler.from_config(repo, writeable=writeable)
    except OperationalError as error:
        if not is_unfinished(error):
            raise
    # Whoever opens the file to write undoes it, as each reader of SQLite does; a Butler that reads may not.
    Butler.from_config(repo, writeable=True).close()
    _LOG.warning("A program was killed while it wrote into %s; what it had begun is undone.", repo)
    return Butler.from_config(repo, writeable=writeable)


def is_unfinished(error: Exception) -> bool:
    """Tell whether SQLite cannot read its file because of such a transaction."""
    return _code_of(error) == sqlite3.SQLITE_READONLY_ROLLBACK


@contextmanager
def unharmed(butler: Butler) -> Iterator[None]:
    """Raise `DatabaseError` if the database is another one at the end of a transaction than at its begin.

    To be entered within the transaction, so that nothing is written into a file that somebody has put there meanwhile.
    """
    if (file := sqlite_file(butler)) is None:
        yield
        return
    before = _state(file)
    try:
        yield
    except OperationalError as error:
        if _code_of(error) == sqlite3.SQLITE_READONLY_DBMOVED:
            # That is what SQLite says of a file that was replaced before.
            raise _error(butler, "it is not the one that was opened") from error
        raise
    if (after := _state(file)) is None or after != before:
        raise _error(butler, "it is gone" if after is None else "it is not the one that a transaction began with")


def check_kept(butler: Butler, table: str, instrument: str, ids: Collection[int]) -> None:
    """Raise `DatabaseError` if an instrument's rows with these ids, which were committed, are not in SQLite's file.

    Checks nothing in a transaction of the caller's.
    """
    if not ids or (file := sqlite_file(butler)) is None or in_transaction(butler):
        return
    found, problem = 0, ""
    try:
        # The Butler's connections are those to the file that they have opened, wherever that is now; and one that it
        # opens makes the file anew if it is not there. One that only reads could not undo what somebody who was killed
        # had begun.
        with closing(sqlite3.connect(f"file:{quote(file)}?mode=rw", uri=True, timeout=_PATIENCE)) as connection:
            for batch in id_batches(ids):
                marks = ", ".join("?" * len(batch))
                rows = connection.execute(
                    f'SELECT count(*) FROM "{table}" WHERE instrument = ? AND id IN ({marks})', [instrument, *batch]
                )
                found += rows.fetchone()[0]
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
            # Nobody knows.
            return
        problem = first_line(error)
    lost = len(set(ids)) - found
    if problem or lost:
        raise _error(butler, problem or f"{lost} of {found + lost} rows of {table} are not there any more")


def _code_of(error: Exception) -> int:
    """Return SQLite's code of an error of SQLAlchemy's, or 0."""
    return int(getattr(getattr(error, "orig", None), "sqlite_errorcode", 0))


def _state(file: str) -> tuple[_Inode, bytes] | None:
    """Tell which file it is, and after how many transactions; `None` if there is none."""
    if (inode := _inode(file)) is None:
        return None
    if inode not in _OPEN:
        for other, (path, descriptor) in list(_OPEN.items()):
            if _inode(path) != other:
                del _OPEN[other]
                os.close(descriptor)
        _OPEN[inode] = file, os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    header = os.pread(_OPEN[inode][1], _HEADER, 0)
    return inode, b"" if header[18:20] == _WAL else header[_COUNTER]


def _inode(file: str) -> _Inode | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _error(butler: Butler, problem: str) -> DatabaseError:
    """Make the error, and let the Butler open the file anew."""
    close_connections(butler)
    return DatabaseError(
        f"Repository {listed(datastore_roots(butler))}: something has removed, replaced or overwritten its database "
        f"({database_name(butler)}) meanwhile: {problem}. Restore it, and run this again."
    )
