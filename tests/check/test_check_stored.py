"""What a check finds of groupings that changed, lost rows and days, and that what it advises mends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lsst.daf.butler import Butler, DataCoordinate
from lsst.daf.butler.registry.interfaces import DatabaseConflictError
from lsst.pipe.base import ObservationDimensionPacker
from sqlalchemy import text

from broken_visits import COUNTER, GROUP, check, correct, ids, kinds, snaps, visit_id
from butler_visits.check import CheckReport, repair_visits
from butler_visits.repository import remove_visits
from command_line import visits_command
from simulated_survey import INSTRUMENT
from visit_tables import N_DETECTORS, add_exposures, connect, data_ids, exposure, make_task, root, stored, tables

pytestmark = pytest.mark.sqlite_only

MakeSurvey = Callable[..., Butler]

ONE = "one-to-one"
EXPOSURES = [*snaps(1), exposure(3)]
FIRST, SECOND, SINGLE = ids(1, 2, 3)
OWN = int(f"9{FIRST}")


def defined(make_survey: MakeSurvey, grouping: str, exposures: list[dict[str, Any]] | None = None) -> Butler:
    butler = make_survey()
    add_exposures(butler, EXPOSURES if exposures is None else exposures)
    define(butler, grouping)
    return butler


def define(butler: Butler, grouping: str, **options: Any) -> None:
    """Define the visits of all exposures, as the advice says."""
    given = [record.id for record in stored(butler, "exposure")]
    make_task(butler, grouping).run(data_ids(given), **options)


def execute(butler: Butler, *statements: str) -> None:
    with connect(butler) as connection:
        for statement in statements:
            assert connection.execute(text(statement)).rowcount > 0


def repaired(butler: Butler, grouping: str) -> CheckReport:
    return repair_visits(make_task(butler, grouping), INSTRUMENT)


# Lost rows


@pytest.mark.parametrize("table", ["visit_definition", "visit_system_membership"])
@pytest.mark.parametrize("grouping", [ONE, GROUP, COUNTER])
@pytest.mark.parametrize("repair", [True, False])
def test_lost_rows(make_survey: MakeSurvey, grouping: str, table: str, repair: bool) -> None:
    butler = defined(make_survey, grouping)
    before = tables(butler)
    execute(butler, f"DELETE FROM {table}")
    report = check(butler, grouping)
    kind = "no-definition" if table == "visit_definition" else "no-membership"
    assert kinds(report) == [kind] * len(before["visit"])
    assert all(finding.repairable for finding in report.findings)
    if repair:
        report = repaired(butler, grouping)
        assert report.sound and report.repair is not None
        assert (report.repair.n_new, report.repair.n_updated) == (0, len(before["visit"]))
    else:
        define(butler, grouping, incremental=True)
    assert tables(butler) == before


def test_lost_rows_of_a_visit_that_differs(make_survey: MakeSurvey) -> None:
    """Its record may be meant to differ, so a repair leaves it."""
    butler = defined(make_survey, ONE)
    execute(butler, f"DELETE FROM visit_system_membership WHERE visit = {SINGLE}")
    correct(butler, EXPOSURES[2], target_name="M 31")
    before = tables(butler)
    report = repaired(butler, ONE)
    assert kinds(report) == ["no-membership", "fields"]
    assert not any(finding.repairable for finding in report.findings)
    assert tables(butler) == before
    assert "'define-visits --incremental' puts them into it" in str(report)
    define(butler, ONE, incremental=True)
    assert kinds(check(butler, ONE)) == []


def test_lost_rows_of_a_visit_that_no_exposure_gives(make_survey: MakeSurvey) -> None:
    butler = defined(make_survey, GROUP)
    execute(
        butler,
        f"DELETE FROM visit_definition WHERE visit = {visit_id(3)}",
        f"DELETE FROM visit_system_membership WHERE visit = {visit_id(3)}",
    )
    correct(butler, EXPOSURES[2], tracking_ra=None)
    report = repaired(butler, GROUP)
    assert kinds(report) == ["no-definition", "no-membership"]
    assert str(report).count("remove-visits' removes visits that no exposure would give") == 2
    remove_visits(butler, INSTRUMENT, [visit_id(3)])
    assert kinds(check(butler, GROUP)) == []


# Groupings that changed


@pytest.mark.parametrize(
    ("made", "checked", "found"),
    [
        (ONE, COUNTER, ["no-visit", "clashing-id", "no-membership"]),
        (COUNTER, ONE, ["clashing-id", "unexpected-visit"]),
    ],
)
def test_another_grouping(make_survey: MakeSurvey, made: str, checked: str, found: list[str]) -> None:
    """It says so, and nothing is advised that a visit of another grouping would be overwritten by."""
    butler = defined(make_survey, made)
    before = tables(butler)
    report = check(butler, checked)
    assert kinds(report) == found
    assert "--update-records" not in str(report)
    left = [kind for kind in found if kind != "no-membership"]
    assert kinds(repaired(butler, checked)) == left
    assert kinds(check(butler, made)) == []
    assert {element for element in before if tables(butler)[element] != before[element]} <= {
        "visit_system",
        "visit_system_membership",
    }
    # The advice holds.
    wrong = {record.id for record in stored(butler, "visit")} & {FIRST, OWN}
    remove_visits(butler, INSTRUMENT, wrong)
    define(butler, checked, incremental=True)
    assert kinds(check(butler, checked)) == []


def test_exposure_in_two_visits_of_a_system(make_survey: MakeSurvey) -> None:
    """What was left behind when a grouping changed: a one-to-one visit with both snaps."""
    butler = defined(make_survey, ONE)
    row = f"('{INSTRUMENT}', {SECOND}, {FIRST})"
    execute(butler, f"INSERT INTO visit_definition (instrument, exposure, visit) VALUES {row}")
    report = check(butler, ONE)
    assert kinds(report) == ["two-visits", "extra-exposure"]
    two = report.findings[0]
    assert (two.visit, two.exposures, two.repairable) == (FIRST, (SECOND,), False)
    assert f"{FIRST} " in two.text and f"{SECOND} " in two.text and "one-to-one" in two.text
    assert kinds(check(butler, ONE, f"exposure = {SECOND}")) == ["two-visits", "extra-exposure"]
    assert kinds(check(butler, ONE, f"exposure = {SINGLE}")) == []
    assert kinds(repaired(butler, ONE)) == ["two-visits", "extra-exposure"]
    assert "'butler-visits remove-visits' removes a visit, and 'define-visits --incremental'" in str(report)
    remove_visits(butler, INSTRUMENT, [FIRST])
    define(butler, ONE, incremental=True)
    assert kinds(check(butler, ONE)) == []
    assert tables(butler) == tables(defined(make_survey, ONE))


def test_membership_that_makes_two_visits(make_survey: MakeSurvey) -> None:
    """Through one membership too many an exposure is in two visits; others are no fault."""
    butler = defined(make_survey, COUNTER)
    define(butler, GROUP)
    assert kinds(check(butler, COUNTER)) == []
    columns = "(instrument, visit, visit_system)"
    execute(butler, f"INSERT INTO visit_system_membership {columns} VALUES ('{INSTRUMENT}', {SINGLE}, 1)")
    report = check(butler, COUNTER)
    assert [(finding.kind.value, finding.exposures) for finding in report.findings] == [("two-visits", (SINGLE,))]
    remove_visits(butler, INSTRUMENT, [SINGLE])
    define(butler, COUNTER, incremental=True)
    assert kinds(check(butler, COUNTER)) == kinds(check(butler, GROUP)) == []


@pytest.mark.parametrize("grouping", [ONE, GROUP])
def test_advice_for_what_is_removed(make_survey: MakeSurvey, grouping: str) -> None:
    """An exposure that does not exist, one off the sky, one of another group, and a visit that none would give."""
    night = [exposure(number) for number in range(1, 6)]
    butler = defined(make_survey, grouping, night)
    correct(butler, night[0], tracking_ra=None)
    correct(butler, night[1], group=night[2]["group"], id=night[1]["id"])
    report = check(butler, grouping)
    found = {finding.kind.value for finding in report.findings}
    assert found == ({"off-sky"} if grouping == ONE else {"off-sky", "partial-group", "unexpected-visit"})
    for kind in {finding.kind for finding in report.findings}:
        assert "remove-visits" in kind.advice
    wrong = [one.visit for one in report.findings if one.kind.value in ("off-sky", "unexpected-visit")]
    result = visits_command(
        "remove-visits", root(butler), INSTRUMENT, *(part for visit in wrong for part in ("--visit", visit))
    )
    assert result.exit_code == 0, result.output
    define(butler, grouping, incremental=True)
    assert kinds(check(butler, grouping)) == []


@pytest.mark.parametrize("lost", [False, True])
def test_name_that_another_visit_keeps(make_survey: MakeSurvey, lost: bool) -> None:
    """No option gives a visit the name of another one, so none is advised."""
    butler = defined(make_survey, COUNTER)
    name = f"{EXPOSURES[0]['obs_id']}_first"
    correct(butler, EXPOSURES[2], obs_id=name)
    if lost:
        execute(butler, f"DELETE FROM visit_definition WHERE visit = {SINGLE}")
    report = check(butler, COUNTER)
    assert kinds(report) == ["clashing-name", *["no-definition"] * lost]
    assert report.findings[0].visit == SINGLE
    assert f"is to be called {name!r} now, which is the name of visit {OWN}" in report.findings[0].text
    with pytest.raises(DatabaseConflictError, match=f"is that of visit {OWN}"):
        define(butler, COUNTER, update_records=True)
    correct(butler, EXPOSURES[2])
    define(butler, COUNTER, incremental=True)
    assert kinds(check(butler, COUNTER)) == []


def test_names_that_are_passed_on(make_survey: MakeSurvey) -> None:
    """Here what is advised gives them back."""
    butler = defined(make_survey, ONE)
    names = [one["obs_id"] for one in EXPOSURES[:2]]
    for name, visit in (("passing", SECOND), (names[1], FIRST), (names[0], SECOND)):
        execute(butler, f"UPDATE visit SET name = '{name}' WHERE id = {visit}")
    report = check(butler, ONE)
    assert kinds(report) == ["fields", "fields"]
    define(butler, ONE, update_records=True)
    assert kinds(check(butler, ONE)) == []


# Days


def rollover(make_survey: MakeSurvey, universe: int | None = None) -> Butler:
    """Make a repository with two snaps, one on each side of the end of a day."""
    butler = make_survey() if universe is None else make_survey(universe)
    before, after = snaps(1)
    add_exposures(butler, [before, {**after, "day_obs": before["day_obs"] + 1}])
    return butler


def test_exposures_of_two_days(make_survey: MakeSurvey, caplog: pytest.LogCaptureFixture) -> None:
    butler = rollover(make_survey)
    make_task(butler, GROUP).run(data_ids([FIRST, SECOND]))
    (warning,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    assert f"{SECOND} of 20260402" in warning and str(FIRST) not in warning and "day_obs" in warning
    report = check(butler, GROUP)
    assert [(one.kind.value, one.visit, one.exposures) for one in report.findings] == [
        ("several-days", visit_id(1), (SECOND,))
    ]
    assert "correct that of the exposures" in str(report) and "day_obs_offset_hours" not in str(report)
    # It is as the Butler's own query has it.
    with butler.query() as query:
        shown = {row["exposure"] for row in query.data_ids(["visit", "exposure"]).where(instrument=INSTRUMENT)}
    assert shown == {FIRST}
    add_exposures(butler, snaps(1), replace=True)
    define(butler, GROUP, update_records=True)
    caplog.clear()
    assert kinds(check(butler, GROUP)) == []


# Ids


def test_id_that_is_too_large(make_survey: MakeSurvey, caplog: pytest.LogCaptureFixture) -> None:
    butler = make_survey()
    execute(butler, f"UPDATE instrument SET visit_max = {visit_id(2)}")
    add_exposures(butler, [exposure(number) for number in (1, 2, 3)])
    define(butler, GROUP)
    (warning,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    assert warning.startswith(f"2 visit ids from {visit_id(2)} on not below {visit_id(2)}, the visit_max of SimCam")
    report = check(butler, GROUP)
    assert [(one.kind.value, one.visit) for one in report.findings] == [
        ("large-id", visit_id(2)),
        ("large-id", visit_id(3)),
    ]
    # What it says can be done as it stands.
    advice = report.findings[0].text.split("raise it: ")[1].rstrip(".")
    assert advice in warning
    exec(advice, {"butler": butler})
    assert kinds(check(butler, GROUP)) == []
    # And pipelines can pack the ids then.
    packer = ObservationDimensionPacker(butler.registry.expandDataId(instrument=INSTRUMENT), is_exposure=False)
    assert packer.maxBits <= 63
    last = DataCoordinate.standardize(
        instrument=INSTRUMENT, visit=visit_id(3), detector=N_DETECTORS - 1, universe=butler.dimensions
    )
    packed = packer.pack(last)
    assert isinstance(packed, int) and packer.unpack(packed) == last


def test_id_that_nothing_can_pack(make_survey: MakeSurvey, caplog: pytest.LogCaptureFixture) -> None:
    """With nine detectors there is room for ids up to 10^18, whatever the instrument's limits."""
    butler = make_survey()
    add_exposures(butler, [exposure(3, group="2026-04-01T23:59:03.00000")])
    define(butler, GROUP)
    (warning,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    (finding,) = check(butler, GROUP).findings
    assert (finding.kind.value, finding.visit) == ("large-id", 2026040123590300000)
    for said in (warning, finding.text):
        assert "Use another grouping algorithm: pipelines pack" in said and "raise it" not in said


def test_id_that_is_too_large_for_our_own_instrument(make_survey: MakeSurvey) -> None:
    """Visits that are there stay, and new ones are refused."""
    butler = make_survey()
    add_exposures(butler, [exposure(number) for number in (1, 2)])
    make_task(butler, GROUP).run(data_ids(ids(1)))
    class_name = f"butler_visits.instruments.described.{INSTRUMENT}"
    execute(butler, f"UPDATE instrument SET visit_max = 1000000000000000, class_name = '{class_name}'")
    task = make_task(butler, GROUP)
    assert task.run(data_ids(ids(1))).n_skipped == 1
    with pytest.raises(RuntimeError, match=f"Visit {visit_id(2)} is not below 1000000000000000") as error:
        task.run(data_ids(ids(1, 2)))
    result = task.run(data_ids(ids(1, 2)), on_error="skip")
    assert [failure.exposures for failure in result.failures] == [ids(2)]
    assert kinds(check(butler, GROUP)) == ["failed", "large-id"]
    exec(str(error.value).split("raise it: ")[1].rstrip("."), {"butler": butler})
    assert task.run(data_ids(ids(1, 2))).n_new == 1
    assert kinds(check(butler, GROUP)) == []
