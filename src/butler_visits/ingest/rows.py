"""Exposures from the rows of a table."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from lsst.daf.butler import Timespan

from ..errors import IngestError
from . import columns
from .columns import Column
from .records import ExposureValues, digits_of

_NOT_SKY = frozenset({"bias", "dark", "flat", "zero", "arc"})
"""Types of observations that do not see the sky."""

_DAY = 86_400_000_000_000
"""Nanoseconds."""


@dataclass
class RowReader:
    """Makes exposures of a table's rows; observing days begin ``day_offset`` seconds after midnight TAI."""

    table: str
    found: Mapping[str, Column]
    required: tuple[str, ...]
    band: Callable[[str], str]
    day_offset: int | None
    time_scale: str
    exposure_max: int

    def __post_init__(self) -> None:
        times = partial(columns.nanoseconds, scale=self.time_scale)
        self._converters: dict[str, Callable[[Column, range], list[Any]]] = {
            **dict.fromkeys(("day_obs", "seq_num", "seq_start", "seq_end"), columns.integer),
            **dict.fromkeys(("datetime_begin", "datetime_end"), times),
            **dict.fromkeys(("exposure_time", "dark_time"), columns.seconds),
            **dict.fromkeys(("tracking_dec", "sky_angle", "azimuth", "zenith_angle", "altitude"), columns.angle),
            **dict.fromkeys(("can_see_sky", "has_simulated"), columns.flag),
            "exposure_id": partial(columns.integer, least=0, most=self.exposure_max),
            "tracking_ra": partial(columns.angle, hours=True),
            "tracking_radec": columns.coordinates,
        }

    def read(self, rows: range) -> list[ExposureValues | IngestError]:
        """Make the exposures of some rows."""
        values = {name: self._converters.get(name, columns.text)(column, rows) for name, column in self.found.items()}
        results: list[ExposureValues | IngestError] = []
        for index, row in enumerate(rows):
            given = {name: some[index] for name, some in values.items()}
            error = next((value for value in given.values() if isinstance(value, IngestError)), None)
            if error is None:
                error = self._missing(row, given)
            results.append(self._exposure(row, given) if error is None else error)
        return results

    def _missing(self, row: int, given: Mapping[str, Any]) -> IngestError | None:
        for name in self.required:
            if given.get(name) is None:
                return IngestError(
                    f"{self.table}, row {row + 1}, column {self.found[name].name}: there is no value; each exposure "
                    f"must have {name}."
                )
        return None

    def _exposure(self, row: int, given: Mapping[str, Any]) -> ExposureValues | IngestError:
        said = {name: value for name, value in given.items() if value is not None}
        begin, end = said["datetime_begin"], said.get("datetime_end")
        if end is None:
            exposure_time = said.get("exposure_time", 0.0)
            if begin + round(1e9 * exposure_time) >= columns.TIMES.stop:
                return self.found["exposure_time"].fail(row, exposure_time, "too long; the exposure ends after 2099")
        elif end < begin:
            return IngestError(
                f"{self.table}, row {row + 1}, column {self.found['datetime_end'].name}: the exposure ends before it "
                "begins."
            )
        fields = complete(said, self.day_offset or 0)
        dec = fields["tracking_dec"]
        if dec is not None and not -90 <= dec <= 90:
            return self.found["tracking_dec"].fail(row, dec, "not a declination; expected -90 to 90 degrees")
        band = said.get("band") or self.band(said["physical_filter"])
        return ExposureValues(f"{self.table}, row {row + 1}", fields, band, self.day_offset, said)


def complete(said: Mapping[str, Any], day_offset: int) -> dict[str, Any]:
    """Make an exposure's fields of what a table says, by the names in `COLUMNS`, and of what follows from that."""
    name = str(said["exposure_id"])
    begin, end, exposure_time = said.get("datetime_begin"), said.get("datetime_end"), said.get("exposure_time")
    if begin is not None and end is None:
        end = begin + round(1e9 * (exposure_time or 0.0))
    elif begin is not None and end is not None and exposure_time is None:
        exposure_time = (end - begin) / 1e9
    kind = said.get("observation_type", "science")
    is_science = kind.casefold() == "science"
    on_sky = True if is_science else False if kind.casefold() in _NOT_SKY else None
    group = said.get("group", name)
    seq_num = said.get("seq_num", 0)
    altitude = said.get("altitude")
    ra, dec = said.get("tracking_radec") or (said.get("tracking_ra"), said.get("tracking_dec"))
    return {
        "id": said["exposure_id"],
        "obs_id": said.get("obs_id", name),
        "day_obs": said.get("day_obs", None if begin is None else _day_obs(begin, day_offset)),
        "group": group,
        "group_id": digits_of(group),
        "physical_filter": said.get("physical_filter"),
        "exposure_time": exposure_time,
        "dark_time": said.get("dark_time", exposure_time),
        "observation_type": kind,
        "observation_reason": said.get("observation_reason", "science" if is_science else "unknown"),
        "seq_num": seq_num,
        "seq_start": said.get("seq_start", seq_num),
        "seq_end": said.get("seq_end", seq_num),
        "target_name": said.get("target_name"),
        "science_program": said.get("science_program"),
        "tracking_ra": None if ra is None or dec is None else ra % 360.0,
        "tracking_dec": None if ra is None else dec,
        "sky_angle": said.get("sky_angle"),
        "azimuth": said.get("azimuth"),
        "zenith_angle": said.get("zenith_angle", None if altitude is None else 90.0 - altitude),
        "has_simulated": said.get("has_simulated", False),
        "can_see_sky": said.get("can_see_sky", on_sky),
        # A bias takes no time, but a timespan cannot be empty.
        "timespan": None if begin is None else Timespan.model_validate((begin, max(end, begin + 1))),
    }


def _day_obs(begin: int, day_offset: int) -> int:
    """Return the day on which an exposure was taken, as digits."""
    days = (begin - day_offset * 1_000_000_000) // _DAY
    return int((datetime.date(1970, 1, 1) + datetime.timedelta(days=days)).strftime("%Y%m%d"))
