"""Regions from each raw's own WCS: the algorithm ``all-raw-wcs``, and the polygons that it draws."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lsst.daf.butler import Butler
from lsst.sphgeom import ConvexPolygon, Region

from butler_visits import CameraLookupError, DefineVisitsTask, DefinitionError, RawFileError
from butler_visits.geometry import sky_hull
from mosaic import write_raw
from raw_repository import (
    ACROSS_RA_0,
    ARCSEC,
    AT_THE_POLE,
    CAMERA,
    IDS,
    NAMES,
    POINTING,
    Pointing,
    add_exposure,
    add_raws,
    assert_valid,
    border,
    corners,
    define_task,
    defined_visits,
    hull,
    ingest,
    make_repository,
    region_task,
    stored_regions,
    unit_vectors,
    visit_of,
)
from stored_visits import outline_distance, read_records

ALGORITHM = "all-raw-wcs"
TOLERANCE = 0.01
"""Arcsec."""

BY_CAMERA = 1e-6
"""Arcsec, of regions that are the hull of four corners."""


def check(
    region: Region,
    detectors: dict[int, Region],
    pointings: list[Pointing],
    names: tuple[str, ...] = NAMES,
    padding: float = 250,
    camera: dict[str, Any] = CAMERA,
) -> None:
    """Check regions against the hulls of the padded detectors' borders at all pointings."""
    assert sorted(detectors) == sorted(IDS[name] for name in names)
    borders = {name: np.concatenate([border(name, p, padding, camera=camera) for p in pointings]) for name in names}
    for name, points in borders.items():
        assert outline_distance(detectors[IDS[name]], hull(points)) < TOLERANCE
        assert_valid(detectors[IDS[name]])
    assert outline_distance(region, hull(*borders.values())) < TOLERANCE
    assert_valid(region)


# The simulated mosaic


@pytest.mark.parametrize("kind", ["TPV", "SIP"])
@pytest.mark.parametrize(
    ("pointing", "padding"),
    [
        (POINTING, 250),
        (POINTING._replace(flip=True), 250),
        (ACROSS_RA_0, 0),
        (AT_THE_POLE, 250),
        (Pointing(1.0, -math.pi / 2, 2.0), 4000),
    ],
    ids=["plain", "flipped", "RA 0", "pole", "centred on the pole"],
)
def test_truth(tmp_path: Path, kind: str, pointing: Pointing, padding: int) -> None:
    """All ten detectors, without a camera in the repository and without a pointing in the record."""
    butler = make_repository(tmp_path / "repository", camera=None)
    exposure = add_exposure(butler, 1)
    add_raws(butler, exposure, tmp_path, pointing, kind=kind)
    region, detectors = region_task(butler, ALGORITHM, padding=padding).compute(visit_of(exposure))
    check(region, detectors, [pointing], padding=padding)


@pytest.mark.parametrize("padding", [0, 250])
@pytest.mark.parametrize("cubic", [2e-6, -2e-6, 2e-5], ids=["pincushion", "barrel", "wild"])
def test_curved_edges(tmp_path: Path, cubic: float, padding: int) -> None:
    """No corner and no edge's midpoint is outside, however curved, and the polygon is convex."""
    camera = copy.deepcopy(CAMERA)
    camera["transforms"]["FieldAngle"]["coeffs"] = [0.0, 1.0, 0.0, cubic]
    butler = make_repository(tmp_path / "repository", camera=None)
    exposure = add_exposure(butler, 1)
    names = ("N1", "M3", "M5", "S2")
    add_raws(butler, exposure, tmp_path, names=names, camera=camera)
    region, detectors = region_task(butler, ALGORITHM, padding=padding).compute(visit_of(exposure))
    for name in names:
        own = detectors[IDS[name]]
        assert isinstance(own, ConvexPolygon)
        assert_valid(own)
        # Corners, midpoints and quarters of the edges, and the detector without any padding.
        for points in (border(name, POINTING, padding, 4, camera), border(name, POINTING, 0, 4, camera)):
            for place in unit_vectors(points):
                assert own.contains(place)
                assert region.contains(place)
        truth = hull(border(name, POINTING, padding, 400, camera))
        # The largest sagitta is 100 arcsec in the wildest case, of which 16 parts of an edge miss 1/256.
        assert outline_distance(own, truth) < (0.5 if cubic == 2e-5 else 0.06)


