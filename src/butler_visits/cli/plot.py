"""What ``plot`` does."""

from __future__ import annotations

__all__ = ["run"]

from pathlib import Path
from typing import TYPE_CHECKING

import click
from lsst.daf.butler import Butler

from ..export.outlines import is_polygon, read_outlines, read_vertices
from ..report import PICTURE_ENDINGS, plot_coverage, plot_visit, require_skyproj
from ..repository import fetch_detector_names, fetch_detector_regions, fetch_visits, resolve_instrument
from .define_visits import set_log_level
from .errors import errors_as_messages, expression_errors, open_repository
from .export import no_visits
from .output import check_file_name, written_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def run(repo: str, instrument: str, output: str, where: str, visit: int | None) -> None:
    """Draw how often visits cover the sky, or one visit's detectors."""
    check_file_name(output, PICTURE_ENDINGS)
    if visit is not None and where:
        raise click.UsageError("--where selects the visits of a coverage, --visit takes one by its id; give one.")
    set_log_level()
    with errors_as_messages(repo):
        require_skyproj()
        butler = open_repository(repo, writeable=False)
        name = resolve_instrument(butler, instrument)
        figure = _coverage(butler, name, where) if visit is None else _visit(butler, name, visit)
    with written_whole(output, "picture") as partial:
        figure.savefig(partial, format=Path(output).suffix[1:].lower())


def _coverage(butler: Butler, instrument: str, where: str) -> Figure:
    with expression_errors(where):
        outlines = read_outlines(butler, instrument, where)
    visits = [read_vertices(outline.region) for outline in outlines]
    if not visits:
        raise no_visits(instrument, where)
    return plot_coverage(visits, title=f"{instrument}: {len(visits)} visit{'s' * (len(visits) != 1)}")


def _visit(butler: Butler, instrument: str, visit: int) -> Figure:
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
            f"Visit {visit} of {instrument} has no detectors' regions; define-visits --update-records makes them."
        )
    outline = read_vertices(record.region) if is_polygon(record.region) else None
    filter_ = f", {record.physical_filter}" if record.physical_filter else ""
    return plot_visit(detectors, outline=outline, title=f"{instrument} {record.name} (visit {visit}{filter_})")
