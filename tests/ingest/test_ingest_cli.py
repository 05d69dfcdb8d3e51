"""The commands ``ingest`` and ``ingest-table``, and what other programs make of what they write."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from astropy.io import fits
from lsst.daf.butler import Butler

from command_line import run_program, run_python, without_rate
from ingest_helpers import RUN, records, run_command, science, stored
from simulated_raws import describe, write_raws
from simulated_survey import INSTRUMENT, night
from visit_tables import tables


@pytest.fixture
def description(tmp_path: Path) -> Path:
    """Write the description of the simulated instrument."""
    path = tmp_path / "simcam.yaml"
    path.write_text(yaml.safe_dump(describe()))
    return path


def test_from_raws_to_visits(tmp_path: Path, description: Path) -> None:
    exposures = night(30)
    on_sky = [one for one in exposures if one["tracking_ra"] is not None]
    write_raws(tmp_path / "raw", exposures, detectors=range(9), in_one_file=True)
    repo = tmp_path / "repo"
    arguments = ("ingest", repo, tmp_path / "raw", "--instrument", description, "--define-visits", "-j", 4)
    result = run_command(*arguments)
    assert result.exit_code == 0, result.output
    lines = without_rate(result.stdout).splitlines()
    assert lines[0] == f"Created the data repository {repo}, with an SQLite database."
    assert lines[1] == "30 files: 30 ingested (270 raws, 30 new exposures), 0 there already, 0 failed."
    assert " new, 0 updated, 0 left as they are." in lines[2]
    butler = Butler.from_config(repo)
    assert {record.exposure for record in records(butler, "visit_definition")} == {
        one["id"] for one in on_sky if one["can_see_sky"] is not False
    }
    n_visits = len(records(butler, "visit"))
    result = run_command(*arguments)
    lines = without_rate(result.stdout).splitlines()
    assert lines[0] == "30 files: 0 ingested (0 raws, 0 new exposures), 30 there already, 0 failed."
    assert lines[1] == f"{n_visits} visits: 0 new, 0 updated, {n_visits} left as they are."


def test_folders_are_listed_once(tmp_path: Path, description: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a network's disk that takes long, and what comes in between would be in one list and not in the other."""
    write_raws(tmp_path / "raw", science(2), detectors=(0,))
    scanned: list[str] = []
    scandir = os.scandir

    def scan(path: Any = ".") -> Any:
        scanned.append(os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    for arguments in ((), ("--dry-run",), ("--define-visits",)):
        scanned.clear()
        result = run_command("ingest", tmp_path / "repo", tmp_path / "raw", "--instrument", description, *arguments)
        assert result.exit_code == 0, result.output
        assert "2 files: " in result.stdout
        assert scanned.count(str(tmp_path / "raw")) == 1


def test_other_programs_know_the_instrument(tmp_path: Path, description: Path) -> None:
    write_raws(tmp_path / "raw", science(6), detectors=(0, 1))
    repo = tmp_path / "repo"
    done = run_program("butler-visits", "ingest", repo, tmp_path / "raw", "--instrument", description)
    assert done.returncode == 0, done.stderr
    done = run_program("butler", "query-dimension-records", repo, "exposure")
    assert done.returncode == 0, done.stderr
    assert all(str(one["id"]) in done.stdout for one in science(6))
    done = run_program("butler", "define-visits", repo, INSTRUMENT)
    assert done.returncode == 0, done.stderr
    assert "left as they are" in done.stdout
    done = run_program("butler", "query-datasets", repo, "raw", "--collections", RUN)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("SC_O_") + done.stdout.count(INSTRUMENT) >= 12
    code = (
        "import sys; from lsst.daf.butler import Butler; from lsst.pipe.base import Instrument; "
        "butler = Butler.from_config(sys.argv[1]); "
        "print(Instrument.from_string('SimCam', butler.registry).getName())"
    )
    found = run_python(code, repo)
    assert found.stdout == f"{INSTRUMENT}\n", found.stderr


def test_the_butler_offers_one_command(tmp_path: Path) -> None:
    done = run_program("butler", "--help")
    assert "define-visits" in done.stdout
    offered = {line.split()[0] for line in done.stdout.split("Commands:")[1].splitlines() if line.strip()}
    assert not offered & {"ingest", "ingest-table"}
    for command in ("ingest", "ingest-table"):
        done = run_program("butler-visits", command, "--help")
        assert done.returncode == 0
        assert "Put " in done.stdout


def test_where_a_repository_is_created(tmp_path: Path, description: Path) -> None:
    write_raws(tmp_path / "raw", science(1))
    (tmp_path / "empty").mkdir()
    result = run_command("ingest", tmp_path / "empty", tmp_path / "raw", "--instrument", description)
    assert result.exit_code == 0
    assert result.stdout.startswith("Created the data repository")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("Dear all")
    result = run_command("ingest", tmp_path / "full", tmp_path / "raw", "--instrument", description)
    assert result.exit_code == 1
    assert "There is no data repository at" in result.stderr
    assert sorted(path.name for path in (tmp_path / "full").iterdir()) == ["letter.txt"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ingest", "{}/repo", "{}/missing"), "there is no file or folder"),
        (("ingest", "{}/repo", "{}/raw", "--instrument", "{}/missing.yaml"), "There is no instrument description"),
        (("ingest", "{}/repo", "{}/raw", "--transfer", "beam"), "'beam' is not one of 'direct', 'copy'"),
        (("ingest", "{}/repo", "{}/raw", "-j", "0"), "0 is not in the range x>=1"),
        (("ingest-table", "{}/repo", "{}/missing.csv", "--instrument", "NewCam"), "There is no table"),
        (("ingest-table", "{}/repo", "{}/raw", "--instrument", "NewCam"), "must end in one of .ecsv"),
        (("ingest-table", "{}/repo", "{}/a.csv"), "Missing option '--instrument'"),
        (("ingest", "{}/repo", "{}/raw", "--instrument", "DECm"), "is new, and has no instrument 'DECm'. Name a"),
        (("ingest", "{}/repo", "{}/raw", "{}/empty", "--instrument", "DECam"), "There are no FITS files in folder"),
        (
            ("ingest-table", "{}/repo", "{}/a.csv", "--instrument", "2 cameras"),
            "cannot be the name of a new instrument",
        ),
        (("ingest-table", "{}/repo", "{}/b.csv", "--instrument", "NewCam"), "has no column for datetime_begin"),
        (("ingest-table", "{}/repo", "{}/a.csv", "--instrument", "NewCam", "--map", "x=y"), "'x' is not a property"),
        (("ingest", "{}/repo", "{}/raw", "--instrument", "DECam", "--dry-run"), "There is no data repository at"),
        (("ingest", "{}/repo", "{}/raw", "--dry-run", "--define-visits"), "--dry-run writes no exposures for"),
    ],
)
def test_mistakes_create_no_repository(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    write_raws(tmp_path / "raw", science(1))
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.csv").write_text("exposure_id,mjd,filter\n1,61131.9,g\n")
    (tmp_path / "b.csv").write_text("exposure_id,filter\n1,g\n")
    result = run_command(*(one.format(tmp_path) for one in arguments))
    assert result.exit_code in (1, 2)
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "repo").exists()


