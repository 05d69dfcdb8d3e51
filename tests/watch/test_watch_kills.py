"""A watch that is killed again and again while files arrive leaves what one undisturbed ingest of them leaves.

``BUTLER_VISITS_KILLS`` says how often each is killed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from lsst.daf.butler import Butler

from butler_visits.repository.instruments import register_instrument
from command_line import visits_command
from ingest_helpers import DESCRIPTION, cluster_of, files_in, stored
from killing import COMMIT, Attempt, Kind, end_of_group
from simulated_raws import write_raws
from simulated_survey import night
from visit_tables import tables

KILLS = int(os.environ.get("BUTLER_VISITS_KILLS", "10"))
"""How often a watch is killed, with each database and transfer."""

POINTS = (
    COMMIT,
    *(f"INSERT INTO {name}" for name in ("exposure", "dataset", "file_datastore_records")),
    *(f"INSERT INTO {name}" for name in ("visit", "visit_definition", "visit_detector_region")),
)

OPTIONS = ("--batch", "0.1", "--settle", "0.5", "--give-up", "3", "--no-images")

pytestmark = pytest.mark.slow


def _described(butler: Butler) -> None:
    register_instrument(butler, DESCRIPTION)


def watch(transfer: str) -> Kind:
    """Return a watch of the folder ``night``."""
    return Kind(
        ("watch", *OPTIONS, "--transfer", transfer),
        _described,
        lambda folder: [folder / "night", "--bad-files", folder / "bad.jsonl"],
    )


def good_files(folder: Path, n_exposures: int) -> dict[str, bytes]:
    """Write two detectors' files of each exposure, snaps among them."""
    return {file.name: file.read_bytes() for file in write_raws(folder, night(n_exposures), detectors=(0, 4))}


def bad_files(good: dict[str, bytes], number: int) -> dict[str, bytes]:
    """Make files of which no raw can be made."""
    content = next(iter(good.values()))
    kinds = {
        "noise": b"\xff" * len(content),
        "empty": b"",
        "short": content[:-2880],
        "filter": content.replace(b"FILTER  =", b"FILTRE  ="),
        "telescope": content.replace(b"INSTRUME=", b"INSTRUMN="),
    }
    return {f"{list(kinds)[n % len(kinds)]}_{n}.fits": list(kinds.values())[n % len(kinds)] for n in range(number)}


def arrival(target: Path, content: bytes, rng: random.Random) -> Iterator[None]:
    """Write a file as one of many programs would, step by step."""
    how = rng.choice(["renamed", "moved", "in place", "at once", "preallocated", "in parts"])
    half = rng.randrange(len(content) + 1)
    if how in ("renamed", "moved"):
        folder = target.parent if how == "renamed" else target.parent.parent
        partial = folder / f".{target.name}.part"
        partial.write_bytes(content[:half])
        yield
        partial.write_bytes(content)
        yield
        partial.rename(target)
    elif how == "at once":
        target.write_bytes(content)
    else:
        with target.open("wb") as file:
            if how == "preallocated":
                file.truncate(len(content))
                yield
                file.write(content)
            else:
                file.write(content[:half])
                file.flush()
                yield
                if how == "in place":
                    file.write(content[half:])
        if how == "in parts":
            with target.open("ab") as file:
                file.write(content[half:])
    yield


def arrivals(folder: Path, files: dict[str, bytes], rng: random.Random) -> Iterator[None]:
    """Let files arrive, up to three at the same time, in no order."""
    left = list(files.items())
    rng.shuffle(left)
    active: list[Iterator[None]] = []
    while left or active:
        while left and len(active) < 3:
            name, content = left.pop()
            active.append(arrival(folder / name, content, rng))
        one = rng.choice(active)
        if next(one, 0) == 0:
            active.remove(one)
        yield


def kill(child: BaseProcess, attempt: Attempt) -> None:
    """Kill a watch, if it has not died at its point."""
    assert child.pid is not None
    child.kill()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL, attempt.said()[-3000:]
    end_of_group(child.pid)


def state(root: Path) -> dict[str, Any]:
    """Read all that is stored, with a Butler of its own."""
    with Butler.from_config(root) as butler:
        return {**stored(butler), **tables(butler)}


def listed(file: Path) -> list[str]:
    """Return the names of the files that are listed as bad."""
    return sorted(Path(json.loads(line)["path"]).name for line in file.read_text().splitlines())


def wait_until_done(attempt: Attempt, expected: dict[str, Any], bad: list[str], child: BaseProcess) -> None:
    """Wait until all is stored and listed; what comes too late is seen by the test itself."""
    deadline = time.monotonic() + 120
    file = attempt.folder / "bad.jsonl"
    while time.monotonic() < deadline and child.exitcode is None:
        if file.exists() and listed(file) == bad and state(attempt.root) == expected:
            return
        time.sleep(0.5)


@pytest.mark.parametrize("transfer", ["direct", "move"])
def test_killed_watch(tmp_path: Path, request: pytest.FixtureRequest, database: str, transfer: str) -> None:
    cluster = cluster_of(request)
    good = good_files(tmp_path / "good", 3 * KILLS)
    bad = bad_files(good, KILLS // 2 + 3)
    undisturbed = Attempt(watch(transfer), tmp_path / "undisturbed", cluster)
    result = visits_command("ingest", undisturbed.root, tmp_path / "good", "--define-visits", "--no-images")
    assert result.exit_code == 0, result.output
    expected = state(undisturbed.root)
    assert expected["visit"]
    undisturbed.remove()

    attempt = Attempt(watch(transfer), tmp_path / "killed", cluster)
    folder = attempt.folder / "night"
    folder.mkdir()
    rng = random.Random(f"{database} {transfer}")
    files = {**good, **bad}
    steps = arrivals(folder, files, rng)
    for number in range(KILLS):
        # At any time, its start included, or where it has sent a statement.
        point = (rng.choice(POINTS), rng.randrange(1, 5)) if number % 2 else None
        # Its end of the pipe is kept open.
        child, _events = attempt.start(point)
        until = time.monotonic() + (10 if point else rng.uniform(0, 5))
        while time.monotonic() < until and child.exitcode is None:
            next(steps, None)
            time.sleep(rng.uniform(0, 0.25))
        kill(child, attempt)
        attempt.wait_for_server()
        found = {key: len(rows) for key, rows in state(attempt.root).items() if key in ("raw", "exposure", "visit")}
        print(f"{transfer}, {database}, kill {number + 1} ({point}): {found}", flush=True)
        # Others write while no watch runs.
        for _ in range(rng.randrange(3)):
            next(steps, None)
    # What one that was killed has listed says nothing of this one.
    (attempt.folder / "bad.jsonl").unlink(missing_ok=True)
    child, _events = attempt.start()
    for _ in steps:
        time.sleep(rng.uniform(0, 0.02))
    wait_until_done(attempt, expected, sorted(bad), child)
    child.terminate()
    child.join(60)
    assert child.exitcode == 0, attempt.said()[-3000:]
    found = state(attempt.root)
    assert found.keys() == expected.keys()
    for key, rows in expected.items():
        assert found[key] == rows, key
    assert listed(attempt.folder / "bad.jsonl") == sorted(bad)
    assert sorted(path.name for path in files_in(folder)) == sorted(bad if transfer == "move" else files)
    attempt.remove()
