"""The command ``define-visits``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import click
from lsst.daf.butler.cli import opt

from .errors import errors_as_messages, expression_errors, open_instrument
from .options import (
    VisitsCommand,
    collections_option,
    config_option,
    dry_run_option,
    flag_option,
    format_option,
    instrument_argument,
    on_error_option,
    plan_option,
    repo_argument,
    set_log_level,
)
from .output import echo


@click.command(short_help="Define visits from exposures.", cls=VisitsCommand)
@repo_argument
@instrument_argument
@opt.config_file_option(help="Path of a config file, loaded after the instrument's own overrides.")
@config_option
@collections_option
@opt.where_option(help="Expression that selects exposures, like a SQL WHERE clause. The default is all.")
@flag_option("update-records", "Update visits that exist, and replace their detector regions.")
@flag_option("incremental", "Add exposures to visits that exist. Use it wherever exposures may arrive one by one.")
@flag_option("skip-conflicting", "Leave visits that are stored differently as they are, instead of failing.")
@flag_option("prefilter", "First drop exposures that already belong to a visit.")
@flag_option("check-detector-regions", "Add the detector regions that existing visits lack.")
@on_error_option(
    "What to do about exposures that cannot be handled: stop, or report them, define all others and exit with status 1."
)
@dry_run_option
@plan_option
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes on this machine that compute and write the visits.",
)
@click.option(
    "--dask",
    metavar="ADDRESS",
    help="Let the workers of a Dask cluster compute and write the visits; ADDRESS is its scheduler's, such as "
    "tcp://host:8786.",
)
@format_option
@opt.options_file_option()
def define_visits(
    repo: str,
    instrument: str,
    config_file: str | None,
    config: Mapping[str, str],
    where: str,
    dry_run: bool,
    output: str | None,
    processes: int,
    dask: str | None,
    collections: Sequence[str],
    format_: str,
    **options: Any,
) -> None:
    """Define visits from the exposures of a data repository.

    Visits that are there already and equal are left alone, so running it twice is safe.
    """
    from ..config import make_config
    from ..repository import select_exposures
    from ..task import DefineVisitsTask
    from .files import check_plan_name, write_plan
    from .results import echo_json, echo_left_out, echo_result
    from .workers import workers

    if options["prefilter"] and (options["update_records"] or options["incremental"]):
        raise click.UsageError("--prefilter drops the visits that --update-records and --incremental are to update.")
    if processes > 1 and dask:
        raise click.UsageError(
            "--processes starts workers on this machine, --dask takes a cluster's; give one or the other."
        )
    if (dry_run or output) and (processes > 1 or dask):
        raise click.UsageError("--dry-run and --output plan in this process, without --processes or --dask.")
    if output:
        check_plan_name(output)
    set_log_level()
    options["collections"] = collections or None
    with errors_as_messages(repo):
        butler, name = open_instrument(repo, instrument, writeable=not dry_run, server=dry_run)
        task = DefineVisitsTask(make_config(butler, name, config_file, config), butler=butler)
        with expression_errors(where):
            exposures = select_exposures(butler, name, where)
        start = time.monotonic()
        plan = result = None
        if dry_run or output:
            plan = task.plan(exposures, **options)
            if output:
                write_plan(butler, plan, output)
            if not dry_run:
                result = task.apply(plan)
        else:
            with workers(processes, dask) as executor:
                result = task.run(exposures, executor=executor, **options)
    seconds = time.monotonic() - start
    if format_ == "json":
        echo_json(name, len(exposures), plan, result)
    elif result is not None:
        echo_result(result, len(exposures), name, where, seconds)
    elif plan is not None:
        echo(plan)
        echo_left_out(plan, len(exposures), name, where)
    if result.failures if result is not None else plan is not None and not plan.sound:
        raise click.exceptions.Exit(1)
