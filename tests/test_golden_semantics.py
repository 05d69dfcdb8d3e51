"""What every option does to the registry, as Rubin's own task did it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from lsst.daf.butler import Butler, CollectionType, Timespan
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.sphgeom import ConvexPolygon, Region, UnitVector3d

from butler_visits import DefineVisitsTask
from simulated_survey import insert_exposures
from stored_visits import (
    GOLDEN,
    REGION_TOLERANCE,
    Tables,
    differences,
    index_rows,
    make_config,
    outline_distance,
    read_records,
    read_tables,
)
from visit_tables import delete_rows

INSTRUMENT = "BenchCam"
FILTERS = {"r_1": "r", "g_1": "g"}

ERRORS: dict[str, type[Exception]] = {
    "ConflictingDefinitionError": ConflictingDefinitionError,
    "RuntimeError": RuntimeError,
    "TypeError": TypeError,
}

SCENARIOS = sorted((GOLDEN / "semantics").glob("*.json"))
MISSING = pytest.param(Path(), id="missing", marks=pytest.mark.skip(reason=f"no golden data at {GOLDEN}"))


def test_all_scenarios_are_collected(golden: Path) -> None:
    assert len(SCENARIOS) >= 30


# What all universes store of a night is written into PostgreSQL in tests/define/test_universes.py.
PARAMETERS = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.sqlite_only] if path.stem.startswith("all-") else [])
    for path in SCENARIOS
]


@pytest.mark.parametrize("path", PARAMETERS or [MISSING])
def test_scenario(path: Path, make_survey: Callable[[int], Butler]) -> None:
    scenario = json.loads(path.read_text())
    butler = make_survey(scenario["universe"])
    add_instrument(butler, yaml.safe_load(path.with_name("camera.yaml").read_text()))
    task = DefineVisitsTask(make_config(scenario["grouping"], **scenario.get("config", {})), butler=butler)

    results = iter(scenario["results"])
    for step in scenario["steps"]:
        insert(butler, step.get("insert", []))
        delete_detector_regions(butler, step.get("delete_detector_regions", []))
        if "run" not in step:
            continue
        data_ids = [{"instrument": INSTRUMENT, "exposure": exposure} for exposure in step["run"]]
        options = step.get("options", {})
        expected = next(results)
        if "error" in expected:
            with pytest.raises(ERRORS[expected["error"]]):
                task.run(data_ids, **options)
        else:
            result = task.run(data_ids, **options)
            assert {name: getattr(result, name) for name in expected["counts"]} == expected["counts"]
    assert not list(results)
    assert differences(read_tables(butler), decode(scenario["tables"])) == []


@pytest.mark.parametrize("shift", [1e-8, 1e-3])
def test_the_measure_of_regions_sees_a_shift(shift: float) -> None:
    """The comparison above finds what is larger than its tolerance and leaves an edge's own points alone."""
    corners = np.array([[10.0, -1.0, -2.0], [10.0, 1.0, -2.0], [10.0, 1.0, 1.0], [10.0, -1.0, 1.0]])
    moved = corners.copy()
    moved[2, 1] += 10 * np.radians(shift / 3600)
    split = np.insert(corners, 1, [10.0, 0.2, -2.0], axis=0)
    square, shifted, five = (ConvexPolygon([UnitVector3d(*corner) for corner in c]) for c in (corners, moved, split))
    assert outline_distance(square, five) <= REGION_TOLERANCE
    assert outline_distance(square, shifted) == pytest.approx(shift, rel=0.05)
    assert outline_distance(shifted, square) == pytest.approx(shift, rel=0.05)


def add_instrument(butler: Butler, camera: dict[str, Any]) -> None:
    """Register the scenarios' instrument, and certify its camera for ever."""
    registry = butler.registry
    registry.insertDimensionData(
        "instrument",
        {
            "name": INSTRUMENT,
            "class_name": f"bench.{INSTRUMENT}",
            "visit_max": 10**17,
            "exposure_max": 10**17,
            "detector_max": 10,
        },
    )
    registry.insertDimensionData(
        "detector", *({"instrument": INSTRUMENT, "id": i, "full_name": f"D{i:03d}"} for i in range(4))
    )
    registry.insertDimensionData(
        "physical_filter", *({"instrument": INSTRUMENT, "name": name, "band": band} for name, band in FILTERS.items())
    )
    run, calib = f"{INSTRUMENT}/calib/unbounded", f"{INSTRUMENT}/calib"
    butler.collections.register(run, CollectionType.RUN)
    butler.collections.register(calib, CollectionType.CALIBRATION)
    ref = butler.put(camera, "camera_geometry", instrument=INSTRUMENT, run=run)
    registry.certify(calib, [ref], Timespan(None, None))


def insert(butler: Butler, exposures: Iterable[dict[str, Any]]) -> None:
    """Insert exposures; those that are there are updated."""
    stored = {record.id: record for record in read_records(butler, "exposure")}
    for exposure in exposures:
        row = {
            "instrument": INSTRUMENT,
            "timespan": Timespan.model_validate((exposure["begin"], exposure["end"])),
            **exposure,
        }
        if (record := stored.get(row["id"])) is None:
            insert_exposures(butler, [row])
        else:
            new = {**record.toDict(), **{name: row[name] for name in record.fields.names if name in row}}
            butler.registry.syncDimensionData("exposure", new, update=True)


def delete_detector_regions(butler: Butler, pairs: Iterable[tuple[int, int]]) -> None:
    """Delete the regions of pairs of visit and detector behind the Butler's back."""
    for visit, detector in pairs:
        for table in ("visit_detector_region", "visit_detector_region_skypix_overlap"):
            delete_rows(butler, table, visit=visit, detector=detector)


def decode(tables: dict[str, list[dict[str, Any]]]) -> Tables:
    """Turn a scenario's tables into what `read_tables` returns."""
    for row in (row for rows in tables.values() for row in rows):
        if "region" in row:
            row["region"] = Region.decode(bytes.fromhex(row["region"]))
        if "timespan" in row:
            row["timespan"] = Timespan.model_validate(row["timespan"])
    return {table: index_rows(table, rows) for table, rows in tables.items()}
