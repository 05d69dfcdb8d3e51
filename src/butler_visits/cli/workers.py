"""The workers that a command line asks for."""

from __future__ import annotations

__all__ = ["workers"]

import logging
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any

import click
from lsst.daf.butler.cli.cliLog import CliLog

from ..workers.pool import WorkerPool

_DASK_LOGGERS = ("distributed", "tornado", "asyncio")
"""Where the threads of Dask's client report what happens to them."""


@contextmanager
def workers(processes: int, dask: str | None) -> Iterator[Executor | None]:
    """Start local workers, or connect to those of a Dask cluster."""
    if dask:
        with _dask_workers(dask) as executor:
            yield executor
    elif processes > 1:
        level = logging.getLogger("butler_visits").level
        with WorkerPool(processes, initializer=_log_alike, initargs=(CliLog.configState, level)) as pool:
            yield pool
    else:
        yield None


def _log_alike(state: list[tuple[Any, ...]], level: int) -> None:
    """Let a worker log as the program does that started it."""
    CliLog.replayConfigState(state)
    logging.getLogger("butler_visits").setLevel(level)


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
            click.echo(f"The Dask scheduler at {address} has no workers yet; waiting for them.", err=True)
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
