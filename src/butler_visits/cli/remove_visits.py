"""The command ``remove-visits``."""

from __future__ import annotations

import click
from lsst.daf.butler.cli import opt

from .errors import errors_as_messages, expression_errors, open_instrument
from .options import VisitsCommand, dry_run_option, instrument_argument, repo_argument, set_log_level
from .output import echo


@click.command(short_help="Remove visits from a repository.", cls=VisitsCommand)
@repo_argument
@instrument_argument
@click.option(
    "--visit", "visits", type=int, multiple=True, metavar="ID", help="Id of a visit; may be given several times."
)
@opt.where_option(help="Expression that selects visits, like a SQL WHERE clause.")
@dry_run_option
@opt.options_file_option()
def remove_visits(repo: str, instrument: str, visits: tuple[int, ...], where: str, dry_run: bool) -> None:
    """Remove visits whole: all their rows, and no exposure. Their exposures can be made visits again at once.

    Visits that datasets belong to are not removed.
    """
    from .. import repository
    from ..errors import noting
    from ..lists import counted, one_line

    if bool(visits) == bool(where):
        raise click.UsageError("Say which visits: --visit ID, once for each visit, or --where, but not both.")
    set_log_level()
    with errors_as_messages(repo):
        butler, name = open_instrument(repo, instrument, writeable=not dry_run)
        with expression_errors(where):
            ids = list(visits) or repository.select_visits(butler, name, where)
        if not ids:
            raise click.ClickException(f"No visit of {name} matches {where!r}.")
        with noting(lambda: "" if dry_run else "all of the visits are removed, or none of them is"):
            removed = repository.try_again(butler, lambda: repository.remove_visits(butler, name, ids, dry_run=dry_run))
    lines = [one_line(f"  {visit} ({visit_name})") for visit, visit_name in removed.items()]
    echo(
        "\n".join([f"{counted(len(removed), 'visit')} {'would be removed' if dry_run else 'removed'}:", *lines]),
        stored="" if dry_run else "The visits are removed.",
    )
