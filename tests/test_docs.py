"""The documentation's examples work as they stand there, its links lead somewhere, and nothing is left out of it."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import pytest
import yaml
from astropy.table import Table
from lsst.daf.butler import Butler
from lsst.daf.butler.cli.butler import cli as butler_program
from lsst.daf.butler.cli.utils import LogCliRunner

import butler_visits
from backyard import write_night as write_frames
from butler_visits import DefineVisitsConfig
from butler_visits.camera.yaml_camera import camera_from_mapping
from butler_visits.check import Kind, check_visits
from butler_visits.cli.program import butler_visits as visits_program
from butler_visits.export import obscore_table
from butler_visits.fitted.geometries import VisitGeometry
from butler_visits.ingest.draft import draft_description
from butler_visits.ingest.table import COLUMNS
from butler_visits.watch.tally import BadFile, Tally
from command_line import comparable, define_visits
from example_raws import EXAMPLES as DESCRIPTIONS
from example_raws import write_hillcam
from fitted_visits import RUN, fits_of, store_fits
from simulated_raws import describe, write_raws
from simulated_survey import INSTRUMENT, camera, insert_exposures, night
from visit_tables import make_task, root, stored

# The examples are the same with either database.
pytestmark = pytest.mark.sqlite_only

PROJECT: Final = Path(__file__).parents[1]
PAGES: Final = sorted(str(page.relative_to(PROJECT)) for page in PROJECT.glob("docs/*.md"))
DOCUMENTS: Final = ("README.md", *PAGES)
"""The documents whose examples and links are checked.

