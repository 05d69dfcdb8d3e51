"""What ``export`` does."""

from __future__ import annotations

__all__ = ["no_visits", "run"]

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import click

from ..export import (
    Outline,
    coverage_moc,
    ds9_regions,
    obscore_table,
    read_outlines,
    require_mocpy,
    write_obscore_parquet,
    write_obscore_votable,
)
from ..repository import resolve_instrument
from .define_visits import set_log_level
from .errors import errors_as_messages, expression_errors, open_repository
from .output import check_file_name, written_whole

_MOCS = {".fits": "fits", ".json": "json"}
_TABLES = (".vot", ".xml", ".ecsv", ".parquet")
_REGIONS = (".reg",)


def run(repo: str, instrument: str, output: str, where: str, detectors: bool) -> None:
    """Write the outlines of visits, or of their detectors, to a file, and say what is in it."""
    check_file_name(output, (*_MOCS, *_TABLES, *_REGIONS))
    set_log_level()
    ending = Path(output).suffix.lower()
    with errors_as_messages(repo):
        if ending in _MOCS:
            require_mocpy()
        butler = open_repository(repo, writeable=False)
        name = resolve_instrument(butler, instrument)
        with expression_errors(where):
            outlines = read_outlines(butler, name, where, detectors=detectors)
        if (first := next(outlines, None)) is None:
            raise no_visits(name, where)
        count = 0

        def counted() -> Iterator[Outline]:
            nonlocal count
            for outline in chain([first], outlines):
                count += 1
                yield outline

        with written_whole(output, "file") as partial:
            what = _write(counted(), partial, ending, detectors)
    outlined = "detector" if detectors else "visit"
    click.echo(f"{what} of {count} {outlined}{'s' * (count != 1)} is in {output}.")


def _write(outlines: Iterator[Outline], file: Path, ending: str, detectors: bool) -> str:
    """Write a file, and return what it is."""
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


def no_visits(instrument: str, where: str) -> click.ClickException:
    """Return the error for nothing to look at."""
    which = f" of exposures that match {where!r}" if where else ""
    return click.ClickException(
        f"{instrument} has no visits with a region{which}. The command define-visits makes them."
    )
