"""Headers that lie about sizes, or are too large: a clear error at once, before any library sees them."""

from __future__ import annotations

import bz2
import gzip
import os
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from butler_visits.errors import RawFileError
from butler_visits.fits_blocks import BLOCK, MOST_HDUS, MOST_HEADER_BYTES
from butler_visits.raws import RawFile, headers, read_raw_files

_PRIMARY = {"SIMPLE": "T", "BITPIX": "16", "NAXIS": "2", "NAXIS1": "4", "NAXIS2": "4"}
_TABLE = {"XTENSION": "'BINTABLE'", "BITPIX": "8", "NAXIS": "2", "NAXIS1": "8", "NAXIS2": "1"}
_EMPTY = {"SIMPLE": "T", "BITPIX": "8", "NAXIS": "0"}
_IMAGE = {"XTENSION": "'IMAGE   '", "BITPIX": "8", "NAXIS": "0", "PCOUNT": "0", "GCOUNT": "1"}


def block(cards: dict[str, str]) -> bytes:
    """Write a header as it is, whatever its cards say."""
    text = "".join(f"{key:<8}= {value:>20}".ljust(80) for key, value in cards.items()) + "END".ljust(80)
    return text.ljust(-(-len(text) // BLOCK) * BLOCK).encode()


def problem(path: Path, content: bytes | None = None) -> str:
    """Return what is said of a file."""
    if content is not None:
        path.write_bytes(content)
    (file,) = read_raw_files([path])
    assert isinstance(file, RawFileError), file
    text = str(file)
    assert path.name in text
    assert "\n" not in text
    assert len(text) < 400
    return text


@pytest.mark.parametrize(
    ("cards", "said"),
    [
        ({"NAXIS": "99999999999"}, "HDU 0: NAXIS is 99999999999; expected a whole number from 0 to 999"),
        ({"NAXIS": "-1"}, "HDU 0: NAXIS is -1"),
        ({"NAXIS": "3"}, "HDU 0: there is no NAXIS3"),
        ({"NAXIS": "2.0"}, "HDU 0: card NAXIS cannot be read: '2.0'"),
        ({"NAXIS1": "9" * 60}, "HDU 0: card NAXIS1 cannot be read"),
        ({"NAXIS1": "-4"}, "HDU 0: NAXIS1 is -4"),
        ({"NAXIS1": "99999999999", "NAXIS2": "99999999999"}, "HDU 0: .* larger than any file"),
        ({"NAXIS1": "40000"}, "HDU 0: the file is truncated, 317[0-9]* of 322[0-9]* bytes are missing"),
        ({"BITPIX": "17"}, "HDU 0: BITPIX is 17; expected one of 8, 16"),
        ({"GCOUNT": "99999999999"}, "HDU 0: the file is truncated"),
        ({"PCOUNT": "-99"}, "HDU 0: PCOUNT is -99"),
        ({"NAXIS": "999", **{f"NAXIS{n}": "9" * 17 for n in range(1, 1000)}}, "larger than any file|NAXIS1 is"),
    ],
)
def test_sizes_that_cannot_be(tmp_path: Path, cards: dict[str, str], said: str) -> None:
    assert re.search(said, problem(tmp_path / "raw.fits", block(_PRIMARY | cards) + bytes(BLOCK)))


@pytest.mark.parametrize(
    ("cards", "said"),
    [
        ({"TFIELDS": "1000000000"}, "HDU 1: TFIELDS is 1000000000; expected a whole number from 0 to 999"),
        ({}, "HDU 1: there is no TFIELDS"),
        ({"TFIELDS": "1", "ZNAXIS": "99999999999"}, "HDU 1: ZNAXIS is 99999999999"),
        ({"TFIELDS": "1", "XTENSION": "'BINTABLF'"}, "HDU 1: XTENSION is 'BINTABLF'; expected one of IMAGE"),
        ({"TFIELDS": "1", "NAXIS": "1"}, "HDU 1: NAXIS is 1 and BITPIX 8; expected 2 and 8 for a table"),
    ],
)
def test_tables_that_cannot_be(tmp_path: Path, cards: dict[str, str], said: str) -> None:
    content = block(_EMPTY) + block(_TABLE | cards) + bytes(BLOCK)
    assert said in problem(tmp_path / "raw.fits", content)


def test_one_block_with_billions_of_axes(tmp_path: Path) -> None:
    """One block and nothing behind it; astropy counts to the end."""
    assert "NAXIS is 99999999999" in problem(tmp_path / "raw.fits", block(_EMPTY | {"NAXIS": "99999999999"}))


def test_more_headers_than_there_may_be(tmp_path: Path) -> None:
    limit = tmp_path / "limit.fits"
    limit.write_bytes(block(_EMPTY) + block(_IMAGE) * (MOST_HDUS - 1))
    (file,) = read_raw_files([limit])
    assert isinstance(file, RawFile)
    assert len(file.headers) == MOST_HDUS
    assert "more than 2,000 HDUs" in problem(tmp_path / "raw.fits", limit.read_bytes() + block(_IMAGE))


@pytest.mark.parametrize("packed", [False, True])
def test_a_header_of_blanks(tmp_path: Path, packed: bool) -> None:
    content = block(_EMPTY).replace(b"END", b"   ") + b" " * (MOST_HEADER_BYTES + BLOCK)
    name = "raw.fits.gz" if packed else "raw.fits"
    content = gzip.compress(content, 1) if packed else content
    assert f"headers of more than {MOST_HEADER_BYTES:,} bytes" in problem(tmp_path / name, content)


def test_a_hundred_thousand_cards(tmp_path: Path) -> None:
    path = tmp_path / "raw.fits"
    path.write_bytes(block(_PRIMARY | {f"K{n:07d}": str(n) for n in range(100_000)}) + bytes(BLOCK))
    (file,) = read_raw_files([path])
    assert isinstance(file, RawFile)
    assert file.images == {0: (4, 4)}
    assert file.headers[0]["K0099999"] == 99_999


@pytest.mark.parametrize(("end", "is_read"), [(b"", True), (bytes(BLOCK), True), (b" " * 100, True), (b"junk", False)])
def test_what_follows_the_last_hdu(tmp_path: Path, end: bytes, is_read: bool) -> None:
    """Nothing may be lost in silence because a size or an XTENSION is damaged."""
    path = tmp_path / "raw.fits"
    content = block(_PRIMARY) + bytes(BLOCK) + end
    if is_read:
        path.write_bytes(content)
        (file,) = read_raw_files([path])
        assert isinstance(file, RawFile), file
    else:
        assert "HDU 1: no FITS header can be read, though the file goes on" in problem(path, content)


@pytest.mark.parametrize("ending", ["gz", "bz2"])
def test_packed_files(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"raw.fits.{ending}"
    pack = gzip.compress if ending == "gz" else bz2.compress
    content = block(_PRIMARY) + bytes(BLOCK) + block(_IMAGE)
    path.write_bytes(pack(content))
    (file,) = read_raw_files([path])
    assert isinstance(file, RawFile), file
    assert file.images == {0: (4, 4)}
    assert "HDU 0: the file is truncated" in problem(path, pack(block(_PRIMARY)))
    assert path.name in problem(path, pack(content)[:-20])


def test_bytes_that_are_not_ascii(tmp_path: Path) -> None:
    """Other cards are read; what becomes of this one is not the structure's business."""
    header = block(_PRIMARY | {"OBJECT": "'M 31    '", "EXPTIME": "30.0"}).replace(b"M 31", b"M\xc931")
    (tmp_path / "raw.fits").write_bytes(header + bytes(BLOCK))
    (file,) = read_raw_files([tmp_path / "raw.fits"])
    assert isinstance(file, RawFile)
    assert file.headers[0]["EXPTIME"] == 30.0


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "raw.fits")
    assert "is not a regular file" in problem(tmp_path / "raw.fits")


@pytest.fixture
def stalled_server() -> Iterator[str]:
    """Serve a file of which no byte ever comes."""
    release = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.send_header("Accept-Ranges", "bytes")
            self.end_headers()

        def do_GET(self) -> None:
            release.wait()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/stalled.fits"
    release.set()
    server.shutdown()


def test_a_file_of_which_no_byte_comes(stalled_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error of that file; others are read."""
    monkeypatch.setattr(headers, "STALLED", 1.0)
    path = tmp_path / "raw.fits"
    fits.PrimaryHDU(np.zeros((4, 4))).writeto(path)
    stalled, good = read_raw_files([stalled_server, path])
    assert isinstance(good, RawFile)
    assert isinstance(stalled, RawFileError)
    assert "stalled.fits cannot be read: no byte came for 1 seconds" in str(stalled)
