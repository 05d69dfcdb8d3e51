"""Sections of images and binning, as headers have them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..lists import listed
from .frames import is_unknown

_BINNING_PAIRS = (
    ("XBINNING", "YBINNING"),
    ("CCDBIN1", "CCDBIN2"),
    ("CCDXBIN", "CCDYBIN"),
    ("CCDBINX", "CCDBINY"),
    ("BINX", "BINY"),
    ("XBIN", "YBIN"),
    ("BINNING1", "BINNING2"),
    ("BIN-FCT1", "BIN-FCT2"),
    ("BINAXIS1", "BINAXIS2"),
    ("DETBIN1", "DETBIN2"),
    ("DETXBIN", "DETYBIN"),
    ("HBIN", "VBIN"),
    ("ESO DET WIN1 BINX", "ESO DET WIN1 BINY"),
)
_BINNING_TEXTS = ("CCDSUM", "BINNING", "CCDBIN", "DETBIN", "BIN")
"""Keywords with a text such as ``2 2``, ``2x2`` or ``2,2``, or a number for both axes."""

_MOST_BINNING = 64

_WINDOW_PAIRS = (
    ("XORGSUBF", "YORGSUBF", 0),
    ("ESO DET WIN1 STRX", "ESO DET WIN1 STRY", 1),
    ("ESO DET WIN STARTX", "ESO DET WIN STARTY", 1),
)
"""Where a window begins, and what its first pixel would be were there none."""

_OVERSCAN = re.compile(
    r"(BIAS|OVER|OVR|OVSC|OSCAN|PRE|PRSC|POST)(SEC|SCAN)[A-Z]?\d*|T_(EF|OS)M[NX]\d(?P<axis>[12])|"
    r"ESO DET OUT\d+ (PRSC|OVSC)[XY]"
)
"""Keywords of what an image has beside its sky."""


class Section(NamedTuple):
    """A section of an image, as FITS writes it: first and last pixel of each axis, from 1; the last may be lower."""

    x0: int
    x1: int
    y0: int
    y1: int

    @property
    def size(self) -> tuple[int, int]:
        """Pixels along x and y."""
        return abs(self.x1 - self.x0) + 1, abs(self.y1 - self.y0) + 1


def read_section(value: Any, size: tuple[int, int] | None = None) -> Section | None:
    """Read a section; ``size`` is what stars stand for, if that is known. `None` if the header says none.

    Strides of a detector's section are pixels that were binned or left out: it reaches to the last one's end. Raises
    `ValueError` if the value is no section.
    """
    if is_unknown(value):
        return None
    parts = str(value).strip().strip("[]() ").split(",")
    if len(parts) != 2:
        raise ValueError
    ends: list[int] = []
    for axis, part in enumerate(parts):
        if (star := part.strip()) in ("*", "-*"):
            if size is None:
                return None
            ends += (1, size[axis]) if star == "*" else (size[axis], 1)
            continue
        numbers = [float(number) for number in part.split(":")]
        are_pixels = all(number.is_integer() and number >= -(10**9) for number in numbers)
        if len(numbers) not in (2, 3) or not are_pixels:
            raise ValueError
        first, last = int(numbers[0]), int(numbers[1])
        step = abs(int(numbers[2])) if len(numbers) == 3 else 1
        if step > 1:
            count = abs(last - first) // step + 1
            last = first + (count * step - 1) * (1 if last >= first else -1)
        ends += (first, last)
    if ends == [0, 0, 0, 0]:
        return None
    # Counted from 0, where FITS counts from 1.
    for low in (0, 2):
        if min(ends[low : low + 2]) == 0:
            ends[low : low + 2] = [ends[low] + 1, ends[low + 1] + 1]
    if min(ends) < 1 or max(ends) > 10**9:
        raise ValueError
    return Section(*ends)


def read_binning(headers: tuple[Mapping[str, Any], ...]) -> tuple[int, int]:
    """Find how many of a detector's pixels a pixel of the image is, along x and y; the first header counts most.

    Raises `ValueError` if a header says it in two ways that differ.
    """
    for header in headers:
        found: dict[str, tuple[int, int]] = {}
        for pair in _BINNING_PAIRS:
            factors = [_factor(header.get(key)) for key in pair]
            if factors[0] is not None:
                found[pair[0]] = factors[0], factors[1] or factors[0]
        for key in _BINNING_TEXTS:
            words = re.findall(r"[^\s,xX*:/\[\]()]+", str(header.get(key, "")))
            if 1 <= len(words) <= 2 and None not in (factors := [_factor(word) for word in words]):
                found[key] = factors[0] or 1, factors[-1] or 1
        if len(set(found.values())) > 1:
            said = listed([f"{key} {x} x {y}" for key, (x, y) in found.items()])
            raise ValueError(f"the header says in several ways how it is binned, {said}; correct it")
        if found:
            return next(iter(found.values()))
    return 1, 1


def read_window(headers: tuple[Mapping[str, Any], ...], binning: tuple[int, int]) -> tuple[int, int] | None:
    """Find where on the detector a window begins, in pixels from 0 that are not binned; `None` if no header says it.

    Raises `ValueError` if a window begins elsewhere than at the corner, and nobody knows how that is counted.
    """
    for header in headers:
        for x_key, y_key, first in _WINDOW_PAIRS:
            try:
                x, y = (float(header.get(key, first)) - first for key in (x_key, y_key))
            except (TypeError, ValueError):
                continue
            if not math.isfinite(x + y):
                continue
            if not (x or y):
                # What others say counts, where this one says nothing.
                if x_key in header and y_key in header:
                    return 0, 0
                continue
            if x != round(x) or y != round(y) or min(x, y) < 0 or max(x, y) > 10**9:
                raise ValueError(f"{x_key} is {header.get(x_key)!r} and {y_key} {header.get(y_key)!r}; correct them")
            said = f"a window that begins at {x_key} {header.get(x_key)}, {y_key} {header.get(y_key)}"
            if first and max(binning) > 1:
                raise ValueError(f"{said} of a binned image may be counted in binned pixels or not; give it a CCDSEC")
            turned = str(header.get("ROWORDER", "")).strip().upper() == "BOTTOM-UP"
            if turned or not is_unknown(header.get("FLIPSTAT")):
                raise ValueError(
                    f"{said} of an image that was turned over may be counted from either end; give it a CCDSEC"
                )
            return int(x) * (1 if first else binning[0]), int(y) * (1 if first else binning[1])
    return None


def find_overscan(header: Mapping[str, Any], size: tuple[int, int]) -> str | None:
    """Find a keyword of a prescan or overscan that an image of some size has."""
    found = None
    for key in header:
        if not (match := _OVERSCAN.fullmatch(str(key))):
            continue
        value = header.get(key)
        try:
            section = read_section(value, size)
        except ValueError:
            # A pixel, or a number of them; OVERSCAN = T and the like do not say where it is either.
            if not re.fullmatch(r"[1-9]\d*(\.0*)?", str(value).strip()):
                continue
            if match["axis"] and float(str(value)) > size[int(match["axis"]) - 1]:
                # It was cut off.
                return None
            found = found or str(key)
        else:
            if section is not None and max(section[:2]) <= size[0] and max(section[2:]) <= size[1]:
                found = found or str(key)
    return found


def _factor(value: Any) -> int | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if 1 <= number <= _MOST_BINNING and number.is_integer() else None
