"""Images beside raws: the pixels of a detector from the raw's own file, by ``butler.get``."""

from __future__ import annotations

import atexit
import functools
import gzip
import itertools
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from astropy.io import fits
from lsst.daf.butler import Butler, Config, DatasetRef, DatasetType, FileDataset
from lsst.resources import ResourcePath

from butler_visits.errors import VisitsError
from butler_visits.ingest import ingest_raws
from butler_visits.ingest.formatter import RawFormatter, image_formatter
from butler_visits.ingest.images import add_images
from butler_visits.instruments.description import InstrumentDescription
from butler_visits.raws import RawFile, read_raw_files
from butler_visits.raws.pixels import find_layout
from butler_visits.repository.instruments import register_instrument
from ingest_helpers import DESCRIPTION, RUN, files_in, run_command, science, summary
from mosaic import HEIGHT, OVERSCAN, PRESCAN, WIDTH, Layout, truth_directions, write_raw
from raw_files import binned, wcs
from raw_pixels import DARK, HAS_IMAGES, detector_pixels, fill, image_refs, needs_images, pixels_of
from raw_repository import CAMERA, IDS, INSTRUMENT, POINTING, add_exposure, add_instrument, ingest, make_repository
from simulated_raws import describe, write_raws
from simulated_survey import INSTRUMENT as SIMCAM
from templates import make_repository as make_empty

PIXEL = np.deg2rad(0.264 / 3600)


@functools.cache
def shared_repository() -> Butler:
    """Return a repository that tests share which only add to it; each has an exposure of its own."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    return make_repository(folder / "repository", camera=None)


NUMBERS = itertools.count(1)


def stored_image(path: Path, name: str = "M5", **options: Any) -> tuple[Butler, DatasetRef]:
    """Store a file as the raw of a detector, and an image beside it."""
    butler = shared_repository()
    exposure = add_exposure(butler, next(NUMBERS))
    ingest(butler, exposure, path, [name])
    # Files of other tests are gone.
    add_images(butler, INSTRUMENT, **options)
    kind = "raw_image_untrimmed" if options else "raw_image"
    return butler, image_refs(butler, INSTRUMENT, kind, exposure.id)[int(IDS[name])]


LAYOUTS: list[tuple[Layout, list[str]]] = [
    ("one-image", ["M5"]),
    ("multi", ["S1", "M5", "N3"]),
    ("amplifiers", ["M5"]),
]


# The pixels


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(("layout", "names"), LAYOUTS)
def test_layouts(tmp_path: Path, layout: Layout, names: list[str], compressed: bool) -> None:
    """Every layout of the simulated mosaic: the detector's pixels as the camera counts them, and where they look."""
    path = tmp_path / ("raw.fits.fz" if compressed else "raw.fits")
    write_raw(path, CAMERA, names, *POINTING[:3], "SIP", layout=layout, compressed=compressed, bitpix=16)
    fill(path, names, layout, compressed=compressed)
    butler = make_repository(tmp_path / "repository", camera=None)
    ingest(butler, add_exposure(butler, 1), path, names)
    before = files_in(tmp_path)
    assert add_images(butler, INSTRUMENT) == (len(names), [])
    assert add_images(butler, INSTRUMENT) == (0, [])
    assert [file for file in files_in(tmp_path) if file not in before] == []
    refs = image_refs(butler, INSTRUMENT)
    for number, name in enumerate(names):
        image = butler.get(refs[int(IDS[name])])
        pixels = pixels_of(image)
        assert pixels.dtype == np.dtype(np.int16)
        assert (pixels == detector_pixels(number)).all()
        if HAS_IMAGES:
            assert str(image.bbox) == f"[y=0:{HEIGHT}, x=0:{WIDTH}]"
            check_sky(image.sky_projection, name)


def check_sky(projection: Any, name: str, tolerance: float = 1e-4) -> None:
    """Check where pixels of a detector look, and back, in pixels."""
    places = np.array([[0, 0], [WIDTH - 1, 0], [0, HEIGHT - 1], [WIDTH - 1.0, HEIGHT - 1], [700.25, 3001.5]])
    sky = projection.pixel_to_sky(x=places[:, 0], y=places[:, 1])
    truth = truth_directions(CAMERA, name, places, *POINTING[:3])
    assert np.linalg.norm(sky.cartesian.xyz.value.T - truth, axis=1).max() < tolerance * PIXEL
    back = projection.sky_to_pixel(sky)
    assert np.abs(np.stack([back.x, back.y], axis=1) - places).max() < 1e-3


@needs_images
@pytest.mark.parametrize(("layout", "names"), LAYOUTS[::2])
@pytest.mark.parametrize("compressed", [False, True])
def test_cutouts(tmp_path: Path, layout: Layout, names: list[str], compressed: bool) -> None:
    """Within an amplifier, across all four, one pixel, the whole."""
    from lsst.images import Box

    path = tmp_path / "raw.fits"
    write_raw(path, CAMERA, names, *POINTING[:3], "TPV", layout=layout, compressed=compressed, bitpix=16)
    fill(path, names, layout, compressed=compressed)
    butler, ref = stored_image(path)
    truth = detector_pixels()
    for y0, y1, x0, x1 in (
        (10, 20, 5, 9),
        (2040, 2060, 1000, 1040),
        (4095, 4096, 2047, 2048),
        (0, 1, 0, 1),
        (0, HEIGHT, 0, WIDTH),
        (100, 4000, 1020, 1030),
    ):
        box = Box.factory[y0:y1, x0:x1]
        image = butler.get(ref, parameters={"bbox": box})
        assert image.bbox == box
        assert (image.array == truth[y0:y1, x0:x1]).all()
        check_sky(image.sky_projection, "M5")
    with pytest.raises(ValueError, match="reaches beyond the image"):
        butler.get(ref, parameters={"bbox": Box.factory[0:5, -1:5]})
    assert butler.get(ref.makeComponentRef("bbox")) == Box.factory[0:HEIGHT, 0:WIDTH]
    check_sky(butler.get(ref.makeComponentRef("sky_projection")), "M5")
    assert butler.get(ref.makeComponentRef("unit")) is None


