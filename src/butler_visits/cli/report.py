"""What ``report`` does."""

from __future__ import annotations

__all__ = ["run"]

from collections.abc import Mapping, Sequence

import click

from ..report.page import require_plotly, visits_page
from ..repository import resolve_instrument
from .define_visits import make_config, set_log_level
from .errors import errors_as_messages, expression_errors, open_repository
from .output import check_file_name, write_page


def run(
    repo: str,
    instrument: str,
    output: str,
    where: str,
    collections: Sequence[str],
    config_file: str | None,
    config: Mapping[str, str],
) -> None:
    """Write a page with the visits of a repository."""
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
