"""Binary tables of FITS files whose structure was checked, column by column."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..fits_blocks import FitsHdu

_CARD = 80
_TEXT = re.compile(r"(TTYPE|TFORM)(\d{1,3}) *= *'((?:[^']|'')*)'")
_NUMBER = re.compile(r"(TZERO|TSCAL|THEAP)(\d{0,3}) *= *([-+.\dED]+)")
_MORE = re.compile(r"CONTINUE  *'((?:[^']|'')*)'")
_FORM = re.compile(r"(\d{0,9})([LXBIJKAEDCMPQ])([LXBIJKAEDCM]?).*")
_TYPES = {"L": "S1", "A": "S1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}
_WIDTHS = {**{kind: np.dtype(name).itemsize for kind, name in _TYPES.items()}, "C": 8, "M": 16, "P": 8, "Q": 16}


class _Column(NamedTuple):
    number: int
    begin: int
    repeat: int
    kind: str
    element: str
    """What the heap has of kinds P and Q."""


class FitsTable:
    """A binary table of a file's content; a `ValueError` says what is wrong with it."""

    def __init__(self, hdu: FitsHdu, content: bytes) -> None:
        self._width, self._rows = hdu.sizes
        self._content = content
        self._place = hdu.place
        texts, self._numbers = _cards(hdu.header)
        self._heap = hdu.place + int(self._numbers.get("THEAP", self._width * self._rows))
        self._end = hdu.place + hdu.size
        if not hdu.place + self._width * self._rows <= self._heap <= self._end:
            raise ValueError("THEAP is not within the data")
        self.columns: dict[str, _Column] = {}
        begin = 0
        for number in range(1, 1000):
            if (form := texts.get(f"TFORM{number}")) is None:
                break
            match = _FORM.fullmatch(form.strip())
            if match is None:
                raise ValueError(f"TFORM{number} is {form!r}, which is not a column format")
            repeat = int(match[1] or 1)
            name = texts.get(f"TTYPE{number}", "").strip()
            if name and name in self.columns:
                raise ValueError(f"two columns are called {name!r}")
            self.columns[name] = _Column(number, begin, repeat, match[2], match[3])
            begin += (repeat + 7) // 8 if match[2] == "X" else repeat * _WIDTHS[match[2]]
        if begin != self._width or number - 1 != hdu.fields:
            raise ValueError(f"its {number - 1} columns have {begin} bytes, which TFIELDS and NAXIS1 contradict")

    def column(self, name: str) -> list[Any]:
        """Return the values of a column: texts without blanks around them, or one number for each row."""
        column = self.columns[name]
        if column.kind in "PQ" and column.element in ("A", "B"):
            return self._heap_texts(column)
        if column.kind == "A":
            return [_text(value.tobytes()) for value in self._bytes(column, column.repeat)]
        if column.kind not in "BIJKED" or column.repeat != 1 or f"TSCAL{column.number}" in self._numbers:
            raise ValueError(f"column {name} is neither a text nor a number for each row")
        values = self._bytes(column, _WIDTHS[column.kind]).view(_TYPES[column.kind])[:, 0]
        if (zero := self._numbers.get(f"TZERO{column.number}")) is not None:
            return [value + int(zero) for value in values.tolist()]
        return values.tolist()

    def _bytes(self, column: _Column, width: int) -> npt.NDArray[np.uint8]:
        """Return a column's bytes (rows, width)."""
        rows = np.frombuffer(self._content, np.uint8, self._rows * self._width, self._place)
        return np.ascontiguousarray(rows.reshape(self._rows, self._width)[:, column.begin : column.begin + width])

    def _heap_texts(self, column: _Column) -> list[str]:
        """Return the texts of a column, which are in the heap: for each row how long it is and where it begins."""
        if column.repeat != 1:
            return [""] * self._rows
        counts, begins = self._bytes(column, _WIDTHS[column.kind]).view(">i4" if column.kind == "P" else ">i8").T
        size = self._end - self._heap
        if not ((counts >= 0) & (counts <= size) & (begins >= 0) & (begins <= size - counts)).all():
            raise ValueError("a text of the heap is not within the data")
        if counts.sum() > size:
            raise ValueError("texts of the heap overlap")
        places = zip((self._heap + begins).tolist(), counts.tolist(), strict=True)
        return [_text(self._content[place : place + count]) for place, count in places]


def _text(value: bytes) -> str:
    return value.decode("ascii").rstrip("\0").strip()


def _cards(header: str) -> tuple[dict[str, str], dict[str, float]]:
    """Read the texts and numbers that describe the columns; long texts go on in the next cards."""
    texts: dict[str, str] = {}
    numbers: dict[str, float] = {}
    going_on = ""
    for at in range(0, len(header), _CARD):
        if going_on and (more := _MORE.match(header, at, at + _CARD)) is not None:
            texts[going_on] = texts[going_on][:-1] + more[1]
            going_on = going_on if more[1].endswith("&") else ""
            continue
        going_on = ""
        if (match := _TEXT.match(header, at, at + _CARD)) is not None:
            texts[match[1] + match[2]] = match[3]
            going_on = match[1] + match[2] if match[3].endswith("&") else ""
        elif (match := _NUMBER.match(header, at, at + _CARD)) is not None:
            numbers[match[1] + match[2]] = float(match[3].replace("D", "E"))
    return texts, numbers