@pytest.mark.parametrize("layout", ["one-image", "amplifiers"])
def test_keep_overscan(tmp_path: Path, layout: Layout) -> None:
    path = tmp_path / "raw.fits"
    write_raw(path, CAMERA, ["M5"], *POINTING[:3], "TPV", layout=layout, bitpix=16)
    fill(path, ["M5"], layout)
    butler, ref = stored_image(path, kind="untrimmed")
    image = butler.get(ref)
    pixels = pixels_of(image)
    truth = detector_pixels()
    if layout == "amplifiers":
        half, dark = WIDTH // 2, np.full((HEIGHT, OVERSCAN), DARK)
        # The right amplifiers are read from the right, and end in the middle.
        left = [np.full((HEIGHT, PRESCAN), DARK), truth[:, :half], dark]
        truth = np.hstack([*left, dark, truth[:, half:], np.full((HEIGHT, PRESCAN), DARK)])
    assert (pixels == truth).all()
    if HAS_IMAGES:
        # No one WCS has all amplifiers with their overscans in it.
        assert (image.sky_projection is None) == (layout == "amplifiers")


def write_images(path: Path, images: list[tuple[Any, Mapping[str, Any]]]) -> Path:
    hdus = [fits.ImageHDU(image, fits.Header(dict(cards))) for image, cards in images]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    return path


BLOCK = np.arange(20, dtype=np.int16).reshape(4, 5)


@pytest.mark.parametrize("x_back", [False, True])
@pytest.mark.parametrize("y_back", [False, True])
@pytest.mark.parametrize("in_data", [False, True])
def test_sections_count_backwards(tmp_path: Path, x_back: bool, y_back: bool, in_data: bool) -> None:
    """In DETSEC or in DATASEC, with a prescan of two columns; the other amplifier lies beside it."""
    x_section, y_section = "5:1" if x_back else "1:5", "4:1" if y_back else "1:4"
    data_x, data_y = ("7:3" if x_back else "3:7"), ("4:1" if y_back else "1:4")
    first = (
        {"DATASEC": f"[{data_x},{data_y}]", "DETSEC": "[1:5,1:4]"}
        if in_data
        else {"DATASEC": "[3:7,1:4]", "DETSEC": f"[{x_section},{y_section}]"}
    )
    image = np.hstack([np.full((4, 2), DARK, dtype=np.int16), BLOCK])
    second = {"DATASEC": "[1:5,1:4]", "DETSEC": "[6:10,1:4]"}
    path = write_images(tmp_path / "raw.fits", [(image, first), (BLOCK + 50, second)])
    butler, ref = stored_image(path)
    expected = BLOCK[:: -1 if y_back else 1, :: -1 if x_back else 1]
    assert (pixels_of(butler.get(ref)) == np.hstack([expected, BLOCK + 50])).all()


@pytest.mark.parametrize("key", ["DATASEC", "TRIMSEC"])
def test_prescan_and_overscan_of_one_image(tmp_path: Path, key: str) -> None:
    image = np.full((8, 10), DARK, dtype=np.int16)
    image[3:7, 2:7] = BLOCK
    path = write_images(tmp_path / "raw.fits", [(image, {key: "[3:7,4:7]"})])
    butler, ref = stored_image(path)
    assert (pixels_of(butler.get(ref)) == BLOCK).all()
    add_images(butler, INSTRUMENT, kind="untrimmed")
    exposure = int(ref.dataId["exposure"])
    untrimmed = butler.get(image_refs(butler, INSTRUMENT, "raw_image_untrimmed", exposure)[int(IDS["M5"])])
    assert (pixels_of(untrimmed) == image).all()
    if HAS_IMAGES:
        # Pixel (0, 0) is the camera's all the same.
        assert (untrimmed.bbox.x.min, untrimmed.bbox.y.min) == (-2, -3)


def test_a_subframe(tmp_path: Path) -> None:
    """Pixels are where the camera has them."""
    path = write_images(tmp_path / "raw.fits", [(BLOCK, {"DATASEC": "[1:5,1:4]", "CCDSEC": "[1001:1005,2001:2004]"})])
    butler, ref = stored_image(path)
    image = butler.get(ref)
    assert (pixels_of(image) == BLOCK).all()
    if HAS_IMAGES:
        assert str(image.bbox) == "[y=2000:2004, x=1000:1005]"


@pytest.mark.parametrize("sections", [False, True])
def test_binned(tmp_path: Path, sections: bool) -> None:
    """A pixel of the image is one of the file, and looks where its four of the detector do."""
    header = binned(wcs("M5", {"CCDSUM": "2 2", "CCDNUM": IDS["M5"]}), 2, 2)
    if sections:
        header["CCDSEC"] = f"[1:{WIDTH},1:{HEIGHT}]"
    del header["NAXIS*"]
    pixels = detector_pixels()[::2, ::2]
    path = tmp_path / "raw.fits"
    fits.PrimaryHDU(pixels, header).writeto(path)
    butler, ref = stored_image(path)
    image = butler.get(ref)
    assert (pixels_of(image) == pixels).all()
    if HAS_IMAGES:
        assert str(image.bbox) == f"[y=0:{HEIGHT // 2}, x=0:{WIDTH // 2}]"
        places = np.array([[0.0, 0.0], [1023.0, 2047.0], [300.0, 1500.5]])
        sky = image.sky_projection.pixel_to_sky(x=places[:, 0], y=places[:, 1])
        truth = truth_directions(CAMERA, "M5", 2 * places + 0.5, *POINTING[:3])
        assert np.linalg.norm(sky.cartesian.xyz.value.T - truth, axis=1).max() < 1e-4 * PIXEL


