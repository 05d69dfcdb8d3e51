"""Files, exposures and sources in trouble are set aside, and nothing else waits for them."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from lsst.daf.butler import Butler

import trouble_regions  # noqa: F401  (registers worker-trouble)
from butler_visits.errors import DatabaseError
from butler_visits.instruments.description import InstrumentDescription
from butler_visits.repository.instruments import register_instrument
from butler_visits.repository.write_camera import write_camera
from butler_visits.watch import bad, folders, places, trouble
from butler_visits.watch.folders import Folder
from butler_visits.watch.tally import write_bad_files
from butler_visits.watch.work import Exposure, Ingested, Work
from ingest_helpers import science
from simulated_raws import describe, write_raws
from simulated_survey import INSTRUMENT, camera, night
from templates import make_repository
from watching import Watching, arrive, everything, n_visits, once, raws, repository_of, undisturbed


def complaints(caplog: pytest.LogCaptureFixture, about: object) -> list[str]:
    """Return what was logged of something."""
    said = [record.getMessage() for record in caplog.records if record.name.startswith("butler_visits")]
    return [one for one in said if str(about) in one]


def test_bad_files(repository: Path, incoming: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, second, third = raws(tmp_path / "raw")
    listed = tmp_path / "bad.jsonl"
    garbage, twice, cut = (incoming / name for name in ("garbage.fits", "twice.fits", "cut.fits"))
    garbage.write_text("Clouds all night, and no data.")
    with Watching(repository, incoming, give_up=0.3, shows=[partial(write_bad_files, listed)]) as watching:
        watching.until_idle()
        arrive(first, incoming)
        watching.until_visits(1)
        cut.write_bytes(third.read_bytes()[:4000])
        arrive(first, incoming, twice.name)
        arrive(second, incoming)
        watching.until_visits(2)
        bad = watching.tally.bad
        watching.until(lambda: len(bad) == 3 and all(one.tries > 3 for one in bad.values()))
        rows = {one["path"]: one["reason"] for one in map(json.loads, listed.read_text().splitlines())}
        assert "no FITS header" in rows[str(garbage)]
        assert f"so does file://{incoming / first.name}" in rows[str(twice)]
        assert "truncated" in rows[str(cut)]
        assert len(listed.read_text().splitlines()) == 3
        # Once each, however often they were tried.
        for one in (garbage, twice, cut):
            assert len(complaints(caplog, f"{one} is set aside")) == 1
        # Mended, one of them is taken; another one goes away.
        shutil.copy(third, cut)
        twice.unlink()
        watching.until_visits(3)
        watching.until(lambda: list(watching.tally.bad) == [str(garbage)])
    assert len(watching.watcher.failed) == 1
    assert n_visits(repository) == 3


def test_bad_files_are_moved(repository: Path, incoming: Path, tmp_path: Path) -> None:
    first, *_ = raws(tmp_path / "raw")
    aside = tmp_path / "aside"
    aside.mkdir()
    (aside / "cut.fits").write_text("from another night")
    with Watching(repository, incoming, give_up=0.3, move_bad=aside) as watching:
        watching.until_idle()
        (incoming / "cut.fits").write_bytes(first.read_bytes()[:4000])
        arrive(first, incoming)
        watching.until_visits(1)
        watching.until(lambda: not (incoming / "cut.fits").exists())
        watching.until(lambda: watching.tally.waiting == 0)
    assert (aside / "cut.fits").read_text() == "from another night"
    assert (aside / "cut.fits.1").stat().st_size == 4000
    assert (incoming / first.name).exists()


def test_bad_files_that_cannot_be_moved(
    repository: Path, incoming: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = incoming / "bad.fits"
    bad.write_text("no data")
    with Watching(repository, incoming, give_up=0.1, move_bad=tmp_path / "nowhere") as watching:
        watching.until(lambda: watching.tally.bad and watching.tally.bad[str(bad)].tries > 5)
    assert len(complaints(caplog, "cannot be moved")) == 1


def test_incomplete_files_of_a_run(repository: Path, incoming: Path, tmp_path: Path) -> None:
    """Who looks once cannot wait: a file that was changed lately may grow."""
    first, second, third = raws(tmp_path / "raw")
    shutil.copy(first, incoming)
    for file, age in ((second, 0), (third, 1000)):
        (incoming / file.name).write_bytes(file.read_bytes()[:4000])
        changed = file.stat().st_mtime - age
        os.utime(incoming / file.name, (changed, changed))
    watching = once(repository, incoming)
    assert watching.tally.visits == 1
    assert watching.tally.waiting == 2
    assert list(watching.tally.bad) == [str(incoming / third.name)]
    for file in (second, third):
        shutil.copy(file, incoming)
    assert once(repository, incoming).tally.visits == 2


def test_a_mistake_that_nobody_has_foreseen(
    repository: Path, incoming: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One exposure provokes it, and the others go on."""
    exposures = science(3)
    exposures[1]["target_name"] = "unlucky"
    for file in write_raws(tmp_path / "raw", exposures):
        shutil.copy(file, incoming)
    config = {
        "computeVisitRegions": "worker-trouble",
        "computeVisitRegions.active.fails": "unlucky",
        "computeVisitRegions.active.error": "AttributeError",
    }
    watching = once(repository, incoming, config=config)
    assert (watching.tally.exposures, watching.tally.visits, watching.tally.waiting) == (3, 2, 1)
    assert len(watching.watcher.failed) == 1
    assert complaints(caplog, f"Exposure {exposures[1]['id']} of {INSTRUMENT} is set aside: AttributeError")


