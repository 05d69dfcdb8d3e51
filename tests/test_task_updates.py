"""Visits that are stored already: conflicts, updates, what is missing of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from lsst.daf.butler import Butler, DimensionRecord
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.sphgeom import Angle, Circle, ConvexPolygon, Region, UnitVector3d

from butler_visits import DefineVisitsConfig, DefineVisitsTask
from visit_tables import (
    GROUPINGS,
    N_DETECTORS,
    add_exposures,
    counts,
    data_ids,
    delete_rows,
    exposure,
    make_task,
    only,
    stored,
    tables,
)

SINGLE = exposure(1)
SNAPS = [exposure(2, seq_start=2, seq_end=3), exposure(3, seq_start=2, seq_end=3)]
GROUP = "by-group-metadata"
ARCSEC = np.pi / 180 / 3600


@pytest.fixture
def butler(make_survey: Callable[..., Butler]) -> Butler:
    """Return a repository with a single exposure and two snaps."""
    butler = make_survey()
    add_exposures(butler, [SINGLE, *SNAPS])
    return butler


@pytest.fixture
def given() -> list[dict[str, Any]]:
    return data_ids([SINGLE["id"], *(snap["id"] for snap in SNAPS)])


@pytest.fixture
def visits_of(make_survey: Callable[..., Butler]) -> Callable[..., dict[str, list[tuple[Any, ...]]]]:
    """Return a function that defines visits in a fresh repository and returns its tables."""

    def define(exposures: list[dict[str, Any]], grouping: str = "one-to-one") -> dict[str, list[tuple[Any, ...]]]:
        butler = make_survey()
        ids = add_exposures(butler, exposures)
        make_task(butler, grouping).run(data_ids(ids))
        return tables(butler)

    return define


def correct(butler: Butler, **changes: Any) -> dict[str, Any]:
    """Correct the single exposure's record."""
    corrected = {**SINGLE, **changes}
    add_exposures(butler, [corrected], replace=True)
    return corrected


@pytest.mark.sqlite_only  # tests/define/test_universes.py does it in both.
@pytest.mark.parametrize("options", [{}, {"incremental": True}, {"check_detector_regions": True}])
@pytest.mark.parametrize("grouping", GROUPINGS)
def test_twice(butler: Butler, given: list[dict[str, Any]], grouping: str, options: dict[str, Any]) -> None:
    task = make_task(butler, grouping)
    first = task.run(given)
    before = tables(butler)
    assert counts(first) == {"n_visits": first.n_visits, "n_new": first.n_visits}
    assert counts(task.run(given, **options)) == {"n_visits": first.n_visits, "n_skipped": first.n_visits}
    assert tables(butler) == before


# Conflicts


