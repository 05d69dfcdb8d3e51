"""``butler-visits plot``: what its pictures show, and where."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lsst.daf.butler import Butler
from lsst.sphgeom import ConvexPolygon, UnitVector3d

from butler_visits.geometry import boundary_distance, decode_polygon
from butler_visits.report import plot_coverage, plot_visit
from command_line import message, visits_command
from simulated_survey import INSTRUMENT
from templates import make_repository, one_raft
from visit_tables import add_exposures, data_ids, delete_rows, exposure, make_task, root, stored

pytestmark = pytest.mark.sqlite_only

pytest.importorskip("skyproj", reason="skyproj (the extra report) is not installed")

MAGIC = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}
EXPOSURES = [exposure(1), exposure(2, tracking_ra=35.3), exposure(3, tracking_ra=200.0, tracking_dec=60.0)]
POLE, ZERO, SOUTH = (123.0, 89.9), (359.9, -20.0), (10.0, -90.0)

FloatArray = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Butler:
    """Return a repository that no test changes."""
    butler = make_repository(tmp_path_factory.mktemp("survey") / "repository", one_raft)
    make_task(butler).run(data_ids(add_exposures(butler, EXPOSURES)))
    return butler


def plot(butler: Butler, file: Path, *arguments: object) -> Any:
    return visits_command("plot", root(butler), INSTRUMENT, "-o", file, *arguments)


def vertices(region: Any) -> FloatArray:
    found = decode_polygon(region.encode())
    assert found is not None
    return found


def direction(ra: float, dec: float) -> FloatArray:
    a, d = np.radians([ra, dec])
    return np.array([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])


def axes_at(place: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return east and north."""
    east = np.cross([0, 0, 1], place)
    east = np.array([0.0, 1.0, 0.0]) if np.linalg.norm(east) < 1e-9 else east / np.linalg.norm(east)
    return east, np.cross(place, east)


def square(place: FloatArray, width: float) -> ConvexPolygon:
    """Make a square field, degrees."""
    east, north = axes_at(place)
    half = np.radians(width / 2)
    corners = [place + half * (x * east + y * north) for x, y in [(-1, -1), (1, -1), (1, 1), (-1, 1)]]
    return ConvexPolygon([UnitVector3d(*corner) for corner in corners])


def check_counts(axes: Any, polygons: Sequence[ConvexPolygon], project: Callable[[FloatArray], FloatArray]) -> None:
    """Compare the colours at random places with how many polygons contain them."""
    (image,) = axes.images
    left, right, bottom, top = image.get_extent()
    values = np.ma.filled(image.get_array(), 0)
    pixel = (right - left) / values.shape[1]
    rng = np.random.default_rng(1)
    for polygon in polygons:
        middle, radius = vertices(polygon).mean(axis=0), polygon.getBoundingCircle().getOpeningAngle().asRadians()
        points = middle + 1.3 * radius * rng.uniform(-1, 1, (300, 3))
        points /= np.linalg.norm(points, axis=1)[:, None]
        # Cells are three pixels wide, and their corners reach farther.
        edge = np.min([boundary_distance(points, vertices(other)) for other in polygons], axis=0)
        points = points[edge > 5 * abs(pixel)]
        expected = np.sum([other.contains(*points.T) for other in polygons], axis=0)
        assert len(set(expected)) > 1
        x, y = project(points).T
        shown = (min(axes.get_xlim()) < x) & (x < max(axes.get_xlim()))
        shown &= (min(axes.get_ylim()) < y) & (y < max(axes.get_ylim()))
        assert shown[expected > 0].all()
        column = ((x - left) / pixel).astype(int)[shown]
        row = ((y - bottom) / (top - bottom) * values.shape[0]).astype(int)[shown]
        assert (values[row, column] == expected[shown]).all()
    # East is to the left, north is up.
    assert axes.get_xlim()[0] > axes.get_xlim()[1]
    assert axes.get_ylim()[0] < axes.get_ylim()[1]


