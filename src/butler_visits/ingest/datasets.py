"""Write ``raw`` datasets, and with them the exposures that they are of."""

from __future__ import annotations

import dataclasses
import filecmp
import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

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
from lsst.resources import ResourcePath

from ..errors import IngestError
from ..instruments import load_instrument
from ..instruments.formatter import RawFormatter
from ..lists import id_batches
from ..repository import StaleError, datastore_roots, fetch_instruments, lock_exposures, register_run, unharmed
from ..repository.raws import DATASET_TYPE
from .images import ImageChoice, make_image_writer
from .insert import ExposurePlan, insert_exposures
from .records import ExposureValues
from .transfer import StagedFiles, gone_error, ingest_files
from .translate import DetectorValues

_LOG = logging.getLogger(__name__)

TransferMode = Literal["direct", "copy", "link", "symlink", "move"]

_DIMENSIONS = ("instrument", "detector", "exposure")
_STORAGE_CLASS = "Exposure"

_HEAD = 10 * 2880
"""Bytes at the beginning of files by which they are compared, ten blocks of FITS."""

Key = tuple[int, int]
"""Exposure and detector."""


@dataclasses.dataclass(frozen=True, eq=False)
class Raw:
    """A file, and what there is to be stored of it."""

    uri: str
    exposure: ExposureValues
    detectors: tuple[DetectorValues, ...]
    """The detectors that have an image in the file, each once."""

    hdus: Mapping[int, Sequence[int]] = dataclasses.field(default_factory=dict)
    """By detector the HDUs of its image; none of those of which no image is to be stored."""


