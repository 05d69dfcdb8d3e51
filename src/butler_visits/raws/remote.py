"""Files on web servers, read by ranges; what a server sends is compared with what it was asked for."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any, BinaryIO, cast

from lsst.resources import ResourcePath

from ..errors import RawFileError

_RANGE = re.compile(r"\s*bytes\s+(\d+)-(\d+)/(\d+|\*)\s*")
_PIECE = 1 << 16
_LARGE = 1 << 24


class HttpFile:
    """A file on a web server.

    Parameters
    ----------
    path
        Where it is.
    first
        Bytes of its beginning to ask for, so that the first answer tells its size too.
    patience
        Seconds without an answer until it is given up.
    progress
        Called when bytes have come.
    """

    def __init__(self, path: ResourcePath, first: int, patience: float, progress: Callable[[], None]) -> None:
        self._path = path
        # Its own session has the certificates and tokens of the environment, and tries again where a server is busy.
        self._session: Any = cast(Any, path).data_session
        self._patience = patience
        self._progress = progress
        self._position = 0
        self._marks: set[str] = set()
        self._whole: BinaryIO | None = None
        self.size = -1
        self._begin = self._ask(0, first)

    def seek(self, position: int) -> None:
        self._position = position

    def read(self, count: int) -> bytes:
        begin, end = self._position, min(self._position + count, self.size)
        if self._whole is not None:
            self._whole.seek(begin)
            content = self._whole.read(end - begin)
        elif end <= len(self._begin):
            content = self._begin[begin:end]
        else:
            content = self._ask(begin, end - begin)
        self._position += len(content)
        return content

    def close(self) -> None:
        if self._whole is not None:
            self._whole.close()

    def __enter__(self) -> HttpFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, begin: int, count: int) -> bytes:
        """Ask for a range; a server that knows none sends the whole file, which is kept."""
        asked = {"Range": f"bytes={begin}-{begin + count - 1}", "Accept-Encoding": "identity"}
        waits = (self._patience, self._patience)
        with closing(self._session.get(self._path.geturl(), timeout=waits, stream=True, headers=asked)) as answer:
            if answer.status_code == 404:
                raise FileNotFoundError(str(self._path))
            if answer.status_code in (401, 403):
                raise PermissionError(str(self._path))
            if answer.status_code == 416 and begin == 0:
                self.size = 0
                return b""
            if answer.status_code not in (200, 206):
                raise self._error(f"the server answers {answer.status_code} {answer.reason}")
            # Servers that share a name may differ in one of them.
            marks = {answer.headers.get("ETag"), answer.headers.get("Last-Modified")} - {None}
            if self._marks and marks and not marks & self._marks:
                raise self._error("it has changed while it was read; try again")
            self._marks = marks
            if answer.status_code == 206:
                return self._part(answer, begin, count)
            self._whole = self._all(answer)
        self._whole.seek(begin)
        return self._whole.read(count)

    def _part(self, answer: Any, begin: int, count: int) -> bytes:
        said = answer.headers.get("Content-Range", "")
        found = _RANGE.fullmatch(said)
        if found is None:
            raise self._error(f"the server sends a part without saying which (Content-Range {said!r})")
        start, stop = int(found[1]), int(found[2]) + 1
        size = int(found[3]) if found[3] != "*" else self.size if self.size >= 0 else self._path.size()
        if self.size not in (-1, size):
            raise self._error(f"the server says that it has {size} bytes, and said {self.size} before; try again")
        self.size = size
        if (start, stop) != (begin, min(begin + count, size)):
            raise self._error(
                f"the server sends bytes {start} to {stop - 1}, and was asked for {begin} to {begin + count - 1}"
            )
        content = bytearray()
        for piece in answer.iter_content(_PIECE):
            self._progress()
            content += piece
            if len(content) > stop - start:
                break
        self._check_length(len(content), stop - start)
        return bytes(content)

    def _all(self, answer: Any) -> BinaryIO:
        with ExitStack() as closing_it:
            # A large one goes to a disk, and is gone with this.
            whole = closing_it.enter_context(tempfile.SpooledTemporaryFile(_LARGE))
            for piece in answer.iter_content(_PIECE):
                self._progress()
                whole.write(piece)
            size = whole.tell()
            if "Content-Length" in answer.headers and "Content-Encoding" not in answer.headers:
                self._check_length(size, int(answer.headers["Content-Length"]))
            if self.size not in (-1, size):
                raise self._error(f"the server sends {size} bytes, and said before that it has {self.size}")
            closing_it.pop_all()
        self.size = size
        return cast(BinaryIO, whole)

    def _check_length(self, length: int, expected: int) -> None:
        if length != expected:
            more = "more than" if length > expected else f"{length} of"
            raise self._error(f"the server sends {more} {expected} bytes")

    def _error(self, problem: str) -> RawFileError:
        return RawFileError(f"The file {self._path} cannot be read: {problem}.")
