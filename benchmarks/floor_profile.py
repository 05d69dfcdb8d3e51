"""Say what the floor's time goes to, on SQLite and on PostgreSQL, and what writing in other ways would gain.

Parts of the floor are timed while it runs: the database's driver by SQLAlchemy's events, the Butler's rows and overlaps
by timers around its methods. What constraints cost is what it takes less without them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import sqlalchemy
from lsst.daf.butler import Butler
from sqlalchemy import event

from butler_visits.repository.database import database_of
from classic import Records, floor_records, insert_floor, visit_records
from direct import (
    OVERLAPS,
    REGIONS,
    Rows,
    Writer,
    by_copy,
    by_statement,
    driver_connection,
    overlap_rows,
    region_rows,
    write_directly,
)
from measure import median, timed
from repositories import Cluster, Place, Template, find_programs

_Seconds = defaultdict[str, float]


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visits", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        places = [Place(folder / "sqlite", None)]
        if (programs := find_programs()) is not None:
            places.append(Place(folder / "postgresql", stack.enter_context(Cluster(programs))))
        for place in places:
            template = place.template(arguments.visits)
            with place.copy(template) as butler:
                records = floor_records(butler, visit_records(butler, template.exposures).values())
            print(f"\n{place.name}, {arguments.visits} visits of 189 detectors, medians of {arguments.rounds}")
            profile(place, template, records, arguments.rounds)
            compare_ways(place, template, records, arguments.rounds)
            cost_of_constraints(place, template, records, arguments.rounds)


# What the floor's time goes to


def profile(place: Place, template: Template, records: Records, rounds: int) -> None:
    """Print the shares of the floor's parts."""
    runs: list[_Seconds] = []
    for _ in range(rounds):
        with place.copy(template) as butler, timers(butler) as seconds:
            cpu = time.process_time()
            seconds["total"] = timed(partial(insert_floor, butler, records))
            seconds["this process's CPU"] = time.process_time() - cpu
        runs.append(seconds)
    total = median([run["total"] for run in runs])
    with place.copy(template) as butler:
        n_overlaps = len(overlap_rows(butler, records[REGIONS]))
    n_rows = sum(map(len, records.values())) + n_overlaps
    print(f"floor {total:.2f} s, {n_rows} rows and more of visits' overlaps, {n_rows / total:,.0f} rows a second")
    print(f"rows of a visit: {len(records[REGIONS]) / template_size(template):.0f} regions", end=", ")
    print(f"{n_overlaps / template_size(template):.0f} overlaps")
    known = ("driver", "begin and commit", "overlaps", "rows")
    for run in runs:
        run["SQLAlchemy, and encoding regions"] = run["total"] - sum(run[name] for name in known)
    for name in sorted(set().union(*runs) - {"total"}):
        share = median([run[name] / run["total"] for run in runs])
        print(f"  {name:<60}{100 * share:5.1f} %")


def template_size(template: Template) -> int:
    """Return the number of visits."""
    return len(template.exposures)