def scaled(data: Any, **cards: Any) -> Any:
    """Make an HDU whose pixels are stored as they are given, with cards that say what they mean."""
    hdu = fits.ImageHDU(data)
    hdu.header.update(cards)
    return hdu


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda: fits.ImageHDU(np.arange(20, dtype=np.uint16).reshape(4, 5) + 60000),
        lambda: fits.ImageHDU(np.arange(20, dtype=np.uint32).reshape(4, 5) + 4_000_000_000),
        lambda: fits.ImageHDU(np.arange(-10, 10, dtype=np.int8).reshape(4, 5)),
        lambda: fits.ImageHDU(np.arange(20, dtype=np.uint8).reshape(4, 5)),
        lambda: fits.ImageHDU(np.arange(20, dtype=np.int64).reshape(4, 5) - 2**40),
        lambda: fits.ImageHDU(np.linspace(-1, 1, 20, dtype=np.float32).reshape(4, 5)),
        lambda: fits.ImageHDU(np.linspace(-1, 1, 20).reshape(4, 5)),
        lambda: scaled(BLOCK, BSCALE=0.25, BZERO=1000.5),
        lambda: scaled(BLOCK, BSCALE=2.0, BZERO=0.0),
        lambda: scaled(BLOCK, BLANK=3),
        lambda: scaled(BLOCK, BSCALE=0.5, BZERO=1.0, BLANK=3),
        lambda: fits.CompImageHDU(np.arange(20, dtype=np.uint16).reshape(4, 5) + 60000),
        lambda: fits.CompImageHDU(np.arange(20, dtype=np.int32).reshape(4, 5) - 70000),
        lambda: fits.CompImageHDU(np.linspace(-1, 1, 20, dtype=np.float32).reshape(4, 5), quantize_level=16),
        lambda: fits.ImageHDU(BLOCK[None]),
    ],
)
def test_values_are_astropys(tmp_path: Path, make: Callable[[], Any], gzipped: bool) -> None:
    """Unsigned integers, BSCALE, BZERO, BLANK, compression: what astropy reads, in the machine's byte order."""
    path = tmp_path / "raw.fits"
    fits.HDUList([fits.PrimaryHDU(), make()]).writeto(path)
    expected = np.squeeze(fits.getdata(path, 1))
    if gzipped:
        packed = tmp_path / "raw.fits.gz"
        with gzip.open(packed, "wb") as file:
            file.write(path.read_bytes())
        path = packed
    butler, ref = stored_image(path)
    pixels = pixels_of(butler.get(ref))
    assert pixels.dtype == expected.dtype.newbyteorder("=")
    np.testing.assert_array_equal(pixels, expected)
    if HAS_IMAGES:
        from lsst.images import Box

        cut = butler.get(ref, parameters={"bbox": Box.factory[1:3, 2:4]})
        np.testing.assert_array_equal(cut.array, expected[1:3, 2:4])


@pytest.mark.parametrize("compressed", [False, True])
def test_amplifiers_of_several_types(tmp_path: Path, compressed: bool) -> None:
    """A cut-out has the type of the whole."""
    make = fits.CompImageHDU if compressed else fits.ImageHDU
    hdus = [make(BLOCK), make(BLOCK.astype(np.int32) + 100_000)]
    for hdu, section in zip(hdus, ("[1:5,1:4]", "[6:10,1:4]"), strict=True):
        hdu.header.update({"DATASEC": "[1:5,1:4]", "DETSEC": section})
    path = tmp_path / "raw.fits"
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    (file,) = read_raw_files([str(path)])
    assert isinstance(file, RawFile)
    layout = find_layout(file, [1, 2])
    whole = layout.read(ResourcePath(str(path)))
    for box in ([[0, 0], [2, 2]], [[6, 1], [6, 1]], [[3, 0], [7, 3]]):
        cut = layout.read(ResourcePath(str(path)), box)
        assert cut.dtype == whole.dtype == np.int32
        (x0, y0), (x1, y1) = box
        assert (cut == whole[y0 : y1 + 1, x0 : x1 + 1]).all()


@needs_images
@pytest.mark.parametrize(
    ("unit", "expected"),
    [("e-", "electron"), ("electrons", "electron"), ("ADU", "adu"), ("counts", "ct"), ("nonsense", None)],
)
def test_units(tmp_path: Path, unit: str, expected: str | None) -> None:
    butler, ref = stored_image(write_images(tmp_path / "raw.fits", [(BLOCK, {"BUNIT": unit})]))
    found = butler.get(ref).unit
    assert (None if found is None else str(found)) == expected


# Golden raws


def camera_amplifiers(path: Path, detector: int) -> list[dict[str, Any]]:
    """Read the amplifiers of a detector from an afw camera, in the order in which it has them."""
    with fits.open(path) as hdus:
        tables = {
            number: hdu.data for number, hdu in enumerate(hdus) if isinstance(hdu, fits.BinTableHDU) and number > 1
        }
        of_detector = next(n for n, t in tables.items() if "fpPosition_x" in t.names)
        of_amplifier = next(n for n, t in tables.items() if "raw_databbox_min_x" in t.names)
        entries: dict[int, dict[int, tuple[int, int]]] = {}
        for row in hdus[1].data:
            place = entries.setdefault(int(row["id"]), {})
            place[int(row["cat.archive"]) + 1] = int(row["row0"]), int(row["nrows"])
        row = tables[of_detector]["id"].tolist().index(detector)
        (place,) = [one for one in entries.values() if one.get(of_detector, (None,))[0] == row]
        begin, count = place[of_amplifier]
        columns = {
            key: tables[of_amplifier][key][begin : begin + count].tolist()
            for key in tables[of_amplifier].names
            if key.startswith(("bbox", "raw_databbox"))
        }
        flags = tables[of_amplifier]["flags"][begin : begin + count].tolist()
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return [row | {"flip_x": flag[1], "flip_y": flag[2]} for row, flag in zip(rows, flags, strict=True)]


