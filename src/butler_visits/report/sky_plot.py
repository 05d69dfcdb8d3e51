"""Pictures of visits on the sky: how often or in which bands they cover it, and one visit's detectors."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import cycle
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import require
from ..geometry import FloatArray, lon_lat
from ..geometry.cells import depth, order_for
from ..lists import counted
from .colours import FREE, FREE_LINES, DepthClass, band_colours, band_lines, depth_classes, outline_of

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.colors import BoundaryNorm, ListedColormap
    from matplotlib.figure import Figure

_SIDE = 9.0
"""Inches along the longer side of a map."""
_LEFT, _RIGHT, _BOTTOM, _TOP = 1.1, 1.8, 0.9, 1.0
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
_LONGEST = 3.0
"""How many times a map may be as long as it is wide."""
_SPOT = 12
"""Pixels: what is smaller is marked by a ring of this size."""
_MOST_RINGS = 500
_LEGEND_LINE = 0.3
"""Inches."""
_BACKGROUND = "#ffffff"
_LINES = {"galactic plane": ("#8b1a9b", "-."), "ecliptic": ("#a35200", "--")}
_FILL, _EDGE = "#dbe7f3", "#2b5c8a"
_LARGEST_FONT = 12.0
"""Points."""
_PLAIN: Mapping[str, Any] = MappingProxyType({"parse_math": False, "usetex": False})
"""Names are no formulas, whatever is in them and in the user's settings."""


def plot_coverage(
    visits: Sequence[FloatArray],
    *,
    title: str = "",
    bands: Sequence[str] | None = None,
    galactic_plane: bool = False,
    ecliptic: bool = False,
) -> Figure:
    """Draw how many visits cover each piece of the sky, or each visit's outline in the colour of its band.

    Parameters
    ----------
    visits : `~collections.abc.Sequence` [`numpy.ndarray`], shapes (V, 3)
        The visits' outlines, at least one: unit vectors.
    title : `str`, optional
        What is written above.
    bands : `~collections.abc.Sequence` [`str`], optional
        The band of each visit, if outlines are to be drawn.
    galactic_plane, ecliptic : `bool`, optional
        Whether to draw these lines.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        The figure; its ``savefig`` writes a file. East is to the left. Visits that are within 60 degrees of their
        middle are drawn around it (Lambert's equal-area projection), others on the whole sky (Hammer's). What is
        counted is how many visits have the centre of a HEALPix cell inside; a visit that has none counts for the cell
        in its middle. Some 450 to 900 cells go into the width of the picture. Visits that are too small to be seen are
        marked by rings.

    Raises
    ------
    VisitsError
        If skyproj is not installed.
    """
    require("skyproj")
    sky = _draw_sky(np.concatenate(visits), title)
    handles = _draw_depth(sky, visits) if bands is None else _draw_bands(sky, visits, bands)
    handles += _draw_rings(sky, visits)
    for name, is_wanted in (("galactic plane", galactic_plane), ("ecliptic", ecliptic)):
        handles += _draw_line(sky, name) if is_wanted else []
    _draw_legend(sky, handles)
    return _figure(sky)


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
    label = counted(len(detectors), "detector")
    drawn = [PolyCollection(outlines, facecolors=_FILL, linewidths=0.6, alpha=0.7, label=label, **style)]
    if outline is not None:
        whole = [_project(sky, outline)]
        drawn.append(PolyCollection(whole, facecolors="none", linewidths=1.6, label="outline of the visit", **style))
    for collection in drawn:
        # They are projected already, which these axes would do.
        sky.ax.add_collection(collection, lonlat=False, transform=sky.ax.transData)
    _write_names(sky.ax, zip(detectors, outlines, strict=True))
    _draw_legend(sky, drawn)
    return _figure(sky)


def _draw_depth(sky: Any, visits: Sequence[FloatArray]) -> list[Artist]:
    """Draw how many visits cover each piece of the sky, with a bar of the colours."""
    image, extent = _image(sky, visits)
    limits = sky.ax.get_xlim(), sky.ax.get_ylim()
    classes = depth_classes(int(image.max()))
    cmap, norm = _colours(classes)
    drawn = sky.ax.imshow(image, extent=extent, origin="lower", interpolation="nearest", zorder=0, cmap=cmap, norm=norm)
    sky.ax.set(xlim=limits[0], ylim=limits[1])
    figure = _figure(sky)
    box, width = sky.ax.get_position(), figure.get_figwidth()
    beside = figure.add_axes((box.x1 + 0.5 / width, box.y0, 0.25 / width, box.height))
    middles = (norm.boundaries[:-1] + norm.boundaries[1:]) / 2
    bar = figure.colorbar(drawn, cax=beside, label="visits", ticks=middles, spacing="uniform")
    bar.set_ticklabels([one.label for one in classes])
    bar.minorticks_off()
    return []


