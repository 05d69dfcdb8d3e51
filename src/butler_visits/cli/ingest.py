"""What ``ingest`` does."""

from __future__ import annotations

__all__ = ["define_visits_of", "open_or_create", "report", "run"]

import os
import time
from typing import Any, Literal

import click
from lsst.daf.butler import Butler
from lsst.resources import ResourcePath

from ..ingest.choice import read_if_description
from ..ingest.files import as_resource, find_raw_files
from ..ingest.raws import ingest_raws
from ..ingest.result import IngestResult
from ..lists import counted
from ..repository import fetch_exposures
from ..task import DefineVisitsTask
from .define_visits import echo_result, make_config, set_log_level
from .errors import errors_as_messages, open_repository


def run(repo: str, locations: tuple[str, ...], instrument: str | None, define_visits: bool, **options: Any) -> None:
    """Ingest raw files, and say what was done."""
    set_log_level()
    for location in locations:
        path = as_resource(location)
        if path.isLocal and not os.path.lexists(path.ospath):
            raise click.BadParameter(f"there is no file or folder {location}.", param_hint="LOCATIONS")
    with errors_as_messages(repo):
        # What is wrong with these is found before a repository is created.
        files, errors = find_raw_files(locations, may_be_empty=options["transfer"] == "move")
        if errors and not files:
            raise errors[0]
        instrument_or_description = read_if_description(instrument)
        butler = open_or_create(repo)
        result = ingest_raws(butler, locations, instrument=instrument_or_description, **options)
        report(result, "file")
        if define_visits:
            define_visits_of(butler, result, options["on_error"])
    if result.failures:
        raise click.ClickException(f"{counted(result.n_failed, 'file')} could not be ingested.")


def open_or_create(repo: str) -> Butler:
    """Open a repository, or create it where there is nothing."""
    if not _is_nothing(repo):
        return open_repository(repo, writeable=True)
    try:
        # A name with a dot is no name of a config file.
        Butler.makeRepo(ResourcePath(repo, forceDirectory=True))
    except (OSError, ValueError) as error:
        raise click.ClickException(f"The data repository {repo} cannot be created: {error}.") from error
    click.echo(f"Created the data repository {repo}, with an SQLite database.")
    return open_repository(repo, writeable=True)


def _is_nothing(repo: str) -> bool:
    """Tell whether a repository's name is a local path where there is nothing yet."""
    if repo in Butler.get_known_repos():
        return False
    path = ResourcePath(repo, forceAbsolute=True)
    if not path.isLocal or path.getExtension() in (".yaml", ".json"):
        return False
    return not os.path.lexists(path.ospath) or (os.path.isdir(path.ospath) and not os.listdir(path.ospath))


def report(result: IngestResult, what: str) -> None:
    """Say what was ingested, and what was not."""
    for failure in result.failures:
        click.echo(f"Failed: {failure}", err=True)
    datasets = f"{counted(result.n_datasets, 'raw')}, " if what == "file" else ""
    click.echo(
        f"{counted(result.n_files, what)}: {result.n_ingested} ingested ({datasets}"
        f"{counted(result.n_exposures, 'new exposure')}), {result.n_skipped} there already, {result.n_failed} failed."
    )


def define_visits_of(butler: Butler, result: IngestResult, on_error: Literal["raise", "skip"]) -> None:
    """Define the visits of exposures, those that were there already included."""
    failed: list[str] = []
    for instrument, ids in result.exposures.items():
        task = DefineVisitsTask(make_config(butler, instrument), butler=butler)
        exposures = fetch_exposures(butler, instrument, ids).values()
        start = time.monotonic()
        visits = task.run(exposures, incremental=True, on_error=on_error)
        try:
            echo_result(visits, len(ids), instrument, "", time.monotonic() - start)
        except click.ClickException as error:
            # The other instruments' visits are still to be defined.
            failed.append(error.message)
    if failed:
        raise click.ClickException("\n".join(failed))
