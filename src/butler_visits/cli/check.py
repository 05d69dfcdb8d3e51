"""What ``check`` does."""

from __future__ import annotations

__all__ = ["run"]

import json
import traceback
from collections.abc import Mapping, Sequence

import click

from ..check import check_visits, repair_visits
from ..repository import resolve_instrument
from ..task import DefineVisitsTask
from .define_visits import make_config, set_log_level
from .errors import errors_as_messages, expression_errors, open_repository


class _NotCheckedError(click.ClickException):
    """Whatever keeps visits from being checked; an exit status of 1 would mean findings."""

    exit_code = 2


def run(
    repo: str,
    instrument: str,
    where: str,
    collections: Sequence[str],
    config_file: str | None,
    config: Mapping[str, str],
    repair: bool,
    format_: str,
) -> None:
    """Check the visits of a repository, mend them if asked to, and print what is wrong."""
    set_log_level()
    try:
        with errors_as_messages(repo):
            butler = open_repository(repo, writeable=repair)
            name = resolve_instrument(butler, instrument)
            task = DefineVisitsTask(make_config(butler, name, config_file, config), butler=butler)
            with expression_errors(where):
                look = repair_visits if repair else check_visits
                report = look(task, name, where, collections=collections or None)
            text = json.dumps(report.to_dict(), indent=2, allow_nan=False) if format_ == "json" else str(report)
    except click.UsageError:
        raise
    except click.ClickException as error:
        raise _NotCheckedError(error.message) from error
    except Exception as error:
        # Python's own exit status for it would mean findings.
        traceback.print_exc()
        raise click.exceptions.Exit(2) from error
    click.echo(text)
    if not report.sound:
        raise click.exceptions.Exit(1)
