"""Files that a command reads, or was asked to write."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

import click
from lsst.daf.butler import Butler

from ..errors import VisitsError, require
from ..lists import listed, reason_of
from .errors import errors_as_messages

if TYPE_CHECKING:
    from ..define.visit_plan import VisitPlan
    from ..report.page import Page

FITS = b"SIMPLE"
"""How a FITS file begins."""
_TABLES = {
    ".ecsv": "ascii.ecsv",
    ".csv": "ascii.csv",
    ".parquet": "parquet",
    ".fits": "fits",
    ".vot": "votable",
    ".xml": "votable",
}
_PAGE = ".html"


def read_file(file: str) -> bytes:
    """Read the file of a camera."""
    from ..ingest.files import as_resource
    from ..raws.headers import read_file as read

    try:
        return read(as_resource(file))
    except VisitsError as error:
        raise click.ClickException(str(error)) from error
    except FileNotFoundError as error:
        raise click.ClickException(f"There is no file {file}.") from error
    except IsADirectoryError as error:
        raise click.ClickException(
            f"{file} is a folder; expected a camera file, or a repository followed by an instrument."
        ) from error
    except Exception as error:
        # The libraries behind each kind of URI raise nearly anything.
        raise click.ClickException(f"File {file} cannot be read: {reason_of(error)}") from error


def check_file_name(name: str, endings: Collection[str] = (), option: str = "--output") -> None:
    """Refuse the name of a file that cannot be written, before any work is done."""
    path = Path(name)
    if endings and path.suffix.lower() not in endings:
        raise click.BadParameter(f"{name!r} must end in one of {listed(endings)}.", param_hint=option)
    if not path.parent.is_dir():
        raise click.BadParameter(f"there is no folder {str(path.parent)!r} for {path.name}.", param_hint=option)


def check_plan_name(name: str) -> None:
    """Refuse the name of a file for a plan that cannot be written, before any work is done."""
    check_file_name(name, [*_TABLES, _PAGE])
    if Path(name).suffix.lower() == _PAGE:
        with errors_as_messages(name):
            require("hpgeom")


@contextmanager
def written_whole(name: str, what: str) -> Iterator[Path]:
    """Let a file be written beside one that is there, which it replaces when it is whole."""
    path = Path(name)
    # A short name, because a file's name can be as long as names may be.
    partial = path.with_name(f".{token_hex(8)}{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise click.ClickException(f"The {what} cannot be written to {name}: {error.strerror or error}") from error
    finally:
        # Where nothing can be written nothing can be removed.
        with suppress(OSError):
            partial.unlink()


def write_plan(butler: Butler, plan: VisitPlan, name: str) -> None:
    """Write a plan as a table or, where the name ends in ``.html``, as a page."""
    ending = Path(name).suffix.lower()
    if ending == _PAGE:
        from ..report.page import plan_page

        write_page(plan_page(butler, plan), name)
        return
    table = plan.to_table()
    try:
        with written_whole(name, "table") as partial:
            table.write(partial, format=_TABLES[ending], overwrite=True)
    except ValueError as error:
        raise click.ClickException(f"The table cannot be written to {name}: {error}") from error


def write_page(page: Page, name: str) -> None:
    """Write a page."""
    from ..report.page import render_page

    text = render_page(page)
    with written_whole(name, "page") as partial:
        partial.write_text(text, encoding="utf-8")
