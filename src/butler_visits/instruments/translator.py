"""Translators of headers, made from instrument descriptions."""

from __future__ import annotations

# The base class's types do not allow for what a header lacks, which its users do.
# mypy: disable-error-code="assignment, override"
import contextlib
import json
from collections.abc import Mapping
from typing import Any

import astropy.units as u
from astro_metadata_translator import cache_translation
from astropy.coordinates import AltAz, Angle, BaseCoordinateFrame, EarthLocation, SkyCoord
from astropy.time import Time, TimeDelta

from ..raws.frames import equatorial_frame, read_equinox
from .description import Detector, InstrumentDescription
from .header_values import HeaderValues
from .sources import NumberSource, same_value
from .times import digits_of_time

_OBSERVATION_TYPES = {
    "object": "science",
    "light": "science",
    "light frame": "science",
    "zero": "bias",
    "bias frame": "bias",
    "dark frame": "dark",
    "flat frame": "flat",
    "flat field": "flat",
    "dome flat": "flat",
    "domeflat": "flat",
    "sky flat": "skyflat",
}
"""What usual values of IMAGETYP and OBSTYPE stand for; others are taken as they are, in lower case."""

_TWO_TURNS = 720
"""Degrees: rotators and mounts may turn more than once."""


class DescribedTranslator(HeaderValues):
    """Translates headers as an instrument description says; `make_translator` makes its subclasses.

    What the description asks for and the header lacks is a `HeaderError`, so use it with ``pedantic=True``.
    """

    _const_map = dict.fromkeys(("temperature", "pressure", "relative_humidity"))
    _sky_observation_types = ("science", "object", "skyflat")
    _non_sky_observation_types = ("bias", "dark", "flat", "arc")

    @classmethod
    def can_translate(cls, header: Mapping[str, Any], filename: str | None = None) -> bool:
        return all(
            (value := header.get(key)) is not None and any(same_value(value, one) for one in values)
            for key, values in cls.description.recognise.items()
        )

    def resource_root(self) -> tuple[str | None, str | None]:
        # There are no corrections of our own.
        return None, None

    @classmethod
    def observing_date_to_offset(cls, observing_date: Time) -> TimeDelta | None:
        return TimeDelta(cls.description.day_obs_offset_hours * 3600, format="sec", scale="tai")

    # The telescope

    def to_instrument(self) -> str:
        return self.description.name

    def to_telescope(self) -> str | None:
        return self._text("telescope")

    @cache_translation
    def to_location(self) -> EarthLocation | None:
        place = self.description.location
        if place is not None:
            return EarthLocation.from_geodetic(place.longitude * u.deg, place.latitude * u.deg, place.height * u.m)
        keys = ("OBSGEO-X", "OBSGEO-Y", "OBSGEO-Z")
        if not self.are_keys_ok(keys):
            return None
        source = NumberSource(key=("OBSGEO-X",), default=None)
        coordinates = [self._number("location", source.model_copy(update={"key": (key,)})) for key in keys]
        return None if None in coordinates else EarthLocation.from_geocentric(*coordinates, unit=u.m)

    # The exposure

    @cache_translation
    def to_exposure_id(self) -> int | None:
        if self._source("exposure_id") is not None:
            return self._integer("exposure_id")
        return digits_of_time(self.to_datetime_begin())

    to_visit_id = to_exposure_id

    def to_observation_id(self) -> str | None:
        return str(self.to_exposure_id()) if self._source("observation_id") is None else self._text("observation_id")

    @cache_translation
    def to_datetime_begin(self) -> Time:
        return self._time("datetime_begin")

    @cache_translation
    def to_datetime_end(self) -> Time | None:
        if self._source("datetime_end") is not None:
            return self._time("datetime_end")
        exposure_time = self.to_exposure_time()
        return None if exposure_time is None else self.to_datetime_begin().tai + exposure_time

    @cache_translation
    def to_exposure_time(self) -> u.Quantity | None:
        return self._seconds("exposure_time")

    def to_dark_time(self) -> u.Quantity | None:
        return self.to_exposure_time() if self._source("dark_time") is None else self._seconds("dark_time")

    @cache_translation
    def to_observing_day(self) -> int | None:
        if self._source("observing_day") is None:
            return super().to_observing_day()
        return self._integer("observing_day")

    @cache_translation
    def to_observation_type(self) -> str | None:
        text = self._text("observation_type")
        if text is None or self._source("observation_type").map is not None:
            return text
        return _OBSERVATION_TYPES.get(text.casefold(), text.casefold())

    def to_observation_reason(self) -> str | None:
        if self._source("observation_reason") is None:
            return "science" if (self.to_observation_type() or "").casefold() == "science" else "unknown"
        return self._text("observation_reason")

    @cache_translation
    def to_can_see_sky(self) -> bool | None:
        source = self._source("can_see_sky")
        return super().to_can_see_sky() if source is None else self._flag("can_see_sky", source)

    def to_has_simulated_content(self) -> bool:
        source = self._source("has_simulated_content")
        return source is not None and bool(self._flag("has_simulated_content", source))

    @cache_translation
    def to_physical_filter(self) -> str | None:
        source = self._source("physical_filter")
        name = self._text("physical_filter", source)
        names = [f.name for f in self.description.filters]
        if name is not None and name not in names:
            raise self._error("physical_filter", source, f"{name!r} is none of the filters, which are {names}", name)
        return name

    def to_object(self) -> str | None:
        return self._text("object")

    def to_science_program(self) -> str | None:
        return self._text("science_program")

    def to_exposure_group(self) -> str | None:
        return super().to_exposure_group() if self._source("exposure_group") is None else self._text("exposure_group")

    def to_observation_counter(self) -> int | None:
        return self._integer("observation_counter") if self._source("observation_counter") else 0

    def to_group_counter_start(self) -> int | None:
        described = self._source("group_counter_start")
        return self._integer("group_counter_start") if described else self.to_observation_counter()

    def to_group_counter_end(self) -> int | None:
        described = self._source("group_counter_end")
        return self._integer("group_counter_end") if described else self.to_observation_counter()

    # The pointing

    def to_tracking_radec(self) -> SkyCoord | None:
        if self._is_off_sky():
            return None
        source = self.description.properties.tracking_radec
        ra = self._angle("tracking_radec.ra", source.ra, text_unit=u.hourangle)
        dec = self._angle("tracking_radec.dec", source.dec, largest=90)
        if ra is None or dec is None:
            return None
        if source.equinox is None:
            return SkyCoord(ra, dec, frame=self._header_frame() if source.is_frame_from_header else source.frame)
        equinox = self._text("tracking_radec.equinox", source.equinox)
        if equinox is None:
            return SkyCoord(ra, dec, frame=source.frame)
        if equinox.strip().casefold() in ("date", "jnow"):
            return SkyCoord(ra, dec, frame=source.frame, equinox=f"J{self.to_datetime_begin().tt.jyear}")
        letter, year = "", 0.0
        with contextlib.suppress(ValueError):
            letter, year = read_equinox("", equinox)
        if not year:
            problem = f"{equinox!r} is not an equinox such as J2000; if it stands for no value, list it under missing"
            raise self._error("tracking_radec.equinox", source.equinox, problem)
        return SkyCoord(ra, dec, frame=source.frame, equinox=f"{letter or 'J'}{year}")

    def _header_frame(self) -> BaseCoordinateFrame:
        keys = ("RADESYS", "RADECSYS", "EQUINOX", "EPOCH")
        try:
            frame = equatorial_frame(self._header)
        except ValueError as error:
            source = self.description.properties.tracking_radec.ra
            raise self._error("tracking_radec", source, f"{error}; correct the header, or give a frame") from None
        self._used_these_cards(*(key for key in keys if key in self._header))
        return frame

    def to_boresight_rotation_angle(self) -> Angle | None:
        source = self._source("boresight_rotation_angle")
        if source is None or self._is_off_sky():
            return None
        angle = self._angle("boresight_rotation_angle", source, largest=_TWO_TURNS)
        return Angle(angle.deg % 360, u.deg) if angle is not None and abs(angle.deg) > 360 else angle

    def to_boresight_rotation_coord(self) -> str:
        return "unknown" if self._source("boresight_rotation_angle") is None else "sky"

    def to_altaz_begin(self) -> AltAz | None:
        source = self.description.properties.altaz_begin
        if source is None or self._is_off_sky():
            return None
        alt = self._angle("altaz_begin.alt", source.alt, largest=90)
        az = self._angle("altaz_begin.az", source.az, largest=_TWO_TURNS)
        if alt is None or az is None:
            return None
        return AltAz(az=az, alt=alt, obstime=self.to_datetime_begin(), location=self.to_location())

    def to_boresight_airmass(self) -> float | None:
        if self._is_off_sky():
            return None
        return self._number("boresight_airmass", self._source("boresight_airmass"))

    def _is_off_sky(self) -> bool:
        return self.to_can_see_sky() is False

    # The detector

    @cache_translation
    def _detector(self) -> Detector | None:
        """Find the detector; `None` if the header has none and need not."""
        detectors = self.description.detectors
        for prop, attribute in (("detector_num", "id"), ("detector_name", "name")):
            source = self._source(prop)
            if source is None:
                continue
            value = self._integer(prop) if prop == "detector_num" else self._text(prop)
            if value is None:
                return None
            found = [one for one in detectors if same_value(getattr(one, attribute), value)]
            if not found:
                known = ", ".join(str(getattr(one, attribute)) for one in detectors)
                raise self._error(prop, source, f"{value!r} is none of the detectors, which are {known}")
            return found[0]
        return detectors[0]

    def to_detector_num(self) -> int | None:
        detector = self._detector()
        return None if detector is None else detector.id

    def to_detector_name(self) -> str | None:
        detector = self._detector()
        return None if detector is None else detector.name

    to_detector_unique_name = to_detector_serial = to_detector_name

    def to_detector_group(self) -> str | None:
        detector = self._detector()
        return None if detector is None else detector.raft

    def to_detector_exposure_id(self) -> int | None:
        exposure, detector = self.to_exposure_id(), self.to_detector_num()
        return None if exposure is None or detector is None else exposure * self.description.detector_max + detector


_MADE: dict[str, type[DescribedTranslator]] = {}
"""Translators by what the descriptions say that they are of, the newest last."""

_KEPT = 100


def make_translator(description: InstrumentDescription) -> type[DescribedTranslator]:
    """Make the translator of an instrument's headers: always the same one for the same description.

    astro_metadata_translator does not know it: one process may have several descriptions of one instrument.
    """
    key = json.dumps(description.stored_content(), sort_keys=True)
    if (made := _MADE.get(key)) is None:
        namespace = {
            "__doc__": f"Translates the headers of {description.name}.",
            "__module__": __name__,
            # A class that has a name as soon as it is made is registered for all of the process.
            "name": None,
            "supported_instrument": description.name,
            "description": description,
        }
        made = type(f"{description.name}Translator", (DescribedTranslator,), namespace)
        made.name = description.name
        while len(_MADE) >= _KEPT:
            _MADE.pop(next(iter(_MADE)))
        made = _MADE.setdefault(key, made)
    return made
