"""The command ``describe``."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import VisitsError
from ..lists import counted
from .options import VisitsCommand, translator_option
from .output import echo


@click.command(
    short_help="Show what is understood from a raw file, or draft a description of its camera.", cls=VisitsCommand
)
@click.argument("raws", metavar="RAW...", nargs=-1, required=True)
@click.option(
    "--instrument",
    "--instrument-description",
    "instrument_description",
    metavar="FILE",
    help="Path or URI of the description of an instrument that astro_metadata_translator does not know.",
)
@translator_option
@click.option(
    "--write",
    metavar="FILE",
    help="Write a draft of an instrument description, from raw files and folders of one camera with one detector; "
    ".yaml or .yml.",
)
def describe(
    raws: tuple[str, ...], instrument_description: str | None, translator: str | None, write: str | None
) -> None:
    """Print what is understood from the raw file RAW.

    That is the translator, each property of the observation with the header keys it is from, the detectors in the file,
    the exposure record, and which of its fields are missing. The exit status is 1 if there can be no record.

    With --write, RAW are files and folders of a camera with one detector. A commented draft of its description is
    written, for ingest --instrument, and what should be checked in it is printed. The more types of frames, filters and
    nights, the better; a frame that is solved (with a WCS) tells the scale and the rotation of the camera.
    """
    from ..ingest.describe import describe_file
    from ..instruments.description import read_description

    if translator is not None and instrument_description is not None:
        raise click.UsageError("a description and a translator both say how headers are read; give one of them.")
    if write is not None and (translator is not None or instrument_description is not None):
        raise click.UsageError("--write is for cameras without a description and without a translator.")
    if write is None and (len(raws) > 1 or Path(raws[0]).is_dir()):
        raise click.UsageError("one file is described at a time; several files or a folder make a draft, with --write.")
    try:
        if write is not None:
            _draft(raws, write)
            return
        description = None if instrument_description is None else read_description(instrument_description)
        described = describe_file(raws[0], description, module=translator)
    except VisitsError as error:
        raise click.ClickException(str(error)) from error
    echo(described)
    if described.problem:
        raise click.ClickException(described.problem)


def _draft(raws: tuple[str, ...], name: str) -> None:
    """Write the draft of a description, but never over one that somebody has worked on."""
    from ..ingest.draft import draft_description
    from .files import check_file_name, written_whole

    check_file_name(name, (".yaml", ".yml"), "--write")
    if Path(name).exists():
        raise click.BadParameter(f"{name} already exists; choose another name, or remove it.", param_hint="--write")
    draft = draft_description(raws)
    with written_whole(name, "draft") as partial:
        partial.write_text(draft.text, encoding="utf-8")
    echo(f"The draft of a description of {draft.name}, from {counted(draft.n_files, 'file')}, is in {name}.")
    if draft.check:
        echo("Check in it:")
    for line in draft.check:
        echo(f"- {line}")
    echo(f"See what becomes of a file: butler-visits describe {draft.example} --instrument {name}")
