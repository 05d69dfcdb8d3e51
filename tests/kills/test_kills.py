"""Commands that are killed leave whole visits and whole files, and what is run again ends as if nothing had been.

``make fuzz-kills`` kills each so often that there are a thousand in all.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import psutil
import pytest
from lsst.daf.butler import Butler

from ingest_helpers import cluster_of
from killing import EXPOSURES, KINDS, Attempt, Kind, end_of_group
from visit_tables import stored

KILLS = int(os.environ.get("BUTLER_VISITS_KILLS", "5"))
"""How often each kind is killed, with each database."""

pytestmark = pytest.mark.slow


def kill_at_random(attempt: Attempt, rng: random.Random, seconds: float, visits: int = 0) -> None:
    """Kill the program, or one of its workers, at any time, or when so many visits are there."""
    child, _ = attempt.start()
    assert child.pid is not None
    if visits:
        with Butler.from_config(attempt.root) as butler:
            while child.is_alive() and len(stored(butler, "visit")) < visits:
                time.sleep(0.005)
    else:
        time.sleep(rng.uniform(0, seconds))
    victims = [child.pid]
    if child.is_alive() and "--processes" in attempt.kind.command and rng.random() < 0.5:
        victims = [one.pid for one in psutil.Process(child.pid).children(recursive=True)] or victims
    try:
        os.kill(rng.choice(victims), signal.SIGKILL)
    except ProcessLookupError:
        assert not child.is_alive()
    child.join(300)
    assert child.exitcode is not None, "it hangs"
    end_of_group(child.pid)


def kill_at_point(attempt: Attempt, point: tuple[str, int]) -> None:
    """Kill the program where it has sent a statement, or is about to do something to a file."""
    child, _ = attempt.start(point)
    child.join(300)
    assert child.exitcode in (-signal.SIGKILL, 0, 1), (point, child.exitcode)
    assert child.pid is not None
    end_of_group(child.pid)


@pytest.mark.parametrize("name", KINDS)
def test_kills(tmp_path: Path, request: pytest.FixtureRequest, database: str, name: str) -> None:
    kind: Kind = KINDS[name]
    cluster = cluster_of(request)
    # The first one takes longer.
    first = Attempt(kind, tmp_path / "first", cluster)
    first.finish()
    first.remove()
    undisturbed = Attempt(kind, tmp_path / "undisturbed", cluster)
    before, begin = undisturbed.state(), time.monotonic()
    points = undisturbed.finish()
    seconds = time.monotonic() - begin
    after, files = undisturbed.state(), undisturbed.files()
    undisturbed.remove()
    assert before != after
    by_name: dict[str, list[tuple[str, int]]] = {}
    for point in points:
        by_name.setdefault(point[0], []).append(point)

    rng = random.Random(f"{name} {database}")
    named = rng.sample(sorted(by_name), len(by_name))
    for kill in range(KILLS):
        attempt = Attempt(kind, tmp_path / f"kill{kill}", cluster)
        if kill % 2 and "--processes" in kind.command:
            # Workers are not told of points, and most of their time they begin.
            point = ("visits", rng.randrange(1, len(EXPOSURES)))
            kill_at_random(attempt, rng, seconds, point[1])
        elif kill % 2:
            point = rng.choice(by_name[named[kill // 2 % len(named)]])
            kill_at_point(attempt, point)
        else:
            point = ("any time", 0)
            kill_at_random(attempt, rng, seconds)
        attempt.wait_for_server()
        found = attempt.state()
        halves = {key for key, rows in found.items() if rows not in (before.get(key), after.get(key))}
        assert not halves, (kill, point)
        assert found.keys() >= before.keys(), (kill, point)
        n_whole = sum(found[key] == after[key] for key in found)
        attempt.finish()
        assert attempt.state() == after, (kill, point)
        assert attempt.files() == files, (kill, point)
        attempt.remove()
        print(f"{name}, {database}, kill {kill + 1} ({point[0]}): {n_whole} whole", flush=True)
