"""Regions and pointings of an astrometric fit, stored for visits, and what becomes of these."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pydantic
from lsst.daf.butler import Butler, DataCoordinate, DatasetRef, DatasetType, FileDataset
from lsst.daf.butler.formatters.json import JsonFormatter
from lsst.daf.butler.pydantic_utils import SerializableRegion
from lsst.sphgeom import Angle, ConvexPolygon, UnitVector3d

from command_line import visits_command
from simulated_survey import INSTRUMENT
from visit_tables import root
from visit_tables import stored as records
from visit_tables import tables as visit_tables

GROUP = "by-group-metadata"
COUNTER = "one-to-one-and-by-counter"
REGION = pydantic.TypeAdapter(SerializableRegion)
DATASETS = "visit_geometry"
RUN = "fit"
Fits = dict[int, dict[str, Any]]


def tables(butler: Butler) -> dict[str, Any]:
    """Read all that visits and exposures are made of."""
    exposures = sorted((record.toDict() for record in records(butler, "exposure")), key=lambda row: int(row["id"]))
    return {**visit_tables(butler), "exposure": exposures}


def moved(region: ConvexPolygon, *, arcsec: float = 3.0) -> ConvexPolygon:
    """Turn a polygon about an axis far from everything, which moves it by some arcseconds."""
    axis = UnitVector3d(0.6, 0.0, 0.8)
    angle = Angle.fromDegrees(arcsec / 3600)
    return ConvexPolygon([vertex.rotatedAround(axis, angle) for vertex in region.getVertices()])


def fits_of(butler: Butler, visits: Iterable[int] | None = None) -> Fits:
    """Make a fit of visits: their regions moved, and pointings that no other visit has."""
    fits: Fits = {}
    for record in records(butler, "visit"):
        if visits is None or record.id in visits:
            fits[record.id] = {
                "boresight_ra": (record.id % 100) / 3,
                "boresight_dec": -(record.id % 100) / 7,
                "orientation": (record.id % 100) * math.pi,
                "visit_region": REGION.dump_python(moved(record.region)),
                "detector_regions": {},
                "version": "of somebody else",
            }
    for record in records(butler, "visit_detector_region"):
        if record.visit in fits:
            fits[record.visit]["detector_regions"][str(record.detector)] = REGION.dump_python(moved(record.region))
    return fits


def store_fits(
    butler: Butler,
    folder: Path,
    fits: dict[int, Any],
    *,
    run: str = RUN,
    storage_class: str = "VisitGeometry",
    name: str = DATASETS,
) -> dict[int, Path]:
    """Store fits as JSON files, as Rubin's software does; a `str` is written as it is."""
    dataset_type = DatasetType(name, ["instrument", "visit"], storage_class, universe=butler.dimensions)
    butler.registry.registerDatasetType(dataset_type)
    butler.collections.register(run)
    files = {}
    for visit, fit in fits.items():
        files[visit] = folder / f"{run}-{visit}.json"
        files[visit].write_text(fit if isinstance(fit, str) else json.dumps(fit))
    datasets = [
        FileDataset(path, [DatasetRef(dataset_type, data_id(butler, visit), run)], formatter=JsonFormatter)
        for visit, path in files.items()
    ]
    butler.ingest(*datasets, transfer="direct")
    return files


def data_id(butler: Butler, visit: int) -> DataCoordinate:
    return butler.registry.expandDataId(instrument=INSTRUMENT, visit=visit)


def update(butler: Butler, *arguments: object, collections: str = RUN) -> Any:
    return visits_command("update-regions", root(butler), INSTRUMENT, collections, *arguments)


def summary(result: Any) -> str:
    """Return what a run has done, without how long it took."""
    assert result.exit_code == 0, result.output
    return str(result.stdout.split(" (")[0])


def assert_fitted(butler: Butler, fits: Fits) -> None:
    """Check that the regions are those of the fits, bit by bit, and the overlaps theirs."""
    decoded = {visit: ConvexPolygon.decode(bytes.fromhex(fit["visit_region"])) for visit, fit in fits.items()}
    detectors = {
        (visit, int(detector)): ConvexPolygon.decode(bytes.fromhex(region))
        for visit, fit in fits.items()
        for detector, region in fit["detector_regions"].items()
    }
    visits = {record.id: record.region for record in records(butler, "visit") if record.id in fits}
    regions = {(one.visit, one.detector): one.region for one in records(butler, "visit_detector_region")}
    assert {visit: region.encode() for visit, region in visits.items()} == {v: r.encode() for v, r in decoded.items()}
    assert {key: regions[key].encode() for key in detectors} == {key: r.encode() for key, r in detectors.items()}
    pixels = butler.dimensions.commonSkyPix.pixelization
    found = visit_tables(butler)
    for name, expected in (("visit_overlap", {(v,): r for v, r in decoded.items()}), ("detector_overlap", detectors)):
        rows = {row for row in found[name] if row[0] in fits and row[:-1] in expected}
        assert rows == {
            (*key, pixel)
            for key, region in expected.items()
            for begin, end in pixels.envelope(region)
            for pixel in range(begin, end)
        }


def pointings(butler: Butler) -> dict[int, tuple[float, float, float]]:
    return {one.id: (one.tracking_ra, one.tracking_dec, one.sky_angle) for one in records(butler, "exposure")}


def writes(statement: str) -> bool:
    return statement.lstrip().startswith(("INSERT", "UPDATE", "DELETE"))


def fitted_pointing(fit: dict[str, Any]) -> tuple[float, float, float]:
    return fit["boresight_ra"], fit["boresight_dec"], fit["orientation"]
