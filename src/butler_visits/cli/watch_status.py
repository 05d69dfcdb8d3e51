"""The command ``watch-status``."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from lsst.daf.butler.cli.opt import options_file_option

from ..lists import counted, one_line
from .options import VisitsCommand, format_option
from .output import echo

if TYPE_CHECKING:
    from ..watch.tally import Tally

_OLD = 60
"""Seconds after which a watch that is well has written its file again, unless a batch takes long."""


@click.command(short_help="Say how a watch is.", cls=VisitsCommand)
@click.argument("file", metavar="FILE")
@format_option
@options_file_option()
def watch_status(file: str, format_: str) -> None:
    """Say how a watch is, from the FILE that its option --status names."""
    from ..watch.tally import Tally

    try:
        tally = Tally.from_json(Path(file).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise click.ClickException(
            f"There is no file {file}: expected the one that the option --status of watch names."
        ) from error
    except OSError as error:
        raise click.ClickException(f"File {file} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise click.ClickException(
            f"File {file} is damaged, or is not the one that the option --status of watch names."
        ) from error
    echo(tally.as_json().rstrip() if format_ == "json" else "\n".join(map(one_line, _lines(tally))))


def _lines(tally: Tally) -> Iterator[str]:
    """Say it in words."""
    yield f"{tally.state.capitalize()}; begun {_ago(tally.since)} ago, on {tally.since:%Y-%m-%d at %H:%M:%S %Z}."
    done = [counted(tally.files, "file"), counted(tally.exposures, "exposure"), counted(tally.visits, "visit")]
    yield f"{', '.join(done)} in {tally.batches} batch{'es' * (tally.batches != 1)}."
    if tally.last_batch is not None:
        yield f"Last batch {_ago(tally.last_batch)} ago, {tally.lag:.1f} s behind; last exposure {tally.last_exposure}."
    if tally.waiting:
        yield f"{tally.waiting} waiting."
    for bad in tally.bad.values():
        yield f"Bad: {bad.path}: {bad.reason} ({counted(bad.tries, 'time')} tried, first {_ago(bad.since)} ago)"
    if tally.written is not None and tally.state != "ended" and _age(tally.written) > _OLD:
        yield f"This is {_ago(tally.written)} old: the watch was killed or hangs, unless a batch takes as long."


def _age(when: datetime) -> float:
    return max((datetime.now(UTC) - when).total_seconds(), 0)


def _ago(when: datetime) -> str:
    """Say how long ago something was."""
    age = _age(when)
    for unit, seconds in (("d", 86400), ("h", 3600), ("min", 60)):
        if age >= 2 * seconds:
            return f"{age // seconds:.0f} {unit}"
    return f"{age // 1:.0f} s"
