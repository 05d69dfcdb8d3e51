"""Read the values that an instrument description asks for from a header."""

from __future__ import annotations

import contextlib
import math
import re
from typing import Any, ClassVar

import astropy.units as u
from astro_metadata_translator import MetadataTranslator
from astropy.coordinates import Angle
from astropy.time import Time

from ..errors import HeaderError
from ..raws import MergedHeader, is_unknown
from .description import InstrumentDescription
from .sources import (
    AngleSource,
    FilterSource,
    FlagSource,
    IntegerSource,
    NumberSource,
    Properties,
    SecondsSource,
    Source,
    TextSource,
    TimeSource,
    same_value,
)
from .times import digits_of_time, has_time_of_day, read_scale, read_time

_WHOLE = re.compile(r"(?<=\d)\.0*(?=\s*[:\s]\s*\d)")
"""What may follow a whole number of degrees or minutes."""


class HeaderValues(MetadataTranslator):
    """A header, and how to read it as an instrument description says.

    Each method takes a property's name and returns its value, `None` where the header has none and need not have one.
    What the header lacks or has in another form is a `HeaderError`.
    """

    description: ClassVar[InstrumentDescription]

    def _source(self, prop: str) -> Any:
        return getattr(self.description.properties, prop)

    def _error(self, prop: str, source: Source[Any], problem: str, value: Any = None) -> HeaderError:
        named = dict.fromkeys([*source.keys, *(key for rule in source.rules for key in rule.when)])
        keys = f" ({', '.join(named)})" if named else ""
        error = HeaderError(f"Property {prop} of instrument {self.description.name}{keys}: {problem}.")
        error.prop, error.value = prop, value
        return error

    def _value(self, prop: str, source: Source[Any]) -> tuple[Any, bool]:
        """Find a value, and whether it is the header's: what the description says is taken as it stands."""
        for rule in source.rules:
            if rule.fits({key: self._card(key, source) for key in rule.when}):
                return rule.value, False
        if source.value is not None:
            return source.value, False
        problem = "the header has no value" if source.keys else "none of the rules fits"
        if source.template is not None:
            found = {name: self._named(name, source) for name in source.keys}
            missing = [name for name, value in found.items() if value is None]
            if not missing:
                return self._mapped(prop, source, self._filled(prop, source, found))
            problem += f" for {', '.join(missing)}"
        else:
            for key in source.keys:
                value = self._card(key, source)
                if value is not None:
                    return self._mapped(prop, source, value)
        if isinstance(source, FilterSource) and source.default_off_sky is not None and self.to_can_see_sky() is False:
            return source.default_off_sky, False
        if source.is_optional:
            return source.default, False
        problems = getattr(self._header, "problems", {})
        problem = "; ".join(problems[key] for key in source.keys if key in problems) or problem
        raise self._error(prop, source, f"{problem}; correct the header, or give another key or a default")

    def _filled(self, prop: str, source: Source[Any], found: dict[str, Any]) -> str:
        try:
            return str(source.template).format_map(found)
        except (ValueError, TypeError, LookupError) as error:
            raise self._error(prop, source, f"{found} does not go into {source.template!r} ({error})") from None

    def _named(self, name: str, source: Source[Any]) -> Any:
        """Read what a template names: a property, or a card."""
        return getattr(self, f"to_{name}")() if name in Properties.model_fields else self._card(name, source)

    def _mapped(self, prop: str, source: Source[Any], value: Any) -> tuple[Any, bool]:
        """Look up what a header's value stands for."""
        if source.map is None:
            return value, True
        for given, meant in source.map.items():
            if same_value(value, given):
                return meant, False
        if source.is_optional:
            return source.default, False
        problem = f"{value!r} is none of the values in its map, which are {list(source.map)}"
        raise self._error(prop, source, problem, value)

    def _card(self, key: str, source: Source[Any] | None = None) -> Any:
        """Read a card, `None` if it is not there, cannot be read, or says that there is no value."""
        if isinstance(self._header, MergedHeader):
            self._header.refuse_repeated(key)
        value = self._header.get(key)
        if isinstance(value, str):
            value = value.strip()
        if value is None or (self._is_missing(value) and not self._is_name(value, source)):
            return None
        self._used_these_cards(key)
        return value

    def _is_missing(self, value: Any) -> bool:
        if isinstance(value, float) and not math.isfinite(value):
            return True
        return is_unknown(value) or any(_stands_for(value, one) for one in self.description.missing)

    def _is_name(self, value: Any, source: Source[Any] | None) -> bool:
        """Tell whether the description knows a value that otherwise says that there is none."""
        properties = self.description.properties
        names: list[Any] = [*(getattr(source, "map", None) or ())]
        for rule in () if source is None else source.rules:
            names += [pattern for patterns in rule.when.values() for pattern in patterns if pattern is not None]
        if source is properties.physical_filter:
            names += [one.name for one in self.description.filters]
        elif source is not None and source is properties.detector_name:
            names += [one.name for one in self.description.detectors]
        return any(same_value(value, name) for name in names)

    def _text(self, prop: str, source: TextSource | None = None) -> str | None:
        source = self._source(prop) if source is None else source
        value, _ = self._value(prop, source)
        return None if value is None else str(value)

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
        if prop == "exposure_id" and isinstance(value, str) and ":" in value:
            # A time, so that exposures of one second have ids of their own.
            return digits_of_time(self._read_time(prop, source, value, "isot"), milliseconds=True)
        try:
            # A text may have more digits than a float, and a day its dashes.
            number = int(value.replace("-", "") if isinstance(value, str) and prop == "observing_day" else value)
            if isinstance(value, bool) or "_" in str(value) or (not isinstance(value, str) and number != value):
                raise ValueError
        except (ValueError, TypeError):
            raise self._error(prop, source, f"expected a whole number, not {value!r}") from None
        return number * source.multiply + source.add

    def _number(self, prop: str, source: NumberSource) -> float | None:
        value, in_header = self._value(prop, source)
        return self._scaled(prop, source, value) if in_header else value

    def _scaled(self, prop: str, source: NumberSource, value: Any) -> float:
        try:
            number = _float(value)
        except (ValueError, TypeError):
            raise self._error(prop, source, f"expected a number, not {value!r}") from None
        return number * source.multiply + source.add

    def _seconds(self, prop: str) -> u.Quantity | None:
        source: SecondsSource = self._source(prop)
        number = self._number(prop, source)
        if number is not None and number < 0:
            raise self._error(prop, source, f"expected no negative number, not {number!r}")
        return None if number is None else u.Quantity(number, source.unit).to(u.s)

    def _angle(self, prop: str, source: AngleSource, text_unit: u.UnitBase = u.deg, largest: int = 360) -> Angle | None:
        value, in_header = self._value(prop, source)
        if value is None:
            return None
        unit = u.Unit(source.unit or "deg")
        if in_header and isinstance(value, str):
            # Sexagesimal, unless it is a number in quotes.
            with contextlib.suppress(ValueError):
                value = _float(value)
        if in_header and isinstance(value, str):
            try:
                # Parts of other cards may have been put together, as in 12.0:34.0:56.7.
                value = _WHOLE.sub("", value)
                value = Angle(value, unit=source.unit or text_unit).to_value(unit)
            except ValueError:
                expected = "a number or an angle such as 12:34:56.7"
                raise self._error(prop, source, f"expected {expected}, not {value!r}") from None
        number = self._scaled(prop, source, value) if in_header else value
        angle = Angle(number, unit).to(u.deg)
        # A number beyond stands for something else, and must not be wrapped.
        if abs(angle.deg) > largest * (1 + 1e-12):
            problem = f"{angle.deg} degrees is not from -{largest} to {largest}"
            raise self._error(prop, source, f"{problem}; if it stands for no value, list it under missing")
        return angle

    def _time(self, prop: str) -> Time:
        source: TimeSource = self._source(prop)
        value, _ = self._value(prop, source)
        if source.format == "isot" and not has_time_of_day(str(value)):
            value = self._with_time_of_day(source, value)
        return self._read_time(prop, source, value, source.format, source.scale)

    def _read_time(self, prop: str, source: Source, value: Any, form: str, scale: str | None = None) -> Time:
        try:
            scale = scale or read_scale(self._card("TIMESYS"))
        except ValueError as error:
            raise self._error(prop, source, f"the header's {error}; give a scale") from None
        try:
            return read_time(value, form, scale)
        except ValueError as error:
            # astropy's own messages go on for lines.
            reason = str(error).split("\n")[0]
            raise self._error(
                prop, source, f"{value!r} is not a time of format {form} and scale {scale} ({reason})"
            ) from None

    def _with_time_of_day(self, source: TimeSource, date: Any) -> Any:
        """Put a date and its time together where they are in two cards as FITS had them: DATE-OBS and TIME-OBS."""
        for key in source.key or ():
            if self._card(key) is not None:
                time = self._card(key.replace("DATE-", "TIME-"))
                return date if time in (None, date) else f"{date}T{time}"
        return date


def _float(value: Any) -> float:
    """Read a number, in a text with Fortran's exponent too; `ValueError` or `TypeError` if it is none."""
    number = float(value.upper().replace("D", "E") if isinstance(value, str) else value)
    if isinstance(value, bool) or not math.isfinite(number) or "_" in str(value):
        raise ValueError
    return number


def _stands_for(value: Any, missing: str | float) -> bool:
    """Tell whether a header's value is one that stands for none."""
    if isinstance(missing, bool):
        # YAML takes off for false, which is no number; nobody means a filter F by it.
        return isinstance(value, str) and len(value.strip()) > 1 and same_value(value, missing)
    if isinstance(value, str) and not isinstance(missing, str):
        with contextlib.suppress(ValueError):
            return _float(value) == missing
    return not isinstance(value, bool) and same_value(value, missing)
