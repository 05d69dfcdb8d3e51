"""The primary WCS of a header, read card by card, checked, and written in the one form that wcslib gets.

wcslib takes a text for zero, the elements of one matrix for those of another, and the texts of alternate WCSs for more
memory than it has. So it never sees the header itself.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import astropy.units as u
import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from ..geometry import FloatArray, directions
from .cards import card_text
from .frames import is_unknown
from .iraf_wat import Correction, IrafTerms, read_wat

_TEXTS = re.compile(r"(?:CTYPE|CUNIT|CPDIS|CQDIS)[12]|WAT[12]_\d{3}")
_MATRIX = re.compile(r"(CD|PC)(?:([12])_([12])|00([12])00([12]))")
_OPTIONAL = re.compile(r"(?:CROTA|CDELT)[12]|LONPOLE|LATPOLE")
_ANGLES = re.compile(r"CROTA[12]|LONPOLE")
_NUMBERS = re.compile(r"(?:CRVAL|CRPIX)[12]|PV[12]_\d{1,2}|[AB]_(?:ORDER|\d_\d)")
_CTYPE = re.compile(r"([A-Z]{2,4})-+([A-Z]{3})(-[A-Z]{3})?")

_PROJECTIONS = re.compile(
    "AZP|SZP|TAN|STG|SIN|ARC|ZPN|ZEA|AIR|CYP|CEA|CAR|MER|SFL|PAR|MOL|AIT|COP|COE|COD|COO|BON|PCO|TSC|CSC|QSC|HPX|XPH|"
    "TPV|TNX|ZPX"
)
"""Those that wcslib computes from numbers alone, and IRAF's. TAB, which it takes too, needs tables."""

_SAME = 0.02
"""Matrices that differ less, relative to their largest element, do not contradict each other."""

_LARGEST_SIP = 9


@dataclass(frozen=True, eq=False)
class PrimaryWcs:
    """The celestial WCS of an image: what wcslib is given, and what there is to say of it."""

    header: fits.Header
    """Degrees and a CD matrix, whatever the header has."""
    without_constants: fits.Header
    """The same, without what moves the reference point: PVi_0, A_0_0, B_0_0."""
    corrections: tuple[Correction | None, Correction | None]
    """What IRAF's projections add on the projected plane; not in the headers."""
    longitude: int
    """Index of the axis of the longitude, 0 or 1."""
    longitude_kind: str
    """What CTYPE calls it, such as RA or GLON."""
    keys: str
    """Which keywords say how pixels lie on the sky, for messages."""
    notes: tuple[str, ...]
    """What was decided where the header contradicts itself."""

    @property
    def reference(self) -> tuple[FloatArray, FloatArray]:
        """CRPIX, pixels from 1, and CRVAL, degrees, both (2,) in the order of the axes."""
        pixel, value = ([self.header[f"{key}{axis}"] for axis in (1, 2)] for key in ("CRPIX", "CRVAL"))
        return np.array(pixel), np.array(value)

    @property
    def matrix(self) -> FloatArray:
        """From pixels to the projected plane, degrees, (2, 2)."""
        return np.array([[self.header[f"CD{i}_{j}"] for j in (1, 2)] for i in (1, 2)])

    def corrected(self, image: FloatArray) -> FloatArray:
        """Move an image's pixels (K, 2), from 0, to where they would be without IRAF's corrections."""
        if not any(self.corrections):
            return image
        plane = (image + 1 - self.reference[0]) @ self.matrix.T
        added = [np.zeros(len(plane)) if correction is None else correction(plane) for correction in self.corrections]
        return image + np.linalg.solve(self.matrix, np.stack(added)).T


