"""The command ``make-skymap``."""

from __future__ import annotations

import click
from lsst.daf.butler.cli.opt import options_file_option

from .errors import errors_as_messages, open_repository
from .options import VisitsCommand, refuse_unused, repo_argument, set_log_level
from .output import echo


@click.command(short_help="Store a custom skymap.", cls=VisitsCommand)
@repo_argument
@click.argument("name")
@click.option(
    "--rectangle",
    type=float,
    nargs=4,
    metavar="RA DEC WIDTH HEIGHT",
    help="One tract with this centre and size, in degrees.",
)
@click.option("--rings", type=int, metavar="N", help="Tracts over the whole sky, in N rings of equal height.")
@click.option(
    "--patch-size",
    type=click.FloatRange(min=0, min_open=True),
    default=0.2,
    show_default=True,
    metavar="DEGREES",
    help="Side of a patch.",
)
@click.option(
    "--overlap",
    type=click.FloatRange(min=0),
    default=0.02,
    show_default=True,
    metavar="DEGREES",
    help="Smallest overlap of the tracts of rings.",
)
@options_file_option()
def make_skymap(
    repo: str,
    name: str,
    rectangle: tuple[float, float, float, float] | None,
    rings: int | None,
    patch_size: float,
    overlap: float,
) -> None:
    """Store a skymap NAME with its tracts and patches, so that visits can be joined with them.

    Patches are squares in rows from the south, those of a row from the east. Storing the same skymap again is safe.
    """
    from ..lists import counted
    from ..repository import try_again, write_skymap

    if (rectangle is None) == (rings is None):
        raise click.UsageError("Say which skymap: --rectangle or --rings.")
    if rectangle is not None:
        refuse_unused(["--overlap"], "is of the tracts of --rings; a rectangle is one tract.")
    set_log_level()
    with errors_as_messages(repo):
        if rectangle is not None:
            tracts = write_skymap.rectangle(*rectangle, patch_size)
        else:
            tracts = write_skymap.rings(rings or 0, overlap, patch_size)
        butler = open_repository(repo, writeable=True)
        is_new = try_again(butler, lambda: write_skymap.write_skymap(butler, name, tracts))
    n_patches = sum(tract.nx * tract.ny for tract in tracts)
    has = f"{counted(len(tracts), 'tract')} and {n_patches} patch{'es' * (n_patches != 1)}"
    echo(f"Stored skymap {name} of {has}." if is_new else f"Skymap {name} of {has} is already stored.")
