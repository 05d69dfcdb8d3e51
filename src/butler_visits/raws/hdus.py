"""Which HDU of a file shows a detector, and how its pixels lie on the detector."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from astro_metadata_translator import ObservationInfo
from astropy.io import fits

from ..errors import NoWcsError, RawFileError
from ..lists import listed
from .frames import is_unknown
from .headers import DETECTOR_KEYS, PART_KEYS, RawFile
from .sections import Section, find_overscan, read_binning, read_section, read_window
from .wcs_cards import celestial_axes, image_centre

_LOG = logging.getLogger(__name__)

_SCIENCE = "SCI"
_WHOLE_NAMES = (_SCIENCE, "SCIENCE", "PRIMARY", "IMAGE", "DATA", "COMPRESSED_IMAGE")
"""Names of HDUs that say nothing of a detector."""

_BESIDE_NAMES = (
    *("MASK", "MSK", "BPM", "BADPIX", "FLAG", "FLAGS", "DQ", "QUALITY"),
    *("ERR", "ERROR", "ERRORS", "UNC", "UNCERT", "SIGMA", "RMS", "NOISE", "STDDEV", "VAR", "VARIANCE", "IVAR"),
    *("WHT", "WGT", "WEIGHT", "WEIGHTS", "EXP", "EXPTIME", "EXPOSURE", "COVERAGE", "CTX", "CON", "SAMP", "TIME"),
    *("BKG", "BACKGROUND", "SKY", "FLAT", "BIAS", "DARK", "PSF", "CATALOG"),
    *("THUMB", "THUMBNAIL", "PREVIEW", "QUICKLOOK", "D2IMARR", "WCSDVARR", "GUIDE", "GUIDER"),
)
"""Names of HDUs that show something else than the sky, or only a picture of it."""


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
    data: Section
    """The part of the image that shows sky."""
    binning: tuple[int, int] = (1, 1)
    """Pixels of the detector that are one of the image, by the header."""
    placed: bool = False
    """Whether the header says where on the detector it lies; otherwise it is the whole of it."""
    problem: str = ""
    """Why it is not known where on the detector it lies; it is taken to begin in the corner."""

    @property
    def header(self) -> fits.Header:
        """The HDU's header."""
        return self.file.headers[self.index]

    @property
    def label(self) -> str:
        """The file and the HDU, for messages."""
        return self.file.label(self.index)


def find_detector(
    file: RawFile, detector: int, full_name: str | None, *, alone: bool = True, only: bool = False
) -> DetectorImage:
    """Find the image of a detector; ``alone`` in its file, or the ``only`` one that the camera has.

    Raises `RawFileError` if no HDU is that detector's, or none of them has a celestial WCS.
    """
    hdus = detector_hdus(file, detector, full_name, alone, only)
    with_wcs = [index for index in hdus if has_celestial_wcs(file.headers[index])]
    if not with_wcs:
        where = file.label(hdus[0]) if len(hdus) == 1 else f"{file.uri}, HDUs {listed(hdus)}"
        raise NoWcsError(
            f"{where}: no celestial WCS for detector {detector}; expected CTYPE1 and CTYPE2 such as RA---TAN and "
            "DEC--TAN in the header."
        )
    return detector_image(file, with_wcs[0], hdus)


def detector_hdus(
    file: RawFile, detector: int, full_name: str | None, alone: bool = True, only: bool = False
) -> list[int]:
    """List the HDUs that show a detector, several if they are its amplifiers; arguments as of `find_detector`.

    Raises `RawFileError` if there is none.
    """
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
        return own_images(file, found)
    if alone and one_detector(file):
        return images
    if alone:
        # Images that name a detector name another one, unless there is no other.
        own = own_images(file, [i for i in images if only or not _names_detector(file.headers[i])])
        if len(own) == 1 and has_celestial_wcs(file.headers[own[0]]):
            return own
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


def own_images(file: RawFile, hdus: Sequence[int]) -> list[int]:
    """Leave out what lies beside a detector's image or its amplifiers: a mask, errors, a thumbnail."""
    main = _main_image(file, hdus)
    if main is not None:
        return [main]
    return [i for i in hdus if _extension_name(file.headers[i]) not in _BESIDE_NAMES] or list(hdus)


