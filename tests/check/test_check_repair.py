"""What a repair mends, and that it leaves all else byte for byte as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from lsst.daf.butler import Butler

from broken_visits import (
    CENTRE,
    COUNTER,
    EXPOSURES,
    GROUP,
    ONE_WAY,
    broken,
    check,
    correct,
    defined,
    delete_detector,
    grow,
    ids,
    kinds,
    replace_region,
    same,
    snaps,
    visit_id,
)
from butler_visits.check import CheckReport, repair_visits
from butler_visits.define.write import write_visits
from command_line import visits_command
from simulated_survey import INSTRUMENT, insert_exposures
from visit_tables import (
    Tables,
    add_exposures,
    counts,
    data_ids,
    exposure,
    make_read_only,
    make_task,
    root,
    tables,
)

MakeSurvey = Callable[..., Butler]


def repair(butler: Butler, grouping: str = GROUP, where: str = "") -> CheckReport:
    return repair_visits(make_task(butler, grouping), INSTRUMENT, where)


def done(report: CheckReport) -> tuple[int, int]:
    """Return how many visits were defined and completed."""
    assert report.repair is not None
    assert report.repair.failures == []
    return report.repair.n_new, report.repair.n_updated


def without(found: Tables, *visits: int) -> Tables:
    """Return the rows that do not have the id of any of some visits."""
    return {
        element: [row for row in rows if set(visits).isdisjoint(value for value in row if isinstance(value, int))]
        for element, rows in found.items()
    }


@pytest.mark.parametrize("grouping", [GROUP, COUNTER])
def test_all_is_as_if_defined_at_once(make_survey: MakeSurvey, grouping: str) -> None:
    """Missing visits, groups in part and lost detectors."""
    complete = defined(make_survey, grouping)
    expected = tables(complete)
    report = repair(complete, grouping)
    assert report.sound and done(report) == (0, 0)
    assert tables(complete) == expected

    butler = make_survey()
    add_exposures(butler, EXPOSURES[:2])
    make_task(butler, grouping).run(data_ids(ids(1, 2)))
    add_exposures(butler, EXPOSURES[2:])
    single, snap = (visit_id(1), visit_id(2)) if grouping == GROUP else ids(1, 2)
    delete_detector(butler, single, 3)
    delete_detector(butler, snap, 5)
    report = repair(butler, grouping)
    assert report.sound, str(report)
    assert done(report) == {GROUP: (1, 2), COUNTER: (2, 2)}[grouping]
    assert tables(butler) == expected


def test_broken_in_many_ways(make_survey: MakeSurvey) -> None:
    """What the check says of each visit comes true: it is mended, or no byte of it has changed."""
    butler = broken(make_survey)
    before = tables(butler)
    report = repair(butler)
    mended = {visit for _, visit, *_, repairable in ONE_WAY if repairable}
    left = [one for one in ONE_WAY if not one[-1]]
    assert len(report.findings) == len(left), str(report)
    assert all(same(finding, expected) for finding, expected in zip(report.findings, left, strict=True))
    assert done(report) == (1, len(mended) - 1)
    assert without(tables(butler), *mended) == without(before, *mended)
    text = str(report)
    assert text.startswith(f"Repaired: 1 visit defined, {len(mended) - 1} visits completed.\n")
    assert "--repair fixes" not in text


@pytest.mark.parametrize("universe", [0, 5])
def test_old_universes(make_survey: MakeSurvey, universe: int) -> None:
    butler = make_survey(universe)
    insert_exposures(butler, EXPOSURES)
    # The whole group of an exposure, and nothing else.
    report = repair(butler, where=f"exposure = {ids(3)[0]}")
    assert report.sound and done(report) == (1, 0)
    assert kinds(check(butler)) == ["no-visit"] * 2
    assert done(repair(butler)) == (2, 0)


@pytest.mark.sqlite_only
def test_visits_that_differ_get_nothing(make_survey: MakeSurvey) -> None:
    """Their regions may be those of a fit, beside which computed ones would not fit."""
    butler = defined(make_survey)
    replace_region(butler, grow(2.5), visit_id(1), None)
    replace_region(butler, grow(2.5), visit_id(2), CENTRE)
    correct(butler, exposure(4), target_name="M 31")
    for start in (1, 2, 4):
        delete_detector(butler, visit_id(start), 8)
    before = tables(butler)
    report = repair(butler)
    assert kinds(report) == [*["no-detector-region"] * 3, "fields", "region", "detector-region"]
    assert not any(finding.repairable for finding in report.findings)
    assert tables(butler) == before


@pytest.mark.sqlite_only
@pytest.mark.parametrize(("detector", "kind"), [(None, "region"), (CENTRE, "detector-region")])
def test_group_with_fitted_regions_is_not_completed(make_survey: MakeSurvey, detector: int | None, kind: str) -> None:
    butler = make_survey()
    make_task(butler, GROUP).run(data_ids(add_exposures(butler, snaps(2)[:1])))
    replace_region(butler, grow(0.5), visit_id(2), detector)
    add_exposures(butler, snaps(2)[1:])
    before = tables(butler)
    report = repair(butler)
    assert kinds(report) == ["partial-group", kind]
    assert done(report) == (0, 0)
    assert tables(butler) == before
    assert "'define-visits --incremental' completes them" in str(report)
    # Also if the fit is close enough to be no finding.
    report = repair_visits(make_task(butler, GROUP, regionTolerance=60), INSTRUMENT)
    assert kinds(report) == ["partial-group"]
    assert tables(butler) == before


@pytest.mark.sqlite_only
def test_sibling_with_fitted_region_is_left(make_survey: MakeSurvey) -> None:
    """``incremental`` would replace the other visits of a group's exposures as well."""
    butler = make_survey()
    make_task(butler, COUNTER).run(data_ids(add_exposures(butler, snaps(2)[:1])))
    first = int(f"9{ids(2)[0]}")
    replace_region(butler, grow(2.5), first, None)
    add_exposures(butler, snaps(2)[1:])
    before = tables(butler)
    report = repair(butler, COUNTER)
    assert kinds(report) == ["region"] and report.findings[0].visit == first
    assert done(report) == (1, 1)
    both = ids(2, 3)
    assert without(tables(butler), *both) == without(before, *both)


