"""WCSs as telescopes and programs write them: the right place on the sky, or an error that names the keyword."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.coordinates import FK4, FK5, BarycentricMeanEcliptic, SkyCoord
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS

from butler_visits import RawFileError
from butler_visits.raws import RawFile, RawWcs, find_detector, read_raw_files
from butler_visits.raws.image_wcs import image_headers, sky_projection
from butler_visits.raws.pixels import find_layout
from raw_pixels import HAS_IMAGES

WIDTH, HEIGHT = 32, 24
STEP = 0.5 / 3600
PLAIN: dict[str, Any] = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 150.0,
    "CRVAL2": 2.0,
    "CRPIX1": 16.5,
    "CRPIX2": 12.5,
    "CD1_1": -STEP,
    "CD1_2": 0.0,
    "CD2_1": 0.0,
    "CD2_2": STEP,
}
NO_CD = dict.fromkeys(("CD1_1", "CD1_2", "CD2_1", "CD2_2"))
CDELT = NO_CD | {"CDELT1": -STEP, "CDELT2": STEP}
TPV = {"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV"}
TAN_SIP = {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"}
ZPN = {"CTYPE1": "RA---ZPN", "CTYPE2": "DEC--ZPN"}
ZPX = {"CTYPE1": "RA---ZPX", "CTYPE2": "DEC--ZPX"}
TNX = {"CTYPE1": "RA---TNX", "CTYPE2": "DEC--TNX"}
PIXELS = np.array([[-0.5, -0.5], [31.5, -0.5], [31.5, 23.5], [-0.5, 23.5], [100.0, 200.0], [15.5, 11.5]])
"""Of the image, from 0: its corners, a place beyond and the reference point."""


def read_wcs(path: Path, cards: Mapping[str, Any]) -> RawWcs:
    """Write a raw with a WCS and read it back; a card that is `None` is left out."""
    header = fits.Header([(key, value) for key, value in (PLAIN | dict(cards)).items() if value is not None])
    fits.PrimaryHDU(np.zeros((HEIGHT, WIDTH), np.int16), header).writeto(path / "raw.fits", overwrite=True)
    (file,) = read_raw_files([path / "raw.fits"])
    assert isinstance(file, RawFile), file
    return RawWcs(find_detector(file, 0, "CCD"))


def directions(lon: Any, lat: Any, frame: Any = "icrs") -> np.ndarray:
    return SkyCoord(lon, lat, unit="deg", frame=frame).icrs.cartesian.xyz.value.T


def truth(cards: Mapping[str, Any] | None = None) -> np.ndarray:
    """Let astropy say where the pixels are, by a header that nobody misunderstands."""
    header = fits.Header([(key, value) for key, value in (PLAIN | dict(cards or {})).items() if value is not None])
    return directions(*WCS(header).all_pix2world(PIXELS, 0).T)


def assert_same(wcs: RawWcs, expected: np.ndarray) -> None:
    off = np.rad2deg(np.linalg.norm(wcs.directions(PIXELS) - expected, axis=1)) * 3600
    assert off.max() < 1e-3, off
    # So does the image's WCS, which is written as a FITS header again, over the detector.
    layout = find_layout(wcs.image.file, [wcs.image.index])
    inside = PIXELS[:4]
    found = [directions(*WCS(header).all_pix2world(inside, 0).T) for header in image_headers(wcs, layout)]
    if HAS_IMAGES:
        from lsst.images import Box, DetectorFrame

        frame = DetectorFrame(instrument="Cam", detector=0, bbox=Box.factory[0:HEIGHT, 0:WIDTH])
        sky = sky_projection(wcs, layout, frame).pixel_to_sky(x=inside[:, 0], y=inside[:, 1])
        found.append(sky.cartesian.xyz.value.T)
    for one in found:
        off = np.rad2deg(np.linalg.norm(one - expected[:4], axis=1)) * 3600
        assert off.max() < 1e-3, off


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING and "butler_visits" in r.name]


IDENTITY = {f"PV{axis}_{m}": float(m == 1) for axis in (1, 2) for m in range(11) if m != 3}
CUBIC = IDENTITY | {"PV1_7": 300.0, "PV2_7": 300.0}
"""Terms that move a corner by some milliarcseconds, and the place beyond by much more."""

ROTATED = {"CD1_1": -STEP * 0.8, "CD1_2": STEP * 0.6, "CD2_1": STEP * 0.6, "CD2_2": STEP * 0.8}
SIP = {"A_ORDER": 3, "B_ORDER": 3, "A_2_0": 1e-4, "A_0_3": 2e-6, "B_1_1": -2e-4, "B_3_0": 1e-6}
TURN = np.deg2rad(36.869897645844)


@pytest.mark.parametrize(
    ("cards", "same"),
    [
        ({}, {}),
        ({"CTYPE1": "RA--TAN", "CTYPE2": "DEC-TAN"}, {}),
        ({"CTYPE1": "ra---tan", "CTYPE2": "dec--tan "}, {}),
        ({"CRVAL1": "150.0", "CRPIX1": "1.65D1"}, {}),
        ({"CUNIT1": "Degree", "CUNIT2": "DEG"}, {}),
        ({"CUNIT2": "arcsec", "CRVAL2": 7200.0, "CD2_2": 0.5}, {}),
        # Matrices.
        (CDELT, {}),
        (CDELT | {"PC1_1": 1.0, "PC2_2": 1.0}, {}),
        (NO_CD | {"PC1_1": -STEP, "PC2_2": STEP}, {}),
        (CDELT | {"PC001001": 0.8, "PC001002": 0.6, "PC002001": -0.6, "PC002002": 0.8}, None),
        (CDELT | {"CROTA2": 36.869897645844}, None),
        (CDELT | {"CROTA1": 36.869897645844, "CROTA2": 36.869897645844}, None),
        (CDELT | {"CROTA1": 0.0, "CROTA2": 0.0}, {}),
        (CDELT | {"CROTA1": "", "CROTA2": "N/A"}, {}),
        (NO_CD | {"CD001001": -STEP, "CD002002": STEP}, {}),
        ({"CROTA1": 12.0}, {}),
        # Distortions that do nothing.
        (TPV, {}),
        (TPV | IDENTITY, {}),
        (TPV | CDELT | IDENTITY, {}),
        ({f"PV{axis}_{m}": float(m == 1) for axis in (1, 2) for m in (0, 1, 2)}, {}),
        ({"PV1_0": 0.0, "PV1_1": 1.0, "PV1_2": 0.0}, {}),
        ({"PV1_1": 1.0, "PV2_1": 1.0}, {}),
        ({"PV1_1": 0.0, "PV1_2": 90.0}, {}),
        ({"PV1_3": 180.0, "PV1_4": 0.0}, {}),
        ({"PV2_1": 0.0, "PV2_2": 0.0}, {}),
        ({"PV1_0": 0.0, "PV1_1": 0.0, "PV2_0": 0.0, "PV2_1": 0.0}, {}),
        (TAN_SIP | {"A_ORDER": 0, "B_ORDER": 0, "A_0_0": 5.0}, {}),
        # Distortions.
        (TPV | CUBIC | CDELT, TPV | CUBIC),
        (CUBIC, TPV | CUBIC),
        (CUBIC | CDELT, TPV | CUBIC),
        ({"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", "PV1_7": 300.0, "PV2_7": 300.0}, TPV | CUBIC),
        (TAN_SIP | SIP, TAN_SIP | SIP),
        (SIP, TAN_SIP | SIP),
        (TAN_SIP | CDELT | SIP, TAN_SIP | SIP),
        (
            TAN_SIP | {"A_ORDER": 1, "B_ORDER": 1, "A_1_0": 0.01, "B_0_1": 0.02},
            TAN_SIP | {"A_ORDER": 2, "B_ORDER": 2, "A_1_0": 0.01, "B_0_1": 0.02},
        ),
        (TAN_SIP | {"A_ORDER": 2, "B_ORDER": 0, "A_2_0": 1e-4}, TAN_SIP | {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-4}),
        # What moves the reference point on purpose is kept.
        (TPV | CUBIC | {"PV1_0": 0.02}, TPV | CUBIC | {"PV1_0": 0.02}),
        (TAN_SIP | SIP | {"A_0_0": 147.0}, TAN_SIP | SIP | {"A_0_0": 147.0}),
        # ZPX without corrections, and what IRAF left under other projections.
        (ZPX | {"WAT1_001": "wtype=zpx axtype=ra projp1=1. projp3=220."}, ZPN | {"PV2_1": 1.0, "PV2_3": 220.0}),
        (
            ZPX | {"WAT2_001": "wtype=zpx axtype=dec projp0=0. projp1=1. projp2=0. projp3=220."},
            ZPN | {"PV2_1": 1.0, "PV2_3": 220.0},
        ),
        (ZPX | {"PV2_1": 1.0, "PV2_3": 220.0}, ZPN | {"PV2_1": 1.0, "PV2_3": 220.0}),
        ({"WAT0_001": "system=image", "WAT1_001": 'wtype=tnx axtype=ra lngcor = "3. 1. 1. 1. -1. 1. -1. 1. 0.5"'}, {}),
        ({"WAT1_001": "wtype=tan axtype=ra", "WAT2_001": "wtype=tan axtype=dec"}, {}),
        # Frames of the same axes.
        ({"RADESYS": "icrs", "EQUINOX": 0.0}, {}),
        ({"RADESYS": "ICRF", "EQUINOX": 2000.0}, {}),
        ({"RADESYS": "UNKNOWN", "EQUINOX": "N/A"}, {}),
        ({"RADESYS": ""}, {}),
        ({"CTYPE3": "WAVE", "CRVAL3": "unknown", "CD3_3": 1.0}, {}),
    ],
)  # fmt: skip
def test_the_same_wcs(
    tmp_path: Path, cards: dict[str, Any], same: dict[str, Any] | None, caplog: pytest.LogCaptureFixture
) -> None:
    """One WCS in the many forms in which programs write it; ``None`` is the one that is turned by 36.87 degrees."""
    # With CROTA the second axis turns to the first one; PC here turns alike.
    turned = {"CD1_1": -STEP * 0.8, "CD1_2": -STEP * 0.6, "CD2_1": -STEP * 0.6, "CD2_2": STEP * 0.8}
    assert_same(read_wcs(tmp_path, cards), truth(turned if same is None else same))
    assert not warnings_of(caplog) or "CROTA1" in cards


def iraf_cards(code: Mapping[str, str], lngcor: str, latcor: str, term: str = "") -> dict[str, str]:
    """Write the WAT cards of TNX or ZPX, cut as IRAF cuts them."""
    cards = {**code, "WAT0_001": "system=image"}
    for axis, (kind, name, numbers) in enumerate((("ra", "lngcor", lngcor), ("dec", "latcor", latcor)), start=1):
        text = f'wtype={code["CTYPE1"][-3:].lower()} axtype={kind} {term}{name} = "{numbers} "'
        cards |= {f"WAT{axis}_{i // 68 + 1:03d}": text[i : i + 68] for i in range(0, len(text), 68)}
    return cards


@pytest.mark.parametrize("is_zpx", [False, True])
@pytest.mark.parametrize(
    ("lngcor", "latcor"),
    [
        # Powers, in all their mixtures: 1e-5 + 2e-3 xi, and 3e-3 xi eta.
        ("3. 2. 2. 1. -1. 1. -1. 1. 1e-5 2e-3 0. 0.", "3. 2. 2. 1. -1. 1. -1. 1. 0. 0. 0. 3e-3"),
        ("3 2 2 0 -1 1 -1 1 1.0E-5 .002 0.", "3. 3. 3. 2. -1. 1. -1. 1. 0. 0. 0. 0. 3e-3 0."),
        ("3. 4. 2. 2. -1. 1. -1. 1. 1e-5 2e-3 0. 0. 0. 0. 0.", "3. 2. 3. 2. -1. 1. -1. 1. 0. 0. 0. 3e-3 0."),
        # Chebyshev's and Legendre's of the first order, with other limits: x = (xi - 0.1) / 0.3, y = (eta + 0.1) / 0.5;
        # 2e-3 xi = 6e-4 x + 2e-4, and 3e-3 xi eta = 3e-3 (0.3 x + 0.1) (0.5 y - 0.1).
        (
            "1. 2. 1. 1. -.2 .4 -.6 .4 2.1e-4 6e-4",
            "2. 2. 2. 1. -.2 .4 -.6 .4 -3e-5 -9e-5 1.5e-4 4.5e-4",
        ),
    ],
)
def test_corrections_of_iraf(tmp_path: Path, lngcor: str, latcor: str, is_zpx: bool) -> None:
    """They are added on the projected plane; here always the same ones."""
    plane = (PIXELS + 1 - [16.5, 12.5]) * [-STEP, STEP]
    xi = plane[:, 0] * 1.002 + 1e-5
    eta = plane[:, 1] + 3e-3 * plane[:, 0] * plane[:, 1]
    projection: dict[str, Any] = {"CRPIX1": 0.0, "CRPIX2": 0.0, "CD1_1": 1.0, "CD2_2": 1.0}
    projection |= ZPN | {"PV2_1": 1.0, "PV2_3": 220.0} if is_zpx else {}
    term = "projp0=0. projp1=1. projp2=0. projp3=220. " if is_zpx else ""
    expected = directions(*WCS(fits.Header(PLAIN | projection)).all_pix2world(xi, eta, 1))
    assert_same(read_wcs(tmp_path, iraf_cards(ZPX if is_zpx else TNX, lngcor, latcor, term)), expected)


def test_blanks_at_the_end_of_a_card_of_iraf(tmp_path: Path) -> None:
    """FITS drops them, and numbers on both sides would grow together."""
    first = "wtype=zpx axtype=ra projp1=1. projp3=".ljust(66) + "2"
    cards = {"WAT1_001": first, "WAT1_002": "20. projp5=0.".ljust(67)}
    assert_same(read_wcs(tmp_path, ZPX | cards), truth(ZPN | {"PV2_1": 1.0, "PV2_3": 220.0}))
    cards = {"WAT1_001": "wtype=zpx axtype=ra projp1=1. projp3=220.".ljust(68), "WAT1_002": "projp5=0.".ljust(68, "x")}
    cards["WAT1_002"] = "projp5=0. other=".ljust(68, "x")
    assert_same(read_wcs(tmp_path, ZPX | cards), truth(ZPN | {"PV2_1": 1.0, "PV2_3": 220.0}))


@pytest.mark.parametrize(
    ("cards", "frame"),
    [
        ({"EQUINOX": "B1950"}, FK4(equinox="B1950")),
        ({"EQUINOX": 1950.0}, FK4(equinox="B1950")),
        ({"EQUINOX": "1950"}, FK4(equinox="B1950")),
        ({"EPOCH": 1950}, FK4(equinox="B1950")),
        ({"RADESYS": "FK4"}, FK4(equinox="B1950")),
        ({"RADESYS": "B1950"}, FK4(equinox="B1950")),
        ({"EQUINOX": "J2000"}, FK5(equinox="J2000")),
        ({"EQUINOX": " j2000.0 "}, FK5(equinox="J2000")),
        ({"EQUINOX": "2000.0"}, FK5(equinox="J2000")),
        ({"RADESYS": "fk5", "EQUINOX": 2000.0}, FK5(equinox="J2000")),
        ({"RADESYS": "J2000"}, FK5(equinox="J2000")),
        ({"RADESYS": "FK5/J2000.0"}, FK5(equinox="J2000")),
        ({"RADECSYS": "FK5 ", "EQUINOX": 0}, FK5(equinox="J2000")),
        ({"RADESYS": "FK5", "EQUINOX": 2024.35}, FK5(equinox=Time(2024.35, format="jyear"))),
        ({"EQUINOX": 2024.35}, FK5(equinox=Time(2024.35, format="jyear"))),
        ({"RADESYS": "FK5", "RADECSYS": "FK4"}, FK5(equinox="J2000")),
        ({"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN", "RADESYS": "unknown here"}, "galactic"),
        ({"CTYPE1": "SLON-TAN", "CTYPE2": "SLAT-TAN"}, "supergalactic"),
        ({"CTYPE1": "ELON-TAN", "CTYPE2": "ELAT-TAN"}, BarycentricMeanEcliptic(equinox="J2000")),
        ({"CTYPE1": "ELON-TAN", "CTYPE2": "ELAT-TAN", "RADESYS": "ICRS"}, BarycentricMeanEcliptic(equinox="J2000")),
        (
            {"CTYPE1": "ELON-TAN", "CTYPE2": "ELAT-TAN", "EQUINOX": 2024.5},
            BarycentricMeanEcliptic(equinox=Time(2024.5, format="jyear")),
        ),
    ],
)  # fmt: skip
def test_frames(tmp_path: Path, cards: dict[str, Any], frame: Any) -> None:
    lon, lat = WCS(fits.Header(PLAIN)).all_pix2world(PIXELS, 0).T
    assert_same(read_wcs(tmp_path, cards), directions(lon, lat, frame))


def test_besselian_centre(tmp_path: Path) -> None:
    """The one number that is known from elsewhere."""
    middle = SkyCoord(*read_wcs(tmp_path, {"EQUINOX": "B1950"}).centre, representation_type="cartesian").spherical
    assert middle.lon.deg == pytest.approx(150.64, abs=0.01)
    assert middle.lat.deg == pytest.approx(1.76, abs=0.01)


def test_ecliptic_pole(tmp_path: Path) -> None:
    """A number that is known from elsewhere: the ecliptic's north pole is at 18h, 66.5607 degrees."""
    wcs = read_wcs(tmp_path, {"CTYPE1": "ELON-TAN", "CTYPE2": "ELAT-TAN", "CRVAL1": 0.0, "CRVAL2": 90.0})
    middle = SkyCoord(*wcs.centre, representation_type="cartesian").spherical
    assert (middle.lon.deg, middle.lat.deg) == pytest.approx((270.0, 66.5607), abs=1e-4)


