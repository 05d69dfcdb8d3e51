"""The page's content: what it holds of visits, what was not defined and why, and how little space it takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lsst.daf.butler import Butler
from lsst.sphgeom import UnitVector3d

from browser import (
    Floats,
    axes,
    content,
    decoded,
    directions,
    field,
    laid_out,
    outlines_of,
    page_of,
    polygon,
    square,
)
from butler_visits.report.page import PageVisit, Undefined, build, render_page, visits_page
from butler_visits.report.page.coverage import cover
from butler_visits.report.page.detectors import Layouts
from command_line import define_visits, visits_command
from simulated_survey import CAMERA_RUN, INSTRUMENT
from visit_tables import DAY, add_exposures, data_ids, exposure, make_task, root, stored

pytestmark = pytest.mark.sqlite_only

N_DETECTORS = 9
DARK = exposure(9, observation_type="dark", tracking_ra=None)


def labels(data: Mapping[str, Any], name: str) -> list[str]:
    return [data[name]["labels"][code] for code in decoded(data[name]["codes"], "<u2")]


@pytest.fixture
def survey(make_survey: Callable[..., Butler]) -> Butler:
    """Return a repository with two visits, three exposures without one, and a dark."""
    butler = make_survey()
    ids = add_exposures(butler, [exposure(1), exposure(2, target_name=None, physical_filter="g_sim")])
    make_task(butler).run(data_ids(ids))
    wrong = exposure(3, tracking_dec=95.0)
    add_exposures(butler, [wrong, exposure(4), exposure(5), DARK])
    return butler


# What a page of a repository holds


def test_report_holds_the_visits(survey: Butler, tmp_path: Path) -> None:
    file = tmp_path / "visits.html"
    result = visits_command("report", root(survey), INSTRUMENT, "-o", file)
    assert result.exit_code == 0, result.output
    data = content(file.read_text())
    records = sorted(stored(survey, "visit"), key=lambda record: record.id)
    shown = data["visits"]
    assert shown["fields"]["id"] == [record.id for record in records]
    assert set(shown["fields"]) == set(records[0].fields.names) - {"region"}
    for name in ("name", "target_name", "exposure_time", "azimuth", "physical_filter"):
        assert shown["fields"][name] == [getattr(record, name) for record in records]
    begin = records[0].timespan.begin.tai.iso[:23]
    assert shown["begin"][0] == begin
    assert shown["fields"]["timespan"][0].startswith(f"{begin} to ")
    assert shown["exposures"] == [[str(record.id)] for record in records]
    assert labels(data, "night") == [str(DAY)] * 2
    assert labels(data, "filter") == ["r_sim", "g_sim"]
    assert labels(data, "band") == ["r", "g"]
    assert len(shown["outlines"]["layouts"]) == 1, "outlines that are alike up to a rotation are there once"
    for outline, record in zip(outlines_of(data), records, strict=True):
        expected = np.array([list(vertex) for vertex in record.region.getVertices()])
        assert_same_polygon(outline, expected, 1e-5)


def assert_same_polygon(found: Floats | None, expected: Floats, degrees: float) -> None:
    """Check that a polygon has some vertices, in their order, whichever it begins with."""
    assert found is not None
    assert found.shape == expected.shape
    apart = min(np.abs(np.roll(found, roll, axis=0) - expected).max() for roll in range(len(expected)))
    assert apart < np.deg2rad(degrees)


def test_visit_of_two_days(make_survey: Callable[..., Butler]) -> None:
    """From universe 6 on the Butler's queries do not show that a visit has an exposure of another day."""
    butler = make_survey()
    ids = add_exposures(butler, [exposure(1, seq_end=2), exposure(2, seq_start=1, seq_end=2, day_obs=DAY + 1)])
    make_task(butler, "by-group-metadata").run(data_ids(ids))
    page = visits_page(butler, INSTRUMENT)
    assert [visit.exposures for visit in page.visits] == [tuple(ids)]
    assert page.undefined == []


