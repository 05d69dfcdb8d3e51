"""Colours are told apart, also by eyes that lack one kind of cones, and seen on what they are drawn on."""

from __future__ import annotations

from itertools import combinations, pairwise, product
from typing import Final

import numpy as np
import numpy.typing as npt
import pytest
from lsst.utils.plotting import get_band_dicts

from butler_visits.report.colours import (
    ACTIONS,
    BACKGROUNDS,
    FREE,
    MARKS,
    DepthClass,
    band_colours,
    band_lines,
    band_symbols,
    contrast,
    depth_classes,
    outline_of,
)

pytestmark = [pytest.mark.sqlite_only]

SEEN: Final = {
    "all cones": np.eye(3),
    # Machado, Oliveira and Fernandes 2009, severity 1.
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}
TO_XYZ: Final = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def lab(colour: str, eyes: str = "all cones") -> npt.NDArray[np.float64]:
    """Return a colour as CIE L*a*b* (D65), as some eyes see it."""
    rgb = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(np.array(SEEN[eyes]) @ linear, 0, 1) / [0.95047, 1.0, 1.08883]
    x, y, z = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def difference(one: str, other: str) -> float:
    """Return how much two colours differ (CIE76), to the eyes that see least of it."""
    return min(float(np.linalg.norm(lab(one, eyes) - lab(other, eyes))) for eyes in SEEN)


def test_bands_are_as_rubin_draws_them() -> None:
    assert band_colours("light") == get_band_dicts()["colors"]
    assert band_colours("dark") == get_band_dicts()["colors_black"]
    assert band_symbols() == get_band_dicts()["symbols"]


@pytest.mark.parametrize("theme", BACKGROUNDS)
def test_bands_that_are_alike_have_other_lines_and_symbols(theme: str) -> None:
    lines, symbols, colours = band_lines(), band_symbols(), band_colours(theme)
    for one, other in combinations(colours, 2):
        if difference(colours[one], colours[other]) < 20:
            assert lines[one] != lines[other]
            assert symbols[one] != symbols[other]


@pytest.mark.parametrize("others", [FREE, {theme: ACTIONS[theme].values() for theme in ACTIONS}])
@pytest.mark.parametrize("theme", BACKGROUNDS)
def test_others_are_told_apart(theme: str, others: dict[str, list[str]]) -> None:
    """Among themselves, from bands and from what is marked."""
    colours = [*others[theme], *MARKS[theme].values()]
    assert all(difference(*pair) >= 20 for pair in combinations(colours, 2))
    assert all(difference(*pair) >= 20 for pair in product(colours, band_colours(theme).values()))
    assert all(contrast(colour, BACKGROUNDS[theme]) >= 3 for colour in colours)


@pytest.mark.parametrize("theme", BACKGROUNDS)
def test_lines_are_seen(theme: str) -> None:
    """A line of little contrast has an outline of enough, darker on a light page and lighter on a dark one."""
    background, sign = BACKGROUNDS[theme], {"light": -1, "dark": 1}[theme]
    outlined = 0
    for colour in [*band_colours(theme).values(), *(one.colour for one in depth_classes())]:
        if outline := outline_of(colour, background):
            outlined += 1
            assert 3 <= contrast(outline, background) < 3.3
            assert sign * (lab(outline)[0] - lab(colour)[0]) > 0
        else:
            assert contrast(colour, background) >= 3
    assert outlined


def test_contrast_is_known() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


def difference_of(one: DepthClass, other: DepthClass, eyes: str) -> float:
    return float(np.linalg.norm(lab(one.colour, eyes) - lab(other.colour, eyes)))


def test_depth() -> None:
    """It becomes lighter, each class is told from the next, and a colour has one meaning however deep the rest is."""
    classes = depth_classes()
    lightness = [lab(one.colour)[0] for one in classes]
    assert min(np.diff(lightness)) > 2.5
    assert min(difference_of(a, b, "all cones") for a, b in pairwise(classes)) > 10
    for eyes in SEEN:
        assert all(np.diff([lab(one.colour, eyes)[0] for one in classes]) > 0)
        assert min(difference_of(a, b, eyes) for a, b in pairwise(classes[:4])) > 9, "small depths are the most"
    assert [one.first for one in classes[1:]] == [one.last + 1 for one in classes[:-1] if one.last is not None]
    assert classes[0].first == 1
    assert classes[-1].last is None
    assert [one.label for one in classes[4:7]] == ["5 to 6", "7 to 9", "10 to 14"]
    assert depth_classes(8) == classes[:6]
    assert depth_classes(0) == classes[:1]
