"""Many processes define the same and overlapping exposures at once, while more of them arrive."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from lsst.daf.butler import Butler
from sqlalchemy import text

from butler_visits import DatabaseError, DefineVisitsTask
from butler_visits.repository import try_again
from children import children
from postgres import Cluster
from simulated_survey import INSTRUMENT
from visit_tables import add_exposures, connect, data_ids, engine, exposure, make_task, root, tables

WRITERS = 8
GROUPINGS = ("by-group-metadata", "one-to-one-and-by-counter")
INCREMENTAL = {"incremental": True}


class Job(NamedTuple):
    """What a writer does in a round."""

    grouping: str
    arriving: Sequence[dict[str, Any]]
    """Exposures that it registers first."""

    given: Sequence[int]
    options: Mapping[str, Any]


def do_jobs(repository: Path, jobs: Connection) -> None:
    """Do jobs in a child process, and answer each with the number of new visits or the error that stopped it."""
    butler = Butler.from_config(repository, writeable=True)
    # Small chunks, so that writers that begin at one time are in each other's way again and again.
    tasks = {grouping: make_task(butler, grouping, chunkSize=3) for grouping in GROUPINGS}
    jobs.send("ready")
    while (job := jobs.recv()) is not None:
        try:
            answer: int | Exception = do(job, tasks[job.grouping])
        except Exception as error:
            answer = error
        jobs.send(answer)


def do(job: Job, task: DefineVisitsTask) -> int:
    if job.arriving:
        registry = task.butler.registry
        rows = [{"instrument": INSTRUMENT, **one} for one in job.arriving]
        # Whoever registers exposures has the same trouble with the database.
        try_again(task.butler, lambda: registry.insertDimensionData("exposure", *rows, skip_existing=True))
    result = task.run(data_ids(job.given), **job.options)
    assert result.n_visits > 0
    return int(result.n_new)


class Writer:
    """A process that does jobs."""

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        self._process: BaseProcess
        self._jobs: Connection
        self.start()

    def start(self) -> None:
        self._jobs, child_end = children().Pipe()
        self._process = children().Process(target=do_jobs, args=(self._repository, child_end))
        self._process.start()
        child_end.close()
        assert self.answer() == "ready"

    def send(self, job: Job | None) -> None:
        self._jobs.send(job)

    def answer(self) -> Any:
        assert self._jobs.poll(120), "a writer hangs"
        return self._jobs.recv()

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self._jobs.close()

    def end(self) -> None:
        if self._process.is_alive():
            self.send(None)
            self._process.join(10)
        self.kill()


def success(answer: Any) -> int:
    assert isinstance(answer, int), answer
    return answer


@contextmanager
def writers(butler: Butler) -> Iterator[list[Writer]]:
    started = [Writer(root(butler)) for _ in range(WRITERS)]
    try:
        yield started
    finally:
        for writer in started:
            writer.end()


def exposures_of(number: int) -> list[dict[str, Any]]:
    """Describe the exposures of a round: a single one, two snaps and three."""
    first = 6 * number + 1
    groups = [(first, first), (first + 1, first + 2), (first + 3, first + 5)]
    return [exposure(snap, seq_start=start, seq_end=end) for start, end in groups for snap in range(start, end + 1)]


def make_jobs(butler: Butler, number: int, rng: random.Random) -> list[Job]:
    """Register some exposures of a round, and think of jobs that define all of its visits, most of them often."""
    grouping = GROUPINGS[number % 2]
    exposures = rng.sample(exposures_of(number), 6)
    late, early = exposures[:3], exposures[3:]
    # Groups and days are the telescope's to register.
    for element, key in (("group", "name"), ("day_obs", "id")):
        known = [{"instrument": INSTRUMENT, key: value} for value in {one[element] for one in exposures}]
        butler.registry.insertDimensionData(element, *known, skip_existing=True)
    ids = add_exposures(butler, early)
    jobs = [Job(grouping, [one], [one["id"]], INCREMENTAL) for one in late]
    jobs.append(Job(grouping, [], ids, INCREMENTAL))
    while len(jobs) < WRITERS:
        # A visit that more snaps have come to meanwhile is a conflict for a run that does not know them.
        options = INCREMENTAL if rng.random() < 0.5 else {"skip_conflicting": True}
        jobs.append(Job(grouping, [], rng.sample(ids, rng.randint(1, 3)), options))
    rng.shuffle(jobs)
    return jobs


def make_one_off_jobs(butler: Butler, number: int, rng: random.Random) -> list[Job]:
    """Register all exposures of a round, and think of jobs without options that define one or more of its groups."""
    add_exposures(butler, exposures_of(number))
    groups: dict[str, list[int]] = {}
    for one in exposures_of(number):
        groups.setdefault(one["group"], []).append(one["id"])
    jobs = [Job(GROUPINGS[number % 2], [], list(chain.from_iterable(groups.values())), {})]
    while len(jobs) < WRITERS:
        some = rng.sample(list(groups.values()), rng.randint(1, len(groups)))
        jobs.append(Job(GROUPINGS[number % 2], [], list(chain.from_iterable(some)), {}))
    rng.shuffle(jobs)
    return jobs


def assert_whole(butler: Butler, alone: Butler, rounds: int) -> list[int]:
    """Check that all visits are as an undisturbed writer defines them, who knows all exposures.

    Returns the number of visits of each round.
    """
    n_new = []
    for number in range(rounds):
        ids = add_exposures(alone, exposures_of(number))
        n_new.append(make_task(alone, GROUPINGS[number % 2]).run(data_ids(ids)).n_new)
    assert tables(butler) == tables(alone)
    return n_new


ONE_OFF = 5
"""One of so many rounds is without options."""


@pytest.mark.parametrize("rounds", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_rounds(make_survey: Callable[..., Butler], rounds: int) -> None:
    butler = make_survey()
    rng = random.Random(1)
    n_new = []
    with writers(butler) as all_writers:
        for number in range(rounds):
            jobs = (make_jobs if number % ONE_OFF else make_one_off_jobs)(butler, number, rng)
            for writer, job in zip(all_writers, jobs, strict=True):
                writer.send(job)
            n_new.append(sum(success(writer.answer()) for writer in all_writers))
    # Whoever was first with a visit, and nobody else, counts it.
    assert n_new == assert_whole(butler, make_survey(), rounds)


KILLS = 8


@pytest.mark.slow
def test_killed(make_survey: Callable[..., Butler]) -> None:
    """A process that is killed disturbs nobody, and another can do its job again."""
    butler = make_survey()
    rng = random.Random(2)
    duration = 0.5
    with writers(butler) as all_writers:
        for number in range(KILLS):
            jobs = make_jobs(butler, number, rng)
            begin = time.monotonic()
            for writer, job in zip(all_writers, jobs, strict=True):
                writer.send(job)
            time.sleep(rng.uniform(0, duration))
            victims = rng.sample(range(WRITERS), 2)
            for victim in victims:
                all_writers[victim].kill()
            survivors = [writer for i, writer in enumerate(all_writers) if i not in victims]
            for writer in survivors:
                success(writer.answer())
            duration = time.monotonic() - begin
            for victim in victims:
                all_writers[victim].start()
                all_writers[victim].send(jobs[victim])
                success(all_writers[victim].answer())
    assert_whole(butler, make_survey(), KILLS)


ROUNDS_WITH_CUTS = 12
CUTS = 8


@pytest.mark.slow
@pytest.mark.postgresql_only
@pytest.mark.parametrize("level", ["read committed", "serializable"])
def test_connections_cut(make_survey: Callable[..., Butler], postgres: Cluster, level: str) -> None:
    """Runs whose connections are cut go on, or say that the database fails, and can be done again."""
    butler = make_survey()
    database = engine(butler).url.database
    with connect(butler) as connection:
        connection.execute(text(f"ALTER DATABASE {database} SET default_transaction_isolation = '{level}'"))
    rng = random.Random(3)
    cut = 0
    with writers(butler) as all_writers:
        for number in range(ROUNDS_WITH_CUTS):
            jobs = make_jobs(butler, number, rng)
            for writer, job in zip(all_writers, jobs, strict=True):
                writer.send(job)
            for _ in range(CUTS):
                time.sleep(rng.uniform(0, 0.05))
                cut += postgres.execute(
                    "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity WHERE "
                    f"datname = '{database}' AND state <> 'idle' ORDER BY random() LIMIT 1) AS one"
                )
            for writer, job in zip(all_writers, jobs, strict=True):
                if not isinstance(answer := writer.answer(), int):
                    assert isinstance(answer, DatabaseError), answer
                    assert str(root(butler)) in str(answer)
                    writer.send(job)
                    success(writer.answer())
    assert cut > ROUNDS_WITH_CUTS
    assert_whole(butler, make_survey(), ROUNDS_WITH_CUTS)
