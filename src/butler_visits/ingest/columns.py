"""Values from the columns of a table, in the units and the time scale of exposure records."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import astropy.units as u
import numpy as np
from astropy.coordinates import Angle, SkyCoord
from astropy.time import Time
from astropy.utils.masked import Masked
from lsst.daf.butler.time_utils import TimeConverter

from ..errors import IngestError
from ..instruments.times import read_time
from ..lists import shown

_T = TypeVar("_T")
_N = TypeVar("_N", int, float)

_NO_TIME = (ValueError, TypeError, AttributeError)
"""What astropy raises for values that are no times."""

_UNIX_EPOCH = 2440587.5
"""Julian date of 1970-01-01."""

_DAY = 86_400_000_000_000
"""Nanoseconds."""

_MOST_DAYS = 100_000
"""Days from 1970 of which 64 bits hold the nanoseconds."""

_JD_OF_MJD = 2400000.5
"""Julian date of the modified one's zero."""

_LARGEST_MJD = 1_000_000
"""Days above which a number is a Julian date, and below a modified one: the year 4596, and 1975 BC."""

LONGEST_EXPOSURE = 864_000
"""Seconds, ten days: more is no exposure time."""

LARGEST_INTEGER = 2**63 - 1
"""What a database takes."""

TIMES = range(TimeConverter().min_nsec + 1, TimeConverter().max_nsec)
"""Nanoseconds that Butler takes, TAI since 1970; its first and last stand for no begin and no end."""

_TRUE = frozenset({"true", "t", "yes", "y", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "0"})


@dataclass(frozen=True, eq=False)
class Column:
    """A column of a table, for messages with its name and the table's."""

    table: str
    name: str
    data: Any
    """Column of an `astropy.table.Table`."""

    def fail(self, row: int, value: Any, expected: str) -> IngestError:
        """Make the error of a value that makes no sense."""
        return IngestError(f"{self.table}, row {row + 1}, column {self.name}: {shown(value)} is {expected}.")

    def elements(self, rows: range) -> list[Any]:
        """Return the values of some rows, without units; `None` where there is none."""
        part = self.data[rows.start : rows.stop]
        part = part.value if isinstance(part, u.Quantity) else part
        mask = np.broadcast_to(np.ma.getmaskarray(part), len(rows))
        data = np.ma.getdata(part)
        if data.dtype.kind == "M":
            # As texts, which keep nanoseconds.
            mask, data = mask | np.isnat(data), np.datetime_as_string(data)
        # An astropy column would decode all of its bytes at once, and fail for those of one row.
        values = np.asarray(data).tolist()
        return [None if missing else _plain(value) for value, missing in zip(values, mask, strict=True)]

    def factor(self, unit: u.UnitBase, what: str) -> float:
        """Return what numbers are multiplied with; `IngestError` if the column's unit measures something else."""
        own = getattr(self.data, "unit", None)
        if own is None or own == u.dimensionless_unscaled:
            return 1.0
        try:
            return float(u.Unit(own).to(unit))
        except (u.UnitConversionError, TypeError, ValueError):
            raise IngestError(
                f"{self.table}, column {self.name}: its unit is {own}; expected one of {what}, such as {unit}."
            ) from None


def text(column: Column, rows: range) -> list[str | IngestError | None]:
    """Return texts; numbers are written out."""

    def convert(value: Any) -> str:
        result = str(value)
        # PostgreSQL takes no NUL, and no database what is not Unicode.
        if "\0" in result:
            raise ValueError
        result.encode()
        return result

    return _convert(column, rows, convert, "not a text; expected Unicode without NUL characters")


def integer(
    column: Column, rows: range, *, least: int = -LARGEST_INTEGER, most: int = LARGEST_INTEGER
) -> list[int | IngestError | None]:
    """Return whole numbers."""

    def convert(value: Any) -> int:
        if isinstance(value, float) and not value.is_integer():
            raise ValueError
        return int(value)

    results = _convert(column, rows, convert, "not a whole number")
    return _within(column, rows, results, least, most)


def seconds(column: Column, rows: range) -> list[float | IngestError | None]:
    """Return durations in seconds."""
    factor = column.factor(u.s, "time")
    results = _convert(column, rows, lambda value: _finite(float(value) * factor), "not a number")
    return _within(column, rows, results, 0, LONGEST_EXPOSURE)


def angle(column: Column, rows: range, *, hours: bool = False) -> list[float | IngestError | None]:
    """Return angles in degrees; a text in sexagesimal form may be in hours."""
    factor = column.factor(u.deg, "angle")

    def convert(value: Any) -> float | None:
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                return _finite(float(Angle(value, unit=u.hourangle if hours else u.deg).deg))
        return _finite(float(value) * factor)

    results = _convert(column, rows, convert, "not an angle such as 12.5 or 12:30:00")
    # A number beyond stands for something else, and must not be wrapped; a rotator may turn more than once.
    largest = 360 if hours else 720
    return _within(column, rows, results, -largest, largest)


def flag(column: Column, rows: range) -> list[bool | IngestError | None]:
    """Return logical values."""

    def convert(value: Any) -> bool:
        word = value.strip().casefold() if isinstance(value, str) else {0: "0", 1: "1"}.get(value)
        if word not in _TRUE | _FALSE:
            raise ValueError
        return word in _TRUE

    return _convert(column, rows, convert, "neither true nor false")


