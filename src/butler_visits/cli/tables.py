"""Write a table to a file of the kind that its name asks for."""

from __future__ import annotations

__all__ = ["check_table_name", "write_table"]

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .output import check_file_name, written_whole

if TYPE_CHECKING:
    from astropy.table import Table

_FORMATS = {
    ".ecsv": "ascii.ecsv",
    ".csv": "ascii.csv",
    ".parquet": "parquet",
    ".fits": "fits",
    ".vot": "votable",
    ".xml": "votable",
}


def check_table_name(name: str, *others: str) -> None:
    """Refuse a file name whose ending says nothing, before any work is done."""
    check_file_name(name, [*_FORMATS, *others])


def write_table(table: Table, name: str) -> None:
    """Write a table; a file that is there is replaced when the new one is whole."""
    try:
        with written_whole(name, "table") as partial:
            table.write(partial, format=_FORMATS[Path(name).suffix.lower()], overwrite=True)
    except ValueError as error:
        raise click.ClickException(f"The table cannot be written to {name}: {error}") from error
