"""``butler-visits export``: its files as the tools read them that they are for."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib import resources
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import astropy.units as u
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
import yaml
from astropy.coordinates import SkyCoord
from astropy.io import fits, votable
from astropy.table import Table
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st
from lsst.daf.butler import Butler, DimensionRecord, Timespan
from lsst.sphgeom import Angle, Circle, ConvexPolygon, LonLat, Region, UnitVector3d

from butler_visits.export import Outline, coverage_moc, ds9_regions, geojson, obscore_table, read_outlines
from butler_visits.geometry import boundary_distance, decode_polygon, polygon_area
from command_line import message, visits_command
from simulated_survey import INSTRUMENT, insert_exposures
from templates import make_repository, one_raft
from visit_tables import add_exposures, data_ids, delete_rows, exposure, make_task, root, stored

pytestmark = pytest.mark.sqlite_only

pytest.importorskip("mocpy", reason="mocpy (the extra report) is not installed")

EXPOSURES = [
    exposure(1),
    exposure(2, tracking_ra=359.99, tracking_dec=3.0, target_name=None, timespan=None),
    exposure(3, tracking_ra=123.0, tracking_dec=89.9, physical_filter="i_sim"),
    exposure(4, tracking_ra=0.0, tracking_dec=-90.0, exposure_time=None),
]


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Butler:
    """Return a repository with visits at odd places, which no test changes."""
    return with_visits(make_repository(tmp_path_factory.mktemp("survey") / "repository", one_raft))


@pytest.fixture
def own_survey(make_survey: Callable[..., Butler]) -> Butler:
    """Return such a repository that a test may change."""
    return with_visits(make_survey())


def with_visits(butler: Butler) -> Butler:
    make_task(butler).run(data_ids(add_exposures(butler, EXPOSURES)))
    return butler


def export(butler: Butler, file: Path, *arguments: object) -> str:
    result = visits_command("export", root(butler), INSTRUMENT, "-o", file, *arguments)
    assert result.exit_code == 0, result.output
    assert [path for path in file.parent.iterdir() if path.is_file()] == [file]
    return result.output


def stored_regions(butler: Butler, *, detectors: bool) -> dict[tuple[int, ...], ConvexPolygon]:
    rows: dict[tuple[int, ...], ConvexPolygon]
    if detectors:
        rows = {(row.visit, row.detector): row.region for row in stored(butler, "visit_detector_region")}
        assert len(rows) == 9 * len(EXPOSURES)
    else:
        rows = {(row.id,): row.region for row in stored(butler, "visit")}
    return dict(sorted(rows.items()))


def unit_vectors(ra: npt.ArrayLike, dec: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return np.moveaxis(SkyCoord(ra, dec, unit="deg").cartesian.xyz.value, 0, -1)


def vertices(region: Region) -> npt.NDArray[np.float64]:
    found = decode_polygon(region.encode())
    assert found is not None
    return found


def directions_around(region: ConvexPolygon, n: int, seed: int = 1, reach: float = 1.5) -> npt.NDArray[np.float64]:
    """Return random directions in and around a region."""
    centre = np.array([getattr(region.getCentroid(), axis)() for axis in "xyz"])
    radius = reach * region.getBoundingCircle().getOpeningAngle().asRadians()
    found = centre + radius * np.random.default_rng(seed).uniform(-1, 1, (n, 3))
    return found / np.linalg.norm(found, axis=1)[:, None]


def check_moc(moc: Any, regions: list[ConvexPolygon], order: int) -> None:
    """Points of the regions are in the MOC, and those three cells away are not."""
    assert moc.max_order == order
    reach = 3 * np.radians(58.6 / 2**order)
    for region in regions:
        near = np.concatenate([directions_around(region, 1000), vertices(region)])
        inside = np.any([other.contains(*near.T) for other in regions], axis=0)
        # sphgeom's vertices are not always inside by the last bit.
        inside[1000:] = True
        points = SkyCoord(*near.T, representation_type="cartesian").spherical
        found = moc.contains_lonlat(points.lon, points.lat)
        assert found[inside].all()
        distance = np.min([boundary_distance(near, vertices(other)) for other in regions], axis=0)
        assert not found[~inside & (distance > reach)].any()


# MOC


@pytest.mark.parametrize(("ending", "detectors"), [(".fits", False), (".json", True)])
def test_moc(survey: Butler, tmp_path: Path, ending: str, detectors: bool) -> None:
    from mocpy import MOC

    file = tmp_path / f"coverage{ending}"
    order = 12 if detectors else 13
    what = "36 detectors" if detectors else "4 visits"
    said = export(survey, file, "--detectors" if detectors else "--visits")
    assert said == f"MOC of order {order} of {what} is in {file}.\n"
    moc = MOC.load(file, format=ending[1:])
    regions = list(stored_regions(survey, detectors=detectors).values())
    check_moc(moc, regions, order)
    # The outline of a visit is that of its detectors, which overlap.
    outlines = [vertices(region) for region in stored_regions(survey, detectors=False).values()]
    area = sum(map(polygon_area, outlines))
    assert area < moc.sky_fraction * 4 * np.pi < 1.1 * area


def outline(region: ConvexPolygon, **fields: Any) -> Outline:
    """Make an outline of something that nobody asks for."""
    return Outline(region, **{"visit": None, "band": None, **fields})


places = st.tuples(
    st.one_of(st.sampled_from([0.0, 1e-12, 45.0, 90.0, 180.0, 359.999999]), st.floats(0, 360, exclude_max=True)),
    st.one_of(st.sampled_from([-90.0, -89.9999, 0.0, 41.8103149, 89.999, 90.0]), st.floats(-90, 90)),
)


@st.composite
def polygons(draw: st.DrawFn) -> ConvexPolygon:
    """Draw hulls of points around a place, some with corners that stand out very little."""
    first = draw(st.floats(0, 120))
    angles = [first + step + draw(st.floats(-20, 20)) for step in range(0, 360, draw(st.sampled_from([60, 90, 120])))]
    ra, dec = draw(places)
    size = 10 ** draw(st.floats(-4, 0.3))
    corners = SkyCoord(ra, dec, unit="deg").directional_offset_by(angles * u.deg, size * u.deg)
    points = [UnitVector3d(*xyz) for xyz in corners.cartesian.xyz.value.T]
    if draw(st.booleans()):
        points += [UnitVector3d(a + b) for a, b in zip(points, points[1:], strict=False)]
    return ConvexPolygon.convexHull(points)


@given(region=polygons())
@settings(max_examples=50, deadline=None)
def test_moc_of_any_polygon(region: ConvexPolygon) -> None:
    """Also at the poles, where RA is 0, and with collinear corners."""
    order = 10
    check_moc(coverage_moc([outline(region)], order=order), [region], order)


def test_collinear_corners() -> None:
    """Corners that stand out by the last bit are taken."""
    box = np.array([[1, 0, 0], [1, 0.01, 0], [1, 0.02, 0], [1, 0.02, 0.01], [1, 1e-15, 0.01]])
    box[1, 2] -= 1e-15
    box /= np.linalg.norm(box, axis=1)[:, None]
    region = Region.decode(b"p" + box.astype("<f8").tobytes())
    assert isinstance(region, ConvexPolygon)
    check_moc(coverage_moc([outline(region)], order=12), [region], 12)


# Table


def read_rows(file: Path) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """Read a table with the tool that it is for; return its rows, null as `None`, and the columns' metadata."""
    if file.suffix == ".parquet":
        table = pq.read_table(file)
        version = table.schema.metadata[b"IVOA.VOTable-Parquet.version"]
        about = votable.parse(io.BytesIO(table.schema.metadata[b"IVOA.VOTable-Parquet.content"]), verify="exception")
        assert version == b"1.0"
        return table.to_pylist(), fields(about)
    if file.suffix == ".csv":
        with file.open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        model = obscore_table([], detectors=True)
        kinds = {name: {"i": int, "f": float, "U": str}[model[name].dtype.kind] for name in rows[0]}
        columns = {name: {**model[name].meta, "description": model[name].description} for name in kinds}
        columns = {name: {"utype": None, "unit": _unit(model[name]), **columns[name]} for name in kinds}
        return [{name: kinds[name](text) if text else None for name, text in row.items()} for row in rows], columns
    if file.suffix == ".ecsv":
        table = Table.read(file)
        about = {
            column.name: {
                "unit": _unit(column),
                "description": column.description,
                **{"utype": None, **column.meta},
            }
            for column in table.itercols()
        }
    else:
        parsed = votable.parse(file, verify="exception")
        table, about = parsed.get_first_table().to_table(), fields(parsed)
    return [{name: _plain(row[name]) for name in table.colnames} for row in table], about


