"""What a check says of damaged rows, missing cameras, visits of other groupings, and of repairs that cannot be done."""

from __future__ import annotations

import json
import math
import struct
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result
from lsst.daf.butler import Butler

import butler_visits.check.repair
from broken_visits import (
    EXPOSURES,
    GROUP,
    check,
    correct,
    defined,
    delete_detector,
    execute,
    grow,
    ids,
    kinds,
    replace_region,
    snaps,
    visit_id,
)
from butler_visits.check import check_visits, repair_visits
from butler_visits.repository import remove_visits
from command_line import visits_command
from simulated_survey import INSTRUMENT
from visit_tables import add_exposures, data_ids, delete_rows, exposure, make_task, root, tables

pytestmark = pytest.mark.sqlite_only

MakeSurvey = Callable[..., Butler]

SHORT = b64encode(b"p\0\0").decode()
NO_NUMBER = b64encode(b"p" + struct.pack("<9d", 1, 0, 0, math.nan, 1, 0, 0, 0, 1)).decode()


def repair(butler: Butler, grouping: str = GROUP, **fields: Any) -> Any:
    return repair_visits(make_task(butler, grouping, **fields), INSTRUMENT)


def command(butler: Butler, *arguments: str, grouping: str = GROUP) -> Result:
    return visits_command("check", root(butler), INSTRUMENT, "-c", f"groupExposures={grouping}", *arguments)


def remove_cameras(butler: Butler) -> None:
    refs = butler.query_datasets("camera_geometry", collections="SimCam/calib", find_first=False)
    butler.pruneDatasets(refs, disassociate=True, unstore=True, purge=True)


# Expressions that cut groups


def test_joined_exposure_that_is_not_selected(make_survey: MakeSurvey) -> None:
    """What is said of a visit is the same, whichever of its exposures is asked for."""
    butler = make_survey()
    make_task(butler, GROUP).run(data_ids(add_exposures(butler, [snaps(4)[0], *snaps(8)])))
    correct(butler, snaps(4)[0], tracking_ra=None)
    correct(butler, snaps(8)[0], group="2026-05-01T00:00:00.111")
    add_exposures(butler, [snaps(4)[1], exposure(10, seq_start=8, seq_end=10)])
    assert kinds(check(butler, where=f"exposure = {ids(5)[0]}")) == ["clashing-id", "off-sky"]
    of_moved = check(butler, where=f"exposure = {ids(10)[0]}")
    assert kinds(of_moved) == ["partial-group", "extra-exposure"]
    assert kinds(check(butler)) == ["no-visit", "partial-group", "clashing-id", "extra-exposure", "off-sky"]


def test_clash_with_an_exposure_that_is_not_selected(make_survey: MakeSurvey) -> None:
    butler = make_survey()
    groups = {37: "2026-04-01T23:59:37.000", 38: "20260401T235937.000"}
    add_exposures(butler, [exposure(number, group=group) for number, group in groups.items()])
    report = repair_visits(make_task(butler, GROUP), INSTRUMENT, f"exposure = {ids(37)[0]}")
    assert report.repair is not None and report.repair.n_new == 0
    assert [(finding.kind.value, finding.exposures) for finding in report.findings] == [("clashing-id", ids(37))]


# Damage


