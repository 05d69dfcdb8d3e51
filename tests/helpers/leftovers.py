"""Servers that a test run has left behind because it was killed: the next run ends them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Final

import psutil

FOLDER: Final = Path(tempfile.gettempdir()) / f"butler-visits-servers-{os.getuid()}"
"""Holds a note for each server that runs."""


def remember(pid: int, folder: Path | None = None, *, owner: int | None = None) -> None:
    """Note a server that this process has started, and the folder that goes with it."""
    FOLDER.mkdir(exist_ok=True)
    note = {"server": _identity(pid), "owner": _identity(os.getpid() if owner is None else owner)}
    (FOLDER / "new").mkdir(exist_ok=True)
    # Written elsewhere first, so that nobody reads half a note.
    new = FOLDER / "new" / str(pid)
    new.write_text(json.dumps({**note, "folder": None if folder is None else str(folder)}))
    new.rename(FOLDER / f"{pid}.json")


def forget(pid: int) -> None:
    """Remove the note of a server that has ended."""
    (FOLDER / f"{pid}.json").unlink(missing_ok=True)


def end_leftovers() -> list[int]:
    """End the servers whose owners are gone, remove their folders, and return their process ids."""
    ended = []
    for path in FOLDER.glob("*.json"):
        note = json.loads(path.read_text())
        if _find(note["owner"]) is not None:
            continue
        if (server := _find(note["server"])) is not None:
            # PostgreSQL takes the first for a crash and ends at once, as others do at the second.
            server.send_signal(signal.SIGQUIT)
            server.send_signal(signal.SIGTERM)
            _, alive = psutil.wait_procs([server], timeout=10)
            for process in alive:
                process.kill()
            ended.append(server.pid)
        if note["folder"] is not None:
            shutil.rmtree(note["folder"], ignore_errors=True)
        path.unlink(missing_ok=True)
    return ended


def _identity(pid: int) -> tuple[int, float]:
    """Return what no other process has: process ids come again."""
    return pid, psutil.Process(pid).create_time()


def _find(identity: tuple[int, float]) -> psutil.Process | None:
    pid, created = identity
    try:
        process = psutil.Process(pid)
        return process if process.create_time() == created and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None
