"""Read the values that an instrument description asks for from a header."""

from __future__ import annotations

import contextlib
import math
from typing import Any, ClassVar

import astropy.units as u
from astro_metadata_translator import MetadataTranslator
from astropy.coordinates import Angle
from astropy.io.fits.card import Undefined
from astropy.time import Time

from ..errors import HeaderError
from .description import InstrumentDescription
from .sources import AngleSource, FlagSource, IntegerSource, NumberSource, SecondsSource, Source, TextSource, TimeSource


class HeaderValues(MetadataTranslator):
    """A header, and how to read it as an instrument description says.

    Each method takes a property's name and returns its value, `None` where the header has none and need not have one.
    What the header lacks or has in another form is a `HeaderError`.
    """

    description: ClassVar[InstrumentDescription]

    def _source(self, prop: str) -> Any:
        return getattr(self.description.properties, prop)

    def _error(self, prop: str, source: Source, problem: str) -> HeaderError:
        keys = f" ({', '.join(dict.fromkeys(source.keys))})" if source.keys else ""
        return HeaderError(f"Property {prop} of instrument {self.description.name}{keys}: {problem}.")

    def _value(self, prop: str, source: Source) -> tuple[Any, bool]:
        """Find a value, and whether it is the header's: a constant or a default is taken as it stands."""
        if source.value is not None:
            return source.value, False
        problem = "the header has no value"
        if source.template is not None:
            found = {key: self._card(key) for key in source.keys}
            missing = [key for key, value in found.items() if value is None]
            if not missing:
                try:
                    return source.template.format_map(found), True
                except (ValueError, TypeError, LookupError) as error:
                    raise self._error(prop, source, f"{found} does not go into {source.template!r} ({error})") from None
            problem += f" for {', '.join(missing)}"
        else:
            for key in source.keys:
                value = self._card(key)
                if value is not None:
                    return value, True
        if source.is_optional:
            return source.default, False
        raise self._error(prop, source, f"{problem}; correct the header, or give another key or a default")

    def _card(self, key: str) -> Any:
        """Read a card, `None` if it is not there or empty."""
        value = self._header.get(key)
        if isinstance(value, str):
            value = value.strip()
        if value is None or value == "" or isinstance(value, Undefined):
            return None
        if isinstance(value, float) and not math.isfinite(value):
            return None
        self._used_these_cards(key)
        return value

    def _text(self, prop: str, source: TextSource | None = None) -> str | None:
        source = self._source(prop) if source is None else source
        value, in_header = self._value(prop, source)
        if not in_header or source.map is None:
            return None if value is None else str(value)
        for given, meant in source.map.items():
            if same_value(value, given):
                return meant
        if source.is_optional:
            return source.default
        raise self._error(prop, source, f"{value!r} is none of the values in its map, which are {list(source.map)}")

    def _flag(self, prop: str, source: FlagSource) -> bool | None:
        value, _ = self._value(prop, source)
        if value is None or value in (0, 1):
            return None if value is None else bool(value)
        raise self._error(prop, source, f"expected T or F, not {value!r}")

    def _integer(self, prop: str) -> int | None:
        source: IntegerSource = self._source(prop)
        value, in_header = self._value(prop, source)
        if not in_header:
            return value
        try:
            # A text may have more digits than a float, and a day its dashes.
            number = int(value.replace("-", "") if isinstance(value, str) and prop == "observing_day" else value)
            if isinstance(value, bool) or (not isinstance(value, str) and number != value):
                raise ValueError
        except ValueError:
            raise self._error(prop, source, f"expected a whole number, not {value!r}") from None
        return number * source.multiply + source.add

    def _number(self, prop: str, source: NumberSource) -> float | None:
        value, in_header = self._value(prop, source)
        return self._scaled(prop, source, value) if in_header else value

    def _scaled(self, prop: str, source: NumberSource, value: Any) -> float:
        try:
            number = float(value)
            if isinstance(value, bool) or not math.isfinite(number):
                raise ValueError
        except ValueError:
            raise self._error(prop, source, f"expected a number, not {value!r}") from None
        return number * source.multiply + source.add

    def _seconds(self, prop: str) -> u.Quantity | None:
        source: SecondsSource = self._source(prop)
        number = self._number(prop, source)
        if number is not None and number < 0:
            raise self._error(prop, source, f"expected no negative number, not {number!r}")
        return None if number is None else u.Quantity(number, source.unit).to(u.s)

    def _angle(self, prop: str, source: AngleSource, text_unit: u.UnitBase = u.deg) -> Angle | None:
        value, in_header = self._value(prop, source)
        if value is None:
            return None
        unit = u.Unit(source.unit or "deg")
        if in_header and isinstance(value, str):
            # Sexagesimal, unless it is a number in quotes.
            with contextlib.suppress(ValueError):
                value = float(value)
        if in_header and isinstance(value, str):
            try:
                value = Angle(value, unit=source.unit or text_unit).to_value(unit)
            except ValueError:
                expected = "a number or an angle such as 12:34:56.7"
                raise self._error(prop, source, f"expected {expected}, not {value!r}") from None
        number = self._scaled(prop, source, value) if in_header else value
        return Angle(number, unit).to(u.deg)

    def _time(self, prop: str) -> Time:
        source: TimeSource = self._source(prop)
        value, _ = self._value(prop, source)
        scale = source.scale or str(self._card("TIMESYS") or "utc").lower()
        if scale not in Time.SCALES:
            raise self._error(prop, source, f"the header's TIMESYS {scale!r} is no time scale; give a scale")
        try:
            if source.format != "isot":
                return Time(float(value), format=source.format, scale=scale)
            text = str(value).replace(" ", "T", 1)
            if "T" not in text:
                raise ValueError("there is no time of day; put date and time together with a template")
            return Time(text.removesuffix("Z"), format="isot", scale=scale)
        except ValueError as error:
            # astropy's own messages go on for lines.
            reason = str(error).split("\n")[0]
            raise self._error(
                prop, source, f"{value!r} is no time of format {source.format} and scale {scale} ({reason})"
            ) from None


def same_value(given: Any, expected: Any) -> bool:
    """Compare values of a header."""
    if isinstance(given, str) or isinstance(expected, str):
        return str(given).strip().casefold() == str(expected).strip().casefold()
    return bool(given == expected)
