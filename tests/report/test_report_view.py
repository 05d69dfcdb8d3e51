"""What the page opens on and draws, its tables, its address, and how it is printed, touched and read aloud."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from lsst.daf.butler import Butler
from PIL import Image

from browser import (
    NIGHT,
    Floats,
    box,
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
from butler_visits.report.colours import BACKGROUNDS, contrast
from butler_visits.report.page import PageVisit, Undefined, render_page
from command_line import visits_command
from simulated_survey import INSTRUMENT
from visit_tables import add_exposures, exposure, root

pytestmark = [pytest.mark.slow, pytest.mark.sqlite_only]

# What is drawn as Rubin draws the band i, with a solid line that nothing outlines.
DARK_RED = (0x37, 0x02, 0x01)


def write(folder: Path, visits: list[PageVisit], **more: Any) -> Path:
    file = folder / "visits.html"
    file.write_text(render_page(page_of(visits, **more)))
    return file


def red(id_: int, ra: float, dec: float, half: float = 1.5, **changes: Any) -> PageVisit:
    outline = square(ra, dec, half, changes.pop("angle", 20.0))
    return field(id_, 0, 0, physical_filter="i_1", band="i", outline=outline, **changes)


@pytest.fixture(scope="module")
def sky(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return a page with fields here and there, one of them small."""
    visits = [
        red(1, 40.0, -20.0),
        red(2, 0.1, 5.0),
        red(3, 100.0, 89.5),
        red(4, 200.0, 30.0, 1 / 6),
        red(5, 10.0, -88.0),
    ]
    with opened(browser, write(tmp_path_factory.mktemp("sky"), visits)) as page:
        yield page


# Pixels


def red_pixels(page: Any) -> npt.NDArray[np.int64]:
    """Return where the picture of the map has the red of the fields; x and y in the window."""
    at = box(page)
    image = np.array(Image.open(io.BytesIO(page.screenshot(clip=at))).convert("RGB")).astype(int)
    y, x = np.nonzero(np.abs(image - DARK_RED).sum(axis=-1) < 120)
    return np.stack([x + at["x"], y + at["y"]], axis=-1)


def along(corners: Floats) -> Floats:
    """Return points along the great circles between corners."""
    parts = np.linspace(0, 1, 30, endpoint=False)[:, None, None]
    points = ((1 - parts) * corners + parts * np.roll(corners, -1, axis=0)).reshape(-1, 3)
    return points / np.linalg.norm(points, axis=-1)[:, None]


def assert_near(distances: Floats) -> None:
    """Check that pixels are where they should be; the grid's lines, which are drawn over all, take some of them."""
    assert np.mean(distances < 1.5) > 0.95
    assert distances.max() < 4


def under_names(page: Any, places: Floats) -> npt.NDArray[np.bool_]:
    """Tell which places are hidden by a name of the grid or its halo."""
    at = box(page)
    boxes = page.evaluate("() => visitsPage.names().map(one => [one.left, one.top, one.right, one.bottom])")
    low, high = np.split(np.array(boxes).reshape(-1, 4) + [at["x"], at["y"]] * 2, 2, axis=1)
    inside = np.all((places[:, None] > low - 2) & (places[:, None] < high + 2), axis=-1)
    hidden: npt.NDArray[np.bool_] = np.any(inside, axis=1)
    return hidden


@pytest.mark.parametrize(
    ("ra", "dec", "half", "middle", "scale"),
    [
        (40.0, -20.0, 1.5, (38.0, -21.0), 10.0),
        (0.1, 5.0, 1.5, (359.0, 4.0), 10.0),
        (100.0, 89.5, 1.5, (10.0, 89.0), 10.0),
        (10.0, -88.0, 1.5, (190.0, -89.0), 10.0),
        (200.0, 30.0, 1 / 6, (200.0, 30.05), 150.0),
        # Digits of 32 bits do not hold a twentieth of an arcsecond.
        (200.0, 30.0, 1 / 6, (200.1, 30.1), 20_000.0),
    ],
)
def test_lines_are_drawn_where_they_are(
    sky: Any, ra: float, dec: float, half: float, middle: tuple[float, float], scale: float
) -> None:
    turn(sky, *middle, scale)
    at = box(sky)
    expected = on_screen(along(square(ra, dec, half, 20.0)), *middle, at, scale)
    inside = (expected > [at["x"] + 2, at["y"] + 2]) & (
        expected < [at["x"] + at["width"] - 2, at["y"] + at["height"] - 2]
    )
    expected = expected[inside.all(axis=1)]
    found = red_pixels(sky)
    if scale > 1000:
        assert not len(found), "nothing of the field's edges is that near"
        return
    assert len(expected) > 20
    apart = np.linalg.norm(expected[:, None] - (found + 0.5), axis=-1)
    seen = apart.min(axis=1)[~under_names(sky, expected)]
    assert_near(seen)
    centre = on_screen(square(ra, dec, half, 20.0).mean(axis=0), *middle, at, scale)
    elsewhere = (apart.min(axis=0) > 12) & (np.linalg.norm(found - centre, axis=-1) > 8)
    assert not elsewhere.any()


