"""What is printed harms no terminal, and a command ends well where nobody reads it, nothing fits, or a signal comes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import yaml
from lsst.daf.butler import Butler

from command_line import PROGRAMS, lines, message, run_program, run_python, visits_command
from fitted_visits import RUN, fits_of, store_fits
from ingest_helpers import small
from killing import CHUNK, EXPOSURES, KINDS, OTHERS, Attempt, send
from simulated_raws import describe, write_raws
from simulated_survey import INSTRUMENT
from visit_tables import add_exposures, data_ids, exposure, make_task, root, stored

pytestmark = pytest.mark.sqlite_only

EVIL = "a\x1b]0;title\x07\x9b31m\r\u202eb\x7f\u200f"
SHOWN = r"a\x1b]0;title\x07\x9b31m\r\u202eb\x7f\u200f"


@pytest.fixture
def butler(make_survey: Callable[..., Butler]) -> Butler:
    butler = make_survey()
    add_exposures(butler, [exposure(1, obs_id=EVIL), exposure(2, obs_id="two\nlines")])
    return butler


def assert_printable(text: str) -> None:
    assert text
    assert text.replace("\n", "").isprintable(), text


# Names


def test_names_of_visits(butler: Butler) -> None:
    arguments = (root(butler), INSTRUMENT)
    plan = visits_command("define-visits", *arguments, "--dry-run")
    assert_printable(plan.output)
    assert [line.split(" (")[1] for line in lines(plan)[1:]] == [f"{SHOWN})", r"two\nlines)"]
    visits_command("define-visits", *arguments)
    removed = visits_command("remove-visits", *arguments, "--where", "visit > 0")
    assert_printable(removed.output)
    assert [line.split(" (")[1] for line in lines(removed)[1:]] == [f"{SHOWN})", r"two\nlines)"]


def test_names_in_findings(butler: Butler) -> None:
    arguments = (root(butler), INSTRUMENT)
    visits_command("define-visits", *arguments)
    add_exposures(butler, [exposure(1, obs_id=EVIL, physical_filter="r_sim", target_name=f"{EVIL}2")], replace=True)
    found = visits_command("check", *arguments)
    assert found.exit_code == 1
    assert_printable(found.output)
    assert f"{SHOWN}" in found.output
    report = visits_command("check", *arguments, "--format", "json")
    assert_printable(report.stdout)
    (finding,) = json.loads(report.stdout)["findings"]
    assert EVIL in finding["text"] or repr(EVIL)[1:-1] in finding["text"]


def test_names_in_errors(butler: Butler, tmp_path: Path) -> None:
    arguments = (root(butler), INSTRUMENT)
    assert SHOWN in message(visits_command("define-visits", root(butler), EVIL))
    visits_command("define-visits", *arguments)
    add_exposures(butler, [exposure(1, obs_id=EVIL, target_name=EVIL)], replace=True)
    said = message(visits_command("define-visits", *arguments))
    assert SHOWN in said
    assert_printable(said)
    table = tmp_path / f"{EVIL}.csv"
    assert SHOWN in message(visits_command("ingest-table", root(butler), table, "--instrument", INSTRUMENT))
    assert SHOWN in visits_command("ingest", root(butler), tmp_path / EVIL).stderr


def test_names_of_files(make_survey: Callable[..., Butler], tmp_path: Path) -> None:
    """A file's name need not even be text."""
    folder = tmp_path / EVIL
    folder.mkdir()
    (folder / "a\udcff.fits").write_bytes(b"no FITS")
    result = visits_command("ingest", root(make_survey()), folder, "--on-error", "skip")
    assert result.exit_code == 1
    assert_printable(result.output)
    assert "Failed: " in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("ingest", "REPO", "FOLDER"),
        ("ingest", "REPO", "FILE"),
        ("ingest", "REPO", "GOOD", "--instrument", "NEW"),
        ("ingest", "FOLDER/new", "GOOD"),
        ("describe", "FILE"),
        ("describe", "GOOD", "--write", "NEW"),
        ("show-camera", "FILE"),
        ("write-camera", "REPO", INSTRUMENT, "FILE"),
        ("define-visits", "REPO", INSTRUMENT, "-C", "FILE"),
        ("define-visits", "REPO", INSTRUMENT, "--where", "exposure.obs_id='TEXT'"),
        ("define-visits", "REPO", INSTRUMENT, "--collections", "TEXT"),
        ("check", "REPO", "TEXT"),
    ],
)
def test_arguments_that_are_no_text(butler: Butler, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """A terminal gives any bytes."""
    bad = "a\udcff"
    (tmp_path / bad).mkdir()
    for file in (tmp_path / f"{bad}.fits", tmp_path / bad / "good.fits", tmp_path / "good.fits"):
        file.write_bytes(b"no FITS")
    places = {"REPO": root(butler), "FOLDER": tmp_path / bad, "FILE": tmp_path / f"{bad}.fits", "TEXT": bad}
    places |= {"GOOD": tmp_path / "good.fits", "NEW": tmp_path / f"{bad}.yaml"}
    given = [re.sub("[A-Z]{3,}", lambda name: str(places.get(name[0], name[0])), argument) for argument in arguments]
    result = visits_command(*given)
    assert result.exit_code in (1, 2), result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert_printable(result.output)
    if "--write" not in arguments and "check" not in arguments:
        assert "utf-8" in result.stderr.lower()


def test_a_file_with_the_name_of_a_variable(tmp_path: Path) -> None:
    file = tmp_path / "c$HOME#1%20.yaml"
    file.write_text("name: nothing")
    for command in (("show-camera", file), ("describe", file)):
        said = visits_command(*command).stderr
        assert "There is no" not in said
        assert "lacks the field CCDs" in said or "no FITS file" in said


def test_names_in_the_log(butler: Butler, tmp_path: Path) -> None:
    """On the terminal and in a file; also of a translator that logs what headers say, and of an unexpected error."""
    log = tmp_path / "log"
    overrides = tmp_path / "config.py"
    overrides.write_text(f"import logging\nlogging.getLogger('lsst.any').warning({EVIL!r})\n")
    given = ("define-visits", root(butler), INSTRUMENT, "-C", overrides)
    result = run_program("butler-visits", "--log-file", log, *given)
    assert result.returncode == 0, result.stderr
    assert f"WARNING: {SHOWN}" in result.stderr
    assert f"WARNING: {SHOWN}" in log.read_text()
    assert_printable(result.stdout + result.stderr)


def test_names_in_a_table_of_columns(tmp_path: Path, make_survey: Callable[..., Butler]) -> None:
    file = tmp_path / "table.ecsv"
    small(**{"target_name": [EVIL] * 3, "extra\x1b": [1, 2, 3]}, physical_filter=None).write(file)
    said = message(visits_command("ingest-table", root(make_survey()), file, "--instrument", INSTRUMENT))
    assert r"extra\x1b" in said


# Outputs


def run_with_output(output: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the program with another standard output, which is an expression of a file descriptor."""
    code = f"import os; os.dup2({output}, 1); {PROGRAMS['butler-visits']}"
    return run_python(code, "--no-log-tty", *arguments)


@pytest.fixture
def ingest(tmp_path: Path) -> tuple[str | Path, ...]:
    """Return a command that ingests raws into a repository that is not there yet."""
    write_raws(tmp_path / "raw", EXPOSURES)
    description = tmp_path / "simcam.yaml"
    description.write_text(yaml.safe_dump(describe()))
    return ("ingest", tmp_path / "repo", tmp_path / "raw", "--instrument", description, "--define-visits")


FULL = "os.open('/dev/full', os.O_WRONLY)"
CLOSED = "(lambda ends: (os.close(ends[0]), ends[1])[1])(os.pipe())"


def test_closed_pipe(butler: Butler) -> None:
    """What is asked for is done, quietly."""
    result = run_with_output(CLOSED, "define-visits", root(butler), INSTRUMENT)
    assert (result.returncode, result.stderr) == (0, "")
    assert len(stored(butler, "visit")) == 2
    result = run_with_output(CLOSED, "check", root(butler), INSTRUMENT, "--format", "json")
    assert (result.returncode, result.stderr) == (0, "")
    # What is written there is a whole file, and not the command's own words.
    export = ("export", root(butler), INSTRUMENT, "-o", "-", "--format", "reg")
    result = run_with_output(CLOSED, *export)
    assert (result.returncode, result.stderr) == (0, "")
    result = run_with_output(FULL, *export)
    assert (result.returncode, result.stderr) == (1, "Error: The output cannot be written: No space left on device.\n")


@pytest.mark.parametrize("output", [CLOSED, FULL])
def test_output_that_is_lost_in_between(ingest: tuple[str | Path, ...], output: str) -> None:
    """Nobody can read that the repository is there and exposures are; visits are defined all the same."""
    result = run_with_output(output, *ingest)
    assert len(stored(Butler.from_config(ingest[1]), "visit")) >= len(EXPOSURES)
    if output == CLOSED:
        assert (result.returncode, result.stderr) == (0, "")
    else:
        assert result.returncode == 1
        assert result.stderr.endswith("No space left on device. The exposures are stored. The visits are stored.\n")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("define-visits",), "The visits are stored."),
        (("define-visits", "--dry-run"), ""),
        (("check", "--repair"), "What was repaired is stored."),
        (("check",), ""),
    ],
)
def test_full_output(butler: Butler, command: tuple[str, ...], said: str) -> None:
    name, *options = command
    result = run_with_output(FULL, name, root(butler), INSTRUMENT, *options)
    assert result.returncode == (2 if name == "check" else 1)
    assert result.stderr == f"Error: The output cannot be written: No space left on device. {said}".rstrip() + "\n"
    assert len(stored(butler, "visit")) == (2 if said else 0)
    again = run_with_output(FULL, "remove-visits", root(butler), INSTRUMENT, "--where", "visit > 0")
    assert again.returncode == 1
    assert ("The visits are removed." in again.stderr) == bool(said)
    assert not stored(butler, "visit")


def test_full_disk_after_the_write(make_survey: Callable[..., Butler], tmp_path: Path) -> None:
    """Where the table of what was done cannot be written, the summary says what was."""
    butler = make_survey()
    make_task(butler).run(data_ids(add_exposures(butler, [exposure(1)])))
    store_fits(butler, tmp_path, fits_of(butler))
    command = ("update-regions", root(butler), INSTRUMENT, RUN, "--output", tmp_path / "table.csv")
    code = f"""
from butler_visits.cli import files
def nothing_fits(*_):
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    try:
        write_plan(*_)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
write_plan, files.write_plan = files.write_plan, nothing_fits
{PROGRAMS["butler-visits"]}
"""
    result = run_python(code, "--no-log-tty", *command)
    assert result.returncode == 1
    assert result.stderr == f"Error: The table cannot be written to {command[-1]}: File too large\n"


# Signals


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"])
@pytest.mark.parametrize(
    ("name", "element", "said"),
    [
        ("define-visits", "visit_definition", "at least 4 of 24 visits are stored"),
        pytest.param("check --repair", "visit_definition", "at least 3 visits were repaired", marks=pytest.mark.slow),
        pytest.param(
            "update-regions",
            "visit_detector_region",
            "at least 4 of 24 visits have the regions of the fit",
            marks=pytest.mark.slow,
        ),
        pytest.param("ingest copy", "dataset", "at least 4 of 24 files are in the repository", marks=pytest.mark.slow),
        ("ingest move", "dataset", "at least 4 of 24 files are in the repository"),
        pytest.param("ingest-table", "exposure", "at least 4 of 24 rows are in the repository", marks=pytest.mark.slow),
    ],
)
def test_signal(tmp_path: Path, number: int, status: int, name: str, element: str, said: str) -> None:
    """It comes within the second chunk: that is undone, and the first is stored whole."""
    attempt = Attempt({**KINDS, **OTHERS}[name], tmp_path / "disturbed", None)
    before = attempt.state()
    child, _ = attempt.start((f"INSERT INTO {element}", 2), partial(send, number))
    child.join(100)
    assert child.exitcode == status
    assert attempt.said().splitlines()[-1] == (
        f"Interrupted: {said}. Whatever is stored is whole; run it again for the rest."
    )
    found = attempt.state()
    attempt.finish()
    after = attempt.state()
    changed = {key for key in after if found.get(key) != before.get(key)}
    assert len(changed) == (3 if name == "check --repair" else CHUNK)
    assert all(found[key] == after[key] for key in changed)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"])
def test_signal_while_visits_are_removed(tmp_path: Path, number: int, status: int) -> None:
    """All of them are removed, or none."""
    attempt = Attempt(OTHERS["remove-visits"], tmp_path / "disturbed", None)
    before = attempt.state()
    child, _ = attempt.start(("DELETE FROM visit", 1), partial(send, number))
    child.join(100)
    assert child.exitcode == status
    assert attempt.said().splitlines()[-1] == (
        "Interrupted: all of the visits are removed, or none of them is. Whatever is stored is whole; run it again for "
        "the rest."
    )
    assert attempt.state() == before
    assert len(before) == len(EXPOSURES)
    attempt.finish()
    assert attempt.state() == {}
