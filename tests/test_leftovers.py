"""A server that a test run leaves behind is ended by the next run, and no other is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

import leftovers
from leftovers import end_leftovers, forget, remember

SLEEPER = "import sys; print('ready', flush=True); sys.stdin.read()"


@contextmanager
def sleeper() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", SLEEPER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def test_leftovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "FOLDER", tmp_path / "servers")
    with ExitStack() as stack:
        owner, left, own, stopped = (stack.enter_context(sleeper()) for _ in range(4))
        folder = tmp_path / "folder"
        folder.mkdir()
        remember(left.pid, folder, owner=owner.pid)
        remember(stopped.pid, owner=owner.pid)
        remember(own.pid)
        assert end_leftovers() == []
        forget(stopped.pid)
        owner.kill()
        owner.wait()
        assert end_leftovers() == [left.pid]
        left.wait(100)
        assert not folder.exists()
        assert psutil.pid_exists(own.pid) and stopped.poll() is own.poll() is None
        assert end_leftovers() == []
    assert [path.stem for path in leftovers.FOLDER.glob("*.json")] == [str(own.pid)]
