"""What ``define-visits`` does."""

from __future__ import annotations

__all__ = ["run"]

import logging
from collections.abc import Mapping, Sequence

import click
from lsst.daf.butler import Butler, InvalidQueryError
from lsst.pipe.base import Struct

from ..registry import fetch_instrument, resolve_instrument
from ..task import DefineVisitsConfig, DefineVisitsTask
from .errors import errors_as_messages, open_repository

_LOG = logging.getLogger(__name__)


def run(
    repo: str,
    instrument: str,
    config_file: str | None,
    collections: Sequence[str],
    where: str,
    *,
    prefilter: bool,
    update_records: bool,
    incremental: bool,
    **options: bool,
) -> None:
    """Define the visits of a repository's exposures, and say what was done.

    Parameters
    ----------
    repo, instrument, config_file, collections, where
        As given on the command line.
    prefilter, update_records, incremental, **options : `bool`
        Options of `DefineVisitsTask.run`.

    Raises
    ------
    click.ClickException
        For every error that a user can mend.
    """
    if prefilter and (update_records or incremental):
        raise click.UsageError("--prefilter drops the visits that --update-records and --incremental are to update.")
    # Like the Butler's own loggers, ours follow --log-level.
    logging.getLogger("butler_visits").setLevel(logging.getLogger("lsst").getEffectiveLevel())
    with errors_as_messages(repo):
        butler = open_repository(repo, writeable=True)
        name = resolve_instrument(butler, instrument)
        config = _config(butler, name, config_file)
        try:
            with butler.query() as query:
                exposures = list(query.dimension_records("exposure").where(where, instrument=name))
        except InvalidQueryError as error:
            raise click.BadParameter(f"{where!r} is no valid expression: {error}", param_hint="--where") from error
        task = DefineVisitsTask(config, butler=butler)
        result = task.run(
            exposures,
            collections=collections or None,
            prefilter=prefilter,
            update_records=update_records,
            incremental=incremental,
            **options,
        )
    for line in _summary(result, name, len(exposures), where):
        click.echo(line)


def _config(butler: Butler, instrument: str, config_file: str | None) -> DefineVisitsConfig:
    """Put the config together: defaults, the instrument's overrides, the user's file."""
    config = DefineVisitsConfig()
    fetch_instrument(butler, instrument).applyConfigOverrides(DefineVisitsTask._DefaultName, config)
    if config_file:
        try:
            config.load(config_file)
            config.validate()
        except Exception as error:
            # The file is the user's own code, which can fail in any way.
            reason = next(iter(str(error).strip().splitlines()), "")
            raise click.ClickException(f"Config file {config_file}: {type(error).__name__}: {reason}") from error
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


def _summary(result: Struct, instrument: str, n_exposures: int, where: str) -> list[str]:
    if n_exposures == 0:
        which = f" that match {where!r}" if where else ""
        return [f"Nothing defined: {instrument} has no exposures{which}."]
    lines = []
    if result.n_visits:
        updated = result.n_fully_updated + result.n_partially_updated
        kinds = f"{result.n_new} new, {updated} updated, {result.n_skipped} left as they are"
        lines.append(f"{_count(result.n_visits, 'visit')}: {kinds}.")
    else:
        lines.append("Nothing defined.")
    if result.n_filtered:
        lines.append(f"Left out {_count(result.n_filtered, 'exposure')} with a visit already.")
    if result.n_off_sky:
        lines.append(
            f"Left out {_count(result.n_off_sky, 'exposure')} not on the sky: {_listed(result.off_sky_types)}."
        )
    return lines


def _count(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number} {what}s"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda c: (-c[1], c[0])))
