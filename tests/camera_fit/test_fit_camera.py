"""Cameras fitted to a mosaic whose truth is known."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import yaml
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from butler_visits.camera.yaml_camera import camera_from_mapping, read_yaml_camera
from butler_visits.camera_fit.fit import DetectorSamples, FittedCamera, Pointing, fit_camera
from butler_visits.camera_fit.solver import frames_at, project
from butler_visits.camera_fit.yaml_text import camera_yaml
from butler_visits.geometry import field_angle_to_sky
from mosaic import Kind, mosaic_camera, pixel_grid, wcs_header
from mosaic_samples import MOSAIC, NAMES, PIXEL, POINTINGS, error, known, samples


@pytest.mark.parametrize("parity", [False, True])
@pytest.mark.parametrize("exposures", [[101], [101, 102, 103]])
def test_recovers_the_mosaic(parity: bool, exposures: list[int]) -> None:
    camera = mosaic_camera(parity)
    pointings = {exposure: POINTINGS[exposure] for exposure in exposures}
    fitted = fit_camera(samples(camera, pointings), name="Fitted")
    assert fitted.flipped == parity == camera_from_mapping(fitted.mapping, "fit").flipped
    assert error(fitted, camera, pointings) < 1e-3
    assert list(fitted.residuals) == sorted(NAMES, key=lambda name: camera["CCDs"][name]["id"])
    assert all(residual.rms <= residual.max < 1e-3 for residual in fitted.residuals.values())
    assert not fitted.rejected
    for exposure, pointing in pointings.items():
        difference = np.array(fitted.pointings[exposure]) - pointing
        # One convention may differ: how the mosaic as a whole is turned.
        assert np.abs(difference[:2]).max() < 0.1 * PIXEL
        assert abs(np.rad2deg(difference[2])) < 0.2
    for name, ccd in fitted.mapping["CCDs"].items():
        truth = camera["CCDs"][name]
        assert ccd["id"] == truth["id"]
        assert ccd["bbox"] == truth["bbox"]
        assert (ccd["yaw"] - truth["yaw"] + 90) % 360 == pytest.approx(90, abs=0.2)
        assert ccd["pixelSize"] == pytest.approx(truth["pixelSize"], rel=1e-3)
        assert ccd["offset"] == pytest.approx(truth["offset"], abs=0.5)
    sizes = [ccd["pixelSize"][0] for ccd in fitted.mapping["CCDs"].values()]
    assert np.mean(sizes) == pytest.approx(0.015, rel=1e-7)


@pytest.mark.parametrize("kind", ["TPV", "SIP"])
@pytest.mark.parametrize("parity", [False, True])
def test_recovers_the_mosaic_from_headers(kind: Kind, parity: bool) -> None:
    camera = mosaic_camera(parity)
    found = []
    for exposure, pointing in POINTINGS.items():
        for name in NAMES:
            wcs = WCS(wcs_header(camera, name, *known(pointing), kind))
            pixels = pixel_grid()
            lon, lat = np.deg2rad(wcs.all_pix2world(pixels, 0)).T
            directions = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)
            ccd = camera["CCDs"][name]
            found.append(DetectorSamples(ccd["id"], name, exposure, np.array(ccd["bbox"]), pixels, directions))
    assert error(fit_camera(found, name="Fitted"), camera) < 1e-3


@settings(max_examples=40, deadline=None)
@given(
    ra=st.floats(0, 2 * np.pi),
    dec=st.floats(-np.pi / 2, np.pi / 2),
    rotation=st.floats(-np.pi, np.pi),
    parity=st.booleans(),
)
def test_any_pointing(ra: float, dec: float, rotation: float, parity: bool) -> None:
    camera = mosaic_camera(parity)
    pointings = {1: Pointing(ra, dec, rotation)}
    fitted = fit_camera(samples(camera, pointings), name="Fitted")
    assert error(fitted, camera, pointings) < 1e-3


@pytest.mark.parametrize("dec", [np.pi / 2, np.deg2rad(-89.9)])
def test_near_the_pole(dec: float) -> None:
    pointings = {1: Pointing(1.0, dec, 0.0), 2: Pointing(4.0, dec - np.sign(dec) * 0.001, 2.0)}
    assert error(fit_camera(samples(pointings=pointings), name="Fitted"), pointings=pointings) < 1e-3


def test_noise() -> None:
    fitted = fit_camera(samples(noise=0.05), name="Fitted")
    assert error(fitted) < 0.1
    assert all(0.05 < residual.rms < 0.09 for residual in fitted.residuals.values())
    assert not fitted.rejected


def test_noise_in_one_exposure() -> None:
    pointings = {101: POINTINGS[101]}
    assert error(fit_camera(samples(pointings=pointings, noise=0.05), name="Fitted"), pointings=pointings) < 0.1


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_no_distortion(noise: float) -> None:
    camera = mosaic_camera()
    camera["transforms"]["FieldAngle"]["coeffs"] = [0.0, 1.0]
    fitted = fit_camera(samples(camera, noise=noise), name="Fitted")
    assert error(fitted, camera) < (0.1 if noise else 1e-3)


def test_fifth_order() -> None:
    camera = mosaic_camera()
    camera["transforms"]["FieldAngle"]["coeffs"] = [0.0, 1.0, 0.0, 6e-7, 0.0, -5e-11]
    fitted = fit_camera(samples(camera), name="Fitted")
    assert error(fitted, camera) < 1e-3
    assert fitted.mapping["transforms"]["FieldAngle"]["coeffs"][5] == pytest.approx(-5e-11, rel=1e-3)


def test_detector_in_one_exposure_only() -> None:
    found = [s for s in samples(noise=0.02) if s.name != "S2" or s.exposure == 103]
    assert error(fit_camera(found, name="Fitted")) < 0.1


def test_exposures_that_each_lack_most_detectors() -> None:
    parts: dict[Any, Any] = {101: NAMES[:4], 102: NAMES[3:7], 103: NAMES[6:]}
    found = [s for s in samples() if s.name in parts[s.exposure]]
    fitted = fit_camera(found, name="Fitted")
    assert set(fitted.mapping["CCDs"]) == set(NAMES)
    assert error(fitted) < 1e-2


def test_one_detector() -> None:
    fitted = fit_camera(samples(names=["M5"], noise=0.05), name="Fitted", pointings=POINTINGS)
    truth = copy.deepcopy(MOSAIC)
    truth["CCDs"] = {"M5": truth["CCDs"]["M5"]}
    assert error(fitted, truth, padding=0) < 0.2


def test_samples_of_amplifiers_belong_together() -> None:
    found = samples()
    halves = [
        replace(s, pixels=s.pixels[at], directions=s.directions[at])
        for at in (slice(12), slice(12, None))
        for s in found
    ]
    assert fit_camera(halves, name="Fitted").mapping == fit_camera(found, name="Fitted").mapping


def test_pixels_need_not_start_at_zero() -> None:
    camera = mosaic_camera()
    for ccd in camera["CCDs"].values():
        ccd["bbox"] = [[50, 20], [2097, 4115]]
    fitted = fit_camera(samples(camera), name="Fitted")
    assert error(fitted, camera) < 1e-3
    assert fitted.mapping["CCDs"]["N1"]["refpos"] == [1073.5, 2067.5]


def test_detector_seen_from_behind() -> None:
    camera = mosaic_camera()
    camera["CCDs"]["M2"]["roll"] = 180.0
    fitted = fit_camera(samples(camera), name="Fitted")
    assert not fitted.flipped
    assert [name for name, ccd in fitted.mapping["CCDs"].items() if ccd["roll"]] == ["M2"]
    assert error(fitted, camera) < 1e-3


# -- What is known of pointings --------------------------------------------------------------------------------------


@pytest.mark.parametrize("parity", [False, True])
def test_known_rotation_decides_how_the_camera_is_turned(parity: bool) -> None:
    camera = mosaic_camera(parity)
    turned = {exposure: p._replace(rotation=known(p)[2] + 0.7) for exposure, p in POINTINGS.items()}
    fitted = fit_camera(samples(camera), name="Fitted", pointings=turned)
    assert error(fitted, camera) < 1e-3
    for exposure, pointing in turned.items():
        difference = known(fitted.pointings[exposure])[2] - known(pointing)[2]
        assert (difference + np.pi) % (2 * np.pi) == pytest.approx(np.pi, abs=1e-6)
    yaw = np.rad2deg(0.7 if parity else -0.7)
    assert fitted.mapping["CCDs"]["N3"]["yaw"] == pytest.approx(yaw, abs=1e-3)


@pytest.mark.parametrize("known", [[101], [101, 102, 103]])
def test_header_boresights_are_a_hint(known: list[int]) -> None:
    # Off by a quarter of a degree, a fifth of the field: the distortion knows better.
    pointings = {e: Pointing(POINTINGS[e].ra, POINTINGS[e].dec + 0.004) for e in known}
    fitted = fit_camera(samples(noise=0.02), name="Fitted", pointings=pointings, hold_boresights=False)
    assert error(fitted) < 0.1
    assert max(abs(fitted.pointings[e].dec - POINTINGS[e].dec) for e in known) < 10 * PIXEL


def test_header_boresights_decide_where_distortion_cannot() -> None:
    names = ["M3"]
    fitted = fit_camera(samples(names=names, noise=0.05), name="Fitted", pointings=POINTINGS)
    # 1 mm is 18 arcsec.
    assert fitted.mapping["CCDs"]["M3"]["offset"] == pytest.approx(MOSAIC["CCDs"]["M3"]["offset"], abs=1)


def test_held_boresights() -> None:
    # The telescope misses its target by 75 pixels, always in the same direction of the field, and by a few at random.
    rng = np.random.default_rng(4)
    headers = {}
    for exposure in POINTINGS:
        headers[exposure] = pointing_at(exposure, np.array([75.0, 20.0]) + rng.normal(size=2) * 5)
    found = samples(noise=0.02)
    free = fit_camera(found, name="Fitted", pointings=headers, hold_boresights=False)
    held = fit_camera(found, name="Fitted", pointings=headers)
    assert error(free) < 0.1
    assert error_from(headers, free) > 70
    assert error(held) < 0.5
    assert error_from(headers, held) < 15


def test_held_boresights_where_optics_are_tilted() -> None:
    """Distortion that is not radial, 10 pixels at the edge, would put the centre many arcminutes away."""
    found = []
    for s in samples():
        frame = frames_at(boresight(s.exposure), False, np.array([POINTINGS[s.exposure].rotation]))
        field = project(frame, s.directions)
        q = field / (88 * 17.6 / 206265)
        field += 10 * PIXEL * np.stack([q[:, 0] ** 2, q[:, 0] * q[:, 1] + q[:, 1] ** 2], axis=-1)
        directions = np.column_stack([field, np.ones(len(field))]) @ frame[0]
        found.append(replace(s, directions=directions / np.linalg.norm(directions, axis=1, keepdims=True)))
    fitted = fit_camera(found, name="Fitted", pointings=POINTINGS)
    assert max(residual.max for residual in fitted.residuals.values()) < 5
    # The optics alone are 14 pixels from the mosaic's truth.
    assert error_from(POINTINGS, fitted) < 25
    free = fit_camera(found, name="Fitted", pointings=POINTINGS, hold_boresights=False)
    assert error_from(POINTINGS, free) > 500


def test_one_wrong_header_pointing_does_no_harm() -> None:
    headers = dict(POINTINGS)
    headers[101] = Pointing(POINTINGS[101].ra + 0.01, POINTINGS[101].dec, known(POINTINGS[101])[2] + 2)
    fitted = fit_camera(samples(noise=0.02), name="Fitted", pointings=headers)
    assert error(fitted) < 0.1
    assert fitted.pointings[102] == pytest.approx(POINTINGS[102], abs=1e-5)


def test_pointings_of_some_exposures_only() -> None:
    headers = {102: POINTINGS[102]}
    found = [s for s in samples(noise=0.02) if s.exposure == 101 or s.name in NAMES[:3]]
    fitted = fit_camera(found, name="Fitted", pointings=headers)
    assert error(fitted) < 0.1
    assert fitted.pointings[102] == pytest.approx(POINTINGS[102], abs=1e-8)


def boresight(exposure: Hashable) -> np.ndarray:
    ra, dec, _ = POINTINGS[exposure]
    return np.array([[np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)]])


def pointing_at(exposure: int, pixels: np.ndarray) -> Pointing:
    """Return an exposure's pointing moved by pixels along the camera's axes."""
    ra, dec, rotation = known(POINTINGS[exposure])
    x, y, z = field_angle_to_sky(pixels[None] * PIXEL, ra, dec, rotation)[0]
    return Pointing(np.arctan2(y, x) % (2 * np.pi), np.arcsin(z), rotation)


def error_from(headers: Mapping[Any, Pointing], fitted: FittedCamera) -> float:
    """Return the largest distance from the truth, in pixels, of what follows from header pointings."""
    return error(replace(fitted, pointings=dict(headers)), padding=0)


# -- The file --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Fitted", "on", "a: b # c", "Kamera in Zürich\nNr. 2"])
def test_file_is_read_back(name: str) -> None:
    fitted = fit_camera(samples(mosaic_camera(True)), name=name)
    text = camera_yaml(fitted)
    assert yaml.safe_load(text) == fitted.mapping
    camera, direct = read_yaml_camera(text, "file"), camera_from_mapping(fitted.mapping, "fit")
    assert (camera.name, camera.flipped) == (name, True)
    np.testing.assert_array_equal(camera.corners(250), direct.corners(250))
    assert max(map(len, text.splitlines())) <= 120
    assert "bbox: [[0, 0], [2047, 4095]]" in text
