"""Raws in object stores and on web servers, both on loopback: only their headers are asked for."""

from __future__ import annotations

import logging
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from lsst.daf.butler import Butler, DimensionRecord

from butler_visits import RawFileError
from butler_visits.raws import RawFile, read_raw_files
from mosaic import write_raw
from raw_repository import (
    CAMERA,
    IDS,
    NAMES,
    Pointing,
    add_exposure,
    border,
    define_task,
    defined_visits,
    hull,
    ingest,
    make_repository,
    region_task,
    spread_pointings,
    stored_regions,
    visit_of,
)
from stored_visits import outline_distance

BLOCK = 2880
BUCKET = "raws"


@dataclass
class Traffic:
    """What a server was asked for, and what it sent."""

    sent: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Bytes of the files, by their paths."""
    requests: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Methods, by path."""

    def clear(self) -> None:
        self.sent.clear()
        self.requests.clear()


@dataclass
class Store:
    """Somewhere to put raws."""

    uri: str
    put: Callable[[str, bytes], Any]
    traffic: Traffic
    remove: Callable[[str], Any]


# An object store


@pytest.fixture(scope="module")
def s3_server() -> Iterator[tuple[str, Traffic]]:
    """Start moto's server of S3 on a free port, and listen to it."""
    moto = pytest.importorskip("moto.server", reason="moto's server is not installed (pip install moto[server])")
    serving = pytest.importorskip("werkzeug.serving", reason="werkzeug is not installed (pip install moto[server])")
    traffic = Traffic()
    application = moto.DomainDispatcherApplication(moto.create_backend_app)

    def listen(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        traffic.requests[path].append(method)
        for chunk in application(environ, start_response):
            if method == "GET":
                traffic.sent[path] += len(chunk)
            yield chunk

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = serving.make_server("127.0.0.1", 0, listen, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", traffic
    server.shutdown()
    thread.join()


@pytest.fixture
def s3(s3_server: tuple[str, Traffic], monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Return an empty bucket; its files are at s3://raws/."""
    boto3 = pytest.importorskip("boto3", reason="boto3 is not installed (pip install lsst-resources[s3])")
    endpoint, traffic = s3_server
    for name, value in {
        "S3_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "LSST_DISABLE_BUCKET_VALIDATION": "1",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket=BUCKET)

    def remove(name: str) -> None:
        client.delete_object(Bucket=BUCKET, Key=name)

    traffic.clear()
    yield Store(
        f"s3://{BUCKET}/", lambda name, body: client.put_object(Bucket=BUCKET, Key=name, Body=body), traffic, remove
    )
    for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        remove(item["Key"])
    client.delete_bucket(Bucket=BUCKET)


# A web server


class Handler(BaseHTTPRequestHandler):
    """Serves a server's files, with ranges if it is to."""

    protocol_version = "HTTP/1.1"

    def answer(self, with_body: bool) -> None:
        server: Any = self.server
        server.traffic.requests[self.path].append(self.command)
        content = server.files.get(self.path.lstrip("/"))
        if content is None:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        status, part = 200, content
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted and server.ranges:
            start, end = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
            status, part = 206, content[start : end + 1]
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
        if server.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if with_body:
            server.traffic.sent[self.path] += len(part)
            self.wfile.write(part)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_OPTIONS(self) -> None:
        """Say that this is no WebDAV."""
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def http(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Start a web server, with ranges unless the test says otherwise."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.files, server.traffic, server.ranges = {}, Traffic(), getattr(request, "param", True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    uri = f"http://127.0.0.1:{server.server_port}/"
    yield Store(uri, server.files.__setitem__, server.traffic, server.files.pop)
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(params=["s3", "http"])
def store(request: pytest.FixtureRequest) -> Store:
    """Return each of them."""
    return request.getfixturevalue(request.param)


def fill(store: Store, folder: Path, pointings: list[Pointing]) -> tuple[Butler, list[DimensionRecord]]:
    """Make a local repository of exposures whose raws of detector M1, 8 MB each, are in the store."""
    butler = make_repository(folder / "repository")
    exposures = [add_exposure(butler, number) for number in range(1, len(pointings) + 1)]
    for exposure, pointing in zip(exposures, pointings, strict=True):
        path = folder / f"{exposure.id}.fits"
        write_raw(path, CAMERA, ["M1"], *pointing[:3], "TPV", exposure_id=exposure.id)
        store.put(path.name, path.read_bytes())
        path.unlink()
        ingest(butler, exposure, store.uri + path.name, ["M1"])
    store.traffic.clear()
    return butler, exposures


@pytest.mark.parametrize("algorithm", ["all-raw-wcs", "single-raw-wcs"])
def test_visits(store: Store, tmp_path: Path, algorithm: str) -> None:
    """Visits are defined with few requests and a few blocks of each file, which none is asked for twice."""
    pointings = list(spread_pointings(8))
    butler, exposures = fill(store, tmp_path, pointings)
    result = define_task(butler, algorithm).run(exposures)
    assert (result.n_new, result.n_off_sky) == (8, 0)
    for exposure, pointing in zip(exposures, pointings, strict=True):
        _, detectors = stored_regions(butler, exposure.id)
        assert outline_distance(detectors[IDS["M1"]], hull(border("M1", pointing))) < 0.5
    files = {path: sent for path, sent in store.traffic.sent.items() if path.endswith(".fits")}
    assert len(files) == len(exposures)
    assert all(2 * BLOCK <= sent <= 16 * BLOCK for sent in files.values()), files
    assert all(len(store.traffic.requests[path]) <= 6 for path in files), dict(store.traffic.requests)


def test_a_large_file(store: Store, tmp_path: Path) -> None:
    """Of ten detectors' images in 84 MB it is some four blocks each."""
    path = tmp_path / "raw.fits"
    write_raw(path, CAMERA, NAMES, *spread_pointings(1)[0][:3], "SIP", layout="multi")
    store.put("raw.fits", path.read_bytes())
    store.traffic.clear()
    (file,) = read_raw_files([store.uri + "raw.fits"])
    assert isinstance(file, RawFile)
    assert [file.headers[i]["EXTNAME"] for i in sorted(file.images)] == list(NAMES)
    (sent,) = store.traffic.sent.values()
    assert 11 * BLOCK <= sent <= 64 * BLOCK


def test_compressed(store: Store, tmp_path: Path) -> None:
    butler = make_repository(tmp_path / "repository", camera=None)
    exposure = add_exposure(butler, 1)
    pointing = spread_pointings(1)[0]
    path = tmp_path / "raw.fits.fz"
    write_raw(path, CAMERA, ["M1"], *pointing[:3], "TPV", compressed=True)
    store.put(path.name, path.read_bytes())
    ingest(butler, exposure, store.uri + path.name, ["M1"])
    _, detectors = region_task(butler, "all-raw-wcs").compute(visit_of(exposure))
    assert outline_distance(detectors[IDS["M1"]], hull(border("M1", pointing))) < 0.01


def truncated(content: bytes) -> bytes:
    return content[: 10**6]


def short_header(content: bytes) -> bytes:
    return content[:1000]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (None, "There is no file FILE|The file FILE cannot be read"),
        (truncated, "FILE, HDU 0.*truncated"),
        (short_header, "FILE, HDU 0.*truncated"),
        (lambda _: b"", "FILE, HDU 0|The file FILE cannot be read"),
        (lambda _: b"<html>Sign in first</html>", "FILE, HDU 0.*no FITS"),
    ],
    ids=["gone", "truncated", "short header", "empty", "html"],
)
def test_errors(store: Store, tmp_path: Path, damage: Callable[[bytes], bytes] | None, said: str) -> None:
    """The same errors as of local files, and only that exposure is left out."""
    butler, exposures = fill(store, tmp_path, list(spread_pointings(3)))
    name = f"{exposures[1].id}.fits"
    if damage is None:
        store.remove(name)
    else:
        path = tmp_path / name
        write_raw(path, CAMERA, ["M1"], *spread_pointings(1)[0][:3], "TPV")
        store.put(name, damage(path.read_bytes()))
    said = said.replace("FILE", re.escape(store.uri + name))
    with pytest.raises(RawFileError, match=said):
        define_task(butler, "all-raw-wcs").run(exposures)
    result = define_task(butler, "all-raw-wcs").run(exposures, on_error="skip")
    (failure,) = result.failures
    assert failure.exposures == (exposures[1].id,)
    assert re.search(said, failure.reason)
    assert defined_visits(butler) == [exposures[0].id, exposures[2].id]


@pytest.mark.parametrize("http", [False], indirect=True)
def test_a_server_without_ranges(http: Store, tmp_path: Path) -> None:
    """There the whole file has to come, once."""
    butler, exposures = fill(http, tmp_path, list(spread_pointings(1)))
    assert define_task(butler, "all-raw-wcs").run(exposures).n_new == 1
    (sent,) = http.traffic.sent.values()
    assert 8e6 < sent < 9e6
