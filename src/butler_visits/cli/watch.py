"""The command ``watch``."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from lsst.daf.butler import Butler
from lsst.daf.butler.cli.opt import options_file_option

from .errors import errors_as_messages, opening_error, refuse_server
from .options import (
    VisitsCommand,
    collections_option,
    config_file_option,
    config_option,
    image_choice,
    images_option,
    instrument_option,
    keep_overscan_option,
    new_repo_argument,
    output_run_option,
    set_log_level,
    transfer_option,
    translator_option,
)
from .output import echo

if TYPE_CHECKING:
    from ..watch.tally import Show

_SECONDS = click.FloatRange(min=0.0)


@click.command(short_help="Take files as they arrive, all night.", cls=VisitsCommand)
@new_repo_argument
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@instrument_option
@translator_option
@transfer_option
@output_run_option
@images_option
@keep_overscan_option
@config_file_option
@config_option
@collections_option
@click.option("--once", is_flag=True, help="Take what is there, and end; for cron.")
@click.option(
    "--poll",
    type=click.FloatRange(min=0.0, min_open=True),
    metavar="SECONDS",
    help="Look through folders this often instead of waiting for the kernel to report changes: for network shares. "
    "URIs are listed this often too, by default every 30 s.",
)
@click.option(
    "--batch",
    type=_SECONDS,
    default=0.5,
    show_default=True,
    metavar="SECONDS",
    help="Files that arrive within this time are one batch, of 200 files at most.",
)
@click.option(
    "--settle",
    type=_SECONDS,
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Where nothing says that a file is complete, it counts as complete once it has not changed for this long and "
    "is as long as its headers say.",
)
@click.option(
    "--give-up",
    type=_SECONDS,
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="A file that stays incomplete for this long without growing is bad.",
)
@click.option(
    "--give-up-database", is_flag=True, help="End when the database cannot be reached, instead of waiting for it."
)
@click.option(
    "--status", metavar="FILE", help="Keep the state of the watch in this file, as JSON; watch-status shows it."
)
@click.option(
    "--metrics", type=click.IntRange(1, 65535), metavar="PORT", help="Serve metrics for Prometheus on this port."
)
@click.option("--page", metavar="FILE.html", help="Keep the report page of the current night in this file.")
@click.option("--bad-files", metavar="FILE", help="Keep a list of the bad files in this file, as JSON lines.")
@click.option("--move-bad", metavar="FOLDER", help="Move files that are still bad after --give-up to this folder.")
@options_file_option()
def watch(
    repo: str,
    sources: tuple[str, ...],
    images: bool | None,
    keep_overscan: bool,
    status: str | None,
    metrics: int | None,
    page: str | None,
    bad_files: str | None,
    move_bad: str | None,
    config: Mapping[str, str],
    collections: Sequence[str],
    **options: Any,
) -> None:
    """Take raw files into a data repository as they arrive, and define their visits.

    SOURCE is a folder, with all folders in it; a prefix of URIs, such as s3://bucket/raw/; or -, for places that come
    on the standard input, one a line. Names that begin with a dot are left alone. What is there already is taken first.

    SIGTERM and Ctrl-C end it when the current batch is done; a second one ends it at once.
    """
    from ..ingest.choice import check_new_instrument, read_if_description
    from ..lists import listed
    from ..raws import import_translators
    from ..watch.settings import Settings
    from ..watch.watcher import Watcher
    from .files import check_file_name
    from .ingested import create, is_nothing

    for file, option in ((status, "--status"), (bad_files, "--bad-files")):
        if file:
            check_file_name(file, option=option)
    if page:
        check_file_name(page, [".html"], option="--page")
    _check_sources(sources, move_bad)
    set_log_level()
    if (butler_log := logging.getLogger("lsst.daf.butler")).getEffectiveLevel() == logging.INFO:
        # It has a line for each batch too.
        butler_log.setLevel(logging.WARNING)
    with errors_as_messages(repo):
        options["instrument"] = read_if_description(options["instrument"])
        if is_nothing(repo):
            if options["translator"] is not None:
                # Before a repository is made for nothing.
                import_translators(options["translator"])
            check_new_instrument(options["instrument"])
            create(repo)
        settings = Settings(
            **options,
            images=image_choice(images, keep_overscan),
            config=config,
            collections=collections or None,
            move_bad=Path(move_bad) if move_bad else None,
        )
        shows = _shows(repo, status, metrics, page, bad_files, options["config_file"], config)
        # A path means something else elsewhere.
        name = os.path.realpath(repo) if os.path.exists(repo) else repo
        watcher = Watcher(lambda: _open(repo), name, sources, settings, shows=shows, say=echo)
        # The garbage collector need not look again and again at what stays for good.
        gc.freeze()
        tally = watcher.run()
    echo(tally.summary())
    if watcher.failed and not watcher.was_stopped:
        raise click.ClickException(f"Not taken: {listed(watcher.failed, 10)}.")


def _shows(
    repo: str,
    status: str | None,
    metrics: int | None,
    page: str | None,
    bad_files: str | None,
    config_file: str | None,
    config: Mapping[str, str],
) -> list[Show]:
    """Make what shows the watch."""
    from ..watch.metrics import serve
    from ..watch.night_page import NightPage
    from ..watch.systemd import Notifier
    from ..watch.tally import write_bad_files, write_status

    shows: list[Show] = [Notifier()]
    if status:
        shows.append(partial(write_status, Path(status)))
    if bad_files:
        shows.append(partial(write_bad_files, Path(bad_files)))
    if metrics is not None:
        shows.append(serve(metrics))
    if page:
        shows.append(NightPage(repo, page, config_file, config))
    return shows


def _check_sources(sources: tuple[str, ...], move_bad: str | None) -> None:
    from ..ingest.files import as_resource

    for source in sources:
        path = as_resource(source) if source != "-" else None
        if path is not None and path.isLocal and os.path.lexists(path.ospath) and not os.path.isdir(path.ospath):
            raise click.BadParameter(f"{source} is no folder.", param_hint="SOURCE")
        if move_bad is None or path is None or not path.isLocal:
            continue
        inside, outside = os.path.realpath(move_bad), os.path.realpath(path.ospath)
        if os.path.commonpath([inside, outside]) == outside:
            raise click.BadParameter(f"{move_bad} is in {source}, where its files arrive.", param_hint="--move-bad")
    if move_bad is not None and not os.path.isdir(move_bad):
        raise click.BadParameter(f"there is no folder {move_bad}.", param_hint="--move-bad")


def _open(repo: str) -> Butler:
    """Open the repository; a database that is away is none of the user's mistakes."""
    from ..watch.trouble import is_database_trouble

    try:
        butler = Butler.from_config(repo, writeable=True)
    except Exception as error:
        if is_database_trouble(error):
            raise
        raise opening_error(repo, error) from error
    refuse_server(repo, butler)
    return butler
