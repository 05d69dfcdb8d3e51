"""Exposures that cannot be handled: an error, or left out and reported while all others are defined."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import pytest
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st
from lsst.daf.butler import Butler, DataIdValueError, MissingCollectionError, Timespan
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.daf.butler.registry.interfaces import DatabaseConflictError
from lsst.pex.config import Field, registerConfigurable
from lsst.pipe.base import Struct
from lsst.sphgeom import Angle, Circle, Region, UnitVector3d

from butler_visits import (
    CameraLookupError,
    ComputeVisitRegionsFromSingleRawWcsConfig,
    ComputeVisitRegionsFromSingleRawWcsTask,
    ComputeVisitRegionsTask,
    DefineVisitsConfig,
    DefineVisitsTask,
    DefinitionError,
    VisitDefinitionData,
    VisitRegions,
)
from butler_visits.lists import isolate
from simulated_survey import CALIB_COLLECTION, CAMERA_RUN, INSTRUMENT, camera
from visit_tables import DAY, Tables, add_exposures, data_ids, exposure, make_task, records, stored, tables

pytestmark = pytest.mark.sqlite_only  # What the database does is marked.

GROUP = "by-group-metadata"
GOOD = [*(exposure(number) for number in range(1, 31)), *(exposure(n, seq_start=31, seq_end=32) for n in (31, 32))]


# Region algorithms that fail


class TroubledConfig(ComputeVisitRegionsFromSingleRawWcsConfig):
    """Config of `TroubledTask`."""

    trouble = Field[str]("What goes wrong.", default="")


@registerConfigurable("troubled", ComputeVisitRegionsTask.registry)
class TroubledTask(ComputeVisitRegionsFromSingleRawWcsTask):
    """Fails for the visits of one target, or for all."""

    ConfigClass = TroubledConfig
    config: TroubledConfig

    def compute(
        self, visit: VisitDefinitionData, *, collections: Sequence[str] | None = None
    ) -> tuple[Region, dict[int, Region]]:
        if self.config.trouble == "all" or self._has(visit, "value"):
            raise ValueError(f"no region for {visit.name}")
        region, detectors = super().compute(visit, collections=collections)
        if self._has(visit, "circle"):
            region = Circle(UnitVector3d(1, 0, 0), Angle(0.01))
        return region, detectors

    def compute_all(
        self, visits: Sequence[VisitDefinitionData], *, collections: Sequence[str] | None = None
    ) -> list[VisitRegions]:
        computed = super().compute_all(visits, collections=collections)
        return [
            VisitRegions(regions.region, regions.detector_ids, partial(_fail, visit.name))
            if self._has(visit, "detectors")
            else regions
            for visit, regions in zip(visits, computed, strict=True)
        ]

    def _has(self, visit: VisitDefinitionData, trouble: str) -> bool:
        return self.config.trouble == trouble and visit.exposures[0].target_name == "trouble"


def _fail(name: str) -> dict[int, Region]:
    raise ValueError(f"no detectors for {name}")


# What may be wrong


class Case(NamedTuple):
    """Exposures that cannot be handled, and what is said of them."""

    bad: list[dict[str, Any]]
    failures: list[tuple[int, ...]]
    """Numbers of the exposures of each failure."""

    said: str
    error: type[Exception] = DefinitionError
    grouping: str = "one-to-one"
    universe: int = 8
    trouble: str = ""
    limited_camera: bool = False
    fields: dict[str, Any] = {}
    """Fields of the task's config."""

    unknown: tuple[int, ...] = ()
    """Numbers of exposures that are given and not there."""


