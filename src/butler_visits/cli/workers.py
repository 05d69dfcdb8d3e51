"""The workers that a command line asks for."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import click
from lsst.daf.butler.cli.cliLog import CliLog

from .output import echo, make_logs_printable

_PRELOADED = ["butler_visits.task", "lsst.daf.butler.direct_butler"]
"""What takes a second or two to import, and is imported once for all processes."""

_DASK_LOGGERS = ("distributed", "tornado", "asyncio")
"""Where the threads of Dask's client report what happens to them."""


@contextmanager
def workers(processes: int, dask: str | None) -> Iterator[Executor | None]:
    """Start local workers, or connect to those of a Dask cluster."""
    if dask:
        with _dask_workers(dask) as executor:
            yield executor
    elif processes > 1:
        with _processes(processes) as executor:
            yield executor
    else:
        yield None


@contextmanager
def _processes(number: int) -> Iterator[Executor]:
    # Forks of this process would share its database connections. Those of a server that has only imported what they
    # need start as fast.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    level = logging.getLogger("butler_visits").level
    others = multiprocessing.active_children()
    pool = ProcessPoolExecutor(number, context, _begin, (CliLog.configState, level))
    try:
        yield pool
    finally:
        # A pool would wait for what its processes do, and at the end for ever if one dies that has its queue locked,
        # as one of the idle always has. That it shall forget the rest must be said first, and once: in Python 3.11 its
        # thread fails over calls that are cancelled already when it finds its processes dead.
        queue: Any = pool._call_queue  # type: ignore[attr-defined]
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            if process not in others:
                process.kill()
                process.join()
        if sys.version_info < (3, 11, 5):
            # Else it never ends writing calls that nobody reads (cpython issue 94777).
            queue._reader.close()


def _begin(state: list[tuple[Any, ...]], level: int) -> None:
    """Let a worker log as the program does that started it, and end with it."""
    # Ctrl-C reaches all processes of a terminal; the one that started the others decides what becomes of them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_program, daemon=True).start()
    CliLog.replayConfigState(state)
    make_logs_printable()
    logging.getLogger("butler_visits").setLevel(level)


def _end_with_program() -> None:
    """End this process when the program that started it is gone, however it ended; a pool's would wait for ever."""
    if (program := multiprocessing.parent_process()) is not None:
        program.join()
        os._exit(1)


@contextmanager
def _dask_workers(address: str) -> Iterator[Executor]:
    try:
        from distributed import Client
    except ImportError as error:
        raise click.ClickException(f"--dask needs Dask ({error}): pip install 'butler-visits[dask]'") from error
    try:
        client = Client(address)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"The Dask scheduler at {address} cannot be reached: {error}") from error
    with _without_tracebacks(), client:
        if not client.scheduler_info()["workers"]:
            echo(f"The Dask scheduler at {address} has no workers yet; waiting for them.", err=True)
        yield client.get_executor()


@contextmanager
def _without_tracebacks() -> Iterator[None]:
    """Leave out the tracebacks with which Dask's threads report that the scheduler is lost."""

    def shorten(record: logging.LogRecord) -> bool:
        record.exc_info = None
        return bool(record.getMessage())

    # A logger's filter is not asked about what goes to those below it.
    loggers = [logging.getLogger(name) for name in logging.root.manager.loggerDict if name.startswith(_DASK_LOGGERS)]
    for logger in loggers:
        logger.addFilter(shorten)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(shorten)
