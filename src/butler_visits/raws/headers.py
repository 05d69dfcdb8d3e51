"""Read the headers of FITS files, near and far, without their pixels."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from typing import Any, BinaryIO, cast

from astro_metadata_translator import MetadataTranslator
from lsst.resources import ResourcePath, ResourcePathExpression

from ..errors import IncompleteFileError, RawFileError
from ..fits_blocks import BLOCK, TruncatedError, read_hdus
from ..lists import first_line
from .cards import MergedHeader, RawHeader
from .remote import HttpFile
from .translators import find_translator

_READ_AHEAD = 4 * BLOCK
"""Bytes that are read at once: most headers are not longer, and little of the pixels behind them is read."""

_PACKED_READ_AHEAD = 1 << 20
"""Of a file that is compressed as a whole everything is read."""

_WHOLE_READ_AHEAD = 1 << 24
"""Of most cameras everything."""

_GZIP, _BZIP2 = b"\x1f\x8b", b"BZh"

STALLED = 60.0
"""Seconds without a byte after which a file counts as one that cannot be read."""

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
    has_zeros_behind: bool = False
    """Whether the file goes on with zeros, which may be no more than room for further HDUs."""
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
    # astropy's warnings about a file name neither the file nor the HDU; what matters becomes an error below. They are
    # not silenced, because filters are the whole process's, and other threads have theirs.
    results: dict[int, RawFile | RawFileError] = {}
    waiting = iter(enumerate(uris))
    running: dict[int, _Watch] = {}
    done: SimpleQueue[tuple[int, RawFile | RawFileError]] = SimpleQueue()

    def start() -> None:
        for index, uri in islice(waiting, threads - len(running)):
            watch = running[index] = _Watch(uri)
            # A thread that waits for a disk or a server for good cannot be stopped. The process does not wait for it.
            Thread(target=lambda i=index, w=watch: done.put((i, _read(w))), daemon=True).start()

    start()
    while running:
        try:
            index, result = done.get(timeout=min(1.0, STALLED))
            if running.pop(index, None) is not None:
                results[index] = result
        except Empty:
            for index in [index for index, watch in running.items() if watch.is_stalled]:
                uri = running.pop(index).uri
                results[index] = RawFileError(
                    f"The file {uri} cannot be read: no byte came for {STALLED:g} seconds; check the disk or server "
                    "that it is on."
                )
        start()
    return [results[index] for index in range(len(uris))]


class _Watch:
    """A file that is read, and when the last bytes came."""

    def __init__(self, uri: ResourcePathExpression) -> None:
        self.uri = uri
        self.last = monotonic()

    def has_progress(self) -> None:
        self.last = monotonic()

    @property
    def is_stalled(self) -> bool:
        return monotonic() - self.last > STALLED


def _read(watch: _Watch) -> RawFile | RawFileError:
    uri = watch.uri
    try:
        with _open(ResourcePath(uri, forceAbsolute=False, forceDirectory=False), watch) as (file, size):
            return _read_headers(file, str(uri), size)
    except RawFileError as error:
        return error
    except FileNotFoundError:
        return RawFileError(f"There is no file {uri}; restore it, or leave out its exposure.")
    except PermissionError:
        return RawFileError(f"The file {uri} cannot be read: permission denied.")
    except IsADirectoryError:
        return RawFileError(f"{uri} is a folder; expected a FITS file.")
    except UnicodeEncodeError:
        return RawFileError(f"The file {uri} cannot be read: its name is not in UTF-8; rename it.")
    except Exception as error:
        # The libraries for remote files each have errors of their own, and one file's must not stop the others.
        return RawFileError(f"The file {uri} cannot be read: {type(error).__name__}: {first_line(error)}")


@contextmanager
def open_raw(path: ResourcePath) -> Iterator[BinaryIO]:
    """Open a file, near or far, of which little is read; what is compressed as a whole is unpacked."""
    with _open(path, _Watch(path)) as (file, _):
        yield file


def read_file(path: ResourcePath) -> bytes:
    """Read a whole file, near or far."""
    if path.isLocal:
        return path.read()
    with _open_plain(path, _WHOLE_READ_AHEAD, _Watch(path)) as (file, _):
        return file.read()


@contextmanager
def _open(path: ResourcePath, watch: _Watch) -> Iterator[tuple[BinaryIO, int | None]]:
    """Open a file; its size is `None` if it is compressed as a whole."""
    with _open_plain(path, _READ_AHEAD, watch) as (file, size):
        begin = file.read(3)
        if not begin.startswith(_GZIP) and begin != _BZIP2:
            file.seek(0)
            yield file, size
            return
    with _open_plain(path, _PACKED_READ_AHEAD, watch) as (file, _):
        opened = gzip.GzipFile(fileobj=file) if begin.startswith(_GZIP) else bz2.BZ2File(file)
        with opened as unpacked:
            yield cast(BinaryIO, unpacked), None


@contextmanager
def _open_plain(path: ResourcePath, read_ahead: int, watch: _Watch) -> Iterator[tuple[BinaryIO, int]]:
    if path.isLocal:
        status = os.stat(path.ospath)
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            # A pipe or a device, which may wait for ever.
            raise RawFileError(f"{path.ospath} is not a regular file; expected a FITS file.")
        size = status.st_size
        opened: Any = io.FileIO(path.ospath)
    elif path.scheme in ("http", "https"):
        opened = HttpFile(path, read_ahead, STALLED, watch.has_progress)
        size = opened.size
    else:
        size = path.size()
        opened = path.open("rb")
    with opened as handle, io.BufferedReader(_Source(handle, size, watch), read_ahead) as reader:
        yield reader, size


class _Source(io.RawIOBase):
    """A file that the standard library can buffer: one request for each read, of a range if it is remote.

    Its size is known, so that no request is made beyond its end.
    """

    def __init__(self, handle: Any, size: int, watch: _Watch) -> None:
        self._handle = handle
        self._size = size
        self._watch = watch
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
        self._watch.has_progress()
        if len(content) > count:
            raise ValueError(f"{len(content)} bytes came where {count} were asked for")
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)


def _read_headers(file: BinaryIO, uri: str, size: int | None) -> RawFile:
    headers: list[RawHeader] = []
    images: dict[int, tuple[int, int]] = {}
    try:
        for hdu in read_hdus(file, size):
            header = RawHeader.fromstring(hdu.header)
            header.label = f"{uri}, HDU {len(headers)}"
            if headers and str(header.get("INHERIT")).strip().upper() in ("T", "TRUE"):
                header = _inherited(headers[0], header)
            headers.append(header)
            if hdu.image is not None:
                images[len(headers) - 1] = hdu.image
        has_zeros_behind = False
        if size is not None and size > hdu.end:
            file.seek(hdu.end)
            has_zeros_behind = not file.read(BLOCK).strip(b"\0")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        kind = IncompleteFileError if isinstance(error, EOFError) else RawFileError
        raise kind(
            f"{uri}, HDU {len(headers)}: the header or what is before it is truncated or damaged ({first_line(error)})."
        ) from error
    except ValueError as error:
        kind = IncompleteFileError if isinstance(error, TruncatedError) else RawFileError
        raise kind(f"{uri}, {first_line(error)}.") from error
    return RawFile(uri, tuple(headers), images, has_zeros_behind)


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
