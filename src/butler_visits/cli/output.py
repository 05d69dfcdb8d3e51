"""What a command prints, and how it ends: also where nobody reads it, where nothing can be written, and on signals."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TextIO

import click
from lsst.daf.butler.logging import JsonLogFormatter

from ..lists import printable

_LOST = "butler_visits.lost"
"""Where a command's context has the error, if something could not be printed."""

_STORED = "butler_visits.stored"
"""Where it has what to say then."""


QUIET = "butler_visits.quiet"
"""Where it says that only errors are printed."""

_WRITING = frozenset(
    {
        *("add-images", "check", "define-visits", "ingest", "ingest-table", "make-skymap", "remove-visits"),
        *("update-regions", "watch", "write-camera"),
    }
)
"""The commands that may store something."""


class _TerminatedError(KeyboardInterrupt):
    """The process is to end (SIGTERM)."""


class _PrintableFormatter(logging.Formatter):
    """Formats log records as another formatter does, printable."""

    def __init__(self, formatter: logging.Formatter | None) -> None:
        super().__init__()
        self._formatter = formatter or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        return printable(self._formatter.format(record))


def echo(message: object, *, err: bool = False, stored: str = "") -> bool:
    """Print something, and do not stop where that is not possible: what is being done is worth more than its report.

    ``stored`` is what a user must know who cannot read it. Returns whether all was printed until now, or nobody wanted
    to read it.
    """
    meta = click.get_current_context().meta
    meta[_STORED] = [*meta.get(_STORED, ()), *filter(None, [stored])]
    if err or not meta.get(QUIET):
        with _printing(sys.stderr if err else sys.stdout):
            click.echo(printable(str(message)), err=err)
    return _LOST not in meta


def echo_file(file: Path) -> None:
    """Print a file as it is; as with `echo`, it is no error of this command if nobody reads it to its end."""
    with _printing(sys.stdout), file.open("rb") as content:
        shutil.copyfileobj(content, sys.stdout.buffer)
        sys.stdout.buffer.flush()


@contextmanager
def _printing(stream: TextIO) -> Iterator[None]:
    """Remember that something could not be printed, and go on."""
    try:
        yield
    except OSError as error:
        # Python would try again in the end, and fail then.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        # Whoever closes a pipe has read enough.
        if error.errno != errno.EPIPE:
            click.get_current_context().meta.setdefault(_LOST, error)


def make_logs_printable() -> None:
    """Let the logs of this process on the terminal and in files be printable; what is JSON is anyhow."""
    for handler in logging.getLogger().handlers:
        known = isinstance(handler.formatter, JsonLogFormatter | _PrintableFormatter)
        # Others' handlers are theirs.
        if type(handler) in (logging.StreamHandler, logging.FileHandler) and not known:
            handler.setFormatter(_PrintableFormatter(handler.formatter))


@contextmanager
def quiet_logs() -> Iterator[None]:
    """Let the logs on the terminal be errors; those in files are what they were."""
    handlers = [one for one in logging.getLogger().handlers if type(one) is logging.StreamHandler]
    levels = [one.level for one in handlers]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for handler in handlers:
                handler.setLevel(logging.ERROR)
            yield
    finally:
        for handler, level in zip(handlers, levels, strict=True):
            handler.setLevel(level)


@contextmanager
def well_ended(context: click.Context) -> Iterator[None]:
    """Let a command end with errors that are printable, with the status of a signal, and not as if all was printed."""
    try:
        with _raised_on_termination():
            yield
    except KeyboardInterrupt as error:
        said = "; ".join(getattr(error, "__notes__", ()))
        advice = " Whatever is stored is whole; run it again for the rest." * (context.info_name in _WRITING)
        echo(f"Interrupted{': ' * bool(said)}{said}.{advice}", err=True)
        raise click.exceptions.Exit(143 if isinstance(error, _TerminatedError) else 130) from error
    except click.ClickException as error:
        # mypy is told that it is final; click shows it, and whatever a subclass puts around it.
        vars(error)["message"] = printable(error.message)
        raise
    finally:
        if lost := context.meta.pop(_LOST, None):
            said = " ".join([f"Error: The output cannot be written: {lost.strerror}.", *context.meta.get(_STORED, ())])
            echo(said, err=True)
            if sys.exception() is None:
                raise click.exceptions.Exit(1)


@contextmanager
def _raised_on_termination() -> Iterator[None]:
    """Let SIGTERM undo what is being done, as Ctrl-C does, instead of ending this process on the spot."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise _TerminatedError
