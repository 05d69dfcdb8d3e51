"""Visits that workers define are the same that one process defines."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import pytest
from lsst.daf.butler import Butler
from lsst.daf.butler.progress import Progress, ProgressBar, ProgressHandler
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.pex.config import registerConfigurable

import trouble_regions  # noqa: F401
from butler_visits import (
    DefineVisitsConfig,
    DefineVisitsTask,
    GroupExposuresOneToOneTask,
    GroupExposuresTask,
    VisitDefinitionData,
    VisitsError,
    WorkerError,
)
from butler_visits.workers.distribute import distributed_chunk_size
from children import children
from simulated_survey import insert_exposures, night
from visit_tables import add_exposures, counts, data_ids, exposure, make_task, only, records, root, stored, tables

NIGHT = [one for one in night(100) if one["observation_type"] == "science"]
EXPOSURES = [
    *(exposure(number) for number in range(1, 21)),
    *(exposure(number, seq_start=21, seq_end=23) for number in range(21, 24)),
    *(exposure(number) for number in range(24, 30)),
]
BAD = 10
"""Index of the exposure that there is trouble with."""

GIVEN = data_ids(one["id"] for one in EXPOSURES)


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    with ProcessPoolExecutor(2, children()) as pool:
        yield pool


def trouble_task(butler: Butler, **fields: Any) -> DefineVisitsTask:
    """Make a task that is in trouble with one exposure; chunks have three visits."""
    config = DefineVisitsConfig()
    config.chunkSize = 3
    config.computeVisitRegions.name = "worker-trouble"
    config.computeVisitRegions.active.update(**fields)
    return DefineVisitsTask(config, butler=butler)


@pytest.fixture
def pair(make_survey: Callable[..., Butler]) -> tuple[Butler, Butler]:
    """Return two repositories with the same exposures: one for workers, one for this process."""
    butlers = make_survey(), make_survey()
    for butler in butlers:
        add_exposures(butler, EXPOSURES)
    return butlers


@pytest.mark.parametrize(("grouping", "universe"), [("by-group-metadata", 5), ("one-to-one-and-by-counter", 8)])
def test_same_as_alone(make_survey: Callable[..., Butler], pool: Executor, grouping: str, universe: int) -> None:
    butler, alone = make_survey(universe), make_survey(universe)
    for one in (butler, alone):
        insert_exposures(one, NIGHT)
    given = data_ids(one["id"] for one in NIGHT)
    expected = make_task(alone, grouping).run(given)
    result = make_task(butler, grouping, chunkSize=4).run(given, executor=pool)
    assert result == expected
    assert result.n_new > 60
    assert tables(butler) == tables(alone)
    again = make_task(butler, grouping, chunkSize=4).run(records(butler, [one["id"] for one in NIGHT]), executor=pool)
    assert counts(again) == {"n_visits": result.n_new, "n_skipped": result.n_new}


def test_threads(pair: tuple[Butler, Butler]) -> None:
    butler, alone = pair
    with ThreadPoolExecutor(2) as workers:
        result = make_task(butler, chunkSize=4).run(GIVEN, executor=workers)
    assert result == make_task(alone).run(GIVEN)
    assert tables(butler) == tables(alone)


@pytest.mark.sqlite_only  # It is about settings, and a name can be registered only once.
def test_algorithms_that_workers_do_not_know(pair: tuple[Butler, Butler]) -> None:
    """What is registered in this process and not chosen is nothing to the workers."""

    @registerConfigurable("tests-only-here", GroupExposuresTask.registry)
    class OnlyHereTask(GroupExposuresOneToOneTask):
        pass

    butler, alone = pair
    task = make_task(butler, chunkSize=4)
    assert "tests-only-here" in task.config.groupExposures
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as workers:
        assert task.run(GIVEN, executor=workers).n_new == make_task(alone).run(GIVEN).n_new > 0


class Recorder(ThreadPoolExecutor):
    """Keeps the chunks that it is given."""

    def __init__(self) -> None:
        super().__init__(1)
        self.chunks: list[list[VisitDefinitionData]] = []
        self.n_running: list[int] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.chunks.append(pickle.loads(args[1]))
        future = super().submit(fn, *args, **kwargs)
        self.n_running.append(self._work_queue.qsize())
        return future


@pytest.mark.sqlite_only  # It is about chunks.
def test_groups_are_not_split(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    add_exposures(butler, EXPOSURES)
    with Recorder() as recorder:
        make_task(butler, "one-to-one-and-by-counter", chunkSize=1).run(GIVEN, executor=recorder)
    chunks = [{one.id for visit in chunk for one in visit.exposures} for chunk in recorder.chunks]
    assert len(chunks) == 27
    assert sorted(one for chunk in chunks for one in chunk) == [one["id"] for one in EXPOSURES]
    assert sum(map(len, recorder.chunks)) == 30


@pytest.mark.sqlite_only  # It is about chunks.
def test_chunks_wait_for_others(make_survey: Callable[..., Butler], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("butler_visits.workers.distribute._WINDOW", 4)
    butler = make_survey()
    add_exposures(butler, EXPOSURES)
    with Recorder() as recorder:
        assert make_task(butler, chunkSize=1).run(GIVEN, executor=recorder).n_new == len(EXPOSURES)
    assert len(recorder.chunks) == len(EXPOSURES)
    assert max(recorder.n_running) <= 4


class Bar(ProgressBar[Any]):
    """Keeps what is told of progress."""

    def __init__(self) -> None:
        self.updates: list[int] = []

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def update(self, n: int = 1) -> None:
        self.updates.append(n)


class Bars(ProgressHandler):
    """Makes a bar."""

    def __init__(self) -> None:
        self.bar = Bar()

    def get_progress_bar(self, *_: Any, **__: Any) -> Any:
        return nullcontext(self.bar)


@pytest.mark.sqlite_only  # It is about what is told.
def test_progress(make_survey: Callable[..., Butler], caplog: pytest.LogCaptureFixture) -> None:
    """It is told of each chunk when it is done."""
    # Bars are shown to those who see such messages.
    caplog.set_level(logging.INFO, "lsst.defineVisits")
    butler = make_survey()
    add_exposures(butler, EXPOSURES)
    bars = Bars()
    Progress.set_handler(bars)
    try:
        with ThreadPoolExecutor(1) as executor:
            make_task(butler, chunkSize=8).run(GIVEN, executor=executor)
    finally:
        Progress.set_handler(None)
    assert sorted(bars.bar.updates) == [5, 8, 8, 8]


@pytest.mark.parametrize(
    ("n_visits", "limit", "size"),
    [(1, 500, 25), (400, 500, 25), (10_000, 500, 157), (2_000_000, 500, 500), (10_000, 3, 3)],
)
def test_chunk_size(n_visits: int, limit: int, size: int) -> None:
    assert distributed_chunk_size(n_visits, limit) == size


CHANGED = [{**EXPOSURES[index], "target_name": "M 31"} for index in (2, 11, 25)]


@pytest.mark.sqlite_only  # That workers write into both is tested above.
@pytest.mark.parametrize("option", ["update_records", "incremental", "skip_conflicting", "prefilter"])
def test_options(pair: tuple[Butler, Butler], pool: Executor, option: str) -> None:
    """Visits that are there, changed, incomplete and new."""
    results = []
    for butler, executor in zip(pair, (pool, None), strict=True):
        task = make_task(butler, "by-group-metadata", chunkSize=2)
        task.run(GIVEN[:21] + GIVEN[24:27])
        add_exposures(butler, CHANGED, replace=True)
        # Of the snaps only the first is in its visit; without incremental that would be a conflict.
        given = GIVEN if option == "incremental" else GIVEN[:20] + GIVEN[24:]
        results.append(task.run(given, executor=executor, **only(option)))
    assert results[0] == results[1]
    assert results[0].n_new > 0
    assert tables(pair[0]) == tables(pair[1])


@pytest.mark.sqlite_only  # It is about what the workers are told.
def test_collections(pair: tuple[Butler, Butler], pool: Executor) -> None:
    """The workers' Butlers have the collections of the given one, and what is asked for goes before."""
    butler = Butler.from_config(root(pair[0]), writeable=True, collections=["none"])
    butler.collections.register("none")
    assert make_task(butler, chunkSize=4).run(GIVEN[:8], executor=pool).n_new == 8
    assert make_task(butler, chunkSize=4).run(GIVEN, collections=("none",), executor=pool).n_new == len(GIVEN) - 8