def test_merged_exposures(tmp_path: Path) -> None:
    butler = make_repository(tmp_path / "repository", camera=None)
    pointings = [POINTING, POINTING._replace(ra=POINTING.ra + 20 * ARCSEC, rotation=0.6)]
    exposures = [add_exposure(butler, number, pointing) for number, pointing in enumerate(pointings, start=1)]
    for exposure, pointing in zip(exposures, pointings, strict=True):
        add_raws(butler, exposure, tmp_path, pointing)
    visit = visit_of(*exposures[::-1])
    check(*region_task(butler, ALGORITHM, mergeExposures=True).compute(visit), pointings)
    check(*region_task(butler, ALGORITHM).compute(visit), pointings[:1])


def test_merged_exposures_with_different_detectors(tmp_path: Path) -> None:
    """A detector that has a raw in one of the exposures only has that one's region."""
    butler = make_repository(tmp_path / "repository", camera=None)
    exposures = [add_exposure(butler, number) for number in (1, 2)]
    moved = POINTING._replace(dec=POINTING.dec + 100 * ARCSEC)
    add_raws(butler, exposures[0], tmp_path, POINTING, ["M1", "M2"])
    add_raws(butler, exposures[1], tmp_path, moved, ["M2", "M3"])
    region, detectors = region_task(butler, ALGORITHM, mergeExposures=True).compute(visit_of(*exposures))
    expected = {"M1": [border("M1")], "M2": [border("M2"), border("M2", moved)], "M3": [border("M3", moved)]}
    assert detectors.keys() == {IDS[name] for name in expected}
    for name, parts in expected.items():
        assert outline_distance(detectors[IDS[name]], hull(*parts)) < TOLERANCE
    assert outline_distance(region, hull(*(part for parts in expected.values() for part in parts))) < TOLERANCE


def test_missing_detectors_are_omitted(tmp_path: Path) -> None:
    butler = make_repository(tmp_path / "repository")
    exposure = add_exposure(butler, 1)
    add_raws(butler, exposure, tmp_path, names=["S1", "M2"])
    check(*region_task(butler, ALGORITHM).compute(visit_of(exposure)), [POINTING], ("S1", "M2"))


@pytest.mark.parametrize("flip", [False, True])
def test_missing_detectors_from_the_camera(tmp_path: Path, flip: bool) -> None:
    """The record's pointing is wrong by degrees: only the raws are believed."""
    butler = make_repository(tmp_path / "repository")
    pointing = POINTING._replace(flip=flip)
    exposure = add_exposure(butler, 1, POINTING._replace(dec=POINTING.dec + math.radians(4)))
    add_raws(butler, exposure, tmp_path, pointing, ["S1", "M2"], kind="SIP")
    region, detectors = region_task(butler, ALGORITHM, missingDetectors="camera").compute(visit_of(exposure))
    assert detectors.keys() == set(IDS.values())
    parts = {name: border(name, pointing) if name in ("S1", "M2") else corners(name, pointing) for name in NAMES}
    for name, points in parts.items():
        limit = TOLERANCE if name in ("S1", "M2") else BY_CAMERA
        assert outline_distance(detectors[IDS[name]], hull(points)) < limit
        assert_valid(detectors[IDS[name]])
    assert outline_distance(region, hull(*parts.values())) < TOLERANCE


def test_a_complete_exposure_takes_nothing_from_the_camera(tmp_path: Path) -> None:
    """So a camera that does not agree with the raws does no harm."""
    camera = copy.deepcopy(CAMERA)
    camera["CCDs"]["M3"]["offset"] = [5.0, 5.0]
    butler = make_repository(tmp_path / "repository", camera)
    exposure = add_exposure(butler, 1)
    add_raws(butler, exposure, tmp_path)
    check(*region_task(butler, ALGORITHM, missingDetectors="camera").compute(visit_of(exposure)), [POINTING])