def test_deep_zoom(browser: Any, tmp_path: Path) -> None:
    """A field of two arcseconds is drawn as sharp as one of degrees."""
    half, scale = 1 / 3600, 100_000.0
    with opened(browser, write(tmp_path, [red(1, 123.456, -45.678, half)])) as page:
        turn(page, 123.456, -45.678, scale)
        expected = on_screen(along(square(123.456, -45.678, half, 20.0)), 123.456, -45.678, box(page), scale)
        apart = np.linalg.norm(expected[:, None] - (red_pixels(page) + 0.5), axis=-1)
        seen = apart.min(axis=1)[~under_names(page, expected)]
        assert_near(seen)


def test_what_is_behind_the_globe(sky: Any) -> None:
    turn(sky, 220.0, 20.0)
    found = red_pixels(sky)
    north, small = on_screen(
        np.array([square(100.0, 89.5).mean(axis=0), square(200.0, 30.0).mean(axis=0)]), 220.0, 20.0, box(sky)
    )
    near = np.minimum(np.linalg.norm(found - north, axis=-1), np.linalg.norm(found - small, axis=-1))
    assert len(found)
    assert near.max() < 20
    assert sky.inner_text("#seen") == "2 of 5 visits in view; 3 behind the globe."
    turn(sky, 200.0, 30.0, 100.0)
    assert sky.inner_text("#seen") == "1 of 5 visits in view; 3 behind the globe."


