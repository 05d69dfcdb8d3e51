"""Repositories with raws of the simulated mosaic, and what their regions should be, without the code under test."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from lsst.daf.butler import Butler, DatasetRef, DatasetType, DimensionRecord, FileDataset
from lsst.daf.butler.formatters.json import JsonFormatter
from lsst.sphgeom import ConvexPolygon, Region, UnitVector3d
from sqlalchemy import event
from sqlalchemy.engine import Engine

import templates
from butler_visits import (
    ComputeVisitRegionsTask,
    DefineVisitsConfig,
    DefineVisitsTask,
    VisitDefinitionData,
    VisitSystem,
)
from mosaic import HEIGHT, WIDTH, mosaic_camera, write_raw
from simulated_survey import insert_exposures
from visit_tables import exposure as describe_exposure

FloatArray = npt.NDArray[np.float64]

INSTRUMENT: Final = "Mosaic10"
CAMERA_RUN: Final = f"{INSTRUMENT}/calib/unbounded"
CAMERA: Final = mosaic_camera()
NAMES: Final = tuple(CAMERA["CCDs"])
IDS: Final[dict[str | int, int]] = {name: ccd["id"] for name, ccd in CAMERA["CCDs"].items()}
ARCSEC: Final = math.pi / 180 / 3600


class Pointing(NamedTuple):
    """Where an exposure looked, radians."""

    ra: float
    dec: float
    rotation: float
    flip: bool = False


POINTING: Final = Pointing(math.radians(201.3), math.radians(-35.0), math.radians(31.0))
ACROSS_RA_0: Final = Pointing(math.radians(359.95), math.radians(12.0), math.radians(250.0))
AT_THE_POLE: Final = Pointing(math.radians(77.0), math.radians(89.95), math.radians(140.0))


def _mosaic(butler: Butler) -> None:
    for dataset_type, dimensions, storage_class in (
        ("raw", ["instrument", "detector", "exposure"], "Exposure"),
        ("camera_geometry", ["instrument"], "StructuredDataDict"),
    ):
        is_calibration = dataset_type == "camera_geometry"
        butler.registry.registerDatasetType(
            DatasetType(
                dataset_type, dimensions, storage_class, universe=butler.dimensions, isCalibration=is_calibration
            )
        )
    add_instrument(butler, INSTRUMENT, CAMERA)


def _mosaic_with_camera(butler: Butler) -> None:
    _mosaic(butler)
    _add_camera(butler, CAMERA)


def _add_camera(butler: Butler, camera: Mapping[str, Any]) -> None:
    butler.collections.register(CAMERA_RUN)
    butler.put(dict(camera), "camera_geometry", instrument=INSTRUMENT, run=CAMERA_RUN)


def make_repository(root: Path, camera: Mapping[str, Any] | None = CAMERA, *, universe: int | None = None) -> Butler:
    """Make a repository of the mosaic; the camera may be another one, or missing."""
    if camera is CAMERA:
        return templates.make_repository(root, _mosaic_with_camera, universe=universe)
    butler = templates.make_repository(root, _mosaic, universe=universe)
    if camera is not None:
        _add_camera(butler, camera)
    return butler


def add_instrument(butler: Butler, name: str, camera: Mapping[str, Any]) -> None:
    """Register an instrument with a camera's detectors."""
    large = {"visit_max": 10**17, "exposure_max": 10**17, "detector_max": 1000}
    insert = butler.registry.insertDimensionData
    insert("instrument", {"name": name, "class_name": f"nowhere.{name}", **large})
    for detector, ccd in camera["CCDs"].items():
        insert("detector", {"instrument": name, "id": ccd["id"], "full_name": detector, "purpose": "SCIENCE"})
    for filter_ in ("r_sim", "g_sim"):
        insert("physical_filter", {"instrument": name, "name": filter_, "band": filter_[0]})


