"""The command ``report``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click
from lsst.daf.butler.cli.opt import options_file_option

from ..errors import require
from .errors import errors_as_messages, expression_errors, open_instrument
from .options import (
    VisitsCommand,
    collections_option,
    config_file_option,
    config_option,
    instrument_argument,
    repo_argument,
    set_log_level,
    visits_where_option,
)
from .output import echo


@click.command(short_help="Make a page for looking at visits.", cls=VisitsCommand)
@repo_argument
@instrument_argument
@click.option("-o", "--output", metavar="FILE", required=True, help="The page to write; .html.")
@visits_where_option
@collections_option
@config_file_option
@config_option
@options_file_option()
def report(
    repo: str,
    instrument: str,
    output: str,
    where: str,
    collections: Sequence[str],
    config_file: str | None,
    config: Mapping[str, str],
) -> None:
    """Write a page with a sky map of the visits, which any browser opens, also without a network.

    It shows each visit with its detectors, counts them by night and filter, and tells which exposures have no visit and
    why.
    """
    from ..config import make_config
    from ..report.page import visits_page
    from .files import check_file_name, write_page

    check_file_name(output, [".html"])
    set_log_level()
    with errors_as_messages(repo):
        require("hpgeom")
        butler, name = open_instrument(repo, instrument, writeable=False, server=True)
        task_config = make_config(butler, name, config_file, config)
        with expression_errors(where):
            page = visits_page(butler, name, where=where, collections=collections or None, config=task_config)
        write_page(page, output)
    for line in page.lines:
        echo(line)
    echo(f"The page is {output}; open it in a browser.")
