"""Measure a page of many visits: its size, and how soon it shows what a filter leaves, in Chromium."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from lsst.daf.butler import Timespan

from browser import Floats, axes, directions, launched, opened, page_of, started
from butler_visits.report.page import PageVisit, render_page

_PER_NIGHT = 800
_FILTERS = "ugrizy"
_CORNERS = 24
_RADIUS = 1.75
"""Degrees."""

_ANSWERED = """async ([id, value]) => {
  const control = document.getElementById(id), canvas = document.getElementById("picture"), start = performance.now();
  control.value = value;
  control.dispatchEvent(new Event(id === "text" ? "input" : "change"));
  // The text waits for the next letter.
  if (id === "text") await new Promise(done => setTimeout(done, 151));
  await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
  // What is drawn is there when a pixel can be read.
  const gl = canvas.getContext("webgl2"), pixel = new Uint8Array(4);
  if (gl) gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);
  else canvas.getContext("2d").getImageData(0, 0, 1, 1);
  return performance.now() - start;
}"""
"""Changes a control; returns after how many milliseconds the page is drawn anew."""


def main() -> None:
    """Make a page of simulated visits, and use it with WebGL and without."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visits", type=int, default=100_000, help="visits of the page")
    parser.add_argument("--rounds", type=int, default=5, help="how often each filter is used; medians are printed")
    arguments = parser.parse_args()
    visits = list(simulated(arguments.visits))
    start = time.perf_counter()
    html = render_page(page_of(visits))
    print(f"{len(visits):,} visits: {len(html.encode()) / 1e6:.1f} MB, made in {time.perf_counter() - start:.1f} s")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "visits.html"
        file.write_text(html)
        for running in started():
            for name, options in (("WebGL", []), ("canvas", ["--disable-3d-apis"])):
                for browser in launched(running, *options):
                    measure(name, browser, file, arguments.rounds)


def measure(name: str, browser: Any, file: Path, rounds: int) -> None:
    """Open a page, and print how soon filters are answered."""
    start = time.perf_counter()
    with opened(browser, file) as page:
        assert page.evaluate("() => visitsPage.painter()") == name
        print(f"{name}: opened in {time.perf_counter() - start:.1f} s")
        nights = page.evaluate("() => [...document.getElementById('night').options].map(one => one.value)")
        for control, value in (
            ("band", "g"),
            ("night", nights[len(nights) // 2]),
            ("text", "field 77"),
            ("colour", "depth"),
        ):
            for wanted in (value, "filter" if control == "colour" else ""):
                times = []
                for _ in range(rounds):
                    page.evaluate(_ANSWERED, [control, "filter" if control == "colour" else ""])
                    if not wanted or wanted == "filter":
                        page.evaluate(_ANSWERED, [control, value])
                    times.append(page.evaluate(_ANSWERED, [control, wanted]))
                what = f"{control} {wanted or 'all'}"
                print(f"{name}: {what:<20}{statistics.median(times):5.0f} ms ({min(times):.0f} to {max(times):.0f})")


def simulated(count: int) -> Iterator[PageVisit]:
    """Make visits of one camera, somewhere in the south and turned somehow."""
    rng = np.random.default_rng(1)
    ra, angle = rng.uniform(0, 360, (2, count))
    dec = np.rad2deg(np.arcsin(rng.uniform(-1, 0.2, count)))
    azimuth, zenith_angle = rng.uniform(0, 360, count), rng.uniform(0, 60, count)
    for k in range(count):
        night, number = 20260401 + k // _PER_NIGHT, k % _PER_NIGHT
        begin = 1_775_000_000 * 10**9 + k * 40 * 10**9
        fields = {
            "instrument": "Cam",
            "id": night * 100_000 + number,
            "name": f"SC_O_{night}_{number:06d}",
            "physical_filter": f"{_FILTERS[k % 6]}_sim",
            "day_obs": night,
            "seq_num": number,
            "target_name": f"field {rng.integers(4000)}",
            "observation_reason": "science",
            "science_program": "survey",
            "azimuth": float(azimuth[k]),
            "zenith_angle": float(zenith_angle[k]),
            "exposure_time": 30.0,
            "timespan": Timespan.model_validate((begin, begin + 30 * 10**9)),
        }
        yield PageVisit(fields, (night * 100_000 + number,), _FILTERS[k % 6], outline(ra[k], dec[k], angle[k]))


def outline(ra: float, dec: float, angle: float) -> Floats:
    """Return the corners of a field that looks the same from no two sides."""
    turns = np.deg2rad(angle + 360 * (np.arange(_CORNERS) + 0.2 * np.sin(np.arange(_CORNERS))) / _CORNERS)
    plane = np.tan(np.deg2rad(_RADIUS)) * np.stack([np.cos(turns), np.sin(turns)], axis=-1)
    corners = directions(ra, dec) + plane @ np.array(axes(ra, dec))
    return corners / np.linalg.norm(corners, axis=-1)[:, None]


if __name__ == "__main__":
    main()
