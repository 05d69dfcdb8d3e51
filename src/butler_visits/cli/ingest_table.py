"""The command ``ingest-table``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
from lsst.daf.butler.cli.opt import options_file_option
from lsst.daf.butler.cli.utils import split_kv

from .errors import errors_as_messages
from .options import (
    VisitsCommand,
    define_visits_option,
    ingest_dry_run_option,
    ingest_on_error_option,
    new_repo_argument,
    set_log_level,
    update_records_option,
)


@click.command(short_help="Put the exposures of a table into a data repository.", cls=VisitsCommand)
@new_repo_argument
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
    help="Column of a property, where the table has another name for it.",
)
@click.option(
    "--set",
    "constants",
    multiple=True,
    callback=split_kv,
    metavar="NAME=VALUE",
    help="Value of a property that all exposures share.",
)
@click.option(
    "--time-scale",
    type=click.Choice(["utc", "tai", "tt"]),
    help="Scale of the times, unless their column has its own. By default it is the table's TIMESYS, or UTC.",
)
@ingest_on_error_option
@update_records_option
@ingest_dry_run_option
@define_visits_option
@options_file_option()
def ingest_table(
    repo: str,
    table: str,
    instrument: str,
    names: Mapping[str, str],
    constants: Mapping[str, str],
    define_visits: bool,
    **options: Any,
) -> None:
    """Put the exposures of a table into a data repository.

    TABLE is an ECSV, CSV, FITS, VOTable or Parquet file. It must have exposure_id, datetime_begin and physical_filter,
    and may have obs_id, datetime_end, exposure_time, dark_time, day_obs, observation_type, observation_reason, band,
    target_name, science_program, group, seq_num, seq_start, seq_end, tracking_radec (sky coordinates) or tracking_ra
    and tracking_dec (ICRS), sky_angle, azimuth, zenith_angle or altitude, can_see_sky and has_simulated. Angles without
    a unit are degrees, durations seconds, and times (modified) Julian dates or texts such as 2026-04-01T23:15:00.
    """
    from ..ingest import ingest_table as ingest_rows
    from ..ingest.choice import check_new_instrument, read_if_description
    from ..ingest.table import understand_table
    from ..ingest.table_files import read_table
    from .ingested import create, finish, open_if_there

    set_log_level()
    with errors_as_messages(repo):
        content = read_table(table)
        instrument_or_description = read_if_description(instrument) or instrument
        butler = open_if_there(repo, define_visits, options)
        if butler is None:
            understand_table(table, content, names, constants, options["time_scale"])
            check_new_instrument(instrument_or_description, any_name=True)
            butler = create(repo)
        result = ingest_rows(
            butler, content, instrument_or_description, label=table, names=names, constants=constants, **options
        )
        finish(butler, result, "row", define_visits, options)
