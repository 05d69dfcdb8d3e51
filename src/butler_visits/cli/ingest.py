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
    image_choice,
    images_option,
    ingest_dry_run_option,
    ingest_on_error_option,
    instrument_option,
    keep_overscan_option,
    new_repo_argument,
    output_run_option,
    set_log_level,
    transfer_option,
    translator_option,
    update_records_option,
)


@click.command(short_help="Put raw files into a data repository.", cls=VisitsCommand)
@new_repo_argument
@click.argument("locations", metavar="LOCATIONS...", nargs=-1, required=True)
@instrument_option
@translator_option
@transfer_option
@output_run_option
@click.option(
    "-j",
    "--threads",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    metavar="N",
    help="Number of files whose headers are read at the same time.",
)
@click.option(
    "--index/--no-index",
    default=True,
    show_default=True,
    help="Take headers from the files that astrometadata's write-index and write-sidecar make, where they are newer "
    "than the raws and say the same.",
)
@images_option
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

    kind = image_choice(images, keep_overscan)
    set_log_level()
    with errors_as_messages(repo):
        for location in locations:
            path = as_resource(location)
            if path.isLocal and not os.path.lexists(path.ospath):
                raise click.BadParameter(f"there is no file or folder {location}.", param_hint="LOCATIONS")
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
