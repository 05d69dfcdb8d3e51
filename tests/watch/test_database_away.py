"""A database that goes away is waited for, and everything that came meanwhile is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from butler_visits.errors import DatabaseError
from butler_visits.repository import retry
from butler_visits.watch import trouble
from postgres import Cluster, find_programs
from watching import Watching, arrive, everything, raws, repository_of, undisturbed

pytestmark = pytest.mark.postgresql_only


@pytest.fixture
def cluster() -> Cluster:
    """Return a cluster of the test's own, which may be stopped."""
    if (programs := find_programs()) is None:
        pytest.skip("no PostgreSQL server is installed here")
    return Cluster(programs, in_memory=True)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_WAITS", (0.01, 0.02))
    monkeypatch.setattr(trouble, "_FIRST_WAIT", 0.1)
    monkeypatch.setattr(trouble, "_LONGEST_WAIT", 0.2)


@pytest.mark.slow
def test_it_is_waited_for(cluster: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    incoming = tmp_path / "in"
    incoming.mkdir()
    first, second, third = raws(tmp_path / "raw")
    with cluster:
        repository = repository_of(tmp_path / "repository", cluster=cluster)
        cluster.stop()
        # Away when it starts, and again later.
        with Watching(repository, incoming) as watching:
            watching.until(lambda: watching.tally.state == "waiting for the database")
            arrive(first, incoming)
            cluster.start()
            watching.until_visits(1)
            cluster.stop()
            arrive(second, incoming)
            watching.until(lambda: watching.tally.state == "waiting for the database")
            arrive(third, incoming)
            cluster.start()
            watching.until_visits(3)
            watching.until_idle()
        assert everything(repository) == undisturbed(tmp_path / "other", [first, second, third])
        lines = [one.getMessage() for one in caplog.records if "database" in one.getMessage().lower()]
        said = ["The database is away", "The database is back"]
        assert [line.split(":")[0].rstrip(".") for line in lines] == 2 * said
        assert watching.tally.bad == {}

        # It can be ended while it waits, and need not wait.
        cluster.stop()
        with Watching(repository, incoming) as watching:
            watching.until(lambda: watching.tally.state == "waiting for the database")
        assert watching.tally.state == "ended"
        impatient = Watching(repository, incoming, give_up_database=True)
        with pytest.raises(Exception, match="connection"), impatient:
            impatient.join()
        cluster.start()
        with Watching(repository, incoming, give_up_database=True) as impatient:
            impatient.until_idle()
            cluster.stop()
            arrive(first, incoming, "another.fits")
            with pytest.raises(DatabaseError):
                impatient.join()
            impatient._error = None
