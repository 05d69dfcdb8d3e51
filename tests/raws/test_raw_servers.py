"""Web servers that stall, lie about ranges, lead in circles or end early, on loopback: an error of one file."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from lsst.daf.butler import Butler, DatasetRef, FileDataset

from butler_visits.errors import CameraFileError, RawFileError
from butler_visits.ingest import ingest_raws
from butler_visits.raws import RawFile, headers, read_raw_files
from ingest_helpers import DESCRIPTION, science, stored, summary
from simulated_raws import write_raws
from simulated_survey import INSTRUMENT
from templates import make_repository
from visit_tables import add_exposures, data_ids, exposure, make_task
from visit_tables import stored as records

DETECTORS = range(6)
EXPOSURES = [exposure(number)["id"] for number in (1, 2, 3)]

Trouble = Callable[["Handler", bytes, int, int], None]


class Handler(BaseHTTPRequestHandler):
    """Serves ranges of files, with the trouble that the beginning of their names says."""

    protocol_version = "HTTP/1.1"
    server: Any

    def do_GET(self) -> None:
        name = self.path.split("/")[-1]
        self.server.asked[name] += 1
        content = self.server.files[name]
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "bytes=0-999999999"))
        assert wanted is not None
        begin, end = int(wanted[1]), min(int(wanted[2]) + 1, len(content))
        TROUBLES.get(name.split(".")[0], (fine, ""))[0](self, content, begin, end)

    def do_HEAD(self) -> None:
        self.send(b"", 200, length=len(self.server.files[self.path.lstrip("/")]))

    def do_OPTIONS(self) -> None:
        """Say that this is no WebDAV."""
        self.send(b"", 200)

    def send(self, body: bytes, status: int, *, length: int | None = None, **more: object) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for key, value in more.items():
            self.send_header(key.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def said(begin: int, end: int, size: int) -> str:
    return f"bytes {begin}-{end - 1}/{size}"


def fine(to: Handler, content: bytes, begin: int, end: int) -> None:
    to.send(content[begin:end], 206, Content_Range=said(begin, end, len(content)))


def stalls(to: Handler, content: bytes, begin: int, end: int) -> None:
    time.sleep(10)


def stalls_within(to: Handler, content: bytes, begin: int, end: int) -> None:
    to.send(content[begin : end - 1], 206, length=end - begin, Content_Range=said(begin, end, len(content)))
    time.sleep(10)


def other_bytes(to: Handler, content: bytes, begin: int, end: int) -> None:
    """Send what begins a card later, and say that it is what was asked for."""
    to.send((content + bytes(80))[begin + 80 :][: end - begin], 206, Content_Range=said(begin, end, len(content)))


def first_bytes(to: Handler, content: bytes, begin: int, end: int) -> None:
    to.send(content[: end - begin], 206, Content_Range=said(begin, end, len(content)))


def one_off(to: Handler, content: bytes, begin: int, end: int) -> None:
    off = min(begin, 1)
    to.send(content[begin + off : end + off], 206, Content_Range=said(begin + off, end + off, len(content)))


def says_nothing(to: Handler, content: bytes, begin: int, end: int) -> None:
    to.send(content[begin:end], 206)


def other_size(to: Handler, content: bytes, begin: int, end: int) -> None:
    to.send(content[begin:end], 206, Content_Range=said(begin, end, len(content) + begin))


def too_short(to: Handler, content: bytes, begin: int, end: int) -> None:
    to.send(content[begin : end - 7], 206, Content_Range=said(begin, end, len(content)))


def too_long(to: Handler, content: bytes, begin: int, end: int) -> None:
    to.send(content[begin : end + 7] + bytes(7), 206, Content_Range=said(begin, end, len(content)))


def ends_early(to: Handler, content: bytes, begin: int, end: int) -> None:
    """Promise more than comes."""
    to.send(content[begin : end - 7], 206, length=end - begin, Content_Range=said(begin, end, len(content)))
    to.close_connection = True


def hangs_up(to: Handler, content: bytes, begin: int, end: int) -> None:
    to.close_connection = True


def circles(to: Handler, content: bytes, begin: int, end: int) -> None:
    to.send(b"", 302, Location=to.path)


def changes(to: Handler, content: bytes, begin: int, end: int) -> None:
    date = f"Sun, 29 Nov 2026 10:00:{min(begin, 59):02d} GMT"
    to.send(content[begin:end], 206, Content_Range=said(begin, end, len(content)), Last_Modified=date)


def gone(to: Handler, content: bytes, begin: int, end: int) -> None:
    to.send(b"", 404)


def gone_meanwhile(to: Handler, content: bytes, begin: int, end: int) -> None:
    (gone if begin else fine)(to, content, begin, end)


def forbidden(to: Handler, content: bytes, begin: int, end: int) -> None:
    to.send(b"", 403)


def broken(to: Handler, content: bytes, begin: int, end: int) -> None:
    to.send(b"", 501)


def whole(to: Handler, content: bytes, begin: int, end: int) -> None:
    to.send(content, 200)


def whole_and_short(to: Handler, content: bytes, begin: int, end: int) -> None:
    to.send(content[:-7], 200, length=len(content))
    to.close_connection = True


def whole_later(to: Handler, content: bytes, begin: int, end: int) -> None:
    """Know ranges, and forget it."""
    (whole if begin else fine)(to, content, begin, end)


def unknown_size(to: Handler, content: bytes, begin: int, end: int) -> None:
    to.send(content[begin:end], 206, Content_Range=f"bytes {begin}-{end - 1}/*")


def other_mark(to: Handler, content: bytes, begin: int, end: int) -> None:
    """Be several servers, which have the file since different times."""
    date = f"Sun, 29 Nov 2026 10:00:{min(begin, 59):02d} GMT"
    to.send(content[begin:end], 206, Content_Range=said(begin, end, len(content)), Last_Modified=date, ETag='"a"')


def busy(to: Handler, content: bytes, begin: int, end: int) -> None:
    if to.server.asked[to.path.lstrip("/")] % 2:
        to.send(b"", 503)
    else:
        fine(to, content, begin, end)


def elsewhere(to: Handler, content: bytes, begin: int, end: int) -> None:
    if to.path.startswith("/there/"):
        fine(to, content, begin, end)
    else:
        to.send(b"", 307, Location=f"/there{to.path}")


TROUBLES: dict[str, tuple[Trouble, str]] = {
    "stalls": (stalls, "no byte came for 5 seconds"),
    "stalls_within": (stalls_within, "no byte came for 5 seconds|Read timed out"),
    "other_bytes": (other_bytes, "HDU 0: no FITS header can be read"),
    "first_bytes": (first_bytes, r"HDU \d: no FITS header can be read, though the file goes on; it is damaged"),
    "one_off": (one_off, r"the server sends bytes \d+1 to \d+, and was asked for \d+0 to \d+9"),
    "says_nothing": (says_nothing, "the server sends a part without saying which"),
    "other_size": (other_size, r"the server says that it has \d+ bytes, and said \d+ before"),
    "too_short": (too_short, r"the server sends \d+ of \d+ bytes"),
    "too_long": (too_long, r"the server sends more than \d+ bytes"),
    "ends_early": (ends_early, "IncompleteRead"),
    "hangs_up": (hangs_up, "Remote end closed connection|no byte came for 5 seconds"),
    "circles": (circles, "Exceeded 30 redirects"),
    "changes": (changes, "it has changed while it was read; try again"),
    "gone": (gone, "There is no file "),
    "gone_meanwhile": (gone_meanwhile, "There is no file "),
    "forbidden": (forbidden, "permission denied"),
    "broken": (broken, "the server answers 501 "),
    "whole_and_short": (whole_and_short, "IncompleteRead"),
    # These are none.
    "fine": (fine, ""),
    "whole": (whole, ""),
    "whole_later": (whole_later, ""),
    "unknown_size": (unknown_size, ""),
    "other_mark": (other_mark, ""),
    "busy": (busy, ""),
    "elsewhere": (elsewhere, ""),
}


SLOW = ("stalls", "stalls_within", "hangs_up")
"""Troubles that take as long as it is waited, or as it is tried again."""


@pytest.fixture
def server() -> Iterator[Any]:
    """Start a web server without files."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.files, server.asked = {}, Counter()
    server.uri = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def night(server: Any, tmp_path: Path) -> dict[str, str]:
    """Serve a raw for each trouble; return their URIs."""
    files = write_raws(tmp_path / "raw", science(len(TROUBLES)), detectors=DETECTORS, in_one_file=True)
    for name, file in zip(TROUBLES, files, strict=True):
        server.files[f"{name}.fits"] = file.read_bytes()
    server.local = dict(zip(TROUBLES, files, strict=True))
    return {name: f"{server.uri}{name}.fits" for name in TROUBLES}


