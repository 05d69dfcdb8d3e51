"""The pixels of a detector: amplifiers put together by their sections, what shows no sky trimmed."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from lsst.resources import ResourcePath

from ..errors import RawFileError
from ..geometry import FloatArray
from .hdus import DetectorImage, detector_hdus, detector_image, unknown_overscan
from .headers import RawFile, open_raw
from .sections import read_section

_LOG = logging.getLogger(__name__)

_TYPE_KEYS = ("BITPIX", "ZBITPIX", "BSCALE", "BZERO", "BLANK", "ZBLANK")

_SEGMENT = re.compile(r"(?:SEGMENT|SEG|C)_?([01])[0-7]", re.IGNORECASE)
"""Names of amplifiers as LSST's cameras have them."""

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Tile:
    """A rectangle of an HDU's image, and where it belongs. All arrays are (2,), x and y."""

    index: int
    source: IntArray
    """Its lowest pixel in the HDU's image, from 0."""
    size: IntArray
    target: IntArray
    """Its lowest pixel in the detector's image."""
    flip: npt.NDArray[np.bool_]
    """Whether its pixels count backwards there."""

    def cut(self, low: IntArray, high: IntArray) -> Tile | None:
        """Return the part of it that belongs between two pixels, ``high`` exclusive."""
        first, last = np.maximum(self.target, low), np.minimum(self.target + self.size, high)
        if (first >= last).any():
            return None
        skipped = np.where(self.flip, self.target + self.size - last, first - self.target)
        return replace(self, source=self.source + skipped, size=last - first, target=first)


