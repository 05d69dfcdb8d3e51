"""Pointings from raws: ``wcsSource`` of ``single-raw-wcs``, and the fit of a camera to directions on the sky."""

from __future__ import annotations

import copy
import logging
import math
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lsst.daf.butler import Butler, DimensionRecord

from butler_visits import CameraFileError, DefineVisitsTask, DefinitionError, RawFileError
from butler_visits.define.pointings import fit_pointing
from butler_visits.geometry import field_angle_to_sky
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
    corners,
    define_task,
    defined_visits,
    hull,
    make_repository,
    region_task,
    stored_regions,
    visit_of,
)
from stored_visits import outline_distance, read_records

TOLERANCE = 0.1
"""Arcsec."""


def check(regions: tuple[Any, dict[int, Any]], *pointings: Pointing, camera: dict[str, Any] = CAMERA) -> None:
    """Check regions against the hulls of the padded corners at all pointings."""
    region, detectors = regions
    assert detectors.keys() == set(IDS.values())
    parts = {name: np.concatenate([corners(name, p, camera=camera) for p in pointings]) for name in NAMES}
    for name, points in parts.items():
        assert outline_distance(detectors[IDS[name]], hull(points)) < TOLERANCE
    assert outline_distance(region, hull(*parts.values())) < TOLERANCE


# wcsSource=raw


@pytest.mark.parametrize("kind", ["TPV", "SIP"])
@pytest.mark.parametrize(
    "pointing",
    [POINTING, POINTING._replace(flip=True), ACROSS_RA_0, AT_THE_POLE, Pointing(1.0, -math.pi / 2, 2.0)],
    ids=["plain", "flipped", "RA 0", "pole", "centred on the pole"],
)
def test_whole_field_from_one_raw(tmp_path: Path, kind: str, pointing: Pointing) -> None:
    """A detector at the edge of the field gives the regions of all; the record's pointing does not count."""
    butler = make_repository(tmp_path / "repository")
    recorded = pointing._replace(dec=pointing.dec - math.copysign(math.radians(4), pointing.dec), rotation=0.1)
    exposure = add_exposure(butler, 1, recorded)
    add_raws(butler, exposure, tmp_path, pointing, ["M5"], kind=kind)
    check(region_task(butler, wcsSource="raw").compute(visit_of(exposure)), pointing)


@pytest.mark.parametrize("flip", [False, True])
def test_parity_of_the_camera(tmp_path: Path, flip: bool) -> None:
    """A mirrored camera is an error for a pointing from the record, and no matter for one from a raw."""
    camera = CAMERA | {"focalPlaneParity": True}
    butler = make_repository(tmp_path / "repository", camera)
    exposure = add_exposure(butler, 1, POINTING)
    pointing = POINTING._replace(flip=flip)
    add_raws(butler, exposure, tmp_path, pointing, ["N1"], camera=camera)
    check(region_task(butler, wcsSource="raw").compute(visit_of(exposure)), pointing, camera=camera)
    with pytest.raises(CameraFileError, match="mirrored"):
        region_task(butler, wcsSource="auto").compute(visit_of(exposure))


def test_detector(tmp_path: Path) -> None:
    """The raw of one detector is taken; the others, which say otherwise, are not even there to be read."""
    butler = make_repository(tmp_path / "repository")
    exposure = add_exposure(butler, 1)
    add_raws(butler, exposure, tmp_path, AT_THE_POLE, ["S1"])
    for path in add_raws(butler, exposure, tmp_path, POINTING, ["M3", "M1"]):
        path.unlink()
    check(region_task(butler, wcsSource="raw", detectorId=IDS["S1"]).compute(visit_of(exposure)), AT_THE_POLE)
    # By default the lowest: M1 has 12, M3 has 15, S1 has 31.
    with pytest.raises(RawFileError, match=rf"There is no file \S*raw_{exposure.id}_M1\.fits"):
        region_task(butler, wcsSource="raw").compute(visit_of(exposure))
    with pytest.raises(DefinitionError, match=f"{exposure.id} has no raw of detector 3 in Mosaic10/raw/all"):
        region_task(butler, wcsSource="raw", detectorId=3).compute(visit_of(exposure))


