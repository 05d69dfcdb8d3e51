"""``--processes`` and ``--dask`` on the command line, and what becomes of it when it is interrupted."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from lsst.daf.butler import Butler

from butler_visits.cli.workers import workers
from command_line import PROGRAMS, define_visits, lines, run_new_program, run_program, without_rate
from simulated_survey import INSTRUMENT
from visit_tables import N_DETECTORS, add_exposures, data_ids, exposure, make_task, root, stored, tables

EXPOSURES = [exposure(number) for number in range(1, 61)]

pytestmark = pytest.mark.sqlite_only  # Workers that write into either database are tested in Python.


@pytest.fixture
def butler(make_survey: Callable[..., Butler]) -> Butler:
    butler = make_survey()
    add_exposures(butler, EXPOSURES)
    return butler


@pytest.mark.slow
def test_processes(butler: Butler) -> None:
    command = ["define-visits", root(butler), INSTRUMENT, "--processes", 2]
    result = run_new_program("butler", "--long-log", "--log-level", "VERBOSE", *command)
    assert result.returncode == 0, result.stderr
    assert without_rate(result.stdout) == "60 visits: 60 new, 0 updated, 0 left as they are.\n"
    # The workers log as the program does.
    assert "INFO" in result.stderr
    assert f"Camera {INSTRUMENT} is from dataset type camera_geometry" in result.stderr
    result = run_program("butler", *command)
    assert without_rate(result.stdout) == "60 visits: 0 new, 0 updated, 60 left as they are.\n"


def test_one_process(butler: Butler) -> None:
    result = define_visits(root(butler), INSTRUMENT, "--processes", 1)
    assert lines(result) == ["60 visits: 60 new, 0 updated, 0 left as they are."]


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_errors(butler: Butler, on_error: str) -> None:
    """Conflicts are told as they are by one process."""
    make_task(butler).run(data_ids(one["id"] for one in EXPOSURES))
    add_exposures(butler, [{**EXPOSURES[index], "target_name": "M 31"} for index in (5, 55)], replace=True)
    alone = define_visits(root(butler), INSTRUMENT, "--on-error", on_error)
    result = define_visits(root(butler), INSTRUMENT, "--on-error", on_error, "--processes", 2)
    assert result.exit_code == alone.exit_code == 1
    assert str(EXPOSURES[55]["id"]) in alone.stderr
    assert sorted(result.stderr.splitlines()) == sorted(alone.stderr.splitlines())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--processes", 2, "--dask", "tcp://127.0.0.1:1"], "give one"),
        (["--processes", 2, "--dry-run"], "without --processes"),
        (["--dask", "tcp://127.0.0.1:1", "--output", "visits.csv"], "without --processes or --dask"),
        (["--processes", 0], "0 is not in the range x>=1"),
    ],
)
def test_usage(butler: Butler, options: list[object], said: str) -> None:
    result = define_visits(root(butler), INSTRUMENT, *options)
    assert result.exit_code == 2
    assert said in result.stderr


def test_without_dask(butler: Butler, tmp_path: Path) -> None:
    """Where Dask is not installed all else works, and --dask says how to install it."""
    (tmp_path / "distributed.py").write_text("raise ImportError('No module named distributed')\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    shown = run_program("butler", "define-visits", "--help", PYTHONPATH=path)
    assert shown.returncode == 0, shown.stderr
    assert "--dask ADDRESS" in shown.stdout
    result = run_program("butler", "define-visits", root(butler), INSTRUMENT, "--dask", "tcp://x:1", PYTHONPATH=path)
    assert result.returncode == 1
    assert "pip install 'butler-visits[dask]'" in result.stderr
    assert "Traceback" not in result.stderr


# Interruptions


PYTHONPATH = os.pathsep.join([os.environ.get("PYTHONPATH", ""), *filter(None, sys.path)])

CONFIG = """
import trouble_regions

