"""Several processes define the same visits at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from lsst.daf.butler import Butler
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.pex.config import registerConfigurable
from lsst.sphgeom import Region

from butler_visits import (
    ComputeVisitRegionsFromSingleRawWcsConfig,
    ComputeVisitRegionsFromSingleRawWcsTask,
    ComputeVisitRegionsTask,
    DefineVisitsConfig,
    DefineVisitsTask,
    VisitDefinitionData,
    VisitRegions,
)
from children import children
from simulated_survey import insert_exposures, night
from visit_tables import Tables, add_exposures, counts, data_ids, exposure, make_task, root, stored, tables

EXPOSURES = [one for one in night(100) if one["observation_type"] == "science"]
SNAPS = [exposure(2, seq_start=2, seq_end=3), exposure(3, seq_start=2, seq_end=3)]


def write(repository: Path, incremental: bool, events: Connection) -> None:
    """Define the visits of all exposures in a child process, when it is told to, and say how many they were."""
    butler = Butler.from_config(repository, writeable=True)
    task = make_task(butler, "one-to-one-and-by-counter", chunkSize=5)
    exposures = stored(butler, "exposure")
    events.send("ready")
    events.recv()
    result = task.run(exposures, incremental=incremental)
    events.send((result.n_visits, result.n_new, result.n_skipped))


@pytest.mark.sqlite_only  # test_many_writers.py does as much in both.
@pytest.mark.parametrize("incremental", [False, True])
def test_two_processes(make_survey: Callable[..., Butler], incremental: bool) -> None:
    butler, alone = make_survey(), make_survey()
    for one in (butler, alone):
        insert_exposures(one, EXPOSURES)
    n_visits = make_task(alone, "one-to-one-and-by-counter").run(data_ids(one["id"] for one in EXPOSURES)).n_visits
    writers = [children().Pipe() for _ in range(2)]
    for _, child_end in writers:
        children().Process(target=write, args=(root(butler), incremental, child_end)).start()
        child_end.close()
    for writer, _ in writers:
        assert writer.poll(600) and writer.recv() == "ready"
    for writer, _ in writers:
        writer.send("go")
    assert all(writer.poll(600) for writer, _ in writers)
    done = [writer.recv() for writer, _ in writers]
    assert [n for n, *_ in done] == [n_visits, n_visits]
    assert [new + skipped for _, new, skipped in done] == [n_visits, n_visits]
    assert sum(new for _, new, _ in done) == n_visits
    assert tables(Butler.from_config(root(butler))) == tables(alone)


class OvertakenConfig(ComputeVisitRegionsFromSingleRawWcsConfig):
    """Config of `OvertakenTask`."""


@registerConfigurable("overtaken", ComputeVisitRegionsTask.registry)
class OvertakenTask(ComputeVisitRegionsFromSingleRawWcsTask):
    """Computes regions while another writer comes first: before the plan is made, or before it is written.

    For each plan the next of the other writers comes, until there are no more.
    """

    ConfigClass = OvertakenConfig
    other_writers: ClassVar[Iterator[Callable[[], Any]]] = iter(())
    other_writer: ClassVar[Callable[[], Any] | None] = None
    early: ClassVar[bool] = False

    def compute_all(
        self, visits: Sequence[VisitDefinitionData], *, collections: Sequence[str] | None = None
    ) -> list[VisitRegions]:
        type(self).other_writer = next(self.other_writers, None)
        if self.early:
            self.let_other_write()
        return [
            VisitRegions(regions.region, regions.detector_ids, partial(self.detectors_later, regions))
            for regions in super().compute_all(visits, collections=collections)
        ]

    @classmethod
    def detectors_later(cls, regions: VisitRegions) -> dict[int, Region]:
        cls.let_other_write()
        return regions.detectors()

    @classmethod
    def let_other_write(cls) -> None:
        writer, cls.other_writer = cls.other_writer, None
        if writer is not None:
            writer()


def overtaken_task(
    butler: Butler, *other_writers: Callable[[], Any], early: bool = False, **region_fields: Any
) -> DefineVisitsTask:
    config = DefineVisitsConfig()
    config.groupExposures.name = "by-group-metadata"
    config.computeVisitRegions.name = "overtaken"
    config.computeVisitRegions["overtaken"].update(**region_fields)
    OvertakenTask.other_writers, OvertakenTask.early = iter(other_writers), early
    return DefineVisitsTask(config, butler=butler)


def other(butler: Butler) -> Butler:
    return Butler.from_config(root(butler), writeable=True)


@pytest.fixture
def expected(make_survey: Callable[..., Butler]) -> Tables:
    """Return the tables of an undisturbed writer."""
    butler = make_survey()
    ids = add_exposures(butler, [exposure(1), *SNAPS])
    make_task(butler, "by-group-metadata").run(data_ids(ids))
    return tables(butler)


@pytest.mark.parametrize("by_other", [1, 3])
def test_overtaken(make_survey: Callable[..., Butler], expected: Tables, by_other: int) -> None:
    butler = make_survey()
    given = data_ids(add_exposures(butler, [exposure(1), *SNAPS]))
    first = make_task(other(butler), "by-group-metadata")
    task = overtaken_task(butler, lambda: first.run(given[:by_other]))
    n_first = 1 if by_other == 1 else 2
    assert counts(task.run(given)) == {
        name: value for name, value in {"n_visits": 2, "n_new": 2 - n_first, "n_skipped": n_first}.items() if value
    }
    assert tables(butler) == expected


@pytest.mark.parametrize("skip", [False, True])
def test_overtaken_by_something_else(make_survey: Callable[..., Butler], skip: bool) -> None:
    butler = make_survey()
    given = data_ids(add_exposures(butler, [exposure(1), *SNAPS]))
    first = make_task(other(butler), "by-group-metadata")
    # Only one of the snaps, so that the other writer's visit is another one.
    task = overtaken_task(butler, lambda: first.run(given[1:2]))
    if skip:
        assert counts(task.run(given, skip_conflicting=True)) == {"n_visits": 2, "n_new": 1, "n_skipped": 1}
    else:
        with pytest.raises(ConflictingDefinitionError, match="exposure_time"):
            task.run(given)
    visits = {record.name: record for record in stored(butler, "visit")}
    assert visits[SNAPS[0]["group"]].exposure_time == SNAPS[0]["exposure_time"]
    assert [row.exposure for row in stored(butler, "visit_definition")].count(SNAPS[1]["id"]) == 0


def test_overtaken_while_adding_exposures(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    first_snap, second_snap = data_ids(add_exposures(butler, SNAPS))
    make_task(butler, "by-group-metadata").run([first_snap])
    first = make_task(other(butler), "by-group-metadata")
    # Merged regions change with the second snap, so that detectors' regions are asked for.
    task = overtaken_task(butler, lambda: first.run([second_snap], incremental=True), mergeExposures=True)
    assert counts(task.run([second_snap], incremental=True)) == {"n_visits": 1, "n_fully_updated": 1}
    assert {row.exposure for row in stored(butler, "visit_definition")} == {snap["id"] for snap in SNAPS}
    (visit,) = stored(butler, "visit")
    assert visit.exposure_time == sum(snap["exposure_time"] for snap in SNAPS)


@pytest.mark.parametrize("early", [False, True], ids=["before writing", "before reading"])
def test_overtaken_with_a_new_exposure(make_survey: Callable[..., Butler], early: bool) -> None:
    """A snap that arrives, with its visit, while another run is on its way stays in the visit."""
    butler = make_survey()
    (first_snap,) = data_ids(add_exposures(butler, SNAPS[:1]))
    first = other(butler)

    def arrive() -> None:
        make_task(first, "by-group-metadata").run(data_ids(add_exposures(first, SNAPS[1:])), incremental=True)

    overtaken_task(butler, arrive, early=early).run([first_snap], incremental=True)
    assert {row.exposure for row in stored(butler, "visit_definition")} == {snap["id"] for snap in SNAPS}
    (visit,) = stored(butler, "visit")
    assert visit.exposure_time == sum(snap["exposure_time"] for snap in SNAPS)


def test_overtaken_by_another_group(make_survey: Callable[..., Butler]) -> None:
    """Exposures whose group is corrected while a run is on its way get the visit of that group, and none is lost."""
    butler, alone = make_survey(), make_survey()
    exposures = [exposure(1), *SNAPS]
    corrected = [exposures[0], *({**snap, "group": "2026-04-02T00:00:00.500"} for snap in SNAPS)]
    given = data_ids(add_exposures(butler, exposures))
    first = other(butler)

    def correct() -> None:
        make_task(first, "by-group-metadata").run(given[:1])
        add_exposures(first, corrected, replace=True)

    result = overtaken_task(butler, correct).run(given, incremental=True)
    assert (result.n_visits, result.n_new) == (2, 1)
    make_task(alone, "by-group-metadata").run(data_ids(add_exposures(alone, corrected)))
    assert tables(butler) == tables(alone)


@pytest.mark.parametrize("on_error", ["raise", pytest.param("skip", marks=pytest.mark.slow)])
def test_overtaken_again_and_again(make_survey: Callable[..., Butler], on_error: Literal["raise", "skip"]) -> None:
    """Even a writer that others overtake at each attempt, however many there are, finishes in the end."""
    butler, alone = make_survey(), make_survey()
    exposures = [exposure(number) for number in range(1, 31)]
    given = data_ids(add_exposures(butler, exposures))
    first = make_task(other(butler), "by-group-metadata")
    task = overtaken_task(butler, *(partial(first.run, [one]) for one in given[:5] + given[10:]))
    result = task.run(given, on_error=on_error)
    assert (result.n_visits, result.n_failed) == (30, 0)
    assert next(OvertakenTask.other_writers, None) is None
    make_task(alone, "by-group-metadata").run(data_ids(add_exposures(alone, exposures)))
    assert tables(butler) == tables(alone)
