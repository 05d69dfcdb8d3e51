"""What a Butler server tells, by the Butler's public queries; of a database `database` reads the same, and faster.

Each question takes some 25 ms, whatever it is, so none is asked visit by visit.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.metadata import version
from typing import Any, NamedTuple
from uuid import UUID

from lsst.daf.butler import (
    Butler,
    CollectionType,
    DatasetNotFoundError,
    DatasetRef,
    MissingCollectionError,
    MissingDatasetTypeError,
    Timespan,
)
from lsst.daf.butler.datastore import DatasetRefURIs
from lsst.sphgeom import Region
from pydantic import ValidationError

from ..lists import first_line, id_batches
from .reading import fetch_visits, readable

_QUESTIONS = 8
"""How many are asked at once, where a server answers them one by one."""


def read_columns(
    butler: Butler, table: str, instrument: str, columns: Sequence[str], only: Mapping[str, Iterable[Any]]
) -> Iterator[tuple[Any, ...]]:
    """Read columns of an instrument's rows, all or those that have some ids or names in another column.

    Queries for records send and make all their fields.
    """
    element = butler.dimensions[table]

    def key(column: str) -> str:
        if column == "id":
            return table
        return column if column in element.minimal_group.names else f"{table}.{column}"

    keys = [key(column) for column in columns]
    searches: list[tuple[str, dict[str, Any]]] = [("", {})]
    for column, values in only.items():
        searches = [(f"{key(column)} IN (some)", {"some": batch}) for batch in id_batches(values)]
    for where, bind in searches:
        with readable(f"{table} record of {instrument}"), butler.query() as query:
            rows = query.general(element.minimal_group, *(name for name in keys if "." in name))
            for row in rows.where(where, instrument=instrument, bind=bind):
                yield tuple([row[name] for name in keys])


def read_visit_rows(
    butler: Butler, instrument: str, visits: Iterable[int]
) -> dict[int, tuple[dict[str, Any], Region | None]]:
    """Read the fields of ``visit`` records by id, and their regions."""
    found = {}
    for visit, record in fetch_visits(butler, instrument, visits).items():
        fields = record.toDict()
        region = fields.pop("region")
        found[visit] = fields, region
    return found


def read_collection_types(butler: Butler, collections: Sequence[str]) -> dict[str, CollectionType]:
    """Read of which types collections are, those that are there."""
    if not collections:
        return {}
    try:
        return {info.name: info.type for info in butler.collections.query_info(collections)}
    except MissingCollectionError:
        if len(collections) == 1:
            return {}
    return {name: kind for one in collections for name, kind in read_collection_types(butler, [one]).items()}


class Certified(NamedTuple):
    """A dataset in a collection."""

    dataset_id: UUID
    dataset_type: str
    collection: str
    timespan: Timespan
    """When it is valid."""


def find_certified(
    butler: Butler, dataset_types: Sequence[str], instrument: str, collections: Collection[str]
) -> Iterator[Certified]:
    """Find an instrument's datasets of some types in collections, which are not chained, in no order."""
    for name in dataset_types:
        with suppress(MissingDatasetTypeError), butler.query() as query:
            rows = query.join_dataset_search(name, list(collections)).general(
                ["instrument"], dataset_fields={name: {"dataset_id", "collection", "timespan"}}, find_first=False
            )
            for row in rows.where(instrument=instrument):
                timespan = row[f"{name}.timespan"] or Timespan(None, None)
                yield Certified(row[f"{name}.dataset_id"], name, row[f"{name}.collection"], timespan)


def find_uris(butler: Butler, refs: Sequence[DatasetRef]) -> dict[DatasetRef, DatasetRefURIs]:
    """Find where the files of datasets are, of those that have any: the server tells one at a time."""

    def find(ref: DatasetRef) -> DatasetRefURIs | None:
        try:
            return butler.getURIs(ref)
        except DatasetNotFoundError:
            return None

    with ThreadPoolExecutor(_QUESTIONS) as threads:
        found = zip(refs, threads.map(find, refs), strict=True)
        return {ref: uris for ref, uris in found if uris is not None}


def server_failure(error: BaseException) -> str | None:
    """Say what is wrong with a server, in words that follow its name; `None` if an error is about something else."""
    # What a `RemoteButler` imports, and what cannot be imported without the packages that it needs.
    if (remote := sys.modules.get("lsst.daf.butler.remote_butler")) is None:
        return None
    if isinstance(error, ValidationError):
        own = version("lsst-daf-butler")
        return f"answers in a way that lsst-daf-butler {own} does not understand; install the server's version of it."
    if not isinstance(error, remote.ButlerServerError):
        return None
    status = error.status_code
    if status is None:
        cause = error.__cause__ or error
        if type(cause).__name__ in ("ConnectError", "ConnectTimeout"):
            return f"cannot be reached ({first_line(cause)}); see that it runs, and try again."
        return (
            f"broke off its answer ({first_line(cause)}); its log has the reason under request "
            f"{error.client_request_id}."
        )
    if status in (401, 403):
        return (
            f"refuses access (HTTP status {status}); set BUTLER_RUBIN_ACCESS_TOKEN to a token that may read the "
            "repository."
        )
    if status == 404:
        return (
            "does not know what was asked of it (HTTP status 404); see that the URL is a repository's, and that the "
            "server has the version of lsst-daf-butler that is here."
        )
    return f"failed (HTTP status {status}); its log has the reason under request {error.client_request_id}."
