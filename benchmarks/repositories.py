"""Repositories to measure with, in SQLite and in PostgreSQL."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy
from lsst.daf.butler import Butler, DimensionRecord

from butler_visits.repository.database import database_of
from simulated_survey import FULL_CAMERA, INSTRUMENT, insert_exposures, make_repository, night

# The tests' PostgreSQL server lies beside what else tests share.
sys.path.append(str(Path(__file__).parents[1] / "tests" / "helpers"))
from postgres import Cluster, find_programs  # noqa: F401

_DURABLE = ("fsync", "synchronous_commit", "full_page_writes", "autovacuum")
"""Settings that the tests' cluster has off, and a data centre has on."""


class Template(NamedTuple):
    """A repository that is there to be copied."""

    folder: Path
    database: str | None
    exposures: list[DimensionRecord]


class Place:
    """Makes repositories in one kind of database.

    Parameters
    ----------
    folder : `pathlib.Path`
        An empty folder.
    cluster : `Cluster` or `None`
        The PostgreSQL server; `None` means SQLite.
    """

    def __init__(self, folder: Path, cluster: Cluster | None) -> None:
        self.name = "SQLite" if cluster is None else "PostgreSQL"
        self._folder = folder
        self._cluster = cluster
        self._count = 0
        if cluster is not None:
            for setting in _DURABLE:
                cluster.execute(f"ALTER SYSTEM SET {setting} = on")
            cluster.execute("SELECT pg_reload_conf()")

    def template(self, n_visits: int, camera: Mapping[str, Any] = FULL_CAMERA) -> Template:
        """Make a repository with exposures on the sky."""
        self._count += 1
        folder = self._folder / f"repository{self._count}"
        database = url = None
        if self._cluster is not None:
            database = self._cluster.create_database()
            url = self._cluster.url(database)
        butler = make_repository(folder, camera=camera, database=url)
        rows = [row for row in night(2 * n_visits + 100) if row["observation_type"] == "science"][:n_visits]
        assert len(rows) == n_visits
        insert_exposures(butler, rows)
        with butler.query() as query:
            exposures = list(query.dimension_records("exposure").where(instrument=INSTRUMENT))
        # Only a database that nobody is connected to can be copied.
        butler.close()
        if self._cluster is not None and database is not None:
            # What autovacuum does in time for a repository that is in use.
            self._cluster.execute("VACUUM ANALYZE", database=database)
        return Template(folder, database, exposures)

    @contextmanager
    def copy(self, template: Template) -> Iterator[Butler]:
        """Open a copy of a repository, which is removed afterwards."""
        self._count += 1
        folder = self._folder / f"repository{self._count}"
        shutil.copytree(template.folder, folder)
        database = None
        if self._cluster is not None and template.database is not None:
            database = self._cluster.create_database(template.database)
            config = folder / "butler.yaml"
            old, new = self._cluster.url(template.database), self._cluster.url(database)
            config.write_text(config.read_text().replace(old, new))
            # So that the copying itself is not measured.
            self._cluster.execute("CHECKPOINT")
        butler = Butler.from_config(folder, writeable=True)
        try:
            yield butler
        finally:
            butler.close()
            shutil.rmtree(folder)
            if self._cluster is not None and database is not None:
                self._cluster.drop_database(database)


def size(butler: Butler) -> int:
    """Return how many bytes a repository's database has."""
    question = {
        "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
        "postgresql": "SELECT pg_database_size(current_database())",
    }
    engine = database_of(butler)._engine
    with engine.connect() as connection:
        return int(connection.execute(sqlalchemy.text(question[engine.dialect.name])).scalar_one())
