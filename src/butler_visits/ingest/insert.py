"""Write exposures, and all that must be there before them, in bulk."""

from __future__ import annotations

__all__ = ["ExposurePlan", "conflict_error", "insert_exposures", "plan_and_write", "plan_exposures"]

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from lsst.daf.butler import Butler, DimensionRecord, Timespan
from lsst.daf.butler.registry import ConflictingDefinitionError

from ..define.visits import Difference
from ..errors import IngestError
from ..lists import id_batches
from ..repository import (
    GaveUpError,
    fetch_detector_names,
    fetch_exposures,
    fetch_instruments,
    try_again,
    until_written,
)
from .records import ExposureValues, compare_exposures, exposure_record
from .translate import DetectorValues

_R = TypeVar("_R")


@dataclass
class ExposurePlan:
    """What is to be written of some exposures of an instrument, and what cannot be."""

    instrument: Mapping[str, Any]
    """Fields of the instrument's record."""

    records: dict[int, DimensionRecord] = field(default_factory=dict)
    """By id the ``exposure`` records, new ones and those that are stored already."""

    new: list[ExposureValues] = field(default_factory=list)
    """The exposures that are not stored yet, each once."""

    known: list[ExposureValues] = field(default_factory=list)
    """What is given of exposures that are stored, or were given before, and equal."""

    failures: list[tuple[ExposureValues, Exception]] = field(default_factory=list)
    """What is given of exposures that are stored otherwise, or that cannot be stored."""


def check_arguments(butler: Butler, on_error: str) -> None:
    """Refuse what no ingest can do."""
    if not butler.isWriteable():
        raise TypeError("Nothing can be ingested through a read-only Butler; open it with writeable=True.")
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error must be 'raise' or 'skip', not {on_error!r}.")


def plan_exposures(butler: Butler, instrument: Mapping[str, Any], exposures: Iterable[ExposureValues]) -> ExposurePlan:
    """Compare exposures with what is stored, and with each other; reads only."""
    name = instrument["name"]
    given = sorted(exposures, key=lambda one: one.id)
    records = fetch_exposures(butler, name, {one.id for one in given}) if name in fetch_instruments(butler) else {}
    plan = ExposurePlan(instrument, records)
    first: dict[int, ExposureValues] = {}
    names = _exposures_by_name(butler, name, {one.fields["obs_id"] for one in given if one.id not in records})
    bands: dict[str, ExposureValues] = {}
    for one in given:
        other_band = bands.setdefault(one.fields["physical_filter"], one)
        if one.band != other_band.band:
            plan.failures.append((one, _band_error(one, other_band)))
            continue
        try:
            record = exposure_record(one, name, butler.dimensions)
        except IngestError as error:
            plan.failures.append((one, error))
            continue
        other = plan.records.get(one.id)
        if other is None and names.setdefault(record.obs_id, one.id) != one.id:
            plan.failures.append((one, _name_error(one, name, names[record.obs_id])))
        elif other is None:
            plan.records[one.id] = record
            plan.new.append(one)
            first[one.id] = one
        elif differences := compare_exposures(other, record):
            plan.failures.append((one, conflict_error(one, name, differences, first.get(one.id))))
        else:
            plan.known.append(one)
    return plan


def conflict_error(
    exposure: ExposureValues, instrument: str, differences: Sequence[Difference], first: ExposureValues | None
) -> ConflictingDefinitionError:
    """Say which fields of an exposure are in conflict."""
    which = f"{exposure.source}: exposure {exposure.id} ({exposure.fields['obs_id']}) of {instrument}"
    if first is not None:
        fields = "; ".join(f"{one.field} is {one.stored} there and {one.computed} here" for one in differences)
        return ConflictingDefinitionError(f"{which} differs from {first.source}: {fields}. Correct one of them.")
    fields = "; ".join(map(str, differences))
    return ConflictingDefinitionError(
        f"{which} is in conflict with what the repository has: {fields}. Correct it, or leave it out."
    )


