"""Colours of the pictures and of the page: bands as Rubin draws them, others that differ from them, and depth."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

BACKGROUNDS = {"light": "#ffffff", "dark": "#1b2127"}
"""What is drawn on, by theme."""

FREE = {
    "light": ("#246ca8", "#e43018", "#cc6ce4", "#246078", "#c08460", "#84243c", "#240cb4", "#00306c"),
    "dark": ("#3090fc", "#f09c60", "#ccfc9c", "#9c9cc0", "#f01824", "#9c8460", "#5460fc", "#fcfc78"),
}
"""Colours for filters whose band has none, or has given its own to another filter."""

FREE_LINES = ((), (4.0, 3.0), (1.0, 2.0), (6.0, 2.0, 1.0, 2.0))
"""Line styles that go with them, one after the other, so that outlines at one place are seen through each other."""

ACTIONS = {
    "light": {
        "new": "#00a860",
        "unchanged": "#546078",
        "update": "#b46c00",
        "skipped": "#906cc0",
        "conflict": "#9c0c3c",
    },
    "dark": {
        "new": "#249c60",
        "unchanged": "#849cb4",
        "update": "#fca860",
        "skipped": "#6c78f0",
        "conflict": "#d8303c",
    },
}
"""Colours of what a plan does with a visit."""

MARKS = {"light": {"chosen": "#60003c", "stored": "#6c8478"}, "dark": {"chosen": "#a854b4", "stored": "#6c6c6c"}}
"""Colours of the visit that is chosen, and of outlines that are stored and differ from those of a plan."""

LEAST_CONTRAST = 3.0
"""Of a line with what it is drawn on (WCAG 2.1, 1.4.11)."""

_DEPTHS = (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 70, 100, 200, 500)
"""Where classes of depth begin: the same for all, so that pictures can be compared with each other."""


class DepthClass(NamedTuple):
    """Numbers of visits that are drawn in one colour."""

    first: int
    last: int | None
    """`None` if the class has no end."""

    colour: str

    @property
    def label(self) -> str:
        """What a legend says."""
        if self.last is None:
            return f"{self.first} and more"
        return f"{self.first}" if self.first == self.last else f"{self.first} to {self.last}"


def depth_classes(deepest: int | None = None) -> list[DepthClass]:
    """Return the classes of depth, up to the one that has the deepest; their colours become lighter with depth."""
    import matplotlib
    from matplotlib.colors import to_hex

    # The darkest colours are hard to tell from a dark page. Small depths, which are most, differ most.
    colours = matplotlib.colormaps["viridis"](0.15 + 0.85 * np.linspace(0, 1, len(_DEPTHS)) ** 0.75)
    ends = [*(first - 1 for first in _DEPTHS[1:]), None]
    classes = [
        DepthClass(first, last, to_hex(colour)) for first, last, colour in zip(_DEPTHS, ends, colours, strict=True)
    ]
    return [one for one in classes if deepest is None or one.first <= max(deepest, 1)]


def band_colours(theme: str = "light") -> dict[str, str]:
    """Return the colours in which Rubin draws bands."""
    from lsst.utils.plotting import get_band_dicts

    return dict(get_band_dicts()["colors" if theme == "light" else "colors_black"])


def band_lines() -> dict[str, list[float]]:
    """Return Rubin's line styles of bands: lengths of dashes and gaps by turns, in widths of the line."""
    from lsst.utils.plotting import get_band_dicts

    named = {"-": [], "--": [3.7, 1.6], "-.": [6.4, 1.6, 1.0, 1.6], ":": [1.0, 1.65]}
    styles = get_band_dicts()["line_styles"]
    return {band: named[style] if isinstance(style, str) else list(style[1]) for band, style in styles.items()}


def band_symbols() -> dict[str, str]:
    """Return Rubin's symbols of bands, by matplotlib's names of markers."""
    from lsst.utils.plotting import get_band_dicts

    return dict(get_band_dicts()["symbols"])


def contrast(colour: str, other: str) -> float:
    """Return the contrast of two colours, 1 to 21 (WCAG 2.1)."""
    darker, lighter = sorted(_luminance(_rgb(one)) for one in (colour, other))
    return (lighter + 0.05) / (darker + 0.05)


def outline_of(colour: str, background: str) -> str | None:
    """Return the colour of the outline that a line needs to be seen; `None` if it needs none."""
    if contrast(colour, background) >= LEAST_CONTRAST:
        return None
    towards = np.zeros(3) if _luminance(_rgb(background)) > 0.18 else np.ones(3)
    mixed = (_hex(_rgb(colour) + part * (towards - _rgb(colour))) for part in np.linspace(0, 1, 101))
    return next(one for one in mixed if contrast(one, background) >= LEAST_CONTRAST)


def _rgb(colour: str) -> npt.NDArray[np.float64]:
    return np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255


def _hex(rgb: npt.NDArray[np.float64]) -> str:
    return "#" + "".join(f"{round(float(value)):02x}" for value in 255 * rgb)


def _luminance(rgb: npt.NDArray[np.float64]) -> float:
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