@pytest.mark.parametrize(("place", "width"), [(ZERO, 3.0), (POLE, 3.0), (SOUTH, 0.05), ((80.0, 41.0), 0.05)])
def test_fields_are_drawn_large(place: tuple[float, float], width: float) -> None:
    """Each picture is Lambert's azimuthal equal-area projection about the middle of the visits."""
    first = direction(*place)
    east, north = axes_at(first)
    second = first + np.radians(0.3 * width) * (east + 0.5 * north)
    polygons = [square(first, width), square(second / np.linalg.norm(second), width)]
    axes: Any = plot_coverage([vertices(polygon) for polygon in polygons]).axes[0]
    middle = np.concatenate([vertices(polygon) for polygon in polygons]).mean(axis=0)
    middle /= np.linalg.norm(middle)
    east, north = axes_at(middle)
    if abs(place[1]) > 89:
        # At a pole it depends on the last bits which way is north: it is what the picture has.
        a = np.radians(axes.lon_0)
        east = np.array([-np.sin(a), np.cos(a), 0])
        east -= (east @ middle) * middle
        north = np.cross(middle, east)

    def project(points: FloatArray) -> FloatArray:
        scale = np.sqrt(2 / (1 + points @ middle))
        return scale[:, None] * np.stack([points @ east, points @ north], axis=-1)

    check_counts(axes, polygons, project)
    # Not a spot in the middle.
    assert np.ptp(axes.get_xlim()) < np.radians(2 * width)


def hammer(points: FloatArray, middle: float) -> FloatArray:
    """Project directions as E. von Hammer did (1892)."""
    x, y, z = points.T
    longitude = (np.arctan2(y, x) - np.radians(middle) + np.pi) % (2 * np.pi) - np.pi
    cosine = np.hypot(x, y)
    scale = np.sqrt(2 / (1 + cosine * np.cos(longitude / 2)))
    return np.stack([2 * scale * cosine * np.sin(longitude / 2), scale * z], axis=-1)


def test_whole_sky() -> None:
    """It is Hammer's projection, with the edge where there are no visits."""
    places = [direction(*place) for place in (ZERO, (80.0, 80.0), (60.0, 0.0), (250.0, -60.0))]
    polygons = [square(place, 10.0) for place in places]
    axes: Any = plot_coverage([vertices(polygon) for polygon in [*polygons, polygons[0]]]).axes[0]
    # The widest gap in RA is from the second visit, about 110, to the last, about 240.
    assert abs((axes.lon_0 + 180) % 360 - 180) < 5

    check_counts(axes, [*polygons, polygons[0]], lambda points: hammer(points, axes.lon_0))


def test_small_visits_are_not_lost() -> None:
    """Each of many that are smaller than a pixel is there, a cell large."""
    places = np.random.default_rng(1).normal(size=(200, 3))
    places /= np.linalg.norm(places, axis=1)[:, None]
    axes: Any = plot_coverage([vertices(square(place, 0.01)) for place in places]).axes[0]
    (image,) = axes.images
    x_min, x_max, y_min, _ = image.get_extent()
    rows, columns = np.nonzero(np.ma.filled(image.get_array(), 0))
    pixel = (x_max - x_min) / image.get_array().shape[1]
    drawn = np.stack([x_min + pixel * (columns + 0.5), y_min + pixel * (rows + 0.5)], axis=-1)
    wanted = hammer(places, axes.lon_0)
    distance = np.linalg.norm(drawn[:, None] - wanted, axis=-1) / pixel
    assert distance.min(axis=0).max() < 4
    assert len(drawn) < 20 * len(places)


@pytest.mark.parametrize("place", [POLE, ZERO, (40.0, 86.0), (150.0, 10.0)])
def test_right_ascensions_are_not_on_the_axis_of_declinations(place: tuple[float, float]) -> None:
    middle = direction(*place)
    east, _ = axes_at(middle)
    places = [middle + offset * east for offset in (-0.1, 0.0, 0.1)]
    figure = plot_coverage([vertices(square(one / np.linalg.norm(one), 3.0)) for one in places])
    axes: Any = figure.axes[0]
    figure.draw_without_rendering()
    # These axes draw them on all four sides where a projection may be a full circle.
    assert not axes.gridlines.full_circle
    right_ascensions = [label for side in ("top", "bottom") for _, _, label in ticks(axes, "lon", side)]
    assert len(right_ascensions) > 3
    assert ticks(axes, "lat", "left")


def ticks(axes: Any, kind: str, side: str) -> list[Any]:
    return [(tick[0], tick[1], tick[3]) for tick in axes.gridlines.get_tick_iterator(kind, side)]


