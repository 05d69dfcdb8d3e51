"""What is stored already: visits of other groupings, names of others, lost rows, exposures that have moved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from lsst.daf.butler import Butler
from lsst.daf.butler.registry.interfaces import DatabaseConflictError
from sqlalchemy import text

from broken_visits import COUNTER, GROUP, check, ids, kinds, snaps, visit_id
from butler_visits import DefineVisitsTask
from butler_visits.errors import DefinitionError
from butler_visits.repository import remove_visits
from simulated_survey import INSTRUMENT, insert_exposures
from visit_tables import (
    Tables,
    add_exposures,
    connect,
    counts,
    data_ids,
    exposure,
    make_task,
    stored,
    tables,
)

pytestmark = pytest.mark.sqlite_only

MakeSurvey = Callable[..., Butler]

ONE = "one-to-one"
EXPOSURES = [*snaps(1), exposure(3)]
FIRST, SECOND, SINGLE = ids(1, 2, 3)
OWN = int(f"9{FIRST}")
"""The first snap's own visit, beside that of both snaps."""


def defined(make_survey: MakeSurvey, grouping: str, exposures: list[dict[str, Any]] | None = None) -> Butler:
    """Make a repository with two snaps and a single exposure, or others, and their visits."""
    butler = make_survey()
    given = data_ids(add_exposures(butler, EXPOSURES if exposures is None else exposures))
    make_task(butler, grouping).run(given)
    return butler


def run(butler: Butler, grouping: str, *exposures: int, **options: Any) -> dict[str, int]:
    return counts(make_task(butler, grouping).run(data_ids(exposures or (FIRST, SECOND, SINGLE)), **options))


def conflict(butler: Butler, grouping: str, *exposures: int, **options: Any) -> str:
    """Return what is said of a conflict."""
    with pytest.raises(DatabaseConflictError) as error:
        run(butler, grouping, *exposures, **options)
    return str(error.value)


def plan(butler: Butler, grouping: str, *exposures: int, **options: Any) -> dict[int, str]:
    """Return what would become of each visit."""
    planned = make_task(butler, grouping).plan(data_ids(exposures or (FIRST, SECOND, SINGLE)), **options)
    return {visit.definition.id: visit.action.value for visit in planned}


def members(butler: Butler) -> dict[int, tuple[set[int], set[int]]]:
    """Return the exposures and the visit systems of each visit."""
    found: dict[int, tuple[set[int], set[int]]] = {visit.id: (set(), set()) for visit in stored(butler, "visit")}
    with connect(butler) as connection:
        for visit, one in connection.execute(text("SELECT visit, exposure FROM visit_definition")):
            found[visit][0].add(one)
        for visit, system in connection.execute(text("SELECT visit, visit_system FROM visit_system_membership")):
            found[visit][1].add(system)
    return found


def changed(before: Tables, after: Tables) -> dict[str, set[tuple[Any, ...]]]:
    """Return the rows that were added, of tables that lost none."""
    assert all(set(before[table]) <= set(after[table]) for table in before)
    return {table: new for table in before if (new := set(after[table]) - set(before[table]))}


# Other groupings

UPDATES: list[dict[str, bool]] = [
    {"incremental": True},
    {"update_records": True},
    {"incremental": True, "update_records": True},
]


@pytest.mark.parametrize("options", UPDATES, ids="-".join)
def test_one_to_one_becomes_by_counter(make_survey: MakeSurvey, options: dict[str, bool]) -> None:
    """What belongs to the other grouping stays; a visit of the same exposures is put into more visit systems."""
    butler = defined(make_survey, ONE)
    before = tables(butler)
    assert plan(butler, COUNTER, **options) == {
        FIRST: "conflict",
        OWN: "conflict",
        SECOND: "update" if "update_records" in options else "unchanged",
        SINGLE: "update",
    }
    said = conflict(butler, COUNTER, **options)
    assert "-c groupExposures=one-to-one" in said
    assert f"visit {FIRST} " in said and "one-to-one with exposure" in said
    assert changed(before, tables(butler)) == {
        "visit_system": {(INSTRUMENT, 2, "by-seq-start-end")},
        "visit_system_membership": {(INSTRUMENT, 2, SINGLE)},
    }
    # The advice holds: what was stored is as sound as it was, more visit systems do no harm.
    assert kinds(check(butler, ONE)) == []
    # And so does the other one.
    assert "remove-visits" in said
    remove_visits(butler, INSTRUMENT, [FIRST])
    run(butler, COUNTER, incremental=True)
    assert kinds(check(butler, COUNTER)) == []
    assert tables(butler) == tables(defined(make_survey, COUNTER))


