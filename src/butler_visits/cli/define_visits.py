"""What ``define-visits`` does."""

from __future__ import annotations

__all__ = ["check_plan_name", "echo_result", "make_config", "run", "set_log_level", "write_plan"]

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click
from lsst.daf.butler import Butler
from lsst.pipe.base import Struct
from lsst.pipe.base.configOverrides import ConfigOverrides

from ..config import DefineVisitsConfig
from ..define.groups import check_grouping
from ..define.visit_plan import VisitPlan
from ..lists import counted
from ..repository import fetch_instrument, resolve_instrument, select_exposures
from ..repository.instruments import stored_description
from ..task import DefineVisitsTask
from .errors import errors_as_messages, expression_errors, open_repository
from .output import write_page
from .tables import check_table_name, write_table
from .workers import workers

_LOG = logging.getLogger(__name__)


def run(
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
    **options: Any,
) -> None:
    """Define the visits of a repository's exposures, and say what was done."""
    if options["prefilter"] and (options["update_records"] or options["incremental"]):
        raise click.UsageError("--prefilter drops the visits that --update-records and --incremental are to update.")
    if processes > 1 and dask:
        raise click.UsageError("--processes starts workers on this machine, --dask takes a cluster's; give one.")
    if (dry_run or output) and (processes > 1 or dask):
        raise click.UsageError("--dry-run and --output plan in this process, without --processes or --dask.")
    if output:
        check_plan_name(output)
    set_log_level()
    options["collections"] = collections or None
    with errors_as_messages(repo):
        butler = open_repository(repo, writeable=not dry_run)
        name = resolve_instrument(butler, instrument)
        task = DefineVisitsTask(make_config(butler, name, config_file, config), butler=butler)
        with expression_errors(where):
            exposures = select_exposures(butler, name, where)
        start = time.monotonic()
        if dry_run or output:
            plan = task.plan(exposures, **options)
            if output:
                write_plan(butler, plan, output)
            if dry_run:
                click.echo(plan)
                _echo_left_out(plan, len(exposures), name, where)
                return
            result = task.apply(plan)
        else:
            with workers(processes, dask) as executor:
                result = task.run(exposures, executor=executor, **options)
    echo_result(result, len(exposures), name, where, time.monotonic() - start)


def check_plan_name(output: str) -> None:
    """Refuse the name of a file for a plan that cannot be written, before any work is done."""
    check_table_name(output, ".html")
    if Path(output).suffix.lower() == ".html":
        from ..report.page import require_plotly

        with errors_as_messages(output):
            require_plotly()


def write_plan(butler: Butler, plan: VisitPlan, output: str) -> None:
    """Write a plan as a table or, where the name ends in ``.html``, as a page."""
    if Path(output).suffix.lower() != ".html":
        write_table(plan.to_table(), output)
        return
    # Only this needs what pages are made with.
    from ..report.page import plan_page

    write_page(plan_page(butler, plan), output)


def set_log_level() -> None:
    """Make our loggers follow --log-level, as the Butler's own do."""
    if (logger := logging.getLogger("butler_visits")).level == logging.NOTSET:
        logger.setLevel(logging.getLogger("lsst").getEffectiveLevel())


def echo_result(result: Struct, n_exposures: int, instrument: str, where: str, seconds: float) -> None:
    """Say what was done, and what was not."""
    if result.n_visits:
        updated = result.n_fully_updated + result.n_partially_updated
        kinds = f"{result.n_new} new, {updated} updated, {result.n_skipped} left as they are"
        rate = f"{seconds:.1f} s, {result.n_visits / seconds:.0f} a second"
        click.echo(f"{counted(result.n_visits, 'visit')}: {kinds} ({rate}).")
    _echo_left_out(result, n_exposures, instrument, where)
    for failure in result.failures:
        click.echo(f"Failed: {failure}", err=True)
    if result.failures:
        raise click.ClickException(f"{counted(result.n_failed, 'visit')} could not be defined.")


def _echo_left_out(result: Struct | VisitPlan, n_exposures: int, instrument: str, where: str) -> None:
    """Say which exposures have not become visits, and why."""
    if n_exposures == 0:
        which = f" that match {where!r}" if where else ""
        click.echo(f"Nothing defined: {instrument} has no exposures{which}.")
    if isinstance(result, Struct) and n_exposures and not result.n_visits and not result.failures:
        click.echo("Nothing defined.")
    if result.n_filtered:
        click.echo(f"Left out {counted(result.n_filtered, 'exposure')} with a visit already.")
    if types := result.off_sky_types:
        listed = ", ".join(f"{count} {name}" for name, count in sorted(types.items(), key=lambda c: (-c[1], c[0])))
        click.echo(f"Left out {counted(sum(types.values()), 'exposure')} not on the sky: {listed}.")


def make_config(
    butler: Butler, instrument: str, config_file: str | None = None, overrides: Mapping[str, str] = MappingProxyType({})
) -> DefineVisitsConfig:
    """Put the config together: defaults, the instrument's overrides and description, the user's file and fields."""
    config = DefineVisitsConfig()
    try:
        fetch_instrument(butler, instrument).applyConfigOverrides(DefineVisitsTask._DefaultName, config)
    except Exception as error:
        # An instrument's class is somebody else's code, which can fail in any way.
        raise click.ClickException(f"The config overrides of instrument {instrument}: {_reason(error)}") from error
    if (description := stored_description(butler, instrument)) is not None:
        check_grouping(description.grouping, f"The stored description of {instrument}")
        config.groupExposures.name = description.grouping
    if config_file:
        try:
            config.load(config_file)
            config.validate()
        except Exception as error:
            # The file is the user's own code, which can fail in any way.
            raise click.ClickException(f"Config file {config_file}: {_reason(error)}") from error
    for field, value in overrides.items():
        override = ConfigOverrides()
        override.addValueOverride(field, value)
        try:
            override.applyTo(config)
            config.validate()
        except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
            raise click.BadParameter(f"{field}={value}: {_reason(error)}", param_hint="-c") from error
    if (
        config.groupExposures.name == "one-to-one-and-by-counter"
        and "seq_end" not in butler.dimensions["exposure"].RecordClass.fields.names
    ):
        _LOG.warning(
            "The exposures of this repository have no counters (seq_start, seq_end): one-to-one is used instead of "
            "one-to-one-and-by-counter."
        )
        config.groupExposures.name = "one-to-one"
    return config


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"