def test_damaged_regions(make_survey: MakeSurvey) -> None:
    butler = make_survey()
    make_task(butler, GROUP).run(data_ids(add_exposures(butler, [*EXPOSURES, *map(exposure, (10, 11, 12, 13))])))
    correct(butler, exposure(11), group="2026-05-01T00:00:00.111")
    detectors = {(1, 3): SHORT, (2, 0): NO_NUMBER, (2, 5): "!!", (11, 4): SHORT}
    execute(
        butler,
        *(
            f"UPDATE visit_detector_region SET region = '{text}' WHERE visit = {visit_id(start)} AND detector = {one}"
            for (start, one), text in detectors.items()
        ),
        *(f"UPDATE visit SET region = '{SHORT}' WHERE id = {visit_id(start)}" for start in (4, 11)),
        f"UPDATE visit SET region = '{NO_NUMBER}' WHERE id = {visit_id(10)}",
    )
    expected = [(1, [3]), (2, [0, 5]), (4, []), (10, []), (11, []), (11, [4])]
    result = command(butler, "--format", "json")
    assert result.exit_code == 1, result.output

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    report = json.loads(result.stdout, parse_constant=refuse)
    found = [(f["visit"], f["detectors"]) for f in report["findings"] if f["kind"] == "unreadable-region"]
    assert found == [(visit_id(start), detectors) for start, detectors in expected]
    others = [f["kind"] for f in report["findings"] if f["kind"] != "unreadable-region"]
    assert others == ["no-visit", "unexpected-visit"]
    assert all(f["distance_arcsec"] is None for f in report["findings"])

    # The advice holds.
    text = str(check(butler))
    assert (
        "'define-visits --update-records' replaces the regions of detectors; where that of a visit is damaged" in text
    )
    remove_visits(butler, INSTRUMENT, [visit_id(4), visit_id(10), visit_id(11)])
    make_task(butler, GROUP).run(data_ids(ids(1, 2, 3, 4, 10, 11)), update_records=True)
    assert check(butler).sound


# Repairs


