"""How the pixels of an image lie on the detector: sections, amplifiers, binning."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from butler_visits import RawFileError
from butler_visits.camera.yaml_camera import camera_from_mapping
from butler_visits.define.regions.raw_pointings import fit_camera_to_raws
from butler_visits.raws import RawFile, RawWcs, find_detector, read_raw_files
from butler_visits.raws.hdus import unknown_overscan
from mosaic import HEIGHT, WIDTH, Kind, write_raw
from raw_files import TOLERANCE, binned, check, regions_of, warnings_of, wcs, write
from raw_repository import CAMERA, IDS, POINTING, border_pixels, hull, sky
from stored_visits import outline_distance

SECTIONS = {"DATASEC": f"[1:{WIDTH},1:{HEIGHT}]", "DETSEC": f"[1:{WIDTH},1:{HEIGHT}]"}

# Sections


@pytest.mark.parametrize("kind", ["TPV", "SIP"])
@pytest.mark.parametrize("first", range(4))
def test_amplifiers(tmp_path: Path, kind: Kind, first: int) -> None:
    """Four amplifiers of which three are mirrored, with prescans; the WCS is taken from any of them."""
    whole = tmp_path / "whole.fits"
    write_raw(whole, CAMERA, ["M5"], *POINTING[:3], kind, layout="amplifiers")
    with fits.open(whole) as hdus:
        headers = [hdu.header.copy() for hdu in hdus[1:]]
    for header in headers[:first]:
        for key in list(header):
            if re.match(r"C(TYPE|RVAL|RPIX|D)\d|PV|[AB]_\d", key):
                del header[key]
    images = [fits.Header([c for c in h.cards if c.keyword not in ("XTENSION", "BITPIX", "NAXIS")]) for h in headers]
    for image in images:
        del image["PCOUNT"], image["GCOUNT"]
    check(write(tmp_path / "raw.fits", images), ["M5"], padding=250)


def test_amplifiers_without_the_detectors_name(tmp_path: Path) -> None:
    """Rubin's raws name the detector in the primary only: amplifiers of one detector are known by their sections."""
    path = tmp_path / "raw.fits"
    write_raw(path, CAMERA, ["N3"], *POINTING[:3], "TPV", layout="amplifiers", CCDNUM="")
    check(path, ["N3"], padding=250)


MOSAIC = {"DETSEC": "[12289:14336,1:4096]", "DETSIZE": "[1:29400,1:29050]"}
"""Of DECam: pixels of the whole mosaic."""


@pytest.mark.parametrize(
    "cards",
    [
        {},
        {"DETSEC": f"[1:{WIDTH},1:{HEIGHT}]"},
        MOSAIC,
        MOSAIC | {"CCDSEC": f"[1:{WIDTH},1:{HEIGHT}]"},
        {"DATASEC": f" [1:{WIDTH}, 1:{HEIGHT}] ", "DETSEC": f"[1 :{WIDTH},1: {HEIGHT}]"},
    ],
    ids=["none", "own", "mosaic", "mosaic and own", "spaces"],
)
def test_sections_that_say_what_is_so_anyway(tmp_path: Path, cards: dict[str, str]) -> None:
    check(write(tmp_path / "raw.fits", [wcs("M2", cards)]), ["M2"], padding=250)


@pytest.mark.parametrize("key", ["DATASEC", "TRIMSEC"])
@pytest.mark.parametrize(
    "sections", [{}, MOSAIC, MOSAIC | {"CCDSEC": "[1:2048,1:4096]"}], ids=["none", "mosaic", "both"]
)
def test_prescan_and_overscan(tmp_path: Path, key: str, sections: dict[str, str]) -> None:
    """The detector is what sees the sky."""
    size = {"NAXIS1": 2160, "NAXIS2": 4146, key: "[57:2104,51:4146]"}
    header = wcs("M2", sections | size)
    header["CRPIX1"] += 56
    header["CRPIX2"] += 50
    check(write(tmp_path / "raw.fits", [header]), ["M2"], padding=250)


def mirrored(name: str, x: bool, y: bool) -> fits.Header:
    """Make the WCS header of an image that is mirrored, by the matrix and the reference pixel of a TPV one."""
    header = wcs(name)
    for axis, size, flip in ((1, WIDTH, x), (2, HEIGHT, y)):
        if flip:
            header[f"CRPIX{axis}"] = size + 1 - header[f"CRPIX{axis}"]
            for i in (1, 2):
                header[f"CD{i}_{axis}"] *= -1
    return header


