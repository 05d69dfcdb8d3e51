"""Exposures, as headers and tables tell of them, to dimension records of every universe."""

from __future__ import annotations

import logging
import math
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import astropy.units as u
import numpy as np
from astro_metadata_translator import ObservationInfo
from astropy.coordinates import (
    FK5,
    ICRS,
    BaseCoordinateFrame,
    SkyCoord,
    SphericalRepresentation,
    UnitSphericalRepresentation,
)
from lsst.daf.butler import DimensionRecord, DimensionUniverse, Timespan
from lsst.daf.butler.time_utils import TimeConverter

from ..define.plan import compare_records
from ..define.visits import Difference
from ..errors import IngestError
from ..instruments.times import digits_of_time
from ..repository.database import text_limit
from .columns import LARGEST_INTEGER, LONGEST_EXPOSURE, TIMES

_LOG = logging.getLogger(__name__)

OWN_ID = (
    "If they are two exposures, describe the instrument with an exposure_id that has the fraction of the second, such "
    "as {template: '{DATE-OBS}'}, and with exposure_max: 30000000000000000."
)
"""What to do where ids of whole seconds do not tell exposures apart."""

_SAME_NUMBER = 1e-9
"""Relative and absolute difference of numbers that are equal: other versions of libraries round otherwise."""

_SAME_TIME = 1_000
"""Difference of times that are equal, nanoseconds."""

_FREE_TEXTS = frozenset({"target_name", "science_program", "observation_reason", "observation_type"})
"""Fields whose text is cut where it is longer than the repository takes."""


@dataclass(frozen=True, eq=False)
class ExposureValues:
    """An exposure, before it becomes a record."""

    source: str
    """The file or the row of a table that it is from, for messages."""

    fields: Mapping[str, Any]
    """Fields of the newest universe's ``exposure`` but the instrument, and ``group_id`` for the older ones."""

    band: str
    """Band of its physical filter."""

    day_offset: int | None = 0
    """Seconds after midnight TAI at which its observing day begins; `None` if nobody says, and it is taken for 0."""

    said: Mapping[str, Any] | None = None
    """What a table says of it, by the names of `COLUMNS`; all other fields only follow from that."""

    @property
    def id(self) -> int:
        """The exposure's id."""
        return int(self.fields["id"])


def observation_values(
    observations: Sequence[tuple[str, ObservationInfo]], band: Callable[[str], str]
) -> list[ExposureValues | IngestError]:
    """Take the values of exposure records from translated headers."""
    pointings = _icrs([info.tracking_radec for _, info in observations])
    results: list[ExposureValues | IngestError] = []
    for (source, info), pointing in zip(observations, pointings, strict=True):
        try:
            results.append(_values(source, info, pointing, band))
        except IngestError as error:
            results.append(error)
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            # A translator's value of another type than astro_metadata_translator asks for.
            results.append(
                IngestError(f"{source}: the header's values make no exposure ({type(error).__name__}: {error}).")
            )
    return results


def _values(
    source: str, info: ObservationInfo, pointing: tuple[float, float] | None, band: Callable[[str], str]
) -> ExposureValues:
    ra, dec = pointing or (None, None)
    rotation = info.boresight_rotation_angle if info.boresight_rotation_coord == "sky" else None
    azimuth, altitude = (math.nan, math.nan) if info.altaz_begin is None else _angles(info.altaz_begin)
    obs_id = str(info.observation_id)
    group = obs_id if info.exposure_group is None else str(info.exposure_group)
    exposure_time, dark_time = (_seconds(source, info, name) for name in ("exposure_time", "dark_time"))
    fields = {
        "id": _integer(info.exposure_id),
        "obs_id": obs_id,
        "day_obs": _integer(info.observing_day),
        "group": group,
        "group_id": _integer(info.visit_id) or digits_of(group),
        "physical_filter": str(info.physical_filter),
        "exposure_time": exposure_time,
        "dark_time": dark_time,
        "observation_type": info.observation_type,
        "observation_reason": info.observation_reason,
        "seq_num": _integer(info.observation_counter),
        "seq_start": _integer(info.group_counter_start),
        "seq_end": _integer(info.group_counter_end),
        "target_name": info.object,
        "science_program": info.science_program,
        "tracking_ra": ra,
        "tracking_dec": dec,
        "sky_angle": _number(rotation, u.deg),
        "azimuth": _finite(azimuth),
        "zenith_angle": _finite(90.0 - altitude),
        "has_simulated": info.has_simulated_content,
        "can_see_sky": info.can_see_sky,
        "timespan": make_timespan(source, info.datetime_begin, info.datetime_end, exposure_time),
    }
    offset = info.observing_day_offset
    return ExposureValues(
        source, fields, band(str(info.physical_filter)), 0 if offset is None else round(offset.to_value("s"))
    )


