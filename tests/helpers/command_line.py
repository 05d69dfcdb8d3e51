"""Run the command line, in this process or as a user does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Final

from click.testing import Result
from lsst.daf.butler.cli.utils import LogCliRunner

from butler_visits.cli.program import butler_visits

# Console scripts may be missing where the project is on the path but not installed.
PROGRAMS: Final = {
    "butler": "from lsst.daf.butler.cli.butler import main; main()",
    "butler-visits": "from butler_visits.cli import main; main()",
}

_SUMMARY: Final = re.compile(r"^(\d+ visits?: .* left as they are) \(\d+\.\d s, \d+ a second\)\.$", re.MULTILINE)


def visits_command(*arguments: object) -> Result:
    """Run ``butler-visits`` in this process; unexpected exceptions are left in the result."""
    return LogCliRunner().invoke(butler_visits, list(map(str, arguments)))


def define_visits(*arguments: object) -> Result:
    """Run ``butler-visits define-visits`` in this process."""
    return visits_command("define-visits", *arguments)


def run_program(program: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own."""
    command = [sys.executable, "-c", PROGRAMS[program], *map(str, arguments)]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=600, check=False
    )


def lines(result: Result, *, status: int = 0) -> list[str]:
    """Return the lines that a run printed, the summary without its rate."""
    assert result.exit_code == status, result.output
    return without_rate(result.stdout).splitlines()


def without_rate(output: str) -> str:
    """Leave out the time and the rate, which differ from run to run, and check that each summary has them."""
    shorter, found = _SUMMARY.subn(r"\1.", output)
    assert found == output.count(" left as they are"), output
    return shorter


def message(result: Result) -> str:
    """Return what a command that failed says, in a sentence or two."""
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code != 0
    assert "Traceback" not in result.output
    assert 'File "' not in result.output
    assert not result.stdout
    return result.stderr.split("Error: ", 1)[1]


_RATE: Final = re.compile(r"\(\d+\.\d s, \d+ a second\)")


def comparable(text: str) -> str:
    """Take out what differs from run to run, and how lines are broken."""
    return re.sub(r"\s+", " ", _RATE.sub("(RATE)", text)).strip()
