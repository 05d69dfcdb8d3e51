"""What a check finds in repositories that were broken in many ways, and that it finds nothing in sound ones."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from lsst.daf.butler import Butler
from lsst.sphgeom import Circle, ConvexPolygon, Region, UnitVector3d
from sqlalchemy import text

import butler_visits.cli.check
from butler_visits import DefineVisitsTask
from butler_visits.check import CheckReport, Finding, check_visits
from command_line import visits_command
from simulated_survey import INSTRUMENT, insert_exposures
from stored_visits import make_config, read_records
from test_golden_repos import INSTRUMENTS, STORED
from test_universes import mixed_night
from visit_tables import (
    DAY,
    add_exposures,
    connect,
    data_ids,
    delete_rows,
    engine,
    exposure,
    make_task,
    root,
    tables,
)

MakeSurvey = Callable[..., Butler]

GROUP = "by-group-metadata"
COUNTER = "one-to-one-and-by-counter"
CENTRE = 4
"""The detector in the middle."""
ALL = tuple(range(9))
ARCSEC = np.pi / 180 / 3600


def ids(*numbers: int) -> tuple[int, ...]:
    """Return the ids of exposures by their numbers."""
    return tuple(DAY * 100000 + number for number in numbers)


def visit_id(seq_start: int) -> int:
    """Return the id of a group's visit: the digits of its name."""
    return 20260401235900000 + 1000 * seq_start


def snaps(seq_start: int, **changes: Any) -> list[dict[str, Any]]:
    """Describe two exposures of one group."""
    return [
        exposure(number, seq_start=seq_start, seq_end=seq_start + 1, **changes) for number in (seq_start, seq_start + 1)
    ]


EXPOSURES = [exposure(1), *snaps(2), exposure(4)]


def defined(make_survey: MakeSurvey, grouping: str = GROUP) -> Butler:
    """Make a repository with the visits of two single exposures and of two snaps."""
    butler = make_survey()
    make_task(butler, grouping).run(data_ids(add_exposures(butler, EXPOSURES)))
    return butler


def check(butler: Butler, grouping: str = GROUP, where: str = "") -> CheckReport:
    return check_visits(make_task(butler, grouping), INSTRUMENT, where)


def kinds(report: CheckReport) -> list[str]:
    return [finding.kind.value for finding in report.findings]


def correct(butler: Butler, one: dict[str, Any], **changes: Any) -> None:
    """Correct the record of an exposure."""
    add_exposures(butler, [{**one, **changes}], replace=True)


def execute(butler: Butler, *statements: str) -> None:
    """Change rows behind the Butler's back, whatever refers to them."""
    if engine(butler).dialect.name == "postgresql":
        with connect(butler) as connection:
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            changed = [connection.execute(text(statement)).rowcount for statement in statements]
    else:
        # Without the Butler's settings SQLite does not look at what refers to a row.
        with closing(sqlite3.connect(root(butler) / "gen3.sqlite3")) as database, database:
            changed = [database.execute(statement).rowcount for statement in statements]
    assert all(number > 0 for number in changed)


def grown(region: ConvexPolygon, arcsec: float) -> ConvexPolygon:
    """Move each vertex away from the middle; that far it is from the old outline."""
    vertices = np.array([[v.x(), v.y(), v.z()] for v in region.getVertices()])
    away = vertices - vertices.mean(axis=0)
    away -= (away * vertices).sum(axis=1, keepdims=True) * vertices
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    return ConvexPolygon([UnitVector3d(*vertex) for vertex in vertices + np.tan(arcsec * ARCSEC) * away])


def grow(arcsec: float) -> Callable[[ConvexPolygon], ConvexPolygon]:
    return lambda region: grown(region, arcsec)


def replace_region(butler: Butler, change: Callable[[ConvexPolygon], Region], visit: int, detector: int | None) -> None:
    """Store another region of a visit, or of a detector of it."""
    element = "visit" if detector is None else "visit_detector_region"
    keys = {"visit": visit} if detector is None else {"visit": visit, "detector": detector}
    with butler.query() as query:
        (record,) = query.dimension_records(element).where({"instrument": INSTRUMENT, **keys})
    fields = {**record.toDict(), "region": change(record.region)}
    butler.registry.insertDimensionData(element, butler.dimensions[element].RecordClass(**fields), replace=True)