def test_a_camera_that_does_not_agree(tmp_path: Path) -> None:
    """One of three detectors is 0.5 mm from where the camera has it."""
    camera = copy.deepcopy(CAMERA)
    camera["CCDs"]["M3"]["offset"][0] += 0.5
    butler = make_repository(tmp_path / "repository", camera)
    exposure = add_exposure(butler, 1)
    add_raws(butler, exposure, tmp_path, names=["M1", "M3", "M5"])
    with pytest.raises(
        RawFileError, match=r"3 raws: the camera .* only to [23]\d\.\d pixels, and maxWcsResidual is (5|10)"
    ):
        region_task(butler, ALGORITHM, missingDetectors="camera").compute(visit_of(exposure))
    task = region_task(butler, ALGORITHM, missingDetectors="camera", maxWcsResidual=50.0)
    assert task.compute(visit_of(exposure))[1].keys() == set(IDS.values())


@pytest.mark.parametrize("names", [["M5"], NAMES], ids=["one", "all"])
def test_far_from_the_record(tmp_path: Path, names: list[str], caplog: pytest.LogCaptureFixture) -> None:
    """The detector that is farthest off counts; of a camera of ten 3 fields are 2.4 degrees."""
    butler = make_repository(tmp_path / "repository", camera=None)
    exposures = [
        add_exposure(butler, n, POINTING._replace(dec=POINTING.dec + math.radians(off)))
        for n, off in enumerate((1.5, 4.0, 8.0), start=1)
    ]
    for exposure in exposures:
        add_raws(butler, exposure, tmp_path, POINTING, names)
    task = region_task(butler, ALGORITHM)

    def warnings() -> list[str]:
        return [r.getMessage() for r in caplog.records if r.levelname == "WARNING" and "butler_visits" in r.name]

    check(*task.compute(visit_of(exposures[0])), [POINTING], tuple(names))
    assert not warnings()
    check(*task.compute(visit_of(exposures[1])), [POINTING], tuple(names))
    (warning,) = warnings()
    assert f"raw_{exposures[1].id}_" in warning
    assert "degrees from where the record of exposure" in warning
    with pytest.raises(RawFileError, match=rf"raw_{exposures[2].id}_\w+\.fits, HDU 0 .*CRVAL1 and CRVAL2 .* degrees"):
        task.compute(visit_of(exposures[2]))


@pytest.mark.parametrize("recorded", [POINTING, None])
def test_one_detector_is_elsewhere(tmp_path: Path, recorded: Pointing | None) -> None:
    """A hull of all would reach across the sky, whether the record knows where it is or not."""
    butler = make_repository(tmp_path / "repository", camera=None)
    exposure = add_exposure(butler, 1, recorded)
    add_raws(butler, exposure, tmp_path, POINTING, ["M1", "M2", "M3"])
    add_raws(butler, exposure, tmp_path, ACROSS_RA_0, ["S1"])
    with pytest.raises(RawFileError, match=rf"raw_{exposure.id}_S1\.fits, HDU 0 .*CRVAL1 and CRVAL2"):
        region_task(butler, ALGORITHM).compute(visit_of(exposure))


def test_missing_detectors_need_a_camera(tmp_path: Path) -> None:
    butler = make_repository(tmp_path / "repository", camera=None)
    exposure = add_exposure(butler, 1)
    add_raws(butler, exposure, tmp_path, names=["M1"])
    with pytest.raises(CameraLookupError, match=f"No camera geometry for exposure {exposure.id}"):
        region_task(butler, ALGORITHM, missingDetectors="camera").compute(visit_of(exposure))


def test_padding_that_leaves_nothing(tmp_path: Path) -> None:
    butler = make_repository(tmp_path / "repository", camera=None)
    exposure = add_exposure(butler, 1)
    (path,) = add_raws(butler, exposure, tmp_path, names=["M1"])
    for padding in (-1024, -1100, -3000):
        with pytest.raises(RawFileError, match=rf"{path.name}, HDU 0 \(M1\).*padding of {padding}"):
            region_task(butler, ALGORITHM, padding=padding).compute(visit_of(exposure))


def test_no_exposures(tmp_path: Path) -> None:
    assert region_task(make_repository(tmp_path / "repository"), ALGORITHM).compute_all([]) == []


