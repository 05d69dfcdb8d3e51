"""What is doubtful of visits, though they can be defined: exposures of several days, and ids that are too large."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lsst.daf.butler import Butler, DimensionRecord

from ..instruments.description import PACKED
from ..lists import counted, listed
from ..repository.instruments import stored_description
from ..repository.reading import fetch_detectors
from .visits import VisitDefinitionData

_LISTED = 10
"""Exposures that a warning names."""


def day_matters(butler: Butler) -> bool:
    """Tell whether the Butler's own queries join a visit and its exposures on their day_obs."""
    return "day_obs" in butler.dimensions.dimensions.names


def later_exposures(exposures: Sequence[DimensionRecord]) -> dict[int, int]:
    """Return the day_obs of those of a visit's exposures that have a later one than others, by exposure."""
    days = {exposure.id: exposure.day_obs for exposure in exposures if exposure.day_obs is not None}
    first = min(days.values(), default=0)
    return {exposure: day for exposure, day in days.items() if day > first}


def day_hint(butler: Butler, instrument: str) -> str:
    """Say how the exposures of a night get one day_obs."""
    if stored_description(butler, instrument) is None:
        return "A night should have one day_obs: correct that of the exposures."
    return (
        f"A night should have one day_obs: set day_obs_offset_hours in the description of {instrument}, and ingest the "
        "exposures again with --update-records."
    )


def id_limit(instrument: DimensionRecord) -> int | None:
    """Return the id that those of visits must be below for pipelines to pack them."""
    return None if instrument.visit_max is None else int(instrument.visit_max)


def limit_hint(butler: Butler, instrument: DimensionRecord, largest: int) -> str:
    """Say how pipelines can pack an instrument's ids of visits up to the largest, if they can."""
    n_detectors = 1 + max(fetch_detectors(butler, instrument.name), default=0)
    room = (PACKED - 1) // n_detectors
    if largest >= room:
        return (
            f"Use another grouping algorithm: pipelines pack the ids of visits with those of detectors, below "
            f"{n_detectors}, into 63 bits, which cannot hold these."
        )
    visit_max = min(10 ** len(str(largest)), room)
    detector_max = min(instrument.detector_max or n_detectors, (PACKED - 1) // visit_max)
    return (
        f"Use another grouping algorithm, or raise it: butler.registry.syncDimensionData('instrument', "
        f"{{'name': {instrument.name!r}, 'visit_max': {visit_max}, 'exposure_max': {instrument.exposure_max}, "
        f"'detector_max': {detector_max}, 'class_name': {instrument.class_name!r}}}, update=True)."
    )


def doubts(butler: Butler, instrument: DimensionRecord, visits: Sequence[VisitDefinitionData]) -> list[str]:
    """Say what is doubtful of visits: a line for each kind of doubt."""
    lines = []
    if day_matters(butler) and (later := _later(visits)):
        exposures = {exposure: day for days in later.values() for exposure, day in days.items()}
        which = listed((f"{exposure} of {day}" for exposure, day in sorted(exposures.items())), _LISTED)
        lines.append(
            f"{counted(len(later), 'visit')} with exposures of several day_obs: pipelines and the Butler's own queries "
            f"show only those of the visit's day_obs, which is the smallest, and not {which}. "
            f"{day_hint(butler, instrument.name)}"
        )
    limit = id_limit(instrument)
    if limit is not None and (large := sorted(visit.id for visit in visits if visit.id >= limit)):
        hint = limit_hint(butler, instrument, large[-1])
        lines.append(
            f"{counted(len(large), 'visit id')} from {large[0]} on not below {limit}, the visit_max of "
            f"{instrument.name}, by which pipelines pack them: that will fail. {hint}"
        )
    return lines


def _later(visits: Sequence[VisitDefinitionData]) -> Mapping[int, dict[int, int]]:
    """Return the exposures of later days, of visits that have any."""
    found = {visit.id: later_exposures(visit.exposures) for visit in visits if len(visit.exposures) > 1}
    return {visit: later for visit, later in found.items() if later}
