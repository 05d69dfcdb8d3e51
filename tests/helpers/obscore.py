"""Repositories with an ObsCore table, and the regions in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from lsst.daf.butler import Butler, DatasetType
from lsst.sphgeom import ConvexPolygon, LonLat

from simulated_survey import camera, make_repository
from visit_tables import add_exposures, data_ids, exposure, stored

REGISTRY = """
registry:
  managers:
    obscore:
      cls: lsst.daf.butler.registry.obscore.ObsCoreLiveTableManager
      config:
        version: 0
        collection_type: RUN
        facility_name: SimTel
        spectral_ranges: {r: [552.0e-9, 691.0e-9]}
        dataset_types:
          raw: {dataproduct_type: image, calib_level: 1, obs_id_fmt: "{exposure}"}
        extra_columns:
          lsst_exposure: {template: "{exposure}", type: int}
          lsst_detector: {template: "{detector}", type: int}
"""
EXPOSURES = [exposure(1), exposure(2, seq_start=2, seq_end=3), exposure(3, seq_start=2, seq_end=3)]
DETECTORS = (0, 8)
NO_REGIONS: dict[tuple[int, int], str | None] = {(one["id"], d): None for one in EXPOSURES for d in DETECTORS}


def make_obscore_repository(folder: Path) -> Butler:
    """Make a repository with an ObsCore table, and raws in it."""
    (folder / "config").mkdir()
    (folder / "config" / "registry.yaml").write_text(REGISTRY)
    with pytest.MonkeyPatch.context() as context:
        context.setenv("DAF_BUTLER_CONFIG_PATH", str(folder / "config"))
        butler = make_repository(folder / "repository", camera=camera(rafts=1))
    ids = add_exposures(butler, EXPOSURES)
    raw = DatasetType("raw", ["instrument", "exposure", "detector"], "StructuredDataDict", universe=butler.dimensions)
    butler.registry.registerDatasetType(raw)
    butler.collections.register("raws")
    rows = [{**data_id, "detector": detector} for data_id in data_ids(ids) for detector in DETECTORS]
    butler.registry.insertDatasets(raw, rows, run="raws")
    assert obscore_regions(butler) == NO_REGIONS
    return butler


def obscore_regions(butler: Butler) -> dict[tuple[int, int], str | None]:
    """Return the regions of exposures and detectors as the table has them."""
    manager = butler.registry.obsCoreTableManager
    assert manager is not None
    with manager.query(["lsst_exposure", "lsst_detector", "s_region"]) as rows:
        return {(exposure_id, detector): region for exposure_id, detector, region in rows}


def visit_regions(butler: Butler, visit_of: dict[int, int]) -> dict[tuple[int, int], str]:
    """Return the stored regions of each exposure's visit, written as ObsCore does."""
    regions = {(record.visit, record.detector): record.region for record in stored(butler, "visit_detector_region")}
    return {(one, d): polygon(regions[visit, d]) for one, visit in visit_of.items() for d in DETECTORS}


def polygon(region: ConvexPolygon) -> str:
    corners = (LonLat(vertex) for vertex in region.getVertices())
    numbers = (f"{c.getLon().asDegrees():.6f} {c.getLat().asDegrees():.6f}" for c in corners)
    return f"POLYGON ICRS {' '.join(numbers)}"


SINGLE, FIRST, SECOND = (one["id"] for one in EXPOSURES)
VISITS = {
    "one-to-one": {SINGLE: SINGLE, FIRST: FIRST, SECOND: SECOND},
    "by-group-metadata": {SINGLE: 20260401235901000, FIRST: 20260401235902000, SECOND: 20260401235902000},
    # An exposure's own visit tells best where it looked.
    "one-to-one-and-by-counter": {SINGLE: SINGLE, FIRST: int(f"9{FIRST}"), SECOND: SECOND},
}
