"""The page on many machines: its commands and scripts work as they stand there."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
import yaml
from lsst.daf.butler import Butler

from simulated_survey import INSTRUMENT, insert_exposures, night
from visit_tables import root, stored

PAGE: Final = Path(__file__).parents[1] / "docs" / "many-machines.md"
N_VISITS: Final = len([one for one in night(30) if one["observation_type"] == "science"])

pytestmark = [pytest.mark.slow, pytest.mark.sqlite_only]  # What workers store in either database is tested elsewhere.


@pytest.fixture
def butler(make_survey: Callable[..., Butler], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Butler:
    butler = make_survey()
    insert_exposures(butler, night(30))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    return butler


def filled_in(butler: Butler) -> str:
    text = re.sub(r"\bREPO\b", str(root(butler)), PAGE.read_text())
    return re.sub(r"\bINSTRUMENT\b", INSTRUMENT, text)


def run(*command: str) -> str:
    completed = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


def command_with(option: str, butler: Butler) -> list[str]:
    (command,) = re.findall(rf"^butler define-visits .*{option}.*$", filled_in(butler), re.MULTILINE)
    return str(command).split()


def script(name: str, butler: Butler) -> str:
    (text,) = re.findall(rf"^```python\n(# {name}.*?)^```", filled_in(butler), re.MULTILINE | re.DOTALL)
    return str(text)


def test_processes(butler: Butler) -> None:
    assert f"{N_VISITS} new" in run(*command_with("--processes", butler))


def test_pool(butler: Butler) -> None:
    Path("pool.py").write_text(script("pool.py", butler))
    assert f"n_new={N_VISITS}" in run(sys.executable, "pool.py")


def test_dask(butler: Butler) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed here")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    services = re.findall(r"^dask (?:scheduler|worker) .*$", PAGE.read_text(), re.MULTILINE)
    assert len(services) == 2
    with ExitStack() as stack:
        for service in services:
            command = [*service.replace("8786", port).split(), "--no-dashboard"]
            process = stack.enter_context(
                subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            )
            stack.callback(process.terminate)
        wait_for(int(port))
        said = run(*(argument.replace("8786", port) for argument in command_with("--dask", butler)))
        assert f"{N_VISITS} new" in said
        # The worker first, which would wait for its scheduler.
        process.terminate()
        process.wait(timeout=30)


def wait_for(port: int) -> None:
    """Wait until somebody listens."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as connection:
            if connection.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise TimeoutError(port)


def test_slurm(butler: Butler) -> None:
    """The script for Slurm, with jobs that dask-jobqueue starts on this machine."""
    jobqueue = pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed here")
    text = script("slurm.py", butler)
    (job,) = re.findall(r"^ +job = (.*)$", text, re.MULTILINE)
    submitted = jobqueue.SLURMCluster.job_cls(
        scheduler="tcp://127.0.0.1:1", name="job", cores=8, processes=8, memory="16GB", **yaml.safe_load(job)
    ).job_script()
    for line in ("-p normal", "-A survey", "-t 02:00:00", "--cpus-per-task=8"):
        assert f"#SBATCH {line}\n" in submitted
    assert "--nworkers 8" in submitted
    assert "--nthreads 1" in submitted

    changes = {
        "from dask_jobqueue import SLURMCluster": "from dask_jobqueue.local import LocalCluster as SLURMCluster",
        job: "{}",
        "cores=8, processes=8": "cores=1, processes=1",
        "jobs=4": "jobs=2",
    }
    for old, new in changes.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    Path("jobs.py").write_text(text)
    assert f"n_new={N_VISITS}" in run(sys.executable, "jobs.py")
    assert len(stored(butler, "visit")) == N_VISITS
