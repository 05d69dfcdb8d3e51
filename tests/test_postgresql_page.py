"""The page on PostgreSQL leads from an empty server to visits that are defined."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from lsst.daf.butler import Butler

from postgres import Cluster, find_programs
from simulated_survey import INSTRUMENT, camera, insert_exposures, night, register_instrument
from visit_tables import stored

pytestmark = pytest.mark.slow

PAGE: Final = Path(__file__).parents[1] / "docs" / "postgresql.md"


def test_all_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if (programs := find_programs()) is None:
        pytest.skip("no PostgreSQL server is installed here")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = PAGE.read_text().replace("db.example.org:5432", f"127.0.0.1:{port}")
    text = re.sub(r"\bREPO\b", "repository", re.sub(r"\bINSTRUMENT\b", INSTRUMENT, text))
    (tmp_path / "seed.yaml").write_text(found(r"^```yaml\n(.*?)^```", text))

    # Each role has its own password.
    password = found(r"^(127\.0\.0\.1:.*\n)", text)
    roles = re.findall(r"CREATE ROLE (\w+) LOGIN PASSWORD '(.+?)'", text)
    assert ("observatory", "secret") in roles
    pgpass = tmp_path / ".pgpass"
    pgpass.write_text("".join(password.replace("observatory:secret", ":".join(role)) for role in roles))
    pgpass.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(pgpass))
    monkeypatch.setenv("PGUSER", "observatory")

    commands = re.findall(r"^((?:psql|createdb|PGUSER=).*)$", text, re.MULTILINE)
    assert len(commands) == 13
    path = os.pathsep.join([str(Path(sys.executable).parent), str(programs), os.environ["PATH"]])
    with Cluster(programs, port=port) as cluster:
        for command in commands:
            if "define-visits" in command and "observatory" in command:
                owner = Butler.from_config(tmp_path / "repository", writeable=True)
                register_instrument(owner, camera(rafts=1))
                insert_exposures(owner, night(30))
            environment = {**os.environ, **cluster.environment(), "PATH": path}
            completed = subprocess.run(
                command,
                shell=True,
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert completed.returncode == 0, (command, completed.stderr)
            if "define-visits" in command and "observatory" in command:
                assert len(defined := stored(owner, "visit")) > 10
                # So that those who come next have something to do.
                insert_exposures(owner, night(60)[30:])
        assert len(stored(owner, "visit")) > len(defined)
        owner.close()


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE | re.DOTALL)
    assert match is not None
    return match[1]
