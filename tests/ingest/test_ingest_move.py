"""No file is lost: what is moved, what is not, and which files are the same."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from astropy.io import fits
from lsst.daf.butler import Butler

from butler_visits import IngestResult, ingest_raws
from butler_visits.errors import IngestError
from butler_visits.ingest.datasets import RawWriter
from ingest_helpers import DESCRIPTION, science
from simulated_raws import write_raws


@pytest.fixture
def butler(tmp_path: Path) -> Butler:
    Butler.makeRepo(tmp_path / "repo")
    return Butler.from_config(tmp_path / "repo", writeable=True)


@pytest.fixture
def raws(tmp_path: Path) -> Path:
    write_raws(tmp_path / "raws", science(2))
    return tmp_path / "raws"


def put(butler: Butler, *places: Path, **options: object) -> IngestResult:
    return ingest_raws(butler, places, instrument=DESCRIPTION, **options)  # type: ignore[arg-type]


def files(butler: Butler, run: str | None = None) -> list[Path]:
    """Return the raws' files, all of which are there."""
    refs = butler.query_datasets("raw", run or "*", find_first=False)
    paths = [Path(butler.getURI(ref).ospath) for ref in refs]
    assert all(path.exists() for path in paths)
    return paths


@pytest.mark.parametrize("first", ["symlink", "direct", "link", "copy"])
def test_moved_after_another_transfer(butler: Butler, raws: Path, first: str) -> None:
    """Files that the repository only points to are left where they are."""
    before = {path.name: path.read_bytes() for path in raws.iterdir()}
    put(butler, raws, transfer=first)
    result = put(butler, raws, transfer="move")
    assert (result.n_skipped, result.n_failed) == (2, 0)
    assert sorted(path.read_bytes() for path in files(butler)) == sorted(before.values())
    assert {path.name for path in raws.iterdir()} == (set() if first in ("copy", "link") else set(before))


def test_the_repository_by_another_path(butler: Butler, raws: Path, tmp_path: Path) -> None:
    put(butler, raws, transfer="copy")
    (tmp_path / "link").symlink_to(tmp_path / "repo")
    others = [tmp_path / "link" / path.relative_to(tmp_path / "repo") for path in files(butler)]
    for transfer in ("direct", "move"):
        assert put(butler, *others, transfer=transfer).n_skipped == 2
        assert len(files(butler)) == 2


@pytest.mark.parametrize("first", ["copy", "direct", "symlink"])
def test_files_of_another_run(butler: Butler, raws: Path, first: str) -> None:
    put(butler, raws, transfer=first)
    with pytest.raises(IngestError, match=r"cannot be moved"):
        put(butler, *files(butler), transfer="move", output_run="other")
    assert len(files(butler)) == 2


@pytest.mark.parametrize("transfer", ["copy", "link", "symlink", "direct", "move"])
def test_another_file_of_the_same_exposure(butler: Butler, raws: Path, tmp_path: Path, transfer: str) -> None:
    """It is a duplicate, in the same run of the program and in the next one."""
    original = sorted(raws.iterdir())[0]
    other = tmp_path / "other.fits"
    shutil.copy(original, other)
    fits.setval(other, "OBSERVER", value="somebody else")
    put(butler, raws, transfer=transfer)
    result = put(butler, other, transfer=transfer, on_error="skip")
    assert result.n_failed == 1
    assert "and so does" in result.failures[0].reason
    assert other.exists()
    assert len(files(butler)) == 2


def test_the_same_folder_by_a_link(butler: Butler, raws: Path, tmp_path: Path) -> None:
    put(butler, raws)
    (tmp_path / "link").symlink_to(raws)
    assert put(butler, tmp_path / "link").n_skipped == 2


def test_a_folder_that_the_repository_is_in(butler: Butler, raws: Path, tmp_path: Path) -> None:
    """Its own copies are not taken for more raws."""
    assert put(butler, tmp_path, transfer="copy").n_ingested == 2
    again = put(butler, tmp_path, transfer="copy")
    assert (again.n_files, again.n_skipped, again.n_failed) == (2, 2, 0)


def test_names_that_look_like_uris(butler: Butler, raws: Path, tmp_path: Path) -> None:
    for path, name in zip(sorted(raws.iterdir()), ("c#1.fits", "d%20e.fits"), strict=True):
        path.rename(raws / name)
    assert put(butler, raws).n_ingested == 2
    assert put(butler, *raws.iterdir()).n_skipped == 2
    assert {path.name for path in files(butler)} == {"c#1.fits", "d%20e.fits"}


@pytest.mark.parametrize("transfer", ["copy", "move"])
def test_others_write_while_files_are_copied(
    butler: Butler, raws: Path, tmp_path: Path, transfer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(butler, tmp_path / "nothing", transfer="move", on_error="skip")
    copied: list[Path] = []
    copy = shutil.copy

    def slow(source: str, target: str, **options: Any) -> str:
        # Somebody else, who does not wait.
        with sqlite3.connect(tmp_path / "repo" / "gen3.sqlite3", timeout=0) as other:
            other.execute("BEGIN IMMEDIATE")
        copied.append(Path(target))
        return copy(source, target, **options)

    monkeypatch.setattr(RawWriter, "_mode", lambda self, path: "copy")
    monkeypatch.setattr(shutil, "copy", slow)
    assert put(butler, raws, transfer=transfer).n_ingested == 2
    assert len(copied) == 2
    assert len(files(butler)) == 2
    # Nothing is left of what was on its way.
    assert not list((tmp_path / "repo").glob(".*"))


def test_copies_of_killed_processes(butler: Butler, raws: Path, tmp_path: Path) -> None:
    """What is left of them is removed when nobody can be at it any more."""
    old, new = tmp_path / "repo" / ".ingest-old", tmp_path / "repo" / ".ingest-new"
    for folder in (old, new):
        folder.mkdir()
        (folder / "1").write_text("half a file")
    os.utime(old, (0, 0))
    put(butler, raws, transfer="copy")
    assert new.exists()
    assert not old.exists()


def test_copies_that_are_refused(butler: Butler, raws: Path, tmp_path: Path) -> None:
    """Files of datasets that are there already are not copied, and a second attempt copies what the first could not."""
    put(butler, raws, transfer="copy")
    before = {path: path.stat().st_mtime_ns for path in files(butler)}
    assert put(butler, raws, transfer="copy").n_skipped == 2
    assert {path: path.stat().st_mtime_ns for path in files(butler)} == before
    assert not list((tmp_path / "repo").glob(".*"))