@pytest.mark.parametrize(
    ("name", "detector", "file"),
    [
        ("imsim", 42, None),
        ("lsstCamSim", 94, None),
        ("comCamSim", 1, "raw/2024-04-04/7024040400780/CC_S_20240404_000780_R22_S01.fits"),
    ],
)
def test_golden_raws(copy_golden: Callable[[str], Path], name: str, detector: int, file: str | None) -> None:
    """What the camera's own amplifiers make of the pixels that astropy reads."""
    root = copy_golden(name)
    butler = Butler.from_config(str(root), writeable=True)
    with butler.query() as query:
        (instrument,) = [record.name for record in query.dimension_records("instrument")]
    if file is None:
        (path,) = (root / "raw").rglob("*.fits*")
    else:
        # Of the exposure that the repository has there is no file.
        path = root / file
        with butler.query() as query:
            (exposure,) = query.dimension_records("exposure")
        ingest(butler, exposure, path, [detector])
    n_new, failures = add_images(butler, instrument)
    assert (n_new, len(failures)) == (1, file is not None)
    ref = image_refs(butler, instrument)[detector]
    (camera,) = (root / instrument / "calib" / "unbounded" / "camera").iterdir()
    amplifiers = camera_amplifiers(camera, detector)
    assert len(amplifiers) == 16
    expected = np.full((4004, 4096), -1, dtype=np.int32)
    with fits.open(path) as hdus:
        # The camera and the file both have them in the order of the read-out: C10 ... C17, C07 ... C00.
        for one, hdu in zip(amplifiers, hdus[1:17], strict=True):
            x, y, width, height = (one[f"raw_databbox_{key}"] for key in ("min_x", "min_y", "extent_x", "extent_y"))
            data = hdu.data[y : y + height, x : x + width]
            data = data[:: -1 if one["flip_y"] else 1, :: -1 if one["flip_x"] else 1]
            x, y = one["bbox_min_x"], one["bbox_min_y"]
            expected[y : y + height, x : x + width] = data
    image = butler.get(ref)
    height, width = pixels_of(image).shape
    assert (height, width) == ((4004, 4096) if name == "lsstCamSim" else (4000, 4072))
    assert (pixels_of(image) == expected[:height, :width]).all()
    if HAS_IMAGES:
        assert (image.sky_projection is None) == (name == "comCamSim")


# Which files


RAW_IMAGE_TYPES = pytest.mark.parametrize("first", ["raw", "raw_image"])


@pytest.mark.parametrize("transfer", ["direct", "copy", "link", "symlink", "move"])
@RAW_IMAGE_TYPES
def test_removing_one_leaves_the_other(tmp_path: Path, transfer: Any, first: str) -> None:
    """The file goes with the last of both; one that only stays where it is never goes."""
    butler = make_empty(tmp_path / "repository")
    files = write_raws(tmp_path / "raw", science(1), detectors=(0, 1), in_one_file=True)
    result = ingest_raws(butler, files, instrument=DESCRIPTION, transfer=transfer, images="trimmed")
    assert summary(result) == (1, 1, 0, 0, 2, 1)
    assert result.n_images == 2
    check_removal(butler, SIMCAM, first, stays=transfer == "direct")


def check_removal(butler: Butler, instrument: str, first: str, *, stays: bool) -> None:
    """Remove raws, or images, one by one, and then the others; look whether the file is there."""
    raws = list(butler.query_datasets("raw", f"{instrument}/raw/all"))
    images = list(image_refs(butler, instrument).values())
    uris = {str(butler.getURI(ref)) for ref in (*raws, *images)}
    assert len(uris) == 1
    uri = butler.getURI(raws[0])
    ordered = raws + images if first == "raw" else images + raws
    for position, ref in enumerate(ordered):
        assert uri.exists()
        if ref in images:
            butler.get(ref)
        butler.pruneDatasets([ref], purge=True, unstore=True, disassociate=True)
        assert uri.exists() == (stays or position < len(ordered) - 1)


@RAW_IMAGE_TYPES
@pytest.mark.parametrize("transfer", ["direct", "copy", None])
def test_images_added_later_share_the_file(tmp_path: Path, transfer: Any, first: str) -> None:
    """Whatever way the raws came; also where a file is in the repository and recorded as if it were elsewhere."""
    butler = make_empty(tmp_path / "repository")
    place = tmp_path / "repository" / "night" if transfer in ("direct", None) else tmp_path / "raw"
    files = write_raws(place, science(1), detectors=(0, 1), in_one_file=True)
    mode = "direct" if transfer is None else transfer
    ingest_raws(butler, files, instrument=DESCRIPTION, transfer=mode, images=None)  # type: ignore[arg-type]
    if transfer is None:
        # As others ingest what they have put into the repository themselves.
        raws = list(butler.query_datasets("raw", RUN))
        butler.pruneDatasets(raws, purge=True, unstore=True, disassociate=True)
        butler.ingest(FileDataset(str(files[0]), raws, formatter=RawFormatter), transfer=None)
    assert add_images(butler, SIMCAM) == (2, [])
    check_removal(butler, SIMCAM, first, stays=transfer == "direct")


def test_files_in_an_object_store(store: str, tmp_path: Path) -> None:
    """Both the repository's files and a cut-out of them."""
    path = tmp_path / "raw.fits.fz"
    write_raw(path, CAMERA, ["M5"], *POINTING[:3], "TPV", layout="amplifiers", compressed=True, bitpix=16)
    fill(path, ["M5"], "amplifiers", compressed=True)
    remote = ResourcePath(f"{store}night/raw.fits.fz")
    remote.transfer_from(ResourcePath(str(path)), transfer="copy")
    butler = make_repository(tmp_path / "repository", camera=None)
    ingest(butler, add_exposure(butler, 1), str(remote), ["M5"])
    assert add_images(butler, INSTRUMENT) == (1, [])
    ref = image_refs(butler, INSTRUMENT)[int(IDS["M5"])]
    assert str(butler.getURI(ref)) == str(remote)
    assert (pixels_of(butler.get(ref)) == detector_pixels()).all()
    if HAS_IMAGES:
        from lsst.images import Box

        cut = butler.get(ref, parameters={"bbox": Box.factory[2000:2100, 1000:1100]})
        assert (cut.array == detector_pixels()[2000:2100, 1000:1100]).all()


