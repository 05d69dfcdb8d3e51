"""The command ``ingest``."""

from __future__ import annotations

import os
from typing import Any

import click
from lsst.daf.butler.cli.opt import options_file_option

from .errors import errors_as_messages
from .options import (
    VisitsCommand,
    define_visits_option,
    ingest_dry_run_option,
    ingest_on_error_option,
    keep_overscan_option,
    new_repo_argument,
    set_log_level,
    translator_option,
    update_records_option,
)


@click.command(short_help="Put raw files into a data repository.", cls=VisitsCommand)
@new_repo_argument
@click.argument("locations", metavar="LOCATIONS...", nargs=-1, required=True)
@click.option(
    "--instrument",
    metavar="NAME|FILE",
    help="The instrument that the files are of: a registered name, or a YAML file that describes it. By default the "
    "headers say it.",
)
@translator_option
@click.option(
    "--transfer",
    type=click.Choice(["direct", "copy", "link", "symlink", "move"]),
    default="direct",
    show_default=True,
    help="What becomes of the files: they stay where they are, or are put into the repository. A link is a hard one, "
    "or symbolic where that is not possible.",
)
@click.option(
    "--output-run", metavar="RUN", help="Run collection of the datasets. By default it is <instrument>/raw/all."
)
@click.option(
    "-j",
    "--threads",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    metavar="N",
    help="Files whose headers are read at the same time.",
)
@click.option(
    "--index/--no-index",
    default=True,
    show_default=True,
    help="Take headers from the files that astrometadata's write-index and write-sidecar make, where they are newer "
    "than the raws and say the same.",
)
@click.option(
    "--images/--no-images",
    default=None,
    help="Store an image, raw_image, beside each raw, from the same file. By default it is done where lsst-images is "
    "installed.",
)
@keep_overscan_option
@ingest_on_error_option
@update_records_option
@ingest_dry_run_option
@define_visits_option
@options_file_option()
def ingest(
    repo: str,
    locations: tuple[str, ...],
    instrument: str | None,
    define_visits: bool,
    images: bool | None,
    keep_overscan: bool,
    **options: Any,
) -> None:
    """Put raw files into a data repository: exposures, and a raw dataset for each detector.

    LOCATIONS are FITS files and folders. In a folder, and all folders in it, files are taken that end in .fits, .fit or
    .fts, or in one of these with .fz, .gz or .bz2 behind it. Only headers are read. What is there already is left
    alone, so running it twice is safe.
    """
    from ..ingest.choice import check_new_instrument, read_if_description
    from ..ingest.files import as_resource
    from ..ingest.raws import ingest_raws, list_raw_files
    from ..raws import import_translators
    from .ingested import create, finish, open_if_there

    if keep_overscan and images is False:
        raise click.UsageError("--keep-overscan is about the images that --no-images leaves out; give one.")
    kind: Any = "untrimmed" if keep_overscan else {True: "trimmed", False: None, None: "auto"}[images]
    set_log_level()
    for location in locations:
        path = as_resource(location)
        if path.isLocal and not os.path.lexists(path.ospath):
            raise click.BadParameter(f"there is no file or folder {location}.", param_hint="LOCATIONS")
    with errors_as_messages(repo):
        instrument_or_description = read_if_description(instrument)
        butler = open_if_there(repo, define_visits, options)
        found = list_raw_files(locations, butler, options["transfer"])
        if found.errors and (not found.files or options["on_error"] == "raise"):
            raise found.errors[0]
        if butler is None:
            if options["translator"] is not None:
                # Before a repository is made for nothing.
                import_translators(options["translator"])
            check_new_instrument(instrument_or_description)
            butler = create(repo)
        result = ingest_raws(butler, found, instrument=instrument_or_description, images=kind, **options)
        finish(butler, result, "file", define_visits, options)