def _unit(column: Any) -> str | None:
    return str(column.unit) if column.unit else None


def _plain(value: Any) -> Any:
    if value is np.ma.masked or (isinstance(value, float) and np.isnan(value)):
        return None
    # VOTable's null text is an empty one.
    return value.item() if isinstance(value, np.generic) else value or None


def fields(parsed: Any) -> dict[str, dict[str, Any]]:
    found = parsed.get_first_table().fields
    (resource,) = parsed.resources
    (time_system,), (place_system,) = resource.time_systems, resource.coordinate_systems
    assert (time_system.timescale, time_system.timeorigin, place_system.system) == ("UTC", 2400000.5, "ICRS")
    refs = {field.name: field.ref for field in found if field.ref}
    assert refs == {"s_ra": "icrs", "s_dec": "icrs", "s_region": "icrs", "t_min": "utc", "t_max": "utc"}
    assert {field.name: field.xtype for field in found if field.xtype} == {"s_region": "adql:REGION"}
    return {
        field.name: {
            "unit": _unit(field),
            **{name: getattr(field, name) for name in ("ucd", "utype", "description")},
        }
        for field in found
    }


@cache
def nominal_columns() -> list[tuple[str, dict[str, Any]]]:
    """Return the columns of ObsCore that are not optional, as Rubin's schema has them."""
    text = resources.files("lsst.sdm.schemas").joinpath("ivoa/obscore_nominal.yaml").read_text()
    optional = set(re.findall(r"name: (\w+) +# \(optional\)", text))
    columns = yaml.safe_load(text)["tables"][0]["columns"]
    return [(column["name"], column) for column in columns if column["name"] not in optional]