def _draw_bands(sky: Any, visits: Sequence[FloatArray], bands: Sequence[str]) -> list[Artist]:
    """Draw the outline of each visit, those of a band in one colour and style."""
    from matplotlib.lines import Line2D

    known, lines = band_colours(), band_lines()
    free = cycle(zip(FREE["light"], cycle(FREE_LINES)))
    of_band: dict[str, list[FloatArray]] = defaultdict(list)
    for band, vertices in zip(bands, visits, strict=True):
        of_band[band].append(vertices)
    handles: list[Artist] = []
    for band in sorted(of_band, key=lambda one: (list(known).index(one) if one in known else len(known), one)):
        colour, dashes = (known[band], tuple(lines[band])) if band in known else next(free)
        colour = outline_of(colour, _BACKGROUND) or colour
        style: dict[str, Any] = {"color": colour, "linewidth": 1.4, "linestyle": (0, dashes) if dashes else "-"}
        paths = [_unbroken(sky, _dense(vertices)) for vertices in of_band[band]]
        x, y = np.concatenate([np.vstack([path, [[np.nan, np.nan]]]) for path in paths]).T
        sky.ax.plot(x, y, lonlat=False, zorder=2, transform=sky.ax.transData, **style)
        label = f"{band or 'no band'} ({counted(len(paths), 'visit')})"
        handles.append(Line2D([], [], label=label, **style))
    return handles


def _draw_rings(sky: Any, visits: Sequence[FloatArray]) -> list[Artist]:
    """Mark visits that are too small to be seen."""
    x_max, x_min, y_min, y_max = sky.ax.get_extent(lonlat=False)
    spot = _SPOT * max(x_max - x_min, y_max - y_min) / _PIXELS
    projected = [_project(sky, vertices) for vertices in visits]
    small = [one.mean(axis=0) for one in projected if np.ptp(one, axis=0).max() < spot]
    # Fields that were visited often have one ring.
    places = np.unique(np.rint(np.array(small).reshape(-1, 2) / spot), axis=0) * spot
    if not 0 < len(places) <= _MOST_RINGS:
        return []
    style: dict[str, Any] = {
        "linestyle": "none",
        "marker": "o",
        "markersize": 12,
        "fillstyle": "none",
        "color": "#555555",
    }
    label = f"around {'a visit that is' if len(small) == 1 else 'visits that are'} too small to be seen"
    drawn = sky.ax.plot(*places.T, lonlat=False, zorder=3, transform=sky.ax.transData, label=label, **style)
    return list(drawn)


def _draw_line(sky: Any, name: str) -> list[Artist]:
    """Draw the galactic plane or the ecliptic, if it is in the picture."""
    import astropy.units as u
    from astropy.coordinates import BarycentricMeanEcliptic, Galactic, SkyCoord

    longitude = np.linspace(0, 360, 7201) * u.deg
    frame = Galactic() if name == "galactic plane" else BarycentricMeanEcliptic()
    places = SkyCoord(longitude, 0 * longitude, frame=frame).icrs.cartesian.xyz.value.T
    path = _unbroken(sky, places)
    x_max, x_min, y_min, y_max = sky.ax.get_extent(lonlat=False)
    x, y = path.T
    if not ((x_min < x) & (x < x_max) & (y_min < y) & (y < y_max)).any():
        return []
    colour, style = _LINES[name]
    limits = sky.ax.get_xlim(), sky.ax.get_ylim()
    drawn = sky.ax.plot(
        x,
        y,
        lonlat=False,
        zorder=2,
        transform=sky.ax.transData,
        color=colour,
        linestyle=style,
        linewidth=1.5,
        label=name,
    )
    sky.ax.set(xlim=limits[0], ylim=limits[1])
    return list(drawn)


