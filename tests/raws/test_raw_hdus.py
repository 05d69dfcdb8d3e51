"""Which HDU of a raw shows a detector, and how its pixels lie on the detector."""

from __future__ import annotations

import atexit
import functools
import gzip
import itertools
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from lsst.daf.butler import Butler

from butler_visits import RawFileError
from mosaic import HEIGHT, WIDTH, Kind, Layout, wcs_header, write_raw
from raw_repository import (
    CAMERA,
    IDS,
    POINTING,
    Pointing,
    add_exposure,
    border,
    border_pixels,
    hull,
    ingest,
    make_repository,
    region_task,
    sky,
    vertices,
    visit_of,
)
from stored_visits import outline_distance

TOLERANCE = 0.01
"""Arcsec."""


def write(path: Path, images: Sequence[fits.Header | None], *, empty_primary: bool = True) -> Path:
    """Write a file of small images with given headers; `None` is a table. Nobody reads the pixels.

    A header's own NAXIS1 and NAXIS2 are its image's size, by default a detector's, of which a hole is left in the file.
    """
    with path.open("wb") as file:
        if empty_primary:
            file.write(fits.PrimaryHDU().header.tostring().encode())
        for index, header in enumerate(images):
            if header is None:
                table = fits.BinTableHDU.from_columns([fits.Column("x", "D", array=np.zeros(3))])
                file.write(table.header.tostring().encode() + bytes(2880))
                continue
            first = {"SIMPLE": True} if index == 0 and not empty_primary else {"XTENSION": "IMAGE"}
            basics = {"BITPIX": 8, "NAXIS": 2, "NAXIS1": WIDTH, "NAXIS2": HEIGHT}
            own = {key: header[key] for key in header if key.startswith("NAXIS")}
            basics |= own | ({} if "SIMPLE" in first else {"PCOUNT": 0, "GCOUNT": 1})
            whole = fits.Header(first | basics)
            whole.extend(card for card in header.cards if card.keyword not in own)
            file.write(whole.tostring(padding=True).encode())
            sizes = [whole[f"NAXIS{axis}"] for axis in range(1, whole["NAXIS"] + 1)]
            file.truncate(file.seek(-(-int(np.prod(sizes)) // 2880) * 2880, 1))
    return path


def wcs(name: str, cards: Mapping[str, Any] | None = None, pointing: Pointing = POINTING) -> fits.Header:
    """Make a header with a detector's WCS and further cards."""
    header = wcs_header(CAMERA, name, *pointing[:3], "TPV")
    header.update(cards or {})
    return header


@functools.cache
def repository() -> Butler:
    """Return a repository that the tests of this module share; each has an exposure of its own."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    return make_repository(folder / "repository", camera=None)


NUMBERS = itertools.count(1)


def regions_of(path: Path, names: Sequence[str], padding: int = 0) -> dict[int, Any]:
    """Ingest a file and compute the regions of its detectors."""
    butler = repository()
    exposure = add_exposure(butler, next(NUMBERS))
    ingest(butler, exposure, path, names)
    return region_task(butler, "all-raw-wcs", padding=padding).compute(visit_of(exposure))[1]


def check(path: Path, names: Sequence[str], padding: int = 0) -> None:
    found = regions_of(path, names, padding)
    assert found.keys() == {IDS[name] for name in names}
    for name in names:
        assert outline_distance(found[IDS[name]], hull(border(name, padding=padding))) < TOLERANCE


# Which HDU


@pytest.mark.parametrize("empty_primary", [False, True])
@pytest.mark.parametrize("name", [None, "somebody else"])
def test_the_only_image(tmp_path: Path, empty_primary: bool, name: str | None) -> None:
    """It is taken whatever it is called; tables beside it do not count."""
    cards = {} if name is None else {"EXTNAME": name, "CCDNUM": 99}
    path = write(tmp_path / "raw.fits", [wcs("M2", cards), None], empty_primary=empty_primary)
    check(path, ["M2"])


def other(keyword: str, value: Any) -> fits.Header:
    """Make the header of an image of somewhere else."""
    return wcs("N1", {keyword: value}, POINTING._replace(ra=1.0))


@pytest.mark.parametrize(
    ("keyword", "own", "others"),
    [
        ("CCDNUM", IDS["M2"], (1, 90)),
        ("CCDNUM", str(IDS["M2"]), ("1", "90")),
        ("DETECTOR", "M2", ("M1", "M22")),
        ("DETECTOR", IDS["M2"], (1, 90)),
        ("DETNAME", " m2 ", ("M1", "am2")),
        ("EXTNAME", "M2", ("M1", "M3")),
        ("EXTNAME", str(IDS["M2"]), ("1", "90")),
        ("CHIPID", "M2", ("M1", "M3")),
        ("IMAGEID", IDS["M2"], (1, 2)),
    ],
)
def test_by_keyword(tmp_path: Path, keyword: str, own: Any, others: tuple[Any, Any]) -> None:
    """By the detector's number or its full name, whatever the order of the HDUs."""
    images = [other(keyword, others[0]), wcs("M2", {keyword: own}), other(keyword, others[1])]
    check(write(tmp_path / "raw.fits", images), ["M2"])


def test_a_name_counts_more_than_a_number(tmp_path: Path) -> None:
    """DETNAME is the place on the focal plane, and another chip's serial happens to be the detector's number."""
    images = [other("CHIPID", IDS["M2"]), wcs("M2", {"DETNAME": "M2", "CHIPID": 31337})]
    check(write(tmp_path / "raw.fits", images), ["M2"])


def test_keywords_that_count_in_different_ways(tmp_path: Path) -> None:
    """CCDNUM is the detector's number, IMAGEID that of the HDU: the keyword that is listed first counts."""
    images = [other("IMAGEID", IDS["M2"]), wcs("M2", {"CCDNUM": IDS["M2"], "IMAGEID": IDS["M1"]})]
    images[0]["CCDNUM"] = IDS["M1"]
    for number, image in enumerate(images):
        image["DETSEC"] = f"[{1 + number * WIDTH}:{(number + 1) * WIDTH},1:{HEIGHT}]"
    check(write(tmp_path / "raw.fits", images), ["M2"])


@pytest.mark.parametrize("compressed", [False, True])
def test_several_detectors_in_a_file(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / ("raw.fits.fz" if compressed else "raw.fits")
    names = ["S1", "M4", "N3"]
    write_raw(path, CAMERA, names, *POINTING[:3], "SIP", layout="multi", compressed=compressed)
    check(path, names, padding=250)


def test_the_first_hdu_of_a_name_with_a_wcs(tmp_path: Path) -> None:
    """A detector's image beside its mask or its guider window, which have no WCS."""
    images = [
        fits.Header({"CCDNUM": 9, "NAXIS1": 50, "NAXIS2": 50}),
        wcs("M2", {"CCDNUM": 9, "DETSEC": "[1:2048,1:4096]"}),
    ]
    images[0]["DETSEC"] = "[1:50,1:50]"
    check(write(tmp_path / "raw.fits", [*images, other("CCDNUM", 10)]), ["M2"])


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (
            [other("CCDNUM", 1), other("EXTNAME", "M3"), fits.Header()],
            r"HDUs 1 \(CCDNUM=1\); 2 \(EXTNAME='M3'\); 3; expected one image, the id or name in one of CCDNUM",
        ),
        ([None], "It has no image; expected one image"),
        ([], "It has no image; expected one image"),
    ],
    ids=["others", "table", "empty"],
)
def test_no_hdu(tmp_path: Path, images: list[fits.Header | None], said: str) -> None:
    """The error lists the HDUs and what was looked for."""
    path = write(tmp_path / "raw.fits", images)
    with pytest.raises(RawFileError, match=rf"{path.name}: no HDU is known to show detector 9 \(M2\)\. .*{said}"):
        regions_of(path, ["M2"])


SECTIONS = {"DATASEC": f"[1:{WIDTH},1:{HEIGHT}]", "DETSEC": f"[1:{WIDTH},1:{HEIGHT}]"}


@pytest.mark.parametrize(
    "cards",
    [
        ({"CCDNUM": 1, "DETSEC": "[1:2048,1:4096]"}, {"CCDNUM": 2, "DETSEC": "[2049:4096,1:4096]"}),
        ({"EXTNAME": "c1", "CCDSEC": "[1:2048,1:4096]"}, {"EXTNAME": "c2", "CCDSEC": "[1:2048,1:4096]"}),
    ],
    ids=["other numbers", "sections that overlap"],
)
def test_images_of_other_detectors_are_no_amplifiers(tmp_path: Path, cards: tuple[dict[str, Any], ...]) -> None:
    """They have sections as amplifiers have; taken together they would be a region of the whole mosaic."""
    images = [wcs(name, SECTIONS | own) for name, own in zip(("M1", "M2"), cards, strict=True)]
    path = write(tmp_path / "raw.fits", images)
    with pytest.raises(RawFileError, match=rf"{path.name}: no HDU is known to show detector 9 \(M2\)\."):
        regions_of(path, ["M2"])


def test_a_file_of_several_detectors_is_not_one_s_amplifiers(tmp_path: Path) -> None:
    """The repository knows that the file has two detectors, and the HDUs do not say which is which."""
    images = [
        wcs(name, SECTIONS | {"EXTNAME": extension, "DETSEC": section})
        for name, extension, section in (("M1", "a", "[1:2048,1:4096]"), ("M2", "b", "[2049:4096,1:4096]"))
    ]
    path = write(tmp_path / "raw.fits", images)
    with pytest.raises(RawFileError, match=rf"{path.name}: no HDU is known to show detector (9|12) "):
        regions_of(path, ["M1", "M2"])


def test_two_whole_images_of_one_detector(tmp_path: Path) -> None:
    """Without sections nobody can say how they lie on the detector."""
    path = write(tmp_path / "raw.fits", [wcs("M2", {"CCDNUM": 9}), wcs("M2", {"CCDNUM": 9})])
    with pytest.raises(
        RawFileError, match=rf"{path.name}, HDU [12].*DETSEC or CCDSEC; expected one in each of HDUs 1, 2"
    ):
        regions_of(path, ["M2"])


# How files are packed


@pytest.mark.parametrize("layout", ["one-image", "amplifiers"])
def test_compressed_images(tmp_path: Path, layout: Layout) -> None:
    path = tmp_path / "raw.fits.fz"
    write_raw(path, CAMERA, ["M5"], *POINTING[:3], "TPV", layout=layout, compressed=True, bitpix=16)
    check(path, ["M5"], padding=250)


def test_gzip(tmp_path: Path) -> None:
    write_raw(tmp_path / "raw.fits", CAMERA, ["M5"], *POINTING[:3], "TPV")
    with (tmp_path / "raw.fits").open("rb") as plain, gzip.open(tmp_path / "raw.fits.gz", "wb", 1) as packed:
        shutil.copyfileobj(plain, packed)
    check(tmp_path / "raw.fits.gz", ["M5"], padding=250)


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


@pytest.mark.parametrize("key", ["DATASEC", "DETSEC", "CCDSEC"])
@pytest.mark.parametrize("value", ["", "[1:2048]", "[a:b,c:d]", "[0:0,0:0]", 17, "[1:2048,1:99999999]"])
def test_a_section_that_makes_no_sense(tmp_path: Path, key: str, value: Any) -> None:
    """An error that names it, or the image's own size; never a region that is not there."""
    path = write(tmp_path / "raw.fits", [wcs("M2", {key: value, "EXTNAME": "M2"})])
    try:
        region = regions_of(path, ["M2"])[IDS["M2"]]
    except RawFileError as error:
        assert re.search(rf"{path.name}, HDU 1 \(M2\).*{key}", str(error))
    else:
        assert len(vertices(region))
        assert outline_distance(region, hull(border("M2", padding=0))) < TOLERANCE


def test_inherited_wcs(tmp_path: Path) -> None:
    """An extension that inherits has the first HDU's keywords too."""
    header = wcs("M2", {"INHERIT": True})
    inherited = fits.Header([card for card in header.cards if card.keyword.startswith(("C", "PV", "RADESYS"))])
    own = fits.Header([card for card in header.cards if card.keyword not in inherited])
    path = write(tmp_path / "raw.fits", [own])
    with fits.open(path, mode="update", memmap=False) as hdus:
        hdus[0].header.update(inherited)
    check(path, ["M2"])
