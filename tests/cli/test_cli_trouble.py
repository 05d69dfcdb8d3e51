"""The disk is full, or the database or a file goes away, while a command writes: it says so, and nothing is lost."""

from __future__ import annotations

import os
import random
import re
import resource
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from lsst.daf.butler import Butler

from butler_visits import DatabaseError
from command_line import PROGRAMS, run_python
from killing import CHUNK, KINDS, Attempt
from simulated_survey import INSTRUMENT
from visit_tables import add_exposures, data_ids, exposure, make_task, root, stored

pytestmark = pytest.mark.sqlite_only

WRITING = {
    "define-visits": "visit",
    "check --repair": "visit",
    "update-regions": "visit",
    "ingest copy": "dataset",
    "ingest move": "dataset",
}
"""What is written, by the kind of command."""


def fill_disk(_folder: Path, size: int = 8192) -> None:
    """Let nothing be written but the beginnings of files; what the command says is shorter."""
    # Python takes the half of a compiled module for a whole one.
    sys.dont_write_bytecode = True
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def remove_database(folder: Path) -> None:
    (folder / "repository" / "gen3.sqlite3").unlink()


def move_database(folder: Path) -> None:
    for path in (folder / "repository").glob("gen3.sqlite3*"):
        path.rename(folder / path.name)


def replace_database(folder: Path) -> None:
    """Put the copy of before in the place of the database."""
    shutil.copy(folder / "before.sqlite3", folder / "other.sqlite3")
    (folder / "other.sqlite3").rename(folder / "repository" / "gen3.sqlite3")


def overwrite_database(folder: Path) -> None:
    """Copy the copy of before over the database, whatever SQLite has of it."""
    (folder / "repository" / "gen3.sqlite3").write_bytes((folder / "before.sqlite3").read_bytes())


def truncate_database(folder: Path) -> None:
    os.truncate(folder / "repository" / "gen3.sqlite3", 4096)


def empty_database(folder: Path) -> None:
    os.truncate(folder / "repository" / "gen3.sqlite3", 0)


def fill_with_noise(folder: Path) -> None:
    path = folder / "repository" / "gen3.sqlite3"
    path.write_bytes(random.Random(1).randbytes(path.stat().st_size))


DAMAGES = (
    remove_database,
    move_database,
    replace_database,
    overwrite_database,
    truncate_database,
    empty_database,
    fill_with_noise,
)


def trouble(kind: str, folder: Path, do: Callable[[Path], None], nth: int = 2) -> tuple[Attempt, str]:
    """Run a command that gets into trouble within its second chunk, or another; return the error's text."""
    attempt = Attempt(KINDS[kind], folder, None)
    shutil.copy(attempt.root / "gen3.sqlite3", folder / "before.sqlite3")
    child, _ = attempt.start((f"INSERT INTO {WRITING[kind]}", nth), do)
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


@pytest.mark.parametrize(
    "kind", [kind if kind == "ingest copy" else pytest.param(kind, marks=pytest.mark.slow) for kind in WRITING]
)
def test_full_disk(tmp_path: Path, kind: str) -> None:
    attempt, said = trouble(kind, tmp_path / "full", fill_disk)
    assert str(attempt.root) in said
    assert_nothing_lost(attempt, tmp_path / "undisturbed")


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "nth", [pytest.param(2, marks=pytest.mark.slow, id="second chunk"), pytest.param(6, id="last chunk")]
)
def test_damaged_database(tmp_path: Path, damage: Callable[[Path], None], nth: int) -> None:
    """SQLite does not notice. Nobody is told that visits are stored, and with the copy they all can be."""
    attempt, said = trouble("define-visits", tmp_path / "damaged", damage, nth)
    assert str(attempt.root) in said
    assert "visits:" not in attempt.said()
    database = attempt.root / "gen3.sqlite3"
    if damage in (remove_database, move_database):
        assert not database.exists()
    elif damage in (replace_database, overwrite_database):
        assert database.read_bytes() == (attempt.folder / "before.sqlite3").read_bytes()
    for path in attempt.root.glob("gen3.sqlite3*"):
        path.unlink()
    shutil.copy(attempt.folder / "before.sqlite3", database)
    undisturbed = Attempt(attempt.kind, tmp_path / "undisturbed", None)
    undisturbed.finish()
    attempt.finish()
    assert attempt.state() == undisturbed.state()


class Between(Executor):
    """Does things at once, and before the third copies what was before over the database."""

    def __init__(self, database: Path) -> None:
        self.database, self.before, self.count = database, database.read_bytes(), 0

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **more: Any) -> Future[Any]:
        self.count += 1
        if self.count == 3:
            self.database.write_bytes(self.before)
        future: Future[Any] = Future()
        future.set_result(call(*arguments, **more))
        return future


