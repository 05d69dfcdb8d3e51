"""A database that somebody else has locked or was killed in: the Butler waits for the one, and we mend the other."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from lsst.daf.butler import Butler
from sqlalchemy import event

from butler_visits.errors import DatabaseError
from butler_visits.repository.database import close_connections
from butler_visits.repository.kept import check_kept
from command_line import message, visits_command
from simulated_survey import INSTRUMENT
from visit_tables import add_exposures, data_ids, engine, exposure, make_task, root, stored, tables

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


def leave_unfinished(repository: Path) -> None:
    """Let a program be killed in a transaction of which a part is in the database's file already."""
    program = (
        "import os, signal, sqlite3, sys; connection = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "connection.execute('PRAGMA cache_size = 1'); connection.execute('BEGIN IMMEDIATE'); "
        "connection.execute('DELETE FROM visit_detector_region_skypix_overlap'); "
        "connection.execute('DELETE FROM visit_detector_region'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    file = repository / "gen3.sqlite3"
    assert subprocess.run([sys.executable, "-c", program, file]).returncode == -signal.SIGKILL
    with pytest.raises(sqlite3.OperationalError), closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as found:
        found.execute("SELECT count(*) FROM visit")


@pytest.mark.sqlite_only
def test_what_a_killed_program_has_begun(
    make_survey: Callable[..., Butler], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What only reads undoes it too, and says so; the Butler itself would say that the database is read-only."""
    butler = make_survey()
    make_task(butler).run(data_ids(add_exposures(butler, map(exposure, range(1, 9)))))
    expected = tables(butler)
    butler.close()
    csv, page = tmp_path / "visits.csv", tmp_path / "visits.html"
    for command in (["check"], ["define-visits", "--dry-run"], ["export", "-o", csv], ["report", "-o", page]):
        leave_unfinished(root(butler))
        caplog.clear()
        name, *options = command
        result = visits_command(name, root(butler), INSTRUMENT, *options)
        assert result.exit_code == 0, result.output
        assert f"A program was killed while it wrote into {root(butler)}; what it had begun is undone." in caplog.text
    with Butler.from_config(root(butler)) as again:
        assert tables(again) == expected


@pytest.mark.sqlite_only
@pytest.mark.skipif(os.geteuid() == 0, reason="this user can write every file")
def test_what_a_killed_program_has_begun_where_nothing_can_be_written(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    make_task(butler).run(data_ids(add_exposures(butler, map(exposure, range(1, 9)))))
    butler.close()
    leave_unfinished(root(butler))
    (root(butler) / "gen3.sqlite3").chmod(0o400)
    said = message(visits_command("check", root(butler), INSTRUMENT))
    assert "run this once as somebody who may write into its database" in said


@pytest.mark.sqlite_only
def test_another_program_is_killed_before_the_end(make_survey: Callable[..., Butler]) -> None:
    """Rows that were committed are looked for once more at the end, and what is unfinished is none of theirs."""
    butler = make_survey()
    make_task(butler).run(data_ids(add_exposures(butler, map(exposure, range(1, 9)))))
    ids = [visit.id for visit in stored(butler, "visit")]
    close_connections(butler)
    leave_unfinished(root(butler))
    check_kept(butler, "visit", INSTRUMENT, ids)
    with pytest.raises(DatabaseError, match="1 of 9 rows of visit are not there"):
        check_kept(butler, "visit", INSTRUMENT, [*ids, 1])
