"""What all commands have in common: silence where it is asked for, and advice on words that are not known."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from lsst.daf.butler import Butler

from butler_visits.cli.program import COMMANDS
from butler_visits.cli.program import butler_visits as program
from butler_visits.lists import angle_text
from command_line import PROGRAMS, define_visits, run_program, visits_command
from simulated_survey import INSTRUMENT
from templates import make_repository, one_raft
from visit_tables import add_exposures, data_ids, exposure, make_task, root

pytestmark = pytest.mark.sqlite_only

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Butler:
    """Return a repository that no test changes: two exposures, and a visit of the first."""
    butler = make_repository(tmp_path_factory.mktemp("survey") / "repository", one_raft)
    ids = data_ids(add_exposures(butler, [exposure(1), exposure(2, tracking_ra=35.3)]))
    make_task(butler).run(list(ids)[:1])
    return butler


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_quiet(name: str) -> None:
    command = program.get_command(click.Context(program), name)
    assert command is not None
    assert any("--quiet" in parameter.opts and "-q" in parameter.opts for parameter in command.params)


@pytest.mark.parametrize("option", ["-q", "--quiet"])
def test_quiet(survey: Butler, tmp_path: Path, option: str) -> None:
    """Nothing is printed, the log included, and files are written as ever."""
    for program_name in ("butler", "butler-visits"):
        done = run_program(program_name, "define-visits", root(survey), INSTRUMENT, "--dry-run", option)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = run_program("butler-visits", "define-visits", root(survey), INSTRUMENT, "--dry-run")
    assert "2 visits: 1 new, 1 unchanged" in done.stdout
    log = tmp_path / "log.txt"
    table = tmp_path / "visits.ecsv"
    command = ["--log-file", log, "export", root(survey), INSTRUMENT, "-o", table, option]
    done = run_program("butler-visits", *command)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert table.stat().st_size > 0


def test_quiet_says_errors_and_ends_as_ever(survey: Butler) -> None:
    result = define_visits(root(survey), "NoCam", "-q")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert not result.stdout
    # A plan with a conflict.
    arguments = [root(survey), INSTRUMENT, "--dry-run", "-c", "computeVisitRegions.active.padding=100"]
    loud, quiet = define_visits(*arguments), define_visits(*arguments, "-q")
    assert (loud.exit_code, quiet.exit_code) == (1, 1)
    assert "1 conflict" in loud.stdout
    assert (quiet.stdout, quiet.stderr) == ("", "")
    # Findings.
    result = visits_command("check", root(survey), INSTRUMENT, "-c", "computeVisitRegions.active.padding=100", "-q")
    assert (result.exit_code, result.stdout) == (1, "")


def test_quiet_leaves_what_was_asked_for(survey: Butler) -> None:
    """An output that goes to the standard output is no message."""
    result = visits_command("export", root(survey), INSTRUMENT, "-o", "-", "--format", "reg", "-q")
    assert result.exit_code == 0
    assert "polygon" in result.stdout


@pytest.mark.parametrize(
    ("where", "meant"),
    [
        ("exposure.day_ob = 20260401", "exposure.day_obs"),
        ("exposur.day_obs = 20260401", "exposure.day_obs"),
        ("exposure.target = 'M 51'", "exposure.target_name"),
        ("physical_filtr = 'g'", "physical_filter"),
        ("target_nam = 'M 51'", "target_name"),
        ("vist = 1", "visit"),
        ("exposure.zzzzzz = 1", None),
    ],
)
def test_fields_of_expressions(survey: Butler, where: str, meant: str | None) -> None:
    result = define_visits(root(survey), INSTRUMENT, "--dry-run", "--where", where)
    assert result.exit_code == 2
    assert "is not a valid expression: Unrecognized" in result.stderr
    said = result.stderr.split("Did you mean ")[1:]
    assert said == ([f"{meant}?\n"] if meant else [])


@pytest.mark.parametrize(
    ("word", "meant"), [("define-visit", "define-visits"), ("plott", "plot"), ("show_camera", "show-camera"), ("x", "")]
)
def test_commands(word: str, meant: str) -> None:
    result = visits_command(word, "REPO")
    assert result.exit_code == 2
    assert f"No such command '{word}'." in result.stderr
    assert ("Did you mean" in result.stderr) == bool(meant)
    assert f"Did you mean '{meant}'?" in result.stderr or not meant


@pytest.mark.parametrize(
    ("arcsec", "text"),
    [
        (2.5e-7, "2.5e-07 arcsec"),
        (14.1, "14.1 arcsec"),
        (119, "119 arcsec"),
        (499, "8.32 arcmin"),
        (1080, "18 arcmin"),
        (7199, "120 arcmin"),
        (36000, "10 degrees"),
    ],
)
def test_distances_are_in_units_that_can_be_read(arcsec: float, text: str) -> None:
    assert angle_text(arcsec) == text


@pytest.mark.slow
def test_completion(tmp_path: Path) -> None:
    """The line of docs/commands.md, in a shell of its own: what it offers for the beginnings of words."""
    program = tmp_path / "butler-visits"
    program.write_text(f"#!{sys.executable}\n{PROGRAMS['butler-visits']}\n")
    program.chmod(0o755)
    (line,) = [line for line in (DOCS / "commands.md").read_text().splitlines() if line.startswith("eval ")]
    script = f"""{line}
for words in "pl" "plot --v" "describe --wr"; do
    COMP_WORDS=(butler-visits $words); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMPREPLY=()
    _butler_visits_completion butler-visits; echo "${{COMPREPLY[@]}}"
done
"""
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["plot", "--visit", "--write"]
    for shell in ("zsh", "fish"):
        shown = subprocess.run(
            [program],
            env={**environment, "_BUTLER_VISITS_COMPLETE": f"{shell}_source"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert "_BUTLER_VISITS_COMPLETE" in shown.stdout
