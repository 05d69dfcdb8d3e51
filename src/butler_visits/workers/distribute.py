"""Hand chunks of visits to workers, whoever they are, and collect what became of them."""

from __future__ import annotations

import pickle
import sys
import threading
import traceback
import uuid
import weakref
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from itertools import islice
from typing import Any, Protocol

from lsst.daf.butler import Butler

from ..define.outcome import Outcome
from ..define.visits import Failure, Options, VisitDefinitionData
from ..errors import VisitsError, WorkerError
from ..lists import reason_of
from ..repository import try_again

_Chunk = Sequence[VisitDefinitionData]


class ChunkTask(Protocol):
    """What a worker needs of the task, which can be pickled."""

    butler: Butler

    def define_chunk(self, visits: Sequence[VisitDefinitionData], options: Options, /) -> Outcome:
        """Define visits that are written together."""


_WINDOW = 128
"""Chunks that are handed out at once, so that memory does not grow with their number. Databases take fewer writers."""

_CHUNKS = 64
"""Chunks that a run is split into if chunkSize allows it, so that some workers and a slow one have their share."""

_SMALLEST = 25
"""Visits below which the queries of each chunk would be felt."""

_PATIENCE = 5.0
"""Seconds after which it is asked whether Dask's scheduler is still there."""

_AGAIN = "What is defined is whole; run it again for the rest."

_MEMORY = "If workers lack memory, take fewer at a time, or a smaller chunkSize in the config."


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

    Raises `WorkerError` if workers die, the executor fails or Dask's scheduler is lost; else what a worker raised.
    """
    pickled = pickle.dumps(task)
    source = iter(chunks)
    scheduler = _Scheduler(executor)
    running: dict[Future[Outcome | BaseException], _Chunk] = {}
    try:
        while True:
            for chunk in islice(source, _WINDOW - len(running)):
                running[_submit(executor, scheduler, pickled, chunk, options)] = chunk
            if not running:
                break
            if not (done := wait(running, _PATIENCE, FIRST_COMPLETED).done):
                scheduler.check()
            for future in done:
                outcome = _result(future, running.pop(future), options, executor, scheduler)
                if isinstance(outcome, BaseException):
                    raise outcome
                yield outcome
    except Exception as error:
        # Nothing should be written behind the caller's back; of Dask's workers nobody knows when they are done. What is
        # cancelled never begins, and is not waited for: once the scheduler is gone, Dask does not tell of it. A broken
        # executor ends all calls itself; in Python 3.11 it fails over those that are cancelled meanwhile.
        broken = isinstance(error.__cause__, BrokenExecutor)
        wait([future for future in running if broken or not future.cancel()])
        raise
    finally:
        for future in running:
            future.cancel()


def _submit(
    executor: Executor, scheduler: _Scheduler, task: bytes, chunk: _Chunk, options: Options
) -> Future[Outcome | BaseException]:
    scheduler.check()
    pickled = pickle.dumps(chunk)
    try:
        return executor.submit(_define, task, pickled, options, uuid.uuid4().hex)
    except Exception as error:
        scheduler.check()
        raise _worker_error(error, executor) from error


def _define(task: bytes, chunk: bytes, options: Options, key: str) -> Outcome | BaseException:
    """Define the visits of a chunk, or return the error; this is what a worker does.

    The key is for Dask, which takes two equal calls for one and makes it once.
    """
    try:
        return _opened(task).define_chunk(pickle.loads(chunk), options)
    except BaseException as error:
        # What is raised by a future is the executor's own. What would end the worker is to end the caller instead.
        return _portable(error)


def _opened(task: bytes) -> ChunkTask:
    """Return the task, opening its repository unless this thread has done so already."""
    if _THREAD.opened is None or _THREAD.opened.pickled != task:
        _THREAD.opened = None
        _THREAD.opened = _OpenTask(task)
    # Records can be unpickled only now that their dimension universe is known in this process.
    return _THREAD.opened.task


def _portable(error: BaseException) -> BaseException:
    """Make an error that says in another process what happened in this one; not every class can be sent there."""
    error.add_note(f"It happened in a worker:\n{traceback.format_exc()}")
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        notes = error.__notes__
        error = (VisitsError if isinstance(error, VisitsError) else RuntimeError)(reason_of(error))
        error.__notes__ = notes
    return error


def _result(
    future: Future[Outcome | BaseException], chunk: _Chunk, options: Options, executor: Executor, scheduler: _Scheduler
) -> Outcome | BaseException:
    try:
        return future.result()
    except Exception as error:
        scheduler.check()
        distributed = sys.modules.get("distributed")
        if distributed is None or not isinstance(error, distributed.KilledWorker):
            raise _worker_error(error, executor) from error
        died = f"The workers that were to define visits {chunk[0].id} to {chunk[-1].id} died ({error})."
        if not options.skip_errors:
            raise WorkerError(f"{died} {_AGAIN} {_MEMORY}") from error
        failures = [Failure(tuple(exposure.id for exposure in visit.exposures), f"{died} {_MEMORY}") for visit in chunk]
        return Outcome(n_given=len(chunk), failures=failures)


def _worker_error(error: Exception, executor: Executor) -> WorkerError:
    """Say what happened to an executor."""
    name = type(executor).__name__
    if isinstance(error, BrokenExecutor):
        return WorkerError(f"A worker of {name} died ({str(error).rstrip('.')}). {_AGAIN} {_MEMORY}")
    reason = " ".join(reason_of(error).split()).rstrip(".: ")
    return WorkerError(
        f"{name} failed: {reason}. Workers, and Dask's scheduler, need the same packages as this machine. {_AGAIN}"
    )