def _seconds(source: str, info: ObservationInfo, name: str) -> float | None:
    seconds = _number(getattr(info, name), u.s)
    if seconds is not None and not 0 <= seconds <= LONGEST_EXPOSURE:
        raise IngestError(f"{source}: {name} is {seconds:g} s; expected 0 to {LONGEST_EXPOSURE} s. Correct the header.")
    return seconds


def digits_of(group: str) -> int:
    """Make a number of a group's name, for universes where a group has both."""
    return int("".join(character for character in group if character in "0123456789")[-18:] or 0)


def make_timespan(source: str, begin: Any, end: Any, exposure_time: float | None) -> Timespan | None:
    """Make the time of an exposure, whose seconds tell the end where that is missing or makes no sense."""
    if begin is None:
        return None
    converter = TimeConverter()
    start = converter.astropy_to_nsec(begin)
    stop = None if end is None else converter.astropy_to_nsec(end)
    for what, time, nsec in (("begins", begin, start), ("ends", end, stop)):
        # What is beyond is cut off there.
        if nsec is not None and nsec not in TIMES:
            raise IngestError(f"{source}: the exposure {what} {time.isot}; expected a time from 1970 to 2099.")
    if stop is None or stop < start:
        if stop is not None:
            _LOG.warning("%s: the exposure ends before it begins; the end is taken from the exposure time.", source)
        stop = start + round(1e9 * (exposure_time or 0.0))
    # A bias takes no time, but a timespan cannot be empty.
    return Timespan.model_validate((start, max(stop, start + 1)))


def exposure_record(values: ExposureValues, instrument: str, universe: DimensionUniverse) -> DimensionRecord:
    """Make an ``exposure`` record; `IngestError` if a name is too long for it, or a number makes no sense."""
    element = universe["exposure"]
    if not 0 <= values.fields["id"] < 2**63:
        raise IngestError(f"{values.source}: the exposure's id is {values.fields['id']}; expected 0 to 2^63 - 1.")
    if (day_obs := values.fields.get("day_obs")) is not None:
        try:
            Timespan.from_day_obs(day_obs, values.day_offset or 0)
        except ValueError as error:
            raise IngestError(f"{values.source}: day_obs is {day_obs}; expected YYYYMMDD, from 1970 on.") from error
    fields: dict[str, Any] = {"instrument": instrument, **values.fields, "group_name": values.fields["group"]}
    known = {name: fields.get(name) for name in element.RecordClass.fields.names}
    for column in element.schema.all:
        text, length = known.get(column.name), text_limit(column)
        if not isinstance(text, str) or length is None or len(text) <= length:
            continue
        if column.name not in _FREE_TEXTS:
            raise IngestError(
                f"{values.source}: {column.name} is {text!r}, which has {len(text)} characters; the repository takes "
                f"{length}."
            )
        _LOG.info("%s: %s %r is cut to %d characters.", values.source, column.name, text, length)
        known[column.name] = text[:length].rstrip()
    return element.RecordClass(**known)


