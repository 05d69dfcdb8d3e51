"""Regions from one pointing for each exposure and the camera's geometry."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
from lsst.daf.butler import Butler, DimensionRecord
from lsst.pex.config import ChoiceField, Config, Field, RangeField, registerConfigurable
from lsst.pipe.base import Instrument
from lsst.sphgeom import ConvexPolygon, Region, UnitVector3d

from ...camera import Camera
from ...camera.parity import expected_flip
from ...errors import DefinitionError, NoWcsError, VisitsError, WcsError
from ...geometry import directions, largest_distance
from ...instruments import raws_flipped
from ...lists import isolate, listed
from ...repository.cameras import CameraFinder
from ..pointings import Pointings, has_pointing, is_on_sky, record_pointings
from ..visits import VisitDefinitionData, VisitRegions
from .base import ComputeVisitRegionsConfig, ComputeVisitRegionsTask
from .exact import ExactFootprint
from .footprint import Footprint
from .raw_pointings import RawPointings

_LOG = logging.getLogger(__name__)


class _Placed(NamedTuple):
    """Where a camera was in one exposure."""

    footprint: Footprint
    angles: tuple[float, float, float]
    """The pointing: ra, dec and rotation, radians."""

    exact: ExactFootprint | None
    """The footprint to the bit, if it has one and the pointing is the record's."""

    @property
    def exact_region(self) -> Callable[[], Region] | None:
        """What makes the visit's region to the bit."""
        return None if self.exact is None else partial(self.exact.visit_polygon, *self.angles)

    @property
    def pointing(self) -> Pointings:
        """The same as arrays of one."""
        return Pointings(*np.array([self.angles]).T)


class ComputeVisitRegionsFromSingleRawWcsConfig(ComputeVisitRegionsConfig):
    """Config of `ComputeVisitRegionsFromSingleRawWcsTask`."""

    mergeExposures = Field[bool](
        doc="Whether a region covers the detectors of all exposures of a visit, or of its first exposure only.",
        default=False,
    )
    detectorId = Field[int](
        doc="Detector whose raw gives the pointing, where a raw does; by default the lowest that has one.",
        default=None,
        optional=True,
    )
    requireVersionedCamera = Field[bool](
        doc="Whether the camera must be a dataset of the repository, and not the instrument class's own.",
        default=False,
    )
    wcsSource = ChoiceField[str](
        doc="Where an exposure's pointing is from.",
        default="auto",
        allowed={
            "auto": "The exposure record, and a raw where the record has no pointing.",
            "prefer-raw": "The WCS of one raw where the exposure has one, and else the exposure record.",
            "record": "The exposure record.",
            "raw": "The WCS of one raw of the exposure, to which the camera is fitted.",
        },
    )
    maxWcsResidual = RangeField(
        dtype=float,
        doc="Distance (pixels) between a raw's WCS and the camera that is fitted to it, above which it is an error.",
        default=5.0,
        min=0.0,
        inclusiveMin=False,
    )


