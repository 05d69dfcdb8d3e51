"""Where an instrument description takes the properties of an observation from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from string import Formatter
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

import astropy.units as u
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationInfo,
    field_validator,
    model_validator,
)

_V = TypeVar("_V")

Keys = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value), Field(min_length=1)
]


def _as_tuple(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else (value,)


def template_keys(template: str) -> list[str]:
    """List the header keys and properties of a template."""
    return [key for _, key, _, _ in Formatter().parse(template) if key is not None]


_WORDS = {True: ("true", "t", "yes", "on"), False: ("false", "f", "no", "off")}
"""What YAML and FITS take for logical values."""


def same_value(given: Any, expected: Any) -> bool:
    """Compare a header's value with an expected one: texts in any case, logical values with T and true too."""
    if isinstance(given, str) and isinstance(expected, bool):
        return given.strip().casefold() in _WORDS[expected]
    if isinstance(given, bool) and isinstance(expected, str):
        return expected.strip().casefold() in _WORDS[given][:2]
    if isinstance(given, (int, float)) and isinstance(expected, str):
        try:
            return float(expected) == given
        except ValueError:
            return False
    if isinstance(given, str) or isinstance(expected, str):
        return str(given).strip().casefold() == str(expected).strip().casefold()
    return bool(given == expected)


def _text_keys(given: Any) -> Any:
    """Write the keys of a map as texts, as which JSON stores them, and refuse those that mean the same."""
    if not isinstance(given, Mapping):
        return given
    texts = {str(key)[0] if isinstance(key, bool) else str(key): value for key, value in given.items()}
    (key, count), *_ = Counter(text.strip().casefold() for text in texts).most_common(1) or [("", 0)]
    if count > 1 or len(texts) < len(given):
        raise ValueError(f"has the key {key!r} more than once; upper and lower case are the same")
    return texts


def _no_flag(given: Any) -> Any:
    # true would be 1.
    if isinstance(given, bool):
        raise ValueError(f"must be a number, not {given!r}")
    return given


_Number = Annotated[float, BeforeValidator(_no_flag)]
_WholeNumber = Annotated[int, BeforeValidator(_no_flag)]


