"""Put a page together."""

from __future__ import annotations

import base64
import datetime
import gzip
import html
import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from importlib import resources
from string import Template
from typing import Any

import numpy as np
import numpy.typing as npt
from lsst.daf.butler import Timespan

from ...errors import require
from ...geometry import FloatArray
from ...lists import batches
from ..colours import (
    ACTIONS,
    BACKGROUNDS,
    FREE,
    FREE_LINES,
    MARKS,
    band_colours,
    band_lines,
    band_symbols,
    depth_classes,
    outline_of,
)
from .coverage import cover
from .detectors import Layouts
from .model import Page, PageVisit, begin_of, end_of

MAX_OUTLINES = 3000
"""Visits up to which the map always draws the outline of each, and the page has their detectors."""

_MAX_BYTES = 20_000_000
"""Of a page with detectors, which have what all else leaves of it, before it is compressed."""

_PLACE_BYTES = 60
"""At most, of where one visit's detectors lie."""

_MAX_CELLS = 32_000
"""Of a coverage map, so that it can be turned."""

_MAX_MEMBERS = 3_000_000
"""Of all visits' cells: two bytes each."""

_LEAST_COSINE = 0.02
"""Of the angle from an outline's middle to its corners: 89 degrees."""

_DETECTOR_BATCH = 100
"""Visits whose detectors' regions are held at once."""

_OUTLINE_BATCH = 5000
"""Visits whose outlines are compared at once."""

_MAX_LISTED = 200
"""Exposures without a visit that are listed for one reason."""

_MAX_REASONS = 200
"""Reasons that are listed why exposures have no visit."""

_SCRIPTS = (
    "data.js",
    "sphere.js",
    "outlines.js",
    "depth.js",
    "colours.js",
    "view.js",
    "state.js",
    "scene.js",
    "webgl.js",
    "canvas.js",
    "graticule.js",
    "elements.js",
    "symbols.js",
    "detectors.js",
    "details.js",
    "map.js",
    "legend.js",
    "gestures.js",
    "tables.js",
    "address.js",
    "picture.js",
    "page.js",
)
_SAFE_INTEGER = 2**53
"""Whole numbers above this are not exact in JavaScript."""


def render_page(page: Page) -> str:
    """Make a page's HTML, which needs nothing else.

    Parameters
    ----------
    page : `Page`
        What it shows; of more than some thousand visits also how often the sky is covered.

    Returns
    -------
    html : `str`
        The page.

    Raises
    ------
    VisitsError
        If hpgeom or matplotlib are not installed.
    """
    require("hpgeom")
    require("matplotlib")
    files = resources.files(__package__)
    scripts = "\n".join(files.joinpath(name).read_text(encoding="utf-8") for name in _SCRIPTS)
    whole = partial(
        Template(files.joinpath("page.html").read_text(encoding="utf-8")).substitute,
        title=html.escape(page.title),
        style=files.joinpath("page.css").read_text(encoding="utf-8"),
        script=scripts,
    )
    data = _data(page)
    data["visits"] |= _detectors(
        page, 0 if data["coverage"] else _MAX_BYTES - len(_json(data)) - _PLACE_BYTES * len(page.visits)
    )
    return whole(data=_packed(data))


def _packed(data: dict[str, Any]) -> str:
    """Compress what a page knows."""
    return base64.b64encode(gzip.compress(_json(data).encode(), mtime=0)).decode()


def _json(data: dict[str, Any]) -> str:
    return json.dumps(data, allow_nan=False, separators=(",", ":"))


def _data(page: Page) -> dict[str, Any]:
    """Return what the page's scripts know."""
    visits = page.visits
    outlined = len(visits) <= MAX_OUTLINES
    actions = sorted({visit.action for visit in visits if visit.action is not None})
    return {
        "title": page.title,
        "lines": list(page.lines),
        "next": list(page.next_steps),
        "made": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "count": len(visits),
        "without_outline": sum(_drawable(visit.outline) is None for visit in visits),
        "night": _coded(visits, lambda visit: visit.night),
        "filter": _coded(visits, lambda visit: str(visit.fields.get("physical_filter") or "none")),
        "band": _coded(visits, lambda visit: visit.band or "none"),
        "action": _coded(visits, lambda visit: visit.action or "") if actions else None,
        "undefined": [
            {"reason": entry.reason, "count": entry.count, "exposures": list(map(str, entry.exposures[:_MAX_LISTED]))}
            for entry in page.undefined[:_MAX_REASONS]
        ],
        "more_reasons": max(len(page.undefined) - _MAX_REASONS, 0),
        "undefined_count": sum(entry.count for entry in page.undefined),
        "most_outlines": MAX_OUTLINES,
        "visits": _visits(page),
        "coverage": None if outlined else _coverage(visits),
        "colours": {theme: _colours(theme) for theme in BACKGROUNDS},
        "lines_of_bands": band_lines(),
        "symbols_of_bands": band_symbols(),
        "free_lines": FREE_LINES,
    }


