"""DefineVisitsTask as a task: its base class's methods, its input, and what it ignores."""

from __future__ import annotations

import datetime
import pickle
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from lsst.daf.butler import Butler, DataCoordinate, DataIdValueError
from lsst.daf.butler.registry.interfaces import DatabaseConflictError
from lsst.pex.config import Config, FieldValidationError
from lsst.pipe.base import Task

from butler_visits import (
    ComputeVisitRegionsTask,
    DefineVisitsConfig,
    DefineVisitsTask,
    GroupExposuresTask,
)
from simulated_survey import INSTRUMENT, camera, insert_exposures, night
from visit_tables import (
    DAY,
    GROUPINGS,
    N_DETECTORS,
    add_exposures,
    coordinates,
    counts,
    data_ids,
    exposure,
    make_task,
    records,
    root,
    stored,
    tables,
)

pytestmark = pytest.mark.sqlite_only  # What the database does is marked.

SINGLE = [exposure(1)]
SNAPS = [exposure(2, seq_start=2, seq_end=3), exposure(3, seq_start=2, seq_end=3)]


@pytest.fixture
def butler(make_survey: Callable[..., Butler]) -> Butler:
    """Return a repository with a single exposure and two snaps."""
    butler = make_survey()
    add_exposures(butler, SINGLE + SNAPS)
    return butler


@pytest.fixture
def given() -> list[dict[str, Any]]:
    return data_ids(one["id"] for one in SINGLE + SNAPS)


# The base class's methods


def test_names_and_subtasks(butler: Butler) -> None:
    task = DefineVisitsTask(butler=butler)
    assert (task.getName(), task.getFullName()) == ("defineVisits", "defineVisits")
    tasks = {name: reference() for name, reference in task.getTaskDict().items()}
    assert tasks == {
        "defineVisits": task,
        "defineVisits.groupExposures": task.groupExposures,
        "defineVisits.computeVisitRegions": task.computeVisitRegions,
    }
    assert isinstance(task.groupExposures, GroupExposuresTask)
    assert isinstance(task.computeVisitRegions, ComputeVisitRegionsTask)
    assert task.groupExposures.getFullName() == "defineVisits.groupExposures"
    assert DefineVisitsTask(butler=butler, name="mine").getFullName() == "mine"


def test_metadata_has_the_times_of_run(butler: Butler, given: list[dict[str, Any]]) -> None:
    task = DefineVisitsTask(butler=butler)
    before = datetime.datetime.now(datetime.UTC)
    task.run(given)
    after = datetime.datetime.now(datetime.UTC)
    metadata = task.getFullMetadata()
    assert set(metadata.keys()) >= {"defineVisits", "defineVisits:groupExposures", "defineVisits:computeVisitRegions"}
    start, end = (datetime.datetime.fromisoformat(metadata[f"defineVisits.run{edge}Utc"]) for edge in ("Start", "End"))
    assert before <= start < end <= after
    assert metadata["defineVisits.runEndCpuTime"] > metadata["defineVisits.runStartCpuTime"]
    task.emptyMetadata()
    assert not task.getFullMetadata()["defineVisits"].keys()


def test_timer_writes_to_the_metadata(butler: Butler) -> None:
    task = DefineVisitsTask(butler=butler)
    with task.timer("block"):
        pass
    assert task.metadata["blockEndCpuTime"] >= task.metadata["blockStartCpuTime"]


class ParentConfig(Config):
    visits = DefineVisitsTask.makeField("Defines visits.")


