"""``fit-camera`` turns raws into a camera that reproduces their sky."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits

from butler_visits.camera.yaml_camera import read_yaml_camera
from butler_visits.define.pointings import fit_pointing
from command_line import visits_command
from mosaic import Kind, Layout, mosaic_camera, pixel_grid, truth_directions, write_raw

SCALE = np.deg2rad(0.264 / 3600)
"""Radians of a pixel of the mosaic."""

POINTINGS = [(1.0, 0.3, 0.4), (1.003, 0.298, 2.1)]


def errors_in_pixels(path: Path, truth: dict[str, object], ra: float, dec: float, rotation: float) -> np.ndarray:
    """Compare a camera at its best pointing with the truth, all over the field and beyond its detectors."""
    camera = read_yaml_camera(path.read_bytes(), str(path))
    grid = pixel_grid(9, padding=250.0)
    order = dict(zip(camera.detector_names, camera.pixels_to_focal_plane, strict=True))
    field = np.concatenate([camera.focal_plane_to_field_angle(transform(grid)) for transform in order.values()])
    sky = np.concatenate([truth_directions(truth, name, grid, ra, dec, rotation) for name in order])
    fit = fit_pointing(field, sky, SCALE)
    return np.array([fit.residual / SCALE, (fit.ra - ra) * np.cos(dec) / SCALE, (fit.dec - dec) / SCALE])


@pytest.mark.parametrize("kind", ["TPV", "SIP"])
@pytest.mark.parametrize("layout", ["multi", "one-image"])
def test_mosaic(tmp_path: Path, kind: Kind, layout: Layout) -> None:
    truth = mosaic_camera()
    raws = []
    for number, (ra, dec, rotation) in enumerate(POINTINGS):
        parts = [list(truth["CCDs"])] if layout == "multi" else [[name] for name in truth["CCDs"]]
        for names in parts:
            raws.append(tmp_path / f"{number}-{names[0]}.fits")
            write_raw(raws[-1], truth, names, ra, dec, rotation, kind, exposure_id=number, layout=layout)
    output = tmp_path / "camera.yaml"
    result = visits_command("fit-camera", *raws, "-o", output)
    assert result.exit_code == 0, result.output
    assert "10 detectors (not flipped), from 2 exposures" in result.output
    content = yaml.safe_load(output.read_text())
    assert {name: ccd["id"] for name, ccd in content["CCDs"].items()} == {
        name: ccd["id"] for name, ccd in truth["CCDs"].items()
    }
    assert {name: ccd["bbox"] for name, ccd in content["CCDs"].items()} == {
        name: ccd["bbox"] for name, ccd in truth["CCDs"].items()
    }
    for pointing in POINTINGS:
        assert np.abs(errors_in_pixels(output, truth, *pointing)).max() < 0.1


def test_mirrored(tmp_path: Path) -> None:
    truth = mosaic_camera(parity=True)
    write_raw(tmp_path / "raw.fits", truth, list(truth["CCDs"]), 1.0, 0.3, 0.4, "TPV", layout="multi")
    result = visits_command("fit-camera", tmp_path / "raw.fits", "-o", tmp_path / "camera.yaml")
    assert result.exit_code == 0, result.output
    assert "(flipped)" in result.output
    assert np.abs(errors_in_pixels(tmp_path / "camera.yaml", truth, 1.0, 0.3, 0.4)).max() < 0.1


def test_camera_is_a_camera_file(tmp_path: Path) -> None:
    truth = mosaic_camera()
    write_raw(tmp_path / "raw.fits", truth, list(truth["CCDs"]), 1.0, 0.3, 0.4, "SIP", layout="multi")
    assert visits_command("fit-camera", tmp_path / "raw.fits", "-o", tmp_path / "camera.yaml").exit_code == 0
    shown = visits_command("show-camera", tmp_path / "camera.yaml")
    assert shown.exit_code == 0
    assert "Detectors: 10" in shown.output


def test_amplifiers(tmp_path: Path) -> None:
    """Of a detector in several HDUs there is one."""
    truth = mosaic_camera()
    raws = [tmp_path / f"{name}.fits" for name in truth["CCDs"]]
    for raw in raws:
        write_raw(raw, truth, [raw.stem], 1.0, 0.3, 0.4, "TPV", layout="amplifiers")
    result = visits_command("fit-camera", *raws, "-o", tmp_path / "camera.yaml")
    assert result.exit_code == 0, result.output
    content = yaml.safe_load((tmp_path / "camera.yaml").read_text())
    # The headers name amplifiers, and detectors by their numbers only.
    assert sorted(ccd["id"] for ccd in content["CCDs"].values()) == sorted(ccd["id"] for ccd in truth["CCDs"].values())
    assert all(ccd["bbox"] == [[0, 0], [2047, 4095]] for ccd in content["CCDs"].values())


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("gone", "There is no file"),
        ("text", "damaged or no FITS file"),
        ("no wcs", "none of its 2 HDUs is an image with a celestial WCS"),
        ("no folder", "there is no folder"),
    ],
)
def test_errors(tmp_path: Path, spoil: str, said: str) -> None:
    raw, output = tmp_path / "raw.fits", tmp_path / "camera.yaml"
    if spoil == "text":
        raw.write_text("A picture of the sky.\n")
    elif spoil == "no wcs":
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((8, 8)))]).writeto(raw)
    elif spoil == "no folder":
        output = tmp_path / "nowhere" / "camera.yaml"
    result = visits_command("fit-camera", raw, "-o", output)
    assert result.exit_code != 0
    assert said in result.output
    assert "Traceback" not in result.output
    assert not output.exists()
