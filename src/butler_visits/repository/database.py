"""The only file that knows what is private to the Butler: its database, its tables and where its datastore puts files.

A test says by name what of it a new version of the Butler no longer has.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from uuid import UUID

import sqlalchemy
from lsst.daf.butler import Butler, CollectionType, DatasetRef, FileDataset, FormatterV2, Timespan, ddl
from lsst.daf.butler.column_spec import ColumnSpec, StringColumnSpec
from lsst.daf.butler.datastore import DatasetRefURIs
from lsst.daf.butler.datastore.stored_file_info import StoredFileInfo
from lsst.daf.butler.datastores.fileDatastore import FileDatastore
from lsst.daf.butler.direct_butler import DirectButler
from lsst.daf.butler.registry.databases.sqlite import SqliteDatabase
from lsst.daf.butler.registry.interfaces import Database
from lsst.daf.butler.registry.obscore import ObsCoreLiveTableManager
from lsst.daf.butler.registry.sql_registry import SqlRegistry
from lsst.resources import ResourcePath
from lsst.sphgeom import Region

from ..errors import ReadOnlyError, VisitsError
from ..lists import id_batches, listed
from . import served
from .served import Certified

_LOG = logging.getLogger(__name__)


def database_of(butler: Butler) -> Database:
    """Return the database of a repository's registry; `VisitsError` if the Butler speaks to a server instead."""
    return _registry(butler)._db


def _registry(butler: Butler) -> SqlRegistry:
    if not isinstance(butler, DirectButler):
        raise VisitsError(
            f"A {type(butler).__name__} has no database of its own; open the repository with a configuration that "
            "names its database."
        )
    return butler._registry


def is_served(butler: Butler) -> bool:
    """Tell whether a Butler speaks to a server, which has the database and lets nobody write."""
    return not isinstance(butler, DirectButler)


def require_writeable(butler: Butler) -> None:
    """Raise `ReadOnlyError` if nothing can be written through a Butler."""
    if is_served(butler):
        raise ReadOnlyError(
            f"Nothing can be written through a Butler server ({butler}): open the repository with its own "
            "configuration, which names its database."
        )
    if not butler.isWriteable():
        raise ReadOnlyError("Nothing can be written through a read-only Butler; open it with writeable=True.")


def database_name(butler: Butler) -> str:
    """Say which database a repository has."""
    return str(database_of(butler))


def sqlite_file(butler: Butler) -> str | None:
    """Return the file of a repository's database; `None` if it has none of its own."""
    if is_served(butler):
        return None
    database = database_of(butler)
    return database.filename if isinstance(database, SqliteDatabase) else None


def close_connections(butler: Butler) -> None:
    """Close the connections that nothing uses just now, so that others are opened."""
    database_of(butler)._engine.dispose()


def in_transaction(butler: Butler) -> bool:
    """Tell whether a Butler is in a transaction."""
    return not is_served(butler) and database_of(butler).isInTransaction()


def table_of(
    database: Database,
    name: str,
    columns: Iterable[str],
    *others: sqlalchemy.ColumnClause[Any],
    ids: Iterable[str] = (),
) -> Any:
    """Describe a table by some of its columns; those with ids of exposures and visits must be said to be large."""
    # Ids do not fit into what SQLAlchemy takes for an integer by itself.
    kinds: dict[str, Any] = dict.fromkeys(columns) | dict.fromkeys(ids, sqlalchemy.BigInteger)
    return sqlalchemy.table(name, *map(sqlalchemy.column, kinds, kinds.values()), *others, schema=database.namespace)


@contextmanager
def one_connection(butler: Butler) -> Iterator[None]:
    """Read several things with one connection; nothing may be written meanwhile, for it would be undone.

    Taking a connection costs as much as a small query, on PostgreSQL three times that.
    """
    if is_served(butler):
        yield
        return
    database = database_of(butler)
    try:
        with database.session():
            yield
    finally:
        # One that is lost cannot be closed either, and then the Butler would use it for good.
        if (connection := database._session_connection) is not None and connection.closed:
            database._session_connection = None


