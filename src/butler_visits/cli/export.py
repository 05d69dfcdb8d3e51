"""The command ``export``."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from lsst.daf.butler.cli.opt import options_file_option

from ..errors import VisitsError, require
from ..lists import counted, listed
from .errors import errors_as_messages, expression_errors, no_visits, open_instrument
from .options import (
    VisitsCommand,
    instrument_argument,
    refuse_unused,
    repo_argument,
    set_log_level,
    visits_where_option,
)
from .output import echo, echo_file

if TYPE_CHECKING:
    from ..export import Outline

_MOCS = (".fits", ".json")
_TABLES = (".vot", ".xml", ".ecsv", ".csv", ".parquet")
_ENDINGS = (*_MOCS, *_TABLES, ".reg", ".geojson")
_IVOID = re.compile(r"ivo://[\w.~*'()!-]{3,}(/[^\s?#]*)?", re.ASCII)
"""IVOA Identifiers 2.0, section 2.3, without the query, which is ours to make."""
_LONGEST_WAVELENGTH = 1e-3
"""Metres. What is longer is given in other units."""


def _publisher(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Check the identifier of a publisher."""
    if value is not None and not _IVOID.fullmatch(value):
        raise click.BadParameter(
            f"{value!r} is not an IVOA identifier; expected ivo://authority/path, without a question mark or a space."
        )
    return value


@click.command(short_help="Write the outlines of visits for other tools.", cls=VisitsCommand)
@repo_argument
@instrument_argument
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    required=True,
    help="The file to write: a MOC (.fits, .json), an ObsCore table (.vot, .xml, .ecsv, .csv, .parquet), DS9 regions "
    "(.reg) or GeoJSON (.geojson); - for the standard output.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice([ending[1:] for ending in _ENDINGS]),
    help="What to write, if the file's ending does not say it.",
)
@visits_where_option
@click.option(
    "--detectors/--visits",
    default=False,
    help="Whether to write the outline of each detector of each visit, or of each visit.",
)
@click.option(
    "--publisher",
    metavar="IVOID",
    callback=_publisher,
    help="The publisher's IVOA identifier, ivo://authority/path, for the table's obs_publisher_did.",
)
@click.option(
    "--wavelengths",
    metavar="FILE",
    help="YAML file with the shortest and longest wavelength of filters or bands, metres: {r_sim: [5.5e-7, 6.9e-7]}.",
)
@click.option(
    "--moc-version",
    type=click.Choice(["1", "2"]),
    default="1",
    show_default=True,
    help="Version of MOC for a .fits file: 1, which all programs read, or 2, which only some do.",
)
@options_file_option()
def export(
    repo: str,
    instrument: str,
    output: str,
    format_: str | None,
    where: str,
    detectors: bool,
    moc_version: str,
    wavelengths: str | None,
    publisher: str | None,
) -> None:
    """Write the outlines of visits, or of their detectors, for other tools to read."""
    from ..export import read_outlines
    from ..repository import fetch_bands
    from .files import check_file_name, written_whole

    if output == "-" and format_ is None:
        raise click.UsageError("--output - needs --format, which says what to write.")
    if output != "-":
        check_file_name(output, () if format_ else _ENDINGS)
    ending = f".{format_}" if format_ else Path(output).suffix.lower()
    if ending not in _TABLES:
        refuse_unused(["--publisher", "--wavelengths"], f"is for tables ({', '.join(_TABLES)}), not for {ending}.")
    if ending != ".fits":
        refuse_unused(["--moc-version"], f"is for a MOC as .fits, not for {ending}.")
    set_log_level()
    with errors_as_messages(repo):
        if ending in _MOCS:
            require("mocpy")
        ranges = _read_wavelengths(wavelengths) if wavelengths and ending in _TABLES else {}
        about = {"publisher": publisher, "ranges": ranges}
        butler, name = open_instrument(repo, instrument, writeable=False, server=True)
        if ranges:
            bands = fetch_bands(butler, name)
            known = {*bands, *filter(None, bands.values())}
            if unknown := [one for one in ranges if one not in known]:
                raise VisitsError(
                    f"File {wavelengths}: {name} has no filter or band {unknown[0]!r}; it has {listed(sorted(known))}."
                )
        with expression_errors(where):
            outlines = read_outlines(butler, name, where, detectors=detectors)
        if (first := next(outlines, None)) is None:
            raise no_visits(name, where)
        count = 0

        def counting() -> Iterator[Outline]:
            nonlocal count
            for outline in chain([first], outlines):
                count += 1
                yield outline

        if output == "-":
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / f"outlines{ending}"
                with written_whole(str(file), "file") as partial:
                    _write(counting(), partial, ending, detectors, moc_version, about)
                echo_file(file)
            return
        with written_whole(output, "file") as partial:
            what = _write(counting(), partial, ending, detectors, moc_version, about)
    echo(f"{what} of {counted(count, 'detector' if detectors else 'visit')} is in {output}.")


def _read_wavelengths(file: str) -> dict[str, tuple[float, float]]:
    """Read the ranges of filters."""
    from ..yaml_files import load_yaml
    from .files import read_file

    try:
        content = load_yaml(read_file(file))
    except ValueError as error:
        raise VisitsError(f"File {file} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise VisitsError(f"File {file} must be a mapping of filters to [shortest, longest] wavelength in metres.")
    found = {}
    for name, values in content.items():
        try:
            # A number as 350e-9, without a point, is a text for YAML 1.1.
            low, high = map(float, values)
        except (TypeError, ValueError):
            low = high = 0.0
        if not (isinstance(name, str) and 0 < low < high < _LONGEST_WAVELENGTH):
            raise VisitsError(
                f"File {file}: expected two wavelengths in metres for filter {name}, the shorter one first, such as "
                f"[5.5e-7, 6.9e-7]; found {values!r}."
            )
        found[name] = (low, high)
    return found


def _write(
    outlines: Iterator[Outline],
    file: Path,
    ending: str,
    detectors: bool,
    moc_version: str,
    about: Mapping[str, Any],
) -> str:
    """Write a file, and return what it is."""
    from .. import export as formats

    if ending in _MOCS:
        moc = formats.coverage_moc(outlines)
        if ending == ".json":
            # mocpy itself takes what a full disk leaves of a JSON file for the whole.
            file.write_text(moc.to_string("json"), encoding="utf-8")
        else:
            # Readers of version 1, STILTS's and TOPCAT's among them, take a file of ranges for an empty sky.
            moc.save(file, format="fits", v1_compatible=moc_version == "1")
        return f"MOC of order {moc.max_order}"
    if ending in (".reg", ".geojson"):
        pieces = formats.ds9_regions(outlines) if ending == ".reg" else formats.geojson(outlines)
        with file.open("w", encoding="utf-8") as lines:
            lines.writelines(pieces)
        return "DS9 region file" if ending == ".reg" else "GeoJSON"
    if ending == ".ecsv":
        formats.obscore_table(outlines, detectors=detectors, **about).write(file, format="ascii.ecsv")
        return "Table"
    rows = formats.obscore_rows(outlines, **about)
    if ending == ".parquet":
        formats.write_obscore_parquet(rows, file, detectors=detectors)
    elif ending == ".csv":
        formats.write_obscore_csv(rows, file, detectors=detectors)
    else:
        formats.write_obscore_votable(rows, file, detectors=detectors)
    return "Table"
