"""Ingest where connections to PostgreSQL are lost, and where others are quick to do the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lsst.daf.butler import Butler
from psycopg.errors import LockNotAvailable
from sqlalchemy import event, text

from butler_visits import DatabaseError
from butler_visits.ingest import ingest_raws, ingest_table
from butler_visits.ingest.images import add_images
from butler_visits.repository import retry
from butler_visits.repository.instruments import register_instrument
from ingest_helpers import DESCRIPTION, files_in, records, science, small, stored, summary
from postgres import Cluster
from raw_pixels import pixels_of
from simulated_raws import write_raws
from simulated_survey import INSTRUMENT as SIMCAM
from templates import make_repository
from visit_tables import connect, engine, root

N_FILES = 3
RAW_INSERT = "INSERT INTO file_datastore_records"
EXPOSURE_INSERT = "INSERT INTO exposure"
MOMENTS = ("before the commit", "after the commit")


@pytest.fixture
def butler(tmp_path: Path, postgres: Cluster) -> Butler:
    """Create a repository that knows the instrument."""
    butler = make_repository(tmp_path / "repository", cluster=postgres)
    register_instrument(butler, DESCRIPTION)
    return butler


@pytest.fixture
def raws(tmp_path: Path) -> Path:
    write_raws(tmp_path / "raws", science(N_FILES))
    return tmp_path / "raws"


def cut_connections(cluster: Cluster, butler: Butler) -> None:
    """End all connections to a repository's database, as a server does that is shut down."""
    database = engine(butler).url.database
    cluster.execute(f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{database}'")


@contextmanager
def interrupted(butler: Butler, statement: str, moment: str, do: Callable[[], Any]) -> Iterator[None]:
    """Do something once, at a statement or at the commit that follows it, before or after the database has done it."""
    seen: list[str] = []

    def listen(connection: Any, cursor: Any, sent: str, *_: Any) -> None:
        if sent.replace('"', "").replace("public.", "").startswith(statement) and not seen:
            seen.append("statement")
            if moment == "at the statement":
                do()

    def listen_commit(connection: Any) -> None:
        if seen == ["statement"] and moment in MOMENTS:
            seen.append("commit")
            cursor = connection.connection.cursor()
            if moment == "after the commit":
                cursor.execute("COMMIT")
            do()
            # Its error is what the Butler gets as the answer.
            cursor.execute("SELECT")

    event.listen(engine(butler), "before_cursor_execute", listen)
    event.listen(engine(butler), "commit", listen_commit)
    try:
        yield
    finally:
        event.remove(engine(butler), "before_cursor_execute", listen)
        event.remove(engine(butler), "commit", listen_commit)
    assert seen


def assert_whole(butler: Butler, raws: Path, transfer: str) -> None:
    found = stored(butler)["raw"]
    assert len(found) == N_FILES
    assert all(there for *_, there in found)
    assert len(files_in(raws)) == (0 if transfer == "move" else N_FILES)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("transfer", ["copy", "move"])
def test_connection_cut(butler: Butler, raws: Path, postgres: Cluster, transfer: Any, moment: str) -> None:
    with interrupted(butler, RAW_INSERT, moment, lambda: cut_connections(postgres, butler)):
        result = ingest_raws(butler, [raws], transfer=transfer)
    # What was stored, though nobody said so, is there already.
    n_new = N_FILES if moment == "before the commit" else 0
    assert summary(result) == (N_FILES, n_new, N_FILES - n_new, 0, n_new, n_new)
    assert_whole(butler, raws, transfer)


@pytest.mark.parametrize("transfer", ["copy", "move"])
def test_another_is_quicker(butler: Butler, raws: Path, postgres: Cluster, transfer: Any) -> None:
    """Who loses the connection, and with it the lock, leaves the files alone that another ingests then."""
    ingest_raws(butler, [raws], output_run="another", transfer="copy")
    other = Butler.from_config(root(butler), writeable=True)

    def overtake() -> None:
        cut_connections(postgres, butler)
        assert ingest_raws(other, [raws], transfer=transfer).n_ingested == N_FILES

    with interrupted(butler, RAW_INSERT, "at the statement", overtake):
        assert ingest_raws(butler, [raws], transfer=transfer).n_skipped == N_FILES
    assert_whole(butler, raws, transfer)


@pytest.mark.parametrize("transfer", ["direct", "copy"])
def test_others_wait(butler: Butler, raws: Path, postgres: Cluster, transfer: Any) -> None:
    """While files are transferred nobody else ingests those exposures' files, but anybody can define their visits."""
    ingest_raws(butler, [raws], output_run="another")
    database = str(engine(butler).url.database)

    def look() -> None:
        with pytest.raises(LockNotAvailable):
            postgres.execute("SELECT FROM exposure FOR NO KEY UPDATE NOWAIT", database=database)
        assert postgres.execute("SELECT FROM exposure FOR KEY SHARE NOWAIT", database=database) == N_FILES

    with interrupted(butler, RAW_INSERT, "at the statement", look):
        assert ingest_raws(butler, [raws], transfer=transfer).n_ingested == N_FILES


@pytest.mark.parametrize("moment", ["at the statement", "after the commit"])
def test_connection_cut_for_a_table(butler: Butler, postgres: Cluster, moment: str) -> None:
    with interrupted(butler, EXPOSURE_INSERT, moment, lambda: cut_connections(postgres, butler)):
        result = ingest_table(butler, small(), "NewCam")
    n_new = 0 if moment == "after the commit" else 3
    assert summary(result) == (3, n_new, 3 - n_new, 0, 0, n_new)
    assert len(records(butler, "exposure")) == 3


def test_a_database_that_is_down(
    butler: Butler, raws: Path, postgres: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "_WAITS", (0.01, 0.01))
    database = engine(butler).url.database

    def go_down() -> None:
        postgres.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
        cut_connections(postgres, butler)

    with interrupted(butler, RAW_INSERT, "at the statement", go_down), pytest.raises(DatabaseError, match="failed 3 t"):
        ingest_raws(butler, [raws], transfer="move", on_error="skip")
    postgres.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")
    assert len(files_in(raws)) == N_FILES
    assert ingest_raws(butler, [raws], transfer="move").n_ingested == N_FILES
    assert_whole(butler, raws, "move")


def test_stricter_isolation(butler: Butler, raws: Path) -> None:
    """Who does not see what another has stored meanwhile tries again."""
    with connect(butler) as connection:
        database = engine(butler).url.database
        connection.execute(text(f"ALTER DATABASE {database} SET default_transaction_isolation = 'serializable'"))
    ingest_raws(butler, [raws], output_run="another", transfer="copy")
    first, second = (Butler.from_config(root(butler), writeable=True) for _ in range(2))

    def overtake() -> None:
        assert ingest_raws(second, [raws], transfer="copy").n_ingested == N_FILES

    with interrupted(first, "SELECT exposure.id", "at the statement", overtake):
        assert ingest_raws(first, [raws], transfer="copy").n_skipped == N_FILES
    assert_whole(butler, raws, "copy")


# Images beside raws


def assert_images(butler: Butler) -> None:
    """Check that each raw has an image, once, that can be read."""
    refs = butler.query_datasets("raw_image", f"{SIMCAM}/raw/images", find_first=False)
    assert len({ref.dataId["exposure"] for ref in refs}) == len(refs) == N_FILES
    assert all(pixels_of(butler.get(ref)).size for ref in refs)
    assert add_images(butler, SIMCAM) == (0, [])


@pytest.mark.parametrize("moment", ["at the statement", *MOMENTS])
def test_connection_cut_for_images(butler: Butler, raws: Path, postgres: Cluster, moment: str) -> None:
    ingest_raws(butler, [raws], transfer="copy", images=None)
    with interrupted(butler, RAW_INSERT, moment, lambda: cut_connections(postgres, butler)):
        assert add_images(butler, SIMCAM) == (0 if moment == "after the commit" else N_FILES, [])
    assert_images(butler)


def test_another_adds_images_first(butler: Butler, raws: Path) -> None:
    ingest_raws(butler, [raws], transfer="copy", images=None)
    other = Butler.from_config(root(butler), writeable=True)

    def overtake() -> None:
        assert add_images(other, SIMCAM) == (N_FILES, [])

    # The statement that locks the exposures.
    with interrupted(butler, "SELECT exposure.id", "at the statement", overtake):
        assert add_images(butler, SIMCAM) == (0, [])
    assert_images(butler)


def test_two_add_images_at_once(butler: Butler, raws: Path) -> None:
    ingest_raws(butler, [raws], transfer="copy", images=None)
    both = [Butler.from_config(root(butler), writeable=True) for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda one: add_images(one, SIMCAM), both))
    assert sum(n_new for n_new, _ in found) == N_FILES and not any(failures for _, failures in found)
    assert_images(butler)
