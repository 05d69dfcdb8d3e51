"""Put a page together."""

from __future__ import annotations

import base64
import datetime
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
from ...geometry import FloatArray, lon_lat
from ...lists import batches
from .coverage import cover
from .detectors import Layouts
from .model import Page, PageVisit, begin_of, end_of

MAX_OUTLINES = 3000
"""Visits up to which each has its outline on the map: with these a page still answers within a second."""

_MAX_BYTES = 20_000_000
"""Of a page with detectors, which have what all else leaves of it."""

_PLACE_BYTES = 60
"""At most, of where one visit's detectors lie."""

_MAX_CELLS = 32_000
"""Of a coverage map, so that it can be turned."""

_MAX_MEMBERS = 3_000_000
"""Of all visits' cells: two bytes each, and as base64 8 MB of a page."""

_DETECTOR_BATCH = 100
"""Visits whose detectors' regions are held at once."""

_MAX_LISTED = 200
"""Exposures without a visit that are listed for one reason."""

_MAX_REASONS = 200
"""Reasons that are listed why exposures have no visit."""

_SCRIPTS = ("data.js", "grid.js", "map.js", "details.js", "page.js")
_SAFE_INTEGER = 2**53
"""Whole numbers above this are not exact in JavaScript."""


def render_page(page: Page) -> str:
    """Make a page's HTML, which needs nothing else.

    Parameters
    ----------
    page : `Page`
        What it shows: up to some thousand visits with their outlines, more as a map of how often the sky is covered.

    Returns
    -------
    html : `str`
        The page.

    Raises
    ------
    VisitsError
        If plotly is not installed.
    """
    require("plotly")
    from plotly.offline import get_plotlyjs

    files = resources.files(__package__)
    scripts = "\n".join(files.joinpath(name).read_text(encoding="utf-8") for name in _SCRIPTS)
    whole = partial(
        Template(files.joinpath("page.html").read_text(encoding="utf-8")).substitute,
        title=html.escape(page.title),
        style=files.joinpath("page.css").read_text(encoding="utf-8"),
        plotly=get_plotlyjs(),
        script=scripts,
    )
    data = _data(page)
    if data["visits"] is not None:
        other = len(whole(data=_json(data)).encode()) + _PLACE_BYTES * len(page.visits)
        data["visits"] |= _detectors(page, _MAX_BYTES - other)
    return whole(data=_json(data))


def _json(data: dict[str, Any]) -> str:
    # A script ends at the first </script>, wherever it stands.
    return json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _data(page: Page) -> dict[str, Any]:
    """Return what the page's scripts know."""
    visits = page.visits
    outlined = len(visits) <= MAX_OUTLINES
    actions = sorted({visit.action for visit in visits if visit.action is not None})
    return {
        "title": page.title,
        "lines": list(page.lines),
        "made": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "count": len(visits),
        "without_outline": sum(visit.outline is None for visit in visits),
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
        "visits": _outlined(page) if outlined else None,
        "coverage": None if outlined else _coverage(visits),
    }


def _coded(visits: Sequence[PageVisit], label: Callable[[PageVisit], str]) -> dict[str, Any]:
    """Return labels of visits, each of which stands there once, and of each visit the number of its label."""
    labels, codes = np.unique(np.array([label(visit) for visit in visits], dtype=str), return_inverse=True)
    return {"labels": labels.tolist(), "codes": _base64(codes, "<u2")}


def _base64(values: npt.NDArray[Any], dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=dtype).tobytes()).decode()


def _outlined(page: Page) -> dict[str, Any]:
    """Return visits one by one, without their detectors."""
    names = dict.fromkeys(["id", "name", *(name for visit in page.visits for name in visit.fields)])
    changes = any(visit.stored or visit.stored_outline is not None for visit in page.visits)
    return {
        "fields": {name: [_shown(visit.fields.get(name)) for visit in page.visits] for name in names},
        "exposures": [list(map(str, visit.exposures)) for visit in page.visits],
        "begin": [_text(begin_of(visit.fields.get("timespan"))) for visit in page.visits],
        "outline": [_angles(visit.outline) for visit in page.visits],
        "reason": [visit.reason for visit in page.visits],
        "stored": [_changes(visit) for visit in page.visits] if changes else None,
        "stored_outline": [_angles(visit.stored_outline) for visit in page.visits] if changes else None,
    }


def _detectors(page: Page, max_bytes: int) -> dict[str, Any]:
    """Return the visits' detectors, as many as there is space for."""
    layouts = Layouts(page.detector_names, max_bytes)
    ids = [int(visit.fields["id"]) for visit in page.visits]
    for batch in batches(ids, _DETECTOR_BATCH):
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
        "ids": _base64(np.array([visit.fields["id"] for visit in visits]), "<i8"),
    }


def _changes(visit: PageVisit) -> dict[str, Any]:
    return {name: _shown(value) for name, value in visit.stored.items()}


def _angles(vertices: FloatArray | None) -> list[float] | None:
    """Return ra, dec, ra, dec, ... in degrees, to a tenth of an arcsecond."""
    if vertices is None:
        return None
    angles: list[float] = lon_lat(vertices).round(5).ravel().tolist()
    return angles


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
