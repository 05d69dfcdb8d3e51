"""Which HDU of a raw shows a detector."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from typing import Any

import pytest
from astropy.io import fits

from butler_visits import RawFileError
from mosaic import HEIGHT, WIDTH, Layout, write_raw
from raw_files import binned, check, regions_of, wcs, write
from raw_repository import CAMERA, IDS, POINTING

# Which HDU

MOSAIC_OF_ONE = {"DATASEC": f"[1:{WIDTH},1:{HEIGHT}]", "DETSEC": f"[2049:{2048 + WIDTH},1:{HEIGHT}]"}
"""Sections that a mask has as its image has them."""


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


def test_two_images_of_one_detector(tmp_path: Path) -> None:
    """Of the same sky the first one is taken; of different places nobody can say how they lie on the detector."""
    whole = wcs("M2", {"CCDNUM": 9})
    check(write(tmp_path / "raw.fits", [whole, whole, other("CCDNUM", 10)]), ["M2"])
    halves = [wcs("M2", {"CCDNUM": 9, "NAXIS1": WIDTH // 2}) for _ in range(2)]
    halves[1]["CRPIX1"] -= WIDTH // 2
    path = write(tmp_path / "halves.fits", halves)
    with pytest.raises(
        RawFileError, match=rf"{path.name}, HDU [12].*DETSEC or CCDSEC; expected one in each of HDUs 1, 2"
    ):
        regions_of(path, ["M2"])


def beside(name: str, **cards: Any) -> fits.Header:
    """Make the header of an image beside a detector's own, with a WCS of somewhere else."""
    return wcs("N1", {"EXTNAME": name, **cards}, POINTING._replace(ra=1.0))


def thumbnail() -> fits.Header:
    """Make the header of an image of the same sky in large pixels, without a name."""
    return binned(wcs("M2"), 16, 16)


NO_WCS = fits.Header({"EXTNAME": "anything", "NAXIS1": 10, "NAXIS2": 10})


@pytest.mark.parametrize(
    "images",
    [
        [wcs("M2"), beside("MASK")],
        [beside("mask "), wcs("M2")],
        [wcs("M2", {"EXTNAME": "SCI"}), wcs("M2", {"EXTNAME": "ERR"}), wcs("M2", {"EXTNAME": "DQ"})],
        [beside("DQ"), wcs("M2", {"EXTNAME": "ERR"}), wcs("M2", {"EXTNAME": "SCI"})],
        [wcs("M2"), beside("VARIANCE"), beside("WEIGHT"), beside("THUMBNAIL")],
        [NO_WCS, wcs("M2", {"EXTNAME": "IMAGE"})],
        [wcs("M2"), wcs("M2", {"EXTNAME": ""})],
        [thumbnail(), wcs("M2")],
        [wcs("M2", {"CCDNUM": 9}), beside("MASK", CCDNUM=9)],
        [wcs("M2", {"CCDNUM": 9, "EXTNAME": "SCI"}), beside("ERR", CCDNUM=9), other("CCDNUM", 3)],
        [wcs("M2", MOSAIC_OF_ONE), beside("MASK", **MOSAIC_OF_ONE)],
        [wcs("M2", {"DETSEC": "N/A", "DATASEC": "UNKNOWN"}), beside("MASK", CCDSEC="")],
    ],
)
@pytest.mark.parametrize("empty_primary", [False, True])
def test_images_beside_a_detector_s(tmp_path: Path, images: list[fits.Header], empty_primary: bool) -> None:
    check(write(tmp_path / "raw.fits", images, empty_primary=empty_primary), ["M2"])


def test_several_images_that_are_called_science(tmp_path: Path) -> None:
    """Two chips in one file, as of the ACS: CCDCHIP says which is which, and without it nobody knows."""
    names = ("M1", "M2")
    images = [
        wcs(name, {"EXTNAME": extension, "CCDCHIP": IDS[name]}) for name in names for extension in ("SCI", "ERR", "DQ")
    ]
    check(write(tmp_path / "raw.fits", images), names)
    for image in images:
        del image["CCDCHIP"]
    path = write(tmp_path / "unknown.fits", images)
    with pytest.raises(RawFileError, match=rf"{path.name}: no HDU is known to show detector 9"):
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


# Inherited keywords


@pytest.mark.parametrize("inherit", [True, "T", "true "])
def test_inherited_wcs(tmp_path: Path, inherit: bool | str) -> None:
    """An extension that inherits has the first HDU's keywords too."""
    header = wcs("M2", {"INHERIT": inherit})
    inherited = fits.Header([card for card in header.cards if card.keyword.startswith(("C", "PV", "RADESYS"))])
    own = fits.Header([card for card in header.cards if card.keyword not in inherited])
    path = write(tmp_path / "raw.fits", [own])
    with fits.open(path, mode="update", memmap=False) as hdus:
        hdus[0].header.update(inherited)
    check(path, ["M2"])


@pytest.mark.parametrize("inherit", [True, "T"])
def test_own_matrix_and_distortion_are_not_mixed_with_inherited_ones(tmp_path: Path, inherit: bool | str) -> None:
    """The first HDU has the WCS of an instrument's middle, without distortion, in another form."""
    path = write(tmp_path / "raw.fits", [wcs("M2", {"INHERIT": inherit})])
    with fits.open(path, mode="update", memmap=False) as hdus:
        hdus[0].header.update(
            {"CDELT1": -1.0, "CDELT2": 1.0, "CROTA2": 3.0, "PV1_20": 1e5, "A_ORDER": 2, "A_2_0": 1e-3}
        )
    check(path, ["M2"])