class Model(BaseModel):
    """Base of the description's parts: what they do not name is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _number_is_no_flag(cls, given: Any, info: ValidationInfo) -> Any:
        is_number = cls.model_fields[str(info.field_name)].annotation in (int, float)
        return _no_flag(given) if is_number else given


_Patterns = Annotated[tuple[str | int | float | bool | None, ...], BeforeValidator(_as_tuple)]


class _Rule(Model, Generic[_V]):
    """A value for headers that fit."""

    when: dict[str, _Patterns] = Field(min_length=1)
    """Header keys, which all must fit: values, or patterns with ``*`` and ``?``; `None` is no value."""
    value: _V

    def fits(self, cards: Mapping[str, Any]) -> bool:
        """Tell whether the values of its keys fit."""
        return all(any(_fits(cards[key], one) for one in patterns) for key, patterns in self.when.items())


def _fits(value: Any, pattern: str | float | None) -> bool:
    if value is None or pattern is None:
        return value is pattern
    if not isinstance(pattern, str) or not set(pattern) & set("*?"):
        return same_value(value, pattern)
    parts = (".*" if part == "*" else "." if part == "?" else re.escape(part) for part in pattern.strip())
    return re.fullmatch("".join(parts), str(value).strip(), re.IGNORECASE | re.DOTALL) is not None


class Source(Model, Generic[_V]):
    """A value from the header or a constant: one of ``key``, ``template`` and ``value``, or of ``rules`` before them.

    Written as a text alone, it is a ``key``.
    """

    key: Keys | None = None
    """Header key, or several, of which the first that is there and has a value counts."""
    template: str | None = None
    """Text with header keys and properties in braces, such as ``{DATE-OBS}T{UT}``."""
    value: _V | None = None
    """Constant."""
    default: _V | None = None
    """What is taken where the header has no value; `None` leaves the property empty. Without it that is an error."""
    map: Annotated[dict[str, _V], BeforeValidator(_text_keys)] | None = None
    """What values of the header stand for, in any case; others are an error, or the ``default`` if there is one."""
    rules: tuple[_Rule[_V], ...] = ()
    """The first that fits counts; if none does, the rest does."""

    @model_validator(mode="before")
    @classmethod
    def _key_alone(cls, data: Any) -> Any:
        if isinstance(data, str):
            return {"key": data}
        if not isinstance(data, (Mapping, Source)):
            raise ValueError(f"must be a header key, or a mapping of {', '.join(cls.model_fields)}")
        return data

    @field_validator("template")
    @classmethod
    def _template_has_keys(cls, template: str | None) -> str | None:
        if template is None:
            return None
        try:
            keys = template_keys(template)
        except ValueError as error:
            raise ValueError(f"is not a template ({error}); expected header keys in braces") from None
        if not keys or any(not key or set(key) & set(".[") for key in keys):
            raise ValueError("must have header keys in braces, such as {DATE-OBS}T{UT}")
        for _, _, code, _ in Formatter().parse(template):
            # Texts of gigabytes, and of as many characters as the header says.
            if code and re.search(r"\d{3}|[{}]", code):
                raise ValueError(f"has the format code {code}; expected one such as 05d")
        for key in keys:
            if key in Properties.model_fields and key not in _IN_TEMPLATES:
                raise ValueError(
                    f"has the property {key}, which is neither a text nor a whole number; take its header key"
                )
        return template

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        given = [name for name in ("key", "template", "value") if getattr(self, name) is not None]
        if len(given) > 1 or not (given or self.rules):
            raise ValueError(f"must have one of key, template and value, and has {' and '.join(given) or 'none'}")
        if self.map is not None and self.value is not None:
            raise ValueError("has a map, which is for values of the header, and a constant; leave one of them out")
        return self

    @property
    def is_optional(self) -> bool:
        """Whether the header may lack it."""
        return "default" in self.model_fields_set

    @property
    def keys(self) -> list[str]:
        """The header keys that it names."""
        return template_keys(self.template) if self.template is not None else list(self.key or ())


class TextSource(Source[str]):
    """A text; a number in the header is written out."""


class FilterSource(TextSource):
    """The name of a filter."""

    default_off_sky: str | None = None
    """What is taken where the header has no value and the exposure does not see the sky."""


class FlagSource(Source[StrictBool]):
    """True or false; in the header a logical value, or 0 or 1."""


class NumberSource(Source[_Number]):
    """A number: ``multiply`` times the header's, plus ``add``."""

    multiply: float = 1.0
    add: float = 0.0


class IntegerSource(Source[_WholeNumber]):
    """A whole number; in the header it may be a text."""

    multiply: int = 1
    add: int = 0


class SecondsSource(NumberSource):
    """A duration."""

    unit: str = "s"
    """Unit of the header's number: any unit of time that astropy knows, such as ``ms`` or ``min``."""

    @field_validator("unit")
    @classmethod
    def _is_time(cls, unit: str) -> str:
        return _unit(unit, u.s, "time, such as s, ms or min")


class AngleSource(NumberSource):
    """An angle; in the header a number, or a text in sexagesimal form."""

    unit: str | None = None
    """Unit of the header's value: ``deg``, ``hourangle``, ``rad``, ``arcmin``, ``arcsec``. By default a text in
    sexagesimal form is hours for a right ascension, and everything else degrees."""

    @field_validator("unit")
    @classmethod
    def _is_angle(cls, unit: str) -> str:
        return _unit(unit, u.deg, "angle, such as deg, hourangle or rad")


class TimeSource(Source[str]):
    """A moment."""

    format: Literal["isot", "mjd", "jd", "unix"] = "isot"
    scale: Literal["utc", "tai", "tt"] | None = None
    """By default what the header says in TIMESYS, and UTC if it does not."""

    @model_validator(mode="after")
    def _has_no_default(self) -> Self:
        if self.value is not None or self.is_optional or self.map is not None or self.rules:
            raise ValueError("must have a key or a template: no time of all exposures is the same")
        return self


class RaDecSource(Model):
    """Where the telescope pointed."""

    ra: AngleSource
    dec: AngleSource
    frame: Literal["icrs", "fk5", "fk4"] = "icrs"
    equinox: TextSource | None = None
    """Equinox of fk5 and fk4 coordinates, such as J2000, or ``date``, the exposure's begin; a number in the header is a
    Julian year."""

    @property
    def is_frame_from_header(self) -> bool:
        """Whether RADESYS and EQUINOX say it: FITS has them for the cards RA and DEC, unless a description does."""
        return "frame" not in self.model_fields_set and {*self.ra.keys, *self.dec.keys} == {"RA", "DEC"}

    @model_validator(mode="after")
    def _icrs_has_no_equinox(self) -> Self:
        if self.equinox is not None and self.frame == "icrs":
            raise ValueError("has an equinox, which the frame icrs has not; give another frame")
        return self