# To put a statement together takes longer than to read a few rows with it.
@lru_cache
def _selection(
    table: str, schema: str | None, columns: tuple[tuple[str, Any], ...], only: tuple[str, ...]
) -> sqlalchemy.Select[Any]:
    """Make the statement that reads columns of an instrument's rows, all or those that have some ids or names."""
    source = sqlalchemy.table(table, *(sqlalchemy.column(*one) for one in columns), schema=schema)
    statement = sqlalchemy.select(source).where(sqlalchemy.column("instrument") == sqlalchemy.bindparam("instrument"))
    for name in only:
        # Ids do not fit into what SQLAlchemy takes for an integer by itself.
        kind = None if name in ("name", "obs_id") else sqlalchemy.BigInteger
        some = sqlalchemy.bindparam(f"some_{name}", type_=kind, expanding=True)
        statement = statement.where(sqlalchemy.column(name, kind).in_(some))
    return statement


def read_columns(
    butler: Butler, table: str, instrument: str, *columns: str, **only: Iterable[Any] | None
) -> list[tuple[Any, ...]]:
    """Read columns of all rows of an instrument, or of those that have one of some ids or names in another column.

    From universe 6 on the Butler's queries join a visit and its exposures on ``day_obs``, and leave out those of
    another day. Of regions they would make an object each, of which only the bytes are wanted: that takes eight times
    as long.
    """
    given = {name: values for name, values in only.items() if values is not None}
    if is_served(butler):
        return list(served.read_columns(butler, table, instrument, columns, given))
    database = database_of(butler)
    statement = _selection(table, database.namespace, tuple((name, None) for name in columns), tuple(given))
    # All rows, or batch by batch those that have one of the values.
    batches: Iterable[dict[str, Any]] = [{}]
    for name, values in given.items():
        batches = [{f"some_{name}": batch} for batch in id_batches(values)]
    found: list[tuple[Any, ...]] = []
    for one in batches:
        with database.query(statement, {"instrument": instrument, **one}) as rows:
            found += map(tuple, rows)
    return found


def read_values(butler: Butler, table: str, instrument: str, column: str) -> set[Any]:
    """Read which values a column has, of an instrument's rows."""
    if is_served(butler):
        return {value for (value,) in served.read_columns(butler, table, instrument, [column], {})}
    database = database_of(butler)
    source = table_of(database, table, ["instrument", column])
    statement = sqlalchemy.select(source.c[column]).where(source.c.instrument == instrument).distinct()
    with database.query(statement) as rows:
        return set(rows.scalars())


def read_unmatched(
    butler: Butler, table: str, id_: str, others: str, reference: str, instrument: str, *, unless_false: str | None
) -> list[int]:
    """Read the ids of an instrument's rows to which no row of another table refers, in their order.

    ``unless_false``: a column; rows in which it is false are left out.
    """
    database = database_of(butler)
    own = table_of(database, table, ["instrument", *filter(None, [unless_false])], ids=[id_])
    other = table_of(database, others, ["instrument"], ids=[reference])
    is_matched = sqlalchemy.exists().where(other.c.instrument == instrument, other.c[reference] == own.c[id_])
    statement = sqlalchemy.select(own.c[id_]).where(own.c.instrument == instrument, ~is_matched).order_by(own.c[id_])
    if unless_false is not None:
        statement = statement.where(sqlalchemy.or_(own.c[unless_false].is_(None), own.c[unless_false]))
    with database.query(statement) as rows:
        return list(rows.scalars())


StoredRow = tuple[dict[str, Any], str | Region | None]
"""The fields of a ``visit`` record, and its region as a text or, from a server, as it is."""