def test_repository_in_an_object_store(store: str, tmp_path: Path) -> None:
    config = Config()
    config[".datastore.root"] = f"{store}repository/"
    config[".registry.db"] = f"sqlite:///{tmp_path}/gen3.sqlite3"
    root = tmp_path / "repository"
    Butler.makeRepo(str(root), config=config, forceConfigRoot=False)
    butler = Butler.from_config(str(root), writeable=True)
    files = write_raws(tmp_path / "raw", science(1), detectors=(0, 1), in_one_file=True)
    ingest_raws(butler, files, instrument=DESCRIPTION, transfer="copy", images="trimmed")
    check_removal(butler, SIMCAM, "raw", stays=False)


# What cannot be an image


@pytest.mark.parametrize(
    ("images", "problem"),
    [
        ([(BLOCK, "[1:5,1:4]", "[1:5,1:4]"), (BLOCK, "[1:5,1:4]", "[7:11,1:4]")], "overlap or leave out pixels"),
        ([(BLOCK, "[1:5,1:4]", "[1:5,1:4]"), (BLOCK, "[1:5,1:4]", "[5:9,1:4]")], "overlap or leave out pixels"),
        ([(BLOCK, "[1:5,1:4]", "[1:5,1:4]"), (BLOCK, "[1:5,1:4]", "[6:12,1:4]")], "expected whole numbers"),
        ([(np.zeros((2, 4, 5), np.int16), "[1:5,1:4]", "[1:5,1:4]")], "more than two axes"),
    ],
)
def test_sections_that_do_not_fit(tmp_path: Path, images: list[Any], problem: str) -> None:
    """The raw stays without an image, and the error says why."""
    path = write_images(
        tmp_path / "raw.fits", [(image, {"DATASEC": data, "DETSEC": detector}) for image, data, detector in images]
    )
    butler = make_repository(tmp_path / "repository", camera=None)
    ingest(butler, add_exposure(butler, 1), path, ["M5"])
    n_new, (failure,) = add_images(butler, INSTRUMENT)
    assert n_new == 0
    assert problem in str(failure)
    assert str(path) in str(failure)
    result = run_command("add-images", tmp_path / "repository", INSTRUMENT)
    assert result.exit_code == 1
    assert problem in result.output
    assert "0 images stored" in result.output


def refusal(tmp_path: Path, cards: Mapping[str, Any], image: Any = BLOCK, camera: Any = None, name: str = "M5") -> str:
    """Return why a file's image is refused; its raw stays."""
    path = write_images(tmp_path / "raw.fits", [(image, cards)])
    butler = make_repository(tmp_path / "repository", camera=camera)
    ingest(butler, add_exposure(butler, 1), path, [name])
    n_new, (failure,) = add_images(butler, INSTRUMENT)
    assert n_new == 0
    assert f"{path}, HDU 1" in str(failure)
    return str(failure)


@pytest.mark.parametrize(
    "cards",
    [
        {"BIASSEC": "[5:5,1:4]"},
        {"BIASSEC1": "[1:1,1:4]"},
        {"OVERSCAN": "[1:5,4:4]"},
        {"OVRSCAN": 1},
        {"PRESEC": "[1:1,1:4]", "CCDSEC": "[1:5,1:4]"},
        {"HIERARCH ESO DET OUT1 PRSCX": 1},
        {"HIERARCH ESO DET OUT1 OVSCY": 1},
        # Hyper Suprime-Cam's way, four amplifiers in one image.
        {"T_EFMN11": 2, "T_EFMX11": 4, "T_EFMN12": 1, "T_EFMX12": 3, "T_OSMN11": 5, "T_OSMX11": 5},
    ],
)
def test_an_overscan_somewhere(tmp_path: Path, cards: dict[str, Any]) -> None:
    """What says that there is one, and not what remains."""
    assert f"{next(iter(cards)).removeprefix('HIERARCH ')} says that there is more in the image than sky" in refusal(
        tmp_path, cards
    )


@pytest.mark.parametrize(
    "cards",
    [
        {"BIASSEC": "[6:9,1:4]"},
        {"BIASSEC": "UNKNOWN"},
        {"BIASSEC": "[5:5,1:4]", "DATASEC": "[1:5,1:4]"},
        {"BIASSEC": "[0:0,0:0]"},
        {"OVERSCAN": "subtracted"},
        {"PRESCAN": 0},
        {"HIERARCH ESO DET OUT1 PRSCX": 0},
        {"T_EFMN11": 2, "T_EFMX11": 6, "T_EFMN12": 1, "T_EFMX12": 4},
    ],
)
def test_no_overscan_any_more(tmp_path: Path, cards: dict[str, Any]) -> None:
    butler, ref = stored_image(write_images(tmp_path / "raw.fits", [(BLOCK, cards)]))
    assert (pixels_of(butler.get(ref)) == BLOCK).all()


def small_camera(width: int, height: int) -> dict[str, Any]:
    """Return the mosaic, with detectors of other sizes."""
    return CAMERA | {
        "CCDs": {name: ccd | {"bbox": [[0, 0], [width - 1, height - 1]]} for name, ccd in CAMERA["CCDs"].items()}
    }


