"""The command ``plot``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click
from lsst.daf.butler import Butler
from lsst.daf.butler.cli.opt import options_file_option

from ..errors import require
from ..lists import counted
from .errors import errors_as_messages, expression_errors, no_visits, open_instrument
from .options import VisitsCommand, instrument_argument, repo_argument, set_log_level, visits_where_option
from .output import echo

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@click.command(short_help="Draw visits on the sky.", cls=VisitsCommand)
@repo_argument
@instrument_argument
@click.option("-o", "--output", metavar="FILE", required=True, help="The picture to write; .png, .pdf or .svg.")
@visits_where_option
@click.option("--visit", type=int, metavar="ID", help="Draw the detectors of this visit instead of the sky's coverage.")
@click.option(
    "--colour",
    type=click.Choice(["depth", "band"]),
    default="depth",
    show_default=True,
    help="What the colours show: how many visits cover each piece of sky, or the band of each outline.",
)
@click.option("--galactic-plane", is_flag=True, help="Draw the galactic plane.")
@click.option("--ecliptic", is_flag=True, help="Draw the ecliptic.")
@options_file_option()
def plot(repo: str, instrument: str, output: str, where: str, visit: int | None, colour: str, **lines: bool) -> None:
    """Draw how often or in which bands the visits cover the sky, or one visit's detectors."""
    from ..report import PICTURE_ENDINGS
    from .files import check_file_name, written_whole

    check_file_name(output, PICTURE_ENDINGS)
    if visit is not None and where:
        raise click.UsageError(
            "--where selects the visits of a coverage, --visit takes one by its id; give one or the other."
        )
    if visit is not None and (colour == "band" or any(lines.values())):
        raise click.UsageError("--colour, --galactic-plane and --ecliptic are for a coverage, not for one --visit.")
    set_log_level()
    with errors_as_messages(repo):
        require("skyproj")
        butler, name = open_instrument(repo, instrument, writeable=False, server=True)
        figure, what = _coverage(butler, name, where, colour, lines) if visit is None else _visit(butler, name, visit)
    with written_whole(output, "picture") as partial:
        figure.savefig(partial, format=Path(output).suffix[1:].lower())
    echo(f"{what} in {output}.")


def _coverage(
    butler: Butler, instrument: str, where: str, colour: str, lines: Mapping[str, bool]
) -> tuple[Figure, str]:
    from ..export.outlines import read_outlines, read_vertices
    from ..report import plot_coverage

    with expression_errors(where):
        outlines = list(read_outlines(butler, instrument, where))
    visits = [read_vertices(outline.region) for outline in outlines]
    bands = [outline.band or "" for outline in outlines] if colour == "band" else None
    if not visits:
        raise no_visits(instrument, where)
    count = counted(len(visits), "visit")
    what = f"The coverage of {count} is" if bands is None else f"The outline of {count} is"
    return plot_coverage(visits, title=f"{instrument}: {count}", bands=bands, **lines), what


def _visit(butler: Butler, instrument: str, visit: int) -> tuple[Figure, str]:
    from ..export.outlines import is_polygon, read_vertices
    from ..report import plot_visit
    from ..repository import fetch_detector_names, fetch_detector_regions, fetch_visits

    try:
        record = fetch_visits(butler, instrument, [visit]).get(visit)
    except OverflowError:
        # No database has an id of so many digits.
        record = None
    if record is None:
        raise click.BadParameter(f"{instrument} has no visit {visit} in this repository.", param_hint="--visit")
    names = fetch_detector_names(butler, instrument)
    detectors = {
        names[detector]: read_vertices(region)
        for detector, region in fetch_detector_regions(butler, instrument, [visit]).get(visit, {}).items()
        if is_polygon(region)
    }
    if not detectors:
        raise click.ClickException(
            f"Visit {visit} of {instrument} has no detector regions; define-visits --update-records adds them."
        )
    outline = read_vertices(record.region) if is_polygon(record.region) else None
    filter_ = f", {record.physical_filter}" if record.physical_filter else ""
    figure = plot_visit(detectors, outline=outline, title=f"{instrument} {record.name} (visit {visit}{filter_})")
    return figure, f"Visit {visit}, with {counted(len(detectors), 'detector')}, is"
