"""What ``ingest`` and ``ingest-table`` share: the repository, and what follows when exposures are in it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import click
from lsst.daf.butler import Butler
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.pipe.base import Struct
from lsst.resources import ResourcePath

from ..config import make_config
from ..ingest import IngestResult
from ..lists import counted
from ..redefine import redefine_visits
from ..repository import fetch_exposures, fetch_exposures_of_visits, fetch_visits_of_exposures
from ..task import DefineVisitsTask
from .errors import open_repository
from .output import echo
from .results import echo_result


def open_if_there(repo: str, define_visits: bool, options: Mapping[str, Any]) -> Butler | None:
    """Open a repository; return `None` if there is nothing, so that mistakes are found before it is created."""
    dry_run = options["dry_run"]
    if dry_run and define_visits:
        raise click.UsageError("--dry-run writes no exposures for --define-visits to work on; give one or the other.")
    return open_repository(repo, writeable=not dry_run) if dry_run or not is_nothing(repo) else None


def create(repo: str) -> Butler:
    """Create a repository."""
    try:
        # A name with a dot is no name of a config file.
        Butler.makeRepo(ResourcePath(repo, forceDirectory=True))
    except (OSError, ValueError) as error:
        raise click.ClickException(f"The data repository {repo} cannot be created: {error}.") from error
    echo(f"Created the data repository {repo}, with an SQLite database.")
    return open_repository(repo, writeable=True)


def is_nothing(repo: str) -> bool:
    """Tell whether a repository's name is a local path where there is nothing yet."""
    if repo in Butler.get_known_repos():
        return False
    path = ResourcePath(repo, forceAbsolute=True)
    if not path.isLocal or path.getExtension() in (".yaml", ".json"):
        return False
    return not os.path.lexists(path.ospath) or (os.path.isdir(path.ospath) and not os.listdir(path.ospath))


def finish(butler: Butler, result: IngestResult, what: str, define_visits: bool, options: Mapping[str, Any]) -> None:
    """Say what was ingested, and what was not; define the visits of it if asked to."""
    for correction in result.corrections if options["dry_run"] else ():
        echo(f"{correction.source}: would correct {correction}.")
    for failure in result.failures:
        echo(f"Failed: {failure}", err=True)
    datasets = f"{counted(result.n_datasets, 'raw')}, " if what == "file" else ""
    corrected = f" {counted(result.n_updated, 'exposure')} corrected." if result.corrections else ""
    echo(
        f"{'Dry run: ' * options['dry_run']}{counted(result.n_files, what)}: {result.n_ingested} ingested ({datasets}"
        f"{counted(result.n_exposures, 'new exposure')}), {result.n_skipped} there already, {result.n_failed} failed."
        f"{corrected}",
        stored="" if options["dry_run"] else "The exposures are stored.",
    )
    if result.n_images:
        echo(f"{counted(result.n_images, 'image')} stored beside the raws.")
    if define_visits:
        _define_visits_of(butler, result, options)
    if result.failures:
        raise click.ClickException(f"{counted(result.n_failed, what)} could not be ingested.")


def _define_visits_of(butler: Butler, result: IngestResult, options: Mapping[str, Any]) -> None:
    """Define the visits of exposures, those that were there already included, and update those of corrected ones."""
    failed: list[str] = []
    on_error = options["on_error"]

    def define(run: Callable[[], Struct], n_exposures: int) -> None:
        start = time.monotonic()
        try:
            echo_result(run(), n_exposures, instrument, "", time.monotonic() - start)
        except (click.ClickException, ConflictingDefinitionError) as error:
            # The others' visits are still to be defined.
            failed.append(error.message if isinstance(error, click.ClickException) else str(error))

    for instrument, ids in result.exposures.items():
        task = DefineVisitsTask(make_config(butler, instrument), butler=butler)
        changed = [one.stored for one in result.corrections if one.record.instrument == instrument]
        corrected = {record.id for record in changed}
        others = set(ids) - corrected
        if options["update_records"]:
            # A run that was killed may have corrected some, and not their visits.
            visits = fetch_visits_of_exposures(butler, instrument, others)
            in_visits = fetch_exposures_of_visits(butler, instrument, set().union(*visits.values()))
            others = others.union(*in_visits.values()) - corrected
        exposures = fetch_exposures(butler, instrument, others).values()
        if exposures or not changed:
            define(partial(task.run, exposures, incremental=True, on_error=on_error), len(exposures))
        if changed:
            define(partial(redefine_visits, task, instrument, corrected, changed, on_error=on_error), len(corrected))
    if failed:
        raise click.ClickException("\n".join(dict.fromkeys(failed)))
