"""The readers of camera files."""

from __future__ import annotations

import gzip
import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from butler_visits import CameraFileError
from butler_visits.camera.afw_fits import read_afw_camera
from butler_visits.camera.yaml_camera import camera_from_mapping, read_yaml_camera
from simulated_survey import camera as survey_camera

ARCSEC = math.pi / 180 / 3600
GOLDEN_CAMERAS = ["lsstCamSim", "imsim", "comCamSim"]


def _golden_camera(golden: Path, name: str) -> Path:
    (path,) = (golden / "repos" / name).glob("*/calib/unbounded/camera/*.fits")
    return path


def _small() -> dict[str, Any]:
    return {
        "name": "Small",
        "plateScale": 20.0,
        "transforms": {"nativeSys": "FocalPlane", "FieldAngle": {"transformType": "radial", "coeffs": [0.0, 1.0]}},
        "CCDs": {
            "A": {
                "id": 3,
                "serial": "x",
                "detectorType": 0,
                "bbox": [[0, 0], [99, 49]],
                "pixelSize": [0.01, 0.02],
                "refpos": [49.5, 24.5],
                "offset": [10.0, -5.0],
                "yaw": 90.0,
                "pitch": 0.0,
                "roll": 0.0,
                "transposeDetector": False,
            }
        },
    }


def test_yaml_camera_by_hand() -> None:
    camera = camera_from_mapping(_small(), "test")
    # Yaw 90 degrees takes the pixels' x axis to the focal plane's y axis; pixels are 10 and 20 um.
    assert camera.pixels_to_focal_plane[0](np.array([[49.5, 24.5], [149.5, 24.5], [49.5, 74.5]])) == pytest.approx(
        np.array([[10.0, -5.0], [10.0, -4.0], [9.0, -5.0]])
    )
    lower_left = np.array([10.0 + 25 * 0.02, -5.0 - 50 * 0.01])
    assert camera.corners()[0, 0] == pytest.approx(lower_left * 20 * ARCSEC)
    assert camera.corners(padding=2)[0, 0] == pytest.approx((lower_left + np.array([0.04, -0.02])) * 20 * ARCSEC)
    assert (camera.name, camera.detector_ids.tolist(), camera.detector_names) == ("Small", [3], ("A",))
    assert not camera.flipped


@given(st.floats(-180, 180), st.floats(-60, 60), st.floats(-60, 60))
def test_yaml_orientation_is_the_product_of_rotations(yaw: float, pitch: float, roll: float) -> None:
    data = _small()
    data["CCDs"]["A"].update(yaw=yaw, pitch=pitch, roll=roll)
    transform = camera_from_mapping(data, "test").pixels_to_focal_plane[0]
    y, p, r = np.deg2rad([yaw, pitch, roll])
    rz = np.array([[np.cos(y), -np.sin(y), 0], [np.sin(y), np.cos(y), 0], [0, 0, 1]])
    ry = np.array([[np.cos(p), 0, np.sin(p)], [0, 1, 0], [-np.sin(p), 0, np.cos(p)]])
    rx = np.array([[1, 0, 0], [0, np.cos(r), -np.sin(r)], [0, np.sin(r), np.cos(r)]])
    jacobian = (rz @ ry @ rx)[:2, :2] @ np.diag([0.01, 0.02])
    pixels = np.array([[0.0, 0.0], [12.0, 40.0]])
    expected = np.array([10.0, -5.0]) + (jacobian @ (pixels - [49.5, 24.5]).T).T
    assert transform(pixels) == pytest.approx(expected, abs=1e-12)


def test_yaml_distortion_that_turns_back_beyond_the_detectors() -> None:
    data = _small()
    data["transforms"]["FieldAngle"]["coeffs"] = [0, 1, 0, -0.0015]
    assert camera_from_mapping(data, "test").corners().shape == (1, 4, 2)


def test_yaml_radial_distortion() -> None:
    data = _small()
    data["transforms"]["FieldAngle"]["coeffs"] = [0.0, 1.0, 1e-4, 1e-6]
    to_field = camera_from_mapping(data, "test").focal_plane_to_field_angle
    radius = 50.0
    expected = 20 * ARCSEC * (radius + 1e-4 * radius**2 + 1e-6 * radius**3)
    assert to_field(np.array([[0.0, 0.0], [radius, 0.0], [0.6 * radius, -0.8 * radius]])) == pytest.approx(
        np.array([[0.0, 0.0], [expected, 0.0], [0.6 * expected, -0.8 * expected]]), abs=1e-18, rel=1e-14
    )