class ParentTask(Task):
    ConfigClass = ParentConfig
    visits: DefineVisitsTask
    _DefaultName = "parent"

    def __init__(self, butler: Butler, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.makeSubtask("visits", butler=butler)


def test_as_a_subtask(butler: Butler, given: list[dict[str, Any]]) -> None:
    config = ParentConfig()
    config.visits.groupExposures.name = "by-group-metadata"
    parent = ParentTask(butler, config=config)
    assert parent.visits.getFullName() == "parent.visits"
    assert counts(parent.visits.run(given)) == {"n_visits": 2, "n_new": 2}
    assert "runEndUtc" in parent.getFullMetadata()["parent:visits"]


def test_pickled(butler: Butler, given: list[dict[str, Any]]) -> None:
    task = make_task(butler, "one-to-one-and-by-counter", chunkSize=7)
    copy = pickle.loads(pickle.dumps(task))
    assert (copy.config, copy.getFullName()) == (task.config, task.getFullName())
    assert root(copy.butler) == root(butler)
    assert counts(copy.run(given)) == {"n_visits": 4, "n_new": 4}
    assert counts(task.run(given)) == {"n_visits": 4, "n_skipped": 4}


def test_invalid_config_is_refused(butler: Butler) -> None:
    config = DefineVisitsConfig()
    config.regionTolerance = None
    with pytest.raises(FieldValidationError, match="regionTolerance"):
        DefineVisitsTask(config, butler=butler)


@pytest.mark.parametrize(("field", "value"), [("chunkSize", 0), ("regionTolerance", -1.0), ("updateObsCoreTable", 3)])
def test_invalid_value_is_refused(field: str, value: Any) -> None:
    with pytest.raises(FieldValidationError, match=field):
        DefineVisitsConfig().update(**{field: value})


# What it is given


def _mixed(butler: Butler, ids: list[int]) -> list[Any]:
    return [data_ids(ids)[0], coordinates(butler, ids)[1], records(butler, ids)[2]]


def _with_detector(butler: Butler, ids: list[int]) -> list[Any]:
    first, *others = data_ids(ids)
    more = [DataCoordinate.standardize(other, detector=4, universe=butler.dimensions) for other in others]
    return [{**first, "detector": 3}, *more]


INPUTS: dict[str, Callable[[Butler, list[int]], Iterable[Any]]] = {
    "coordinates": coordinates,
    "records": records,
    "mixed": _mixed,
    "duplicates": lambda butler, ids: [*data_ids(ids), *records(butler, ids), *coordinates(butler, ids[:1])],
    "generator": lambda butler, ids: (data_id for data_id in data_ids(ids)),
    "backwards": lambda butler, ids: reversed(records(butler, ids)),
    "more dimensions": _with_detector,
    "expanded": lambda butler, ids: [record.dataId for record in records(butler, ids)],
}


@pytest.mark.parametrize("kind", INPUTS)
def test_kinds_of_input(make_survey: Callable[..., Butler], butler: Butler, kind: str) -> None:
    other = make_survey()
    ids = add_exposures(other, SINGLE + SNAPS)
    make_task(other, "one-to-one-and-by-counter").run(data_ids(ids))
    result = make_task(butler, "one-to-one-and-by-counter").run(INPUTS[kind](butler, ids))
    assert counts(result) == {"n_visits": 4, "n_new": 4}
    assert tables(butler) == tables(other)


def test_default_instrument(butler: Butler) -> None:
    task = DefineVisitsTask(butler=butler.clone(dataId={"instrument": INSTRUMENT}))
    assert task.run([{"exposure": SINGLE[0]["id"]}]).n_new == 1


def test_record_of_another_dimension(butler: Butler) -> None:
    with pytest.raises(ValueError, match="detector"):
        DefineVisitsTask(butler=butler).run(stored(butler, "detector"))


def test_two_instruments(butler: Butler, given: list[dict[str, Any]]) -> None:
    with pytest.raises(RuntimeError, match=rf"OtherCam.*{INSTRUMENT}|{INSTRUMENT}.*OtherCam"):
        DefineVisitsTask(butler=butler).run([*given, {**given[0], "instrument": "OtherCam"}])
    assert not stored(butler, "visit")


def test_unknown_exposure(butler: Butler, given: list[dict[str, Any]]) -> None:
    with pytest.raises(DataIdValueError, match=f"{INSTRUMENT} has no exposure 77"):
        DefineVisitsTask(butler=butler).run([*given, *data_ids([77])])
    assert not stored(butler, "visit")


def test_nothing_to_do(butler: Butler) -> None:
    result = DefineVisitsTask(butler=butler).run([])
    assert counts(result) == {}
    assert result.n_visits == result.n_skipped == result.n_new == result.n_filtered == 0
    assert result.n_fully_updated == result.n_partially_updated == 0


@pytest.mark.both_databases
def test_read_only_butler(butler: Butler, given: list[dict[str, Any]]) -> None:
    read_only = Butler.from_config(root(butler), writeable=False)
    with pytest.raises(TypeError, match="read-only"):
        DefineVisitsTask(butler=read_only).run(given)


# What is not on the sky

OFF_SKY = [{"tracking_ra": None}, {"tracking_dec": None}, {"sky_angle": None}, {"can_see_sky": False}]


@pytest.mark.parametrize("changes", OFF_SKY, ids=lambda changes: next(iter(changes)))
def test_off_sky_is_ignored(butler: Butler, given: list[dict[str, Any]], changes: dict[str, Any]) -> None:
    ids = add_exposures(butler, [exposure(9, observation_type="stuttered", **changes)])
    result = DefineVisitsTask(butler=butler).run([*given, *data_ids(ids)])
    assert counts(result) == {"n_visits": 3, "n_new": 3, "n_off_sky": 1}
    assert result.off_sky_types == {"stuttered": 1}
    assert ids[0] not in {record.exposure for record in stored(butler, "visit_definition")}


@pytest.mark.parametrize("changes", OFF_SKY, ids=lambda changes: next(iter(changes)))
def test_off_sky_can_be_an_error(butler: Butler, given: list[dict[str, Any]], changes: dict[str, Any]) -> None:
    (id_,) = add_exposures(butler, [exposure(9, observation_type="stuttered", **changes)])
    with pytest.raises(RuntimeError, match=f"{id_}.*stuttered"):
        make_task(butler, ignoreNonScienceExposures=False).run([*given, *data_ids([id_])])
    assert not stored(butler, "visit")


@pytest.mark.parametrize("strict", [False, True])
def test_unknown_sky_is_sky(butler: Butler, strict: bool) -> None:
    ids = add_exposures(butler, [exposure(9, can_see_sky=None)])
    assert make_task(butler, ignoreNonScienceExposures=not strict).run(data_ids(ids)).n_new == 1


@pytest.mark.parametrize("incremental", [False, True])
@pytest.mark.parametrize("grouping", GROUPINGS)
def test_darks_and_flats(make_survey: Callable[..., Butler], grouping: str, incremental: bool) -> None:
    butler = make_survey()
    calibrations = [one for one in night(40) if one["observation_type"] != "science"]
    insert_exposures(butler, calibrations)
    result = make_task(butler, grouping).run(data_ids(one["id"] for one in calibrations), incremental=incremental)
    assert counts(result) == {"n_off_sky": len(calibrations)}
    assert set(result.off_sky_types) == {"flat", "dark", "bias"}
    assert not any(tables(butler).values())


def test_off_sky_exposure_of_a_group(butler: Butler, given: list[dict[str, Any]]) -> None:
    add_exposures(butler, [exposure(4, seq_start=2, seq_end=3, can_see_sky=False)])
    make_task(butler, "by-group-metadata").run(given, incremental=True)
    assert {record.exposure for record in stored(butler, "visit_definition")} == {id_["exposure"] for id_ in given}


# Chunks


@pytest.mark.both_databases
@pytest.mark.parametrize("size", [pytest.param(1, marks=pytest.mark.sqlite_only), 3])
@pytest.mark.parametrize("grouping", GROUPINGS)
def test_chunks(make_survey: Callable[..., Butler], grouping: str, size: int) -> None:
    chunked, whole = make_survey(), make_survey()
    exposures = night(30)
    results = []
    for butler, chunk_size in ((chunked, size), (whole, 500)):
        insert_exposures(butler, exposures)
        results.append(make_task(butler, grouping, chunkSize=chunk_size).run(data_ids(one["id"] for one in exposures)))
    assert counts(results[0]) == counts(results[1])
    assert results[0].n_visits > 3 * size
    assert tables(chunked) == tables(whole)
    assert len(stored(chunked, "visit_detector_region")) == N_DETECTORS * results[0].n_visits


# Exposures that make no valid visit


def test_one_visit_id_for_two_groups(butler: Butler) -> None:
    ids = add_exposures(butler, [exposure(11, group="alpha-17"), exposure(12, group="beta-17")])
    with pytest.raises(RuntimeError, match=r"\b17\b.*'alpha-17' and 'beta-17'"):
        make_task(butler, "by-group-metadata").run(data_ids(ids))
    assert not stored(butler, "visit")


@pytest.mark.parametrize(
    ("group", "message"),
    [("no digits at all", "gives no visit id: expected digits"), ("9" * 19, r"expected 0 to 2\^63")],
)
def test_group_without_visit_id(butler: Butler, group: str, message: str) -> None:
    ids = add_exposures(butler, [exposure(11, group=group)])
    with pytest.raises(RuntimeError, match=f"'{group}'.*{message}"):
        make_task(butler, "by-group-metadata").run(data_ids(ids))
    assert not stored(butler, "visit")


@pytest.mark.parametrize("filters", [(None, None), ("r_sim", None), ("r_sim", "g_sim", "r_sim")])
def test_no_common_filter(butler: Butler, filters: tuple[str | None, ...]) -> None:
    record_class = butler.dimensions["exposure"].RecordClass
    # The table takes no null filters; a record does.
    given = [
        record_class(instrument=INSTRUMENT, **exposure(11 + i, group="g11", physical_filter=filter_))
        for i, filter_ in enumerate(filters)
    ]
    with pytest.raises(RuntimeError, match="filter") as error:
        make_task(butler, "by-group-metadata").run(given)
    for record, filter_ in zip(given, filters, strict=True):
        assert f"{record.id} ({filter_})" in str(error.value)
    assert not stored(butler, "visit")


def test_camera_with_too_many_detectors(butler: Butler, given: list[dict[str, Any]]) -> None:
    butler.collections.register("big")
    butler.put(camera(rafts=2), "camera_geometry", instrument=INSTRUMENT, run="big")
    with pytest.raises(RuntimeError, match=rf"{INSTRUMENT} has 9 detectors that are not registered.* 9\)"):
        DefineVisitsTask(butler=butler).run(given, collections="big")
    assert not stored(butler, "visit")
    assert DefineVisitsTask(butler=butler).run(given, collections=[]).n_new == len(given)


def test_day_and_names(butler: Butler, given: list[dict[str, Any]]) -> None:
    """One whole visit of two snaps, field by field."""
    make_task(butler, "by-group-metadata").run(given)
    (visit,) = (record for record in stored(butler, "visit") if record.name == SNAPS[0]["group"])
    assert visit.id == 20260401235902000
    assert (visit.day_obs, visit.seq_num, visit.physical_filter) == (DAY, 2, "r_sim")
    assert (visit.target_name, visit.science_program, visit.observation_reason) == ("field 2", "SURVEY-1", "survey")
    assert visit.exposure_time == SNAPS[0]["exposure_time"] + SNAPS[1]["exposure_time"]
    assert visit.zenith_angle == (SNAPS[0]["zenith_angle"] + SNAPS[1]["zenith_angle"]) / 2
    assert visit.azimuth == pytest.approx(102.5, abs=1e-12)
    assert visit.timespan.nsec == (SNAPS[0]["timespan"].nsec[0], SNAPS[1]["timespan"].nsec[1])


@pytest.mark.both_databases
def test_in_a_transaction(butler: Butler, given: list[dict[str, Any]]) -> None:
    """In a transaction of the caller's, too, visits are whole or not there, whatever the database refuses."""
    first, second, third = (data_id["exposure"] for data_id in given)
    taken = SNAPS[0]["obs_id"]
    with butler.transaction():
        make_task(butler, "by-group-metadata").run(data_ids(add_exposures(butler, [exposure(4, group=taken)])))
        with pytest.raises(DatabaseConflictError, match=f"{second}.*{taken}"):
            make_task(butler).run(given)
    written = {visit.id for visit in stored(butler, "visit")}
    assert len(written) == 3
    assert written > {first, third}
    assert {row.visit for row in stored(butler, "visit_definition")} == written
    regions = Counter(record.visit for record in stored(butler, "visit_detector_region"))
    assert regions == dict.fromkeys(written, N_DETECTORS)
