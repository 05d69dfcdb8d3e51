"""What is private to the Butler, and used in ``repository/database.py`` all the same."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import reduce
from importlib.metadata import version
from typing import Any

import pytest
from lsst.daf.butler import Butler

from butler_visits.repository.database import read_columns
from simulated_survey import INSTRUMENT

PRIVATE = {
    "_registry._db.namespace": None,
    "_registry._db.query": ("sql",),
    "_registry._db.isInTransaction": (),
    "_registry._db.session": (),
    "_registry._db._session_connection": None,
    "_registry._db.getTimespanRepresentation": (),
    "_registry._managers.collections.getCollectionForeignKeyName": (),
    "_expand_data_ids": ("data_ids",),
    "_datastore._calculate_ingested_datastore_name": ("srcUri", "ref", "formatter"),
    "registry.obsCoreTableManager": None,
}
"""Attributes of a Butler, and what is passed to those that are called."""

TABLES = {
    "exposure": ("id",),
    "visit": ("id", "name"),
    "visit_definition": ("visit", "exposure"),
    "visit_system_membership": ("visit", "visit_system"),
    "visit_detector_region": ("visit", "detector", "region"),
    "visit_system": ("id", "name"),
}
"""Tables of its database, and their columns that are read."""

BUTLER = f"lsst-daf-butler {version('lsst-daf-butler')}"


@pytest.mark.sqlite_only
@pytest.mark.parametrize("path", PRIVATE)
def test_the_butler_still_has(path: str, make_survey: Callable[..., Butler]) -> None:
    butler: Any = make_survey()
    names = path.split(".")
    for end, name in enumerate(names):
        part = reduce(getattr, names[:end], butler)
        lost = ".".join(["butler", *names[: end + 1]])
        assert hasattr(part, name), f"{BUTLER} no longer has {lost}; see repository/database.py."
    if (arguments := PRIVATE[path]) is not None:
        taken = inspect.signature(reduce(getattr, names, butler)).parameters
        assert tuple(taken)[: len(arguments)] == arguments, (
            f"{BUTLER} calls butler.{path} with {', '.join(taken)}, not {', '.join(arguments)} any more; see "
            "repository/database.py."
        )


@pytest.mark.sqlite_only
@pytest.mark.parametrize("table", TABLES)
def test_the_database_still_has(table: str, make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    try:
        assert read_columns(butler, table, INSTRUMENT, *TABLES[table]) == []
    except Exception as error:
        pytest.fail(f"{BUTLER} no longer has table {table} with {', '.join(TABLES[table])}: {error}")
