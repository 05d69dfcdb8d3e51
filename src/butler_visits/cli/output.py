"""Write files that a command was asked for."""

from __future__ import annotations

__all__ = ["check_file_name", "write_page", "written_whole"]

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..report.page import Page


def check_file_name(name: str, endings: Collection[str], option: str = "--output") -> None:
    """Refuse the name of a file that cannot be written, before any work is done."""
    path = Path(name)
    if path.suffix.lower() not in endings:
        raise click.BadParameter(f"{name!r} must end in one of {', '.join(endings)}.", param_hint=option)
    if not path.parent.is_dir():
        raise click.BadParameter(f"there is no folder {str(path.parent)!r} for {path.name}.", param_hint=option)


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


def write_page(page: Page, name: str) -> None:
    """Write a page; a file that is there is replaced when the new one is whole."""
    from ..report.page import render_page

    text = render_page(page)
    with written_whole(name, "page") as partial:
        partial.write_text(text, encoding="utf-8")
