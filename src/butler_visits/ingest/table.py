"""Ingest exposures from a table: a log book, or a simulated survey."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

from astropy.table import Table
from lsst.daf.butler import Butler
from lsst.daf.butler.progress import Progress, ProgressBar
from lsst.resources import ResourcePathExpression

from ..errors import IngestError, noting
from ..instruments.times import read_scale
from ..lists import batches, counted, isolate, listed, reason_of
from ..repository import check_kept, fetch_instruments, try_again, unharmed
from .choice import GivenInstrument, band_of, choose_instrument
from .columns import LARGEST_INTEGER, Column
from .days import DayRollover
from .doubts import warn_of_times
from .insert import ExposurePlan, check_arguments, day_rows, insert_exposures, plan_and_write
from .records import ExposureValues
from .result import Correction, IngestFailure, IngestResult
from .rows import RowReader
from .table_files import read_table

_PROGRESS = Progress("butler_visits.ingest")

_BATCH = 2000
"""Rows in one transaction."""

_SCALES = ("utc", "tai", "tt")

COLUMNS: dict[str, tuple[str, ...]] = {
    "exposure_id": ("id",),
    "obs_id": ("observation_id",),
    "datetime_begin": ("begin", "date_obs", "mjd"),
    "datetime_end": ("end",),
    "exposure_time": ("exptime",),
    "dark_time": (),
    "day_obs": ("observing_day", "night"),
    "observation_type": (),
    "observation_reason": (),
    "physical_filter": ("filter",),
    "band": (),
    "target_name": ("object", "target"),
    "science_program": ("program",),
    "group": ("exposure_group",),
    "seq_num": ("observation_counter",),
    "seq_start": ("group_counter_start",),
    "seq_end": ("group_counter_end",),
    "tracking_radec": (),
    "tracking_ra": ("ra",),
    "tracking_dec": ("dec",),
    "sky_angle": ("boresight_rotation_angle",),
    "azimuth": ("az",),
    "zenith_angle": (),
    "altitude": ("alt",),
    "can_see_sky": (),
    "has_simulated": (),
}
"""What is taken from a table, and further names that its columns may have; upper and lower case are the same."""

REQUIRED_COLUMNS = ("exposure_id", "datetime_begin", "physical_filter")
"""What each exposure must have."""


def ingest_table(
    butler: Butler,
    table: Table | ResourcePathExpression,
    instrument: GivenInstrument,
    *,
    names: Mapping[str, str] | None = None,
    constants: Mapping[str, Any] | None = None,
    time_scale: str | None = None,
    label: str | None = None,
    batch_size: int = _BATCH,
    on_error: Literal["raise", "skip"] = "raise",
    update_records: bool = False,
    dry_run: bool = False,
) -> IngestResult:
    """Put the exposures of a table into a repository.

    Exposures that are there already are skipped, so that running it twice is safe. Of these nothing is compared or
    corrected that the table has no column for, or leaves empty.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository, writeable.
    table : `astropy.table.Table` or `lsst.resources.ResourcePathExpression`
        The table, or a file that `read_table` reads.
    instrument : `lsst.resources.ResourcePathExpression` or `InstrumentDescription`
        The instrument: a registered name, a description, a YAML file that has one, or a new name.
    names : `~collections.abc.Mapping` [`str`, `str`], optional
        Columns that have other names than `COLUMNS` knows, by those.
    constants : `~collections.abc.Mapping` [`str`, `object`], optional
        Values that all exposures have, by the names in `COLUMNS`.
    time_scale : `str`, optional
        Scale of the times, unless their column has its own: ``utc``, ``tai`` or ``tt``. By default what ``TIMESYS`` in
        the table's metadata says, or UTC if it is not there.
    label : `str`, optional
        What the table is called in messages; by default the file's name.
    batch_size : `int`, optional
        Rows that are written together, in one transaction.
    on_error : `str`, optional
        ``raise`` stops at the first row of which no exposure can be made, and nothing of its batch is written; ``skip``
        reports such rows and ingests all others.
    update_records : `bool`, optional
        Replace exposures that are stored otherwise, instead of raising; `redefine_visits` does so with their visits.
    dry_run : `bool`, optional
        Write nothing; the result is what would be done.

    Returns
    -------
    result : `IngestResult`
        What was done.

    Raises
    ------
    IngestError
        If the table cannot be read, lacks a column or has a value that makes no sense.
    lsst.daf.butler.registry.ConflictingDefinitionError
        If an exposure is stored otherwise.
    TypeError
        If the Butler is read-only.
    """
    check_arguments(butler, on_error, dry_run=dry_run)
    label = label or ("The table" if isinstance(table, Table) else str(table))
    content = table if isinstance(table, Table) else read_table(table)
    found, scale = understand_table(label, content, names or {}, constants or {}, time_scale)
    choice = choose_instrument(butler, instrument, any_name=True, register=not dry_run)
    description, fields = choice.description, choice.fields()
    reader = RowReader(
        label,
        found,
        required=REQUIRED_COLUMNS,
        band=partial(band_of, choice.translator),
        day_offset=None if description is None else round(3600 * description.day_obs_offset_hours),
        time_scale=scale,
        exposure_max=_exposure_max(butler, fields),
    )
    return _ingest(
        butler,
        fields,
        reader,
        len(content),
        batch_size,
        skip_errors=on_error == "skip",
        update_records=update_records,
        dry_run=dry_run,
    )


def understand_table(
    label: str, table: Table, names: Mapping[str, str], constants: Mapping[str, Any], time_scale: str | None
) -> tuple[dict[str, Column], str]:
    """Find the columns of what exposures are made of, and the scale of times."""
    if time_scale is not None and time_scale not in _SCALES:
        raise IngestError(f"The time scale must be one of {', '.join(_SCALES)}, not {time_scale!r}.")
    return _find_columns(label, table, names, constants), time_scale or _time_scale(label, table)


def _ingest(
    butler: Butler,
    fields: Mapping[str, Any],
    reader: RowReader,
    n_rows: int,
    batch_size: int,
    *,
    skip_errors: bool,
    update_records: bool,
    dry_run: bool,
) -> IngestResult:
    result = IngestResult(n_files=n_rows)
    # By id the row of each exposure that is done.
    sources: dict[int, str] = {}
    days = DayRollover(butler)
    # By day when it begins, of all exposures that are done.
    begins: dict[int, int | None] = {}

    def fail(source: str, error: Exception) -> None:
        if not skip_errors:
            raise error
        result.failures.append(IngestFailure(source, reason_of(error)))

    def write_together(
        some: Sequence[ExposureValues],
    ) -> list[tuple[ExposureValues, bool | Correction | Exception]]:
        def write(plan: ExposurePlan) -> None:
            if plan.failures and not skip_errors:
                raise plan.failures[0][1]
            if (plan.new or plan.changed) and not dry_run:
                with butler.transaction(), unharmed(butler):
                    insert_exposures(butler, plan)

        plan, _ = plan_and_write(butler, fields, some, write, sources.get if update_records else None)
        good = [*plan.new, *plan.known, *(one for one, _ in plan.changed)]
        begins.update((plan.records[one.id].day_obs, one.day_offset) for one in good)
        there = [*((one, True) for one in plan.new), *((one, False) for one in plan.known)]
        return [*there, *plan.changed, *plan.failures]

    bar: ProgressBar[None]
    with (
        noting(lambda: "" if dry_run else result.stored("row")),
        _PROGRESS.bar(total=n_rows, desc=f"Ingesting {counted(n_rows, 'row')}") as bar,
    ):
        for rows in batches(range(n_rows), batch_size):
            given = []
            for row, one in zip(rows, reader.read(range(rows[0], rows[-1] + 1)), strict=True):
                if isinstance(one, IngestError):
                    fail(f"row {row + 1}", one)
                else:
                    given.append(one)
            warn_of_times(given)
            outcomes, refused = isolate(write_together, given, skip=skip_errors)
            outcomes += refused
            for exposure, outcome in outcomes:
                if isinstance(outcome, Exception):
                    fail(exposure.source, outcome)
                    continue
                sources.setdefault(exposure.id, exposure.source)
                days.add(fields["name"], exposure)
                if isinstance(outcome, Correction):
                    result.corrections.append(outcome)
                else:
                    result.n_ingested += outcome
                    result.n_skipped += not outcome
            bar.update(len(rows))
    described = any(begin is not None for begin in begins.values())
    if result.corrections and described and "day_obs" in butler.dimensions.elements.names and not dry_run:
        # Last, because they say until then how the days of exposures followed from their begins.
        begun = day_rows(fields["name"], begins)
        try_again(butler, lambda: butler.registry.insertDimensionData("day_obs", *begun, replace=True))
    result.n_exposures = result.n_ingested
    result.exposures = {fields["name"]: sorted(sources)} if sources else {}
    if not dry_run:
        check_kept(butler, "exposure", fields["name"], sources)
    return result


def _time_scale(label: str, table: Table) -> str:
    """Return the time scale that a table's metadata tell."""
    given = str(table.meta.get("TIMESYS") or "utc").strip()
    try:
        scale = read_scale(given)
    except ValueError:
        scale = ""
    if scale not in _SCALES:
        raise IngestError(
            f"{label}: TIMESYS in the metadata is {given!r}; expected one of {', '.join(_SCALES)}. Say with "
            "--time-scale which one is meant."
        )
    return scale


