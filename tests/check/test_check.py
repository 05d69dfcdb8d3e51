"""What a check finds in repositories that were broken in many ways, and that it finds nothing in sound ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from lsst.daf.butler import Butler
from sqlalchemy.exc import DataError

from broken_visits import (
    CENTRE,
    COUNTER,
    GROUP,
    ONE_WAY,
    MakeSurvey,
    broken,
    check,
    correct,
    defined,
    grow,
    ids,
    kinds,
    replace_region,
    same,
    visit_id,
)
from butler_visits import DefineVisitsTask
from butler_visits.check import Kind, check_visits
from command_line import visits_command
from simulated_survey import INSTRUMENT, insert_exposures
from stored_visits import INSTRUMENTS, STORED, make_config, read_records
from visit_tables import (
    add_exposures,
    data_ids,
    delete_rows,
    exposure,
    make_task,
    mixed_night,
    root,
    tables,
)

# Sound repositories


@pytest.mark.parametrize(
    ("universe", "groupings"),
    [(0, ("one-to-one", GROUP)), (5, ("one-to-one", GROUP)), (8, (GROUP, COUNTER))],
)
def test_sound(universe: int, groupings: tuple[str, ...], make_survey: MakeSurvey) -> None:
    """Visits of several groupings can be in one repository, and each is checked with its own."""
    butler = make_survey(universe)
    insert_exposures(butler, mixed_night())
    exposures = read_records(butler, "exposure")
    n_visits = sum(make_task(butler, grouping).run(exposures).n_new for grouping in groupings)
    for grouping in groupings:
        report = check(butler, grouping)
        # From universe 6 on it matters that one group of this night has two days.
        days = [one for one in report.findings if one.kind is Kind.SEVERAL_DAYS]
        assert len(days) == (universe >= 6 and "by-group-metadata" in groupings), str(report)
        assert report.findings == days
        assert report.n_visits == n_visits
        assert days or str(report).endswith("Nothing is wrong with them.")


@pytest.mark.parametrize(("name", "grouping"), STORED)
def test_golden(name: str, grouping: str, copy_golden: Callable[[str], Path]) -> None:
    """Rubin's own visits are as we would define them."""
    butler = Butler.from_config(copy_golden(name))
    task = DefineVisitsTask(make_config(grouping), butler=butler)
    report = check_visits(task, INSTRUMENTS[name])
    assert (report.n_visits, kinds(report)) == (1, [])


def test_golden_with_another_grouping(copy_golden: Callable[[str], Path]) -> None:
    butler = Butler.from_config(copy_golden("imsim"))
    report = check_visits(DefineVisitsTask(make_config("one-to-one"), butler=butler), INSTRUMENTS["imsim"])
    assert kinds(report) == ["clashing-id"]
    assert "it is stored as a visit of by-group-metadata with exposure 204595" in report.findings[0].text


# Broken ones


def test_broken_in_many_ways(make_survey: MakeSurvey) -> None:
    butler = broken(make_survey)
    before = tables(butler)
    report = check(butler)
    assert len(report.findings) == len(ONE_WAY), str(report)
    for finding, expected in zip(report.findings, ONE_WAY, strict=True):
        assert same(finding, expected), f"{finding}, expected {expected}"
    distances = {(f.kind.value, f.visit): f.distance for f in report.findings}
    # Vertices that were moved away from the middle, or outwards, are as far from the old outline.
    for key in [("region", 16), ("detector-region", 17), ("detector-region", 18), ("detector-outside", 18)]:
        assert distances[key[0], visit_id(key[1])] == pytest.approx(2.5, rel=1e-4)
    texts = {(f.kind.value, f.visit): f.text for f in report.findings}
    assert "target_name is stored as 'field 22' and is now 'M 31'; zenith_angle" in texts["fields", visit_id(22)]
    assert "has no common physical_filter" in texts["failed", visit_id(39)]
    assert str(visit_id(1)) in texts["clashing-name", visit_id(41)]
    assert tables(butler) == before

    # Whatever the size of chunks.
    again = check_visits(make_task(butler, GROUP, chunkSize=3), INSTRUMENT)
    assert again.to_dict() == report.to_dict()

    # Each exposure's findings are those of its visit; groups that the expression cuts are whole.
    of_exposures = {
        1: ["fields"],
        5: ["partial-group"],
        9: ["no-exposure"],
        17: ["detector-region"],
        19: ["region", "detector-outside"],
        24: ["off-sky"],
        34: ["no-visit"],
        40: ["failed"],
    }
    for number, wanted in of_exposures.items():
        assert kinds(check(butler, where=f"exposure = {ids(number)[0]}")) == wanted, number


@pytest.mark.sqlite_only
def test_visit_systems(make_survey: MakeSurvey) -> None:
    butler = defined(make_survey, COUNTER)
    # More visit systems than an algorithm has do no harm.
    assert kinds(check(butler, "one-to-one", f"exposure = {ids(1)[0]}")) == []
    delete_rows(butler, "visit_system_membership", visit=ids(1)[0], visit_system=2)
    (found,) = check(butler, COUNTER).findings
    assert (found.kind.value, found.visit) == ("no-membership", ids(1)[0])
    assert "by-seq-start-end" in found.text and "one-to-one" not in found.text