@pytest.mark.parametrize(
    ("place", "width"),
    [
        ((100.0, 0.0), 1.0), ((100.0, -0.05), 0.1), ((0.0, -0.2), 0.5), ((0.0, 0.0), 8.0), (ZERO, 0.02),
        ((40.0, 86.0), 3.0), ((200.0, -87.0), 1.0),
    ],
)  # fmt: skip
def test_labels_say_where_the_lines_are(place: tuple[float, float], width: float) -> None:
    """South of the equator they have a minus sign, and there is no right ascension of 360 or below 0."""
    figure = plot_coverage([vertices(square(direction(*place), width))])
    axes: Any = figure.axes[0]
    figure.draw_without_rendering()
    seen = set()
    for kind, side in (("lat", "left"), ("lat", "right"), ("lon", "top"), ("lon", "bottom")):
        for (x, y), _, label in ticks(axes, kind, side):
            said = float(label.strip("$").removesuffix(r"^{\circ}"))
            # The inverse of Lambert's projection (Snyder 1987, equations 20-14 and 20-15).
            rho, lat = math.hypot(x, y), math.radians(axes.lat_0)
            c = 2 * math.asin(rho / 2)
            dec = math.asin(math.cos(c) * math.sin(lat) + y * math.sin(c) * math.cos(lat) / rho)
            east = x * math.sin(c), rho * math.cos(lat) * math.cos(c) - y * math.sin(lat) * math.sin(c)
            ra = (axes.lon_0 + math.degrees(math.atan2(*east))) % 360
            if kind == "lat":
                assert said == pytest.approx(math.degrees(dec), abs=0.02 * width)
            else:
                assert 0 <= said < 360
                assert abs((said - ra + 180) % 360 - 180) * math.cos(dec) < 0.02 * width
            seen.add((kind, said < 0))
    assert (("lat", True) in seen) == (place[1] - width / 2 < 0)
    assert ("lon", False) in seen


def drawn_lines(axes: Any) -> list[Any]:
    """Return the lines but for the edge of the map."""
    return [line for line in axes.lines if line.get_color() != "k"]


def test_bands() -> None:
    """Each outline is drawn, in the colour of its band, and where it is."""
    from butler_visits.report.colours import band_colours, contrast

    places = [direction(202.0 + offset, 47.0) for offset in (0.0, 0.2, 0.4, 0.6)]
    polygons = [square(place, 0.4) for place in places]
    figure = plot_coverage([vertices(one) for one in polygons], bands=["r", "Ha", "r", "white"])
    axes: Any = figure.axes[0]
    r, *others = drawn_lines(axes)
    assert r.get_color() == band_colours()["r"]
    assert len({line.get_color() for line in drawn_lines(axes)}) == 3
    assert len({line.get_linestyle() + str(line._dash_pattern) for line in drawn_lines(axes)}) == 3
    assert all(contrast(line.get_color(), "#ffffff") >= 3 for line in others)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["r (2 visits)", "Ha (1 visit)", "white (1 visit)"]
    middle = direction(axes.lon_0, axes.lat_0)
    east, north = axes_at(middle)
    points = np.concatenate([vertices(polygons[0]), vertices(polygons[2])])
    expected = np.sqrt(2 / (1 + points @ middle))[:, None] * np.stack([points @ east, points @ north], axis=-1)
    drawn = np.column_stack(r.get_data())
    assert np.isnan(drawn).any()
    for corner in expected:
        assert np.nanmin(np.linalg.norm(drawn - corner, axis=1)) < 1e-9


def test_outlines_at_the_edge_of_the_sky_are_not_drawn_across_it() -> None:
    places = [direction(*place) for place in (ZERO, (80.0, 80.0), (60.0, 0.0), (250.0, -60.0))]
    polygons = [vertices(square(place, 10.0)) for place in places]
    edge = plot_coverage(polygons, bands=["r"] * 4).axes[0].lon_0 + 180  # type: ignore[attr-defined]
    axes: Any = plot_coverage([*polygons, vertices(square(direction(edge, 5.0), 6.0))], bands=["r"] * 5).axes[0]
    x, y = drawn_lines(axes)[0].get_data()
    assert np.nanmax(np.hypot(np.diff(x), np.diff(y))) < 0.3


