"""What a draft says of where the telescope looked."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import astropy.units as u
import numpy as np
from astropy.coordinates import FK5, Angle, SkyCoord

from ...geometry import FloatArray, directions
from ...lists import angle_text, counted
from ...raws import angle_between
from ...raws.place import LARGEST_MISS
from .frames import Frame, Section, says, without_visit

POINTINGS = (("OBJCTRA", "OBJCTDEC"), ("RA", "DEC"), ("TELRA", "TELDEC"), ("OBJRA", "OBJDEC"), ("RA_OBJ", "DEC_OBJ"))
ALTITUDES = (("CENTALT", "CENTAZ"), ("OBJCTALT", "OBJCTAZ"), ("ALTITUDE", "AZIMUTH"), ("TELALT", "TELAZ"))

_PRECESSED = math.radians(0.05)
"""Closer than this to where a frame was solved no other meaning of the coordinates is looked for."""

_FAR = 0.1
"""Of the shorter side of a frame, by which a pointing may be off its middle."""


@dataclass(frozen=True)
class _Pair:
    """Two keys of a pointing, and how they are read."""

    ra: str
    dec: str
    in_hours: bool
    of_date: bool
    """Coordinates of the equinox of the date, JNow."""
    equinox: bool = False
    """The card EQUINOX has another one than J2000."""

    def place(self, frame: Frame) -> FloatArray | None:
        """Return where a frame looked, a unit vector in ICRS."""
        reading = read_place(frame, self.ra, self.dec, in_hours=self.in_hours)
        if reading is None:
            return None
        if not (self.of_date or self.equinox):
            return directions(*np.deg2rad(reading))
        year = frame.begin.jyear if self.of_date and frame.begin is not None else frame.number("EQUINOX") or 2000.0
        icrs = SkyCoord(*reading * u.deg, frame=FK5(equinox=f"J{year}")).icrs
        return directions(icrs.ra.rad, icrs.dec.rad)

    def content(self, other: _Pair | None) -> dict[str, Any]:
        """Write it down; an ``other`` pair is taken where a header lacks this one."""
        unit = {"unit": "hourangle" if self.in_hours else "deg"} if other is None else {}
        ra, dec = ([self.ra, other.ra], [self.dec, other.dec]) if other is not None else (self.ra, self.dec)
        content: dict[str, Any] = {
            "ra": {"key": ra, **unit, "default": None},
            "dec": {"key": dec, "unit": "deg", "default": None},
            "frame": "fk5" if self.of_date or self.equinox else "icrs",
        }
        if self.of_date or self.equinox:
            content["equinox"] = {"value": "date"} if self.of_date else {"key": "EQUINOX"}
        return content


def pointing(frames: Sequence[Frame]) -> list[Section]:
    """Say where the telescope looked."""
    sky = [frame for frame in frames if frame.sees_sky]
    found = [_pair(sky, *keys) for keys in POINTINGS if any(read_place(frame, *keys) is not None for frame in sky)]
    if not found:
        advice = "No header says where the telescope looked: only frames that are solved become visits."
        return [Section({"tracking_radec": _NO_POINTING}, check=[advice])]
    # What the telescope says counts more than what was aimed at.
    found.sort(key=lambda one: not says(one[0].comment, "telescope", "mount", "scope"))
    pairs = [one[0].pair for one in found]
    best, check = found[0][0].pair, list(found[0][1])
    said = [] if best.of_date or best.equinox else ["Coordinates are taken for J2000."]
    solved = [frame for frame in sky if frame.wcs is not None]
    if solved:
        others = [_Pair(p.ra, p.dec, hours, date) for p in pairs for hours in (p.in_hours, not p.in_hours)
                  for date in (False, True)]  # fmt: skip
        miss = _miss(best, solved)
        nearest = min(others, key=lambda pair: _miss(pair, solved))
        if miss > _PRECESSED and _miss(nearest, solved) < miss / 4:
            how = f"{'hours' if nearest.in_hours else 'degrees'}, {'JNow' if nearest.of_date else 'J2000'}"
            best, check = nearest, [f"{nearest.ra} and {nearest.dec} are taken as {how}, because solved frames say so."]
            said = []
        near, far = _by_solved_frames(best, solved)
        said += near
        check += far
    if best.of_date and best is found[0][0].pair:
        said.append("The header says that coordinates are of the equinox of the date (JNow).")
    second = _second(best, pairs, sky)
    content = best.content(second)
    keys = [key for pair in (best, second) if pair is not None for key in (pair.ra, pair.dec)]
    check += without_visit(
        sky, keys, lambda frame: any(one is not None and one.place(frame) is not None for one in (best, second))
    )
    zeros = [frame for frame in sky if _is_zero(frame, best)]
    sections = []
    if zeros:
        check.append(
            f"{best.ra} and {best.dec} are 0 in {counted(len(zeros), 'frame')}, first {zeros[0]}, as most programs "
            "write where there is no mount. Where it is so, leave such frames out."
        )
        if texts := {str(frame.get(key)) for frame in zeros for key in (best.ra,) if isinstance(frame.get(key), str)}:
            check[-1] = check[-1].replace("Where it is so, leave such frames out.", "That text counts as none.")
            sections.append(Section({"missing": sorted(texts)}))
    return [Section({"tracking_radec": content}, said, check), *sections]


def _second(best: _Pair, pairs: Sequence[_Pair], sky: Sequence[Frame]) -> _Pair | None:
    """Find a pair for frames that lack the best one, which is read as a description does where it says no unit."""
    lacking = [frame for frame in sky if best.place(frame) is None]
    for pair in pairs:
        both = [(pair, [f for f in lacking if pair.place(f) is not None]), (best, [f for f in sky if f not in lacking])]
        is_usual = all(one.in_hours == (frame.number(one.ra) is None) for one, frames in both for frame in frames)
        is_same = (pair.of_date, pair.equinox) == (best.of_date, best.equinox)
        if both[0][1] and is_usual and is_same:
            return pair
    return None


_NO_POINTING = {"ra": {"key": "RA", "default": None}, "dec": {"key": "DEC", "default": None}}


@dataclass(frozen=True)
class _Found:
    pair: _Pair
    comment: str


def _pair(frames: Sequence[Frame], ra: str, dec: str) -> tuple[_Found, list[str]]:
    """Find out how two keys are to be read."""
    having = [frame for frame in frames if read_place(frame, ra, dec) is not None]
    first = having[0]
    comment = f"{first.comment(ra)} {first.comment(dec)}"
    numbers = [number for frame in having if (number := frame.number(ra)) is not None]
    check: list[str] = []
    if len(numbers) < len(having):
        largest = max(abs(read_angle(frame.get(ra)) or 0) for frame in having)
        in_hours = largest < 24 and not says(first.comment(ra), "deg", "degrees?")
    elif says(first.comment(ra), "hours?", "hrs?", "h", "hms"):
        in_hours = True
    elif says(first.comment(ra), "deg", "degrees?", "d") or max(numbers) >= 24:
        in_hours = False
    else:
        told = _is_hours_by_others(having, ra, dec)
        in_hours = bool(told)
        if told is None:
            check = [
                f"{ra} is a number without a unit below 24, taken for degrees; if it is hours, write unit: hourangle."
            ]
    of_date = says(comment, "jnow", "of date", "apparent", "topocentric", "current epoch", "current equinox", "eod")
    equinox = first.number("EQUINOX") or 2000.0
    has_other = not of_date and not says(comment, "j2000", "2000", "icrs") and abs(equinox - 2000) > 0.5
    return _Found(_Pair(ra, dec, in_hours, of_date, has_other), comment), check


def _is_hours_by_others(frames: Sequence[Frame], ra: str, dec: str) -> bool | None:
    """Tell by other keys of the same frames, or their WCSs, whether a number is hours; `None` if they do not say."""
    for frame in frames:
        others = [pair for pair in POINTINGS if pair[0] != ra and isinstance(frame.get(pair[0]), str)]
        readings = [reading for pair in others if (reading := read_place(frame, *pair)) is not None]
        places = [directions(*np.deg2rad(reading)) for reading in readings]
        places += [frame.wcs.centre] if frame.wcs is not None else []
        for place in places:
            miss = []
            for in_hours in (False, True):
                reading = read_place(frame, ra, dec, in_hours=in_hours)
                miss.append(
                    math.pi if reading is None else float(angle_between(directions(*np.deg2rad(reading)), place))
                )
            if min(miss) < math.radians(3) and max(miss) > 2 * min(miss):
                return miss[1] < miss[0]
    return None


def _by_solved_frames(pair: _Pair, solved: Sequence[Frame]) -> tuple[list[str], list[str]]:
    """Say how far from the middle of solved frames a pointing is, and what should be checked of that."""
    away = _distances(pair, solved)
    if not away:
        return [], []
    far = [(distance, frame) for distance, frame in away if distance > _FAR * _shorter_side(frame)]
    if not far:
        arcsec = math.degrees(_miss(pair, solved)) * 3600
        distance = "less than 1 arcsec" if arcsec < 1 else angle_text(arcsec)
        return [f"In {counted(len(away), 'solved frame')} it is {distance} from the middle."], []
    farthest, frame = max(far, key=lambda one: one[0])
    advice = "Run define-visits with -c computeVisitRegions.active.wcsSource=prefer-raw, which takes the WCSs of these."
    if farthest > LARGEST_MISS:
        advice = "No telescope misses by so much: correct the pointings or the WCSs, or leave such frames out."
    which = f"{len(far)} of {counted(len(away), 'solved frame')}"
    return [], [
        f"{pair.ra} and {pair.dec} are not where the camera looked in {which}, by "
        f"{angle_text(math.degrees(farthest) * 3600)} in {frame}; frames that are not solved may be as wrong. {advice}"
    ]


def _shorter_side(frame: Frame) -> float:
    """Return the shorter side of a solved frame, radians."""
    assert frame.wcs is not None
    return frame.wcs.pixel_scale * float((frame.wcs.box[1] - frame.wcs.box[0] + 1).min())


def _distances(pair: _Pair, solved: Sequence[Frame]) -> list[tuple[float, Frame]]:
    """Return how far from the middle of each solved frame a pointing is, radians."""
    return [(float(angle_between(place, frame.wcs.centre)), frame) for frame in solved
            if frame.wcs is not None and (place := pair.place(frame)) is not None]  # fmt: skip


def _miss(pair: _Pair, solved: Sequence[Frame]) -> float:
    """Return how far from the middle of solved frames a pointing is by the median, radians."""
    away = [distance for distance, _ in _distances(pair, solved)]
    return float(np.median(away)) if away else math.inf


def _is_zero(frame: Frame, pair: _Pair) -> bool:
    reading = read_place(frame, pair.ra, pair.dec, in_hours=pair.in_hours)
    return reading is not None and not reading.any()


def read_place(frame: Frame, ra_key: str, dec_key: str, *, in_hours: bool | None = None) -> FloatArray | None:
    """Read a pointing as degrees; by default, a text in sexagesimal form is hours."""
    dec = read_angle(frame.get(dec_key))
    ra = frame.number(ra_key)
    if ra is None:
        ra = read_angle(frame.get(ra_key))
        in_hours = (ra is not None and abs(ra) < 24) if in_hours is None else in_hours
    if ra is None or dec is None or abs(dec) > 90:
        return None
    ra *= 15 if in_hours else 1
    return np.array([ra, dec]) if -360 <= ra <= 360 else None


def read_angle(value: object) -> float | None:
    """Read a number, or an angle in sexagesimal form with or without its letters and a letter of the compass."""
    if value is None or isinstance(value, bool):
        return None
    text = str(value).strip()
    # A small s is seconds.
    if match := re.fullmatch(r"(.*[^A-Za-z]|.*\d[dhms])([NSEWnew])|([NSEW])(.*)", text):
        text, letter = (match[1] or match[4]).strip(), (match[2] or match[3]).upper()
        number = read_angle(text)
        return None if number is None else -abs(number) if letter in "SW" else number
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return float(Angle(re.sub(r"[dh°]\s*", ":", re.sub(r"[m']\s*", ":", text.rstrip('s" '))), u.deg).deg)
    except ValueError:
        return None


def first_place(frame: Frame) -> FloatArray | None:
    """Return where it looked: good enough to tell east from west."""
    for pair in POINTINGS:
        reading = read_place(frame, *pair)
        if reading is not None:
            return directions(*np.deg2rad(reading))
    return None


def horizon(frames: Sequence[Frame]) -> Section | None:
    """Say where altitude and azimuth are."""
    for alt, az in ALTITUDES:
        values = [(f.number(alt), f.number(az)) for f in frames if f.sees_sky]
        known = [(a, b) for a, b in values if a is not None and b is not None]
        if known and all(-90 <= a <= 90 and -360 <= b <= 360 for a, b in known):
            return Section({"altaz_begin": {"alt": {"key": alt, "default": None}, "az": {"key": az, "default": None}}})
    return None