@registerConfigurable("single-raw-wcs", ComputeVisitRegionsTask.registry)
class ComputeVisitRegionsFromSingleRawWcsTask(ComputeVisitRegionsTask):
    """Computes regions from one pointing for each exposure and the camera's geometry.

    Parameters
    ----------
    config : `ComputeVisitRegionsFromSingleRawWcsConfig`, optional
        The config.
    butler : `lsst.daf.butler.Butler`
        The repository.
    **kwargs
        Passed to `lsst.pipe.base.Task`.
    """

    ConfigClass: ClassVar[type[Config]] = ComputeVisitRegionsFromSingleRawWcsConfig
    config: ComputeVisitRegionsFromSingleRawWcsConfig

    def __init__(self, config: Config | None = None, *, butler: Butler, **kwargs: Any) -> None:
        super().__init__(config=config, butler=butler, **kwargs)
        self._cameras = CameraFinder(butler, versioned_only=self.config.requireVersionedCamera)
        # A camera is found once and then lives as long as this task.
        self._footprints: dict[tuple[Camera, bool], Footprint] = {}
        self._raw_pointings = RawPointings(
            butler, self.config.detectorId, self.config.maxWcsResidual, self.config.padding
        )

    def compute(
        self, visit: VisitDefinitionData, *, collections: Sequence[str] | None = None
    ) -> tuple[Region, dict[int, Region]]:
        (regions,) = self._compute_all([visit], collections)
        regions.make_exact()
        return regions.region, regions.detectors()

    def compute_all(
        self, visits: Sequence[VisitDefinitionData], *, collections: Sequence[str] | None = None
    ) -> list[VisitRegions]:
        if type(self).compute is not ComputeVisitRegionsFromSingleRawWcsTask.compute:
            # A subclass has its own way for one visit, and none for many.
            return super().compute_all(visits, collections=collections)
        return self._compute_all(visits, collections) if visits else []

    def find_pointed(
        self, exposures: Sequence[DimensionRecord], *, collections: Sequence[str] | None = None
    ) -> set[int]:
        if self.config.wcsSource == "record" or not exposures:
            return set()
        instrument = self.getInstrument(exposures[0].instrument)
        raws = self._raw_pointings.find(exposures, instrument, collections)
        if self.config.wcsSource == "raw":
            return set(raws)
        with_raw = [exposure for exposure in exposures if exposure.id in raws]
        if not with_raw:
            return set()
        cameras, failed = isolate(lambda some: self._cameras.find(some, instrument, collections), with_raw)
        for record, error in failed:
            _LOG.warning("Exposure %d has no pointing in its record, and its raw needs a camera: %s", record.id, error)
        without_camera = {record.id for record, _ in failed}
        with_camera = [exposure for exposure in with_raw if exposure.id not in without_camera]
        fits = self._raw_pointings.fit(with_camera, cameras, instrument, collections)
        for exposure, fit in fits.items():
            if isinstance(fit, VisitsError):
                _LOG.warning("Exposure %d has no pointing in its record. %s", exposure, fit)
        return {exposure for exposure, fit in fits.items() if not isinstance(fit, VisitsError)}

    def _compute_all(
        self, visits: Sequence[VisitDefinitionData], collections: Sequence[str] | None
    ) -> list[VisitRegions]:
        used = [
            visit.exposures if self.config.mergeExposures else [min(visit.exposures, key=lambda e: e.id)]
            for visit in visits
        ]
        unique = {exposure.id: exposure for exposures in used for exposure in exposures}
        placed = self._place(list(unique.values()), self.getInstrument(visits[0].instrument), collections)
        result: dict[int, VisitRegions] = {}
        singles: dict[Footprint, list[int]] = defaultdict(list)
        for index, exposures in enumerate(used):
            if len(exposures) == 1:
                singles[placed[exposures[0].id].footprint].append(index)
            else:
                result[index] = _merged(visits[index], [placed[exposure.id] for exposure in exposures])
        for footprint, indices in singles.items():
            own = [placed[used[index][0].id] for index in indices]
            outlines = footprint.visit_polygons(Pointings(*np.array([place.angles for place in own]).T))
            for i, index in enumerate(indices):
                result[index] = VisitRegions(
                    ConvexPolygon.decode(outlines[i]),
                    footprint.detector_ids,
                    partial(_detector_regions, own[i]),
                    own[i].exact_region,
                )
        for index, visit in enumerate(visits):
            if len(visit.exposures) > 1:
                known = record_pointings([exposure for exposure in visit.exposures if has_pointing(exposure)])
                spread = largest_distance(directions(known.ra, known.dec))
                result[index].apart = spread > placed[used[index][0].id].footprint.diameter
        return [result[index] for index in range(len(visits))]

    def _place(
        self, exposures: Sequence[DimensionRecord], instrument: Instrument, collections: Sequence[str] | None
    ) -> dict[int, _Placed]:
        """Find the footprint and the pointing of each exposure."""
        cameras = dict(
            zip([e.id for e in exposures], self._cameras.find(exposures, instrument, collections), strict=True)
        )
        from_raw = self._from_raw(exposures, instrument, collections)
        placed: dict[int, _Placed] = {}
        if from_raw:
            own_cameras = [cameras[exposure.id] for exposure in from_raw]
            recorded = {e.id for e in from_raw if self.config.wcsSource == "prefer-raw" and is_on_sky(e)}
            for exposure, fit in self._raw_pointings.fit(from_raw, own_cameras, instrument, collections).items():
                if isinstance(fit, WcsError) and exposure in recorded:
                    level = logging.INFO if isinstance(fit, NoWcsError) else logging.WARNING
                    _LOG.log(level, "%s The pointing of its record is taken.", fit)
                    continue
                if isinstance(fit, VisitsError):
                    raise fit
                placed[exposure] = _Placed(
                    self._footprint(cameras[exposure], fit.flip), (fit.ra, fit.dec, fit.rotation), None
                )
        others = [exposure for exposure in exposures if exposure.id not in placed]
        flipped, name = raws_flipped(instrument), instrument.getName()
        footprints = {
            camera: self._footprint(camera, expected_flip(camera, flipped, name))
            for camera in dict.fromkeys(cameras[record.id] for record in others)
        }
        angles = zip(*(values.tolist() for values in record_pointings(others)), strict=True)
        for record, own in zip(others, angles, strict=True):
            footprint = footprints[cameras[record.id]]
            placed[record.id] = _Placed(footprint, own, footprint.exact)
        return placed

    def _from_raw(
        self, exposures: Sequence[DimensionRecord], instrument: Instrument, collections: Sequence[str] | None
    ) -> list[DimensionRecord]:
        """List the exposures whose pointing is to be taken from a raw."""
        source = self.config.wcsSource
        if source == "raw":
            return list(exposures)
        with_raw = self._raw_pointings.find(exposures, instrument, collections) if source == "prefer-raw" else {}
        return [e for e in exposures if e.id in with_raw or (source != "record" and not has_pointing(e))]

    def _footprint(self, camera: Camera, flip: bool) -> Footprint:
        if (camera, flip) not in self._footprints:
            self._footprints[camera, flip] = Footprint(camera, self.config.padding, flip=flip)
        return self._footprints[camera, flip]