def delete_detector(butler: Butler, visit: int, detector: int) -> None:
    for table in ("visit_detector_region", "visit_detector_region_skypix_overlap"):
        delete_rows(butler, table, visit=visit, detector=detector)


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
        assert report.sound, str(report)
        assert report.n_visits == n_visits
    assert str(report).endswith("Nothing is wrong with them.")


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
    assert kinds(report) == ["fields"]
    assert "visit_system is stored as 1 and is now 0" in report.findings[0].text


# Broken ones


def broken(make_survey: MakeSurvey) -> Butler:
    """Make a repository of many groups, each broken in one way."""
    butler = make_survey()
    late = snaps(4)[1], *snaps(33)
    in_time = [exposure(1), *snaps(2), snaps(4)[0], *snaps(6), *snaps(8)]
    in_time += [exposure(number) for number in range(10, 30)]
    make_task(butler, GROUP).run(data_ids(add_exposures(butler, in_time)))
    # Exposures that come late, of a group that is there and of one that is not.
    add_exposures(butler, late)
    delete_rows(butler, "visit_definition", visit=visit_id(6))
    delete_rows(butler, "visit_definition", visit=visit_id(10))
    delete_rows(butler, "visit_system_membership", visit=visit_id(11))
    delete_detector(butler, visit_id(12), 7)
    execute(
        butler,
        f"UPDATE visit SET region = NULL WHERE id = {visit_id(13)}",
        f"UPDATE visit_detector_region SET region = NULL WHERE visit = {visit_id(14)} AND detector = {CENTRE}",
        f"DELETE FROM exposure WHERE id IN ({ids(8)[0]}, {ids(15)[0]})",
    )
    replace_region(butler, grow(2.5), visit_id(16), None)
    replace_region(butler, grow(2.5), visit_id(17), CENTRE)
    replace_region(butler, grow(2.5), visit_id(18), 0)
    replace_region(butler, grow(-1.0), visit_id(19), None)
    replace_region(butler, lambda region: Circle(region.getCentroid()), visit_id(20), None)
    replace_region(butler, lambda region: Circle(region.getCentroid()), visit_id(21), CENTRE)
    correct(butler, exposure(22), target_name="M 31", zenith_angle=45.0)
    correct(butler, exposure(23), tracking_dec=exposure(23)["tracking_dec"] + 3 / 3600)
    correct(butler, exposure(24), tracking_ra=None)
    # Two that change places, one that goes to another group and one that founds one.
    correct(butler, exposure(25), group=exposure(26)["group"])
    correct(butler, exposure(26), group=exposure(25)["group"])
    correct(butler, snaps(2)[1], group=exposure(27)["group"])
    correct(butler, exposure(28), group="2026-04-02T00:00:00.035")
    # Groups with the digits of another, of which one is defined and two are not.
    add_exposures(butler, [exposure(36, group="20260401T235929.000")])
    clashing = {37: "2026-04-01T23:59:37.000", 38: "20260401T235937.000"}
    add_exposures(butler, [exposure(number, group=group) for number, group in clashing.items()])
    # A group with two filters, and one whose name a visit has.
    add_exposures(butler, [snaps(39)[0], {**snaps(39)[1], "physical_filter": "g_sim"}])
    add_exposures(butler, [exposure(41)])
    execute(butler, f"UPDATE visit SET name = '{exposure(41)['group']}' WHERE id = {visit_id(1)}")
    return butler