CASES = {
    "null group": Case(
        [exposure(40, group_name=None)], [(40,)], f"{DAY}00040 has no group_name", grouping=GROUP, universe=5
    ),
    "several group ids": Case(
        [exposure(40, group_id=7, group="g"), exposure(41, group_id=8, group="g")],
        [(40, 41)],
        r"group 'g' have several group ids \(7, 8\)",
        grouping=GROUP,
        universe=5,
    ),
    "no digits": Case([exposure(40, group="no digits")], [(40,)], "Group 'no digits'", grouping=GROUP),
    "clash": Case(
        [exposure(40, group="4-0"), exposure(41, group="40")],
        [(40,), (41,)],
        "same visit id 40: '4-0' and '40'",
        grouping=GROUP,
    ),
    "mixed filters": Case(
        [exposure(40, group="g1"), exposure(41, group="g1", physical_filter="g_sim")],
        [(40, 41)],
        rf"{DAY}00040 \(r_sim\), {DAY}00041 \(g_sim\)",
        grouping=GROUP,
    ),
    "declination": Case([exposure(40, tracking_dec=91.0)], [(40,)], f"Exposure {DAY}00040 has tracking_dec 91"),
    "no camera": Case(
        [exposure(40, timespan=Timespan.model_validate((0, 10**9)))],
        [(40,)],
        f"No camera geometry for exposure {DAY}00040",
        CameraLookupError,
        limited_camera=True,
    ),
    "unknown": Case([], [(40,), (41,)], f"no exposure {DAY}0004[01]", DataIdValueError, unknown=(41, 40)),
    "off sky": Case(
        [exposure(40, tracking_ra=None, observation_type="dark")],
        [(40,)],
        f"Exposure {DAY}00040, of observation type 'dark'",
        fields={"ignoreNonScienceExposures": False},
    ),
    "region fails": Case(
        [exposure(40, target_name="trouble")],
        [(40,)],
        f"no region for SC_O_{DAY}_000040",
        ValueError,
        trouble="value",
    ),
    "circle": Case(
        [exposure(40, target_name="trouble")],
        [(40,)],
        f"region of visit {DAY}00040 is a Circle",
        trouble="circle",
    ),
    "detectors fail": Case(
        [exposure(40, target_name="trouble")],
        [(40,)],
        f"no detectors for SC_O_{DAY}_000040",
        ValueError,
        trouble="detectors",
    ),
    "several": Case(
        [exposure(0, tracking_dec=-91.0), exposure(40, tracking_dec=91.0), exposure(41, target_name="trouble")],
        [(0,), (40,), (41,)],
        f"tracking_dec -?91|region of visit {DAY}00041",
        trouble="circle",
    ),
}


def ids(seq_nums: Iterable[int]) -> tuple[int, ...]:
    return tuple(DAY * 100000 + seq_num for seq_num in seq_nums)


def insert(butler: Butler, exposures: Iterable[dict[str, Any]]) -> None:
    """Insert exposures in the newest universe, or in one where groups are fields of exposures."""
    names = butler.dimensions["exposure"].RecordClass.fields.names
    if "group" in names:
        add_exposures(butler, exposures)
        return
    for one in exposures:
        row = {"instrument": INSTRUMENT, "group_name": one["group"], "group_id": DAY + one["seq_start"], **one}
        butler.registry.insertDimensionData("exposure", {name: row[name] for name in row.keys() & names})


def limit_camera(butler: Butler) -> None:
    """Replace the camera by one that is valid from the first good exposure on."""
    refs = butler.query_datasets("camera_geometry", collections=CAMERA_RUN)
    butler.pruneDatasets(refs, disassociate=True, unstore=True, purge=True)
    butler.collections.register("limited")
    ref = butler.put(camera(rafts=1), "camera_geometry", instrument=INSTRUMENT, run="limited")
    butler.registry.certify(CALIB_COLLECTION, [ref], Timespan(GOOD[0]["timespan"].begin, None))


def troubled_task(butler: Butler, trouble: str, grouping: str = "one-to-one", **fields: Any) -> DefineVisitsTask:
    config = DefineVisitsConfig()
    config.groupExposures.name = grouping
    if trouble:
        config.computeVisitRegions.name = "troubled"
        config.computeVisitRegions.active.trouble = trouble
    config.update(**fields)
    return DefineVisitsTask(config, butler=butler)


def prepare(butler: Butler, case: Case) -> list[dict[str, Any]]:
    """Insert good and bad exposures, and return what to give to the task."""
    insert(butler, [*GOOD, *case.bad])
    if case.limited_camera:
        limit_camera(butler)
    return data_ids([*(one["id"] for one in (*case.bad, *GOOD)), *ids(case.unknown)])