def test_one_to_one_becomes_by_counter_without_options(make_survey: MakeSurvey) -> None:
    butler = defined(make_survey, ONE)
    before = tables(butler)
    said = conflict(butler, COUNTER)
    assert f"Visit {SINGLE} " in said and "it is not in visit system by-seq-start-end" in said
    assert changed(before, tables(butler)) == {"visit_system": {(INSTRUMENT, 2, "by-seq-start-end")}}
    assert run(butler, COUNTER, skip_conflicting=True) == {"n_visits": 4, "n_skipped": 4}


@pytest.mark.parametrize("options", UPDATES, ids="-".join)
def test_by_counter_becomes_one_to_one(make_survey: MakeSurvey, options: dict[str, bool]) -> None:
    butler = defined(make_survey, COUNTER)
    before = tables(butler)
    said = conflict(butler, ONE, **options)
    assert "-c groupExposures=one-to-one-and-by-counter" in said
    assert tables(butler) == before
    assert run(butler, ONE, skip_conflicting=True, **options)["n_visits"] == 3
    assert tables(butler) == before
    assert kinds(check(butler, COUNTER)) == []
    remove_visits(butler, INSTRUMENT, [FIRST, OWN])
    run(butler, ONE, incremental=True)
    assert kinds(check(butler, ONE)) == []
    assert members(butler) == {
        FIRST: ({FIRST}, {0}),
        SECOND: ({SECOND}, {0}),
        # More visit systems than those of the grouping are no fault.
        SINGLE: ({SINGLE}, {0, 2}),
    }


@pytest.mark.parametrize(("first", "second"), [(ONE, GROUP), (GROUP, ONE), (COUNTER, GROUP), (GROUP, COUNTER)])
def test_groupings_beside_each_other(make_survey: MakeSurvey, first: str, second: str) -> None:
    """Visits of other ids and of other visit systems are in nobody's way."""
    butler = defined(make_survey, first)
    before = tables(butler)
    assert run(butler, second, incremental=True, update_records=True)["n_new"] == len(plan(butler, second))
    changed(before, tables(butler))
    assert kinds(check(butler, first)) == kinds(check(butler, second)) == []


@pytest.mark.parametrize("universe", [0, 1])
def test_other_system_in_old_universes(make_survey: MakeSurvey, universe: int) -> None:
    """There a visit is in one visit system, and nothing puts it into another one."""
    butler = make_survey(universe)
    # The group's id is that of the exposure.
    one = {**exposure(3), "id": 1235903000}
    insert_exposures(butler, [one])
    make_task(butler, GROUP).run(data_ids([one["id"]]))
    before = {
        element: [record.toDict() for record in stored(butler, element)] for element in ("visit", "visit_definition")
    }
    assert before["visit"][0]["id"] == one["id"]
    for options in ({}, *UPDATES):
        said = conflict(butler, ONE, one["id"], **options)
        assert "-c groupExposures=by-group-metadata" in said and "--update-records" not in said
    assert {element: [record.toDict() for record in stored(butler, element)] for element in before} == before


# Names


def test_name_of_the_first_snap(make_survey: MakeSurvey) -> None:
    """An exposure has the name that the first snap's own visit gets."""
    butler = make_survey()
    add_exposures(butler, [snaps(1)[0], {**snaps(1)[1], "obs_id": f"{snaps(1)[0]['obs_id']}_first"}])
    assert plan(butler, COUNTER, FIRST, SECOND) == {FIRST: "new", OWN: "new", SECOND: "conflict"}
    said = conflict(butler, COUNTER, FIRST, SECOND)
    assert f"Visit {SECOND} " in said and f"is that of visit {OWN}" in said and "correct obs_id" in said
    expected = {FIRST: ({FIRST, SECOND}, {2}), OWN: ({FIRST}, {0})}
    assert members(butler) == expected
    assert run(butler, COUNTER, FIRST, SECOND, skip_conflicting=True) == {"n_visits": 3, "n_skipped": 3}
    assert members(butler) == expected
    # The advice holds.
    add_exposures(butler, snaps(1), replace=True)
    run(butler, COUNTER, FIRST, SECOND)
    assert kinds(check(butler, COUNTER)) == []


