"""Headers of raws: little is read of a file, real telescopes' headers, and the kinds of WCS that there are."""

from __future__ import annotations

import atexit
import functools
import itertools
import math
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astro_metadata_translator.tests import read_test_file
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from lsst.daf.butler import Butler
from lsst.sphgeom import Region

from butler_visits.raws import RawFile, read_raw_files
from mosaic import HEIGHT, WIDTH, Layout, wcs_header, write_big_raws, write_raw
from raw_repository import (
    ARCSEC,
    CAMERA,
    IDS,
    NAMES,
    POINTING,
    add_exposure,
    add_instrument,
    border,
    border_pixels,
    count_statements,
    define_task,
    hull,
    ingest,
    make_repository,
    region_task,
    spread_pointings,
    unit_vectors,
    vertices,
    visit_of,
)
from stored_visits import outline_distance

BLOCK = 2880

# How much is read


def bytes_read() -> int:
    """Return how many bytes this process has read, from disk or not."""
    return int(Path("/proc/self/io").read_text().split()[1])


def bytes_to_read(paths: list[Path]) -> int:
    """Return how many bytes are read for the headers of files."""
    # What it takes to find out is subtracted.
    before, start = bytes_read(), bytes_read()
    files = read_raw_files(paths)
    end = bytes_read()
    assert all(isinstance(file, RawFile) for file in files), files
    return end - start - (start - before)


needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts the bytes that a process reads")


@needs_proc
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("layout", "names", "blocks"), [("one-image", ["M1"], 16), ("amplifiers", ["M1"], 32), ("multi", list(NAMES), 64)]
)
def test_bytes_of_a_file(tmp_path: Path, layout: Layout, names: list[str], blocks: int, compressed: bool) -> None:
    """Some four blocks for each HDU and eight more, of files of 17 MB to 170 MB."""
    path = tmp_path / "raw.fits"
    write_raw(path, CAMERA, names, *POINTING[:3], "TPV", layout=layout, compressed=compressed, bitpix=16)
    assert 2 * BLOCK <= bytes_to_read([path]) <= blocks * BLOCK


@needs_proc
def test_bytes_of_many_files(tmp_path: Path) -> None:
    """40 raws of 34 MB, 1.3 GB in all, cost 34 KB each; those of a whole run, too, and are read once."""
    paths = write_big_raws(tmp_path, CAMERA, 40, *POINTING[:3])
    assert sum(path.stat().st_size for path in paths) > 40 * 30e6
    assert bytes_to_read(paths) <= 40 * 16 * BLOCK
    butler = make_repository(tmp_path / "repository")
    exposures = [add_exposure(butler, number) for number in range(1, 41)]
    for exposure, path in zip(exposures, paths, strict=True):
        ingest(butler, exposure, path, [path.stem.split("_")[2]])
    task = define_task(butler)
    task.run(exposures[:1])
    start = bytes_read()
    assert task.run(exposures).n_new == 39
    # What SQLite reads is here, too: a few MB.
    assert bytes_read() - start < 39 * 16 * BLOCK + 10e6


@pytest.mark.parametrize(("algorithm", "source"), [("all-raw-wcs", None), ("single-raw-wcs", "raw"), (None, "auto")])
def test_statements_do_not_grow_with_exposures(tmp_path: Path, algorithm: str | None, source: str | None) -> None:
    """One query for a chunk's raws, one for their places."""
    fields = {} if source is None else {"wcsSource": source}
    butler = make_repository(tmp_path / "repository")
    pointings = spread_pointings(24)
    exposures = [add_exposure(butler, number) for number in range(1, 25)]
    for exposure, pointing in zip(exposures, pointings, strict=True):
        path = tmp_path / f"{exposure.id}.fits"
        write_raw(path, CAMERA, ["M1"], *pointing[:3], "SIP")
        ingest(butler, exposure, path, ["M1"])
    counts = []
    for given in (exposures[:2], exposures):
        task = define_task(butler, algorithm or "single-raw-wcs", **fields)
        task.plan(exposures[:1])
        with count_statements() as statements:
            assert len(task.plan(given).visits) == len(given)
        counts.append(len(statements))
        assert len(statements) < 100
    assert counts[0] == counts[1], counts


def test_statements_of_many_detectors(tmp_path: Path) -> None:
    """Ten raws of an exposure are found with the query that finds one."""
    butler = make_repository(tmp_path / "repository", camera=None)
    exposures = [add_exposure(butler, number) for number in (1, 2)]
    for exposure, names in zip(exposures, (NAMES[:1], NAMES), strict=True):
        write_raw(tmp_path / f"{exposure.id}.fits", CAMERA, names, *POINTING[:3], "TPV", layout="multi")
        ingest(butler, exposure, tmp_path / f"{exposure.id}.fits", names)
    counts = []
    for exposure in exposures:
        with count_statements() as statements:
            region_task(butler, "all-raw-wcs").compute(visit_of(exposure))
        counts.append(len(statements))
    assert counts[0] == counts[1], counts


