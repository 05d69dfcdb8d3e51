"""Several processes that ingest the same exposures at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from astropy.table import Table
from lsst.daf.butler import Butler
from sqlalchemy import text

from butler_visits import IngestResult
from butler_visits.ingest import ingest_raws, ingest_table
from butler_visits.repository.instruments import register_instrument
from children import children
from ingest_helpers import DESCRIPTION, cluster_of, files_in, records, science, stored, summary
from simulated_raws import write_raws
from simulated_survey import INSTRUMENT
from templates import make_repository
from visit_tables import connect, root

N_FILES = 12
N_PROCESSES = 4
BEGIN = "2026-04-01T23:15:00"

MakeEmpty = Callable[[str], Butler]


@pytest.fixture
def empty(tmp_path: Path, database: str, request: pytest.FixtureRequest) -> MakeEmpty:
    """Return a function that creates an empty repository."""
    return lambda name: make_repository(tmp_path / name, cluster=cluster_of(request))


class Job(NamedTuple):
    """What a child process does."""

    call: Callable[..., IngestResult]
    what: Any
    options: Mapping[str, Any]


def do(repository: Path, job: Job, barrier: Any, results: Any) -> None:
    """Do a job in a child process, when all are ready."""
    butler = Butler.from_config(repository, writeable=True)
    barrier.wait()
    try:
        result = job.call(butler, job.what, **job.options)
        results.put((summary(result), [str(failure) for failure in result.failures]))
    except Exception as error:
        results.put(error)


@contextmanager
def at_once(butler: Butler, jobs: Sequence[Job]) -> Iterator[Callable[[], list[Any]]]:
    """Start jobs in a process each, and yield a function that waits for what they answer."""
    barrier, results = children().Barrier(len(jobs)), children().Queue()
    processes = [children().Process(target=do, args=(root(butler), job, barrier, results)) for job in jobs]
    for process in processes:
        process.start()
    try:
        yield lambda: [results.get(timeout=120) for _ in processes]
    finally:
        for process in processes:
            process.join(10)
            process.kill()


def ingest_at_once(butler: Butler, raws: Path, **options: Any) -> list[Any]:
    with at_once(butler, [Job(ingest_raws, [raws], {"batch_size": 4, "threads": 2, **options})] * N_PROCESSES) as wait:
        return wait()


def prepare(empty: MakeEmpty, name: str, raws: Path, *, known: bool) -> Butler:
    """Create a repository that knows the instrument, and the exposures too if they are to be known."""
    butler = empty(name)
    register_instrument(butler, DESCRIPTION)
    if known:
        ingest_raws(butler, [raws], output_run="another")
    return butler


@pytest.mark.parametrize(("transfer", "known"), [("direct", False), ("copy", True)])
def test_the_same_files(empty: MakeEmpty, tmp_path: Path, transfer: Any, known: bool) -> None:
    raws = tmp_path / "raw"
    write_raws(raws, science(N_FILES))
    shared, alone = (prepare(empty, name, raws, known=known) for name in ("shared", "alone"))
    ingest_raws(alone, [raws], transfer=transfer)
    answers = ingest_at_once(shared, raws, transfer=transfer)
    assert not [answer for answer in answers if isinstance(answer, Exception)]
    counts = [count for count, _ in answers]
    assert sum(ingested for _, ingested, *_ in counts) == N_FILES
    assert all((n, ingested + skipped, failed) == (N_FILES, N_FILES, 0) for n, ingested, skipped, failed, *_ in counts)
    assert sum(n_exposures for *_, n_exposures in counts) == (0 if known else N_FILES)
    found = stored(shared)
    assert found == stored(alone)
    assert all(there for *_, there in found["raw"])


def test_files_that_are_moved(empty: MakeEmpty, tmp_path: Path) -> None:
    """A file that another process has moved meanwhile is there already, or is said to be gone."""
    raws = tmp_path / "raw"
    write_raws(raws, science(N_FILES))
    butler = prepare(empty, "shared", raws, known=False)
    answers = ingest_at_once(butler, raws, transfer="move", on_error="skip")
    assert not [answer for answer in answers if isinstance(answer, Exception)]
    assert sum(ingested for (_, ingested, *_), _ in answers) == N_FILES
    for failure in (failure for _, failures in answers for failure in failures):
        assert "is gone since files were listed; perhaps another process has moved it" in failure
        assert str(raws) in failure
    assert not files_in(raws)
    found = stored(butler)["raw"]
    assert len(found) == N_FILES
    assert all(there for *_, there in found)


N_GROUPS = 20
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
SLOW = """
CREATE FUNCTION be_slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.005); RETURN NEW; END $$;
CREATE TRIGGER be_slow BEFORE INSERT ON "group" FOR EACH ROW EXECUTE FUNCTION be_slow();
CREATE TRIGGER be_slow BEFORE INSERT ON physical_filter FOR EACH ROW EXECUTE FUNCTION be_slow();
"""


def many_groups(writer: int) -> Table:
    """Make a table of exposures that no other table has, with groups and filters that all tables have.

    Those are in the order of the exposures, or for every other writer against it.
    """
    groups = range(N_GROUPS) if writer % 2 else range(N_GROUPS - 1, -1, -1)
    return Table(
        {
            "exposure_id": [writer * N_GROUPS + i for i in range(N_GROUPS)],
            "datetime_begin": [BEGIN] * N_GROUPS,
            "physical_filter": [f"filter {group:02d}" for group in groups],
            "group": [f"group {group:02d}" for group in groups],
        }
    )


@pytest.mark.postgresql_only
def test_groups_in_other_orders(empty: MakeEmpty) -> None:
    """Writers of the same groups and filters do not wait for each other, in whatever order their exposures are."""
    butler = empty("repository")
    register_instrument(butler, DESCRIPTION)
    with connect(butler) as connection:
        connection.execute(text(SLOW))
        before = connection.execute(text(DEADLOCKS)).scalar()
    jobs = [Job(ingest_table, many_groups(writer), {"instrument": INSTRUMENT}) for writer in range(N_PROCESSES)]
    with at_once(butler, jobs) as wait:
        answers = wait()
    assert not [answer for answer in answers if isinstance(answer, Exception)], answers
    assert [ingested for (_, ingested, *_), _ in answers] == [N_GROUPS] * N_PROCESSES
    assert len(records(butler, "exposure")) == N_PROCESSES * N_GROUPS
    with connect(butler) as connection:
        assert connection.execute(text(DEADLOCKS)).scalar() == before