def test_obscore_is_whole(survey: Butler) -> None:
    assert len(nominal_columns()) == 30
    names = obscore_table([], detectors=True).colnames
    assert names[:30] == [name for name, _ in nominal_columns()]


def check_outline(row: dict[str, Any], region: ConvexPolygon) -> None:
    """Compare a row's place with the stored region."""
    from mocpy import MOC

    kind, frame, *numbers = row["s_region"].split(" ")
    assert (kind, frame) == ("POLYGON", "ICRS")
    corners = np.array(numbers, dtype=float).reshape(-1, 2)
    assert ((corners[:, 0] >= 0) & (corners[:, 0] < 360) & (np.abs(corners[:, 1]) <= 90)).all()
    # The resolution of a double near 360 degrees is 1e-15 radians.
    expected = vertices(region)[::-1]
    assert np.abs(unit_vectors(*corners.T) - expected).max() < 1e-15
    # Counterclockwise as seen on the sky: by north, east, south, west.
    centre = SkyCoord(row["s_ra"], row["s_dec"], unit="deg")
    sky = SkyCoord(*corners.T, unit="deg")
    steps = np.diff(centre.position_angle(SkyCoord([*sky, sky[0]])).deg) % 360
    assert steps.sum() == pytest.approx(360)
    assert (steps < 180).all()
    middle = LonLat(region.getCentroid())
    assert centre.separation(SkyCoord(middle.getLon().asDegrees(), middle.getLat().asDegrees(), unit="deg")).deg < 1e-13
    # A reader of STC-S takes it for the same sky.
    order = math.ceil(math.log2(58.6 * 50 / row["s_fov"]))
    covered = MOC.from_stcs(row["s_region"], max_depth=order).sky_fraction * 4 * np.pi
    assert 0.999 * polygon_area(expected[::-1]) < covered < 1.2 * polygon_area(expected[::-1])
    widest = max(a.separation(b).deg for a, b in combinations(sky, 2))
    assert widest * (1 - 1e-9) <= row["s_fov"] < 1.2 * widest