config.computeVisitRegions = "worker-trouble"
config.computeVisitRegions.active.seconds = 0.5
config.chunkSize = 2
"""


@pytest.fixture
def running(butler: Butler, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Return a program in a session of its own whose two workers have defined some visits, and are at it."""
    config = tmp_path / "config.py"
    config.write_text(CONFIG)
    arguments = ["define-visits", str(root(butler)), INSTRUMENT, "--processes", "2", "-C", str(config)]
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAMS["butler-visits"], *arguments],
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 300
    while len(stored(butler, "visit")) < 6:
        assert program.poll() is None, program.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    yield program
    if program.poll() is None:
        os.killpg(program.pid, signal.SIGKILL)
    program.communicate()


def processes_end(group: int) -> bool:
    """Wait until no process of a group is left."""
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def assert_whole(butler: Butler, make_survey: Callable[..., Butler]) -> None:
    """Check that there are some visits, all whole, and that the others can be added."""
    visits = {visit.id for visit in stored(butler, "visit")}
    assert 0 < len(visits) < len(EXPOSURES)
    regions = [region.visit for region in stored(butler, "visit_detector_region")]
    assert sorted(regions) == sorted(list(visits) * N_DETECTORS)
    alone = make_survey()
    add_exposures(alone, EXPOSURES)
    given = data_ids(one["id"] for one in EXPOSURES)
    assert make_task(butler).run(given).n_skipped == len(visits)
    make_task(alone).run(given)
    assert tables(butler) == tables(alone)


@pytest.mark.parametrize("which", [0, 1])
def test_worker_that_dies_at_the_end(which: int) -> None:
    """One of the idle waits for the next call with the queue locked, and takes the lock with it."""

    def run() -> None:
        with workers(2, None) as pool:
            assert pool is not None
            pids = {*pool.map(_pid, range(8))}
            while len(pids) < 2:
                pids |= {*pool.map(_pid, range(8))}
            dies, stays = sorted(pids)[:: 1 - 2 * which]
            for pid in (dies, stays):
                os.kill(pid, signal.SIGSTOP)
            timer = threading.Timer(0.5, end, (dies, stays))
            timer.start()
        timer.join()

    def end(dies: int, stays: int) -> None:
        for pid, number in ((dies, signal.SIGKILL), (stays, signal.SIGCONT)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


def _pid(_number: int) -> int:
    time.sleep(0.05)
    return os.getpid()


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["program", "terminal"])
def test_interrupt(
    butler: Butler, make_survey: Callable[..., Butler], running: subprocess.Popen[str], whom: str
) -> None:
    """Ctrl-C ends the program and its workers; a terminal sends it to the workers too."""
    if whom == "program":
        running.send_signal(signal.SIGINT)
    else:
        os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=100)
    assert running.returncode == 130
    assert re.search(r"Interrupted: at least \d+ of \d+ visits are stored", said)
    assert "Traceback" not in said
    assert processes_end(running.pid)
    assert_whole(butler, make_survey)


@pytest.mark.slow
def test_killed_program(butler: Butler, make_survey: Callable[..., Butler], running: subprocess.Popen[str]) -> None:
    """Workers do not outlive the program, however it ends."""
    running.kill()
    running.communicate()
    assert processes_end(running.pid)
    assert_whole(butler, make_survey)


@pytest.mark.slow
def test_killed_worker(butler: Butler, make_survey: Callable[..., Butler], tmp_path: Path) -> None:
    """The death of a worker ends the program, and the others, with a message."""
    config, deaths = tmp_path / "config.py", tmp_path / "deaths"
    deaths.touch()
    dies = f"active.update(dies={EXPOSURES[30]['target_name']!r}, deaths={str(deaths)!r})"
    config.write_text(f"{CONFIG}config.computeVisitRegions.{dies}\n")
    command = ["define-visits", root(butler), INSTRUMENT, "--processes", 2, "-C", config]
    # It has ended when nobody can write into its pipes any more.
    result = run_new_program("butler-visits", *command, PYTHONPATH=PYTHONPATH)
    assert result.returncode == 1
    assert "Error: A worker of ProcessPoolExecutor died" in result.stderr
    assert "run it again for the rest" in result.stderr
    assert "Traceback" not in result.stderr
    assert_whole(butler, make_survey)