def test_cells_are_filled(browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("butler_visits.report.page.build.MAX_OUTLINES", 9)
    visits = [red(k, 40.0, -20.0, 4.0) for k in range(10)]
    with opened(browser, write(tmp_path, visits)) as page:
        turn(page, 40.0, -20.0, 1.0)
        at = box(page)
        image = np.array(Image.open(io.BytesIO(page.screenshot(clip=at))).convert("RGB")).astype(int)
        colour = page.evaluate("() => visitsPage.scene().layers[0].colour")
        filled = np.abs(image - [int(colour[k : k + 2], 16) for k in (1, 3, 5)]).sum(axis=-1) < 12
        degree = np.deg2rad(1) * min(at["width"], at["height"]) / 2
        assert filled.sum() == pytest.approx((8 * degree) ** 2, rel=0.25)
        assert not filled[: int(at["height"] / 2 - 6 * degree)].any()


def test_lost_device(chromium: Any, tmp_path: Path) -> None:
    with opened(chromium, write(tmp_path, [red(1, 40.0, -20.0)])) as page:
        assert page.evaluate("() => visitsPage.painter()") == "WebGL"
        before = len(red_pixels(page))
        page.evaluate("() => picture.getContext('webgl2').getExtension('WEBGL_lose_context').loseContext()")
        page.wait_for_function("() => visitsPage.painter() === 'canvas'")
        settle(page)
        assert len(red_pixels(page)) == pytest.approx(before, rel=0.3)


# Names and legend


@pytest.mark.parametrize("width", [1300, 390])
def test_names_are_apart_and_whole(browser: Any, tmp_path: Path, width: int) -> None:
    with opened(browser, write(tmp_path, [red(1, 40.0, -20.0)]), width=width) as page:
        for hours in (False, True):
            page.locator("#hours").set_checked(hours)
            for ra, dec in ((0, 90), (77, -90), (40, 89), (359.9, 0), (120, -45), (10, 75)):
                for scale in (0.95, 3, 20, 400, 10_000):
                    turn(page, ra, dec, scale)
                    names = page.evaluate("() => visitsPage.names()")
                    assert len(names) > 1, (ra, dec, scale)
                    for one, other in combinations(names, 2):
                        beside = one["right"] <= other["left"] or other["right"] <= one["left"]
                        assert beside or one["bottom"] <= other["top"] or other["bottom"] <= one["top"], (one, other)
                    at = box(page)
                    for one in names:
                        assert 0 <= one["left"] < one["right"] <= at["width"]
                        assert 0 <= one["top"] < one["bottom"] <= at["height"]
                    assert len({one["name"] for one in names if "RA" in one["name"]}) > 0 or dec in (90, -90)
        key, at = page.locator("#key").bounding_box(), box(page)
        assert key["y"] + key["height"] <= at["y"] + 1, "the legend is above the map, not on it"


def test_lines_and_symbols_of_bands(chromium: Any, tmp_path: Path) -> None:
    visits = [field(k, 10.0 * k, 0, physical_filter=f"{b}_1", band=b) for k, b in enumerate("ugrizy")]
    visits += [
        field(6, 60.0, 0, physical_filter="r_2", band="r"),
        field(7, 70.0, 0, physical_filter="white", band=None),
    ]
    file = write(tmp_path, visits)
    names = ["u_1", "g_1", "r_1", "r_2", "i_1", "z_1", "y_1", "white"]
    for dark in (False, True):
        with opened(chromium, file, dark=dark) as page:
            drawn_as = page.evaluate(
                "() => visitsPage.scene().layers.map(one => [one.name, one.colour, one.dash.length, one.symbol])"
            )
            assert legend(page) == [f"{name} (1)" for name in names]
            styles = {name: style for name, *style in drawn_as}
            assert styles.keys() == set(names)
            assert len({colour for colour, *_ in styles.values()}) == 8
            # Filters without a band come first where styles are given, and then further ones of a band.
            assert [styles[name][2] for name in names] == ["o", "^", "v", "s", "s", "*", "p", "D"]
            assert [styles[name][1] for name in names] == [2, 4, 4, 2, 0, 6, 2, 0]
            assert styles["r_1"][0] == ("#ff7e00" if dark else "#B52626")


@pytest.mark.parametrize("dark", [False, True])
def test_lines_and_texts_are_seen(chromium: Any, tmp_path: Path, dark: bool) -> None:
    """What the scripts draw in the colours of the style sheet has enough contrast with what it is on."""
    with opened(chromium, write(tmp_path, [red(1, 40.0, -20.0)]), dark=dark) as page:
        names = ("panel", "page", "text", "quiet", "line", "link", "changed", "detector")
        script = (
            "names => names.map(one => getComputedStyle(document.documentElement).getPropertyValue('--' + one).trim())"
        )
        colours = dict(zip(names, page.evaluate(script, list(names)), strict=True))
        assert colours["panel"] == BACKGROUNDS["dark" if dark else "light"]
        assert min(contrast(colours["panel"], colours[one]) for one in ("line", "detector")) >= 3
        for background in ("panel", "page"):
            assert min(contrast(colours[background], colours[one]) for one in ("text", "quiet", "link")) >= 4.5
        assert contrast(colours["panel"], colours["changed"]) >= 4.5


# What is shown first, and after a filter


def test_filters_turn_to_what_is_left(chromium: Any, tmp_path: Path) -> None:
    """To a field far away that is left alone; and back."""
    rng = np.random.default_rng(1)
    many = [
        field(k, *place) for k, place in enumerate(zip(rng.uniform(0, 360, 60), rng.uniform(-60, 60, 60), strict=True))
    ]
    few = [red(100 + k, 200.0 + k / 20, 30.0, 1 / 6, target_name="M 3") for k in range(3)]
    with opened(chromium, write(tmp_path, [*many, *few])) as page:
        whole = page.evaluate("() => ({ ...visitsPage.view })")
        assert whole["scale"] < 1
        page.fill("#text", "m 3")
        page.locator("#count").filter(has_text="3 of 63").wait_for()
        size = np.ptp(np.concatenate(drawn(page)), axis=0).max()
        assert 0.6 < size / min(box(page)["width"], box(page)["height"]) < 1
        page.fill("#text", "")
        page.locator("#count").filter(has_text="63 of 63").wait_for()
        settle(page)
        assert page.evaluate("() => visitsPage.view") == pytest.approx(whole), "as it was before"
        # What is in view stays where it is.
        turn(page, 200.0, 30.0, 60.0)
        page.select_option("#band", "i")
        assert page.evaluate("() => visitsPage.view.scale") == pytest.approx(60.0)


def test_chosen_in_the_list(chromium: Any, tmp_path: Path) -> None:
    visits = [red(1, 40.0, -20.0), red(2, 200.0, 30.0, 1 / 6, day_obs=NIGHT + 1)]
    with opened(chromium, write(tmp_path, visits)) as page:
        page.get_by_role("button", name="2", exact=True).click()
        assert texts(page, "#list tr[aria-current] td:first-child") == ["2"]
        settle(page)
        view = page.evaluate("() => visitsPage.view")
        assert (view["ra"], view["dec"]) == pytest.approx((200.0, 30.0))
        assert 1 / np.deg2rad(0.4) < view["scale"] < 1 / np.deg2rad(0.2)
        assert layers(page) == {"i_1": 1, "chosen": 1}
        # What the filters take away is not told of any more.
        page.select_option("#night", str(NIGHT))
        assert texts(page, "#details h2") == ["No visit chosen"]
        page.fill("#text", "nothing of that name")
        page.locator("#count").filter(has_text="0 of 2").wait_for()
        assert texts(page, "#details h2") == ["No visit matches"]
        assert page.is_visible("#nothing")
        page.get_by_role("button", name="Show all visits").click()
        assert texts(page, "#count") == ["2 of 2 visits"]
        assert not page.is_visible("#nothing")


def test_depth_has_one_scale(chromium: Any, tmp_path: Path) -> None:
    visits = [red(k, 40.0, -20.0, day_obs=NIGHT + (k > 0)) for k in range(6)]
    look = "() => visitsPage.scene().layers.map(({ name, colour }) => [name, colour])"
    with opened(chromium, write(tmp_path, visits), address="#colour=depth") as page:
        assert legend(page) == ["5 to 6 (6)"]
        ((_, six),) = page.evaluate(look)
        page.select_option("#night", str(NIGHT))
        assert legend(page) == ["1 (1)"]
        ((_, one),) = page.evaluate(look)
        page.select_option("#night", str(NIGHT + 1))
        settle(page)
        assert page.evaluate(look) == [["5 to 6", six]]
        assert one != six


def test_outlines_of_any_size(chromium: Any, tmp_path: Path) -> None:
    point = np.repeat(square(10.0, 20.0).mean(axis=0)[None], 3, axis=0)
    outlines = [point / np.linalg.norm(point[0]), square(10.0, 20.0, 80.0), square(10.0, 20.0, 89.9)]
    visits = [field(k, 0, 0, outline=one) for k, one in enumerate(outlines)]
    with opened(chromium, write(tmp_path, visits), address="#colour=depth") as page:
        # Each of the two that are drawn has its own centre and the other's inside, which are one place.
        assert legend(page) == ["2 (2)"]
        assert "1 visit without a polygon as region, or with one of half the sky" in page.inner_text("#lines")
        for k in range(3):
            page.get_by_role("button", name=str(k), exact=True).click()
            assert texts(page, "#details h2") == [f"Visit {k}"]


@pytest.mark.parametrize("given", [[], [exposure(1)]])
def test_empty_repository_says_what_to_do(
    chromium: Any, make_survey: Callable[..., Butler], tmp_path: Path, given: list[dict[str, Any]]
) -> None:
    butler = make_survey()
    add_exposures(butler, given)
    file = tmp_path / "visits.html"
    assert visits_command("report", root(butler), INSTRUMENT, "-o", file).exit_code == 0
    with opened(chromium, file) as page:
        assert texts(page, "#details h2") == ["There are no visits"]
        commands = texts(page, "#details pre")
        assert commands[-1] == f"butler define-visits REPO {INSTRUMENT}"
        assert commands[0].startswith("butler define-visits" if given else "butler-visits ingest REPO RAW…")


# Tables


@pytest.fixture
def table(chromium: Any, tmp_path: Path) -> Iterator[Any]:
    names = ['b, "quoted"', "a", "c\nd"]
    visits = [
        red(id_, 15.0 * (id_ % 7) + 1, -1.0, target_name=name)
        for id_, name in zip([9, 10, 20220406025653255], names, strict=True)
    ]
    with opened(chromium, write(tmp_path, visits), accept_downloads=True) as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        yield page


def test_sorting(table: Any) -> None:
    def ids() -> list[str]:
        return texts(table, "#list tbody td:first-child")

    table.get_by_role("button", name="Target").click()
    assert ids() == ["10", "9", "20220406025653255"]
    assert table.locator("th[aria-sort=ascending]").inner_text().startswith("Target")
    table.keyboard.press("Enter")
    assert ids() == ["20220406025653255", "9", "10"]
    assert table.locator("th[aria-sort=descending]").inner_text().startswith("Target")
    table.get_by_role("button", name="Visit", exact=True).click()
    assert ids() == ["9", "10", "20220406025653255"], "as numbers, also those that are too large for JavaScript"


def test_hours(table: Any) -> None:
    row = "#list tbody tr:first-child td"
    assert texts(table, row)[6:9] == ["30", "31.0000°", "-1.0000°"]
    table.locator("#hours").check()
    assert texts(table, row)[7] == "2h 04m 00.00s"
    turn(table, 31.0, -1.0, 50.0)
    names = table.evaluate("() => visitsPage.names().map(one => one.name)")
    assert "RA 2h 04m" in names


def test_copy_and_save(table: Any) -> None:
    table.get_by_role("button", name="Target").click()
    with table.expect_download() as download:
        table.get_by_role("button", name="Save as CSV").click()
    assert download.value.suggested_filename == "visits.csv"
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(), newline="")))
    assert [row["visit"] for row in rows] == ["10", "9", "20220406025653255"]
    assert [row["target"] for row in rows] == ["a", 'b, "quoted"', "c\nd"]
    assert float(rows[1]["ra"]) == pytest.approx(31.0, abs=1e-5)
    assert float(rows[1]["exposure_time"]) == 30
    table.get_by_role("button", name="Copy").click()
    table.locator("#copied").filter(has_text="3 visits copied").wait_for()
    copied = table.evaluate("() => navigator.clipboard.readText()")
    rows = list(csv.DictReader(io.StringIO(copied, newline=""), dialect="excel-tab"))
    assert [row["target"] for row in rows] == ["a", 'b, "quoted"', "c\nd"]
    with table.expect_download() as download:
        table.get_by_role("button", name="Save picture").click()
    image = Image.open(download.value.path())
    at = box(table)
    assert image.width == pytest.approx(at["width"], abs=2)
    assert image.height > at["height"] + 20, "what the colours mean is below the map"


