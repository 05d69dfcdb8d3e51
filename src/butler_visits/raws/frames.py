"""In which frame a header's places on the sky are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from astropy.coordinates import (
    FK4,
    FK5,
    ICRS,
    BarycentricMeanEcliptic,
    BaseCoordinateFrame,
    FK4NoETerms,
    Galactic,
    Supergalactic,
)
from astropy.io.fits.card import Undefined
from astropy.time import Time

_UNKNOWN = re.compile(
    r"N/A|N\.A\.?|NA|[+-]?NAN|NONE|NULL|NIL|INDEF|UNDEF|UNDEFINED|UNKNOWN|UNSPECIFIED|"
    r"NOT (AVAILABLE|APPLICABLE|SET|KNOWN)|[\s#?*_.:/-]*"
)
"""What programs write that know no value, in upper case: words, and forms without digits such as ##:##:##."""

_SYSTEMS = {
    "ICRS": "ICRS",
    "ICRF": "ICRS",
    "ICRF2": "ICRS",
    "ICRF3": "ICRS",
    "FK5": "FK5",
    "FK5J2000": "FK5",
    "FK52000": "FK5",
    "J2000": "FK5",
    "FK4": "FK4",
    "FK4B1950": "FK4",
    "FK41950": "FK4",
    "B1950": "FK4",
    "FK4NOE": "FK4-NO-E",
}
"""What programs write for RADESYS, in upper case, without punctuation, and without .0 at the end."""

_EQUINOX = re.compile(r"([JB]?)\s*(\d+(?:\.\d*)?)")


def is_unknown(value: Any) -> bool:
    """Tell whether a card is missing, empty, or says that it is unknown."""
    if isinstance(value, str):
        return _UNKNOWN.fullmatch(value.strip().upper()) is not None
    return value is None or isinstance(value, Undefined)


def celestial_frame(longitude: str, header: Mapping[str, Any]) -> BaseCoordinateFrame:
    """Find the frame of a WCS from the kind of its longitude, such as RA or GLON.

    Raises `ValueError` with the keyword if there is no such frame.
    """
    if longitude in ("GLON", "SLON"):
        return Galactic() if longitude == "GLON" else Supergalactic()
    if longitude == "RA":
        return equatorial_frame(header)
    if longitude != "ELON":
        raise ValueError(f"CTYPE is {longitude}, which is not a celestial coordinate; expected RA, GLON, ELON or SLON")
    frame = equatorial_frame(header)
    if isinstance(frame, FK5):
        return BarycentricMeanEcliptic(equinox=frame.equinox)
    if not isinstance(frame, ICRS):
        raise ValueError("CTYPE is ELON with an equinox of FK4; expected RADESYS ICRS or FK5")
    return BarycentricMeanEcliptic(equinox="J2000")


def equatorial_frame(header: Mapping[str, Any]) -> BaseCoordinateFrame:
    """Find the frame that RADESYS and EQUINOX give, by FITS's rules where one of them is missing.

    Raises `ValueError` with the keyword if there is no such frame.
    """
    key, system = _first(header, "RADESYS", "RADECSYS")
    if system is not None:
        short = re.sub(r"[^A-Z0-9.]", "", str(system).upper()).removesuffix(".0").replace(".", "")
        if short not in _SYSTEMS:
            raise ValueError(f"{key} is {system!r}; expected ICRS, FK5 or FK4")
        system = _SYSTEMS[short]
    key, equinox = _first(header, "EQUINOX", "EPOCH")
    letter, year = ("", 0.0) if equinox is None or system == "ICRS" else read_equinox(key, equinox)
    if system is None:
        system = "ICRS" if not year else "FK4" if letter == "B" or (year < 1984 and letter != "J") else "FK5"
    if system == "ICRS":
        return ICRS()
    is_fk5 = system == "FK5"
    years = {"J": "jyear", "B": "byear", "": "jyear" if is_fk5 else "byear"}[letter]
    at = Time(year, format=years, scale="tt") if year else Time("J2000" if is_fk5 else "B1950")
    return FK5(equinox=at) if is_fk5 else FK4(equinox=at) if system == "FK4" else FK4NoETerms(equinox=at)


def read_equinox(key: str, value: Any) -> tuple[str, float]:
    """Understand an equinox: J, B or nothing, and a year; 0 is what programs write that know none.

    Raises `ValueError` with the keyword if it is none.
    """
    match = _EQUINOX.fullmatch(str(value).strip().upper())
    if isinstance(value, bool) or match is None:
        raise ValueError(f"{key} is {value!r}; expected a year such as 2000.0")
    if (year := float(match[2])) and not 1800 <= year <= 2100:
        raise ValueError(f"{key} is {value!r}; expected a year from 1800 to 2100")
    return match[1], year


def _first(header: Mapping[str, Any], *keys: str) -> tuple[str, Any]:
    """Return the first keyword with a value, and the value."""
    return next(((key, header[key]) for key in keys if not is_unknown(header.get(key))), (keys[0], None))