@pytest.mark.sqlite_only  # It is about what is sent back.
def test_conflicts(pair: tuple[Butler, Butler], pool: Executor) -> None:
    butler, _ = pair
    task = make_task(butler, chunkSize=2)
    task.run(GIVEN[:26])
    add_exposures(butler, CHANGED, replace=True)
    with pytest.raises(ConflictingDefinitionError) as caught:
        task.run(GIVEN, executor=pool)
    lines = str(caught.value).splitlines()
    assert sorted(int(line.split()[1]) for line in lines[:-1]) == [one["id"] for one in CHANGED]
    assert all("target_name is stored as" in line for line in lines[:-1])
    assert len(stored(butler, "visit")) == len(EXPOSURES)


@pytest.mark.sqlite_only  # It is about what is sent back.
def test_failures(pair: tuple[Butler, Butler], pool: Executor) -> None:
    results = []
    for butler, executor in zip(pair, (pool, None), strict=True):
        make_task(butler).run(GIVEN[:5])
        add_exposures(butler, CHANGED[:1], replace=True)
        task = trouble_task(butler, fails=EXPOSURES[BAD]["target_name"])
        results.append(task.run([*GIVEN, *data_ids([7])], on_error="skip", executor=executor))
    assert results[0] == results[1]
    assert results[0].n_failed == 3
    assert {failure.exposures for failure in results[0].failures} == {
        (7,),
        (EXPOSURES[2]["id"],),
        (EXPOSURES[BAD]["id"],),
    }
    assert tables(pair[0]) == tables(pair[1])


