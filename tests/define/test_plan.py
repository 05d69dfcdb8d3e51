"""Plans: they only read, say what a run would do and why, and are applied later."""

from __future__ import annotations

import datetime
import pickle
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from lsst.daf.butler import Butler, Timespan
from lsst.daf.butler.registry import ConflictingDefinitionError

from butler_visits import DefineVisitsConfig, DefineVisitsTask
from butler_visits.define.plan import plan_visits
from butler_visits.define.visits import Options
from simulated_survey import CCD_SIZE, CCD_SPACING, PIXEL_SIZE, PLATE_SCALE
from stored_visits import outline_distance
from visit_tables import (
    DAY,
    N_DETECTORS,
    add_exposures,
    counts,
    data_ids,
    delete_rows,
    exposure,
    make_task,
    root,
    spoil,
    stored,
    tables,
)

pytestmark = pytest.mark.sqlite_only  # Plans are made in memory; what the database does is marked.

GROUP = "by-group-metadata"
SNAPS = [exposure(2, seq_start=2, seq_end=3), exposure(3, seq_start=2, seq_end=3)]
EXPOSURES = [exposure(1), *SNAPS, exposure(4), exposure(5)]
GIVEN = data_ids(one["id"] for one in EXPOSURES)
MOVED = 7.5
"""Arcsec."""


@pytest.fixture
def butler(make_survey: Callable[..., Butler]) -> Butler:
    """Return a repository with three single exposures and two snaps."""
    butler = make_survey()
    add_exposures(butler, EXPOSURES)
    return butler


def numbered(*seq_nums: int) -> list[dict[str, Any]]:
    return data_ids(DAY * 100000 + seq_num for seq_num in seq_nums)


def correct(butler: Butler, seq_num: int = 1, **changes: Any) -> None:
    """Correct the record of a single exposure."""
    add_exposures(butler, [exposure(seq_num, **changes)], replace=True)


def another(butler: Butler, grouping: str = GROUP) -> DefineVisitsTask:
    """Return the task of another writer."""
    return make_task(Butler.from_config(root(butler), writeable=True), grouping)


# A plan and a run


class Case(NamedTuple):
    """What there was before, what is asked for, and what becomes of four visits."""

    actions: dict[str, int]
    result: dict[str, int]
    options: dict[str, Any] = {}
    before: tuple[int, ...] = ()
    """Numbers of the exposures whose visits are defined before."""

    corrected: dict[str, Any] = {}
    """Fields of the first exposure that are corrected then."""

    lost: bool = False
    """Whether its detector regions are lost, all but one."""

    line: str = ""
    """What is printed of a visit."""


ALL = (1, 2, 3, 4, 5)
RENAMED: dict[str, Any] = {"target_name": "M 31"}
RENAMING = "target_name is stored as 'field 1' and is now 'M 31'"
CASES = {
    "new": Case({"new": 4}, {"n_new": 4}),
    "unchanged": Case({"unchanged": 4}, {"n_skipped": 4}, before=ALL),
    "some new": Case({"new": 2, "unchanged": 2}, {"n_new": 2, "n_skipped": 2}, before=(1, 2, 3)),
    "update_records": Case(
        {"new": 1, "update": 3},
        {"n_new": 1, "n_fully_updated": 3},
        {"update_records": True},
        (1, 2, 3, 4),
        RENAMED,
        line=f"update .*{RENAMING}",
    ),
    "incremental, nothing": Case({"unchanged": 4}, {"n_skipped": 4}, {"incremental": True}, ALL),
    "incremental, fully": Case(
        {"update": 1, "unchanged": 3},
        {"n_fully_updated": 1, "n_skipped": 3},
        {"incremental": True},
        ALL,
        {"tracking_dec": -31.0},
        line="update .*region differs by up to .* degrees",
    ),
    "incremental, partially": Case(
        {"update": 1, "unchanged": 3}, {"n_partially_updated": 1, "n_skipped": 3}, {"incremental": True}, ALL, RENAMED
    ),
    "incremental, second snap": Case(
        {"new": 2, "update": 1, "unchanged": 1},
        {"n_new": 2, "n_partially_updated": 1, "n_skipped": 1},
        {"incremental": True},
        (1, 2),
        line=f"update .*exposures {SNAPS[1]['id']} are not joined",
    ),
    "check_detector_regions": Case(
        {"update": 1, "unchanged": 3},
        {"n_fully_updated": 1, "n_skipped": 3},
        {"check_detector_regions": True},
        ALL,
        lost=True,
        line=f"update .*{N_DETECTORS - 1} detectors have no region",
    ),
    "skip_conflicting": Case(
        {"skipped": 1, "new": 3},
        {"n_skipped": 1, "n_new": 3},
        {"skip_conflicting": True},
        (1,),
        RENAMED,
        line=f"skipped .*{RENAMING}",
    ),
    "prefilter": Case({"new": 2}, {"n_new": 2, "n_filtered": 3}, {"prefilter": True}, (1, 2, 3), RENAMED),
    "prefilter all": Case({}, {"n_filtered": 5}, {"prefilter": True}, ALL),
    "prefilter, check_detector_regions": Case(
        {"update": 1},
        {"n_fully_updated": 1, "n_filtered": 4},
        {"prefilter": True, "check_detector_regions": True},
        ALL,
        lost=True,
    ),
}