def celestial_axes(header: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the kinds of the first two axes, such as RA and DEC, if a header says that they are on the sky."""
    kinds = tuple(str(header.get(f"CTYPE{axis}", "")).strip().upper().split("-")[0] for axis in (1, 2))
    both = set(kinds)
    pairs = both == {"RA", "DEC"} or any(both == {f"{p}LON", f"{p}LAT"} for p in "GEHST")
    return (kinds[0], kinds[1]) if pairs else None


def read_primary_wcs(header: fits.Header) -> PrimaryWcs:
    """Read the primary WCS of a header.

    Raises `ValueError` with the keyword that is wrong.
    """
    notes: list[str] = []
    texts, numbers = _read_cards(header, notes)
    kinds = celestial_axes(texts)
    if kinds is None:
        raise ValueError(f"CTYPE1 {texts.get('CTYPE1')!r} and CTYPE2 {texts.get('CTYPE2')!r} are not a sky position")
    lon = 0 if kinds[0].endswith(("RA", "LON")) else 1
    for key in ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2"):
        if key not in numbers:
            raise ValueError(f"there is no {key}")
    code, has_sip_suffix = _projection(texts)
    factors = [_degrees(texts, axis) for axis in (1, 2)]
    values = [numbers[f"CRVAL{axis}"] * factor for axis, factor in zip((1, 2), factors, strict=True)]
    if abs(values[lon]) > 360 or abs(values[1 - lon]) > 90:
        axis = 1 + lon if abs(values[lon]) > 360 else 2 - lon
        raise ValueError(f"CRVAL{axis} is {numbers[f'CRVAL{axis}']!r}, which is not on the sphere")
    matrix, matrix_keys = _matrix(numbers, lon, notes)
    matrix = matrix * np.array(factors)[:, None]
    if np.linalg.det(matrix) == 0:
        raise ValueError(f"the matrix of {matrix_keys} is singular")
    corrections: tuple[Correction | None, Correction | None] = (None, None)
    if code in ("TNX", "ZPX"):
        first, second = read_wat(texts, 1), read_wat(texts, 2)
        corrections = first.correction, second.correction
        code, terms = _iraf(code, [first, second], numbers, lon, notes)
    else:
        code, terms = _distortion(code, has_sip_suffix, numbers, texts, lon, notes)

    clean = fits.Header()
    is_sip = "A_ORDER" in terms
    for axis, kind in enumerate(kinds, start=1):
        clean[f"CTYPE{axis}"] = f"{kind:-<4}-{code}{'-SIP' if is_sip else ''}"
        clean[f"CUNIT{axis}"] = "deg"
        clean[f"CRVAL{axis}"] = values[axis - 1]
        clean[f"CRPIX{axis}"] = numbers[f"CRPIX{axis}"]
        for column in (1, 2):
            clean[f"CD{axis}_{column}"] = float(matrix[axis - 1, column - 1])
    for key in ("LONPOLE", "LATPOLE"):
        if key in numbers:
            clean[key] = numbers[key]
    clean.update(terms)
    constants = [key for key in ("PV1_0", "PV2_0", "A_0_0", "B_0_0") if terms.get(key)]
    central = clean
    if constants:
        central = clean.copy()
        central.update(dict.fromkeys(constants, 0.0))
    keys = ", ".join([matrix_keys, *(key for key in ("PV1_1", "PV2_1", "A_ORDER") if key in terms)])
    return PrimaryWcs(clean, central, corrections, lon, kinds[lon], keys, tuple(notes))


def image_centre(header: fits.Header, size: tuple[int, int]) -> tuple[FloatArray, float]:
    """Find where the middle of an image is, a unit vector, and the mean of its sides (radians), by its WCS.

    Raises `ValueError` with the keyword that is wrong. Of what is not equatorial it is in the frame of the WCS.
    """
    primary = read_primary_wcs(header)
    world = np.deg2rad(WCS(primary.header, naxis=2).all_pix2world([(np.array(size) + 1) / 2], 1)[0])
    scale = np.deg2rad(np.sqrt(abs(np.linalg.det(primary.matrix))))
    side = float(scale * np.sqrt(size[0] * size[1]))
    return directions(world[primary.longitude], world[1 - primary.longitude]), side


def _read_cards(header: fits.Header, notes: list[str]) -> tuple[dict[str, str], dict[str, float]]:
    """Read the cards of the primary WCS; texts stripped, numbers finite."""
    texts: dict[str, str] = {}
    numbers: dict[str, float] = {}
    places: dict[str, int] = {}
    elements: dict[str, str] = {}
    for place, keyword in enumerate(header):
        is_text, is_optional = _TEXTS.fullmatch(keyword), _OPTIONAL.fullmatch(keyword)
        matrix = _MATRIX.fullmatch(keyword)
        if not (is_text or is_optional or matrix or _NUMBERS.fullmatch(keyword)):
            continue
        try:
            value = header[place]
        except fits.VerifyError:
            raise ValueError(f"card {keyword} cannot be read: {card_text(header.cards[place])!r}") from None
        if keyword in places:
            if value != header[places[keyword]]:
                notes.append(f"{keyword} is there twice, with different values; the first one counts")
            continue
        places[keyword] = place
        if is_text:
            if not is_unknown(value):
                texts[keyword] = str(value).rstrip() if keyword.startswith("WAT") else str(value).strip().upper()
        elif not (is_optional and is_unknown(value)):
            number = _number(keyword, value)
            if matrix:
                element = f"{matrix[1]}{matrix[2] or matrix[4]}_{matrix[3] or matrix[5]}"
                first = elements.setdefault(element, keyword)
                if numbers.setdefault(element, number) != number:
                    notes.append(f"{first} and {keyword} are different; the first one counts")
                continue
            numbers[keyword] = number
            if _ANGLES.fullmatch(keyword) and abs(numbers[keyword]) > 360:
                raise ValueError(f"{keyword} is {value!r}, not an angle from -360 to 360 degrees")
    return texts, numbers


def _number(key: str, value: Any) -> float:
    number = math.nan
    if isinstance(value, str):
        # A number in quotes, perhaps with Fortran's exponent.
        with contextlib.suppress(ValueError):
            number = float(value.strip().upper().replace("D", "E"))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{key} is {value!r}, not a number")
    return number


def _projection(texts: Mapping[str, str]) -> tuple[str, bool]:
    """Return the code of the projection, and whether SIP is announced."""
    found = []
    for axis in (1, 2):
        text = texts[f"CTYPE{axis}"]
        match = _CTYPE.fullmatch(text)
        if match is None or (match[3] and match[3] not in ("-SIP", "-TPV")):
            raise ValueError(f"CTYPE{axis} is {text!r}; expected a projection such as RA---TAN or DEC--TAN")
        found.append(("TPV" if match[3] == "-TPV" else match[2], match[3] == "-SIP"))
    if found[0][0] != found[1][0]:
        raise ValueError(f"CTYPE1 {texts['CTYPE1']!r} and CTYPE2 {texts['CTYPE2']!r} have different projections")
    if not _PROJECTIONS.fullmatch(found[0][0]):
        raise ValueError(f"CTYPE1 is {texts['CTYPE1']!r}, a projection that is not known")
    return found[0][0], found[0][1] or found[1][1]


def _degrees(texts: Mapping[str, str], axis: int) -> float:
    """Return the degrees of an axis's unit."""
    text = texts.get(f"CUNIT{axis}", "deg").lower()
    try:
        return float(u.Unit({"degrees": "deg", "degree": "deg"}.get(text, text)).to(u.deg))
    except (ValueError, TypeError, u.UnitConversionError):
        raise ValueError(f"CUNIT{axis} is {texts[f'CUNIT{axis}']!r}; expected deg") from None


def _matrix(numbers: Mapping[str, float], lon: int, notes: list[str]) -> tuple[FloatArray, str]:
    """Find the matrix from pixels to the projected plane (2, 2), in the axes' units, and the keywords that gave it.

    CD is taken before PC with CDELT, and that before CROTA with CDELT.
    """
    steps = [numbers.get(f"CDELT{axis}") for axis in (1, 2)]
    has = {kind: any(f"{kind}{i}_{j}" in numbers for i in (1, 2) for j in (1, 2)) for kind in ("CD", "PC")}

    def elements(kind: str, missing: FloatArray) -> FloatArray:
        return np.array([[numbers.get(f"{kind}{i}_{j}", missing[i - 1, j - 1]) for j in (1, 2)] for i in (1, 2)])

    found: list[tuple[FloatArray, str]] = []
    if has["CD"]:
        found.append((elements("CD", np.zeros((2, 2))), "CD1_1, CD1_2, CD2_1, CD2_2"))
    if has["PC"]:
        if not has["CD"] and (steps[0] is None) != (steps[1] is None):
            given = 1 if steps[1] is None else 2
            raise ValueError(f"there is CDELT{given}, and no CDELT{3 - given}")
        # FITS's own value of CDELT is 1.
        own = np.array([1.0 if step is None else step for step in steps])
        found.append((own[:, None] * elements("PC", np.eye(2)), "PC1_1, PC1_2, PC2_1, PC2_2, CDELT1, CDELT2"))
    if None not in steps:
        turn = _rotation(numbers, lon, notes, is_used=not found)
        if turn is not None:
            x, y = float(steps[0] or 0.0), float(steps[1] or 0.0)
            cos, sin = math.cos(turn), math.sin(turn) * (1 if lon == 0 else -1)
            found.append((np.array([[x * cos, -y * sin], [x * sin, y * cos]]), "CDELT1, CDELT2"))
    if not found:
        raise ValueError("there is no CD matrix, nor CDELT1 and CDELT2")
    matrix, keys = found[0]
    for other, others in found[1:]:
        # PC without CROTA, which FITS forbids beside it, is no contradiction.
        if (others == "CDELT1, CDELT2" and has["PC"] and not _turns(numbers)) or not np.abs(
            other - matrix
        ).max() > _SAME * np.abs(matrix).max():
            continue
        notes.append(f"{keys} and {others} contradict each other; {keys.split('1_')[0]} counts")
        break
    return matrix, keys


def _turns(numbers: Mapping[str, float]) -> bool:
    return any(numbers.get(f"CROTA{axis}") for axis in (1, 2))


def _rotation(numbers: Mapping[str, float], lon: int, notes: list[str], *, is_used: bool) -> float | None:
    """Return the rotation that CROTA gives, radians; `None` if it is not clear and nobody needs it."""
    ours, other = f"CROTA{2 - lon}", f"CROTA{1 + lon}"
    turn, beside = numbers.get(ours, 0.0), numbers.get(other, 0.0)
    if beside and not turn:
        if is_used:
            raise ValueError(
                f"{other} is {beside:g}, and {ours}, which is the latitude axis's and counts, is "
                f"{'0' if ours in numbers else 'missing'}"
            )
        return None
    if is_used and beside and abs((beside - turn + 180) % 360 - 180) > 1:
        notes.append(f"{other} is {beside:g} and {ours} {turn:g}; {ours} counts, which is the latitude axis's")
    return math.radians(turn)


def _distortion(
    code: str,
    has_sip_suffix: bool,
    numbers: Mapping[str, float],
    texts: Mapping[str, str],
    lon: int,
    notes: list[str],
) -> tuple[str, dict[str, Any]]:
    """Decide which distortion counts, and return the projection's code and the cards of its terms."""
    pv = {key: value for key, value in numbers.items() if key.startswith("PV")}
    sip = {key: value for key, value in numbers.items() if re.match(r"[AB]_\d", key)}
    orders = [numbers.get(f"{letter}_ORDER") for letter in "AB"]
    for key in [key for key in texts if key.startswith(("CPDIS", "CQDIS"))]:
        # Tables beside the image correct fractions of a pixel; of other kinds nobody knows.
        if texts[key] != "LOOKUP":
            raise ValueError(f"{key} is {texts[key]!r}, a distortion that is not known")
        notes.append(f"the table of {key} is not used")
    if None not in orders and max(order or 0 for order in orders) < 1:
        # Such orders say that there is no distortion.
        sip = {}
    elif has_sip_suffix and not sip:
        notes.append("CTYPE says SIP, and there are no terms such as A_2_0")
    is_tpv = code == "TPV" or (code == "TAN" and _is_scamp(pv, lon))
    if sip and is_tpv:
        notes.append(
            "there are terms of SIP (A_2_0, ...) and of TPV (PV1_1, ...); "
            + ("CTYPE says TPV, which is used" if code == "TPV" else "SIP is used")
        )
    if sip and code != "TPV":
        return code, _sip(sip, orders, notes) | ({} if code == "TAN" else pv)
    return ("TPV", _tpv(pv)) if is_tpv else (code, pv)


def _is_scamp(pv: Mapping[str, float], lon: int) -> bool:
    """Tell whether the PV cards of a TAN projection are distortion terms, as SCAMP writes them.

    FITS has none for the latitude axis, and for the other one PVi_1 and PVi_2 are the reference point, 0 and 90.
    """
    if not any(pv.values()):
        # As terms of a distortion they would put everything at one point.
        return False
    own, other = f"PV{1 + lon}_", f"PV{2 - lon}_"
    terms = {int(key[4:]) for key in pv if key.startswith(own)}
    at_the_pole = pv.get(f"{own}1", 0.0) == 0 and pv.get(f"{own}2", 90.0) == 90
    return any(key.startswith(other) for key in pv) or max(terms, default=0) > 4 or (bool(terms) and not at_the_pole)


def _tpv(pv: Mapping[str, float]) -> dict[str, float]:
    """Complete the terms of TPV: those of the first order are 1 where they are missing, which wcslib does not know."""
    if wrong := [key for key in pv if int(key[4:]) > 39]:
        raise ValueError(f"{wrong[0]} is not a term of TPV")
    return {"PV1_1": 1.0, "PV2_1": 1.0, **pv}


def _sip(sip: Mapping[str, float], orders: list[float | None], notes: list[str]) -> dict[str, Any]:
    """Complete the terms of SIP, which astropy passes over if an order is missing or 1."""
    result: dict[str, Any] = dict(sip)
    for letter, order in zip("AB", orders, strict=True):
        terms = [int(key[2]) + int(key[4]) for key in sip if key[0] == letter]
        highest = max(terms, default=0)
        if order is None:
            if terms:
                notes.append(f"there is no {letter}_ORDER; all terms such as {letter}_2_0 are used")
            order = highest
        elif not (order == int(order) and 0 <= order <= _LARGEST_SIP):
            raise ValueError(f"{letter}_ORDER is {order:g}; expected a whole number up to {_LARGEST_SIP}")
        elif highest > order:
            notes.append(f"{letter}_ORDER is {order:g}; terms beyond it are not used")
            result = {k: v for k, v in result.items() if k[0] != letter or int(k[2]) + int(k[4]) <= order}
        result[f"{letter}_ORDER"] = max(int(order), 2)
    return result


def _iraf(
    code: str, axes: Sequence[IrafTerms], numbers: Mapping[str, float], lon: int, notes: list[str]
) -> tuple[str, dict[str, Any]]:
    """Without its correction, TNX is TAN and ZPX is ZPN."""
    if code == "TNX":
        if all(axis.correction is None for axis in axes):
            notes.append("CTYPE says TNX, and there are no terms in WAT cards; no distortion is used")
        return "TAN", {}
    projection = axes[1 - lon].projection or axes[lon].projection
    if projection:
        return "ZPN", {f"PV{2 - lon}_{m}": value for m, value in projection.items()}
    return "ZPN", {key: value for key, value in numbers.items() if key.startswith("PV")}
