"""Which HDU of a file shows a detector, and how its pixels lie on the detector."""

from __future__ import annotations

__all__ = ["DetectorImage", "Section", "find_detector", "read_section"]

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from astro_metadata_translator import ObservationInfo
from astropy.io import fits

from ..errors import RawFileError
from ..lists import listed
from .headers import DETECTOR_KEYS, PART_KEYS, RawFile

_SECTION = re.compile(r"\s*\[\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*:\s*(\d+)\s*\]\s*")


class Section(NamedTuple):
    """A section of an image, as FITS writes it: first and last pixel of each axis, from 1; the last may be lower."""

    x0: int
    x1: int
    y0: int
    y1: int


@dataclass(frozen=True, eq=False)
class DetectorImage:
    """The image of a detector in a file, or one amplifier's part of it.

    ``box`` (2, 2): pixels of the whole detector, ((min x, min y), (max x, max y)), both inclusive, from 0; ``scale,
    offset`` (2,): a detector's pixel p is at scale * p + offset in the HDU's image, from 0.
    """

    file: RawFile
    index: int
    box: npt.NDArray[np.int64]
    scale: npt.NDArray[np.float64]
    offset: npt.NDArray[np.float64]

    @property
    def header(self) -> fits.Header:
        """The HDU's header."""
        return self.file.headers[self.index]

    @property
    def label(self) -> str:
        """The file and the HDU, for messages."""
        return self.file.label(self.index)


def find_detector(file: RawFile, detector: int, full_name: str | None, *, alone: bool = True) -> DetectorImage:
    """Find the image of a detector.

    Raises `RawFileError` if no HDU is that detector's, or none of them has a celestial WCS.
    """
    hdus = _hdus_of_detector(file, detector, full_name, alone)
    with_wcs = [index for index in hdus if has_celestial_wcs(file.headers[index])]
    if not with_wcs:
        where = file.label(hdus[0]) if len(hdus) == 1 else f"{file.uri}, HDUs {listed(hdus)}"
        raise RawFileError(
            f"{where}: no celestial WCS for detector {detector}; expected CTYPE1 and CTYPE2 such as RA---TAN and "
            "DEC--TAN in the header."
        )
    return detector_image(file, with_wcs[0], hdus)


def _hdus_of_detector(file: RawFile, detector: int, full_name: str | None, alone: bool) -> list[int]:
    images = list(file.images)
    if alone and len(images) == 1:
        return images
    name = full_name.strip().casefold() if full_name else None
    number = str(detector)

    def named(value: str | None, keys: Sequence[str]) -> list[int]:
        return [] if value is None else [i for i in images if value in _names(file.headers[i], keys)]

    def translated() -> list[int]:
        return [i for i in images if translated_detector(file, i)[0] == detector]

    # A description of the instrument knows best; of another's keywords the translator knows less than the repository.
    described = hasattr(file.translator, "description")
    found = (translated() if described else []) or (
        named(name, (*DETECTOR_KEYS, *PART_KEYS)) or named(number, DETECTOR_KEYS) or translated()
    )
    if found:
        return found
    if alone and one_detector(file):
        return images
    found = named(number, PART_KEYS)
    if found:
        return found
    shown = "; ".join(f"{i}{_keys(file.headers[i])}" for i in images)
    called = f"detector {detector}" + (f" ({full_name})" if full_name else "")
    raise RawFileError(
        f"{file.uri}: no HDU is known to show {called}. "
        + (f"Its images are in HDUs {shown}; " if images else "It has no image; ")
        + f"expected one image, the id or name in one of {', '.join((*DETECTOR_KEYS, *PART_KEYS))}, or amplifiers with "
        "DATASEC and DETSEC."
    )


def _keys(header: fits.Header) -> str:
    names = [f"{key}={header[key]!r}" for key in (*DETECTOR_KEYS, *PART_KEYS) if key in header]
    return f" ({', '.join(names)})" if names else ""


def _names(header: fits.Header, keys: Sequence[str]) -> set[str]:
    return {str(header[key]).strip().casefold() for key in keys if key in header}


def one_detector(file: RawFile) -> bool:
    """Tell whether all images of a file are amplifiers of one detector."""
    headers = [file.headers[index] for index in file.images]
    if len(headers) < 2 or not all(is_amplifier(header) for header in headers):
        return False
    if any(len({str(header.get(key, "")).strip() for header in headers}) > 1 for key in DETECTOR_KEYS):
        return False
    places = [str(header.get("CCDSEC", header.get("DETSEC"))) for header in headers]
    return len(set(places)) == len(places)


