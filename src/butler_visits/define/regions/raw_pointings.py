"""Pointings of exposures, fitted so that a camera reproduces the WCSs of their raws."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar
from uuid import UUID

import numpy as np
import numpy.typing as npt
from lsst.daf.butler import Butler, DatasetRef, DimensionRecord
from lsst.pipe.base import Instrument

from ...camera import Camera
from ...errors import DefinitionError, RawFileError, VisitsError
from ...geometry import FloatArray
from ...geometry import directions as sky_directions
from ...raws import RawWcs, angle_between, check_place
from ...repository.raws import RawReader
from ..pointings import FittedPointing, fit_pointing

_K = TypeVar("_K", bound=Hashable)

_LOG = logging.getLogger(__name__)

_REMEMBERED = 60.0
"""Seconds."""

_SAME_SIZE = 0.1
"""A raw without ``DATASEC`` is larger than its detector by its overscan."""

_KEPT = 100_000
"""Fits that are kept, so that a chunk that is tried again in parts is not read again."""


class Failures:
    """Remembers for a minute what has failed, while a chunk is halved until the bad exposures are found.

    Not longer, because a file may be restored.
    """

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[float, VisitsError]] = {}

    def add(self, key: Hashable, error: VisitsError) -> None:
        """Remember an error."""
        self._known[key] = (time.monotonic(), error)

    def among(self, keys: Iterable[_K]) -> dict[_K, VisitsError]:
        """Return the errors of what failed just now; who asks twice may get less the second time."""
        now = time.monotonic()
        self._known = {key: known for key, known in self._known.items() if now - known[0] <= _REMEMBERED}
        return {key: self._known[key][1] for key in keys if key in self._known}


class RawPointings:
    """Fits the pointings of exposures to one raw each.

    ``max_residual``: largest distance between raw and camera, pixels, above which a fit is an error.
    """

    def __init__(self, butler: Butler, detector: int | None, max_residual: float, padding: int = 0) -> None:
        self._raws = RawReader(butler)
        self._detector = detector
        self._max_residual = max_residual
        self._padding = padding
        self._fits: dict[tuple[UUID, Camera], FittedPointing] = {}
        self._failed = Failures()

    def find(
        self, exposures: Sequence[DimensionRecord], instrument: Instrument, collections: Sequence[str] | None
    ) -> dict[int, DatasetRef]:
        """Find the raw of each exposure."""
        return self._raws.find_one(exposures, self._raws.collections(instrument, collections), self._detector)

    def fit(
        self,
        exposures: Sequence[DimensionRecord],
        cameras: Sequence[Camera],
        instrument: Instrument,
        collections: Sequence[str] | None,
    ) -> dict[int, FittedPointing | VisitsError]:
        """Fit the pointings of exposures."""
        raws = self.find(exposures, instrument, collections)
        keys = {e.id: (raws[e.id].id, camera) for e, camera in zip(exposures, cameras, strict=True) if e.id in raws}
        failed = self._failed.among(keys.values())
        unread = [raws[e] for e, key in keys.items() if key not in self._fits and key not in failed]
        if len(self._fits) + len(unread) > _KEPT:
            self._fits.clear()
            unread = [raws[e] for e, key in keys.items() if key not in failed]
        records = {record.id: record for record in exposures}
        for ref, wcs in self._raws.read(unread):
            exposure, detector = int(ref.dataId["exposure"]), int(ref.dataId["detector"])
            key = keys[exposure]
            try:
                if isinstance(wcs, RawFileError):
                    raise wcs
                fit = fit_camera_to_raws({detector: wcs}, key[1], exposure, self._max_residual)
                self._check(records[exposure], wcs, fit, key[1])
                self._fits[key] = fit
            except VisitsError as error:
                kind = type(error) if isinstance(error, RawFileError) else RawFileError
                failed[key] = kind(f"Exposure {exposure}, detector {detector}: {error}")
                self._failed.add(key, failed[key])
        result: dict[int, FittedPointing | VisitsError] = {}
        for record in exposures:
            if record.id not in raws:
                wanted = "raw" if self._detector is None else f"raw of detector {self._detector}"
                searched = self._raws.collections(instrument, collections)
                result[record.id] = no_raw(record.id, wanted, searched)
            else:
                key = keys[record.id]
                result[record.id] = failed[key] if key in failed else self._fits[key]
        return result

    def _check(self, record: DimensionRecord, wcs: RawWcs, fit: FittedPointing, camera: Camera) -> None:
        """Check that an exposure looked where its record says, if it does."""
        recorded = _recorded(record)
        if recorded is not None:
            field = 2 * float(np.linalg.norm(camera.corners(self._padding).reshape(-1, 2), axis=1).max())
            distance = float(angle_between(sky_directions(fit.ra, fit.dec), recorded))
            check_place(f"{wcs.label}: the camera looked", distance, field, _says(record))


def _recorded(record: DimensionRecord) -> FloatArray | None:
    """Return where an exposure's record says that it looked, a unit vector (3,)."""
    ra, dec = record.tracking_ra, record.tracking_dec
    if ra is None or dec is None or not (math.isfinite(ra) and math.isfinite(dec)):
        return None
    return sky_directions(math.radians(ra), math.radians(dec))


