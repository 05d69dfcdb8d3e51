"""What tests of all rooms share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from lsst.daf.butler import Butler

from simulated_survey import camera, make_repository

GOLDEN = Path(os.environ.get("BUTLER_VISITS_GOLDEN", Path(__file__).parents[2] / "shared" / "golden"))
"""Real repositories with Rubin's own visits; they are no part of the project."""


@pytest.fixture(scope="session")
def golden() -> Path:
    """Return the folder of the golden data, or skip."""
    if not GOLDEN.is_dir():
        pytest.skip(f"no golden data at {GOLDEN} (set BUTLER_VISITS_GOLDEN)")
    return GOLDEN


@pytest.fixture
def copy_golden(golden: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that makes a writeable copy of a golden repository."""

    def copy(name: str) -> Path:
        target = tmp_path / name
        shutil.copytree(golden / "repos" / name, target)
        for path in [target, *target.rglob("*")]:
            path.chmod(path.stat().st_mode | 0o200)
        return target

    return copy


@pytest.fixture(scope="session")
def _survey_templates(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int | None], Path]:
    made: dict[int | None, Path] = {}

    def template(universe: int | None) -> Path:
        if universe not in made:
            made[universe] = tmp_path_factory.mktemp("template") / "repository"
            make_repository(made[universe], universe=universe, camera=camera(rafts=1))
        return made[universe]

    return template


@pytest.fixture
def make_survey(_survey_templates: Callable[[int | None], Path], tmp_path: Path) -> Callable[..., Butler]:
    """Return a function that makes a repository of the simulated survey with nine detectors and no exposures."""
    count = 0

    def make(universe: int | None = None) -> Butler:
        nonlocal count
        count += 1
        target = tmp_path / f"survey{count}"
        shutil.copytree(_survey_templates(universe), target)
        return Butler.from_config(target, writeable=True)

    return make