# The whole task


def test_visits(tmp_path: Path) -> None:
    """Visits are defined from raws only: a second run finds nothing to do, and one with new raws updates."""
    butler = make_repository(tmp_path / "repository", camera=None)
    pointings = [POINTING, ACROSS_RA_0, AT_THE_POLE]
    exposures = [add_exposure(butler, number) for number in (1, 2, 3)]
    for exposure, pointing in zip(exposures, pointings, strict=True):
        add_raws(butler, exposure, tmp_path, pointing, ["M1", "M2"])
    result = define_task(butler, ALGORITHM).run(exposures)
    assert (result.n_new, result.n_off_sky, result.n_failed) == (3, 0, 0)
    for exposure, pointing in zip(exposures, pointings, strict=True):
        check(*stored_regions(butler, exposure.id), [pointing], ("M1", "M2"))
    task = define_task(butler, ALGORITHM)
    assert task.run(exposures).n_skipped == 3
    add_raws(butler, exposures[1], tmp_path, ACROSS_RA_0, ["M3"])
    result = task.run(exposures, incremental=True)
    assert (result.n_fully_updated, result.n_skipped) == (1, 2)
    check(*stored_regions(butler, exposures[1].id), [ACROSS_RA_0], ("M1", "M2", "M3"))


def test_a_raw_that_was_ingested_anew(tmp_path: Path) -> None:
    """The same task sees it: what it has read is kept by dataset, not by exposure."""
    butler = make_repository(tmp_path / "repository", camera=None)
    exposure = add_exposure(butler, 1)
    add_raws(butler, exposure, tmp_path, names=["M1"])
    task = define_task(butler, ALGORITHM)
    task.run([exposure])
    butler.pruneDatasets(
        butler.query_datasets("raw", collections="*", find_first=False), disassociate=True, unstore=True, purge=True
    )
    write_raw(tmp_path / "anew.fits", CAMERA, ["M1"], *AT_THE_POLE[:3], "TPV")
    ingest(butler, exposure, tmp_path / "anew.fits", ["M1"])
    assert task.run([exposure], update_records=True).n_fully_updated == 1
    check(*stored_regions(butler, exposure.id), [AT_THE_POLE], ("M1",))


def test_exposures_without_raws(tmp_path: Path) -> None:
    """One with a pointing is an error, one without is off the sky."""
    butler = make_repository(tmp_path / "repository")
    good, recorded, lost = (add_exposure(butler, n, p) for n, p in ((1, POINTING), (2, POINTING), (3, None)))
    add_raws(butler, good, tmp_path, names=["M1"])
    with pytest.raises(DefinitionError, match=f"Exposure {recorded.id} has no raw in Mosaic10/raw/all"):
        define_task(butler, ALGORITHM).run([good, recorded, lost])
    result = define_task(butler, ALGORITHM).run([good, recorded, lost], on_error="skip")
    assert [failure.exposures for failure in result.failures] == [(recorded.id,)]
    assert (result.n_new, result.n_off_sky) == (1, 1)
    assert defined_visits(butler) == [good.id]


# Real raws


@pytest.mark.parametrize(("name", "detector", "limit"), [("imsim", 42, 5.0), ("lsstCamSim", 94, 10.0)])
def test_real_raw(copy_golden: Callable[[str], Path], name: str, detector: int, limit: float) -> None:
    """A detector's region from its raw's WCS is near the one that Rubin's software computed."""
    butler = Butler.from_config(copy_golden(name), writeable=True)
    (exposure,) = read_records(butler, "exposure")
    stored = {record.detector: record.region for record in read_records(butler, "visit_detector_region")}
    region, detectors = region_task(butler, ALGORITHM).compute(visit_of(exposure))
    assert detectors.keys() == {detector}
    assert outline_distance(detectors[detector], stored[detector]) < limit
    assert outline_distance(region, stored[detector]) < limit
    _, detectors = region_task(butler, ALGORITHM, missingDetectors="camera").compute(visit_of(exposure))
    assert detectors.keys() == stored.keys()
    assert max(outline_distance(detectors[d], stored[d]) for d in stored) < 90


