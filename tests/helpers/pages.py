"""Pages whose commands, run one after the other, print what the pages show."""

from __future__ import annotations

import doctest
import multiprocessing
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from lsst.daf.butler.cli.butler import main as butler_main

from butler_visits.cli import main as visits_main
from command_line import comparable

PROJECT: Final = Path(__file__).parents[2]
PRELOAD: Final = [
    "butler_visits.camera.describe",
    "butler_visits.camera_fit.raws",
    "butler_visits.cli.ingested",
    "butler_visits.cli.program",
    "butler_visits.ingest",
    "butler_visits.report",
    "butler_visits.repository.write_camera",
    "pytest",
]
PROGRAMS: Final[dict[str, Callable[[], object]]] = {"butler": butler_main, "butler-visits": visits_main}

_BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAME: Final = re.compile(r"`([\w.]+)`[^`]*:\s*$")
"""What a file is called: the last name before its content."""
_LOG: Final = re.compile(r"^[\w.]+ INFO: .*\n", re.MULTILINE)


class Step(NamedTuple):
    line: int
    file: str | None
    """Name of a file that is to be written; `None` for a command."""
    command: str
    text: str
    """What is in the file, or what the command prints."""


def steps(page: Path) -> Iterator[Step]:
    """Read the files and commands of a page, in their order."""
    content = page.read_text()
    for block in _BLOCK.finditer(content):
        language, text = block.groups()
        line = content.count("\n", 0, block.start()) + 1
        if language:
            name = _NAME.search(content[: block.start()])
            assert name, f"{page.name}:{line} has no name"
            yield Step(line, name[1], "", text)
            continue
        before, *commands = re.split(r"^\$ ", text, flags=re.MULTILINE)
        assert not before, f"{page.name}:{line} does not begin with a command"
        for command in commands:
            yield Step(line, None, *re.split(r"(?<!\\)\n", command, maxsplit=1))


def run_program(words: list[str], folder: Path, output: Path) -> None:
    """Run ``butler`` or ``butler-visits`` in a process that has imported it already, which takes seconds."""
    os.chdir(folder)
    with output.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = words
    PROGRAMS[words[0]]()


def run(command: str, folder: Path) -> tuple[int | None, str]:
    """Run a command, and return its status and what it prints but for the log."""
    words = shlex.split(command.replace("\\\n", ""))
    if words[0] in PROGRAMS:
        output = folder.with_name("output")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOAD)
        process = context.Process(target=run_program, args=(words, folder, output))
        process.start()
        process.join(60)
        return process.exitcode, _LOG.sub("", output.read_text())
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
        check=False,
    )
    return done.returncode, done.stdout


def check_steps(page: Path, folder: Path) -> int:
    """Go through a page in a folder; return how many commands it has."""
    found = list(steps(page))
    for step in found:
        if step.file:
            (folder / step.file).write_text(step.text)
            continue
        status, printed = run(step.command, folder)
        same = doctest.OutputChecker().check_output(comparable(step.text), comparable(printed), doctest.ELLIPSIS)
        where = f"{page.name}:{step.line}: {step.command}"
        assert same, f"{where}\n\nThe page shows\n{step.text}\nThe command prints\n{printed}"
        assert status == ("Error: " in step.text), where
    return sum(step.file is None for step in found)
