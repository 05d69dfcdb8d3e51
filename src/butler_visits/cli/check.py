"""The command ``check``."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping, Sequence

import click
from lsst.daf.butler.cli.opt import options_file_option

from .errors import errors_as_messages, expression_errors, open_instrument
from .options import (
    VisitsCommand,
    collections_option,
    config_file_option,
    config_option,
    format_option,
    instrument_argument,
    repo_argument,
    set_log_level,
    visits_where_option,
)
from .output import echo


class _NotCheckedError(click.ClickException):
    """Whatever keeps visits from being checked; an exit status of 1 would mean findings."""

    exit_code = 2


@click.command(short_help="Find what is wrong with the visits of a repository.", cls=VisitsCommand)
@repo_argument
@instrument_argument
@visits_where_option
@collections_option
@config_file_option
@config_option
@click.option("--repair", is_flag=True, help="Repair what define-visits can repair safely.")
@format_option
@options_file_option()
def check(
    repo: str,
    instrument: str,
    where: str,
    collections: Sequence[str],
    config_file: str | None,
    config: Mapping[str, str],
    repair: bool,
    format_: str,
) -> None:
    """Compare the visits of a repository with what would be computed now, and report what is not as it should be.

    The config must be the one that the visits are defined with. The exit status is 0 if nothing is wrong, 1 if there
    are findings (with --repair, findings that are left), and 2 if the visits could not be checked.
    """
    from ..check import check_visits, repair_visits
    from ..config import make_config
    from ..task import DefineVisitsTask

    set_log_level()
    try:
        with errors_as_messages(repo):
            butler, name = open_instrument(repo, instrument, writeable=repair, server=not repair)
            task = DefineVisitsTask(make_config(butler, name, config_file, config), butler=butler)
            with expression_errors(where):
                look = repair_visits if repair else check_visits
                report = look(task, name, where, collections=collections or None)
            text = str(report)
            if format_ == "json":
                # All other characters that are not printable it writes so itself.
                text = json.dumps(report.to_dict(), indent=2, allow_nan=False).replace("\x7f", r"\u007f")
    except click.UsageError:
        raise
    except click.ClickException as error:
        raise _NotCheckedError(error.message) from error
    except Exception as error:
        # Python's own exit status for it would mean findings.
        echo(traceback.format_exc(), err=True)
        raise click.exceptions.Exit(2) from error
    if not echo(text, stored="What was repaired is stored." * repair):
        raise click.exceptions.Exit(2)
    if not report.sound:
        raise click.exceptions.Exit(1)
