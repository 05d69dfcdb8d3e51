"""How a watch ends: when it is told to, when there is nothing more to come, and when it is killed."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from lsst.daf.butler import Butler

from butler_visits.errors import DatabaseError
from butler_visits.watch.tally import Tally
from butler_visits.watch.watcher import Watcher
from butler_visits.watch.work import Ingested, Work
from command_line import message, visits_command
from watching import LONGEST, Watching, arrive, everything, n_visits, raws, undisturbed

QUICK = ("--batch", "0.05", "--settle", "0.1", "--no-images")


def commanded(repository: Path, *arguments: object, drive: Callable[[Callable[[], Tally]], None]) -> Result:
    """Run the command in this thread, which hears signals, while another one drives it."""
    watchers: list[Watcher] = []
    init = Watcher.__init__

    def remember(self: Watcher, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        watchers.append(self)

    def until(condition: Callable[[Tally], object]) -> None:
        end = time.monotonic() + LONGEST
        while not (watchers and condition(watchers[0].tally)) and time.monotonic() < end:
            time.sleep(0.01)

    thread = threading.Thread(target=drive, args=(until,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Watcher, "__init__", remember)
        thread.start()
        result = visits_command("watch", repository, *arguments, *QUICK)
    thread.join()
    return result


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda one: one.name)
def test_a_signal_ends_it_well(repository: Path, incoming: Path, tmp_path: Path, number: int) -> None:
    files = raws(tmp_path / "raw")
    status = tmp_path / "status.json"

    def drive(until: Any) -> None:
        until(lambda tally: tally.state == "watching")
        for file in files:
            arrive(file, incoming)
        until(lambda tally: tally.visits == 3)
        os.kill(os.getpid(), number)

    result = commanded(repository, incoming, "--status", status, drive=drive)
    assert result.exit_code == 0, result.output
    *batches, summary = result.stdout.splitlines()
    assert all(line.endswith("s behind") for line in batches)
    assert summary.startswith("Ended: 3 files, 3 exposures, 3 visits")
    assert Tally.from_json(status.read_text()).state == "ended"
    assert n_visits(repository) == 3
    # The handlers are as they were.
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.slow
@pytest.mark.parametrize("numbers", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM)])
def test_a_second_signal_ends_it_at_once(
    repository: Path, incoming: Path, tmp_path: Path, numbers: tuple[int, int]
) -> None:
    """In the middle of a batch, whose visits are whole or not there."""
    files = raws(tmp_path / "raw", 12)
    sent = threading.Event()

    def stop_twice(_tally: Tally) -> None:
        # In the middle: the batch is stored, and its end not shown yet.
        if _tally.visits and not sent.is_set():
            sent.set()
            for number in numbers:
                os.kill(os.getpid(), number)
                time.sleep(0.05)

    def drive(until: Any) -> None:
        until(lambda tally: tally.state == "watching")
        for file in files:
            arrive(file, incoming)

    show = Watcher._show

    def show_and_stop(self: Watcher) -> None:
        stop_twice(self.tally)
        show(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Watcher, "_show", show_and_stop)
        result = commanded(repository, incoming, drive=drive)
    assert result.exit_code == 128 + numbers[1], result.output
    assert "Whatever is stored is whole" in result.stderr
    once_more = visits_command("watch", repository, incoming, "--once", *QUICK)
    assert once_more.exit_code == 0, once_more.output
    assert everything(repository) == undisturbed(tmp_path / "other", files)


def piped() -> tuple[int, Any]:
    """Return the end of a pipe to read from, and the one to write to."""
    end, other = os.pipe()
    return end, os.fdopen(other, "wb", buffering=0)


def test_lines(repository: Path, incoming: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Places come on the standard input, whose end is the end of the watch."""
    first, second, third, fourth = raws(tmp_path / "raw", 4)
    (incoming / "part.fits").write_bytes(fourth.read_bytes()[:4000])
    monkeypatch.chdir(tmp_path)
    end, pipe = piped()
    with Watching(repository, "-", standard_input=end) as watching:
        watching.until_idle()
        pipe.write(f"{first}\n\n  {second.as_uri()}  \r\n".encode())
        watching.until_visits(2)
        pipe.write(f"{tmp_path}/nowhere.fits\n{incoming}/part.fits\nodd://place/x.fits\n{first}\n".encode())
        watching.until(lambda: len(watching.tally.bad) == 2 and watching.tally.waiting == 3)
        # The incomplete one too, which somebody has said.
        assert len(watching.watcher.failed) == 3
        (incoming / "part.fits").write_bytes(fourth.read_bytes())
        watching.until_visits(3)
        # No end of a line after the last one.
        pipe.write(f"raw/{third.name}".encode())
        pipe.close()
        watching.join()
    os.close(end)
    assert watching.tally.visits == 4
    assert {Path(place).name for place in watching.tally.bad} == {"nowhere.fits", "x.fits"}


