"""Find and read the raws of exposures in a repository."""

from __future__ import annotations

__all__ = ["RawReader"]

from collections import defaultdict
from collections.abc import Iterator, Sequence

from lsst.daf.butler import Butler, DatasetRef, DimensionRecord, MissingCollectionError, MissingDatasetTypeError
from lsst.pipe.base import Instrument
from lsst.resources import ResourcePath

from .. import registry
from ..batches import batches
from ..errors import RawFileError
from .hdus import find_detector
from .headers import RawFile, read_raw_files
from .wcs import RawWcs

DATASET_TYPE = "raw"

_IDS = 10_000
"""Exposures in one query's list: PostgreSQL takes 65,535 in a statement."""

_FILES = 200
"""Files whose headers are held at once."""


class RawReader:
    """Reads the WCSs of raws.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    """

    def __init__(self, butler: Butler) -> None:
        self._butler = butler
        self._names: dict[str, dict[int, str]] = {}

    def collections(self, instrument: Instrument, collections: Sequence[str] | None = None) -> list[str]:
        """List where raws are searched for.

        Parameters
        ----------
        instrument : `lsst.pipe.base.Instrument`
            The instrument.
        collections : `~collections.abc.Sequence` [`str`], optional
            Where to search first; by default the Butler's own collections.

        Returns
        -------
        collections : `list` [`str`]
            These, and the run into which the instrument's raws go by convention.
        """
        searched = list(self._butler.collections.defaults if collections is None else collections)
        conventional = instrument.makeDefaultRawIngestRunName()
        try:
            self._butler.collections.get_info(conventional)
        except MissingCollectionError:
            return searched
        return list(dict.fromkeys([*searched, conventional]))

    def find(
        self, exposures: Sequence[DimensionRecord], collections: Sequence[str]
    ) -> dict[int, dict[int, DatasetRef]]:
        """Find the raws of exposures, with one query.

        Parameters
        ----------
        exposures : `~collections.abc.Sequence` [`lsst.daf.butler.DimensionRecord`]
            Exposures of one instrument.
        collections : `~collections.abc.Sequence` [`str`]
            Where to search.

        Returns
        -------
        raws : `dict` [`int`, `dict` [`int`, `lsst.daf.butler.DatasetRef`]]
            By exposure and detector, in the order of the detectors.
        """
        found: dict[int, dict[int, DatasetRef]] = defaultdict(dict)
        if not collections or not exposures:
            return found
        refs: list[DatasetRef] = []
        for batch in batches(exposures, _IDS):
            with self._butler.query() as query:
                where = query.expression_factory.exposure.in_iterable([exposure.id for exposure in batch])
                try:
                    refs += query.datasets(DATASET_TYPE, collections, find_first=True).where(
                        where, instrument=exposures[0].instrument
                    )
                except MissingDatasetTypeError:
                    return found
        for ref in sorted(refs, key=lambda ref: ref.dataId["detector"]):
            found[int(ref.dataId["exposure"])][int(ref.dataId["detector"])] = ref
        return found

    def read(self, refs: Sequence[DatasetRef]) -> Iterator[tuple[DatasetRef, RawWcs | RawFileError]]:
        """Read the WCSs of raws; many files at the same time, and a file that holds several detectors once.

        Parameters
        ----------
        refs : `~collections.abc.Sequence` [`lsst.daf.butler.DatasetRef`]
            Raws of one instrument.

        Yields
        ------
        ref : `lsst.daf.butler.DatasetRef`
            A raw, in any order.
        wcs : `RawWcs` or `RawFileError`
            Its WCS, or the error that tells why there is none.
        """
        uris = self._butler.get_many_uris(refs, allow_missing=True)
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
                for ref in by_file[path]:
                    yield ref, self._wcs(ref, file)

    def _wcs(self, ref: DatasetRef, file: RawFile | RawFileError) -> RawWcs | RawFileError:
        if isinstance(file, RawFileError):
            return file
        instrument, detector = str(ref.dataId["instrument"]), int(ref.dataId["detector"])
        if instrument not in self._names:
            self._names[instrument] = registry.fetch_detector_names(self._butler, instrument)
        try:
            return RawWcs(find_detector(file, detector, self._names[instrument].get(detector)))
        except RawFileError as error:
            return error