@pytest.mark.sqlite_only  # It is about what is said.
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target_name": "M 31"}, ["target_name", "'field 1'", "'M 31'"]),
        ({"exposure_time": 7.0}, ["exposure_time", "15.1", "7.0"]),
        ({"science_program": None}, ["science_program", "'SURVEY-1'", "None"]),
        (
            {"obs_id": "other", "zenith_angle": 8.5},
            ["name", SINGLE["obs_id"], "'other'", "zenith_angle", "30.1", "8.5"],
        ),
        ({"timespan": SNAPS[0]["timespan"]}, ["timespan", str(SINGLE["timespan"]), str(SNAPS[0]["timespan"])]),
        ({"tracking_dec": -21.0}, ["region", "arcmin"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_conflict(butler: Butler, given: list[dict[str, Any]], changes: dict[str, Any], said: list[str]) -> None:
    task = make_task(butler)
    task.run(given)
    before = tables(butler)
    correct(butler, **changes)
    with pytest.raises(ConflictingDefinitionError) as error:
        task.run(given)
    message = str(error.value)
    assert f"Visit {SINGLE['id']} " in message
    assert f"Visit {SNAPS[0]['id']} " not in message
    for part in said:
        assert part in message
    assert tables(butler) == before


def test_conflict_leaves_others_whole(butler: Butler, given: list[dict[str, Any]]) -> None:
    task = make_task(butler)
    task.run(given[:1])
    correct(butler, target_name="M 31")
    with pytest.raises(ConflictingDefinitionError):
        task.run(given)
    regions = [record.visit for record in stored(butler, "visit_detector_region")]
    for visit in stored(butler, "visit"):
        assert regions.count(visit.id) == N_DETECTORS
    # The next run has nothing but the conflict left.
    result = task.run(given, skip_conflicting=True)
    assert result.n_skipped + result.n_new == result.n_visits == 3


def test_skip_conflicting(butler: Butler, given: list[dict[str, Any]]) -> None:
    task = make_task(butler)
    task.run(given[:2])
    before = tables(butler)
    correct(butler, target_name="M 31", tracking_dec=-21.0)
    result = task.run(given, skip_conflicting=True)
    assert counts(result) == {"n_visits": 3, "n_new": 1, "n_skipped": 2}
    after = tables(butler)
    assert set(before["visit"]) < set(after["visit"])
    assert set(before["visit_detector_region"]) < set(after["visit_detector_region"])


# Updates


def test_update_records(
    butler: Butler, given: list[dict[str, Any]], visits_of: Callable[..., dict[str, list[tuple[Any, ...]]]]
) -> None:
    task = make_task(butler)
    task.run(given[:2])
    corrected = correct(butler, target_name="M 31", tracking_dec=-31.0)
    result = task.run(given, update_records=True)
    assert counts(result) == {"n_visits": 3, "n_new": 1, "n_fully_updated": 2}
    assert tables(butler) == visits_of([corrected, *SNAPS])


def test_update_of_equal_visits_counts(butler: Butler, given: list[dict[str, Any]]) -> None:
    task = make_task(butler)
    task.run(given)
    before = tables(butler)
    assert counts(task.run(given, update_records=True)) == {"n_visits": 3, "n_fully_updated": 3}
    assert tables(butler) == before


def test_update_replaces_detector_regions(butler: Butler, given: list[dict[str, Any]]) -> None:
    task = make_task(butler)
    task.run(given)
    before = tables(butler)
    region = stored(butler, "visit_detector_region")[0]
    replace(butler, region, stored(butler, "visit_detector_region")[1].region)
    assert tables(butler) != before
    assert counts(task.run(given)) == {"n_visits": 3, "n_skipped": 3}
    assert tables(butler) != before
    task.run(given, update_records=True)
    assert tables(butler) == before


def test_update_removes_no_exposure(butler: Butler, given: list[dict[str, Any]]) -> None:
    task = make_task(butler, GROUP)
    task.run(given)
    before = tables(butler)
    result = task.run(given[1:2], update_records=True)
    assert counts(result) == {"n_visits": 1, "n_fully_updated": 1}
    after = tables(butler)
    assert after["visit_definition"] == before["visit_definition"]
    assert after["visit"] != before["visit"]
    (visit,) = (record for record in stored(butler, "visit") if record.name == SNAPS[0]["group"])
    assert visit.exposure_time == SNAPS[0]["exposure_time"]


# Incremental


def test_incremental_region_changed(
    butler: Butler, given: list[dict[str, Any]], visits_of: Callable[..., dict[str, list[tuple[Any, ...]]]]
) -> None:
    task = make_task(butler)
    task.run(given)
    corrected = correct(butler, tracking_dec=-31.0)
    result = task.run(given, incremental=True)
    assert counts(result) == {"n_visits": 3, "n_skipped": 2, "n_fully_updated": 1}
    assert tables(butler) == visits_of([corrected, *SNAPS])


def test_incremental_region_unchanged(
    butler: Butler, given: list[dict[str, Any]], visits_of: Callable[..., dict[str, list[tuple[Any, ...]]]]
) -> None:
    task = make_task(butler)
    task.run(given)
    corrected = correct(butler, target_name="M 31")
    result = task.run(given, incremental=True)
    assert counts(result) == {"n_visits": 3, "n_skipped": 2, "n_partially_updated": 1}
    assert tables(butler) == visits_of([corrected, *SNAPS])


@pytest.mark.parametrize("merge", [False, pytest.param(True, marks=pytest.mark.sqlite_only)])
@pytest.mark.parametrize("late", [0, 1])
def test_incremental_second_snap(butler: Butler, given: list[dict[str, Any]], late: int, merge: bool) -> None:
    """A snap later changes the region if it is the first, or if the regions of both are merged."""
    snaps = given[1:]
    config = DefineVisitsConfig()
    config.groupExposures.name = GROUP
    config.computeVisitRegions["single-raw-wcs"].mergeExposures = merge
    task = DefineVisitsTask(config, butler=butler)
    task.run([snaps[1 - late]])
    result = task.run([snaps[late]], incremental=True)
    fully = merge or late == 0
    assert counts(result) == {"n_visits": 1, "n_fully_updated" if fully else "n_partially_updated": 1}
    assert len(stored(butler, "visit_definition")) == 2


def test_incremental_adds_missing_exposures(butler: Butler, given: list[dict[str, Any]]) -> None:
    task = make_task(butler, GROUP)
    task.run(given)
    before = tables(butler)
    delete_rows(butler, "visit_definition", exposure=SNAPS[1]["id"])
    assert counts(task.run(given)) == {"n_visits": 2, "n_skipped": 2}
    # Its record is equal, so only the row tells.
    result = task.run(given[1:2], incremental=True)
    assert counts(result) == {"n_visits": 1, "n_partially_updated": 1}
    assert tables(butler) == before


def test_new_snap_without_incremental(butler: Butler, given: list[dict[str, Any]]) -> None:
    task = make_task(butler, GROUP)
    task.run(given[1:2])
    with pytest.raises(ConflictingDefinitionError, match=r"exposure_time is stored as 15\.2 and is now 30\.5"):
        task.run(given[1:])


# Prefilter and missing detector regions


def test_prefilter(butler: Butler, given: list[dict[str, Any]]) -> None:
    task = make_task(butler)
    task.run(given[:2])
    # It does not look at the visits, so a conflict stays unseen.
    correct(butler, target_name="M 31")
    assert counts(task.run(given, prefilter=True)) == {"n_visits": 1, "n_new": 1, "n_filtered": 2}
    assert counts(task.run(given, prefilter=True)) == {"n_filtered": 3}


@pytest.mark.sqlite_only
@pytest.mark.parametrize("option", ["update_records", "incremental"])
@pytest.mark.parametrize("exposures", [[], [SINGLE["id"]]])
def test_prefilter_cannot_update(butler: Butler, option: str, exposures: list[int]) -> None:
    with pytest.raises(TypeError, match=f"prefilter.*{option}"):
        make_task(butler).run(data_ids(exposures), prefilter=True, **only(option))
    assert not stored(butler, "visit")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"n_visits": 3, "n_skipped": 3}),
        ({"prefilter": True}, {"n_filtered": 3}),
        ({"incremental": True}, {"n_visits": 3, "n_skipped": 3}),
        ({"check_detector_regions": True}, {"n_visits": 3, "n_skipped": 2, "n_fully_updated": 1}),
        (
            {"check_detector_regions": True, "incremental": True},
            {"n_visits": 3, "n_skipped": 2, "n_fully_updated": 1},
        ),
        (
            {"check_detector_regions": True, "prefilter": True},
            {"n_visits": 1, "n_fully_updated": 1, "n_filtered": 2},
        ),
    ],
    ids=lambda value: "-".join(value),
)
@pytest.mark.parametrize("lost", [1, pytest.param(N_DETECTORS, marks=pytest.mark.sqlite_only)])
def test_missing_detector_regions(
    butler: Butler, given: list[dict[str, Any]], lost: int, options: dict[str, Any], expected: dict[str, int]
) -> None:
    task = make_task(butler)
    task.run(given)
    before = tables(butler)
    for detector in range(lost):
        where = {"visit": SINGLE["id"], "detector": detector}
        delete_rows(butler, "visit_detector_region_skypix_overlap", **where)
        delete_rows(butler, "visit_detector_region", **where)
    assert counts(task.run(given, **options)) == expected
    n_regions = len(stored(butler, "visit_detector_region"))
    if "check_detector_regions" in options:
        assert tables(butler) == before
        assert counts(task.run(given, check_detector_regions=True)) == {"n_visits": 3, "n_skipped": 3}
    else:
        assert n_regions == 3 * N_DETECTORS - lost


