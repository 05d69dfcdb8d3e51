"""``define-visits`` on the command line: its options, and what it says."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from lsst.daf.butler import Butler
from lsst.daf.butler.cli.utils import LogCliRunner

from butler_visits.cli.program import butler_visits
from command_line import PROGRAMS, define_visits, lines, run_new_program, run_program, without_rate
from simulated_survey import INSTRUMENT, camera, insert_exposures, night
from visit_tables import add_exposures, data_ids, delete_rows, exposure, make_task, root, stored, tables

# The command line calls the library, which is tested with both.
pytestmark = pytest.mark.sqlite_only

EXPOSURES = [exposure(1), exposure(2, seq_start=2, seq_end=3), exposure(3, seq_start=2, seq_end=3)]
UNCHANGED = "3 visits: 0 new, 0 updated, 3 left as they are."


@pytest.fixture
def butler(make_survey: Callable[..., Butler]) -> Butler:
    butler = make_survey()
    add_exposures(butler, EXPOSURES)
    return butler


@pytest.fixture
def defined(butler: Butler) -> Butler:
    """Return a repository with three visits, one of which lacks a detector's region."""
    make_task(butler).run(data_ids(one["id"] for one in EXPOSURES))
    delete_rows(butler, "visit_detector_region", visit=EXPOSURES[1]["id"], detector=5)
    return butler


def test_default(butler: Butler) -> None:
    assert lines(define_visits(root(butler), INSTRUMENT)) == ["3 visits: 3 new, 0 updated, 0 left as they are."]
    assert lines(define_visits(root(butler), INSTRUMENT)) == [UNCHANGED]
    assert {visit.id for visit in stored(butler, "visit")} == {one["id"] for one in EXPOSURES}


OPTIONS = {
    "update-records": ["3 visits: 0 new, 3 updated, 0 left as they are."],
    "incremental": [UNCHANGED],
    "skip-conflicting": [UNCHANGED],
    "prefilter": ["Nothing defined.", "Left out 3 exposures with a visit already."],
    "check-detector-regions": ["3 visits: 0 new, 1 updated, 2 left as they are."],
}


@pytest.mark.parametrize("option", OPTIONS)
def test_option(defined: Butler, option: str) -> None:
    without = [f"--{option}", f"--no-{option}"]
    assert lines(define_visits(root(defined), INSTRUMENT, *without)) == [UNCHANGED]
    assert lines(define_visits(root(defined), INSTRUMENT, f"--{option}")) == OPTIONS[option]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("incremental", "3 visits: 0 new, 1 updated, 2 left as they are."),
        ("update-records", "3 visits: 0 new, 3 updated, 0 left as they are."),
        ("skip-conflicting", UNCHANGED),
    ],
)
def test_option_with_a_conflict(defined: Butler, option: str, said: str) -> None:
    before = tables(defined)
    add_exposures(defined, [{**EXPOSURES[0], "target_name": "M 31"}], replace=True)
    without = [f"--{option}", f"--no-{option}"]
    assert define_visits(root(defined), INSTRUMENT, *without).exit_code == 1
    assert lines(define_visits(root(defined), INSTRUMENT, f"--{option}")) == [said]
    assert (tables(defined) == before) is (option == "skip-conflicting")


@pytest.mark.parametrize("option", ["-C", "--config-file"])
def test_config_file(butler: Butler, tmp_path: Path, option: str) -> None:
    file = tmp_path / "config.py"
    file.write_text('config.groupExposures.name = "by-group-metadata"\n')
    assert lines(define_visits(root(butler), INSTRUMENT, option, file)) == [
        "2 visits: 2 new, 0 updated, 0 left as they are."
    ]


@pytest.mark.parametrize("option", ["-@", "--options-file"])
def test_options_file(defined: Butler, tmp_path: Path, option: str) -> None:
    file = tmp_path / "options.yaml"
    file.write_text(f"define-visits:\n  update-records: true\n  where: exposure.id = {EXPOSURES[0]['id']}\n")
    assert lines(define_visits(root(defined), INSTRUMENT, option, file)) == [
        "1 visit: 0 new, 1 updated, 0 left as they are."
    ]


