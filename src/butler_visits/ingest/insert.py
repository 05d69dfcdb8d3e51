"""Write exposures, and all that must be there before them, in bulk."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from lsst.daf.butler import Butler, DimensionRecord, Timespan
from lsst.daf.butler.registry import ConflictingDefinitionError

from ..define.visits import Difference
from ..errors import IngestError
from ..repository import (
    GaveUpError,
    StaleError,
    fetch_exposures,
    fetch_instruments,
    lock_exposures,
    require_writeable,
    try_again,
    until_written,
)
from ..repository.database import read_columns
from .corrections import with_stored
from .records import OWN_ID, ExposureValues, compare_exposures, exposure_record, is_of_one_second
from .result import Correction
from .translate import DetectorValues

_R = TypeVar("_R")


@dataclass
class ExposurePlan:
    """What is to be written of some exposures of an instrument, and what cannot be."""

    instrument: Mapping[str, Any]
    """Fields of the instrument's record."""

    is_registered: bool
    """Whether the repository has the instrument."""

    records: dict[int, DimensionRecord] = field(default_factory=dict)
    """By id the ``exposure`` records, new ones and those that are stored already."""

    new: list[ExposureValues] = field(default_factory=list)
    """The exposures that are not stored yet, each once."""

    known: list[ExposureValues] = field(default_factory=list)
    """What is given of exposures that are stored, or were given before, and equal."""

    changed: list[tuple[ExposureValues, Correction]] = field(default_factory=list)
    """The exposures whose stored records are to be replaced, each once."""

    failures: list[tuple[ExposureValues, Exception]] = field(default_factory=list)
    """What is given of exposures that are stored otherwise, or that cannot be stored."""


def check_arguments(butler: Butler, on_error: str, *, dry_run: bool) -> None:
    """Refuse what no ingest can do."""
    if not dry_run:
        require_writeable(butler)
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error must be 'raise' or 'skip', not {on_error!r}.")


def plan_exposures(
    butler: Butler,
    instrument: Mapping[str, Any],
    exposures: Iterable[ExposureValues],
    update: Callable[[int], str | None] | None = None,
) -> ExposurePlan:
    """Compare exposures with what is stored, and with each other; reads only.

    ``update``: exposures that are stored otherwise are to be replaced, but for those that it knows: which it was given
    before, and from where.
    """
    name = instrument["name"]
    given = sorted(exposures, key=lambda one: one.id)
    is_registered = name in fetch_instruments(butler)
    records = fetch_exposures(butler, name, {one.id for one in given}) if is_registered else {}
    plan = ExposurePlan(instrument, is_registered, records)
    first: dict[int, str] = {}
    # Also of those that are stored, because they may get another name.
    new = given if update is not None else [one for one in given if one.id not in records]
    names = _exposures_by_name(butler, name, {one.fields["obs_id"] for one in new})
    bands: dict[str, ExposureValues] = {}
    offsets = _day_offsets(butler, name, [(one, records[one.id]) for one in given if one.id in records])
    for one in given:
        other_band = bands.setdefault(one.fields["physical_filter"], one)
        if one.band != other_band.band:
            plan.failures.append((one, _band_error(one, other_band)))
            continue
        other = plan.records.get(one.id)
        try:
            whole = one
            if other is not None:
                whole = with_stored(one, other, offsets.get(other.day_obs, one.day_offset or 0))
            record = exposure_record(whole, name, butler.dimensions)
        except IngestError as error:
            plan.failures.append((one, error))
            continue
        differences = [] if other is None else compare_exposures(other, record)
        before = first.get(one.id) or (update(one.id) if update is not None else None)
        if other is not None and not differences:
            plan.known.append(one)
            if update is not None:
                first.setdefault(one.id, one.source)
        elif other is not None and (update is None or before is not None):
            plan.failures.append((one, conflict_error(one, name, differences, before)))
        elif names.setdefault(record.obs_id, one.id) != one.id:
            plan.failures.append((one, _name_error(one, name, names[record.obs_id])))
        else:
            plan.records[one.id] = record
            first[one.id] = one.source
            if other is None:
                plan.new.append(one)
            else:
                plan.changed.append((whole, Correction(one.source, other, record, tuple(differences))))
    return plan


def conflict_error(
    exposure: ExposureValues, instrument: str, differences: Sequence[Difference], first: str | None
) -> ConflictingDefinitionError:
    """Say which fields of an exposure are in conflict."""
    which = f"{exposure.source}: exposure {exposure.id} ({exposure.fields['obs_id']}) of {instrument}"
    times = next((one for one in differences if one.field == "timespan"), None)
    if times is not None and is_of_one_second(exposure, times.stored):
        stored, computed = times.shown
        return ConflictingDefinitionError(
            f"{which} begins in the same second as {first or 'the one that the repository has'}: timespan is {stored} "
            f"there and {computed} here. {OWN_ID}"
        )
    if first is not None:
        pairs = [(one.field, one.shown if one is times else (one.stored, one.computed)) for one in differences]
        fields = "; ".join(f"{field} is {there} there and {here} here" for field, (there, here) in pairs)
        return ConflictingDefinitionError(f"{which} differs from {first}: {fields}. Correct one of them.")
    fields = "; ".join(map(str, differences))
    return ConflictingDefinitionError(
        f"{which} is in conflict with what the repository has: {fields}. Correct it, leave it out, or replace what is "
        "stored with --update-records (in Python update_records=True)."
    )