def test_yaml_affine_and_parity() -> None:
    data = _small()
    data["transforms"]["FieldAngle"] = {
        "transformType": "affine",
        "linear": [1e-4, 2e-5, 0.0, 1e-4],
        "translation": [1e-3, 0.0],
    }
    camera = camera_from_mapping(data, "test")
    assert camera.focal_plane_to_field_angle(np.array([[2.0, 3.0]])) == pytest.approx(np.array([[1.26e-3, 3e-4]]))
    assert not camera.flipped
    data["transforms"]["FieldAngle"]["linear"] = [-1e-4, 0.0, 0.0, 1e-4]
    assert camera_from_mapping(data, "test").flipped


@pytest.mark.parametrize("where", ["top", "transforms"])
def test_yaml_focal_plane_parity(where: str) -> None:
    data = _small()
    plain = camera_from_mapping(data, "test")
    (data if where == "top" else data["transforms"])["focalPlaneParity"] = True
    camera = camera_from_mapping(data, "test")
    assert camera.flipped
    assert not plain.flipped
    assert np.array_equal(camera.corners() * [-1, 1], plain.corners())


def test_yaml_text_with_merge_keys() -> None:
    text = """
    name: Two
    plateScale: 10
    transforms: {nativeSys: FocalPlane, FieldAngle: {transformType: radial, coeffs: [0, 1]}}
    CCDs:
      a: &a {id: 1, bbox: [[0, 0], [9, 9]], pixelSize: [0.01, 0.01], refpos: [4.5, 4.5], offset: [0, 0, 0.2], yaw: 0,
             pitch: 0, roll: 0, amplifiers: {ignored: true}}
      b: {<<: *a, id: 2, offset: [1, 0, 0]}
    """
    camera = read_yaml_camera(text, "test")
    assert camera.detector_ids.tolist() == [1, 2]
    assert camera.corners()[1] - camera.corners()[0] == pytest.approx(np.full((4, 2), [10 * ARCSEC, 0.0]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("CCDs"), "lacks the field CCDs"),
        (lambda d: d["CCDs"].clear(), "no detectors"),
        (lambda d: d["CCDs"].update(B=d["CCDs"]["A"]), "several detectors with the id 3"),
        (
            lambda d: d["CCDs"].update({"7": d["CCDs"]["A"] | {"id": 7}, 7: d["CCDs"]["A"] | {"id": 8}}),
            "several .* name 7",
        ),
        (lambda d: d["CCDs"]["A"].pop("bbox"), "detector A lacks the field bbox"),
        (lambda d: d["CCDs"]["A"].update(bbox=[0, 0, 9, 9]), r"bbox of detector A must be \[\[x0"),
        (lambda d: d["CCDs"]["A"].update(offset=[1]), "offset of detector A must be two or three numbers"),
        (lambda d: d["CCDs"]["A"].update(yaw="north"), "yaw of detector A must be a number, not 'north'"),
        (lambda d: d["CCDs"]["A"].update(pixelSize=[0, 0.01]), "detector A has no area"),
        (lambda d: d.pop("plateScale"), "lacks the field plateScale"),
        # Seen from the side, all but for rounding.
        *((lambda d, a=a: d["CCDs"]["A"].update({a: 90.0}), "detector A has no area") for a in ("pitch", "roll")),
        # A radius of 11 mm in the field is at that of 9 mm.
        (
            lambda d: d["transforms"]["FieldAngle"].update(coeffs=[0, 1, 0, -0.00333]),
            r"coeffs of transforms.FieldAngle turn back at a radius of 10(\.\d+)? mm, and .* reach to 11\.",
        ),
        (lambda d: d["transforms"]["FieldAngle"].update(coeffs=[0, 1, -0.5]), "turn back at a radius of 1 mm"),
        (lambda d: d["transforms"].update(nativeSys="Pixels"), "nativeSys must be FocalPlane"),
        (lambda d: d["transforms"]["FieldAngle"].update(transformType="spline"), "radial or affine, not 'spline'"),
        (lambda d: d["transforms"]["FieldAngle"].update(coeffs=[1.0, 1.0]), "coeffs of transforms.FieldAngle"),
        (
            lambda d: d["transforms"].update(FieldAngle={"transformType": "affine", "linear": [1, 2]}),
            "linear of transforms.FieldAngle must be four numbers",
        ),
        (lambda d: d["transforms"]["FieldAngle"].update(coeffs=[0, 1, math.nan]), "coeffs of transforms.FieldAngle"),
        (lambda d: d["transforms"]["FieldAngle"].update(coeffs=[0, 1, math.inf]), "coeffs of transforms.FieldAngle"),
        (
            lambda d: d["transforms"]["FieldAngle"].update(coeffs=[0, 1, "1e-8"]),
            "not .*'1e-8'.*; numbers have no quotes",
        ),
        (lambda d: d["transforms"]["FieldAngle"].update(coeffs=[0, True]), "coeffs of transforms.FieldAngle"),
        (lambda d: d["transforms"]["FieldAngle"].update(coeffs=1), "must be numbers, not 1"),
        (lambda d: d.update(plateScale="20"), "plateScale of the camera must be a number, not '20'"),
        (lambda d: d.update(plateScale=10**400), "plateScale of the camera must be a number"),
        (lambda d: d["CCDs"]["A"].update(id="3"), "id of detector A must be a number, not '3'"),
        (lambda d: d["CCDs"]["A"].update(id=True), "id of detector A must be a number, not True"),
        (lambda d: d["CCDs"]["A"].update(id=1.5), "id of detector A must be integers, not 1.5"),
        (lambda d: d["CCDs"]["A"].update(bbox=[[0, 0], [9, "9"]]), "bbox of detector A must be"),
        (lambda d: d["CCDs"]["A"].update(yaw=None), "yaw of detector A must be a number, not None"),
        *(
            (
                lambda d, value=value: d.update(focalPlaneParity=value),
                f"focalPlaneParity must be true or false, not {value!r}",
            )
            for value in ("false", "true", "yes", 0, 1, None, 1.0)
        ),
    ],
)
def test_yaml_mistakes_are_named(change: Any, message: str) -> None:
    data = _small()
    change(data)
    with pytest.raises(CameraFileError, match=message):
        camera_from_mapping(data, "test")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("CCDs: {A: {id: 1}, B: {id: 2}, A: {id: 3}}", "A"),
        ("CCDs: {1: {id: 1}, 0x1: {id: 3}}", "0x1"),
        ("name: x\nCCDs:\n  A: &a {id: 1, yaw: 0.0, yaw: 90.0}\n  B: {<<: *a, id: 2}", "yaw"),
        ("focalPlaneParity: true\nname: x\nfocalPlaneParity: false", "focalPlaneParity"),
    ],
)
def test_yaml_key_that_is_there_twice(text: str, key: str) -> None:
    with pytest.raises(CameraFileError, match=f"the key {key} is there twice, the second time in line"):
        read_yaml_camera(text, "file.yaml")


