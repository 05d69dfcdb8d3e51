"""Several processes that ingest the same files at once."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
from lsst.daf.butler import Butler

from butler_visits.ingest import ingest_raws, register_instrument
from example_raws import make_repository
from ingest_helpers import DESCRIPTION, science, stored
from simulated_raws import write_raws

N_FILES = 40


def ingest(repository: Path, raws: Path, transfer: Any, barrier: Any, results: Any) -> None:
    """Ingest in a child process, when all are ready."""
    butler = Butler.from_config(repository, writeable=True)
    barrier.wait()
    result = ingest_raws(butler, [raws], transfer=transfer, batch_size=4, threads=2)
    results.put((result.n_ingested, result.n_skipped))


@pytest.mark.parametrize("transfer", ["direct", "copy"])
def test_concurrent(
    tmp_path: Path, transfer: Any, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    folders = [str(Path(__file__).parent), str(request.config.rootpath / "demo"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, folders)))
    raws = tmp_path / "raw"
    write_raws(raws, science(N_FILES))
    for name in ("alone", "shared"):
        register_instrument(make_repository(tmp_path / name), DESCRIPTION)
    alone = Butler.from_config(tmp_path / "alone", writeable=True)
    ingest_raws(alone, [raws], transfer=transfer)

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["butler_visits.ingest", "lsst.daf.butler.direct_butler", "ingest_helpers"])
    barrier, results = context.Barrier(3), context.Queue()
    children = [
        context.Process(target=ingest, args=(tmp_path / "shared", raws, transfer, barrier, results)) for _ in range(3)
    ]
    for child in children:
        child.start()
    counts = [results.get(timeout=120) for _ in children]
    for child in children:
        child.join()
        assert child.exitcode == 0
    assert sum(ingested for ingested, _ in counts) == N_FILES
    assert all(ingested + skipped == N_FILES for ingested, skipped in counts)
    assert stored(Butler.from_config(tmp_path / "shared")) == stored(alone)