def _has_files(watching: Watching, number: int) -> bool:
    return watching.tally.files == number


def test_snaps_in_any_order(repository: Path, incoming: Path, tmp_path: Path) -> None:
    exposures = [one for one in night(60) if one["seq_start"] != one["seq_end"]]
    assert len(exposures) >= 6
    files = write_raws(tmp_path / "raw", exposures, detectors=(0, 1))
    with Watching(repository, incoming) as watching:
        watching.until_idle()
        for number, file in enumerate(reversed(files), start=1):
            arrive(file, incoming)
            watching.until(partial(_has_files, watching, number))
    assert everything(repository) == undisturbed(tmp_path / "other", files)
    assert watching.tally.waiting == 0


def test_a_camera_that_is_certified_late(tmp_path: Path, incoming: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = {key: value for key, value in describe().items() if key != "camera"}
    content["detectors"] = [{"id": one["id"], "name": name} for name, one in camera(rafts=1)["CCDs"].items()]
    repository = tmp_path / "repository"
    butler = make_repository(repository)
    register_instrument(butler, InstrumentDescription.from_mapping(content, "the instrument"))
    exposures = science(4)
    files = write_raws(tmp_path / "raw", exposures)
    with Watching(repository, incoming) as watching:
        watching.until_idle()
        for file in files[:3]:
            arrive(file, incoming)
        watching.until(lambda: watching.tally.exposures == 3 and watching.tally.waiting == 3)
        assert not watching.tally.bad
        # For the first exposure alone, to begin with.
        end = exposures[1]["timespan"].begin
        write_camera(butler, INSTRUMENT, camera(rafts=1), end=end)
        watching.until_visits(1)
        write_camera(butler, INSTRUMENT, camera(rafts=1), begin=end)
        watching.until_visits(3)
        arrive(files[3], incoming)
        watching.until_visits(4)
        watching.until(lambda: watching.tally.waiting == 0)
    butler.close()
    assert len(complaints(caplog, f"Exposure {exposures[2]['id']} of {INSTRUMENT} is set aside")) <= 1
    assert n_visits(repository) == 4


def test_a_folder_that_is_removed_and_made_again(
    repository: Path, incoming: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second, third = raws(tmp_path / "raw")
    with Watching(repository, incoming, transfer="copy") as watching:
        watching.until_idle()
        arrive(first, incoming)
        watching.until_visits(1)
        shutil.rmtree(incoming)
        watching.until(lambda: watching.tally.state == f"waiting for {incoming}")
        incoming.mkdir()
        arrive(second, incoming)
        watching.until_visits(2)
        (incoming / "night").mkdir()
        arrive(third, incoming / "night")
        watching.until_visits(3)
    assert len(complaints(caplog, f"{incoming} is away")) == 1
    assert len(complaints(caplog, f"{incoming} is back")) == 1


@pytest.mark.parametrize("poll", [None, 0.05], ids=["events", "polled"])
def test_a_folder_that_comes_later(repository: Path, incoming: Path, tmp_path: Path, poll: float | None) -> None:
    """No source waits for another one."""
    first, second, _ = raws(tmp_path / "raw")
    later = tmp_path / "later"
    with Watching(repository, later, incoming, poll=poll) as watching:
        watching.until(lambda: watching.tally.state == f"waiting for {later}")
        arrive(first, incoming)
        watching.until_visits(1)
        later.mkdir()
        arrive(second, later)
        watching.until_visits(2)


def test_a_run_without_its_folder(repository: Path, incoming: Path, tmp_path: Path) -> None:
    first, *_ = raws(tmp_path / "raw")
    shutil.copy(first, incoming)
    watching = once(repository, tmp_path / "nowhere", incoming)
    assert watching.tally.visits == 1
    assert len(watching.watcher.failed) == 1


@pytest.fixture
def mounts() -> Iterator[list[Path]]:
    """Unmount what a test has mounted; skip where nobody may mount anything."""
    mounted: list[Path] = []
    yield mounted
    for path in mounted:
        subprocess.run(["umount", "-l", path], check=False, capture_output=True)


def mount(mounts: list[Path], path: Path, *options: object) -> None:
    path.mkdir(exist_ok=True)
    if subprocess.run(["mount", *map(str, options), path], check=False, capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here")
    mounts.append(path)


@pytest.mark.parametrize("poll", [None, 0.05], ids=["events", "polled"])
def test_a_share_that_vanishes(repository: Path, tmp_path: Path, mounts: list[Path], poll: float | None) -> None:
    first, second, third = raws(tmp_path / "raw")
    share, disk = tmp_path / "share", tmp_path / "disk"
    disk.mkdir()
    mount(mounts, share, "--bind", disk)
    with Watching(repository, share, poll=poll, transfer="copy") as watching:
        watching.until_idle()
        arrive(first, share)
        watching.until_visits(1)
        subprocess.run(["umount", "-l", share], check=True)
        arrive(second, disk)
        mount(mounts, share, "--bind", disk)
        watching.until_visits(2)
        arrive(third, share)
        watching.until_visits(3)
    assert watching.tally.bad == {}


@pytest.mark.slow
@pytest.mark.parametrize("transfer", ["direct", "copy"])
def test_a_full_disk(
    incoming: Path, tmp_path: Path, mounts: list[Path], caplog: pytest.LogCaptureFixture, transfer: str
) -> None:
    disk = tmp_path / "disk"
    mount(mounts, disk, "-t", "tmpfs", "-o", "size=8m", "tmpfs")
    repository = repository_of(disk / "repository")
    exposures = science(40)
    files = write_raws(tmp_path / "raw", exposures)
    with Watching(repository, incoming, transfer=transfer) as watching:
        watching.until_idle()
        arrive(files[0], incoming)
        watching.until_visits(1)
        filler = disk / "filler"
        with pytest.raises(OSError, match="No space"), filler.open("wb", buffering=0) as target:
            while True:
                target.write(bytes(1024))
        for file in files[1:]:
            arrive(file, incoming)
        watching.until(lambda: "disk" in caplog.text or "No space" in caplog.text)
        assert watching.tally.files < len(files)
        filler.unlink()
        watching.until(lambda: watching.tally.files == len(files))
        watching.until(lambda: watching.tally.waiting == 0)
    assert watching.tally.bad == {}
    assert everything(repository) == undisturbed(tmp_path / "other", files)


def test_more_than_the_kernel_can_tell(
    repository: Path, incoming: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, _ = raws(tmp_path / "raw")
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 20_000:
        pytest.skip("the kernel can tell more here than a test can do")
    hear = Folder._hear
    busy = True

    def hear_later(folder: Folder, seconds: float) -> None:
        if not busy:
            hear(folder, seconds)

    monkeypatch.setattr(Folder, "_hear", hear_later)
    with Watching(repository, incoming) as watching:
        watching.until_idle()
        # Each is created, written and closed.
        for number in range(limit // 2 + 10):
            (incoming / f"{number}.txt").touch()
        arrive(first, incoming)
        busy = False
        watching.until_visits(1)
        arrive(second, incoming)
        watching.until_visits(2)
    assert complaints(caplog, "more has come than the kernel can tell")


def test_a_clock_that_jumps(repository: Path, incoming: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = raws(tmp_path / "raw", 6)
    now = 1_775_000_000.0
    monkeypatch.setattr("time.time", lambda: now)
    monkeypatch.setattr(bad, "time", lambda: now)
    with Watching(repository, incoming, poll=0.05) as watching:
        watching.until_idle()
        jumps = (0, 3600, -7200, 86_400 * 999, -86_400 * 9999, 0)
        for number, (file, jump) in enumerate(zip(files, jumps, strict=True), start=1):
            now += jump
            arrive(file, incoming)
            os.utime(incoming / file.name, (max(now, 0.0), max(now, 0.0)))
            watching.until_visits(number)
    assert watching.tally.bad == {}
    assert watching.tally.lag >= 0.0


def test_a_file_that_goes_away_again(repository: Path, incoming: Path, tmp_path: Path) -> None:
    """Programs write under one name and then give another one."""
    first, second, _ = raws(tmp_path / "raw")
    with Watching(repository, incoming, batch=0.3) as watching:
        watching.until_idle()
        shutil.copy(first, incoming / "temporary.fits")
        os.rename(incoming / "temporary.fits", incoming / first.name)
        shutil.copy(second, incoming / "away.fits")
        (incoming / "away.fits").unlink()
        watching.until_visits(1)
    assert watching.tally.bad == {}
    with Butler.from_config(str(repository)).query() as query:
        (ref,) = query.datasets("raw", "SimCam/raw/all")
    assert Butler.from_config(str(repository)).getURI(ref).ospath == str(incoming / first.name)


def test_a_repository_that_is_away_and_one_that_is_made_anew(
    repository: Path, incoming: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trouble, "_FIRST_WAIT", 0.1)
    monkeypatch.setattr(trouble, "_LONGEST_WAIT", 0.2)
    files = raws(tmp_path / "raw", 4)
    away = tmp_path / "away"
    with Watching(repository, incoming) as watching:
        watching.until_idle()
        arrive(files[0], incoming)
        watching.until_visits(1)
        os.rename(repository, away)
        arrive(files[1], incoming)
        watching.until(lambda: watching.tally.state == "waiting for the database")
        arrive(files[2], incoming)
        os.rename(away, repository)
        watching.until_visits(3)
        shutil.rmtree(repository)
        repository_of(repository)
        arrive(files[3], incoming)
        watching.until(lambda: n_visits(repository) == 4)
        watching.until_idle()
    assert everything(repository) == undisturbed(tmp_path / "other", files)
    assert watching.tally.bad == {}


def test_an_instrument_that_is_registered_late(tmp_path: Path, incoming: Path) -> None:
    repository = tmp_path / "repository"
    butler = make_repository(repository)
    with Watching(repository, incoming) as watching:
        watching.until_idle()
        file = arrive(raws(tmp_path / "raw")[0], incoming)
        watching.until(lambda: str(file) in watching.tally.bad)
        register_instrument(butler, InstrumentDescription.from_mapping(describe(), "the instrument"))
        watching.until_visits(1)
    butler.close()
    assert watching.tally.bad == {}


def test_a_bad_file_and_a_repository_that_comes_back(
    repository: Path, incoming: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked again when it is back is asked of the repository that was opened then."""
    monkeypatch.setattr(trouble, "_FIRST_WAIT", 0.1)
    first, *_ = raws(tmp_path / "raw")
    renew = Work.renew
    asked: list[Butler] = []

    def fail_once(work: Work) -> None:
        asked.append(work.butler)
        if len(asked) == 2:
            raise DatabaseError("the server was started again")
        if len(asked) == 5:
            raise LookupError("nobody has foreseen this")
        renew(work)

    monkeypatch.setattr(Work, "renew", fail_once)
    (incoming / "bad.fits").write_text("no data")
    with Watching(repository, incoming) as watching:
        watching.until(lambda: len(asked) > 5)
        arrive(first, incoming)
        watching.until_visits(1)
    # The work of the beginning, its second try that fails, the work after that, and the same try again.
    assert asked[0] is asked[1] is not asked[2] is asked[3]
    assert len(complaints(caplog, "nobody has foreseen this")) == 1


def test_a_repository_that_goes_away_at_the_start(
    repository: Path, incoming: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trouble, "_FIRST_WAIT", 0.1)
    asked: list[Butler] = []
    renew = Work.renew

    def fail_at_first(work: Work) -> None:
        asked.append(work.butler)
        if len(asked) == 1:
            raise DatabaseError("the server was started again")
        renew(work)

    monkeypatch.setattr(Work, "renew", fail_at_first)
    arrive(raws(tmp_path / "raw")[0], incoming)
    assert once(repository, incoming).tally.visits == 1
    assert asked[0] not in asked[1:]


@pytest.mark.parametrize("poll", [None, 0.05], ids=["events", "polled"])
def test_a_file_that_was_set_aside_and_was_gone(
    repository: Path, tmp_path: Path, incoming: Path, poll: float | None
) -> None:
    """A folder is away for so long that what was in it counts as gone; it comes back as it was."""
    bad, _, _ = raws(tmp_path / "raw")
    content = bad.read_bytes()
    (incoming / bad.name).write_bytes(content[:4000])
    with Watching(repository, incoming, poll=poll, give_up=0.3) as watching:
        watching.until(lambda: watching.tally.bad)
        os.rename(incoming, tmp_path / "away")
        watching.until(lambda: watching.tally.waiting == 0)
        os.rename(tmp_path / "away", incoming)
        watching.until(lambda: watching.tally.bad)


@pytest.mark.parametrize("poll", [None, 0.05], ids=["events", "polled"])
def test_a_disk_that_does_not_answer(
    repository: Path, tmp_path: Path, incoming: Path, monkeypatch: pytest.MonkeyPatch, poll: float | None
) -> None:
    """What cannot be looked at is not gone."""
    (incoming / "bad.fits").write_text("no data")
    answers = True
    looks = 0
    look = places.signature_of

    def signature_of(place: str) -> places.Signature | None:
        nonlocal looks
        looks += 1
        # It is asked before the file is read again, and after that.
        if not answers and looks % 3:
            raise OSError(errno.EIO, "the disk does not answer")
        return look(place)

    monkeypatch.setattr(places, "signature_of", signature_of)
    with Watching(repository, incoming, poll=poll, give_up=0.2, longest_wait=0.1) as watching:
        watching.until(lambda: watching.tally.bad)
        answers = False
        entry = watching.watcher._files.entries[str(incoming / "bad.fits")]
        tries = entry.tries
        watching.until(lambda: entry.tries > tries + 5)
        assert watching.tally.waiting == 1
        answers = True
        shutil.copy(raws(tmp_path / "raw")[0], incoming / "bad.fits")
        watching.until_visits(1)
        watching.until(lambda: not watching.tally.bad)


def test_a_folder_that_is_made_again_at_once(
    repository: Path, incoming: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new one may have the number of the old one, and nobody has seen that there was none."""
    number = os.stat(incoming)
    look = os.stat
    first, second, _ = raws(tmp_path / "raw")

    def stat(path: Any, **options: Any) -> os.stat_result:
        return number if path == str(incoming) else look(path, **options)

    monkeypatch.setattr(folders.os, "stat", stat)
    with Watching(repository, incoming, transfer="copy") as watching:
        watching.until_idle()
        arrive(first, incoming)
        watching.until_visits(1)
        shutil.rmtree(incoming)
        incoming.mkdir()
        arrive(second, incoming)
        watching.until_visits(2)


def _renamed_link(file: Path, folder: Path) -> None:
    """Link a file that gets no other name at once."""
    shutil.copy(file, folder.parent / "linked.fits")
    os.link(folder.parent / "linked.fits", folder / file.name)
    (folder.parent / "linked.fits").unlink()


def _without_a_name(file: Path, folder: Path) -> None:
    """Write a file that gets its name when it is complete."""
    number = os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o644)
    os.write(number, file.read_bytes())
    # The number is not used, but only with one Python follows the link.
    os.link(f"/proc/self/fd/{number}", folder / file.name, src_dir_fd=number, follow_symlinks=True)
    os.close(number)


@pytest.mark.parametrize("come", [_renamed_link, _without_a_name])
def test_links(repository: Path, incoming: Path, tmp_path: Path, come: Callable[[Path, Path], None]) -> None:
    """Nobody closes a file that is linked when it is complete."""
    first, *_ = raws(tmp_path / "raw")
    with Watching(repository, incoming) as watching:
        watching.until_idle()
        come(first, incoming)
        watching.until_visits(1)


def test_a_file_that_is_long_enough_is_open(repository: Path, incoming: Path, tmp_path: Path) -> None:
    """One that is written is not taken before it is closed, however long nothing happens to it."""
    first, second, third = raws(tmp_path / "raw")
    with Watching(repository, incoming) as watching:
        watching.until_idle()
        with (incoming / first.name).open("wb") as target:
            target.write(first.read_bytes())
            target.flush()
            # Links have to settle; so that had time enough too.
            for number, other in enumerate((second, third), start=1):
                (incoming / other.name).symlink_to(other)
                watching.until_visits(number)
            watching.until(lambda: watching.tally.files == 2)
        watching.until_visits(3)


def test_what_the_kernel_does_not_tell(
    repository: Path, incoming: Path, tmp_path: Path, mounts: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link whose target comes later, and what is mounted within, are found by looking again."""
    monkeypatch.setattr(folders, "_RESCAN", 0.3)
    first, second, third = raws(tmp_path / "raw")
    with Watching(repository, incoming) as watching:
        watching.until_idle()
        (incoming / first.name).symlink_to(tmp_path / "later.fits")
        shutil.copy(first, tmp_path / "later.fits")
        watching.until_visits(1)
        (incoming / "disk").mkdir()
        (tmp_path / "disk").mkdir()
        shutil.copy(second, tmp_path / "disk")
        mount(mounts, incoming / "disk", "--bind", tmp_path / "disk")
        watching.until_visits(2)
        arrive(third, incoming / "disk")
        watching.until_visits(3)


def test_a_database_that_fails_while_files_are_compared(
    repository: Path, incoming: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the repository has lost is found although it fails once more at the end of that."""
    monkeypatch.setattr(trouble, "_FIRST_WAIT", 0.1)
    undefined, ingest = Work.undefined, Work.ingest
    fails: list[str] = []

    def fail(work: Work) -> list[Exposure]:
        if fails:
            raise DatabaseError(fails.pop())
        return undefined(work)

    def lose(work: Work, places: Sequence[str]) -> Ingested:
        if lost:
            shutil.rmtree(repository)
            repository_of(repository)
            fails.append(lost.pop())
            raise DatabaseError("it was made anew")
        return ingest(work, places)

    lost: list[str] = []
    monkeypatch.setattr(Work, "undefined", fail)
    monkeypatch.setattr(Work, "ingest", lose)
    first, second, _ = raws(tmp_path / "raw")
    with Watching(repository, incoming) as watching:
        watching.until_idle()
        arrive(first, incoming)
        watching.until_visits(1)
        watching.until(lambda: watching.tally.batches == 1)
        lost.append("it failed in the middle")
        arrive(second, incoming)
        watching.until(lambda: watching.tally.files == 3)
        watching.until_visits(3)
    assert n_visits(repository) == 2
    assert not fails
