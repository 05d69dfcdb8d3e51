"""Kill a process at a named statement that it sends to its database."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from typing import Any, Final

from lsst.daf.butler import Butler
from sqlalchemy import event

from visit_tables import engine

COMMIT: Final = "COMMIT"


def call_at(butler: Butler, table: str, do: Callable[[], None], *, last: str = "", nth: int = 2) -> None:
    """Do something when rows have been inserted into a table for the nth time and are not committed yet.

    For `COMMIT`, it is done when they are about to be: when rows have been inserted into the last table so often.
    """
    insert = re.compile(rf'\s*INSERT INTO (public\.)?"?{last if table == COMMIT else table}"? ')
    count = 0

    def executed(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal count
        if insert.match(statement):
            count += 1
            if count == nth and table != COMMIT:
                do()

    def committing(_connection: Any) -> None:
        if count == nth and table == COMMIT:
            do()

    event.listen(engine(butler), "after_cursor_execute", executed)
    event.listen(engine(butler), "commit", committing)


def die() -> None:
    """End this process as no handler can prevent."""
    os.kill(os.getpid(), signal.SIGKILL)
