"""Run the command line, in this process or as a user does."""

from __future__ import annotations

import os
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


def define_visits(*arguments: object) -> Result:
    """Run ``butler-visits define-visits`` in this process; unexpected exceptions are left in the result."""
    return LogCliRunner().invoke(butler_visits, ["define-visits", *map(str, arguments)])


def run_program(program: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own."""
    command = [sys.executable, "-c", PROGRAMS[program], *map(str, arguments)]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
    )


def lines(result: Result, *, status: int = 0) -> list[str]:
    """Return the lines that a successful run printed."""
    assert result.exit_code == status, result.output
    return result.stdout.splitlines()
