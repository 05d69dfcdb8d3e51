"""Regions from the WCS of every raw."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from lsst.daf.butler import Butler, DimensionRecord
from lsst.pex.config import ChoiceField, Config, Field, RangeField, registerConfigurable
from lsst.pipe.base import Instrument
from lsst.sphgeom import ConvexPolygon, Region

from ...camera import Camera
from ...errors import RawFileError, VisitsError
from ...geometry import ARCSEC, FloatArray, encode_polygons, field_angle_to_sky, sky_hull
from ...lists import batches
from ...raws import RawWcs
from ...repository.cameras import CameraFinder
from ...repository.raws import RawReader
from ..visits import VisitDefinitionData, VisitRegions
from .base import ComputeVisitRegionsConfig, ComputeVisitRegionsTask
from .raw_pointings import Failures, check_places, fit_camera_to_raws, no_raw

_TOLERANCE = 1e-3 * ARCSEC
"""A polygon reaches this far (radians) beyond a detector's curved edges at most, to need few vertices."""

_STEPS = 16
"""Parts into which a detector's edge is divided; an even number, so that its midpoint is among them."""

_RAWS = 1_000
"""WCSs that are held at once."""

_KEPT = 2_000
"""Exposures whose outlines are kept, so that a chunk that is tried again in parts is not read again."""


class ComputeVisitRegionsFromAllRawWcsConfig(ComputeVisitRegionsConfig):
    """Config of `ComputeVisitRegionsFromAllRawWcsTask`."""

    mergeExposures = Field[bool](
        doc="Whether a region covers the detectors of all exposures of a visit, or of its first exposure only.",
        default=False,
    )
    missingDetectors = ChoiceField[str](
        doc="What detectors without a raw get.",
        default="omit",
        allowed={
            "omit": "No region.",
            "camera": "The region of the camera's geometry, fitted to the exposure's raws.",
        },
    )
    requireVersionedCamera = Field[bool](
        doc="Whether the camera must be a dataset of the repository, and not the instrument class's own.",
        default=False,
    )
    maxWcsResidual = RangeField(
        dtype=float,
        doc="Distance (pixels) between the raws' WCSs and the camera that is fitted to them, above which it is an "
        "error.",
        default=5.0,
        min=0.0,
        inclusiveMin=False,
    )


