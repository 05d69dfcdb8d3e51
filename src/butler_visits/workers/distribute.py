"""Hand chunks of visits to workers, whoever they are, and collect what became of them."""

from __future__ import annotations

__all__ = ["distribute", "distributed_chunk_size"]

import pickle
import sys
import threading
import uuid
import weakref
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from itertools import islice
from typing import Any, Protocol

from lsst.daf.butler import Butler

from ..define.outcome import Outcome
from ..define.visits import Failure, Options, VisitDefinitionData
from ..errors import WorkerError
from ..lists import reason_of
from ..repository import try_again
from .pool import portable_error

_Chunk = Sequence[VisitDefinitionData]


class ChunkTask(Protocol):
    """What a worker needs of the task, which can be pickled."""

    butler: Butler

    def define_chunk(self, visits: Sequence[VisitDefinitionData], options: Options, /) -> Outcome:
        """Define visits that are written together."""


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

_PATIENCE = 5.0
"""Seconds after which it is asked whether Dask's scheduler is still there."""


class _OpenTask:
    """A task with the repository open, which is closed with the last reference to this, for the database's sake."""

    def __init__(self, pickled: bytes) -> None:
        self.pickled = pickled
        self.task: ChunkTask = try_again(None, lambda: pickle.loads(pickled))
        # Without it a Butler would keep its connections until garbage is collected. The end of a process closes all.
        weakref.finalize(self, self.task.butler.close).atexit = False


class _OfThread(threading.local):
    """What each thread has of its own. A Butler must not be used by two threads at once."""

    opened: _OpenTask | None = None


_THREAD = _OfThread()


class _Scheduler:
    """Dask's scheduler, if an executor has one. When it is lost, Dask fails some of the futures and forgets others."""

    def __init__(self, executor: Executor) -> None:
        client = getattr(executor, "_client", None)
        distributed = sys.modules.get("distributed")
        self._client: Any = client if distributed is not None and isinstance(client, distributed.Client) else None
        if self._client is not None:
            self._address = self._client.scheduler.address
            self._connection = self._client.scheduler_comm

    def check(self) -> None:
        """Raise a `WorkerError` if the scheduler is lost, or was lost and has been found again."""
        client = self._client
        if client is not None and (client.status != "running" or client.scheduler_comm is not self._connection):
            raise WorkerError(
                f"The connection to the Dask scheduler at {self._address} is lost. What is defined is whole, "
                "and workers may still finish what they have begun. Once there is a scheduler again, run it again."
            )


def distributed_chunk_size(n_visits: int, limit: int) -> int:
    """Choose how many visits a worker gets at once."""
    return min(limit, max(_SMALLEST, -(-n_visits // _CHUNKS)))


def distribute(task: ChunkTask, chunks: Iterable[_Chunk], options: Options, executor: Executor) -> Generator[Outcome]:
    """Let workers define visits.

    Raises `WorkerError` if the executor fails, or Dask's scheduler is lost; `Exception`: what happened to a worker.
    """
    pickled = pickle.dumps(task)
    source = iter(chunks)
    scheduler = _Scheduler(executor)
    running: dict[Future[Outcome | BaseException], tuple[_Chunk, int]] = {}
    # A death can be blamed on chunks that were only near, so these are done one by one when all others are done.
    suspects: list[tuple[_Chunk, int]] = []
    try:
        while True:
            for chunk in islice(source, _WINDOW - len(running)):
                running[_submit(executor, scheduler, pickled, chunk, options)] = chunk, 1
            if not running and suspects:
                chunk, attempt = suspects.pop()
                running[_submit(executor, scheduler, pickled, chunk, options)] = chunk, attempt
            if not running:
                break
            if not (done := wait(running, _PATIENCE, FIRST_COMPLETED).done):
                scheduler.check()
            for future in done:
                chunk, attempt = running.pop(future)
                try:
                    outcome = _result(future, executor, scheduler)
                except _dead_worker_errors() as error:
                    if attempt < (_ATTEMPTS if isinstance(error, BrokenExecutor) else _DASK_ATTEMPTS):
                        suspects.append((chunk, attempt + 1))
                        continue
                    outcome = Outcome(n_given=len(chunk))
                    if options.skip_errors:
                        outcome.failures = [Failure(_exposures([visit]), _died(error)) for visit in chunk]
                    else:
                        outcome.undone = [f"{_listed(chunk)}: {_died(error)}"]
                # Outside of the try, for an algorithm can raise what an executor raises.
                if isinstance(outcome, BaseException):
                    raise outcome
                yield outcome
    except Exception:
        # Nothing should be written behind the caller's back; of Dask's workers nobody knows when they are done. What is
        # cancelled never begins, and is not waited for: once the scheduler is gone, Dask does not tell of it.
        wait([future for future in running if not future.cancel()])
        raise
    finally:
        for future in running:
            future.cancel()


def _submit(
    executor: Executor, scheduler: _Scheduler, task: bytes, chunk: _Chunk, options: Options
) -> Future[Outcome | BaseException]:
    scheduler.check()
    try:
        return executor.submit(_define, task, pickle.dumps(chunk), options, uuid.uuid4().hex)
    except BrokenExecutor as error:
        raise WorkerError(
            f"A worker died, and {type(executor).__name__} takes no more work since. What is defined is whole; run it "
            "again for the rest. A butler_visits.WorkerPool survives the death of a worker."
        ) from error
    except Exception:
        scheduler.check()
        raise


def _define(task: bytes, chunk: bytes, options: Options, key: str) -> Outcome | BaseException:
    """Define the visits of a chunk, or return the error; this is what a worker does.

    The key is for Dask, which takes two equal calls for one and makes it once.
    """
    try:
        return _opened(task).define_chunk(pickle.loads(chunk), options)
    except BaseException as error:
        # What is raised by a future is the executor's own. What would end the worker is to end the caller instead.
        return portable_error(error)


def _opened(task: bytes) -> ChunkTask:
    """Return the task, opening its repository unless this thread has done so already."""
    if _THREAD.opened is None or _THREAD.opened.pickled != task:
        _THREAD.opened = None
        _THREAD.opened = _OpenTask(task)
    # Records can be unpickled only now that their dimension universe is known in this process.
    return _THREAD.opened.task


def _result(
    future: Future[Outcome | BaseException], executor: Executor, scheduler: _Scheduler
) -> Outcome | BaseException:
    try:
        return future.result()
    except _dead_worker_errors():
        raise
    except Exception as error:
        scheduler.check()
        reason = " ".join(reason_of(error).split()).rstrip(".: ")
        raise WorkerError(
            f"{type(executor).__name__} failed: {reason}. Workers, and Dask's scheduler, need the same "
            "packages as this machine. What is defined is whole; run it again for the rest."
        ) from error


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
