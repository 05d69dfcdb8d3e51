"""Read the headers of FITS files, near and far, without their pixels."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO, cast

from astro_metadata_translator import MetadataTranslator
from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from lsst.resources import ResourcePath, ResourcePathExpression

from ..errors import RawFileError
from ..lists import first_line
from .cards import MergedHeader, RawHeader
from .translators import find_translator

_BLOCK = 2880
"""Bytes of a FITS block."""

_READ_AHEAD = 4 * _BLOCK
"""Bytes that are read at once: most headers are not longer, and little of the pixels behind them is read."""

_GZIP_READ_AHEAD = 1 << 20
"""Of a file that is compressed as a whole everything is read."""

THREADS = 16
"""Files that are read at the same time."""

DETECTOR_KEYS = (
    "CCDNUM",
    "CCDCHIP",
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
)
"""Keywords in which cameras name a detector, by its number or its name."""

PART_KEYS = ("EXTNAME", "IMAGEID")
"""Keywords that name an HDU, which may be a detector or an amplifier of one."""

_MATRIX = ("CD1_", "CD2_", "PC1_", "PC2_", "PC00", "CD00", "CDELT", "CROTA")
_DISTORTION = ("PV1_", "PV2_", "A_", "B_", "WAT")
"""How keywords of a WCS begin of which an HDU has its own or inherits all."""


@dataclass(frozen=True, eq=False)
class RawFile:
    """The headers of a FITS file.

    ``images``: which HDUs are images, compressed or not, and their sizes (x, y) in pixels.
    """

    uri: str
    headers: tuple[RawHeader, ...]
    images: dict[int, tuple[int, int]]
    described: type[MetadataTranslator] | None = None
    """The translator of its instrument, if that has a description or one of its own in Python."""

    @cached_property
    def translator(self) -> type[MetadataTranslator] | None:
        """What translates the headers; `None` if ``astro_metadata_translator`` does not know the telescope."""
        # Some telescopes can only be told from the header of an image.
        for index in [0, *list(self.images)[:1]]:
            header = self.merged_header(index)
            # Of several descriptions of one instrument astro_metadata_translator knows the last one only.
            try:
                if self.described is not None and self.described.can_translate(header):
                    return self.described
                return find_translator(header, self.uri)
            except Exception:
                # A translator may stumble over a header of another telescope in any way.
                continue
        return None

    def merged_header(self, index: int) -> MergedHeader:
        """Return an HDU's header and, where it lacks a keyword, the first HDU's."""
        # A view, because a translator reads a quarter of the cards, and parsing them takes most of the time.
        maps: Sequence[Any] = (self.headers[index], self.headers[0]) if index else (self.headers[0],)
        return MergedHeader({}, *maps)

    @property
    def problems(self) -> list[str]:
        """What is wrong with cards that were asked for and cannot be read."""
        return list(dict.fromkeys(problem for header in self.headers for problem in header.problems.values()))

    def label(self, index: int) -> str:
        """Name an HDU in a message."""
        name = self.headers[index].get("EXTNAME")
        return f"{self.uri}, HDU {index}" + (f" ({name})" if name else "")


def read_raw_files(uris: Sequence[ResourcePathExpression], *, threads: int = THREADS) -> list[RawFile | RawFileError]:
    """Read the headers of many FITS files at the same time."""
    if not uris:
        return []
    # astropy's warnings about a file name neither the file nor the HDU; what matters becomes an error below. They are
    # not silenced, because filters are the whole process's, and other threads have theirs.
    with ThreadPoolExecutor(min(threads, len(uris))) as pool:
        return list(pool.map(_read, uris))


def _read(uri: ResourcePathExpression) -> RawFile | RawFileError:
    try:
        with _open(ResourcePath(uri, forceAbsolute=False, forceDirectory=False)) as file:
            return _read_headers(file, str(uri))
    except RawFileError as error:
        return error
    except FileNotFoundError:
        return RawFileError(f"There is no file {uri}; restore it, or leave out its exposure.")
    except PermissionError:
        return RawFileError(f"The file {uri} cannot be read: permission denied.")
    except IsADirectoryError:
        return RawFileError(f"{uri} is a folder; expected a FITS file.")
    except Exception as error:
        # The libraries for remote files each have errors of their own, and one file's must not stop the others.
        return RawFileError(f"The file {uri} cannot be read: {type(error).__name__}: {first_line(error)}")


@contextmanager
def _open(path: ResourcePath) -> Iterator[BinaryIO]:
    with _open_plain(path, _READ_AHEAD) as file:
        if file.read(2) != b"\x1f\x8b":
            file.seek(0)
            yield file
            return
    with _open_plain(path, _GZIP_READ_AHEAD) as file, gzip.GzipFile(fileobj=file) as unpacked:
        yield cast(BinaryIO, unpacked)


@contextmanager
def _open_plain(path: ResourcePath, read_ahead: int) -> Iterator[BinaryIO]:
    if path.isLocal:
        with open(path.ospath, "rb", buffering=read_ahead) as file:
            yield file
    else:
        size = path.size()
        with path.open("rb") as handle, io.BufferedReader(_Remote(handle, size), read_ahead) as reader:
            yield reader


class _Remote(io.RawIOBase):
    """A remote file that the standard library can buffer: one ranged request for each read.

    The file's size is known, so that no request is made beyond its end.
    """

    def __init__(self, handle: Any, size: int) -> None:
        self._handle = handle
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        return self._position

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), self._size - self._position)
        if count <= 0:
            return 0
        self._handle.seek(self._position)
        content = self._handle.read(count)
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)


def _read_headers(file: BinaryIO, uri: str) -> RawFile:
    headers: list[RawHeader] = []
    images: dict[int, tuple[int, int]] = {}
    # Of a file in gzip's format or another the HDUs' places in the file are not known.
    plain = file.read(6) == b"SIMPLE"
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    end = next_header = 0
    try:
        # Translating the headers of compressed images, which is not needed, would take most of the time.
        hdus = fits.open(file, mode="readonly", memmap=False, lazy_load_hdus=True, disable_image_compression=True)
        while True:
            index = len(headers)
            try:
                hdu = hdus[index]
            except IndexError:
                break
            header = _header(hdu, file if plain else None)
            header.label = f"{uri}, HDU {index}"
            if headers and str(header.get("INHERIT")).strip().upper() in ("T", "TRUE"):
                header = _inherited(headers[0], header)
            headers.append(header)
            image_size = _image_size(hdu)
            if image_size is not None:
                images[index] = image_size
            place = hdu.fileinfo()
            end = place["datLoc"] + hdu.size
            next_header = place["datLoc"] + place["datSpan"]
    except FileNotFoundError:
        raise
    except (OSError, EOFError, VerifyError, ValueError, KeyError, TypeError) as error:
        raise RawFileError(
            f"{uri}, HDU {len(headers)}: no FITS header can be read ({first_line(error)}); the file is truncated, "
            "damaged or no FITS file."
        ) from error
    if plain and size < end:
        raise RawFileError(
            f"{uri}, HDU {len(headers) - 1}: the file is truncated, {end - size} of {end} bytes are missing."
        )
    if plain and size > next_header:
        file.seek(next_header)
        if file.read(8) == b"XTENSION":
            raise RawFileError(f"{uri}, HDU {len(headers)}: the header is truncated or damaged.")
    return RawFile(uri, tuple(headers), images)


def _header(hdu: Any, file: BinaryIO | None) -> RawHeader:
    """Return an HDU's header; astropy puts question marks for what is not ASCII, so that is read again."""
    header = RawHeader(hdu.header.cards)
    if file is None or not header.has_question_marks:
        return header
    place = hdu.fileinfo()
    file.seek(place["hdrLoc"])
    return RawHeader.fromstring(file.read(place["datLoc"] - place["hdrLoc"]))


def _inherited(first: RawHeader, own: RawHeader) -> RawHeader:
    """Add the first HDU's keywords to those of another one, but no second matrix and no second distortion."""
    left_out: tuple[str, ...] = ()
    for parts, marks in ((_MATRIX, _MATRIX), (_DISTORTION, ("CTYPE",))):
        if any(keyword.startswith(marks) for keyword in own):
            left_out += parts
    # Cards as they are: not all can be read.
    keywords = set(own)
    others = (card for card in first.cards if card.keyword not in keywords and not card.keyword.startswith(left_out))
    header = RawHeader([*own.cards, *others])
    header.label = own.label
    return header


def _image_size(hdu: Any) -> tuple[int, int] | None:
    """Return the size of the image in an HDU, (x, y) in pixels; `None` if there is none."""
    header = hdu.header
    if not hdu.is_image:
        return None
    prefix = "Z" if header.get("ZIMAGE") is True else ""
    if header.get(f"{prefix}NAXIS", 0) < 2:
        return None
    sizes = [header[f"{prefix}NAXIS{axis}"] for axis in range(1, header[f"{prefix}NAXIS"] + 1)]
    return None if 0 in sizes else (sizes[0], sizes[1])