def test_lines_that_were_read_are_not_lost(repository: Path, tmp_path: Path) -> None:
    files = raws(tmp_path / "raw", 12)
    end, pipe = piped()
    with Watching(repository, "-", standard_input=end, batch=30.0) as watching:
        watching.until_idle()
        pipe.write("".join(f"{file}\n" for file in files).encode())
        watching.until(lambda: watching.watcher._fresh)
    pipe.close()
    os.close(end)
    assert watching.tally.visits == n_visits(repository)
    assert len(everything(repository)["exposure"]) == len(files)
    assert watching.tally.files == len(files)


def test_no_more_lines_are_read_than_are_needed(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has not been read when the watch ends is there for the next one."""
    go_on = threading.Event()
    ingest = Work.ingest

    def ingest_later(work: Work, places: Sequence[str]) -> Ingested:
        go_on.wait(LONGEST)
        return ingest(work, places)

    monkeypatch.setattr(Work, "ingest", ingest_later)
    end, pipe = piped()
    os.set_blocking(pipe.fileno(), False)
    lines = b"".join(b"/nowhere/%s%d.fits\n" % (b"x" * 200, number) for number in range(3000))
    with Watching(repository, "-", standard_input=end) as watching:
        watching.until_idle()
        sent, last = 0, time.monotonic()
        while sent < len(lines) and time.monotonic() < last + 1.0:
            if n_bytes := pipe.write(lines[sent : sent + 4096]):
                sent, last = sent + n_bytes, time.monotonic()
            time.sleep(0.001)
        assert sent < len(lines)
        go_on.set()
    os.set_blocking(end, False)
    while select.select([end], [], [], 0)[0]:
        os.read(end, 1 << 16)
    pipe.write(b"more\n")
    time.sleep(0.3)
    assert os.read(end, 100) == b"more\n"
    pipe.close()
    os.close(end)


def test_lines_that_cannot_be_taken_are_said(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The database is away when the watch is to end."""
    files = raws(tmp_path / "raw", 4)

    def fail(work: Work, places: Sequence[str]) -> Ingested:
        raise DatabaseError("it is away")

    monkeypatch.setattr(Work, "ingest", fail)
    end, pipe = piped()
    with Watching(repository, "-", standard_input=end) as watching:
        watching.until_idle()
        pipe.write("".join(f"{file}\n" for file in files).encode())
        watching.until(lambda: watching.tally.state == "waiting for the database")
    pipe.close()
    os.close(end)
    (said,) = (record.getMessage() for record in caplog.records if "standard input" in record.getMessage())
    assert all(str(file) in said for file in files)


def test_lines_end_with_a_file_that_is_incomplete(
    repository: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody has said that it is complete."""
    first, *_ = raws(tmp_path / "raw")
    first.write_bytes(first.read_bytes()[:4000])
    end, pipe = piped()
    pipe.write(f"{first}\n".encode())
    pipe.close()
    with Watching(repository, "-", standard_input=end) as watching:
        watching.join()
    os.close(end)
    assert watching.watcher.failed == [str(first)]
    assert f"{first} has to wait" in caplog.text


def test_lines_and_a_folder(repository: Path, incoming: Path, tmp_path: Path) -> None:
    """The end of the lines is not the end, and a file that comes on both ways is one file."""
    first, second, third = raws(tmp_path / "raw")
    end, pipe = piped()
    with Watching(repository, "-", incoming, standard_input=end) as watching:
        watching.until_idle()
        pipe.write(f"{arrive(first, incoming).as_uri()}\n{second}\n".encode())
        pipe.close()
        watching.until_visits(2)
        arrive(third, incoming)
        watching.until_visits(3)
    os.close(end)
    assert watching.tally.files == 3
    assert watching.tally.bad == {}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("FILE",), "is no folder"),
        (("IN", "--move-bad", "IN"), "where its files arrive"),
        (("IN", "--move-bad", "NOWHERE"), "there is no folder"),
        (("IN", "--bad-files", "LIST"), "there is no folder"),
        (("IN", "--page", "page.txt"), "must end in"),
        (("IN", "-c", "nonsense=1"), "nonsense"),
        (("IN", "--instrument", "Nonsense"), "Nonsense"),
        (("IN", "--keep-overscan"), "--no-images"),
    ],
)
def test_mistakes_are_said_at_once(
    repository: Path, incoming: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "file").touch()
    places = {
        "FILE": tmp_path / "file",
        "IN": incoming,
        "NOWHERE": tmp_path / "nowhere",
        "LIST": tmp_path / "nowhere" / "list",
    }
    given = [places.get(one, one) for one in arguments]
    assert said in message(visits_command("watch", repository, *given, *QUICK))


def test_a_new_repository(tmp_path: Path) -> None:
    """It is made, and takes what headers say."""
    (tmp_path / "in").mkdir()
    result = visits_command("watch", tmp_path / "new", tmp_path / "in", "--once", *QUICK)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0].startswith("Created the data repository")
    Butler.from_config(str(tmp_path / "new")).close()
    # But not for nothing.
    mistake = visits_command("watch", tmp_path / "newer", tmp_path / "in", "--instrument", "Nonsense", *QUICK)
    assert "Nonsense" in message(mistake)
    assert not (tmp_path / "newer").exists()


def test_a_prefix_of_objects(store: str, repository: Path, tmp_path: Path) -> None:
    from lsst.resources import ResourcePath

    files = raws(tmp_path / "raw", 4)
    incoming = ResourcePath(f"{store}night/", forceDirectory=True)

    def upload(file: Path, name: str = "") -> None:
        incoming.join("raw").join(name or file.name).transfer_from(ResourcePath(str(file)), transfer="copy")

    upload(files[0])
    with Watching(repository, incoming, poll=0.1, transfer="copy") as watching:
        watching.until_visits(1)
        for file in files[1:3]:
            upload(file)
        (tmp_path / "bad.fits").write_text("no data")
        upload(tmp_path / "bad.fits")
        watching.until_visits(3)
        watching.until(lambda: len(watching.tally.bad) == 1)
    upload(files[3])
    again = Watching(repository, incoming, once=True, transfer="copy")
    with again:
        again.join()
    assert (again.tally.files, again.tally.visits) == (1, 1)
    assert len(again.tally.bad) == 1
    assert everything(repository) == undisturbed(tmp_path / "other", files)


def test_a_web_server_that_lists_nothing(repository: Path, incoming: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is said what to do instead, and other sources are watched."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(incoming))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Watching(repository, f"http://127.0.0.1:{server.server_port}/", poll=0.1) as watching:
            watching.until(lambda: "Name its files on the standard input" in caplog.text)
        server.shutdown()