@pytest.mark.parametrize(("name", "on_it", "off"), [
    ("galactic plane", (266.405, -28.936), (192.86, 27.13)), ("ecliptic", (90.0, 23.439), (270.0, 66.56)),
])  # fmt: skip
def test_lines(name: str, on_it: tuple[float, float], off: tuple[float, float]) -> None:
    """A line goes where it goes, and is in the legend if it is in the picture."""
    option: Any = {name.replace(" ", "_"): True}
    figure = plot_coverage([vertices(square(direction(*on_it), 4.0))], **option)
    axes: Any = figure.axes[0]
    (line,) = drawn_lines(axes)
    # The place is in the middle of the picture.
    assert np.nanmin(np.hypot(*line.get_data())) < np.radians(0.05)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [name]
    figure = plot_coverage([vertices(square(direction(*off), 4.0))], **option)
    assert not drawn_lines(figure.axes[0])
    assert not figure.legends


def test_visits_that_are_too_small_are_marked() -> None:
    places = [direction(10.0, 10.0), direction(10.01, 10.0), direction(200.0, -40.0)]
    figure = plot_coverage([vertices(square(place, 0.2)) for place in places])
    axes: Any = figure.axes[0]
    (rings,) = drawn_lines(axes)
    assert rings.get_marker() == "o"
    assert len(rings.get_xdata()) == 2
    assert "too small to be seen" in figure.legends[0].get_texts()[0].get_text()
    expected = hammer(np.array(places), axes.lon_0)
    for x, y in zip(*rings.get_data(), strict=True):
        assert np.hypot(*(expected - [x, y]).T).min() < 0.03


def test_a_strip_is_no_thread() -> None:
    strip = [vertices(square(direction(ra, 1.0), 1.0)) for ra in range(310, 345, 2)]
    axes: Any = plot_coverage(strip).axes[0]
    width, height = (np.ptp(limits()) for limits in (axes.get_xlim, axes.get_ylim))
    assert width / height < 3.5


@given(middles=st.lists(st.tuples(st.floats(0, 360), st.floats(-90, 90), st.floats(12, 60)), min_size=1, max_size=6))
@settings(max_examples=50, deadline=None)
def test_depth(middles: list[tuple[float, float, float]]) -> None:
    """A cell's depth is the number of visits that contain its centre."""
    import hpgeom

    from butler_visits.geometry.cells import depth

    order = 4
    polygons = [square(direction(ra, dec), width) for ra, dec, width in middles]
    cells, counts = depth([vertices(polygon) for polygon in polygons], order)
    assert (np.diff(cells) > 0).all()
    found = np.zeros(12 * 4**order, dtype=int)
    found[cells] = counts
    centres = np.stack(hpgeom.pixel_to_vector(2**order, np.arange(len(found))), axis=-1)
    expected = np.sum([polygon.contains(*centres.T) for polygon in polygons], axis=0)
    edge = np.min([boundary_distance(centres, vertices(polygon)) for polygon in polygons], axis=0)
    assert (found == expected)[edge > 1e-12].all()


def test_visit(survey: Butler) -> None:
    """Each detector is where its region is, with its name in it."""
    from matplotlib.path import Path as Outline

    regions = {
        f"R22_S{row.detector // 3}{row.detector % 3}": row.region
        for row in stored(survey, "visit_detector_region")
        if row.visit == EXPOSURES[0]["id"]
    }
    regions["all of $ {it"] = regions.pop("R22_S22")
    figure = plot_visit({name: vertices(region) for name, region in regions.items()}, title="a $visit")
    axes: Any
    (axes,) = figure.axes
    figure.draw_without_rendering()
    (outlines,) = [each for each in axes.collections if len(each.get_paths()) == 9]
    assert [text.get_text() for text in axes.texts] == list(regions)
    middle = direction(axes.lon_0, axes.lat_0)
    east, north = axes_at(middle)
    for text, path, region in zip(axes.texts, outlines.get_paths(), regions.values(), strict=True):
        points = vertices(region)
        expected = np.sqrt(2 / (1 + points @ middle))[:, None] * np.stack([points @ east, points @ north], axis=-1)
        assert path.vertices[:4] == pytest.approx(expected, abs=1e-9)
        shape = Outline(axes.transData.transform(path.vertices))
        assert text.get_fontsize() >= 5
        # The corners of the text as it is written, turned.
        assert shape.contains_points(text.get_window_extent().corners()).all()
    assert figure.get_suptitle() == "a $visit"


