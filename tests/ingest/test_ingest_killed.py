"""An ingest that is killed and started again leaves what one that is not killed does."""

from __future__ import annotations

import random
import shutil
import signal
import time
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from lsst.daf.butler import Butler

from butler_visits.ingest import ingest_raws
from butler_visits.repository.instruments import register_instrument
from children import children
from ingest_helpers import DESCRIPTION, files_in, science, stored
from killing import COMMIT, call_at, die
from simulated_raws import write_raws
from templates import make_repository

N_FILES = 36
BATCH = 4
KILLS = 8
TABLES = ("exposure", "dataset", "dataset_location", "file_datastore_records")
"""What a batch is written into, in this order."""


def ingest(repository: Path, raws: Path, transfer: Any, dies_at: str | None, events: Connection) -> None:
    """Ingest in a child process, and tell when that starts and when it is done, unless it dies."""
    butler = Butler.from_config(repository, writeable=True)
    if dies_at is not None:
        call_at(butler, dies_at, die, last=TABLES[-1])
    events.send("start")
    ingest_raws(butler, [raws], transfer=transfer, batch_size=BATCH, threads=2)
    events.send("done")


def start(*arguments: Any) -> tuple[BaseProcess, Connection]:
    """Start a child and wait until it begins."""
    events, child_end = children().Pipe(duplex=False)
    child = children().Process(target=ingest, args=(*arguments, child_end))
    child.start()
    child_end.close()
    assert events.poll(60)
    assert events.recv() == "start"
    return child, events


@pytest.mark.parametrize("transfer", ["direct", "copy", "move"])
def test_killed_at_a_statement(tmp_path: Path, transfer: Any) -> None:
    """Wherever a second batch is when the process dies, the first is there, and the rest can be ingested again."""
    for name in ("disturbed", "alone"):
        write_raws(tmp_path / name / "raws", science(N_FILES))
        register_instrument(make_repository(tmp_path / name / "repository"), DESCRIPTION)
    repository, raws = tmp_path / "disturbed" / "repository", tmp_path / "disturbed" / "raws"
    for number, point in enumerate((*TABLES, COMMIT), start=1):
        child, _ = start(repository, raws, transfer, point)
        child.join(60)
        assert child.exitcode == -signal.SIGKILL, point
        found = stored(Butler.from_config(repository))
        assert len(found["raw"]) == len(found["exposure"]) == number * BATCH, point
        assert all(there for *_, there in found["raw"])
    butler = Butler.from_config(repository, writeable=True)
    result = ingest_raws(butler, [raws], transfer=transfer)
    assert (result.n_ingested, result.n_failed) == (N_FILES - len(found["raw"]), 0)
    alone = Butler.from_config(tmp_path / "alone" / "repository", writeable=True)
    ingest_raws(alone, [tmp_path / "alone" / "raws"], transfer=transfer)
    assert stored(butler) == stored(alone)
    assert len(files_in(raws)) == (0 if transfer == "move" else N_FILES)


@pytest.mark.slow
@pytest.mark.parametrize("transfer", ["direct", "copy", "move"])
def test_killed(tmp_path: Path, transfer: Any) -> None:
    write_raws(tmp_path / "template", science(N_FILES))
    register_instrument(make_repository(tmp_path / "empty"), DESCRIPTION)

    def prepare(name: str) -> tuple[Path, Path]:
        folder = tmp_path / name
        shutil.copytree(tmp_path / "template", folder / "raw")
        shutil.copytree(tmp_path / "empty", folder / "repository")
        return folder / "repository", folder / "raw"

    repository, raws = prepare("undisturbed")
    child, events = start(repository, raws, transfer, None)
    begin = time.perf_counter()
    assert events.poll(60)
    assert events.recv() == "done"
    duration = time.perf_counter() - begin
    child.join()
    expected = stored(Butler.from_config(repository, writeable=False))
    assert len(expected["raw"]) == N_FILES

    rng = random.Random(transfer)
    done = []
    for kill in range(KILLS):
        repository, raws = prepare(f"killed{kill}")
        child, _ = start(repository, raws, transfer, None)
        time.sleep(duration * (kill + rng.random()) / KILLS)
        child.kill()
        child.join()
        # Opened anew, as after a crash.
        butler = Butler.from_config(repository, writeable=True)
        found = stored(butler)
        done.append(len(found["raw"]))
        # The machine may be busier, or less busy, than it was at first.
        duration *= 0.8 if done[-1] == N_FILES else 1.1 if done[-1] == 0 else 1
        # Whole batches, and no dataset without its file.
        assert done[-1] % BATCH == 0
        assert len(found["exposure"]) == done[-1]
        assert all(there for *_, there in found["raw"])
        result = ingest_raws(butler, [raws], transfer=transfer)
        assert result.n_ingested == N_FILES - done[-1]
        assert result.n_failed == 0
        assert stored(butler) == expected
        assert len(files_in(raws)) == (0 if transfer == "move" else N_FILES)
    # How many come within the writing is the machine's affair; those above at a statement always do.
    assert any(0 < count < N_FILES for count in done), done