def read_visit_rows(butler: Butler, instrument: str, visits: Iterable[int]) -> Mapping[int, StoredRow]:
    """Read the fields of ``visit`` records by id, and their regions as the text that the database has.

    The Butler's own query, and records and regions made anew, take ten times as long.
    """
    if is_served(butler):
        return served.read_visit_rows(butler, instrument, visits)
    database = database_of(butler)
    representation = database.getTimespanRepresentation()
    names = [n for n in butler.dimensions["visit"].RecordClass.fields.names if n not in ("id", "region", "timespan")]
    times = [(spec.name, spec.getSizedColumnType()) for spec in representation.makeFieldSpecs(nullable=True)]
    columns = (("id", sqlalchemy.BigInteger), *((name, None) for name in names), ("region", None), *times)
    statement = _selection("visit", database.namespace, columns, ("id",))
    fields = ("id", *names)
    ends = [name for name, _ in times]
    found = {}
    for batch in id_batches(visits):
        with database.query(statement, {"instrument": instrument, "some_id": batch}) as rows:
            for row in rows:
                record = dict(zip(fields, row, strict=False))
                record["timespan"] = representation.extract(dict(zip(ends, row[len(fields) + 1 :], strict=True)))
                found[row[0]] = record, row[len(fields)]
    return found


@lru_cache
def _associations(
    table: str, schema: str | None, link: str, times: tuple[tuple[str, Any], ...]
) -> sqlalchemy.Select[Any]:
    """Make the statement that reads which datasets a table has of an instrument, and when they are valid."""
    # Older repositories know collections by their names alone.
    key = "name" if link == "collection_name" else link
    collection = sqlalchemy.table("collection", *map(sqlalchemy.column, {key, "name"}), schema=schema)
    source = sqlalchemy.table(
        table,
        sqlalchemy.column("dataset_id", ddl.GUID),
        *map(sqlalchemy.column, ("dataset_type_id", "instrument", link)),
        *(sqlalchemy.column(*one) for one in times),
        schema=schema,
    )
    return (
        sqlalchemy.select(
            source.c.dataset_type_id, source.c.dataset_id, collection.c.name, *(source.c[name] for name, _ in times)
        )
        .join_from(source, collection, source.c[link] == collection.c[key])
        .where(
            source.c.dataset_type_id.in_(sqlalchemy.bindparam("types", expanding=True)),
            source.c.instrument == sqlalchemy.bindparam("instrument"),
            collection.c.name.in_(sqlalchemy.bindparam("collections", expanding=True)),
        )
    )


@lru_cache
def _dataset_types(schema: str | None) -> sqlalchemy.Select[Any]:
    """Make the statement that reads which tables have the datasets of types."""
    columns = ("id", "name", "calibration_association_table", "tag_association_table")
    types = sqlalchemy.table("dataset_type", *map(sqlalchemy.column, columns), schema=schema)
    return sqlalchemy.select(types).where(types.c.name.in_(sqlalchemy.bindparam("names", expanding=True)))


@lru_cache
def _collection_types(schema: str | None) -> sqlalchemy.Select[Any]:
    """Make the statement that reads of which types collections are."""
    collection = sqlalchemy.table("collection", *map(sqlalchemy.column, ("name", "type")), schema=schema)
    return sqlalchemy.select(collection).where(collection.c.name.in_(sqlalchemy.bindparam("names", expanding=True)))


def read_collection_types(butler: Butler, collections: Sequence[str]) -> dict[str, CollectionType]:
    """Read of which types collections are, those that are there.

    The Butler takes ten times as long, for each of them.
    """
    if is_served(butler):
        return served.read_collection_types(butler, collections)
    database = database_of(butler)
    with database.query(_collection_types(database.namespace), {"names": list(collections)}) as rows:
        return {row.name: CollectionType(row.type) for row in rows}


