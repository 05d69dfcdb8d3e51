"""Hand chunks of visits to workers, whoever they are, and collect what became of them."""

from __future__ import annotations

__all__ = ["distribute", "distributed_chunk_size"]

import pickle
import sys
import threading
import uuid
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from itertools import islice
from typing import TYPE_CHECKING

from .definition import VisitDefinitionData
from .errors import WorkerError
from .isolate import reason_of
from .outcome import Outcome
from .plan import Failure, Options
from .worker_pool import portable_error

if TYPE_CHECKING:
    from .task import DefineVisitsTask

_Chunk = Sequence[VisitDefinitionData]

_ATTEMPTS = 3
"""How often a chunk is handed out before it is given up, because each time the worker died."""

_DASK_ATTEMPTS = 2
"""The same for Dask, which itself tries several workers each time (distributed.scheduler.allowed-failures)."""

_WINDOW = 128
"""Chunks that are handed out at once, so that memory does not grow with their number. Databases take fewer writers."""

_CHUNKS = 64
"""Chunks that a run is split into if chunkSize allows it, so that some workers and a slow one have their share."""

_SMALLEST = 25
"""Visits below which the queries of each chunk would be felt."""

_LISTED_EXPOSURES = 10


class _Opened(threading.local):
    """The task of a thread, with the repository open. A Butler must not be used by two threads at once."""

    pickled: bytes = b""
    task: DefineVisitsTask | None = None


_OPENED = _Opened()


def distributed_chunk_size(n_visits: int, limit: int) -> int:
    """Choose how many visits a worker gets at once.

    Parameters
    ----------
    n_visits : `int`
        Number of visits to define.
    limit : `int`
        The config's ``chunkSize``.

    Returns
    -------
    size : `int`
        Visits in a chunk.
    """
    return min(limit, max(_SMALLEST, -(-n_visits // _CHUNKS)))


def distribute(
    task: DefineVisitsTask, chunks: Iterable[_Chunk], options: Options, executor: Executor
) -> Generator[Outcome]:
    """Let workers define visits.

    Parameters
    ----------
    task : `DefineVisitsTask`
        The task, which each worker gets a copy of, with a connection to the repository of its own.
    chunks : `~collections.abc.Iterable`
        Visits that are to be written together.
    options : `Options`
        What was asked for.
    executor : `~concurrent.futures.Executor`
        What has the workers.

    Yields
    ------
    outcome : `Outcome`
        What became of a chunk, in the order in which they are done.

    Raises
    ------
    WorkerError
        If the workers died that were to define a chunk, unless failures are skipped; all others are defined. Also if
        the executor fails.
    Exception
        What happened to a worker. Chunks that are waiting for one are not begun any more.
    """
    pickled = pickle.dumps(task)
    source = iter(chunks)
    running: dict[Future[Outcome | Exception], tuple[_Chunk, int]] = {}
    # A death can be blamed on chunks that were only near, so these are done one by one when all others are done.
    suspects: list[tuple[_Chunk, int]] = []
    undone: list[str] = []
    try:
        while True:
            for chunk in islice(source, _WINDOW - len(running)):
                running[_submit(executor, pickled, chunk, options)] = chunk, 1
            if not running and suspects:
                chunk, attempt = suspects.pop()
                running[_submit(executor, pickled, chunk, options)] = chunk, attempt
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                chunk, attempt = running.pop(future)
                try:
                    outcome = _result(future, executor)
                except _dead_worker_errors() as error:
                    if attempt < (_ATTEMPTS if isinstance(error, BrokenExecutor) else _DASK_ATTEMPTS):
                        suspects.append((chunk, attempt + 1))
                        continue
                    outcome = Outcome(n_given=len(chunk))
                    if options.skip_errors:
                        outcome.failures = [Failure(_exposures([visit]), _died(error)) for visit in chunk]
                    else:
                        undone.append(f"{_listed(chunk)}: {_died(error)}")
                yield outcome
    except Exception:
        for future in running:
            future.cancel()
        # Nothing should be written behind the caller's back; of Dask's workers nobody knows when they are done.
        wait(running)
        raise
    finally:
        for future in running:
            future.cancel()
    if undone:
        raise WorkerError("\n".join(undone) + "\nAll other visits are done.")


def _submit(executor: Executor, task: bytes, chunk: _Chunk, options: Options) -> Future[Outcome | Exception]:
    try:
        return executor.submit(_define, task, pickle.dumps(chunk), options, uuid.uuid4().hex)
    except BrokenExecutor as error:
        raise WorkerError(
            f"A worker died, and {type(executor).__name__} takes no more work since. What is defined is whole; run it "
            "again for the rest. A butler_visits.WorkerPool survives the death of a worker."
        ) from error


def _define(task: bytes, chunk: bytes, options: Options, key: str) -> Outcome | Exception:
    """Define the visits of a chunk, or return the error; this is what a worker does.

    The key is for Dask, which takes two equal calls for one and makes it once.
    """
    try:
        return _opened(task).define_chunk(pickle.loads(chunk), options)
    except Exception as error:
        # What is raised by a future is the executor's own.
        return portable_error(error)


def _opened(task: bytes) -> DefineVisitsTask:
    """Return the task, opening its repository unless this thread has done so already."""
    if _OPENED.task is None or _OPENED.pickled != task:
        if _OPENED.task is not None:
            _OPENED.task.butler.close()
            _OPENED.task = None
        _OPENED.task = pickle.loads(task)
        _OPENED.pickled = task
    # Records can be unpickled only now that their dimension universe is known in this process.
    return _OPENED.task


def _result(future: Future[Outcome | Exception], executor: Executor) -> Outcome:
    try:
        outcome = future.result()
    except _dead_worker_errors():
        raise
    except Exception as error:
        reason = " ".join(reason_of(error).split()).rstrip(".: ")
        raise WorkerError(
            f"{type(executor).__name__} failed: {reason}. Workers, and Dask's scheduler, need the same "
            "packages as this machine. What is defined is whole; run it again for the rest."
        ) from error
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _dead_worker_errors() -> tuple[type[Exception], ...]:
    """Return what a future of a dead worker raises; Dask's own error only where Dask is used."""
    distributed = sys.modules.get("distributed")
    return (BrokenExecutor,) if distributed is None else (BrokenExecutor, distributed.KilledWorker)


def _died(error: Exception) -> str:
    return (
        f"the workers died that were to define them ({error}). If they lack memory, a smaller chunkSize in the config "
        "helps."
    )


def _exposures(visits: _Chunk) -> tuple[int, ...]:
    return tuple(sorted({exposure.id for visit in visits for exposure in visit.exposures}))


def _listed(visits: _Chunk) -> str:
    ids = _exposures(visits)
    others = f" and {len(ids) - _LISTED_EXPOSURES} more" if len(ids) > _LISTED_EXPOSURES else ""
    return f"Exposures {', '.join(map(str, ids[:_LISTED_EXPOSURES]))}{others}"
