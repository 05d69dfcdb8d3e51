"""What is said of Butler servers that cannot be reached, refuse access or are of another version."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from butler_server import TOKEN
from command_line import message, visits_command

# A RemoteButler cannot be closed.
UNCLOSED = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
pytestmark = [pytest.mark.sqlite_only, UNCLOSED]

pytest.importorskip("httpx2", reason="Butler servers need httpx2")

_CONFIG = {"cls": "lsst.daf.butler.remote_butler.RemoteButler", "remote_butler": {"url": "<butlerRoot>"}}


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in TOKEN.items():
        monkeypatch.setenv(variable, value)


class _Answers(BaseHTTPRequestHandler):
    """Says that it is a Butler server, and then what it is told to."""

    status, body = 200, b""

    def do_GET(self) -> None:
        config = self.path.endswith("/butler.yaml")
        self.send_response(200 if config else self.status)
        self.end_headers()
        self.wfile.write(json.dumps(_CONFIG).encode() if config else self.body)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _server(status: int, body: bytes) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), type("_Own", (_Answers,), {"status": status, "body": body})) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/api/butler/repo/survey"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, b"", "refuses access (HTTP status 401); set BUTLER_RUBIN_ACCESS_TOKEN"),
        (403, b'{"detail": "no"}', "refuses access (HTTP status 403); set BUTLER_RUBIN_ACCESS_TOKEN"),
        (404, b"", "does not know what was asked of it (HTTP status 404)"),
        (500, b"Internal Server Error", "failed (HTTP status 500); its log has the reason"),
        (200, b"<html>", "does not understand; install the server's version"),
        (200, b'{"universe": {}}', "does not understand; install the server's version"),
    ],
)
def test_answers(status: int, body: bytes, expected: str) -> None:
    with _server(status, body) as url:
        result = visits_command("check", url, "SimCam")
    assert expected in message(result) and url in message(result)
    assert result.exit_code == 2 and len(message(result)) < 400


def test_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(next(iter(TOKEN)))
    with _server(200, b"") as url:
        result = visits_command("report", url, "SimCam", "--output", "page.html")
    assert "credentials" in message(result) and "BUTLER_RUBIN_ACCESS_TOKEN" in message(result)


@pytest.mark.slow
def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api/butler/repo/survey"
    result = visits_command("check", url, "SimCam")
    assert message(result).startswith(f"Nobody answers at {url}")