# Equality of regions


def replace(butler: Butler, record: DimensionRecord, region: Region | None) -> None:
    """Store a record with another region."""
    values = {name: getattr(record, name) for name in record.fields.names}
    butler.registry.insertDimensionData(
        record.definition.name, type(record)(**{**values, "region": region}), replace=True
    )


def moved(region: Region, arcsec: float) -> ConvexPolygon:
    """Turn a polygon about the poles."""
    angle = arcsec * ARCSEC
    assert isinstance(region, ConvexPolygon)
    x, y, z = np.array([list(vertex) for vertex in region.getVertices()]).T
    # As precise as can be for an angle that is as small as the rounding of its cosine.
    return ConvexPolygon([UnitVector3d(*v) for v in np.transpose([x - angle * y, y + angle * x, z]).tolist()])


@pytest.mark.sqlite_only
@pytest.mark.parametrize(
    ("arcsec", "tolerance", "equal"),
    [
        (0.0, 0.0, True),
        (1e-9, 0.0, False),
        (1e-9, 1e-6, True),
        (1e-7, 1e-6, True),
        (1e-5, 1e-6, False),
        (1e-5, 1e-4, True),
        (1e-3, 1e-4, False),
    ],
)
def test_region_tolerance(
    butler: Butler, given: list[dict[str, Any]], arcsec: float, tolerance: float, equal: bool
) -> None:
    make_task(butler).run(given[:1])
    (visit,) = stored(butler, "visit")
    region = visit.region if arcsec == 0 else moved(visit.region, arcsec)
    assert (region.encode() == visit.region.encode()) is (arcsec == 0)
    replace(butler, visit, region)
    task = make_task(butler, regionTolerance=tolerance)
    if equal:
        assert counts(task.run(given[:1])) == {"n_visits": 1, "n_skipped": 1}
    else:
        with pytest.raises(ConflictingDefinitionError, match=f"Visit {visit.id} .*region"):
            task.run(given[:1])


