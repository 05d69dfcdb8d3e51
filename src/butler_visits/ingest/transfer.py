"""Bring files into a repository in a way that several processes can do it at once."""

from __future__ import annotations

__all__ = ["gone_error", "ingest_files"]

from collections.abc import Sequence

from lsst.daf.butler import Butler, FileDataset
from lsst.resources import ResourcePath

from ..errors import IngestError
from ..instruments.formatter import RawFormatter
from ..repository import StaleError
from ..repository.database import file_places


def ingest_files(butler: Butler, datasets: Sequence[FileDataset], mode: str) -> None:
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
        try:
            place.transfer_from(source, transfer=mode, overwrite=True)
        except FileNotFoundError as error:
            raise gone_error(str(source)) from error
        except FileExistsError as error:
            # It came between a look and the making of a link.
            raise StaleError(str(error)) from error
        except (RuntimeError, ValueError) as error:
            raise IngestError(f"{source}: transfer mode {mode} is not possible: {error}.") from error
        placed.append(FileDataset(place, dataset.refs, formatter=dataset.formatter))
    butler.ingest(*placed, transfer=None)


def gone_error(uri: str) -> IngestError:
    """Make the error of a file that was there a moment ago."""
    return IngestError(
        f"{uri}: it is gone since files were listed; perhaps another process has moved it. Run it again to see what is "
        "still to be ingested."
    )
