"""What butler-visits is compared with.

*classic* does what the original asks of the repository, with the public API: one visit at a time, each with its
own camera lookup (but no file read), and its own transaction of one ``syncDimensionData`` and, where it is new,
three ``insertDimensionData``. Geometry costs it nothing: the records are made beforehand.

*floor* is what no program can go below that writes through the public API: the same records, made beforehand, inserted
with one ``insertDimensionData`` for each element, all in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from lsst.daf.butler import Butler, DimensionRecord
from lsst.sphgeom import ConvexPolygon, UnitVector3d

from butler_visits import VisitDefinitionData, VisitSystem
from butler_visits.camera.yaml_camera import camera_from_mapping
from butler_visits.define.records import visit_fields
from butler_visits.geometry import field_angle_to_sky
from simulated_survey import INSTRUMENT

PADDING = 250

ELEMENTS = ("visit_system", "visit", "visit_definition", "visit_system_membership", "visit_detector_region")
"""What a first run inserts, in this order."""

Records = Mapping[str, Sequence[DimensionRecord]]


class ClassicTask:
    """Defines one-to-one visits one by one, from records that were made beforehand.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    records : `~collections.abc.Mapping`
        The records of each exposure's visit, by exposure.
    """

    def __init__(self, butler: Butler, records: Mapping[int, Records]) -> None:
        self.butler = butler
        self._records = records

    def run(self, exposures: Iterable[DimensionRecord]) -> int:
        """Define the visits of exposures, and return how many are new."""
        self.butler.registry.syncDimensionData(
            "visit_system", {"instrument": INSTRUMENT, "id": 0, "name": "one-to-one"}
        )
        return sum(self._define(exposure) for exposure in exposures)

    def _define(self, exposure: DimensionRecord) -> bool:
        butler = self.butler
        ref = butler.find_dataset(
            "camera_geometry",
            instrument=INSTRUMENT,
            collections=[f"{INSTRUMENT}/calib"],
            timespan=exposure.timespan,
        )
        assert ref is not None
        records = self._records[exposure.id]
        with butler.registry.transaction():
            inserted = butler.registry.syncDimensionData("visit", records["visit"][0])
            if inserted:
                for element in ("visit_definition", "visit_system_membership", "visit_detector_region"):
                    butler.registry.insertDimensionData(element, *records[element])
        return bool(inserted)


def visit_records(butler: Butler, exposures: Iterable[DimensionRecord]) -> dict[int, Records]:
    """Make all records of each exposure's visit, detector by detector."""
    (ref,) = butler.query_datasets("camera_geometry", f"{INSTRUMENT}/calib", find_first=False)
    camera = camera_from_mapping(butler.get(ref), str(ref.id))
    corners = camera.corners(PADDING)
    universe = butler.dimensions
    region_class = universe["visit_detector_region"].RecordClass
    made: dict[int, Records] = {}
    for exposure in exposures:
        pointing = np.deg2rad([exposure.tracking_ra, exposure.tracking_dec, exposure.sky_angle])
        directions = field_angle_to_sky(corners.reshape(-1, 2), *pointing).reshape(-1, 4, 3)
        vectors = [[UnitVector3d(*direction) for direction in own] for own in directions.tolist()]
        hull = ConvexPolygon([vector for own in vectors for vector in own])
        visit = VisitDefinitionData(INSTRUMENT, exposure.id, exposure.obs_id, {VisitSystem.ONE_TO_ONE}, [exposure])
        keys = {"instrument": INSTRUMENT, "visit": exposure.id}
        made[exposure.id] = {
            "visit": [universe["visit"].RecordClass(region=hull, **visit_fields(visit, universe))],
            "visit_definition": [universe["visit_definition"].RecordClass(exposure=exposure.id, **keys)],
            "visit_system_membership": [universe["visit_system_membership"].RecordClass(visit_system=0, **keys)],
            "visit_detector_region": [
                region_class(detector=detector, region=ConvexPolygon(own), **keys)
                for detector, own in zip(camera.detector_ids.tolist(), vectors, strict=True)
            ],
        }
    return made


def floor_records(butler: Butler, made: Iterable[Records]) -> Records:
    """Put the records of visits together, and that of their system."""
    system = butler.dimensions["visit_system"].RecordClass(instrument=INSTRUMENT, id=0, name="one-to-one")
    records: dict[str, list[DimensionRecord]] = {"visit_system": [system]}
    for one in made:
        for element, rows in one.items():
            records.setdefault(element, []).extend(rows)
    return records


def insert_floor(butler: Butler, records: Records) -> None:
    """Insert records that were made beforehand: one call for each element, one transaction."""
    with butler.registry.transaction():
        for element in ELEMENTS:
            if element in records:
                butler.registry.insertDimensionData(butler.dimensions[element], *records[element], conform=False)
