"""Regions have the bits that Rubin's own software stored, where the camera is an afw FITS file."""

from __future__ import annotations

import math
import pickle
import platform
import threading
from pathlib import Path

import numpy as np
import pytest
from lsst.daf.butler import Butler
from lsst.sphgeom import ConvexPolygon, Region, UnitVector3d

from butler_visits import DefineVisitsTask
from butler_visits.camera.afw_fits import read_afw_camera
from butler_visits.camera.model import Camera
from butler_visits.define.pointings import Pointings
from butler_visits.define.regions.exact import ExactFootprint, field_angle_to_sky
from butler_visits.define.regions.footprint import Footprint
from butler_visits.geometry import ARCSEC, FloatArray, decode_polygon, outline_distance
from butler_visits.geometry import field_angle_to_sky as formula
from stored_visits import CopyGolden, define_golden, delete_visits, make_config, read_records, read_tables

LIBM = pytest.mark.skipif(
    (platform.system(), platform.machine(), platform.libc_ver()[0]) != ("Linux", "x86_64", "glibc"),
    reason="other machines' libm rounds otherwise in the last bit",
)


def vertices(region: Region) -> FloatArray:
    decoded = decode_polygon(region.encode())
    assert decoded is not None
    return decoded


def rotated(polygon: FloatArray, other: FloatArray) -> bool:
    """Tell whether polygons have the same vertices in the same order, wherever that begins."""
    return any(np.array_equal(np.roll(polygon, shift, axis=0), other) for shift in range(len(polygon)))


@LIBM
def test_visit_defined_again_has_rubins_bits(copy_golden: CopyGolden) -> None:
    repository = copy_golden("lsstCamSim")
    expected = read_tables(Butler.from_config(repository))
    delete_visits(repository)
    define_golden(repository, "one-to-one-and-by-counter")
    found = read_tables(Butler.from_config(repository))
    ((key, visit),) = expected["visit"].items()
    assert rotated(vertices(found["visit"][key]["region"]), vertices(visit["region"]))
    same = total = 0
    for key, row in expected["visit_detector_region"].items():
        ours, theirs = vertices(found["visit_detector_region"][key]["region"]), vertices(row["region"])
        best = max(int((np.roll(ours, shift, axis=0) == theirs).all(axis=1).sum()) for shift in range(len(ours)))
        same, total = same + best, total + len(theirs)
        assert float(outline_distance(ours, theirs)) / ARCSEC < 1e-10
    assert total == 820
    assert same >= 815
    # And what was written is found again.
    assert define_golden(repository, "one-to-one-and-by-counter").n_skipped == 1


@pytest.fixture(scope="module")
def camera(golden: Path) -> Camera:
    (file,) = (golden / "repos" / "comCamSim").rglob("camera_*.fits")
    return read_afw_camera(file.read_bytes(), str(file))


POINTINGS = [
    (ra, dec, rotation)
    for ra in (0.0, 0.3, math.pi / 2, 4.0, 2 * math.pi, -0.2)
    for dec in (-math.pi / 2, -1.2, 0.0, 0.7, math.pi / 2)
    for rotation in (0.0, 1.1, math.pi / 2, math.pi, 3 * math.pi / 2)
]


@pytest.mark.parametrize("flip", [False, True])
def test_exact_regions_are_where_the_formula_says(camera: Camera, flip: bool) -> None:
    """At the poles, where right ascension begins, turned by quarters, and mirrored."""
    plane = camera.corners(250).reshape(-1, 2)
    for pointing in POINTINGS:
        distance = np.linalg.norm(
            field_angle_to_sky(plane, *pointing, flip=flip) - formula(plane, *pointing, flip=flip), axis=1
        )
        assert distance.max() / ARCSEC < 1e-9, pointing


@pytest.mark.parametrize("flip", [False, True])
def test_shortcuts_give_the_hulls_of_sphgeom(camera: Camera, flip: bool) -> None:
    """Detectors' corners in a fixed order, and the visit's from those near its outline, are what sphgeom makes."""
    footprint = Footprint(camera, 250, flip=flip)
    exact = footprint.exact
    assert exact is not None
    for pointing in POINTINGS[::7]:
        directions = exact.corner_directions(*pointing)
        everything = ConvexPolygon.convexHull(unit_vectors(directions.reshape(-1, 3)))
        visit, detectors = exact.polygons(*pointing)
        assert visit.encode() == exact.visit_polygon(*pointing).encode() == everything.encode()
        for detector, corners in zip(exact.detector_ids, directions, strict=True):
            assert detectors[detector] == ConvexPolygon.convexHull(unit_vectors(corners)).encode()
        # Those that plan are the same polygons, to rounding.
        (planned,) = footprint.visit_polygons(Pointings(*(np.array([value]) for value in pointing)))
        a, b = decode_polygon(planned), decode_polygon(visit.encode())
        assert a is not None and b is not None
        assert float(outline_distance(a, b)) / ARCSEC < 1e-9