def expected_row(record: DimensionRecord, detector: int | None) -> dict[str, Any]:
    """Return what a row must be, other than its place."""
    row = {
        **dict.fromkeys(name for name, _ in nominal_columns()),
        "dataproduct_type": "image",
        "calib_level": 1,
        "obs_collection": INSTRUMENT,
        "obs_id": record.name,
        "visit": record.id,
        "target_name": record.target_name,
        "t_exptime": record.exposure_time,
        "instrument_name": INSTRUMENT,
        "physical_filter": record.physical_filter,
        "band": record.physical_filter[0],
        "day_obs": record.day_obs,
        # The sides of r and i, LSST Science Requirements Document.
        "em_min": {"r": 552e-9, "i": 691e-9}[record.physical_filter[0]],
        "em_max": {"r": 691e-9, "i": 818e-9}[record.physical_filter[0]],
    }
    if detector is not None:
        row |= {"detector": detector, "detector_name": f"R22_S{detector // 3}{detector % 3}"}
    return row


@pytest.mark.parametrize(
    ("ending", "detectors"),
    [(".vot", False), (".xml", True), (".ecsv", False), (".parquet", False), (".parquet", True), (".csv", True)],
)
def test_table(survey: Butler, tmp_path: Path, ending: str, detectors: bool) -> None:
    file = tmp_path / f"visits{ending}"
    export(survey, file, *["--detectors"] * detectors)
    rows, about = read_rows(file)
    records = {record.id: record for record in stored(survey, "visit")}
    regions = stored_regions(survey, detectors=detectors)
    assert len(rows) == len(regions)
    for row, (key, region) in zip(rows, regions.items(), strict=True):
        check_outline(row, region)
        record = records[key[0]]
        expected = expected_row(record, key[1] if detectors else None)
        for name, times in {"t_min": "begin", "t_max": "end"}.items():
            time = getattr(record.timespan, times) if record.timespan else None
            if time is None:
                assert row[name] is None
            else:
                # TAI is 37 s ahead of UTC since 2017.
                assert row[name] == pytest.approx(time.mjd - 37 / 86400, abs=1e-10)
        place = {"s_ra", "s_dec", "s_fov", "s_region", "t_min", "t_max"}
        assert {name: value for name, value in row.items() if name not in place} == {
            name: value for name, value in expected.items() if name not in place
        }
        assert list(row) == list(about)
    for name, nominal in nominal_columns():
        assert about[name]["unit"] == nominal["ivoa:unit"]
        assert about[name]["ucd"] == nominal["ivoa:ucd"]
        assert about[name]["utype"] == f"obscore:{nominal['votable:utype']}"
    assert all(each["description"] for each in about.values())
    assert "UTC" in about["t_min"]["description"]
    assert {row["target_name"] is None for row in rows} == {True, False}


def test_oldest_universe(make_survey: Callable[..., Butler], tmp_path: Path) -> None:
    """Its visits have fewer fields."""
    butler = make_survey(universe=0)
    insert_exposures(butler, EXPOSURES[:2])
    make_task(butler).run(data_ids(one["id"] for one in EXPOSURES[:2]))
    export(butler, tmp_path / "visits.parquet")
    rows, _ = read_rows(tmp_path / "visits.parquet")
    assert [row["obs_id"] for row in rows] == [one["obs_id"] for one in EXPOSURES[:2]]


