"""``fit-camera`` turns raws into a camera that reproduces their sky."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from astropy.io import fits

from butler_visits.camera.yaml_camera import read_yaml_camera
from butler_visits.camera_fit.fit import Pointing
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


# Raws of one CCD, as small telescopes have them

STEP = np.deg2rad(0.5 / 3600)


def write_small(path: Path, number: int = 0, *beside: fits.ImageHDU, binning: int = 1, **cards: Any) -> Path:
    """Write a raw of a CCD of 640 x 480 pixels of 0.5 arcseconds; a card that is `None` is left out."""
    step = 0.5 / 3600 * binning
    header = {
        "INSTRUME": "SmallCam",
        "DATE-OBS": f"2024-05-06T07:{number:02d}:09.5",
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CRVAL1": 150.0 + 0.01 * number,
        "CRVAL2": 2.0,
        "CRPIX1": 320 / binning + 0.5,
        "CRPIX2": 240 / binning + 0.5,
        "CD1_1": -step,
        "CD1_2": 0.0,
        "CD2_1": 0.0,
        "CD2_2": step,
        **cards,
    }
    primary = fits.PrimaryHDU(np.zeros((480 // binning, 640 // binning), np.int16))
    primary.header.update({key: value for key, value in header.items() if value is not None})
    fits.HDUList([primary, *beside]).writeto(path)
    return path


def fit_small(folder: Path, *raws: Path) -> tuple[dict[str, Any], str]:
    """Fit a camera and return the YAML and what is printed."""
    result = visits_command("fit-camera", *raws, "-o", folder / "camera.yaml")
    assert result.exit_code == 0, result.output
    return yaml.safe_load((folder / "camera.yaml").read_text()), result.output


@pytest.mark.parametrize("with_time", [True, False])
def test_raws_of_one_ccd(tmp_path: Path, with_time: bool) -> None:
    """No header names it, and a mask and a thumbnail lie beside it."""
    raws = []
    for number in range(3):
        mask = fits.ImageHDU(np.zeros((480, 640), np.uint8), name="MASK")
        thumbnail = fits.ImageHDU(np.zeros((48, 64), np.int16), name="THUMBNAIL")
        own = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 2.0, "CD1_1": 1e-3, "CD2_2": 1e-3}
        mask.header.update(own | {"CRPIX1": 1.0, "CRPIX2": 1.0})
        thumbnail.header.update(own | {"CRPIX1": 1.0, "CRPIX2": 1.0})
        # The time of day may have a keyword of its own.
        date: dict[str, Any] = {} if with_time else {"DATE-OBS": "2024-05-06", "UT": f"07:{number:02d}:09.5"}
        raws.append(write_small(tmp_path / f"{number}.fits", number, mask, thumbnail, **date))
    content, output = fit_small(tmp_path, *raws)
    ((name, ccd),) = content["CCDs"].items()
    assert (name, ccd["id"], ccd["bbox"]) == ("0", 0, [[0, 0], [639, 479]])
    assert content["plateScale"] * ccd["pixelSize"][0] == pytest.approx(0.5, rel=1e-6)
    assert "3 exposures" in output


def test_two_raws_of_one_exposure_without_names(tmp_path: Path) -> None:
    """They may be two CCDs, and nobody can tell which is which."""
    raws = [write_small(tmp_path / f"{n}.fits", 1, CRVAL1=150.0 + 0.2 * n) for n in (0, 1)]
    result = visits_command("fit-camera", *raws, "-o", tmp_path / "camera.yaml")
    assert result.exit_code != 0
    assert "neither number nor name" in result.output


@pytest.mark.parametrize(
    ("cards", "binning", "size", "said"),
    [
        ({"XPIXSZ": 9.0}, 1, 0.009, "9 micrometres, is from XPIXSZ"),
        ({"PIXSIZE1": 13.5}, 1, 0.0135, "13.5 micrometres, is from PIXSIZE1"),
        ({"PIXSIZE1": 0.0135}, 1, 0.0135, "13.5 micrometres, is from PIXSIZE1"),
        ({"PIXSIZE": "24.0"}, 1, 0.024, "24 micrometres, is from PIXSIZE"),
        ({"PIXSIZE1": 13.5, "CCDSUM": "2 2"}, 2, 0.0135, "13.5 micrometres, is from PIXSIZE1"),
        # The detector's pixel has 0.5 arcseconds, so 3094 mm make it 7.5 micrometres.
        ({"XPIXSZ": 15.0, "XBINNING": 2}, 2, 0.0075, "XPIXSZ is taken .* binned by 2"),
        ({"XPIXSZ": 15.0, "XBINNING": 2, "FOCALLEN": 3094.0}, 2, 0.0075, "XPIXSZ is taken .* binned by 2"),
        ({"XPIXSZ": 7.5, "XBINNING": 2, "FOCALLEN": 3094.0}, 2, 0.0075, "XPIXSZ .*not binned.*FOCALLEN and the WCS"),
        ({"XPIXSZ": 15.0, "XBINNING": 2, "FOCALLEN": 1.0}, 2, 0.0075, "XPIXSZ is taken .* binned by 2"),
        ({"FOCALLEN": 3094.0}, 1, 0.0075, "7.5 micrometres, is from FOCALLEN and the WCS"),
        ({"PIXSCAL1": 0.5, "FOCALLEN": 3094.0}, 1, 0.0075, "7.5 micrometres, is from FOCALLEN and the WCS"),
        ({"PIXSCAL1": 9.0}, 1, 0.009, "9 micrometres, is from PIXSCAL1"),
        ({"PIXSCAL1": 0.5}, 1, 0.015, "15 micrometres are assumed"),
        ({}, 1, 0.015, "15 micrometres are assumed"),
        ({"XPIXSZ": "N/A", "PIXSIZE1": 0.0}, 1, 0.015, "15 micrometres are assumed"),
    ],
)
def test_size_of_a_pixel(tmp_path: Path, cards: dict[str, Any], binning: int, size: float, said: str) -> None:
    """The camera is in the detector's pixels, whose sky is known; the millimetres are the headers'."""
    raw = write_small(tmp_path / "raw.fits", binning=binning, **cards)
    content, output = fit_small(tmp_path, raw)
    (ccd,) = content["CCDs"].values()
    assert ccd["bbox"] == [[0, 0], [639, 479]]
    assert ccd["pixelSize"][0] == pytest.approx(size, rel=1e-3)
    assert content["plateScale"] * ccd["pixelSize"][0] == pytest.approx(0.5, rel=1e-6)
    assert re.search(said, output), output
    assert re.search(said, (tmp_path / "camera.yaml").read_text())


@pytest.mark.parametrize(("dec", "said"), [(2.5, "0.5 degrees from where its header says"), (30.0, "28 degrees")])
def test_far_from_where_the_header_says(
    tmp_path: Path, dec: float, said: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A warning, and an error where the WCS must be wrong."""
    # Translators that know a pointing look up their observatories in the network.
    pointing = Pointing(float(np.deg2rad(150.0)), float(np.deg2rad(dec)))
    monkeypatch.setattr("butler_visits.camera_fit.raws._translated_pointing", lambda detector: pointing)
    raw = write_small(tmp_path / "raw.fits")
    result = visits_command("fit-camera", raw, "-o", tmp_path / "camera.yaml")
    if dec < 5:
        assert result.exit_code == 0, result.output
        assert any(said in record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    else:
        assert result.exit_code != 0
        assert re.search(rf"raw.fits, HDU 0: .*CRVAL1 and CRVAL2 {said}", result.output), result.output