@registerConfigurable("all-raw-wcs", ComputeVisitRegionsTask.registry)
class ComputeVisitRegionsFromAllRawWcsTask(ComputeVisitRegionsTask):
    """Computes regions from the WCS of every raw, for instruments without camera geometry or with a changing one.

    Parameters
    ----------
    config : `ComputeVisitRegionsFromAllRawWcsConfig`, optional
        The config.
    butler : `lsst.daf.butler.Butler`
        The repository.
    **kwargs
        Passed to `lsst.pipe.base.Task`.
    """

    ConfigClass: ClassVar[type[Config]] = ComputeVisitRegionsFromAllRawWcsConfig
    config: ComputeVisitRegionsFromAllRawWcsConfig

    def __init__(self, config: Config | None = None, *, butler: Butler, **kwargs: Any) -> None:
        super().__init__(config=config, butler=butler, **kwargs)
        self._cameras = CameraFinder(butler, versioned_only=self.config.requireVersionedCamera)
        self._raws = RawReader(butler)
        # Vertices of detectors' outlines, by exposure, camera and the raws that they are from.
        self._outlines: dict[tuple[int, Camera | None, frozenset[Any]], dict[int, FloatArray]] = {}
        self._failed = Failures()

    def find_pointed(
        self, exposures: Sequence[DimensionRecord], *, collections: Sequence[str] | None = None
    ) -> set[int]:
        if not exposures:
            return set()
        instrument = self.getInstrument(exposures[0].instrument)
        return set(self._raws.find_one(exposures, self._raws.collections(instrument, collections), None))

    def compute(
        self, visit: VisitDefinitionData, *, collections: Sequence[str] | None = None
    ) -> tuple[Region, dict[int, Region]]:
        (regions,) = self.compute_all([visit], collections=collections)
        return regions.region, regions.detectors()

    def compute_all(
        self, visits: Sequence[VisitDefinitionData], *, collections: Sequence[str] | None = None
    ) -> list[VisitRegions]:
        if not visits:
            return []
        used = [
            visit.exposures if self.config.mergeExposures else [min(visit.exposures, key=lambda e: e.id)]
            for visit in visits
        ]
        unique = {exposure.id: exposure for exposures in used for exposure in exposures}
        instrument = self.getInstrument(visits[0].instrument)
        outlines = self._find_outlines(list(unique.values()), instrument, collections)
        return [_regions([outlines[exposure.id] for exposure in exposures]) for exposures in used]

    def _find_outlines(
        self, exposures: Sequence[DimensionRecord], instrument: Instrument, collections: Sequence[str] | None
    ) -> dict[int, dict[int, FloatArray]]:
        """Find the outlines of the detectors of each exposure."""
        searched = self._raws.collections(instrument, collections)
        raws = self._raws.find(exposures, searched)
        for exposure in exposures:
            if exposure.id not in raws:
                raise no_raw(exposure.id, "raw", searched)
        cameras: dict[int, Camera | None] = dict.fromkeys(raws)
        if self.config.missingDetectors == "camera":
            found = self._cameras.find(exposures, instrument, collections)
            cameras.update(zip([exposure.id for exposure in exposures], found, strict=True))
        keys = {
            exposure: (exposure, cameras[exposure], frozenset(ref.id for ref in refs.values()))
            for exposure, refs in raws.items()
        }
        if len(self._outlines) > _KEPT:
            self._outlines.clear()
        failed = self._failed.among(keys.values())
        unread = {
            exposure: refs
            for exposure, refs in raws.items()
            if keys[exposure] not in self._outlines and keys[exposure] not in failed
        }
        # The WCSs of some exposures are held at once; of all only the outlines.
        records = {exposure.id: exposure for exposure in exposures}
        detectors = len(self._raws.detector_names(instrument.getName()))
        most = max((len(refs) for refs in unread.values()), default=1)
        for batch in batches(unread, max(_RAWS // most, 1)):
            wcss: dict[int, dict[int, RawWcs]] = defaultdict(dict)
            errors: dict[int, VisitsError] = {}
            for ref, wcs in self._raws.read([ref for exposure in batch for ref in unread[exposure].values()]):
                exposure_id, detector = int(ref.dataId["exposure"]), int(ref.dataId["detector"])
                if isinstance(wcs, RawFileError):
                    problem = f"Exposure {exposure_id}, detector {detector}: {wcs}"
                    errors.setdefault(exposure_id, RawFileError(problem))
                else:
                    wcss[exposure_id][detector] = wcs
            for exposure_id in batch:
                key = keys[exposure_id]
                try:
                    if exposure_id not in errors:
                        check_places(records[exposure_id], wcss[exposure_id], detectors, self.config.padding)
                        self._outlines[key] = self._outline(exposure_id, wcss[exposure_id], key[1])
                        continue
                except VisitsError as error:
                    errors[exposure_id] = RawFileError(f"Exposure {exposure_id}: {error}")
                failed[key] = errors[exposure_id]
                self._failed.add(key, failed[key])
        if failed:
            raise next(failed[key] for key in keys.values() if key in failed)
        return {exposure: self._outlines[key] for exposure, key in keys.items()}

    def _outline(self, exposure: int, wcss: Mapping[int, RawWcs], camera: Camera | None) -> dict[int, FloatArray]:
        """Find the outlines of the detectors of an exposure."""
        outlines = {}
        padding = self.config.padding
        for detector, wcs in sorted(wcss.items()):
            if (wcs.box[1] - wcs.box[0] + 1 + 2 * padding <= 0).any():
                raise RawFileError(f"{wcs.label}: detector {detector} has no pixels with a padding of {padding}.")
            try:
                outlines[detector] = sky_hull(wcs.directions(_border(wcs.box, padding)), _TOLERANCE)
            except ValueError as error:
                raise RawFileError(
                    f"{wcs.label}: the WCS puts detector {detector}, with a padding of {padding} pixels, "
                    f"where it has no area or no place on the sky ({error})."
                ) from error
        if camera is None or set(camera.detector_ids.tolist()) <= outlines.keys():
            return outlines
        fit = fit_camera_to_raws(wcss, camera, exposure, self.config.maxWcsResidual)
        corners = camera.corners(padding)
        sky = field_angle_to_sky(corners.reshape(-1, 2), fit.ra, fit.dec, fit.rotation, flip=fit.flip)
        for detector, directions in zip(camera.detector_ids.tolist(), sky.reshape(-1, 4, 3), strict=True):
            if detector not in outlines:
                outlines[detector] = sky_hull(directions, 0.0)
        return outlines


def _border(box: npt.NDArray[np.int64], padding: int) -> FloatArray:
    """Return pixels all along the border of a detector, its corners and edges' midpoints among them."""
    low, high = box[0] - padding - 0.5, box[1] + padding + 0.5
    x, y = (np.linspace(low[axis], high[axis], _STEPS + 1) for axis in (0, 1))
    return np.concatenate(
        [
            np.column_stack([x, np.full_like(x, low[1])]),
            np.column_stack([x, np.full_like(x, high[1])]),
            np.column_stack([np.full_like(y, low[0]), y]),
            np.column_stack([np.full_like(y, high[0]), y]),
        ]
    )


def _regions(outlines: Sequence[Mapping[int, FloatArray]]) -> VisitRegions:
    """Hull the outlines of a visit's exposures."""
    points: dict[int, list[FloatArray]] = defaultdict(list)
    for own in outlines:
        for detector, vertices in own.items():
            points[detector].append(vertices)
    everything = np.concatenate([vertices for parts in points.values() for vertices in parts])
    return VisitRegions(
        _polygon(sky_hull(everything, 0.0)),
        points.keys(),
        lambda: {
            detector: _polygon(parts[0] if len(parts) == 1 else sky_hull(np.concatenate(parts), 0.0))
            for detector, parts in points.items()
        },
    )


def _polygon(vertices: FloatArray) -> Region:
    (encoded,) = encode_polygons(vertices[None])
    return ConvexPolygon.decode(encoded)