def _detector_regions(place: _Placed) -> dict[int, Region]:
    if place.exact is not None:
        polygons = place.exact.polygons(*place.angles)[1]
    else:
        (polygons,) = place.footprint.detector_polygons(place.pointing)
    return {detector: ConvexPolygon.decode(encoded) for detector, encoded in polygons.items()}


def _merged(visit: VisitDefinitionData, parts: Sequence[_Placed]) -> VisitRegions:
    """Hull the corners of a visit's exposures, which need not share a pointing or a camera."""
    corners: dict[int, list[UnitVector3d]] = defaultdict(list)
    for place in parts:
        (corner_directions,) = place.footprint.corner_directions(place.pointing)
        for detector, points in zip(place.footprint.detector_ids, corner_directions.tolist(), strict=True):
            corners[detector].extend(UnitVector3d(*point) for point in points)
    try:
        region = ConvexPolygon([point for points in corners.values() for point in points])
    except ValueError as error:
        raise DefinitionError(
            f"Visit {visit.id} ({visit.name}) has no region with mergeExposures: its exposures "
            f"{listed(exposure.id for exposure in visit.exposures)} look in directions that no hemisphere holds. "
            "Correct their pointings or their group, or leave mergeExposures out."
        ) from error
    exact = [(place.exact, place.angles) for place in parts if place.exact is not None]
    if len(exact) < len(parts):
        return VisitRegions(
            region,
            corners.keys(),
            lambda: {detector: ConvexPolygon(points) for detector, points in corners.items()},
        )
    return VisitRegions(
        region,
        corners.keys(),
        lambda: {
            detector: ConvexPolygon.decode(encoded) for detector, encoded in ExactFootprint.merged(exact)[1].items()
        },
        lambda: ExactFootprint.merged(exact)[0],
    )


_ComputeVisitRegionsFromSingleRawWcsTask = ComputeVisitRegionsFromSingleRawWcsTask
"""The original's name."""