def test_publisher_and_wavelengths(survey: Butler, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    filters = tmp_path / "in/filters.yaml"
    filters.write_text("r: [350e-9, 1.0e-6]\nr_sim: [5.0e-7, 6e-7]\n")
    file = tmp_path / "visits.parquet"
    publisher = "ivo://example.org/survey"
    export(survey, file, "--publisher", publisher, "--wavelengths", filters, "--detectors")
    rows, _ = read_rows(file)
    assert {(row["band"], row["em_min"], row["em_max"]) for row in rows} == {
        ("r", 5e-7, 6e-7),
        ("i", 691e-9, 818e-9),
    }
    assert [row["obs_publisher_did"] for row in rows] == [
        f"{publisher}?{row['obs_id']}/{row['detector']}" for row in rows
    ]
    assert len({row["obs_publisher_did"] for row in rows}) == len(rows)


def test_filter_that_nobody_knows(own_survey: Butler, tmp_path: Path) -> None:
    row = {"instrument": INSTRUMENT, "name": "i_sim", "band": "white"}
    own_survey.registry.insertDimensionData("physical_filter", row, replace=True)
    export(own_survey, tmp_path / "visits.parquet")
    rows, _ = read_rows(tmp_path / "visits.parquet")
    assert [row["em_min"] is None for row in rows] == [row["physical_filter"] == "i_sim" for row in rows]


@pytest.mark.skipif(not shutil.which("stilts"), reason="STILTS (Debian's stilts) is not installed")
def test_stilts(survey: Butler, tmp_path: Path) -> None:
    """It finds no fault in the table, and sees the sky of the MOC."""

    def stilts(*arguments: str | Path) -> str:
        done = subprocess.run(["stilts", *map(str, arguments)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    table, moc = tmp_path / "visits/visits.vot", tmp_path / "moc/visits.fits"
    table.parent.mkdir()
    moc.parent.mkdir()
    export(survey, table, "--publisher", "ivo://example.org/survey")
    assert stilts("votlint", table) == ""
    export(survey, moc)
    column = f"cmd=addcol inside 'inMoc(\"{moc}\",s_ra,s_dec)'"
    said = stilts("tpipe", f"in={table}", column, "cmd=keepcols inside", "ofmt=csv")
    assert said.split() == ["inside", *["true"] * len(EXPOSURES)]
    # Places that were not seen.
    outside = f"cmd=addcol inside 'inMoc(\"{moc}\",(s_ra+90)%360,45)'"
    said = stilts("tpipe", f"in={table}", outside, "cmd=keepcols inside", "ofmt=csv")
    assert said.split() == ["inside", *["false"] * len(EXPOSURES)]


@pytest.mark.parametrize("version", ["1", "2"])
def test_moc_version(survey: Butler, tmp_path: Path, version: str) -> None:
    """Cells by their numbers, or ranges of them; both are the same sky."""
    from mocpy import MOC

    file = tmp_path / "visits.fits"
    export(survey, file, "--moc-version", version)
    header = fits.getheader(file, 1)
    assert header["ORDERING"] == {"1": "NUNIQ", "2": "RANGE"}[version]
    (tmp_path / "json").mkdir()
    export(survey, tmp_path / "json/visits.json")
    assert MOC.load(file, format="fits") == MOC.load(tmp_path / "json/visits.json", format="json")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_exposure_time_that_nobody_knows(own_survey: Butler, tmp_path: Path, value: float | None) -> None:
    """No format has not-a-number in it."""
    (outline, *_) = read_outlines(own_survey, INSTRUMENT)
    visit = type(outline.visit)(**{**outline.visit.toDict(), "exposure_time": value})
    text = "".join(geojson([outline._replace(visit=visit)]))
    assert json.loads(text)["features"][0]["properties"]["exposure_time"] is None
    assert obscore_table([outline._replace(visit=visit)])["t_exptime"].mask.all()


def odd_name() -> str:
    """Return a name with all that is hard to write."""
    return (
        "="
        + "".join(map(chr, range(1, 32)))
        + "\x7f\x85\r\n <b>&amp;</b> \"'{}[],"
        + "\u200f\u202e\ufffe \N{SNOWMAN} end"
    )


@pytest.mark.parametrize("ending", [".vot", ".ecsv", ".csv", ".parquet", ".reg", ".geojson"])
def test_names_that_are_hard_to_write(own_survey: Butler, tmp_path: Path, ending: str) -> None:
    """Files are as their readers read them; where a format has no control characters, they are written as in Python."""
    (record,) = (one for one in stored(own_survey, "visit") if one.id == EXPOSURES[0]["id"])
    name = odd_name()
    row = {**record.toDict(), "name": name, "target_name": name}
    own_survey.registry.insertDimensionData("visit", row, replace=True)
    file = tmp_path / f"visits{ending}"
    export(own_survey, file)
    escaped = re.sub("[\x00-\x1f\x7f-\x9f\ufffe]", lambda found: ascii(found[0])[1:-1], name)
    if ending == ".reg":
        from regions import Regions

        found = Regions.read(file, format="ds9")
        assert len(found) == len(EXPOSURES)
        assert "\x1b" not in file.read_text()
        return
    if ending == ".geojson":
        names = [feature["properties"]["name"] for feature in json.loads(file.read_text())["features"]]
    else:
        rows, _ = read_rows(file)
        names = [row["obs_id"] for row in rows]
        assert [row["target_name"] for row in rows if row["obs_id"] == names[0]] == [names[0]]
    assert names[0] == (escaped if ending in (".vot", ".ecsv") else name)
    assert len(names) == len(EXPOSURES)


# GeoJSON


def inside_rings(rings: list[npt.NDArray[np.float64]], lon: npt.ArrayLike, lat: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Tell which points of the plane are in one of some rings."""
    from matplotlib.path import Path as Ring

    points = np.stack([np.asarray(lon), np.asarray(lat)], axis=-1)
    return np.any([Ring(ring).contains_points(points) for ring in rings], axis=0)


def check_rings(feature: dict[str, Any], region: ConvexPolygon) -> None:
    """Compare a feature with the region, and with what RFC 7946 asks for."""
    geometry = feature["geometry"]
    polygons = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
    assert len(polygons) == (2 if geometry["type"] == "MultiPolygon" else 1)
    rings = [np.array(ring) for (ring,) in polygons]
    for ring in rings:
        assert len(ring) >= 4
        assert (ring[0] == ring[-1]).all()
        assert np.all(np.abs(ring) <= [180, 90])
        assert (np.abs(np.diff(ring[:, 0])) <= 360).all()
        around = ring - ring[0]
        area = np.sum(around[:-1, 0] * around[1:, 1] - around[1:, 0] * around[:-1, 1]) / 2
        assert area > 0, "rings are counterclockwise"
    near = directions_around(region, 2000)
    lon, lat = np.rad2deg(np.arctan2(near[:, 1], near[:, 0])), np.rad2deg(np.arcsin(near[:, 2]))
    distance = boundary_distance(near, vertices(region))
    clear = distance > np.deg2rad(1.5 / 3600)
    inside = np.asarray(region.contains(*near.T))
    assert (inside_rings(rings, lon, lat)[clear] == inside[clear]).all()


def test_geojson(survey: Butler, tmp_path: Path) -> None:
    file = tmp_path / "detectors.geojson"
    said = export(survey, file, "--detectors")
    assert said == f"GeoJSON of 36 detectors is in {file}.\n"
    collection = json.loads(file.read_text())
    assert collection["type"] == "FeatureCollection"
    regions = stored_regions(survey, detectors=True)
    for feature, (key, region) in zip(collection["features"], regions.items(), strict=True):
        assert feature["type"] == "Feature"
        about = feature["properties"]
        assert (about["visit"], about["detector"]) == key
        check_rings(feature, region)


@given(region=polygons())
@settings(max_examples=100, deadline=None)
def test_geojson_of_any_polygon(region: ConvexPolygon) -> None:
    """Also at the poles, at 180 degrees, and with corners in both."""
    record = SimpleNamespace(instrument="A", id=1, name="b", physical_filter="r", exposure_time=None)
    (feature,) = json.loads("".join(geojson([outline(region, visit=record)])))["features"]
    check_rings(feature, region)


@pytest.mark.parametrize(
    ("corners", "n_rings"),
    [
        ([(180, 0), (181, 0), (181, 1), (180, 1)], 1),
        ([(179, 0), (180, 0), (180, 1), (179, 1)], 1),
        ([(179, 0), (181, 0), (181, 1), (179, 1)], 2),
        ([(0, 90), (0, 89), (90, 89)], 1),
        ([(0, 89), (90, 89), (180, 89), (270, 89)], 1),
        ([(0, -89), (90, -89), (180, -89)], 1),
        ([(170, 90), (170, 80), (190, 80)], 2),
    ],
)
def test_geojson_at_the_edge(corners: list[tuple[float, float]], n_rings: int) -> None:
    """A side on 180 degrees is no crossing; a pole on a corner or side is taken for outside."""
    region = ConvexPolygon.convexHull([UnitVector3d(LonLat.fromDegrees(*corner)) for corner in corners])
    record = SimpleNamespace(instrument="A", id=1, name="b", physical_filter="r", exposure_time=None)
    (feature,) = json.loads("".join(geojson([outline(region, visit=record)])))["features"]
    check_rings(feature, region)
    assert len(feature["geometry"]["coordinates"]) == n_rings


# The standard output


def test_standard_output(survey: Butler, tmp_path: Path) -> None:
    for format_ in ("vot", "fits", "geojson", "reg"):
        file = tmp_path / format_ / f"visits.{format_}"
        file.parent.mkdir()
        export(survey, file)
        result = visits_command("export", root(survey), INSTRUMENT, "-o", "-", "--format", format_)
        assert result.exit_code == 0, result.output
        # VOTables have the time at which they were written, or none.
        assert result.stdout_bytes == file.read_bytes()


# DS9


@pytest.mark.parametrize("detectors", [False, True])
def test_ds9(survey: Butler, tmp_path: Path, detectors: bool) -> None:
    from regions import PolygonSkyRegion, Regions

    file = tmp_path / "visits.reg"
    export(survey, file, *["--detectors"] * detectors)
    found = Regions.read(file, format="ds9")
    names = {record.id: record.name for record in stored(survey, "visit")}
    expected = stored_regions(survey, detectors=detectors)
    for region, (key, polygon) in zip(found, expected.items(), strict=True):
        assert isinstance(region, PolygonSkyRegion)
        assert region.vertices.frame.name == "icrs"
        corners = unit_vectors(region.vertices.ra.deg, region.vertices.dec.deg)
        assert np.abs(corners - vertices(polygon)).max() < 1e-15
        label = f"R22_S{key[1] // 3}{key[1] % 3}" if detectors else names[key[0]]
        assert region.meta["text"] == label


@pytest.mark.parametrize("label", ["a {curly} name", 'quoted "name\'s"', "one } two", "plain"])
def test_ds9_labels(label: str) -> None:
    from regions import Regions

    corners = [UnitVector3d(LonLat.fromDegrees(ra, dec)) for ra, dec in [(0, 0), (1e-20, 1), (359, 0.5)]]
    region = ConvexPolygon.convexHull(corners)
    (found,) = Regions.parse("".join(ds9_regions([outline(region, detector=1, detector_name=label)])), format="ds9")
    assert found.meta["text"] == label
    assert sorted(found.vertices.dec.deg) == pytest.approx([0, 0.5, 1], abs=1e-15)


# What is taken, and what is left out


def test_where(survey: Butler, tmp_path: Path) -> None:
    export(survey, tmp_path / "visits.parquet", "--where", "physical_filter = 'i_sim'")
    (row,), _ = read_rows(tmp_path / "visits.parquet")
    assert row["visit"] == EXPOSURES[2]["id"]


def replace_region(butler: Butler, visit: int, region: Region | None) -> None:
    (record,) = (record for record in stored(butler, "visit") if record.id == visit)
    row = {**record.toDict(), "region": region}
    butler.registry.insertDimensionData("visit", row, replace=True)


def test_left_out(own_survey: Butler, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Visits without a polygon are named, and the others are there."""
    ids = [one["id"] for one in EXPOSURES]
    replace_region(own_survey, ids[0], None)
    replace_region(own_survey, ids[3], Circle(UnitVector3d.Z(), Angle(0.01)))
    export(own_survey, tmp_path / "visits.parquet")
    rows, _ = read_rows(tmp_path / "visits.parquet")
    assert [row["visit"] for row in rows] == ids[1:3]
    assert f"Left out, for lack of a polygon as region: visits {ids[0]}, {ids[3]}." in caplog.text


def test_left_out_detectors(own_survey: Butler, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ids = [one["id"] for one in EXPOSURES]
    delete_rows(own_survey, "visit_detector_region", visit=ids[1])
    rows = {(row.visit, row.detector): row for row in stored(own_survey, "visit_detector_region")}
    row = {**rows[ids[0], 4].toDict(), "region": Circle(UnitVector3d.Z(), Angle(0.01))}
    own_survey.registry.insertDimensionData("visit_detector_region", row, replace=True)
    export(own_survey, tmp_path / "visits.reg", "--detectors")
    assert (tmp_path / "visits.reg").read_text().count("polygon(") == 9 * 3 - 1
    assert f"Left out: the region of visit {ids[0]} is not a polygon for detectors 4." in caplog.text
    assert f"Left out, for lack of detectors' regions: visit {ids[1]}." in caplog.text


@pytest.fixture
def refused(make_survey: Callable[..., Butler], tmp_path: Path) -> Callable[..., str]:
    """Return a function that returns the error of an export, which must leave no file."""
    butler = make_survey()
    add_exposures(butler, EXPOSURES[:1])

    def error(name: str, *arguments: object) -> str:
        (tmp_path / "out").mkdir(exist_ok=True)
        said = message(visits_command("export", root(butler), INSTRUMENT, "-o", tmp_path / "out" / name, *arguments))
        assert not list((tmp_path / "out").iterdir())
        return said

    return error


@pytest.mark.parametrize("name", ["visits.reg", "visits.fits", "visits.parquet"])
def test_no_visits(refused: Callable[..., str], name: str) -> None:
    assert f"{INSTRUMENT} has no visits with a region." in refused(name)
    assert f"{INSTRUMENT} has no visits with a region of exposures that match 'exposure = 1'." in refused(
        name, "--where", "exposure = 1"
    )


def test_bad_arguments(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "must end in one of .fits, .json, .vot, .xml, .ecsv, .csv, .parquet, .reg, .geojson" in refused("visits.txt")
    assert "there is no folder" in refused("nowhere/visits.reg")
    assert "--where" in refused("visits.reg", "--where", "nonsense ==")
    assert "is not an IVOA identifier" in refused("visits.vot", "--publisher", "http://example.org")
    assert "is not an IVOA identifier" in refused("visits.vot", "--publisher", "ivo://example.org/a?b")
    assert "There is no file nowhere.yaml" in refused("visits.vot", "--wavelengths", "nowhere.yaml")
    for option, value in (("--publisher", "ivo://example.org/a"), ("--wavelengths", "nowhere.yaml")):
        assert f"{option} is for tables (.vot, .xml, " in refused("visits.reg", option, value)
    assert "--moc-version is for a MOC as .fits, not for .json." in refused("visits.json", "--moc-version", "2")
    monkeypatch.setitem(sys.modules, "mocpy", None)
    assert "pip install 'butler-visits[report]'" in refused("visits.fits")


def test_a_misspelt_filter(refused: Callable[..., str], tmp_path: Path) -> None:
    file = tmp_path / "filters.yaml"
    file.write_text("r_sim: [5e-7, 6e-7]\nr_smi: [5e-7, 6e-7]\n")
    said = refused("visits.vot", "--wavelengths", file)
    assert f"File {file}: {INSTRUMENT} has no filter or band 'r_smi'; it has " in said


@pytest.mark.parametrize("text", ["r: 5", "r: [5e-7]", "r: [550, 690]", "r: [7e-7, 5e-7]", "[1, 2]", "r: [a, b]", "{"])
def test_bad_wavelengths(refused: Callable[..., str], tmp_path: Path, text: str) -> None:
    file = tmp_path / "filters.yaml"
    file.write_text(text)
    assert str(file) in refused("visits.vot", "--wavelengths", file)


def test_unbounded_time_to_come(own_survey: Butler, tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    (record,) = (record for record in stored(own_survey, "visit") if record.id == EXPOSURES[0]["id"])
    row = {**record.toDict(), "timespan": Timespan(Time("2048-01-01", scale="tai"), None)}
    own_survey.registry.insertDimensionData("visit", row, replace=True)
    recwarn.clear()
    export(own_survey, tmp_path / "visits.parquet")
    rows, _ = read_rows(tmp_path / "visits.parquet")
    assert rows[0]["t_max"] is None
    assert rows[0]["t_min"] == pytest.approx(69076 - 37 / 86400, abs=1e-10)
    assert not [warning for warning in recwarn if "dubious year" in str(warning.message)]


def test_bands_are_the_instruments_own(own_survey: Butler) -> None:
    """Another instrument may have a filter of the same name."""
    own = {one.band for one in read_outlines(own_survey, INSTRUMENT)}
    own_survey.registry.insertDimensionData("instrument", {"name": "Zed", "class_name": "zed.Zed"})
    filters = {one.visit.physical_filter for one in read_outlines(own_survey, INSTRUMENT)}
    rows = [{"instrument": "Zed", "name": name, "band": "wrong"} for name in filters]
    own_survey.registry.insertDimensionData("physical_filter", *rows)
    assert {one.band for one in read_outlines(own_survey, INSTRUMENT)} == own


def test_file_that_cannot_be_written(own_survey: Butler, tmp_path: Path) -> None:
    """The error is about the file, also where nothing can be removed, and nothing is left behind."""
    folder = tmp_path / "out"
    folder.mkdir()
    name = folder / ("v" * 300 + ".reg")
    assert "cannot be written" in message(visits_command("export", root(own_survey), INSTRUMENT, "-o", name))
    assert not list(folder.iterdir())
