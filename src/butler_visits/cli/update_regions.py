"""The command ``update-regions``."""

from __future__ import annotations

import time

import click
from lsst.daf.butler.cli.opt import options_file_option, where_option

from ..lists import counted, listed
from .errors import errors_as_messages, expression_errors, open_instrument
from .options import VisitsCommand, dry_run_option, instrument_argument, plan_option, repo_argument, set_log_level
from .output import echo


@click.command(short_help="Take regions and pointings from an astrometric fit.", cls=VisitsCommand)
@repo_argument
@instrument_argument
@click.argument("collections", metavar="COLLECTIONS")
@click.option(
    "--dataset-type",
    default="visit_geometry",
    show_default=True,
    metavar="NAME",
    help="Type of the datasets that hold the fitted geometry, one for each visit.",
)
@where_option(
    help="Expression that selects the fit's datasets by instrument and visit, like a SQL WHERE clause. The default is "
    "all."
)
@dry_run_option
@plan_option
@options_file_option()
def update_regions(
    repo: str, instrument: str, collections: str, dataset_type: str, where: str, dry_run: bool, output: str | None
) -> None:
    """Replace the regions of visits and the pointings of their exposures by what an astrometric fit has found.

    COLLECTIONS are the collections that have the fit's datasets, separated by commas; of each visit the first dataset
    is taken. Running it twice is safe.
    """
    from ..config import make_config
    from ..define.visits import Action
    from ..fitted.geometries import find_geometries
    from ..fitted.update import update_visit_regions
    from .files import check_plan_name, write_plan

    searched = [name.strip() for name in collections.split(",") if name.strip()]
    if not searched:
        raise click.BadParameter("give at least one collection.", param_hint="COLLECTIONS")
    if output:
        check_plan_name(output)
    set_log_level()
    with errors_as_messages(repo):
        butler, name = open_instrument(repo, instrument, writeable=not dry_run)
        config = make_config(butler, name, groups=False)
        with expression_errors(where):
            datasets = find_geometries(butler, name, searched, dataset_type, where)
        start = time.monotonic()
        plan = update_visit_regions(
            butler, datasets, dry_run=dry_run, chunk_size=config.chunkSize, update_obscore=config.updateObsCoreTable
        )
        seconds = time.monotonic() - start
    if not datasets:
        which = f" that match {where!r}" if where else ""
        echo(f"Nothing updated: {name} has no {dataset_type} datasets{which} in {listed(searched)}.")
    elif dry_run:
        echo(plan)
    else:
        updated = sum(visit.action is Action.UPDATE for visit in plan)
        echo(
            f"{counted(len(plan), 'visit')}: {updated} updated, {len(plan) - updated} left as they are "
            f"({seconds:.1f} s, {len(plan) / seconds:.0f} a second).",
            stored="The regions are stored.",
        )
    # Last, because a table that cannot be written takes nothing back.
    if output:
        with errors_as_messages(repo):
            write_plan(butler, plan, output)