def _draw_legend(sky: Any, handles: Sequence[Artist]) -> None:
    """Say below the map what is drawn."""
    if not handles:
        return
    figure = _figure(sky)
    width, height = figure.get_size_inches()
    columns = max(1, min(len(handles), int(width / 2.6)))
    more = _LEGEND_LINE * -(-len(handles) // columns)
    # The map keeps its size.
    figure.set_size_inches(width, height + more)
    for axes in figure.axes:
        x, y, wide, high = axes.get_position(original=True).bounds
        axes.set_position((x, (y * height + more) / (height + more), wide, high * height / (height + more)))
    figure.legend(handles=handles, loc="lower center", ncols=columns, frameon=False, prop={"size": 11})


def _dense(vertices: FloatArray) -> FloatArray:
    """Return a closed outline (V, 3) with points a degree apart at most."""
    ends = np.roll(vertices, -1, axis=0)
    steps = max(2, int(np.rad2deg(np.linalg.norm(ends - vertices, axis=1).max())) + 2)
    part = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    points = (vertices[:, None] * (1 - part) + ends[:, None] * part).reshape(-1, 3)
    points = np.vstack([points, vertices[:1]])
    return points / np.linalg.norm(points, axis=1)[:, None]


def _unbroken(sky: Any, directions: FloatArray) -> FloatArray:
    """Project a line (K, 3), which is interrupted where it goes on at the other edge of the map."""
    path = _project(sky, directions)
    jumps = np.nonzero(np.linalg.norm(np.diff(path, axis=0), axis=1) > sky.crs.radius)[0] + 1
    return np.insert(path, jumps, np.nan, axis=0)


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
        longer = max(np.ptp(x), np.ptp(y))
        half = np.maximum([np.ptp(x), np.ptp(y)], longer / _LONGEST) / 2 + _MARGIN * longer
        centre = np.array([x.min() + x.max(), y.min() + y.max()]) / 2
        (x_min, y_min), (x_max, y_max) = centre - half, centre + half
        sky.ax.set_extent((x_min, x_max, y_min, y_max), lonlat=False)
        # Setting the extent has turned it round.
        sky.ax.invert_xaxis()
        # A full circle, which this projection could be, would have right ascensions at the sides too.
        sky.ax.grid(visible=True, linestyle=":", color="k", lw=0.5, wrap=float(ra + 180) % 360, full_circle=False)
    else:
        sky = HammerSkyproj(figure.subplots(), lon_0=_opposite_of_gap(lon_lat(directions)[:, 0]))
    sky.ax.gridlines.get_tick_iterator = partial(_signed_ticks, sky, sky.ax.gridlines.get_tick_iterator)
    sky.ax.set_xlabel("Right ascension", fontsize=_LARGEST_FONT)
    sky.ax.set_ylabel("Declination", fontsize=_LARGEST_FONT)
    size = np.abs([np.diff(sky.ax.get_xlim()), np.diff(sky.ax.get_ylim())]).ravel()
    width, height = _SIDE * size / size.max() + [_LEFT + _RIGHT, _BOTTOM + _TOP]
    figure.set_size_inches(width, height)
    figure.subplots_adjust(_LEFT / width, _BOTTOM / height, 1 - _RIGHT / width, 1 - _TOP / height)
    figure.suptitle(title, **_PLAIN)
    return sky


def _signed_ticks(
    sky: Any, ticks: Callable[[str, str], Iterable[tuple[Any, ...]]], kind: str, side: str
) -> Iterator[tuple[Any, ...]]:
    """Yield an axis's ticks with the minus sign that matplotlib leaves out between -1 and 0 degrees."""
    for place, normal, tangent, label, *more in ticks(kind, side):
        if kind == "lat" and "-" not in label and re.search("[1-9]", label) and sky.proj_inverse(*place)[1] < 0:
            label = label.replace("$", "$-", 1)
        yield place, normal, tangent, label, *more


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


def _colours(classes: Sequence[DepthClass]) -> tuple[ListedColormap, BoundaryNorm]:
    """Return the colours of counts from one up, and where the classes end."""
    from matplotlib.colors import BoundaryNorm, ListedColormap

    last = max(one.last or one.first for one in classes)
    boundaries = [*(one.first - 0.5 for one in classes), last + 0.5]
    return ListedColormap([one.colour for one in classes]), BoundaryNorm(boundaries, len(classes), extend="neither")


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