@pytest.fixture(scope="module")
def _good_tables() -> dict[tuple[int, str, bool], Tables]:
    return {}


@pytest.fixture
def tables_without(
    make_survey: Callable[..., Butler], _good_tables: dict[tuple[int, str, bool], Tables]
) -> Callable[[Case], Tables]:
    """Return a function that returns the tables of a run without the bad exposures."""

    def define(case: Case) -> Tables:
        key = (case.universe, case.grouping, case.limited_camera)
        if key not in _good_tables:
            butler = make_survey(case.universe)
            given = prepare(butler, case._replace(bad=[], unknown=()))
            assert make_task(butler, case.grouping).run(given).n_new == (32 if case.grouping == "one-to-one" else 31)
            _good_tables[key] = tables(butler)
        return _good_tables[key]

    return define


def check(result: Struct, case: Case, butler: Butler, expected: Tables) -> None:
    """Check that the bad exposures are reported and that all others have their visits."""
    assert sorted(failure.exposures for failure in result.failures) == [ids(numbers) for numbers in case.failures]
    assert all(re.search(case.said, failure.reason) for failure in result.failures)
    assert result.n_failed == len(case.failures)
    assert result.n_visits == result.n_new == len(expected["visit"])
    assert tables(butler) == expected


@pytest.mark.parametrize("name", CASES)
def test_run(make_survey: Callable[..., Butler], tables_without: Callable[[Case], Tables], name: str) -> None:
    case = CASES[name]
    butler = make_survey(case.universe)
    given = prepare(butler, case)
    with pytest.raises(case.error, match=case.said):
        troubled_task(butler, case.trouble, case.grouping, **case.fields).run(given, on_error="raise")
    assert not stored(butler, "visit")
    task = troubled_task(butler, case.trouble, case.grouping, chunkSize=10, **case.fields)
    check(task.run(given, on_error="skip"), case, butler, tables_without(case))


@pytest.mark.parametrize("name", CASES)
def test_plan_and_apply(
    make_survey: Callable[..., Butler], tables_without: Callable[[Case], Tables], name: str
) -> None:
    case = CASES[name]
    butler = make_survey(case.universe)
    given = prepare(butler, case)
    task = troubled_task(butler, case.trouble, case.grouping, chunkSize=10, **case.fields)
    # Detectors' regions are made when they are written.
    expected = [] if case.trouble == "detectors" else case.failures
    if expected:
        with pytest.raises(case.error, match=case.said):
            task.plan(given)
    plan = task.plan(given, on_error="skip")
    assert sorted(failure.exposures for failure in plan.failures) == [ids(numbers) for numbers in expected]
    lines = [line for line in str(plan).splitlines() if line.startswith("  failed ")]
    assert len(lines) == len(expected)
    assert all(re.search(case.said, line) for line in lines)
    assert not stored(butler, "visit")
    check(task.apply(plan), case, butler, tables_without(case))


