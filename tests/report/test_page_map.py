"""The page's map: dashes, bands at one place, cells in the address, and what a saved picture says."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from browser import NIGHT, Floats, axes, box, directions, field, layers, on_screen, opened, page_of, settle, texts, turn
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
