"""A camera's picture: its focal plane, and the field as it is seen on the sky."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..camera.describe import focal_plane_corners, sky_corners
from ..camera.model import Camera
from ..errors import require
from ..lists import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PICTURE_ENDINGS = (".png", ".pdf", ".svg")
"""Endings of the files that a figure can be saved to."""

_PANEL = 8.0
"""Inches along a panel's side."""
_LARGEST_FONT = 12.0
"""Points."""
_MARGIN = 0.1
"""Of the field's width, around it: the compass has room in a corner."""
_FILL, _EDGE = "#dbe7f3", "#2b5c8a"
_X, _Y = "#b8342a", "#1c7a3d"
_AXIS = 0.28
"""How long the axes of a detector's pixels are, of its sides."""


def plot_camera(camera: Camera, *, flip: bool = False) -> Figure:
    """Draw a camera's focal plane in mm, and the field as it is seen on the sky at rotation 0, east to the left.

    Each detector has a dot where its first pixel is, and lines along its x and its y.

    Raises `CameraFileError` if a detector has no pixels, or no finite place in the field.
    """
    require("matplotlib")
    # A figure without pyplot takes no window system and leaves nothing open.
    from matplotlib.figure import Figure

    on_sky = sky_corners(camera, flip=flip)
    unit = "degrees"
    if np.ptp(on_sky.reshape(-1, 2), axis=0).max() < 0.5:
        on_sky, unit = on_sky * 60, "arcmin"
    figure = Figure(figsize=(2 * _PANEL + 1, _PANEL + 1.1), layout="constrained", dpi=150)
    focal_plane, sky = figure.subplots(1, 2)
    figure.suptitle(f"{camera.name}: {counted(len(camera.detector_ids), 'detector')}")
    focal_plane.set(title="Focal plane", xlabel="x (mm)", ylabel="y (mm)")
    _draw(focal_plane, focal_plane_corners(camera), camera.detector_names)
    sky.set(title="On the sky, at rotation 0", xlabel=f"east ({unit})", ylabel=f"north ({unit})")
    sky.xaxis.set_inverted(True)
    _draw(sky, on_sky, camera.detector_names)
    _draw_compass(sky)
    first = "pixel (0, 0)" if not camera.bounding_boxes[:, 0].any() else "first pixel"
    _draw_legend(figure, first)
    return figure


def _draw(axes: Axes, corners: npt.NDArray[np.float64], names: tuple[str, ...]) -> None:
    """Draw detectors, corners of shape (D, 4, 2), with their names in them."""
    from matplotlib.collections import PolyCollection

    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    margin = _MARGIN * (high - low).max()
    axes.add_collection(PolyCollection(list(corners), facecolors=_FILL, edgecolors=_EDGE, linewidths=0.6))
    # Equal lengths along both axes, and the field in the middle.
    centre, half = (low + high) / 2, (high - low).max() / 2 + margin
    inverted = axes.xaxis.get_inverted()
    axes.set_aspect("equal")
    axes.set_xlim(*(centre[0] + half * np.array([1, -1] if inverted else [-1, 1])))
    axes.set_ylim(centre[1] - half, centre[1] + half)
    _draw_pixel_axes(axes, corners)
    points = 72 * 0.85 * _PANEL / (2 * half)
    for outline, name in zip(corners, names, strict=True):
        width, height = np.ptp(outline, axis=0)
        # Names are written along the longer side; a letter is some 0.6 of its height wide.
        along, across = max(width, height) * points, min(width, height) * points
        size = min(_LARGEST_FONT, 0.9 * along / (0.6 * max(len(name), 1)), 0.8 * across)
        x, y = outline.mean(axis=0)
        angle = 90 if height > 1.2 * width else 0
        axes.text(x, y, name, fontsize=size, rotation=angle, ha="center", va="center", clip_on=True)


def _draw_pixel_axes(axes: Axes, corners: npt.NDArray[np.float64]) -> None:
    """Draw where the first pixel of each detector is, and in which directions x and y count."""
    from matplotlib.collections import LineCollection

    x, y = corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 0]
    sides = np.minimum(np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1))[:, None]
    x, y = (sides * side / np.linalg.norm(side, axis=1)[:, None] for side in (x, y))
    # A little inside, so that neighbours' do not meet.
    origin = corners[:, 0] + 0.06 * (x + y)
    for side, colour in ((x, _X), (y, _Y)):
        lines = np.stack([origin, origin + _AXIS * side], axis=1)
        axes.add_collection(LineCollection(list(lines), colors=colour, linewidths=_line_width(len(corners)), zorder=2))
    axes.scatter(origin[:, 0], origin[:, 1], s=12 * _line_width(len(corners)) ** 2, color=_EDGE, linewidths=0, zorder=3)


def _line_width(detectors: int) -> float:
    return max(0.6, 2.0 - 0.2 * np.sqrt(detectors))


def _draw_legend(figure: Figure, first: str) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], marker="o", linestyle="none", color=_EDGE, label=first),
        Line2D([], [], color=_X, linewidth=2, label="x of a detector's pixels"),
        Line2D([], [], color=_Y, linewidth=2, label="y of a detector's pixels"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, prop={"size": 11})


def _draw_compass(axes: Axes) -> None:
    """Draw arrows to the north and to the east, in the lower left corner of the axes."""
    left, bottom = max(axes.get_xlim()), min(axes.get_ylim())
    length = 0.05 * abs(np.diff(axes.get_ylim())[0])
    origin = (left - 1.4 * length, bottom + 0.4 * length)
    for name, east, north in (("N", 0.0, 1.0), ("E", 1.0, 0.0)):
        axes.annotate(
            name,
            xy=origin,
            xytext=(origin[0] + east * length, origin[1] + north * length),
            arrowprops={"arrowstyle": "<-", "shrinkA": 0, "shrinkB": 0},
            ha="center",
            va="center",
            weight="bold",
        )
