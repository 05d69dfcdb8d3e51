"""What butler-visits is compared with.

*classic* is the way the original works, with the Butler's public API: one visit at a time, each with its own camera
lookup, its corners computed detector by detector, and its own transaction of one ``syncDimensionData`` and three
``insertDimensionData``. It is faster than the original in one way: it reads the camera's file once, not for each visit.

*floor* is what no program can go below that writes through the public API: the same records, made beforehand, inserted
with one ``insertDimensionData`` for each element, all in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from lsst.daf.butler import Butler, DatasetId, DimensionRecord
from lsst.sphgeom import ConvexPolygon, UnitVector3d

from butler_visits import Camera, VisitDefinitionData, VisitSystem
from butler_visits.camera.yaml_camera import camera_from_mapping
from butler_visits.define.records import visit_record
from butler_visits.geometry import field_angle_to_sky
from simulated_survey import INSTRUMENT

PADDING = 250

ELEMENTS = ("visit_system", "visit", "visit_definition", "visit_system_membership", "visit_detector_region")
"""What a first run inserts, in this order."""

Records = Mapping[str, Sequence[DimensionRecord]]


class ClassicTask:
    """Defines one-to-one visits one by one.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    instrument : `str`
        Name of the instrument.
    """

    def __init__(self, butler: Butler, instrument: str) -> None:
        self.butler = butler
        self.instrument = instrument
        self._cameras: dict[DatasetId, Camera] = {}

    def run(self, exposures: Iterable[DimensionRecord]) -> int:
        """Define the visits of exposures, and return how many are new."""
        self.butler.registry.syncDimensionData(
            "visit_system", {"instrument": self.instrument, "id": 0, "name": "one-to-one"}
        )
        return sum(self._define(exposure) for exposure in exposures)

    def _define(self, exposure: DimensionRecord) -> bool:
        butler = self.butler
        records = self.records(exposure)
        with butler.registry.transaction():
            inserted = butler.registry.syncDimensionData("visit", records["visit"][0])
            if inserted:
                for element in ("visit_definition", "visit_system_membership", "visit_detector_region"):
                    butler.registry.insertDimensionData(element, *records[element])
        return bool(inserted)

    def records(self, exposure: DimensionRecord) -> Records:
        """Make all records of an exposure's visit."""
        camera = self._camera(exposure)
        pointing = np.deg2rad([exposure.tracking_ra, exposure.tracking_dec, exposure.sky_angle])
        corners: dict[int, list[UnitVector3d]] = {}
        for index, detector in enumerate(camera.detector_ids.tolist()):
            (x0, y0), (x1, y1) = camera.bounding_boxes[index] + [[-PADDING - 0.5], [PADDING + 0.5]]
            pixels = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
            field_angle = camera.focal_plane_to_field_angle(camera.pixels_to_focal_plane[index](pixels))
            directions = field_angle_to_sky(field_angle, *pointing)
            corners[detector] = [UnitVector3d(*direction) for direction in directions.tolist()]
        hull = ConvexPolygon([vector for vectors in corners.values() for vector in vectors])
        universe = self.butler.dimensions
        visit = VisitDefinitionData(self.instrument, exposure.id, exposure.obs_id, {VisitSystem.ONE_TO_ONE}, [exposure])
        keys = {"instrument": self.instrument, "visit": exposure.id}
        region_class = universe["visit_detector_region"].RecordClass
        return {
            "visit": [visit_record(visit, hull, universe)],
            "visit_definition": [universe["visit_definition"].RecordClass(exposure=exposure.id, **keys)],
            "visit_system_membership": [universe["visit_system_membership"].RecordClass(visit_system=0, **keys)],
            "visit_detector_region": [
                region_class(detector=detector, region=ConvexPolygon(vectors), **keys)
                for detector, vectors in corners.items()
            ],
        }

    def _camera(self, exposure: DimensionRecord) -> Camera:
        ref = self.butler.find_dataset(
            "camera_geometry",
            instrument=self.instrument,
            collections=[f"{self.instrument}/calib"],
            timespan=exposure.timespan,
        )
        assert ref is not None
        if ref.id not in self._cameras:
            self._cameras[ref.id] = camera_from_mapping(self.butler.get(ref), str(ref.id))
        return self._cameras[ref.id]


def floor_records(butler: Butler, exposures: Iterable[DimensionRecord]) -> Records:
    """Make all records that a first run inserts."""
    classic = ClassicTask(butler, INSTRUMENT)
    system = butler.dimensions["visit_system"].RecordClass(instrument=INSTRUMENT, id=0, name="one-to-one")
    records: dict[str, list[DimensionRecord]] = {"visit_system": [system]}
    for exposure in exposures:
        for element, made in classic.records(exposure).items():
            records.setdefault(element, []).extend(made)
    return records


def insert_floor(butler: Butler, records: Records) -> None:
    """Insert records that were made beforehand: one call for each element, one transaction."""
    with butler.registry.transaction():
        for element in ELEMENTS:
            if element in records:
                butler.registry.insertDimensionData(butler.dimensions[element], *records[element], conform=False)
