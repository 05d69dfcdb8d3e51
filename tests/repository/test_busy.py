"""A database that somebody else has locked is waited for: the Butler sees to it, and this notices if it stops to."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lsst.daf.butler import Butler
from sqlalchemy import event

from visit_tables import add_exposures, data_ids, engine, exposure, make_task, root, stored

SQLITE_WAITS = 5.0
"""Seconds that SQLite in Python waits of its own."""


@contextmanager
def locked(repository: Path, seconds: float) -> Iterator[None]:
    """Hold the repository's write lock for some time."""
    held = threading.Event()

    def hold() -> None:
        with sqlite3.connect(repository / "gen3.sqlite3", isolation_level=None) as connection:
            connection.execute("BEGIN IMMEDIATE")
            held.set()
            time.sleep(seconds)
            connection.execute("ROLLBACK")

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)
    yield
    thread.join()


@pytest.mark.slow
@pytest.mark.sqlite_only  # PostgreSQL has no lock on a whole database.
@pytest.mark.parametrize("what", ["plan", "run"])
def test_locked_database_is_waited_for(make_survey: Callable[..., Butler], what: str) -> None:
    butler = make_survey()
    given = data_ids(add_exposures(butler, [exposure(1), exposure(2)]))
    task = make_task(butler)
    start = time.monotonic()
    with locked(root(butler), SQLITE_WAITS + 2):
        result = getattr(task, what)(given)
    assert time.monotonic() - start > SQLITE_WAITS
    assert (len(result) if what == "plan" else result.n_new) == 2
    assert len(stored(butler, "visit")) == (2 if what == "run" else 0)


@pytest.mark.sqlite_only
def test_longer_than_the_butler_waits(make_survey: Callable[..., Butler], caplog: pytest.LogCaptureFixture) -> None:
    """What the Butler gives up after five minutes, which are less here, is tried again."""
    butler = make_survey()
    given = data_ids(add_exposures(butler, [exposure(1), exposure(2)]))
    engine(butler).dispose()
    event.listen(engine(butler), "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout = 100"))
    with locked(root(butler), 1.0):
        assert make_task(butler).run(given).n_new == 2
    assert "The database failed (database is locked)" in caplog.text
