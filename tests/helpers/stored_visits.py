"""Read what a repository stores of visits, compare it with what it should store, and run ``butler`` as a user does."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from lsst.daf.butler import Butler, DimensionRecord
from lsst.pipe.base import Struct
from lsst.sphgeom import ConvexPolygon, Region
from sqlalchemy import text

from butler_visits import DefineVisitsConfig, DefineVisitsTask
from visit_tables import connect

CopyGolden = Callable[[str], Path]

Rows = dict[tuple[int, ...], dict[str, Any]]
Tables = dict[str, Rows]

TABLES = ("visit_system", "visit", "visit_definition", "visit_system_membership", "visit_detector_region")

REGION_TOLERANCE = 1e-9
"""Arcsec: 40 times the last bit of a unit vector."""

_KEYS = ("id", "visit", "exposure", "visit_system", "detector")


def index_rows(table: str, rows: Iterable[dict[str, Any]]) -> Rows:
    """Index rows by their keys, none of which may be there twice."""
    rows = list(rows)
    names = ("id",) if table in ("visit", "visit_system") else _KEYS
    indexed = {tuple(row[name] for name in names if name in row): row for row in rows}
    assert len(indexed) == len(rows), f"{table} has a row twice"
    return indexed


def read_records(butler: Butler, element: str) -> list[DimensionRecord]:
    with butler.query() as query:
        return list(query.dimension_records(element))


def read_tables(butler: Butler) -> Tables:
    """Read all that a repository stores of visits."""
    tables = {
        table: [record.toDict() for record in read_records(butler, table)]
        for table in TABLES
        if table in butler.dimensions.elements.names
    }
    # From universe 6 on the Butler's queries leave out the rows of exposures of another day than their visit's.
    with connect(butler) as connection:
        rows = connection.execute(text("SELECT * FROM visit_definition"))
        tables["visit_definition"] = [dict(row) for row in rows.mappings()]
    return {table: index_rows(table, rows) for table, rows in tables.items()}


def differences(found: Tables, expected: Tables, relative: float = 0.0) -> list[str]:
    """List what differs: regions by more than the tolerance, floats relatively, all else in any way."""
    return list(_differences(found, expected, relative))


def _differences(found: Tables, expected: Tables, relative: float) -> Iterator[str]:
    if found.keys() != expected.keys():
        yield f"tables: {sorted(found)}, expected {sorted(expected)}"
    for table in found.keys() & expected.keys():
        for key in sorted(found[table].keys() ^ expected[table].keys()):
            yield f"{table} {key}: {'missing' if key in expected[table] else 'unexpected'}"
        for key in sorted(found[table].keys() & expected[table].keys()):
            yield from (f"{table} {key} {line}" for line in _row(found[table][key], expected[table][key], relative))


def _row(found: dict[str, Any], expected: dict[str, Any], relative: float) -> Iterator[str]:
    if found.keys() != expected.keys():
        yield f"fields: {sorted(found)}, expected {sorted(expected)}"
    for name in found.keys() & expected.keys():
        a, b = found[name], expected[name]
        if name == "region":
            distance = outline_distance(a, b)
            if not distance <= REGION_TOLERANCE:
                yield f"region: {distance} arcsec apart"
        elif a != (pytest.approx(b, rel=relative, abs=0) if isinstance(b, float) else b):
            yield f"{name}: {a!r}, expected {b!r}"


def outline_distance(a: Region, b: Region) -> float:
    """Return the largest distance of a vertex of either polygon to the other's boundary, arcsec.

    Great circles are straight on the tangent plane, and distances there are those on the sky or larger.
    """
    p, q = _vertices(a), _vertices(b)
    centre = p.mean(axis=0) / np.linalg.norm(p.mean(axis=0))
    east = np.cross([0.0, 0.0, 1.0], centre)
    east /= np.linalg.norm(east)
    basis = np.array([east, np.cross(centre, east)])
    # Differences to the centre keep the digits that the product of two unit vectors loses.
    p, q = (((v - centre) @ basis.T) / (v @ centre)[:, None] for v in (p, q))
    return float(np.degrees(max(_to_boundary(p, q), _to_boundary(q, p))) * 3600)


def _vertices(polygon: Region) -> npt.NDArray[np.float64]:
    assert isinstance(polygon, ConvexPolygon)
    return np.array([[v.x(), v.y(), v.z()] for v in polygon.getVertices()])


def _to_boundary(points: npt.NDArray[np.float64], polygon: npt.NDArray[np.float64]) -> float:
    """Return the largest distance of a point to the nearest edge of a plane polygon."""
    edges = np.roll(polygon, -1, axis=0) - polygon
    offsets = points[:, None] - polygon
    along = np.clip((offsets * edges).sum(axis=-1) / (edges**2).sum(axis=-1), 0, 1)
    return float(np.linalg.norm(offsets - along[..., None] * edges, axis=-1).min(axis=1).max())


def make_config(grouping: str, **fields: Any) -> DefineVisitsConfig:
    config = DefineVisitsConfig()
    config.groupExposures.name = grouping
    config.update(**fields)
    return config


GOLDEN = Path(os.environ.get("BUTLER_VISITS_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))
"""Real repositories with Rubin's own visits; they are no part of the project."""

INSTRUMENTS = {"lsstCamSim": "LSSTCamSim", "imsim": "LSSTCam-imSim", "comCamSim": "LSSTComCamSim"}
STORED = [
    ("lsstCamSim", "one-to-one"),
    ("lsstCamSim", "one-to-one-and-by-counter"),
    ("imsim", "by-group-metadata"),
]
"""The repositories with visits, and the algorithms that define them as they are stored."""


def define_golden(repository: Path, grouping: str) -> Struct:
    """Define the visits of all exposures, with a camera from the repository itself."""
    config = make_config(grouping)
    config.computeVisitRegions["single-raw-wcs"].requireVersionedCamera = True
    butler = Butler.from_config(repository, writeable=True)
    return DefineVisitsTask(config, butler=butler).run(read_records(butler, "exposure"))


def delete_visits(repository: Path) -> None:
    """Delete all visits and visit systems, and what the registry has derived from them."""
    connection = sqlite3.connect(repository / "gen3.sqlite3")
    with connection:
        present = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        derived = {"visit_skypix_overlap", "visit_detector_region_skypix_overlap"}
        for table in present & {*TABLES, *derived}:
            connection.execute(f"DELETE FROM {table}")
    connection.close()
