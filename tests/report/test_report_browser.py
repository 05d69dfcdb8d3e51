"""The page in a real browser: hover, click, filters, colours, outlines at the poles and across RA 0, and no network."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lsst.daf.butler import Butler

from browser import (
    NIGHT,
    Floats,
    box,
    click_visit,
    content,
    directions,
    drawn,
    field,
    layers,
    legend,
    on_screen,
    opened,
    page_of,
    polygon,
    settle,
    square,
    texts,
    turn,
)
from butler_visits.report.page import Undefined, build, render_page
from command_line import define_visits, visits_command
from simulated_survey import INSTRUMENT
from visit_tables import add_exposures, data_ids, exposure, make_task, root

pytestmark = [pytest.mark.slow, pytest.mark.sqlite_only]

HOSTILE = "</script><script>document.title = 'broken'</script><img src=x onerror=document.title='broken'>&amp;"

FIELDS = [
    field(1, 40.0, -20.0, physical_filter="g_1", band="g", target_name="M 31"),
    field(2, 50.0, -20.0),
    field(3, 50.5, -20.2, day_obs=NIGHT + 1),
    field(20220406025653255, 60.0, -30.0, day_obs=NIGHT + 1, target_name=HOSTILE),
]
REGIONS = {
    visit.fields["id"]: {k: polygon(square(*place, 0.6)) for k, place in enumerate(places)}
    for visit, places in zip(FIELDS[:2], [[(39.3, -20.0), (40.7, -20.0)], [(49.3, -20.0), (50.7, -20.0)]], strict=True)
}


@pytest.fixture(scope="module")
def four_visits(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return a page with four visits."""
    file = tmp_path_factory.mktemp("page") / "visits.html"
    undefined = [Undefined("Not on the sky: <b>dark</b>", (8, 9), 2)]
    file.write_text(render_page(page_of(FIELDS, REGIONS, undefined)))
    with opened(chromium, file) as page:
        yield page


@pytest.fixture
def page(four_visits: Any) -> Any:
    """Return the page as it is when it has been opened; to open it again takes a second."""
    four_visits.evaluate(
        "() => { window.scrollTo(0, 0); location.hash = ''; visitsPage.readAddress(); visitsPage.drawNow(); }"
    )
    four_visits.mouse.move(1, 1)
    return four_visits


# What is drawn


PLACES = [
    (40.0, -20.0, (38.0, -21.0)),
    (0.2, 5.0, (359.0, 4.0)),
    (359.9, -60.0, (3.0, -58.0)),
    (123.0, 90.0, (10.0, 89.0)),
    (200.0, 84.0, (30.0, 88.0)),
    (77.0, -90.0, (300.0, -87.0)),
    (10.0, -85.0, (190.0, -88.0)),
]


