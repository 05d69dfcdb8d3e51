"""Input that nobody should give, and that somebody will: records, data IDs, algorithms, cameras, repositories."""

from __future__ import annotations

import copy
import math
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from lsst.daf.butler import Butler, DataCoordinate, DimensionRecord
from lsst.daf.butler.registry import ConflictingDefinitionError, DataIdError
from lsst.daf.butler.registry.interfaces import DatabaseConflictError
from lsst.pex.config import registerConfigurable
from lsst.sphgeom import ConvexPolygon, LonLat, Region, UnitVector3d

from butler_visits import (
    CameraFileError,
    ComputeVisitRegionsFromSingleRawWcsConfig,
    ComputeVisitRegionsFromSingleRawWcsTask,
    ComputeVisitRegionsTask,
    DefinitionError,
    GroupExposuresOneToOneTask,
    GroupExposuresTask,
    VisitDefinitionData,
)
from butler_visits.camera.yaml_camera import camera_from_mapping
from command_line import define_visits, lines, run_program
from obscore import FIRST, SECOND, SINGLE, VISITS, obscore_regions, visit_regions
from simulated_survey import INSTRUMENT, camera
from visit_tables import (
    N_DETECTORS,
    add_exposures,
    counts,
    data_ids,
    exposure,
    make_task,
    root,
    stored,
    tables,
)

pytestmark = pytest.mark.sqlite_only  # What the database does is marked.

GROUP = "by-group-metadata"
COUNTER = "one-to-one-and-by-counter"
SNAPS = [exposure(2, seq_start=2, seq_end=3), exposure(3, seq_start=2, seq_end=3)]


@pytest.fixture
def butler(make_survey: Callable[..., Butler]) -> Butler:
    return make_survey()


def hand_made(butler: Butler, **fields: Any) -> DimensionRecord:
    """Make an exposure record that need not be stored."""
    return butler.dimensions["exposure"].RecordClass(instrument=INSTRUMENT, **fields)


def failure(*arguments: object) -> str:
    """Run a command that must fail in a way that helps, and return what it says."""
    result = define_visits(*arguments)
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code != 0
    assert "Traceback" not in result.output
    assert 'File "' not in result.output
    assert not result.stdout
    return re.split(r"^Error: ", result.stderr.strip(), flags=re.MULTILINE)[-1]


# Values that are no numbers


@pytest.mark.both_databases
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("field", ["zenith_angle", "azimuth", "exposure_time"])
def test_not_a_number_is_null(butler: Butler, field: str, value: float) -> None:
    """SQLite stores NaN as null, so a visit with one would never equal what is stored of it."""
    snaps = [{**SNAPS[0], field: value}, SNAPS[1]]
    add_exposures(butler, snaps)
    given = [hand_made(butler, **snap) for snap in snaps]
    for grouping in ("one-to-one", GROUP):
        task = make_task(butler, grouping)
        first = task.run(given)
        assert first.n_new == first.n_visits > 0
        assert task.run(given).n_skipped == first.n_visits
    values = {visit.id: getattr(visit, field) for visit in stored(butler, "visit")}
    assert values[SNAPS[0]["id"]] is None
    assert values[SNAPS[1]["id"]] == SNAPS[1][field]
    # The mean or sum of two, of which one is unknown.
    assert values[20260401235902000] is None


# Two groups with the same id


@pytest.mark.parametrize("order", [("1-2", "12"), ("12", "1-2")])
def test_incremental_leaves_other_groups_alone(butler: Butler, order: tuple[str, str]) -> None:
    """Groups 1-2 and 12 both give the visit id 12; the one that comes second does not replace the first."""
    first, second = (exposure(n, group=group) for n, group in enumerate(order, start=1))
    task = make_task(butler, GROUP)
    task.run(data_ids(add_exposures(butler, [first])), incremental=True)
    before = tables(butler)
    late = add_exposures(butler, [second])
    for _ in range(2):
        with pytest.raises(ConflictingDefinitionError) as error:
            task.run(data_ids(late), incremental=True)
        for part in ("12", str(first["id"])):
            assert part in str(error.value)
        assert tables(butler) == before


