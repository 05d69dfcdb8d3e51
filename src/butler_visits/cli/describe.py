"""The command ``describe``."""

from __future__ import annotations

import click

from ..errors import VisitsError
from .options import VisitsCommand


@click.command(short_help="Say what is understood from a raw file.", cls=VisitsCommand)
@click.argument("raw", metavar="RAW")
@click.option(
    "--instrument",
    "--instrument-description",
    "instrument_description",
    metavar="FILE",
    help="Path or URI of the description of an instrument that astro_metadata_translator does not know.",
)
def describe(raw: str, instrument_description: str | None) -> None:
    """Print what is understood from the raw file RAW.

    That is the translator, each property of the observation with the header keys it is from, the detectors in the file,
    the exposure record, and which of its fields are missing. The exit status is 1 if there can be no record.
    """
    from ..ingest.describe import describe_file
    from ..instruments.description import read_description

    try:
        description = None if instrument_description is None else read_description(instrument_description)
        described = describe_file(raw, description)
    except VisitsError as error:
        raise click.ClickException(str(error)) from error
    click.echo(described)
    if described.problem:
        raise click.ClickException(described.problem)
