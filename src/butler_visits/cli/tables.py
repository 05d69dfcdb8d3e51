"""Write a table to a file of the kind that its name asks for."""

from __future__ import annotations

__all__ = ["check_table_name", "write_table"]

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

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


def check_table_name(name: str) -> None:
    """Refuse a file name whose ending says nothing, before any work is done.

    Parameters
    ----------
    name : `str`
        The file's name.

    Raises
    ------
    click.BadParameter
        If its ending is none that can be written, or if its folder does not exist.
    """
    path = Path(name)
    if path.suffix.lower() not in _FORMATS:
        raise click.BadParameter(f"{name!r} must end in one of {', '.join(_FORMATS)}.", param_hint="--output")
    if not path.parent.is_dir():
        raise click.BadParameter(f"there is no folder {str(path.parent)!r} for {path.name}.", param_hint="--output")


def write_table(table: Table, name: str) -> None:
    """Write a table; a file that is there is replaced when the new one is whole.

    Parameters
    ----------
    table : `astropy.table.Table`
        The table.
    name : `str`
        The file's name, whose ending says the format.

    Raises
    ------
    click.ClickException
        If it cannot be written.
    """
    path = Path(name)
    partial = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        table.write(partial, format=_FORMATS[path.suffix.lower()], overwrite=True)
        partial.replace(path)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"The table cannot be written to {name}: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
