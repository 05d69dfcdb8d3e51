"""The click commands that look at visits which are there, and put them right."""

from __future__ import annotations

__all__ = ["check", "export", "plot", "report", "update_regions"]

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
from lsst.daf.butler.cli.utils import MWArgumentDecorator

from .program import VisitsCommand

_repo = repo_argument(required=True, help="REPO is the path or URI of a data repository.")
_instrument = MWArgumentDecorator(
    "instrument", help="INSTRUMENT is a registered instrument's name or full class name."
)(required=True)
_config_file = config_file_option(help="Path of a config file of define-visits, loaded after the instrument's own.")
_config = config_option(help="Override of a config field, after the config file.", metavar="FIELD=VALUE")
_collections = collections_option(
    help="Collections to search for the camera, in this order; then the instrument's own are."
)
_where = where_option(
    help="Expression that selects exposures, like a SQL WHERE clause; only their visits are taken. The default is all."
)


@click.command(short_help="Make a page to look at visits with.", cls=VisitsCommand)
@_repo
@_instrument
@click.option("-o", "--output", metavar="FILE", required=True, help="The page to write; .html.")
@_where
@_collections
@_config_file
@_config
@options_file_option()
def report(**kwargs: Any) -> None:
    """Write a page with a sky map of the visits, which any browser opens, also without a network.

    It shows each visit with its detectors, counts them by night and filter, and tells which exposures have no visit and
    why.
    """
    from .report import run

    run(**kwargs)


@click.command(short_help="Draw visits on the sky.", cls=VisitsCommand)
@_repo
@_instrument
@click.option("-o", "--output", metavar="FILE", required=True, help="The picture to write; .png, .pdf or .svg.")
@_where
@click.option("--visit", type=int, metavar="ID", help="Draw the detectors of this visit instead of the sky's coverage.")
@options_file_option()
def plot(**kwargs: Any) -> None:
    """Draw how often the visits cover the sky, or one visit's detectors."""
    from .plot import run

    run(**kwargs)


@click.command(short_help="Write the outlines of visits for other tools.", cls=VisitsCommand)
@_repo
@_instrument
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    required=True,
    help="The file to write: a MOC (.fits, .json), an ObsCore-like table (.vot, .xml, .ecsv, .parquet), or DS9 regions "
    "(.reg).",
)
@_where
@click.option("--detectors/--visits", default=False, help="Whether to take each detector of each visit, or visits.")
@options_file_option()
def export(**kwargs: Any) -> None:
    """Write the outlines of visits, or of their detectors, for other tools to read."""
    from .export import run

    run(**kwargs)


@click.command(short_help="Find what is wrong with the visits of a repository.", cls=VisitsCommand)
@_repo
@_instrument
@_where
@_collections
@_config_file
@_config
@click.option("--repair", is_flag=True, help="Mend what define-visits can mend safely.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Form of the report.",
)
@options_file_option()
def check(**kwargs: Any) -> None:
    """Compare the visits of a repository with what would be computed now, and report what is not as it should be.

    The config must be the one that the visits are defined with. The exit status is 0 if nothing is wrong, 1 if there
    are findings (with --repair, findings that are left), and 2 if the visits could not be checked.
    """
    from .check import run

    run(**kwargs)


@click.command(short_help="Take regions and pointings from an astrometric fit.", cls=VisitsCommand)
@_repo
@_instrument
@click.argument("collections", metavar="COLLECTIONS")
@click.option(
    "--dataset-type",
    default="visit_geometry",
    show_default=True,
    metavar="NAME",
    help="The datasets that have the fitted geometry of a visit each.",
)
@where_option(
    help="Expression that selects the fit's datasets by instrument and visit, like a SQL WHERE clause. The default is "
    "all."
)
@click.option("--dry-run", is_flag=True, help="Print what would be done, and write nothing to the repository.")
@click.option(
    "--output",
    metavar="FILE",
    help="Write a table of the visits and what is done to them, .ecsv, .csv, .parquet, .fits, .vot or .xml (VOTable); "
    "or a page with a sky map of them, .html.",
)
@options_file_option()
def update_regions(**kwargs: Any) -> None:
    """Replace the regions of visits and the pointings of their exposures by what an astrometric fit has found.

    COLLECTIONS are the collections that have the fit's datasets, separated by commas; of each visit the first dataset
    is taken. Running it twice is safe.
    """
    from .update_regions import run

    run(**kwargs)