class AltAzSource(Model):
    """Altitude above the horizon and azimuth (north through east) when the exposure began."""

    alt: AngleSource
    az: AngleSource


class Properties(Model):
    """What the project takes from headers, by the names that astro_metadata_translator has for it."""

    telescope: TextSource = TextSource(key=("TELESCOP",), default=None)
    exposure_id: IntegerSource | None = None
    observation_id: TextSource | None = None
    datetime_begin: TimeSource = TimeSource(key=("DATE-BEG", "DATE-OBS"))
    datetime_end: TimeSource | None = None
    exposure_time: SecondsSource = SecondsSource(key=("EXPTIME",))
    dark_time: SecondsSource | None = None
    observing_day: IntegerSource | None = None
    observation_type: TextSource = TextSource(key=("IMAGETYP", "OBSTYPE"))
    observation_reason: TextSource | None = None
    physical_filter: FilterSource = FilterSource(key=("FILTER",))
    object: TextSource = TextSource(key=("OBJECT",), default=None)
    science_program: TextSource = TextSource(key=("PROPID",), default=None)
    exposure_group: TextSource | None = None
    observation_counter: IntegerSource | None = None
    group_counter_start: IntegerSource | None = None
    group_counter_end: IntegerSource | None = None
    tracking_radec: RaDecSource = RaDecSource(
        ra=AngleSource(key=("RA",), default=None), dec=AngleSource(key=("DEC",), default=None)
    )
    boresight_rotation_angle: AngleSource | None = None
    altaz_begin: AltAzSource | None = None
    boresight_airmass: NumberSource = NumberSource(key=("AIRMASS",), default=None)
    can_see_sky: FlagSource | None = None
    has_simulated_content: FlagSource | None = None
    detector_num: IntegerSource | None = None
    detector_name: TextSource | None = None

    @model_validator(mode="after")
    def _no_circles(self) -> Self:
        """Refuse templates with properties that need each other."""
        try:
            TopologicalSorter({name: set(self._needs(name)) for name in type(self).model_fields}).prepare()
        except CycleError as error:
            # It begins with what is needed.
            first, *others = reversed(error.args[1])
            needs = ", which needs ".join(others)
            raise ValueError(f"go round in a circle: {first} needs {needs}; give one of them another source") from None
        return self

    def _needs(self, name: str) -> Iterator[str]:
        """List the other properties that a property is made of."""
        source = getattr(self, name)
        for part in [source] if isinstance(source, Source) else [part for _, part in source or ()]:
            if isinstance(part, Source):
                yield from (name for name in template_keys(part.template or "") if name in _IN_TEMPLATES)
        if source is None:
            yield from _FOLLOW_FROM.get(name, ())
        if name in _ON_SKY_ONLY:
            yield "can_see_sky"
        if name == "detector_name" and self.detector_num is not None:
            yield "detector_num"


_IN_TEMPLATES = frozenset(
    name
    for name, field in Properties.model_fields.items()
    if any(kind in str(field.annotation) for kind in ("TextSource", "FilterSource", "IntegerSource"))
)
"""Properties that templates may have."""

_FOLLOW_FROM = {
    "exposure_id": ("datetime_begin",),
    "observation_id": ("exposure_id",),
    "datetime_end": ("datetime_begin", "exposure_time"),
    "dark_time": ("exposure_time",),
    "observing_day": ("datetime_begin",),
    "observation_reason": ("observation_type",),
    "exposure_group": ("exposure_id",),
    "group_counter_start": ("observation_counter",),
    "group_counter_end": ("observation_counter",),
    "can_see_sky": ("observation_type",),
    "detector_num": ("detector_name",),
}
"""What properties are made of that a description says nothing of."""

_ON_SKY_ONLY = ("physical_filter", "tracking_radec", "boresight_rotation_angle", "altaz_begin", "boresight_airmass")
"""Properties that depend on whether the exposure sees the sky."""


def _unit(text: str, like: u.UnitBase, expected: str) -> str:
    try:
        if u.Unit(text).is_equivalent(like):
            return text
    except (ValueError, TypeError):
        pass
    raise ValueError(f"is {text!r}, which is not a unit of {expected}")