@pytest.mark.sqlite_only
def test_one_to_one_visits_become_no_groups(make_survey: MakeSurvey) -> None:
    """A repair with another grouping puts no exposure into two visits of one visit system.

    It puts a visit of the same exposures into more visit systems, and that is all.
    """
    butler = defined(make_survey, "one-to-one")
    before = tables(butler)
    report = repair(butler, COUNTER)
    assert done(report) == (0, 2)
    assert kinds(report) == ["no-visit", "clashing-id"]
    after = tables(butler)
    assert set(after["visit_system_membership"]) - set(before["visit_system_membership"]) == {
        (INSTRUMENT, 2, visit) for visit in ids(1, 4)
    }
    changed = {"visit_system", "visit_system_membership"}
    assert {element for element in before if after[element] != before[element]} == changed


@pytest.mark.sqlite_only
def test_interrupted(make_survey: MakeSurvey, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was mended before is whole, and the rest can be mended later."""
    butler = make_survey()
    add_exposures(butler, EXPOSURES)
    written: list[object] = []

    def interrupted(*args: Any, **options: Any) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(args)
        write_visits(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr("butler_visits.check.repair.write_visits", interrupted)
        with pytest.raises(KeyboardInterrupt):
            repair_visits(make_task(butler, "one-to-one", chunkSize=1), INSTRUMENT)
    assert kinds(check(butler, "one-to-one")) == ["no-visit"] * 2
    assert done(repair(butler, "one-to-one")) == (2, 0)


@pytest.mark.sqlite_only
def test_command_line(make_survey: MakeSurvey) -> None:
    butler = defined(make_survey, "one-to-one")
    add_exposures(butler, [exposure(7)])
    replace_region(butler, grow(2.5), ids(2)[0], None)
    arguments = ("check", root(butler), INSTRUMENT, "--repair")
    result = visits_command(*arguments, "--format", "json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["repair"] == {"n_new": 1, "n_updated": 0, "failures": []}
    assert {kind for kind, number in report["counts"].items() if number} == {"region"}

    # What is left is said with what can be done about it.
    result = visits_command(*arguments)
    assert result.exit_code == 1
    assert "'define-visits --update-records' replaces what is stored" in result.stdout
    assert counts(make_task(butler).run(data_ids(ids(1, 2, 3, 4)), update_records=True))["n_fully_updated"] == 4
    result = visits_command(*arguments)
    assert result.exit_code == 0, result.output

    add_exposures(butler, [exposure(8)])
    make_read_only(butler)
    butler.close()
    result = visits_command(*arguments[:-1])
    assert result.exit_code == 1 and "no-visit (1)" in result.stdout
    result = visits_command(*arguments)
    assert result.exit_code == 2
    assert "attempt to write a readonly database" in result.stderr and "Traceback" not in result.output