def _main_image(file: RawFile, hdus: Sequence[int]) -> int | None:
    """Choose the image of a detector from several: SCI, or the first of the largest that have a celestial WCS.

    `None` if there is none, if sections say how they lie on the detector, or if they show different places.
    """
    if any(_has_detector_section(file.headers[i]) for i in hdus):
        return None
    with_wcs = [i for i in hdus if has_celestial_wcs(file.headers[i])]
    with_wcs = [i for i in with_wcs if _extension_name(file.headers[i]) not in _BESIDE_NAMES] or with_wcs
    # A thumbnail is smaller.
    largest = max((np.prod(file.images[i]) for i in with_wcs), default=0)
    with_wcs.sort(key=lambda i: (_extension_name(file.headers[i]) != _SCIENCE, np.prod(file.images[i]) < largest))
    if len(with_wcs) > 1:
        try:
            centres = [image_centre(file.headers[i], file.images[i]) for i in with_wcs]
        except ValueError:
            return None
        (first, side), others = centres[0], centres[1:]
        if any(np.linalg.norm(other - first) > side / 4 for other, _ in others):
            return None
    return with_wcs[0] if with_wcs else None


def says_no_detector(extension: str) -> bool:
    """Tell whether an HDU's name is none of a detector."""
    return extension.strip().upper() in ("", *_WHOLE_NAMES, *_BESIDE_NAMES)


def _names_detector(header: fits.Header) -> bool:
    return not says_no_detector(_extension_name(header)) or any(not is_unknown(header.get(k)) for k in DETECTOR_KEYS)


def _extension_name(header: fits.Header) -> str:
    """Return an HDU's name in upper case."""
    return str(header.get("EXTNAME", "")).strip().upper()


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
    return celestial_axes(header) is not None


def is_amplifier(header: fits.Header) -> bool:
    """Tell whether a header says where its image lies on a detector."""
    return not is_unknown(header.get("DATASEC")) and _has_detector_section(header)


def _has_detector_section(header: fits.Header) -> bool:
    return any("*" not in str(value := header.get(key)) and not is_unknown(value) for key in ("CCDSEC", "DETSEC"))


def detector_image(file: RawFile, index: int, hdus: Sequence[int]) -> DetectorImage:
    """Relate the pixels of an HDU to those of its detector.

    Raises `RawFileError` if a section makes no sense, or one is missing where there are several HDUs.

    ``DATASEC`` is the part of the image that shows sky; it lies on ``CCDSEC`` of the detector or, where that is
    missing, on ``DETSEC``. ``DETSEC`` may count pixels of the whole mosaic; the detector then begins at the lowest
    ``DETSEC`` of its HDUs, and if it has one HDU only, that is not flipped: how a detector lies in the mosaic says
    nothing about its own pixels. Without any of them the image is the detector, in pixels that may be binned, or
    a window of it that begins where ``XORGSUBF`` and the like say.
    """
    alone = len(hdus) == 1
    sections = {i: _detector_section(file, i, alone) for i in hdus}
    section, key = sections[index]
    data = _data_section(file, index, alone)
    binning = _binning(file, index)
    if alone and section is not None:
        if key == "DETSEC":
            section = Section(*sorted(section[:2]), *sorted(section[2:]))
        section = _unbinned(section, data, binning)
        if not all(map(_is_binned, data.size, section.size)):
            _LOG.warning(
                "%s: %s is %r, which the image's %d x %d pixels do not fill with any binning; it is not used.",
                file.label(index),
                key,
                file.headers[index][str(key)],
                *data.size,
            )
            section, key = None, None
    if section is None:
        if not alone:
            raise RawFileError(
                f"{file.label(index)}: no DETSEC or CCDSEC; expected one in each of HDUs {listed(hdus)}, which show "
                "one detector."
            )
        width, height = data.size
        section = Section(1, width * binning[0], 1, height * binning[1])
    sections[index] = section, key
    known = [s for s, _ in sections.values() if s is not None]
    low = np.array([min(min(s.x0, s.x1) for s in known), min(min(s.y0, s.y1) for s in known)])
    high = np.array([max(max(s.x0, s.x1) for s in known), max(max(s.y0, s.y1) for s in known)])
    window, problem = _window(file, index, binning) if alone and key != "CCDSEC" else (None, "")
    origin = np.ones(2, dtype=int) if key == "CCDSEC" else low - (window or (0, 0))
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
        data=data,
        binning=binning,
        placed=key == "CCDSEC" or window is not None,
        problem=problem,
    )