def test_merged_exposures(tmp_path: Path) -> None:
    """Each has its own pointing, one of them from its record."""
    butler = make_repository(tmp_path / "repository")
    pointings = [POINTING, POINTING._replace(ra=POINTING.ra + 60 * ARCSEC, rotation=0.6)]
    exposures = [add_exposure(butler, 1), add_exposure(butler, 2, pointings[1])]
    add_raws(butler, exposures[0], tmp_path, pointings[0], ["M2"])
    visit = visit_of(*exposures[::-1])
    check(region_task(butler, mergeExposures=True).compute(visit), *pointings)
    check(region_task(butler).compute(visit), pointings[0])
    with pytest.raises(DefinitionError, match=f"Exposure {exposures[1].id} has no raw"):
        region_task(butler, mergeExposures=True, wcsSource="raw").compute(visit)
    add_raws(butler, exposures[1], tmp_path, pointings[1], ["S1"], kind="SIP")
    check(region_task(butler, mergeExposures=True, wcsSource="raw").compute(visit), *pointings)


def test_collections(tmp_path: Path) -> None:
    """The given collections come before the conventional one."""
    butler = make_repository(tmp_path / "repository")
    exposure = add_exposure(butler, 1)
    add_raws(butler, exposure, tmp_path, AT_THE_POLE, ["M2"])
    (tmp_path / "better").mkdir()
    add_raws(butler, exposure, tmp_path / "better", POINTING, ["M2"], run="better")
    task = region_task(butler, wcsSource="raw")
    check(task.compute(visit_of(exposure)), AT_THE_POLE)
    check(task.compute(visit_of(exposure), collections=["better"]), POINTING)
    with_defaults = Butler.from_config(tmp_path / "repository", collections=["better"])
    check(region_task(with_defaults, wcsSource="raw").compute(visit_of(exposure)), POINTING)


# Residuals


def test_residual_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The raw is that of a camera with 20% more distortion, whose detector is not moved but bent."""
    bent = copy.deepcopy(CAMERA)
    bent["transforms"]["FieldAngle"]["coeffs"][3] *= 1.2
    butler = make_repository(tmp_path / "repository")
    exposure = add_exposure(butler, 1)
    (path,) = add_raws(butler, exposure, tmp_path, POINTING, ["M5"], camera=bent)
    with caplog.at_level(logging.INFO, "butler_visits"):
        region_task(butler, wcsSource="raw").compute(visit_of(exposure))
    (line,) = (message for message in caplog.messages if "reproduces" in message)
    found = re.fullmatch(rf"Exposure {exposure.id}: .* of \S*{path.name}, HDU 0 \(M5\) to (\d+\.\d\d) pixels\.", line)
    assert found
    assert 0.5 < float(found[1]) < 3
    limit = float(found[1]) / 2
    with pytest.raises(RawFileError) as caught:
        region_task(butler, wcsSource="raw", maxWcsResidual=limit).compute(visit_of(exposure))
    message = str(caught.value)
    assert f"{path.name}, HDU 0 (M5)" in message
    assert f"maxWcsResidual is {limit:g}" in message
    assert f"only to {float(found[1]):.1f} pixels" in message


def test_distorted_camera_whose_centre_is_elsewhere(tmp_path: Path) -> None:
    """A camera with a detector on the wrong side of the field cannot reproduce the raw's distortion."""
    wrong = copy.deepcopy(CAMERA)
    wrong["transforms"]["FieldAngle"]["coeffs"][3] *= 8
    raw_camera = copy.deepcopy(wrong)
    wrong["CCDs"]["M1"]["offset"], wrong["CCDs"]["M5"]["offset"] = (CAMERA["CCDs"][n]["offset"] for n in ("M5", "M1"))
    butler = make_repository(tmp_path / "repository", wrong)
    exposure = add_exposure(butler, 1)
    add_raws(butler, exposure, tmp_path, POINTING, ["M5"], camera=raw_camera)
    with pytest.raises(RawFileError, match=r"_M5\.fits, HDU 0 \(M5\): .* only to \d+\.\d pixels, and maxWcsResidual"):
        region_task(butler, wcsSource="raw").compute(visit_of(exposure))


