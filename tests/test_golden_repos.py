"""Real repositories, with the visits that Rubin's own software defined in them."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lsst.daf.butler import Butler
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.pipe.base import Struct
from lsst.sphgeom import LonLat, UnitVector3d

from command_line import run_program, without_rate
from stored_visits import (
    INSTRUMENTS,
    STORED,
    TABLES,
    CopyGolden,
    Tables,
    define_golden,
    delete_visits,
    differences,
    read_records,
    read_tables,
)

N_DETECTORS = {"lsstCamSim": 205, "imsim": 189, "comCamSim": 9}


SOURCE = Path(__file__).parents[1] / "src"
FORBIDDEN = re.compile(r"lsst\.(afw|geom|obs)(\.|$)")

WHAT_IS_IMPORTED = """
import json
import sys

asked = set()


class Asked:
    def find_spec(self, name, path=None, target=None):
        asked.add(name)


sys.meta_path.insert(0, Asked())

from lsst.daf.butler import Butler

from butler_visits import DefineVisitsConfig, DefineVisitsTask

butler = Butler.from_config(sys.argv[1], writeable=True)
with butler.query() as query:
    exposures = list(query.dimension_records("exposure"))
result = DefineVisitsTask(DefineVisitsConfig(), butler=butler).run(exposures)
print(json.dumps({"n_new": result.n_new, "asked": sorted(asked), "imported": sorted(sys.modules)}))
"""


def tables(repository: Path) -> Tables:
    return read_tables(Butler.from_config(repository))


def counts(result: Struct) -> tuple[int, int, int, int]:
    return result.n_visits, result.n_new, result.n_skipped, result.n_fully_updated + result.n_partially_updated


@pytest.mark.parametrize(("name", "grouping"), STORED)
def test_stored_visit_is_found_unchanged(name: str, grouping: str, copy_golden: CopyGolden) -> None:
    repository = copy_golden(name)
    before = tables(repository)
    assert counts(define_golden(repository, grouping)) == (1, 0, 1, 0)
    assert tables(repository) == before


@pytest.mark.parametrize(("name", "grouping"), STORED)
def test_command_line_finds_stored_visit_unchanged(name: str, grouping: str, copy_golden: CopyGolden) -> None:
    repository = copy_golden(name)
    before = tables(repository)
    config = repository.with_name("config.py")
    config.write_text(f"config.groupExposures.name = {grouping!r}\n")
    completed = run_program("butler", "define-visits", repository, INSTRUMENTS[name], "-C", config)
    assert completed.returncode == 0, completed.stderr
    assert "1 visit: 0 new, 0 updated, 1 left as they are." in without_rate(completed.stdout)
    assert tables(repository) == before


@pytest.mark.parametrize(("name", "grouping"), STORED)
def test_visit_is_defined_as_it_was_stored(name: str, grouping: str, copy_golden: CopyGolden) -> None:
    repository = copy_golden(name)
    expected = tables(repository)
    assert len(expected["visit_detector_region"]) == N_DETECTORS[name]
    if grouping == "one-to-one":
        # The stored visit is in a second system, which this algorithm does not have.
        del expected["visit_system"][(2,)]
        (membership,) = (key for key, row in expected["visit_system_membership"].items() if row["visit_system"] == 2)
        del expected["visit_system_membership"][membership]
    delete_visits(repository)
    assert not any(tables(repository).values())

    assert counts(define_golden(repository, grouping)) == (1, 1, 0, 0)
    assert differences(tables(repository), expected) == []


def test_other_visit_system_is_a_conflict(copy_golden: CopyGolden) -> None:
    repository = copy_golden("imsim")
    before = tables(repository)
    with pytest.raises(ConflictingDefinitionError, match=r"204595.*visit_system is stored as 1 and is now 0"):
        define_golden(repository, "one-to-one")
    # Whoever does not say which grouping to use gets the one that fits.
    completed = run_program("butler", "define-visits", repository, INSTRUMENTS["imsim"])
    output = completed.stdout + completed.stderr
    assert completed.returncode == 0, output
    assert "grouped with by-group-metadata, which fits" in output and "1 left as they are" in output
    completed = run_program(
        "butler", "define-visits", repository, INSTRUMENTS["imsim"], "-c", "groupExposures=one-to-one"
    )
    output = completed.stdout + completed.stderr
    assert completed.returncode != 0
    assert "204595" in output and "visit_system is stored as 1 and is now 0" in output
    assert "-c groupExposures=by-group-metadata" in output and "Traceback" not in output
    after = tables(repository)
    # Visit systems are synced before any visit is compared.
    assert after.pop("visit_system").keys() == {(0,), (1,)}
    assert after == {name: rows for name, rows in before.items() if name != "visit_system"}


def test_new_visit(copy_golden: CopyGolden) -> None:
    repository = copy_golden("comCamSim")
    assert counts(define_golden(repository, "one-to-one")) == (1, 1, 0, 0)
    defined = tables(repository)
    (exposure,) = read_records(Butler.from_config(repository), "exposure")
    (visit,) = defined["visit"].values()
    outline = visit.pop("region")
    regions = {row["detector"]: row["region"] for row in defined["visit_detector_region"].values()}
    assert regions.keys() == set(range(9))
    assert all(outline.contains(region.getCentroid()) for region in regions.values())
    pointing = UnitVector3d(LonLat.fromDegrees(exposure.tracking_ra, exposure.tracking_dec))
    assert [detector for detector, region in regions.items() if region.contains(pointing)] == [4]
    assert visit == {
        "instrument": "LSSTComCamSim",
        "id": 7024032100720,
        "name": "IM_P_20240321_000720",
        "physical_filter": "r_03",
        "day_obs": 20240321,
        "seq_num": 720,
        "exposure_time": 30.0,
        "target_name": "UNKNOWN",
        "observation_reason": "survey",
        "science_program": "720",
        "azimuth": None,
        "zenith_angle": None,
        "timespan": exposure.timespan,
    }


def test_command_line_defines_a_new_visit_once(copy_golden: CopyGolden) -> None:
    repository = copy_golden("comCamSim")
    # The program that belongs to this Python.
    program = Path(sys.executable).with_name("butler")
    command = map(str, (program, "define-visits", repository, INSTRUMENTS["comCamSim"]))
    first = subprocess.run(list(command), capture_output=True, text=True, timeout=600, check=False)
    assert first.returncode == 0, first.stderr
    assert "1 visit: 1 new, 0 updated, 0 left as they are." in without_rate(first.stdout)
    defined = tables(repository)
    assert [len(defined[table]) for table in TABLES] == [1, 1, 1, 1, 9]

    second = run_program("butler", "define-visits", repository, INSTRUMENTS["comCamSim"])
    assert second.returncode == 0, second.stderr
    assert "1 visit: 0 new, 0 updated, 1 left as they are." in without_rate(second.stdout)
    assert tables(repository) == defined


def test_a_run_imports_nothing_of_the_full_stack(copy_golden: CopyGolden) -> None:
    """Not even in vain: only an instrument's own class, which is of lsst.obs here, may be asked for."""
    repository = copy_golden("lsstCamSim")
    delete_visits(repository)
    completed = subprocess.run(
        [sys.executable, "-c", WHAT_IS_IMPORTED, repository], capture_output=True, text=True, timeout=120, check=False
    )
    assert completed.returncode == 0, completed.stderr
    seen = json.loads(completed.stdout)
    assert seen["n_new"] == 1
    assert [name for name in seen["imported"] if FORBIDDEN.match(name)] == []
    assert {name for name in seen["asked"] if FORBIDDEN.match(name)} <= {"lsst.obs", "lsst.obs.lsst"}


def named_modules(tree: ast.AST) -> Iterator[str]:
    """List what a module imports, and the strings by which it could import something."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_no_source_imports_the_full_stack() -> None:
    paths = sorted(SOURCE.rglob("*.py"))
    named = [(path.name, name) for path in paths for name in named_modules(ast.parse(path.read_text()))]
    assert ("task.py", "lsst.daf.butler.Butler") in named
    # With this one Rubin's own programs read the FITS cameras that are stored here; only they can.
    reader = "lsst.obs.base.formatters.fitsGeneric.FitsGenericFormatter"
    assert [(path, name) for path, name in named if FORBIDDEN.match(name)] == [("formatter.py", reader)]