def add_exposure(butler: Butler, seq_num: int, pointing: Pointing | None = None, **changes: Any) -> DimensionRecord:
    """Insert an exposure with a pointing, or one whose record does not know where it looked."""
    angles = [None] * 3 if pointing is None else [math.degrees(angle) for angle in pointing[:3]]
    recorded = dict(zip(("tracking_ra", "tracking_dec", "sky_angle"), angles, strict=True))
    row = {"instrument": INSTRUMENT} | describe_exposure(seq_num, **(recorded | changes))
    insert_exposures(butler, [row])
    with butler.query() as query:
        (record,) = query.dimension_records("exposure").where(instrument=row["instrument"], exposure=row["id"])
    return record


def ingest(
    butler: Butler, exposure: DimensionRecord, path: str | Path, names: Iterable[str | int], run: str | None = None
) -> list[DatasetRef]:
    """Ingest a file as it is as the raw of some detectors, as ``butler ingest-raws --transfer direct`` does.

    Which formatter is recorded does not matter, because nobody reads pixels; Rubin's own cannot be imported here.
    """
    run = run or f"{exposure.instrument}/raw/all"
    butler.collections.register(run)
    refs = [
        DatasetRef(
            butler.get_dataset_type("raw"),
            butler.registry.expandDataId(
                instrument=exposure.instrument, exposure=exposure.id, detector=IDS.get(name, name)
            ),
            run=run,
        )
        for name in names
    ]
    butler.ingest(FileDataset(path=str(path), refs=refs, formatter=JsonFormatter), transfer="direct")
    return refs


def add_raws(
    butler: Butler,
    exposure: DimensionRecord,
    folder: Path,
    pointing: Pointing = POINTING,
    names: Iterable[str] = NAMES,
    *,
    camera: Mapping[str, Any] = CAMERA,
    kind: Any = "TPV",
    run: str | None = None,
    **options: Any,
) -> list[Path]:
    """Write and ingest a raw for each detector."""
    suffix = ".fits.fz" if options.get("compressed") else ".fits"
    paths = []
    for name in names:
        paths.append(folder / f"raw_{exposure.id}_{name}{suffix}")
        write_raw(
            paths[-1], camera, [name], *pointing[:3], kind, exposure_id=exposure.id, flip=pointing.flip, **options
        )
        ingest(butler, exposure, paths[-1], [name], run)
    return paths


def region_task(butler: Butler, algorithm: str = "single-raw-wcs", **fields: Any) -> ComputeVisitRegionsTask:
    config = ComputeVisitRegionsTask.registry[algorithm].ConfigClass()
    config.update(**fields)
    return ComputeVisitRegionsTask.registry[algorithm](config=config, butler=butler)


def define_task(
    butler: Butler, algorithm: str = "single-raw-wcs", grouping: str = "one-to-one", **fields: Any
) -> DefineVisitsTask:
    """Make the whole task; the fields are the region algorithm's."""
    config = DefineVisitsConfig()
    config.groupExposures.name = grouping
    config.computeVisitRegions.name = algorithm
    config.computeVisitRegions.active.update(**fields)
    return DefineVisitsTask(config, butler=butler)


def visit_of(*exposures: DimensionRecord) -> VisitDefinitionData:
    first = exposures[0]
    return VisitDefinitionData(first.instrument, first.id, "visit", {VisitSystem.ONE_TO_ONE}, list(exposures))


def stored_regions(butler: Butler, visit: int) -> tuple[Region, dict[int, Region]]:
    """Read the regions of a visit and of its detectors from the registry."""
    with butler.query() as query:
        (record,) = query.dimension_records("visit").where(instrument=INSTRUMENT, visit=visit)
        detectors = list(query.dimension_records("visit_detector_region").where(instrument=INSTRUMENT, visit=visit))
    return record.region, {detector.detector: detector.region for detector in detectors}


def defined_visits(butler: Butler) -> list[int]:
    with butler.query() as query:
        return sorted(record.id for record in query.dimension_records("visit").where(instrument=INSTRUMENT))


# The truth


