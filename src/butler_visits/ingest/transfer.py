"""Bring files into a repository in a way that several processes can do it at once."""

from __future__ import annotations

__all__ = ["gone_error", "ingest_files"]

from collections.abc import Sequence
from typing import cast

from lsst.daf.butler import Butler, FileDataset
from lsst.daf.butler.datastores.fileDatastore import FileDatastore
from lsst.daf.butler.direct_butler import DirectButler
from lsst.resources import ResourcePath

from ..errors import IngestError
from ..instruments.formatter import RawFormatter
from ..repository import StaleError


def ingest_files(butler: Butler, datasets: Sequence[FileDataset], mode: str) -> None:
    """Ingest files as `lsst.daf.butler.Butler.ingest` does, but never remove one from the repository.

    The Butler removes what it has put there when a transaction fails. By then PostgreSQL has let go of the locks, which
    it does at once where it refuses something or a connection is lost. Another process may have stored the datasets
    meanwhile, and would lose their files. A file that no dataset has harms nobody; the next attempt replaces it.

    Raises `IngestError` if a file is not there any more, or cannot be transferred in this way; `StaleError` if another
    process does the same at this moment.
    """
    datastore = cast(DirectButler, butler)._datastore
    if mode == "direct" or not isinstance(datastore, FileDatastore):
        butler.ingest(*datasets, transfer=mode)
        return
    data_ids = butler._expand_data_ids([dataset.refs[0].dataId for dataset in datasets])
    placed: list[FileDataset] = []
    for dataset, data_id in zip(datasets, data_ids, strict=True):
        source = ResourcePath(dataset.path)
        # The Butler has no public way to the name that it would give to the file.
        location = datastore._calculate_ingested_datastore_name(source, dataset.refs[0].expanded(data_id), RawFormatter)
        try:
            location.uri.transfer_from(source, transfer=mode, overwrite=True)
        except FileNotFoundError as error:
            raise gone_error(str(source)) from error
        except FileExistsError as error:
            # It came between a look and the making of a link.
            raise StaleError(str(error)) from error
        except (RuntimeError, ValueError) as error:
            raise IngestError(f"{source}: transfer mode {mode} is not possible: {error}.") from error
        placed.append(FileDataset(location.uri, dataset.refs, formatter=dataset.formatter))
    butler.ingest(*placed, transfer=None)


def gone_error(uri: str) -> IngestError:
    """Make the error of a file that was there a moment ago."""
    return IngestError(
        f"{uri}: it is gone since files were listed; perhaps another process has moved it. Run it again to see what is "
        "still to be ingested."
    )
