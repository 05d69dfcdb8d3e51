"""The click commands; each is a few lines that call the library.

``butler`` imports this module to list its commands, so the library is imported when a command runs.
"""

from __future__ import annotations

__all__ = [
    "check",
    "define_visits",
    "describe",
    "export",
    "fit_camera",
    "ingest",
    "ingest_table",
    "plot",
    "report",
    "show_camera",
    "update_regions",
    "write_camera",
]

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
from lsst.daf.butler.cli.utils import MWArgumentDecorator, split_kv

from .inspect_commands import check, export, plot, report, update_regions
from .program import VisitsCommand

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


@click.command(short_help="Define visits from exposures.", cls=VisitsCommand)
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
    help="Write a table of the visits and what is done to them, .ecsv, .csv, .parquet, .fits, .vot or .xml (VOTable); "
    "or a page with a sky map of them, .html.",
)
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes on this machine that compute and write the visits.",
)
@click.option(
    "--dask",
    metavar="ADDRESS",
    help="Let the workers of a Dask cluster compute and write the visits; ADDRESS is its scheduler's, such as "
    "tcp://host:8786.",
)
@options_file_option()
def define_visits(**kwargs: Any) -> None:
    """Define visits from the exposures of a data repository.

    Visits that are there already and equal are left alone, so running it twice is safe.
    """
    from .define_visits import run

    run(**kwargs)


@click.command(short_help="Store a camera for visits to be defined with.", cls=VisitsCommand)
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


@click.command(short_help="Describe a camera.", cls=VisitsCommand)
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


@click.command(short_help="Make a camera from raws.", cls=VisitsCommand)
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


@click.command(short_help="Say what is understood from a raw file.", cls=VisitsCommand)
@click.argument("raw", metavar="RAW")
@click.option(
    "--instrument",
    "--instrument-description",
    "instrument_description",
    metavar="FILE",
    help="Path or URI of the description of an instrument that astro_metadata_translator does not know.",
)
def describe(**kwargs: Any) -> None:
    """Print what is understood from the raw file RAW.

    That is the translator, each property of the observation with the header keys it is from, the detectors in the file,
    the exposure record, and which of its fields are missing. The exit status is 1 if there can be no record.
    """
    from .describe import run

    run(**kwargs)


_on_error_option = click.option(
    "--on-error",
    type=click.Choice(["raise", "skip"]),
    default="raise",
    show_default=True,
    help="What to do about what cannot be ingested: stop, or report it, ingest all others and exit with status 1.",
)
_define_visits_option = click.option(
    "--define-visits", is_flag=True, help="Define the visits of these exposures too, incrementally."
)


@click.command(short_help="Put raw files into a data repository.", cls=VisitsCommand)
@repo_argument(required=True, help="REPO is the path or URI of a data repository; it is created if it is not there.")
@click.argument("locations", metavar="LOCATIONS...", nargs=-1, required=True)
@click.option(
    "--instrument",
    metavar="NAME|FILE",
    help="The instrument that the files are of: a registered name, or a YAML file that describes it. By default the "
    "headers say it.",
)
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
@_on_error_option
@_define_visits_option
@options_file_option()
def ingest(**kwargs: Any) -> None:
    """Put raw files into a data repository: exposures, and a raw dataset for each detector.

    LOCATIONS are FITS files and folders. In a folder, and all folders in it, files are taken that end in .fits, .fit or
    .fts, or in one of these with .fz, .gz or .bz2 behind it. Only headers are read. What is there already is left
    alone, so running it twice is safe.
    """
    from .ingest import run

    run(**kwargs)


@click.command(short_help="Put the exposures of a table into a data repository.", cls=VisitsCommand)
@repo_argument(required=True, help="REPO is the path or URI of a data repository; it is created if it is not there.")
@click.argument("table", metavar="TABLE")
@click.option(
    "--instrument",
    required=True,
    metavar="NAME|FILE",
    help="The instrument: a registered or a new name, or a YAML file that describes it.",
)
@click.option(
    "--map",
    "names",
    multiple=True,
    callback=split_kv,
    metavar="NAME=COLUMN",
    help="Column of something, where it has another name in the table.",
)
@click.option(
    "--set", "constants", multiple=True, callback=split_kv, metavar="NAME=VALUE", help="What is so in all exposures."
)
@click.option(
    "--time-scale",
    type=click.Choice(["utc", "tai", "tt"]),
    help="Scale of the times, unless their column has its own. By default it is the table's TIMESYS, or UTC.",
)
@_on_error_option
@_define_visits_option
@options_file_option()
def ingest_table(**kwargs: Any) -> None:
    """Put the exposures of a table into a data repository.

    TABLE is an ECSV, CSV, FITS, VOTable or Parquet file. It must have exposure_id, datetime_begin and physical_filter,
    and may have obs_id, datetime_end, exposure_time, dark_time, day_obs, observation_type, observation_reason, band,
    target_name, science_program, group, seq_num, seq_start, seq_end, tracking_radec (sky coordinates) or tracking_ra
    and tracking_dec (ICRS), sky_angle, azimuth, zenith_angle or altitude, can_see_sky and has_simulated. Angles without
    a unit are degrees, durations seconds, and times (modified) Julian dates or texts such as 2026-04-01T23:15:00.
    """
    from .ingest_table import run

    run(**kwargs)
