"""Where the pixels of a raw's detector are on the sky, by its header."""

from __future__ import annotations

__all__ = ["RawWcs"]

import warnings

import numpy as np
import numpy.typing as npt
from astropy.coordinates import ICRS, BaseCoordinateFrame, SkyCoord
from astropy.wcs import WCS
from astropy.wcs.utils import wcs_to_celestial_frame

from ..errors import RawFileError
from .hdus import DetectorImage

FloatArray = npt.NDArray[np.float64]

_GRID = 11
"""Points along each axis of a detector on which a WCS is compared with a camera."""


class RawWcs:
    """The WCS of a detector from the header of its raw.

    Parameters
    ----------
    image : `DetectorImage`
        The detector's image.

    Raises
    ------
    RawFileError
        If the header has no celestial WCS, or one that does not put the detector on the sky.
    """

    def __init__(self, image: DetectorImage) -> None:
        self.image = image
        self.box = image.box
        self.label = image.label
        with warnings.catch_warnings():
            # astropy's notes on how it mends headers.
            warnings.simplefilter("ignore")
            try:
                # wcslib takes the text some ten times faster than card by card, and only its own keywords.
                self._wcs = WCS(image.header, naxis=2)
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
        width = np.prod((self.box[1] - self.box[0]) / (_GRID - 1))
        self.pixel_scale = float(np.sqrt(np.abs(area).mean() / width))
        """Side of a pixel, radians."""

    def grid(self) -> FloatArray:
        """Return a grid of pixels over the detector.

        Returns
        -------
        pixels : `numpy.ndarray`, shape (K, 2)
            The detector's pixels, from 0.
        """
        x, y = (np.linspace(low, high, _GRID) for low, high in zip(*self.box.astype(float), strict=True))
        return np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)

    def directions(self, pixels: npt.ArrayLike) -> FloatArray:
        """Compute where pixels are on the sky.

        Parameters
        ----------
        pixels : array_like, shape (K, 2)
            The detector's pixels (x, y), from 0, their centres integers.

        Returns
        -------
        directions : `numpy.ndarray`, shape (K, 3)
            Unit vectors in ICRS; not a number where the WCS has no value.
        """
        image = np.asarray(pixels, dtype=float) * self.image.scale + self.image.offset
        world = self._wcs.all_pix2world(image, 0)
        lon, lat = np.deg2rad(world[:, self._wcs.wcs.lng]), np.deg2rad(world[:, self._wcs.wcs.lat])
        vectors = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)
        if isinstance(self._frame, ICRS):
            return vectors
        coordinates = SkyCoord(*vectors.T, frame=self._frame, representation_type="cartesian")
        return coordinates.icrs.cartesian.xyz.value.T
