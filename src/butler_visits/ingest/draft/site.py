"""What a draft says of the site: where the telescope stands, and when its days begin."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from ...geometry import FloatArray, axes, directions
from ...raws import angle_between
from .frames import Frame, Section
from .pointing import ALTITUDES, first_place, read_angle

_PLACES = (
    ("SITELAT", "SITELONG"),
    ("LAT-OBS", "LONG-OBS"),
    ("OBSLAT", "OBSLONG"),
    ("SITE-LAT", "SITE-LON"),
    ("SITELAT", "SITELON"),
    ("OBSGEO-B", "OBSGEO-L"),
    ("LATITUDE", "LONGITUD"),
    ("GEOLAT", "GEOLON"),
)
_HEIGHTS = ("SITEELEV", "SITEALT", "ALT-OBS", "OBSALT", "OBSELEV", "SITE-ELE", "OBSGEO-H", "ELEVATIO", "GEOELEV")

_WEST_IS_POSITIVE = re.compile(r"west\w*\W+(is\W+)?(positive|\+)|(positive|\+)\W*(to\W+the\W+)?west")
"""What a comment says of a longitude."""

_SAME_PLACE = 8.0
"""Degrees by which a place above the horizon may differ."""


def site(frames: Sequence[Frame]) -> list[Section]:
    """Say where the telescope stands, and when its days begin."""
    found = None
    for lat_key, lon_key in _PLACES:
        places = [(f, read_angle(f.get(lat_key)), read_angle(f.get(lon_key))) for f in frames]
        known = [(f, lat, lon) for f, lat, lon in places if lat is not None and lon is not None and (lat or lon)]
        if known and abs(known[0][1]) <= 90 and -180 <= known[0][2] <= 360:
            found = (lat_key, lon_key, known)
            break
    if found is None:
        return [_day(frames, None)]
    lat_key, lon_key, known = found
    lat, lon = known[0][1:]
    said, check = [f"From {lat_key} and {lon_key}, degrees, east positive; height in metres."], []
    if max(abs(b - lat) + abs((c - lon + 180) % 360 - 180) for _, b, c in known) > 0.1:
        check.append(f"{lat_key} and {lon_key} differ from file to file; those of {known[0][0]} are taken.")
    if _WEST_IS_POSITIVE.search(known[0][0].comment(lon_key)):
        lon = -lon
        said.append(f"{lon_key} counts to the west, as its comment says, so its sign was changed.")
    wrong = _night_problem(frames, lat, lon)
    if wrong and lon % 180 and not _night_problem(frames, lat, -lon):
        lon = -lon
        check.append(f"{lon_key} counts to the west, it seems: else {wrong}. Its sign was changed.")
    elif wrong:
        check.append(f"By {lat_key}, {lon_key} and the time, taken for UTC, {wrong}.")
    elif not _is_known_by_night(frames, lat, lon):
        said.append(f"Nothing in the headers confirms that {lon_key} is positive to the east.")
    height = next((n for key in _HEIGHTS for f in frames if (n := f.number(key)) is not None), 0.0)
    place = {"longitude": round((lon + 180) % 360 - 180, 6), "latitude": round(lat, 6), "height": height}
    return [Section({"location": place}, said, check), _day(frames, lon)]


def _day(frames: Sequence[Frame], longitude: float | None) -> Section:
    """Say when an observing day begins: at noon."""
    if longitude is not None:
        noon = 12 - ((longitude + 180) % 360 - 180) / 15
        said = "An observing day begins at noon, so many hours after midnight TAI."
    else:
        begins = np.array([f.begin.unix for f in frames if f.begin is not None and f.sees_sky]) / 86400 * 2 * math.pi
        if not len(begins):
            return Section(
                {"day_obs_offset_hours": 0}, check=["Nothing says when it is noon there: days begin at 0:00."]
            )
        middle = math.atan2(np.sin(begins).mean(), np.cos(begins).mean()) / (2 * math.pi) * 24
        noon = (middle + 12) % 24
        said = (
            "No header says where the telescope is. An observing day begins 12 hours from the middle of these frames."
        )
    return Section({"day_obs_offset_hours": round(noon)}, [said])


def _night_problem(frames: Sequence[Frame], lat: float, lon: float) -> str:
    """Say what cannot be, if the telescope were there."""
    for frame in frames:
        if frame.kind != "science" or frame.begin is None:
            continue
        if (said := _horizon_by_header(frame)) is not None and (place := first_place(frame)) is not None:
            expected = _horizon(frame, place, lat, lon)
            # An altitude alone does not tell east from west.
            away = abs(expected[0] - said[0])
            if said[1] is not None:
                both = np.deg2rad([(expected[1], expected[0]), (said[1], said[0])])
                away = math.degrees(float(angle_between(*directions(both[:, 0], both[:, 1]))))
            if away > _SAME_PLACE:
                return (
                    f"the target of {frame} is at altitude {expected[0]:.0f}, azimuth {expected[1]:.0f}, and at "
                    f"{' and '.join(f'{one:.0f}' for one in said if one is not None)} by its header"
                )
        elif (sun := _horizon(frame, _sun(frame), lat, lon)[0]) > 0:
            return f"the Sun is up in {frame}, {sun:.0f} degrees high"
    return ""


def _is_known_by_night(frames: Sequence[Frame], lat: float, lon: float) -> bool:
    """Tell whether the opposite longitude cannot be."""
    return lon % 180 == 0 or bool(_night_problem(frames, lat, -lon))


def _horizon_by_header(frame: Frame) -> tuple[float, float | None] | None:
    for alt, az in ALTITUDES:
        if (altitude := frame.number(alt)) is not None and 0 < altitude <= 90:
            return altitude, frame.number(az)
    return None


def _horizon(frame: Frame, place: FloatArray, lat: float, lon: float) -> tuple[float, float]:
    """Return altitude and azimuth of a direction, degrees, to a degree."""
    assert frame.begin is not None
    sidereal = math.radians(280.46062 + 360.98564737 * (frame.begin.utc.jd - 2451545) + lon)
    zenith = directions(sidereal, math.radians(lat))
    east, north = axes(sidereal, math.radians(lat))
    altitude = math.asin(np.clip(place @ zenith, -1, 1))
    return math.degrees(altitude), math.degrees(math.atan2(place @ east, place @ north)) % 360


def _sun(frame: Frame) -> FloatArray:
    """Return the direction to the Sun, to a degree (Astronomical Almanac, low precision)."""
    assert frame.begin is not None
    days = frame.begin.utc.jd - 2451545
    mean = math.radians(357.528 + 0.9856003 * days)
    longitude = math.radians(280.46 + 0.9856474 * days + 1.915 * math.sin(mean) + 0.02 * math.sin(2 * mean))
    tilt = math.radians(23.439)
    return np.array([math.cos(longitude), math.cos(tilt) * math.sin(longitude), math.sin(tilt) * math.sin(longitude)])
