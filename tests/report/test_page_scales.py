"""The scales of the page: along the picture of a visit's detectors, and the names of the map's grid."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from browser import field, opened, page_of, square, turn
from butler_visits.report.page import render_page

pytestmark = [pytest.mark.slow, pytest.mark.sqlite_only]

HALVES = [*np.geomspace(0.5 / 3600, 50, 25), 0.35, 1 / 6, 0.15, 5.0]
"""Halves of the sides of fields, degrees."""


@pytest.fixture(scope="module")
def fields(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return a page of fields of all sizes."""
    file = tmp_path_factory.mktemp("fields") / "visits.html"
    visits = [field(k, 0, 0, outline=square(40.0, -20.0, half)) for k, half in enumerate(HALVES)]
    file.write_text(render_page(page_of(visits)))
    with opened(chromium, file) as page:
        yield page


@pytest.mark.parametrize("k", range(len(HALVES)))
def test_detectors_have_a_scale(fields: Any, k: int) -> None:
    """Three ticks along each side at least, all different, and none on another."""
    fields.evaluate("k => visitsPage.select({ visit: k }, true)", k)
    ticks = fields.evaluate(
        "() => [...document.querySelectorAll('#detectors text.tick')].map(one => [one, one.getBoundingClientRect()])"
        ".map(([one, at]) => [one.textContent, at.left, at.right, at.top, at.bottom])"
    )
    names = [tick[0] for tick in ticks]
    below = sorted(
        (tick for tick in ticks[:-2] if tick[3] >= ticks[names.index("east")][3] - 30), key=lambda one: one[1]
    )
    beside = sorted((tick for tick in ticks[:-2] if tick not in below), key=lambda one: one[3])
    for side, low, high in ((below, 2, 1), (beside, 4, 3)):
        assert 3 <= len(side) <= 10, [tick[0] for tick in side]
        assert len({tick[0] for tick in side}) == len(side)
        assert all(one[low] <= other[high] for one, other in pairwise(side)), [tick[0] for tick in side]


def test_scale_says_what_it_is(fields: Any) -> None:
    """The ticks of a field of 0.7 degrees are a third of a degree apart."""
    fields.evaluate("k => visitsPage.select({ visit: k }, true)", HALVES.index(0.35))
    shown = fields.locator("#detectors text.tick").all_text_contents()
    assert shown[:-2].count("20′") == shown[:-2].count("−20′") == shown[:-2].count("0′") == 2
    # So far to the east, which is left, is 20 arcminutes of the field's 42.
    x = fields.evaluate(
        "() => Object.fromEntries([...document.querySelectorAll('#detectors line.tick')]"
        ".map(one => [one, one.x1.baseVal.value, one.x2.baseVal.value]).filter(([, x1, x2]) => x1 === x2)"
        ".map(([one, x1]) => [one.nextSibling.textContent, x1]))"
    )
    side = fields.evaluate("() => document.querySelector('#detectors polygon.visit').getBBox().width")
    assert (x["0′"] - x["20′"]) / side == pytest.approx(20 / 42, rel=1e-3)


def test_zero_has_no_sign(fields: Any) -> None:
    for dec in np.linspace(-0.6, 0.6, 13):
        turn(fields, 10.0, dec, 100.0)
        names = fields.evaluate("() => visitsPage.names().map(one => one.name)")
        assert not [name for name in names if re.fullmatch(r"Dec [−+]0(\.0*)?°", name)], names
