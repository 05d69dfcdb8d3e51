"""Small repositories to define visits in, and what is stored in them afterwards."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from lsst.daf.butler import Butler, DataCoordinate, DimensionRecord, Timespan
from lsst.daf.butler.direct_butler import DirectButler
from lsst.sphgeom import Region
from sqlalchemy import Connection, Engine, text

from butler_visits import DefineVisitsConfig, DefineVisitsTask
from butler_visits.repository.database import database_of
from simulated_survey import INSTRUMENT, NS_PER_S, night

DAY: Final = 20260401
N_DETECTORS: Final = 9

GROUPINGS: Final = ("one-to-one", "by-group-metadata", "one-to-one-and-by-counter")
ELEMENTS: Final = ("visit", "visit_definition", "visit_system", "visit_system_membership", "visit_detector_region")

Tables = dict[str, list[tuple[Any, ...]]]


def exposure(
    seq_num: int, *, seq_start: int | None = None, seq_end: int | None = None, **changes: Any
) -> dict[str, Any]:
    """Describe an exposure on the sky: a single one, or one of the snaps seq_start to seq_end."""
    start = seq_num if seq_start is None else seq_start
    begin = (1_775_000_000 + 40 * seq_num) * NS_PER_S
    return {
        "id": DAY * 100000 + seq_num,
        "obs_id": f"SC_O_{DAY}_{seq_num:06d}",
        "day_obs": DAY,
        "seq_num": seq_num,
        "seq_start": start,
        "seq_end": seq_num if seq_end is None else seq_end,
        "group": f"2026-04-01T23:59:{start:06.3f}",
        "exposure_time": 15.0 + 0.1 * seq_num,
        "dark_time": 16.0,
        "observation_type": "science",
        "observation_reason": "survey",
        "physical_filter": "r_sim",
        "target_name": f"field {start}",
        "science_program": "SURVEY-1",
        "tracking_ra": 30.0 + 5.0 * start,
        "tracking_dec": -20.0 + 0.001 * seq_num,
        "sky_angle": 10.0 * start,
        "azimuth": 100.0 + seq_num,
        "zenith_angle": 30.0 + 0.1 * seq_num,
        "can_see_sky": True,
        "timespan": Timespan.model_validate((begin, begin + 16 * NS_PER_S)),
        **changes,
    }


def add_exposures(butler: Butler, exposures: Iterable[dict[str, Any]], *, replace: bool = False) -> list[int]:
    """Insert exposures with their groups and days (or correct them), and return their ids."""
    exposures = list(exposures)
    for element, key in (("group", "name"), ("day_obs", "id")):
        known = [{"instrument": INSTRUMENT, key: value} for value in {one[element] for one in exposures}]
        butler.registry.insertDimensionData(element, *known, skip_existing=True)
    rows = [{"instrument": INSTRUMENT, **one} for one in exposures]
    butler.registry.insertDimensionData("exposure", *rows, replace=replace)
    return [one["id"] for one in exposures]


def data_ids(exposures: Iterable[int]) -> list[dict[str, Any]]:
    return [{"instrument": INSTRUMENT, "exposure": exposure} for exposure in exposures]


def coordinates(butler: Butler, exposures: Iterable[int]) -> list[DataCoordinate]:
    return [DataCoordinate.standardize(data_id, universe=butler.dimensions) for data_id in data_ids(exposures)]


def records(butler: Butler, exposures: Iterable[int]) -> list[DimensionRecord]:
    found = {record.id: record for record in stored(butler, "exposure")}
    return [found[exposure] for exposure in exposures]


def make_task(butler: Butler, grouping: str = "one-to-one", **fields: Any) -> DefineVisitsTask:
    config = DefineVisitsConfig()
    config.groupExposures.name = grouping
    config.update(**fields)
    return DefineVisitsTask(config, butler=butler)


def only(option: str) -> dict[str, Any]:
    """Return one option of the task, switched on."""
    return {option: True}


def stored(butler: Butler, element: str) -> list[DimensionRecord]:
    with butler.query() as query:
        return list(query.dimension_records(element).where(instrument=INSTRUMENT))


def tables(butler: Butler) -> Tables:
    """Read all that visits are made of: five elements, and the pixels of the sky that their regions overlap."""
    found = {element: sorted(map(_values, stored(butler, element)), key=repr) for element in ELEMENTS}
    for overlap, dimensions in (("visit_overlap", ["visit"]), ("detector_overlap", ["visit", "detector"])):
        with butler.query() as query:
            rows = query.data_ids([*dimensions, butler.dimensions.commonSkyPix.name]).where(instrument=INSTRUMENT)
            found[overlap] = sorted(
                tuple(row[name] for name in [*dimensions, butler.dimensions.commonSkyPix.name]) for row in rows
            )
    return found


def counts(result: Any) -> dict[str, int]:
    """Return the counts of a run that are not zero."""
    return {name: value for name, value in result.getDict().items() if value and name != "off_sky_types"}


def root(butler: Butler) -> Path:
    assert isinstance(butler, DirectButler)
    folder = butler._config.configDir
    assert folder is not None
    return Path(folder.ospath)


def engine(butler: Butler) -> Engine:
    """Return SQLAlchemy's engine of a repository."""
    return database_of(butler)._engine


