"""Stop commands at named points, or at any time, and see what they leave behind."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

from astropy.table import Table
from lsst.daf.butler import Butler
from sqlalchemy import Engine, event

from butler_visits import DefineVisitsConfig
from butler_visits.cli.program import butler_visits
from butler_visits.ingest import ingest_raws, ingest_table
from butler_visits.repository.instruments import register_instrument
from children import children
from fitted_visits import RUN, fits_of, store_fits
from fitted_visits import tables as visits_and_exposures
from ingest_helpers import DESCRIPTION, files_in, science, stored
from postgres import Cluster
from simulated_raws import write_raws
from simulated_survey import INSTRUMENT, insert_exposures
from templates import Fill, make_repository, one_raft
from visit_tables import data_ids, delete_rows, engine, make_task, wait_for_servers
from visit_tables import stored as records

COMMIT: Final = "COMMIT"
CHUNK: Final = 4
"""Visits, files or rows that are written together."""

_STATEMENT = re.compile(r'\s*(INSERT INTO|UPDATE|DELETE FROM) (?:public\.)?"?(\w+)', re.IGNORECASE)
_FILE_EVENTS = frozenset({"os.link", "os.remove", "os.rename", "os.symlink", "shutil.copyfile"})

Point = tuple[str, int]
"""A statement or what is done to a file, by its name, and how often it must have come."""


def call_at(butler: Butler, table: str, do: Callable[[], None], *, last: str = "", nth: int = 2) -> None:
    """Do something when rows have been inserted into a table for the nth time and are not committed yet.

    For `COMMIT`, it is done when they are about to be: when rows have been inserted into the last table so often.
    """
    insert = re.compile(rf'\s*INSERT INTO (public\.)?"?{last if table == COMMIT else table}"? ')
    count = 0

    def executed(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal count
        if insert.match(statement):
            count += 1
            if count == nth and table != COMMIT:
                do()

    def committing(_connection: Any) -> None:
        if count == nth and table == COMMIT:
            do()

    event.listen(engine(butler), "after_cursor_execute", executed)
    event.listen(engine(butler), "commit", committing)


def die() -> None:
    """End this process as no handler can prevent."""
    send(signal.SIGKILL)


def send(number: int, _folder: Path | None = None) -> None:
    """Send this process a signal."""
    os.kill(os.getpid(), number)


KILL: Final = partial(send, signal.SIGKILL)


@dataclass(frozen=True)
class Kind:
    """A command that writes, and what it starts from."""

    command: tuple[str, ...]
    """Its name and options; REPO and what follows it are `arguments`."""

    fill: Fill
    arguments: Callable[[Path], list[object]]


EXPOSURES = science(24)


def _with_exposures(butler: Butler) -> None:
    one_raft(butler)
    insert_exposures(butler, EXPOSURES)


def _damaged(butler: Butler) -> None:
    """Define some visits, and take detectors' regions from some of these."""
    _with_exposures(butler)
    ids = [one["id"] for one in EXPOSURES]
    make_task(butler).run(data_ids(ids[::2]))
    for visit in ids[::4]:
        delete_rows(butler, "visit_detector_region_skypix_overlap", visit=visit, detector=3)
        delete_rows(butler, "visit_detector_region", visit=visit, detector=3)


def _fitted(butler: Butler) -> None:
    """Define visits, and store a fit of each."""
    _with_exposures(butler)
    make_task(butler).run(data_ids(one["id"] for one in EXPOSURES))
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    store_fits(butler, folder, fits_of(butler))


def _described(butler: Butler) -> None:
    register_instrument(butler, DESCRIPTION)


def _instrument(_folder: Path) -> list[object]:
    return [INSTRUMENT]


KINDS: Final = {
    "define-visits": Kind(("define-visits",), _with_exposures, _instrument),
    "processes": Kind(("define-visits", "--processes", "2", "-c", f"chunkSize={CHUNK}"), _with_exposures, _instrument),
    "check --repair": Kind(("check", "--repair"), _damaged, _instrument),
    "update-regions": Kind(("update-regions",), _fitted, lambda _: [INSTRUMENT, RUN]),
    **{
        f"ingest {mode}": Kind(
            ("ingest", "-j", "2", "--no-images", "--transfer", mode), _described, lambda folder: [folder / "raw"]
        )
        for mode in ("direct", "copy", "link", "symlink", "move")
    },
}
"""What is killed."""


def _defined(butler: Butler) -> None:
    """Define visits."""
    _with_exposures(butler)
    make_task(butler).run(data_ids(one["id"] for one in EXPOSURES))


def _table(folder: Path) -> list[object]:
    """Write a table of exposures."""
    table = Table({name: [one[name] for one in EXPOSURES] for name in ("obs_id", "physical_filter", "tracking_ra")})
    table["exposure_id"] = [one["id"] for one in EXPOSURES]
    table["tracking_dec"] = [one["tracking_dec"] for one in EXPOSURES]
    table["datetime_begin"] = [one["timespan"].begin.utc.isot for one in EXPOSURES]
    table.write(folder / "table.ecsv", overwrite=True)
    return [folder / "table.ecsv", "--instrument", INSTRUMENT]


OTHERS: Final = {
    "remove-visits": Kind(("remove-visits", "--where", "visit > 0"), _defined, _instrument),
    "ingest-table": Kind(("ingest-table",), one_raft, _table),
}
"""What is stopped in other ways only."""