@pytest.mark.parametrize("rotation", [None, 20.0])
def test_declination_first(tmp_path: Path, rotation: float | None) -> None:
    """CROTA is the latitude axis's, wherever that is."""
    swapped = {"CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN", "CRVAL1": 2.0, "CRVAL2": 150.0}
    cards = swapped | NO_CD | {"CDELT1": STEP, "CDELT2": -STEP} | ({} if rotation is None else {"CROTA1": rotation})
    lat, lon = WCS(fits.Header({k: v for k, v in (PLAIN | cards).items() if v is not None})).all_pix2world(PIXELS, 0).T
    assert_same(read_wcs(tmp_path, cards), directions(lon, lat))


@pytest.mark.parametrize(
    ("cards", "same", "said"),
    [
        ({"PC1_1": 1.0, "PC2_2": 1.0, "CDELT1": 1.0, "CDELT2": 1.0}, {}, "CD.* PC.* contradict .*CD counts"),
        ({"CDELT1": 1.0, "CDELT2": 1.0}, {}, "CD.* CDELT1.* contradict .*CD counts"),
        (ROTATED | {"CDELT1": -STEP, "CDELT2": STEP}, ROTATED, "CD.* CDELT1.* contradict"),
        ({"CDELT1": -STEP, "CDELT2": STEP}, {}, None),
        (TAN_SIP | SIP | CUBIC, TAN_SIP | SIP, "SIP .*TPV.*SIP is used"),
        (SIP | CUBIC, TAN_SIP | SIP, "SIP .*TPV.*SIP is used"),
        (TPV | SIP | CUBIC, TPV | CUBIC, "SIP .*TPV.*TPV, which is used"),
        (SIP | {"A_ORDER": None}, TAN_SIP | SIP, "no A_ORDER"),
        (TAN_SIP, {}, "CTYPE says SIP"),
        (TNX, {}, "CTYPE says TNX"),
        ({"CPDIS1": "Lookup"}, {}, "CPDIS1"),
        (CDELT | {"CROTA1": 12.0, "CROTA2": 36.869897645844}, CDELT | {"CROTA2": 36.869897645844}, "CROTA1 is 12"),
    ],
)  # fmt: skip
def test_contradictions(
    tmp_path: Path, cards: dict[str, Any], same: dict[str, Any], said: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """One of two is used, and which one is said, with the file and the HDU."""
    assert_same(read_wcs(tmp_path, cards), truth(same))
    found = warnings_of(caplog)
    assert len(found) == (said is not None)
    if said is not None:
        assert re.search(rf"raw\.fits, HDU 0: .*{said}", found[0]), found


@pytest.mark.parametrize("kind", ["CD", "PC"])
def test_an_element_in_two_forms(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    cards = {} if kind == "CD" else CDELT | {"PC1_1": 1.0, "PC2_2": 1.0}
    assert_same(read_wcs(tmp_path, {**cards, f"{kind}001001": 7.0, f"{kind}001002": 0.0}), truth())
    (warning,) = warnings_of(caplog)
    assert f"{kind}1_1 and {kind}001001 are different; the first one counts" in warning


def test_a_card_that_is_there_twice(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    header = fits.Header(PLAIN)
    header.append(("CRVAL1", 30.0), bottom=True)
    header.append(("CRPIX1", 16.5), bottom=True)
    fits.PrimaryHDU(np.zeros((HEIGHT, WIDTH), np.int16), header).writeto(tmp_path / "raw.fits")
    (file,) = read_raw_files([tmp_path / "raw.fits"])
    assert isinstance(file, RawFile)
    assert_same(RawWcs(find_detector(file, 0, None)), truth())
    (warning,) = warnings_of(caplog)
    assert "CRVAL1 is there twice" in warning


@pytest.mark.parametrize(
    ("cards", "said"),
    [
        (CDELT | {"CROTA1": 12.0}, "CROTA1 is 12"),
        (CDELT | {"CROTA1": 12.0, "CROTA2": 0.0}, "CROTA1 is 12"),
        (CDELT | {"CDELT2": None}, "CDELT1 and CDELT2"),
        (CDELT | {"CDELT2": None, "PC1_1": 1.0, "PC2_2": 1.0}, "there is CDELT1, and no CDELT2"),
        ({"CRVAL1": 999.0}, "CRVAL1 is 999"),
        ({"CRVAL2": -95.0}, "CRVAL2 is -95"),
        ({"CRVAL1": "10:00:00.0"}, "CRVAL1 is '10:00:00.0'"),
        ({"CRPIX1": True}, "CRPIX1 is True"),
        ({"CD1_1": "UNKNOWN"}, "CD1_1 is 'UNKNOWN'"),
        (TPV | {"PV1_7": "n/a"}, "PV1_7 is 'n/a'"),
        (TPV | {"PV1_40": 1.0}, "PV1_40"),
        ({"LONPOLE": "north"}, "LONPOLE is 'north'"),
        ({"CUNIT1": "furlong"}, "CUNIT1 is 'FURLONG'"),
        ({"RADESYS": "GAPPT"}, "RADESYS is 'GAPPT'"),
        ({"CTYPE1": "HLON-TAN", "CTYPE2": "HLAT-TAN"}, "CTYPE is HLON"),
        ({"CTYPE1": "TLON-TAN", "CTYPE2": "TLAT-TAN"}, "CTYPE is TLON"),
        ({"CTYPE1": "ELON-TAN", "CTYPE2": "ELAT-TAN", "RADESYS": "FK4"}, "CTYPE is ELON"),
        ({"EQUINOX": "today"}, "EQUINOX is 'today'"),
        ({"EQUINOX": 2451545.0}, "EQUINOX is 2451545"),
        (TAN_SIP | SIP | {"A_ORDER": 2.5}, "A_ORDER is 2.5"),
        ({"CPDIS1": "Polynomial"}, "CPDIS1"),
        (TNX | {"WAT1_001": 'axtype=ra lngcor = "3. 9. 9. 2. -1. 1. -1. 1. 0.5"'}, "WAT1_001: lngcor"),
        (TNX | {"WAT1_001": 'axtype=ra lngcor = "3. 1. 1. 1. -1. 1. -1. 1. x"'}, "WAT1_001: lngcor"),
        (ZPX | {"WAT1_001": "axtype=ra projp1=nan"}, "WAT1_001: projp1"),
        # Degrees that are arcseconds, and terms of the linear projection that are none.
        ({"CD1_1": -0.5, "CD2_2": 0.5}, r"pixels are 0\.496 x 0\.49\d degrees .*CD1_1"),
        (NO_CD | {"CDELT1": -1.0, "CDELT2": 1.0}, "CDELT1, CDELT2"),
        ({"CUNIT1": "arcsec", "CRVAL1": 540000.0}, r"pixels are 3\.86e-08 x 0\.000139 degrees .*CD1_1"),
        ({"CD2_2": 0.5}, r"pixels are 0\.000139 x 0\.49\d degrees .*CD1_1"),
        ({"CD2_2": 0.05}, r"pixels are 0\.000139 x 0\.05 degrees .*CD1_1"),
        # What wcslib says, without where in its code.
        (ZPN, r"cannot be used \(Invalid parameter value\. .*polynomial projection\.; check its CTYPE and PV cards"),
        ({"PV1_1": 0.0, "PV1_2": 45.0}, "CRPIX1, CRPIX2 is .* from CRVAL1|degenerate.*PV1_1"),
        ({"CD1_1": 0.0, "CD2_2": 0.0}, "CD1_1.* singular"),
    ],
)  # fmt: skip
def test_errors(tmp_path: Path, cards: dict[str, Any], said: str) -> None:
    """With the file, the HDU and the keyword; never a region."""
    with pytest.raises(RawFileError, match=rf"raw\.fits, HDU 0: .*({said})"):
        read_wcs(tmp_path, cards)


def test_texts_of_alternate_wcss(tmp_path: Path) -> None:
    """The library has room for fewer of them, and the process dies; only the primary WCS is wanted."""
    cards = {f"CRVAL{i % 2 + 1}{chr(65 + i // 2)}": "10:00:00.0" for i in range(44)}
    cards |= {f"CTYPE{i}{a}": "RA---TAN" for i in (1, 2) for a in "ABCZ"} | {"PS1_0": "x" * 60, "CNAME1": "x" * 60}
    assert_same(read_wcs(tmp_path, cards), truth())