@pytest.fixture(scope="module")
def places(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return a page with visits at the poles, across RA 0 and elsewhere."""
    file = tmp_path_factory.mktemp("places") / "visits.html"
    outlines = [square(ra, dec, 3.0, angle=20.0) for ra, dec, _ in PLACES]
    file.write_text(render_page(page_of([field(k, 0.0, 0.0, outline=one) for k, one in enumerate(outlines)])))
    with opened(chromium, file) as page:
        yield page


@pytest.mark.parametrize(("ra", "dec", "middle"), PLACES)
def test_outlines(places: Any, ra: float, dec: float, middle: tuple[float, float]) -> None:
    """An outline is where a globe seen from inside has it, wherever it is: north up and east to the left."""
    turn(places, *middle, 4.0)
    expected = on_screen(square(ra, dec, 3.0, angle=20.0), *middle, box(places), 4.0)
    path = min(drawn(places), key=lambda path: np.linalg.norm(path[:-1].mean(axis=0) - expected.mean(axis=0)))
    assert_same_shape(path, expected)


def assert_same_shape(path: Floats, corners: Floats) -> None:
    """Check that a line has all corners, and nothing outside of them."""
    assert path[0] == pytest.approx(path[-1], abs=0.2)
    assert np.linalg.norm(path[:, None] - corners, axis=-1).min(axis=0).max() < 0.5
    sides = np.roll(corners, -1, axis=0) - corners
    offsets = path[:, None] - corners
    along = np.clip((offsets * sides).sum(axis=-1) / (sides**2).sum(axis=-1), 0, 1)
    # A great circle is no straight line on the globe's picture, but these are short.
    assert np.linalg.norm(offsets - along[..., None] * sides, axis=-1).min(axis=1).max() < 1.0


def test_east_is_left_and_north_up(page: Any) -> None:
    turn(page, 50.0, -25.0)
    at = box(page)
    found = np.array(sorted(path[:-1].mean(axis=0).tolist() for path in drawn(page)))
    centres = directions([40.0, 50.0, 50.5, 60.0], [-20.0, -20.0, -20.2, -30.0])
    expected = np.array(sorted(map(tuple, on_screen(centres, 50.0, -25.0, at))))
    assert found == pytest.approx(expected, abs=2.0)
    # In words: what has the largest right ascension is the leftmost.
    assert found[0] == pytest.approx(on_screen(centres[3], 50.0, -25.0, at), abs=2.0)
    assert found[-1][1] < at["y"] + at["height"] / 2, "what is north of the middle is above it"


@pytest.mark.parametrize(
    ("scale", "names", "gone"),
    [
        (1.0, {"RA 30°", "RA 60°", "Dec −30°"}, {"RA 52°", "RA 240°"}),
        (20.0, {"RA 50°", "RA 52°", "RA 48°", "Dec −21°", "Dec −19°"}, {"RA 30°", "Dec −30°"}),
    ],
)
def test_grid(page: Any, scale: float, names: set[str], gone: set[str]) -> None:
    turn(page, 50.0, -20.0, scale)
    settle(page)
    at = box(page)
    labels = page.evaluate("() => visitsPage.names().map(({ name, x, y }) => [name, x, y])")
    places = {name: (at["x"] + x, at["y"] + y) for name, x, y in labels}
    assert names <= places.keys()
    assert not gone & places.keys()
    if "RA 52°" in names:
        expected = on_screen(directions(52.0, -20.0), 50.0, -20.0, at, scale)
        assert places["RA 52°"] == pytest.approx(expected, abs=12), "a name is beside its place"


def test_far_side_is_not_drawn(page: Any) -> None:
    turn(page, 230.0, 20.0)
    assert not drawn(page)


# Hover and click


def test_hover(page: Any) -> None:
    turn(page, 40.0, -20.0)
    assert hovered(page) == ["1 visit_1", "M 31, g_1", "2026-03-31 23:34:00.000 TAI", "exposure 1"]
    page.mouse.move(1, 1)
    assert not page.is_visible("#tip")


def hovered(page: Any) -> list[str]:
    """Return the lines that the map says of its middle."""
    at = box(page)
    page.mouse.move(at["x"] + at["width"] / 2 + 9, at["y"] + at["height"] / 2)
    page.mouse.move(at["x"] + at["width"] / 2 + 1, at["y"] + at["height"] / 2)
    return texts(page, "#tip")[0].split("\n") if page.is_visible("#tip") else []


@pytest.fixture(scope="module")
def one_pointing(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return a page with three visits at one place, the last of many exposures, each in a filter of its own."""
    file = tmp_path_factory.mktemp("pointing") / "visits.html"
    outlines = [square(30.0, 10.0, 0.05, angle) for angle in (0, 20, 40)]
    visits = [field(k, 0, 0, physical_filter=b, band=b, outline=outlines[k]) for k, b in enumerate("gri")]
    visits[2] = dataclasses.replace(visits[2], exposures=tuple(range(100, 160)))
    file.write_text(render_page(page_of(visits)))
    with opened(chromium, file) as page:
        yield page


def test_visits_at_one_place(one_pointing: Any) -> None:
    """What hover says is what a click opens, and each further click opens the next."""
    page = one_pointing
    # The map opens on the fields: half a diagonal of 0.0707 degrees, and a tenth around it.
    at = box(page)
    size = np.ptp(np.concatenate(drawn(page)), axis=0).max()
    assert 0.7 < size / min(at["width"], at["height"]) < 0.95
    assert hovered(page)[0] == "0 visit_0"
    assert hovered(page)[-1] == "1 of 3 visits here"
    middle = at["x"] + at["width"] / 2 + 1, at["y"] + at["height"] / 2
    for k in (0, 1, 2, 0):
        page.mouse.click(*middle)
        settle(page)
        assert texts(page, "#details h2") == [f"Visit {k}"]
        said = hovered(page)
        assert said[0] == f"{k} visit_{k}"
        assert said[-1] == f"{k + 1} of 3 visits here; a click shows the next"
        if k == 2:
            assert said[-2] == "exposures 100, 101, 102, 103, 104 and 55 more"
    page.locator("#legend button").first.click()
    assert page.locator("#legend button").first.get_attribute("aria-pressed") == "false"
    assert layers(page) == {"r": 1, "i": 1, "chosen": 1}
    assert [hovered(page)[k] for k in (0, -1)] == ["1 visit_1", "1 of 2 visits here"]
    page.mouse.click(*middle)
    assert texts(page, "#details h2") == ["Visit 1"]


def test_click_shows_detectors_and_record(page: Any) -> None:
    click_visit(page, 50.0, -20.0)
    rows = dict(zip(texts(page, "#fields tbody th"), texts(page, "#fields tbody td"), strict=True))
    assert rows["id"] == "2"
    assert rows["exposure_time"] == "30"
    assert rows["timespan"] == "2026-03-31 23:34:40.000 to 2026-03-31 23:35:10.000 TAI"
    assert rows["band"] == "r"
    page.wait_for_selector("#detectors text.name")
    assert sorted(texts(page, "#detectors text.name")) == ["S00", "S01"]
    left = page.evaluate(
        "() => Object.fromEntries([...document.querySelectorAll('#detectors text.name')]"
        ".map(text => [text.textContent, text.getBoundingClientRect().x]))"
    )
    assert left["S01"] < left["S00"], "the detector in the east is on the left"
    link = page.locator("#details a").get_attribute("href")
    atlas = r"https://aladin\.cds\.unistra\.fr/AladinLite/\?target=50\.00000\d%20-20\.00000\d&fov=5\.\d+"
    assert re.fullmatch(atlas, link)


def test_detectors_are_drawn_where_they_are(page: Any) -> None:
    """Equal lengths along both axes, north up and east to the left; degrees around the middle of all."""
    click_visit(page, 50.0, -20.0)
    page.wait_for_selector("#detectors text.name")
    points = page.evaluate(
        "() => [...document.querySelectorAll('#detectors polygon.detector')]"
        ".map(one => [...one.points].map(p => [p.x, p.y]))"
    )
    found = np.array(points)
    corners = np.stack([square(ra, -20.0, 0.6) for ra in (49.3, 50.7)])
    c = corners.mean(axis=(0, 1))
    c /= np.linalg.norm(c)
    east = np.array([-c[1], c[0], 0]) / np.hypot(c[0], c[1])
    north = np.cross(c, east)
    expected = np.rad2deg(np.stack([corners @ -east, corners @ -north], axis=-1) / (corners @ c)[..., None])
    # In pixels of the picture.
    scale = np.ptp(found[..., 0]) / np.ptp(expected[..., 0])
    expected = scale * expected
    expected += (found - expected).mean(axis=(0, 1))
    assert found == pytest.approx(expected, abs=0.02)
    assert scale * 3 > 200


def test_keyboard(page: Any) -> None:
    turn(page, 50.0, -20.0, 1.0)
    page.locator("#map").focus()
    page.keyboard.press("Enter")
    assert texts(page, "#details h2") == ["Visit 2"]
    page.keyboard.press("ArrowLeft")
    settle(page)
    assert page.evaluate("() => visitsPage.view.ra") == pytest.approx(65.0)
    page.get_by_role("button", name="20220406025653255").press("Enter")
    settle(page)
    view = page.evaluate("() => visitsPage.view")
    assert (view["ra"], view["dec"]) == (pytest.approx(60.0), pytest.approx(-30.0))
    assert texts(page, "#details h2") == ["Visit 20220406025653255"]
    unlabelled = page.evaluate(
        "() => [...document.querySelectorAll('select, input')].filter(one => !one.labels.length).length"
    )
    assert unlabelled == 0


# Filters and colours


def test_filters(page: Any) -> None:
    assert legend(page) == ["g_1 (1)", "r_1 (3)"]
    assert layers(page) == {"g_1": 1, "r_1": 3}
    assert texts(page, "#counts tbody tr:last-child th") == ["all", "1", "3", "4"]
    page.select_option("#night", str(NIGHT + 1))
    assert texts(page, "#count") == ["2 of 4 visits"]
    assert legend(page) == ["r_1 (2)"]
    assert layers(page) == {"r_1": 2}
    assert texts(page, "#counts tbody tr:first-child > *") == [str(NIGHT + 1), "", "2", "2"]
    assert len(texts(page, "#list tbody tr")) == 2
    page.select_option("#night", "")
    page.select_option("#band", "g")
    assert legend(page) == ["g_1 (1)"]
    page.select_option("#band", "")
    page.fill("#text", "m 31")
    page.locator("#count").filter(has_text="1 of 4 visits").wait_for()
    page.fill("#text", "20220406")
    page.locator("#list tbody tr:only-child").filter(has_text="20220406").wait_for()
    assert texts(page, "#list tbody button") == ["20220406025653255"]
    page.fill("#text", "nothing of that name")
    page.locator("#count").filter(has_text="0 of 4 visits").wait_for()
    assert legend(page) == []
    assert layers(page) == {}


def test_colours(page: Any) -> None:
    page.select_option("#colour", "depth")
    settle(page)
    # Visits 2 and 3 have each other's centres inside.
    assert legend(page) == ["1 (2)", "2 (2)"]
    assert layers(page) == {"1": 2, "2": 2}
    page.select_option("#night", str(NIGHT))
    assert legend(page) == ["1 (2)"]
    turn(page, 45.0, -20.0)
    page.select_option("#colour", "filter")
    assert legend(page) == ["g_1 (1)", "r_1 (1)"]
    assert layers(page) == {"g_1": 1, "r_1": 1}
    assert page.evaluate("() => visitsPage.view.ra") == pytest.approx(45.0), "the map stays as it was turned"


def test_text_stays_text(page: Any) -> None:
    page.fill("#text", "20220406")
    page.wait_for_selector("#list tbody tr:only-child")
    assert HOSTILE in texts(page, "#list tbody td")
    page.locator("#list tbody button").click()
    assert HOSTILE in texts(page, "#fields tbody td")
    turn(page, 60.0, -30.0)
    assert hovered(page)[1] == f"{HOSTILE}, r_1"
    assert texts(page, "#undefined tbody td") == ["Not on the sky: <b>dark</b>", "2", "8, 9"]
    assert page.title() == "Visits of Cam"


# Whole repositories


def test_page_of_a_repository(chromium: Any, make_survey: Callable[..., Butler], tmp_path: Path) -> None:
    butler = make_survey()
    make_task(butler).run(data_ids(add_exposures(butler, [exposure(1), exposure(2)])))
    add_exposures(butler, [exposure(3, can_see_sky=False, observation_type="flat")])
    file = tmp_path / "visits.html"
    assert visits_command("report", root(butler), INSTRUMENT, "-o", file).exit_code == 0
    with opened(chromium, file, width=420, dark=True) as page:
        assert texts(page, "#undefined tbody td:first-child") == ["Not on the sky: flat"]
        page.locator("#list tbody button").first.click()
        page.wait_for_selector("#detectors text.name")
        assert len(texts(page, "#detectors text.name")) == 9
        wide = page.evaluate("() => document.documentElement.scrollWidth")
        assert wide <= 420, "a narrow screen needs no scrolling to the side"


@pytest.mark.parametrize(("options", "action"), [(["--incremental"], "update"), ([], "conflict")])
def test_page_of_a_plan(
    chromium: Any, make_survey: Callable[..., Butler], tmp_path: Path, options: list[str], action: str
) -> None:
    butler = make_survey()
    make_task(butler).run(data_ids(add_exposures(butler, [exposure(1), exposure(2)])))
    add_exposures(butler, [exposure(1, tracking_ra=36.0, target_name="M 31")], replace=True)
    add_exposures(butler, [exposure(3)])
    file = tmp_path / "plan.html"
    result = define_visits(root(butler), INSTRUMENT, "--dry-run", "--output", file, *options)
    assert result.exit_code == (1 if action == "conflict" else 0), result.output
    with opened(chromium, file) as page:
        assert legend(page) == [
            f"{one} (1)" for one in ("new", "unchanged", "update", "conflict") if one in ("new", "unchanged", action)
        ] + ["stored outline (1)"]
        assert layers(page) == {"new": 1, "unchanged": 1, action: 1, "stored outline": 1}
        page.select_option("#action", action)
        assert legend(page) == [f"{action} (1)", "stored outline (1)"]
        assert layers(page) == {action: 1, "stored outline": 1}
        turn(page, 35.5, -20.0, 10.0)
        new, old = sorted((path.mean(axis=0) for path in drawn(page)), key=lambda middle: middle[0])
        at = box(page)
        # A degree to the east, which is on the left.
        degree = np.cos(np.deg2rad(20)) * np.deg2rad(1) * 10 * min(at["width"], at["height"]) / 2
        assert old[0] - new[0] == pytest.approx(degree, rel=0.05)
        page.locator("#list tbody button").first.click()
        page.wait_for_selector("#fields")
        assert texts(page, "#fields td.changed") == ["M 31", "field 1"]
        assert "target_name is stored as 'field 1' and is now 'M 31'" in page.inner_text("#details")
        assert page.locator("#detectors polygon.visit").count() == 1
        assert page.locator("#detectors polygon.stored").count() == 1
        assert page.locator("#detectors polygon.detector").count() == 9


def test_page_of_nothing(chromium: Any, make_survey: Callable[..., Butler], tmp_path: Path) -> None:
    file = tmp_path / "visits.html"
    assert visits_command("report", root(make_survey()), INSTRUMENT, "-o", file).exit_code == 0
    with opened(chromium, file) as page:
        page.select_option("#colour", "depth")
        assert texts(page, "#count") == ["0 of 0 visits"]
        assert texts(page, "#lines p") == ["0 visits of 0 exposures."]
        assert not page.is_visible("#undefined-section")
        assert legend(page) == []
        assert layers(page) == {}


# Many visits


def many(count: int) -> Sequence[Any]:
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(0, 360, count), np.rad2deg(np.arcsin(rng.uniform(-1, 0.5, count)))
    filters = ["g", "r", "i"]
    return [
        field(k, ra[k], dec[k], physical_filter=filters[k % 3], band=filters[k % 3], day_obs=NIGHT + k % 20)
        for k in range(count)
    ]


def test_coverage_map(chromium: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many visits are counted in cells; zoomed in, or with fewer of them left, there are their outlines."""
    monkeypatch.setattr(build, "MAX_OUTLINES", 300)
    visits = [*many(40), *(field(10**6 + k, 100.0, 60.0, day_obs=NIGHT + 50 + k // 310) for k in range(320))]
    file = tmp_path / "visits.html"
    file.write_text(render_page(page_of(visits)))
    with opened(chromium, file) as page:
        assert "HEALPix" in page.inner_text("#lines")
        turn(page, 100.0, 60.0, 5.0)
        at = box(page)
        middle = at["x"] + at["width"] / 2 + 3, at["y"] + at["height"] / 2 + 3
        page.mouse.move(*middle)
        assert page.inner_text("#tip").startswith("320 visits\nRA ")
        page.select_option("#night", str(NIGHT + 50))
        assert texts(page, "#count") == ["310 of 360 visits"]
        assert page.evaluate("() => visitsPage.view.scale") > 20, "what is left is not seen as a dot"
        turn(page, 100.0, 60.0, 5.0)
        (entry,) = legend(page)
        assert entry == "200 to 499"
        assert page.inner_text("#seen") == "outlines are drawn of fewer visits: zoom in, or choose a night or a band."
        outlines = drawn(page)
        # All cells of a field are within it, but for half a cell at its edge; 58.6 degrees / 2^order is a cell's side.
        corners = on_screen(square(100.0, 60.0), 100.0, 60.0, at, 5.0)
        order = content(file.read_text())["coverage"]["order"]
        cell = np.deg2rad(58.6) / 2**order * 5.0 * min(at["width"], at["height"]) / 2
        every = np.concatenate(outlines)
        assert (every.min(axis=0) > corners.min(axis=0) - cell).all()
        assert (every.max(axis=0) < corners.max(axis=0) + cell).all()
        page.mouse.click(*middle)
        page.wait_for_selector("#fields")
        assert texts(page, "#details h2") == ["310 visits here"]
        assert texts(page, "#fields tbody tr td:first-child") == [str(10**6 + k) for k in range(200)]
        assert "The first 200 are listed." in page.inner_text("#details")
        # So near that cells say little, outlines of as many as can be drawn are over them.
        turn(page, 100.0, 60.0, 20.0)
        assert layers(page) == {entry: layers(page)[entry], "outlines": 155, "chosen": 1}
        assert "outlines of 155 of the 310 in and around the view" in page.inner_text("#seen")
        page.select_option("#night", str(NIGHT + 51))
        assert legend(page) == ["r_1 (10)"]
        assert layers(page) == {"r_1": 10}
        assert page.inner_text("#details h2") == "10 visits here"
        # A place with few visits.
        page.select_option("#night", "")
        page.locator("#list tbody button").first.click()
        assert texts(page, "#details h2") == [f"Visit {visits[0].fields['id']}"]
        assert layers(page)["chosen"] == 1
        assert not page.evaluate("() => visitsPage.scene().counts")


TIMED = """async () => {
  const select = (id, value) => {
    const one = document.getElementById(id);
    one.value = value;
    one.dispatchEvent(new Event('change'));
  };
  const start = performance.now();
  await ACTION;
  await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - start;
}"""


def deep(count: int) -> Sequence[Any]:
    """Make visits of one field, moved and turned, with outlines of 24 vertices."""
    rng = np.random.default_rng(1)
    visits = []
    for k in range(count):
        ra, dec, turned = rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(0, 90)
        c, s = np.cos(np.deg2rad(15) * np.arange(24)), np.sin(np.deg2rad(15) * np.arange(24))
        corner = square(ra, dec, 1.0, turned)
        middle, x, y = corner.mean(axis=0), corner[1] - corner[0], corner[3] - corner[0]
        outline = middle + c[:, None] * x / 2 + s[:, None] * y / 2
        visits.append(field(k, 0, 0, outline=outline / np.linalg.norm(outline, axis=-1)[:, None]))
    return visits


@pytest.mark.parametrize("kind", [many, deep])
def test_answers_with_many_visits(chromium: Any, tmp_path: Path, kind: Callable[[int], Sequence[Any]]) -> None:
    file = tmp_path / "visits.html"
    visits = kind(build.MAX_OUTLINES)
    file.write_text(render_page(page_of(visits)))
    with opened(chromium, file) as page:
        for action in (
            "select('colour', 'depth')",
            f"select('night', '{max(visit.night for visit in visits)}')",
            "select('night', '')",
            "visitsPage.setView({ ra: 90 }), visitsPage.moved()",
            "document.querySelector('#list button').click()",
        ):
            # It is there within a second, and ends where other programs are busy too.
            time = page.evaluate(TIMED.replace("ACTION", action))
            assert time < 10_000, f"{action} took {time} ms"
        if kind is deep:
            # Centres within one degree of a visit's own are inside of it; a circle's polygon is hardly less.
            found = dict(
                page.evaluate("() => [...visitsPage.depths(visitsPage.state.shown, visitsPage.state.shown).entries()]")
            )
            middles = np.array([visit.outline.mean(axis=0) for visit in visits])
            middles /= np.linalg.norm(middles, axis=-1)[:, None]
            apart = middles @ middles.T
            for k, cosines in enumerate(apart):
                least, most = (int((cosines > np.cos(np.deg2rad(r))).sum()) for r in (0.99, 1.0005))
                assert least <= found[k] <= most