def _exposure_max(butler: Butler, fields: Mapping[str, Any]) -> int:
    """Return the largest id that exposures of an instrument can have."""
    record = fetch_instruments(butler).get(fields["name"])
    largest = fields["exposure_max"] if record is None else record.exposure_max
    return LARGEST_INTEGER if largest is None else min(int(largest), LARGEST_INTEGER)


def _find_columns(
    label: str, table: Table, names: Mapping[str, str], constants: Mapping[str, Any]
) -> dict[str, Column]:
    """Find the columns of what exposures are made of."""
    for name in [*names, *constants]:
        if name not in COLUMNS:
            raise IngestError(f"{name!r} is not a property of exposures; expected one of {', '.join(COLUMNS)}.")
    columns = listed(table.colnames) or "none"
    by_lower = {str(column).lower(): column for column in reversed(table.colnames)}
    found: dict[str, Column] = {}
    for name, others in COLUMNS.items():
        if name in constants:
            data = Table({name: [constants[name]] * len(table)})[name]
            found[name] = Column(label, name, data)
            continue
        if name in names and names[name] not in table.colnames:
            raise IngestError(f"{label} has no column {names[name]!r} for {name}; its columns are {columns}.")
        column = names.get(name) or next((by_lower[one] for one in (name, *others) if one in by_lower), None)
        if column is not None:
            found[name] = Column(label, column, table[column])
            if len(table[column].shape) != 1:
                raise IngestError(
                    f"{label}, column {column}: each row has an array of shape {table[column].shape[1:]}; expected one "
                    "value."
                )
    for name in REQUIRED_COLUMNS:
        if name not in found:
            raise IngestError(
                f"{label} has no column for {name}, which each exposure must have; its columns are {columns}. Say "
                f"which it is with --map {name}=COLUMN, or what it is for all with --set {name}=VALUE."
            )
    if ("tracking_ra" in found) != ("tracking_dec" in found):
        there, missing = sorted(("tracking_ra", "tracking_dec"), key=lambda name: name not in found)
        raise IngestError(f"{label} has a column for {there} and none for {missing}; its columns are {columns}.")
    return found