@pytest.mark.parametrize("name", ["01", "010", "0x10", "1_0", "1.50", "1:30", "ON", "No", "~"])
def test_yaml_names_are_as_they_are_written(name: str) -> None:
    text = yaml.safe_dump(_small()).replace("A:", f"{name}:")
    assert read_yaml_camera(text, "file.yaml").detector_names == (name,)


@pytest.mark.parametrize(("field", "value"), [("id", "010"), ("yaw", "0:30"), ("yaw", "90:00:00.0")])
def test_yaml_numbers_that_may_be_others(field: str, value: str) -> None:
    """For YAML 1.1 they are 8, 30 and 324000."""
    text = re.sub(rf"\b{field}: [-.\d]+", f"{field}: {value}", yaml.safe_dump(_small()))
    assert f"{field}: {value}" in text
    with pytest.raises(CameraFileError, match=rf"{field} of detector A .* not '{value}'; numbers have no"):
        read_yaml_camera(text, "file.yaml")


@pytest.mark.parametrize("what", ["detectors", "coefficients"])
def test_camera_of_many(what: str) -> None:
    """More than anybody has; no duration is asserted, but this one is a part of the suite's."""
    number = 20_000
    data = _small()
    if what == "detectors":
        data["CCDs"] = {f"D{i}": data["CCDs"]["A"] | {"id": i, "offset": [i / 1000, 0.0]} for i in range(number)}
        camera = camera_from_mapping(data, "test")
        place = camera.pixels_to_focal_plane[-1](np.array([[49.5, 24.5]]))
        assert place == pytest.approx(np.array([[(number - 1) / 1000, 0.0]]))
        assert camera.corners().shape == (number, 4, 2)
    else:
        expected = camera_from_mapping(data, "test").corners()
        data["transforms"]["FieldAngle"]["coeffs"] += [0.0] * number
        assert camera_from_mapping(data, "test").corners() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("text", ["a: [1", "just text", "- 1\n- 2"])