@pytest.mark.sqlite_only  # It is about what is sent back.
def test_error(pair: tuple[Butler, Butler], pool: Executor) -> None:
    """An error stops the run, with nothing half written and nobody writing any more."""
    task = trouble_task(pair[0], fails=EXPOSURES[BAD]["target_name"])
    with pytest.raises(ValueError, match="no region for"):
        task.run(GIVEN, executor=pool)
    visits = {visit.id for visit in stored(pair[0], "visit")}
    assert visits.isdisjoint(one["id"] for one in EXPOSURES[BAD - 1 : BAD + 2])
    again = make_task(pair[0]).run(GIVEN, executor=pool)
    assert (again.n_new, again.n_skipped) == (len(GIVEN) - len(visits), len(visits))


@pytest.mark.parametrize(
    ("error", "arrives"),
    [
        ("PickyError", VisitsError),
        ("PickyLookupError", RuntimeError),
        ("SystemExit", SystemExit),
        ("BrokenExecutor", BrokenExecutor),
    ],
)
@pytest.mark.sqlite_only  # It is about what is sent back.
def test_errors_of_algorithms(
    make_survey: Callable[..., Butler], pool: Executor, error: str, arrives: type[BaseException]
) -> None:
    """Whatever an algorithm raises arrives as what it is, or as what of it can be sent, and no worker dies of it."""
    butler = make_survey()
    add_exposures(butler, EXPOSURES)
    task = trouble_task(butler, fails=EXPOSURES[BAD]["target_name"], error=error)
    with pytest.raises(arrives, match="no region for") as caught:
        task.run(GIVEN, executor=pool)
    assert type(caught.value) is arrives
    assert "in compute_all" in caught.value.__notes__[0]


def test_in_transaction(pair: tuple[Butler, Butler], pool: Executor) -> None:
    """Workers would wait for ever for the transaction that waits for them."""
    butler, _ = pair
    with butler.transaction(), pytest.raises(WorkerError, match="in a transaction"):
        make_task(butler).run(GIVEN, executor=pool)
    assert not stored(butler, "visit")
    assert make_task(butler).run(GIVEN, executor=pool).n_new == len(EXPOSURES)


class FailingExecutor(Executor):
    """An executor without the packages that it takes."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_exception(ModuleNotFoundError("No module named 'butler_visits'"))
        return future


@pytest.mark.sqlite_only  # Nothing is written.
def test_failing_executor(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    add_exposures(butler, EXPOSURES)
    with pytest.raises(WorkerError, match=r"FailingExecutor failed: ModuleNotFoundError: .* need the same packages"):
        make_task(butler).run(GIVEN, executor=FailingExecutor())


class ForgetfulExecutor(FailingExecutor):
    """Fails once, and then never says anything again, as Dask's may when its scheduler is lost."""

    def __init__(self) -> None:
        self.submitted = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.submitted += 1
        return super().submit(fn) if self.submitted == 1 else Future()


@pytest.mark.sqlite_only  # Nothing is written.
def test_forgetful_executor(make_survey: Callable[..., Butler]) -> None:
    """What is cancelled is not waited for."""
    butler = make_survey()
    add_exposures(butler, EXPOSURES)
    executor = ForgetfulExecutor()
    with pytest.raises(WorkerError, match="ForgetfulExecutor failed"):
        make_task(butler, chunkSize=1).run(GIVEN, executor=executor)
    assert executor.submitted == len(EXPOSURES)


# Workers that die


@pytest.fixture
def deaths(tmp_path: Path) -> Path:
    file = tmp_path / "deaths"
    file.touch()
    return file


@pytest.mark.slow
@pytest.mark.parametrize(("where", "on_error"), [(0, "raise"), (BAD, "skip"), (-1, "raise")])
def test_dead_worker(pair: tuple[Butler, Butler], deaths: Path, where: int, on_error: Literal["raise", "skip"]) -> None:
    """A worker that is killed in the middle of writing ends the run, with whole visits and nobody writing any more."""
    butler, alone = pair
    task = trouble_task(butler, dies=EXPOSURES[where]["target_name"], times=99, deaths=str(deaths))
    said = "A worker of ProcessPoolExecutor died .* What is defined is whole; run it again for the rest"
    with ProcessPoolExecutor(2, children()) as executor:
        with pytest.raises(WorkerError, match=said):
            task.run(GIVEN, on_error=on_error, executor=executor)
        n_visits = len(stored(butler, "visit"))
        # It takes no more work.
        with pytest.raises(WorkerError, match=said):
            task.run(GIVEN, executor=executor)
    assert len(deaths.read_text().splitlines()) == 1
    again = make_task(butler).run(GIVEN)
    assert (again.n_new, again.n_skipped) == (len(GIVEN) - n_visits, n_visits)
    make_task(alone).run(GIVEN)
    assert tables(butler) == tables(alone)


@pytest.mark.slow
@pytest.mark.sqlite_only  # Nothing is written.
def test_worker_that_does_not_start(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    add_exposures(butler, EXPOSURES)
    with (
        ProcessPoolExecutor(2, children(), os._exit, (1,)) as executor,
        pytest.raises(WorkerError, match="A worker of ProcessPoolExecutor died"),
    ):
        make_task(butler, chunkSize=3).run(GIVEN, executor=executor)
    assert not stored(butler, "visit")
