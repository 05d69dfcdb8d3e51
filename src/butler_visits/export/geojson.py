"""Outlines as GeoJSON (RFC 7946), whose longitudes and latitudes are right ascensions and declinations."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ..geometry import ARCSEC, FloatArray, boundary_distance, lon_lat
from .outlines import Outline, finite_or_none, read_vertices

_POLES = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
_AT_POLE, _OFF_POLE = 1e-9, 1e-8
"""A boundary closer to a pole than this (radians) is moved inwards by that: at a pole there is no longitude."""


def geojson(outlines: Iterable[Outline]) -> Iterator[str]:
    """Write outlines as a collection of GeoJSON features.

    Parameters
    ----------
    outlines : `~collections.abc.Iterable` [`Outline`]
        Outlines of visits or detectors.

    Yields
    ------
    text : `str`
        The next piece of the file. Longitudes are ICRS right ascensions from -180 to 180 degrees. Rings are closed and
        counterclockwise, and cut where they cross 180 degrees. GeoJSON's sides are straight in longitude and latitude,
        so arcs of great circles have points between their ends, and are followed to an arcsecond.
    """
    yield '{"type": "FeatureCollection", "features": ['
    for number, outline in enumerate(outlines):
        yield ",\n" if number else "\n"
        yield json.dumps(_feature(outline), allow_nan=False)
    yield "\n]}\n"


def _feature(outline: Outline) -> dict[str, Any]:
    visit = outline.visit
    about = {
        "instrument": visit.instrument,
        "visit": visit.id,
        "name": visit.name,
        "physical_filter": visit.physical_filter,
        "band": outline.band,
        "exposure_time": finite_or_none(visit.exposure_time),
    }
    if outline.detector is not None:
        about |= {"detector": outline.detector, "detector_name": outline.detector_name}
    polygons = [[ring.tolist()] for ring in _rings(read_vertices(outline.region))]
    if len(polygons) == 1:
        geometry: dict[str, Any] = {"type": "Polygon", "coordinates": polygons[0]}
    else:
        geometry = {"type": "MultiPolygon", "coordinates": polygons}
    return {"type": "Feature", "properties": about, "geometry": geometry}


def _rings(vertices: FloatArray) -> list[FloatArray]:
    """Turn a polygon (V, 3) into closed rings (n, 2), degrees, one for each side of 180 degrees that it is on."""
    if (boundary_distance(_POLES, vertices) < _AT_POLE).any():
        inwards = vertices.mean(axis=0) - vertices
        vertices = vertices + inwards * (_OFF_POLE / np.linalg.norm(inwards, axis=1))[:, None]
    ring = _unwrapped(_followed(vertices))
    turn = ring[-1, 0] - ring[0, 0]
    if abs(turn) > 180:
        # A pole is inside: from where 180 degrees are crossed once around, and back along the pole.
        side, pole = np.copysign(180.0, turn), np.copysign(90.0, turn)
        start = ring[0, 0]
        crossing = start + (-side - start) % turn
        lat = np.interp(crossing * np.sign(turn), ring[:, 0] * np.sign(turn), ring[:, 1])
        later = ring[:-1][(ring[:-1, 0] - crossing) * np.sign(turn) > 0] - [crossing + side, 0]
        earlier = ring[:-1][(ring[:-1, 0] - crossing) * np.sign(turn) < 0] - [crossing + side - turn, 0]
        around = np.vstack([[-side, lat], later, earlier, [side, lat], [side, pole], [-side, pole], [-side, lat]])
        # Rounding can put a longitude a bit beyond.
        return [np.clip(around, [-180, -90], [180, 90])]
    pieces = (_clipped(_clipped(ring[:-1] + np.array([shift, 0]), -1), 1) for shift in (-360.0, 0.0, 360.0))
    return [np.vstack([piece, piece[:1]]) for piece in pieces if len(piece) > 2 and np.ptp(piece[:, 0]) > 0]


def _followed(vertices: FloatArray) -> FloatArray:
    """Put points on the sides of a polygon (V, 3), until straight lines between them are no arcsecond off."""
    while True:
        middle = vertices + np.roll(vertices, -1, axis=0)
        middle /= np.linalg.norm(middle, axis=1)[:, None]
        ends = _unwrapped(vertices)
        off = np.deg2rad(lon_lat(middle) - (ends[:-1] + ends[1:]) / 2)
        off[:, 0] = np.sin(off[:, 0]) * np.hypot(*middle[:, :2].T)
        far = np.flatnonzero(np.linalg.norm(off, axis=1) > ARCSEC)
        if not far.size:
            return vertices
        vertices = np.insert(vertices, far + 1, middle[far], axis=0)


def _unwrapped(vertices: FloatArray) -> FloatArray:
    """Return longitudes, without jumps and from (-180, 180], and latitudes (V + 1, 2) of a ring, its begin again."""
    ring = lon_lat(np.vstack([vertices, vertices[:1]]))
    steps = (np.diff(ring[:, 0]) + 180) % 360 - 180
    start = ring[0, 0] - 360 * (ring[0, 0] > 180)
    ring[:, 0] = start + np.concatenate([[0], np.cumsum(steps)])
    return ring


def _clipped(ring: FloatArray, side: int) -> FloatArray:
    """Cut off what of an open ring (n, 2) is beyond 180 degrees, times ``side`` (1 or -1)."""
    beyond = side * ring[:, 0] - 180
    found = []
    for (a, b), (beyond_a, beyond_b) in zip(
        zip(ring, np.roll(ring, -1, axis=0), strict=True),
        zip(beyond, np.roll(beyond, -1), strict=True),
        strict=True,
    ):
        if beyond_a <= 0:
            found.append(a)
        if beyond_a * beyond_b < 0:
            lat = a[1] + (b[1] - a[1]) * beyond_a / (beyond_a - beyond_b)
            found.append(np.array([180.0 * side, lat]))
    return np.array(found).reshape(-1, 2)