def connect(butler: Butler) -> AbstractContextManager[Connection]:
    """Begin a transaction of one's own, behind the Butler's back."""
    return engine(butler).begin()


def spoil(butler: Butler, table: str, region: bytes | None, **where: int) -> None:
    """Store something else as a region, behind the Butler's back."""
    conditions = " AND ".join(f"{name} = {value}" for name, value in where.items())
    value = None if region is None else base64.b64encode(region).decode()
    with connect(butler) as connection:
        changed = connection.execute(text(f"UPDATE {table} SET region = :value WHERE {conditions}"), {"value": value})
    assert changed.rowcount == 1


def wait_for_servers(butler: Butler) -> None:
    """Wait until PostgreSQL has done what processes asked of it that have been killed since."""
    if engine(butler).dialect.name != "postgresql":
        return
    others = text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"
    )
    with engine(butler).connect() as connection:
        while connection.execute(others).scalar():
            connection.rollback()
            time.sleep(0.01)


def delete_rows(butler: Butler, table: str, **where: int) -> None:
    """Delete rows behind the Butler's back."""
    conditions = " AND ".join(f"{name} = {value}" for name, value in where.items())
    with connect(butler) as connection:
        deleted = connection.execute(text(f"DELETE FROM {table} WHERE {conditions}")).rowcount
    assert deleted > 0


def make_read_only(butler: Butler) -> None:
    """Let nobody write into the database who opens it from now on, also not root."""
    if engine(butler).dialect.name == "postgresql":
        with connect(butler) as connection:
            database = engine(butler).url.database
            connection.execute(text(f"ALTER DATABASE {database} SET default_transaction_read_only = on"))
        return
    # SQLite takes it for read-only by a write version that it does not know.
    with (root(butler) / "gen3.sqlite3").open("r+b") as database_file:
        database_file.seek(18)
        database_file.write(b"\x03")


def _values(record: DimensionRecord) -> tuple[Any, ...]:
    values = (getattr(record, field) for field in record.fields.names)
    return tuple(
        value.encode() if isinstance(value, Region) else value.nsec if isinstance(value, Timespan) else value
        for value in values
    )


def mixed_night() -> list[dict[str, Any]]:
    """Take a night in which the exposures of a group may differ, and may lack values."""
    exposures = night(40)
    differing, lacking, *_ = (exposure for exposure in exposures if exposure["seq_num"] > exposure["seq_start"])
    differing |= {
        "target_name": "another",
        "observation_reason": "engineering",
        "science_program": "ANOTHER-2",
        "exposure_time": 15.1,
        # Their mean is not the mean of the numbers.
        "azimuth": (differing["azimuth"] + 220.0) % 360.0,
    }
    nullable = ("target_name", "observation_reason", "science_program", "exposure_time", "azimuth", "zenith_angle")
    lacking |= dict.fromkeys(nullable)
    single, evening, morning, *_ = (
        e for e in exposures if e["observation_type"] == "science" and e["seq_start"] == e["seq_end"]
    )
    single |= dict.fromkeys(nullable)
    # A group need not be a sequence of the counter, nor of one day.
    morning |= {"group": evening["group"], "day_obs": evening["day_obs"] + 1}
    return exposures