@pytest.mark.parametrize("ending", MAGIC)
def test_command(survey: Butler, tmp_path: Path, ending: str) -> None:
    from matplotlib import pyplot as plt

    file = tmp_path / f"visits{ending.upper() if ending == '.png' else ending}"
    result = plot(survey, file)
    assert (result.exit_code, result.stdout) == (0, f"The coverage of 3 visits is in {file}.\n"), result.output
    assert file.read_bytes().startswith(MAGIC[ending])
    assert list(tmp_path.iterdir()) == [file]
    assert plt.get_fignums() == []
    result = plot(survey, tmp_path / f"visit{ending}", "--visit", EXPOSURES[1]["id"])
    assert f"Visit {EXPOSURES[1]['id']}, with 9 detectors, is in {tmp_path}" in result.stdout
    if ending == ".svg":
        said = (tmp_path / "visit.svg").read_text()
        assert all(f"R22_S{i}{j}" in said for i in range(3) for j in range(3))
        assert EXPOSURES[1]["obs_id"] in said
        assert f"{INSTRUMENT}: 3 visits" in file.read_text()


def test_colour_and_lines(survey: Butler, tmp_path: Path) -> None:
    """The legend says what is drawn."""
    lines = ("--galactic-plane", "--ecliptic")
    result = plot(survey, tmp_path / "visits.svg", "--colour", "band", *lines)
    assert result.stdout == f"The outline of 3 visits is in {tmp_path / 'visits.svg'}.\n"
    said = (tmp_path / "visits.svg").read_text()
    assert all(f"<!-- {text} -->" in said for text in ("r (3 visits)", "galactic plane", "ecliptic"))
    plot(survey, tmp_path / "visits.svg")
    said = (tmp_path / "visits.svg").read_text()
    assert not any(f"<!-- {text} -->" in said for text in ("r (3 visits)", "galactic plane", "ecliptic"))
    for option in (["--colour", "band"], ["--ecliptic"]):
        said = message(plot(survey, tmp_path / "visit.svg", "--visit", EXPOSURES[0]["id"], *option))
        assert "are for a coverage" in said


def test_where(survey: Butler, tmp_path: Path) -> None:
    assert plot(survey, tmp_path / "visits.svg", "--where", "exposure.target_name = 'field 1'").exit_code == 0
    assert f"{INSTRUMENT}: 1 visit " in (tmp_path / "visits.svg").read_text()


def test_errors(survey: Butler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "visits.png"
    for visit in (7, 10**30):
        assert f"{INSTRUMENT} has no visit {visit} in this repository." in message(plot(survey, file, "--visit", visit))
    assert "must end in one of .png, .pdf, .svg" in message(plot(survey, tmp_path / "visits.gif"))
    assert "there is no folder" in message(plot(survey, tmp_path / "nowhere" / "visits.png"))
    assert "--where" in message(plot(survey, file, "--where", "nonsense =="))
    assert "give one or the other" in message(plot(survey, file, "--where", "exposure = 1", "--visit", 1))
    said = message(plot(survey, file, "--where", "exposure = 1"))
    assert "has no visits with a region of exposures that match 'exposure = 1'." in said
    monkeypatch.setitem(sys.modules, "skyproj", None)
    assert "pip install 'butler-visits[report]'" in message(plot(survey, file))
    assert not list(tmp_path.iterdir())


def test_nothing_to_draw(make_survey: Callable[..., Butler], tmp_path: Path) -> None:
    butler = make_survey()
    assert f"{INSTRUMENT} has no visits with a region." in message(plot(butler, tmp_path / "visits.png"))
    make_task(butler).run(data_ids(add_exposures(butler, EXPOSURES[:1])))
    visit = EXPOSURES[0]["id"]
    delete_rows(butler, "visit_detector_region", visit=visit)
    assert f"Visit {visit} of {INSTRUMENT} has no detector regions" in message(
        plot(butler, tmp_path / "visits.png", "--visit", visit)
    )