@cache
def _raws() -> Path:
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write_raws(folder / "raw", EXPOSURES)
    return folder / "raw"


class Attempt:
    """A repository that a command is to write into, and what it is to write."""

    def __init__(self, kind: Kind, folder: Path, cluster: Cluster | None) -> None:
        folder.mkdir()
        self.kind, self.folder, self.cluster = kind, folder, cluster
        self.root = folder / "repository"
        butler = make_repository(self.root, kind.fill, cluster=cluster)
        self.database = engine(butler).url.database
        butler.close()
        if kind.command[0] == "ingest":
            shutil.copytree(_raws(), folder / "raw")

    def start(self, do_at: Point | None = None, do: Callable[[Path], None] = KILL) -> tuple[BaseProcess, Connection]:
        """Run the command in a child process with a group of its own, do something at a point; wait for its begin."""
        name, *options = self.kind.command
        command = [name, self.root, *self.kind.arguments(self.folder), *options]
        events, child_end = children().Pipe(duplex=False)
        child = children().Process(target=_run, args=([str(one) for one in command], child_end, do_at, do))
        child.start()
        child_end.close()
        assert events.poll(120)
        assert events.recv() == "start"
        return child, events

    def finish(self) -> list[Point]:
        """Run the command to its end, and return the points that it passes."""
        child, events = self.start()
        assert events.poll(300)
        points: list[Point] = events.recv()
        child.join(60)
        return points

    def state(self) -> dict[Any, Any]:
        """Read what is stored, by visit or by file, as after a crash: with a Butler of its own.

        One that only reads could not undo what is in SQLite's journal.
        """
        with Butler.from_config(self.root, writeable=True) as butler:
            return _files(butler) if self.kind.command[0].startswith("ingest") else _visits(butler)

    def wait_for_server(self) -> None:
        """Wait until PostgreSQL has done what was asked of it."""
        with Butler.from_config(self.root, writeable=True) as butler:
            wait_for_servers(butler)

    def said(self) -> str:
        """Read all that the command has said."""
        return Path(f"{self.folder}.log").read_text()

    def files(self) -> list[str]:
        """List the files that there are, by their places in the folder."""
        # SQLite's journals come and go. Copies that are not in their places yet are left until they are a day old.
        files = [str(path.relative_to(self.folder)) for path in files_in(self.folder)]
        return [file for file in files if "sqlite3" not in file and "/.ingest-" not in file]

    def remove(self) -> None:
        """Remove it."""
        shutil.rmtree(self.folder)
        if self.cluster is not None and self.database is not None:
            self.cluster.drop_database(self.database)


def end_of_group(group: int) -> None:
    """Wait until no process of a group is left; workers end soon after their program."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    raise TimeoutError(f"processes of group {group} do not end")


def _run(command: list[str], events: Connection, do_at: Point | None, do: Callable[[Path], None]) -> None:
    os.setpgrp()
    folder = Path(command[1]).parent
    # What it says is in a file beside.
    with Path(f"{folder}.log").open("a") as log:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(log.fileno(), stream.fileno())
    # No option has them.
    DefineVisitsConfig.chunkSize.default = CHUNK
    for function in (ingest_raws, ingest_table):
        (function.__kwdefaults__ or {})["batch_size"] = CHUNK
    counts: Counter[str] = Counter()

    def pass_(name: str) -> None:
        counts[name] += 1
        if (name, counts[name]) == do_at:
            do(folder)

    def executed(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if found := _STATEMENT.match(statement):
            pass_(" ".join(found.groups()))

    def audit(name: str, arguments: tuple[object, ...]) -> None:
        if name in _FILE_EVENTS and any(str(one).startswith(str(folder)) for one in arguments):
            pass_(name)

    event.listen(Engine, "after_cursor_execute", executed)
    event.listen(Engine, "commit", lambda _: pass_(COMMIT))
    sys.addaudithook(audit)
    events.send("start")
    try:
        butler_visits(command)
    finally:
        events.send([(name, nth) for name, count in counts.items() for nth in range(1, count + 1)])


def _visits(butler: Butler) -> dict[Any, Any]:
    """Read all rows of each visit, those of its exposures included."""
    found: dict[Any, Any] = defaultdict(list)
    exposures = {record.id: repr(record.toDict()) for record in records(butler, "exposure")}
    for record in records(butler, "visit_definition"):
        found[record.visit].append(exposures[record.exposure])
    for element in ("visit", "visit_definition", "visit_system_membership", "visit_detector_region"):
        for record in records(butler, element):
            region = getattr(record, "region", None)
            values = {**record.toDict(), "region": region and region.encode()}
            found[record.id if element == "visit" else record.visit].append((element, repr(values)))
    tables = visits_and_exposures(butler)
    for overlaps in ("visit_overlap", "detector_overlap"):
        for row in tables[overlaps]:
            found[row[0]].append((overlaps, row))
    return {visit: sorted(rows, key=repr) for visit, rows in found.items()}


def _files(butler: Butler) -> dict[Any, Any]:
    """Read each exposure with its datasets, and whether their files are there."""
    tables = stored(butler)
    found: dict[Any, Any] = {one["id"]: [one] for one in tables["exposure"]}
    for raw in tables["raw"]:
        found.setdefault(raw[0], []).append(raw)
    return found
