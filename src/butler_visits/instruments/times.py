"""Read moments as headers and log books write them; what can be meant in two ways is refused."""

from __future__ import annotations

import datetime
import math
import re
from decimal import Decimal
from typing import Any

import astropy.units as u
from astropy.time import Time, TimeDelta
from astropy.utils import iers

from ..raws import is_unknown

_SCALES = {
    **dict.fromkeys(("UTC", "UT", "GMT", "Z", "ZULU"), "utc"),
    **dict.fromkeys(("TAI", "IAT"), "tai"),
    **dict.fromkeys(("TT", "TDT", "ET"), "tt"),
    **{name: name.lower() for name in ("TDB", "TCB", "TCG", "UT1", "GPS", "LOCAL")},
}
"""What TIMESYS may be, by the FITS standard and its older names."""

_SCALE = re.compile(r"([A-Za-z]+1?)(?![A-Za-z\d])(.*)", re.DOTALL)

_GPS = TimeDelta(19 * u.s)
"""What GPS's clocks are behind TAI."""

_ISO_DATE = re.compile(r"(\d{4})([-/.:])(\d{1,2})\2(\d{1,2})|(\d{4})()(\d\d)(\d\d)")
_OLD_DATE = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|\d\d)")
_CLOCK = re.compile(r"(\d{1,2})\s*[:h\s]\s*(\d{1,2})(?:\s*[:m\s]\s*(\d{1,2}(?:[.,]\d*)?)s?)?")
_NUMBER = re.compile(r"(\d+)(?:\.\d*)?")
_ZONE = re.compile(r"\s*(?:(?P<utc>Z|UTC?|GMT)|(?P<sign>[+-])(?P<h>\d\d)(?::?(?P<m>\d\d))?)$", re.IGNORECASE)

_LARGEST_OFFSET = 14
"""Hours."""

_DAY = 86400
"""Seconds."""


def digits_of_time(time: Time, *, milliseconds: bool = False) -> int:
    """Make a number of the digits of a moment in UTC: 20260401231402, or 20260401231402500 with milliseconds."""
    utc = time.utc.copy()
    utc.precision = 3
    return int(utc.strftime("%Y%m%d%H%M%S%f" if milliseconds else "%Y%m%d%H%M%S"))


def read_scale(value: Any) -> str:
    """Understand the value of TIMESYS; `ValueError` if it is no time scale."""
    if is_unknown(value):
        return "utc"
    # Remarks follow, as in "UTC approximate" and "UTC(NTP)", but "UTC+2" is no remark.
    match = _SCALE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or match[1].upper() not in _SCALES or re.search(r"[+-]\s*\d|local", match[2], re.IGNORECASE):
        raise ValueError(f"TIMESYS is {value!r}, which is not a time scale")
    return _SCALES[match[1].upper()]


def has_time_of_day(text: str) -> bool:
    """Tell whether there is more than a date in a text."""
    text = text.strip()
    return not (_ISO_DATE.fullmatch(text) or _OLD_DATE.fullmatch(text))


def read_time(value: Any, form: str, scale: str) -> Time:
    """Understand a moment.

    ``form``: isot, mjd, jd or unix; ``scale``: as `read_scale` has it. Raises `ValueError` that says what is wrong.
    """
    if form == "isot":
        date, seconds, offset = _split(str(value))
        if offset is not None and scale not in ("utc", "local"):
            raise ValueError(f"it says how far it is from UTC, and the scale is {scale.upper()}")
        scale = "utc" if offset is not None else scale
    if scale == "local":
        raise ValueError(
            "TIMESYS is LOCAL, and nothing says how far that is from UTC; give a key that has UTC, or a scale if "
            "TIMESYS is wrong"
        )
    scale_here = "tai" if scale == "gps" else scale
    if form == "isot":
        time = _moment(date, seconds, scale_here)
        time = time if not offset else time.tai - TimeDelta(offset * u.s)
    else:
        # A text keeps all its digits.
        number = value.strip().upper().replace("D", "E") if isinstance(value, str) else float(value)
        if isinstance(value, bool) or not math.isfinite(float(number)) or "_" in str(number):
            raise ValueError("it is no number")
        time = Time(number, format=form, scale=scale_here)
        if not 1800 < (year := float(time.jyear)) < 2200:
            raise ValueError(f"that would be the year {year:.6g}; is the format another one?")
    if scale == "gps":
        time = time + _GPS
    if scale == "ut1":
        try:
            with iers.conf.set_temp("auto_download", False):
                time = time.utc
        except (iers.IERSRangeError, ValueError):
            raise ValueError("how far UT1 is from UTC is not known yet for this date") from None
    return time


