"""The page about the night: its commands and its service work as they stand there."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from lsst.daf.butler import Butler
from lsst.resources import ResourcePath

from butler_visits.repository.instruments import register_instrument
from command_line import visits_command
from ingest_helpers import DESCRIPTION, files_in, records, science
from simulated_raws import write_raws
from templates import make_repository

PAGE = (Path(__file__).parents[2] / "docs" / "night.md").read_text()

pytestmark = [pytest.mark.slow, pytest.mark.sqlite_only]


def _described(butler: Butler) -> None:
    register_instrument(butler, DESCRIPTION)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go where REPO is a repository, and INCOMING has an exposure."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    make_repository(tmp_path / "REPO", _described).close()
    write_raws(tmp_path / "INCOMING", science(1))


def command_with(words: str, **values: str) -> str:
    """Return the one command of the page with some words, filled in."""
    (line,) = (
        line for line in PAGE.splitlines() if "butler-visits " in line and words in line and line[0] not in " -`"
    )
    for name, value in values.items():
        line = line.replace(name, value)
    return line


def wait_until(done: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline, files_in(Path())
        time.sleep(0.05)


def n_visits() -> int:
    with Butler.from_config("REPO") as butler:
        return len(records(butler, "visit"))


@contextmanager
def running(command: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command in a shell, and end all of it with SIGTERM."""
    process = subprocess.Popen(
        ["bash", "-c", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
        print(said)


@pytest.mark.parametrize("words", ["watch REPO INCOMING", "--poll 5"])
def test_folder(words: str) -> None:
    command = min((line for line in PAGE.splitlines() if line.startswith("butler-visits") and words in line), key=len)
    with running(f"exec {command}") as watch:
        wait_until(lambda: n_visits() == 1)
        for file in write_raws(Path("elsewhere"), science(2)[1:]):
            file.rename(f"INCOMING/{file.name}")
        wait_until(lambda: n_visits() == 2)
    assert watch.returncode == 0


def test_cron() -> None:
    when, command = re.split(r" (?=butler-visits)", command_with("--once"))
    assert len(when.split()) == 5
    for _ in range(2):
        done = subprocess.run(command, shell=True, check=True, timeout=60, capture_output=True, text=True)
        assert (done.stdout, done.stderr) == ("", "")
    assert n_visits() == 1


def test_service(tmp_path: Path) -> None:
    """The unit is one that systemd takes, and its command tells systemd what it is to be told."""
    (unit,) = re.findall(r"^```ini\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    changes = {
        "/opt/visits/bin/butler-visits": str(shutil.which("butler-visits")),
        "/data/repo": "REPO",
        "/data/incoming": "INCOMING",
        "/run/night/": f"{tmp_path}/",
    }
    for old, new in changes.items():
        assert old in unit
        unit = unit.replace(old, new)
    Path("night.service").write_text(unit)
    if shutil.which("systemd-analyze"):
        checked = subprocess.run(
            ["systemd-analyze", "verify", "./night.service"], capture_output=True, text=True, check=False
        )
        assert "night.service" not in checked.stderr
    parser = ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(unit)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("notify")
        systemd.settimeout(60)
        with running(f"exec {parser['Service']['ExecStart']}", NOTIFY_SOCKET=str(tmp_path / "notify")) as watch:
            while "READY=1" not in systemd.recv(65536).decode().splitlines():
                pass
            wait_until(lambda: n_visits() == 1)
            while "1 visit" not in systemd.recv(65536).decode():
                pass
            status = visits_command("watch-status", *command_with("watch-status", STATUS="status.json").split()[2:])
            assert "1 file, 1 exposure, 1 visit in 1 batch." in status.output
            watch.terminate()
            while "STOPPING=1" not in systemd.recv(65536).decode().splitlines():
                pass
            assert watch.wait(60) == 0


def test_paths_and_a_folder() -> None:
    (file,) = write_raws(Path("elsewhere"), science(2)[1:])
    Path("paths.txt").write_text(f"{file.absolute()}\n")
    with running(command_with("cat paths.txt")):
        wait_until(lambda: n_visits() == 2)


def test_kafka() -> None:
    """One of kcat's is the cluster for the others."""
    if shutil.which("kcat") is None:
        pytest.skip("kcat is not installed here")
    mock = ["kcat", "-X", "test.mock.num.brokers=1", "-b", "any", "-C", "-t", "any", "-d", "mock"]
    with Path("kafka.log").open("w") as log:
        cluster = subprocess.Popen(mock, stdout=subprocess.DEVNULL, stderr=log)
    try:
        address = re.compile(r"bootstrap\.servers=(127\.0\.0\.1:\d+)")
        wait_until(lambda: address.search(Path("kafka.log").read_text()))
        found = address.search(Path("kafka.log").read_text())
        assert found
        produce = ["kcat", "-b", found[1], "-P", "-t", "raws"]
        (first,) = files_in(Path("INCOMING").absolute())
        (second,) = write_raws(Path("elsewhere").absolute(), science(2)[1:])
        subprocess.run(produce, input=f"{first}\n", text=True, check=True, timeout=60)
        with running(command_with("kcat -b", BROKER=found[1])):
            wait_until(lambda: n_visits() == 1)
            subprocess.run(produce, input=f"{second}\n", text=True, check=True, timeout=60)
            wait_until(lambda: n_visits() == 2)
    finally:
        cluster.kill()
        cluster.wait()


def test_redis() -> None:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed here")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    server = subprocess.Popen(
        ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", ""], stdout=subprocess.DEVNULL
    )
    cli = ["redis-cli", "-p", port]

    def push(file: Path) -> bool:
        return subprocess.run([*cli, "RPUSH", "raws", file], capture_output=True, check=False).returncode == 0

    try:
        first, second = files_in(Path("INCOMING").absolute()) + write_raws(
            Path("else where").absolute(), science(2)[1:]
        )
        wait_until(lambda: push(first))
        with running(command_with("redis-cli", REDIS=f"127.0.0.1 -p {port}")) as pipe:
            wait_until(lambda: n_visits() == 1)
            push(second)
            wait_until(lambda: n_visits() == 2)
            server.terminate()
            # The end of the input is the end of the watch.
            assert pipe.wait(60) == 0
    finally:
        server.kill()
        server.wait()


def test_store(store: str) -> None:
    for file in files_in(Path("INCOMING")):
        ResourcePath(f"{store}incoming/{file.name}").write(file.read_bytes())
    with running(f"exec {command_with('s3://', **{'s3://BUCKET/': store})}") as watch:
        wait_until(lambda: n_visits() == 1)
    assert watch.returncode == 0
