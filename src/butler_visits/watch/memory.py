"""What was taken before, so that a start need not read the headers of all files again.

It is in the user's cache folder and not beside the repository: that may be on a network share, where SQLite's locks
cannot be trusted, or in no folder at all. It says what need not be looked at, never what is in the repository: what it
remembers is compared with that at each start. To lose it costs time only.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from ..cache import cache_folder
from ..lists import first_line
from .places import Signature

_LOG = logging.getLogger(__name__)

_VERSION = 1

_BATCH = 10_000


class Taken(NamedTuple):
    """A file that was taken."""

    place: str
    size: int
    changed: int
    instrument: str
    exposure: int
    detectors: tuple[int, ...]


class Memory:
    """Remembers which files were taken; may be asked by several threads."""

    def __init__(self, *key: object) -> None:
        """Open the memory of a repository, its sources and whatever else makes a difference."""
        name = hashlib.sha256(json.dumps([_VERSION, *map(str, key)]).encode()).hexdigest()[:32]
        self._file: Path | None = cache_folder("watch") / f"{name}.sqlite3"
        self._lock = Lock()
        self._is_closed = False
        self._connection = self._open()

    def _open(self) -> sqlite3.Connection:
        for attempt in ("as it is", "anew"):
            if self._file is None:
                break
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                return self._connect(str(self._file))
            except (OSError, sqlite3.Error) as error:
                if attempt == "anew" or not isinstance(error, sqlite3.DatabaseError):
                    self._without(error)
                    break
                with suppress(OSError):
                    self._file.unlink()
        return self._connect(":memory:")

    def _connect(self, name: str) -> sqlite3.Connection:
        connection = sqlite3.connect(name, timeout=10.0, check_same_thread=False, isolation_level=None)
        # What a crash of the machine loses is found again.
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS taken (place TEXT PRIMARY KEY, size INTEGER, changed INTEGER, instrument TEXT, "
            "exposure INTEGER, detectors TEXT) WITHOUT ROWID"
        )
        return connection

    def _without(self, error: Exception) -> None:
        _LOG.warning(
            "What was taken cannot be remembered in %s: %s. The next start reads the headers of all files again.",
            self._file,
            first_line(error),
        )
        self._file = None

    @contextmanager
    def _asked(self) -> Iterator[sqlite3.Connection]:
        """Go on without memory where it fails: its disk may be full, or its file damaged."""
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                if self._is_closed:
                    # The watch has ended, and one of its threads not yet.
                    return
                self._without(error)
                with suppress(sqlite3.Error):
                    self._connection.close()
                self._connection = self._connect(":memory:")

    def knows(self, place: str, signature: Signature) -> bool:
        """Tell whether a file was taken as it is now."""
        if not _is_text(place):
            return False
        row: Signature | None = None
        with self._asked() as connection:
            row = connection.execute("SELECT size, changed FROM taken WHERE place = ?", (place,)).fetchone()
        return row == signature

    def add(self, files: Iterable[Taken]) -> None:
        """Remember files."""
        rows = [(*one[:-1], ",".join(map(str, one.detectors))) for one in files if _is_text(one.place)]
        self._write("INSERT OR REPLACE INTO taken VALUES (?, ?, ?, ?, ?, ?)", rows)

    def forget(self, places: Iterable[str]) -> None:
        """Forget files."""
        self._write("DELETE FROM taken WHERE place = ?", [(place,) for place in places])

    def _write(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if not rows:
            return
        with self._asked() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(statement, rows)
            connection.execute("COMMIT")

    def batches(self) -> Iterator[list[Taken]]:
        """Read what is remembered, ten thousand files at a time."""
        last = ""
        while True:
            rows: list[tuple[str, int, int, str, int, str]] = []
            with self._asked() as connection:
                statement = "SELECT * FROM taken WHERE place > ? ORDER BY place LIMIT ?"
                rows = connection.execute(statement, (last, _BATCH)).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            yield [Taken(*row[:-1], tuple(map(int, row[-1].split(",")))) for row in rows]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._is_closed = True
            self._connection.close()


def _is_text(place: str) -> bool:
    """Tell whether a place can be stored; names of files may hold any bytes."""
    try:
        place.encode()
    except UnicodeEncodeError:
        return False
    return True
