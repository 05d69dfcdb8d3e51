"""Find and read the raws of exposures in a repository."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from astro_metadata_translator import MetadataTranslator
from lsst.daf.butler import (
    Butler,
    DataCoordinate,
    DatasetRef,
    DatasetType,
    DimensionRecord,
    MissingCollectionError,
    MissingDatasetTypeError,
)
from lsst.pipe.base import Instrument
from lsst.resources import ResourcePath

from ..errors import RawFileError
from ..instruments import segments_1_on_top
from ..lists import batches
from ..raws.hdus import find_detector
from ..raws.headers import RawFile, read_raw_files
from ..raws.pixels import IntArray, image_hdus
from ..raws.wcs import RawWcs
from .database import find_uris
from .instruments import stored_translator
from .reading import expand_collections, fetch_detector_names

DATASET_TYPE = "raw"

_EXPOSURES = 1_000
"""Exposures whose raws are found with one query, so that the rows of a large camera do not fill the memory."""

_FILES = 200
"""Files whose headers are held at once."""


_Found = TypeVar("_Found")


class _Row(NamedTuple):
    """A raw; rows are ordered by exposure and detector."""

    exposure: int
    detector: int
    id: UUID
    run: str


class RawReader:
    """Reads the WCSs of raws."""

    def __init__(self, butler: Butler) -> None:
        self._butler = butler
        self._names: dict[str, dict[int, str]] = {}
        self._described: dict[str, type[MetadataTranslator] | None] = {}
        self._dataset_type: DatasetType | None = None

    def detector_names(self, instrument: str) -> dict[int, str]:
        """Return the names of an instrument's detectors by their ids."""
        if instrument not in self._names:
            self._names[instrument] = fetch_detector_names(self._butler, instrument)
        return self._names[instrument]

    def collections(self, instrument: Instrument, collections: Sequence[str] | None = None) -> list[str]:
        """List where raws are searched for."""
        given = expand_collections(self._butler, collections)
        searched = list(self._butler.collections.defaults if given is None else given)
        conventional = instrument.makeDefaultRawIngestRunName()
        try:
            self._butler.collections.get_info(conventional)
        except MissingCollectionError:
            return searched
        return list(dict.fromkeys([*searched, conventional]))

    def find(
        self, exposures: Sequence[DimensionRecord], collections: Sequence[str]
    ) -> dict[int, dict[int, DatasetRef]]:
        """Find the raws of exposures."""
        found: dict[int, dict[int, DatasetRef]] = defaultdict(dict)
        for rows in self._rows(exposures, collections, None):
            for row in sorted(rows):
                found[row.exposure][row.detector] = self._ref(row, exposures[0].instrument)
        return found

    def find_one(
        self, exposures: Sequence[DimensionRecord], collections: Sequence[str], detector: int | None
    ) -> dict[int, DatasetRef]:
        """Find one raw of each exposure."""
        found: dict[int, DatasetRef] = {}
        for rows in self._rows(exposures, collections, detector):
            lowest: dict[int, _Row] = {}
            for row in rows:
                lowest[row.exposure] = min(lowest.get(row.exposure, row), row)
            found.update((id_, self._ref(row, exposures[0].instrument)) for id_, row in lowest.items())
        return found

    def _rows(
        self, exposures: Sequence[DimensionRecord], collections: Sequence[str], detector: int | None
    ) -> Iterator[list[_Row]]:
        """List raws, with one query for a thousand exposures; a row costs a fifth of a dataset reference."""
        if not collections:
            return
        for batch in batches(exposures, _EXPOSURES):
            with self._butler.query() as query:
                where = query.expression_factory.exposure.in_iterable([exposure.id for exposure in batch])
                data_id = {"instrument": exposures[0].instrument}
                if detector is not None:
                    data_id["detector"] = detector
                try:
                    rows = list(
                        query.join_dataset_search(DATASET_TYPE, collections)
                        .general(
                            ["exposure", "detector"],
                            dataset_fields={DATASET_TYPE: {"dataset_id", "run"}},
                            find_first=True,
                        )
                        .where(where, data_id)
                    )
                except MissingDatasetTypeError:
                    return
            yield [
                _Row(row["exposure"], row["detector"], row[f"{DATASET_TYPE}.dataset_id"], row[f"{DATASET_TYPE}.run"])
                for row in rows
            ]

    def _ref(self, row: _Row, instrument: str) -> DatasetRef:
        if self._dataset_type is None:
            self._dataset_type = self._butler.get_dataset_type(DATASET_TYPE)
        data_id = DataCoordinate.standardize(
            {"instrument": instrument, "exposure": row.exposure, "detector": row.detector},
            dimensions=self._dataset_type.dimensions,
        )
        return DatasetRef(self._dataset_type, data_id, row.run, id=row.id)

    def read(self, refs: Sequence[DatasetRef]) -> Iterator[tuple[DatasetRef, RawWcs | RawFileError]]:
        """Read the WCSs of raws; many files at the same time, and a file that holds several detectors once."""

        def wcs(file: RawFile, *arguments: Any, **options: Any) -> RawWcs:
            return RawWcs(find_detector(file, *arguments, **options))

        return self._look(refs, wcs)

    def find_hdus(
        self, refs: Sequence[DatasetRef], instrument: str, boxes: Mapping[int, Sequence[IntArray]]
    ) -> Iterator[tuple[DatasetRef, list[int] | RawFileError]]:
        """Find the HDUs that show the detectors of an instrument's raws, and can be put together to one image.

        ``boxes``: the pixels of each detector by the cameras of the instrument.
        """

        def look(file: RawFile, detector: int, *arguments: Any, **options: Any) -> list[int]:
            return image_hdus(
                file,
                detector,
                *arguments,
                boxes=boxes.get(detector, ()),
                segments_1_on_top=segments_1_on_top(instrument),
                **options,
            )

        return self._look(refs, look)

    def _look(
        self, refs: Sequence[DatasetRef], look: Callable[..., _Found]
    ) -> Iterator[tuple[DatasetRef, _Found | RawFileError]]:
        """Look for the detectors of raws in the headers of their files."""
        uris = find_uris(self._butler, refs)
        by_file: dict[ResourcePath, list[DatasetRef]] = defaultdict(list)
        for ref in refs:
            primary = uris[ref].primaryURI if ref in uris else None
            if primary is None:
                yield (
                    ref,
                    RawFileError(f"The raw {ref.dataId} of run {ref.run} has no file in the datastore; ingest it."),
                )
            else:
                by_file[primary].append(ref)
        for batch in batches(by_file, _FILES):
            for path, file in zip(batch, read_raw_files(batch), strict=True):
                if isinstance(file, RawFileError):
                    yield from ((ref, file) for ref in by_file[path])
                    continue
                # Another repository in this process may describe the instrument otherwise.
                file = replace(file, described=self._translator(str(by_file[path][0].dataId["instrument"])))
                for ref in by_file[path]:
                    instrument, detector = str(ref.dataId["instrument"]), int(ref.dataId["detector"])
                    names = self.detector_names(instrument)
                    try:
                        found = look(
                            file, detector, names.get(detector), alone=len(by_file[path]) == 1, only=len(names) == 1
                        )
                    except RawFileError as error:
                        yield ref, error
                    else:
                        yield ref, found

    def _translator(self, instrument: str) -> type[MetadataTranslator] | None:
        """Return the translator of an instrument that the repository knows of."""
        if instrument not in self._described:
            self._described[instrument] = stored_translator(self._butler, instrument)
        return self._described[instrument]
