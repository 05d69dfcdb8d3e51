"""The disk is full, or the database or a file goes away, while a command writes: it says so, and nothing is lost."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from killing import CHUNK, KINDS, Attempt

WRITING = {
    "define-visits": "visit",
    "check --repair": "visit",
    "update-regions": "visit",
    "ingest copy": "dataset",
    "ingest move": "dataset",
}
"""What is written, by the kind of command."""


def fill_disk(_folder: Path) -> None:
    """Let nothing be written but the beginnings of files; what the command says is shorter."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))


def remove_database(folder: Path) -> None:
    for path in (folder / "repository").glob("gen3.sqlite3*"):
        path.rename(folder / path.name)


def trouble(kind: str, folder: Path, do: Callable[[Path], None]) -> tuple[Attempt, str]:
    """Run a command that gets into trouble within its second chunk; return the error's text."""
    attempt = Attempt(KINDS[kind], folder, None)
    child, _ = attempt.start((f"INSERT INTO {WRITING[kind]}", 2), do)
    child.join(100)
    assert child.exitcode == (2 if kind.startswith("check") else 1)
    said = attempt.said()
    assert "Traceback" not in said
    assert 'File "' not in said
    return attempt, said.split("Error: ", 1)[1]


def assert_nothing_lost(attempt: Attempt, folder: Path) -> None:
    """Check that some is stored, and the rest can be."""
    undisturbed = Attempt(attempt.kind, folder, None)
    before = undisturbed.state()
    undisturbed.finish()
    after = undisturbed.state()
    found = attempt.state()
    assert all(rows in (before.get(key), after.get(key)) for key, rows in found.items())
    assert 0 < sum(rows != before.get(key) for key, rows in found.items()) <= CHUNK
    attempt.finish()
    assert attempt.state() == after


@pytest.mark.parametrize("kind", WRITING)
def test_full_disk(tmp_path: Path, kind: str) -> None:
    attempt, said = trouble(kind, tmp_path / "full", fill_disk)
    assert str(attempt.root) in said
    assert_nothing_lost(attempt, tmp_path / "undisturbed")


@pytest.mark.parametrize("kind", WRITING)
def test_database_goes_away(tmp_path: Path, kind: str) -> None:
    attempt, said = trouble(kind, tmp_path / "gone", remove_database)
    assert str(attempt.root) in said
