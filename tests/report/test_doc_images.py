"""The pictures of the documentation are what its script makes, and all of them are shown."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import gaussian_filter

from butler_visits.report import plot_coverage

pytestmark = [pytest.mark.sqlite_only]

pytest.importorskip("skyproj", reason="skyproj (the extra report) is not installed")

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"
IMAGES = DOCS / "images"

TEXT = 3.0
"""Root mean square difference, of 255, that some texts drawn otherwise make; no grid is more."""
COLOUR = 4.0
"""Largest difference from grey, of 255, around a pixel; half of a thin line is more, and black text is none."""
AROUND = 4
"""Pixels."""

FloatArray = npt.NDArray[np.float64]


def pixels(file: Path) -> FloatArray:
    from PIL import Image

    with Image.open(file) as image:
        return np.asarray(image.convert("RGB")).astype(float)


def is_alike(made: FloatArray, expected: FloatArray) -> bool:
    """Compare pictures, their colours place by place, so that what is small counts too."""
    if made.shape != expected.shape:
        return False
    difference = made - expected
    of_grey = gaussian_filter(difference - difference.mean(axis=2, keepdims=True), (AROUND, AROUND, 0))
    return bool(np.sqrt((difference**2).mean()) < TEXT and np.abs(of_grey).max() < COLOUR)


def near(image: FloatArray, colour: str) -> npt.NDArray[np.bool_]:
    """Find the pixels that have a colour, as far as eyes can tell."""
    from matplotlib.colors import to_rgb

    return np.asarray(np.abs(image - 255 * np.array(to_rgb(colour))).max(axis=2) < 8)


def script() -> Any:
    """Import docs/make_images.py."""
    sys.path.insert(0, str(DOCS))
    try:
        return importlib.import_module("make_images")
    finally:
        sys.path.remove(str(DOCS))


@pytest.mark.slow
def test_pictures(tmp_path: Path) -> None:
    made = script().make_images(tmp_path)
    assert {file.name for file in made} | {"page.png"} == {file.name for file in IMAGES.iterdir()}
    for file in made:
        assert is_alike(pixels(file), pixels(IMAGES / file.name)), file.name


@pytest.mark.slow
def test_page(tmp_path: Path) -> None:
    pytest.importorskip("playwright", reason="playwright is not installed")
    pytest.importorskip("hpgeom", reason="hpgeom (the extra report) is not installed")
    made = script().make_page_image(tmp_path)
    assert is_alike(pixels(made), pixels(IMAGES / made.name))


def line_colours() -> dict[str, str]:
    """Return the colours of the lines that a picture of the whole sky has, by their names."""
    sky = [np.roll(np.array([[1, 0.1, 0], [1, -0.1, 0.1], [1, 0, -0.1]]), turn, axis=1) for turn in (0, 1, 2)]
    unit = [one / np.linalg.norm(one, axis=1)[:, None] for one in sky]
    figure = plot_coverage(unit, galactic_plane=True, ecliptic=True)
    return {str(line.get_label()): str(line.get_color()) for line in figure.axes[0].lines}


@pytest.mark.parametrize("name", ["galactic plane", "ecliptic"])
def test_lines_have_the_colours_of_the_program(name: str) -> None:
    """In the map and in the legend below it."""
    image = pixels(IMAGES / "coverage.png")
    rows = np.nonzero(near(image, line_colours()[name]))[0]
    assert (rows < 0.9 * len(image)).sum() > 20
    assert (rows > 0.9 * len(image)).sum() > 5


@pytest.mark.parametrize("change", ["blank", "mirrored", "no ecliptic", "other ecliptic", "no grid"])
def test_comparison_of_pictures(change: str) -> None:
    """It is not blind."""
    expected = pixels(IMAGES / "coverage.png")
    made = expected.copy()
    assert is_alike(made, expected)
    line = near(expected, line_colours()["ecliptic"])
    line[int(0.9 * len(line)) :] = False
    # With its soft edges.
    around = gaussian_filter(line.astype(float), 1) > 0.05
    is_grey = np.ptp(expected, axis=2) < 8
    if change == "blank":
        made[:] = 255
    elif change == "mirrored":
        made = made[:, ::-1]
    elif change == "no ecliptic":
        made[around] = 255
    elif change == "other ecliptic":
        made[around & ~is_grey] = expected[around & ~is_grey].mean(axis=1)[:, None]
    else:
        made[:500][is_grey[:500]] = 255
    assert not is_alike(made, expected)


@pytest.mark.parametrize("change", ["blank", "no map", "mirrored map"])
def test_comparison_of_the_page(change: str) -> None:
    expected = pixels(IMAGES / "page.png")
    made = expected.copy()
    map_part = made[250:800, 40:740]
    map_part[:] = 255 if change == "no map" else map_part[:, ::-1].copy()
    if change == "blank":
        made[:] = 251
    assert not is_alike(made, expected)


def test_each_is_shown_with_a_text() -> None:
    pages = [PROJECT / "README.md", *DOCS.glob("*.md")]
    shown = {
        (page.parent / path).resolve()
        for page in pages
        for text, path in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", page.read_text())
        if len(text) > 10
    }
    assert shown == {file.resolve() for file in IMAGES.iterdir()}
