"""Raws of the mosaic whose pixels are known, and repositories that give them back."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pytest
from astropy.io import fits
from lsst.daf.butler import Butler, DatasetRef

from mosaic import HEIGHT, OVERSCAN, PRESCAN, WIDTH, Layout, amplifiers

HAS_IMAGES: Final = importlib.util.find_spec("lsst.images") is not None

needs_images = pytest.mark.skipif(not HAS_IMAGES, reason="lsst-images, which needs Python 3.12, is not installed here")

DARK: Final = -7
"""What prescan and overscan show."""

IMAGES: Final = "raw/images"


@cache
def detector_pixels(number: int = 0) -> npt.NDArray[np.int16]:
    """Return pixels (y, x) of a detector; their neighbours, and those of other detectors, are different."""
    x, y = np.arange(WIDTH, dtype=np.int32), np.arange(HEIGHT, dtype=np.int32)[:, None]
    pixels = ((3 * x + 7 * y + 1000 * number) % 30011).astype(np.int16)
    pixels.setflags(write=False)
    return pixels


def fill(path: Path, names: Sequence[str], layout: Layout, *, compressed: bool = False) -> Path:
    """Replace the zeros of a raw of the mosaic by pixels that are known."""
    with fits.open(path) as hdus:
        headers = [hdu.header.copy() for hdu in hdus]
    images: list[npt.NDArray[np.int16]] = []
    if layout == "amplifiers":
        for origin, signs, _ in amplifiers(names[0]):
            image = np.full((HEIGHT // 2, PRESCAN + WIDTH // 2 + OVERSCAN), DARK, dtype=np.int16)
            columns = np.arange(PRESCAN, PRESCAN + WIDTH // 2)
            # Pixel p of the image is pixel origin + signs * p of the detector.
            x = (origin[0] + signs[0] * columns).astype(int)
            y = (origin[1] + signs[1] * np.arange(HEIGHT // 2)).astype(int)
            image[:, columns] = detector_pixels()[np.ix_(y, x)]
            images.append(image)
    else:
        images = [detector_pixels(number) for number in range(len(names))]
    make: Any = fits.CompImageHDU if compressed else fits.ImageHDU
    if len(headers) == 1:
        hdus = [fits.PrimaryHDU(images[0], headers[0])]
    else:
        pairs = zip(images, headers[1:], strict=True)
        hdus = [fits.PrimaryHDU(header=headers[0]), *(make(image, header) for image, header in pairs)]
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


def image_refs(
    butler: Butler, instrument: str, name: str = "raw_image", exposure: int | None = None
) -> dict[int, DatasetRef]:
    """Find the images of an exposure, or of the only one, by their detectors."""
    where = {} if exposure is None else {"instrument": instrument, "exposure": exposure}
    with butler.query() as query:
        refs = query.datasets(name, f"{instrument}/{IMAGES}").where(where)
        return {int(ref.dataId["detector"]): ref for ref in refs}


def pixels_of(image: Any) -> npt.NDArray[Any]:
    """Return the pixels of what the Butler gives, here an image and there an array."""
    return np.asarray(image.array if HAS_IMAGES else image)
