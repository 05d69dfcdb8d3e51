"""Repositories read through daf_butler's own server, which runs on this machine for as long as the tests do."""

from __future__ import annotations

import doctest
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from astropy.table import Table
from lsst.daf.butler import Butler

from broken_visits import CENTRE, COUNTER, GROUP, broken, correct, ids, snaps, visit_id
from butler_server import TOKEN, butler_server, move_files
from butler_visits import Action, check_visits, define_visits, ingest_table, repair_visits, visits_page, write_camera
from butler_visits.repository import read_visits, remove_visits
from command_line import comparable, message, visits_command
from pages import PROJECT, steps
from simulated_survey import INSTRUMENT, camera, insert_exposures, night
from stored_visits import GOLDEN
from templates import make_repository, one_raft
from visit_tables import DAY, add_exposures, data_ids, exposure, make_task, only, spoil, stored

# A RemoteButler cannot be closed.
UNCLOSED = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
pytestmark = [pytest.mark.slow, pytest.mark.sqlite_only, UNCLOSED]

INSTRUMENTS = {"lsstCamSim": "LSSTCamSim", "imsim": "LSSTCam-imSim", "comCamSim": "LSSTComCamSim"}
PAGE = PROJECT / "docs" / "butler-server.md"
NEXT_DAY = {"day_obs": DAY + 1}


class Served(NamedTuple):
    """The same repositories, through the server and with their own configuration."""

    url: str
    folder: Path

    def open(self, name: str) -> tuple[Butler, Butler]:
        """Open a repository through the server, and directly."""
        return Butler.from_config(f"{self.url}{name}"), Butler.from_config(self.folder / name)


