"""A temporary PostgreSQL cluster, for tests of repositories whose registry is in PostgreSQL."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

import psycopg

from leftovers import forget, remember

_USER: Final = "butler"
_EMPTY: Final = "empty"
"""A database with what the Butler needs of a server, and nothing else."""

_SETTINGS: Final = {
    # A socket in the temporary folder: no port that could be taken, and nobody else gets in.
    "listen_addresses": "",
    # The cluster does not outlive the tests, so it must survive a crash of the server, but not of the machine.
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "200",
    "autovacuum": "off",
    "wal_level": "minimal",
    "max_wal_size": "256MB",
    "max_wal_senders": "0",
}


_ROOM: Final = 2 * 2**30
"""Bytes: more than the databases and the temporary folders of two processes ever took."""


def find_programs() -> Path | None:
    """Find the folder of PostgreSQL's programs: the one in the path, or the newest that Debian has put away.

    Returns
    -------
    folder : `pathlib.Path` or `None`
        The folder, if PostgreSQL's server is installed.
    """
    in_path = shutil.which("initdb")
    found = [Path(in_path).resolve().parent] if in_path else []
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -float(path.parent.name))
    return next((folder for folder in found if (folder / "initdb").exists()), None)


def folder_in_memory() -> str | None:
    """Return a folder in memory, if there is one with room."""
    folder = Path("/dev/shm")
    try:
        return str(folder) if shutil.disk_usage(folder).free > _ROOM and os.access(folder, os.W_OK) else None
    except OSError:
        return None


class Cluster:
    """A running PostgreSQL cluster, made on entering and removed on leaving the context.

    Parameters
    ----------
    programs : `pathlib.Path`
        Folder of PostgreSQL's programs.
    port : `int`, optional
        A port of this machine that is listened to too; there a password is asked for.
    in_memory : `bool`, optional
        Whether its files are kept in memory, where there is room: copying a database is six times as fast there.
    """

    def __init__(self, programs: Path, *, port: int | None = None, in_memory: bool = False) -> None:
        self.programs = programs
        self._port = port
        self._databases = 0
        self._pid: int | None = None
        # PostgreSQL refuses to run as root. Folders of pytest are closed to others, so this one is beside them.
        self._as_user: dict[str, Any] = {}
        self.folder = Path(tempfile.mkdtemp(prefix="pg-", dir=folder_in_memory() if in_memory else None))
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)

    def __enter__(self) -> Cluster:
        try:
            data = self.folder / "data"
            self._run("initdb", "-D", data, "-U", _USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
            settings = {**_SETTINGS, "unix_socket_directories": str(self.folder)}
            if self._port is not None:
                settings |= {"listen_addresses": "127.0.0.1", "port": str(self._port)}
                (data / "pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
            with (data / "postgresql.auto.conf").open("a") as file:
                file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
            self.start()
            self.execute(f"CREATE DATABASE {_EMPTY}")
            self.execute("CREATE EXTENSION btree_gist", database=_EMPTY)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the cluster and remove its files."""
        if self.is_running():
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Start the server."""
        self._run("pg_ctl", "start", "-w", "-D", self.folder / "data", "-l", self.folder / "log")
        self._pid = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        remember(self._pid, self.folder)

    def stop(self) -> None:
        """Stop the server as a crash does."""
        self._run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", self.folder / "data")
        if self._pid is not None:
            forget(self._pid)

    def is_running(self) -> bool:
        """Tell whether the server runs."""
        return (self.folder / "data" / "postmaster.pid").exists()

    def url(self, database: str) -> str:
        """Return SQLAlchemy's URL of a database."""
        return f"postgresql+psycopg://{_USER}@/{database}?host={self.folder}"

    def environment(self) -> dict[str, str]:
        """Return the environment in which PostgreSQL's programs find the cluster, as its administrator."""
        return {"PGHOST": str(self.folder), "PGUSER": _USER, "PGPORT": str(self._port or 5432)}

    def create_database(self, template: str = _EMPTY) -> str:
        """Create a database, as a copy of another that nobody is connected to, and return its name."""
        self._databases += 1
        name = f"test{self._databases}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, statement: str, *, database: str = "postgres") -> int:
        """Execute a statement in a transaction of its own, and return how many rows it is about."""
        with psycopg.connect(
            host=str(self.folder), port=self._port, user=_USER, dbname=database, autocommit=True
        ) as connection:
            return connection.execute(statement.encode()).rowcount

    def _run(self, program: str, *arguments: str | Path) -> None:
        # The server inherits the output, so that a pipe would never end.
        with (self.folder / "output").open("w+b") as output:
            completed = subprocess.run(
                [self.programs / program, *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=False,
                **self._as_user,
            )
            output.seek(0)
            if completed.returncode != 0:
                raise RuntimeError(f"{program} failed: {output.read().decode(errors='replace')}")
