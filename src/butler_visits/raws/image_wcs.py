"""The WCS of a detector's image, in a form that other software understands."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.coordinates import ICRS
from astropy.io import fits
from astropy.wcs import WCS

from ..geometry import FloatArray, axes, ra_dec
from .pixels import Layout
from .wcs import RawWcs

_TOLERANCE = 0.01
"""Pixels by which an image's WCS may differ from the raw's."""

_SIP_ORDER = 5


def sky_projection(raw: RawWcs, layout: Layout, frame: Any) -> Any:
    """Make the `lsst.images.SkyProjection` of a detector's image, whose pixels are in a ``frame``.

    Returns `None` if what the raw has cannot be written so.
    """
    from lsst.images import SkyProjection

    pixels, sky = sample_sky(raw, layout)
    limit = _TOLERANCE * raw.pixel_scale * layout.binning.min()
    # AST, which is behind it, does not understand all that headers have as wcslib does.
    for header in image_headers(raw, layout):
        projection = SkyProjection.from_fits_wcs(WCS(header), frame)
        found = projection.pixel_to_sky(x=pixels[:, 0], y=pixels[:, 1]).cartesian.xyz.value.T
        if np.linalg.norm(found - sky, axis=1).max() < limit:
            return projection
    return None


def image_headers(raw: RawWcs, layout: Layout) -> list[fits.Header]:
    """Make headers in ICRS, longitude first, whose pixel (1, 1) is pixel (0, 0) of a detector's image: the best first.

    That is the raw's own WCS if it is such a one already, and then one that is fitted to it.
    """
    primary = raw.primary
    is_such = isinstance(raw.frame, ICRS) and primary.longitude == 0 and not any(primary.corrections)
    return [_moved(raw, layout), _fitted(raw, layout)] if is_such else [_fitted(raw, layout)]


def sample_sky(raw: RawWcs, layout: Layout) -> tuple[FloatArray, FloatArray]:
    """Return pixels (K, 2) of a detector's image, all over it, and where they are, unit vectors (K, 3)."""
    detector = raw.grid()
    scale, offset = layout.relation(raw.image)
    return (detector * raw.image.scale + raw.image.offset - offset) / scale, raw.directions(detector)


def _moved(raw: RawWcs, layout: Layout) -> fits.Header:
    """Let a header count the pixels of a detector's image instead of those of an HDU's."""
    scale, offset = layout.relation(raw.image)
    header = raw.primary.header.copy()
    header["RADESYS"] = "ICRS"
    for axis in (0, 1):
        header[f"CRPIX{axis + 1}"] = (header[f"CRPIX{axis + 1}"] - 1 - offset[axis]) / scale[axis] + 1
        for i in (1, 2):
            header[f"CD{i}_{axis + 1}"] *= scale[axis]
    for k, letter in enumerate("AB"):
        for key in header[f"{letter}_?_?"]:
            header[key] *= scale[0] ** int(key[2]) * scale[1] ** int(key[4]) * scale[k]
    return header


def _fitted(raw: RawWcs, layout: Layout) -> fits.Header:
    """Fit a TAN projection with SIP's terms, which is linear in them where the reference point is given."""
    pixels, sky = sample_sky(raw, layout)
    middle = len(pixels) // 2
    centre = sky[middle]
    ra, dec = ra_dec(centre)
    east, north = axes(ra, dec)
    plane = np.rad2deg(np.stack([sky @ east, sky @ north], axis=1) / (sky @ centre)[:, None])
    steps = pixels - pixels[middle]
    size = np.abs(steps).max(axis=0)
    powers = np.array([(total - q, q) for total in range(1, _SIP_ORDER + 1) for q in range(total + 1)])
    terms = np.prod((steps / size)[:, None] ** powers, axis=2)
    found = np.linalg.lstsq(terms, plane, rcond=None)[0].T / np.prod(size**powers, axis=1)
    matrix = found[:, :2]
    header = fits.Header()
    for axis, (kind, value) in enumerate((("RA---TAN-SIP", ra), ("DEC--TAN-SIP", dec)), start=1):
        header[f"CTYPE{axis}"], header[f"CUNIT{axis}"] = kind, "deg"
        header[f"CRVAL{axis}"], header[f"CRPIX{axis}"] = float(np.rad2deg(value)), pixels[middle][axis - 1] + 1
        for column in (1, 2):
            header[f"CD{axis}_{column}"] = matrix[axis - 1, column - 1]
    header["LONPOLE"], header["RADESYS"] = 180.0, "ICRS"
    for letter, values in zip("AB", np.linalg.solve(matrix, found[:, 2:]), strict=True):
        header[f"{letter}_ORDER"] = _SIP_ORDER
        for (p, q), value in zip(powers[2:], values, strict=True):
            header[f"{letter}_{p}_{q}"] = value
    return header