def prepare(butler: Butler, case: Case) -> None:
    """Define some visits, and change what they were made of."""
    if case.before:
        make_task(butler, GROUP).run(numbered(*case.before))
    if case.corrected:
        correct(butler, **case.corrected)
    for detector in range(N_DETECTORS - 1) if case.lost else ():
        where = {"visit": int("".join(filter(str.isdigit, EXPOSURES[0]["group"]))), "detector": detector}
        delete_rows(butler, "visit_detector_region_skypix_overlap", **where)
        delete_rows(butler, "visit_detector_region", **where)


@pytest.mark.parametrize("name", CASES)
def test_plan_and_apply(make_survey: Callable[..., Butler], name: str) -> None:
    case = CASES[name]
    butler, at_once = make_survey(), make_survey()
    for one in (butler, at_once):
        add_exposures(one, EXPOSURES)
        prepare(one, case)
    before = tables(butler)
    task = make_task(butler, GROUP, chunkSize=3)
    plan = task.plan(GIVEN, **case.options)
    assert tables(butler) == before
    assert Counter(visit.action.value for visit in plan) == case.actions
    assert re.search(f"^  {case.line}" if case.line else "", str(plan), re.MULTILINE)
    assert plan.n_filtered == case.result.get("n_filtered", 0)

    result = task.apply(plan)
    n_visits = sum(case.actions.values())
    assert counts(result) == case.result | ({"n_visits": n_visits} if n_visits else {})
    assert result.getDict() == make_task(at_once, GROUP).run(GIVEN, **case.options).getDict()
    assert tables(butler) == tables(at_once)


def test_apply_with_a_snap_of_the_next_day(make_survey: Callable[..., Butler]) -> None:
    """The Butler's queries do not show that it is there already, so that a plan cannot know it."""
    butler = make_survey()
    given = data_ids(add_exposures(butler, [SNAPS[0], {**SNAPS[1], "day_obs": DAY + 1}]))
    task = make_task(butler, GROUP)
    task.run(given)
    before = tables(butler)
    plan = task.plan(given, incremental=True)
    assert counts(task.apply(plan)) == {"n_visits": 1, "n_skipped": 1}
    assert tables(butler) == before


@pytest.mark.both_databases
def test_read_only_butler(butler: Butler) -> None:
    before = tables(butler)
    assert before["visit_system"] == []
    task = make_task(Butler.from_config(root(butler), writeable=False), GROUP)
    plan = task.plan(GIVEN)
    assert [visit.action.value for visit in plan] == ["new"] * 4
    with pytest.raises(TypeError, match="read-only"):
        task.apply(plan)
    assert tables(butler) == before
    assert counts(make_task(butler, GROUP).apply(plan)) == {"n_visits": 4, "n_new": 4}


def test_conflicts_raise_when_applied(butler: Butler) -> None:
    task = make_task(butler, GROUP)
    task.run(numbered(1, 4))
    before = tables(butler)
    correct(butler, **RENAMED)
    plan = task.plan(GIVEN)
    assert [visit.action.value for visit in plan].count("conflict") == 1
    assert tables(butler) == before
    with pytest.raises(ConflictingDefinitionError, match="'field 1' and is now 'M 31'"):
        task.apply(plan)
    assert set(before["visit"]) < set(tables(butler)["visit"])


def test_left_out(butler: Butler) -> None:
    (dark,) = add_exposures(butler, [exposure(6, observation_type="dark", tracking_ra=None)])
    task = make_task(butler)
    plan = task.plan([*GIVEN, *data_ids([dark])])
    assert plan.off_sky_types == {"dark": 1}
    result = task.apply(plan)
    assert (result.n_visits, result.n_off_sky, result.off_sky_types) == (5, 1, {"dark": 1})


