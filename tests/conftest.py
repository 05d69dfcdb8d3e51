"""What tests of all rooms share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from astro_metadata_translator import MetadataTranslator
from lsst.daf.butler import Butler

from leftovers import end_leftovers
from obscore import make_obscore_repository
from postgres import Cluster, find_programs
from simulated_survey import camera, make_repository
from stored_visits import GOLDEN
from visit_tables import add_exposures, data_ids, exposure, make_task

DATABASES = ("sqlite", "postgresql")
DATABASES_OF = {"both_databases": DATABASES, "sqlite_only": DATABASES[:1], "postgresql_only": DATABASES[1:]}
BUCKET = "survey"


def pytest_configure(config: pytest.Config) -> None:
    """End what a run that was killed has left behind; xdist's workers leave that to the process that starts them."""
    if not hasattr(config, "workerinput"):
        end_leftovers()


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
        # A test's own mark goes before its file's.
        marks = (DATABASES_OF[mark.name] for mark in metafunc.definition.iter_markers() if mark.name in DATABASES_OF)
        metafunc.parametrize("database", next(marks, DATABASES), indirect=True)


@pytest.fixture
def database(request: pytest.FixtureRequest) -> str:
    """Return the database that a test's repositories are in: ``sqlite`` or ``postgresql``."""
    return str(request.param)


class _SurveyTemplates:
    """Makes each kind of survey repository once, and as many copies of it as tests ask for.

    Parameters
    ----------
    folders : `pytest.TempPathFactory`
        Makes the folders.
    postgres : `~collections.abc.Callable`
        Returns the PostgreSQL cluster, which is only started when a test asks for it.
    """

    def __init__(self, folders: pytest.TempPathFactory, postgres: Callable[[], Cluster]) -> None:
        self._folders = folders
        self._postgres = cache(postgres)
        self._made: dict[tuple[str, int | None], tuple[Path, str | None]] = {}

    def copy(self, target: Path, database: str, universe: int | None) -> str | None:
        """Copy a survey repository, and return the name of its PostgreSQL database if it has one."""
        if (database, universe) not in self._made:
            self._made[database, universe] = self._make(database, universe)
        folder, template = self._made[database, universe]
        shutil.copytree(folder, target)
        if template is None:
            return None
        name = self._postgres().create_database(template)
        config = target / "butler.yaml"
        config.write_text(config.read_text().replace(self._postgres().url(template), self._postgres().url(name)))
        return name

    def drop(self, name: str) -> None:
        """Remove the PostgreSQL database of a copy."""
        self._postgres().drop_database(name)

    def _make(self, database: str, universe: int | None) -> tuple[Path, str | None]:
        folder = self._folders.mktemp("template") / "repository"
        name = self._postgres().create_database() if database == "postgresql" else None
        url = None if name is None else self._postgres().url(name)
        # Only a database that nobody is connected to can be copied.
        make_repository(folder, universe=universe, camera=camera(rafts=1), database=url).close()
        return folder, name


@pytest.fixture(scope="session")
def _survey_templates(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> _SurveyTemplates:
    return _SurveyTemplates(tmp_path_factory, lambda: request.getfixturevalue("postgres"))


@pytest.fixture
def make_survey(_survey_templates: _SurveyTemplates, tmp_path: Path, database: str) -> Iterator[Callable[..., Butler]]:
    """Return a function that makes a repository of the simulated survey with nine detectors and no exposures."""
    made: list[tuple[Butler, str | None]] = []

    def make(universe: int | None = None) -> Butler:
        target = tmp_path / f"survey{len(made) + 1}"
        name = _survey_templates.copy(target, database, universe)
        butler = Butler.from_config(target, writeable=True)
        made.append((butler, name))
        return butler

    yield make
    for butler, name in made:
        if name is not None:
            butler.close()
            _survey_templates.drop(name)


@pytest.fixture(autouse=True)
def _translators() -> Iterator[None]:
    """Forget the instruments that a test has described: their translators would claim the files of others."""
    known = dict(MetadataTranslator.translators)
    yield
    MetadataTranslator.translators.clear()
    MetadataTranslator.translators.update(known)


@pytest.fixture
def importing_children(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Let the server of forks that starts child processes import what the test does."""
    rootpath = request.config.rootpath
    folders = [request.path.parent, rootpath / "tests" / "helpers", rootpath / "demo", os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, map(str, folders))))


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the URI of an empty bucket; the environment says where it is and who may use it, as usual."""
    boto3 = pytest.importorskip("boto3", reason="boto3 is not installed here")
    moto_server = pytest.importorskip("moto.server", reason="moto is not installed here")
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("S3_ENDPOINT_URL", f"http://{host}:{port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket=BUCKET)
        yield f"s3://{BUCKET}/"
    finally:
        server.stop()


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