def test_a_camera_without_the_detector(tmp_path: Path) -> None:
    camera = copy.deepcopy(CAMERA)
    del camera["CCDs"]["M5"]
    butler = make_repository(tmp_path / "repository", camera)
    exposure = add_exposure(butler, 1)
    add_raws(butler, exposure, tmp_path, POINTING, ["M5"])
    with pytest.raises(RawFileError, match=r"_M5\.fits, HDU 0 \(M5\): the camera in .* has no detector 17"):
        region_task(butler, wcsSource="raw").compute(visit_of(exposure))


# Exposures whose records have no pointing


WARNED, WRONG = math.radians(4.5), math.radians(8)
"""Degrees between a raw and its record: 3 fields of the mosaic, 0.9 degrees wide, are 2.8 degrees."""


@pytest.mark.parametrize("source", ["raw", "prefer-raw", "auto"])
def test_far_from_the_record(tmp_path: Path, source: str, caplog: pytest.LogCaptureFixture) -> None:
    """A warning with the distance, and an error where one of the two must be wrong."""
    butler = make_repository(tmp_path / "repository")
    near, far, wrong = (POINTING._replace(dec=POINTING.dec + off) for off in (math.radians(2.5), WARNED, WRONG))
    # With auto a raw counts where the record does not know how the camera was turned.
    changes = {"sky_angle": None} if source == "auto" else {}
    exposures = [add_exposure(butler, n, recorded, **changes) for n, recorded in enumerate((near, far, wrong), start=1)]
    for exposure in exposures:
        add_raws(butler, exposure, tmp_path, POINTING, ["M5"])
    task = region_task(butler, wcsSource=source)
    check(task.compute(visit_of(exposures[0])), POINTING)
    assert not warnings_of(caplog)
    check(task.compute(visit_of(exposures[1])), POINTING)
    (warning,) = warnings_of(caplog)
    assert re.search(
        rf"raw_{exposures[1].id}_M5.fits, HDU 0 .*CRVAL1 and CRVAL2 4\.5 degrees .*{exposures[1].id}", warning
    )
    with pytest.raises(RawFileError, match=rf"raw_{exposures[2].id}_M5.fits, HDU 0 .*CRVAL1 and CRVAL2 8 degrees"):
        task.compute(visit_of(exposures[2]))


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING and "butler_visits" in r.name]


# wcsSource=prefer-raw


