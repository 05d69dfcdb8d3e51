"""Which detectors a file shows, where nobody knows the camera."""

from __future__ import annotations

__all__ = ["FoundDetector", "list_detectors"]

from collections import defaultdict
from dataclasses import dataclass

from astropy.io import fits

from ..errors import RawFileError
from .hdus import DETECTOR_KEYS, DetectorImage, detector_image, has_celestial_wcs, is_amplifier, translated_detector
from .headers import RawFile

_NAME_KEYS = ("CCDNAME", "DETNAME", "CHIPID", "EXTNAME", *DETECTOR_KEYS)
"""Keywords with a detector's name, the usual ones first."""


@dataclass(frozen=True, eq=False)
class FoundDetector:
    """A detector in a file.

    Parameters
    ----------
    number : `int` or `None`
        Its number, if the header tells it.
    name : `str` or `None`
        Its name, if the header tells it.
    image : `DetectorImage`
        Its image; of several amplifiers the first that has a celestial WCS.
    """

    number: int | None
    name: str | None
    image: DetectorImage


def list_detectors(file: RawFile) -> list[FoundDetector]:
    """List the detectors in a file that have a celestial WCS.

    Parameters
    ----------
    file : `RawFile`
        The file.

    Returns
    -------
    detectors : `list` [`FoundDetector`]
        The detectors, in the order of the HDUs.

    Raises
    ------
    RawFileError
        If there is none.
    """
    # An amplifier's EXTNAME is its own, not its detector's.
    amplifiers = len(file.images) > 1 and all(is_amplifier(file.headers[index]) for index in file.images)
    groups: dict[tuple[int | None, str | None], list[int]] = defaultdict(list)
    for index in file.images:
        number, name = translated_detector(file, index)
        header = file.headers[index]
        number = _number(header) if number is None else number
        if name is None:
            name = _name(header, skip_extname=amplifiers and number is None)
        groups[number, None if amplifiers and number is not None else name].append(index)
    found = []
    for (number, name), hdus in groups.items():
        with_wcs = [index for index in hdus if has_celestial_wcs(file.headers[index])]
        if with_wcs:
            image = detector_image(file, with_wcs[0], hdus)
            found.append(FoundDetector(number, name or _name(image.header, skip_extname=len(hdus) > 1), image))
    if not found:
        raise RawFileError(
            f"{file.uri}: none of its {len(file.headers)} HDUs is an image with a celestial WCS; expected CTYPE1 and "
            "CTYPE2 such as RA---TAN and DEC--TAN."
        )
    return found


def _number(header: fits.Header) -> int | None:
    for key in DETECTOR_KEYS:
        value = str(header.get(key, "")).strip()
        if value.isdecimal():
            return int(value)
    return None


def _name(header: fits.Header, *, skip_extname: bool) -> str | None:
    for key in _NAME_KEYS:
        value = str(header.get(key, "")).strip()
        if value and not value.isdecimal() and not (skip_extname and key == "EXTNAME"):
            return value
    return None
