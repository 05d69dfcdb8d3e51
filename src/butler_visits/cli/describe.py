"""The command ``describe``."""

from __future__ import annotations

import click

from ..errors import VisitsError
from .options import VisitsCommand, translator_option
from .output import echo


@click.command(short_help="Say what is understood from a raw file.", cls=VisitsCommand)
@click.argument("raw", metavar="RAW")
@click.option(
    "--instrument",
    "--instrument-description",
    "instrument_description",
    metavar="FILE",
    help="Path or URI of the description of an instrument that astro_metadata_translator does not know.",
)
@translator_option
def describe(raw: str, instrument_description: str | None, translator: str | None) -> None:
    """Print what is understood from the raw file RAW.

    That is the translator, each property of the observation with the header keys it is from, the detectors in the file,
    the exposure record, and which of its fields are missing. The exit status is 1 if there can be no record.
    """
    from ..ingest.describe import describe_file
    from ..instruments.description import read_description

    try:
        if translator is not None and instrument_description is not None:
            raise click.UsageError("a description and a translator both say how headers are read; give one of them.")
        description = None if instrument_description is None else read_description(instrument_description)
        described = describe_file(raw, description, module=translator)
    except VisitsError as error:
        raise click.ClickException(str(error)) from error
    echo(described)
    if described.problem:
        raise click.ClickException(described.problem)