ONE_WAY: list[tuple[str, int, tuple[int, ...], tuple[int, ...], float | None, bool]] = [
    # Kind, visit, exposures, detectors, distance, repairable
    ("no-visit", visit_id(33), ids(33, 34), (), None, True),
    ("no-visit", 20260402000000035, ids(28), (), None, False),
    ("partial-group", visit_id(4), ids(5), (), None, True),
    ("partial-group", visit_id(27), ids(3), (), None, False),
    ("failed", visit_id(39), ids(39, 40), (), None, False),
    ("clashing-id", visit_id(25), ids(26), (), None, False),
    ("clashing-id", visit_id(26), ids(25), (), None, False),
    ("clashing-id", visit_id(29), ids(29), (), None, False),
    ("clashing-id", visit_id(29), ids(36), (), None, False),
    ("clashing-id", visit_id(37), ids(37), (), None, False),
    ("clashing-id", visit_id(37), ids(38), (), None, False),
    ("clashing-name", visit_id(41), ids(41), (), None, False),
    # define-visits joins exposures to a visit of several only.
    ("no-definition", visit_id(6), ids(6, 7), (), None, True),
    ("no-definition", visit_id(10), ids(10), (), None, False),
    ("no-membership", visit_id(11), (), (), None, False),
    ("no-detector-region", visit_id(12), (), (7,), None, True),
    ("null-region", visit_id(13), (), (), None, False),
    ("null-region", visit_id(14), (), (CENTRE,), None, False),
    ("fields", visit_id(1), (), (), None, False),
    ("fields", visit_id(22), (), (), None, False),
    ("region", visit_id(16), (), (), 2.5, False),
    ("region", visit_id(19), (), (), 1.0, False),
    ("region", visit_id(20), (), (), None, False),
    ("region", visit_id(23), (), (), 3.0, False),
    ("detector-region", visit_id(17), (), (CENTRE,), 2.5, False),
    ("detector-region", visit_id(18), (), (0,), 2.5, False),
    ("detector-region", visit_id(21), (), (CENTRE,), None, False),
    ("detector-region", visit_id(23), (), ALL, 3.0, False),
    ("detector-outside", visit_id(18), (), (0,), 2.5, False),
    # All but the detector in the middle are at the edge.
    ("detector-outside", visit_id(19), (), (0, 1, 2, 3, 5, 6, 7, 8), 1.0, False),
    ("extra-exposure", visit_id(2), ids(3), (), None, False),
    ("no-exposure", visit_id(8), ids(8), (), None, False),
    ("no-exposure", visit_id(15), ids(15), (), None, False),
    ("off-sky", visit_id(24), ids(24), (), None, False),
    ("unexpected-visit", visit_id(28), ids(28), (), None, False),
]


def same(finding: Finding, expected: tuple[str, int, tuple[int, ...], tuple[int, ...], float | None, bool]) -> bool:
    """Compare a finding; a distance is that of a vertex that was moved, or less where others moved along an edge."""
    kind, visit, exposures, detectors, distance, repairable = expected
    near = finding.distance is None if distance is None else 0.6 < (finding.distance or 0) / distance < 1 + 1e-4
    found = finding.kind.value, finding.visit, finding.exposures, finding.detectors, finding.repairable
    return near and found == (kind, visit, exposures, detectors, repairable)


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
    assert lines[14:] == ["  And 2 more; --format json lists all.", "  --repair mends these."]
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
        "sound": False,
        "counts": {**sound["counts"], "detector-region": 1},
        "repair": None,
    }


@pytest.mark.sqlite_only
def test_config_and_errors(make_survey: MakeSurvey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would be computed depends on the config, and scripts can tell what was not checked from what is wrong."""
    butler = defined(make_survey)
    assert check_command(butler, "-c", f"groupExposures={GROUP}").exit_code == 0
    result = check_command(butler, "-c", f"groupExposures={GROUP}", "-c", "computeVisitRegions.active.padding=300")
    assert result.exit_code == 1
    # 50 pixels of 0.2 arcsec along both axes.
    assert "region (3): visits whose region would be computed otherwise now, by up to 14.1 arcsec" in result.stdout
    assert result.stdout.count("do not use it where the regions are meant to differ") == 2
    for arguments, message in [
        ((tmp_path / "nothing", INSTRUMENT), "There is no data repository at"),
        ((root(butler), "NoCam"), "No instrument 'NoCam' is registered"),
        ((root(butler), INSTRUMENT, "--where", "exposure = = 1"), "is no valid expression"),
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

    monkeypatch.setattr(butler_visits.cli.check, "check_visits", broken)
    result = check_command(butler)
    assert result.exit_code == 2
    assert "ZeroDivisionError: this is ours" in result.stderr and result.stdout == ""