def test_report_says_what_is_not_defined(survey: Butler, tmp_path: Path) -> None:
    file = tmp_path / "visits.html"
    result = visits_command("report", root(survey), INSTRUMENT, "-o", file)
    ids = {seq_num: str(DAY * 100000 + seq_num) for seq_num in (3, 4, 5, 9)}
    undefined = content(file.read_text())["undefined"]
    assert [entry["exposures"] for entry in undefined] == [[ids[4], ids[5]], [ids[3]], [ids[9]]]
    assert [entry["count"] for entry in undefined] == [2, 1, 1]
    assert undefined[0]["reason"] == "Not defined yet: define-visits would define them"
    assert "tracking_dec 95.0" in undefined[1]["reason"]
    assert undefined[2]["reason"] == "Not on the sky: dark"
    assert result.stdout.splitlines()[:2] == [
        "2 visits of 6 exposures.",
        "4 exposures without a visit.",
    ]


def test_report_of_some_exposures(survey: Butler, tmp_path: Path) -> None:
    file = tmp_path / "visits.html"
    where = "exposure.seq_num IN (2, 9)"
    assert visits_command("report", root(survey), INSTRUMENT, "-o", file, "--where", where).exit_code == 0
    data = content(file.read_text())
    assert data["visits"]["fields"]["name"] == [f"SC_O_{DAY}_000002"]
    assert [entry["reason"] for entry in data["undefined"]] == ["Not on the sky: dark"]


def test_report_without_a_camera(survey: Butler) -> None:
    refs = survey.query_datasets("camera_geometry", collections=CAMERA_RUN, find_first=False)
    survey.pruneDatasets(refs, disassociate=True, unstore=True, purge=True)
    page = visits_page(survey, INSTRUMENT)
    assert len(page.visits) == 2
    without, dark = page.undefined
    assert "No camera geometry" in without.reason
    assert without.count == 3
    assert dark.reason == "Not on the sky: dark"


