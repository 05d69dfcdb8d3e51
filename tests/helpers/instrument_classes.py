"""Instruments that have a class, and some whose class is the only source of their camera."""

from __future__ import annotations

from typing import Any

from lsst.daf.butler import Butler
from lsst.pipe.base import Instrument

from simulated_survey import CALIB_COLLECTION, CAMERA_RUN, INSTRUMENT, camera
from simulated_survey import insert_exposures as insert_exposures_of
from visit_tables import exposure


class SimCam(Instrument):
    """The survey's instrument."""

    @classmethod
    def getName(cls) -> str:
        return INSTRUMENT

    def register(self, registry: Any, *, update: bool = False) -> None:
        raise AssertionError("not used")

    def getRawFormatter(self, dataId: Any) -> Any:
        raise AssertionError("not used")


def set_class(butler: Butler, class_name: str) -> None:
    with butler.query() as query:
        (record,) = query.dimension_records("instrument").where(instrument=INSTRUMENT)
    fields = record.toDict() | {"class_name": class_name}
    butler.registry.syncDimensionData("instrument", fields, update=True)


def add_instrument(butler: Butler, name: str, class_name: str) -> None:
    """Register another instrument with the survey's camera and an exposure."""
    with butler.query() as query:
        (instrument,) = query.dimension_records("instrument").where(instrument=INSTRUMENT)
        rows = {
            element: [record.toDict() for record in query.dimension_records(element)]
            for element in ("detector", "physical_filter")
        }
    butler.registry.insertDimensionData("instrument", instrument.toDict() | {"name": name, "class_name": class_name})
    for element, some in rows.items():
        butler.registry.insertDimensionData(element, *(row | {"instrument": name} for row in some))
    butler.collections.register(f"{name}/calib/unbounded")
    butler.put(camera(rafts=1), "camera_geometry", instrument=name, run=f"{name}/calib/unbounded")
    insert_exposures_of(butler, [{"instrument": name, **exposure(1)}])


def remove_camera(butler: Butler) -> None:
    """Leave the instrument's class the only source of a camera."""
    refs = butler.query_datasets("camera_geometry", CALIB_COLLECTION)
    butler.pruneDatasets(refs, purge=True, unstore=True, disassociate=True)
    assert not butler.query_datasets("camera_geometry", CAMERA_RUN, explain=False)
