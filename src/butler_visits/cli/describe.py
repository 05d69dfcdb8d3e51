"""What ``describe`` does."""

from __future__ import annotations

__all__ = ["run"]

import click

from ..errors import VisitsError
from ..ingest.describe import describe_file
from ..instruments.description import read_description


def run(raw: str, instrument_description: str | None) -> None:
    """Print what is understood from a raw file."""
    try:
        description = None if instrument_description is None else read_description(instrument_description)
        described = describe_file(raw, description)
    except VisitsError as error:
        raise click.ClickException(str(error)) from error
    click.echo(described)
    if described.problem:
        raise click.ClickException(described.problem)
