"""Open pages in Debian's Chromium, and make visits to be shown."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pytest
from lsst.daf.butler import Timespan
from lsst.sphgeom import ConvexPolygon, Region, UnitVector3d

from butler_visits.report.page import Page, PageVisit, Undefined

Floats = npt.NDArray[np.float64]

NIGHT: Final = 20260401
BEGIN: Final = 1_775_000_000 * 10**9


def started() -> Iterator[Any]:
    """Start playwright, or skip; it cannot be started twice."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as running:
        yield running


def launched(running: Any, *args: str) -> Iterator[Any]:
    """Run Chromium, or skip."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if program is None:
        pytest.skip("Chromium is not installed")
    browser = running.chromium.launch(executable_path=program, args=["--no-sandbox", *args])
    yield browser
    browser.close()


@contextmanager
def opened(
    browser: Any,
    file: Path,
    *,
    width: int = 1300,
    height: int = 900,
    dark: bool = False,
    address: str = "",
    **settings: Any,
) -> Iterator[Any]:
    """Open a page, and check at the end that it asked for nothing and complained of nothing."""
    scheme = "dark" if dark else "light"
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **settings)
    page = context.new_page()
    requested: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.on("console", lambda one: complaints.append(one.text) if one.type != "log" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(file.as_uri() + address)
    page.wait_for_selector("html[data-ready=yes]")
    yield page
    settle(page)
    context.close()
    assert [url for url in requested if not url.startswith(("data:", "blob:"))] == [file.as_uri()]
    # Without a graphics card reading pixels is slow, which the browser says.
    complaints = [text for text in complaints if "GPU stall" not in text and "readback" not in text]
    assert not complaints, complaints


def settle(page: Any) -> None:
    """Wait until what was asked for is drawn."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def turn(page: Any, ra: float, dec: float, scale: float = 1.0) -> None:
    """Turn the map so that a place is in the middle."""
    page.evaluate(
        "view => { visitsPage.setView(view); visitsPage.moved(); visitsPage.drawNow(); }",
        {"ra": ra, "dec": dec, "scale": scale},
    )
    settle(page)


def box(page: Any) -> dict[str, float]:
    """Return where the map is in the window, pixels."""
    found: dict[str, float] = page.locator("#map").bounding_box()
    return found


def layers(page: Any) -> dict[str, int]:
    """Return how many outlines the map has drawn of each class of its legend; ``chosen`` is the one that is marked."""
    settle(page)
    counts = page.evaluate("() => visitsPage.scene().layers.map(({ name, count }) => [name, count])")
    assert len(dict(counts)) == len(counts)
    return {name: count for name, count in counts if count}


def legend(page: Any) -> list[str]:
    """Return what the legend says."""
    settle(page)
    return texts(page, "#legend li")


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
    """Return the points, shapes (K, 2), pixels of the window, of all outlines or cells of the map's layers.

    What is behind the globe is left out.
    """
    at = box(page)
    paths = page.evaluate(
        """() => {
          const scene = visitsPage.scene(), project = visitsPage.projection(), paths = [];
          for (const { kind, points } of scene.layers) {
            let last = null;
            for (let k = 0; k < points.length; k += 3) {
              const place = project([0, 1, 2].map(axis => points[k + axis] + scene.origin[axis]));
              const isNext = kind === "fills" ? k % 18 : k % 6 || (last && place.every((x, axis) => x === last[axis]));
              if (!isNext) paths.push([]);
              paths[paths.length - 1].push(place);
              last = place;
            }
          }
          return paths;
        }"""
    )
    found = [np.array([point[:2] for point in path if point[2] >= 0]).reshape(-1, 2) for path in paths]
    return [path + np.array([at["x"], at["y"]]) for path in found if len(path)]


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
    text = html.split('<script type="text/plain" id="data">')[1].split("</script>")[0]
    found: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(text)))
    return found


def decoded(text: str, dtype: str) -> Any:
    return np.frombuffer(base64.b64decode(text), dtype=dtype)


def laid_out(layout: Mapping[str, Any], place: Sequence[float], dtype: str) -> Floats:
    """Return where the vertices of a layout lie, unit vectors; a place is ra, dec and an angle, degrees."""
    ra, dec, angle = place
    points = decoded(layout["points"], dtype).reshape(-1, 2) * np.deg2rad(layout["step"])
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    sky = directions(ra, dec) + points @ np.array([[c, s], [-s, c]]) @ np.array(axes(ra, dec))
    return sky / np.linalg.norm(sky, axis=-1)[:, None]


def outlines_of(data: Mapping[str, Any]) -> list[Floats | None]:
    """Return the outlines that a page has of its visits, and after them those that are stored and differ."""
    found = data["visits"]["outlines"]
    numbers = decoded(found["places"]["layout"], "<i4")
    places = decoded(found["places"]["turned"], "<i4").reshape(-1, 3) / 1e6
    return [
        None if number < 0 else laid_out(found["layouts"][number], place, "<i4")
        for number, place in zip(numbers, places, strict=True)
    ]
