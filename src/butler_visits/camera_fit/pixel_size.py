"""How large a detector's pixels are, by a header."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_ASSUMED = 0.015
"""Millimetres."""

_AS_READ = ("XPIXSZ", "XPIXELSZ")
"""Keywords for which programs write the size of a binned pixel."""

SIZES = (
    *("PIXSIZE1", "PIXSIZE", *_AS_READ, "XPIXSIZE", "PIXSIZEX", "PIXELSIZ", "PIXELSZ", "PIXSZ", "PIXSZ1", "DETPIXSZ"),
    *("ESO DET CHIP1 PSZX", "ESO DET CHIP PSZX"),
)
"""Usually micrometres."""

_SCALES = ("PIXSCAL1", "PIXSCALE", "PIXSCAL", "SECPIX1", "SECPIX")
"""Arcseconds per pixel, which is no size without a focal length; some write a size."""

_FOCAL_LENGTHS = ("FOCALLEN", "FOCLEN", "TELFOCLN")

_NEAR = 1.25
"""Factor by which numbers that mean the same may differ."""


def find_pixel_size(headers: tuple[Mapping[str, Any], ...], binning: int, pixel_scale: float) -> tuple[float, str]:
    """Find the size of a detector's pixel in mm, and say where it is from.

    ``binning``: the detector's pixels in one of the image along x; ``pixel_scale``: radians of one of the detector's by
    the WCS. The first header counts most.
    """
    focal_length = next((v for k in _FOCAL_LENGTHS if (v := _number(headers, k)) is not None and v > 0), None)
    by_wcs = None if focal_length is None else pixel_scale * focal_length
    for key in SIZES:
        size = millimetres(_number(headers, key))
        if size is None:
            continue
        if key not in _AS_READ or binning == 1:
            return size, f"The size of a pixel, {_um(size)}, is from {key}."
        if by_wcs is not None and _is_near(size, by_wcs) and not _is_near(size / binning, by_wcs):
            return size, (
                f"{key} is taken for the size of a pixel that is not binned, {_um(size)}, because FOCALLEN and the WCS "
                "say so."
            )
        return size / binning, (
            f"{key} is taken for the size of a pixel that is binned by {binning}; that of the detector's is "
            f"{_um(size / binning)}."
        )
    scale = math.degrees(pixel_scale) * 3600
    for key in _SCALES:
        value = _number(headers, key)
        if value is not None and not _is_near(value, scale) and not _is_near(value, scale * binning):
            size = millimetres(value)
            if size is not None and (by_wcs is None or _is_near(size, by_wcs)):
                return size, f"The size of a pixel, {_um(size)}, is from {key}."
    if by_wcs is not None and 0.0005 <= by_wcs <= 0.1:
        return by_wcs, f"The size of a pixel, {_um(by_wcs)}, is from FOCALLEN and the WCS."
    return _ASSUMED, (
        f"No header tells the size of a pixel, so {_um(_ASSUMED)} are assumed: the focal plane's millimetres are only "
        "as right as that, regions do not depend on it."
    )


def _number(headers: tuple[Mapping[str, Any], ...], key: str) -> float | None:
    for header in headers:
        try:
            number = float(header[key])
        except (KeyError, TypeError, ValueError):
            continue
        if math.isfinite(number):
            return number
    return None


def millimetres(value: float | None) -> float | None:
    """Understand a size in micrometres, or in a unit in which it would be no pixel otherwise."""
    if value is None:
        return None
    for low, high, factor in ((0.5, 100.0, 1e-3), (5e-4, 0.1, 1.0), (5e-7, 1e-4, 1e3)):
        if low <= value <= high:
            return value * factor
    return None


def _is_near(a: float, b: float) -> bool:
    return 1 / _NEAR < a / b < _NEAR


def _um(size: float) -> str:
    return f"{size * 1000:.4g} micrometres"