def test_a_conflict(tmp_path: Path, description: Path) -> None:
    (file,) = write_raws(tmp_path / "raw", science(1))
    arguments = ("ingest", tmp_path / "repo", tmp_path / "raw", "--instrument", description)
    assert run_command(*arguments).exit_code == 0
    fits.setval(file, "OBJECT", value="another")
    for more in ((), ("--on-error", "skip")):
        result = run_command(*arguments, *more)
        assert result.exit_code == 1
        assert "target_name is stored as 'field_" in result.stderr
        assert "and is now 'another'" in result.stderr
        assert "Traceback" not in result.stderr


def test_visits_of_files_that_were_there(tmp_path: Path, description: Path) -> None:
    """A process that was killed before it defined the visits does so when it is started again."""
    write_raws(tmp_path / "raw", science(4))
    assert run_command("ingest", tmp_path / "repo", tmp_path / "raw", "--instrument", description).exit_code == 0
    result = run_command("ingest", tmp_path / "repo", tmp_path / "raw", "--define-visits")
    assert result.exit_code == 0
    assert "4 there already" in result.stdout
    assert len(records(Butler.from_config(tmp_path / "repo"), "visit")) >= 4


def test_without_a_camera(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "exposure_id,mjd,filter,ra,dec,sky_angle\n1,61131.9,g,10.0,20.0,0.0\n2,61131.95,r,11.0,20.0,0.0\n"
    )
    result = run_command(
        "ingest-table", tmp_path / "repo", tmp_path / "a.csv", "--instrument", "NewCam", "--define-visits"
    )
    assert result.exit_code == 1
    assert "2 rows: 2 ingested (2 new exposures), 0 there already, 0 failed." in result.stdout
    assert "camera" in result.stderr
    assert "Traceback" not in result.stderr


def test_table(tmp_path: Path, description: Path) -> None:
    (tmp_path / "log.csv").write_text(
        "obsid,UT,filter,ra,dec,rot,exptime\n"
        "1,2026-04-01T23:15:00,g_sim,10:00:00,-20:00:00,0.0,30\n"
        "2,2026-04-01T23:16:00,r_sim,10:10:00,-20:00:00,5.0,30\n"
        "3,2026-04-01T23:17:00,r_sim,10:10:00,-20:00:00,x,30\n"
    )
    arguments = (
        *("ingest-table", tmp_path / "repo", tmp_path / "log.csv", "--instrument", description, "--define-visits"),
        *("--map", "exposure_id=obsid", "--map", "datetime_begin=UT,sky_angle=rot", "--set", "target_name=M 31"),
    )
    result = run_command(*arguments)
    assert result.exit_code == 1
    assert f"{tmp_path / 'log.csv'}, row 3, column rot: 'x' is not an angle" in result.stderr
    result = run_command(*arguments, "--on-error", "skip")
    assert result.exit_code == 1
    assert "3 rows: 2 ingested (2 new exposures), 0 there already, 1 failed." in result.stdout
    assert "Error: 1 row could not be ingested." in result.stderr
    butler = Butler.from_config(tmp_path / "repo")
    assert [one.target_name for one in records(butler, "exposure")] == ["M 31", "M 31"]
    assert len(records(butler, "visit")) == 2