def find_certified(
    butler: Butler, dataset_types: Sequence[str], instrument: str, collections: Collection[str]
) -> list[Certified]:
    """Find an instrument's datasets of some types in collections, which are not chained, in no order.

    The Butler's own query takes a hundred times what the database does, and is asked for each exposure of a night.
    """
    if not collections:
        return []
    if is_served(butler):
        return list(served.find_certified(butler, dataset_types, instrument, collections))
    database = database_of(butler)
    link = _registry(butler)._managers.collections.getCollectionForeignKeyName()
    representation = database.getTimespanRepresentation()
    times = tuple((spec.name, spec.getSizedColumnType()) for spec in representation.makeFieldSpecs(nullable=False))
    certified = []
    with one_connection(butler):
        with database.query(_dataset_types(database.namespace), {"names": list(dataset_types)}) as rows:
            found = {row.id: row for row in rows}
        tables = {(row.calibration_association_table, times) for row in found.values()}
        tables |= {(row.tag_association_table, ()) for row in found.values()}
        for table, own in tables:
            if table is None:
                continue
            statement = _associations(table, database.namespace, link, own)
            values = {"types": list(found), "instrument": instrument, "collections": list(collections)}
            with database.query(statement, values) as rows:
                for row in rows.mappings():
                    valid = representation.extract(row) if own else None
                    name = found[row["dataset_type_id"]].name
                    whenever = Timespan(None, None)
                    certified.append(Certified(row["dataset_id"], name, row["name"], valid or whenever))
    return certified


def text_limit(column: ColumnSpec) -> int | None:
    """Tell how many characters a column takes; `None` if any number.

    The Butler makes columns of more than 32 characters texts of any length, whatever the universe says.
    """
    if not isinstance(column, StringColumnSpec):
        return None
    return column.length if column.to_sql_spec().isStringType() else None


def lock_visits(butler: Butler, instrument: str, visits: Iterable[int]) -> None:
    """Keep everybody else from changing visits until the transaction ends, and wait for those who are changing them.

    SQLite has locked the whole database when the transaction began, so SQLAlchemy leaves the lock out of the statement.
    PostgreSQL locks a row only when it is written, so that somebody else could change it between our look at it and our
    writing, and lose the change. Locking rows leaves other visits to other writers, which locking the table would not.
    """
    _lock(butler, "visit", instrument, visits, shares_key=False)


def lock_exposures(butler: Butler, instrument: str, exposures: Iterable[int]) -> None:
    """Let nobody else write datasets of exposures until the transaction ends, and wait for those who are writing them.

    As `lock_visits`, but whoever only refers to the exposures, as visits do, is not kept from it.
    """
    _lock(butler, "exposure", instrument, exposures, shares_key=True)


def park_names(butler: Butler, instrument: str, visits: Iterable[int]) -> None:
    """Give visits names that no other one has, until they are written with their new ones."""
    database = database_of(butler)
    table = table_of(database, "visit", ["instrument", "name"], ids=["id"])
    rows = [{"of": instrument, "visit": visit, "name": f"{visit} gets another name"} for visit in sorted(visits)]
    database.update(table, {"instrument": "of", "id": "visit"}, *rows)


def tables_of_visits(butler: Butler) -> list[Any]:
    """Return the tables whose rows belong to visits, those of datasets included, with their columns."""
    database = database_of(butler)
    with database._transaction() as (_, connection):
        inspector = sqlalchemy.inspect(connection)
        keys = inspector.get_multi_foreign_keys(schema=database.namespace)
        names = [
            str(name)
            for (_, name), own in keys.items()
            if any(key["referred_table"] == "visit" and "visit" in key["constrained_columns"] for key in own)
        ]
        columns = inspector.get_multi_columns(schema=database.namespace, filter_names=names)
    return [
        sqlalchemy.table(name, *(sqlalchemy.column(one["name"], one["type"]) for one in own), schema=database.namespace)
        for (_, name), own in sorted(columns.items(), key=lambda item: item[0][1])
    ]


