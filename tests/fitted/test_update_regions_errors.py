"""Fits that make no sense, and what cannot be found."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lsst.daf.butler import Butler, DatasetType
from lsst.sphgeom import Angle, Circle, ConvexPolygon, UnitVector3d
from pydantic import ValidationError

from butler_visits import VisitsError
from butler_visits.fitted.geometries import VisitGeometry, find_geometries
from butler_visits.fitted.update import update_visit_regions
from fitted_visits import DATASETS, RUN, fits_of, store_fits, summary, tables, update
from simulated_survey import INSTRUMENT
from visit_tables import add_exposures, data_ids, exposure, make_task, root
from visit_tables import stored as records

pytestmark = pytest.mark.sqlite_only

VISITS = (2026040100001, 2026040100002, 2026040100003)


@pytest.fixture
def survey(make_survey: Callable[..., Butler]) -> Butler:
    """Return a repository with three visits."""
    butler = make_survey()
    ids = add_exposures(butler, map(exposure, (1, 2, 3)))
    assert tuple(ids) == VISITS
    make_task(butler).run(data_ids(ids))
    return butler


def encoded(vertices: Any) -> str:
    """Encode a polygon as sphgeom does, whatever its vertices are."""
    values = np.asarray(vertices, dtype=float).ravel()
    return (b"p" + struct.pack(f"<{len(values)}d", *values)).hex()


SQUARE = [[1.0, 0.0, 0.0], [math.cos(0.1), math.sin(0.1), 0.0], [math.cos(0.1), 0.0, math.sin(0.1)]]
BAD: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no JSON": (lambda fit: json.dumps(fit)[:-1], "Invalid JSON"),
    "a list": (lambda fit: "[1, 2]", "Input should be an object"),
    "empty": (lambda fit: "", "Invalid JSON"),
    "missing": (lambda fit: {k: v for k, v in fit.items() if k != "orientation"}, "orientation: Field required"),
    "null": (lambda fit: {**fit, "boresight_ra": None}, "boresight_ra: Input should be a valid number"),
    "not a number": (lambda fit: {**fit, "boresight_ra": math.nan}, "boresight_ra: Input should be a finite number"),
    "infinite": (lambda fit: {**fit, "orientation": math.inf}, "orientation: Input should be a finite number"),
    "millions": (lambda fit: {**fit, "boresight_ra": -1e9}, "boresight_ra: Input should be greater than"),
    "turns": (lambda fit: {**fit, "orientation": 1e30}, "orientation: Input should be less than or equal to 720"),
    "text": (lambda fit: {**fit, "orientation": "1.0"}, "orientation: Input should be a valid number"),
    "no declination": (lambda fit: {**fit, "boresight_dec": -90.5}, "boresight_dec: Input should be greater than"),
    "no hex": (lambda fit: {**fit, "visit_region": "xyz"}, "visit_region: "),
    "number": (lambda fit: {**fit, "visit_region": 1}, "visit_region: Input should be a valid string"),
    "no bytes": (lambda fit: {**fit, "visit_region": ""}, "visit_region: "),
    "half": (lambda fit: {**fit, "visit_region": fit["visit_region"][:-6]}, "visit_region: expected an encoded region"),
    "of nobody": (lambda fit: {**fit, "visit_region": "00" * 73}, "visit_region: expected an encoded region"),
    "circle": (
        lambda fit: {**fit, "visit_region": Circle(UnitVector3d.X(), Angle(0.1)).encode().hex()},
        "visit_region: expected a ConvexPolygon, not a Circle",
    ),
    "clockwise": (lambda fit: {**fit, "visit_region": encoded(SQUARE[::-1])}, "visit_region: expected unit vectors"),
    "of a detector": (
        lambda fit: {**fit, "detector_regions": {**fit["detector_regions"], "4": encoded(np.multiply(SQUARE, 2))}},
        "detector_regions.4: expected unit vectors",
    ),
    "vertex": (
        lambda fit: {**fit, "detector_regions": {"4": encoded([*SQUARE[:2], [math.nan, 0.0, 1.0]])}},
        "detector_regions.4: ",
    ),
    "no id": (lambda fit: {**fit, "detector_regions": {"R22": fit["visit_region"]}}, "detector_regions.R22.[key]: "),
    "twice": (
        lambda fit: {**fit, "detector_regions": {**fit["detector_regions"], "05": fit["visit_region"]}},
        "detector_regions: a detector is there twice",
    ),
    "not registered": (
        lambda fit: {**fit, "detector_regions": {**fit["detector_regions"], "9": fit["visit_region"]}},
        "detector_regions.9: no such detector is registered",
    ),
}


def test_bad_datasets(make_survey: Callable[..., Butler], tmp_path: Path) -> None:
    """Whatever is wrong with a dataset, the error names its visit, file and field."""
    butler = make_survey()
    ids = add_exposures(butler, map(exposure, range(1, len(BAD) + 1)))
    make_task(butler).run(data_ids(ids))
    fits = fits_of(butler)
    files = store_fits(
        butler, tmp_path, {visit: change(fits[visit]) for visit, (change, _) in zip(ids, BAD.values(), strict=True)}
    )
    before = tables(butler)
    datasets = find_geometries(butler, INSTRUMENT, [RUN])
    found: list[str] = []
    for ten in (datasets[:10], datasets[10:20], datasets[20:]):
        with pytest.raises(VisitsError) as raised:
            update_visit_regions(butler, ten)
        *some, last = str(raised.value).splitlines()
        assert "leave these visits out with --where" in last
        found += some
    for visit, (_, said), line in zip(ids, BAD.values(), found, strict=True):
        assert line.startswith(f"The {DATASETS} of visit {visit} in file://{files[visit]}: {said}"), (said, line)
        assert line.endswith(".")
    with pytest.raises(VisitsError, match=f"\\n{len(BAD) - 10} more cannot be taken either"):
        update_visit_regions(butler, datasets)
    assert tables(butler) == before


def test_bad_dataset(survey: Butler, tmp_path: Path) -> None:
    fits = fits_of(survey)
    files = store_fits(survey, tmp_path, {**fits, VISITS[1]: "{}"})
    before = tables(survey)
    result = update(survey)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit), result.exception
    name = f"Error: The {DATASETS} of visit {VISITS[1]} in file://{files[VISITS[1]]}"
    assert f"{name}: boresight_ra: Field required." in result.output
    assert tables(survey) == before
    assert summary(update(survey, "--where", f"visit != {VISITS[1]}")) == "2 visits: 2 updated, 0 left as they are"


def test_chunks_before_stay(survey: Butler, tmp_path: Path) -> None:
    fits = fits_of(survey)
    store_fits(survey, tmp_path, {**fits, VISITS[1]: "{}", VISITS[2]: "{"})
    datasets = find_geometries(survey, INSTRUMENT, [RUN])
    with pytest.raises(VisitsError, match=f"of visit {VISITS[1]} in") as raised:
        update_visit_regions(survey, datasets, chunk_size=1)
    assert str(VISITS[2]) not in str(raised.value)
    regions = {
        record.id: record.region.encode().hex() == fits[record.id]["visit_region"]
        for record in records(survey, "visit")
    }
    assert regions == {VISITS[0]: True, VISITS[1]: False, VISITS[2]: False}
    with pytest.raises(VisitsError, match=f"(?s)of visit {VISITS[1]} in .*\n.* of visit {VISITS[2]} in "):
        update_visit_regions(survey, datasets)


def test_file_is_gone(survey: Butler, tmp_path: Path) -> None:
    files = store_fits(survey, tmp_path, fits_of(survey))
    files[VISITS[0]].unlink()
    result = update(survey)
    assert result.exit_code == 1
    assert f"visit {VISITS[0]} in file://{files[VISITS[0]]}: the file is gone." in result.output
    survey.pruneDatasets(find_geometries(survey, INSTRUMENT, [RUN])[:1], disassociate=False, unstore=True)
    assert f"visit {VISITS[0]} in run {RUN}: it has no file in the datastore." in update(survey).output


def test_bad_yaml(survey: Butler, tmp_path: Path) -> None:
    dataset_type = DatasetType(DATASETS, ["instrument", "visit"], "StructuredDataDict", universe=survey.dimensions)
    survey.registry.registerDatasetType(dataset_type)
    survey.collections.register(RUN)
    ref = survey.put({}, dataset_type, instrument=INSTRUMENT, visit=VISITS[0], run=RUN)
    assert "boresight_ra: Field required" in update(survey).output
    Path(survey.getURI(ref).ospath).write_text("a: [")
    assert "it is not YAML (while parsing" in update(survey).output


def test_nothing_to_do(survey: Butler, tmp_path: Path) -> None:
    store_fits(survey, tmp_path, fits_of(survey))
    survey.collections.register("empty")
    for arguments, said in (
        ([], "has no visit_geometry datasets in empty, other."),
        (["--where", "visit = 1"], "has no visit_geometry datasets that match 'visit = 1' in empty, other."),
    ):
        survey.collections.register("other")
        result = update(survey, *arguments, collections="empty,other")
        assert (result.exit_code, result.stdout) == (0, f"Nothing updated: {INSTRUMENT} {said}\n")


def test_not_found(survey: Butler, tmp_path: Path) -> None:
    """What a user may get wrong on the command line is said in a sentence, and writes nothing."""
    nothing = update(survey)
    assert "No dataset type 'visit_geometry' is registered in this repository" in nothing.output
    store_fits(survey, tmp_path, fits_of(survey))
    calibration = DatasetType(
        "calib", ["instrument", "visit"], "StructuredDataDict", isCalibration=True, universe=survey.dimensions
    )
    survey.registry.registerDatasetType(calibration)
    before = tables(survey)
    cases = [
        (update(survey, "--dataset-type", "calib"), "'calib' is one of calibrations with dimensions instrument, visit"),
        (update(survey, "--dataset-type", "camera_geometry"), "of calibrations with dimensions instrument; expected"),
        (update(survey, collections="nowhere"), "nowhere"),
        (update(survey, "--where", "vist = 1"), "'vist = 1' is not a valid expression"),
        (update(survey, collections=" ,"), "give at least one collection"),
        (update(survey, "--output", "plan.doc"), "must end in one of"),
    ]
    for result, said in [(nothing, ""), *cases]:
        assert result.exit_code in (1, 2)
        assert isinstance(result.exception, SystemExit), result.exception
        assert said in result.output
        assert "Traceback" not in result.output
    assert tables(survey) == before


def test_read_only(survey: Butler, tmp_path: Path) -> None:
    store_fits(survey, tmp_path, fits_of(survey))
    butler = Butler.from_config(root(survey), writeable=False)
    datasets = find_geometries(butler, INSTRUMENT, [RUN])
    assert len(update_visit_regions(butler, datasets, dry_run=True)) == 3
    with pytest.raises(TypeError, match="read-only"):
        update_visit_regions(butler, datasets)


# Polygons


def geometry(region: str) -> VisitGeometry:
    return VisitGeometry.model_validate(
        {"boresight_ra": 0.0, "boresight_dec": 0, "orientation": 0.0, "visit_region": region, "detector_regions": {}}
    )


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(3, 30),
    size=st.sampled_from([1e-6, 1e-3, 0.03, 0.5]),
)
def test_hulls_are_taken_and_others_are_not(seed: int, count: int, size: float) -> None:
    """Hulls of sphgeom's own are taken bit by bit; turned round, crossed or bent in they are not."""
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=3)
    points = centre / np.linalg.norm(centre) + size * rng.uniform(-1, 1, (count, 3))
    hull = ConvexPolygon.convexHull([UnitVector3d(*point) for point in points])
    vertices = np.array([[v.x(), v.y(), v.z()] for v in hull.getVertices()])
    assert geometry(hull.encode().hex()).visit_region.encode() == hull.encode()
    wrong = [vertices[::-1], vertices * (1 + 1e-6), -vertices * [1, 1, np.nan]]
    if len(vertices) > 3:
        wrong.append(vertices[[1, 0, *range(2, len(vertices))]])
        middle = vertices.mean(axis=0)
        wrong.append(np.vstack([middle / np.linalg.norm(middle), vertices]))
    for one in wrong:
        with pytest.raises(ValidationError):
            geometry(encoded(one))


def test_collinear_vertices_are_taken() -> None:
    """A vertex that lies on an edge but for rounding is no reason to refuse a polygon."""
    a, b, c = (np.array(vertex) for vertex in SQUARE)
    middle = (a + b) / np.linalg.norm(a + b)
    for bend in (0.0, 1e-15, -1e-15):
        polygon = [a, np.add(middle, [0, 0, bend]), b, c]
        assert geometry(encoded(polygon)).visit_region.encode().hex() == encoded(polygon)