def test_incremental_completes_the_group_beside_a_clash(butler: Butler) -> None:
    """Another group's visit is refused, and a late snap of the same run still joins its own."""
    (clashing,) = add_exposures(butler, [exposure(1, group="12")])
    snaps = add_exposures(butler, SNAPS)
    task = make_task(butler, GROUP)
    task.run(data_ids([clashing, snaps[0]]), incremental=True)
    (late,) = add_exposures(butler, [exposure(7, group="1-2")])
    with pytest.raises(ConflictingDefinitionError, match=r"\b12\b"):
        task.run(data_ids([snaps[1], late]), incremental=True)
    members = {(row.visit, row.exposure) for row in stored(butler, "visit_definition")}
    assert members == {(12, clashing), (20260401235902000, snaps[0]), (20260401235902000, snaps[1])}


# What is no list of exposures


ODD_ARGUMENTS: dict[str, Callable[[Butler], Any]] = {
    "dict": lambda butler: data_ids([SNAPS[0]["id"]])[0],
    "data ID": lambda butler: DataCoordinate.standardize(data_ids([SNAPS[0]["id"]])[0], universe=butler.dimensions),
    "data ID of a visit": lambda butler: DataCoordinate.standardize(
        instrument=INSTRUMENT, visit=5, universe=butler.dimensions
    ),
    "record": lambda butler: stored(butler, "exposure")[0],
    "int": lambda butler: SNAPS[0]["id"],
    "None": lambda butler: None,
}


def assert_refused(butler: Butler, data_ids: Any) -> None:
    with pytest.raises(ValueError, match=r"(?i)expected.*(exposure.*data ids?|exposure records)"):
        make_task(butler).run(data_ids)
    assert not stored(butler, "visit")


@pytest.mark.parametrize("kind", ODD_ARGUMENTS)
def test_argument_that_is_no_list(butler: Butler, kind: str) -> None:
    add_exposures(butler, SNAPS)
    assert_refused(butler, ODD_ARGUMENTS[kind](butler))


@pytest.mark.parametrize(
    "item",
    [
        {"instrument": INSTRUMENT, "exposure": "text"},
        5,
        None,
        "text",
    ],
    ids=str,
)
def test_item_that_is_no_exposure(butler: Butler, item: Any) -> None:
    ids = add_exposures(butler, SNAPS)
    assert_refused(butler, [*data_ids(ids), item])


@pytest.mark.parametrize(
    "item",
    [
        {"instrument": INSTRUMENT, "visit": 5},
        {"exposure": SNAPS[0]["id"]},
        {"instrument": INSTRUMENT, "exposure": None},
        {},
    ],
    ids=str,
)
def test_item_that_is_incomplete(butler: Butler, item: Any) -> None:
    ids = add_exposures(butler, SNAPS)
    with pytest.raises(DataIdError, match="incomplete: expected values for instrument and exposure"):
        make_task(butler).run([*data_ids(ids), item])
    assert not stored(butler, "visit")


def test_text_is_no_list(butler: Butler) -> None:
    assert_refused(butler, "exposures")


def test_data_id_of_a_visit_in_a_list(butler: Butler) -> None:
    with pytest.raises(DataIdError, match="incomplete: expected values for instrument and exposure"):
        make_task(butler).run([ODD_ARGUMENTS["data ID of a visit"](butler)])


# Exposures without a type


def test_unknown_observation_type(butler: Butler) -> None:
    dark = {**SNAPS[0], "observation_type": None, "tracking_ra": None}
    add_exposures(butler, [dark, SNAPS[1]])
    assert lines(define_visits(root(butler), INSTRUMENT)) == [
        "1 visit: 1 new, 0 updated, 0 left as they are.",
        "Left out 1 exposure not on the sky: 1 of unknown type.",
    ]


# What the database refuses


def assert_only_one_refused(
    butler: Butler, grouping: str, given: Sequence[Any], refused: str, others: set[int]
) -> None:
    """Check that the error names one visit, and that all others of its chunk are there, now and after another run."""
    for _ in range(2):
        with pytest.raises((DefinitionError, DatabaseConflictError), match=refused):
            make_task(butler, grouping).run(given)
        assert {visit.id for visit in stored(butler, "visit")} == others
        regions = stored(butler, "visit_detector_region")
        assert len(regions) == N_DETECTORS * len(others)