def _says(record: DimensionRecord) -> str:
    place = f"tracking_ra {record.tracking_ra}, tracking_dec {record.tracking_dec}"
    return f"the record of exposure {record.id} says ({place})"


def check_places(record: DimensionRecord, raws: Mapping[int, RawWcs], detectors: int, padding: int) -> None:
    """Check that an exposure's detectors are where its record says; without a pointing, where most of them are.

    ``detectors`` is how many the camera has: its field is about as large as all of them side by side.
    """
    centres = np.array([wcs.centre for wcs in raws.values()])
    expected, reference = _recorded(record), _says(record)
    if expected is None:
        if len(raws) < 3:
            return
        expected, reference = np.median(centres, axis=0), "most detectors of its exposure are"
        expected /= np.linalg.norm(expected)
    distances = angle_between(centres, expected)
    wcs = list(raws.values())[int(np.argmax(distances))]
    area = float(np.prod(np.maximum(wcs.box[1] - wcs.box[0] + 1 + 2 * padding, 1)))
    field = wcs.pixel_scale * math.sqrt(area * max(detectors, len(raws)))
    check_place(f"{wcs.label}: the detector is", float(distances.max()), field, reference)


def no_raw(exposure: int, wanted: str, searched: Sequence[str]) -> DefinitionError:
    """Make the error for an exposure without a raw."""
    return DefinitionError.of_exposure(
        exposure,
        f" has no {wanted} in {', '.join(searched) or 'any collection'} to take its pointing from; name the collection "
        "of its raws with --collections, or leave it out.",
    )


def fit_camera_to_raws(
    raws: Mapping[int, RawWcs], camera: Camera, exposure: int, max_residual: float
) -> FittedPointing:
    """Fit the pointing with which a camera reproduces the WCSs of an exposure's raws.

    Raises `RawFileError` if it lacks a detector, or is somewhere more than ``max_residual`` pixels off.
    """
    index = {detector: i for i, detector in enumerate(camera.detector_ids.tolist())}
    field_angle, directions = [], []
    for detector, wcs in raws.items():
        if detector not in index:
            raise RawFileError(
                f"{wcs.label}: the camera in {camera.source} has no detector {detector}; expected the camera of the "
                "instrument that took the raw."
            )
        own, expected = wcs.box[1] - wcs.box[0] + 1, np.diff(camera.bounding_boxes[index[detector]], axis=0)[0] + 1
        grid = pixels = wcs.grid()
        binning = np.array(wcs.image.binning)
        if _differ(own, expected) and not _differ(own // binning, expected):
            # The camera is in binned pixels, too.
            own, pixels = own // binning, (grid - (binning - 1) / 2) / binning
        # A window that says where it lies begins elsewhere.
        if _differ(own, expected) and not wcs.box[0].any():
            _LOG.warning(
                "%s: the raw shows %d x %d pixels of detector %d, and the camera has %d x %d; if it is a window, its "
                "place is taken to be the lower left corner.",
                wcs.label,
                *own,
                detector,
                *expected,
            )
        focal_plane = camera.pixels_to_focal_plane[index[detector]](pixels)
        field_angle.append(camera.focal_plane_to_field_angle(focal_plane))
        directions.append(wcs.directions(grid))
    first = next(iter(raws.values()))
    pixel_scale = first.pixel_scale
    pointing = fit_pointing(np.concatenate(field_angle), np.concatenate(directions), pixel_scale)
    residual = pointing.residual / pixel_scale
    where = first.label if len(raws) == 1 else f"{len(raws)} raws"
    _LOG.info("Exposure %d: the camera reproduces the WCS of %s to %.2f pixels.", exposure, where, residual)
    if residual > max_residual:
        raise RawFileError(
            f"{where}: the camera in {camera.source} reproduces the WCS only to {residual:.1f} pixels, and "
            f"maxWcsResidual is {max_residual:g}; check the WCS and the camera, or raise maxWcsResidual."
        )
    return pointing


def _differ(own: npt.NDArray[np.int64], expected: npt.NDArray[np.int64]) -> bool:
    """Tell whether sizes in pixels (2,) differ by more than overscans."""
    return bool((np.abs(own / expected - 1) > _SAME_SIZE).any())
