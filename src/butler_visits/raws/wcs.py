"""Where the pixels of a raw's detector are on the sky, by its header."""

from __future__ import annotations

__all__ = ["RawWcs"]

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from astropy import log
from astropy.coordinates import ICRS, BaseCoordinateFrame, SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import wcs_to_celestial_frame

from ..errors import RawFileError
from ..geometry import FloatArray, directions
from .hdus import DetectorImage

_GRID = 11
"""Points along each axis of a detector on which a WCS is compared with a camera."""


_DEGREES = ("deg", "degree", "degrees")
_MATRIX = ("CD1_1", "CD1_2", "CD2_1", "CD2_2", "CDELT1", "CDELT2")
_NUMBERS = ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", *_MATRIX)
"""Keywords without which no WCS is what it seems."""


class RawWcs:
    """The WCS of a detector from the header of its raw.

    Raises `RawFileError` if the header has no celestial WCS, or one that does not put the detector on the sky.
    """

    def __init__(self, image: DetectorImage) -> None:
        self.image = image
        self.box = image.box
        self.label = image.label
        with _quietly():
            try:
                self._wcs = WCS(_checked(image.header), naxis=2)
                if not self._wcs.has_celestial:
                    raise RawFileError(f"{self.label}: the header has no celestial WCS.")
                self._frame: BaseCoordinateFrame = wcs_to_celestial_frame(self._wcs)
                grid = self.directions(self.grid())
            except RawFileError:
                raise
            except Exception as error:
                # wcslib's errors have no base but Exception.
                text = " ".join(str(error).split()) or type(error).__name__
                raise RawFileError(f"{self.label}: the header's WCS cannot be used ({text}).") from error
        square = grid.reshape(_GRID, _GRID, 3)
        sides = np.cross(square[1:, :-1] - square[:-1, :-1], square[:-1, 1:] - square[:-1, :-1])
        # A positive or a negative parity, but one and the same everywhere, and an area that can be seen.
        area = np.einsum("...i,...i->...", sides, square[:-1, :-1])
        if not np.isfinite(area).all() or np.abs(area).min() < 1e-24 or (np.sign(area) != np.sign(area[0, 0])).any():
            raise RawFileError(
                f"{self.label}: the header's WCS is degenerate, it maps the detector to no area on the sky."
            )
        width = np.prod((self.box[1] - self.box[0] + 1) / (_GRID - 1))
        self.pixel_scale = float(np.sqrt(np.abs(area).mean() / width))
        """Side of a pixel, radians."""

    def grid(self) -> FloatArray:
        """Return a grid of pixels (K, 2) over the detector, counted from 0."""
        x, y = (np.linspace(low - 0.5, high + 0.5, _GRID) for low, high in zip(*self.box, strict=True))
        return np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)

    def directions(self, pixels: npt.ArrayLike) -> FloatArray:
        """Turn pixels (K, 2), from 0, into directions (K, 3) in ICRS, NaN where the WCS has no value."""
        image = np.asarray(pixels, dtype=float) * self.image.scale + self.image.offset
        world = self._wcs.all_pix2world(image, 0)
        lon, lat = np.deg2rad(world[:, self._wcs.wcs.lng]), np.deg2rad(world[:, self._wcs.wcs.lat])
        vectors = directions(lon, lat)
        if isinstance(self._frame, ICRS):
            return vectors
        coordinates = SkyCoord(*vectors.T, frame=self._frame, representation_type="cartesian")
        return coordinates.icrs.cartesian.xyz.value.T


def _checked(header: fits.Header) -> fits.Header:
    """Refuse what wcslib takes for zero, or for a pixel of one degree, and mend units that it does not know."""
    for key in _NUMBERS:
        value = header.get(key)
        if value is None and key.startswith("CR"):
            raise ValueError(f"there is no {key}")
        if value is not None and not isinstance(value, int | float):
            raise ValueError(f"{key} is {value!r}, not a number")
    if not any(key in header for key in _MATRIX):
        raise ValueError("there is no CD matrix, nor CDELT1 and CDELT2")
    degrees = [key for key in ("CUNIT1", "CUNIT2") if str(header.get(key)).strip().lower() in _DEGREES]
    if degrees:
        header = header.copy()
        header.update(dict.fromkeys(degrees, "deg"))
    return header


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence astropy's notes on how it mends headers, which come for each raw anew."""
    level = log.level
    log.setLevel("WARNING")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