def test_prefer_raw(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Half of the frames are plate-solved: each exposure has the pointing that there is, also in one run."""
    butler = make_repository(tmp_path / "repository")
    recorded = POINTING._replace(ra=POINTING.ra + 300 * ARCSEC, rotation=POINTING.rotation + 0.01)
    solved, unsolved, without_raw, unusable = (add_exposure(butler, n, recorded) for n in range(1, 5))
    only_raw, nothing = add_exposure(butler, 5), add_exposure(butler, 6)
    for exposure in (solved, unsolved, unusable, only_raw, nothing):
        (path,) = add_raws(butler, exposure, tmp_path, POINTING, ["M2"])
        if exposure in (unsolved, nothing):
            change_cards(path, CTYPE1=None, CTYPE2=None)
        if exposure is unusable:
            change_cards(path, CRVAL1="unknown")
    result = define_task(butler, wcsSource="prefer-raw").run(
        [solved, unsolved, without_raw, unusable, only_raw, nothing]
    )
    assert (result.n_new, result.n_off_sky, result.n_failed) == (5, 1, 0)
    for exposure, pointing in (
        (solved, POINTING),
        (unsolved, recorded),
        (without_raw, recorded),
        (unusable, recorded),
        (only_raw, POINTING),
    ):
        check(stored_regions(butler, exposure.id), pointing)
    found = warnings_of(caplog)
    # That a frame is not solved is no news; that its WCS is broken is, and so is an exposure that is left out.
    assert len(found) == 2
    assert any(re.search(rf"raw_{unusable.id}_M2.*CRVAL1 .*record is taken", warning) for warning in found)
    assert any(str(nothing.id) in warning for warning in found)


def test_prefer_raw_and_a_raw_that_cannot_be_read(tmp_path: Path) -> None:
    """Another time it can, and the visit would be another one: an error, not the record."""
    butler = make_repository(tmp_path / "repository")
    exposure = add_exposure(butler, 1, POINTING)
    (path,) = add_raws(butler, exposure, tmp_path, POINTING, ["M2"])
    path.unlink()
    with pytest.raises(RawFileError, match="There is no file"):
        region_task(butler, wcsSource="prefer-raw").compute(visit_of(exposure))


def change_cards(path: Path, **values: Any) -> None:
    with fits.open(path, mode="update", memmap=False) as hdus:
        for key, value in values.items():
            if value is None:
                del hdus[0].header[key]
            else:
                hdus[0].header[key] = value


# wcsSource=auto


@pytest.mark.parametrize("source", ["auto", "raw"])
@pytest.mark.parametrize("null", ["all", "tracking_ra", "tracking_dec", "sky_angle"])
def test_null_pointing(tmp_path: Path, source: str, null: str) -> None:
    """An exposure that saw the sky and has a raw becomes a visit, whichever part of its pointing is missing."""
    butler = make_repository(tmp_path / "repository")
    recorded = None if null == "all" else POINTING._replace(dec=POINTING.dec + math.radians(4))
    lost = add_exposure(butler, 1, recorded, **({} if null == "all" else {null: None}))
    other = add_exposure(butler, 2, ACROSS_RA_0)
    add_raws(butler, lost, tmp_path, POINTING, ["S2"])
    if source == "raw":
        add_raws(butler, other, tmp_path, ACROSS_RA_0, ["S2"])
    result = define_task(butler, wcsSource=source).run([lost, other])
    assert (result.n_new, result.n_off_sky) == (2, 0)
    check(stored_regions(butler, lost.id), POINTING)
    check(stored_regions(butler, other.id), ACROSS_RA_0)
    assert define_task(butler, wcsSource=source).run([lost, other]).n_skipped == 2


def strict(task: DefineVisitsTask) -> DefineVisitsTask:
    config = copy.deepcopy(task.config)
    config.ignoreNonScienceExposures = False
    return DefineVisitsTask(config, butler=task.butler)


@pytest.mark.parametrize(
    ("source", "changes", "raws"),
    [
        ("auto", {}, []),
        ("raw", {}, []),
        ("record", {}, ["M1"]),
        ("auto", {"can_see_sky": False}, ["M1"]),
        ("raw", {"can_see_sky": False}, ["M1"]),
        ("auto", {"can_see_sky": None, "observation_type": "dark"}, ["M1"]),
    ],
    ids=["no raw", "no raw for raw", "record only", "auto in the dark", "raw in the dark", "dark by its type"],
)
def test_off_sky(tmp_path: Path, source: str, changes: dict[str, Any], raws: list[str]) -> None:
    """Ignored, or an error that names exposure and type."""
    butler = make_repository(tmp_path / "repository")
    lost, good = add_exposure(butler, 1, None, **changes), add_exposure(butler, 2, POINTING)
    add_raws(butler, lost, tmp_path, names=raws)
    add_raws(butler, good, tmp_path, names=["M1"])
    with pytest.raises(RuntimeError, match=f"{lost.id}, of observation type '{lost.observation_type}', is not on the"):
        strict(define_task(butler, wcsSource=source)).run([lost, good])
    result = define_task(butler, wcsSource=source).run([lost, good])
    assert (result.n_new, result.n_off_sky, result.n_failed) == (1, 1, 0)
    assert defined_visits(butler) == [good.id]


def test_a_raw_without_wcs_is_no_reason_to_fail(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A focus frame, say: with auto it is ignored with a warning that names the file."""
    butler = make_repository(tmp_path / "repository")
    lost, good = add_exposure(butler, 1), add_exposure(butler, 2)
    (path,) = add_raws(butler, lost, tmp_path, names=["M1"], CTYPE1="LINEAR", CTYPE2="LINEAR")
    add_raws(butler, good, tmp_path, names=["M1"])
    result = define_task(butler).run([lost, good])
    assert (result.n_new, result.n_off_sky, result.n_failed) == (1, 1, 0)
    (warning,) = (r for r in caplog.records if r.levelno == logging.WARNING and r.name.startswith("butler_visits"))
    assert f"Exposure {lost.id} " in warning.getMessage()
    assert f"{path.name}, HDU 0 (M1): no celestial WCS" in warning.getMessage()
    with pytest.raises(RuntimeError, match=f"{lost.id}, of observation type 'science', is not on the sky"):
        strict(define_task(butler)).run([lost, good])
    # Where the raws are asked for, it is an error.
    with pytest.raises(RawFileError, match=rf"{path.name}, HDU 0 \(M1\): no celestial WCS"):
        define_task(butler, wcsSource="raw").run([lost, good])


@pytest.mark.parametrize("source", ["auto", "raw"])
@pytest.mark.parametrize("universe", [5, 7])
def test_incremental(tmp_path: Path, source: str, universe: int) -> None:
    """A snap that is found in the registry has no pointing either; in universe 5 no can_see_sky, so its type tells."""
    butler = make_repository(tmp_path / "repository", universe=universe)
    pointings = [POINTING, POINTING._replace(ra=POINTING.ra + 60 * ARCSEC)]
    snaps = [add_exposure(butler, number, seq_start=1, seq_end=2) for number in (1, 2)]
    for snap, pointing in zip(snaps, pointings, strict=True):
        add_raws(butler, snap, tmp_path, pointing, ["N2"])
    task = define_task(butler, grouping="by-group-metadata", wcsSource=source, mergeExposures=True)
    assert task.run(snaps[1:], incremental=True).n_new == 1
    (visit,) = defined_visits(butler)
    check(stored_regions(butler, visit), *pointings)
    with butler.query() as query:
        joined = {row["exposure"] for row in query.data_ids(["exposure", "visit"])}
    assert joined == {snap.id for snap in snaps}


# Real raws


def golden_exposure(butler: Butler) -> DimensionRecord:
    (exposure,) = read_records(butler, "exposure")
    return exposure


@pytest.mark.parametrize(("name", "limit"), [("imsim", 90.0), ("lsstCamSim", 90.0)])
def test_real_raw(copy_golden: Callable[[str], Path], name: str, limit: float) -> None:
    """One raw's WCS gives regions of all detectors that are near the ones that Rubin's software computed."""
    butler = Butler.from_config(copy_golden(name))
    stored = {record.detector: record.region for record in read_records(butler, "visit_detector_region")}
    (visit,) = read_records(butler, "visit")
    region, detectors = region_task(butler, wcsSource="raw").compute(visit_of(golden_exposure(butler)))
    assert detectors.keys() == stored.keys()
    assert max(outline_distance(detectors[d], stored[d]) for d in stored) < limit
    assert outline_distance(region, visit.region) < limit


def test_real_visit_without_a_recorded_pointing(copy_golden: Callable[[str], Path]) -> None:
    """As if ingestion had not known where imSim looked: the raw tells."""
    butler = Butler.from_config(copy_golden("imsim"), writeable=True)
    (before,) = read_records(butler, "visit")
    exposure = golden_exposure(butler)
    nulls = dict.fromkeys(("tracking_ra", "tracking_dec", "sky_angle"))
    butler.registry.insertDimensionData("exposure", exposure.toDict() | nulls, replace=True)
    task = define_task(butler, grouping="by-group-metadata")
    assert task.run([golden_exposure(butler)], update_records=True).n_fully_updated == 1
    (after,) = read_records(butler, "visit")
    assert 0.01 < outline_distance(after.region, before.region) < 90


# The fit


def field(name: str) -> np.ndarray:
    """Return points of a field, radians on the tangent plane: all over a camera, or on one detector off its centre."""
    x, y = np.meshgrid(np.linspace(-1, 1, 5), np.linspace(-1, 1, 5))
    points = np.column_stack([x.ravel(), y.ravel()])
    return {"camera": 0.03 * points, "detector": [0.02, -0.01] + 0.002 * points}[name]


ANGLES = st.floats(0, 2 * math.pi, exclude_max=True)


@settings(deadline=None, max_examples=100)
@given(ANGLES, st.floats(-math.pi / 2, math.pi / 2), ANGLES, st.booleans(), st.sampled_from(["camera", "detector"]))
@example(0.0, math.pi / 2, 0.0, False, "camera")
@example(1.0, -math.pi / 2, 2.0, True, "detector")
@example(2 * math.pi - 1e-9, 0.0, 6.2, False, "detector")
def test_fit_recovers_any_pointing(ra: float, dec: float, rotation: float, flip: bool, where: str) -> None:
    points = field(where)
    fit = fit_pointing(points, field_angle_to_sky(points, ra, dec, rotation, flip=flip), 1e-6)
    assert fit.flip == flip
    assert fit.residual < 1e-12
    assert 0 <= fit.ra <= 2 * math.pi
    assert 0 <= fit.rotation <= 2 * math.pi
    # At a pole ra and rotation mean nothing alone: what counts is where the whole field is.
    everywhere = field("camera")
    again = field_angle_to_sky(everywhere, fit.ra, fit.dec, fit.rotation, flip=fit.flip)
    truth = field_angle_to_sky(everywhere, ra, dec, rotation, flip=flip)
    assert np.abs(again - truth).max() < 1e-10
    if abs(dec) < 1.5:
        assert math.cos(fit.ra - ra) > 1 - 1e-15
        assert math.isclose(fit.dec, dec, abs_tol=1e-10)
        assert math.cos(fit.rotation - rotation) > 1 - 1e-12


@settings(deadline=None, max_examples=50)
@given(ANGLES, st.floats(-1.5, 1.5), ANGLES, st.booleans(), st.integers(0, 24), st.floats(10, 3000))
def test_fit_is_robust(ra: float, dec: float, rotation: float, flip: bool, bad: int, pixels: float) -> None:
    """One of 25 points is off by up to thousands of pixels; the others' residuals stay below a pixel."""
    points = field("camera")
    directions = field_angle_to_sky(points, ra, dec, rotation, flip=flip)
    turned = np.cross(directions[bad], [0.6, 0.48, 0.64])
    directions[bad] += pixels * 1e-6 * turned / np.linalg.norm(turned)
    directions[bad] /= np.linalg.norm(directions[bad])
    fit = fit_pointing(points, directions, 1e-6)
    assert fit.flip == flip
    assert math.isclose(fit.residual, pixels * 1e-6, rel_tol=0.3)
    again = field_angle_to_sky(points, fit.ra, fit.dec, fit.rotation, flip=fit.flip)
    assert np.delete(np.linalg.norm(again - directions, axis=1), bad).max() < 1e-6


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scale", [1e-4, 0.03])
def test_a_square_field_is_fitted_without_a_warning(scale: float, flip: bool) -> None:
    """One square CCD on the optical axis, the usual small telescope: of the wrong parity any rotation is as bad."""
    points = field("camera") * (scale / 0.03)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = fit_pointing(points, field_angle_to_sky(points, 1.0, 0.5, 2.0, flip=flip), 1e-6)
    assert fit.flip == flip
    assert fit.residual < 1e-12
    assert np.allclose(fit[:3], [1.0, 0.5, 2.0], rtol=0, atol=1e-9)