class RawWriter:
    """Writes the raws of one instrument."""

    def __init__(
        self,
        butler: Butler,
        instrument: Mapping[str, Any],
        transfer: TransferMode,
        run: str | None,
        *,
        images: ImageChoice = None,
        dry_run: bool = False,
    ) -> None:
        self._butler = butler
        self._dry_run = dry_run
        self._transfer = transfer
        self._roots = datastore_roots(butler)
        self.instrument = instrument
        self._name = instrument["name"]
        record = fetch_instruments(butler).get(self._name)
        if record is None:
            element = butler.dimensions["instrument"]
            record = element.RecordClass(**{k: v for k, v in instrument.items() if k in element.schema.names})
        instrument_class = load_instrument(record)
        self._run = run or instrument_class.makeDefaultRawIngestRunName()
        self.n_images = 0
        """New images of the last call of `write`."""
        # Nothing of this can be done within a transaction.
        self._images = make_image_writer(butler, instrument_class, images, dry_run=dry_run)
        self._dataset_type = _register_dataset_type(butler, dry_run=dry_run)
        if not dry_run:
            register_run(butler, self._run)
        elif not self._has_run():
            return
        if (kind := butler.collections.get_info(self._run).type) is not CollectionType.RUN:
            raise IngestError(f"Collection {self._run} is a {kind.name} collection; raws go into a RUN collection.")

    def write(self, plan: ExposurePlan, files: Sequence[Raw], staged: StagedFiles) -> list[int]:
        """Write exposures and their raws in one transaction: all of them, or none. Returns each file's new datasets.

        Raises `sqlalchemy.exc.IntegrityError` or `StaleError` if another process has written some of it, or the
        database refuses it, and `IngestError` if a detector has the name of another one, or a file is gone.
        """
        butler = self._butler
        self.n_images = 0
        if self._dry_run:
            present = self._present(files)
            return [sum((file.exposure.id, one.id) not in present for one in file.detectors) for file in files]
        self._stage(files, staged)
        datasets: dict[str, list[FileDataset]] = defaultdict(list)
        images: dict[DatasetRef, Sequence[int]] = {}
        written: list[int] = []
        with butler.transaction(), unharmed(butler):
            insert_exposures(butler, plan, [one for file in files for one in file.detectors])
            # SQLite has locked all; in PostgreSQL others could store the same datasets while files are transferred.
            lock_exposures(butler, self._name, {file.exposure.id for file in files})
            present = self._present(files)
            for file in files:
                exposure = file.exposure.id
                missing = [one.id for one in file.detectors if (exposure, one.id) not in present]
                written.append(len(missing))
                if missing:
                    path = ResourcePath(file.uri)
                    refs = [self._ref(exposure, detector) for detector in missing]
                    datasets[self._mode(path)].append(FileDataset(path, refs, formatter=RawFormatter))
                    images |= {
                        ref: file.hdus[detector]
                        for ref, detector in zip(refs, missing, strict=True)
                        if detector in file.hdus
                    }
            if self._transfer == "move":
                self._check_movable([file for file, n_new in zip(files, written, strict=True) if n_new])
            try:
                for mode, some in datasets.items():
                    ingest_files(butler, some, mode, staged)
            except ConflictingDefinitionError as error:
                raise StaleError(str(error)) from error
            if self._images is not None:
                self.n_images = self._images.write(images)
        if self._transfer == "move":
            self._remove_moved([ResourcePath(dataset.path) for some in datasets.values() for dataset in some])
        return written

    def _stage(self, files: Sequence[Raw], staged: StagedFiles) -> None:
        """Copy what is to be copied, before the transaction keeps others from writing."""
        if self._transfer not in ("copy", "move"):
            return
        present = self._present(files)
        for file in files:
            path = ResourcePath(file.uri)
            if any((file.exposure.id, one.id) not in present for one in file.detectors) and self._mode(path) == "copy":
                staged.add(path)

    def _check_movable(self, files: Sequence[Raw]) -> None:
        """Refuse to move files that datasets would then lack."""
        used = self._used(files)
        for file in files:
            path = ResourcePath(file.uri)
            if self._is_inside(path):
                raise IngestError(
                    f"{file.uri}: it is a file of the repository itself, and cannot be moved; leave it out."
                )
            if _real(path) in used:
                raise IngestError(
                    f"{file.uri}: it is the file of a raw in another run, and cannot be moved; ingest it with another "
                    "transfer mode."
                )

    def _present(self, files: Iterable[Raw]) -> dict[Key, DatasetRef]:
        """Find the datasets that are there already, with one query."""
        if self._dry_run and not self._has_run():
            return {}
        return stored_raws(self._butler, self._run, self._name, {file.exposure.id for file in files})

    def _has_run(self) -> bool:
        with suppress(MissingCollectionError):
            return bool(self._butler.collections.get_info(self._run))
        return False

    def elsewhere(self, files: Sequence[Raw]) -> dict[Raw, ResourcePath]:
        """Find files whose datasets are there already, and are another file's."""
        if not files:
            return {}
        present = self._present(files)
        uris = self._butler.get_many_uris(present.values(), allow_missing=True)
        others: dict[Raw, ResourcePath] = {}
        for file in files:
            own = ResourcePath(file.uri)
            if self._transfer == "move" and not own.exists():
                # Another process has moved it.
                continue
            refs = [present[file.exposure.id, detector.id] for detector in file.detectors]
            stored = [uri for ref in refs if ref in uris and (uri := uris[ref].primaryURI) is not None]
            different = [uri for uri in stored if not _is_same_file(uri, own)]
            strange = [uri for uri in different if not self._is_inside(uri) or not _looks_the_same(uri, own)]
            if strange:
                others[file] = strange[0]
            elif self._transfer == "move" and different and all(_same_content(uri, own) for uri in different):
                self._remove_moved([own])
        return others

    def _is_inside(self, path: ResourcePath) -> bool:
        """Tell whether a file is in the repository."""
        real = _real(path)
        return any(real.relative_to(_real(root)) is not None for root in self._roots)

    def _remove_moved(self, files: Sequence[ResourcePath]) -> None:
        """Remove files whose content is in the repository now, if no dataset is left without its file."""
        if self._dry_run:
            return
        for file in files:
            if self._is_inside(file):
                continue
            try:
                file.remove()
            except OSError as error:
                # It is there twice then, which harms nothing.
                _LOG.warning("%s is in the repository now, and cannot be removed from its old place: %s", file, error)

    def _used(self, files: Iterable[Raw]) -> set[ResourcePath]:
        """Find which files are those of raws in any other run, which were ingested without being moved."""
        used: set[ResourcePath] = set()
        runs = self._butler.collections.query("*", CollectionType.RUN)
        others = [run for run in runs if run != self._run]
        if not others:
            return used
        for batch in id_batches(file.exposure.id for file in files):
            with self._butler.query() as query:
                where = query.expression_factory.exposure.in_iterable(batch)
                found = query.datasets(self._dataset_type, others, find_first=False)
                refs = list(found.where(where, instrument=self._name))
            for uris in self._butler.get_many_uris(refs, allow_missing=True).values():
                if uris.primaryURI is not None:
                    used.add(_real(uris.primaryURI))
        return used

    def _ref(self, exposure: int, detector: int) -> DatasetRef:
        data_id = DataCoordinate.standardize(
            instrument=self._name, exposure=exposure, detector=detector, dimensions=self._dataset_type.dimensions
        )
        # The same raw has the same id in every repository and after every interruption.
        return DatasetRef(
            self._dataset_type, data_id, run=self._run, id_generation_mode=DatasetIdGenEnum.DATAID_TYPE_RUN
        )

    def _mode(self, path: ResourcePath) -> str:
        """Return how the datastore takes a file over.

        A process that is killed after it has moved a file and before the database knows would lose it. So a file to be
        moved is linked or copied, and removed when all is written.
        """
        if self._transfer != "move":
            return self._transfer
        if not path.isLocal or os.path.islink(path.ospath):
            return "copy"
        try:
            device = os.stat(path.ospath).st_dev
        except FileNotFoundError as error:
            raise gone_error(str(path)) from error
        local = [root for root in self._roots if root.isLocal]
        same = len(local) == len(self._roots) and all(os.stat(root.ospath).st_dev == device for root in local)
        return "hardlink" if same else "copy"


