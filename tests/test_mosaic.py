"""The mosaic's headers and files say what its camera says: other tests rely on that."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from mosaic import (
    HEIGHT,
    WIDTH,
    Kind,
    Layout,
    mosaic_camera,
    pixel_grid,
    truth_directions,
    wcs_header,
    write_big_raws,
    write_raw,
)

ARCSEC = np.pi / 180 / 3600
POINTING = (np.deg2rad(0.1), np.deg2rad(-35.0), np.deg2rad(31.0))


def directions(header: fits.Header, pixels: np.ndarray) -> np.ndarray:
    lon, lat = np.deg2rad(WCS(header).all_pix2world(pixels, 0)).T
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def error(found: np.ndarray, truth: np.ndarray) -> float:
    """Return the largest distance in arcsec."""
    return float(np.linalg.norm(found - truth, axis=-1).max() / ARCSEC)


@pytest.mark.parametrize("kind", ["TPV", "SIP"])
@pytest.mark.parametrize(("parity", "flip"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("pointing", [POINTING, (4.0, np.deg2rad(89.9), -2.0)])
def test_headers_give_the_truth(kind: Kind, parity: bool, flip: bool, pointing: tuple[float, float, float]) -> None:
    camera = mosaic_camera(parity)
    pixels = pixel_grid(7, padding=250)
    for name in camera["CCDs"]:
        header = wcs_header(camera, name, *pointing, kind, flip=flip)
        assert error(directions(header, pixels), truth_directions(camera, name, pixels, *pointing, flip=flip)) < 1e-6
        east_left = np.linalg.det(WCS(header).wcs.cd) < 0
        assert east_left == (parity == flip)


def sections(header: fits.Header, key: str) -> np.ndarray:
    return np.array([int(number) for number in re.findall(r"\d+", header[key])]).reshape(2, 2)


@pytest.mark.parametrize("kind", ["TPV", "SIP"])
def test_amplifiers_give_the_truth(kind: Kind, tmp_path: Path) -> None:
    camera = mosaic_camera()
    write_raw(tmp_path / "raw.fits", camera, ["M5"], *POINTING, kind, layout="amplifiers")
    seen = 0
    with fits.open(tmp_path / "raw.fits") as hdus:
        assert len(hdus) == 5
        for hdu in hdus[1:]:
            data, detector = sections(hdu.header, "DATASEC"), sections(hdu.header, "DETSEC")
            # The sections' first and last pixels are the same places.
            truth = truth_directions(camera, "M5", detector.T - 1.0, *POINTING)
            assert error(directions(hdu.header, data.T - 1.0), truth) < 1e-6
            seen += np.prod(np.abs(detector[:, 1] - detector[:, 0]) + 1)
            assert hdu.header["CCDNUM"] == 17
    assert seen == WIDTH * HEIGHT


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("layout", "names", "first"), [("one-image", ["S2"], 0), ("multi", ["N1", "M4"], 1), ("amplifiers", ["M1"], 1)]
)
def test_files(layout: Layout, names: list[str], first: int, compressed: bool, tmp_path: Path) -> None:
    camera = mosaic_camera()
    path = tmp_path / "raw.fits"
    write_raw(path, camera, names, *POINTING, "TPV", exposure_id=77, layout=layout, compressed=compressed, FILTER="g")
    # Before it is read: a file system in memory fills the holes that are looked at.
    assert path.stat().st_blocks * 512 < 500_000
    with fits.open(path) as hdus:
        hdus.verify("exception")
        images = hdus[max(first, int(compressed)) :]
        assert len(images) == (4 if layout == "amplifiers" else len(names))
        for hdu in hdus[first:]:
            assert (hdu.header["EXPID"], hdu.header["FILTER"], hdu.header["EXPTIME"]) == (77, "g", 30.0)
        assert [hdu.header["CCDNUM"] for hdu in images[: len(names)]] == [camera["CCDs"][name]["id"] for name in names]
        assert layout == "amplifiers" or [hdu.name for hdu in images] == names
        assert all(isinstance(hdu, fits.CompImageHDU) == compressed for hdu in images)
        shape = (HEIGHT, WIDTH) if layout != "amplifiers" else (HEIGHT // 2, WIDTH // 2 + 56)
        assert all(hdu.data.shape == shape and not hdu.data.any() for hdu in images)


def test_big_raws(tmp_path: Path) -> None:
    paths = write_big_raws(tmp_path, mosaic_camera(), 12, *POINTING)
    assert all(path.stat().st_size > 30e6 for path in paths)
    assert sum(path.stat().st_blocks * 512 for path in paths) < 1e6
    assert fits.getheader(paths[-1])["EXPID"] == 2