def test_exposures_that_fail_alike(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    ids = add_exposures(butler, [exposure(n, tracking_dec=95.0) for n in (1, 2)] + [exposure(3)])
    new, failed = sorted(visits_page(butler, INSTRUMENT).undefined, key=lambda entry: entry.count)
    assert new.exposures == (ids[2],)
    assert failed.exposures == tuple(ids[:2])
    assert failed.reason.startswith("Exposure … has tracking_dec 95.0; expected -90 to 90 degrees.")


@pytest.mark.parametrize("first", [0, 9])
def test_ids_that_are_in_other_numbers(make_survey: Callable[..., Butler], first: int) -> None:
    """What a message says of anything else but the exposures is left as it is, also where it has their digits."""
    butler = make_survey()
    given = [exposure(n, tracking_dec=95.0, id=first + n, obs_id=str(n)) for n in (0, 1)]
    add_exposures(butler, given)
    (failed,) = visits_page(butler, INSTRUMENT).undefined
    assert failed.exposures == (first, first + 1)
    assert failed.reason.startswith("Exposure … has tracking_dec 95.0; expected -90 to 90 degrees.")


def test_nothing_in_common(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    ids = add_exposures(butler, [exposure(n, tracking_dec=90.0 + n) for n in (1, 2)])
    failed = visits_page(butler, INSTRUMENT).undefined
    assert sorted((one.exposures, one.reason.partition(";")[0]) for one in failed) == [
        ((id_,), f"Exposure {id_} has tracking_dec {90.0 + n}") for n, id_ in enumerate(ids, 1)
    ]


def test_snaps_that_came_late(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    first, second = (exposure(n, seq_start=1, seq_end=2) for n in (1, 2))
    make_task(butler, "by-group-metadata").run(data_ids(add_exposures(butler, [first])))
    add_exposures(butler, [second])
    page = visits_page(butler, INSTRUMENT, config=make_task(butler, "by-group-metadata").config)
    (entry,) = page.undefined
    assert entry.exposures == (second["id"],)
    assert "define-visits --incremental would do it" in entry.reason
    assert len(page.visits) == 1


def test_late_snaps_have_one_reason(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    exposures = [exposure(n, seq_start=n - (n + 1) % 2, seq_end=n + n % 2) for n in range(1, 7)]
    make_task(butler, "by-group-metadata").run(data_ids(add_exposures(butler, exposures[::2])))
    late = add_exposures(butler, exposures[1::2])
    page = visits_page(butler, INSTRUMENT, config=make_task(butler, "by-group-metadata").config)
    assert len(page.visits) == 3
    assert [entry.exposures for entry in page.undefined] == [tuple(sorted(late))]


@pytest.mark.parametrize("universe", [0, 3])
def test_old_universes(make_survey: Callable[..., Butler], universe: int) -> None:
    butler = make_survey(universe)
    names = butler.dimensions["exposure"].RecordClass.fields.names
    one = {**exposure(1), "group_name": "1", "group_id": 1}
    row = {"instrument": INSTRUMENT, **{name: value for name, value in one.items() if name in names}}
    butler.registry.insertDimensionData("exposure", row)
    make_task(butler).run(data_ids([one["id"]]))
    data = content(render_page(visits_page(butler, INSTRUMENT)))
    assert data["visits"]["fields"]["id"] == [one["id"]]
    assert labels(data, "night") == [str(DAY)]


def test_nothing_to_show(make_survey: Callable[..., Butler], tmp_path: Path) -> None:
    butler = make_survey()
    file = tmp_path / "visits.html"
    result = visits_command("report", root(butler), INSTRUMENT, "-o", file)
    assert result.exit_code == 0, result.output
    assert content(file.read_text())["count"] == 0


def test_night_of_a_visit_without_one() -> None:
    # 2026-03-31T23:33:20 TAI is of the night that began at noon of the same day.
    assert field(1, 0, 0, day_obs=None).night == "20260331"
    assert PageVisit({"id": 1, "name": "a", "timespan": None}, (), None, None).night == "unknown"


def test_values_that_json_lacks() -> None:
    visit = field(20220406025653255, 0, 0)
    fields = {**visit.fields, "azimuth": float("nan"), "zenith_angle": None}
    data = content(render_page(page_of([PageVisit(fields, (1,), None, None)])))
    shown = {name: values[0] for name, values in data["visits"]["fields"].items()}
    # Not a number to JavaScript, for which 20220406025653255 and ...256 are equal.
    assert shown["id"] == "20220406025653255"
    assert (shown["azimuth"], shown["zenith_angle"]) == ("nan", None)
    assert data["without_outline"] == 1


# A plan


def test_page_of_a_plan(survey: Butler, tmp_path: Path) -> None:
    file = tmp_path / "plan.html"
    add_exposures(survey, [exposure(1, target_name="M 31", tracking_ra=36.0)], replace=True)
    options = ["--dry-run", "--output", file, "--on-error", "skip"]
    result = define_visits(root(survey), INSTRUMENT, *options)
    # There is a conflict, and a failure.
    assert result.exit_code == 1, result.output
    data = content(file.read_text())
    assert labels(data, "action") == ["conflict", "unchanged", "new", "new"]
    assert data["visits"]["stored"] == [{"target_name": "field 1"}, {}, {}, {}]
    new, *_, old = [None if outline is None else outline.mean(axis=0) for outline in outlines_of(data)[:5]]
    assert new is not None
    assert old is not None
    assert np.rad2deg(np.diff([np.arctan2(one[1], one[0]) for one in (old, new)])) == pytest.approx(1.0, abs=1e-3)
    assert "target_name is stored as 'field 1' and is now 'M 31'" in data["visits"]["reason"][0]
    reasons = [entry["reason"] for entry in data["undefined"]]
    assert "tracking_dec 95.0" in reasons[0]
    assert reasons[1:] == ["Not on the sky: dark"]
    ids = [[str(DAY * 100000 + number)] for number in (3, 9)]
    assert [entry["exposures"] for entry in data["undefined"]] == ids, "which they are"
    assert all(place is not None for place in data["visits"]["places"])


def test_plan_is_applied_after_its_page(make_survey: Callable[..., Butler], tmp_path: Path) -> None:
    butler = make_survey()
    add_exposures(butler, [exposure(1)])
    result = define_visits(root(butler), INSTRUMENT, "--output", tmp_path / "plan.html")
    assert result.exit_code == 0, result.output
    assert labels(content((tmp_path / "plan.html").read_text()), "action") == ["new"]
    assert len(stored(butler, "visit")) == 1


def test_plan_says_what_it_left_out(survey: Butler, tmp_path: Path) -> None:
    file = tmp_path / "plan.html"
    result = define_visits(root(survey), INSTRUMENT, "--dry-run", "--output", file, "--on-error", "skip", "--prefilter")
    assert result.exit_code == 1, result.output
    found = {entry["reason"]: entry["exposures"] for entry in content(file.read_text())["undefined"]}
    assert found["They have a visit already"] == [str(DAY * 100000 + number) for number in (1, 2)]


def test_plan_of_nothing(make_survey: Callable[..., Butler], tmp_path: Path) -> None:
    result = define_visits(root(make_survey()), INSTRUMENT, "--dry-run", "--output", tmp_path / "plan.html")
    assert result.exit_code == 0, result.output
    assert content((tmp_path / "plan.html").read_text())["count"] == 0


# Mistakes


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-o", "{}/visits.pdf"], "must end in one of .html"),
        (["-o", "{}/none/visits.html"], "there is no folder"),
        (["-o", "{}/visits.html", "--where", "exposure.nothing = 1"], "is not a valid expression"),
    ],
)
def test_mistakes(survey: Butler, tmp_path: Path, options: list[str], said: str) -> None:
    result = visits_command("report", root(survey), INSTRUMENT, *(option.format(tmp_path) for option in options))
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not list(tmp_path.glob("*.html"))


def test_without_the_extra(survey: Butler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = visits_command("report", root(survey), INSTRUMENT, "-o", tmp_path / "visits.html")
    assert result.exit_code == 1
    assert "pip install 'butler-visits[report]'" in result.stderr


def test_text_cannot_end_the_script() -> None:
    html = render_page(page_of([field(1, 0, 0, target_name="</script><script>alert(1)</script>")]))
    assert "alert(1)</script>" not in html
    assert content(html)["visits"]["fields"]["target_name"] == ["</script><script>alert(1)</script>"]


# Detectors in little space


def detector_outlines(data: Mapping[str, Any], visit: int) -> list[Floats]:
    """Return the corners of a visit's detectors, unit vectors."""
    number, *place = data["places"][visit]
    layout = data["layouts"][number]
    counts = data["kinds"][layout["kind"]]["counts"]
    return np.split(laid_out(layout, place, "<i2"), np.cumsum(counts)[:-1])


def test_detectors_lie_where_they_are_stored(survey: Butler) -> None:
    data = content(render_page(visits_page(survey, INSTRUMENT)))["visits"]
    names = {record.id: record.full_name for record in stored(survey, "detector")}
    assert len(data["layouts"]) == 1, "one camera has one layout, however its visits are turned"
    assert [kind["names"] for kind in data["kinds"]] == [[names[detector] for detector in sorted(names)]]
    for at, visit in enumerate(data["fields"]["id"]):
        regions = {r.detector: r.region for r in stored(survey, "visit_detector_region") if r.visit == visit}
        assert len(regions) == N_DETECTORS
        for detector, outline in enumerate(detector_outlines(data, at)):
            expected = np.array([list(vertex) for vertex in regions[detector].getVertices()])
            assert np.abs(outline - expected).max() < np.deg2rad(0.2 / 3600)


angles = st.floats(0, 360)
declinations = st.one_of(st.floats(-90, 90), st.sampled_from([90.0, -90.0, 89.99]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(angles, declinations, angles), min_size=2, max_size=6), st.integers(1, 4), st.integers(0, 3))
def test_turned_layouts_are_one(places: list[tuple[float, float, float]], count: int, roll: int) -> None:
    """Wherever a camera looks, and whichever vertex its polygons begin with, it has one layout."""
    offsets = [(-0.5, -0.5), (0.5, -0.5), (0.5, 0.6), (-0.4, 0.5)][:count]

    def regions(place: tuple[float, float, float], roll: int) -> dict[int, Any]:
        ra, dec, angle = place
        c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
        found = {}
        for detector, (x, y) in enumerate(offsets):
            half = 0.3 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
            plane = np.deg2rad(half + np.array([x, y])) @ np.array([[c, s], [-s, c]])
            sky = directions(ra, dec) + plane @ np.array(axes(ra, dec))
            # With two detectors the order of vertices tells how they are turned.
            sky = np.roll(sky, 0 if count == 2 else roll, axis=0)
            found[detector] = polygon(sky / np.linalg.norm(sky, axis=-1)[:, None])
        return found

    layouts = Layouts({}, 10**6)
    layouts.add({visit: regions(place, roll * visit) for visit, place in enumerate(places)})
    assert len(layouts.layouts) == 1
    data = {
        "kinds": layouts.kinds,
        "layouts": layouts.layouts,
        "places": [layouts.places[visit] for visit in range(len(places))],
    }
    for visit, place in enumerate(places):
        for outline, region in zip(detector_outlines(data, visit), regions(place, 0).values(), strict=True):
            expected = np.array([list(vertex) for vertex in region.getVertices()])
            apart = np.linalg.norm(outline[:, None] - expected, axis=-1).min(axis=1).max()
            assert apart < np.deg2rad(0.2 / 3600)


def test_other_layouts_are_kept() -> None:
    def regions(gap: float) -> dict[int, Any]:
        return {k: polygon(square(x, 0.0, 0.3)) for k, x in enumerate((-0.5 - gap, 0.5, 1.5))}

    layouts = Layouts({}, 10**6)
    # A hundredth of an arcsecond is nothing, ten are another camera.
    layouts.add({1: regions(0), 2: regions(0.01 / 3600), 3: regions(10 / 3600), 4: regions(10 / 3600)})
    assert [layouts.places[visit][0] for visit in (1, 2, 3, 4)] == [0, 0, 1, 1]


def test_detectors_that_take_too_much_space() -> None:
    layouts = Layouts({}, 500)
    layouts.add({k: {j: polygon(square(j * 2.0, 0.0, 0.3 + 0.1 * k)) for j in range(3)} for k in range(9)})
    assert 0 < len(layouts.places) < 9
    assert layouts.n_left_out == 9 - len(layouts.places)


# Coverage


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(angles, declinations, st.floats(0.05, 8), angles), min_size=1, max_size=8))
def test_cells_are_those_whose_centres_are_inside(fields: list[tuple[float, float, float, float]]) -> None:
    outlines = [square(*one) for one in fields]
    coverage = cover(outlines, max_cells=10**6, max_members=10**6)
    covered = directions(*np.moveaxis(coverage.corners, -1, 0)).mean(axis=1)
    centres = covered / np.linalg.norm(covered, axis=-1)[:, None]
    for k, outline in enumerate(outlines):
        members = set(coverage.members[coverage.starts[k] : coverage.starts[k + 1]].tolist())
        region = polygon(outline)
        inside = {cell for cell, centre in enumerate(centres) if region.contains(UnitVector3d(*centre))}
        # The mean of a cell's corners is not quite its centre; only those near the edge can differ.
        edge = np.deg2rad(0.15 * 58.6 / 2**coverage.order)
        for cell in members ^ inside:
            near = np.linalg.norm(outline - centres[cell], axis=-1).min()
            on_edge = min(
                abs(np.dot(np.cross(a, b) / np.linalg.norm(np.cross(a, b)), centres[cell]))
                for a, b in zip(outline, np.roll(outline, -1, axis=0), strict=True)
            )
            assert on_edge < edge or near < edge or members == {cell}
        assert members


def test_coverage_keeps_its_bounds() -> None:
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(0, 360, 400), np.rad2deg(np.arcsin(rng.uniform(-1, 1, 400)))
    outlines = [square(*place) for place in zip(ra, dec, strict=True)]
    fine = cover(outlines, max_cells=10**6, max_members=10**6)
    coarse = cover([*outlines, None], max_cells=1000, max_members=10**6)
    assert coarse.order < fine.order
    assert len(coarse.corners) <= 1000
    # Some four cells across a field, and none of a visit that has no outline.
    assert 8 < np.median(np.diff(fine.starts)) < 40
    assert coarse.starts[-1] == coarse.starts[-2]


def test_page_of_many_visits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "MAX_OUTLINES", 9)
    visits = [field(k, 10.0 * k, 0.0, physical_filter="gr"[k % 2]) for k in range(10)]
    data = content(render_page(page_of(visits, {0: {0: polygon(square(0.0, 0.0))}})))
    assert data["visits"]["fields"]["id"] == list(range(10))
    assert labels(data, "filter") == ["g", "r"] * 5
    assert data["coverage"]["cells"] > 0
    assert len(data["visits"]["outlines"]["layouts"]) == 1
    for outline, visit in zip(outlines_of(data), visits, strict=True):
        assert visit.outline is not None
        assert_same_polygon(outline, visit.outline, 1e-5)
    assert data["visits"]["places"] == [None] * 10, "detectors are not read of so many"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(angles, declinations, angles, st.integers(0, 5)), min_size=2, max_size=6), st.booleans())