# The address


def test_a_link_shows_what_its_sender_saw(chromium: Any, tmp_path: Path) -> None:
    visits = [red(k, 10.0 * k, -20.0, day_obs=NIGHT + k % 2) for k in range(4)] + [field(7, 20.0, -21.0, day_obs=NIGHT)]
    file = write(tmp_path, visits)
    with opened(chromium, file) as page:
        page.select_option("#night", str(NIGHT))
        page.fill("#text", "visit_")
        page.select_option("#colour", "depth")
        page.select_option("#colour", "filter")
        page.locator("#hours").check()
        page.get_by_role("button", name="Begin (TAI)").click()
        page.get_by_role("button", name="Begin (TAI)").click()
        page.get_by_role("button", name="2", exact=True).click()
        turn(page, 21.5, -19.25, 7.5)
        page.locator("#legend button").first.click()
        page.wait_for_function("() => location.hash.includes('off=')")
        seen, view = everything(page), page.evaluate("() => visitsPage.view")
        address = page.evaluate("() => location.hash")
        assert f"night={NIGHT}" in address
        assert "visit=2" in address
    with opened(chromium, file, address=address) as page:
        assert page.evaluate("() => visitsPage.view") == pytest.approx(view, rel=1e-5)
        assert everything(page) == seen
        page.evaluate("() => { location.hash = '#band=i&visit=1'; }")
        page.wait_for_function("() => document.querySelector('#details h2').textContent === 'Visit 1'")
        assert texts(page, "#count") == ["4 of 5 visits"]
        assert page.evaluate("() => visitsPage.state.hours") is False
    # What is not known is left out.
    with opened(chromium, file, address="#night=x&visit=99&sort=none&at=a,b,c&colour=%3Cb%3E&other=1") as page:
        assert texts(page, "#count") == ["5 of 5 visits"]
        assert texts(page, "#details h2") == ["No visit chosen"]