# Real headers


def real_header(golden: Path, name: str) -> dict[str, Any]:
    found = read_test_file(f"fitsheader-{name}.yaml", golden / "headers")
    return {key: value for key, value in found.items() if not (isinstance(value, float) and math.isnan(value))}


def write_real(path: Path, cards: dict[str, Any]) -> fits.Header:
    """Write a file with a real header in the HDU after an empty primary, and return the header."""
    keys = list(cards)
    header = fits.Header()
    start = keys.index("XTENSION") if "XTENSION" in keys else 0
    mandatory = {"XTENSION": cards.get("XTENSION", "IMAGE"), "BITPIX": 16, "NAXIS": 2, "PCOUNT": 0, "GCOUNT": 1}
    for key in ("XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT"):
        header[key] = cards.get(key, mandatory.get(key))
    for key in keys[start:]:
        if key not in ("SIMPLE", "EXTEND", "END", "COMMENT", "HISTORY", "", "TIME_RECORDED", "time_recorded"):
            header[key] = cards[key]
    primary = fits.PrimaryHDU().header
    primary.update({key: cards[key] for key in ("TELESCOP", "INSTRUME") if key in cards})
    size = header["NAXIS1"] * header["NAXIS2"] * abs(header["BITPIX"]) // 8 + header["PCOUNT"]
    with path.open("wb") as file:
        file.write((primary.tostring() + header.tostring()).encode())
        file.truncate(file.seek(-(-size // BLOCK) * BLOCK, 1))
    return header


def astropy_corners(header: fits.Header, low: tuple[float, float], high: tuple[float, float]) -> np.ndarray:
    """Let astropy say where the corners of a box in the image are, pixels from 0; lower left, then counterclockwise."""
    (x0, y0), (x1, y1) = low, high
    text = "\n".join(card.image for card in header.cards if not card.keyword.startswith(("Z", "NAXIS", "T")))
    sky = WCS(fits.Header.fromstring(text, sep="\n")).all_pix2world([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], 0)
    return SkyCoord(*sky.T, unit="deg", frame="fk5").icrs.cartesian.xyz.value.T


def is_mirrored(corners: np.ndarray) -> bool:
    """Tell whether corners go clockwise on the sky as it is seen from the Earth's inside, where east is left."""
    return bool(np.cross(corners[1] - corners[0], corners[3] - corners[0]) @ corners[0] > 0)


@functools.cache
def repository() -> Butler:
    """Return a repository that the tests of headers share; each has an exposure of its own."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    butler = make_repository(folder / "repository", camera=None)
    for instrument, detector, name in (("DECam", 25, "S1"), ("HSC", 50, "1_43"), ("MegaPrime", 2, "ccd02")):
        add_instrument(butler, instrument, {"CCDs": {name: {"id": detector}}})
    return butler


NUMBERS = itertools.count(1)


def region_from_file(instrument: str, detector: int, path: Path, **fields: Any) -> Region:
    butler = repository()
    exposure = add_exposure(butler, next(NUMBERS), instrument=instrument)
    ingest(butler, exposure, path, [detector])
    _, detectors = region_task(butler, "all-raw-wcs", **fields).compute(visit_of(exposure))
    assert detectors.keys() == {detector}
    return detectors[detector]


@pytest.mark.parametrize(
    ("name", "instrument", "detector", "low", "high", "mirrored"),
    [
        ("decam", "DECam", 25, (55.5, 49.5), (2103.5, 4145.5), True),
        ("decam-raw_dec050441_25", "DECam", 25, (55.5, 49.5), (2103.5, 4145.5), True),
        ("hsc", "HSC", 50, (-0.5, -0.5), (2143.5, 4240.5), True),
        ("megaprime", "MegaPrime", 2, (31.5, -0.5), (2079.5, 4611.5), False),
    ],
)
def test_real_headers(
    golden: Path,
    tmp_path: Path,
    name: str,
    instrument: str,
    detector: int,
    low: tuple[float, float],
    high: tuple[float, float],
    mirrored: bool,
) -> None:
    """The region contains the sky positions of all four corners, and is no larger."""
    cards = real_header(golden, name)
    header = write_real(tmp_path / "raw.fits", cards)
    corners = astropy_corners(header, low, high)
    region = region_from_file(instrument, detector, tmp_path / "raw.fits", padding=0)
    assert all(region.contains(corner) for corner in unit_vectors(corners))
    assert outline_distance(region, hull(corners)) < 1.0
    # The header's own sense: where the detector is from where the telescope looked.
    assert is_mirrored(corners) == mirrored


@pytest.mark.parametrize("name", ["decam", "decam-raw_dec050441_25"])
def test_decam_is_mirrored(golden: Path, tmp_path: Path, name: str) -> None:
    """A camera that is not: its second detector, beside the raw's, is put where the raw's WCS goes on.

    The camera has the detector where the header has it from the boresight, in pixels of 15 um, and no distortion.
    """
    header = write_real(tmp_path / "raw.fits", real_header(golden, name))
    # The pixel scale at the detector is that of its WCS, 190 mm from the centre.
    corners = astropy_corners(header, (55.5, 49.5), (2103.5, 4145.5))
    scale = float(np.linalg.norm(corners[3] - corners[0])) / 4096
    beside = astropy_corners(header, (55.5 + 2200, 49.5), (2103.5 + 2200, 4145.5))
    ccd = {"bbox": [[0, 0], [2047, 4095]], "pixelSize": [0.015, 0.015], "refpos": [1023.5, 2047.5], "yaw": 0.0}
    centre = [0.015 * (56 + 1023.5 - header["CRPIX1"] + 1), 0.015 * (50 + 2047.5 - header["CRPIX2"] + 1)]
    camera = {
        "name": "DECam",
        "plateScale": scale / 0.015 / ARCSEC,
        "transforms": {"nativeSys": "FocalPlane", "FieldAngle": {"transformType": "radial", "coeffs": [0.0, 1.0]}},
        "CCDs": {
            "S1": ccd | {"id": 25, "offset": centre},
            "S2": ccd | {"id": 26, "offset": [centre[0] + 0.015 * 2200, centre[1]]},
        },
    }
    butler = make_repository(tmp_path / "repository", camera=None)
    add_instrument(butler, "DECam", camera)
    butler.collections.register("DECam/calib/unbounded")
    butler.put(camera, "camera_geometry", instrument="DECam", run="DECam/calib/unbounded")
    exposure = add_exposure(butler, 1, instrument="DECam")
    ingest(butler, exposure, tmp_path / "raw.fits", [25])
    task = region_task(butler, padding=0, maxWcsResidual=30.0)
    region, detectors = task.compute(visit_of(exposure))
    assert outline_distance(detectors[25], hull(corners)) < 10
    assert outline_distance(detectors[26], hull(beside)) < 20
    assert outline_distance(region, hull(corners, beside)) < 20
    # Had the flip been missed, the second detector would be on the other side of the first, 20 arcmin away.
    middle = vertices(detectors[26]).mean(axis=0)
    assert np.linalg.norm(middle - beside.mean(axis=0)) < 20 * ARCSEC
    # The telescope looked nearly a degree away, where the header says.
    sky = SkyCoord(header["CRVAL1"], header["CRVAL2"], unit="deg", frame="fk5").icrs.cartesian.xyz.value
    assert 0.85 < np.rad2deg(np.linalg.norm(corners.mean(axis=0) - sky)) < 1.0


# Kinds of WCS


def write_image(path: Path, header: fits.Header, cards: dict[str, Any] | None = None) -> None:
    whole = fits.Header({"SIMPLE": True, "BITPIX": 8, "NAXIS": 2, "NAXIS1": WIDTH, "NAXIS2": HEIGHT} | (cards or {}))
    whole.extend(header)
    with path.open("wb") as file:
        file.write(whole.tostring().encode())
        sizes = [whole[f"NAXIS{axis}"] for axis in range(1, whole["NAXIS"] + 1)]
        file.truncate(file.seek(-(-math.prod(sizes) // BLOCK) * BLOCK, 1))


def region_of_header(tmp_path: Path, header: fits.Header, cards: dict[str, Any] | None = None) -> Region:
    write_image(tmp_path / "raw.fits", header, cards)
    return region_from_file("Mosaic10", IDS["M2"], tmp_path / "raw.fits")


@pytest.mark.parametrize(
    ("radesys", "change"),
    [
        ("FK5", lambda ra, dec: SkyCoord(ra, dec, unit="deg").fk5),
        ("FK4", lambda ra, dec: SkyCoord(ra, dec, unit="deg").fk4),
        (None, lambda ra, dec: SkyCoord(ra, dec, unit="deg").galactic),
    ],
    ids=["FK5", "FK4", "galactic"],
)
def test_frames(tmp_path: Path, radesys: str | None, change: Callable[[float, float], SkyCoord]) -> None:
    """The same TPV header in another frame: the directions that it gives are turned back by astropy here."""
    header = wcs_header(CAMERA, "M2", *POINTING[:3], "TPV")
    centre = change(math.degrees(POINTING.ra), math.degrees(POINTING.dec))
    header["CRVAL1"], header["CRVAL2"] = centre.spherical.lon.deg, centre.spherical.lat.deg
    if radesys is None:
        header["CTYPE1"], header["CTYPE2"] = "GLON-TPV", "GLAT-TPV"
        del header["RADESYS"]
    else:
        header["RADESYS"] = radesys
    lon, lat = WCS(header).all_pix2world(border_pixels(250), 0).T
    points = SkyCoord(lon, lat, unit="deg", frame=centre.frame.replicate_without_data()).icrs.cartesian.xyz.value.T
    assert outline_distance(region_of_header(tmp_path, header), hull(points)) < 0.01


def swap_axes(header: fits.Header) -> fits.Header:
    """Let the first world coordinate be the declination."""
    swapped = header.copy()
    for a, b in (("CTYPE1", "CTYPE2"), ("CRVAL1", "CRVAL2"), ("CD1_1", "CD2_1"), ("CD1_2", "CD2_2")):
        swapped[a], swapped[b] = header[b], header[a]
    return swapped


def test_declination_first(tmp_path: Path) -> None:
    header = swap_axes(wcs_header(CAMERA, "M2", *POINTING[:3], "SIP"))
    assert header["CTYPE1"].startswith("DEC")
    assert outline_distance(region_of_header(tmp_path, header), hull(border("M2"))) < 0.01


@pytest.mark.parametrize("unit", ["degree", "DEG", "degrees"])
def test_units(tmp_path: Path, unit: str) -> None:
    """What astropy takes for degrees: HSC writes degree."""
    header = wcs_header(CAMERA, "M2", *POINTING[:3], "TPV")
    header["CUNIT1"] = header["CUNIT2"] = unit
    assert outline_distance(region_of_header(tmp_path, header), hull(border("M2"))) < 0.01


@pytest.mark.parametrize("cards", [{"NAXIS": 3, "NAXIS3": 1}, {"NAXIS": 3, "NAXIS3": 4, "CTYPE3": "WAVE"}])
def test_three_axes(tmp_path: Path, cards: dict[str, Any]) -> None:
    header = wcs_header(CAMERA, "M2", *POINTING[:3], "TPV")
    assert outline_distance(region_of_header(tmp_path, header, cards), hull(border("M2"))) < 0.01


def test_zpn(tmp_path: Path) -> None:
    """The projection of VISTA and UKIRT: the radius is P1 theta + P3 theta^3, here with M2's matrix and reference."""
    header = wcs_header(CAMERA, "M2", *POINTING[:3], "TPV")
    for key in [key for key in header if key.startswith("PV")]:
        del header[key]
    header["CTYPE1"], header["CTYPE2"] = "RA---ZPN", "DEC--ZPN"
    header["PV2_1"], header["PV2_3"] = 1.0, -44.0
    pixels = border_pixels(250)
    plane = (pixels + 1 - [header["CRPIX1"], header["CRPIX2"]]) @ np.deg2rad(WCS(header).wcs.cd).T
    radius = np.linalg.norm(plane, axis=1)
    theta = radius.copy()
    for _ in range(50):
        theta = radius + 44.0 * theta**3
    ra, dec = POINTING[:2]
    p = np.array([math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec)])
    e = np.array([-math.sin(ra), math.cos(ra), 0])
    n = np.array([-math.sin(dec) * math.cos(ra), -math.sin(dec) * math.sin(ra), math.cos(dec)])
    away = (plane[:, :1] * e + plane[:, 1:] * n) / radius[:, None]
    points = np.cos(theta)[:, None] * p + np.sin(theta)[:, None] * away
    assert outline_distance(region_of_header(tmp_path, header), hull(points)) < 0.01


def test_headers_are_what_the_files_say(tmp_path: Path) -> None:
    """`read_raw_files` keeps the order of the files and gives every header, of compressed images too."""
    paths = []
    for number, compressed in enumerate([False, True] * 5):
        paths.append(tmp_path / f"{number}.fits")
        write_raw(
            paths[-1], CAMERA, ["M1", "S2"], *POINTING[:3], "TPV", layout="multi", compressed=compressed, N=number
        )
    for number, file in enumerate(read_raw_files(paths)):
        assert isinstance(file, RawFile)
        assert [header.get("CCDNUM") for header in file.headers] == [None, IDS["M1"], IDS["S2"]]
        assert all(header["N"] == number for header in file.headers)
        assert file.images == {1: (WIDTH, HEIGHT), 2: (WIDTH, HEIGHT)}
