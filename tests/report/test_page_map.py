"""The page's map: dashes, bands at one place, cells in the address, and what a saved picture says."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from browser import (
    NIGHT,
    Floats,
    axes,
    box,
    directions,
    field,
    layers,
    legend,
    on_screen,
    opened,
    page_of,
    settle,
    square,
    texts,
    turn,
)
from butler_visits.report import plot_coverage
from butler_visits.report.page import PageVisit, build, render_page

pytestmark = [pytest.mark.slow, pytest.mark.sqlite_only]


def write(folder: Path, visits: Sequence[PageVisit]) -> Path:
    file = folder / "visits.html"
    file.write_text(render_page(page_of(visits)))
    return file


def pixels(page: Any) -> Floats:
    """Return the picture of the map, twice as many pixels in each direction; (height, width, 3)."""
    return np.array(Image.open(io.BytesIO(page.screenshot(clip=box(page)))).convert("RGB")).astype(float)


def circle(ra: float, dec: float, radius: float, count: int) -> Floats:
    """Return the corners of a polygon of many sides."""
    turns = np.linspace(0, 2 * np.pi, count, endpoint=False)[:, None]
    east, north = axes(ra, dec)
    points = directions(ra, dec) + np.tan(np.deg2rad(radius)) * (np.cos(turns) * east + np.sin(turns) * north)
    return points / np.linalg.norm(points, axis=-1)[:, None]


def drawn_along(image: Floats, places: Floats, colour: tuple[int, int, int]) -> Any:
    """Tell where along a line it is drawn, and not left out."""
    x, y = np.rint(2 * places - 0.5).astype(int).T
    full = np.linalg.norm(255.0 - np.array(colour))
    return np.linalg.norm(image[y, x] - colour, axis=-1) < full / 2


# Lines


@pytest.mark.parametrize("count", [4, 24, 96])
def test_dashes_go_on_around_corners(browser: Any, tmp_path: Path, count: int) -> None:
    """Also where sides are shorter than a dash."""
    visit = field(1, 40.0, -20.0, physical_filter="u_1", band="u", outline=circle(40.0, -20.0, 10.0, count))
    with opened(browser, write(tmp_path, [visit]), device_scale_factor=2) as page:
        turn(page, 40.0, -20.0, 1.0)
        at = {**box(page), "x": 0.0, "y": 0.0}
        corners, parts = circle(40.0, -20.0, 10.0, count)[:, None], np.linspace(0, 1, 960 // count, False)[:, None]
        line = ((1 - parts) * corners + parts * np.roll(corners, -1, axis=0)).reshape(-1, 3)
        line = on_screen(line / np.linalg.norm(line, axis=-1)[:, None], 40.0, -20.0, at)
        drawn = drawn_along(pixels(page), line, (0x16, 0x00, 0xEA))
        # Dashes of 3.7 and gaps of 1.6 widths of the line, which is 1.2 pixels.
        assert drawn.mean() == pytest.approx(3.7 / 5.3, abs=0.1)
        length = np.linalg.norm(np.roll(line, -1, axis=0) - line, axis=-1).sum()
        dashes = np.count_nonzero(drawn & ~np.roll(drawn, 1))
        assert dashes == pytest.approx(length / (5.3 * 1.2), rel=0.15)


def close_to(image: Floats, colour: str) -> int:
    """Count the pixels of a colour."""
    wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return int((np.abs(image - wanted).sum(axis=-1) < 90).sum())


@pytest.mark.parametrize("bands", [("L", "Ha"), ("L", "Ha", "OIII"), ("g", "i"), ("u", "g", "r", "i"), ("r", "white")])
def test_bands_at_one_place_are_all_seen(browser: Any, tmp_path: Path, bands: Sequence[str]) -> None:
    """Their lines, and their symbols."""
    outline = circle(40.0, -20.0, 10.0, 24)
    visits = [field(k, 0, 0, physical_filter=band, band=band, outline=outline) for k, band in enumerate(bands)]
    with opened(browser, write(tmp_path, visits), device_scale_factor=2) as page:
        turn(page, 40.0, -20.0, 3.0)
        image = pixels(page)
        styles = page.evaluate(
            "() => visitsPage.scene().layers.map(one => [one.name, one.colour, one.dash, one.symbol])"
        )
        assert len({colour for _, colour, *_ in styles}) == len(bands)
        assert len({(tuple(dash), symbol) for *_, dash, symbol in styles}) == len(bands)
        y, x = np.array(image.shape[:2]) // 2
        middle = image[y - 8 : y + 8, x - 8 : x + 8]
        for name, colour, *_ in styles:
            assert close_to(image, colour) - close_to(middle, colour) > 80, name
            assert close_to(middle, colour) >= 4 or len(bands) > 2, name


@pytest.mark.parametrize(
    "bands", [["L", "Ha"], ["r", "Ha", "white", "i"], [None, "Ha", "L"], [f"n{k:02}" for k in range(12)]]
)
def test_bands_are_drawn_as_in_the_plot(chromium: Any, tmp_path: Path, bands: Sequence[str | None]) -> None:
    """Also where several filters of a band are on the page, which the plot does not tell apart."""
    outlines = [square(3.0 * k, 0.0, 1.0) for k in range(len(bands))]
    figure = plot_coverage(outlines, bands=[band or "" for band in bands])
    axes: Any = figure.axes[0]
    lines = [line for line in axes.lines if line.get_color() != "k"]
    names = [text.get_text().rsplit(" (")[0] for text in figure.legends[0].get_texts()]
    plotted = {
        name: (to_hex(line.get_color()), tuple(line._unscaled_dash_pattern[1] or ()))
        for name, line in zip(names, lines, strict=True)
    }
    visits = [field(k, 3.0 * k, 0, physical_filter=f"{band or 'no band'}", band=band) for k, band in enumerate(bands)]
    visits += [field(99, 80.0, 0, physical_filter="zz another", band=bands[0])]
    with opened(chromium, write(tmp_path, visits)) as page:
        drawn = page.evaluate(
            "() => visitsPage.scene().layers.map(({ name, colour, outline, dash }) => [name, outline || colour, dash])"
        )
        styles = {name: (colour.lower(), tuple(dash)) for name, colour, dash in drawn}
        assert {name: styles[name] for name in names} == plotted
        assert len(set(styles.values())) == min(len(styles), 8 + len({*bands} & {*"ugrizy"}))


def test_bands_whose_names_are_parts_of_others(chromium: Any, tmp_path: Path) -> None:
    visits = [field(k, 3.0 * k, 0, physical_filter=band, band=band) for k, band in enumerate(["gr", "ugrizy", "r"])]
    with opened(chromium, write(tmp_path, visits)) as page:
        assert legend(page) == ["r (1)", "gr (1)", "ugrizy (1)"]
        assert layers(page) == {"r": 1, "gr": 1, "ugrizy": 1}


# The address


def test_link_to_a_cell(chromium: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "MAX_OUTLINES", 300)
    visits = [field(k, 100.0 + k / 1000, 60.0, day_obs=NIGHT + k % 2) for k in range(320)]
    file = write(tmp_path, [*visits, field(999, 10.0, 60.0)])
    with opened(chromium, file) as page:
        turn(page, 100.0, 60.0, 5.0)
        at = box(page)
        page.mouse.click(at["x"] + at["width"] / 2 + 3, at["y"] + at["height"] / 2 + 3)
        page.wait_for_function("() => location.hash.includes('cell=')")
        told, address = texts(page, "#details h2, #details p"), page.evaluate("() => location.hash")
        assert told[0] == "320 visits here"
    with opened(chromium, file, address=address) as page:
        assert texts(page, "#details h2, #details p") == told
        assert layers(page)["chosen"] == 1
        # Others choose it too, and what is not there is left out.
        page.evaluate("() => { location.hash = '#cell=10.0,60.0'; }")
        page.wait_for_function("() => document.querySelector('#details h2').textContent === '1 visit here'")
        for unknown in ("cell=200.0,-60.0", "cell=a,b", "cell=1", "cell="):
            page.evaluate("address => { location.hash = address; }", f"#{unknown}")
            page.wait_for_function("() => document.querySelector('#details h2').textContent === 'No visit chosen'")
    few = tmp_path / "few"
    few.mkdir()
    with opened(chromium, write(few, visits[:3]), address=address) as page:
        assert texts(page, "#details h2") == ["No visit chosen"]


# Pictures


def written_in_picture(page: Any) -> list[str]:
    """Save the picture, and return what is written in it."""
    page.evaluate(
        """() => {
          globalThis.written = [];
          const fillText = CanvasRenderingContext2D.prototype.fillText;
          CanvasRenderingContext2D.prototype.fillText = function (text, ...more) {
            if (this.canvas.id !== "overlay") written.push(text);
            return fillText.call(this, text, ...more);
          };
        }"""
    )
    with page.expect_download():
        page.get_by_role("button", name="Save picture").click()
    found: list[str] = page.evaluate("() => written")
    return found


def test_picture_says_what_is_in_it(chromium: Any, tmp_path: Path) -> None:
    visits = [field(k, 10.0 * k, 0, physical_filter=f"{b}_1", band=b) for k, b in enumerate("grr")]
    with opened(chromium, write(tmp_path, visits), accept_downloads=True) as page:
        page.get_by_role("button", name="r_1").click()
        settle(page)
        assert written_in_picture(page) == ["Filter", "g_1 (1)"]


def test_picture_of_cells_has_a_title(chromium: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "MAX_OUTLINES", 3)
    visits = [*(field(k, 0, 0) for k in range(4)), field(9, 50.0, 0)]
    with opened(chromium, write(tmp_path, visits), accept_downloads=True) as page:
        assert written_in_picture(page) == ["Visits in a cell", "1", "4"]
