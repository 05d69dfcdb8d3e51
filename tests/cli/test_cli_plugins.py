"""The command line beside other people's: their commands, their algorithms."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from lsst.daf.butler import Butler

from butler_visits.cli import butler_commands
from command_line import PROGRAMS, run_program
from simulated_survey import INSTRUMENT
from visit_tables import add_exposures, exposure, root, stored

# It is about programs, which do not know what the database is.
pytestmark = pytest.mark.sqlite_only

EXPOSURES = [exposure(1, target_name="M 31"), exposure(2, target_name="M 33"), exposure(3, target_name="M 31")]


@pytest.fixture
def butler(make_survey: Callable[..., Butler]) -> Butler:
    butler = make_survey()
    add_exposures(butler, EXPOSURES)
    return butler


def python_path(folder: Path) -> str:
    return os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))


# Another package offers define-visits too, as Rubin's stack does

PLUGIN = """
import click

@click.command()
@click.argument("arguments", nargs=-1)
def define_visits(arguments):
    click.echo("the other package's define-visits")
"""


@pytest.fixture
def other_package(tmp_path: Path) -> dict[str, str]:
    """Return the environment in which another package offers define-visits."""
    (tmp_path / "other_package.py").write_text(PLUGIN)
    plugins = tmp_path / "resources.yaml"
    plugins.write_text("cmd:\n  import: other_package\n  commands:\n    - define-visits\n")
    return {"DAF_BUTLER_PLUGINS": str(plugins), "PYTHONPATH": python_path(tmp_path)}


def offered(help_text: str) -> list[str]:
    commands = help_text.partition("Commands:\n")[2]
    return [line.split()[0] for line in commands.splitlines() if line.startswith("  ") and line[2] != " "]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("others", [False, True])
def test_offered_once(other_package: dict[str, str], program: str, others: bool) -> None:
    result = run_program(program, "--help", **(other_package if others else {}))
    assert result.returncode == 0, result.stderr
    assert offered(result.stdout).count("define-visits") == 1


def test_whose_command_runs(butler: Butler, other_package: dict[str, str]) -> None:
    arguments = ("define-visits", root(butler), INSTRUMENT)
    assert run_program("butler", *arguments, **other_package).stdout == "the other package's define-visits\n"
    assert not stored(butler, "visit")
    assert run_program("butler-visits", *arguments, **other_package).stdout.startswith("3 visits: 3 new")


@pytest.mark.parametrize("content", [None, "", "]", "cmd:\n  import: nothing\n", "- a list"])
def test_broken_plugin_file(tmp_path: Path, content: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    plugins = tmp_path / "resources.yaml"
    if content is not None:
        plugins.write_text(content)
    monkeypatch.setenv("DAF_BUTLER_PLUGINS", f"{plugins}:")
    assert [command.name for command in butler_commands()] == ["define-visits"]


def test_listing_commands_is_cheap() -> None:
    """Every ``butler`` command lists ours, so that may not import what takes time."""
    # Butler imports some of astropy itself.
    check = """
import sys
import lsst.daf.butler.cli.butler
import lsst.daf.butler.cli.opt
before = set(sys.modules)
import butler_visits.cli
butler_visits.cli.butler_commands()
print(*sorted(set(sys.modules) - before))
"""
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=60, check=True)
    imported = result.stdout.split()
    assert "butler_visits.cli.define_visits" in imported
    assert "butler_visits.cli.ingest" not in imported
    assert "butler_visits.task" not in imported
    assert not [name for name in imported if name.startswith(("astropy", "lsst.pipe", "numpy", "scipy", "starlink"))]


# Algorithms of somebody else

ALGORITHMS = """
from lsst.pex.config import registerConfigurable
from lsst.sphgeom import ConvexPolygon, LonLat, UnitVector3d
from butler_visits import (
    ComputeVisitRegionsConfig,
    ComputeVisitRegionsTask,
    GroupExposuresConfig,
    GroupExposuresTask,
    VisitDefinitionData,
    VisitSystem,
)


@registerConfigurable("by-target", GroupExposuresTask.registry)
class GroupByTarget(GroupExposuresTask):
    ConfigClass = GroupExposuresConfig

    def find_missing(self, exposures, registry):
        return []

    def group_exposures(self, exposures):
        groups = {}
        for exposure in exposures:
            groups.setdefault(exposure.target_name, []).append(exposure)
        return groups

    def group(self, exposures, instrument):
        for name, members in self.group_exposures(exposures).items():
            systems = self.getVisitSystems()
            yield VisitDefinitionData(members[0].instrument, int(name.split()[1]), name, systems, members)

    def getVisitSystems(self):
        return {VisitSystem.BY_GROUP_METADATA}


@registerConfigurable("diamond", ComputeVisitRegionsTask.registry)
class Diamond(ComputeVisitRegionsTask):
    ConfigClass = ComputeVisitRegionsConfig

    def compute(self, visit, *, collections=None):
        first = visit.exposures[0]
        ra, dec, size = first.tracking_ra, first.tracking_dec, self.config.padding / 100.0
        corners = [(ra + size, dec), (ra, dec + size), (ra - size, dec), (ra, dec - size)]
        region = ConvexPolygon([UnitVector3d(LonLat.fromDegrees(*corner)) for corner in corners])
        return region, {4: region}
"""
CONFIG = """
import my_algorithms
config.groupExposures.name = "by-target"
config.computeVisitRegions.name = "diamond"
config.computeVisitRegions["diamond"].padding = 150
config.chunkSize = 1
"""


def test_own_algorithms(butler: Butler, tmp_path: Path) -> None:
    (tmp_path / "my_algorithms.py").write_text(ALGORITHMS)
    (tmp_path / "config.py").write_text(CONFIG)
    arguments = ("define-visits", root(butler), INSTRUMENT, "-C", tmp_path / "config.py")
    for said in ("2 visits: 2 new, 0 updated, 0 left", "2 visits: 0 new, 0 updated, 2 left"):
        result = run_program("butler", *arguments, PYTHONPATH=python_path(tmp_path))
        assert result.returncode == 0, result.stderr
        assert result.stdout.startswith(said)
    visits = {visit.id: visit for visit in stored(butler, "visit")}
    assert {visit: record.name for visit, record in visits.items()} == {31: "M 31", 33: "M 33"}
    members = {(row.visit, row.exposure) for row in stored(butler, "visit_definition")}
    first, second, third = (one["id"] for one in EXPOSURES)
    assert members == {(31, first), (33, second), (31, third)}
    regions = {(row.visit, row.detector): row.region for row in stored(butler, "visit_detector_region")}
    assert regions == {(visit, 4): record.region for visit, record in visits.items()}
    width = visits[31].region.getBoundingCircle().getOpeningAngle().asDegrees()
    assert width == pytest.approx(1.5, rel=0.01)
