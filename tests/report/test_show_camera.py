"""``butler-visits show-camera``: what a camera looks like, in words and in a picture."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import yaml
from astropy.time import Time
from click.testing import Result
from lsst.daf.butler import Butler

from butler_visits import CameraFileError, VisitsError
from butler_visits.camera.afw_fits import read_afw_camera
from butler_visits.camera.describe import describe_camera, sky_corners
from butler_visits.camera.to_yaml import camera_to_mapping
from butler_visits.camera.yaml_camera import camera_from_mapping, read_yaml_camera
from butler_visits.instruments.description import InstrumentDescription
from butler_visits.report import plot_camera
from butler_visits.repository.write_camera import latest_camera, write_camera
from command_line import define_visits, lines, message, visits_command
from instrument_classes import add_instrument, remove_camera, set_class
from simulated_survey import CALIB_COLLECTION, INSTRUMENT, camera
from visit_tables import add_exposures, exposure, make_read_only, root

pytestmark = pytest.mark.sqlite_only  # Cameras are the same from either database.

needs_matplotlib = pytest.mark.skipif(
    find_spec("matplotlib") is None, reason="matplotlib (the extra report) is not installed"
)


def show(*arguments: object) -> Result:
    return visits_command("show-camera", *arguments)


def small(**changes: Any) -> dict[str, Any]:
    """Describe a camera of two detectors, one of them turned, of 0.2 and 0.4 arcsec per pixel."""
    ccd = {"id": 0, "bbox": [[0, 0], [99, 49]], "pixelSize": [0.01, 0.01], "refpos": [49.5, 24.5], "offset": [10, 0]}
    return {
        "name": "Pair",
        "plateScale": 20.0,
        "transforms": {"nativeSys": "FocalPlane", "FieldAngle": {"transformType": "radial", "coeffs": [0.0, 1.0]}},
        "CCDs": {
            "right": ccd,
            "left": {**ccd, "id": 7, "offset": [-10.0, 2.5], "yaw": 90.0, "pixelSize": [0.02, 0.02]},
        },
        **changes,
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "camera.yaml"
    path.write_text(yaml.safe_dump(small(), sort_keys=False))
    return path


# In words


def test_yaml_file(file: Path) -> None:
    """All numbers by hand: the field is from -10.5 to 10.5 mm and from -0.25 to 3.5 mm, of 20 arcsec each."""
    across = np.hypot(10.5 + 10.5, 0.25 + 3.5) * 20 / 3600
    assert lines(show(file)) == [
        f"Camera Pair, from {file}",
        "Detectors: 2",
        "Pixel scale: 0.2 to 0.4 arcsec/pixel",
        f"Field of view: {21 * 20 / 3600:.4g} x {3.75 * 20 / 3600:.4g} degrees, {across:.4g} degrees across",
        "Parity: not flipped. Seen on the sky, the focal plane is turned but not mirrored.",
        "",
        "id  name     pixels   x (mm)  y (mm)  yaw (deg)",
        " 0  right  100 x 50   10.000   0.000          0",
        " 7  left   100 x 50  -10.000   2.500         90",
    ]


def test_flipped_file(file: Path) -> None:
    file.write_text(yaml.safe_dump(small(focalPlaneParity=True)))
    (parity,) = (line for line in lines(show(file)) if line.startswith("Parity"))
    assert parity == "Parity: flipped. Seen on the sky, the focal plane is mirrored."


@pytest.mark.parametrize(
    ("name", "count", "scale", "size"),
    [("comCamSim", 9, "0.2", 0.7), ("imsim", 189, "0.1998 to 0.2", 3.5), ("lsstCamSim", 205, "0.1995 to 0.2001", 3.5)],
)
def test_afw_file(golden: Path, name: str, count: int, scale: str, size: float) -> None:
    (path,) = (golden / "repos" / name).glob("*/calib/unbounded/camera/*.fits")
    said = lines(show(path))
    assert said[0].endswith(f", from {path}")
    assert said[1:3] == [f"Detectors: {count}", f"Pixel scale: {scale} arcsec/pixel"]
    width, height = map(float, re.findall(r"[\d.]+", said[3])[:2])
    assert width == pytest.approx(size, rel=0.02)
    assert height == pytest.approx(size, rel=0.02)
    assert said[4].startswith("Parity: not flipped.")
    assert len(said) == 7 + count


def test_afw_dataset(golden: Path) -> None:
    """The golden repositories are read-only, and so is this command."""
    said = lines(show(golden / "repos" / "comCamSim", "LSSTComCamSim"))
    assert re.fullmatch(r"Camera LSSTComCamSim, from file:.*/calib/unbounded/camera/.*\.fits", said[0])


def test_repository(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    (ref,) = butler.query_datasets("camera_geometry", CALIB_COLLECTION)
    make_read_only(butler)
    said = lines(show(root(butler), INSTRUMENT))
    assert said[:2] == [f"Camera SimCam, from {butler.getURI(ref)}", "Detectors: 9"]
    assert lines(show(root(butler), f"simulated_camera.{INSTRUMENT}")) == said


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({"a": ("2000", "2010"), "b": ("2010", None)}, "b"),
        ({"a": (None, "2010"), "b": ("2010", "2020")}, "b"),
        ({"b": ("1990", "2020"), "a": ("1971", "1990")}, "b"),
        ({"a": ("1971", "1980"), "b": ("2020", "2090"), "c": ("2090", None)}, "b"),
        ({"a": ("2090", None)}, "a"),
    ],
)
def test_latest(
    make_survey: Callable[..., Butler], times: dict[str, tuple[str | None, str | None]], expected: str
) -> None:
    """The camera of now or, if there is none, of the nearest time."""
    butler = make_survey()
    remove_camera(butler)
    for name, ends in times.items():
        begin, end = (end and Time(f"{end}-01-01", scale="tai") for end in ends)
        write_camera(butler, INSTRUMENT, camera(rafts=1) | {"name": name}, begin=begin, end=end)
    assert latest_camera(butler, INSTRUMENT).name == expected
    assert lines(show(root(butler), INSTRUMENT))[0].startswith(f"Camera {expected}, from ")


def test_camera_of_the_class(make_survey: Callable[..., Butler], monkeypatch: pytest.MonkeyPatch) -> None:
    # Pytest puts that folder on the path only where it collects it.
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "camera")
    butler = make_survey()
    remove_camera(butler)
    set_class(butler, "test_afw_object.AfwSimCam")
    assert lines(show(root(butler), INSTRUMENT))[0] == "Camera SimCam, from test_afw_object.AfwSimCam.getCamera()"


def test_no_camera(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    remove_camera(butler)
    said = message(show(root(butler), INSTRUMENT))
    assert "No camera geometry for SimCam" in said
    assert "SimCam/calib, SimCam/calib/unbounded" in said
    assert "write-camera" in said


def test_raws_that_are_flipped(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    add_instrument(butler, "DECam", "nowhere.DECam")
    *_, note = lines(show(root(butler), "DECam"))
    assert note == "The raws of DECam are flipped, so the field is mirrored on its way to the sky all the same."
    write_camera(butler, "DECam", camera(rafts=1) | {"focalPlaneParity": True})
    said = lines(show(root(butler), "DECam"))
    assert any(line.startswith("Parity: flipped.") for line in said)
    assert "raws" not in said[-1]


def test_flipped_camera_that_is_not_expected(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    remove_camera(butler)
    write_camera(butler, INSTRUMENT, camera(rafts=1) | {"focalPlaneParity": True})
    *_, note = lines(show(root(butler), INSTRUMENT))
    assert note == "The raws of SimCam are not flipped, so define-visits does not take this camera."
    add_exposures(butler, [exposure(1)])
    assert "mirrored" in message(define_visits(root(butler), INSTRUMENT))


def test_numbers() -> None:
    """Yaw and pixel scale where a detector lies askew and the field is stretched."""
    data = small()
    data["transforms"]["FieldAngle"] = {"transformType": "affine", "linear": [1e-4, 0.0, 0.0, 2e-4]}
    data["CCDs"]["left"]["yaw"] = -179.0
    described = describe_camera(camera_from_mapping(data, "test"))
    assert described.sizes.tolist() == [[100, 50], [100, 50]]
    assert described.yaws == pytest.approx([0.0, -179.0])
    assert described.centres == pytest.approx(np.array([[10.0, 0.0], [-10.0, 2.5]]))
    arcsec = np.rad2deg(1) * 3600
    assert described.pixel_scales == pytest.approx(np.sqrt(2) * 1e-4 * np.array([0.01, 0.02]) * arcsec, rel=1e-5)


def test_camera_without_area() -> None:
    data = small()
    data["CCDs"]["right"]["bbox"] = [[0, 0], [-1, 9]]
    with pytest.raises(CameraFileError, match=r"Detector right .* has no pixels"):
        describe_camera(camera_from_mapping(data, "test"))


@pytest.mark.parametrize("content", [None, b"", b"[", b"SIMPLE  =                    T", b"\x00\x01"])
def test_file_that_is_no_camera(file: Path, content: bytes | None) -> None:
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    assert str(file) in message(show(file))


def test_bad_arguments(make_survey: Callable[..., Butler], file: Path) -> None:
    butler = make_survey()
    assert "a repository followed by an instrument" in message(show(root(butler)))
    assert "registered: SimCam" in message(show(root(butler), "OtherCam"))
    assert str(file) in message(show(file, INSTRUMENT))


# As YAML


@pytest.mark.parametrize("name", ["comCamSim", "imsim", "lsstCamSim"])
def test_afw_file_as_yaml(golden: Path, tmp_path: Path, name: str) -> None:
    """Each corner is where the FITS file has it, far below what anybody measures; the output says how far at most."""
    (path,) = (golden / "repos" / name).glob("*/calib/unbounded/camera/*.fits")
    said = lines(show(path, "-o", tmp_path / "camera.yaml"))
    deviation = float(re.search(r"each pixel is at most (\S+) arcsec from where", said[-1])[1])  # type: ignore[index]
    written = read_yaml_camera((tmp_path / "camera.yaml").read_bytes(), "test")
    camera = read_afw_camera(path.read_bytes(), "test")
    assert (written.name, written.detector_names) == (camera.name, camera.detector_names)
    assert np.array_equal(written.detector_ids, camera.detector_ids)
    for padding in (0, 250):
        distance = np.hypot(*np.moveaxis(written.corners(padding) - camera.corners(padding), -1, 0)).max()
        # It is said with two digits.
        assert np.rad2deg(distance) * 3600 <= deviation * 1.05 < 1e-9


@pytest.mark.parametrize(
    ("changes", "ccd"),
    [
        ({}, {}),
        ({"focalPlaneParity": True}, {"yaw": -37.0}),
        ({}, {"roll": 180.0, "yaw": 12.5}),
        ({}, {"pitch": 3.0, "roll": -2.0, "yaw": 100.0}),
        ({}, {"pitch": -1.0, "roll": 178.0, "pixelSize": [0.015, 0.015]}),
        ({"transforms": {"FieldAngle": {"transformType": "radial", "coeffs": [0.0, 1.0, 0.0, 2e-5, 0.0, 1e-9]}}}, {}),
        ({"transforms": {"FieldAngle": {"transformType": "affine", "linear": [-1e-4, 2e-5, 0.0, 1e-4]}}}, {}),
        (
            {
                "transforms": {
                    "FieldAngle": {"transformType": "affine", "linear": [1e-4, 0, 0, 1e-4], "translation": [1, 2]}
                }
            },
            {"pixelSize": [0.01, 0.03]},
        ),
    ],
)
def test_yaml_can_say_what_yaml_says(changes: dict[str, Any], ccd: dict[str, Any]) -> None:
    data = small(**changes)
    data["CCDs"]["left"].update(ccd)
    camera = camera_from_mapping(data, "test")
    converted = camera_to_mapping(camera)
    assert converted.deviation < 1e-6
    assert camera_from_mapping(converted.mapping, "test").corners(250) == pytest.approx(camera.corners(250), abs=1e-12)


@pytest.mark.parametrize("other", [0, [1], "SCIENCE", None])
def test_what_detectors_are_for(other: Any) -> None:
    """A description that is built on the file knows its guiders."""
    data = small()
    data["CCDs"]["left"]["detectorType"] = 2
    data["CCDs"]["right"]["detectorType"] = other
    converted = camera_to_mapping(camera_from_mapping(data, "test"))
    content: dict[str, Any] = {"name": "Cam", "recognise": {"INSTRUME": "Cam"}, "filters": [{"name": "r", "band": "r"}]}
    content["properties"] = {"detector_num": "CCD"}
    for one in (data, converted.mapping):
        description = InstrumentDescription.from_mapping({**content, "camera": one}, "test")
        assert {d.name: d.purpose for d in description.detectors} == {"left": "GUIDER", "right": "SCIENCE"}


@pytest.mark.parametrize("what", ["optics", "detector"])
def test_what_yaml_cannot_say(file: Path, what: str) -> None:
    camera = camera_from_mapping(small(), "here.fits")
    skewed = replace(
        camera,
        focal_plane_to_field_angle=lambda p: 1e-4 * (p + 1e-3 * p[:, ::-1] ** 2),
    )
    bent = replace(camera, pixels_to_focal_plane=tuple([lambda p: 1e-2 * p + 1e-5 * p**2] * 2))
    with pytest.raises(CameraFileError, match=r"here\.fits cannot be written as YAML: .* arcsec away"):
        camera_to_mapping(skewed if what == "optics" else bent)


def test_repository_as_yaml(make_survey: Callable[..., Butler], file: Path) -> None:
    """It can be stored again, and is the same camera."""
    butler = make_survey()
    lines(show(root(butler), INSTRUMENT, "-o", file))
    assert np.rad2deg(
        read_yaml_camera(file.read_bytes(), "x").corners() - latest_camera(butler, INSTRUMENT).corners()
    ) * (3600) == pytest.approx(0, abs=1e-6)
    for name in ("camera.txt", "no/folder/camera.yaml"):
        assert "--output" in message(show(root(butler), INSTRUMENT, "-o", file.parent / name))


# In a picture


@needs_matplotlib
@pytest.mark.parametrize(
    ("ending", "magic"), [(".png", b"\x89PNG"), (".PNG", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")]
)
def test_picture_file(file: Path, ending: str, magic: bytes) -> None:
    picture = file.with_name(f"camera{ending}")
    picture.write_text("an older picture")
    assert lines(show(file, "--plot", picture))[0].startswith("Camera Pair")
    assert picture.read_bytes().startswith(magic)
    assert sorted(path.name for path in file.parent.iterdir()) == ["camera" + ending, "camera.yaml"]


@needs_matplotlib
def test_picture_of_a_repository(make_survey: Callable[..., Butler], tmp_path: Path) -> None:
    picture = tmp_path / "camera.svg"
    lines(show(root(make_survey()), INSTRUMENT, "--plot", picture))
    assert picture.read_text().count("R22_S11") >= 2


@needs_matplotlib
@pytest.mark.parametrize("name", ["camera.bmp", "camera", "no/folder/camera.png"])
def test_bad_picture_name(file: Path, name: str) -> None:
    assert "--plot" in message(show(file, "--plot", file.parent / name))


def test_no_matplotlib(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    picture = file.with_name("camera.png")
    assert "butler-visits[report]" in message(show(file, "--plot", picture))
    assert not picture.exists()
    with pytest.raises(VisitsError, match=r"butler-visits\[report\]"):
        plot_camera(camera_from_mapping(small(), "test"))
    assert show(file).exit_code == 0


@needs_matplotlib
@pytest.mark.parametrize(("names", "said"), [(["left"], "1 detector"), (["left", "right"], "2 detectors")])
def test_title_of_a_picture(names: list[str], said: str) -> None:
    ccds = {name: ccd for name, ccd in small()["CCDs"].items() if name in names}
    figure = plot_camera(camera_from_mapping(small(CCDs=ccds), "test"))
    assert figure.get_suptitle() == f"Pair: {said}"


def places(axes: Any) -> dict[str, npt.NDArray[np.float64]]:
    """Return where the texts of a panel are in the picture, pixels from its lower left corner."""
    return {text.get_text(): text.get_transform().transform(text.get_position()) for text in axes.texts}


@needs_matplotlib
@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("flip", [False, True])
def test_orientation(flipped: bool, flip: bool) -> None:
    """North is up and east to the left, and what is mirrored on the sky is mirrored in the picture."""
    from matplotlib.text import Annotation

    figure = plot_camera(camera_from_mapping(small(focalPlaneParity=flipped), "test"), flip=flip)
    figure.draw_without_rendering()
    focal_plane, sky = figure.axes
    assert [axes.get_xlabel() for axes in figure.axes] == ["x (mm)", "east (arcmin)"]
    assert sky.get_ylabel() == "north (arcmin)"
    assert sky.xaxis.get_inverted()
    assert not focal_plane.xaxis.get_inverted()

    assert places(focal_plane).keys() == {"right", "left"}
    assert places(sky).keys() == {"right", "left", "N", "E"}
    assert places(focal_plane)["right"][0] > places(focal_plane)["left"][0]
    on_sky = places(sky)
    assert bool(on_sky["right"][0] > on_sky["left"][0]) is (flipped == flip)
    assert on_sky["left"][1] > on_sky["right"][1]

    (north, east) = (text for text in sky.texts if isinstance(text, Annotation))
    origin = sky.transData.transform(north.xy)
    assert north.xy == east.xy
    assert on_sky["N"] == pytest.approx([origin[0], on_sky["N"][1]])
    assert on_sky["N"][1] > origin[1] + 5
    assert on_sky["E"] == pytest.approx([on_sky["E"][0], origin[1]])
    assert on_sky["E"][0] < origin[0] - 5
    # It grows to the left: degrees to the east, whatever the picture.
    assert sky.transData.inverted().transform(on_sky["E"])[0] > north.xy[0]


@needs_matplotlib
@pytest.mark.parametrize("name", ["demo", "imsim", "lsstCamSim"])
def test_names_are_readable(request: pytest.FixtureRequest, name: str) -> None:
    """Those of 200 detectors are 5 points high at least, and each is within its detector."""
    if name == "demo":
        model = camera_from_mapping(camera(), "demo")
    else:
        (path,) = (request.getfixturevalue("golden") / "repos" / name).glob("*/calib/unbounded/camera/*.fits")
        model = read_afw_camera(path.read_bytes(), "golden")
    figure = plot_camera(model)
    figure.draw_without_rendering()
    for axes in figure.axes:
        outlines = axes.collections[0]
        names = axes.texts[: len(model.detector_ids)]
        assert [text.get_text() for text in names] == list(model.detector_names)
        for text, path in zip(names, outlines.get_paths(), strict=True):
            assert float(text.get_fontsize()) >= 5
            box, detector = text.get_window_extent(), axes.transData.transform(path.vertices)
            assert (detector.min(axis=0) <= box.min).all()
            assert (box.max <= detector.max(axis=0)).all()


@needs_matplotlib
def test_pixels() -> None:
    """The first pixel of each detector, and its x and y: near its corner, and along its sides."""
    figure = plot_camera(camera_from_mapping(small(), "test"))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "pixel (0, 0)",
        "x of a detector's pixels",
        "y of a detector's pixels",
    ]
    for axes in figure.axes:
        collections: Any = axes.collections
        outlines, x_lines, y_lines, dots = collections
        parts = zip(
            outlines.get_paths(), x_lines.get_segments(), y_lines.get_segments(), dots.get_offsets(), strict=True
        )
        for path, x, y, dot in parts:
            first, right, _, up = np.asarray(path.vertices)[:4]
            assert x[0] == pytest.approx(dot)
            assert y[0] == pytest.approx(dot)
            size = np.linalg.norm(up - first)
            assert np.linalg.norm(dot - first) < 0.1 * size
            for line, side in ((x, right - first), (y, up - first)):
                along = (line[1] - line[0]) / np.linalg.norm(line[1] - line[0])
                assert along @ side == pytest.approx(np.linalg.norm(side), rel=1e-6)
    content = small()
    for ccd in content["CCDs"].values():
        ccd["bbox"] = [[10, 0], [99, 49]]
    legend = plot_camera(camera_from_mapping(content, "test")).legends[0]
    assert legend.get_texts()[0].get_text() == "first pixel"


@pytest.mark.parametrize("instrument", [INSTRUMENT, "DECam"])
def test_sky_is_where_visits_are(make_survey: Callable[..., Butler], instrument: str) -> None:
    """The detectors' corners are the vertices of their regions in a visit at rotation 0."""
    butler = make_survey()
    changes: dict[str, Any] = {"tracking_ra": 0.0, "tracking_dec": 0.0, "sky_angle": 0.0}
    if instrument == INSTRUMENT:
        add_exposures(butler, [exposure(1, **changes)])
    else:
        add_instrument(butler, instrument, "nowhere.DECam")
        row = {"instrument": instrument, **exposure(1, **changes)}
        butler.registry.insertDimensionData("exposure", row, replace=True)
    padding = ("-c", "computeVisitRegions.active.padding=0")
    assert define_visits(root(butler), instrument, *padding).exit_code == 0
    corners = sky_corners(latest_camera(butler, instrument), flip=instrument == "DECam")
    with butler.query() as query:
        regions = {
            record.detector: record.region
            for record in query.dimension_records("visit_detector_region").where(instrument=instrument)
        }
    assert regions.keys() == set(range(9))
    for detector, region in regions.items():
        found = np.rad2deg([[v.y() / v.x(), v.z() / v.x()] for v in region.getVertices()])
        assert found[np.lexsort(found.T.round(9))] == pytest.approx(
            corners[detector][np.lexsort(corners[detector].T.round(9))], abs=1e-9
        )