@pytest.fixture(scope="module")
def served(store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    for package in ("fastapi", "safir", "uvicorn"):
        pytest.importorskip(package, reason=f"Butler servers need {package}, and Python 3.13")
    folder = tmp_path_factory.mktemp("served")
    with make_repository(folder / "night", one_raft) as butler:
        insert_exposures(butler, night(60))
        ids = [one["id"] for one in night(60)]
        make_task(butler, COUNTER).run(data_ids(ids[:40]), incremental=True)
    with broken(lambda: make_repository(folder / "broken", one_raft)) as butler:
        # No database lets exposures of visits vanish, and a server shows less of such visits.
        add_exposures(butler, [snaps(8)[0], exposure(15)])
    with make_repository(folder / "days", one_raft) as butler:
        _several_days(butler)
    with make_repository(folder / "corrected", one_raft) as butler:
        make_task(butler, GROUP).run(data_ids(add_exposures(butler, [exposure(1)])))
        correct(butler, exposure(1), **NEXT_DAY)
    with make_repository(folder / "damaged", one_raft) as butler:
        make_task(butler).run(data_ids(add_exposures(butler, [exposure(1)])))
        spoil(butler, "visit_detector_region", b"p\0\0", detector=CENTRE)
    with make_repository(folder / "survey", one_raft) as butler:
        make_task(butler).run(data_ids(add_exposures(butler, map(exposure, range(24)))))
    names = ["night", "broken", "days", "corrected", "damaged", "survey"]
    if GOLDEN.is_dir():
        for name in INSTRUMENTS:
            shutil.copytree(GOLDEN / "repos" / name, folder / name)
            for path in [folder / name, *(folder / name).rglob("*")]:
                path.chmod(path.stat().st_mode | 0o200)
            names.append(name)
    for name in names:
        move_files(folder / name, store)
    with (
        butler_server({name: folder / name for name in names}, folder / "log") as (url, _),
        pytest.MonkeyPatch.context() as environment,
    ):
        for variable, value in TOKEN.items():
            environment.setenv(variable, value)
        yield Served(url, folder)


def _several_days(butler: Butler) -> None:
    """Define visits whose exposures are of one day and of two; leave one of the latter without its second exposure."""
    task = make_task(butler, GROUP)
    (evening, morning), (late, later) = snaps(2), snaps(4)
    given = [exposure(1), evening, {**morning, **NEXT_DAY}, late, *snaps(6), exposure(9, **NEXT_DAY)]
    task.run(data_ids(add_exposures(butler, given)))
    add_exposures(butler, [{**later, **NEXT_DAY}, exposure(10)])


READING = [
    "check --format json",
    "define-visits --dry-run --incremental --format json",
    "export --output - --format csv --detectors",
    "report --output FILE.html",
]
MORE = [
    "check --where exposure.seq_num<20",
    "define-visits --dry-run",
    "define-visits --dry-run --prefilter",
    "define-visits --dry-run --update-records --on-error skip",
    "define-visits --dry-run --check-detector-regions --skip-conflicting --output FILE.ecsv",
    "export --output - --format geojson --where exposure.seq_num>3",
    "plot --output FILE.svg",
]
OF_CAMERAS = [
    "show-camera --output FILE.yaml",
    # What is said of raws that cannot be had, too.
    "define-visits --dry-run -c computeVisitRegions.active.wcsSource=raw --output FILE.ecsv",
    "define-visits --dry-run -c computeVisitRegions.active.wcsSource=prefer-raw --output FILE.ecsv",
]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        *(("night", words) for words in [*READING, *MORE, *OF_CAMERAS]),
        *(("broken", words) for words in READING),
        *((name, words) for name in INSTRUMENTS for words in [*READING, *OF_CAMERAS]),
    ],
)
def test_what_reads_says_the_same(served: Served, name: str, words: str, tmp_path: Path) -> None:
    if name in INSTRUMENTS and not GOLDEN.is_dir():
        pytest.skip(f"no golden data at {GOLDEN}")
    written: list[tuple[object, ...]] = []
    for place in (f"{served.url}{name}", str(served.folder / name)):
        file = tmp_path / str(len(written)) / next((word for word in words.split() if word.startswith("FILE")), "FILE")
        file.parent.mkdir()
        command, *arguments = (str(file) if word.startswith("FILE") else word for word in words.split())
        result = visits_command(command, place, INSTRUMENTS.get(name, INSTRUMENT), *arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        # Pictures have their dates in them.
        content = file.read_text() if file.exists() and file.suffix != ".svg" else ""
        written.append((result.exit_code, *map(_comparable, (result.stdout, result.stderr, content))))
    assert written[0] == written[1]


def _comparable(text: str) -> str:
    """Leave out where files are, and when a page was made."""
    return re.sub(r'"made":"[^"]*"', "", re.sub(r"(\w+:/)?/[^\s\"',]*/", "", text))


@pytest.mark.parametrize(
    "words",
    [
        "define-visits REPO SimCam",
        "define-visits REPO SimCam --output plan.ecsv",
        "define-visits REPO SimCam --processes 2",
        "check REPO SimCam --repair",
        "update-regions REPO SimCam fitted",
        "update-regions REPO SimCam fitted --dry-run",
        "write-camera REPO SimCam CAMERA",
        "remove-visits REPO SimCam --visit 1",
        "remove-visits REPO SimCam --visit 1 --dry-run",
        "add-images REPO SimCam",
        "make-skymap REPO sky --rings 12 --patch-size 4",
        "watch REPO FOLDER --instrument SimCam",
        "ingest REPO FILE",
        "ingest REPO FILE --dry-run",
        "ingest-table REPO FILE --instrument SimCam",
    ],
)
def test_what_writes_is_refused(served: Served, words: str, tmp_path: Path) -> None:
    table, camera_file = tmp_path / "table.csv", tmp_path / "camera.yaml"
    table.write_text("id\n1\n")
    camera_file.write_text(json.dumps(camera(rafts=1)))
    places = {"REPO": f"{served.url}night", "FILE": table, "CAMERA": camera_file, "FOLDER": tmp_path}
    result = visits_command(*(places.get(word, word) for word in words.split()))
    assert "nothing can be written" in message(result) and served.url in message(result)
    # What could not be checked is no finding.
    assert result.exit_code == (2 if words.startswith("check") else 1)


def test_library(served: Served) -> None:
    """Plans are the same, and what writes is refused."""
    remote, direct = served.open("night")
    exposures = data_ids(one["id"] for one in night(60))
    plan = make_task(remote, COUNTER).plan(exposures, incremental=True)
    expected = make_task(direct, COUNTER).plan(exposures, incremental=True)
    assert plan.to_dicts() == expected.to_dicts() and any(visit.is_new for visit in plan)
    for write in (
        lambda: make_task(remote, COUNTER).run(exposures),
        lambda: make_task(remote, COUNTER).apply(plan),
        lambda: define_visits(f"{served.url}night", None, None, INSTRUMENT),
        lambda: repair_visits(make_task(remote, COUNTER), INSTRUMENT),
        lambda: remove_visits(remote, INSTRUMENT, [1]),
        lambda: write_camera(remote, INSTRUMENT, camera(rafts=1)),
        lambda: ingest_table(remote, Table({"id": [1]}), instrument=INSTRUMENT),
    ):
        with pytest.raises(TypeError, match="Butler server"):
            write()


# Exposures of other days


def test_visits_of_several_days_are_not_checked(served: Served) -> None:
    """What a server does not show is no finding, whether it is there or not."""
    remote, direct = (check_visits(make_task(butler, GROUP), INSTRUMENT) for butler in served.open("days"))
    several, partial = visit_id(2), visit_id(4)
    assert [(one.kind.value, one.visit) for one in direct.findings] == [
        ("no-visit", visit_id(10)),
        ("partial-group", partial),
        ("several-days", several),
    ]
    assert [(one.kind.value, one.visit) for one in remote.findings] == [("no-visit", visit_id(10))]
    assert remote.untold == [several, partial] and not direct.untold
    assert (remote.n_visits, remote.n_exposures) == (direct.n_visits, direct.n_exposures)
    assert "2 visits with exposures of other days (day_obs), not checked: " in str(remote)
    where = ("--where", "exposure.seq_num < 10")
    result = visits_command("check", f"{served.url}days", INSTRUMENT, "-c", f"groupExposures={GROUP}", *where)
    assert result.exit_code == 0, result.output
    assert "Nothing is wrong with the others." in result.stdout and f"{several}, {partial}" in result.stdout


@pytest.mark.parametrize("option", ["", "incremental", "update_records", "prefilter", "skip_conflicting"])
def test_visits_of_several_days_are_left_alone(served: Served, option: str) -> None:
    remote, direct = (
        make_task(butler, GROUP).plan(stored(butler, "exposure"), **(only(option) if option else {}))
        for butler in served.open("days")
    )
    untold = {visit.definition.id: visit for visit in remote if visit.untold}
    assert untold.keys() == {visit_id(2), visit_id(4)}
    assert {visit.action for visit in untold.values()} == {Action.SKIPPED}
    for visit in untold.values():
        assert "cannot be told" in visit.reason and str(visit.definition.exposures[-1].id) in visit.reason
    others = [[(v.definition.id, v.action) for v in plan if v.definition.id not in untold] for plan in (remote, direct)]
    assert others[0] == others[1]


def test_visits_of_several_days_are_shown(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    """An exposure of another day that lies within a visit is taken for its, with a warning, and is not undefined."""
    (morning,) = ids(3)
    remote, direct = served.open("days")
    for where in ("", f"exposure = {morning}"):
        caplog.clear()
        (shown,) = [one for one in read_visits(remote, INSTRUMENT, where) if one.record.id == visit_id(2)]
        assert "cannot be told" in caplog.text and str(visit_id(2)) in caplog.text
        assert shown in read_visits(direct, INSTRUMENT, where)
    pages = [visits_page(one, INSTRUMENT, config=make_task(one, GROUP).config) for one in (remote, direct)]
    assert [page.visits[1].exposures for page in pages] == [ids(2, 3), ids(2, 3)]
    assert [[entry.exposures for entry in page.undefined] for page in pages] == [[ids(10)], [ids(10), ids(5)]]
    assert "1 exposure without a visit." in pages[0].lines
    assert (
        f"It cannot be told through a Butler server whether they have a visit: exposures {morning}, {ids(5)[0]}."
        in (pages[0].lines)
    )


def test_no_exposure_of_a_visit_is_seen(served: Served) -> None:
    """A visit whose exposures were corrected to another day has not lost them."""
    remote, direct = (check_visits(make_task(butler, GROUP), INSTRUMENT) for butler in served.open("corrected"))
    assert [one.kind.value for one in direct.findings] == ["fields"]
    assert not remote.findings and remote.untold == [visit_id(1)]


# Where repositories are, and what may be wrong with their servers


def test_label(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAF_BUTLER_REPOSITORIES", json.dumps({"survey": f"{served.url}night/butler.yaml"}))
    result = visits_command("check", "survey", INSTRUMENT, "-c", f"groupExposures={COUNTER}")
    assert "no-visit" in result.stdout


def test_damaged_region(served: Served) -> None:
    """What the server cannot read it does not send; nobody else's fault is made of it."""
    result = visits_command("check", f"{served.url}damaged", INSTRUMENT)
    assert result.exit_code == 2 and "The Butler server" in message(result)


def test_page(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of the page print what it shows."""
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text().replace("https://data.example.org/api/butler/repo/", served.url))
    monkeypatch.chdir(tmp_path)
    found = list(steps(page))
    assert len(found) == 5
    for step in found:
        program, *words = shlex.split(step.command)
        if program == "export":
            monkeypatch.setenv(*words[0].split("="))
            continue
        result = visits_command(*words)
        same = doctest.OutputChecker().check_output(comparable(step.text), comparable(result.output), doctest.ELLIPSIS)
        assert same, f"{step.command}\n{result.output}"
        assert result.exit_code == ("Error: " in step.text)
