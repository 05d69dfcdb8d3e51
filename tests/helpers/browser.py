"""Open pages in Debian's Chromium, and make visits to be shown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from lsst.daf.butler import Timespan
from lsst.sphgeom import ConvexPolygon, Region, UnitVector3d

from butler_visits.report.page import Page, PageVisit, Undefined

Floats = npt.NDArray[np.float64]

NIGHT: Final = 20260401
BEGIN: Final = 1_775_000_000 * 10**9


@contextmanager
def opened(browser: Any, file: Path, *, width: int = 1300, height: int = 900, dark: bool = False) -> Iterator[Any]:
    """Open a page, and check at the end that it asked for nothing and complained of nothing."""
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light")
    page = context.new_page()
    requested: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-ready=yes]")
    yield page
    settle(page)
    context.close()
    assert [url for url in requested if not url.startswith(("data:", "blob:"))] == [file.as_uri()]
    assert complaints == []


def settle(page: Any) -> None:
    """Wait until what was asked for is drawn."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def turn(page: Any, ra: float, dec: float, scale: float = 1.0) -> None:
    """Turn the map so that a place is in the middle."""
    page.evaluate(
        "([lon, lat, scale]) => Plotly.relayout('map', {'geo.projection.rotation.lon': lon, "
        "'geo.projection.rotation.lat': lat, 'geo.projection.scale': scale})",
        [-ra, dec, scale],
    )
    settle(page)


def box(page: Any) -> dict[str, float]:
    """Return where the map is in the window, pixels."""
    found: dict[str, float] = page.locator("#map").bounding_box()
    return found


def traces(page: Any) -> dict[str, Any]:
    """Return the map's outlines by the names in its legend: how many there are of each."""
    counts = page.evaluate(
        "() => document.getElementById('map').data.filter(t => t.mode === 'lines' && t.name !== 'grid')"
        ".map(t => [t.name, t.lon.filter(x => x === null).length + 1])"
    )
    return dict(counts)


def texts(page: Any, selector: str) -> list[str]:
    """Return what elements say."""
    found: list[str] = page.locator(selector).all_text_contents()
    return found


def click_visit(page: Any, ra: float, dec: float) -> None:
    """Turn the map to a place and click on what is there."""
    turn(page, ra, dec)
    at = box(page)
    page.mouse.move(at["x"] + at["width"] / 2 + 30, at["y"] + at["height"] / 2)
    page.mouse.move(at["x"] + at["width"] / 2 + 1, at["y"] + at["height"] / 2)
    page.mouse.click(at["x"] + at["width"] / 2 + 1, at["y"] + at["height"] / 2)
    page.wait_for_selector("#fields")


def directions(ra: npt.ArrayLike, dec: npt.ArrayLike) -> Floats:
    """Return unit vectors of shape (..., 3) of places in degrees."""
    a, d = np.deg2rad(ra), np.deg2rad(dec)
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1)


def axes(ra: float, dec: float) -> tuple[Floats, Floats]:
    """Return the directions to the east and to the north of a place."""
    a, d = np.deg2rad(ra), np.deg2rad(dec)
    east = np.array([-np.sin(a), np.cos(a), 0.0])
    return east, np.array([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)])


def square(ra: float, dec: float, half: float = 1.5, angle: float = 0.0) -> Floats:
    """Return the corners of a square field, counterclockwise from outside, turned by an angle; degrees."""
    corners = np.tan(np.deg2rad(half)) * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    points = directions(ra, dec) + corners @ np.array([[c, s], [-s, c]]) @ np.array(axes(ra, dec))
    return points / np.linalg.norm(points, axis=-1)[:, None]


def on_screen(vectors: Floats, ra: float, dec: float, box: Mapping[str, float], scale: float = 1.0) -> Floats:
    """Return where the map shows directions, pixels: a globe around a place, north up and east to the left."""
    radius = scale * min(box["width"], box["height"]) / 2
    east, north = axes(ra, dec)
    middle = np.array([box["x"] + box["width"] / 2, box["y"] + box["height"] / 2])
    return middle - radius * np.stack([vectors @ east, vectors @ north], axis=-1)


def drawn(page: Any) -> list[Floats]:
    """Return the points of all outlines that the map has drawn, each of shape (K, 2), pixels of the window.

    That is all lines of the map's traces, none of which is the grid's.
    """
    paths = page.evaluate(
        "() => [...document.querySelectorAll('#map .scattergeo path.js-line')]"
        ".filter(path => path.parentNode.__data__[0].trace.name !== 'grid').map(path => {"
        "const m = path.getScreenCTM(); return [path.getAttribute('d') || '', m.e, m.f]; })"
    )
    found = []
    for path, x, y in paths:
        for part in filter(None, path.split("M")):
            numbers = np.array([float(number) for number in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", part)])
            found.append(numbers.reshape(-1, 2) + np.array([x, y]))
    return found


def field(id_: int, ra: float, dec: float, **changes: Any) -> PageVisit:
    """Make a visit to be shown."""
    begin = BEGIN + 40 * 10**9 * (id_ % 10**6)
    fields = {
        "instrument": "Cam",
        "id": id_,
        "name": f"visit_{id_}",
        "physical_filter": changes.pop("physical_filter", "r_1"),
        "target_name": changes.pop("target_name", f"field {id_}"),
        "day_obs": changes.pop("day_obs", NIGHT),
        "exposure_time": 30.0,
        "timespan": Timespan.model_validate((begin, begin + 30 * 10**9)),
    }
    return PageVisit(fields, (id_,), changes.pop("band", "r"), changes.pop("outline", square(ra, dec)), **changes)


def page_of(
    visits: Sequence[PageVisit],
    regions: Mapping[int, Mapping[int, Region]] | None = None,
    undefined: Sequence[Undefined] = (),
) -> Page:
    """Make a page of visits; by default without detectors."""
    return Page(
        title="Visits of Cam",
        lines=["Some visits."],
        visits=visits,
        undefined=undefined,
        detector_names={0: "S00", 1: "S01"},
        detector_regions=lambda batch: {visit: (regions or {}).get(visit, {}) for visit in batch},
    )


def polygon(vertices: Floats) -> ConvexPolygon:
    return ConvexPolygon([UnitVector3d(*vertex) for vertex in vertices])


def content(html: str) -> dict[str, Any]:
    """Return what a page knows."""
    text = html.split('<script type="application/json" id="data">')[1].split("</script>")[0]
    return json.loads(text)
