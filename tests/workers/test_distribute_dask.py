"""Workers of a Dask cluster, which runs on this machine for as long as the tests do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import pytest
from lsst.daf.butler import Butler

from butler_visits import DefineVisitsConfig, DefineVisitsTask, WorkerError
from command_line import PROGRAMS, define_visits, lines
from simulated_survey import INSTRUMENT
from visit_tables import N_DETECTORS, add_exposures, data_ids, exposure, make_task, root, stored, tables

pytestmark = pytest.mark.slow

distributed = pytest.importorskip("distributed", reason="Dask is not installed here")
dask = pytest.importorskip("dask")
pytest.importorskip("trouble_regions")

pytestmark = pytest.mark.slow

EXPOSURES = [exposure(number) for number in range(1, 31)]
GIVEN = data_ids(one["id"] for one in EXPOSURES)
BAD = 10
"""Index of the exposure that there is trouble with."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    settings = {
        "distributed.scheduler.allowed-failures": 1,
        "distributed.comm.timeouts.connect": "5s",
        "distributed.admin.system-monitor.gil.enabled": False,
    }
    # Free ports of the loopback device, and no dashboard.
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=2, host="127.0.0.1", scheduler_port=0, dashboard_address=None
        ) as cluster,
    ):
        yield cluster


@pytest.fixture
def client(cluster: Any) -> Iterator[Any]:
    with distributed.Client(cluster) as client:
        yield client


@pytest.fixture
def pair(make_survey: Callable[..., Butler]) -> tuple[Butler, Butler]:
    """Return two repositories with the same exposures: one for workers, one for this process."""
    butlers = make_survey(), make_survey()
    for butler in butlers:
        add_exposures(butler, EXPOSURES)
    return butlers


def trouble_task(butler: Butler, **fields: Any) -> DefineVisitsTask:
    """Make a task that is in trouble with one exposure; chunks have three visits."""
    config = DefineVisitsConfig()
    config.chunkSize = 3
    config.computeVisitRegions.name = "worker-trouble"
    config.computeVisitRegions.active.update(**fields)
    return DefineVisitsTask(config, butler=butler)


def test_same_as_alone(pair: tuple[Butler, Butler], client: Any) -> None:
    butler, alone = pair
    result = make_task(butler, chunkSize=2).run(GIVEN, executor=client.get_executor())
    assert result == make_task(alone).run(GIVEN)
    assert result.n_new == len(EXPOSURES)
    assert tables(butler) == tables(alone)


@pytest.mark.sqlite_only  # After an error workers are not waited for, so their database must stay.
def test_failure(pair: tuple[Butler, Butler], client: Any) -> None:
    task = trouble_task(pair[0], fails=EXPOSURES[BAD]["target_name"])
    result = task.run(GIVEN, on_error="skip", executor=client.get_executor())
    assert [failure.exposures for failure in result.failures] == [(EXPOSURES[BAD]["id"],)]
    with pytest.raises(ValueError, match="no region for"):
        task.run(GIVEN, executor=client.get_executor())


@pytest.mark.sqlite_only  # Workers come back slowly; what is left in either database is tested without Dask.
def test_dead_worker(pair: tuple[Butler, Butler], client: Any, tmp_path: Path) -> None:
    """A chunk whose worker dies is done by another one."""
    butler, alone = pair
    task = trouble_task(butler, dies=EXPOSURES[BAD]["target_name"], times=1, deaths=str(touched(tmp_path / "deaths")))
    assert task.run(GIVEN, executor=client.get_executor()).n_visits == len(EXPOSURES)
    assert (tmp_path / "deaths").read_text().count("\n") == 1
    make_task(alone).run(GIVEN)
    assert tables(butler) == tables(alone)