def check_headers(server: Any, night: dict[str, str]) -> None:
    """Check that all have the right ones, or an error that names the file."""
    results = read_raw_files(list(night.values()))
    local = read_raw_files([server.local[name] for name in night])
    for (name, uri), result, expected in zip(night.items(), results, local, strict=True):
        _, words = TROUBLES[name]
        if words:
            assert isinstance(result, RawFileError), name
            assert uri in str(result)
            assert re.search(words, str(result)), (name, str(result))
        else:
            assert isinstance(result, RawFile), (name, result)
            assert isinstance(expected, RawFile)
            assert result.headers == expected.headers
            assert result.images == expected.images


def test_headers(server: Any, night: dict[str, str]) -> None:
    check_headers(server, {name: uri for name, uri in night.items() if name not in SLOW})


@pytest.mark.slow
def test_servers_that_are_waited_for(server: Any, night: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headers, "STALLED", 5.0)
    check_headers(server, {name: night[name] for name in (*SLOW, "fine")})


def test_ingest(server: Any, night: dict[str, str], tmp_path: Path) -> None:
    """Of a night everything is ingested that can be read, and of the rest each file is reported."""
    butler = make_repository(tmp_path / "repository")
    night = {name: uri for name, uri in night.items() if name not in SLOW}
    result = ingest_raws(
        butler, list(night.values()), instrument=DESCRIPTION, transfer="direct", on_error="skip", images=None
    )
    bad = {name for name in night if TROUBLES[name][1]}
    good = night.keys() - bad
    assert {name for name in night if any(f"/{name}.fits" in one.source for one in result.failures)} == bad
    assert summary(result)[:5] == (len(night), len(good), 0, len(bad), len(good) * len(DETECTORS))
    assert len(stored(butler)["exposure"]) == len(good)


