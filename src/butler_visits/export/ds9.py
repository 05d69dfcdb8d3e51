"""Outlines as DS9 regions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..geometry import lon_lat
from ..lists import without_controls
from .outlines import Outline, read_vertices

_DELIMITERS = (("{", "}"), ('"', '"'), ("'", "'"))
"""What DS9 takes around a label; none of the two may be in it."""


def ds9_regions(outlines: Iterable[Outline]) -> Iterator[str]:
    """Write outlines as DS9 polygons with labels.

    Parameters
    ----------
    outlines : `~collections.abc.Iterable` [`Outline`]
        Outlines of visits or detectors.

    Yields
    ------
    line : `str`
        The next line of the region file, with its end. Vertices are ICRS degrees in full precision. A visit's label is
        its name, a detector's is its own name.
    """
    yield "# Region file format: DS9 version 4.1\n"
    yield "icrs\n"
    for outline in outlines:
        numbers = ",".join(map(repr, lon_lat(read_vertices(outline.region)).ravel().tolist()))
        label = outline.visit.name if outline.detector is None else outline.detector_name
        yield f"polygon({numbers}) # text={_quoted(str(label))}\n"


def _quoted(label: str) -> str:
    """Put delimiters around a label."""
    label = without_controls(" ".join(label.split()))
    for opening, closing in _DELIMITERS:
        if opening not in label and closing not in label:
            return f"{opening}{label}{closing}"
    return "{" + label.replace("{", "(").replace("}", ")") + "}"
