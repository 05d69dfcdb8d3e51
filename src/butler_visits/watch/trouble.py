"""A database that goes away is waited for."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from ..errors import DatabaseError
from ..lists import first_line
from ..repository.retry import is_temporary, telling_of_waits

_LOG = logging.getLogger(__name__)

_T = TypeVar("_T")

_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0
"""Seconds before the database is asked again, which doubles each time."""

_CHECK = 0.2
"""Seconds between two looks at whether the watch is to end."""


class StoppedError(Exception):
    """The watch is to end, and its database is away."""


def is_database_trouble(error: Exception) -> bool:
    """Tell whether an error is the database's alone, whatever was asked of it."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
    return isinstance(error, DatabaseError | sqlite3.OperationalError) or is_temporary(error)


class Patience:
    """Calls functions again for as long as the database is away."""

    def __init__(self, wait: Callable[[str], bool], reopen: Callable[[], None], *, give_up: bool) -> None:
        """Call ``wait`` with the reason while the database is away, and with an empty one when it is back.

        It returns whether to go on. ``reopen`` opens the repository again, for it may be another one.
        """
        self._wait = wait
        self._reopen = reopen
        self._give_up = give_up
        self._is_away = False

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Hear also of the short waits of all that is called."""
        with telling_of_waits(lambda error, _: self._say(error)):
            yield

    def open(self, call: Callable[[], _T]) -> _T:
        """Call a function that opens the repository: what will not be better another time is the user's mistake."""
        return self._call(call, is_temporary, lambda: None)

    def call(self, call: Callable[[], _T]) -> _T:
        """Call a function; raises `StoppedError` if the watch is to end, and the database away."""
        return self._call(call, is_database_trouble, self._reopen)

    def _call(self, call: Callable[[], _T], is_trouble: Callable[[Exception], bool], reopen: Callable[[], None]) -> _T:
        wait = 0.0
        while True:
            try:
                if wait:
                    reopen()
                result = call()
            except Exception as error:
                if not is_trouble(error) or self._give_up:
                    raise
                wait = min(2.0 * wait, _LONGEST_WAIT) or _FIRST_WAIT
                until = monotonic() + wait
                while monotonic() < until:
                    self._say(error)
                    sleep(_CHECK)
                continue
            if self._is_away:
                self._is_away = False
                _LOG.warning("The database is back.")
                self._wait("")
            return result

    def _say(self, error: BaseException) -> None:
        if not self._is_away:
            self._is_away = True
            _LOG.warning("The database is away: %s. It is waited for.", first_line(error))
        if not self._wait(first_line(error)):
            raise StoppedError
