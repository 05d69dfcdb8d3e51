"""The WAT cards in which IRAF describes its projections TNX and ZPX.

wcslib reads them too, but passes over coefficients.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.polynomial import chebyshev, legendre, polynomial

from ..geometry import FloatArray

_ITEM = re.compile(r"(\w+)\s*=\s*(?:\"([^\"]*)\"?|(\S+))")
_PROJECTION_TERM = re.compile(r"projp(\d{1,2})")
_MOST_TERMS = 20
"""Largest order of a polynomial."""


@dataclass(frozen=True, eq=False)
class Correction:
    """A polynomial of the projected plane: Chebyshev's, Legendre's, or one of powers (1, 2, 3)."""

    kind: int
    coefficients: FloatArray
    """(x order, y order)."""
    low: FloatArray
    """Limits (2,) between which those of kinds 1 and 2 are defined, degrees."""
    high: FloatArray

    def __call__(self, plane: FloatArray) -> npt.NDArray[np.floating]:
        """Compute what is added at places (K, 2) of the plane, degrees; returns (K,)."""
        if self.kind == 3:
            return polynomial.polyval2d(plane[:, 0], plane[:, 1], self.coefficients)
        scaled = (2 * plane - self.low - self.high) / (self.high - self.low)
        if self.kind == 1:
            return chebyshev.chebval2d(scaled[:, 0], scaled[:, 1], self.coefficients)
        return legendre.legval2d(scaled[:, 0], scaled[:, 1], self.coefficients)


@dataclass(frozen=True)
class IrafTerms:
    """What the WAT cards of an axis say."""

    projection: dict[int, float]
    """The terms of ZPN, projp."""
    correction: Correction | None
    """What is added, lngcor or latcor."""


def read_wat(cards: Mapping[str, str], axis: int) -> IrafTerms:
    """Read the WAT cards of an axis.

    Raises `ValueError` if they make no sense.
    """
    parts = [cards[key] for key in sorted(key for key in cards if key.startswith(f"WAT{axis}_"))]
    # IRAF cuts its text anywhere, and FITS drops the blanks at the end of a card.
    width = max(map(len, parts), default=0)
    text = "".join(part.ljust(width) for part in parts)
    projection: dict[int, float] = {}
    correction: Correction | None = None
    for name, quoted, plain in _ITEM.findall(text):
        match = _PROJECTION_TERM.fullmatch(name)
        if match is None and name not in ("lngcor", "latcor"):
            continue
        try:
            numbers = [float(word) for word in (quoted or plain).split()]
            if not numbers or not all(map(math.isfinite, numbers)):
                raise ValueError
        except ValueError:
            raise ValueError(f"WAT{axis}_001: {name} is {(quoted or plain)!r}; expected numbers") from None
        if match:
            projection[int(match[1])] = numbers[0]
        elif (correction := _correction(numbers)) is None:
            raise ValueError(f"WAT{axis}_001: {name} has {len(numbers)} numbers, which do not fit its kind and orders")
    return IrafTerms(projection, correction)


def _correction(numbers: list[float]) -> Correction | None:
    """Sort the numbers of a polynomial: kind, orders, which mixed terms there are, limits, and coefficients."""
    if len(numbers) < 9 or numbers[0] not in (1, 2, 3) or numbers[3] not in (0, 1, 2):
        return None
    x_order, y_order, mixed = map(int, numbers[1:4])
    if not (1 <= x_order <= _MOST_TERMS and 1 <= y_order <= _MOST_TERMS):
        return None
    x, y = np.meshgrid(np.arange(x_order), np.arange(y_order))
    present = {0: x * y == 0, 1: x >= 0, 2: x + y < max(x_order, y_order)}[mixed]
    low, high = np.array(numbers[4:8:2]), np.array(numbers[5:8:2])
    if present.sum() != len(numbers) - 8 or (low >= high).any():
        return None
    table = np.zeros((y_order, x_order))
    table[present] = numbers[8:]
    return Correction(int(numbers[0]), table.T, low, high)
