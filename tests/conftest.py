"""What tests of all rooms share."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from astro_metadata_translator import MetadataTranslator
from hypothesis import settings
from lsst.daf.butler import Butler

from leftovers import end_leftovers
from obscore import make_obscore_repository
from postgres import Cluster, find_programs, folder_in_memory
from stored_visits import GOLDEN
from templates import SHARED, make_repository, one_raft
from visit_tables import add_exposures, data_ids, engine, exposure, make_task

DATABASES = ("sqlite", "postgresql")
DATABASES_OF = {"both_databases": DATABASES, "sqlite_only": DATABASES[:1], "postgresql_only": DATABASES[1:]}
LONGEST = (
    "many_writers",
    "ingest_killed",
    "killed",
    "ingest_concurrent",
    "distribute",
    "distribute_dask",
    "tutorial",
    "demo",
)
"""The files with the longest tests."""

# No test asserts a duration.
settings.register_profile("any-duration", deadline=None)
settings.load_profile("any-duration")


def pytest_configure(config: pytest.Config) -> None:
    """End what a run that was killed has left behind; xdist's workers leave that to the process that starts them."""
    # A shell lets what runs in the background ignore Ctrl-C, and programs that tests start would ignore it too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):
        end_leftovers()
        if (folder := folder_in_memory()) is not None:
            # SQLite waits for a disk with each commit. What a test leaves is removed when it has passed.
            os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", folder)
        os.environ[SHARED] = tempfile.mkdtemp(dir=folder)
        config.add_cleanup(partial(shutil.rmtree, os.environ[SHARED], ignore_errors=True))


def pytest_collection_finish() -> None:
    """Keep the garbage collector from what is imported: to look at it takes half a second, every few repositories."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep what is remembered of camera files out of the user's own folder."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def golden() -> Path:
    """Return the folder of the golden data, or skip."""
    if not GOLDEN.is_dir():
        pytest.skip(f"no golden data at {GOLDEN} (set BUTLER_VISITS_GOLDEN)")
    return GOLDEN


@pytest.fixture
def copy_golden(golden: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that makes a writeable copy of a golden repository."""

    def copy(name: str) -> Path:
        target = tmp_path / name
        shutil.copytree(golden / "repos" / name, target)
        for path in [target, *target.rglob("*")]:
            path.chmod(path.stat().st_mode | 0o200)
        return target

    return copy


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """Return a PostgreSQL cluster of this process's own, or skip."""
    if (programs := find_programs()) is None:
        pytest.skip("no PostgreSQL server is installed here")
    with Cluster(programs, in_memory=True) as cluster:
        yield cluster


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests that make surveys with either database, or with the one that they are marked for."""
    if "database" in metafunc.fixturenames:
        metafunc.parametrize("database", _databases(metafunc.definition), indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the sets of parameters that are marked for the other database; begin with what takes longest."""
    wanted: list[pytest.Item] = []
    others: list[pytest.Item] = []
    for item in items:
        (wanted if not hasattr(item, "callspec") or _is_wanted(item.callspec.params, item) else others).append(item)
    config.hook.pytest_deselected(items=others)
    items[:] = wanted
    # No worker shall be left alone with it at the end.
    items.sort(key=lambda item: item.path.stem.removeprefix("test_") not in LONGEST)


def _is_wanted(parameters: dict[str, object], item: pytest.Item) -> bool:
    return "database" not in parameters or parameters["database"] in _databases(item)


def _databases(item: pytest.Item) -> tuple[str, ...]:
    # A mark of a set of parameters, which is a test's last, goes before the test's others, and these before the file's.
    found = (mark.name for node in reversed(item.listchain()) for mark in reversed(node.own_markers))
    marks = (DATABASES_OF[name] for name in found if name in DATABASES_OF)
    return next(marks, DATABASES)


@pytest.fixture
def database(request: pytest.FixtureRequest) -> str:
    """Return the database that a test's repositories are in: ``sqlite`` or ``postgresql``."""
    return str(request.param)


@pytest.fixture
def make_survey(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Butler]]:
    """Return a function that makes a repository of the simulated survey with nine detectors and no exposures."""
    cluster: Cluster | None = request.getfixturevalue("postgres") if database == "postgresql" else None
    made: list[tuple[Butler, str | None]] = []

    def make(universe: int | None = None) -> Butler:
        butler = make_repository(tmp_path / f"survey{len(made) + 1}", one_raft, universe=universe, cluster=cluster)
        made.append((butler, engine(butler).url.database))
        return butler

    yield make
    for butler, name in made:
        if cluster is not None and name is not None:
            butler.close()
            cluster.drop_database(name)


@pytest.fixture(autouse=True)
def _translators() -> Iterator[None]:
    """Forget the instruments that a test has described: their translators would claim the files of others."""
    known = dict(MetadataTranslator.translators)
    yield
    MetadataTranslator.translators.clear()
    MetadataTranslator.translators.update(known)


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """Return the URI of a bucket; the environment says where it is and who may use it, as usual."""
    for package in ("boto3", "moto.server"):
        pytest.importorskip(package, reason=f"{package} is not installed here")
    from object_store import object_store

    with object_store() as uri:
        yield uri


@pytest.fixture
def obscore_butler(tmp_path: Path) -> Butler:
    """Return a repository with an ObsCore table and raws in it."""
    return make_obscore_repository(tmp_path)


@pytest.fixture
def survey(make_survey: Callable[..., Butler]) -> Butler:
    """Return a repository with three visits of one exposure each."""
    butler = make_survey()
    make_task(butler).run(data_ids(add_exposures(butler, map(exposure, (1, 2, 3)))))
    return butler


# Watches


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Make a repository for a watch."""
    from watching import repository_of

    return repository_of(tmp_path / "repository")


@pytest.fixture
def incoming(tmp_path: Path) -> Path:
    """Make the folder where files arrive."""
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


# Pages


@pytest.fixture(scope="module")
def playwright() -> Iterator[Any]:
    """Return what drives a browser, or skip."""
    from browser import started

    yield from started()


@pytest.fixture(scope="module")
def chromium(playwright: Any) -> Iterator[Any]:
    """Return a running Chromium, or skip."""
    from browser import launched

    yield from launched(playwright)


@pytest.fixture(scope="module")
def without_webgl(playwright: Any) -> Iterator[Any]:
    """Return a running Chromium that has no WebGL, or skip."""
    from browser import launched

    yield from launched(playwright, "--disable-3d-apis")


@pytest.fixture(scope="module", params=["WebGL", "canvas"])
def browser(request: pytest.FixtureRequest) -> Any:
    """Return a browser with WebGL, and one without."""
    return request.getfixturevalue("chromium" if request.param == "WebGL" else "without_webgl")