def test_options_file(tmp_path: Path, description: Path) -> None:
    write_raws(tmp_path / "raw", science(2))
    (tmp_path / "options.yaml").write_text(
        yaml.safe_dump({"ingest": {"transfer": "move", "output-run": "mine", "instrument": str(description)}})
    )
    result = run_command("ingest", tmp_path / "repo", tmp_path / "raw", "-@", tmp_path / "options.yaml")
    assert result.exit_code == 0, result.output
    assert not list((tmp_path / "raw").iterdir())
    assert len(stored(Butler.from_config(tmp_path / "repo"), "mine")["raw"]) == 2


def test_folders_are_searched_once(tmp_path: Path, description: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_raws(tmp_path / "raw", science(2))
    searched: list[str] = []
    walk = os.walk

    def counted(folder: str, **options: Any) -> Any:
        searched.append(folder)
        return walk(folder, **options)

    monkeypatch.setattr("butler_visits.ingest.files.os.walk", counted)
    for n_ingested in (2, 0):
        searched.clear()
        result = run_command("ingest", tmp_path / "repo", tmp_path / "raw", "--instrument", description)
        assert f"2 files: {n_ingested} ingested" in result.stdout
        assert searched == [str(tmp_path / "raw")]


def test_corrections(tmp_path: Path, description: Path) -> None:
    """Headers that were mended: what would be done is shown, and then done with the visits too."""
    first, _ = write_raws(tmp_path / "raw", science(2))
    arguments = ("ingest", tmp_path / "repo", tmp_path / "raw", "--instrument", description)
    assert run_command(*arguments, "--define-visits").exit_code == 0
    butler = Butler.from_config(tmp_path / "repo")
    before = stored(butler), tables(butler)
    fits.setval(first, "OBJECT", value="M 31")
    fits.setval(first, "ROTPA", value=77.0)
    result = run_command(*arguments)
    assert result.exit_code == 1
    assert "replace what is stored with --update-records" in result.stderr
    result = run_command(*arguments, "--update-records", "--dry-run")
    assert result.exit_code == 0, result.output
    exposure = science(2)[0]
    preview, counts = result.stdout.splitlines()
    assert preview.startswith(f"{first}: would correct exposure {exposure['id']} ({exposure['obs_id']}) of SimCam: ")
    assert f"target_name is stored as {exposure['target_name']!r} and is now 'M 31'; sky_angle is stored as" in preview
    assert counts == (
        "Dry run: 2 files: 0 ingested (0 raws, 0 new exposures), 2 there already, 0 failed. 1 exposure corrected."
    )
    assert (stored(butler), tables(butler)) == before
    for n_corrected in (1, 0):
        result = run_command(*arguments, "--update-records", "--define-visits")
        assert result.exit_code == 0, result.output
        corrected = " 1 exposure corrected." * n_corrected
        assert f"2 there already, 0 failed.{corrected}\n" in result.stdout
    fresh = run_command(
        *("ingest", tmp_path / "fresh", tmp_path / "raw", "--instrument", description, "--define-visits")
    )
    assert fresh.exit_code == 0, fresh.output
    other = Butler.from_config(tmp_path / "fresh")
    assert (stored(butler)["exposure"], tables(butler)) == (stored(other)["exposure"], tables(other))


def test_corrected_rows(tmp_path: Path, description: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("exposure_id,mjd,filter,object\n1,61131.9,g_sim,A\n2,61131.95,r_sim,B\n")
    arguments = ("ingest-table", tmp_path / "repo", log, "--instrument", description)
    assert run_command(*arguments).exit_code == 0
    log.write_text("exposure_id,mjd,filter,object\n1,61131.9,g_sim,\n2,61131.95,r_sim,C\n")
    result = run_command(*arguments, "--update-records", "--dry-run")
    assert result.stdout.splitlines() == [
        f"{log}, row 2: would correct exposure 2 (2) of SimCam: target_name is stored as 'B' and is now 'C'.",
        "Dry run: 2 rows: 0 ingested (0 new exposures), 1 there already, 0 failed. 1 exposure corrected.",
    ]
    result = run_command(*arguments, "--update-records")
    assert result.stdout.splitlines() == [
        "2 rows: 0 ingested (0 new exposures), 1 there already, 0 failed. 1 exposure corrected."
    ]
    assert [one.target_name for one in records(Butler.from_config(tmp_path / "repo"), "exposure")] == ["A", "C"]