def coordinates(column: Column, rows: range) -> list[tuple[float, float] | None]:
    """Return directions in degrees, ICRS, of a column that holds coordinates; `None` where there is none."""
    if not isinstance(column.data, SkyCoord):
        raise IngestError(
            f"{column.table}, column {column.name}: expected sky coordinates; for two columns map tracking_ra and "
            "tracking_dec."
        )
    icrs = column.data[rows.start : rows.stop].icrs
    degrees = [
        (angle.filled(np.nan) if isinstance(angle, Masked) else angle).tolist() for angle in (icrs.ra.deg, icrs.dec.deg)
    ]
    return [(ra, dec) if math.isfinite(ra) and math.isfinite(dec) else None for ra, dec in zip(*degrees, strict=True)]


def nanoseconds(column: Column, rows: range, scale: str) -> list[int | IngestError | None]:
    """Return times as TAI nanoseconds since 1970: astropy's own, ISO texts, or Julian dates, modified or not."""
    data = column.data[rows.start : rows.stop]
    values = _time_texts(data) if isinstance(data, Time) else column.elements(rows)
    make = None if isinstance(data, Time) else _time_maker(column, values, scale)

    def convert(some: list[int]) -> list[int]:
        return _tai(data.unmasked[some] if make is None else make([values[index] for index in some]))

    times: list[int | IngestError | None] = [None] * len(values)
    places = [index for index, value in enumerate(values) if value is not None]
    try:
        found: list[int | None] = [*convert(places)] if places else []
    except _NO_TIME:
        # Some value is wrong; each by itself, to find it.
        found = []
        for index in places:
            try:
                found += convert([index])
            except _NO_TIME:
                found.append(_odd_time(values[index], scale))
    for index, time in zip(places, found, strict=True):
        if time is None:
            expected = "not a time; expected one such as 2026-04-01T23:15:00, or a (modified) Julian date"
            times[index] = column.fail(rows[index], values[index], expected)
        elif time not in TIMES:
            times[index] = column.fail(rows[index], values[index], "out of range; expected a time from 1970 to 2099")
        else:
            times[index] = time
    return times


def _time_maker(column: Column, values: Sequence[Any], scale: str) -> Callable[[list[Any]], Time]:
    first = next((value for value in values if value is not None), None)
    if isinstance(first, str):
        return lambda texts: Time(
            [one.strip().removesuffix("Z").replace(" ", "T", 1) for one in texts], format="isot", scale=scale
        )
    if not isinstance(first, (int, float)):
        return lambda some: Time(some, scale=scale)
    own = getattr(column.data, "unit", None)
    if own is not None and u.Unit(own) == u.s:
        return lambda numbers: Time(np.asarray(numbers, dtype=float), format="unix", scale="utc")
    factor = column.factor(u.d, "time")

    def from_days(numbers: list[Any]) -> Time:
        days = np.asarray(numbers, dtype=float) * factor
        return Time(np.where(days > _LARGEST_MJD, days - _JD_OF_MJD, days), format="mjd", scale=scale)

    return from_days


def _odd_time(value: Any, scale: str) -> int | None:
    """Read a time that is written otherwise than most are; `None` if it is none."""
    try:
        return _tai(read_time(value, "isot", scale).reshape(1))[0] if isinstance(value, str) else None
    except _NO_TIME:
        return None


def _time_texts(times: Time) -> list[str | None]:
    """Return times for messages; `None` where there is none."""
    texts = np.atleast_1d(times.unmasked.value).astype(str).tolist()
    return [None if missing else text for text, missing in zip(texts, times.mask, strict=True)]


def _tai(times: Time) -> list[int]:
    """Return TAI nanoseconds since 1970; the whole days are exact, and the rest to a hundredth of a nanosecond."""
    tai = times.tai
    whole, part = np.divmod(tai.jd1 - _UNIX_EPOCH, 1)
    # What is out of range stays so, and does not overflow.
    whole = np.clip(whole, -_MOST_DAYS, _MOST_DAYS)
    nsec: list[int] = (whole.astype(np.int64) * _DAY + np.rint((part + tai.jd2) * _DAY).astype(np.int64)).tolist()
    return nsec


def _within(
    column: Column, rows: range, values: Sequence[_N | IngestError | None], least: int, most: int
) -> list[_N | IngestError | None]:
    """Replace numbers that are out of range by errors."""
    return [
        value
        if value is None or isinstance(value, IngestError) or least <= value <= most
        else column.fail(row, value, f"out of range; expected {least} to {most}")
        for row, value in zip(rows, values, strict=True)
    ]


def _convert(column: Column, rows: range, convert: Callable[[Any], _T], expected: str) -> list[_T | IngestError | None]:
    results: list[_T | IngestError | None] = []
    for row, value in zip(rows, column.elements(rows), strict=True):
        try:
            results.append(None if value is None else convert(value))
        except (TypeError, ValueError, OverflowError, AttributeError):
            results.append(column.fail(row, value, expected))
    return results


def _plain(value: Any) -> Any:
    """Return Python's own type of a value, and `None` for what stands for no value."""
    if isinstance(value, bytes):
        # What is no UTF-8 is no Unicode then, and refused.
        value = value.decode(errors="surrogateescape")
    if isinstance(value, str):
        value = value.strip()
        return value or None
    if isinstance(value, float) and math.isnan(value):
        return None
    return value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError
    return value