@pytest.mark.sqlite_only
@pytest.mark.parametrize("region", [None, Circle(UnitVector3d(1, 0, 0), Angle(0.01))], ids=["null", "circle"])
def test_region_of_another_kind(butler: Butler, given: list[dict[str, Any]], region: Region | None) -> None:
    task = make_task(butler)
    task.run(given[:1])
    before = tables(butler)
    (visit,) = stored(butler, "visit")
    replace(butler, visit, region)
    with pytest.raises(ConflictingDefinitionError, match="region"):
        task.run(given[:1])
    assert counts(task.run(given[:1], incremental=True)) == {"n_visits": 1, "n_fully_updated": 1}
    assert tables(butler) == before


def test_ids_of_several_sizes(make_survey: Callable[..., Butler]) -> None:
    """Ids that fit into four bytes may stand beside others in one statement."""
    butler = make_survey()
    snaps = [exposure(n, id=1_234_567_890 + n, seq_start=1, seq_end=2) for n in (1, 2)]
    given = data_ids(add_exposures(butler, snaps))
    task = make_task(butler, "one-to-one-and-by-counter")
    assert task.run(given).n_new == 3
    found = tables(butler)
    assert task.run(given, update_records=True).n_fully_updated == 3
    assert task.run(given, incremental=True).n_skipped == 3
    assert task.run(given, prefilter=True).n_filtered == 2
    assert tables(butler) == found