def test_fit_that_comes_during_a_repair(make_survey: MakeSurvey, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not there when visits were checked is not overwritten."""
    butler = make_survey()
    make_task(butler, GROUP).run(data_ids(add_exposures(butler, [snaps(4)[0], exposure(1)])))
    delete_detector(butler, visit_id(1), 3)
    add_exposures(butler, [snaps(4)[1], exposure(7)])
    plan_visits = butler_visits.check.repair.plan_visits
    fitted: list[Any] = []

    def late(*args: Any) -> Any:
        if not fitted:
            replace_region(butler, grow(2.5), visit_id(1), None)
            replace_region(butler, grow(2.5), visit_id(4), None)
            fitted.append(without(butler, visit_id(7)))
        return plan_visits(*args)

    with monkeypatch.context() as patch:
        patch.setattr(butler_visits.check.repair, "plan_visits", late)
        report = repair(butler)
    assert without(butler, visit_id(7)) == fitted[0]
    assert report.repair is not None and (report.repair.n_new, report.repair.n_updated) == (1, 0)
    assert {failure.exposures for failure in report.repair.failures} == {ids(1), ids(4, 5)}
    assert "has changed" in str(report) and "check again" in str(report)
    assert kinds(report) == ["partial-group", "no-detector-region", "region", "region"]


def without(butler: Butler, visit: int) -> Any:
    return {
        element: [row for row in rows if visit not in row and (visit - 1) not in row]
        for element, rows in tables(butler).items()
    }


def test_late_first_snap_with_a_large_tolerance(make_survey: MakeSurvey) -> None:
    """The visit and its detectors take the pointing of the first snap together."""
    butler = make_survey()
    make_task(butler, GROUP).run(data_ids(add_exposures(butler, snaps(4)[1:])))
    add_exposures(butler, snaps(4)[:1])
    assert repair(butler, regionTolerance=60).repair.n_updated == 1
    assert kinds(check(butler)) == []


def test_detectors_that_are_not_registered(make_survey: MakeSurvey) -> None:
    """A repair promises nothing that it cannot do."""
    butler = make_survey()
    make_task(butler, GROUP).run(data_ids(add_exposures(butler, [exposure(1), *snaps(2)[:1]])))
    add_exposures(butler, [snaps(2)[1], exposure(4)])
    execute(butler, "DELETE FROM visit_detector_region WHERE detector = 8", "DELETE FROM detector WHERE id = 8")
    report = repair(butler)
    assert kinds(report) == ["partial-group", "failed", "no-detector-region", "no-detector-region"]
    assert not any(finding.repairable for finding in report.findings)
    assert report.repair.failures == []
    assert str(report).count("The camera's detector 8 must be registered first.") == 3


def test_repairs_that_fail(make_survey: MakeSurvey, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not all are printed, and none is promised again."""
    butler = make_survey()
    add_exposures(butler, [exposure(number) for number in range(1, 15)])

    def refuse(*args: object, **options: object) -> None:
        raise RuntimeError("refused")

    monkeypatch.setattr("butler_visits.check.repair.write_visits", refuse)
    report = repair(butler)
    assert kinds(report) == ["no-visit"] * 14
    assert not any(finding.repairable for finding in report.findings)
    lines = str(report).splitlines()
    assert sum(line.startswith("Could not be repaired: Exposure") for line in lines) == 10
    assert "Nor could 4 more; --format json lists all." in lines
    assert "--repair fixes" not in str(report)


# What is stored of visits that cannot be compared


def test_detectors_of_visits_that_are_not_compared(make_survey: MakeSurvey) -> None:
    """Visits of another grouping, and those of which nothing can be computed, lose detectors as well."""
    butler = defined(make_survey, GROUP)
    make_task(butler, "one-to-one").run(data_ids(ids(1, 2, 3, 4)))
    delete_detector(butler, visit_id(1), 3)
    correct(butler, snaps(2)[1], physical_filter="g_sim")
    delete_detector(butler, visit_id(2), 4)
    replace_region(butler, grow(2.5), visit_id(2), 0)
    execute(butler, f"UPDATE visit_detector_region SET region = NULL WHERE visit = {visit_id(2)} AND detector = 5")
    found = [(f.kind.value, f.visit, f.detectors) for f in check(butler, GROUP).findings]
    of_two = [
        ("no-detector-region", visit_id(2), (4,)),
        ("null-region", visit_id(2), (5,)),
        ("detector-outside", visit_id(2), (0,)),
    ]
    assert found == [("failed", visit_id(2), ()), ("no-detector-region", visit_id(1), (3,)), *of_two]
    report = check(butler, "one-to-one")
    found = [(f.kind.value, f.visit, f.detectors) for f in report.findings]
    assert [one for one in found if one[1] != ids(3)[0]] == [("no-detector-region", visit_id(1), (3,)), *of_two]
    assert report.n_other_visits == 3


def test_another_grouping(make_survey: MakeSurvey) -> None:
    butler = defined(make_survey, GROUP)
    result = command(butler, grouping="one-to-one")
    assert result.exit_code == 1
    assert "3 visits of other groupings, not compared; check these with the config" in result.stdout
    before = tables(butler)
    result = command(butler, "--repair", grouping="one-to-one")
    assert result.exit_code == 2
    assert "None of the 3 visits of SimCam is of a visit system of one-to-one." in result.stderr
    assert tables(butler) == before
    # One of its visit systems is enough.
    make_task(butler, "one-to-one").run(data_ids(ids(1)))
    assert check(butler, "one-to-one").n_other_visits == 3
    assert repair(butler, "one-to-one").repair.n_new == 3


def test_no_camera(make_survey: MakeSurvey) -> None:
    """It is said once, and what needs none is checked all the same."""
    butler = defined(make_survey, GROUP)
    add_exposures(butler, [exposure(7)])
    delete_detector(butler, visit_id(1), 3)
    replace_region(butler, grow(2.5), visit_id(2), 0)
    execute(butler, f"UPDATE visit SET region = NULL WHERE id = {visit_id(4)}")
    remove_cameras(butler)
    report = check_visits(make_task(butler, GROUP, chunkSize=1), INSTRUMENT)
    assert [(f.kind.value, f.visit, f.exposures, f.detectors) for f in report.findings] == [
        ("no-camera", None, ids(1, 2, 3, 4, 7), ()),
        ("no-detector-region", visit_id(1), (), (3,)),
        ("null-region", visit_id(4), (), ()),
        ("detector-outside", visit_id(2), (), (0,)),
    ]
    text = str(report)
    assert "there is no camera or camera_geometry dataset in" in text
    assert "butler-visits write-camera" in text and "Correct the exposures" not in text
    assert not any(finding.repairable for finding in report.findings)
    delete_rows(butler, "visit_definition", visit=visit_id(2))
    assert kinds(check(butler))[:2] == ["no-camera", "no-definition"]
