"""What a watch finds when it starts: what was there before, and what another one has left undone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from lsst.daf.butler import Butler

from butler_visits.ingest import ingest_raws
from ingest_helpers import OLD, age, cluster_of, make_unreadable
from simulated_raws import write_raws
from simulated_survey import night
from watching import Watching, arrive, everything, many_raws, n_visits, once, raws, repository_of, undisturbed


@pytest.fixture
def incoming(tmp_path: Path) -> Path:
    """Make a folder with three raws, in which further ones arrive."""
    raws(tmp_path / "in")
    return tmp_path / "in"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let each test have a memory of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "butler-visits" / "watch"


def test_once(repository: Path, incoming: Path, tmp_path: Path) -> None:
    first = once(repository, incoming)
    assert (first.tally.files, first.tally.exposures, first.tally.visits) == (3, 3, 3)
    assert first.tally.state == "ended"
    assert first.watcher.failed == []
    assert [line.split(" ", 1)[1].rpartition(", ")[0] for line in first.lines] == ["3 files, 3 exposures, 3 visits"]
    assert everything(repository) == undisturbed(tmp_path / "other", sorted(incoming.iterdir()))
    assert once(repository, incoming).lines == []


def test_headers_are_not_read_again(repository: Path, incoming: Path) -> None:
    age(incoming)
    once(repository, incoming)
    make_unreadable(incoming.iterdir())
    again = once(repository, incoming)
    assert (again.tally.files, again.tally.bad, again.tally.waiting) == (0, {}, 0)


def test_a_file_that_has_changed_is_read_again(repository: Path, incoming: Path) -> None:
    age(incoming)
    once(repository, incoming)
    first, second, third = sorted(incoming.iterdir())
    os.utime(first, (OLD, OLD + 1))
    second.write_bytes(b"This is no FITS file, and longer than one of its headers was before." * 99)
    os.utime(second, (OLD, OLD))
    third.unlink()
    again = once(repository, incoming)
    assert list(again.tally.bad) == [str(second)]
    assert again.tally.files == 0


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["removed", "damaged", "of another version", "nowhere"])
def test_without_memory_it_only_takes_longer(
    repository: Path, incoming: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    once(repository, incoming)
    (file,) = cache.iterdir()
    if lost == "removed":
        file.unlink()
    elif lost == "damaged":
        file.write_bytes(b"noise" * 1000)
    elif lost == "of another version":
        file.write_bytes(b"")
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    before = everything(repository)
    again = once(repository, incoming)
    assert (again.tally.files, again.tally.bad) == (0, {})
    assert everything(repository) == before
    arrive(raws(incoming.parent / "raw", 4)[-1], incoming)
    assert once(repository, incoming).tally.files == 1


def test_a_repository_that_was_made_anew(repository: Path, incoming: Path) -> None:
    """What is remembered never hides a file that is not in the repository."""
    once(repository, incoming)
    before = everything(repository)
    shutil.rmtree(repository)
    repository_of(repository)
    assert once(repository, incoming).tally.files == 3
    assert everything(repository) == before


def test_a_raw_that_was_removed(repository: Path, incoming: Path) -> None:
    once(repository, incoming)
    before = everything(repository)
    butler = Butler.from_config(str(repository), writeable=True)
    with butler.query() as query:
        ref = next(iter(query.datasets("raw", "SimCam/raw/all")))
    butler.pruneDatasets([ref], disassociate=True, unstore=True, purge=True)
    butler.close()
    assert once(repository, incoming).tally.files == 1
    assert everything(repository) == before


def test_another_run_is_another_matter(repository: Path, incoming: Path) -> None:
    once(repository, incoming)
    assert once(repository, incoming, output_run="tonight").tally.files == 3


def test_other_images_are_another_matter(repository: Path, incoming: Path) -> None:
    """What was taken without images is looked at again when they are wanted."""
    age(incoming)
    once(repository, incoming)
    make_unreadable(incoming.iterdir())
    assert once(repository, incoming, images="auto").tally.waiting == 3


@pytest.mark.usefixtures("database")
def test_exposures_without_visits(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """What was killed between the two is found, in whatever folder its files are."""
    repository = repository_of(tmp_path / "repository", cluster=cluster_of(request))
    exposures = night(30)
    files = write_raws(tmp_path / "raw", exposures)
    butler = Butler.from_config(str(repository), writeable=True)
    ingest_raws(butler, files[:20], images=None)
    butler.close()
    assert n_visits(repository) == 0
    (tmp_path / "in").mkdir()
    for file in files[20:]:
        shutil.copy(file, tmp_path / "in")
    watching = once(repository, tmp_path / "in")
    expected = undisturbed(tmp_path / "other", files)
    assert everything(repository) == expected
    assert watching.tally.visits == len(expected["visit"])
    assert watching.tally.waiting == 0


def test_of_one_instrument_only(repository: Path, incoming: Path) -> None:
    """Exposures of other instruments are none of a watch's business that is told which one is."""
    butler = Butler.from_config(str(repository), writeable=True)
    ingest_raws(butler, [incoming], images=None)
    butler.registry.insertDimensionData(
        "instrument", {"name": "Other", "class_name": "no.Class", "visit_max": 9, "exposure_max": 9, "detector_max": 9}
    )
    butler.close()
    assert once(repository, incoming, instrument="Other").tally.visits == 0
    assert once(repository, incoming, instrument="SimCam").tally.visits == 3


@pytest.mark.slow
@pytest.mark.usefixtures("database")
def test_two_watches(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Two watches of one folder and one repository take everything once."""
    repository = repository_of(tmp_path / "repository", cluster=cluster_of(request))
    files = write_raws(tmp_path / "raw", night(24), detectors=(0, 1))
    incoming = tmp_path / "in"
    incoming.mkdir()
    for file in files[:10]:
        shutil.copy(file, incoming)
    with Watching(repository, incoming) as one, Watching(repository, incoming) as other:
        for file in files[10:]:
            arrive(file, incoming)
        one.until(lambda: n_visits(repository) >= 20)
        one.until_idle()
        other.until_idle()
    expected = undisturbed(tmp_path / "other", files)
    assert everything(repository) == expected
    for watching in (one, other):
        assert not watching.tally.bad
        assert watching.tally.waiting == 0
    assert one.tally.visits + other.tally.visits >= len(expected["visit"])


@pytest.mark.slow
@pytest.mark.parametrize(("poll", "n_exposures"), [(None, 556), (0.2, 60)])
def test_many_files_at_once(repository: Path, tmp_path: Path, poll: float | None, n_exposures: int) -> None:
    incoming = tmp_path / "in"
    incoming.mkdir()
    files = many_raws(tmp_path / "raw", n_exposures)
    with Watching(repository, incoming, poll=poll) as watching:
        os.rename(tmp_path / "raw", incoming / "night")
        watching.until(lambda: watching.tally.files >= len(files), longest=600.0)
    assert len(everything(repository)["raw"]) == len(files)
    assert not watching.tally.bad