@pytest.mark.both_databases
@pytest.mark.parametrize("position", [0, 2, 4])
def test_visit_name_that_is_taken(butler: Butler, position: int) -> None:
    """Names of visits are unique: a group with the name of an exposure whose visit is there cannot have one."""
    single = exposure(90)
    make_task(butler).run(data_ids(add_exposures(butler, [single])))
    groups = [f"night-{n}" for n in range(1, 6)]
    groups[position] = single["obs_id"]
    clashing = int(re.sub(r"\D", "", single["obs_id"]))
    ids = add_exposures(butler, [exposure(n, group=group) for n, group in enumerate(groups, start=1)])
    others = {single["id"], *({1, 2, 3, 4, 5} - {position + 1})}
    message = rf"(?s)\b{clashing}\b.*{single['obs_id']}"
    assert_only_one_refused(butler, GROUP, data_ids(ids), message, others)


@pytest.mark.both_databases
@pytest.mark.parametrize("position", [0, 2, 4])
def test_exposure_that_is_not_registered(butler: Butler, position: int) -> None:
    described = [exposure(n) for n in range(1, 6)]
    made_up = described[position]
    ids = add_exposures(butler, [one for one in described if one is not made_up])
    given = [hand_made(butler, **one) for one in described]
    assert_only_one_refused(butler, "one-to-one", given, rf"\b{made_up['id']}\b", set(ids))


@pytest.mark.both_databases
def test_several_visits_are_refused(butler: Butler) -> None:
    """Those that can be written are, however many cannot."""
    described = [exposure(n) for n in range(1, 9)]
    ids = add_exposures(butler, described[1::2])
    given = [hand_made(butler, **one) for one in described]
    assert_only_one_refused(butler, "one-to-one", given, rf"\b{described[0]['id']}\b", set(ids))


@pytest.mark.both_databases
def test_refused_visits_are_skipped(butler: Butler) -> None:
    """With on_error="skip" they are counted as failed, and the others as what they are."""
    described = [exposure(n) for n in range(1, 9)]
    ids = add_exposures(butler, described[1::2])
    given = [hand_made(butler, **one) for one in described]
    result = make_task(butler).run(given, on_error="skip")
    assert {name: value for name, value in counts(result).items() if name != "failures"} == {
        "n_visits": 4,
        "n_new": 4,
        "n_failed": 4,
    }
    assert sorted(failed.exposures for failed in result.failures) == [(one["id"],) for one in described[::2]]
    assert {visit.id for visit in stored(butler, "visit")} == set(ids)


# ObsCore and chunks


@pytest.mark.parametrize("before", [[], [FIRST], [SECOND]], ids=["none", "first snap", "second snap"])
@pytest.mark.parametrize("chunk_size", [1, 500])
def test_obscore_does_not_depend_on_chunks(
    obscore_butler: Butler,
    chunk_size: int,
    before: list[int],
) -> None:
    """Also where an exposure's own visit is there already, and its sequence's is written after that."""
    task = make_task(obscore_butler, COUNTER, chunkSize=chunk_size)
    task.run(data_ids(before))
    task.run(data_ids([SINGLE, FIRST, SECOND]), incremental=True)
    assert obscore_regions(obscore_butler) == visit_regions(obscore_butler, VISITS[COUNTER])


# Subclasses of our algorithms


@registerConfigurable("tests-caps", ComputeVisitRegionsTask.registry)
class CapsTask(ComputeVisitRegionsFromSingleRawWcsTask):
    """Overrides what Rubin's class has, and nothing else."""

    ConfigClass = ComputeVisitRegionsFromSingleRawWcsConfig

    def compute(
        self, visit: VisitDefinitionData, *, collections: Sequence[str] | None = None
    ) -> tuple[Region, dict[int, Region]]:
        _, detectors = super().compute(visit, collections=collections)
        return detectors[4], {4: detectors[4], 5: triangle(visit)}


def triangle(visit: VisitDefinitionData) -> ConvexPolygon:
    first = visit.exposures[0]
    ra, dec = first.tracking_ra, first.tracking_dec
    corners = [(ra, dec), (ra + 1, dec), (ra, dec + 1)]
    return ConvexPolygon([UnitVector3d(LonLat.fromDegrees(*corner)) for corner in corners])


@registerConfigurable("tests-late", GroupExposuresTask.registry)
class LateTask(GroupExposuresOneToOneTask):
    """Takes the name of an exposure from its target."""

    def group(self, exposures: list[DimensionRecord], instrument: Any) -> Any:
        for visit in super().group(exposures, instrument):
            yield VisitDefinitionData(
                visit.instrument, visit.id, f"late {visit.name}", visit.visit_systems, visit.exposures
            )


