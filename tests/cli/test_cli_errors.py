"""Errors on the command line: a sentence or two, no traceback, and an exit status that is not 0."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from lsst.daf.butler import Butler

from command_line import define_visits, run_program
from simulated_survey import CAMERA_RUN, INSTRUMENT, camera
from visit_tables import add_exposures, exposure, make_read_only, root, stored

pytestmark = pytest.mark.sqlite_only  # Messages are the same, but for those that are marked.


@pytest.fixture
def butler(make_survey: Callable[..., Butler]) -> Butler:
    butler = make_survey()
    add_exposures(butler, [exposure(1), exposure(2)])
    return butler


def assert_no_traceback(output: str) -> None:
    # Butler's commands print a traceback without its first line.
    assert "Traceback" not in output
    assert 'File "' not in output


def failure(*arguments: object) -> str:
    """Run a command that must fail in a way that helps, and return what it says."""
    result = define_visits(*arguments)
    # Any other exception is one that nobody turned into a message.
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code in (1, 2)
    assert_no_traceback(result.output)
    *_, message = re.split(r"^Error: ", result.stderr.strip(), flags=re.MULTILINE)
    sentences = re.split(r"(?<=[.!?])\s+(?=[-A-Z])", message)
    assert message
    assert len(sentences) <= 2, message
    assert not result.stdout
    return message


# The repository


def test_no_repository(tmp_path: Path) -> None:
    assert re.match(f"There is no data repository at {tmp_path}/nowhere", failure(tmp_path / "nowhere", INSTRUMENT))


def test_folder_without_repository(tmp_path: Path) -> None:
    assert "butler.yaml" in failure(tmp_path, INSTRUMENT)


@pytest.mark.parametrize("content", ["", "registry: [", "just text"])
def test_broken_repository_config(butler: Butler, content: str) -> None:
    (root(butler) / "butler.yaml").write_text(content)
    assert str(root(butler)) in failure(root(butler), INSTRUMENT)


@pytest.mark.sqlite_only  # It is about SQLite's file.
@pytest.mark.parametrize("content", [None, b"", b"garbage " * 1000])
def test_broken_database(butler: Butler, content: bytes | None) -> None:
    database = root(butler) / "gen3.sqlite3"
    database.unlink()
    if content is not None:
        database.write_bytes(content)
    assert str(root(butler)) in failure(root(butler), INSTRUMENT)


@pytest.mark.both_databases
def test_read_only_repository(butler: Butler) -> None:
    make_read_only(butler)
    message = failure(root(butler), INSTRUMENT)
    assert str(root(butler)) in message
    assert re.search("read-?only", message)


def test_read_only_repository_in_a_process(butler: Butler) -> None:
    make_read_only(butler)
    result = run_program("butler", "define-visits", root(butler), INSTRUMENT)
    assert result.returncode == 1
    assert_no_traceback(result.stderr)


# The arguments and options


@pytest.mark.parametrize("instrument", ["OtherCam", "lsst.obs.nowhere.SimCam", "simcam", ""])
def test_unknown_instrument(butler: Butler, instrument: str) -> None:
    message = failure(root(butler), instrument)
    assert f"No instrument '{instrument}'" in message
    assert INSTRUMENT in message


@pytest.mark.both_databases
@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("exposure.nonsense = 1", "nonsense"),
        ("nonsense.id = 1", "nonsense"),
        ("exposure.id = ", "exposure.id = "),
        ("(((", "((("),
        ("exposure.id = 'text'", "exposure.id"),
        ("exposure.target_name > 5", "target_name"),
        ("tract = 1 AND exposure.id = 1 OR", "OR"),
        ("exposure = 99999999999999999999", "exposure = 99999999999999999999"),
    ],
)
def test_bad_where(butler: Butler, where: str, said: str) -> None:
    assert said in failure(root(butler), INSTRUMENT, "--where", where)


def test_missing_collection(butler: Butler) -> None:
    assert "no/such/run" in failure(root(butler), INSTRUMENT, "--collections", "no/such/run")
    assert not stored(butler, "visit")


@pytest.mark.parametrize("option", ["--update-records", "--incremental"])
def test_prefilter_cannot_update(butler: Butler, option: str) -> None:
    assert option in failure(root(butler), INSTRUMENT, "--prefilter", option)
    assert not stored(butler, "visit")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        ('config.groupExposures.name = "by-group', "SyntaxError"),
        ("config.nonsense = 1\n", "nonsense"),
        ("config.chunkSize = 0\n", "chunkSize"),
        ('config.groupExposures.name = "nonsense"\n', "nonsense"),
        ("config.regionTolerance = None\n", "regionTolerance"),
        ("import no_such_module\n", "no_such_module"),
        ("1 / 0\n", "ZeroDivisionError"),
    ],
)
def test_bad_config_file(butler: Butler, tmp_path: Path, content: str | None, said: str) -> None:
    file = tmp_path / "config.py"
    if content is not None:
        file.write_text(content)
    message = failure(root(butler), INSTRUMENT, "-C", file)
    assert str(file) in message
    assert said in message
    assert not stored(butler, "visit")


# The exposures and visits


@pytest.mark.both_databases
def test_conflict(butler: Butler) -> None:
    assert define_visits(root(butler), INSTRUMENT).exit_code == 0
    changed = exposure(1, target_name="M 31")
    add_exposures(butler, [changed], replace=True)
    message = failure(root(butler), INSTRUMENT)
    for part in (f"Visit {changed['id']} ", "target_name", "'field 1'", "'M 31'", "--update-records"):
        assert part in message


def test_exposures_without_a_visit(butler: Butler, tmp_path: Path) -> None:
    add_exposures(butler, [exposure(3, group="no digits")])
    file = tmp_path / "config.py"
    file.write_text('config.groupExposures.name = "by-group-metadata"\n')
    assert "'no digits'" in failure(root(butler), INSTRUMENT, "-C", file)


def test_off_sky_exposure(butler: Butler, tmp_path: Path) -> None:
    (dark,) = add_exposures(butler, [exposure(3, observation_type="dark", tracking_ra=None)])
    file = tmp_path / "config.py"
    file.write_text("config.ignoreNonScienceExposures = False\n")
    message = failure(root(butler), INSTRUMENT, "-C", file)
    assert str(dark) in message
    assert "dark" in message


# The camera


def camera_file(repository: Path) -> Path:
    (file,) = (path for path in repository.rglob("camera*") if path.is_file())
    return file


def test_no_camera(butler: Butler) -> None:
    refs = butler.query_datasets("camera_geometry", collections=CAMERA_RUN)
    butler.pruneDatasets(refs, disassociate=True, unstore=True, purge=True)
    message = failure(root(butler), INSTRUMENT)
    assert "No camera geometry" in message
    assert "--collections" in message


def test_camera_file_gone(butler: Butler) -> None:
    file = camera_file(root(butler))
    file.unlink()
    assert file.name in failure(root(butler), INSTRUMENT)


def test_golden_camera_file_gone(copy_golden: Callable[[str], Path]) -> None:
    repository = copy_golden("lsstCamSim")
    file = camera_file(repository)
    file.unlink()
    message = failure(repository, "LSSTCamSim")
    assert file.name in message
    assert "gone" in message


# What astropy says of damaged files besides.
@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyWarning")
@pytest.mark.parametrize("kept", [0.0, 1e-4, 0.2, 0.5, 0.99], ids=lambda kept: f"{kept:g}")
def test_truncated_camera_file(copy_golden: Callable[[str], Path], kept: float) -> None:
    repository = copy_golden("lsstCamSim")
    file = camera_file(repository)
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content))])
    message = failure(repository, "LSSTCamSim")
    assert file.name in message
    assert "damaged" in message


@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyWarning")
@pytest.mark.parametrize("content", [b"This is no FITS file.\n", b"SIMPLE  = T\n" + bytes(range(256)) * 40])
def test_garbage_camera_file(copy_golden: Callable[[str], Path], content: bytes) -> None:
    repository = copy_golden("lsstCamSim")
    file = camera_file(repository)
    file.write_bytes(content)
    assert file.name in failure(repository, "LSSTCamSim")


@pytest.mark.parametrize("content", ["", "CCDs: [", "just text", "- a list", "name: SimCam\n", "\x00\xff"])
def test_broken_camera_geometry(butler: Butler, content: str) -> None:
    camera_file(root(butler)).write_text(content)
    assert "camera" in failure(root(butler), INSTRUMENT)


@pytest.mark.parametrize("field", ["transforms", "CCDs", "plateScale"])
def test_incomplete_camera_geometry(butler: Butler, field: str) -> None:
    description = camera(rafts=1)
    del description[field]
    butler.collections.register("incomplete")
    butler.put(description, "camera_geometry", instrument=INSTRUMENT, run="incomplete")
    assert field in failure(root(butler), INSTRUMENT, "--collections", "incomplete")