FITTING: list[tuple[dict[str, Any], tuple[int, int], str | None]] = [
    ({}, (5, 4), None),
    ({}, (4, 4), "pixels 0 to 4 x 0 to 3 (5 x 4) of the detector, and the camera has 0 to 3 x 0 to 3 (4 x 4)"),
    ({}, (6, 4), "and the camera has 0 to 5 x 0 to 3 (6 x 4); if it is a window"),
    ({"DATASEC": "[1:5,1:4]"}, (5, 5), "(5 x 5); if it is a window"),
    ({"DATASEC": "[2:5,1:4]"}, (4, 4), None),
    ({"DETSEC": "[101:105,201:204]"}, (5, 4), None),
    ({"DETSEC": "[101:105,201:204]"}, (10, 4), "(10 x 4); if it is a window"),
    ({"CCDSEC": "[2:6,1:4]"}, (10, 10), None),
    ({"CCDSEC": "[1:5,1:4]"}, (10, 10), None),
    ({"CCDSEC": "[7:11,1:4]"}, (10, 10), "pixels 6 to 10 x 0 to 3"),
    ({"XORGSUBF": 5, "YORGSUBF": 6}, (10, 10), None),
    ({"XORGSUBF": 5, "YORGSUBF": 7}, (10, 10), "pixels 5 to 9 x 7 to 10"),
    ({"CCDSUM": "2 2"}, (10, 8), None),
    ({"CCDSUM": "2 2"}, (11, 9), None),
    ({"CCDSUM": "2 2"}, (9, 8), None),
    ({"CCDSUM": "2 2"}, (12, 8), "(12 x 8); if it is a window"),
    ({"CCDSUM": "2 2"}, (8, 8), "(10 x 8) of the detector, and the camera has 0 to 7"),
    # A camera in binned pixels.
    ({"CCDSUM": "2 2"}, (5, 4), None),
]


