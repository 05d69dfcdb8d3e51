"""Try again what the database could not do just now."""

from __future__ import annotations

import logging
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from lsst.daf.butler import Butler
from sqlalchemy.exc import DBAPIError, IntegrityError

from ..errors import DatabaseError
from ..lists import first_line, listed
from .database import database_name, in_transaction, is_served
from .reading import datastore_roots
from .served import server_failure
from .writing import StaleError

_T = TypeVar("_T")
_P = TypeVar("_P")

_LOG = logging.getLogger(__name__)

_WAITS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 10.0)
"""Seconds before each further attempt, together less than a minute: enough for a database that is started anew.

For SQLite's lock each attempt waits five minutes of its own. The Butler sets it so, and SQLite takes no turns.
"""

_TEMPORARY = {
    "40001",  # serialization_failure
    "40P01",  # deadlock_detected
    "53300",  # too_many_connections
    "55P03",  # lock_not_available
    "57P01",  # admin_shutdown
    "57P02",  # crash_shutdown
    "57P03",  # cannot_connect_now
    "57P05",  # idle_session_timeout
}
"""Codes of PostgreSQL's errors that say nothing about what was asked for."""

_REFUSED = (
    "authentication failed",
    "does not exist",
    "no password supplied",
    "no pg_hba.conf entry",
    "not permitted to log in",
    "permission denied",
)
"""What PostgreSQL says to those who will not get a connection another time either; there is no code then.

A server that says it in another language has them wait for nothing.
"""

_OVERTAKEN = 10
"""How often something is planned anew because what is stored has changed, with nothing gained, until it is given up."""

_REFUSED_AGAIN = 3
"""The same where the database refuses what is to be inserted: each time that others were first, less is left."""


def _say(error: Exception, wait: float) -> None:
    _LOG.warning("The database failed (%s); trying again in up to %g s.", first_line(error), wait)


_tell: ContextVar[Callable[[Exception, float], None]] = ContextVar("what is told of waits", default=_say)


@contextmanager
def telling_of_waits(tell: Callable[[Exception, float], None]) -> Iterator[None]:
    """Let a function be told of each wait, instead of the log; what it raises ends the waiting."""
    token = _tell.set(tell)
    try:
        yield
    finally:
        _tell.reset(token)


class GaveUpError(Exception):
    """Something that could not be written, although it was planned anew: for the last ``reason``, in its words."""

    def __init__(self, reason: IntegrityError | StaleError, attempts: int) -> None:
        super().__init__(" ".join(str(getattr(reason, "orig", reason)).split()).rstrip("."))
        self.reason = reason
        self.attempts = attempts


def until_written(plan: Callable[[], _P], write: Callable[[_P], _T], left: Callable[[_P], Any]) -> tuple[_P, _T]:
    """Plan something and write it, anew as long as others write some of it in between; `GaveUpError` after a while.

    ``left`` says what a plan has to write: as long as that changes, others have done their share. Returns the plan and
    what ``write`` returned.
    """
    attempts, before = 0, None
    while True:
        planned = plan()
        now = left(planned)
        attempts = attempts + 1 if attempts and now == before else 1
        before = now
        try:
            return planned, write(planned)
        except (IntegrityError, StaleError) as error:
            if attempts >= (_REFUSED_AGAIN if isinstance(error, IntegrityError) else _OVERTAKEN):
                raise GaveUpError(error, attempts) from error


def try_again(butler: Butler | None, call: Callable[[], _T]) -> _T:
    """Call a function, again and with growing waits where the database says that it may go better another time.

    That is where a connection was lost, where the server shuts down or starts, where two transactions were in each
    other's way, or where SQLite has waited long enough for others. Raises `DatabaseError` if it has not gone better in
    the end.
    """
    for wait in _WAITS:
        try:
            return call()
        except Exception as error:  # Not SQLAlchemy's alone: the Butler talks to the driver itself to begin.
            if butler is not None and is_served(butler) and (failure := server_failure(error)) is not None:
                # The Butler has tried again itself where the server asked for it.
                raise DatabaseError(f"The Butler server ({butler}) {failure}") from error
            # A transaction of the caller's is lost with all that was done in it, which cannot be done again here.
            if not is_temporary(error) or (butler is not None and in_transaction(butler)):
                raise
            _tell.get()(error, wait)
        # Writers that were in each other's way must not meet again.
        time.sleep(random.uniform(0.5, 1.0) * wait)
    try:
        return call()
    except Exception as error:
        if not is_temporary(error):
            raise
        raise DatabaseError(
            f"{_database(butler)} failed {len(_WAITS) + 1} times, the last time with: {first_line(error)}. Each visit "
            "is stored whole or not at all, so it can be run again when the database is back."
        ) from error


def _database(butler: Butler | None) -> str:
    if butler is None:
        return "The repository's database"
    return f"Repository {listed(datastore_roots(butler))}: its database ({database_name(butler)})"


def is_temporary(error: Exception) -> bool:
    """Tell whether an error may not come again."""
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return True
        cause: BaseException = error.orig or error
    else:
        cause = error
    if isinstance(cause, sqlite3.Error):
        # The lower byte is what the others are kinds of. An error of Python's own has no code.
        return getattr(cause, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
    # The names that psycopg and psycopg2 have for it.
    for name in ("sqlstate", "pgcode"):
        if hasattr(cause, name):
            code = getattr(cause, name)
            # Without a code an error is not the server's: no connection could be made, or it broke.
            if code is None:
                operational = any(kind.__name__ == "OperationalError" for kind in type(cause).__mro__)
                return operational and not any(words in str(cause) for words in _REFUSED)
            return code in _TEMPORARY or code.startswith("08")
    return False
