"""Wait for a database that somebody else is writing."""

from __future__ import annotations

__all__ = ["when_free"]

import random
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import OperationalError

_T = TypeVar("_T")

_PATIENCE = 300.0
"""Seconds after which a database that is still locked is an error."""

_LONGEST_PAUSE = 2.0
"""Seconds between two attempts, at most."""


def when_free(call: Callable[[], _T]) -> _T:
    """Call a function again for as long as the database is locked.

    A Butler that can write takes SQLite's lock for reading too, and SQLite gives up after five seconds, which is less
    than another process may need to write a chunk of visits.

    Parameters
    ----------
    call : `~collections.abc.Callable`
        The function, which can be called again if it failed: it reads only, or writes in one transaction.

    Returns
    -------
    result : `object`
        What the function returned.

    Raises
    ------
    sqlalchemy.exc.OperationalError
        If the database is locked for five minutes, or fails in another way.
    """
    deadline = time.monotonic() + _PATIENCE
    pause = 0.05
    while True:
        try:
            return call()
        except OperationalError as error:
            if "database is locked" not in str(error.orig) or time.monotonic() > deadline:
                raise
        # A random pause, so that several processes do not come back together.
        time.sleep(pause * random.uniform(0.5, 1.5))
        pause = min(2 * pause, _LONGEST_PAUSE)