@pytest.mark.parametrize("size", [1, 500])
def test_name_of_a_stored_visit(make_survey: MakeSurvey, size: int) -> None:
    butler = defined(make_survey, ONE, [exposure(3)])
    with connect(butler) as connection:
        connection.execute(text(f"UPDATE visit SET name = '{exposure(4)['obs_id']}'"))
    (other,) = add_exposures(butler, [exposure(4)])
    task = make_task(butler, ONE, chunkSize=size)
    given = data_ids([SINGLE, other])
    assert [visit.action.value for visit in task.plan(data_ids([other]), incremental=True)] == ["conflict"]
    with pytest.raises(DatabaseConflictError, match=f"is that of visit {SINGLE}"):
        task.run(data_ids([other]), incremental=True)
    assert counts(task.run(given, skip_conflicting=True)) == {"n_visits": 2, "n_skipped": 2}
    # With the one that has the name it gets its own.
    assert [visit.action.value for visit in task.plan(given, incremental=True)] == ["update", "new"]
    assert counts(task.run(given, incremental=True)) == {"n_visits": 2, "n_new": 1, "n_partially_updated": 1}
    assert kinds(check(butler, ONE)) == []


@pytest.mark.parametrize(
    ("order", "size", "way"),
    [
        ((2, 3, 1), 500, "run"),
        ((3, 1, 2), 1, "run"),
        ((2, 1, 3), 1, "apply"),
        ((3, 1, 2), 1, "executor"),
        ((4, 2, 3), 1, "run"),
        ((1, 2, 4), 1, "run"),
    ],
    ids=str,
)
def test_names_that_go_round(make_survey: MakeSurvey, order: tuple[int, ...], size: int, way: str) -> None:
    """Names that were given to the wrong exposures, whichever chunk of visits gives them up."""
    four = [exposure(number) for number in (1, 2, 3, 4)]
    butler = defined(make_survey, ONE, four[:3])
    add_exposures(butler, four[3:])
    with connect(butler) as connection:
        for number in (1, 2, 3):
            connection.execute(text(f"UPDATE visit SET name = 'was {number}' WHERE id = {ids(number)[0]}"))
        for number, name in zip((1, 2, 3), order, strict=True):
            connection.execute(
                text(f"UPDATE visit SET name = '{exposure(name)['obs_id']}' WHERE id = {ids(number)[0]}")
            )
    moved = sum(number != name for number, name in zip((1, 2, 3), order, strict=True))
    task = make_task(butler, ONE, chunkSize=size)
    given = data_ids(reversed(ids(1, 2, 3, 4)))
    planned = task.plan(given, incremental=True)
    assert Counter(one.action.value for one in planned) == Counter(
        {"new": 1, "update": moved} | ({"unchanged": 3 - moved} if moved < 3 else {})
    )
    if way == "apply":
        result = task.apply(planned)
    elif way == "run":
        result = task.run(given, incremental=True)
    else:
        with ThreadPoolExecutor(2) as executor:
            result = task.run(given, incremental=True, executor=executor)
    assert (result.n_new, result.n_partially_updated) == (1, moved)
    assert tables(butler) == tables(defined(make_survey, ONE, four))


def test_names_that_go_round_in_a_group(make_survey: MakeSurvey) -> None:
    """The visits of one group stay together when one of them waits for the name of a later one."""
    night = [*snaps(1), *snaps(3)]
    butler = defined(make_survey, COUNTER, night)
    before = tables(butler)
    names = [f"{one['obs_id']}_first" for one in (night[0], night[2])]
    with connect(butler) as connection:
        for old, new in ((names[0], "passing"), (names[1], names[0]), ("passing", names[1])):
            connection.execute(text(f"UPDATE visit SET name = '{new}' WHERE name = '{old}'"))
    task = make_task(butler, COUNTER, chunkSize=1)
    assert counts(task.run(data_ids(ids(1, 2, 3, 4)), incremental=True)) == {
        "n_visits": 6,
        "n_skipped": 4,
        "n_partially_updated": 2,
    }
    assert tables(butler) == before


