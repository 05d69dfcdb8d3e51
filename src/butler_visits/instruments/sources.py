"""Where an instrument description takes the properties of an observation from."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter
from typing import Annotated, Any, ClassVar, Literal, Self

import astropy.units as u
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, field_validator, model_validator

Keys = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value), Field(min_length=1)
]


def template_keys(template: str) -> list[str]:
    """List the header keys of a template."""
    return [key for _, key, _, _ in Formatter().parse(template) if key is not None]


class Model(BaseModel):
    """Base of the description's parts: what they do not name is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(Model):
    """A value from the header or a constant: one of ``key``, ``template`` and ``value``.

    Written as a text alone, it is a ``key``.
    """

    key: Keys | None = None
    """Header key, or several, of which the first that is there and has a value counts."""
    template: str | None = None
    """Text with header keys in braces, such as ``{DATE-OBS}T{UT}``."""
    value: Any = None
    """Constant."""
    default: Any = None
    """What is taken where the header has no value; `None` leaves the property empty. Without it that is an error."""

    _constant: ClassVar[str] = "a value"

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
    def _template_has_keys(cls, template: str) -> str:
        try:
            keys = template_keys(template)
        except ValueError as error:
            raise ValueError(f"is no template ({error}); expected header keys in braces") from None
        if not keys or any(not key or set(key) & set(".[") for key in keys):
            raise ValueError("must have header keys in braces, such as {DATE-OBS}T{UT}")
        return template

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        given = [name for name in ("key", "template", "value") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"must have one of key, template and value, and has {' and '.join(given) or 'none'}")
        return self

    @property
    def is_optional(self) -> bool:
        """Whether the header may lack it."""
        return "default" in self.model_fields_set

    @property
    def keys(self) -> list[str]:
        """The header keys that it names."""
        return template_keys(self.template) if self.template is not None else list(self.key or ())


class TextSource(Source):
    """A text; a number in the header is written out."""

    value: str | None = None
    default: str | None = None
    map: dict[str, str] | None = None
    """What values of the header stand for, in any case; others are an error, or the ``default`` if there is one."""


class FlagSource(Source):
    """True or false; in the header a logical value, or 0 or 1."""

    value: StrictBool | None = None
    default: StrictBool | None = None


class NumberSource(Source):
    """A number: ``multiply`` times the header's, plus ``add``."""

    value: float | None = None
    default: float | None = None
    multiply: float = 1.0
    add: float = 0.0


class IntegerSource(NumberSource):
    """A whole number; in the header it may be a text."""

    value: int | None = None
    default: int | None = None
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


class TimeSource(Source):
    """A moment."""

    value: None = None
    default: None = None
    format: Literal["isot", "mjd", "jd", "unix"] = "isot"
    scale: Literal["utc", "tai", "tt"] | None = None
    """By default what the header says in TIMESYS, and UTC if it does not."""

    @model_validator(mode="after")
    def _has_no_default(self) -> Self:
        if self.value is not None or self.is_optional:
            raise ValueError("must have a key or a template: no time of all exposures is the same")
        return self


class RaDecSource(Model):
    """Where the telescope pointed."""

    ra: AngleSource
    dec: AngleSource
    frame: Literal["icrs", "fk5", "fk4"] = "icrs"
    equinox: TextSource | None = None
    """Equinox of fk5 and fk4 coordinates, such as J2000; a number in the header is a Julian year."""

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
    physical_filter: TextSource = TextSource(key=("FILTER",))
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


def _unit(text: str, like: u.UnitBase, expected: str) -> str:
    try:
        if u.Unit(text).is_equivalent(like):
            return text
    except (ValueError, TypeError):
        pass
    raise ValueError(f"is {text!r}, which is no unit of {expected}")