def unit_vectors(directions: FloatArray) -> list[UnitVector3d]:
    """Make unit vectors without normalising them again, which sphgeom does with three numbers."""
    polygon = ConvexPolygon.decode(b"p" + directions.astype("<f8").tobytes())
    assert isinstance(polygon, ConvexPolygon)
    return polygon.getVertices()


def test_merged_exposures(camera: Camera) -> None:
    corners = camera.exact_corners(250)
    assert corners is not None
    footprint = ExactFootprint(camera.detector_ids.tolist(), corners, flip=False)
    parts = [(footprint, (1.0, 0.2, 0.1)), (footprint, (1.001, 0.2, 0.1))]
    visit, detectors = ExactFootprint.merged(parts)
    directions = np.stack([footprint.corner_directions(*pointing) for _, pointing in parts], axis=1)
    assert visit.encode() == ConvexPolygon.convexHull(unit_vectors(directions.reshape(-1, 3))).encode()
    for detector, own in zip(footprint.detector_ids, directions, strict=True):
        assert detectors[detector] == ConvexPolygon.convexHull(unit_vectors(own.reshape(-1, 3))).encode()


@pytest.mark.parametrize("ra", [90.0000001, 89.9999999, 180.0000002])
def test_visit_near_a_quarter_turn_is_found_again(copy_golden: CopyGolden, ra: float) -> None:
    """AST takes tiny elements of a rotation for zero there, which puts regions a milliarcsecond from the formula's."""
    repository = copy_golden("comCamSim")
    butler = Butler.from_config(repository, writeable=True)
    (exposure,) = read_records(butler, "exposure")
    moved = {**exposure.toDict(), "tracking_ra": ra, "tracking_dec": 1e-8, "sky_angle": 90.0000001}
    butler.registry.syncDimensionData("exposure", moved, update=True)
    assert define_golden(repository, "one-to-one").n_new == 1
    assert define_golden(repository, "one-to-one").n_skipped == 1


def test_visits_that_an_earlier_version_wrote_are_equal(copy_golden: CopyGolden) -> None:
    """It wrote the formula's regions."""
    repository = copy_golden("comCamSim")
    define_golden(repository, "one-to-one")
    butler = Butler.from_config(repository, writeable=True)
    (visit,), (exposure,) = read_records(butler, "visit"), read_records(butler, "exposure")
    camera_ref = butler.find_dataset(
        "camera", instrument=visit.instrument, collections=f"{visit.instrument}/calib", timespan=exposure.timespan
    )
    assert camera_ref is not None
    uri = butler.getURI(camera_ref)
    footprint = Footprint(read_afw_camera(uri.read(), str(uri)), 250, flip=False)
    degrees = (exposure.tracking_ra, exposure.tracking_dec, exposure.sky_angle)
    (region,) = footprint.visit_polygons(Pointings(*(np.deg2rad([value]) for value in degrees)))
    assert region != visit.region.encode()
    butler.registry.insertDimensionData("visit", {**visit.toDict(), "region": Region.decode(region)}, replace=True)
    result = define_golden(repository, "one-to-one")
    assert (result.n_skipped, result.n_visits) == (1, 1)
    (kept,) = read_records(butler, "visit")
    assert kept.region.encode() == region


def test_tolerance_of_zero_compares_bits(copy_golden: CopyGolden) -> None:
    repository = copy_golden("comCamSim")
    butler = Butler.from_config(repository, writeable=True)
    task = DefineVisitsTask(make_config("one-to-one", regionTolerance=0.0), butler=butler)
    exposures = read_records(butler, "exposure")
    assert task.run(exposures).n_new == 1
    assert task.run(exposures).n_skipped == 1


def test_camera_can_be_pickled_to_the_bit(camera: Camera) -> None:
    again = pickle.loads(pickle.dumps(camera))
    assert np.array_equal(again.corners(250), camera.corners(250))
    exact = camera.exact_corners(250)
    assert exact is not None and np.array_equal(again.exact_corners(250), exact)


def test_threads_read_cameras_at_once(golden: Path) -> None:
    """AST calls back into Python while it reads, and two that did so at once ended the process."""
    (file,) = (golden / "repos" / "comCamSim").rglob("camera_*.fits")
    content = file.read_bytes()
    corners: list[FloatArray] = []

    def read() -> None:
        corners.append(read_afw_camera(content, str(file)).corners())

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(corners) == 4
    assert all(np.array_equal(one, corners[0]) for one in corners)
