"""Damaged camera files: a clear error that names the file, whatever the library that reads them would do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from butler_visits.camera import afw_fits
from butler_visits.camera.afw_fits import parse_afw_camera, read_afw_camera
from butler_visits.errors import CameraFileError
from butler_visits.trial import CPU_SECONDS, find_problem
from command_line import message, visits_command

AST_TEXT = 47_552
"""Where a byte of an AST text is that ends the process with a segmentation fault if it is an N."""


@pytest.fixture(scope="module")
def content(golden: Path) -> bytes:
    (path,) = (golden / "repos" / "comCamSim").glob("*/calib/unbounded/camera/*.fits")
    return path.read_bytes()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of what is remembered, which is not there yet; this process remembers nothing either."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(afw_fits, "_problems", {})
    return tmp_path / "cache" / "butler-visits" / "cameras"


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the child processes."""
    sizes: list[int] = []

    def count(function: str, data: bytes, *arguments: str) -> str:
        sizes.append(len(data))
        return find_problem(function, data, *arguments)

    monkeypatch.setattr(afw_fits, "find_problem", count)
    return sizes


def replaced(old: bytes, new: bytes, nth: int = 0) -> Callable[[bytes], bytes]:
    """Return a function that replaces the nth place of some bytes."""

    def change(content: bytes) -> bytes:
        at = -1
        for _ in range(nth + 1):
            at = content.index(old, at + 1)
        return content[:at] + new.ljust(len(old)) + content[at + len(old) :]

    return change


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "an AST text": (
        lambda content: content[:AST_TEXT] + b"N" + content[AST_TEXT + 1 :],
        "ended by SIGSEGV|AST|Ast|Error",
    ),
    "number of rows": (
        replaced(b"NAXIS2  =                    9", b"NAXIS2  = x"),
        "HDU 2: card NAXIS2 cannot be read",
    ),
    "rows beyond the end": (
        replaced(b"NAXIS2  =                    9", b"NAXIS2  =           9999999999"),
        "truncated",
    ),
    "number of columns": (
        replaced(b"TFIELDS =                    5", b"TFIELDS =           2000000000"),
        "TFIELDS is 2000000000",
    ),
    "width of a row": (replaced(b"NAXIS1  =                  148", b"NAXIS1  =                  147"), "HDU 1: "),
    "kind of a table": (replaced(b"'BINTABLE'", b"1000000000"), "HDU 1: XTENSION is"),
    "name of a column": (
        replaced(b"'cat.archive&'", b"'" + b"cat.arch" + b"'"),
        "HDU 1 is not the index of an archive",
    ),
    "format of a column": (
        replaced(b"'1QA(10) '", b"'9QA(10) '"),
        "HDU 4: its 5 columns have",
    ),
    "size of the heap": (replaced(b"PCOUNT  =                25638", b"PCOUNT  =                  638"), "HDU 5|HDU 6"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_damaged_is_said(content: bytes, cache: Path, name: str) -> None:
    change, said = DAMAGES[name]
    with pytest.raises(
        CameraFileError, match=rf"^somewhere\.fits is not an afw camera file, or it is damaged \(.*({said})"
    ):
        read_afw_camera(change(content), "somewhere.fits")
    assert not cache.exists()


def test_index_that_points_elsewhere(content: bytes) -> None:
    """Entries beyond a table, and before it."""
    # The index begins behind its header: id, cat.archive, cat.persistable, row0, nrows.
    first = content.index(b"XTENSION= 'BINTABLE'")
    data = next(at for at in range(first, len(content), 80) if content[at : at + 8] == b"END     ")
    data = -(-(data + 80) // 2880) * 2880
    for column, value in ((1, 2**31 - 1), (1, -5), (3, 2**31 - 1), (3, -1), (4, 2**31 - 1), (4, -3)):
        at = data + 4 * column
        damaged = content[:at] + np.array(value, ">i4").tobytes() + content[at + 4 :]
        with pytest.raises(ValueError, match=r"the index puts entry|ends before row"):
            parse_afw_camera(damaged, "somewhere.fits")


def test_a_file_is_tried_once(content: bytes, cache: Path, trials: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        read_afw_camera(content, "somewhere.fits")
    assert len(trials) == 1
    assert len(list(cache.iterdir())) == 1
    # Another process knows it by the cache, and another content by nothing.
    monkeypatch.setattr(afw_fits, "_problems", {})
    read_afw_camera(content, "somewhere.fits")
    assert len(trials) == 1
    damaged = DAMAGES["number of rows"][0](content)
    for _ in range(3):
        with pytest.raises(CameraFileError):
            read_afw_camera(damaged, "somewhere.fits")
    assert len(trials) == 2
    assert len(list(cache.iterdir())) == 1


def test_a_cache_that_cannot_be_written(content: bytes, cache: Path, trials: list[int]) -> None:
    cache.parents[1].write_text("no folder")
    for _ in range(2):
        read_afw_camera(content, "somewhere.fits")
    assert len(trials) == 1


def test_the_child_imports_little() -> None:
    """It has numpy and AST; the Butler and astropy would take seconds."""
    code = "import sys, butler_visits.trial, butler_visits.camera.afw_fits; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    loaded = set(done.stdout.split())
    assert "starlink.Ast" in loaded
    assert not loaded & {"astropy", "lsst.daf.butler", "lsst.resources", "pydantic", "sqlalchemy"}


def test_the_command_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "camera.fits"
    path.write_bytes(DAMAGES["an AST text"][0](content))
    assert str(path) in message(visits_command("show-camera", path))


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory and time are limited, and crashes are told."""
    module = tmp_path / "misbehaving.py"
    module.write_text(
        "import os, resource, signal, time\n"
        "def crash(data): os.kill(os.getpid(), signal.SIGSEGV)\n"
        "def flood(data): bytearray(8 * 2**30)\n"
        "def fail(data, text): raise ValueError(f'{len(data)} bytes, {text}\\nand more')\n"
        "def leave(data): os._exit(7)\n"
        "def limits(data): raise ValueError(str(resource.getrlimit(resource.RLIMIT_CPU)[0]))\n"
        "def good(data): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert find_problem("misbehaving:good", b"") == ""
    assert find_problem("misbehaving:fail", b"abc", "ä") == "3 bytes, ä"
    assert "ended by SIGSEGV" in find_problem("misbehaving:crash", b"")
    assert find_problem("misbehaving:flood", b"") == "reading it takes too much memory"
    assert "ended with status 7" in find_problem("misbehaving:leave", b"")
    assert find_problem("misbehaving:limits", b"") == str(CPU_SECONDS)
