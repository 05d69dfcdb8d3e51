"""Where the pixels of a raw's detector are on the sky, by its header."""

from __future__ import annotations

import logging
import re

import numpy as np
import numpy.typing as npt
from astropy.coordinates import ICRS, BaseCoordinateFrame, SkyCoord
from astropy.wcs import WCS

from ..errors import WcsError
from ..geometry import FloatArray, directions
from .frames import celestial_frame
from .hdus import DetectorImage
from .wcs_cards import read_primary_wcs

_LOG = logging.getLogger(__name__)

_GRID = 11
"""Points along each axis of a detector on which a WCS is compared with a camera."""

_WIDEST_PIXEL = np.deg2rad(0.1)
"""A fish-eye lens has smaller pixels; a matrix in arcseconds has larger ones."""

_LONGEST_PIXEL = 100
"""Ratio of the sides of a pixel: 64 at most are binned. One axis in arcseconds is beyond."""

_PLACE = re.compile(r"ERROR \d+ in \w+\(\) at line \d+ of file \S+: ")
"""Where in its code wcslib found an error."""

_WIDEST_DETECTOR = np.deg2rad(90)


class RawWcs:
    """The WCS of a detector from the header of its raw.

    Raises `WcsError` if the header has no celestial WCS, or one that does not put the detector on the sky.
    """

    def __init__(self, image: DetectorImage) -> None:
        self.image = image
        self.box = image.box
        self.label = image.label
        try:
            primary = read_primary_wcs(image.header)
            self.primary = primary
            self._wcs = WCS(primary.header, naxis=2)
            self.frame: BaseCoordinateFrame = celestial_frame(primary.longitude_kind, image.header)
            grid = self.directions(self.grid())
            self._check_reference()
        except WcsError:
            raise
        except Exception as error:
            # wcslib's errors have no base but Exception.
            text = " ".join(str(error).split()) or type(error).__name__
            if _PLACE.search(text):
                text = f"{_PLACE.sub('', text)}; check its CTYPE and PV cards"
            raise WcsError(f"{self.label}: the header's WCS cannot be used ({text}).") from error
        square = grid.reshape(_GRID, _GRID, 3)
        sides = np.cross(square[1:, :-1] - square[:-1, :-1], square[:-1, 1:] - square[:-1, :-1])
        # A positive or a negative parity, but one and the same everywhere, and an area that can be seen.
        area = np.einsum("...i,...i->...", sides, square[:-1, :-1])
        if not np.isfinite(area).all() or np.abs(area).min() < 1e-24 or (np.sign(area) != np.sign(area[0, 0])).any():
            raise WcsError(
                f"{self.label}: the header's WCS is degenerate, it maps the detector to no area on the sky; check "
                f"{primary.keys}."
            )
        width = np.prod((self.box[1] - self.box[0] + 1) / (_GRID - 1))
        self.pixel_scale = float(np.sqrt(np.abs(area).mean() / width))
        """Side of a pixel, radians."""
        self.centre: FloatArray = grid.mean(axis=0) / np.linalg.norm(grid.mean(axis=0))
        """Middle of the detector, a unit vector (3,)."""
        radius = float(np.arccos(np.clip((grid @ self.centre).min(), -1, 1)))
        steps = [np.linalg.norm(np.diff(square, axis=axis), axis=-1).mean() for axis in (0, 1)]
        pixel = np.array(steps) * (_GRID - 1) / (self.box[1] - self.box[0] + 1)
        if pixel.max() > min(_WIDEST_PIXEL, _LONGEST_PIXEL * pixel.min()) or 2 * radius > _WIDEST_DETECTOR:
            raise WcsError(
                f"{self.label}: the header's WCS cannot be used (its pixels are {np.rad2deg(pixel[0]):.3g} x "
                f"{np.rad2deg(pixel[1]):.3g} degrees and the detector {np.rad2deg(2 * radius):.3g} degrees wide; "
                f"{primary.keys} should be in degrees per pixel)."
            )
        for note in primary.notes:
            _LOG.warning("%s: %s.", self.label, note)

    def _check_reference(self) -> None:
        """Check that the sky at CRPIX is CRVAL to a pixel, leaving out what a header moves it by on purpose."""
        primary = self.primary
        wcs = self._wcs if primary.without_constants is primary.header else WCS(primary.without_constants, naxis=2)
        pixel, value = primary.reference
        places = np.deg2rad(wcs.all_pix2world(pixel + np.array([[0, 0], [1, 0], [0, 1]]), 1))
        at, right, up, expected = self._vectors(np.vstack([places, np.deg2rad(value)]))
        step = max(np.linalg.norm(right - at), np.linalg.norm(up - at))
        if not (off := np.linalg.norm(at - expected)) <= step + 1e-12:
            raise ValueError(
                f"the sky at CRPIX1, CRPIX2 is {np.rad2deg(off):.3g} degrees from CRVAL1, CRVAL2, where it should be; "
                "check its PV and CTYPE cards"
            )

    def _vectors(self, world: FloatArray) -> FloatArray:
        """Return the directions (K, 3) of world coordinates (K, 2), radians."""
        axis = self.primary.longitude
        return directions(world[:, axis], world[:, 1 - axis])

    def grid(self) -> FloatArray:
        """Return a grid of pixels over the detector.

        Returns ``pixels`` (K, 2): the detector's pixels, from 0.
        """
        x, y = (np.linspace(low - 0.5, high + 0.5, _GRID) for low, high in zip(*self.box, strict=True))
        return np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)

    def directions(self, pixels: npt.ArrayLike) -> FloatArray:
        """Compute where pixels are on the sky.

        ``pixels`` (K, 2): the detector's pixels (x, y), from 0, their centres integers; returns ``directions`` (K, 3):
        unit vectors in ICRS; not a number where the WCS has no value.
        """
        image = np.asarray(pixels, dtype=float) * self.image.scale + self.image.offset
        world = self._wcs.all_pix2world(self.primary.corrected(image), 0)
        vectors = self._vectors(np.deg2rad(world))
        if isinstance(self.frame, ICRS):
            return vectors
        coordinates = SkyCoord(*vectors.T, frame=self.frame, representation_type="cartesian")
        return coordinates.icrs.cartesian.xyz.value.T