def test_yaml_that_is_none(text: str) -> None:
    with pytest.raises(CameraFileError, match=r"file\.yaml"):
        read_yaml_camera(text, "file.yaml")


def test_a_file_that_is_packed(golden: Path) -> None:
    for content in (yaml.safe_dump(_small()).encode(), _golden_camera(golden, "comCamSim").read_bytes()):
        with pytest.raises(CameraFileError, match=r"file\.gz .*compressed with gzip; unpack it"):
            read_yaml_camera(gzip.compress(content), "file.gz")


@pytest.mark.parametrize("name", GOLDEN_CAMERAS)
def test_afw_camera_agrees_with_the_numbers_beside_its_transforms(golden: Path, name: str) -> None:
    """The same camera, put together as a YAML camera from the detectors' table, has the same pixels."""
    path = _golden_camera(golden, name)
    camera = read_afw_camera(path.read_bytes(), str(path))
    with fits.open(path) as hdus:
        table = hdus[3].data
        ccds = {
            "".join(row["name"]): {
                "id": int(row["id"]),
                "bbox": [[row["bbox_min_x"], row["bbox_min_y"]], [row["bbox_max_x"], row["bbox_max_y"]]],
                "pixelSize": [row["pixelSize_x"], row["pixelSize_y"]],
                "refpos": [row["refPoint_x"], row["refPoint_y"]],
                "offset": [row["fpPosition_x"], row["fpPosition_y"]],
                **{angle: math.degrees(row[angle]) for angle in ("yaw", "pitch", "roll")},
            }
            for row in table
        }
    twin = camera_from_mapping(_small() | {"CCDs": ccds}, "table")
    assert sorted(camera.detector_names) == sorted(twin.detector_names)
    by_name = dict(zip(twin.detector_names, range(len(ccds)), strict=True))
    for i, detector in enumerate(camera.detector_names):
        j = by_name[detector]
        assert camera.detector_ids[i] == twin.detector_ids[j]
        assert np.array_equal(camera.bounding_boxes[i], twin.bounding_boxes[j])
        pixels = camera.bounding_boxes[i].astype(float)
        assert camera.pixels_to_focal_plane[i](pixels) == pytest.approx(
            twin.pixels_to_focal_plane[j](pixels), abs=1e-10
        )
    assert not camera.flipped


def test_afw_camera_stored_the_other_way_round(golden: Path) -> None:
    """A transform map that lists a transform's inverse is followed backwards."""
    content = _golden_camera(golden, "comCamSim").read_bytes()
    # With the names of its columns swapped, the map says of every transform that it goes the other way.
    swapped = content
    for a, b in (("fromSysName", "toSysName"), ("fromSysDetectorName", "toSysDetectorName")):
        longer, shorter = f"'{a}'".encode(), f"'{b}'".ljust(len(a) + 2).encode()
        assert swapped.count(longer) == swapped.count(shorter) == 1
        swapped = swapped.replace(longer, b"@swap@").replace(shorter, longer).replace(b"@swap@", shorter)
    straight, camera = read_afw_camera(content, "straight"), read_afw_camera(swapped, "swapped")
    pixels = np.array([[100.0, 200.0], [4000.0, 17.5]])
    there = straight.pixels_to_focal_plane[0](pixels)
    assert camera.pixels_to_focal_plane[0](there) == pytest.approx(pixels, abs=1e-8)
    field = straight.focal_plane_to_field_angle(there)
    assert camera.focal_plane_to_field_angle(field) == pytest.approx(there, abs=1e-8)


def _only_exttype(hdus: fits.HDUList) -> None:
    for hdu in hdus[1:]:
        hdu.header["EXTTYPE"] = hdu.header.pop("EXTNAME")


