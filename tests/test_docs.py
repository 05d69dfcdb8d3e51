"""The documentation's examples work as they stand there, and its links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import yaml
from astropy.table import Table
from lsst.daf.butler import Butler

from butler_visits import DefineVisitsConfig
from butler_visits.camera.yaml_camera import camera_from_mapping
from command_line import define_visits
from simulated_raws import describe, write_raws
from simulated_survey import INSTRUMENT, camera, insert_exposures, night
from visit_tables import root, stored

# The examples are the same with either database.
pytestmark = pytest.mark.sqlite_only

PROJECT: Final = Path(__file__).parents[1]
DOCUMENTS: Final = ("README.md", "docs/design.md", "docs/postgresql.md")
"""The documents whose examples and links are checked.

They may rely on this: REPO is a repository of INSTRUMENT with a night of exposures, and camera.yaml is its camera;
RAW.fits and raws/ are files of MyCam, which mycam.yaml describes, and log.csv a table of its exposures. A
Python example that begins with ``# NAME.py`` is a file of that name, and if the comment goes on with ``for: COMMAND``,
the command is run beside it; any other is run as it is. Of all other examples the ``butler`` commands are run, beside
the files before them. Those of docs/postgresql.md are run in test_postgresql_page.py, one after the other.
"""

_FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND: Final = re.compile(r"^(?:\$ )?((?:\w+=\S* )*butler(?:-visits)? .*)$", re.MULTILINE)
_FILE: Final = re.compile(r"# (?P<name>\w+\.py)\b(?:.*? for: (?P<command>.+)|.*)\n")
_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)


class Example(NamedTuple):
    document: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def examples(document: str) -> Iterator[Example]:
    content = (PROJECT / document).read_text()
    for fence in _FENCE.finditer(content):
        yield Example(document, content.count("\n", 0, fence.start()) + 1, *fence.groups())


EXAMPLES: Final = [example for document in DOCUMENTS for example in examples(document)]
PYTHON: Final = [example for example in EXAMPLES if example.language == "python"]
YAML: Final = [example for example in EXAMPLES if example.language == "yaml"]
COMMANDS: Final = [
    (example, command)
    for example in EXAMPLES
    if example.language in ("", "bash", "sh", "console") and example.document != "docs/postgresql.md"
    for command in _COMMAND.findall(example.text)
]


@pytest.fixture
def butler(make_survey: Callable[..., Butler], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Butler:
    """Return the repository of an example, which is run in an otherwise empty folder."""
    butler = make_survey()
    insert_exposures(butler, night(30))
    folder = tmp_path / "example"
    folder.mkdir()
    (folder / "camera.yaml").write_text(yaml.safe_dump(camera(rafts=1)))
    (folder / "mycam.yaml").write_text(yaml.safe_dump(describe() | {"name": "MyCam"}))
    science = [one for one in night(30) if one["observation_type"] == "science"]
    write_raws(folder / "raws", science[:2])[0].rename(folder / "RAW.fits")
    log = {"exposure_id": [1, 2], "datetime_begin": ["2026-04-01T00:00:00", "2026-04-01T00:10:00"]}
    Table(log | {"physical_filter": ["g", "r"], "exposure_time": [30.0, 30.0]}).write(folder / "log.csv")
    monkeypatch.chdir(folder)
    return butler


def filled_in(text: str, butler: Butler) -> str:
    return re.sub(r"\bREPO\b", str(root(butler)), re.sub(r"\bINSTRUMENT\b", INSTRUMENT, text))


def run(command: str, butler: Butler) -> str:
    """Run a command as it is written, with this Python's programs, and return what it prints."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    completed = subprocess.run(
        filled_in(command, butler),
        shell=True,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


def test_examples_are_found() -> None:
    """The documents have examples of every kind, so that a change of their form does not turn the tests off."""
    assert {example.document for example in PYTHON} >= {"README.md", "docs/design.md"}
    assert any("CCDs" in example.text for example in YAML)
    assert {example.document for example, _ in COMMANDS} >= {"README.md"}
    assert any(_FILE.match(example.text) for example in PYTHON)
    assert any(command.startswith("PYTHONPATH=. ") and "-C config.py" in command for _, command in COMMANDS)


def write_files(some: Iterable[Example], butler: Butler) -> None:
    for example in some:
        if example.language == "python" and (file := _FILE.match(example.text)):
            Path(file["name"]).write_text(filled_in(example.text, butler))


@pytest.mark.parametrize(("example", "command"), COMMANDS, ids=str)
def test_command(butler: Butler, example: Example, command: str) -> None:
    write_files((other for other in examples(example.document) if other.line < example.line), butler)
    run(command, butler)
    visits = {visit.id for visit in stored(butler, "visit")}
    assert visits or " define-visits" not in command or "--help" in command or "--dry-run" in command
    if "-C config.py" in command and "even-only" in Path("config.py").read_text():
        on_sky = {one.id for one in stored(butler, "exposure") if one.observation_type == "science"}
        assert visits == {one for one in on_sky if one % 2 == 0} < on_sky


@pytest.mark.parametrize("example", PYTHON, ids=str)
def test_python(butler: Butler, example: Example) -> None:
    write_files([*examples(example.document), example], butler)
    compiled = compile(filled_in(example.text, butler), str(example), "exec")
    file = _FILE.match(example.text)
    if file is None:
        exec(compiled, {"__name__": "__main__"})
        # Whatever it has done, visits can be defined afterwards.
        assert define_visits(root(butler), INSTRUMENT).exit_code == 0
        assert stored(butler, "visit")
    elif file["command"]:
        run(file["command"], butler)
        assert stored(butler, "visit")
    elif "config." in example.text and "import" not in example.text:
        config = DefineVisitsConfig()
        config.loadFromString(example.text)
        assert not DefineVisitsConfig().compare(config, output=None)


@pytest.mark.parametrize("example", YAML, ids=str)
def test_yaml(example: Example) -> None:
    content: Any = yaml.safe_load(example.text)
    assert isinstance(content, dict)
    if "CCDs" in content:
        found = camera_from_mapping(content, str(example))
        assert found.detector_ids.tolist() == list(range(len(content["CCDs"])))
        assert found.corners(250).shape == (len(content["CCDs"]), 4, 2)


@pytest.mark.parametrize("document", [*DOCUMENTS, "docs/instruments.md", "docs/tutorial.md"])
def test_links(document: str) -> None:
    content = _FENCE.sub("", (PROJECT / document).read_text())
    for link in _LINK.findall(content):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = PROJECT / document if not path else (PROJECT / document).parent / path
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def anchors(document: Path) -> set[str]:
    """Return the anchors that a page of a forge has for its headings."""
    headings = _HEADING.findall(_FENCE.sub("", document.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