@pytest.mark.parametrize("size", [1, 500])
def test_name_of_a_visit_that_is_left_alone(make_survey: MakeSurvey, size: int) -> None:
    """A visit with an exposure that has moved keeps its name, so that another one cannot have it."""
    butler = defined(make_survey, GROUP)
    names = [snaps(1)[0]["group"], exposure(3)["group"]]
    with connect(butler) as connection:
        for name, visit in (("passing", visit_id(1)), (names[0], visit_id(3)), (names[1], visit_id(1))):
            connection.execute(text(f"UPDATE visit SET name = '{name}' WHERE id = {visit}"))
    add_exposures(butler, [{**snaps(1)[1], "tracking_ra": None}], replace=True)
    before = tables(butler)
    task = make_task(butler, GROUP, chunkSize=size)
    planned = task.plan(data_ids([FIRST, SINGLE]), incremental=True)
    assert {one.definition.id: one.action.value for one in planned} == {visit_id(1): "skipped", visit_id(3): "conflict"}
    for write in (lambda: task.run(data_ids([FIRST, SINGLE]), incremental=True), lambda: task.apply(planned)):
        with pytest.raises(DatabaseConflictError, match=f"is that of visit {visit_id(1)}"):
            write()
    assert tables(butler) == before


@pytest.mark.parametrize("row", [(0, "classic"), (5, "one-to-one")], ids=str)
def test_visit_system_of_another_name(make_survey: MakeSurvey, row: tuple[int, str]) -> None:
    """Names and ids of visit systems could be chosen once."""
    butler = make_survey()
    given = data_ids(add_exposures(butler, [exposure(3)]))
    with connect(butler) as connection:
        connection.execute(
            text(f"INSERT INTO visit_system (instrument, id, name) VALUES ('{INSTRUMENT}', {row[0]}, '{row[1]}')")
        )
    task = make_task(butler)
    for call in (task.plan, task.run, partial(task.run, incremental=True, on_error="skip")):
        with pytest.raises(DatabaseConflictError, match=f"has {row[0]} with the name '{row[1]}'"):
            call(given)
    assert tables(butler)["visit"] == []
    record = {"instrument": INSTRUMENT, "id": row[0], "name": "one-to-one" if row[0] == 0 else "another"}
    butler.registry.syncDimensionData("visit_system", record, update=True)
    assert task.run(given).n_new == 1


# Plans whose exposures were corrected before they are applied


@pytest.mark.parametrize("defined_too", [False, True])
@pytest.mark.parametrize("options", [{}, *UPDATES], ids="-".join)
def test_plan_of_an_exposure_that_was_moved(
    make_survey: MakeSurvey, options: dict[str, Any], defined_too: bool
) -> None:
    butler = make_survey()
    given = data_ids(add_exposures(butler, snaps(1)))
    task = make_task(butler, GROUP)
    planned = task.plan(given, **options)
    add_exposures(butler, [{**snaps(1)[1], "group": exposure(2)["group"]}], replace=True)
    if defined_too:
        assert run(butler, GROUP, SECOND) == {"n_visits": 1, "n_new": 1}
    assert task.apply(planned).n_new == 2 - defined_too
    assert members(butler) == {visit_id(1): ({FIRST}, {1}), visit_id(2): ({SECOND}, {1})}


@pytest.mark.parametrize("grouping", [ONE, COUNTER])
def test_plan_of_an_exposure_that_was_corrected(make_survey: MakeSurvey, grouping: str) -> None:
    butler = make_survey()
    given = data_ids(add_exposures(butler, snaps(1)))
    task = make_task(butler, grouping)
    planned = task.plan(given)
    right = [{**one, "target_name": "right"} for one in snaps(1)]
    add_exposures(butler, right, replace=True)
    assert task.apply(planned).n_new == len(planned)
    assert tables(butler) == tables(defined(make_survey, grouping, right))


