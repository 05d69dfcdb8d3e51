"""Find the raw files that a user means."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from lsst.resources import ResourcePath, ResourcePathExpression

from ..errors import IngestError

_COMPRESSED = (".fz", ".gz", ".bz2")

SUFFIXES = tuple(suffix + compressed for suffix in (".fits", ".fit", ".fts") for compressed in ("", *_COMPRESSED))
"""Endings of the files that are taken from a folder, in any case."""


class FoundFiles(NamedTuple):
    """The files that a user means, and what is wrong with the places that were given."""

    files: list[str]
    errors: list[IngestError]


def find_raw_files(
    places: Iterable[ResourcePathExpression], *, repository: Collection[ResourcePath] = (), may_be_empty: bool = False
) -> FoundFiles:
    """List files, and the FITS files in folders."""
    files: dict[str, None] = {}
    errors: list[IngestError] = []
    own = {os.path.realpath(root.ospath) for root in repository if root.isLocal}
    for place in places:
        try:
            uri = as_resource(place)
        except IngestError as error:
            errors.append(error)
            continue
        if not uri.isLocal:
            found = _remote_files(uri) if uri.isdir() else [str(uri)]
        elif os.path.isdir(uri.ospath):
            found = _local_files(uri.ospath, own, errors)
        elif os.path.lexists(uri.ospath):
            found = [file_name(uri.ospath)]
        else:
            errors.append(IngestError(f"There is no file or folder {uri.ospath}."))
            continue
        n_errors = len(errors)
        found = list(found)
        files.update(dict.fromkeys(found))
        if not found and not may_be_empty and len(errors) == n_errors:
            errors.append(
                IngestError(
                    f"There are no FITS files in folder {place}; expected names that end in "
                    f"{', '.join(SUFFIXES[::4])}, or in one of these with {', '.join(_COMPRESSED)} behind it."
                )
            )
    return FoundFiles(list(files), errors)


def as_resource(place: ResourcePathExpression) -> ResourcePath:
    """Return where something is; `IngestError` if a name is no text, which a path need not be, and a URI must."""
    if isinstance(place, str | os.PathLike):
        try:
            os.fspath(place).encode()
        except UnicodeEncodeError:
            raise IngestError(f"The name of {place} is not in UTF-8; rename it.") from None
    if isinstance(place, str | os.PathLike) and os.path.lexists(place):
        return ResourcePath(Path(place).absolute().as_uri())
    return ResourcePath(place, forceAbsolute=True)


def file_name(path: str) -> str:
    """Return a path as it can be read: as a URI, if it could be taken for one, or for a name of a variable."""
    return Path(path).as_uri() if set(path) & set("#%$") else path


def _local_files(folder: str, own: Collection[str], errors: list[IngestError]) -> Iterator[str]:
    def refused(error: OSError) -> None:
        errors.append(IngestError(f"The folder {error.filename} cannot be searched: {error.strerror}."))

    for parent, folders, names in os.walk(folder, onerror=refused):
        folders[:] = sorted(name for name in folders if os.path.realpath(os.path.join(parent, name)) not in own)
        yield from (file_name(os.path.join(parent, name)) for name in sorted(names) if name.lower().endswith(SUFFIXES))


def _remote_files(folder: ResourcePath) -> Iterator[str]:
    for parent, folders, names in folder.walk():
        folders.sort()
        yield from (str(parent.join(name)) for name in sorted(names) if name.lower().endswith(SUFFIXES))