def _colours(theme: str) -> dict[str, Any]:
    """Return the colours of a theme, each with the outline that its lines need."""

    def drawn(colour: str) -> dict[str, str | None]:
        return {"colour": colour, "outline": outline_of(colour, BACKGROUNDS[theme])}

    return {
        "bands": {band: drawn(colour) for band, colour in band_colours(theme).items()},
        "free": [drawn(colour) for colour in FREE[theme]],
        "actions": {action: drawn(colour) for action, colour in ACTIONS[theme].items()},
        "depth": [{"first": one.first, "label": one.label, **drawn(one.colour)} for one in depth_classes()],
        **{name: drawn(colour) for name, colour in MARKS[theme].items()},
    }


def _coded(visits: Sequence[PageVisit], label: Callable[[PageVisit], str]) -> dict[str, Any]:
    """Return labels of visits, each of which stands there once, and of each visit the number of its label."""
    labels, codes = np.unique(np.array([label(visit) for visit in visits], dtype=str), return_inverse=True)
    return {"labels": labels.tolist(), "codes": _base64(codes, "<u2")}


def _base64(values: npt.NDArray[Any], dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=dtype).tobytes()).decode()


def _visits(page: Page) -> dict[str, Any]:
    """Return visits one by one, without their detectors."""
    names = dict.fromkeys(["id", "name", *(name for visit in page.visits for name in visit.fields)])
    changes = any(visit.stored or visit.stored_outline is not None for visit in page.visits)
    outlines = [_drawable(visit.outline) for visit in page.visits]
    return {
        "fields": {name: [_shown(visit.fields.get(name)) for visit in page.visits] for name in names},
        "exposures": [list(map(str, visit.exposures)) for visit in page.visits],
        "begin": [_text(begin_of(visit.fields.get("timespan"))) for visit in page.visits],
        "reason": [visit.reason for visit in page.visits],
        "stored": [_changes(visit) for visit in page.visits] if changes else None,
        "outlines": _outlines(
            outlines + [_drawable(visit.stored_outline) for visit in page.visits] if changes else outlines
        ),
    }


def _drawable(outline: FloatArray | None) -> FloatArray | None:
    """Return an outline if it can be drawn around its middle: nearly half the sky cannot."""
    if outline is None:
        return None
    middle = outline.mean(axis=0)
    return outline if (outline @ middle > _LEAST_COSINE * np.linalg.norm(middle)).all() else None


def _outlines(outlines: Sequence[FloatArray | None]) -> dict[str, Any]:
    """Return outlines, those that are alike up to a rotation once, and where each lies."""
    layouts = Layouts({}, math.inf, "<i4")
    there = ((number, outline) for number, outline in enumerate(outlines) if outline is not None)
    for batch in batches(there, _OUTLINE_BATCH):
        layouts.add_polygons({number: {0: outline} for number, outline in batch})
    numbers = np.full(len(outlines), -1)
    turned = np.zeros((len(outlines), 3))
    for outline, (number, *place) in layouts.places.items():
        numbers[outline], turned[outline] = number, place
    # Angles to a millionth of a degree.
    places = {"layout": _base64(numbers, "<i4"), "turned": _base64(np.rint(turned * 1e6), "<i4")}
    return {"kinds": layouts.kinds, "layouts": layouts.layouts, "places": places}


def _detectors(page: Page, max_bytes: int) -> dict[str, Any]:
    """Return the visits' detectors, as many as there is space for."""
    layouts = Layouts(page.detector_names, max_bytes)
    ids = [int(visit.fields["id"]) for visit in page.visits]
    for batch in batches(ids, _DETECTOR_BATCH) if max_bytes else ():
        layouts.add(page.detector_regions(batch))
    return {
        "kinds": layouts.kinds,
        "layouts": layouts.layouts,
        "places": [layouts.places.get(visit) for visit in ids],
        "without_space": layouts.n_left_out,
    }


def _coverage(visits: Sequence[PageVisit]) -> dict[str, Any]:
    """Return how often the sky is covered, for visits that are too many to be drawn."""
    coverage = cover([visit.outline for visit in visits], max_cells=_MAX_CELLS, max_members=_MAX_MEMBERS)
    return {
        "order": coverage.order,
        "cells": len(coverage.corners),
        "corners": _base64(coverage.corners, "<f4"),
        "starts": _base64(coverage.starts, "<u4"),
        "members": _base64(coverage.members, "<u2"),
    }


def _changes(visit: PageVisit) -> dict[str, Any]:
    return {name: _shown(value) for name, value in visit.stored.items()}


def _shown(value: Any) -> Any:
    """Return a field's value as JSON can have it and JavaScript can show it."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Timespan):
        begin, end = begin_of(value), end_of(value)
        return f"{_text(begin) or 'unbounded'} to {_text(end) or 'unbounded'} TAI"
    if isinstance(value, int):
        return value if abs(value) < _SAFE_INTEGER else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return str(value)


def _text(time: np.datetime64 | None) -> str | None:
    return None if time is None else str(time).replace("T", " ")
