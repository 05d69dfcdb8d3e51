"""Which HDU of a file shows a detector, and how its pixels lie on the detector."""

from __future__ import annotations

__all__ = ["DetectorImage", "Section", "find_detector", "read_section"]

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from astro_metadata_translator import ObservationInfo
from astropy.io import fits

from ..errors import RawFileError
from .headers import RawFile

DETECTOR_KEYS = (
    "CCDNUM",
    "DETECTOR",
    "DET-ID",
    "DETNUM",
    "DETID",
    "DETNAME",
    "CCDNAME",
    "CCDID",
    "CCD",
    "CHIPID",
    "CHIP",
    "SENSOR",
    "IMAGEID",
    "EXTNAME",
)
"""Keywords in which cameras name a detector, by its number or its name."""

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

    Parameters
    ----------
    file : `RawFile`
        The file.
    index : `int`
        The HDU.
    box : `numpy.ndarray` of `int`, shape (2, 2)
        Pixels of the whole detector, ((min x, min y), (max x, max y)), both inclusive, from 0.
    scale, offset : `numpy.ndarray`, shape (2,)
        A detector's pixel p is at scale * p + offset in the HDU's image, from 0; a scale of -1 is a flip.
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


def find_detector(file: RawFile, detector: int, full_name: str | None) -> DetectorImage:
    """Find the image of a detector.

    Parameters
    ----------
    file : `RawFile`
        A raw file.
    detector : `int`
        The detector's id.
    full_name : `str` or `None`
        Its full name.

    Returns
    -------
    image : `DetectorImage`
        Its image; where each amplifier has an HDU, the first that has a celestial WCS.

    Raises
    ------
    RawFileError
        If no HDU is that detector's, or none of them has a celestial WCS.
    """
    hdus = _hdus_of_detector(file, detector, full_name)
    with_wcs = [index for index in hdus if has_celestial_wcs(file.headers[index])]
    if not with_wcs:
        where = file.label(hdus[0]) if len(hdus) == 1 else f"{file.uri}, HDUs {_numbers(hdus)}"
        raise RawFileError(
            f"{where}: no celestial WCS for detector {detector}; expected CTYPE1 and CTYPE2 such as RA---TAN and "
            "DEC--TAN in the header."
        )
    return detector_image(file, with_wcs[0], hdus)


def _hdus_of_detector(file: RawFile, detector: int, full_name: str | None) -> list[int]:
    images = list(file.images)
    if len(images) == 1:
        return images
    name = full_name.strip().casefold() if full_name else None
    by_name = [i for i in images if name is not None and name in _names(file.headers[i])]
    by_number = [i for i in images if str(detector) in _names(file.headers[i])]
    found = by_name or by_number or [i for i in images if translated_detector(file, i)[0] == detector]
    if found:
        return found
    if images and all(is_amplifier(file.headers[i]) for i in images):
        return images
    listed = "; ".join(
        f"{i} ({', '.join(f'{key}={file.headers[i][key]!r}' for key in DETECTOR_KEYS if key in file.headers[i])})"
        for i in images
    )
    called = f"detector {detector}" + (f" ({full_name})" if full_name else "")
    raise RawFileError(
        f"{file.uri}: no HDU is known to show {called}. "
        + (f"Its images are in HDUs {listed.replace(' ()', '')}; " if images else "It has no image; ")
        + f"expected one image, the id or name in one of {', '.join(DETECTOR_KEYS)}, or amplifiers with DATASEC and "
        "DETSEC."
    )


def _names(header: fits.Header) -> set[str]:
    return {str(header[key]).strip().casefold() for key in DETECTOR_KEYS if key in header}


