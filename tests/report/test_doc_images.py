"""The pictures of the documentation are what its script makes, and all of them are shown."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.sqlite_only]

pytest.importorskip("skyproj", reason="skyproj (the extra report) is not installed")

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"
IMAGES = DOCS / "images"

FONTS = 8.0
"""Root mean square difference, of 255, that other versions of fonts and of matplotlib make; a missing line is more."""
PAGE = 25.0
"""Of the page, which has more text, and on which browsers differ."""


def compare(made: Path, tolerance: float) -> None:
    from matplotlib.testing.compare import compare_images

    assert compare_images(str(IMAGES / made.name), str(made), tolerance) is None


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
        compare(file, FONTS)


@pytest.mark.slow
def test_page(tmp_path: Path) -> None:
    pytest.importorskip("playwright", reason="playwright is not installed")
    pytest.importorskip("hpgeom", reason="hpgeom (the extra report) is not installed")
    compare(script().make_page_image(tmp_path), PAGE)


def test_each_is_shown_with_a_text() -> None:
    pages = [PROJECT / "README.md", *DOCS.glob("*.md")]
    shown = {
        (page.parent / path).resolve()
        for page in pages
        for text, path in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", page.read_text())
        if len(text) > 10
    }
    assert shown == {file.resolve() for file in IMAGES.iterdir()}