def _window(file: RawFile, index: int, binning: tuple[int, int]) -> tuple[tuple[int, int] | None, str]:
    """Find where a window begins, and say what is wrong with that."""
    try:
        return read_window((file.headers[index], file.headers[0]), binning), ""
    except ValueError as error:
        return None, str(error)


def unknown_overscan(file: RawFile, index: int) -> str | None:
    """Find a keyword of an overscan where nothing says which part of an image shows sky."""
    if any(not is_unknown(file.headers[index].get(key)) for key in ("DATASEC", "TRIMSEC")):
        return None
    x, y = file.images[index]
    x_factor, y_factor = _binning(file, index)
    headers = file.headers[index], file.headers[0]
    return next((key for one in headers if (key := find_overscan(one, (x * x_factor, y * y_factor)))), None)


def _binning(file: RawFile, index: int) -> tuple[int, int]:
    try:
        return read_binning((file.headers[index], file.headers[0]))
    except ValueError as error:
        raise RawFileError(f"{file.label(index)}: {error}.") from None


def _unbinned(section: Section, data: Section, binning: tuple[int, int]) -> Section:
    """Count in the detector's pixels where a detector's section is as long as its data, that is in binned ones."""
    ends: list[int] = []
    for axis, factor in enumerate(binning):
        first, last = section[2 * axis : 2 * axis + 2]
        if factor > 1 and section.size[axis] == data.size[axis]:
            low, high = (min(first, last) - 1) * factor + 1, max(first, last) * factor
            first, last = (low, high) if last >= first else (high, low)
        ends += (first, last)
    return Section(*ends)


def _is_binned(pixels: int, unbinned: int) -> bool:
    """Tell whether so many pixels can be made by binning; the last ones of a detector may fill none, or one in part."""
    factor = max(round(unbinned / pixels), 1)
    return abs(unbinned - factor * pixels) < factor


def _edges(section: Section) -> npt.NDArray[np.float64]:
    """Return where a section begins and ends, shape (2, 2): pixel centres are integers from 0."""
    first = np.array([section.x0, section.y0], dtype=float) - 1
    last = np.array([section.x1, section.y1], dtype=float) - 1
    half = np.where(last >= first, 0.5, -0.5)
    return np.stack([first - half, last + half])


def _data_section(file: RawFile, index: int, alone: bool) -> Section:
    """Find the part of an image that shows sky; in case of doubt, where it is ``alone``, all of it."""
    size = file.images[index]
    for key in ("DATASEC", "TRIMSEC"):
        section = _section(file, index, key, alone, size)
        if section is None:
            continue
        if _is_within(section, size):
            return section
        value, (x_size, y_size) = file.headers[index][key], size
        text = f"{file.label(index)}: {key} is {value!r}, beyond the image's {x_size} x {y_size} pixels"
        if not alone:
            raise RawFileError(f"{text}.")
        x, y = _binning(file, index)
        binned = Section(
            (section.x0 - 1) // x + 1, (section.x1 - 1) // x + 1, (section.y0 - 1) // y + 1, (section.y1 - 1) // y + 1
        )
        if x * y > 1 and _is_within(binned, size):
            _LOG.warning("%s; it is taken to be in pixels that are not binned.", text)
            return binned
        _LOG.warning("%s; it is not used.", text)
    return Section(1, size[0], 1, size[1])


def _is_within(section: Section, size: tuple[int, int]) -> bool:
    return max(section[:2]) <= size[0] and max(section[2:]) <= size[1]


def _detector_section(file: RawFile, index: int, alone: bool) -> tuple[Section | None, str | None]:
    for key in ("CCDSEC", "DETSEC"):
        section = _section(file, index, key, alone)
        if section is not None:
            return section, key
    return None, None


def _section(file: RawFile, index: int, key: str, alone: bool, size: tuple[int, int] | None = None) -> Section | None:
    """Read a section from a header; one that makes no sense is a warning where there is nothing to put together.

    Raises `RawFileError` for one of several.
    """
    value = file.headers[index].get(key)
    try:
        return read_section(value, size)
    except ValueError:
        problem = f"{file.label(index)}: {key} is {value!r}; expected a section such as [1:2048,1:4096]"
        if not alone:
            raise RawFileError(f"{problem}.") from None
        _LOG.warning("%s, so it is not used.", problem)
        return None
