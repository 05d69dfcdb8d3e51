"""Pictures of visits on the sky: how often they cover it, and one visit's detectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import require
from ..geometry import FloatArray, lon_lat
from ..geometry.cells import depth, order_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure

_SIDE = 9.0
"""Inches along the longer side of a map."""
_LEFT, _RIGHT, _BOTTOM, _TOP = 1.1, 1.4, 0.9, 1.0
"""Inches around a map: for labels on all sides, a title and a colour bar."""
_DPI = 150
_PIXELS = round(_SIDE * _DPI)
"""Along the longer side of a map."""
_CELL = 3
"""Pixels across a cell at most; cells are at least half as wide, so that none falls between pixels."""
_WHOLE_SKY = np.radians(60)
"""Visits that reach farther than this from their middle are drawn on the whole sky."""
_MARGIN = 0.06
"""Of the width, around what is drawn."""
_FEW = 10
"""Up to this depth each count has a colour of its own."""
_FILL, _EDGE = "#dbe7f3", "#2b5c8a"
_LARGEST_FONT = 12.0
"""Points."""
_PLAIN: Mapping[str, Any] = MappingProxyType({"parse_math": False, "usetex": False})
"""Names are no formulas, whatever is in them and in the user's settings."""


def plot_coverage(visits: Sequence[FloatArray], *, title: str = "") -> Figure:
    """Draw how many visits cover each piece of the sky.

    Parameters
    ----------
    visits : `~collections.abc.Sequence` [`numpy.ndarray`], shapes (V, 3)
        The visits' outlines, at least one: unit vectors.
    title : `str`, optional
        What is written above.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        The figure; its ``savefig`` writes a file. East is to the left. Visits that are within 60 degrees of their
        middle are drawn around it (Lambert's equal-area projection), others on the whole sky (Hammer's). What is
        counted is how many visits have the centre of a HEALPix cell inside; a visit that has none counts for the cell
        in its middle. Some 450 to 900 cells go into the width of the picture.

    Raises
    ------
    VisitsError
        If skyproj is not installed.
    """
    require("skyproj")
    sky = _draw_sky(np.concatenate(visits), title)
    image, extent = _image(sky, visits)
    limits = sky.ax.get_xlim(), sky.ax.get_ylim()
    deepest = int(image.max())
    cmap, norm, ticks = _colours(deepest)
    drawn = sky.ax.imshow(image, extent=extent, origin="lower", interpolation="nearest", zorder=0, cmap=cmap, norm=norm)
    sky.ax.set(xlim=limits[0], ylim=limits[1])
    figure = _figure(sky)
    box, width = sky.ax.get_position(), figure.get_figwidth()
    bar = figure.add_axes((box.x1 + 0.5 / width, box.y0, 0.25 / width, box.height))
    figure.colorbar(drawn, cax=bar, label="visits", ticks=ticks)
    return figure


def plot_visit(detectors: Mapping[str, FloatArray], *, outline: FloatArray | None = None, title: str = "") -> Figure:
    """Draw a visit's detectors with their names.

    Parameters
    ----------
    detectors : `~collections.abc.Mapping` [`str`, `numpy.ndarray`], shapes (V, 3)
        The outline of each detector by its name, at least one: unit vectors.
    outline : `numpy.ndarray`, shape (V, 3), optional
        The visit's outline.
    title : `str`, optional
        What is written above.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        The figure; its ``savefig`` writes a file. East is to the left.

    Raises
    ------
    VisitsError
        If skyproj is not installed.
    """
    require("skyproj")
    from matplotlib.collections import PolyCollection

    everything = [*detectors.values(), *([] if outline is None else [outline])]
    sky = _draw_sky(np.concatenate(everything), title)
    outlines = [_project(sky, vertices) for vertices in detectors.values()]
    style: dict[str, Any] = {"edgecolors": _EDGE, "zorder": 1}
    drawn = [PolyCollection(outlines, facecolors=_FILL, linewidths=0.6, alpha=0.7, **style)]
    if outline is not None:
        drawn.append(PolyCollection([_project(sky, outline)], facecolors="none", linewidths=1.2, **style))
    for collection in drawn:
        # They are projected already, which these axes would do.
        sky.ax.add_collection(collection, lonlat=False, transform=sky.ax.transData)
    _write_names(sky.ax, zip(detectors, outlines, strict=True))
    return _figure(sky)


