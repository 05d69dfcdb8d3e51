"""The state of a watch comes back from its file, and a file is replaced whole."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from butler_visits.watch.tally import BadFile, Tally, write_bad_files, write_status

SINCE = datetime(2026, 4, 1, 20, tzinfo=UTC)


def tally() -> Tally:
    # A name of a file is bytes, which need not be UTF-8.
    bad = BadFile(os.fsdecode(b"/data/\xff 1\n.fits"), "It is shorter than its header says.\n", SINCE, 3)
    return Tally(SINCE, "watching", 7, 6, 5, 4, "SC_O_1", SINCE, 0.4, 1, {bad.path: bad}, "SimCam", 20260401)


def test_status_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    for state in ("watching", "stopping"):
        one = tally()
        one.state = state
        begin = datetime.now(UTC)
        write_status(file, one)
        found = Tally.from_json(file.read_text())
        assert found.written is not None
        assert begin <= found.written <= datetime.now(UTC)
        found.written = None
        assert found == one
    assert list(tmp_path.iterdir()) == [file]


def test_bad_files_are_lines(tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    write_bad_files(file, tally())
    [line] = file.read_text().splitlines()
    (bad,) = tally().bad.values()
    expected = {"path": bad.path, "reason": bad.reason, "since": "2026-04-01T20:00:00+00:00", "tries": 3}
    assert json.loads(line) == expected
    write_bad_files(file, Tally(SINCE))
    assert file.read_text() == ""


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "status.json"
    (folder / "within").mkdir(parents=True)
    with pytest.raises(OSError):
        write_status(folder, tally())
    assert list(tmp_path.rglob("*")) == [folder, folder / "within"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"since": "2026-04-01T20:00:00"}', "[" * 100_000, tally().as_json()[:-20]]
)
def test_other_files_are_told(text: str) -> None:
    with pytest.raises(ValueError):
        Tally.from_json(text)
