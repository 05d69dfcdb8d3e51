"""Which detectors a file shows, where nobody knows the camera."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from ..errors import RawFileError
from ..lists import counted
from .hdus import (
    DetectorImage,
    detector_image,
    has_celestial_wcs,
    one_detector,
    own_images,
    says_no_detector,
    translated_detector,
)
from .headers import DETECTOR_KEYS, PART_KEYS, RawFile

_NAME_KEYS = ("CCDNAME", "DETNAME", "CHIPID")
"""Keywords with the name of a detector's place; others may have its maker's number."""


@dataclass(frozen=True, eq=False)
class FoundDetector:
    """A detector in a file."""

    number: int | None
    name: str | None
    image: DetectorImage


def list_detectors(file: RawFile) -> list[FoundDetector]:
    """List the detectors in a file that have a celestial WCS.

    Raises `RawFileError` if there is none.
    """
    # An amplifier's own name is not its detector's.
    amplifiers = one_detector(file)
    groups: dict[tuple[int | None, str | None], list[int]] = defaultdict(list)
    for index in file.images:
        number, name = translated_detector(file, index)
        number = _number(file, index) if number is None else number
        name = _name(file, index, parts=not amplifiers) if name is None else name
        groups[number, name].append(index)
    found = []
    for (number, name), hdus in groups.items():
        own = own_images(file, hdus)
        with_wcs = [index for index in own if has_celestial_wcs(file.headers[index])]
        if with_wcs:
            found.append(FoundDetector(number, name, detector_image(file, with_wcs[0], own)))
    if not found:
        raise RawFileError(
            f"{file.uri}: none of its {counted(len(file.headers), 'HDU')} is an image with a celestial WCS; expected "
            "CTYPE1 and CTYPE2 such as RA---TAN and DEC--TAN."
        )
    return found


def _number(file: RawFile, index: int) -> int | None:
    for header in (file.headers[index], file.headers[0]):
        for key in DETECTOR_KEYS:
            value = str(header.get(key, "")).strip()
            if value.isdecimal():
                return int(value)
    return None


def _name(file: RawFile, index: int, *, parts: bool) -> str | None:
    """Return a detector's name; with ``parts`` also one that may be only an HDU's."""
    own, first = file.headers[index], file.headers[0]
    places = [(own, _NAME_KEYS), (own, PART_KEYS if parts else ()), (own, DETECTOR_KEYS), (first, DETECTOR_KEYS)]
    for header, keys in places:
        for key in keys:
            value = str(header.get(key, "")).strip()
            if not (value.isdecimal() or says_no_detector(value)):
                return value
    return None