@pytest.mark.parametrize(("cards", "size", "problem"), FITTING)
def test_the_cameras_detector(
    tmp_path: Path, cards: dict[str, Any], size: tuple[int, int], problem: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """An image is all of it, or a window that says where it lies; a smaller one that does not is doubtful."""
    camera = small_camera(*size)
    if problem is not None and "if it is a window" not in problem:
        assert problem in refusal(tmp_path, cards, camera=camera)
        return
    path = write_images(tmp_path / "raw.fits", [(BLOCK, cards)])
    butler = make_repository(tmp_path / "repository", camera=camera)
    ingest(butler, add_exposure(butler, 1), path, ["M5"])
    assert add_images(butler, INSTRUMENT) == (1, [])
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    warnings = [warning for warning in warnings if "the camera has" in warning]
    assert len(warnings) == (problem is not None)
    if problem is not None:
        assert problem in warnings[0]
        assert f"{path}, HDU 1" in warnings[0]


@pytest.mark.parametrize("registered", [False, True])
def test_ingest_compares_with_the_camera(tmp_path: Path, caplog: pytest.LogCaptureFixture, registered: bool) -> None:
    """Also with the description's, when the instrument is new; the raw is ingested all the same."""
    content = describe()
    for ccd in content["camera"]["CCDs"].values():
        ccd["bbox"] = [[0, 0], [2, 3]]
    description = InstrumentDescription.model_validate(content)
    butler = make_empty(tmp_path / "repository")
    if registered:
        register_instrument(butler, description)
    good, bad = write_raws(tmp_path / "raw", science(2), detectors=(0,))
    with fits.open(good, mode="update") as hdus:
        hdus[0].header["DATASEC"] = "[2:4,1:4]"
    result = ingest_raws(butler, [good, bad], instrument=description, images="trimmed")
    assert (result.n_datasets, result.n_images) == (2, 1)
    assert f"{bad}, HDU 0: the raw shows pixels 0 to 3 x 0 to 3 (4 x 4) of the detector, and the" in caplog.text
    assert f"{good}, HDU" not in caplog.text


# Amplifiers that count from the other end


SEGMENTS = ("Segment00", "Segment01", "Segment10", "Segment11")


@pytest.mark.parametrize("names", [SEGMENTS, SEGMENTS[2:] + SEGMENTS[:2], ("A", "B", "C", "D")])
@pytest.mark.parametrize("instrument", ["LSSTCam", "LSSTComCam", "LSSTComCamSim", "LATISS", INSTRUMENT])
def test_sections_from_the_other_end(tmp_path: Path, instrument: str, names: tuple[str, ...]) -> None:
    """In LSST's cameras the segments 10 to 17 are at the top, and DETSEC may have them at the bottom."""
    path = tmp_path / "raw.fits"
    write_raw(path, CAMERA, ["M5"], *POINTING[:3], "TPV", layout="amplifiers", bitpix=16)
    fill(path, ["M5"], "amplifiers")
    turned = names != SEGMENTS and instrument != INSTRUMENT
    with fits.open(path, mode="update") as hdus:
        for hdu, name in zip(hdus[1:], SEGMENTS if turned else names, strict=True):
            hdu.header["EXTNAME"] = name if names != ("A", "B", "C", "D") else name.replace("Segment", "Amplifier")
            if turned:
                x, y = hdu.header["DETSEC"].strip("[]").split(",")
                first, last = (HEIGHT + 1 - int(end) for end in y.split(":"))
                hdu.header["DETSEC"] = f"[{x},{first}:{last}]"
    butler = make_repository(tmp_path / "repository", camera=None)
    if instrument != INSTRUMENT:
        add_instrument(butler, instrument, CAMERA)
    ingest(butler, add_exposure(butler, 1, instrument=instrument), path, ["M5"])
    n_new, failures = add_images(butler, instrument)
    if instrument == "LATISS" or (instrument != INSTRUMENT and names[0] == "A"):
        assert "it is not known which end of the detector" in str(failures[0])
        return
    assert (n_new, failures) == (1, [])
    image = butler.get(image_refs(butler, instrument)[int(IDS["M5"])])
    assert (pixels_of(image) == detector_pixels()).all()
    if HAS_IMAGES:
        check_sky(image.sky_projection, "M5")


# Windows


@pytest.mark.parametrize(
    ("cards", "corner"),
    [
        ({"XORGSUBF": 100, "YORGSUBF": 200}, (100, 200)),
        ({"XORGSUBF": 100.0, "YORGSUBF": 0, "ROWORDER": "TOP-DOWN", "FLIPSTAT": ""}, (100, 0)),
        ({"XORGSUBF": 100, "YORGSUBF": 200, "XBINNING": 2, "YBINNING": 2}, (100, 200)),
        ({"HIERARCH ESO DET WIN1 STRX": 101, "HIERARCH ESO DET WIN1 STRY": 201}, (100, 200)),
        ({"HIERARCH ESO DET WIN STARTX": 101, "HIERARCH ESO DET WIN STARTY": 201}, (100, 200)),
        ({"HIERARCH ESO DET WIN1 STRX": 1, "HIERARCH ESO DET WIN1 STRY": 1}, (0, 0)),
        ({"XORGSUBF": 100, "YORGSUBF": 200, "DATASEC": "[1:5,1:4]"}, (100, 200)),
        ({"XORGSUBF": 100, "YORGSUBF": 200, "CCDSEC": "[11:15,21:24]"}, (10, 20)),
    ],
)
def test_windows(tmp_path: Path, cards: dict[str, Any], corner: tuple[int, int]) -> None:
    """They are where the camera has them; of a binned image all is in binned pixels."""
    butler, ref = stored_image(write_images(tmp_path / "raw.fits", [(BLOCK, cards)]))
    image = butler.get(ref)
    assert (pixels_of(image) == BLOCK).all()
    if HAS_IMAGES:
        x, y = corner
        assert str(image.bbox) == f"[y={y}:{y + 4}, x={x}:{x + 5}]"


@needs_images
@pytest.mark.parametrize("factor", [1, 2])
def test_the_sky_of_a_window(tmp_path: Path, factor: int) -> None:
    """Also with the camera, into which it fits."""
    header = binned(wcs("M5", {"CCDNUM": IDS["M5"]}), factor, factor)
    x, y, width, height = 100, 300, 400, 200
    header.update({"XORGSUBF": x, "YORGSUBF": y, "XBINNING": factor, "YBINNING": factor})
    header["CRPIX1"] -= x
    header["CRPIX2"] -= y
    del header["NAXIS*"]
    path = tmp_path / "raw.fits"
    fits.PrimaryHDU(detector_pixels()[y : y + height, x : x + width], header).writeto(path)
    butler = make_repository(tmp_path / "repository")
    ingest(butler, add_exposure(butler, 1), path, ["M5"])
    assert add_images(butler, INSTRUMENT) == (1, [])
    image = butler.get(image_refs(butler, INSTRUMENT)[int(IDS["M5"])])
    assert str(image.bbox) == f"[y={y}:{y + height}, x={x}:{x + width}]"
    places = np.array([[x, y], [x + width - 1.0, y + height - 1.0]])
    sky = image.sky_projection.pixel_to_sky(x=places[:, 0], y=places[:, 1])
    truth = truth_directions(CAMERA, "M5", factor * places + (factor - 1) / 2, *POINTING[:3])
    assert np.linalg.norm(sky.cartesian.xyz.value.T - truth, axis=1).max() < 1e-4 * PIXEL


@pytest.mark.parametrize(
    ("cards", "problem"),
    [
        ({"XORGSUBF": 0, "YORGSUBF": 200, "ROWORDER": "BOTTOM-UP"}, "may be counted from either end"),
        ({"XORGSUBF": 0, "YORGSUBF": 200, "FLIPSTAT": "Flip"}, "may be counted from either end"),
        ({"XORGSUBF": 0.5, "YORGSUBF": 0}, "XORGSUBF is 0.5"),
        ({"XORGSUBF": -3, "YORGSUBF": 0}, "XORGSUBF is -3"),
        (
            {"HIERARCH ESO DET WIN1 STRX": 101, "HIERARCH ESO DET WIN1 STRY": 1, "CCDSUM": "2 2"},
            "may be counted in binned pixels or not",
        ),
    ],
)
def test_windows_nobody_knows_where(tmp_path: Path, cards: dict[str, Any], problem: str) -> None:
    assert problem in refusal(tmp_path, cards)


def amplifier_rows(path: Path, **cards: Any) -> Path:
    """Write the two upper amplifiers of four."""
    sections = ("[1:5,5:8]", "[6:10,5:8]")
    return write_images(path, [(BLOCK, {"DATASEC": "[1:5,1:4]", "DETSEC": section, **cards}) for section in sections])


@pytest.mark.parametrize("cards", [{}, {"CCDSIZE": "[1:10,1:8]"}, {"CCDSIZE": "[1:10,1:4]"}, {"DETSIZE": "[1:10,1:8]"}])
@pytest.mark.parametrize("with_camera", [False, True])
def test_amplifiers_missing_at_an_edge(
    tmp_path: Path, cards: dict[str, Any], with_camera: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The camera tells, or the size of the CCD; DETSIZE may be the mosaic's, so that is only a doubt."""
    path = amplifier_rows(tmp_path / "raw.fits", **cards)
    butler = make_repository(tmp_path / "repository", camera=small_camera(10, 8) if with_camera else None)
    ingest(butler, add_exposure(butler, 1), path, ["M5"])
    n_new, failures = add_images(butler, INSTRUMENT)
    if with_camera:
        assert "(10 x 4) of the detector, and the camera has 0 to 9 x 0 to 7 (10 x 8)" in str(failures[0])
    elif cards == {"CCDSIZE": "[1:10,1:8]"}:
        assert "CCDSIZE is 10 x 8 pixels, and there are 10 x 4; amplifiers are missing" in str(failures[0])
    else:
        assert (n_new, failures) == (1, [])
        assert ("unless that is a mosaic's, amplifiers are missing" in caplog.text) == ("DETSIZE" in cards)


@pytest.mark.parametrize("whole", [False, True])
def test_a_file_that_was_repacked(tmp_path: Path, whole: bool) -> None:
    """Its image is in another HDU."""
    path = write_images(tmp_path / "raw.fits", [(BLOCK, {})])
    butler, ref = stored_image(path)
    hdus = [fits.PrimaryHDU(BLOCK)] if whole else [fits.PrimaryHDU(BLOCK), fits.BinTableHDU.from_columns([])]
    fits.HDUList(hdus).writeto(path, overwrite=True)
    with pytest.raises(ValueError, match="HDU 1 is not an image, so the file is not the one whose image was stored"):
        butler.get(ref)


@needs_images
@pytest.mark.parametrize("bbox", [(slice(0, 2), slice(0, 2)), [[0, 0], [1, 1]], "all"])
def test_a_cutout_that_is_no_box(tmp_path: Path, bbox: Any) -> None:
    butler, ref = stored_image(write_images(tmp_path / "raw.fits", [(BLOCK, {})]))
    with pytest.raises(ValueError, match=r"expected an lsst\.images\.Box"):
        butler.get(ref, parameters={"bbox": bbox})


def test_detectors_that_only_the_repository_can_name(tmp_path: Path) -> None:
    """Headers have names, data IDs have numbers: what the repository knows is needed once, and not when reading."""
    path = tmp_path / "raw.fits"
    names = ["S1", "M5"]
    write_raw(path, CAMERA, names, *POINTING[:3], "TPV", layout="multi", bitpix=16, CCDNUM="")
    fill(path, names, "multi")
    butler = make_repository(tmp_path / "repository", camera=None)
    ingest(butler, add_exposure(butler, 1), path, names)
    assert add_images(butler, INSTRUMENT) == (2, [])
    anew = Butler.from_config(str(tmp_path / "repository"))
    image = anew.get(image_refs(anew, INSTRUMENT)[int(IDS["M5"])])
    assert (pixels_of(image) == detector_pixels(1)).all()


@pytest.mark.parametrize(
    ("hdus", "name"),
    [([0], "RawImage_0"), ([3, 1, 2], "RawImage_1to3"), ([1, 2, 5, 7, 8], "RawImage_1to2_5_7to8")],
)
def test_formatters_names(hdus: list[int], name: str) -> None:
    """Repositories have recorded them."""
    from lsst.utils import doImportType
    from lsst.utils.introspection import get_full_type_name

    for keep_overscan in (False, True):
        formatter: Any = image_formatter(hdus, keep_overscan=keep_overscan)
        full_name = f"butler_visits.ingest.formatter.{name}{'_untrimmed' * keep_overscan}"
        assert get_full_type_name(formatter) == full_name
        assert doImportType(full_name) is formatter
        assert formatter.hdus == tuple(sorted(hdus))  # type: ignore[attr-defined]
        assert formatter.keep_overscan == keep_overscan  # type: ignore[attr-defined]
    with pytest.raises(ImportError):
        doImportType("butler_visits.ingest.formatter.RawImage_x")


# The commands


def test_commands(tmp_path: Path) -> None:
    """``ingest`` stores images where they can be read, unless it is told otherwise; ``add-images`` later."""
    write_raws(tmp_path / "raw", science(2), detectors=(0, 1))
    description = tmp_path / "simcam.yaml"
    description.write_text(yaml.safe_dump(describe()))
    for options, n_images in (([], 4 * HAS_IMAGES), (["--no-images"], 0), (["--images"], 4)):
        root = tmp_path / f"repository{n_images}{len(options)}"
        result = run_command("ingest", root, tmp_path / "raw", "--instrument", description, *options)
        assert result.exit_code == 0, result.output
        assert ("4 images stored beside the raws." in result.output) == (n_images == 4)
        for again, expected in (([], 4 - n_images), (["--keep-overscan"], 4), ([], 0)):
            dry = run_command("add-images", root, SIMCAM, "--dry-run", *again)
            assert dry.exit_code == 0, dry.output
            assert f"{expected} image" in dry.output
            result = run_command("add-images", root, SIMCAM, *again)
            assert result.exit_code == 0, result.output
            assert f"{expected} image" in result.output
    root = tmp_path / "untrimmed"
    result = run_command("ingest", root, tmp_path / "raw", "--instrument", description, "--keep-overscan")
    assert result.exit_code == 0, result.output
    assert len(image_refs(Butler.from_config(str(root)), SIMCAM, "raw_image_untrimmed")) == 2
    result = run_command("ingest", root, tmp_path / "raw", "--no-images", "--keep-overscan")
    assert result.exit_code == 2


@pytest.mark.skipif(HAS_IMAGES, reason="lsst-images is installed here")
def test_without_lsst_images(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Arrays, as is said; a repository that has images is refused, but for its raws."""
    butler = make_repository(tmp_path / "repository", camera=None)
    ingest(butler, add_exposure(butler, 1), write_images(tmp_path / "raw.fits", [(BLOCK, {})]), ["M5"])
    assert add_images(butler, INSTRUMENT) == (1, [])
    ref = image_refs(butler, INSTRUMENT)[int(IDS["M5"])]
    assert ref.datasetType.storageClass_name == "NumpyArray"
    assert "raw_image gets storage class NumpyArray" in caplog.text
    # What another Python has stored.
    other = make_empty(tmp_path / "other")
    dimensions = ("instrument", "detector", "exposure")
    other.registry.registerDatasetType(DatasetType("raw_image", dimensions, "ImageV2", universe=other.dimensions))
    files = write_raws(tmp_path / "raw", science(1))
    result = ingest_raws(other, files, instrument=DESCRIPTION)
    assert (result.n_datasets, result.n_images) == (1, 0)
    with pytest.raises(VisitsError, match="storage class ImageV2, which needs lsst-images"):
        add_images(other, SIMCAM)
    with pytest.raises(VisitsError, match="storage class ImageV2, which needs lsst-images"):
        ingest_raws(other, files, images="trimmed")
    (raw,) = other.query_datasets("raw", RUN)
    image = DatasetRef(other.get_dataset_type("raw_image"), raw.dataId, run=f"{SIMCAM}/raw/images")
    other.collections.register(image.run)
    other.ingest(FileDataset(str(files[0]), [image], formatter=image_formatter([0])), transfer="direct")
    with pytest.raises(ValueError, match="storage class ImageV2, which needs lsst-images"):
        other.get(image)
