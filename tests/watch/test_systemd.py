"""systemd is told that a watch is ready, alive and about to stop."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from butler_visits.watch.systemd import Notifier
from butler_visits.watch.tally import BadFile, Tally

SINCE = datetime(2026, 4, 1, 20, tzinfo=UTC)


@pytest.fixture(params=["file", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Listen as systemd does."""
    address = str(tmp_path / "notify") if request.param == "file" else f"@butler-visits-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address.replace("@", "\0"))
        listener.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        yield listener


def heard(listener: socket.socket) -> list[str]:
    return listener.recv(65536).decode().splitlines()


def test_states(systemd: socket.socket) -> None:
    show, tally = Notifier(), Tally(SINCE)
    for state, expected in (
        ("starting", []),
        ("catching up", ["READY=1", "WATCHDOG=1"]),
        ("watching", ["WATCHDOG=1"]),
        ("waiting for the database", ["WATCHDOG=1"]),
        ("watching", ["WATCHDOG=1"]),
        ("stopping", ["STOPPING=1"]),
        ("ended", []),
    ):
        tally.state = state
        show(tally)
        first, *others = heard(systemd)
        assert first.startswith(f"STATUS={state.capitalize()}: 0 files, 0 exposures, 0 visits")
        assert others == expected


def test_a_watch_that_waits_from_the_beginning_is_ready(systemd: socket.socket) -> None:
    Notifier()(Tally(SINCE, "waiting for the database"))
    assert "READY=1" in heard(systemd)


def test_a_name_is_no_line_of_its_own(systemd: socket.socket) -> None:
    state = os.fsdecode(b"waiting for /data/\xff\nSTOPPING=1")
    show = Notifier()
    show(Tally(SINCE, state, files=1, waiting=2, bad={"a": BadFile("a", "b", SINCE, 1)}))
    said = r"Waiting for /data/\udcff\nSTOPPING=1: 1 file, 0 exposures, 0 visits, 0.0 s behind, 2 waiting, 1 bad file."
    assert heard(systemd) == [f"STATUS={said}", "READY=1", "WATCHDOG=1"]


def test_a_systemd_that_does_not_listen_is_not_waited_for(systemd: socket.socket) -> None:
    show = Notifier()
    with pytest.raises(OSError):
        for _ in range(100_000):
            show(Tally(SINCE, "watching"))
    while True:
        try:
            first = heard(systemd)
        except BlockingIOError:
            break
        assert "WATCHDOG=1" in first
    show(Tally(SINCE, "stopping"))
    assert "STOPPING=1" in heard(systemd)


def test_without_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Notifier()(Tally(SINCE, "watching"))
