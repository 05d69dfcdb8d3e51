"""The page on what comes after visits: pixels, a skymap, a pipeline; its commands print what it shows."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from lsst.daf.butler import Butler

from demo import some_exposures
from pages import PROJECT, check_steps, run
from raw_pixels import needs_images
from simulated_raws import N_STARS, describe, write_raws

RUN = "SimCam/runs/sources"


@needs_images
def test_page(tmp_path: Path) -> None:
    pytest.importorskip("lsst.ctrl.mpexec")
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "examples").symlink_to(PROJECT / "examples")
    # As `make demo` does.
    description = describe()
    detectors = range(len(description["camera"]["CCDs"]))
    raws = folder / "demo-raws" / "night"
    write_raws(raws, some_exposures(), detectors=detectors, in_one_file=True, camera=description["camera"])
    (folder / "simcam.yaml").write_text(yaml.safe_dump(description))
    ingest = "butler-visits ingest demo-raws/repository demo-raws/night --instrument simcam.yaml --define-visits"
    assert run(ingest, folder)[0] == 0
    assert check_steps(PROJECT / "docs" / "after.md", folder) == 6
    butler = Butler.from_config(folder / "demo-raws" / "repository", collections=RUN)
    found = [butler.get(ref) for ref in butler.query_datasets("visit_sources", find_first=True)]
    assert [len(table) for table in found] == [N_STARS] * 8
    patches = [butler.get(ref) for ref in butler.query_datasets("patch_sources", find_first=True)]
    # Tracts overlap, so a source may be in two patches.
    places = {(row["ra"], row["dec"]) for table in patches for row in table}
    assert places == {(row["ra"], row["dec"]) for table in found for row in table}