@pytest.mark.sqlite_only
def test_visits_of_another_grouping(make_survey: MakeSurvey) -> None:
    """They are none of this one's, but have a region that their detectors are to be in."""
    butler = defined(make_survey, GROUP)
    replace_region(butler, grow(2.5), visit_id(2), 0)
    correct(butler, exposure(4), tracking_ra=None)
    make_task(butler, "one-to-one").run(data_ids(ids(1, 2, 3)))
    assert kinds(check(butler, "one-to-one")) == ["detector-outside", "off-sky"]


@pytest.mark.sqlite_only
def test_rounding_is_no_difference(make_survey: MakeSurvey) -> None:
    butler = defined(make_survey)
    replace_region(butler, grow(1e-8), visit_id(2), 0)
    assert kinds(check(butler)) == []
    exact = check_visits(make_task(butler, GROUP, regionTolerance=0), INSTRUMENT)
    assert kinds(exact) == ["detector-region"]


# The command line


def check_command(butler: Butler, *arguments: str) -> Result:
    return visits_command("check", root(butler), INSTRUMENT, *arguments)


@pytest.mark.sqlite_only
def test_command_line(make_survey: MakeSurvey) -> None:
    butler = defined(make_survey, "one-to-one")
    result = check_command(butler)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "SimCam: 4 visits stored, 4 exposures on the sky, checked with one-to-one and single-raw-wcs.",
        "Nothing is wrong with them.",
    ]
    add_exposures(butler, [exposure(number) for number in range(10, 22)])
    result = check_command(butler)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[1:4] == ["12 findings.", "", "no-visit (12): exposures on the sky whose visit is not defined"]
    (tenth,) = ids(10)
    assert lines[4] == f"  Visit {tenth} (SC_O_20260401_000010) of exposure {tenth} is not defined."
    assert lines[14:] == ["  And 2 more; --format json lists all.", "  --repair fixes these."]
    result = check_command(butler, "--where", f"exposure < {tenth}")
    assert result.exit_code == 0, result.output


@pytest.mark.sqlite_only
def test_json(make_survey: MakeSurvey) -> None:
    butler = defined(make_survey, "one-to-one")
    result = check_command(butler, "--format", "json")
    assert result.exit_code == 0
    sound = json.loads(result.stdout)
    (visit,) = ids(2)
    replace_region(butler, grow(2.5), visit, CENTRE)
    result = check_command(butler, "--format", "json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert list(sound) == list(report) and list(sound["counts"]) == list(report["counts"])
    assert set(sound["counts"].values()) == {0}
    (finding,) = report.pop("findings")
    assert finding.pop("distance_arcsec") == pytest.approx(2.5, rel=1e-4)
    assert finding == {
        "kind": "detector-region",
        "visit": visit,
        "exposures": [],
        "detectors": [CENTRE],
        "repairable": False,
        "text": f"Visit {visit} (SC_O_20260401_000002): the region of detector {CENTRE} differs by up to 2.5 arcsec.",
    }
    assert report == {
        "instrument": INSTRUMENT,
        "grouping": "one-to-one",
        "regions": "single-raw-wcs",
        "n_exposures": 4,
        "n_visits": 4,
        "n_other_visits": 0,
        "untold": [],
        "sound": False,
        "counts": {**sound["counts"], "detector-region": 1},
        "repair": None,
    }


@pytest.mark.sqlite_only
@pytest.mark.parametrize("error", [OverflowError("too large"), DataError("", {}, Exception("value out of range"))])
def test_expression_that_is_not_to_blame(
    make_survey: MakeSurvey, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """What the database says to a visit is no fault of the expression that selected it."""
    butler = defined(make_survey)

    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr("butler_visits.check.checking.Checker.check_chunk", fail)
    result = check_command(butler, "--where", "exposure > 0")
    assert result.exit_code == 2
    assert "is not a valid expression" not in result.output


@pytest.mark.sqlite_only
def test_config_and_errors(make_survey: MakeSurvey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would be computed depends on the config, and scripts can tell what was not checked from what is wrong."""
    butler = defined(make_survey)
    assert check_command(butler, "-c", f"groupExposures={GROUP}").exit_code == 0
    result = check_command(butler, "-c", f"groupExposures={GROUP}", "-c", "computeVisitRegions.active.padding=300")
    assert result.exit_code == 1
    # 50 pixels of 0.2 arcsec along both axes.
    assert "region (3): visits whose region would be computed differently now, by up to 14.1 arcsec" in result.stdout
    assert result.stdout.count("do not use it where the regions are meant to differ") == 2
    for arguments, message in [
        ((tmp_path / "nothing", INSTRUMENT), "There is no data repository at"),
        ((root(butler), "NoCam"), "No instrument 'NoCam' is registered"),
        ((root(butler), INSTRUMENT, "--where", "exposure = = 1"), "is not a valid expression"),
        ((root(butler), INSTRUMENT, "--where", "exposure = 1"), "No exposure of SimCam matches 'exposure = 1'"),
        ((root(butler), INSTRUMENT, "--format", "xml"), "'xml' is not one of"),
        ((root(butler), INSTRUMENT, "-c", "nothing=1"), "nothing=1"),
    ]:
        result = visits_command("check", *arguments)
        assert result.exit_code == 2, result.output
        assert message in result.stderr and result.stdout == ""

    # The exit status that Python has for errors would mean findings.
    def broken(*args: object, **options: object) -> None:
        raise ZeroDivisionError("this is ours")

    monkeypatch.setattr("butler_visits.check.check_visits", broken)
    result = check_command(butler)
    assert result.exit_code == 2
    assert "ZeroDivisionError: this is ours" in result.stderr and result.stdout == ""
