"""The command ``export``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click
from lsst.daf.butler.cli.opt import options_file_option

from ..errors import require
from ..lists import counted
from .errors import errors_as_messages, expression_errors, no_visits, open_instrument
from .options import VisitsCommand, instrument_argument, repo_argument, set_log_level, visits_where_option

if TYPE_CHECKING:
    from ..export import Outline

_MOCS = {".fits": "fits", ".json": "json"}
_TABLES = (".vot", ".xml", ".ecsv", ".parquet")
_REGIONS = (".reg",)


@click.command(short_help="Write the outlines of visits for other tools.", cls=VisitsCommand)
@repo_argument
@instrument_argument
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    required=True,
    help="The file to write: a MOC (.fits, .json), an ObsCore-like table (.vot, .xml, .ecsv, .parquet), or DS9 regions "
    "(.reg).",
)
@visits_where_option
@click.option("--detectors/--visits", default=False, help="Whether to take each detector of each visit, or visits.")
@options_file_option()
def export(repo: str, instrument: str, output: str, where: str, detectors: bool) -> None:
    """Write the outlines of visits, or of their detectors, for other tools to read."""
    from ..export import read_outlines
    from .files import check_file_name, written_whole

    check_file_name(output, (*_MOCS, *_TABLES, *_REGIONS))
    set_log_level()
    ending = Path(output).suffix.lower()
    with errors_as_messages(repo):
        if ending in _MOCS:
            require("mocpy")
        butler, name = open_instrument(repo, instrument, writeable=False)
        with expression_errors(where):
            outlines = read_outlines(butler, name, where, detectors=detectors)
        if (first := next(outlines, None)) is None:
            raise no_visits(name, where)
        count = 0

        def counting() -> Iterator[Outline]:
            nonlocal count
            for outline in chain([first], outlines):
                count += 1
                yield outline

        with written_whole(output, "file") as partial:
            what = _write(counting(), partial, ending, detectors)
    click.echo(f"{what} of {counted(count, 'detector' if detectors else 'visit')} is in {output}.")


def _write(outlines: Iterator[Outline], file: Path, ending: str, detectors: bool) -> str:
    """Write a file, and return what it is."""
    from ..export import coverage_moc, ds9_regions, obscore_table, write_obscore_parquet, write_obscore_votable

    if ending in _MOCS:
        moc = coverage_moc(outlines)
        moc.save(file, format=_MOCS[ending])
        return f"MOC of order {moc.max_order}"
    if ending == ".reg":
        with file.open("w", encoding="utf-8") as lines:
            lines.writelines(ds9_regions(outlines))
        return "DS9 region file"
    if ending == ".parquet":
        write_obscore_parquet(outlines, file, detectors=detectors)
    elif ending == ".ecsv":
        obscore_table(outlines, detectors=detectors).write(file, format="ascii.ecsv")
    else:
        write_obscore_votable(outlines, file, detectors=detectors)
    return "Table"