def insert_exposures(butler: Butler, plan: ExposurePlan, detectors: Iterable[DetectorValues] = ()) -> None:
    """Write new and changed exposures, and before them what they need; to be called in a transaction.

    Everybody writes the kinds of rows in one order, and each kind in the order of its keys, so that two writers cannot
    wait for each other. Raises `sqlalchemy.exc.IntegrityError` or `StaleError` if another process was first, or the
    database refuses an exposure, and `IngestError` if a detector has the name of another one.
    """
    name = plan.instrument["name"]
    corrections = [correction for _, correction in plan.changed]
    if corrections:
        lock_exposures(butler, name, plan.records)
        stored = fetch_exposures(butler, name, [one.record.id for one in corrections])
        if any(stored.get(one.record.id) != one.stored for one in corrections):
            raise StaleError("Another process has changed exposures that were to be replaced.")
    universe = butler.dimensions
    if not plan.is_registered:
        fields = {key: value for key, value in plan.instrument.items() if key in universe["instrument"].schema.names}
        butler.registry.insertDimensionData("instrument", fields, skip_existing=True)
    # The Butler's own queries would take most of the time of a single file.
    filters = {row[0] for row in read_columns(butler, "physical_filter", name, "name")}
    written = [*plan.new, *(values for values, _ in plan.changed)]
    bands = {one.fields["physical_filter"]: one.band for one in written}
    rows = {
        "physical_filter": [
            {"instrument": name, "name": physical_filter, "band": band}
            for physical_filter, band in sorted(bands.items())
            if physical_filter not in filters
        ],
        "detector": list(_new_detectors(butler, name, detectors)),
    }
    if "group" in universe.elements.names:
        days = {one.fields["day_obs"]: one.day_offset for one in written}
        rows["day_obs"] = day_rows(name, days)
        groups = {one.fields["group"] for one in written}
        rows["group"] = [{"instrument": name, "name": group} for group in sorted(groups)]
    for element, new in rows.items():
        if new:
            butler.registry.insertDimensionData(element, *new, skip_existing=True)
    records = [plan.records[one.id] for one in plan.new]
    if records:
        butler.registry.insertDimensionData(universe["exposure"], *records, conform=False)
    if corrections:
        replaced = [one.record for one in corrections]
        butler.registry.insertDimensionData(universe["exposure"], *replaced, conform=False, replace=True)


def _new_detectors(butler: Butler, instrument: str, detectors: Iterable[DetectorValues]) -> Iterator[dict[str, Any]]:
    wanted = {detector.id: detector for detector in detectors}
    if not wanted:
        return
    names = dict(read_columns(butler, "detector", instrument, "id", "full_name"))
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


def day_rows(instrument: str, days: Mapping[int, int | None]) -> list[dict[str, Any]]:
    """Make the rows of observing days that begin so many seconds after midnight TAI."""
    return [
        {"instrument": instrument, "id": day, "timespan": Timespan.from_day_obs(day, offset or 0)}
        for day, offset in sorted(days.items())
    ]


def _day_offsets(
    butler: Butler, instrument: str, exposures: Iterable[tuple[ExposureValues, DimensionRecord]]
) -> dict[int, int]:
    """Read when the days of stored exposures began, in seconds after midnight TAI, where a description says when now.

    Without a description nobody knows when days begin, and what is stored is right.
    """
    days = {stored.day_obs for given, stored in exposures if given.said is not None and given.day_offset is not None}
    if not days or "day_obs" not in butler.dimensions.elements.names:
        return {}
    with butler.query() as query:
        records = query.dimension_records("day_obs").where(
            "day_obs IN (days)", instrument=instrument, bind={"days": days}
        )
        begins = {record.id: record.timespan.nsec[0] for record in records if record.timespan is not None}
    return {day: (begin - Timespan.from_day_obs(day, 0).nsec[0]) // 1_000_000_000 for day, begin in begins.items()}


def _exposures_by_name(butler: Butler, instrument: str, names: Collection[str]) -> dict[str, int]:
    """Read which exposures have these names: the database refuses a name twice, and does not say whose it is."""
    return dict(read_columns(butler, "exposure", instrument, "obs_id", "id", obs_id=names))


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
    update: Callable[[int], str | None] | None = None,
) -> tuple[ExposurePlan, _R]:
    """Plan exposures and write them, again if another process writes some of them meanwhile or the database fails.

    A connection can be lost after the database has stored all and before it could say so. Then what is planned again is
    there already. Raises `IngestError` if the database refuses exposures.
    """
    try:
        return try_again(
            butler,
            lambda: until_written(
                lambda: plan_exposures(butler, instrument, exposures, update),
                write,
                lambda plan: len(plan.new) + len(plan.changed),
            ),
        )
    except GaveUpError as error:
        first, last = exposures[0].source, exposures[-1].source
        which = first if len(exposures) == 1 else f"{first} to {last}"
        raise IngestError(f"{which}: the repository refuses what is to be written: {error}.") from error.reason