def test_all_fail(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    given = prepare(butler, Case([], [], ""))
    result = troubled_task(butler, "all").run(given, on_error="skip")
    assert [failure.exposures for failure in result.failures] == [(one["id"],) for one in GOOD]
    assert (result.n_failed, result.n_visits) == (len(GOOD), 0)
    assert not stored(butler, "visit")


@pytest.mark.both_databases
def test_conflict(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    given = prepare(butler, Case([], [], ""))
    task = make_task(butler, chunkSize=10)
    task.run(given[:2])
    before = tables(butler)
    add_exposures(butler, [{**GOOD[0], "target_name": "M 31"}], replace=True)
    result = task.run(given, on_error="skip")
    assert (result.n_failed, result.n_new, result.n_skipped) == (1, len(GOOD) - 2, 1)
    (failure,) = result.failures
    assert failure.exposures == (GOOD[0]["id"],)
    assert "target_name is stored as 'field 1' and is now 'M 31'" in failure.reason
    assert set(before["visit"]) < set(tables(butler)["visit"])
    with pytest.raises(ConflictingDefinitionError):
        task.run(given)


@pytest.mark.both_databases
@pytest.mark.parametrize("planned", [False, True], ids=["run", "plan and apply"])
def test_another_visit_has_the_name(make_survey: Callable[..., Butler], planned: bool) -> None:
    """A visit that is there under another id, with the same name and exposure."""
    butler = make_survey(5)
    bad = exposure(16, group="taken", group_id=7)
    insert(butler, [*(one for one in GOOD if one["seq_num"] != 16), bad])
    given = data_ids(one["id"] for one in GOOD)
    task = make_task(butler, GROUP)
    task.run(data_ids([bad["id"]]))
    before = tables(butler)
    (record,) = records(butler, [bad["id"]])
    butler.registry.insertDimensionData("exposure", {**record.toDict(), "group_id": 8}, replace=True)
    result = task.apply(task.plan(given, on_error="skip")) if planned else task.run(given, on_error="skip")
    (failure,) = result.failures
    assert failure.exposures == (bad["id"],)
    assert failure.reason.startswith("Visit 8 is in conflict") and "already in visit 7 (taken)" in failure.reason
    assert (result.n_failed, result.n_new, result.n_skipped) == (1, 30, 0)
    assert set(before["visit"]) < set(tables(butler)["visit"])
    with pytest.raises(DatabaseConflictError, match=r"Visit 8 \(taken\) of SimCam is in conflict"):
        task.run(given)


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_bad_snap_that_is_found_later(make_survey: Callable[..., Butler], on_error: str) -> None:
    """Only incremental finds the second snap, of which with the first no visit can be made."""
    butler = make_survey()
    given = prepare(butler, CASES["mixed filters"])
    task = make_task(butler, GROUP)
    without_second = [data_id for data_id in given if data_id["exposure"] != DAY * 100000 + 41]
    if on_error == "raise":
        with pytest.raises(DefinitionError, match="g_sim"):
            task.run(without_second, incremental=True)
    else:
        result = task.run(without_second, incremental=True, on_error="skip")
        assert [failure.exposures for failure in result.failures] == [ids((40, 41))]
        assert result.n_new == len(GOOD) - 1


@pytest.mark.parametrize("on_error", ["", "ignore", None, True])
@pytest.mark.parametrize("method", ["run", "plan"])
def test_invalid_value(make_survey: Callable[..., Butler], method: str, on_error: Any) -> None:
    task = make_task(make_survey())
    with pytest.raises(ValueError, match=f"on_error .*{on_error!r}"):
        getattr(task, method)([], on_error=on_error)


@pytest.mark.parametrize("method", ["run", "plan"])
def test_missing_collection_is_no_exposure_s_fault(make_survey: Callable[..., Butler], method: str) -> None:
    butler = make_survey()
    given = prepare(butler, Case([], [], ""))
    task = make_task(butler)
    with pytest.raises(MissingCollectionError, match="no/such/collection"):
        getattr(task, method)(given, collections="no/such/collection", on_error="skip")
    assert not stored(butler, "visit")


# isolate


@hypothesis_given(st.data(), st.integers(1, 300), st.sampled_from([ValueError, DefinitionError, KeyError, OSError]))
def test_isolate(data: st.DataObject, count: int, error: type[Exception]) -> None:
    bad: Collection[int] = data.draw(st.sets(st.integers(0, count - 1), max_size=8))
    n_calls = 0

    def call(items: Sequence[int]) -> list[str]:
        nonlocal n_calls
        n_calls += 1
        for item in items:
            if item in bad:
                raise error(item)
        return [str(item) for item in items]

    results, failed = isolate(call, range(count))
    assert results == [str(item) for item in range(count) if item not in bad]
    assert [item for item, _ in failed] == sorted(bad)
    assert all(type(raised) is error and raised.args == (item,) for item, raised in failed)
    assert n_calls <= 2 * len(bad) * (math.log2(count) + 1) + 1


@pytest.mark.parametrize("error", [AssertionError, MissingCollectionError, KeyboardInterrupt])
def test_isolate_lets_other_errors_pass(error: type[BaseException]) -> None:
    def call(items: Sequence[int]) -> list[int]:
        raise error("not an item's fault")

    with pytest.raises(error):
        isolate(call, range(10))