def _split(text: str) -> tuple[datetime.date, Decimal, float | None]:
    """Split a text into a date, seconds of that day, and the seconds that its clock is ahead of UTC if it says so."""
    text = text.strip()
    zone = _ZONE.search(text)
    offset = None
    # The last two digits of a date are no zone.
    if zone is not None and (":" in text[: zone.start()] or "T" in text[: zone.start()] or zone["utc"]):
        text = text[: zone.start()]
        hours, minutes = int(zone["h"] or 0), int(zone["m"] or 0)
        if hours > _LARGEST_OFFSET or minutes > 59:
            raise ValueError(f"{zone[0].strip()} is not an offset from UTC")
        offset = (-1 if zone["sign"] == "-" else 1) * (hours * 3600.0 + minutes * 60.0)
    match = re.fullmatch(r"([^T\s]*\d)(?:\s*T\s*|\s+)(.+)", text, re.IGNORECASE)
    if match is None:
        problem = "there is no time of day; put date and time together with a template"
        raise ValueError("expected one such as 2026-04-01T23:15:00" if has_time_of_day(text) else problem)
    return _date(match[1]), _clock(match[2].strip(), is_compact=match[1].isdecimal()), offset


def _date(text: str) -> datetime.date:
    if match := _ISO_DATE.fullmatch(text):
        return datetime.date(*(int(part) for part in match.groups() if part and part.isdecimal()))
    if (match := _OLD_DATE.fullmatch(text)) is None:
        raise ValueError(f"{text!r} is not a date such as 2026-04-01")
    first, second, year = int(match[1]), int(match[3]), int(match[4])
    if len(match[4]) == 4:
        if first <= 12 and second <= 12 and first != second:
            raise ValueError(f"{text!r} may be day and month or month and day")
        return datetime.date(year, *((second, first) if second <= 12 else (first, second)))
    # FITS wrote DD/MM/YY until 1999, and nothing else with two digits.
    if match[2] != "/" or second > 12 or year < 70:
        raise ValueError(f"{text!r} is not of FITS's old form, DD/MM/YY of 1970 to 1999, and may mean another date")
    return datetime.date(1900 + year, second, first)


def _clock(text: str, *, is_compact: bool) -> Decimal:
    """Return the seconds since midnight; ``is_compact``: the date is written without separators."""
    if number := _NUMBER.fullmatch(text):
        digits, seconds = number[1], Decimal(text)
        is_clock = len(digits) in (5, 6) and int(digits[-4:-2]) < 60 and int(digits[-2:]) < 60
        if is_compact and is_clock and len(digits) == 6:
            return _seconds(int(digits[:2]), int(digits[2:4]), seconds % 100, text)
        if (is_compact and is_clock) or re.match("0\\d", digits) or 0 < seconds < 24 or seconds >= _DAY:
            raise ValueError(f"{text!r} may be seconds since midnight, hours or hhmmss")
        return seconds
    match = _CLOCK.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a time of day such as 23:15:00, nor seconds since midnight")
    return _seconds(int(match[1]), int(match[2]), Decimal((match[3] or "0").replace(",", ".")), text)


def _seconds(hour: int, minute: int, second: Decimal, text: str) -> Decimal:
    total = 3600 * hour + 60 * minute + second
    # 24:00:00 is the end of a day, and a second 60 was rounded up, or is a leap second.
    is_leap = (hour, minute) == (23, 59) and second < 61
    if minute > 59 or not (second <= 60 or is_leap) or not (total <= _DAY or is_leap):
        raise ValueError(f"{text!r} is not a time of day")
    return total


def _moment(date: datetime.date, seconds: Decimal, scale: str) -> Time:
    if seconds < _DAY:
        hour, minute = int(seconds // 3600), int(seconds // 60 % 60)
        return Time(f"{date}T{hour:02d}:{minute:02d}:{seconds % 60:013.10f}", format="isot", scale=scale)
    midnight = Time(f"{date}T00:00:00", format="isot", scale=scale)
    # A day of UTC may have a second more, which TAI counts.
    return (midnight.tai if scale == "utc" else midnight) + TimeDelta(float(seconds) * u.s)
