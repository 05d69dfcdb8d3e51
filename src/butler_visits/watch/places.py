"""Places of files: paths of this machine, or URIs."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from threading import Thread

from lsst.resources import ResourcePath

from ..errors import IngestError
from ..ingest.files import SUFFIXES, as_resource

Signature = tuple[int, int]
"""Size of a file, and when it was changed in nanoseconds."""

REMOTE: Signature = (0, 0)
"""Of objects the name says enough: to ask for the size of each would be a request each."""


_PATIENCE = 10.0
"""Seconds in which a disk must say what files are like."""


def is_raw_name(name: str) -> bool:
    """Tell whether a file is a raw by its name; what begins with a dot is being written by some program."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def local_path(place: str) -> str | None:
    """Return the path of a place on this machine; `None` for another one, or a text that is no place."""
    try:
        uri = as_resource(place)
    except (IngestError, ValueError, NotImplementedError):
        return None
    return uri.ospath if uri.isLocal else None


def signature_of(place: str) -> Signature | None:
    """Say what a file is like now; `None` if it is not there.

    Raises `OSError` where the disk that it is on does not answer.
    """
    path = local_path(place)
    return REMOTE if path is None else signature_of_path(path)


def signatures_of(places: Iterable[str]) -> dict[str, Signature | None]:
    """Say what files are like now; those are left out whose disk does not answer, for which nobody shall wait long."""
    found: dict[str, Signature | None] = {}

    def look() -> None:
        for place in places:
            with suppress(OSError):
                found[place] = signature_of(place)

    thread = Thread(target=look, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    return dict(found)


def signature_of_path(path: str) -> Signature | None:
    """Say what a file is like now; `None` if it is not there.

    Raises `OSError` where the disk that it is on does not answer.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.ENAMETOOLONG):
            return None
        raise
    except ValueError:
        # A name with a null.
        return None
    return status.st_size, status.st_mtime_ns


def remote_size(place: str) -> int | None:
    """Say how long an object is; `None` if it is not there."""
    try:
        return ResourcePath(place).size()
    except FileNotFoundError:
        return None
