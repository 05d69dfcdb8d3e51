"""Store images beside raws: datasets of their own that are read from the same files."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Literal

from lsst.daf.butler import (
    Butler,
    CollectionType,
    DataCoordinate,
    DatasetIdGenEnum,
    DatasetRef,
    DatasetType,
    FileDataset,
    MissingCollectionError,
    MissingDatasetTypeError,
)
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.pipe.base import Instrument

from ..errors import IngestError, RawFileError, VisitsError
from ..lists import batches, id_batches
from ..repository import (
    StaleError,
    fetch_instrument,
    lock_exposures,
    register_run,
    require_writeable,
    try_again,
    unharmed,
    until_written,
)
from ..repository.cameras import CameraFinder
from ..repository.database import read_columns, recorded_paths
from ..repository.raws import DATASET_TYPE, RawReader
from .formatter import image_formatter, images_installed, no_images_message

ImageKind = Literal["trimmed", "untrimmed"]

ImageChoice = ImageKind | Literal["auto"] | None
"""``auto``: trimmed ones, where they can be stored and read."""

_LOG = logging.getLogger(__name__)

_DIMENSIONS = ("instrument", "detector", "exposure")

_EXPOSURES = 20
"""Exposures whose images are written together."""


class ImageWriter:
    """Writes the images of one instrument: ``raw_image``, or ``raw_image_untrimmed`` with the overscans."""

    def __init__(self, butler: Butler, instrument: Instrument, kind: ImageKind, *, dry_run: bool = False) -> None:
        self._butler = butler
        self._name = instrument.getName()
        self._keep_overscan = kind == "untrimmed"
        self.run = instrument.makeCollectionName("raw", "images")
        # This refuses what has no such records.
        recorded_paths(butler, [])
        # Neither can be done within a transaction.
        self.dataset_type = _register_dataset_type(
            butler, "raw_image" + "_untrimmed" * self._keep_overscan, dry_run=dry_run
        )
        if not dry_run:
            register_run(butler, self.run)
        try:
            collection = butler.collections.get_info(self.run).type
        except MissingCollectionError:
            return
        if collection is not CollectionType.RUN:
            raise IngestError(
                f"Collection {self.run} is a {collection.name} collection; images go into a RUN collection."
            )

    def missing(self, raws: Iterable[DatasetRef]) -> list[DatasetRef]:
        """Leave out the raws whose images are there."""
        refs = list(raws)
        present: set[tuple[int, int]] = set()
        for batch in id_batches(int(ref.dataId["exposure"]) for ref in refs):
            with self._butler.query() as query:
                where = query.expression_factory.exposure.in_iterable(batch)
                try:
                    found = query.datasets(self.dataset_type.name, self.run).where(where, instrument=self._name)
                    present |= {(int(ref.dataId["exposure"]), int(ref.dataId["detector"])) for ref in found}
                except (MissingCollectionError, MissingDatasetTypeError):
                    # So it is in a dry run.
                    break
        return [ref for ref in refs if (ref.dataId["exposure"], ref.dataId["detector"]) not in present]

    def write(self, given: Mapping[DatasetRef, Sequence[int]]) -> int:
        """Write the images of stored raws, as far as they are not there, in the caller's transaction.

        ``given``: by raw the HDUs of its detector's image. Returns how many are new.
        """
        raws = {raw: given[raw] for raw in self.missing(given)}
        paths = recorded_paths(self._butler, raws)
        uris = self._butler.get_many_uris(raws)
        datasets: dict[str | None, list[FileDataset]] = defaultdict(list)
        expected: dict[DatasetRef, str] = {}
        for raw, hdus in raws.items():
            ref = self._ref(raw.dataId)
            uri = uris[raw].primaryURI
            assert uri is not None
            # A datastore removes a file with the last dataset that has the same path, but none with an absolute one.
            mode = "direct" if "://" in paths[raw.id] else None
            formatter = image_formatter(hdus, keep_overscan=self._keep_overscan)
            datasets[mode].append(FileDataset(uri, [ref], formatter=formatter))
            expected[ref] = paths[raw.id]
        for mode, some in datasets.items():
            try:
                # The raw's record has the size of the file; of a remote one asking costs a request each.
                self._butler.ingest(*some, transfer=mode, record_validation_info=False)
            except ConflictingDefinitionError as error:
                raise StaleError(str(error)) from error
        stored = recorded_paths(self._butler, expected)
        if different := [path for ref, path in expected.items() if stored.get(ref.id) != path]:
            raise VisitsError(
                f"The repository has recorded the file {different[0]} under another name for the image than for the "
                "raw, so removing the one would lose the other; nothing is written."
            )
        return len(raws)

    def _ref(self, data_id: DataCoordinate) -> DatasetRef:
        own = DataCoordinate.standardize(
            {name: data_id[name] for name in _DIMENSIONS}, dimensions=self.dataset_type.dimensions
        )
        return DatasetRef(self.dataset_type, own, run=self.run, id_generation_mode=DatasetIdGenEnum.DATAID_TYPE_RUN)


def images_wanted(choice: ImageChoice) -> bool:
    """Tell whether images are to be stored."""
    return choice is not None and (choice != "auto" or images_installed())


def make_image_writer(
    butler: Butler, instrument: Instrument, choice: ImageChoice, *, dry_run: bool
) -> ImageWriter | None:
    """Make what writes images, if they are wanted."""
    if choice != "auto":
        return None if choice is None else ImageWriter(butler, instrument, choice, dry_run=dry_run)
    if not images_wanted(choice):
        return None
    try:
        return ImageWriter(butler, instrument, "trimmed", dry_run=dry_run)
    except VisitsError as error:
        # Nobody has asked for them.
        _LOG.warning("%s So no images are stored beside the raws.", error)
        return None


def add_images(
    butler: Butler,
    instrument: str,
    *,
    collections: Sequence[str] | None = None,
    kind: ImageKind = "trimmed",
    dry_run: bool = False,
) -> tuple[int, list[RawFileError]]:
    """Store images beside the raws that a repository has, from the same files and without copying them.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository, writeable.
    instrument : `str`
        Its instrument's name.
    collections : `~collections.abc.Sequence` [`str`], optional
        Where raws are; by default the Butler's collections and the instrument's ``<instrument>/raw/all``.
    kind : `str`, optional
        ``trimmed``: without prescan and overscan, ``raw_image``; ``untrimmed``: with them, ``raw_image_untrimmed``.
    dry_run : `bool`, optional
        Write nothing.

    Returns
    -------
    n_new : `int`
        Images that are new.
    failures : `list` [`RawFileError`]
        Why raws have no image.
    """
    if not dry_run:
        require_writeable(butler)
    reader = RawReader(butler)
    instrument_class = fetch_instrument(butler, instrument)
    writer = ImageWriter(butler, instrument_class, kind, dry_run=dry_run)
    searched = reader.collections(instrument_class, collections)
    boxes = CameraFinder(butler).boxes(instrument_class)
    n_new = 0
    failures: list[RawFileError] = []
    for batch in batches(sorted(read_columns(butler, "exposure", instrument, "id")), _EXPOSURES):
        with butler.query() as query:
            where = query.expression_factory.exposure.in_iterable([id_ for (id_,) in batch])
            try:
                # All of a file's raws, which tell whether a detector is alone in it.
                raws = list(query.datasets(DATASET_TYPE, searched, find_first=True).where(where, instrument=instrument))
            except MissingDatasetTypeError:
                break
        missing = set(writer.missing(raws))
        found: dict[DatasetRef, Sequence[int]] = {}
        files = {ref.dataId["exposure"] for ref in missing}
        for ref, hdus in reader.find_hdus([ref for ref in raws if ref.dataId["exposure"] in files], instrument, boxes):
            if ref not in missing:
                continue
            if isinstance(hdus, RawFileError):
                failures.append(hdus)
            else:
                found[ref] = hdus
        if found and not dry_run:
            write = partial(_write_missing, butler, instrument, writer, found)
            n_new += try_again(butler, partial(_until_written, write))
        else:
            n_new += len(found)
    return n_new, failures


def _until_written(write: Callable[[], int]) -> int:
    """Write, and again if others were faster."""
    return until_written(lambda: None, lambda _: write(), id)[1]


def _write_missing(
    butler: Butler, instrument: str, writer: ImageWriter, found: Mapping[DatasetRef, Sequence[int]]
) -> int:
    with butler.transaction(), unharmed(butler):
        lock_exposures(butler, instrument, {int(ref.dataId["exposure"]) for ref in found})
        return writer.write(found)


def _register_dataset_type(butler: Butler, name: str, *, dry_run: bool) -> DatasetType:
    try:
        dataset_type = butler.get_dataset_type(name)
    except MissingDatasetTypeError:
        storage_class = "ImageV2" if images_installed() else "NumpyArray"
        if storage_class == "NumpyArray":
            _LOG.warning(
                "lsst-images, which needs Python 3.12, is not installed here: %s gets storage class NumpyArray, whole "
                "images without WCS, and keeps it in this repository.",
                name,
            )
        dataset_type = DatasetType(name, _DIMENSIONS, storage_class, universe=butler.dimensions)
        if not dry_run:
            butler.registry.registerDatasetType(dataset_type)
        return dataset_type
    if set(dataset_type.dimensions.required) != set(_DIMENSIONS):
        raise IngestError(
            f"Dataset type {name} has the dimensions {', '.join(dataset_type.dimensions.required)} in this "
            f"repository; expected {', '.join(_DIMENSIONS)}."
        )
    if dataset_type.storageClass_name not in ("ImageV2", "NumpyArray"):
        raise IngestError(
            f"Dataset type {name} has storage class {dataset_type.storageClass_name} in this repository; expected "
            "ImageV2."
        )
    if dataset_type.storageClass_name == "ImageV2" and not images_installed():
        raise VisitsError(no_images_message(f"dataset type {name}"))
    return dataset_type
