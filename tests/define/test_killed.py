"""A process that is killed leaves whole visits or none."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from lsst.daf.butler import Butler

from children import children
from killing import COMMIT, call_at, die
from simulated_survey import insert_exposures, night
from visit_tables import N_DETECTORS, data_ids, make_task, root, stored, tables, wait_for_servers

EXPOSURES = [one for one in night(100) if one["observation_type"] == "science"]
GROUPING = "one-to-one-and-by-counter"
KILLS = 24
CHUNK = 5
TABLES = (
    "visit",
    "visit_skypix_overlap",
    "visit_definition",
    "visit_system_membership",
    "visit_detector_region",
    "visit_detector_region_skypix_overlap",
)
"""What a chunk is written into, in this order."""


def define(repository: Path, events: Connection, dies_at: str | None) -> None:
    """Define visits in a child process, and tell when that starts and when it is done, unless it dies."""
    butler = Butler.from_config(repository, writeable=True)
    if dies_at is not None:
        call_at(butler, dies_at, die, last=TABLES[-1])
    task = make_task(butler, GROUPING, chunkSize=CHUNK)
    given = data_ids(one["id"] for one in EXPOSURES)
    events.send("start")
    task.run(given)
    events.send("done")


def start(repository: Path, dies_at: str | None = None) -> tuple[BaseProcess, Connection]:
    """Start a child and wait until it calls run."""
    events, child_end = children().Pipe(duplex=False)
    child = children().Process(target=define, args=(repository, child_end, dies_at))
    child.start()
    child_end.close()
    assert events.poll(60)
    assert events.recv() == "start"
    return child, events


def assert_whole(butler: Butler) -> int:
    """Check that each visit has all that belongs to it and nothing belongs to none; count the visits."""
    exposures = {one["id"]: one for one in EXPOSURES}
    visits = {record.id for record in stored(butler, "visit")}
    found = tables(butler)
    members = Counter(record.visit for record in stored(butler, "visit_definition"))
    systems = Counter(record.visit for record in stored(butler, "visit_system_membership"))
    regions = Counter(record.visit for record in stored(butler, "visit_detector_region"))
    assert set(members) == set(systems) == visits
    assert regions == dict.fromkeys(visits, N_DETECTORS)
    for visit in visits:
        one = exposures.get(visit)
        snaps = 1 if one is None else one["seq_end"] - one["seq_start"] + 1
        is_sequence = one is not None and one["seq_num"] == one["seq_start"]
        assert members[visit] == (snaps if is_sequence else 1)
        assert systems[visit] == (2 if one is not None and snaps == 1 else 1)
    assert {visit for visit, *_ in found["visit_overlap"]} == visits
    assert {row[:2] for row in found["detector_overlap"]} == {(v, d) for v in visits for d in range(N_DETECTORS)}
    return len(visits)


def test_killed_at_a_statement(make_survey: Callable[..., Butler]) -> None:
    """Wherever a second chunk is when the process dies, the first is there and nothing of the second."""
    butler, alone = make_survey(), make_survey()
    for one in (butler, alone):
        insert_exposures(one, EXPOSURES)
    given = data_ids(one["id"] for one in EXPOSURES)
    n_visits = make_task(alone, GROUPING).run(given).n_new
    before = 0
    for point in (*TABLES, COMMIT):
        child, _ = start(root(butler), point)
        child.join(60)
        assert child.exitcode == -signal.SIGKILL, point
        wait_for_servers(butler)
        # A chunk is at least as many visits as exposures.
        whole = assert_whole(Butler.from_config(root(butler)))
        assert before + CHUNK <= whole <= before + 2 * CHUNK, point
        before = whole
    assert make_task(butler, GROUPING).run(given).n_new == n_visits - before > 0
    assert tables(butler) == tables(alone)


@pytest.mark.slow
def test_killed(make_survey: Callable[..., Butler], database: str) -> None:
    # PostgreSQL's server sees to it there, so that it needs fewer.
    kills = KILLS if database == "sqlite" else KILLS // 3
    undisturbed = make_survey()
    insert_exposures(undisturbed, EXPOSURES)
    child, events = start(root(undisturbed))
    begin = time.perf_counter()
    assert events.poll(60)
    assert events.recv() == "done"
    duration = time.perf_counter() - begin
    child.join()
    expected = tables(undisturbed)
    n_visits = assert_whole(undisturbed)
    assert n_visits > 60

    rng = random.Random(1)
    done = []
    for kill in range(kills):
        butler = make_survey()
        insert_exposures(butler, EXPOSURES)
        child, _ = start(root(butler))
        time.sleep(duration * (kill + rng.random()) / kills)
        child.kill()
        child.join()
        # Opened anew, as after a crash.
        butler = Butler.from_config(root(butler), writeable=True)
        wait_for_servers(butler)
        done.append(assert_whole(butler))
        # The machine may be busier, or less busy, than it was at first.
        duration *= 0.8 if done[-1] == n_visits else 1.1 if done[-1] == 0 else 1
        result = make_task(butler, GROUPING).run(data_ids(one["id"] for one in EXPOSURES))
        assert (result.n_skipped, result.n_new) == (done[-1], n_visits - done[-1])
        assert tables(butler) == expected
    assert sum(0 < count < n_visits for count in done) >= kills // 4, done