@contextmanager
def timers(butler: Butler) -> Iterator[_Seconds]:
    """Take the times of the parts of what is written through a Butler."""
    seconds: _Seconds = defaultdict(float)
    database = database_of(butler)
    manager = cast(Any, butler)._registry._managers.dimensions
    began: list[float] = []

    def before(*_: Any) -> None:
        began.append(time.perf_counter())

    def after(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        passed = time.perf_counter() - began.pop()
        seconds["driver"] += passed
        words = statement.replace('"', "").replace("public.", "").split()
        seconds[f"driver: {' '.join(words[:3]) if words[0] == 'INSERT' else 'other statements'}"] += passed

    def timing(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed_call(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            result = call(*arguments, **options)
            seconds[name] += time.perf_counter() - start
            return result

        return timed_call

    engine = database._engine
    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "after_cursor_execute", after)
    manager._compute_common_skypix_overlap_inserts = timing("overlaps", manager._compute_common_skypix_overlap_inserts)
    manager._make_record_db_rows = timing("rows", manager._make_record_db_rows)
    # Whatever the engine's dialect does at the end of a transaction.
    dialect: Any = engine.dialect
    do_commit = dialect.do_commit
    dialect.do_commit = timing("begin and commit", do_commit)
    try:
        yield seconds
    finally:
        dialect.do_commit = do_commit
    # The rows include their overlaps.
    seconds["rows"] -= seconds["overlaps"]


# What other ways of writing gain


def compare_ways(place: Place, template: Template, records: Records, rounds: int) -> None:
    """Print what prototypes gain over the floor, and check that they leave the same rows."""
    ways: dict[str, Callable[[Butler], None]] = {
        "floor": partial(insert_floor, records=records),
        "executemany": partial(write_directly, records=records, write=by_statement),
    }
    if place.name == "PostgreSQL":
        ways["COPY"] = partial(write_directly, records=records, write=by_copy)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    contents = {}
    for _ in range(rounds):
        for name, way in ways.items():
            with place.copy(template) as butler:
                seconds[name].append(timed(partial(way, butler)))
                contents[name] = {table: content(butler, table) for table in (REGIONS, OVERLAPS)}
    assert all(rows == contents["floor"] for rows in contents.values())
    for name, values in seconds.items():
        gain = median(seconds["floor"]) / median(values)
        times = f"{median(values):.2f} s ({min(values):.2f} to {max(values):.2f})"
        print(f"  {name:<20}{times:<30}{gain:.2f} x faster than the floor")
    with place.copy(template) as butler:
        for what, make in {
            "regions": partial(region_rows, records[REGIONS]),
            "overlaps": partial(overlap_rows, butler, records[REGIONS]),
        }.items():
            taken = median([timed(make) for _ in range(rounds)])
            print(f"    of which to make the rows of {what}: {taken:.2f} s")


def content(butler: Butler, table: str) -> list[Any]:
    """Read a table."""
    with database_of(butler)._engine.begin() as connection:
        return sorted(map(tuple, connection.execute(sqlalchemy.text(f"SELECT * FROM {table}"))))


# What constraints cost


def cost_of_constraints(place: Place, template: Template, records: Records, rounds: int) -> None:
    """Print how long the driver takes for the rows of the two large tables, with fewer and fewer constraints."""
    postgresql = place.name == "PostgreSQL"
    write: Writer = by_copy if postgresql else by_statement
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, relax in (
            ("as it is", []),
            ("without foreign keys", [drop_foreign_keys]),
            ("and without their indexes", [drop_foreign_keys, drop_indexes]),
            ("and without the primary key", [copy_without_constraints]),
        ):
            with place.copy(template) as butler:
                rows = {REGIONS: region_rows(records[REGIONS]), OVERLAPS: overlap_rows(butler, records[REGIONS])}
                others = {element: made for element, made in records.items() if element != REGIONS}
                insert_floor(butler, others)
                with database_of(butler)._engine.connect() as connection:
                    for change in relax:
                        change(connection)
                    connection.commit()
                    load = partial(write_rows, driver_connection(connection), write, rows)
                    seconds.setdefault(name, []).append(timed(load))
    everything = median(seconds["as it is"])
    for name, values in seconds.items():
        taken = f"{median(values):.2f} s ({min(values):.2f} to {max(values):.2f})"
        print(f"  {write.__name__}, {name:<40}{taken:<28}{100 * median(values) / everything:5.1f} %")


def write_rows(connection: Any, write: Writer, rows: dict[str, Rows]) -> None:
    """Write tables in one transaction of the driver's connection."""
    cursor = connection.cursor()
    if type(cursor).__module__.startswith("sqlite3"):
        # The Butler has turned off that it begins of itself.
        cursor.execute("BEGIN IMMEDIATE")
    for table, made in rows.items():
        write(cursor, table, made)
    connection.commit()


def drop_foreign_keys(connection: sqlalchemy.Connection) -> None:
    """Do not check foreign keys."""
    if connection.dialect.name == "postgresql":
        connection.execute(sqlalchemy.text("SET session_replication_role = replica"))
    else:
        connection.commit()
        driver_connection(connection).execute("PRAGMA foreign_keys = OFF")


def drop_indexes(connection: sqlalchemy.Connection) -> None:
    """Drop all indexes but those of the primary keys."""
    for table in (REGIONS, OVERLAPS):
        for index in sqlalchemy.inspect(connection).get_indexes(table):
            connection.execute(sqlalchemy.text(f'DROP INDEX "{index["name"]}"'))


def copy_without_constraints(connection: sqlalchemy.Connection) -> None:
    """Put empty tables without any constraint in the place of the two."""
    for table in (REGIONS, OVERLAPS):
        connection.execute(sqlalchemy.text(f"CREATE TABLE bare AS SELECT * FROM {table} WHERE 1 = 0"))
        connection.execute(sqlalchemy.text(f"DROP TABLE {table}"))
        connection.execute(sqlalchemy.text(f"ALTER TABLE bare RENAME TO {table}"))


if __name__ == "__main__":
    main()