# Cameras


@pytest.fixture
def remote(server: Any, make_survey: Callable[..., Butler]) -> Butler:
    """Return a repository with three exposures, whose camera is on the server, in collection ``remote``."""
    butler = make_survey()
    add_exposures(butler, map(exposure, (1, 2, 3)))
    (local,) = butler.query_datasets("camera_geometry", f"{INSTRUMENT}/calib/unbounded")
    server.files["camera.yaml"] = butler.getURI(local).read()
    butler.collections.register("remote")
    ref = DatasetRef(local.datasetType, local.dataId, run="remote")
    butler.ingest(FileDataset(f"{server.uri}camera.yaml", [ref]), transfer="direct")
    return butler


@pytest.mark.sqlite_only
@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (stalls_within, "Read timed out"),
        (too_short, r"the server sends \d+ of \d+ bytes"),
        (ends_early, "IncompleteRead"),
        (circles, "Exceeded 30 redirects"),
        (gone, "is gone; restore the file"),
        (forbidden, "PermissionError"),
        (broken, "the server answers 501 "),
    ],
)
def test_camera(server: Any, remote: Butler, monkeypatch: pytest.MonkeyPatch, trouble: Trouble, words: str) -> None:
    """Nothing is written, and everything is when the server is well again."""
    if trouble is stalls_within:
        monkeypatch.setattr(headers, "STALLED", 2.0)
    monkeypatch.setitem(TROUBLES, "camera", (trouble, ""))
    with pytest.raises(CameraFileError, match=words) as caught:
        make_task(remote).run(data_ids(EXPOSURES), collections="remote")
    assert f"{server.uri}camera.yaml of collection remote" in str(caught.value)
    result = make_task(remote).run(data_ids(EXPOSURES), collections="remote", on_error="skip")
    assert (result.n_new, result.n_failed) == (0, 3)
    assert not records(remote, "visit")
    monkeypatch.setitem(TROUBLES, "camera", (fine, ""))
    assert make_task(remote).run(data_ids(EXPOSURES), collections="remote").n_new == 3


@pytest.mark.sqlite_only
def test_camera_that_changes_in_the_middle(server: Any, remote: Butler) -> None:
    """A task has read it once; another one takes no other camera for the same dataset."""
    task = make_task(remote)
    assert task.run(data_ids(EXPOSURES[:1]), collections="remote").n_new == 1
    content = server.files["camera.yaml"]
    server.files["camera.yaml"] = content[: len(content) // 2]
    assert task.run(data_ids(EXPOSURES[1:2]), collections="remote").n_new == 1
    with pytest.raises(CameraFileError, match=f" {len(content) // 2} bytes, and had {len(content)} when "):
        make_task(remote).run(data_ids(EXPOSURES[2:]), collections="remote")
    server.files["camera.yaml"] = content
    assert make_task(remote).run(data_ids(EXPOSURES), collections="remote").n_skipped == 2