def test_real_visit(copy_golden: Callable[[str], Path]) -> None:
    butler = Butler.from_config(copy_golden("imsim"), writeable=True)
    (exposure,) = read_records(butler, "exposure")
    (visit,) = read_records(butler, "visit")
    before = {record.detector: record.region for record in read_records(butler, "visit_detector_region")}
    task: DefineVisitsTask = define_task(butler, ALGORITHM, "by-group-metadata", missingDetectors="camera")
    assert task.run([exposure], update_records=True).n_fully_updated == 1
    after = {record.detector: record.region for record in read_records(butler, "visit_detector_region")}
    assert after.keys() == before.keys()
    assert 0.01 < outline_distance(after[42], before[42]) < 5
    assert 0.01 < max(outline_distance(after[d], before[d]) for d in before) < 90
    (updated,) = read_records(butler, "visit")
    assert updated.id == visit.id
    assert 0.01 < outline_distance(updated.region, visit.region) < 90


# Polygons around points


@settings(deadline=None, max_examples=100)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(3, 60),
    st.floats(-6, math.log10(0.7)),
    st.floats(1, 3),
    st.sampled_from([0.0, 1e-7, 1e-5, 1e-3]),
    st.booleans(),
)
@example(0, 68, -2.0, 2.0, 5e-7, True)
@example(0, 3000, -2.0, 1.0, 1e-3, True)
def test_sky_hull(seed: int, count: int, log_size: float, aspect: float, relative: float, on_curve: bool) -> None:
    """It contains all points, is convex and counterclockwise, and reaches but little beyond the points' own hull."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-1, 1, (2, count))
    if on_curve:
        angle = np.sort(rng.uniform(0, 2 * math.pi, count))
        x, y = np.cos(angle), np.sin(angle)
    pole = rng.normal(size=3)
    pole /= np.linalg.norm(pole)
    east = np.cross(pole, rng.normal(size=3))
    east /= np.linalg.norm(east)
    size = 10**log_size
    tolerance = relative * size
    points = pole + size * (x[:, None] * east + y[:, None] / aspect * np.cross(pole, east))
    points /= np.linalg.norm(points, axis=1)[:, None]
    try:
        found = sky_hull(points, tolerance)
    except ValueError as error:
        # Three points may happen to lie nearly on a line.
        assert "on a line" in str(error)
        assert count < 5
        return
    edges = np.roll(found, -1, axis=0) - found
    inward = np.cross(found, edges)
    inward /= np.linalg.norm(inward, axis=1)[:, None]

    def depth(points: np.ndarray) -> np.ndarray:
        return np.einsum("eki,ei->ek", points[None] - found[:, None], inward)

    assert depth(points).min() > -1e-15
    assert depth(found).min() > -1e-15
    polygon = ConvexPolygon(unit_vectors(found))
    assert all(polygon.contains(place) for place in unit_vectors(points.mean(axis=0, keepdims=True)))
    assert len(found) <= count
    own = hull(points)
    assert outline_distance(polygon, own) < (1.001 * tolerance + 1e-10 * size) / ARCSEC + 1e-9


@pytest.mark.parametrize("points", [np.eye(3), np.array([[1.0, 0, 0], [0, 1, 0], [-1, 0, 0], [0, 0, 1]])])
def test_sky_hull_of_a_large_field(points: np.ndarray) -> None:
    """An octant has a hull, half a sphere has none."""
    if len(points) == 3:
        assert outline_distance(ConvexPolygon(unit_vectors(sky_hull(points, 0.0))), hull(points)) < 1e-3
    else:
        with pytest.raises(ValueError, match="do not all lie in one half of the sky"):
            sky_hull(points, 0.0)


@pytest.mark.parametrize(
    "points",
    [np.tile([[1.0, 0, 0]], (4, 1)), np.array([[1.0, 0, 0], [1, 1e-3, 0], [1, 2e-3, 0]])],
    ids=["point", "line"],
)
def test_sky_hull_without_area(points: np.ndarray) -> None:
    with pytest.raises(ValueError, match="on a line"):
        sky_hull(points / np.linalg.norm(points, axis=1)[:, None], 0.0)