# What a plan says


def test_iterate_and_print(butler: Butler) -> None:
    task = make_task(butler)
    task.run(numbered(1, 2, 3, 4))
    correct(butler, obs_id="other", **RENAMED)
    plan = task.plan(GIVEN)
    ids = [one["id"] for one in EXPOSURES]
    assert [visit.definition.id for visit in plan] == ids
    assert [visit.action.value for visit in plan] == ["conflict", "unchanged", "unchanged", "unchanged", "new"]
    assert len(plan) == 5
    assert str(plan).splitlines() == [
        "5 visits: 1 new, 3 unchanged, 1 conflict",
        f"  conflict  {ids[0]} (other): name is stored as '{EXPOSURES[0]['obs_id']}' and is now 'other'; "
        "target_name is stored as 'field 1' and is now 'M 31'",
        f"  new       {ids[4]} ({EXPOSURES[4]['obs_id']})",
    ]


def test_several_conflicts_and_one_detector(butler: Butler) -> None:
    """What is counted is written as one or as several."""
    task = make_task(butler)
    task.run(numbered(1, 2))
    first = EXPOSURES[0]["id"]
    delete_rows(butler, "visit_detector_region", visit=first, detector=0)
    plan = task.plan(numbered(1, 2), check_detector_regions=True)
    assert str(plan).splitlines()[1].endswith(": 1 detector has no region")
    correct(butler, 1, **RENAMED)
    correct(butler, 2, **RENAMED)
    assert str(task.plan(numbered(1, 2))).startswith("2 visits: 2 conflicts\n")


def test_nothing_to_define(butler: Butler) -> None:
    plan = make_task(butler).plan([])
    assert (len(plan), list(plan), str(plan)) == (0, [], "Nothing to define")
    assert counts(make_task(butler).apply(plan)) == {}
    table = plan.to_table()
    assert len(table) == 0
    assert [table[name].dtype.kind for name in ("visit", "name", "ra", "reason")] == ["i", "U", "f", "U"]