def _draw_sky(directions: FloatArray, title: str) -> Any:
    """Draw an empty map, a skyproj object, of the sky around directions, or of the whole sky."""
    # A figure without pyplot takes no window system and leaves nothing open.
    from matplotlib.figure import Figure
    from skyproj import HammerSkyproj, LaeaSkyproj

    figure = Figure(figsize=(_SIDE, _SIDE), dpi=_DPI)
    middle = directions.mean(axis=0)
    middle /= max(float(np.linalg.norm(middle)), 1e-9)
    is_small = bool((directions @ middle > np.cos(_WHOLE_SKY)).all())
    if is_small:
        ra, dec = lon_lat(middle)
        sky = LaeaSkyproj(figure.subplots(), lon_0=float(ra), lat_0=float(dec))
        x, y = _project(sky, directions).T
        margin = _MARGIN * max(np.ptp(x), np.ptp(y))
        extent = (x.min() - margin, x.max() + margin, y.min() - margin, y.max() + margin)
        sky.ax.set_extent(extent, lonlat=False)
        # Setting the extent has turned it round.
        sky.ax.invert_xaxis()
    else:
        sky = HammerSkyproj(figure.subplots(), lon_0=_opposite_of_gap(lon_lat(directions)[:, 0]))
    sky.ax.set_xlabel("Right ascension", fontsize=_LARGEST_FONT)
    sky.ax.set_ylabel("Declination", fontsize=_LARGEST_FONT)
    size = np.abs([np.diff(sky.ax.get_xlim()), np.diff(sky.ax.get_ylim())]).ravel()
    width, height = _SIDE * size / size.max() + [_LEFT + _RIGHT, _BOTTOM + _TOP]
    figure.set_size_inches(width, height)
    figure.subplots_adjust(_LEFT / width, _BOTTOM / height, 1 - _RIGHT / width, 1 - _TOP / height)
    figure.suptitle(title, **_PLAIN)
    return sky


def _opposite_of_gap(ra: FloatArray) -> float:
    """Return the right ascension that is opposite to the widest gap between some, degrees."""
    ra = np.sort(ra)
    gaps = np.diff(ra, append=ra[0] + 360)
    widest = int(gaps.argmax())
    return float((ra[widest] + gaps[widest] / 2 + 180) % 360)


def _project(sky: Any, directions: FloatArray) -> FloatArray:
    return np.stack(sky.proj(*lon_lat(directions).T), axis=-1)


def _image(sky: Any, visits: Sequence[FloatArray]) -> tuple[npt.NDArray[np.int64], tuple[float, ...]]:
    """Count the visits of each pixel of a map; return the image, from the least x and y on, and its extent."""
    import hpgeom

    x_max, x_min, y_min, y_max = sky.ax.get_extent(lonlat=False)
    pixel = max(x_max - x_min, y_max - y_min) / _PIXELS
    shape = round((y_max - y_min) / pixel), round((x_max - x_min) / pixel)
    y, x = (low + pixel * (np.arange(n) + 0.5) for low, n in zip((y_min, x_min), shape, strict=True))
    x, y = (each.ravel() for each in np.meshgrid(x, y))
    ra, dec = sky.proj_inverse(x, y)
    # Beyond the edge of the whole sky there is no place, or one that is elsewhere on the map.
    back_x, back_y = sky.proj(ra, dec)
    there = np.hypot(back_x - x, back_y - y) < pixel
    # Both projections have equal areas, with the sphere's radius as the unit.
    order = order_for(_CELL * pixel / sky.crs.radius)
    cells, counts = depth(visits, order)
    wanted = hpgeom.angle_to_pixel(2**order, ra[there] % 360, dec[there])
    at = np.minimum(np.searchsorted(cells, wanted), len(cells) - 1)
    image = np.zeros(len(x), dtype=np.int64)
    image[there] = np.where(cells[at] == wanted, counts[at], 0)
    return np.ma.masked_equal(image.reshape(shape), 0), (x_min, x_max, y_min, y_max)


def _colours(deepest: int) -> tuple[Colormap, Normalize, Any]:
    """Return the colours of counts from one up, and which of them are named."""
    import matplotlib
    from matplotlib.colors import BoundaryNorm, ListedColormap, Normalize
    from matplotlib.ticker import MaxNLocator

    # Labels are hard to read on the darkest colours, and the lightest hard to see on white.
    colours = ListedColormap(matplotlib.colormaps["viridis"](np.linspace(0.3, 0.95, min(deepest, 256))))
    if deepest <= _FEW:
        return colours, BoundaryNorm(np.arange(deepest + 1) + 0.5, deepest), range(1, deepest + 1)
    return colours, Normalize(1, deepest), MaxNLocator(integer=True)


def _write_names(axes: Axes, outlines: Iterable[tuple[str, FloatArray]]) -> None:
    """Write names into outlines, shapes (V, 2), along the longer side of each."""
    points = 72 * _SIDE / np.abs([*np.diff(axes.get_xlim()), *np.diff(axes.get_ylim())]).max()
    for name, outline in outlines:
        # East is to the left.
        shape = outline * np.array([-points, points])
        edges = np.roll(shape, -1, axis=0) - shape
        lengths = np.hypot(*edges.T)
        direction = edges[lengths.argmax()] / lengths.max()
        across = shape @ np.array([-direction[1], direction[0]])
        length, height = np.ptp(shape @ direction), np.ptp(across)
        angle = np.rad2deg(np.arctan2(direction[1], direction[0]))
        if height > 1.2 * length:
            length, height, angle = height, length, angle + 90
        elif height > length / 1.2:
            # Of a square the side that is nearer to the horizontal.
            angle = (angle + 45) % 90 - 45
        # A letter is some 0.6 of its height wide.
        size = min(_LARGEST_FONT, 0.8 * length / (0.6 * max(len(name), 1)), 0.7 * height)
        x, y = outline.mean(axis=0)
        axes.text(
            x,
            y,
            name,
            fontsize=size,
            rotation=(angle + 90) % 180 - 90,
            rotation_mode="anchor",
            ha="center",
            va="center",
            clip_on=True,
            lonlat=False,
            **_PLAIN,
        )


def _figure(sky: Any) -> Figure:
    figure: Figure = sky.ax.figure
    return figure