def test_where(butler: Butler) -> None:
    result = define_visits(root(butler), INSTRUMENT, "--where", "exposure.seq_num > 1 AND day_obs = 20260401")
    assert lines(result) == ["2 visits: 2 new, 0 updated, 0 left as they are."]
    assert {visit.seq_num for visit in stored(butler, "visit")} == {2, 3}


@pytest.mark.parametrize("where", ["exposure.seq_num > 9", "instrument = 'OtherCam'"])
def test_where_nothing(butler: Butler, where: str) -> None:
    result = define_visits(root(butler), INSTRUMENT, "--where", where)
    assert lines(result) == [f"Nothing defined: {INSTRUMENT} has no exposures that match {where!r}."]
    assert not stored(butler, "visit")


def test_collections(butler: Butler, make_survey: Callable[..., Butler]) -> None:
    """The camera in the collection named first is taken."""
    other = make_survey()
    add_exposures(other, EXPOSURES)
    assert define_visits(root(other), INSTRUMENT).exit_code == 0
    for run, scale in (("narrow", 10.0), ("wide", 40.0)):
        butler.collections.register(run)
        butler.put({**camera(rafts=1), "plateScale": scale}, "camera_geometry", instrument=INSTRUMENT, run=run)
    assert define_visits(root(butler), INSTRUMENT, "--collections", "wide,narrow").exit_code == 0
    wide, usual = (
        stored(repository, "visit")[0].region.getBoundingCircle().getOpeningAngle().asRadians()
        for repository in (butler, other)
    )
    assert wide == pytest.approx(2 * usual, rel=1e-3)
    assert lines(define_visits(root(butler), INSTRUMENT, "--collections", "wide")) == [UNCHANGED]
    assert define_visits(root(butler), INSTRUMENT, "--collections", "narrow").exit_code == 1


def test_class_name(butler: Butler) -> None:
    (record,) = stored(butler, "instrument")
    assert record.class_name != INSTRUMENT
    assert "3 new" in lines(define_visits(root(butler), record.class_name))[0]


def test_no_exposures(make_survey: Callable[..., Butler]) -> None:
    result = define_visits(root(make_survey()), INSTRUMENT)
    assert lines(result) == [f"Nothing defined: {INSTRUMENT} has no exposures."]


def test_calibrations_only(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    insert_exposures(butler, [one for one in night(50) if one["observation_type"] in ("flat", "bias")])
    assert lines(define_visits(root(butler), INSTRUMENT)) == [
        "Nothing defined.",
        "Left out 7 exposures not on the sky: 5 flat, 2 bias.",
    ]
    assert not stored(butler, "visit")


def test_help() -> None:
    text = "\n".join(lines(define_visits("--help")))
    for option in [*OPTIONS, "config-file", "collections", "where", "options-file"]:
        assert f"--{option}" in text
    for option in OPTIONS:
        assert f"--no-{option}" in text
    assert "REPO INSTRUMENT" in text


def test_version() -> None:
    result = LogCliRunner().invoke(butler_visits, ["--version"])
    assert lines(result) == [f"butler-visits, version {version('butler-visits')}"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs(butler: Butler, program: str) -> None:
    result = run_new_program(program, "define-visits", root(butler), INSTRUMENT)
    assert result.returncode == 0, result.stderr
    assert without_rate(result.stdout) == "3 visits: 3 new, 0 updated, 0 left as they are.\n"
    assert len(stored(butler, "visit")) == 3


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_fail_without_traceback(tmp_path: Path, program: str) -> None:
    result: subprocess.CompletedProcess[str] = run_program(program, "define-visits", tmp_path, INSTRUMENT)
    assert result.returncode == 1
    assert not result.stdout
    assert result.stderr.startswith(f"Error: There is no data repository at {tmp_path}")
    assert "Traceback" not in result.stderr
    assert 'File "' not in result.stderr
