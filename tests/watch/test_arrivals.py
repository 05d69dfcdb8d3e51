"""Files arrive in every way that files can arrive in folders, and become visits."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from astropy.io import fits
from lsst.daf.butler import Butler

from butler_visits.ingest import ingest_raws
from ingest_helpers import files_in
from watching import Watching, arrive, everything, n_visits, once, raws, repository_of, undisturbed

Arrival = Callable[[Path, Path], object]


def in_pieces(file: Path, folder: Path) -> None:
    """Write a file in two pieces, and close it once."""
    content = file.read_bytes()
    with (folder / file.name).open("wb") as target:
        target.write(content[:3000])
        target.flush()
        target.write(content[3000:])


def preallocated(file: Path, folder: Path) -> None:
    """Give a file its length before it has any content."""
    content = file.read_bytes()
    with (folder / file.name).open("wb") as target:
        target.truncate(len(content))
        target.flush()
        target.write(content)


def packed(file: Path, folder: Path) -> None:
    with gzip.open(folder / f"{file.name}.gz", "wb") as target:
        target.write(file.read_bytes())


def tiled(file: Path, folder: Path) -> None:
    with fits.open(file) as hdus:
        image = fits.CompImageHDU(hdus[0].data, hdus[0].header)
        image.writeto(folder / f"{file.name}.fz")


def linked(file: Path, folder: Path) -> None:
    (folder / file.name).symlink_to(file)


def hard_linked(file: Path, folder: Path) -> None:
    os.link(file, folder / file.name)


def within_a_folder(file: Path, folder: Path) -> None:
    """Move in a folder, in which the file is already."""
    aside = folder.parent / "aside" / file.stem
    aside.mkdir(parents=True)
    shutil.copy(file, aside)
    os.rename(aside, folder / file.stem)


def in_new_folders(file: Path, folder: Path) -> None:
    deep = folder / file.stem / "a" / "b"
    deep.mkdir(parents=True)
    shutil.copy(file, deep)


def in_a_folder_that_got_another_name(file: Path, folder: Path) -> None:
    before = folder / f"{file.stem}-before"
    before.mkdir()
    after = folder / file.stem
    os.rename(before, after)
    arrive(file, after)


ARRIVALS: Final[list[Arrival]] = [
    arrive,
    in_pieces,
    preallocated,
    packed,
    tiled,
    linked,
    hard_linked,
    within_a_folder,
    in_new_folders,
    in_a_folder_that_got_another_name,
]


def _has_files(watching: Watching, number: int) -> bool:
    return watching.tally.files == number


@pytest.mark.parametrize("poll", [None, 0.05], ids=["events", "polled"])
def test_files_become_visits(repository: Path, incoming: Path, tmp_path: Path, poll: float | None) -> None:
    files = raws(tmp_path / "raw", 2 * len(ARRIVALS))
    before, later = files[: len(ARRIVALS)], files[len(ARRIVALS) :]
    for come, file in zip(ARRIVALS, before, strict=True):
        come(file, incoming)
    with Watching(repository, incoming, poll=poll) as watching:
        watching.until(lambda: watching.tally.files == len(before))
        watching.until_idle()
        for number, (come, file) in enumerate(zip(ARRIVALS, later, strict=True), start=1):
            come(file, incoming)
            watching.until(partial(_has_files, watching, len(before) + number))
    assert not watching.tally.bad
    assert watching.tally.exposures == len(files)
    assert everything(repository)["visit"] == undisturbed(tmp_path / "other", files)["visit"]


@pytest.mark.parametrize("poll", [None, 0.05], ids=["events", "polled"])
def test_a_file_that_grows_is_waited_for(repository: Path, incoming: Path, tmp_path: Path, poll: float | None) -> None:
    first, second, _ = raws(tmp_path / "raw")
    content = first.read_bytes()
    with Watching(repository, incoming, poll=poll) as watching:
        watching.until_idle()
        # Closed after each piece, and quiet for longer than files have to settle.
        for end in (0, 100, 2880, 5000, len(content) - 10):
            (incoming / first.name).write_bytes(content[:end])
            arrive(second, incoming, f"{end}-{second.name}") if end == 5000 else None
            watching.until(lambda: watching.tally.waiting == 1)
        watching.until_visits(1)
        assert not watching.tally.bad
        (incoming / first.name).write_bytes(content)
        watching.until_visits(2)
        watching.until(lambda: watching.tally.waiting == 0)


@pytest.mark.parametrize("poll", [None, 0.05], ids=["events", "polled"])
def test_room_for_further_hdus(repository: Path, incoming: Path, tmp_path: Path, poll: float | None) -> None:
    """A file that has its length before it has all its HDUs is no whole one, though `ingest` may not know."""
    first, second, third = raws(tmp_path / "raw")
    for file in (first, second, third):
        with fits.open(file, mode="append") as hdus:
            hdus.append(fits.ImageHDU(np.ones((40, 40), dtype=np.int16)))
    content = first.read_bytes()
    with fits.open(first) as hdus:
        length = hdus[1].fileinfo()["hdrLoc"]
    with Watching(repository, incoming, poll=poll, transfer="copy") as watching:
        watching.until_idle()
        (incoming / first.name).write_bytes(content[:length] + bytes(len(content) - length))
        watching.until(lambda: watching.tally.waiting == 1)
        arrive(second, incoming)
        watching.until_visits(1)
        watching.until(lambda: watching.tally.files == 1)
        (incoming / first.name).write_bytes(content)
        watching.until_visits(2)
    assert not watching.tally.bad
    # FITS allows anything behind the last HDU.
    third.write_bytes(third.read_bytes() + bytes(2880))
    butler = Butler.from_config(str(repository), writeable=True)
    assert ingest_raws(butler, [third], images=None).n_ingested == 1
    butler.close()


@pytest.mark.parametrize("transfer", ["copy", "symlink", "move"])
def test_files_are_put_where_they_belong(repository: Path, incoming: Path, tmp_path: Path, transfer: str) -> None:
    files = raws(tmp_path / "raw")
    with Watching(repository, incoming, transfer=transfer) as watching:
        watching.until_idle()
        for file in files:
            arrive(file, incoming)
        watching.until_visits(3)
    assert everything(repository) == undisturbed(tmp_path / "other", files)
    assert len(files_in(incoming)) == (0 if transfer == "move" else 3)
    again = once(repository, incoming, transfer=transfer)
    assert (again.tally.batches, again.tally.bad) == (0, {})


def test_what_is_left_alone(repository: Path, incoming: Path, tmp_path: Path) -> None:
    """Hidden files are being written; other files are no raws; the repository's own are taken already."""
    first, second, third = raws(tmp_path / "raw")
    own = repository_of(incoming / "repository")
    (incoming / "notes.txt").write_text("clear sky")
    shutil.copy(first, incoming / ".hidden.fits")
    (incoming / ".snapshot").mkdir()
    shutil.copy(first, incoming / ".snapshot")
    with Watching(own, incoming, transfer="copy") as watching:
        watching.until_idle()
        arrive(second, incoming)
        watching.until_visits(1)
        (incoming / ".later").mkdir()
        shutil.copy(first, incoming / ".later")
        arrive(third, incoming)
        watching.until_visits(2)
    assert watching.tally.files == 2
    assert n_visits(own) == 2


def test_names_of_files(repository: Path, incoming: Path, tmp_path: Path) -> None:
    names = ["50%20.fits", "a#1.fits", "a b.fits", "ä.fits", "A.FITS"]
    files = raws(tmp_path / "raw", len(names) + 1)
    with Watching(repository, incoming) as watching:
        watching.until_idle()
        for file, name in zip(files, names, strict=False):
            arrive(file, incoming, name)
        watching.until(lambda: watching.tally.files == len(names))
        # No text at all; what ingest says of it is not this test's matter.
        odd = os.fsencode(incoming) + b"/\xff.fits"
        with open(odd, "wb") as target:
            target.write(files[-1].read_bytes())
        arrive(files[0], incoming, "again.fits")
        watching.until(lambda: str(incoming / "again.fits") in watching.tally.bad)
    again = once(repository, incoming)
    assert again.tally.batches <= 1
    assert str(incoming / "again.fits") in again.tally.bad