def test_turned_outlines_are_one(places: list[tuple[float, float, float, int]], is_regular: bool) -> None:
    """Wherever a camera looks, and with whichever vertex an outline begins, it is there once."""
    turns = np.deg2rad([0, 60, 120, 180, 240, 300] if is_regular else [0, 60, 130, 170, 240, 300])
    outlines = []
    for ra, dec, angle, roll in places:
        plane = np.deg2rad(1.7) * np.stack(
            [np.cos(turns + np.deg2rad(angle)), np.sin(turns + np.deg2rad(angle))], axis=-1
        )
        sky = directions(ra, dec) + plane @ np.array(axes(ra, dec))
        outlines.append(np.roll(sky / np.linalg.norm(sky, axis=-1)[:, None], roll, axis=0))
    data = content(render_page(page_of([field(k, 0, 0, outline=one) for k, one in enumerate(outlines)])))
    assert len(data["visits"]["outlines"]["layouts"]) == 1
    for found, expected in zip(outlines_of(data), outlines, strict=True):
        assert_same_polygon(found, expected, 1e-5)


def test_outlines_of_no_size_and_of_half_the_sky() -> None:
    point = np.repeat(directions(10.0, 20.0)[None], 3, axis=0)
    wide, half_sky = (square(10.0, 20.0, half) for half in (80.0, 89.9))
    data = content(render_page(page_of([field(k, 0, 0, outline=one) for k, one in enumerate((point, wide, half_sky))])))
    assert data["without_outline"] == 1
    found = outlines_of(data)
    assert_same_polygon(found[0], point, 1e-5)
    assert_same_polygon(found[1], wide, 1e-4)
    assert found[2] is None


