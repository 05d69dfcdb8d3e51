"""What ``report`` does."""

from __future__ import annotations

__all__ = ["run", "write_page"]

from collections.abc import Mapping, Sequence

import click

from ..registry import resolve_instrument
from ..report.page import Page, render_page, require_plotly, visits_page
from .define_visits import make_config, set_log_level
from .errors import errors_as_messages, expression_errors, open_repository
from .output import check_file_name, written_whole


def run(
    repo: str,
    instrument: str,
    output: str,
    where: str,
    collections: Sequence[str],
    config_file: str | None,
    config: Mapping[str, str],
) -> None:
    """Write a page with the visits of a repository.

    Parameters
    ----------
    repo, instrument, output, where, collections, config_file, config
        As given on the command line.

    Raises
    ------
    click.ClickException
        For every error that a user can mend.
    """
    check_file_name(output, [".html"])
    set_log_level()
    with errors_as_messages(repo):
        require_plotly()
        butler = open_repository(repo, writeable=False)
        name = resolve_instrument(butler, instrument)
        task_config = make_config(butler, name, config_file, config)
        with expression_errors(where):
            page = visits_page(butler, name, where=where, collections=collections or None, config=task_config)
        write_page(page, output)
    for line in page.lines:
        click.echo(line)
    click.echo(f"The page is {output}; open it in a browser.")


def write_page(page: Page, name: str) -> None:
    """Write a page; a file that is there is replaced when the new one is whole.

    Parameters
    ----------
    page : `Page`
        What the page shows.
    name : `str`
        The file's name.

    Raises
    ------
    click.ClickException
        If it cannot be written.
    """
    text = render_page(page)
    with written_whole(name, "page") as partial:
        partial.write_text(text, encoding="utf-8")