def _lock(butler: Butler, element: str, instrument: str, ids: Iterable[int], *, shares_key: bool) -> None:
    database = database_of(butler)
    table = table_of(database, element, ["instrument"], ids=["id"])
    # In the order of ids, as all rows are written, so that two writers cannot wait for each other.
    for batch in id_batches(ids):
        rows = sqlalchemy.select(table.c.id).where(table.c.instrument == instrument, table.c.id.in_(batch))
        with database.query(rows.order_by(table.c.id).with_for_update(key_share=shares_key)):
            pass


def update_exposure_regions(
    butler: Butler, instrument: str, regions: Callable[[], Sequence[tuple[int, int, Region]]]
) -> None:
    """Update exposures' regions in the registry's ObsCore table; they are made only if there is one."""
    obscore = butler.registry.obsCoreTableManager
    if obscore is None or not (rows := regions()) or obscore.update_exposure_regions(instrument, rows):
        return
    if isinstance(obscore, ObsCoreLiveTableManager):
        names = ("instrument", "exposure", "detector")
        if missing := [name for name in names if obscore.schema.dimension_column(name) is None]:
            _LOG.warning(
                "The registry's ObsCore table has no column for %s, so exposures got no regions there. It needs "
                "extra_columns with the templates %s (see lsst.daf.butler); or set updateObsCoreTable=False.",
                listed(missing),
                listed(f'"{{{name}}}"' for name in missing),
            )


def file_places(
    butler: Butler, datasets: Sequence[FileDataset], formatter: type[FormatterV2]
) -> list[ResourcePath] | None:
    """Say where the datastore would put files that are ingested; `None` if it is not one of files."""
    if not isinstance(butler, DirectButler) or (datastore := _file_datastore(butler)) is None:
        return None
    refs = [dataset.refs[0] for dataset in datasets]
    data_ids = butler._expand_data_ids([ref.dataId for ref in refs])
    return [
        datastore._calculate_ingested_datastore_name(ResourcePath(dataset.path), ref.expanded(data_id), formatter).uri
        for dataset, ref, data_id in zip(datasets, refs, data_ids, strict=True)
    ]


def recorded_paths(butler: Butler, refs: Iterable[DatasetRef]) -> dict[UUID, str]:
    """Return what the datastore has recorded of where the files of datasets are: absolute URIs, or paths within it.

    Raises `VisitsError` if the datastore is not one of files.
    """
    if (datastore := _file_datastore(butler)) is None:
        raise VisitsError(
            "Images are read from the files of raws; that takes a repository with one datastore of files."
        )
    return {id_: info.path for id_, info in _recorded(datastore, refs)}


def find_uris(butler: Butler, refs: Sequence[DatasetRef]) -> Mapping[DatasetRef, DatasetRefURIs]:
    """Find where the files of datasets are, of those that have any."""
    if is_served(butler):
        return served.find_uris(butler, refs)
    return butler.get_many_uris(refs, allow_missing=True)


def recorded_size(butler: Butler, ref: DatasetRef) -> int | None:
    """Return how large a dataset's file was when it was stored; `None` if nobody knows."""
    if (datastore := _file_datastore(butler)) is None:
        return None
    sizes = [info.file_size for _, info in _recorded(datastore, [ref])]
    return sizes[0] if len(sizes) == 1 and sizes[0] >= 0 else None


def _file_datastore(butler: Butler) -> FileDatastore | None:
    datastore = butler._datastore if isinstance(butler, DirectButler) else None
    return datastore if isinstance(datastore, FileDatastore) else None


def _recorded(datastore: FileDatastore, refs: Iterable[DatasetRef]) -> list[tuple[UUID, StoredFileInfo]]:
    exported = datastore.export_records(refs)[datastore.name].records
    found = ((id_, info) for id_, tables in exported.items() for infos in tables.values() for info in infos)
    return [(id_, info) for id_, info in found if isinstance(info, StoredFileInfo)]
