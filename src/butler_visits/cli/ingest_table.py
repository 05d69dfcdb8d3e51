"""What ``ingest-table`` does."""

from __future__ import annotations

__all__ = ["run"]

from collections.abc import Mapping
from typing import Any

import click

from ..ingest.choice import read_if_description
from ..ingest.table import ingest_table
from ..ingest.table_files import read_table
from .define_visits import set_log_level
from .errors import errors_as_messages
from .ingest import define_visits_of, open_or_create, report


def run(
    repo: str,
    table: str,
    instrument: str,
    names: Mapping[str, str],
    constants: Mapping[str, str],
    define_visits: bool,
    **options: Any,
) -> None:
    """Ingest the exposures of a table, and say what was done."""
    set_log_level()
    with errors_as_messages(repo):
        # Whatever can be wrong with them is found before a repository is created.
        content = read_table(table)
        instrument_or_description = read_if_description(instrument) or instrument
        butler = open_or_create(repo)
        result = ingest_table(
            butler, content, instrument_or_description, label=table, names=names, constants=constants, **options
        )
        report(result, "row")
        if define_visits:
            define_visits_of(butler, result, options["on_error"])
    if result.failures:
        rows = "1 row" if result.n_failed == 1 else f"{result.n_failed} rows"
        raise click.ClickException(f"{rows} could not be ingested.")