def _no_names(hdus: fits.HDUList) -> None:
    for hdu in hdus[1:]:
        for key in ("EXTNAME", "EXTTYPE", "AR_NAME", "AR_CATN"):
            hdu.header.remove(key, ignore_missing=True)


def _another_order(hdus: fits.HDUList) -> None:
    """Turn the tables behind the index round, which says where they are."""
    hdus[1].data["cat.archive"] = len(hdus) - 1 - hdus[1].data["cat.archive"]
    for place, hdu in enumerate([hdus.pop() for _ in hdus[2:]], start=2):
        hdus.insert(place, hdu)


def _more_hdus(hdus: fits.HDUList) -> None:
    hdus.append(fits.ImageHDU(np.zeros((2, 2)), name="ARCHIVE_INDEX"))
    hdus.append(fits.BinTableHDU(hdus[1].data, name="Camera"))


def _other_columns(hdus: fits.HDUList) -> None:
    for hdu in hdus[1:]:
        for column in hdu.columns.names:
            first, *others = column.split("_")
            hdu.columns.change_name(column, first + "".join(map(str.capitalize, others)))


@pytest.mark.parametrize("change", [_only_exttype, _no_names, _another_order, _more_hdus, _other_columns])
def test_afw_camera_is_found_by_position(golden: Path, tmp_path: Path, change: Callable[[fits.HDUList], None]) -> None:
    """HDU 1 is the index, whatever it is called, and says where each table is."""
    path = _golden_camera(golden, "comCamSim")
    with fits.open(path) as hdus:
        change(hdus)
        hdus.writeto(tmp_path / "changed.fits")
    camera, changed = (read_afw_camera(one.read_bytes(), "test") for one in (path, tmp_path / "changed.fits"))
    assert (changed.name, changed.detector_names) == (camera.name, camera.detector_names)
    assert np.array_equal(changed.detector_ids, camera.detector_ids)
    exact = camera.exact_corners(250)
    assert exact is not None
    assert np.array_equal(changed.exact_corners(250), exact)  # type: ignore[arg-type]


@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "no_index", "bad_bytes", "other_fits", "no_table"])
def test_damaged_afw_cameras_are_named(golden: Path, tmp_path: Path, damage: str) -> None:
    content = _golden_camera(golden, "comCamSim").read_bytes()
    if damage == "empty":
        content = b""
    elif damage == "text":
        content = b"this is no FITS file\n" * 100
    elif damage == "truncated":
        content = content[: len(content) // 3]
    elif damage == "no_index":
        content = content.replace(b"cat.archive", b"cat.another")
    elif damage == "bad_bytes":
        content = content.replace(b"Begin", b"Bogus")
    else:
        image = fits.ImageHDU(np.zeros((2, 2)))
        fits.HDUList([fits.PrimaryHDU(), image] if damage == "no_table" else [fits.PrimaryHDU()]).writeto(
            tmp_path / "image.fits"
        )
        content = (tmp_path / "image.fits").read_bytes()
    with pytest.raises(CameraFileError, match=r"somewhere\.fits is not an afw camera file, or it is damaged"):
        read_afw_camera(content, "somewhere.fits")


def test_survey_camera() -> None:
    """The demo's camera: 21 rafts of 3 x 3 CCDs, and distortion that only grows with the radius."""
    camera = camera_from_mapping(yaml.safe_load(yaml.safe_dump(survey_camera())), "demo")
    assert len(camera.detector_ids) == 189
    corners = camera.corners().reshape(-1, 2)
    assert 1.7 < np.rad2deg(np.hypot(*corners.T)).max() < 2.1


@pytest.mark.parametrize("kind", ["radial", "affine", "afw"])
def test_pickled(golden: Path, kind: str) -> None:
    """What cameras are read from is not there any more where they are unpickled."""
    if kind == "afw":
        path = _golden_camera(golden, "comCamSim")
        camera = read_afw_camera(path.read_bytes(), str(path))
    else:
        content = _small()
        if kind == "affine":
            content["transforms"]["FieldAngle"] = {"transformType": "affine", "linear": [1e-4, 0, 0, 1e-4]}
        camera = camera_from_mapping(content, "small")
    copy = pickle.loads(pickle.dumps(camera))
    assert copy.detector_names == camera.detector_names
    assert np.array_equal(copy.corners(10), camera.corners(10))
    assert copy.flipped == camera.flipped