def translated_detector(file: RawFile, index: int) -> tuple[int | None, str | None]:
    """Ask astro_metadata_translator which detector an HDU shows."""
    if file.translator is None:
        # The usual case.
        return None, None
    try:
        info = ObservationInfo(
            file.merged_header(index),
            translator_class=file.translator,
            pedantic=False,
            subset={"detector_num", "detector_unique_name"},
        )
    except (ValueError, KeyError, TypeError):
        return None, None
    return info.detector_num, info.detector_unique_name


def has_celestial_wcs(header: fits.Header) -> bool:
    """Tell whether a header says that it has a celestial WCS."""
    kinds = "".join(str(header.get(f"CTYPE{axis}", ""))[:4] for axis in (1, 2))
    return any(lon in kinds and lat in kinds for lon, lat in (("RA", "DEC"), ("LON", "LAT")))


def is_amplifier(header: fits.Header) -> bool:
    """Tell whether a header says where its image lies on a detector."""
    return "DATASEC" in header and ("DETSEC" in header or "CCDSEC" in header)


def detector_image(file: RawFile, index: int, hdus: Sequence[int]) -> DetectorImage:
    """Relate the pixels of an HDU to those of its detector.

    Raises `RawFileError` if a section makes no sense, or one is missing where there are several HDUs.

    ``DATASEC`` is the part of the image that shows sky; it lies on ``CCDSEC`` of the detector or, where that is
    missing, on ``DETSEC``. ``DETSEC`` may count pixels of the whole mosaic; the detector then begins at the lowest
    ``DETSEC`` of its HDUs, and if it has one HDU only, that is not flipped: how a detector lies in the mosaic says
    nothing about its own pixels. Without any of them the image is the detector.
    """
    sections = {i: _detector_section(file, i) for i in hdus}
    data = _data_section(file, index)
    section = sections[index]
    if section is None:
        if len(hdus) > 1:
            raise RawFileError(
                f"{file.label(index)}: no DETSEC or CCDSEC; expected one in each of HDUs {listed(hdus)}, which show "
                "one detector."
            )
        section = Section(1, abs(data.x1 - data.x0) + 1, 1, abs(data.y1 - data.y0) + 1)
        sections[index] = section
    elif len(hdus) == 1 and "CCDSEC" not in file.headers[index]:
        section = Section(*sorted(section[:2]), *sorted(section[2:]))
    known = [s for s in sections.values() if s is not None]
    low = np.array([min(min(s.x0, s.x1) for s in known), min(min(s.y0, s.y1) for s in known)])
    high = np.array([max(max(s.x0, s.x1) for s in known), max(max(s.y0, s.y1) for s in known)])
    origin = np.ones(2, dtype=int) if "CCDSEC" in file.headers[index] else low
    # Edges of the pixels, from 0: first and last of each axis.
    data_edges = _edges(data)
    detector_edges = _edges(section) - (origin - 1)
    scale = (data_edges[1] - data_edges[0]) / (detector_edges[1] - detector_edges[0])
    return DetectorImage(
        file=file,
        index=index,
        box=np.stack([low - origin, high - origin]),
        scale=scale,
        offset=data_edges[0] - scale * detector_edges[0],
    )


def _edges(section: Section) -> npt.NDArray[np.float64]:
    """Return where a section begins and ends, shape (2, 2): pixel centres are integers from 0."""
    first = np.array([section.x0, section.y0], dtype=float) - 1
    last = np.array([section.x1, section.y1], dtype=float) - 1
    half = np.where(last >= first, 0.5, -0.5)
    return np.stack([first - half, last + half])


def _data_section(file: RawFile, index: int) -> Section:
    x, y = file.images[index]
    for key in ("DATASEC", "TRIMSEC"):
        section = read_section(file, index, key)
        if section is not None:
            if max(section[:2]) > x or max(section[2:]) > y:
                value = file.headers[index][key]
                raise RawFileError(f"{file.label(index)}: {key} is {value!r}, beyond the image's {x} x {y} pixels.")
            return section
    return Section(1, x, 1, y)


def _detector_section(file: RawFile, index: int) -> Section | None:
    return read_section(file, index, "CCDSEC") or read_section(file, index, "DETSEC")


def read_section(file: RawFile, index: int, key: str) -> Section | None:
    """Read a section from a header.

    Raises `RawFileError` if the value is no section.
    """
    value = file.headers[index].get(key)
    if value is None:
        return None
    match = _SECTION.fullmatch(str(value))
    if match is None:
        raise RawFileError(f"{file.label(index)}: {key} is {value!r}; expected a section such as [1:2048,1:4096].")
    section = Section(*map(int, match.groups()))
    if min(section) < 1:
        raise RawFileError(f"{file.label(index)}: {key} is {value!r}; pixels are counted from 1.")
    return section