# Lost rows


@pytest.mark.parametrize("table", ["visit_definition", "visit_system_membership"])
@pytest.mark.parametrize("grouping", [ONE, GROUP, COUNTER])
@pytest.mark.parametrize("options", UPDATES, ids="-".join)
def test_lost_rows(make_survey: MakeSurvey, grouping: str, table: str, options: dict[str, bool]) -> None:
    butler = defined(make_survey, grouping)
    before = tables(butler)
    with connect(butler) as connection:
        connection.execute(text(f"DELETE FROM {table}"))
    said = plan(butler, grouping)
    if table == "visit_definition":
        assert set(said.values()) == {"unchanged"}
    else:
        assert set(said.values()) == {"conflict"}
        assert "it is not in visit system" in conflict(butler, grouping)
    kind = "n_fully_updated" if "update_records" in options else "n_partially_updated"
    assert run(butler, grouping, **options) == {"n_visits": len(said), kind: len(said)}
    assert tables(butler) == before


@pytest.mark.parametrize("once_more", [False, True])
def test_update_of_a_visit_that_differs_joins_nothing(
    make_survey: MakeSurvey, caplog: pytest.LogCaptureFixture, once_more: bool
) -> None:
    """Only when it is equal, as after the update, do options that are not incremental join what it lacks."""
    butler = defined(make_survey, GROUP, snaps(1)[:1])
    add_exposures(butler, snaps(1)[1:])
    assert run(butler, GROUP, FIRST, SECOND, update_records=True) == {"n_visits": 1, "n_fully_updated": 1}
    assert members(butler) == {visit_id(1): ({FIRST}, {1})}
    (warning,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    assert str(SECOND) in warning and "--incremental" in warning and str(visit_id(1)) in warning
    assert "only" not in warning
    again, kind = ("update_records", "n_fully_updated") if once_more else ("incremental", "n_partially_updated")
    assert run(butler, GROUP, FIRST, SECOND, **{again: True}) == {"n_visits": 1, kind: 1}
    assert members(butler) == {visit_id(1): ({FIRST, SECOND}, {1})}
    assert kinds(check(butler, GROUP)) == []


# Exposures of other groups


@pytest.mark.parametrize("options", [{}, *UPDATES], ids="-".join)
@pytest.mark.parametrize("given", [(FIRST, SECOND, SINGLE), (FIRST,), (SECOND,), (SINGLE,)], ids=str)
def test_moved_exposure(
    make_survey: MakeSurvey, caplog: pytest.LogCaptureFixture, given: tuple[int, ...], options: dict[str, bool]
) -> None:
    """The old visit keeps it until somebody removes that visit."""
    butler = defined(make_survey, GROUP)
    before = tables(butler)
    moved = {**snaps(1)[1], "group": exposure(3)["group"], "tracking_ra": exposure(3)["tracking_ra"]}
    add_exposures(butler, [moved], replace=True)
    old, new = visit_id(1), visit_id(3)
    complete = "incremental" in options
    conflicts = given != (FIRST,) and (complete or given != (SINGLE,))
    if conflicts:
        said = conflict(butler, GROUP, *given, **options)
        assert f"Visit {new} " in said and f"already in visit {old} " in said and "remove-visits" in said
    else:
        assert run(butler, GROUP, *given, **options)["n_visits"] == 1
    if FIRST in given:
        (warning,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
        assert f"Visit {old} " in warning and str(SECOND) in warning and str(new) in warning
        assert run(butler, GROUP, FIRST, **options) == {"n_visits": 1, "n_skipped": 1}
    after = tables(butler)
    if given != (SINGLE,) or complete:
        assert after == before
    # The advice holds.
    assert set(kinds(check(butler, GROUP))) >= {"extra-exposure", "partial-group"}
    remove_visits(butler, INSTRUMENT, [old])
    run(butler, GROUP, incremental=True)
    assert kinds(check(butler, GROUP)) == []
    assert members(butler) == {old: ({FIRST}, {1}), new: ({SECOND, SINGLE}, {1})}
    assert tables(butler) == tables(defined(make_survey, GROUP, [snaps(1)[0], moved, exposure(3)]))


@pytest.mark.parametrize("options", UPDATES, ids="-".join)
def test_exposure_that_is_single_now(make_survey: MakeSurvey, options: dict[str, bool]) -> None:
    butler = defined(make_survey, COUNTER)
    before = tables(butler)
    add_exposures(butler, [{**snaps(1)[1], "seq_start": 2}], replace=True)
    assert f"in visit {FIRST} " in conflict(butler, COUNTER, **options)
    assert tables(butler) == before
    remove_visits(butler, INSTRUMENT, [FIRST])
    run(butler, COUNTER, incremental=True)
    assert kinds(check(butler, COUNTER)) == []


@pytest.mark.parametrize("options", UPDATES, ids="-".join)
def test_exposure_that_is_not_on_the_sky_any_more(
    make_survey: MakeSurvey, caplog: pytest.LogCaptureFixture, options: dict[str, bool]
) -> None:
    butler = defined(make_survey, GROUP)
    before = tables(butler)
    add_exposures(butler, [{**snaps(1)[1], "tracking_ra": None}], replace=True)
    run(butler, GROUP, **options)
    (warning,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    assert f"Visit {visit_id(1)} " in warning and f"exposure {SECOND}" in warning and "not on the sky" in warning
    assert tables(butler) == before
    assert kinds(check(butler, GROUP)) == ["off-sky"]
    remove_visits(butler, INSTRUMENT, [visit_id(1)])
    run(butler, GROUP, incremental=True)
    assert kinds(check(butler, GROUP)) == []


# Exposures that look far apart


@pytest.mark.parametrize("merge", [False, True])
@pytest.mark.parametrize(("apart", "warned"), [(0.97, False), (1.05, True), (170.0, True)])
def test_pointings_that_are_far_apart(
    make_survey: MakeSurvey, caplog: pytest.LogCaptureFixture, apart: float, warned: bool, merge: bool
) -> None:
    """The outermost corners of the padded camera are 1.02 degrees from each other."""
    butler = make_survey()
    three = []
    for start in (1, 3, 5):
        first, second = snaps(start, tracking_dec=0.0, tracking_ra=30.0)
        three += [first, {**second, "tracking_ra": 30.0 + (apart if start > 1 else 0.0)}]
    given = data_ids(add_exposures(butler, three))
    task = make_task(butler, GROUP, chunkSize=1)
    task.config.computeVisitRegions["single-raw-wcs"].mergeExposures = merge
    task = DefineVisitsTask(task.config, butler=butler)
    assert task.run(given).n_new == 3
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == warned
    if warned:
        assert warnings[0].startswith("2 visits with exposures that look farther apart than the camera is wide")
        assert f"{visit_id(3)}, {visit_id(5)}." in warnings[0]
    caplog.clear()
    task.plan(given)
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == warnings


def test_pointings_on_opposite_sides_of_the_sky(make_survey: MakeSurvey) -> None:
    butler = make_survey()
    first, second = snaps(1, tracking_dec=0.0, tracking_ra=30.0)
    given = data_ids(add_exposures(butler, [first, {**second, "tracking_ra": 210.0}, exposure(3)]))
    config = make_task(butler, GROUP).config
    config.computeVisitRegions["single-raw-wcs"].mergeExposures = True
    task = DefineVisitsTask(config, butler=butler)
    with pytest.raises(DefinitionError, match=f"Visit {visit_id(1)} .*{FIRST}, {SECOND} look in directions"):
        task.run(given)
    result = task.run(given, on_error="skip")
    assert [failure.exposures for failure in result.failures] == [(FIRST, SECOND)] and result.n_new == 1
    # The advice holds.
    assert make_task(butler, GROUP).run(given).n_new == 1


def test_exposure_that_was_not_given(make_survey: MakeSurvey, caplog: pytest.LogCaptureFixture) -> None:
    """What is of the same group still has not moved."""
    butler = defined(make_survey, GROUP)
    assert run(butler, GROUP, FIRST, incremental=True) == {"n_visits": 1, "n_skipped": 1}
    assert run(butler, GROUP, FIRST, update_records=True) == {"n_visits": 1, "n_fully_updated": 1}
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
