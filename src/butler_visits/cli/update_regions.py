"""What ``update-regions`` does."""

from __future__ import annotations

__all__ = ["run"]

import time

import click

from ..define.visits import Action
from ..fitted.geometries import find_geometries
from ..fitted.update import update_visit_regions
from ..repository import resolve_instrument
from .define_visits import check_plan_name, make_config, set_log_level, write_plan
from .errors import errors_as_messages, expression_errors, open_repository


def run(
    repo: str, instrument: str, collections: str, dataset_type: str, where: str, dry_run: bool, output: str | None
) -> None:
    """Update the regions and pointings of a repository's visits, and say what was done."""
    searched = [name.strip() for name in collections.split(",") if name.strip()]
    if not searched:
        raise click.BadParameter("give at least one collection.", param_hint="COLLECTIONS")
    if output:
        check_plan_name(output)
    set_log_level()
    with errors_as_messages(repo):
        butler = open_repository(repo, writeable=not dry_run)
        name = resolve_instrument(butler, instrument)
        config = make_config(butler, name)
        with expression_errors(where):
            datasets = find_geometries(butler, name, searched, dataset_type, where)
        start = time.monotonic()
        plan = update_visit_regions(
            butler,
            datasets,
            dry_run=dry_run,
            chunk_size=config.chunkSize,
            update_obscore=config.updateObsCoreTable,
        )
        seconds = time.monotonic() - start
        if output:
            write_plan(butler, plan, output)
    if not datasets:
        which = f" that match {where!r}" if where else ""
        click.echo(f"Nothing updated: {name} has no {dataset_type} datasets{which} in {', '.join(searched)}.")
    elif dry_run:
        click.echo(plan)
    else:
        updated = sum(visit.action is Action.UPDATE for visit in plan)
        visits = "1 visit" if len(plan) == 1 else f"{len(plan)} visits"
        click.echo(
            f"{visits}: {updated} updated, {len(plan) - updated} left as they are "
            f"({seconds:.1f} s, {len(plan) / seconds:.0f} a second)."
        )