def test_outlines_of_other_shapes() -> None:
    outlines = [square(10.0, 20.0, half) for half in (1.5, 1.5 + 1 / 3600, 0.1)] + [square(10.0, 20.0)[:3]]
    data = content(render_page(page_of([field(k, 0, 0, outline=one) for k, one in enumerate(outlines)])))
    assert len(data["visits"]["outlines"]["layouts"]) == 4
    for found, expected in zip(outlines_of(data), outlines, strict=True):
        assert_same_polygon(found, expected, 1e-5)


@pytest.mark.parametrize("limit", [200_000, 300_000])
def test_page_keeps_its_limit(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """Detectors have what all else leaves: all of it, and no more."""
    monkeypatch.setattr(build, "_MAX_BYTES", limit)
    visits = [field(k, 0.0, 0.0, stored_outline=square(1.0, 0.0)) for k in range(300)]
    # No two layouts are alike.
    regions = {k: {j: polygon(square(j * 2.0, 0.0, 0.3 + 0.001 * k)) for j in range(50)} for k in range(300)}
    html = render_page(page_of(visits, regions))
    shown = content(html)["visits"]
    size = len(json.dumps(content(html), separators=(",", ":")))
    assert limit - 30_000 < size <= limit
    assert len(html) < limit
    assert 0 < shown["without_space"] < 300
    assert shown["places"].count(None) == shown["without_space"]


def test_largest_page_of_outlines_is_small() -> None:
    """It is below 20 MB by far, also with stored outlines, so that there is space for detectors."""
    outline = np.concatenate([square(0.0, 0.0, 1.5, angle) for angle in (0, 15, 30, 45, 60, 75)])
    visits = [
        field(DAY * 100000 + k, 0.0, 0.0, outline=outline, stored_outline=outline) for k in range(build.MAX_OUTLINES)
    ]
    html = render_page(page_of(visits))
    assert content(html)["coverage"] is None
    assert len(html.encode()) < 1_000_000


def test_many_reasons() -> None:
    undefined = [Undefined(f"Reason {k}", (k,), 2) for k in range(build._MAX_REASONS + 7)]
    data = content(render_page(page_of([field(1, 0.0, 0.0)], undefined=undefined)))
    assert len(data["undefined"]) == build._MAX_REASONS
    assert data["more_reasons"] == 7
    assert data["undefined_count"] == 2 * len(undefined)


def test_page_without_visits_is_small() -> None:
    assert len(render_page(page_of([])).encode()) < 150_000
