"""daf_butler's own server, on this machine, for repositories with their files in a store whose URLs can be signed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil
from lsst.daf.butler import Config
from lsst.resources import ResourcePath

from leftovers import forget, remember

TOKEN: Final = {"BUTLER_RUBIN_ACCESS_TOKEN": "any"}
"""Environment of those who ask the server. This one takes any token, and without one its clients do not begin."""


@contextmanager
def butler_server(repositories: Mapping[str, Path], log: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Serve repositories; yield the URL of one without its name, and the server."""
    about = {name: {"config_uri": str(path), "authorized_groups": ["*"]} for name, path in repositories.items()}
    environment = {
        "DAF_BUTLER_SERVER_REPOSITORIES": json.dumps(about),
        "DAF_BUTLER_SERVER_GAFAELFAWR_URL": "DISABLED",
        "DAF_BUTLER_SERVER_AUTHENTICATION": "rubin_science_platform",
    }
    # Whoever connects waits until the server has started.
    with socket.create_server(("127.0.0.1", 0)) as listening, log.open("w") as output:
        app = "lsst.daf.butler.remote_butler.server:create_app"
        server = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "--factory", app, "--fd", str(listening.fileno())],
            pass_fds=[listening.fileno()],
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
        )
        remember(server.pid)
        port = listening.getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/api/butler/repo/", psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait(60)
        forget(server.pid)


def move_files(repository: Path, store: str) -> None:
    """Move the files of a repository's datastore into an object store."""
    folder = ResourcePath(store).join(repository.name, forceDirectory=True)
    for path in repository.rglob("*"):
        if path.is_file() and path.name not in ("butler.yaml", "gen3.sqlite3"):
            folder.join(str(path.relative_to(repository))).transfer_from(ResourcePath(path), "move")
    config = Config(str(repository / "butler.yaml"))
    config["datastore", "root"] = str(folder)
    config.dumpToUri(ResourcePath(repository / "butler.yaml"))