def sky(camera: Mapping[str, Any], name: str, pixels: npt.ArrayLike, pointing: Pointing) -> FloatArray:
    """Compute where pixels look, straight from SPEC sections 4 and 5; unit vectors (K, 3)."""
    ccd = camera["CCDs"][name]
    yaw = math.radians(ccd["yaw"])
    turn = np.array([[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]])
    focal_plane = np.array(ccd["offset"]) + ((np.asarray(pixels) - ccd["refpos"]) * ccd["pixelSize"]) @ turn.T
    radius = np.hypot(*focal_plane.T)
    powers = enumerate(camera["transforms"]["FieldAngle"]["coeffs"][1:])
    x, y = focal_plane.T * sum(c * radius**k for k, c in powers) * camera["plateScale"] * ARCSEC
    if camera.get("focalPlaneParity"):
        x = -x
    ra, dec, a, flip = pointing
    m = 1 if flip else -1
    xi = m * math.cos(a) * x + math.sin(a) * y
    eta = -m * math.sin(a) * x + math.cos(a) * y
    p = np.array([math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec)])
    e = np.array([-math.sin(ra), math.cos(ra), 0])
    n = np.array([-math.sin(dec) * math.cos(ra), -math.sin(dec) * math.sin(ra), math.cos(dec)])
    v = p + xi[:, None] * e + eta[:, None] * n
    return v / np.linalg.norm(v, axis=1)[:, None]


def border_pixels(padding: float, count: int = 100) -> FloatArray:
    """Return pixels all along the border of a padded detector, count + 1 on each edge, from 0."""
    x = np.linspace(-0.5 - padding, WIDTH - 0.5 + padding, count + 1)
    y = np.linspace(-0.5 - padding, HEIGHT - 0.5 + padding, count + 1)
    return np.concatenate(
        [
            np.column_stack(edge)
            for edge in (
                (x, np.full_like(x, y[0])),
                (x, np.full_like(x, y[-1])),
                (np.full_like(y, x[0]), y),
                (np.full_like(y, x[-1]), y),
            )
        ]
    )


def border(
    name: str, pointing: Pointing = POINTING, padding: float = 250, count: int = 100, camera: Mapping[str, Any] = CAMERA
) -> FloatArray:
    """Compute where the border of a padded detector is on the sky."""
    return sky(camera, name, border_pixels(padding, count), pointing)


def corners(
    name: str, pointing: Pointing = POINTING, padding: float = 250, camera: Mapping[str, Any] = CAMERA
) -> FloatArray:
    """Compute where the corners of a padded detector are on the sky."""
    return border(name, pointing, padding, 1, camera)


def unit_vectors(points: npt.ArrayLike) -> list[UnitVector3d]:
    return [UnitVector3d(*point) for point in np.asarray(points).tolist()]


def hull(*points: FloatArray) -> ConvexPolygon:
    """Let sphgeom find the hull."""
    return ConvexPolygon(unit_vectors(np.concatenate(points)))


def vertices(region: Region) -> FloatArray:
    assert isinstance(region, ConvexPolygon)
    return np.array([[v.x(), v.y(), v.z()] for v in region.getVertices()])


def assert_valid(region: Region) -> None:
    """Check that a polygon is convex and counterclockwise, so that sphgeom gets the same one from its vertices."""
    points = vertices(region)
    edges = np.roll(points, -1, axis=0) - points
    inward = np.cross(points, edges)
    inward /= np.linalg.norm(inward, axis=1)[:, None]
    depth = np.einsum("ei,eki->ek", inward, points[None] - points[:, None])
    assert depth.min() > -1e-15
    assert ConvexPolygon.decode(region.encode()) == region
    assert isinstance(region, ConvexPolygon)
    again = ConvexPolygon(region.getVertices())
    assert len(again.getVertices()) == len(points)


@contextmanager
def count_statements() -> Iterator[list[str]]:
    """Collect the SQL statements that are sent to a database."""
    found: list[str] = []

    def listen(_connection: Any, _cursor: Any, statement: str, *_others: Any) -> None:
        found.append(statement)

    event.listen(Engine, "before_cursor_execute", listen)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", listen)


def spread_pointings(count: int) -> Sequence[Pointing]:
    """Return pointings all over the sky."""
    return [Pointing(0.1 + 0.37 * i % 6.2, math.sin(1.7 * i), 0.3 * i) for i in range(count)]
