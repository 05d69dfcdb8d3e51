"""``watch-status`` says how a watch is, how old that is, and what else a file is."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from butler_visits.watch.tally import BadFile, Tally, write_status
from command_line import visits_command


def ago(**how_long: float) -> datetime:
    return datetime.now(UTC) - timedelta(**how_long)


def tally() -> Tally:
    bad = BadFile(os.fsdecode(b"/data/\xff.fits"), "It is shorter than\nits header says.", ago(minutes=5), 3)
    since = ago(hours=5)
    return Tally(since, "watching", 12, 4, 1, 3, "SC_O_1", ago(seconds=150), 0.44, 2, {bad.path: bad})


def said(file: Path) -> str:
    result = visits_command("watch-status", file)
    assert result.exit_code == 0, result.output
    return result.output


def test_text(tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    write_status(file, tally())
    first, *others = said(file).splitlines()
    assert first.startswith("Watching; begun 5 h ago, on ")
    assert first.endswith(" UTC.")
    assert others == [
        "12 files, 4 exposures, 1 visit in 3 batches.",
        "Last batch 2 min ago, 0.4 s behind; last exposure SC_O_1.",
        "2 waiting.",
        r"Bad: /data/\udcff.fits: It is shorter than\nits header says. (3 times tried, first 5 min ago)",
    ]


def test_at_the_beginning(tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    write_status(file, Tally(ago(seconds=0.2)))
    first, *others = said(file).splitlines()
    assert first.startswith("Starting; begun 0 s ago, on ")
    assert others == ["0 files, 0 exposures, 0 visits in 0 batches."]


@pytest.mark.parametrize(
    ("age", "state", "expected"),
    [
        ({"seconds": 20}, "watching", None),
        ({"minutes": 10}, "watching", "10 min"),
        ({"days": 40}, "waiting for the database", "40 d"),
        ({"days": 40}, "ended", None),
    ],
)
def test_old_file(tmp_path: Path, age: dict[str, float], state: str, expected: str | None) -> None:
    file = tmp_path / "status.json"
    file.write_text(Tally(ago(days=50), state, written=ago(**age)).as_json())
    last = said(file).splitlines()[-1]
    if expected is None:
        assert "old" not in last
    else:
        assert last == f"This is {expected} old: the watch was killed or hangs, unless a batch takes as long."


def test_json(tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    write_status(file, tally())
    result = visits_command("watch-status", file, "--format", "json")
    assert json.loads(result.output) == json.loads(file.read_text())


def test_no_status(tmp_path: Path) -> None:
    missing, damaged, other = tmp_path / "missing", tmp_path / "damaged", tmp_path / "other"
    damaged.write_text(tally().as_json()[:-30])
    other.write_bytes(b"SIMPLE  = \xff")
    for file, expected in (
        (missing, f"Error: There is no file {missing}: expected the one that the option --status of watch names.\n"),
        (damaged, f"Error: File {damaged} is damaged, or is not the one that the option --status of watch names.\n"),
        (other, f"Error: File {other} is damaged, or is not the one that the option --status of watch names.\n"),
        (tmp_path, f"Error: File {tmp_path} cannot be read: Is a directory.\n"),
    ):
        result = visits_command("watch-status", file)
        assert (result.exit_code, result.output) == (1, expected)