def test_explain(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    # Without a rotation, a step to the north is one along the camera's sides.
    names = ("renamed", "moved", "equal", "new")
    exposures = [exposure(number, obs_id=name, sky_angle=0.0) for number, name in enumerate(names)]
    renamed, moved, equal, new = add_exposures(butler, exposures)
    given = data_ids([renamed, moved, equal, new])
    task = make_task(butler)
    task.run(given[:3])
    exposures[0]["obs_id"] = "another"
    exposures[1]["tracking_dec"] += MOVED / 3600
    add_exposures(butler, exposures[:2], replace=True)

    plan = task.plan(given)
    assert plan.explain(new) == plan.explain(equal) == []
    (difference,) = plan.explain(renamed)
    assert (difference.field, difference.stored, difference.computed) == ("name", "renamed", "another")
    assert difference.distance is None
    (difference,) = plan.explain(moved)
    (visit,) = (visit for visit in stored(butler, "visit") if visit.id == moved)
    assert (difference.field, difference.stored) == ("region", visit.region)
    assert difference.distance == pytest.approx(MOVED, rel=1e-3)
    # That of the tangent plane, which is larger by the square of the field's radius.
    assert difference.distance == pytest.approx(outline_distance(difference.stored, difference.computed), rel=1e-4)
    with pytest.raises(KeyError, match="12345"):
        plan.explain(12345)


@pytest.mark.sqlite_only  # It writes what a Butler would not.
def test_stored_region_without_numbers(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    task = make_task(butler)
    task.run(given := data_ids(add_exposures(butler, [exposure(1)])))
    spoil(butler, "visit", b"p" + np.full(9, np.nan).tobytes(), id=given[0]["exposure"])
    (visit,) = task.plan(given)
    assert visit.reason == (
        "region is stored as a ConvexPolygon with vertices that are not numbers and is now a ConvexPolygon"
    )
    (difference,) = visit.differences
    assert difference.distance is None


# The table

TEXTS = ["visit", "name", "action", "exposures", "physical_filter", "target_name", "begin", "end"]
UNITS = {"ra": u.deg, "dec": u.deg, "area": u.deg**2}


def tai(seq_num: int, seconds: int = 0) -> str:
    """Return when an exposure begins, or some seconds later."""
    time = datetime.datetime.fromtimestamp(1_775_000_000 + 40 * seq_num + seconds, datetime.UTC)
    return time.strftime("%Y-%m-%dT%H:%M:%S.000000")


def test_table(butler: Butler) -> None:
    task = make_task(butler, GROUP)
    task.run(numbered(1))
    correct(butler, target_name=None, physical_filter="g_sim")
    table = task.plan(numbered(1, 2, 3)).to_table()
    assert table.colnames == [*TEXTS, *UNITS, "reason"]
    assert {name: table[name].unit for name in table.colnames if table[name].unit is not None} == UNITS
    assert [tuple(row[[*TEXTS, "reason"]]) for row in table] == [
        (
            20260401235901000,
            EXPOSURES[0]["group"],
            "conflict",
            str(EXPOSURES[0]["id"]),
            "g_sim",
            "",
            tai(1),
            tai(1, 16),
            "physical_filter is stored as 'r_sim' and is now 'g_sim'; "
            "target_name is stored as 'field 1' and is now None",
        ),
        (
            20260401235902000,
            SNAPS[0]["group"],
            "new",
            f"{SNAPS[0]['id']} {SNAPS[1]['id']}",
            "r_sim",
            "field 2",
            tai(2),
            tai(3, 16),
            "",
        ),
    ]


@pytest.mark.parametrize(("ra", "dec"), [(35.0, -20.0), (0.0, 0.0), (359.9999, 60.0), (120.0, 89.99), (-10.0, -90.0)])
def test_centre_and_area(make_survey: Callable[..., Butler], ra: float, dec: float) -> None:
    """The camera is symmetric and small: its centre is where it points, its area nearly that of its plane."""
    butler = make_survey()
    given = data_ids(add_exposures(butler, [exposure(1, tracking_ra=ra, tracking_dec=dec)]))
    task = make_task(butler)
    (row,) = task.plan(given).to_table()
    assert 0 <= row["ra"] < 360
    distance = SkyCoord(row["ra"], row["dec"], unit="deg").separation(SkyCoord(ra, dec, unit="deg"))
    assert distance.arcsec < 0.01
    padding = 2 * task.config.computeVisitRegions.active.padding
    width, height = (2 * CCD_SPACING + PIXEL_SIZE * (size + padding) for size in CCD_SIZE)
    assert row["area"] == pytest.approx(width * height * (PLATE_SCALE / 3600) ** 2, rel=1e-3)


BEGIN, END = EXPOSURES[0]["timespan"].begin, EXPOSURES[0]["timespan"].end


@pytest.mark.parametrize(
    ("timespan", "begin", "end"),
    [
        (None, "", ""),
        (Timespan(None, None), "", ""),
        (Timespan(BEGIN, None), tai(1), ""),
        (Timespan(None, END), "", tai(1, 16)),
        (Timespan.makeEmpty(), "", ""),
    ],
    ids=["null", "unbounded", "begin", "end", "empty"],
)
def test_times(make_survey: Callable[..., Butler], timespan: Timespan | None, begin: str, end: str) -> None:
    butler = make_survey()
    given = data_ids(add_exposures(butler, [exposure(1, timespan=timespan)]))
    (row,) = make_task(butler).plan(given).to_table()
    assert (row["begin"], row["end"]) == (begin, end)


# A plan that is stale when it is applied


def by_number(butler: Butler) -> dict[int, Any]:
    """Return the visits by the numbers of their first exposures."""
    return {visit.seq_num: visit for visit in stored(butler, "visit")}


@pytest.mark.both_databases
@pytest.mark.parametrize(
    ("first", "options"),
    [((1,), {}), (ALL, {}), ((2, 3), {"incremental": True}), ((2, 3), {"check_detector_regions": True})],
)
def test_others_defined_the_same(
    butler: Butler, make_survey: Callable[..., Butler], first: Iterable[int], options: dict[str, Any]
) -> None:
    alone = make_survey()
    add_exposures(alone, EXPOSURES)
    make_task(alone, GROUP).run(GIVEN)
    task = make_task(butler, GROUP, chunkSize=3)
    plan = task.plan(GIVEN, **options)
    n_first = another(butler).run(numbered(*first)).n_new
    result = task.apply(plan)
    assert (result.n_visits, result.n_new, result.n_skipped) == (4, 4 - n_first, n_first)
    assert tables(butler) == tables(alone)


@pytest.mark.both_databases
def test_applied_twice(butler: Butler) -> None:
    task = make_task(butler, GROUP)
    plan = task.plan(GIVEN)
    assert counts(task.apply(plan)) == {"n_visits": 4, "n_new": 4}
    before = tables(butler)
    assert counts(task.apply(plan)) == {"n_visits": 4, "n_skipped": 4}
    assert tables(butler) == before


@pytest.mark.both_databases
@pytest.mark.parametrize("how", ["raise", "skip", "skip_conflicting", "update_records"])
def test_others_defined_something_else(butler: Butler, how: str) -> None:
    """One of the snaps only, so that the other writer's visit differs."""
    options: dict[str, Any] = {"raise": {}, "skip": {"on_error": "skip"}}.get(how, {how: True})
    task = make_task(butler, GROUP)
    plan = task.plan(GIVEN, **options)
    another(butler).run(numbered(2))
    theirs = by_number(butler)[2]
    if how == "raise":
        with pytest.raises(ConflictingDefinitionError, match="exposure_time"):
            task.apply(plan)
    else:
        result = task.apply(plan)
        assert (result.n_new, result.n_failed) == (3, int(how == "skip"))
    visits = by_number(butler)
    assert sorted(visits) == [1, 2, 4, 5]
    assert (visits[2] == theirs) is (how != "update_records")


@pytest.mark.both_databases
def test_others_changed_what_was_to_be_completed(butler: Butler) -> None:
    """A plan that adds detector regions only does not add them to a visit that is another by now."""
    task = make_task(butler, GROUP)
    prepare(butler, CASES["check_detector_regions"])
    plan = task.plan(GIVEN, check_detector_regions=True)
    assert [visit.action.value for visit in plan].count("update") == 1
    theirs = by_number(butler)[1]
    changed = type(theirs)(**{**theirs.toDict(), "target_name": "M 33"})
    butler.registry.insertDimensionData("visit", changed, replace=True)
    before = tables(butler)
    with pytest.raises(ConflictingDefinitionError, match="'M 33' and is now 'field 1'"):
        task.apply(plan)
    assert tables(butler) == before


@pytest.mark.both_databases
def test_others_added_an_exposure(make_survey: Callable[..., Butler]) -> None:
    """A snap that came while the plan waited stays in the visit."""
    butler, alone = make_survey(), make_survey()
    add_exposures(butler, [{**SNAPS[0], **RENAMED}])
    task = make_task(butler, GROUP)
    task.run(numbered(2))
    add_exposures(butler, SNAPS[:1], replace=True)
    plan = task.plan(numbered(2), incremental=True)
    assert [visit.action.value for visit in plan] == ["update"]
    add_exposures(butler, SNAPS[1:])
    another(butler).run(numbered(3), incremental=True)
    task.apply(plan)
    make_task(alone, GROUP).run(data_ids(add_exposures(alone, SNAPS)))
    assert tables(butler) == tables(alone)


@pytest.mark.both_databases
def test_others_corrected_an_exposure(butler: Butler) -> None:
    """An update that waited does not bring back values that have been corrected since."""
    task = make_task(butler, GROUP)
    task.run(GIVEN)
    correct(butler, target_name="M 31")
    plan = task.plan(GIVEN, incremental=True)
    correct(butler, target_name="M 33")
    assert counts(another(butler).run(GIVEN, incremental=True)) == {
        "n_visits": 4,
        "n_skipped": 3,
        "n_partially_updated": 1,
    }
    task.apply(plan)
    assert by_number(butler)[1].target_name == "M 33"


def test_plan_of_nothing(butler: Butler) -> None:
    task = make_task(butler)
    assert plan_visits(butler, [], task.computeVisitRegions, Options(), 0.0) == []
    assert counts(task.apply(task.plan([]))) == {}


@pytest.mark.parametrize("merged", [False, True])
def test_pickled(make_survey: Callable[..., Butler], merged: bool) -> None:
    """A plan may be made by one process and applied by another."""
    found = []
    config = DefineVisitsConfig()
    config.groupExposures.name = "one-to-one-and-by-counter"
    config.computeVisitRegions["single-raw-wcs"].mergeExposures = merged
    for pickled in (False, True):
        survey = make_survey()
        add_exposures(survey, EXPOSURES)
        task = DefineVisitsTask(config, butler=survey)
        plan = task.plan(GIVEN)
        copy = pickle.loads(pickle.dumps(plan)) if pickled else plan
        assert str(copy) == str(plan)
        assert copy.explain(DAY * 100000 + 1) == []
        task.apply(copy)
        found.append(tables(survey))
    assert found[0] == found[1]
    assert len(found[0]["visit"]) == 6