def test_subclasses(butler: Butler) -> None:
    """A subclass that overrides one method of ours is used, for one visit and for many."""
    given = data_ids(add_exposures(butler, SNAPS))
    task = make_task(butler, "tests-late", computeVisitRegions="tests-caps")
    assert isinstance(task.computeVisitRegions, CapsTask)
    assert counts(task.run(given)) == {"n_visits": 2, "n_new": 2}
    regions = {(row.visit, row.detector): row.region for row in stored(butler, "visit_detector_region")}
    assert sorted(regions) == [(one["id"], detector) for one in SNAPS for detector in (4, 5)]
    for visit in stored(butler, "visit"):
        assert visit.name == f"late {next(one['obs_id'] for one in SNAPS if one['id'] == visit.id)}"
        assert visit.region == regions[visit.id, 4]
        assert len(regions[visit.id, 5].getVertices()) == 3
    assert counts(task.run(given)) == {"n_visits": 2, "n_skipped": 2}


# Logging


@pytest.mark.sqlite_only
def test_log_of_this_project_alone(butler: Butler) -> None:
    """What is below INFO is shown of our loggers if one asks for them, and of no others."""
    add_exposures(butler, SNAPS)
    arguments = ("define-visits", root(butler), INSTRUMENT)
    detailed = re.compile(r"^(\S+) (?:DEBUG|VERBOSE): ", re.MULTILINE)
    asked = run_program("butler", "--log-level", "lsst.defineVisits=DEBUG", *arguments)
    assert asked.returncode == 0, asked.stderr
    loggers = detailed.findall(asked.stderr)
    assert loggers
    assert all(name == "lsst.defineVisits" for name in loggers)
    plain = run_program("butler", *arguments)
    assert plain.returncode == 0, plain.stderr
    assert not detailed.findall(plain.stderr)


# Cameras


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("bbox", [[0, 0], [4071.5, 3999]]),
        ("bbox", [[0.5, 0], [4071, 3999]]),
        ("bbox", [[0, 0], [1e300, 3999]]),
        ("bbox", [[0, 0], [2**70, 3999]]),
        ("id", 3.7),
        ("id", 1e300),
        ("id", -(2**70)),
        ("id", "three"),
    ],
    ids=str,
)
def test_camera_with_odd_integers(field: str, value: Any) -> None:
    description = copy.deepcopy(camera(rafts=1))
    name = list(description["CCDs"])[3]
    description["CCDs"][name][field] = value
    with pytest.raises(CameraFileError) as error:
        camera_from_mapping(description, "somewhere.yaml")
    for part in ("somewhere.yaml", field, name):
        assert part in str(error.value)


def test_camera_with_whole_floats() -> None:
    """What is written 3.0 is an integer all the same."""
    description = copy.deepcopy(camera(rafts=1))
    for ccd in description["CCDs"].values():
        ccd["id"], ccd["bbox"] = float(ccd["id"]), [[float(v) for v in corner] for corner in ccd["bbox"]]
    found = camera_from_mapping(description, "x").detector_ids.tolist()
    assert found == list(range(N_DETECTORS))


# Repositories


def test_repository_by_its_label(butler: Butler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_exposures(butler, SNAPS)
    index = tmp_path / "index.yaml"
    index.write_text(f"survey: {root(butler)}\n")
    monkeypatch.setenv("DAF_BUTLER_REPOSITORY_INDEX", str(index))
    assert lines(define_visits("survey", INSTRUMENT)) == ["2 visits: 2 new, 0 updated, 0 left as they are."]
    assert len(stored(butler, "visit")) == 2
    assert "another" in failure("another", INSTRUMENT)


def test_missing_collection_beside_others(butler: Butler) -> None:
    add_exposures(butler, SNAPS)
    message = failure(root(butler), INSTRUMENT, "--collections", f"{INSTRUMENT}/calib,no/such/run")
    assert "no/such/run" in message
    assert not stored(butler, "visit")


@pytest.mark.parametrize("scheme", ["http", "s3", "gs", "nonsense"])
def test_repository_that_cannot_be_reached(scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens there, or there are no credentials, or the scheme's client is not installed."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "S3_", "LSST_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("LSST_HTTP_BACKOFF_MIN", "LSST_HTTP_BACKOFF_MAX"):
        monkeypatch.setenv(name, "0.01")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    host = "bucket" if scheme in ("s3", "gs") else "127.0.0.1:9"
    repository = f"{scheme}://{host}/repository"
    message = failure(repository, INSTRUMENT)
    assert repository in message
    assert "\n" not in message