def test_database_of_before_between_chunks(make_survey: Callable[..., Butler]) -> None:
    """The first two visits are gone, and the database is in order."""
    butler = make_survey()
    given = data_ids(add_exposures(butler, map(exposure, (1, 2, 3, 4, 5))))
    task = make_task(butler, chunkSize=1)
    assert task.run(given[:1]).n_new == 1
    with pytest.raises(DatabaseError, match="2 of 4 rows of visit are not there any more"):
        task.run(given[1:], executor=Between(root(butler) / "gen3.sqlite3"))
    assert len(stored(butler, "visit")) == 3
    result = task.run(given)
    assert (result.n_new, result.n_skipped) == (2, 3)


def test_database_that_was_replaced_before(make_survey: Callable[..., Butler], tmp_path: Path) -> None:
    """Whoever has the old one open says so once, and goes on with the new one."""
    butler = make_survey()
    given = data_ids(add_exposures(butler, map(exposure, (1, 2))))
    task = make_task(butler)
    assert task.run(given[:1]).n_new == 1
    database = root(butler) / "gen3.sqlite3"
    shutil.copy(database, tmp_path / "copy")
    (tmp_path / "copy").rename(database)
    with pytest.raises(DatabaseError, match="it is not the one that was opened"):
        task.run(given)
    result = task.run(given)
    assert (result.n_new, result.n_skipped) == (1, 1)
    assert len(stored(Butler.from_config(root(butler)), "visit")) == 2


def test_database_that_was_removed_before(survey: Butler) -> None:
    """The Butler still has it open. What is in there is stored for nobody."""
    given = data_ids(record.id for record in stored(survey, "exposure"))
    task = make_task(survey)
    assert task.run(given).n_skipped == 3
    database = root(survey) / "gen3.sqlite3"
    content = database.read_bytes()
    database.unlink()
    with pytest.raises(DatabaseError, match="unable to open database file"):
        task.run(given)
    assert not database.exists()
    database.write_bytes(content)
    assert task.run(given).n_skipped == 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in WRITING if kind != "define-visits"])
def test_database_goes_away(tmp_path: Path, kind: str) -> None:
    attempt, said = trouble(kind, tmp_path / "gone", remove_database, 3 if kind == "check --repair" else 6)
    assert str(attempt.root) in said
    if kind == "ingest move":
        # Whoever has no database any more has the raws.
        assert len(list((attempt.folder / "raw").rglob("*.fits"))) >= CHUNK


def test_full_disk_while_raws_are_copied(tmp_path: Path) -> None:
    """It is full before the transaction begins; what was copied until then is stored, or is gone."""
    attempt = Attempt(KINDS["ingest copy"], tmp_path / "full", None)
    child, _ = attempt.start(("shutil.copyfile", CHUNK + 2), partial(fill_disk, size=2048))
    child.join(100)
    assert child.exitcode == 1
    said = attempt.said()
    assert "Traceback" not in said
    assert re.search(r"Error: .*File too large", said)
    assert_nothing_lost(attempt, tmp_path / "undisturbed")
    assert not list(attempt.root.glob(".ingest-*"))


@pytest.mark.parametrize(
    "name",
    ["a.fits", "a.json", "a.vot", "a.ecsv", "a.csv", "a.parquet", "a.reg", "a.geojson", "report.html"],
)
def test_full_disk_under_an_output(survey: Butler, tmp_path: Path, name: str) -> None:
    """What was there stays, and no half of a file."""
    pytest.importorskip("mocpy", reason="mocpy (the extra report) is not installed")
    pytest.importorskip("hpgeom", reason="hpgeom (the extra report) is not installed")
    output = tmp_path / "outputs" / name
    output.parent.mkdir()
    output.write_text("before")
    command = ("report",) if name == "report.html" else ("export", "--detectors")
    # What it says is shorter. Python takes the half of a compiled module for a whole one.
    code = f"""
import resource, sys
sys.dont_write_bytecode = True
resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
{PROGRAMS["butler-visits"]}
"""
    result = run_python(code, "--no-log-tty", command[0], root(survey), INSTRUMENT, "-o", output, *command[1:])
    assert result.returncode == 1
    assert re.fullmatch(rf"Error: The \w+ cannot be written to {output}: .*File too large.*\n", result.stderr)
    assert output.read_text() == "before"
    assert list(output.parent.iterdir()) == [output]
