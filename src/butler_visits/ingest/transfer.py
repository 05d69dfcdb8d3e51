"""Bring files into a repository in a way that several processes can do it at once."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from lsst.daf.butler import Butler, FileDataset
from lsst.resources import ResourcePath

from ..errors import IngestError
from ..instruments.formatter import RawFormatter
from ..repository import StaleError
from ..repository.database import file_places

_STAGING = ".ingest-"
"""Beginning of the names of folders for files that are being copied."""

_OLD = 86_400
"""Seconds after which nobody is still at it."""


class StagedFiles:
    """Copies of files in the repository, which only have to be renamed where they belong.

    Copying takes long, and while a transaction lasts nobody else can write to SQLite. But whether a file belongs into
    the repository is only known in a transaction: another process may store the same dataset, and its file must not be
    overwritten.
    """

    def __init__(self, root: ResourcePath | None) -> None:
        self._root = root
        self._folder: Path | None = None
        self._copies: dict[ResourcePath, ResourcePath] = {}
        self._n_copied = 0

    def add(self, source: ResourcePath) -> None:
        """Copy a file, unless it is copied already or the repository is not on this machine's disks."""
        if self._root is None or source in self._copies:
            return
        if self._folder is None:
            self._remove_old()
            Path(self._root.ospath).mkdir(parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(prefix=_STAGING, dir=self._root.ospath))
        self._n_copied += 1
        copy = ResourcePath((self._folder / str(self._n_copied)).as_uri())
        _transfer(source, copy, "copy")
        self._copies[source] = copy

    def take(self, source: ResourcePath) -> ResourcePath | None:
        """Return the copy of a file, which is to be moved."""
        return self._copies.pop(source, None)

    def clear(self) -> None:
        """Remove what has not been moved."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _remove_old(self) -> None:
        """Remove what killed processes have left."""
        assert self._root is not None
        for folder in Path(self._root.ospath).glob(f"{_STAGING}*"):
            with suppress(OSError):
                if time.time() - folder.stat().st_mtime > _OLD:
                    shutil.rmtree(folder)


@contextmanager
def staging(butler: Butler) -> Iterator[StagedFiles]:
    """Give files to be copied a place."""
    roots = [root for root in butler.get_datastore_roots().values() if root is not None and root.isLocal]
    staged = StagedFiles(roots[0] if len(roots) == 1 else None)
    try:
        yield staged
    finally:
        staged.clear()


def ingest_files(butler: Butler, datasets: Sequence[FileDataset], mode: str, staged: StagedFiles) -> None:
    """Ingest files as `lsst.daf.butler.Butler.ingest` does, but never remove one from the repository.

    The Butler removes what it has put there when a transaction fails. By then PostgreSQL has let go of the locks, which
    it does at once where it refuses something or a connection is lost. Another process may have stored the datasets
    meanwhile, and would lose their files. A file that no dataset has harms nobody; the next attempt replaces it. Raises
    `IngestError` if a file is gone or cannot be transferred so, and `StaleError` if another process does the same at
    this moment.
    """
    places = None if mode == "direct" else file_places(butler, datasets, RawFormatter)
    if places is None:
        butler.ingest(*datasets, transfer=mode)
        return
    placed: list[FileDataset] = []
    for dataset, place in zip(datasets, places, strict=True):
        source = ResourcePath(dataset.path)
        copy = staged.take(source) if mode == "copy" else None
        if copy is None:
            _transfer(source, place, mode)
        else:
            _transfer(copy, place, "move")
        placed.append(FileDataset(place, dataset.refs, formatter=dataset.formatter))
    butler.ingest(*placed, transfer=None)


def _transfer(source: ResourcePath, target: ResourcePath, mode: str) -> None:
    try:
        target.transfer_from(source, transfer=mode, overwrite=True)
    except FileNotFoundError as error:
        raise gone_error(str(source)) from error
    except FileExistsError as error:
        # It came between a look and the making of a link.
        raise StaleError(str(error)) from error
    except (RuntimeError, ValueError) as error:
        raise IngestError(f"{source}: transfer mode {mode} is not possible: {error}.") from error


def gone_error(uri: str) -> IngestError:
    """Make the error of a file that was there a moment ago."""
    return IngestError(
        f"{uri}: it is gone since files were listed; perhaps another process has moved it. Run it again to see what is "
        "still to be ingested."
    )