@dataclass(frozen=True, eq=False)
class Layout:
    """How the image of a detector is put together. A pixel of it is one of the file, which may be binned."""

    file: RawFile
    tiles: tuple[Tile, ...]
    box: IntArray
    """Its pixels, ((min x, min y), (max x, max y)), both inclusive; unless overscan is kept (0, 0) is the camera's."""
    binning: IntArray
    upside_down: bool = False
    on_detector: bool = True
    """Whether its pixels are the detector's; those of several amplifiers with their overscans are not."""

    def relation(self, image: DetectorImage) -> tuple[FloatArray, FloatArray]:
        """Relate its pixels to an HDU's: p is at scale * p + offset; scales are 1 or -1."""
        scale, offset = _relation(image, self.binning)
        if self.upside_down:
            height = (image.box // self.binning)[:, 1].sum()
            scale, offset = scale * [1, -1], offset + scale * [0, height]
        return scale, offset

    def read(self, path: ResourcePath, box: npt.ArrayLike | None = None) -> npt.NDArray[Any]:
        """Read the pixels, (y, x), or those of a ``box`` (2, 2), both ends inclusive.

        Raises `RawFileError` if they cannot be read.
        """
        low, high = np.asarray(self.box if box is None else box) + np.array([[0], [1]])
        parts = [part for tile in self.tiles if (part := tile.cut(low, high)) is not None]
        try:
            with open_raw(path) as file, fits.open(file, mode="readonly", memmap=False) as hdus:
                pixels = [(part, _section(hdus[part.index], part)) for part in parts]
                kinds = [one.dtype for _, one in pixels] + self._other_kinds(hdus, parts)
        except (OSError, EOFError, ValueError, TypeError, KeyError, IndexError, fits.VerifyError) as error:
            text = " ".join(str(error).split()) or type(error).__name__
            raise RawFileError(f"The pixels of {self.file.uri} cannot be read: {text}.") from error
        width, height = high - low
        # Of the machine's own byte order, which FITS's is not.
        image = np.empty((height, width), np.result_type(*kinds).newbyteorder("="))
        for part, one in pixels:
            x, y = part.target - low
            flipped = one[:: -1 if part.flip[1] else 1, :: -1 if part.flip[0] else 1]
            image[y : y + part.size[1], x : x + part.size[0]] = flipped
        return image

    def _other_kinds(self, hdus: Any, parts: Sequence[Tile]) -> list[np.dtype[Any]]:
        """Return the types of the pixels that are not asked for, so that a cut-out has the type of the whole."""

        def kind(tile: Tile) -> tuple[Any, ...]:
            return tuple(self.file.headers[tile.index].get(key) for key in _TYPE_KEYS)

        found = {kind(part) for part in parts}
        others = {kind(tile): tile for tile in self.tiles if kind(tile) not in found}
        one = np.ones(2, np.int64)
        return [_section(hdus[tile.index], replace(tile, size=one)).dtype for tile in others.values()]


def _section(hdu: Any, tile: Tile) -> npt.NDArray[Any]:
    (x, y), (width, height) = tile.source.tolist(), tile.size.tolist()
    where = (*(0,) * (len(hdu.shape) - 2), slice(y, y + height), slice(x, x + width))
    # Of a compressed image a section takes four times as long as all of it, for the same pixels.
    if 2 * width * height > np.prod(hdu.shape):
        return np.asarray(hdu.data[where])
    return np.asarray(hdu.section[where])


def find_layout(
    file: RawFile,
    hdus: Sequence[int],
    *,
    keep_overscan: bool = False,
    segments_1_on_top: Literal[True, "unknown"] | None = None,
) -> Layout:
    """Find out how the image of a detector is put together from its HDUs.

    ``keep_overscan``: with all that the file has, of several amplifiers each where it lies beside the others;
    ``segments_1_on_top``: the camera has Segment10 to Segment17 there, so if the sections do not, they count y from
    the other end; `None` if the sections are the camera's.

    Raises `RawFileError` if the sections of the HDUs do not tell it.
    """
    images = [detector_image(file, index, hdus) for index in hdus]
    for image in images:
        axes = [file.headers[image.index].get(f"{'Z' * _is_packed(image)}NAXIS{axis}", 1) for axis in range(3, 10)]
        if max(axes) > 1:
            raise RawFileError(f"{image.label}: the image has more than two axes; expected one plane of pixels.")
        if image.problem:
            raise RawFileError(f"{image.label}: {image.problem}.")
        if overscan := unknown_overscan(file, image.index):
            raise RawFileError(
                f"{image.label}: {overscan} says that there is more in the image than sky, and nothing says "
                "where the sky is; expected its section in DATASEC or TRIMSEC."
            )
    first = images[0]
    binning = _binning(first)
    if any((image.box != first.box).any() or (_binning(image) != binning).any() for image in images):
        raise RawFileError(f"{file.uri}: HDUs {_numbers(hdus)} do not agree on the detector's size or binning.")
    box = first.box // binning
    tiles = [_tile(image, binning) for image in images]
    upside_down = segments_1_on_top is not None and len(hdus) > 1 and _is_upside_down(images, segments_1_on_top)
    if upside_down:
        tiles = [
            replace(
                tile,
                target=np.array([tile.target[0], box[:, 1].sum() + 1 - (tile.target + tile.size)[1]]),
                flip=tile.flip ^ [False, True],
            )
            for tile in tiles
        ]
    if not _fills(tiles, box):
        raise RawFileError(
            f"{file.uri}: the sections of HDUs {_numbers(hdus)} overlap or leave out pixels of the detector, which is "
            f"{box[1][0] - box[0][0] + 1} x {box[1][1] - box[0][1] + 1} pixels by DETSEC or CCDSEC."
        )
    if not keep_overscan:
        return Layout(file, tuple(tiles), box, binning, upside_down)
    tiles = _with_overscan(file, tiles)
    ends = np.array([[tile.target, tile.target + tile.size - 1] for tile in tiles])
    whole = np.stack([ends[:, 0].min(axis=0), ends[:, 1].max(axis=0)])
    if not _fills(tiles, whole):
        raise RawFileError(f"{file.uri}: the amplifiers in HDUs {_numbers(hdus)} have different sizes.")
    return Layout(file, tuple(tiles), whole, binning, upside_down, on_detector=len(tiles) == 1)


def _is_upside_down(images: Sequence[DetectorImage], segments_1_on_top: Literal[True, "unknown"]) -> bool:
    """Tell whether the sections of a detector's amplifiers count y from the other end than the camera does.

    Raises `RawFileError` if nobody knows.
    """
    y: dict[str, list[float]] = {"0": [], "1": []}
    for image in images:
        if match := _SEGMENT.fullmatch(str(image.header.get("EXTNAME", "")).strip()):
            # Where the middle of the segment is on the detector.
            y[match[1]].append(((image.data.y0 + image.data.y1) / 2 - 1 - image.offset[1]) / image.scale[1])
    if segments_1_on_top is True and len(y["0"]) + len(y["1"]) == len(images) and y["0"] and y["1"]:
        if max(y["0"]) < min(y["1"]):
            return False
        if max(y["1"]) < min(y["0"]):
            return True
    raise RawFileError(
        f"{images[0].file.uri}: it is not known which end of the detector in the camera the sections of HDUs "
        f"{_numbers([image.index for image in images])} count from"
        + (
            ", for this instrument."
            if segments_1_on_top == "unknown"
            else "; expected Segment00 to Segment07 in one half, and Segment10 to Segment17 in the other, by EXTNAME."
        )
    )


def image_hdus(
    file: RawFile,
    detector: int,
    full_name: str | None,
    *,
    boxes: Sequence[IntArray] = (),
    segments_1_on_top: Literal[True, "unknown"] | None = None,
    alone: bool = True,
    only: bool = False,
) -> list[int]:
    """Find the HDUs of a detector that can be put together; arguments as of `~butler_visits.raws.find_detector`.

    ``boxes``: the detector's pixels (2, 2) by each camera that the instrument has; ``segments_1_on_top`` as of
    `find_layout`. Raises `RawFileError` if there are
    no HDUs, their sections do not tell how, or the image is not what a camera has.
    """
    hdus = detector_hdus(file, detector, full_name, alone, only)
    layout = find_layout(file, hdus, segments_1_on_top=segments_1_on_top)
    image = detector_image(file, hdus[0], hdus)
    if boxes:
        _check_camera(image, layout, boxes)
    elif not image.placed:
        _check_size(image, amplifiers=alone and len(hdus) > 1, only=only)
    return hdus


def _check_camera(image: DetectorImage, layout: Layout, boxes: Sequence[IntArray]) -> None:
    """Check that an image is a camera's detector, or a window of it; one that does not say where it lies is a doubt.

    Raises `RawFileError` otherwise.
    """
    # A camera may be in binned pixels, too.
    for (low, high), rest in ((image.box, layout.binning), (layout.box, np.ones(2, np.int64))):
        for camera_low, camera_high in boxes:
            off = high - camera_high
            if image.placed and (low >= camera_low).all() and (off < rest).all():
                return
            # Of a binned image the last pixel may be missing, or reach beyond.
            if (low == camera_low).all() and (np.abs(off) < rest).all():
                return
    problem = (
        f"{image.label}: the raw shows pixels {_shown(image.box)} of the detector, and the camera has "
        f"{' or '.join(dict.fromkeys(map(_shown, boxes)))}"
    )
    smaller = any((image.box[0] == low).all() and (image.box[1] <= high).all() for low, high in boxes)
    if image.placed or len(layout.tiles) > 1 or not smaller:
        raise RawFileError(
            f"{problem}; expected the same, DATASEC or TRIMSEC if there is an overscan, or CCDSEC if it is a window."
        )
    _LOG.warning("%s; if it is a window, its place is taken to be the lower left corner.", problem)


def _check_size(image: DetectorImage, *, amplifiers: bool, only: bool) -> None:
    """Compare an image with the size that the header says, where there is no camera.

    Raises `RawFileError` if parts are missing.
    """
    for key in ("CCDSIZE", "DETSIZE"):
        # The one of a mosaic is DETSIZE too.
        if key == "DETSIZE" and not amplifiers:
            continue
        try:
            section = read_section(image.header.get(key, image.file.headers[0].get(key)))
        except ValueError:
            continue
        own = image.box[1] - image.box[0] + 1
        if section is None or (np.abs(own - section.size) < np.maximum(image.binning, 1)).all():
            continue
        text = (
            f"{image.label}: {key} is {section.size[0]} x {section.size[1]} pixels, and there are {own[0]} x {own[1]}"
        )
        if key == "CCDSIZE" or only:
            raise RawFileError(f"{text}; amplifiers are missing, or {key} is wrong.")
        _LOG.warning("%s; unless that is a mosaic's, amplifiers are missing.", text)
        return


def _shown(box: IntArray) -> str:
    (x0, y0), (x1, y1) = box.tolist()
    return f"{x0} to {x1} x {y0} to {y1} ({x1 - x0 + 1} x {y1 - y0 + 1})"


def _is_packed(image: DetectorImage) -> bool:
    return image.header.get("ZIMAGE") is True


def _numbers(hdus: Sequence[int]) -> str:
    return ", ".join(map(str, hdus))


def _binning(image: DetectorImage) -> IntArray:
    """Return how many pixels of the detector are one of the image.

    Raises `RawFileError` if the section of the image and that of the detector are not of one size.
    """
    factors = 1 / np.abs(image.scale)
    whole = np.rint(factors).astype(np.int64)
    if (whole < 1).any() or not np.allclose(factors, whole, rtol=1e-9):
        raise RawFileError(
            f"{image.label}: DATASEC has {image.data.size[0]} x {image.data.size[1]} pixels, and the detector's "
            f"section {factors[0]:.6g} and {factors[1]:.6g} times as many; expected whole numbers."
        )
    if (image.box[0] % whole).any() or ((image.box[1] + 1) % whole).any():
        raise RawFileError(f"{image.label}: the detector's section does not begin and end with a binned pixel.")
    return whole


def _relation(image: DetectorImage, binning: IntArray) -> tuple[FloatArray, FloatArray]:
    return image.scale * binning, image.offset + image.scale * (binning - 1) / 2


def _tile(image: DetectorImage, binning: IntArray) -> Tile:
    data = image.data
    ends = np.array([[data.x0, data.y0], [data.x1, data.y1]]) - 1
    source = ends.min(axis=0)
    scale, offset = _relation(image, binning)
    # Both ends of the section in the detector's image.
    target = np.rint((ends - offset) / scale).astype(np.int64)
    return Tile(image.index, source, np.ptp(ends, axis=0) + 1, target.min(axis=0), scale < 0)


def _fills(tiles: Sequence[Tile], box: IntArray) -> bool:
    """Tell whether tiles cover a box, and no pixel twice."""
    area = np.prod(box[1] - box[0] + 1)
    inside = all((tile.target >= box[0]).all() and (tile.target + tile.size - 1 <= box[1]).all() for tile in tiles)
    overlap = any(
        one.cut(other.target, other.target + other.size) for k, one in enumerate(tiles) for other in tiles[:k]
    )
    return inside and not overlap and sum(np.prod(tile.size) for tile in tiles) == area


def _with_overscan(file: RawFile, tiles: Sequence[Tile]) -> list[Tile]:
    """Grow tiles to the whole images of their HDUs; of several, each row and column begins where the last one ends."""
    grown = []
    for tile in tiles:
        size = np.array(file.images[tile.index])
        before = np.where(tile.flip, size - tile.source - tile.size, tile.source)
        grown.append(replace(tile, source=np.zeros(2, np.int64), size=size, target=tile.target - before))
    if len(tiles) == 1:
        return grown
    targets = np.zeros((len(tiles), 2), np.int64)
    for axis in (0, 1):
        begins = np.array([tile.target[axis] for tile in tiles])
        end = 0
        for begin in np.unique(begins):
            targets[begins == begin, axis] = end
            end += max(one.size[axis] for one, b in zip(grown, begins, strict=True) if b == begin)
    return [replace(tile, target=target) for tile, target in zip(grown, targets, strict=True)]
