"""The command ``add-images``."""

from __future__ import annotations

import click
from lsst.daf.butler.cli import opt

from .errors import errors_as_messages, open_instrument
from .options import (
    VisitsCommand,
    dry_run_option,
    instrument_argument,
    keep_overscan_option,
    repo_argument,
    set_log_level,
)
from .output import echo


@click.command(short_help="Store images beside the raws of a repository.", cls=VisitsCommand)
@repo_argument
@instrument_argument
@opt.collections_option(help="Collections of the raws; by default the instrument's own, <instrument>/raw/all.")
@keep_overscan_option
@dry_run_option
@opt.options_file_option()
def add_images(repo: str, instrument: str, collections: tuple[str, ...], keep_overscan: bool, dry_run: bool) -> None:
    """Store an image, raw_image, beside each raw: a dataset that butler.get reads from the same file.

    Files are not copied, and only headers are read. What is there already is left alone.
    """
    from ..ingest.images import add_images as store_images
    from ..lists import counted

    set_log_level()
    with errors_as_messages(repo):
        butler, name = open_instrument(repo, instrument, writeable=not dry_run)
        n_new, failures = store_images(
            butler,
            name,
            collections=collections or None,
            kind="untrimmed" if keep_overscan else "trimmed",
            dry_run=dry_run,
        )
    for failure in failures:
        echo(f"Failed: {failure}", err=True)
    echo(f"{counted(n_new, 'image')} {'would be stored' if dry_run else 'stored'} beside the raws.")
    if failures:
        raise click.ClickException(f"{counted(len(failures), 'raw')} can have no image.")
