"""The structure of FITS files, read and checked in their blocks: no library sees a header that lies about sizes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

BLOCK = 2880
"""Bytes of a FITS block."""

MOST_HEADER_BYTES = 64 * 2**20
"""Bytes of all headers of a file together: 800,000 cards."""

MOST_HDUS = 2_000
"""HDUs of a file; ten times as many as the largest camera has detectors."""

MOST_UNPACKED = 8 * 2**30
"""Bytes of a file that is compressed as a whole, which are all unpacked, in some twenty seconds."""

_CARD = 80
_KEYWORD = re.compile(r"(SIMPLE|XTENSION|BITPIX|Z?NAXIS\d{0,3}|PCOUNT|GCOUNT|GROUPS|TFIELDS|ZIMAGE) *= ")
_VALUE = re.compile(r" *(?:([+-]?\d{1,18})|'([^']*)'|([TF]))(?: *| */.*)", re.DOTALL)
_KINDS = ("IMAGE", "TABLE", "BINTABLE", "A3DTABLE", "IUEIMAGE", "FOREIGN", "DUMP")
_BITPIX = (8, 16, 32, 64, -32, -64)
_MOST_AXES = 999
_LARGEST_FILE = 2**60


class TruncatedError(ValueError):
    """A file that ends before its headers say."""


@dataclass(frozen=True)
class FitsHdu:
    """An HDU: its header, and where its data are."""

    header: str
    """All cards, with each byte as a character."""
    kind: str
    """Its XTENSION, such as IMAGE or BINTABLE; the first HDU is an IMAGE."""
    sizes: tuple[int, ...]
    """NAXIS1, NAXIS2, ..."""
    place: int
    """Where the data begin in the file, bytes."""
    size: int
    """Bytes of the data."""
    fields: int
    """TFIELDS; 0 if it is no table."""
    image: tuple[int, int] | None
    """Size (x, y) of the image in it, compressed or not; `None` if there is none."""

    @property
    def end(self) -> int:
        """Where the next HDU begins."""
        return self.place + math.ceil(self.size / BLOCK) * BLOCK


def read_hdus(file: BinaryIO, size: int | None = None) -> Iterator[FitsHdu]:
    """Read the HDUs of a file whose size is known, or that is compressed as a whole.

    Raises `ValueError` that names the HDU: what makes no sense, is too large or not all there is never passed on.
    """
    place = header_bytes = index = 0
    while True:
        file.seek(place)
        block = file.read(BLOCK)
        if index and not block.strip(b" \0"):
            return
        if index == MOST_HDUS:
            raise ValueError(f"it has more than {MOST_HDUS:,} HDUs, which is the limit")
        blocks = _header(block, file, index, MOST_HEADER_BYTES - header_bytes)
        header_bytes += len(blocks)
        hdu = _hdu(blocks.decode("latin-1"), index, place + len(blocks))
        end = hdu.place + hdu.size
        if size is None and end > MOST_UNPACKED:
            raise ValueError(f"HDU {index}: unpacked, the file has more than {MOST_UNPACKED:,} bytes; unpack it before")
        if size is None and hdu.size:
            file.seek(end - 1)
            missing = 1 - len(file.read(1))
        else:
            missing = 0 if size is None else end - size
        if missing > 0:
            raise TruncatedError(
                f"HDU {index}: the file is truncated, "
                + (f"it ends before byte {end}" if size is None else f"{missing} of {end} bytes are missing")
            )
        yield hdu
        place = hdu.end
        index += 1


def _header(block: bytes, file: BinaryIO, index: int, most: int) -> bytes:
    """Read the blocks of a header, of which the first is given."""
    begins = block[:9] == b"SIMPLE  =" if index == 0 else block[:8] == b"XTENSION"
    if not begins and index == 0:
        # Nothing or zeros are in a file that is about to be written.
        kind = ValueError if block[:9].strip(b"\0") and not b"SIMPLE  =".startswith(block[:9]) else TruncatedError
        raise kind("HDU 0: no FITS header can be read; the file is truncated, damaged or no FITS file")
    if not begins:
        raise ValueError(f"HDU {index}: no FITS header can be read, though the file goes on; it is damaged")
    blocks: list[bytes] = []
    while True:
        if len(block) < BLOCK:
            raise TruncatedError(f"HDU {index}: the header is truncated or damaged, it has no END")
        blocks.append(block)
        if any(block[at : at + 8] == b"END     " for at in range(0, BLOCK, _CARD)):
            return b"".join(blocks)
        if len(blocks) * BLOCK >= most:
            raise ValueError(f"HDU {index}: headers of more than {MOST_HEADER_BYTES:,} bytes, which is the limit")
        block = file.read(BLOCK)


def _hdu(header: str, index: int, place: int) -> FitsHdu:
    values: dict[str, int | str] = {}
    for at in range(0, len(header), _CARD):
        match = _KEYWORD.match(header, at, at + _CARD)
        if match is None or match[1] in values:
            if header.startswith("END     ", at):
                break
            continue
        value = _VALUE.fullmatch(header, match.end(), at + _CARD)
        if value is None:
            raise ValueError(
                f"HDU {index}: card {match[1]} cannot be read: {header[match.end() : at + _CARD].strip()!r}"
            )
        values[match[1]] = int(value[1]) if value[1] else (value[2] or value[3] or "").strip()

    def number(key: str, most: int, default: int | None = None) -> int:
        found = values.get(key, default)
        if found is None:
            raise ValueError(f"HDU {index}: there is no {key}; the header is damaged")
        if not isinstance(found, int) or not 0 <= found <= most:
            raise ValueError(f"HDU {index}: {key} is {found!r}; expected a whole number from 0 to {most:,}")
        return found

    def axes(prefix: str = "") -> tuple[int, ...]:
        count = number(f"{prefix}NAXIS", _MOST_AXES)
        return tuple(number(f"{prefix}NAXIS{axis}", _LARGEST_FILE) for axis in range(1, count + 1))

    if (bits := values.get("BITPIX")) not in _BITPIX:
        raise ValueError(f"HDU {index}: BITPIX is {bits!r}; expected one of {', '.join(map(str, _BITPIX))}")
    sizes = axes()
    kind = "IMAGE" if index == 0 else str(values.get("XTENSION"))
    if kind not in _KINDS:
        raise ValueError(f"HDU {index}: XTENSION is {kind!r}; expected one of {', '.join(_KINDS)}")
    is_table = kind in ("TABLE", "BINTABLE")
    if is_table and (len(sizes) != 2 or bits != 8):
        raise ValueError(f"HDU {index}: NAXIS is {len(sizes)} and BITPIX {bits}; expected 2 and 8 for a table")
    is_groups = index == 0 and values.get("GROUPS") == "T" and sizes[:1] == (0,)
    elements = number("PCOUNT", _LARGEST_FILE, 0) + (_product(sizes[is_groups:]) if sizes else 0)
    size = abs(int(bits)) // 8 * number("GCOUNT", _LARGEST_FILE, 1) * elements
    if size > _LARGEST_FILE:
        raise ValueError(f"HDU {index}: NAXIS1, NAXIS2, PCOUNT or GCOUNT is larger than any file")
    is_compressed = kind == "BINTABLE" and (values.get("ZIMAGE") == "T" or "ZNAXIS" in values)
    image = axes("Z") if is_compressed else sizes if kind == "IMAGE" else ()
    is_image = len(image) >= 2 and 0 not in image
    fields = number("TFIELDS", 999) if is_table else 0
    return FitsHdu(header, kind, sizes, place, size, fields, (image[0], image[1]) if is_image else None)


def _product(sizes: tuple[int, ...]) -> int:
    """Multiply, but no farther than is too large already: 999 axes have a product of thousands of digits."""
    product = 0 if 0 in sizes else 1
    for size in sizes:
        product = min(product * size, 2 * _LARGEST_FILE)
    return product
