"""The demo works from nothing, and again."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from lsst.daf.butler import Butler

import butler_visits
from command_line import without_rate
from raw_pixels import HAS_IMAGES

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[1]


def environment(folder: Path) -> dict[str, str]:
    """Let commands be of the same package as this process's, wherever they are run."""
    path = os.pathsep.join([str(folder / "demo"), str(Path(butler_visits.__file__).parents[1])])
    return {**os.environ, "PYTHONPATH": path}


def run(code: str, folder: Path) -> list[str]:
    """Run code beside the demo's modules, and return the lines that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return without_rate(done.stdout).splitlines()


def test_demo(tmp_path: Path) -> None:
    """What it writes is beside its own folder."""
    shutil.copytree(PROJECT / "demo", tmp_path / "demo", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(PROJECT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    lines = run("import demo; demo.main()", tmp_path)
    if HAS_IMAGES and importlib.util.find_spec("lsst.ctrl.mpexec"):
        assert "  visit_sources: 80 sources in 8 tables" in lines
    else:
        assert any("A pipeline over the visits is left out" in line for line in lines)
    assert "131 visits: 131 new, 0 updated, 0 left as they are." in lines
    assert "131 visits: 0 new, 0 updated, 131 left as they are." in lines
    from_raws = lines[lines.index("From raw files: a few exposures of the camera's central raft") :]
    assert "12 files: 12 ingested (108 raws, 12 new exposures), 0 there already, 0 failed." in from_raws
    assert "9 visits: 9 new, 0 updated, 0 left as they are." in from_raws
    at_night = lines[next(n for n, line in enumerate(lines) if line.startswith("Ten seconds of a night: ")) :]
    assert "Ended: 8 files, 8 exposures, 9 visits." in at_night
    assert {one.name for one in tmp_path.iterdir()} == {"demo", "demo-raws", "demo-repository", "examples"}
    page = tmp_path / "demo-repository" / "visits.html"
    assert f"Open {page} in a browser." in lines
    assert page.stat().st_size > 100_000
    for command in lines[lines.index("Try next:") + 1 :]:
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment(tmp_path), capture_output=True, check=False
        )
        assert done.returncode == 0, (command, done.stderr)
        assert done.stdout, command

    again = run("import demo; demo.from_raws()", tmp_path)
    assert again == from_raws[: len(again)]
    butler = Butler.from_config(tmp_path / "demo-raws" / "repository")
    with butler.query() as query:
        # Nine detectors of nine visits: of eight exposures, and of two of them together.
        assert query.dimension_records("visit_detector_region").count() == 81
