"""Regions that are stored as null, with vertices that are not numbers, or as bytes that the Butler cannot read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lsst.daf.butler import Butler

from browser import content, outlines_of
from command_line import define_visits, message, visits_command
from simulated_survey import INSTRUMENT
from visit_tables import add_exposures, data_ids, exposure, make_task, only, root, spoil, stored, tables

pytestmark = pytest.mark.sqlite_only

EXPOSURES = [exposure(number) for number in (1, 2, 3)]
FIRST, SECOND, THIRD = (one["id"] for one in EXPOSURES)
GIVEN = data_ids((FIRST, SECOND, THIRD))
NO_NUMBERS = b"p" + np.full(12, np.nan).tobytes()
UNREADABLE = b"p" + bytes(50)


@pytest.fixture
def survey(make_survey: Callable[..., Butler]) -> Butler:
    """Return a repository with three visits."""
    butler = make_survey()
    add_exposures(butler, EXPOSURES)
    make_task(butler).run(GIVEN)
    return butler


@pytest.mark.parametrize("option", ["update_records", "incremental"])
def test_no_numbers_are_replaced(survey: Butler, option: str) -> None:
    whole = tables(survey)
    spoil(survey, "visit", NO_NUMBERS, id=SECOND)
    result = make_task(survey).run(GIVEN, **only(option))
    assert result.n_fully_updated == (3 if option == "update_records" else 1)
    assert tables(survey) == whole


def test_report(survey: Butler, tmp_path: Path) -> None:
    """What has no outline is counted, and what has one is shown."""
    pytest.importorskip("hpgeom", reason="hpgeom (the extra report) is not installed")
    spoil(survey, "visit_detector_region", None, visit=FIRST, detector=3)
    spoil(survey, "visit_detector_region", NO_NUMBERS, visit=FIRST, detector=4)
    spoil(survey, "visit", NO_NUMBERS, id=SECOND)
    file = tmp_path / "visits.html"
    result = visits_command("report", root(survey), INSTRUMENT, "-o", file)
    assert result.exit_code == 0, result.output
    # The damaged visit is a conflict.
    result = define_visits(root(survey), INSTRUMENT, "--dry-run", "--output", tmp_path / "plan.html")
    assert result.exit_code == 1, result.output
    shown = content(file.read_text())
    assert shown["without_outline"] == 1
    assert [outline is None for outline in outlines_of(shown)] == [False, True, False]
    planned = content((tmp_path / "plan.html").read_text())
    assert planned["without_outline"] == 0
    assert "with vertices that are not numbers" in " ".join(planned["visits"]["reason"])


def test_export_and_plot(survey: Butler, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mocpy = pytest.importorskip("mocpy", reason="mocpy (the extra report) is not installed")
    pytest.importorskip("skyproj", reason="skyproj (the extra report) is not installed")

    def export(name: str, *options: str) -> Path:
        file = tmp_path / name
        result = visits_command("export", root(survey), INSTRUMENT, "-o", file, *options)
        assert result.exit_code == 0, result.output
        return file

    others = mocpy.MOC.load(export("others.fits", "--where", f"visit IN ({FIRST}, {THIRD})"))
    spoil(survey, "visit", NO_NUMBERS, id=SECOND)
    assert mocpy.MOC.load(export("visits.fits")) == others
    assert f"Left out, for lack of a polygon as region: visit {SECOND}." in caplog.text
    spoil(survey, "visit_detector_region", NO_NUMBERS, visit=SECOND, detector=4)
    assert export("detectors.reg", "--detectors").read_text().count("polygon(") == 9 * 3 - 1
    assert "nan" not in (tmp_path / "detectors.reg").read_text()
    for options in ([], ["--visit", SECOND]):
        result = visits_command("plot", root(survey), INSTRUMENT, "-o", tmp_path / "visits.png", *options)
        assert result.exit_code == 0, result.output


COMMANDS = {
    "define-visits": [],
    "define-visits --incremental": [],
    "report": ["-o", "visits.html"],
    "export": ["-o", "visits.reg"],
    "plot": ["-o", "visits.png"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_unreadable_visit(survey: Butler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.chdir(tmp_path)
    spoil(survey, "visit", UNREADABLE, id=SECOND)
    name, *options = command.split()
    said = message(visits_command(name, root(survey), INSTRUMENT, *options, *COMMANDS[command]))
    assert "A visit record of SimCam" in said
    assert "'butler-visits check' says which" in said
    assert not any(Path(name).exists() for name in ("visits.html", "visits.reg", "visits.png"))
    # The advice holds.
    where = ["--where", f"visit != {SECOND}"]
    result = visits_command(name, root(survey), INSTRUMENT, *options, *COMMANDS[command], *where)
    assert result.exit_code == 0, result.output


def test_unreadable_visit_is_skipped(survey: Butler) -> None:
    spoil(survey, "visit", UNREADABLE, id=SECOND)
    new = exposure(4)
    add_exposures(survey, [new])
    result = define_visits(root(survey), INSTRUMENT, "--on-error", "skip")
    assert "A visit record of SimCam" in result.stderr
    assert result.stdout.startswith("3 visits: 1 new, 0 updated, 2 left as they are")
    with_regions = {row.visit for row in stored(survey, "visit_detector_region")}
    assert new["id"] in with_regions


def test_unreadable_detector(survey: Butler, tmp_path: Path) -> None:
    spoil(survey, "visit_detector_region", UNREADABLE, visit=SECOND, detector=4)
    for command in (["report", "-o", "v.html"], ["export", "--detectors", "-o", "v.reg"]):
        name, *options, file = command
        said = message(visits_command(name, root(survey), INSTRUMENT, *options, tmp_path / file))
        assert "A visit_detector_region record of SimCam" in said
        assert not (tmp_path / file).exists()
