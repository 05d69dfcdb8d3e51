"""The click commands; each is a few lines that call the library.

``butler`` imports this module to list its commands, so the library is imported when a command runs.
"""

from __future__ import annotations

__all__ = ["define_visits", "fit_camera", "show_camera", "write_camera"]

from typing import Any

import click
from lsst.daf.butler.cli.opt import (
    collections_option,
    config_file_option,
    config_option,
    options_file_option,
    repo_argument,
    where_option,
)
from lsst.daf.butler.cli.utils import ButlerCommand, MWArgumentDecorator

instrument_argument = MWArgumentDecorator(
    "instrument", help="INSTRUMENT is a registered instrument's name or full class name."
)

raws_argument = MWArgumentDecorator(
    "raws", help="RAW is the path or URI of a FITS file with a WCS for each detector in it."
)
file_argument = MWArgumentDecorator("file", help="FILE is the path or URI of a YAML camera.")
repo_or_file_argument = MWArgumentDecorator(
    "repo_or_file", help="REPO is the path or URI of a data repository, FILE of a YAML camera or an afw FITS camera."
)
instrument_of_repo_argument = MWArgumentDecorator(
    "instrument", help="INSTRUMENT is an instrument of REPO: a registered name or full class name."
)


@click.command(short_help="Define visits from exposures.", cls=ButlerCommand)
@repo_argument(required=True, help="REPO is the path or URI of a data repository.")
@instrument_argument(required=True)
@config_file_option(help="Path of a config file, loaded after the instrument's own overrides.")
@config_option(help="Override of a config field, after the config file.", metavar="FIELD=VALUE")
@collections_option(help="Collections to search for the camera, in this order; then the instrument's own are.")
@where_option(help="Expression that selects exposures, like a SQL WHERE clause. The default is all.")
@click.option(
    "--update-records/--no-update-records",
    default=False,
    help="Update visits that exist, and replace their detector regions.",
)
@click.option(
    "--incremental/--no-incremental",
    default=False,
    help="Add exposures to visits that exist. Use it wherever exposures may arrive one by one.",
)
@click.option(
    "--skip-conflicting/--no-skip-conflicting",
    default=False,
    help="Leave visits alone that are stored otherwise, instead of failing.",
)
@click.option(
    "--prefilter/--no-prefilter",
    default=False,
    help="First drop exposures that belong to a visit already.",
)
@click.option(
    "--check-detector-regions/--no-check-detector-regions",
    default=False,
    help="Add the detector regions that existing visits lack.",
)
@click.option(
    "--on-error",
    type=click.Choice(["raise", "skip"]),
    default="raise",
    show_default=True,
    help="What to do about exposures that cannot be handled: stop, or report them, define all others and exit with "
    "status 1.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be done, and write nothing to the repository.")
@click.option(
    "--output",
    metavar="FILE",
    help="Write a table of the visits and what is done to them; .ecsv, .csv, .parquet, .fits, .vot or .xml (VOTable).",
)
@options_file_option()
def define_visits(**kwargs: Any) -> None:
    """Define visits from the exposures of a data repository.

    Visits that are there already and equal are left alone, so running it twice is safe.
    """
    from .define_visits import run

    run(**kwargs)


@click.command(short_help="Store a camera for visits to be defined with.", cls=ButlerCommand)
@repo_argument(required=True, help="REPO is the path or URI of a data repository.")
@instrument_argument(required=True)
@file_argument(required=True)
@click.option("--begin", metavar="TIME", help="First time for which the camera is valid; the default is always.")
@click.option("--end", metavar="TIME", help="First time for which it is not valid any more; the default is never.")
@options_file_option()
def write_camera(**kwargs: Any) -> None:
    """Store a YAML camera in a data repository, and certify it for the times for which it is valid.

    It becomes a camera_geometry dataset in the instrument's calibration collection, where define-visits finds it. Times
    are TAI in ISO form, such as 2026-04-01 or 2026-04-01T12:00:00. Storing the same camera again is safe.
    """
    from .cameras import write

    write(**kwargs)


@click.command(short_help="Describe a camera.", cls=ButlerCommand)
@repo_or_file_argument(required=True, metavar="REPO|FILE")
@instrument_of_repo_argument(required=False)
@click.option("--plot", metavar="FILE", help="Draw the focal plane and the field on the sky; .png, .pdf or .svg.")
@options_file_option()
def show_camera(**kwargs: Any) -> None:
    """Print a camera's detectors, pixel scale, field of view and parity.

    The camera is that of a file, or the one of a repository's instrument that is valid now; if none is, the one of the
    nearest time.
    """
    from .cameras import show

    show(**kwargs)


@click.command(short_help="Make a camera from raws.", cls=ButlerCommand)
@raws_argument(required=True, nargs=-1, metavar="RAW...")
@click.option("-o", "--output", metavar="FILE", required=True, help="The YAML camera to write.")
@options_file_option()
def fit_camera(**kwargs: Any) -> None:
    """Fit a camera to the WCSs in the headers of raw files, and write it as YAML.

    The raws are of one or more exposures of one camera whose geometry nobody has written down: where its detectors lie
    and how they are turned and scaled is fitted, and one radial distortion for all of them.
    """
    from .cameras import fit

    fit(**kwargs)
