"""Skymaps: every place has a tract and a patch, and visits find them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lsst.daf.butler import Butler
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.sphgeom import LonLat, UnitVector3d

from butler_visits.errors import VisitsError
from butler_visits.repository.write_skymap import rectangle, rings, write_skymap
from ingest_helpers import run_command
from templates import make_repository


def somewhere(n: int) -> list[UnitVector3d]:
    """Return places all over the sky, the poles among them."""
    vectors = np.random.default_rng(1).normal(size=(n, 3))
    return [UnitVector3d(*vector) for vector in (*vectors, (0, 0, 1), (0, 0, -1), (1, 0, 0))]


@pytest.mark.parametrize("count", [4, 5, 12, 31])
def test_rings_leave_no_gap(count: int) -> None:
    tracts = rings(count, 0.1, 5.0)
    regions = [tract.region(0, 0, tract.nx, tract.ny) for tract in tracts]
    for place in somewhere(1000):
        assert any(region.contains(place) for region in regions)


def test_a_tract_is_its_patches() -> None:
    """From the south to the north, and each row from the east; neighbours share a border and nothing else."""
    (tract,) = rectangle(359.9, -30.0, 3.0, 2.0, 0.5)
    assert (tract.nx, tract.ny) == (7, 5)
    whole = tract.region(0, 0, tract.nx, tract.ny)
    patches = [[tract.region(x, y, 1, 1) for x in range(tract.nx)] for y in range(tract.ny)]
    rng = np.random.default_rng(2)
    for x, y in rng.uniform([0, 0], [tract.nx, tract.ny], (200, 2)):
        place = UnitVector3d(*tract.corners(np.array(x), np.array(y)))
        assert whole.contains(place)
        found = [(i, j) for j, row in enumerate(patches) for i, one in enumerate(row) if one.contains(place)]
        assert found == [(int(x), int(y))]
    # One degree to each side and a bit more, as asked for.
    for ra, dec in ((359.9, -29.01), (359.9, -30.99), (358.2, -30.0), (1.6, -30.0)):
        assert whole.contains(UnitVector3d(LonLat.fromDegrees(ra, dec)))


def test_records(tmp_path: Path) -> None:
    butler = make_repository(tmp_path / "repository")
    tracts = rectangle(10.0, 5.0, 1.0, 0.6, 0.3)
    assert write_skymap(butler, "field", tracts)
    assert not write_skymap(butler, "field", tracts)
    with pytest.raises(ConflictingDefinitionError, match="another skymap field"):
        write_skymap(butler, "field", rectangle(10.0, 5.0, 1.0, 0.6, 0.2))
    with butler.query() as query:
        (skymap,) = query.dimension_records("skymap")
        (tract,) = query.dimension_records("tract")
        patches = sorted(query.dimension_records("patch"), key=lambda patch: patch.id)
    assert (skymap.tract_max, skymap.patch_nx_max, skymap.patch_ny_max) == (1, 4, 3)
    assert tract.region == tracts[0].region(0, 0, 4, 3)
    assert [(patch.id, patch.cell_x, patch.cell_y) for patch in patches] == [
        (y * 4 + x, x, y) for y in range(3) for x in range(4)
    ]
    assert all(patch.region == tracts[0].region(patch.cell_x, patch.cell_y, 1, 1) for patch in patches)


def test_visits_have_patches(survey: Butler) -> None:
    """The Butler joins visits' detectors with the patches that they overlap."""
    with survey.query() as query:
        visit = next(iter(query.dimension_records("visit").order_by("visit.id")))
    centre = visit.region.getCentroid()
    ra, dec = np.rad2deg([np.arctan2(centre.y(), centre.x()), np.arcsin(centre.z())])
    tracts = rectangle(float(ra), float(dec), 3.0, 3.0, 0.5)
    write_skymap(survey, "field", tracts)
    with survey.query() as query:
        where = {"instrument": visit.instrument, "visit": visit.id, "skymap": "field"}
        found = {data_id["patch"] for data_id in query.data_ids(["visit", "patch"]).where(where)}
    (tract,) = tracts
    overlapping = {
        y * tract.nx + x
        for y in range(tract.ny)
        for x in range(tract.nx)
        if not tract.region(x, y, 1, 1).isDisjointFrom(visit.region)
    }
    assert found == overlapping
    assert found


def test_command(tmp_path: Path) -> None:
    make_repository(tmp_path / "repository")
    rectangular = ["make-skymap", tmp_path / "repository", "field", "--rectangle", 10, -5, 1, 0.6]
    assert run_command(*rectangular).output == "Stored skymap field of 1 tract and 24 patches.\n"
    assert run_command(*rectangular).output == "Skymap field of 1 tract and 24 patches is already stored.\n"
    small = ["make-skymap", tmp_path / "repository", "small", "--rectangle", 10, -5, 0.1, 0.1]
    assert run_command(*small).output == "Stored skymap small of 1 tract and 1 patch.\n"
    other = run_command("make-skymap", tmp_path / "repository", "field", "--rings", 6, "--patch-size", 20)
    assert other.exit_code == 1
    assert "There is another skymap field already; choose another name." in other.output
    assert run_command("make-skymap", tmp_path / "repository", "x").exit_code == 2
    for options, problem in (
        (["--rings", 3], "at least 4 rings"),
        (["--rings", 90], "take larger ones"),
        (["--rectangle", 0, 0, 100, 1], "at most 90 degrees"),
        (["--rectangle", 0, 0, "nan", 1], "at most 90 degrees"),
        (["--rectangle", "nan", 10, 1, 1], "found nan 10.0"),
        (["--rectangle", "inf", 10, 1, 1], "found inf 10.0"),
        (["--rectangle", 0, "nan", 1, 1], "found 0.0 nan"),
        (["--rectangle", 0, -91, 1, 1], "found 0.0 -91.0"),
        (["--rectangle", 0, 0, 1, 1, "--patch-size", "nan"], "finite numbers of degrees"),
        (["--rings", 6, "--patch-size", "inf"], "finite numbers of degrees"),
        (["--rings", 6, "--overlap", "nan"], "finite numbers of degrees"),
    ):
        result = run_command("make-skymap", tmp_path / "repository", "x", *options)
        assert result.exit_code == 1
        assert problem in result.output


@pytest.mark.slow
def test_command_for_the_whole_sky(tmp_path: Path) -> None:
    """The Butler writes half a million overlaps."""
    make_repository(tmp_path / "repository")
    ring = run_command("make-skymap", tmp_path / "repository", "sky", "--rings", 6, "--patch-size", 20)
    assert ring.exit_code == 0
    assert ring.output.startswith("Stored skymap sky of ")


def test_an_option_that_does_nothing(tmp_path: Path) -> None:
    make_repository(tmp_path / "repository")
    result = run_command("make-skymap", tmp_path / "repository", "x", "--rectangle", 0, 0, 1, 1, "--overlap", 1)
    assert result.exit_code == 2
    assert "--overlap is of the tracts of --rings; a rectangle is one tract." in result.output


def test_too_small_for_anybody() -> None:
    with pytest.raises(VisitsError):
        rings(2, 0.0, 1.0)
