"""Regions from one pointing for each exposure and the camera's geometry."""

from __future__ import annotations

__all__ = ["ComputeVisitRegionsFromSingleRawWcsConfig", "ComputeVisitRegionsFromSingleRawWcsTask"]

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

from lsst.daf.butler import Butler, DimensionRecord
from lsst.pex.config import ChoiceField, Config, Field, registerConfigurable
from lsst.pipe.base import Instrument
from lsst.sphgeom import ConvexPolygon, Region, UnitVector3d

from ..camera import Camera, CameraFinder
from ..definition import VisitDefinitionData
from ..errors import CameraFileError
from ..instruments import raws_flipped
from ..pointing import Pointings, record_pointings
from ..registry import fetch_instrument
from .base import ComputeVisitRegionsConfig, ComputeVisitRegionsTask, VisitRegions
from .footprint import Footprint


class ComputeVisitRegionsFromSingleRawWcsConfig(ComputeVisitRegionsConfig):
    """Config of `ComputeVisitRegionsFromSingleRawWcsTask`."""

    mergeExposures = Field[bool](
        doc="Whether a region covers the detectors of all exposures of a visit, or of its first exposure only.",
        default=False,
    )
    detectorId = Field[int](
        doc="Detector whose raw gives the pointing, where that is taken from a raw.",
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
        allowed={"auto": "The exposure record.", "record": "The exposure record."},
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
        self._instruments: dict[str, Instrument] = {}
        # A camera is found once and then lives as long as this task.
        self._footprints: dict[Camera, Footprint] = {}

    def compute(
        self, visit: VisitDefinitionData, *, collections: Sequence[str] | None = None
    ) -> tuple[Region, dict[int, Region]]:
        # Docstring inherited.
        (regions,) = self._compute_all([visit], collections)
        return regions.region, regions.detectors()

    def compute_all(
        self, visits: Sequence[VisitDefinitionData], *, collections: Sequence[str] | None = None
    ) -> list[VisitRegions]:
        # Docstring inherited.
        if type(self).compute is not ComputeVisitRegionsFromSingleRawWcsTask.compute:
            # A subclass has its own way for one visit, and none for many.
            return super().compute_all(visits, collections=collections)
        return self._compute_all(visits, collections) if visits else []

    def _compute_all(
        self, visits: Sequence[VisitDefinitionData], collections: Sequence[str] | None
    ) -> list[VisitRegions]:
        name = visits[0].instrument
        if name not in self._instruments:
            self._instruments[name] = fetch_instrument(self.butler, name)
        instrument = self._instruments[name]
        used = [
            visit.exposures if self.config.mergeExposures else [min(visit.exposures, key=lambda e: e.id)]
            for visit in visits
        ]
        unique = {exposure.id: exposure for exposures in used for exposure in exposures}
        cameras = self._cameras.find(list(unique.values()), instrument, collections)
        footprints = {
            exposure: self._footprint(camera, instrument) for exposure, camera in zip(unique, cameras, strict=True)
        }
        result: dict[int, VisitRegions] = {}
        singles: dict[Footprint, list[int]] = defaultdict(list)
        for index, exposures in enumerate(used):
            if len(exposures) == 1:
                singles[footprints[exposures[0].id]].append(index)
            else:
                result[index] = _merged([(footprints[exposure.id], exposure) for exposure in exposures])
        for footprint, indices in singles.items():
            pointings = record_pointings([used[index][0] for index in indices])
            outlines = footprint.visit_polygons(pointings)
            for i, index in enumerate(indices):
                pointing = Pointings(*(values[i : i + 1] for values in pointings))
                result[index] = VisitRegions(
                    ConvexPolygon.decode(outlines[i]),
                    footprint.detector_ids,
                    partial(_detector_regions, footprint, pointing),
                )
        return [result[index] for index in range(len(visits))]

    def _footprint(self, camera: Camera, instrument: Instrument) -> Footprint:
        if camera not in self._footprints:
            expected = raws_flipped(instrument)
            if camera.flipped and not expected:
                raise CameraFileError(
                    f"The camera in {camera.source} is mirrored, which the raws of {instrument.getName()} are not; "
                    "use a camera file of the right parity."
                )
            self._footprints[camera] = Footprint(camera, self.config.padding, flip=expected and not camera.flipped)
        return self._footprints[camera]


def _detector_regions(footprint: Footprint, pointing: Pointings) -> dict[int, Region]:
    (polygons,) = footprint.detector_polygons(pointing)
    return {detector: ConvexPolygon.decode(encoded) for detector, encoded in polygons.items()}


def _merged(parts: Sequence[tuple[Footprint, DimensionRecord]]) -> VisitRegions:
    """Hull the corners of several exposures, which need not share a pointing or a camera."""
    corners: dict[int, list[UnitVector3d]] = defaultdict(list)
    for footprint, exposure in parts:
        (directions,) = footprint.corner_directions(record_pointings([exposure]))
        for detector, points in zip(footprint.detector_ids, directions.tolist(), strict=True):
            corners[detector].extend(UnitVector3d(*point) for point in points)
    return VisitRegions(
        ConvexPolygon([point for points in corners.values() for point in points]),
        corners.keys(),
        lambda: {detector: ConvexPolygon(points) for detector, points in corners.items()},
    )
