"""Run the command line, in this process or as a user does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from click.testing import Result
from lsst.daf.butler.cli.utils import LogCliRunner

from butler_visits.cli.program import butler_visits
from children import children

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
    """Run a program in a process of its own, which has imported it already."""
    return _fork(PROGRAMS[program], [program, *map(str, arguments)], environment)


def run_python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run some Python in a process of its own, which knows nothing of what this one has registered."""
    return _fork(code, ["-c", *map(str, arguments)], {})


def _fork(code: str, command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder, name) for name in ("stdout", "stderr")]
        settings = {**os.environ, **environment}
        process = children().Process(target=_run, args=(code, command, settings, os.getcwd(), outputs))
        process.start()
        process.join(600)
        assert process.exitcode is not None, "it hangs"
        return subprocess.CompletedProcess(command, process.exitcode, *(output.read_text() for output in outputs))


def _run(code: str, command: list[str], environment: dict[str, str], folder: str, outputs: list[Path]) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    for stream, output in zip((sys.stdout, sys.stderr), outputs, strict=True):
        with output.open("w") as file:
            os.dup2(file.fileno(), stream.fileno())
    sys.argv = command
    exec(code, {"__name__": "__main__"})


def run_new_program(program: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own, from the beginning, which takes seconds."""
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
