"""Processes on this machine, any of which may die without taking the others' work along."""

from __future__ import annotations

__all__ = ["WorkerPool", "portable_error"]

import multiprocessing
import pickle
import signal
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, NamedTuple

from ..lists import reason_of

_PRELOADED = ["butler_visits.task", "lsst.daf.butler.direct_butler"]
"""What takes a second or two to import, and is imported once for all processes."""


class _Worker(NamedTuple):
    process: BaseProcess
    connection: Connection


class WorkerPool(Executor):
    """An executor of processes on this machine that survives the death of any of them.

    A `concurrent.futures.ProcessPoolExecutor` fails as a whole once one of its processes has died, and does not say
    whose call it was. Here that call alone fails, with `concurrent.futures.BrokenExecutor`, and another process takes
    the dead one's place. A ``with`` statement that is left by an exception ends the processes at once. All processes
    have the environment variables that were set when the first one of the first pool was started.

    Parameters
    ----------
    n_processes : `int`
        Number of processes; they are started when they are needed.
    initializer : `~collections.abc.Callable`, optional
        Called in each process when it starts.
    initargs : `tuple`, optional
        What it is called with.
    """

    def __init__(
        self, n_processes: int, *, initializer: Callable[..., object] | None = None, initargs: tuple[Any, ...] = ()
    ) -> None:
        # Forks of this process would share its database connections. Those of a server that has only imported what
        # they need start as fast.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(_PRELOADED)
        self._at_start = (initializer, initargs)
        # A thread for each process hands over one call at a time and waits for the answer.
        self._threads = ThreadPoolExecutor(n_processes, thread_name_prefix="WorkerPool")
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        self._busy: set[_Worker] = set()
        self._killed = False
        self._lock = threading.Lock()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        # Docstring inherited.
        return self._threads.submit(self._call, pickle.dumps((fn, args, kwargs)))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        # Docstring inherited.
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)
        while wait and not self._idle.empty():
            worker = self._idle.get()
            # It ends when nobody can send it anything any more.
            worker.connection.close()
            worker.process.join()

    def kill(self) -> None:
        """End all processes at once, whatever they are doing."""
        with self._lock:
            self._killed = True
            for worker in self._busy:
                worker.process.kill()
        self.shutdown(cancel_futures=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.shutdown()
        else:
            self.kill()

    def _call(self, call: bytes) -> Any:
        """Let a process that has nothing to do make a call; this runs in a thread."""
        try:
            worker = self._idle.get_nowait()
        except Empty:
            worker = self._start()
        with self._lock:
            if self._killed:
                worker.process.kill()
            self._busy.add(worker)
        try:
            worker.connection.send_bytes(call)
            answer = worker.connection.recv_bytes()
        except (EOFError, OSError) as error:
            worker.process.join()
            worker.connection.close()
            raise BrokenExecutor(f"its process ended with exit status {worker.process.exitcode}") from error
        finally:
            with self._lock:
                self._busy.remove(worker)
        self._idle.put(worker)
        succeeded, result = pickle.loads(answer)
        if not succeeded:
            raise result
        return result

    def _start(self) -> _Worker:
        ours, its = self._context.Pipe()
        # A daemon ends when this process exits. If this is killed, the worker reads the end of its pipe, of whose other
        # end nobody else has a copy, as soon as it has nothing to do.
        process = self._context.Process(target=_work, args=(its, *self._at_start), daemon=True)
        process.start()
        its.close()
        return _Worker(process, ours)


def _work(connection: Connection, initializer: Callable[..., object] | None, initargs: tuple[Any, ...]) -> None:
    """Make the calls that come; this is what each process does."""
    # Ctrl-C reaches all processes of a terminal; the one that started the others decides what becomes of them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if initializer is not None:
        initializer(*initargs)
    while True:
        try:
            call = connection.recv_bytes()
        except EOFError:
            return
        try:
            fn, args, kwargs = pickle.loads(call)
            answer = pickle.dumps((True, fn(*args, **kwargs)))
        except BaseException as error:
            # Whatever it is, it is the caller's to handle, also what would end this process.
            answer = pickle.dumps((False, portable_error(error)))
        connection.send_bytes(answer)


def portable_error(error: BaseException) -> BaseException:
    """Make an error that says in another process what happened in this one."""
    error.add_note(f"It happened in a worker:\n{traceback.format_exc()}")
    if _is_portable(error):
        return error
    for kind in type(error).__mro__[1:]:
        # These say nothing; a handler that expects them will do with any other.
        if issubclass(kind, BaseException) and kind not in (Exception, BaseException):
            try:
                other = kind(reason_of(error))
            except Exception:
                continue
            other.__notes__ = error.__notes__
            if _is_portable(other):
                return other
    other = RuntimeError(reason_of(error))
    other.__notes__ = error.__notes__
    return other


def _is_portable(error: BaseException) -> bool:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        # A class decides for itself how it is pickled.
        return False
    return True