@pytest.mark.parametrize(("x", "y"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("in_data", [False, True])
def test_mirrored_image(tmp_path: Path, x: bool, y: bool, in_data: bool) -> None:
    """A section that counts backwards, in DETSEC or in DATASEC; without the flip an asymmetric cut would be wrong."""
    header = mirrored("M2", x, y)
    x_section = f"{WIDTH}:1" if x else f"1:{WIDTH}"
    y_section = f"{HEIGHT}:1" if y else f"1:{HEIGHT}"
    backward, forward = f"[{x_section},{y_section}]", f"[1:{WIDTH},1:{HEIGHT}]"
    header["DATASEC"], header["DETSEC"] = (backward, forward) if in_data else (forward, backward)
    check(write(tmp_path / "raw.fits", [header]), ["M2"], padding=250)


def test_flips_matter(tmp_path: Path) -> None:
    """An amplifier that is the upper right quarter, read from its corner: the others have no WCS to correct it."""
    header = mirrored("M2", True, True)
    header["NAXIS1"], header["NAXIS2"] = WIDTH // 2, HEIGHT // 2
    header["DETSEC"] = f"[{WIDTH}:{WIDTH // 2 + 1},{HEIGHT}:{HEIGHT // 2 + 1}]"
    header["CCDNUM"] = 9
    rest = fits.Header({"DETSEC": f"[1:{WIDTH // 2},1:{HEIGHT // 2}]", "CCDNUM": 9})
    rest["NAXIS1"], rest["NAXIS2"] = WIDTH // 2, HEIGHT // 2
    check(write(tmp_path / "raw.fits", [rest, header]), ["M2"], padding=250)


@pytest.mark.parametrize("binning", [(2, 2), (1, 2), (4, 2)])
def test_binning(tmp_path: Path, binning: tuple[int, int]) -> None:
    """Padding counts the detector's pixels, not the image's."""
    header = wcs("M2", {"DETSEC": f"[1:{WIDTH},1:{HEIGHT}]", "CCDSUM": "{} {}".format(*binning)})
    for axis, size, factor in ((1, WIDTH, binning[0]), (2, HEIGHT, binning[1])):
        header[f"NAXIS{axis}"] = size // factor
        header[f"CRPIX{axis}"] = (header[f"CRPIX{axis}"] - 0.5) / factor + 0.5
        for i in (1, 2):
            header[f"CD{i}_{axis}"] *= factor
    check(write(tmp_path / "raw.fits", [header]), ["M2"], padding=250)


def test_a_subframe(tmp_path: Path) -> None:
    """Only a part of the detector was read: its region is that part's."""
    header = wcs("M2", {"NAXIS1": 512, "NAXIS2": 1024, "DETSEC": "[1001:1512,2001:3024]"})
    header["CRPIX1"] -= 1000
    header["CRPIX2"] -= 2000
    region = regions_of(write(tmp_path / "raw.fits", [header]), ["M2"])[IDS["M2"]]
    # The borders of a detector and of its part are the same but for scale and place.
    pixels = [999.5, 1999.5] + (border_pixels(0) + 0.5) / [WIDTH / 512, HEIGHT / 1024]
    assert outline_distance(region, hull(sky(CAMERA, "M2", pixels, POINTING))) < TOLERANCE


BINNED = [
    {"CCDSUM": "2 4"}, {"XBINNING": 2, "YBINNING": 4}, {"CCDBIN1": 2, "CCDBIN2": "4"}, {"BINX": 2.0, "BINY": 4.0},
    {"BINNING": "2x4"}, {"BINNING": "2,4"}, {"CCDSUM": "(2, 4)"}, {"CCDXBIN": 2, "CCDYBIN": 4},
    {"BIN-FCT1": 2, "BIN-FCT2": 4}, {"HIERARCH ESO DET WIN1 BINX": 2, "HIERARCH ESO DET WIN1 BINY": 4},
]  # fmt: skip


@pytest.mark.parametrize(
    ("cards", "sections", "unbinned"),
    [
        *((cards, {}, True) for cards in BINNED),
        (BINNED[0], {}, False),
        (BINNED[0], {"CCDSEC": "UNKNOWN"}, True),
        (BINNED[0], {"DETSEC": "binned", "DATASEC": "binned"}, True),
        (BINNED[0], {"CCDSEC": "whole", "DATASEC": "whole"}, True),
        (BINNED[0], {"CCDSEC": "stride"}, True),
        (BINNED[0], {"CCDSEC": "short stride"}, True),
    ],
)
def test_binning_by_its_keyword(
    tmp_path: Path, cards: dict[str, Any], unbinned: bool, sections: dict[str, str]
) -> None:
    """Padding counts the detector's pixels, and so does the camera, unless it is in binned pixels itself."""
    texts = {
        "binned": f"[1:{WIDTH // 2},1:{HEIGHT // 4}]",
        "whole": f"[1:{WIDTH},1:{HEIGHT}]",
        "stride": f"[1:{WIDTH}:2,1:{HEIGHT}:4]",
        "short stride": f"[1:{WIDTH - 1}:2,1:{HEIGHT - 3}:4]",
    }
    header = binned(wcs("M2", cards | {key: texts.get(text, text) for key, text in sections.items()}), 2, 4)
    path = write(tmp_path / "raw.fits", [header])
    check(path, ["M2"], padding=250)
    (file,) = read_raw_files([path])
    assert isinstance(file, RawFile)
    raw = RawWcs(find_detector(file, 9, "M2"))
    assert raw.box.tolist() == [[0, 0], [WIDTH - 1, HEIGHT - 1]]
    mapping = CAMERA
    if not unbinned:
        mapping = copy.deepcopy(CAMERA)
        ccd = mapping["CCDs"]["M2"]
        ccd["bbox"] = [[0, 0], [WIDTH // 2 - 1, HEIGHT // 4 - 1]]
        ccd["pixelSize"] = [ccd["pixelSize"][0] * 2, ccd["pixelSize"][1] * 4]
        ccd["refpos"] = [(WIDTH // 2 - 1) / 2, (HEIGHT // 4 - 1) / 2]
    fit = fit_camera_to_raws({9: raw}, camera_from_mapping(mapping, "test"), 1, 5.0)
    assert np.rad2deg(fit.dec) == pytest.approx(np.rad2deg(POINTING.dec), abs=1e-5)
    assert fit.residual / raw.pixel_scale < 0.1


@pytest.mark.parametrize(
    ("cards", "said"),
    [
        ({"XBINNING": 2, "YBINNING": 2, "CCDSUM": "1 1"}, "XBINNING 2 x 2, CCDSUM 1 x 1"),
        ({"BINNING": "2x4", "BINX": 2}, "BINX 2 x 2, BINNING 2 x 4"),
        ({"XBINNING": 2, "YBINNING": 2, "CCDSUM": "2 2", "BINNING": "LOW"}, ""),
        ({"XBINNING": 0, "CCDSUM": "2 2"}, ""),
    ],
)
def test_binning_said_in_several_ways(tmp_path: Path, cards: dict[str, Any], said: str) -> None:
    path = write(tmp_path / "raw.fits", [binned(wcs("M2", cards), 2, 2)])
    if not said:
        check(path, ["M2"], padding=250)
        return
    with pytest.raises(RawFileError, match=rf"raw\.fits.*says in several ways how it is binned, {said}; correct it"):
        check(path, ["M2"], padding=250)


@pytest.mark.parametrize("key", ["DATASEC", "TRIMSEC", "DETSEC", "CCDSEC"])
@pytest.mark.parametrize(
    "value",
    [
        "", "UNKNOWN", "N/A", "n/a ", "none", "undefined", "[*,*]", "[*, *]", "[0:0,0:0]",
        "[1.0:2048.0,1.0:4096.0]", "[1:2048:1,1:4096:1]", "1:2048,1:4096", "(1:2048,1:4096)", "[0:2047,0:4095]",
    ],
)  # fmt: skip
def test_a_section_that_says_little(tmp_path: Path, key: str, value: str, caplog: pytest.LogCaptureFixture) -> None:
    """As if it were not there."""
    check(write(tmp_path / "raw.fits", [wcs("M2", {key: value})]), ["M2"])
    assert not warnings_of(caplog)


@pytest.mark.parametrize("key", ["DATASEC", "DETSEC", "CCDSEC"])
@pytest.mark.parametrize("value", ["[1:2048]", "[a:b,c:d]", 17, "[1.5:2048,1:4096]", "[-5:2048,1:4096]"])
def test_a_section_that_makes_no_sense(tmp_path: Path, key: str, value: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A warning that names it, and the image's own size; of one of several amplifiers it is an error."""
    check(write(tmp_path / "raw.fits", [wcs("M2", {key: value, "EXTNAME": "M2"})]), ["M2"])
    (warning,) = warnings_of(caplog)
    assert re.search(rf"raw.fits, HDU 1 \(M2\): {key} is {re.escape(repr(value))}", warning)
    lies = "DETSEC" if key == "DETSEC" else "CCDSEC"
    images = [wcs("M2", {"CCDNUM": 9, **SECTIONS, lies: f"[1:{WIDTH},{i}:{i}]"}) for i in (1, 2)]
    images[0][key] = value
    with pytest.raises(RawFileError, match=f"HDU 1.*{key}"):
        regions_of(write(tmp_path / "amplifiers.fits", images), ["M2"])


@pytest.mark.parametrize(
    "value", ["inf", "-inf", "nan", "1e999", "[1:inf,1:4096]", "[nan:2048,1:4096]", "[1:1e999,1:9]"]
)
@pytest.mark.parametrize(
    "keys",
    [
        *(("XBINNING", "YBINNING"), ("CCDSUM",), ("XORGSUBF", "YORGSUBF")),
        *(
            ("ESO DET WIN1 STRX", "ESO DET WIN1 STRY"),
            ("DATASEC",),
            ("DETSEC",),
            ("CCDSEC",),
            ("BIASSEC",),
            ("PRESCAN",),
        ),
    ],
)
def test_values_that_are_not_finite(tmp_path: Path, keys: tuple[str, ...], value: str) -> None:
    """They are as if they were not there, and stop nothing."""
    header = wcs("M2")
    header.update({key if len(key) <= 8 else f"HIERARCH {key}": value for key in keys})
    path = write(tmp_path / "raw.fits", [header])
    check(path, ["M2"], padding=250)
    (file,) = read_raw_files([path])
    assert isinstance(file, RawFile)
    assert unknown_overscan(file, 1) is None
    assert find_detector(file, 9, "M2").problem == ""


@pytest.mark.parametrize("key", ["DETSEC", "CCDSEC"])
@pytest.mark.parametrize("value", ["[1:3000,1:4096]", "[1:2048,1:4000]", "[1:2049,1:4096]", "[1025:2048,1:2048]"])
def test_a_section_that_the_image_does_not_fit(
    tmp_path: Path, key: str, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    """No binning makes it as long as the image: pixels are not stretched, but it is said and not used."""
    check(write(tmp_path / "raw.fits", [wcs("M2", {key: value})]), ["M2"], padding=250)
    (warning,) = warnings_of(caplog)
    assert re.search(rf"raw.fits, HDU 1: {key} is {re.escape(repr(value))}.* 2048 x 4096 pixels", warning)


def test_a_section_whose_last_pixels_fill_no_binned_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    header = binned(wcs("M2", {"CCDSEC": f"[1:{WIDTH + 1},1:{HEIGHT + 3}]", "CCDSUM": "2 4"}), 2, 4)
    path = write(tmp_path / "raw.fits", [header])
    (file,) = read_raw_files([path])
    assert isinstance(file, RawFile)
    assert RawWcs(find_detector(file, 9, "M2")).box[1].tolist() == [WIDTH, HEIGHT + 2]
    assert not warnings_of(caplog)


def test_a_section_of_the_untrimmed_image(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The image was trimmed, and its header was not told."""
    path = write(tmp_path / "raw.fits", [wcs("M2", {"DATASEC": "[57:2104,51:4146]", "DETSEC": "[1:2048,1:4096]"})])
    check(path, ["M2"])
    (warning,) = warnings_of(caplog)
    assert "DATASEC is '[57:2104,51:4146]', beyond the image's 2048 x 4096 pixels; it is not used" in warning


def test_a_section_of_the_unbinned_image(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With an overscan of 112 pixels, which are 56 after binning."""
    header = binned(wcs("M2", {"DATASEC": "[113:2160,1:4096]", "CCDSUM": "2 2"}), 2, 2)
    header["NAXIS1"] += 56
    header["CRPIX1"] += 56
    check(write(tmp_path / "raw.fits", [header]), ["M2"], padding=250)
    (warning,) = warnings_of(caplog)
    assert "not binned" in warning
