"""What is PostgreSQL's own: lost connections, locks on single rows, isolation, roles."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest
from lsst.daf.butler import Butler, Config
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from butler_visits import DatabaseError
from butler_visits.repository import retry
from command_line import define_visits
from postgres import Cluster, find_programs
from simulated_survey import INSTRUMENT, camera, make_repository, register_instrument
from visit_tables import add_exposures, connect, data_ids, engine, exposure, make_task, root, stored, tables

pytestmark = pytest.mark.postgresql_only

GROUPING = "by-group-metadata"
OnError = Literal["raise", "skip"]
ON_ERROR: tuple[OnError, ...] = ("raise", "skip")


def triple(number: int) -> list[dict[str, Any]]:
    """Describe a single exposure and two snaps, others for each number."""
    one, first, second = (3 * number + i for i in (1, 2, 3))
    snaps = [exposure(snap, seq_start=first, seq_end=second) for snap in (first, second)]
    return [exposure(one), *snaps]


@contextmanager
def before_statements(butler: Butler, do: Callable[[str], Any]) -> Iterator[None]:
    """Do something before each statement that a Butler sends, given the statement, and before each commit."""

    def listen(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        do(statement)

    def listen_commit(connection: Any) -> None:
        do("COMMIT")

    event.listen(engine(butler), "before_cursor_execute", listen)
    event.listen(engine(butler), "commit", listen_commit)
    try:
        yield
    finally:
        event.remove(engine(butler), "before_cursor_execute", listen)
        event.remove(engine(butler), "commit", listen_commit)


def cut_connections(cluster: Cluster, butler: Butler) -> None:
    """End all connections to a repository's database, as a server does that is shut down."""
    database = engine(butler).url.database
    cluster.execute(f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{database}'")


def in_thread(call: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=call)
    thread.start()
    return thread


# Lost connections


@pytest.mark.slow
def test_connection_lost_before_any_statement(
    make_survey: Callable[..., Butler], postgres: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever the connection is lost, the run goes on with another one, and leaves what it would have left."""
    monkeypatch.setattr(retry, "_WAITS", (0.01, 0.01))
    butler, alone = make_survey(), make_survey()
    sent = ["first"]
    number = 0
    while number <= len(sent):
        # Another Butler each time, as those that have read something do not read it again.
        fresh = butler.clone()
        one, first, second = data_ids(add_exposures(fresh, triple(number)))
        make_task(fresh, GROUPING).run([first])
        sent.clear()

        def cut(statement: str, number: int = number) -> None:
            sent.append(statement)
            if len(sent) == number:
                cut_connections(postgres, butler)

        with before_statements(butler, cut):
            result = make_task(fresh.clone(), GROUPING).run([one, second], incremental=True)
        assert result.n_visits == 2
        assert len(sent) > 30
        number += 1
    make_task(alone, GROUPING).run(data_ids(add_exposures(alone, [e for n in range(number) for e in triple(n)])))
    assert tables(butler) == tables(alone)


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    """Return a cluster that can be stopped."""
    programs = find_programs()
    assert programs is not None
    with Cluster(programs) as cluster:
        yield cluster


@pytest.mark.slow
def test_server_that_is_started_anew_and_one_that_is_gone(
    own_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    butler = make_repository(
        tmp_path / "repository", camera=camera(rafts=1), database=own_cluster.url(own_cluster.create_database())
    )
    given = data_ids(add_exposures(butler, triple(0) + triple(1) + triple(2)))

    def stop_once(statement: str) -> None:
        if statement.startswith("INSERT INTO public.visit_definition") and not stopped.is_set():
            own_cluster.stop()
            stopped.set()

    def start_later() -> None:
        assert stopped.wait(60)
        time.sleep(0.5)
        own_cluster.start()

    stopped = threading.Event()
    starter = in_thread(start_later)
    with before_statements(butler, stop_once):
        assert make_task(butler).run(given[:3]).n_new == 3
    starter.join()
    assert "The database failed" in caplog.text

    monkeypatch.setattr(retry, "_WAITS", (0.01, 0.02))
    for on_error in ON_ERROR:
        stopped.clear()
        with (
            before_statements(butler, stop_once),
            pytest.raises(DatabaseError, match=rf"{tmp_path}/repository/.* failed 3 times.* run again"),
        ):
            make_task(butler).run(given, on_error=on_error)
        own_cluster.start()
        assert len(stored(butler, "visit")) == 3
    assert make_task(butler).run(given).n_new == 6

    own_cluster.stop()
    result = define_visits(root(butler), INSTRUMENT)
    assert result.exit_code == 1
    assert str(root(butler)) in result.output + result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_server_that_is_gone_when_a_worker_opens_the_repository(
    own_cluster: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    butler = make_repository(
        tmp_path / "repository", camera=camera(rafts=1), database=own_cluster.url(own_cluster.create_database())
    )
    given = data_ids(add_exposures(butler, triple(0)))
    starters: list[threading.Thread] = []

    class Stopping(ThreadPoolExecutor):
        """Stops the server before its worker begins, and starts it after a first attempt to reach it."""

        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            own_cluster.stop()
            starters.append(in_thread(self.start_later))
            return super().submit(fn, *args, **kwargs)

        def start_later(self) -> None:
            while "The database failed" not in caplog.text:
                time.sleep(0.05)
            own_cluster.start()

    with Stopping(1) as executor:
        assert make_task(butler).run(given, executor=executor).n_new == 3
    assert len(starters) == 1
    starters[0].join()


def test_workers_that_end_leave_no_connections(make_survey: Callable[..., Butler], postgres: Cluster) -> None:
    butler = make_survey()
    given = data_ids(add_exposures(butler, triple(0)))
    database = engine(butler).url.database
    connections = f"SELECT FROM pg_stat_activity WHERE datname = '{database}'"
    gc.disable()
    try:
        before = postgres.execute(connections)
        with ThreadPoolExecutor(3) as executor:
            assert make_task(butler, chunkSize=1).run(given, executor=executor).n_new == 3
        deadline = time.monotonic() + 20
        while postgres.execute(connections) > before:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        gc.enable()


@pytest.mark.parametrize("on_error", ON_ERROR)
def test_database_that_is_removed(postgres: Cluster, tmp_path: Path, on_error: OnError) -> None:
    """Nobody waits for what does not come back, as for connections that are lost."""
    name = postgres.create_database()
    butler = make_repository(tmp_path / "repository", camera=camera(rafts=1), database=postgres.url(name))
    given = data_ids(add_exposures(butler, triple(0)))
    postgres.drop_database(name)
    start = time.monotonic()
    with pytest.raises(OperationalError, match=f'"{name}" does not exist'):
        make_task(butler).run(given, on_error=on_error)
    # It is tried for minutes where it may come back.
    assert time.monotonic() - start < 50


@pytest.mark.parametrize(
    ("said", "again"),
    [
        ('role "x" does not exist', False),
        ('role "x" is not permitted to log in', False),
        ('password authentication failed for user "x"', False),
        ("fe_sendauth: no password supplied", False),
        ('no pg_hba.conf entry for host "127.0.0.1", user "x", database "y"', False),
        ('permission denied for database "y"', False),
        ("sorry, too many clients already", True),
        ("the database system is starting up", True),
        ("No such file or directory", True),
    ],
)
def test_connection_that_is_refused(monkeypatch: pytest.MonkeyPatch, said: str, again: bool) -> None:
    """Such errors have no code, so it is the words that tell whether another time they may not come."""
    monkeypatch.setattr(retry, "_WAITS", (0.0,))
    calls = []

    def call() -> None:
        calls.append(1)
        raise psycopg.OperationalError(f"connection to server failed: FATAL:  {said}")

    with pytest.raises(DatabaseError if again else psycopg.OperationalError, match=said):
        retry.try_again(None, call)
    assert len(calls) == (2 if again else 1)


# Writers in each other's way


@pytest.mark.parametrize("level", ["read committed", "repeatable read", "serializable"])
def test_update_between_look_and_write(make_survey: Callable[..., Butler], level: str) -> None:
    """Nobody can change a visit after another writer has seen that it is as it was planned from."""
    butler, alone = make_survey(), make_survey()
    with connect(butler) as connection:
        database = engine(butler).url.database
        connection.execute(text(f"ALTER DATABASE {database} SET default_transaction_isolation = '{level}'"))
    snaps = [exposure(number, seq_start=1, seq_end=3) for number in (1, 2, 3)]
    one, two, three = data_ids(add_exposures(alone, snaps))
    make_task(alone, GROUPING).run([one, two, three])

    butler, other = (Butler.from_config(root(butler), writeable=True) for _ in range(2))
    add_exposures(butler, snaps[:2])
    make_task(butler, GROUPING).run([one])
    others: list[threading.Thread] = []

    def let_other_write(statement: str) -> None:
        # The first writer has looked at the visit, and is about to write it with two snaps.
        if statement.startswith("INSERT INTO public.visit ") and not others:
            add_exposures(other, snaps[2:])
            others.append(in_thread(lambda: make_task(other, GROUPING).run([three], incremental=True)))
            others[0].join(0.5)
            assert others[0].is_alive()

    with before_statements(butler, let_other_write):
        make_task(butler, GROUPING).run([two], incremental=True)
    others[0].join()
    assert tables(butler) == tables(alone)


def test_deadlock(make_survey: Callable[..., Butler], postgres: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    """One that somebody else makes, by locking visits in another order, is got out of."""
    butler = make_survey()
    first, second = data_ids(add_exposures(butler, [exposure(1), exposure(2)]))
    make_task(butler).run([first, second])
    add_exposures(butler, [exposure(number, target_name="M 31") for number in (1, 2)], replace=True)
    lock = "SELECT FROM visit WHERE id = {} FOR UPDATE"
    waiting = f"FROM pg_stat_activity WHERE datname = '{engine(butler).url.database}' AND wait_event_type = 'Lock'"
    with connect(butler) as connection:
        # The run looks for a deadlock after a second; this connection leaves it to it.
        connection.execute(text("SET deadlock_timeout = '1min'"))
        connection.execute(text(lock.format(second["exposure"])))
        run = in_thread(lambda: make_task(butler.clone()).run([first, second], update_records=True))
        while not postgres.execute(f"SELECT {waiting}"):
            assert run.is_alive()
            time.sleep(0.02)
        # It has the first visit and waits for the second.
        connection.execute(text(lock.format(first["exposure"])))
    run.join()
    assert "deadlock detected" in caplog.text
    assert {visit.target_name for visit in stored(butler, "visit")} == {"M 31"}


def test_what_is_not_a_number(make_survey: Callable[..., Butler]) -> None:
    """PostgreSQL stores it, where SQLite stores null; others may have written such visits."""
    butler = make_survey()
    given = data_ids(add_exposures(butler, [exposure(1)]))
    make_task(butler).run(given)
    with connect(butler) as connection:
        connection.execute(text("UPDATE visit SET zenith_angle = 'NaN'"))
    assert make_task(butler).run(given, update_records=True).n_fully_updated == 1
    (visit,) = stored(butler, "visit")
    assert visit.zenith_angle == exposure(1)["zenith_angle"]


def test_repositories_in_one_database(postgres: Cluster, tmp_path: Path) -> None:
    """Each has a schema, which the Butler calls a namespace."""
    name = postgres.create_database()
    for namespace in ("north", "south"):
        config = Config({"registry": {"db": postgres.url(name), "namespace": namespace}})
        butler = Butler.from_config(Butler.makeRepo(tmp_path / namespace, config), writeable=True)
        register_instrument(butler, camera(rafts=1))
        first, second = data_ids(add_exposures(butler, triple(0)[1:]))
        task = make_task(butler, GROUPING)
        assert task.run([first]).n_new == 1
        assert task.run([second], incremental=True).n_partially_updated == 1
        butler.close()
    postgres.drop_database(name)