@pytest.mark.sqlite_only
@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_deadly_chunk(
    pair: tuple[Butler, Butler], client: Any, tmp_path: Path, on_error: Literal["raise", "skip"]
) -> None:
    """A chunk whose second worker dies too is given up, with what Dask takes for its fault."""
    butler, alone = pair
    task = trouble_task(butler, dies=EXPOSURES[BAD]["target_name"], times=99, deaths=str(touched(tmp_path / "deaths")))
    if on_error == "raise":
        with pytest.raises(WorkerError, match=r"The workers that were to define visits .* run it again"):
            task.run(GIVEN, executor=client.get_executor())
    else:
        result = task.run(GIVEN, on_error="skip", executor=client.get_executor())
        failed = {exposure for failure in result.failures for exposure in failure.exposures}
        assert EXPOSURES[BAD]["id"] in failed
        assert all("died" in failure.reason for failure in result.failures)
        assert result.n_visits + result.n_failed == len(EXPOSURES)
        assert {one["id"] for one in EXPOSURES} - failed <= {visit.id for visit in stored(butler, "visit")}
    assert (tmp_path / "deaths").read_text().count("\n") == 2
    make_task(butler).run(GIVEN)
    make_task(alone).run(GIVEN)
    assert tables(butler) == tables(alone)


def touched(file: Path) -> Path:
    """Make an empty file."""
    file.touch()
    return file


@pytest.mark.sqlite_only
def test_command_line(pair: tuple[Butler, Butler], cluster: Any) -> None:
    address = cluster.scheduler_address
    result = define_visits(root(pair[0]), INSTRUMENT, "--dask", address)
    assert lines(result) == [f"{len(EXPOSURES)} visits: {len(EXPOSURES)} new, 0 updated, 0 left as they are."]


@pytest.mark.sqlite_only
@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense://x", "no address"])
def test_no_scheduler(make_survey: Callable[..., Butler], address: str) -> None:
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        result = define_visits(root(make_survey()), INSTRUMENT, "--dask", address)
    assert result.exit_code == 1
    assert f"The Dask scheduler at {address} cannot be reached" in result.stderr


CONFIG = """
import trouble_regions

config.computeVisitRegions = "worker-trouble"
config.computeVisitRegions.active.seconds = 0.1
config.chunkSize = 1
"""


@pytest.mark.sqlite_only
def test_lost_scheduler(make_survey: Callable[..., Butler], tmp_path: Path) -> None:
    """A scheduler that is killed ends the run soon, with a message and what is defined whole."""
    butler = make_survey()
    add_exposures(butler, EXPOSURES)
    config, where = tmp_path / "config.py", tmp_path / "scheduler.json"
    config.write_text(CONFIG)
    folders = [os.environ.get("PYTHONPATH", ""), *filter(None, sys.path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    with ExitStack() as stack:

        def start(*arguments: object, **pipes: Any) -> subprocess.Popen[str]:
            command = [sys.executable, *map(str, arguments)]
            process = stack.enter_context(subprocess.Popen(command, env=environment, text=True, **pipes))
            stack.callback(process.kill)
            return process

        def wait_until(done: Callable[[], bool]) -> None:
            deadline = time.monotonic() + 60
            while not done():
                assert time.monotonic() < deadline
                time.sleep(0.05)

        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        options = ["--scheduler-file", where, "--no-dashboard"]
        scheduler = start("-m", "dask", "scheduler", *options, "--host", "127.0.0.1", "--port", 0, **silent)
        wait_until(where.exists)
        address = json.loads(where.read_text())["address"]
        start("-m", "dask", "worker", *options, "--no-nanny", "--nthreads", 2, **silent)
        command = ["define-visits", root(butler), INSTRUMENT, "--dask", address, "-C", config]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        program = start("-c", PROGRAMS["butler-visits"], *command, **pipes)
        wait_until(lambda: len(stored(butler, "visit")) >= 3 or program.poll() is not None)
        scheduler.kill()
        _, said = program.communicate(timeout=30)
    assert program.returncode == 1
    assert f"Error: The connection to the Dask scheduler at {address} is lost." in said
    assert "Traceback" not in said
    visits = {visit.id for visit in stored(butler, "visit")}
    assert 0 < len(visits) < len(EXPOSURES)
    assert len(stored(butler, "visit_detector_region")) == len(visits) * N_DETECTORS
    assert make_task(butler).run(GIVEN).n_skipped == len(visits)