They may rely on this: REPO is a repository of INSTRUMENT with a night of exposures, and with their visits if a command
looks at these; COLLECTIONS has their fitted geometry. camera.yaml is the camera; RAW.fits and raws/ are files of
MyCam, which mycam.yaml describes, and log.csv a table of its exposures; RAW is a file of HillCam, which hillcam.yaml
describes; FRAMES are those of a camera of which telescope.yaml is a draft. An example that begins with ``# NAME.py``
or ``# NAME.yaml`` is a file of that name, and if the comment goes on with ``for: COMMAND``, the command is run beside
it; any other Python is run as it is. Of all other examples the commands are run, beside the files before them, and
what stands below a command is what it prints.
"""

ELSEWHERE: Final[dict[str, dict[str, str]]] = {
    "docs/butler-server.md": {r"": "test_butler_server.py runs it"},
    "docs/after.md": {r"": "test_what_comes_after.py runs it from its beginning to its end"},
    "README.md": {
        r"make (demo|test|test-slow)$": "this is `make test`, and test_demo.py runs the demo",
        r"make bench$": "it takes minutes, and checks nothing",
        r"make docs$": ".ci/run does it",
        r"\.venv/bin/": "make demo prints it",
        r"pip install '?\.": "make demo does it",
        r"butler-visits watch REPO INCOMING": "test_night_docs.py runs it",
    },
    "docs/night.md": {
        r".*\bbutler-visits (--log-level WARNING )?watch |butler-visits watch-status ": "test_night_docs.py runs them",
    },
    "docs/performance.md": {
        r"make bench$|PYTHONPATH=\S+ \.venv/bin/python benchmarks/": "they take minutes, and check nothing",
    },
    "docs/commands.md": {r"eval |_BUTLER_VISITS_COMPLETE=": "test_cli_manners.py runs them"},
    "docs/design.md": {
        r"make fuzz$": "it takes half an hour; test_fuzz.py reads some hundred of these files",
        r"make test-oldest$": "it is the tests themselves, with other packages",
    },
    "docs/instruments.md": {r"butler-visits ingest REPO RAWS --translator ": "test_ingest_translator.py runs it"},
    "docs/tutorial.md": {r"": "test_tutorial.py runs it from its beginning to its end"},
    "docs/postgresql.md": {
        r"psql |createdb |PGUSER=": "test_postgresql_page.py runs them, one after the other",
        r"db\.example\.org:": "a line of a file, which that test writes",
    },
    "docs/many-machines.md": {
        r"butler define-visits .* --(processes|dask)|dask (scheduler|worker) ": "test_many_machines_page.py runs them",
        r"butler create ": "test_object_store.py runs it",
    },
}
"""Commands that other tests run, and which; regular expressions for how they begin."""

FOREIGN_OPTIONS: Final = {"--nthreads", "--parts", "--rounds", "--server", "--visits"}
"""Options of other programs, such as our benchmarks, that the text speaks of."""

_FENCE: Final = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE: Final = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")
_FILE: Final = re.compile(r"# (?P<name>\w+\.(?:py|yaml))\b(?:.*? for: (?P<command>.+)|.*)\n")
_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)


class Example(NamedTuple):
    document: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


class Command(NamedTuple):
    example: Example
    text: str
    printed: str
    """What the document says that it prints; empty if it does not say."""

    def __str__(self) -> str:
        return f"{self.example} {self.text}"

    @property
    def elsewhere(self) -> bool:
        """Whether another test runs it."""
        return any(re.match(begin, self.text) for begin in ELSEWHERE.get(self.example.document, {}))


def examples(document: str) -> Iterator[Example]:
    content = (PROJECT / document).read_text()
    for fence in _FENCE.finditer(content):
        yield Example(document, content.count("\n", 0, fence.start()) + 1, *fence.groups())


def commands_of(example: Example) -> Iterator[Command]:
    """Find the commands of an example: what is behind a prompt or, where there is none, each line."""
    text = example.text.replace("\\\n", " ")
    if re.search(r"^\$ ", text, re.MULTILINE):
        found = [part.partition("\n")[::2] for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]]
    else:
        found = [(line, "") for line in text.splitlines() if line.strip()]
    for command, printed in found:
        yield Command(example, " ".join(re.sub(r"\s#\s.*", "", command).split()), printed)


EXAMPLES: Final = [example for document in DOCUMENTS for example in examples(document)]
PYTHON: Final = [
    example for example in EXAMPLES if example.language == "python" and example.document != "docs/many-machines.md"
]
DATA: Final = [example for example in EXAMPLES if example.language in ("yaml", "json")]
SHELL: Final = [command for example in EXAMPLES if not example.language for command in commands_of(example)]
# A command that is there twice is run once, where the text shows what it prints if it does so anywhere.
COMMANDS: Final = list(
    {
        command.text: command
        for command in sorted(SHELL, key=lambda command: bool(command.printed))
        if not command.elsewhere
    }.values()
)
OFFERED: Final = {
    name: command
    for name in visits_program.list_commands(click.Context(visits_program))
    if (command := visits_program.get_command(click.Context(visits_program), name)) is not None
}


@pytest.fixture
def butler(make_survey: Callable[..., Butler], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Butler:
    """Return the repository of an example, which is run in an otherwise empty folder."""
    butler = make_survey()
    insert_exposures(butler, night(30))
    folder = tmp_path / "example"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return butler


def prepare(text: str, butler: Butler) -> None:
    """Make what an example relies on."""
    words = set(re.split(r"[\s\"'()]", text))
    if "camera.yaml" in words:
        Path("camera.yaml").write_text(yaml.safe_dump(camera(rafts=1)))
    if "mycam.yaml" in words:
        Path("mycam.yaml").write_text(yaml.safe_dump(describe() | {"name": "MyCam"}))
        science = [one for one in night(30) if one["observation_type"] == "science"]
        write_raws(Path("raws"), science[:2])[0].rename("RAW.fits")
    if "hillcam.yaml" in words:
        Path("hillcam.yaml").write_text((DESCRIPTIONS / "hillcam.yaml").read_text())
        write_hillcam(Path("RAW"))
    if "FRAMES" in words:
        write_frames(Path("FRAMES"))
        if "--write" not in words:
            Path("telescope.yaml").write_text(draft_description(["FRAMES"]).text)
    if "log.csv" in words:
        log = {"exposure_id": [1, 2], "datetime_begin": ["2026-04-01T00:00:00", "2026-04-01T00:10:00"]}
        Table(log | {"physical_filter": ["g", "r"], "exposure_time": [30.0, 30.0]}).write("log.csv")
    if words & {"report", "plot", "export", "check", "remove-visits", "update-regions"}:
        make_task(butler).run(stored(butler, "exposure"))
    if "COLLECTIONS" in words:
        store_fits(butler, Path.cwd(), fits_of(butler))


def filled_in(text: str, butler: Butler) -> str:
    values = {"REPO": str(root(butler)), "INSTRUMENT": INSTRUMENT, "COLLECTIONS": RUN}
    return re.sub(rf"\b({'|'.join(values)})\b", lambda match: values[match[0]], text)


def run(command: str, butler: Butler) -> str:
    """Run a command as it is written, and return what it prints; in this process if it is one of ours."""
    prepare(command, butler)
    program, *arguments = shlex.split(filled_in(command, butler))
    if program in ("butler", "butler-visits"):
        result = LogCliRunner().invoke(butler_program if program == "butler" else visits_program, arguments)
        # What check shows is what it has found.
        assert result.exit_code == ("findings." in result.stdout), result.output
        return result.stdout
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
    assert {example.document for example in PYTHON} >= {"README.md", "docs/design.md", "docs/config.md"}
    assert any("CCDs" in example.text for example in DATA)
    assert {command.example.document for command in COMMANDS} >= {"README.md", "docs/look.md", "docs/check.md"}
    assert any(_FILE.match(example.text) for example in PYTHON)
    assert any(command.text.startswith("PYTHONPATH=. ") and "-C config.py" in command.text for command in COMMANDS)
    assert set(ELSEWHERE) <= set(DOCUMENTS)


def write_files(some: Iterable[Example], butler: Butler) -> None:
    for example in some:
        if example.language in ("python", "yaml") and (file := _FILE.match(example.text)):
            Path(file["name"]).write_text(filled_in(example.text, butler))


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_command(butler: Butler, command: Command) -> None:
    assert re.match(r"(PYTHONPATH=\. )?butler(-visits)? ", command.text), "nobody says where this is run"
    document, line = command.example.document, command.example.line
    write_files((other for other in examples(document) if other.line < line), butler)
    printed = run(command.text, butler)
    if command.printed:
        checker = doctest.OutputChecker()
        assert checker.check_output(comparable(command.printed), comparable(printed), doctest.ELLIPSIS), printed
    visits = {visit.id for visit in stored(butler, "visit")}
    assert visits or " define-visits" not in command.text or re.search("--(help|dry-run)", command.text)
    for file in re.findall(r"(?:-o|--output|--plot) (\S+)", command.text):
        assert printed if file == "-" else Path(file).stat().st_size > 0
    if "-C config.py" in command.text and "even-only" in Path("config.py").read_text():
        on_sky = {one.id for one in stored(butler, "exposure") if one.observation_type == "science"}
        assert visits == {one for one in on_sky if one % 2 == 0} < on_sky


@pytest.mark.parametrize("example", PYTHON, ids=str)
def test_python(butler: Butler, example: Example) -> None:
    prepare(example.text, butler)
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


@pytest.mark.parametrize("example", DATA, ids=str)
def test_data(example: Example) -> None:
    content: Any = yaml.safe_load(example.text)
    assert isinstance(content, dict)
    if "CCDs" in content:
        found = camera_from_mapping(content, str(example))
        assert found.detector_ids.tolist() == list(range(len(content["CCDs"])))
        assert found.corners(250).shape == (len(content["CCDs"]), 4, 2)


def test_commands_in_the_text() -> None:
    """A command within a sentence is one that is run elsewhere, and has only options that are there."""
    known = {
        option for command in OFFERED.values() for one in command.params for option in one.opts + one.secondary_opts
    }
    known |= {option for one in visits_program.params for option in one.opts} | {"--help"} | FOREIGN_OPTIONS
    shown = {command.text for command in SHELL}
    for document in DOCUMENTS:
        for span in _INLINE.findall(_FENCE.sub("", (PROJECT / document).read_text())):
            words = span.split()
            if re.match(r"(make|python|\S*/python|\w+=\S*) .", span):
                assert any(re.match(begin, span) for begin in ELSEWHERE.get(document, {})), (document, span)
            if words[0] in ("butler", "butler-visits"):
                command = " ".join(words).removesuffix(" --help")
                assert command.count(" ") <= 1 or command in shown, (document, span)
            if words[0] in OFFERED or words[0].startswith(("butler", "--")):
                assert {word for word in words if word.startswith("--")} <= known, (document, span)


def test_every_command_has_an_example() -> None:
    shown = {match[1] for command in SHELL if (match := re.search(r"\bbutler(?:-visits)? ([\w-]+) ", command.text))}
    assert len(OFFERED) >= 12
    assert OFFERED.keys() <= shown


def test_end_of_help() -> None:
    """Where the options of the program are told of, it is not said that the program is ``butler``."""
    for command in OFFERED.values():
        assert command.epilog is not None
        assert "'butler" not in command.epilog
        assert "--log-level" in command.epilog


def test_every_page_is_in_the_contents() -> None:
    entries = [
        entry
        for example in EXAMPLES
        if example.language == "{toctree}"
        for entry in example.text.split("\n")
        if entry and not entry.startswith(":")
    ]
    assert sorted(f"docs/{entry}.md" for entry in [*entries, "index"]) == PAGES
    links = _LINK.findall((PROJECT / "docs" / "index.md").read_text())
    assert {f"{entry}.md" for entry in entries} <= set(links)


def test_every_public_name_has_its_entry() -> None:
    pages = [(PROJECT / "docs" / name).read_text() for name in ("api.md", "config.md")]
    entries = [name for page in pages for name in re.findall(r"^\.\. auto\w+:: (\w+)$", page, re.MULTILINE)]
    # An alias has the entry of what it is another name of.
    names = [name for name in butler_visits.__all__ if getattr(butler_visits, name).__name__ == name]
    assert sorted(entries) == sorted(names)


def first_columns(document: str, heading: str) -> list[list[str]]:
    """Return what is in the first columns of the tables below a heading."""
    _, _, rest = (PROJECT / document).read_text().partition(f"# {heading}\n")
    tables = re.findall(r"(?:^\|.*\n)+", re.split(r"^#+ ", rest, flags=re.MULTILINE)[0], re.MULTILINE)
    return [re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE) for table in tables]


def test_file_formats(butler: Butler) -> None:
    """The tables of columns and keys are complete."""
    formats = "docs/file-formats.md"
    (exposures,) = first_columns(formats, "Tables of exposures")
    assert sorted(exposures) == sorted(COLUMNS)
    for name, others in re.findall(r"^\| `(\w+)` \|(.*?)\|", (PROJECT / formats).read_text(), re.MULTILINE):
        if name in COLUMNS and "`" in others:
            assert tuple(re.findall(r"`(\w+)`", others)) == COLUMNS[name]
    task = make_task(butler)
    plan = task.plan(stored(butler, "exposure"))
    assert first_columns(formats, "Tables of what is done") == [plan.to_table().colnames]
    assert first_columns(formats, "ObsCore table") == [obscore_table([], detectors=True).colnames]
    assert first_columns(formats, "Visit geometry") == [list(VisitGeometry.model_fields)]
    report = check_visits(task, INSTRUMENT)
    assert first_columns(formats, "Result of a check") == [list(report.to_dict()), list(report.findings[0].to_dict())]
    watched = [[one.name for one in fields(kind)] for kind in (Tally, BadFile)]
    assert first_columns(formats, "Status of a watch") == watched
    assert first_columns("docs/check.md", "What is found") == [[kind.value for kind in Kind]]


@pytest.mark.parametrize("document", DOCUMENTS)
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


READ_FIRST = ["README.md", "docs/index.md", "docs/tutorial.md", "docs/look.md", "docs/night.md", "docs/instruments.md"]
"""What a new user reads first."""
GLOSSARY = re.findall(r"^## (.*)$", (PROJECT / "docs" / "glossary.md").read_text(), re.MULTILINE)


def prose(text: str) -> str:
    """Leave out code, headings, pictures, and what is linked to something that is not the glossary."""
    text = re.sub(r"^(```|~~~).*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^#.*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"`[^`]*`(?!\]\()|DS9 regions|!\[[^\]]*\]\([^)]*\)", "", text)
    return re.sub(r"\[[^\]]*\]\((?![^)]*glossary\.md#)[^)]*\)", "", text)


@pytest.mark.parametrize("page", READ_FIRST)
def test_words_are_linked_where_they_first_stand(page: str) -> None:
    """As to the glossary; to run is something else."""
    text = prose((PROJECT / page).read_text())
    unlinked = []
    for word in GLOSSARY:
        forms = rf"{word.removesuffix('y')}(y|ies)" if word.endswith("y") else f"{word}s?"
        first = re.search(rf"(?<![\w#-])({forms})(?![\w-])", text, re.IGNORECASE)
        # A visit system is no visit.
        if word == "Visit":
            first = re.search(r"(?<![\w#-])visits?(?![\w-]| system)", text, re.IGNORECASE)
        anchor = re.escape(f"glossary.md#{word.lower().replace(' ', '-')})")
        if word != "Run" and first is not None and not re.match(rf"[^\[]*\]\([^)]*{anchor}", text[first.start() :]):
            unlinked.append(text[max(0, first.start() - 30) : first.end() + 20])
    assert not unlinked


def test_every_word_of_the_glossary_is_linked() -> None:
    pages = "".join((PROJECT / page).read_text() for page in READ_FIRST)
    words = {word.lower().replace(" ", "-") for word in GLOSSARY}
    assert words <= set(re.findall(r"glossary\.md#([a-z-]+)\)", pages))