def insert_exposures(butler: Butler, plan: ExposurePlan, detectors: Iterable[DetectorValues] = ()) -> None:
    """Write the new exposures, and before them what they need; to be called in a transaction.

    Everybody writes the kinds of rows in one order, and each kind in the order of its keys, so that two writers cannot
    wait for each other. Raises `sqlalchemy.exc.IntegrityError` if another process was first or the database refuses an
    exposure, and `IngestError` if a detector has the name of another one.
    """
    name = plan.instrument["name"]
    universe = butler.dimensions
    if name not in fetch_instruments(butler):
        fields = {key: value for key, value in plan.instrument.items() if key in universe["instrument"].schema.names}
        butler.registry.insertDimensionData("instrument", fields, skip_existing=True)
    with butler.query() as query:
        filters = {record.name for record in query.dimension_records("physical_filter").where(instrument=name)}
    bands = {one.fields["physical_filter"]: one.band for one in plan.new}
    rows = {
        "physical_filter": [
            {"instrument": name, "name": physical_filter, "band": band}
            for physical_filter, band in sorted(bands.items())
            if physical_filter not in filters
        ],
        "detector": list(_new_detectors(butler, name, detectors)),
    }
    if "group" in universe.elements.names:
        days = {one.fields["day_obs"]: one.day_offset for one in plan.new}
        rows["day_obs"] = [
            {"instrument": name, "id": day, "timespan": Timespan.from_day_obs(day, offset)}
            for day, offset in sorted(days.items())
        ]
        groups = {one.fields["group"] for one in plan.new}
        rows["group"] = [{"instrument": name, "name": group} for group in sorted(groups)]
    for element, new in rows.items():
        if new:
            butler.registry.insertDimensionData(element, *new, skip_existing=True)
    records = [plan.records[one.id] for one in plan.new]
    if records:
        butler.registry.insertDimensionData(universe["exposure"], *records, conform=False)


def _new_detectors(butler: Butler, instrument: str, detectors: Iterable[DetectorValues]) -> Iterator[dict[str, Any]]:
    wanted = {detector.id: detector for detector in detectors}
    if not wanted:
        return
    names = fetch_detector_names(butler, instrument)
    ids = {name: number for number, name in names.items()}
    for number, detector in sorted(wanted.items()):
        if number in names:
            continue
        other = ids.setdefault(detector.full_name, number)
        if other != number:
            raise IngestError(
                f"Detector {number} of {instrument} is called {detector.full_name!r}, which is the name of detector "
                f"{other}; each needs a name of its own."
            )
        yield {"instrument": instrument, **asdict(detector)}


def _exposures_by_name(butler: Butler, instrument: str, names: Collection[str]) -> dict[str, int]:
    """Read which exposures have these names: the database refuses a name twice, and does not say whose it is."""
    found: dict[str, int] = {}
    for batch in id_batches(names):
        with butler.query() as query:
            stored = query.dimension_records("exposure").where(
                "exposure.obs_id IN (names)", instrument=instrument, bind={"names": batch}
            )
            found.update((record.obs_id, record.id) for record in stored)
    return found


def _name_error(one: ExposureValues, instrument: str, other: int) -> IngestError:
    return IngestError(
        f"{one.source}: exposure {one.id} of {instrument} is called {one.fields['obs_id']!r}, and so is exposure "
        f"{other}; each needs a name of its own."
    )


def _band_error(one: ExposureValues, other: ExposureValues) -> IngestError:
    return IngestError(
        f"{one.source}: filter {one.fields['physical_filter']!r} is of band {one.band!r}, and of {other.band!r} in "
        f"{other.source}; a filter has one band."
    )


def plan_and_write(
    butler: Butler,
    instrument: Mapping[str, Any],
    exposures: Sequence[ExposureValues],
    write: Callable[[ExposurePlan], _R],
) -> tuple[ExposurePlan, _R]:
    """Plan exposures and write them, again if another process writes some of them meanwhile or the database fails.

    A connection can be lost after the database has stored all and before it could say so. Then what is planned again is
    there already. Raises `IngestError` if the database refuses exposures.
    """
    try:
        return try_again(
            butler,
            lambda: until_written(
                lambda: plan_exposures(butler, instrument, exposures), write, lambda plan: len(plan.new)
            ),
        )
    except GaveUpError as error:
        first, last = exposures[0].source, exposures[-1].source
        which = first if len(exposures) == 1 else f"{first} to {last}"
        raise IngestError(f"{which}: the repository refuses what is to be written: {error}.") from error.reason
