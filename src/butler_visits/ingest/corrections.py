"""What a table that has not all columns says of exposures that are stored already."""

from __future__ import annotations

import dataclasses
from typing import Any

from lsst.daf.butler import DimensionRecord, Timespan

from .records import ExposureValues, same_field
from .rows import complete

_FIELDS = {
    "exposure_id": ("id",),
    "datetime_begin": (),
    "datetime_end": ("timespan",),
    "group": ("group", "group_id"),
    "tracking_radec": ("tracking_ra", "tracking_dec"),
    "altitude": ("zenith_angle",),
}
"""The fields that a column tells, where they are called otherwise."""


def with_stored(values: ExposureValues, stored: DimensionRecord, day_offset: int) -> ExposureValues:
    """Take from a stored exposure what a table does not say of it.

    What only follows from what the table says, as ``can_see_sky`` does from the observation type, is corrected with it
    if it followed from it before, and else left as it is stored; an exposure that lasts as long begins at another time.
    Days began ``day_offset`` seconds after midnight TAI then.
    """
    if values.said is None:
        return values
    told = {field for column in values.said for field in _FIELDS.get(column, (column,))}
    said_before = {column: value for column in values.said if (value := _column(stored, column)) is not None}
    followed = complete(said_before, day_offset)
    fields = dict(values.fields)
    for field in fields.keys() - told:
        there = _field(stored, field)
        if same_field(there, followed[field]):
            continue
        fields[field] = _moved(there, fields[field]) if field == "timespan" else there
    return dataclasses.replace(values, fields=fields)


def _field(stored: DimensionRecord, field: str) -> Any:
    """Return a field of a record of any universe."""
    return getattr(stored, field, None) if field != "group" else getattr(stored, "group", None) or stored.group_name


def _column(stored: DimensionRecord, column: str) -> Any:
    """Return what a table would say of an exposure as it is stored."""
    match column:
        case "datetime_begin" | "datetime_end":
            nsec = None if stored.timespan is None else stored.timespan.nsec
            return nsec and nsec[column == "datetime_end"]
        case "tracking_radec":
            return None if stored.tracking_ra is None else (stored.tracking_ra, stored.tracking_dec)
        case "altitude":
            return None if stored.zenith_angle is None else 90.0 - stored.zenith_angle
        case "exposure_id":
            return stored.id
    return _field(stored, column)


def _moved(stored: Timespan | None, said: Timespan) -> Timespan:
    """Return a time that begins as a table says and is as long as the stored one."""
    if stored is None or stored.begin is None or stored.end is None or stored.isEmpty():
        return said
    return Timespan.model_validate((said.nsec[0], said.nsec[0] + stored.nsec[1] - stored.nsec[0]))
