"""What ``ingest`` and ``ingest-table`` share: the repository, and what follows when exposures are in it."""

from __future__ import annotations

__all__ = ["finish", "open_or_create"]

import os
import time
from typing import Literal

import click
from lsst.daf.butler import Butler
from lsst.resources import ResourcePath

from ..config import make_config
from ..ingest import IngestResult
from ..lists import counted
from ..repository import fetch_exposures
from ..task import DefineVisitsTask
from .errors import open_repository
from .results import echo_result


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


def finish(
    butler: Butler, result: IngestResult, what: str, define_visits: bool, on_error: Literal["raise", "skip"]
) -> None:
    """Say what was ingested, and what was not; define the visits of it if asked to."""
    for failure in result.failures:
        click.echo(f"Failed: {failure}", err=True)
    datasets = f"{counted(result.n_datasets, 'raw')}, " if what == "file" else ""
    click.echo(
        f"{counted(result.n_files, what)}: {result.n_ingested} ingested ({datasets}"
        f"{counted(result.n_exposures, 'new exposure')}), {result.n_skipped} there already, {result.n_failed} failed."
    )
    if define_visits:
        _define_visits_of(butler, result, on_error)
    if result.failures:
        raise click.ClickException(f"{counted(result.n_failed, what)} could not be ingested.")


def _define_visits_of(butler: Butler, result: IngestResult, on_error: Literal["raise", "skip"]) -> None:
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