def is_of_one_second(exposure: ExposureValues, other: Timespan | None) -> bool:
    """Tell whether an exposure has its id from the second in which it and another one begin."""
    begins = [one.begin for one in (exposure.fields["timespan"], other) if one is not None]
    return len(begins) == 2 and all(time is not None and digits_of_time(time) == exposure.id for time in begins)


def compare_exposures(stored: DimensionRecord, computed: DimensionRecord) -> list[Difference]:
    """Compare a stored exposure with another one, field by field."""
    if stored == computed:
        return []
    return [one for one in compare_records(stored, computed, 0.0) if not same_field(one.stored, one.computed)]


def same_field(a: Any, b: Any) -> bool:
    """Tell whether a field of two records is the same, but for rounding."""
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=_SAME_NUMBER, abs_tol=_SAME_NUMBER)
    if isinstance(a, Timespan) and isinstance(b, Timespan):
        return all(abs(one - other) <= _SAME_TIME for one, other in zip(a.nsec, b.nsec, strict=True))
    return bool(a == b)


def guess_band(physical_filter: str) -> str:
    """Guess the band of a physical filter from its name."""
    words = [word for word in re.split(r"[\s._\-/()']+", physical_filter) if word]
    for word in words:
        if re.fullmatch(r"[A-Za-z]\d?", word):
            # Hyper Suprime-Cam writes Sloan's in upper case, and everybody the y band.
            return word[0].lower() if words[0] == "HSC" or word[0] == "Y" else word[0]
    return words[0] if words else physical_filter


def _icrs(pointings: Sequence[SkyCoord | None]) -> list[tuple[float, float] | None]:
    """Return right ascension and declination in degrees, ICRS; `None` where there is no pointing or no number."""
    results: list[tuple[float, float] | None] = [None] * len(pointings)
    # astropy takes milliseconds to change one frame to another, for one direction or for all.
    together: dict[str, list[int]] = defaultdict(list)
    frames: dict[str, FK5] = {}
    degrees: list[tuple[float, float]] = []
    for index, pointing in enumerate(pointings):
        degrees.append((math.nan, math.nan))
        if not isinstance(pointing, SkyCoord) or not pointing.isscalar:
            continue
        if isinstance(pointing.frame, FK5):
            together[str(pointing.equinox)].append(index)
            frames[str(pointing.equinox)] = FK5(equinox=pointing.equinox)
        degrees[index] = _angles(pointing if isinstance(pointing.frame, (FK5, ICRS)) else pointing.icrs)
    for equinox, indices in together.items():
        frame = frames[equinox]
        fk5 = SkyCoord(*np.array([degrees[index] for index in indices]).T * u.deg, frame=frame)
        for index, ra, dec in zip(indices, *_angles(fk5.icrs), strict=True):
            degrees[index] = float(ra), float(dec)
    for index, (ra, dec) in enumerate(degrees):
        if math.isfinite(ra) and math.isfinite(dec):
            results[index] = ra, dec
    return results


def _angles(coordinates: BaseCoordinateFrame | SkyCoord) -> Any:
    """Return longitude and latitude in degrees; asking for them by name would take a millisecond more."""
    data = coordinates.data
    if not isinstance(data, (SphericalRepresentation, UnitSphericalRepresentation)):
        data = data.represent_as(UnitSphericalRepresentation)
    lon, lat = data.lon.to_value(u.deg), data.lat.to_value(u.deg)
    return (float(lon), float(lat)) if data.isscalar else (lon, lat)


def _number(quantity: u.Quantity | None, unit: u.UnitBase) -> float | None:
    return None if quantity is None else _finite(float(quantity.to_value(unit)))


def _finite(value: float) -> float | None:
    """Make what is not a number null, as which SQLite stores it."""
    return value if math.isfinite(value) else None


def _integer(value: Any) -> int | None:
    if value is None:
        return None
    if int(value) != value or abs(value) > LARGEST_INTEGER:
        raise ValueError(f"{value!r} is not a whole number of 63 bits")
    return int(value)