def stored_raws(butler: Butler, run: str, instrument: str, exposures: Iterable[int]) -> dict[Key, DatasetRef]:
    """Find the raws of exposures that a run has, with one query."""
    stored: dict[Key, DatasetRef] = {}
    for batch in id_batches(exposures):
        with butler.query() as query:
            where = query.expression_factory.exposure.in_iterable(batch)
            with suppress(MissingDatasetTypeError, MissingCollectionError):
                for ref in query.datasets(DATASET_TYPE, run).where(where, instrument=instrument):
                    stored[int(ref.dataId["exposure"]), int(ref.dataId["detector"])] = ref
    return stored


def _register_dataset_type(butler: Butler, *, dry_run: bool) -> DatasetType:
    try:
        dataset_type = butler.get_dataset_type(DATASET_TYPE)
    except MissingDatasetTypeError:
        dataset_type = DatasetType(DATASET_TYPE, _DIMENSIONS, _STORAGE_CLASS, universe=butler.dimensions)
        if not dry_run:
            butler.registry.registerDatasetType(dataset_type)
    if set(dataset_type.dimensions.required) != set(_DIMENSIONS):
        raise IngestError(
            f"Dataset type {DATASET_TYPE} has the dimensions {', '.join(dataset_type.dimensions.required)} in this "
            f"repository; expected {', '.join(_DIMENSIONS)}."
        )
    return dataset_type


def _real(path: ResourcePath) -> ResourcePath:
    """Return the place of a file when all links on the way to it are followed."""
    return ResourcePath(Path(os.path.realpath(path.ospath)).as_uri()) if path.isLocal else path


def _is_same_file(one: ResourcePath, other: ResourcePath) -> bool:
    """Tell whether two paths lead to one file; another name of it (a hard link) is another file."""
    return one == other or _real(one) == _real(other)


def _looks_the_same(one: ResourcePath, other: ResourcePath) -> bool:
    """Tell whether two files have the same size and the same beginning, with the header in it."""
    return one.exists() and one.size() == other.size() and one.read(_HEAD) == other.read(_HEAD)


def _same_content(one: ResourcePath, other: ResourcePath) -> bool:
    """Tell whether two files are equal, byte by byte: only then one of them may go."""
    if one.isLocal and other.isLocal:
        return filecmp.cmp(one.ospath, other.ospath, shallow=False)
    return one.read() == other.read()