def translated_detector(file: RawFile, index: int) -> tuple[int | None, str | None]:
    """Ask astro_metadata_translator which detector an HDU shows.

    Parameters
    ----------
    file : `RawFile`
        The file.
    index : `int`
        The HDU.

    Returns
    -------
    detector : `int` or `None`
        The detector's number, if the translator of the telescope tells it.
    name : `str` or `None`
        Its unique name.
    """
    header = file.headers[index]
    if index:
        header = file.headers[0].copy()
        header.update(file.headers[index])
    try:
        info = ObservationInfo(header, pedantic=False, subset={"detector_num", "detector_unique_name"})
    except (ValueError, KeyError, TypeError):
        # No translator knows the telescope, the usual case.
        return None, None
    return info.detector_num, info.detector_unique_name


def has_celestial_wcs(header: fits.Header) -> bool:
    """Tell whether a header says that it has a celestial WCS.

    Parameters
    ----------
    header : `astropy.io.fits.Header`
        The header.

    Returns
    -------
    has_wcs : `bool`
        Whether two axes are a longitude and a latitude.
    """
    kinds = "".join(str(header.get(f"CTYPE{axis}", ""))[:4] for axis in (1, 2))
    return any(lon in kinds and lat in kinds for lon, lat in (("RA", "DEC"), ("LON", "LAT")))


def is_amplifier(header: fits.Header) -> bool:
    """Tell whether a header says where its image lies on a detector.

    Parameters
    ----------
    header : `astropy.io.fits.Header`
        The header.

    Returns
    -------
    is_amplifier : `bool`
        Whether it has the sections of an amplifier.
    """
    return "DATASEC" in header and ("DETSEC" in header or "CCDSEC" in header)


def detector_image(file: RawFile, index: int, hdus: Sequence[int]) -> DetectorImage:
    """Relate the pixels of an HDU to those of its detector.

    Parameters
    ----------
    file : `RawFile`
        The file.
    index : `int`
        The HDU.
    hdus : `~collections.abc.Sequence` [`int`]
        All HDUs that show the detector.

    Returns
    -------
    image : `DetectorImage`
        The image.

    Raises
    ------
    RawFileError
        If a section makes no sense, or one is missing where there are several HDUs.

    Notes
    -----
    ``DATASEC`` is the part of the image that shows sky; it lies on ``CCDSEC`` of the detector or, where that is
    missing, on ``DETSEC``. ``DETSEC`` may count pixels of the whole mosaic; the detector then begins at the lowest
    ``DETSEC`` of its HDUs. Without any of them the image is the detector.
    """
    sections = {i: _detector_section(file, i) for i in hdus}
    data = _data_section(file, index)
    section = sections[index]
    if section is None:
        if len(hdus) > 1:
            raise RawFileError(
                f"{file.label(index)}: no DETSEC or CCDSEC; expected one in each of HDUs {_numbers(hdus)}, which show "
                "one detector."
            )
        section = Section(1, abs(data.x1 - data.x0) + 1, 1, abs(data.y1 - data.y0) + 1)
        sections[index] = section
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
    for key in ("DATASEC", "TRIMSEC"):
        section = read_section(file, index, key)
        if section is not None:
            return section
    x, y = file.images[index]
    return Section(1, x, 1, y)


def _detector_section(file: RawFile, index: int) -> Section | None:
    return read_section(file, index, "CCDSEC") or read_section(file, index, "DETSEC")


def read_section(file: RawFile, index: int, key: str) -> Section | None:
    """Read a section from a header.

    Parameters
    ----------
    file : `RawFile`
        The file.
    index : `int`
        The HDU.
    key : `str`
        The keyword.

    Returns
    -------
    section : `Section` or `None`
        The section, or `None` if the header has none.

    Raises
    ------
    RawFileError
        If the value is no section.
    """
    value = file.headers[index].get(key)
    if value is None:
        return None
    match = _SECTION.fullmatch(str(value))
    if match is None:
        raise RawFileError(f"{file.label(index)}: {key} is {value!r}; expected a section such as [1:2048,1:4096].")
    return Section(*map(int, match.groups()))


def _numbers(indices: Iterable[int]) -> str:
    return ", ".join(map(str, indices))