def everything(page: Any) -> dict[str, Any]:
    settle(page)
    return {
        "count": texts(page, "#count"),
        "list": texts(page, "#list tbody td"),
        "chosen": texts(page, "#details h2"),
        "layers": layers(page),
        "names": page.evaluate("() => visitsPage.names().map(one => one.name)"),
    }


# Paper, fingers and screen readers


def test_print(chromium: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    visits = [
        red(k, *place) for k, place in enumerate(zip(rng.uniform(0, 60, 80), rng.uniform(-60, 0, 80), strict=True))
    ]
    with opened(chromium, write(tmp_path, visits), dark=True) as page:
        # As wide and high as A4 with margins, in pixels.
        page.set_viewport_size({"width": 720, "height": 1040})
        page.emulate_media(media="print")
        page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
        settle(page)
        for hidden in ("#controls", "#buttons", "#more", "#copy", "#map-help"):
            assert not page.is_visible(hidden)
        at = box(page)
        assert at["height"] < 1040
        assert at["width"] < 720
        lists = page.evaluate(
            "() => [...document.querySelectorAll('.scroll')].map(one => one.scrollHeight - one.clientHeight)"
        )
        assert max(lists) <= 1, "all rows are there"
        assert page.evaluate("() => visitsPage.scene().layers[0].colour") == "#370201", "dark on paper"
        assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(251, 251, 250)"


def test_fingers(chromium: Any, tmp_path: Path) -> None:
    """One finger scrolls the page, two turn the map and zoom."""
    file = write(tmp_path, [red(1, 40.0, -20.0)])
    with opened(chromium, file, width=390, height=700, has_touch=True, is_mobile=True) as page:
        at = box(page)
        x, y = at["x"] + at["width"] / 2, at["y"] + at["height"] / 2
        devtools = page.context.new_cdp_session(page)

        def touch(kind: str, *points: tuple[float, float]) -> None:
            given = [{"x": px, "y": py, "id": k} for k, (px, py) in enumerate(points)]
            devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": given})

        before = page.evaluate("() => ({ ...visitsPage.view })")
        touch("touchStart", (x - 30, y), (x + 30, y))
        for k in range(1, 12):
            touch("touchMove", (x - 30 - 5 * k, y + 4 * k), (x + 30 + 5 * k, y + 4 * k))
        touch("touchEnd")
        settle(page)
        after = page.evaluate("() => visitsPage.view")
        assert page.evaluate("() => scrollY") == 0
        assert after["scale"] > 2 * before["scale"]
        assert after["dec"] > before["dec"]
        touch("touchStart", (x, y + 44))
        touch("touchEnd")
        page.wait_for_selector("#fields")
        touch("touchStart", (x, y))
        for k in range(1, 12):
            touch("touchMove", (x, y - 15 * k))
        touch("touchEnd")
        page.wait_for_function("() => scrollY > 50")
        assert page.evaluate("() => visitsPage.view") == after


@pytest.mark.parametrize("dark", [False, True])
def test_screen_readers(chromium: Any, tmp_path: Path, dark: bool) -> None:
    """The rules of axe-core hold, and the Tab key goes through the controls in the order of the page."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    visits = [red(1, 40.0, -20.0), field(2, 41.0, -20.0), field(3, 42.0, -20.0, band="y", physical_filter="y_1")]
    regions = {1: {0: polygon(square(40.0, -20.0, 0.5))}}
    undefined = [Undefined("Not on the sky: dark", (8, 9), 2)]
    with opened(chromium, write(tmp_path, visits, regions=regions, undefined=undefined), dark=dark) as page:
        for chosen in (False, True):
            if chosen:
                page.get_by_role("button", name="1", exact=True).click()
            found = axe.Axe().run(page)
            assert found.violations_count == 0, found.generate_report()
        page.evaluate("() => { scrollTo(0, 0); document.activeElement.blur(); }")
        page.locator("h1").click()
        places = []
        for _ in range(40):
            page.keyboard.press("Tab")
            places.append(
                page.evaluate("() => document.activeElement.id || document.activeElement.closest('[id]')?.id")
            )
        order = [
            "night",
            "band",
            "text",
            "colour",
            "hours",
            "legend",
            "map",
            "zoom-in",
            "save-picture",
            "details",
            "copy",
            "list",
        ]
        assert [places.index(one) for one in order] == sorted(places.index(one) for one in order)
