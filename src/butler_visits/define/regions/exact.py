"""Regions with the bits that Rubin's own tool writes, for cameras from afw FITS files.

In bits only the same arithmetic gives the same numbers, so everything goes through the AST library and `lsst.sphgeom`,
step by step as docs/design.md, Regions, has it. numpy only carries the numbers: its sines and cosines need not be those
of ``libm``. A visit costs half a millisecond, a hundred times what the tangent plane's formula takes. So that
plans, and this makes what is written.

AST takes elements of a rotation matrix below 1.5e-8 for zero. Where ra, dec or rotation is that close to a multiple of
90 degrees without being it, these regions are up to 4e-3 arcsec from the formula's, and everywhere else to 1e-9. So
nobody may call a stored region different before it is compared with this one too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import starlink.Ast
from lsst.sphgeom import ConvexPolygon, UnitVector3d

from ...geometry import FloatArray, encode_polygons, plane_hull

_TWO_PI = 2 * math.pi
_DEGREE = math.pi / 180

_HULL_MARGIN = 1e-12
"""Corners this close (radians) to the plane's hull may be vertices on the sphere; rounding moves them by 1e-15."""

_SPHERE = starlink.Ast.SphMap()
"""Its inverse takes (longitude, latitude) to (cos lon cos lat, sin lon cos lat, sin lat), with ``libm``, in C."""


class ExactFootprint:
    """The corners of a camera's detectors, and the regions that they make.

    ``corners`` (D, 4, 2) are in the field, radians: (min x, min y), (max x, min y), (max x, max y), (min x, max y).
    Pointings are (ra, dec, rotation), radians.
    """

    def __init__(self, detector_ids: Sequence[int], corners: FloatArray, *, flip: bool) -> None:
        # Of points on a line it may depend on their order which ones a hull keeps, so all go by the detectors' ids.
        order = np.argsort(np.asarray(detector_ids))
        self.flip = flip
        self.detector_ids: list[int] = np.asarray(detector_ids)[order].tolist()
        self.corners: FloatArray = corners[order]
        self.points: FloatArray = np.ascontiguousarray(self.corners.reshape(-1, 2))
        # With the first detector, a hull begins with the same vertex as the hull of all corners does.
        self.outer = np.union1d(near_hull(self.points), np.arange(4))
        self._order, self._convex = self._vertex_order()

    def _vertex_order(self) -> tuple[npt.NDArray[np.intp], list[bool]]:
        """Find in which order a hull has each detector's corners, and whether they are clearly a convex polygon.

        Measured: a hull begins at the first corner if the corners are counterclockwise on the sky, and with the second
        and the first if they are clockwise.
        """
        edges = np.roll(self.corners, -1, axis=1) - self.corners
        after = np.roll(edges, -1, axis=1)
        turns = edges[..., 0] * after[..., 1] - edges[..., 1] * after[..., 0]
        left, right = (turns > 0).all(axis=1), (turns < 0).all(axis=1)
        # How far a corner stands out from its neighbours' connection.
        height = np.abs(turns) / np.linalg.norm(edges + after, axis=-1)
        # Seen from outside the field is mirrored unless it is flipped.
        counterclockwise = left if self.flip else right
        order = np.where(np.asarray(counterclockwise)[:, None], np.arange(4), np.array([1, 0, 3, 2]))
        return order, ((left | right) & (height > _HULL_MARGIN).all(axis=1)).tolist()

    def visit_polygon(self, ra: float, dec: float, rotation: float) -> ConvexPolygon:
        """Make the outline of the whole camera."""
        return _hull(field_angle_to_sky(self.points[self.outer], ra, dec, rotation, flip=self.flip))

    def polygons(self, ra: float, dec: float, rotation: float) -> tuple[ConvexPolygon, dict[int, bytes]]:
        """Make the outlines of the whole camera and, encoded and by id, of all detectors."""
        directions = self.corner_directions(ra, dec, rotation)
        outer = directions.reshape(-1, 3)[self.outer]
        vertices = np.take_along_axis(directions, self._order[..., None], axis=1)
        encoded = dict(zip(self.detector_ids, encode_polygons(vertices), strict=True))
        if not all(self._convex):
            for index, detector in enumerate(self.detector_ids):
                if not self._convex[index]:
                    encoded[detector] = _hull(directions[index]).encode()
        return _hull(outer), encoded

    def corner_directions(self, ra: float, dec: float, rotation: float) -> FloatArray:
        """Find where all corners of all detectors are: unit vectors (D, 4, 3), by detector id."""
        directions = field_angle_to_sky(self.points, ra, dec, rotation, flip=self.flip)
        return directions.reshape(*self.corners.shape[:2], 3)

    @staticmethod
    def merged(
        parts: Sequence[tuple[ExactFootprint, tuple[float, float, float]]],
    ) -> tuple[ConvexPolygon, dict[int, bytes]]:
        """Make the outlines of several exposures together, each with its camera and pointing, by exposure id."""
        outer: dict[int, list[FloatArray]] = {}
        corners: dict[int, list[FloatArray]] = {}
        for footprint, pointing in parts:
            directions = footprint.corner_directions(*pointing)
            near = np.isin(np.arange(len(footprint.points)), footprint.outer).reshape(-1, 4)
            for index, detector in enumerate(footprint.detector_ids):
                corners.setdefault(detector, []).append(directions[index])
                outer.setdefault(detector, []).append(directions[index][near[index]])
        encoded = {detector: _hull(np.concatenate(corners[detector])).encode() for detector in sorted(corners)}
        return _hull(np.concatenate([points for key in sorted(outer) for points in outer[key]])), encoded


def field_angle_to_sky(
    field_angle: FloatArray, ra: float, dec: float, rotation: float, *, flip: bool = False
) -> FloatArray:
    """Lift points (K, 2) of the field to the sky for one pointing: unit vectors (K, 3), not normalised again."""
    mapping = sky_mapping(ra, dec, rotation, flip=flip)
    angles = np.asarray(mapping.tran(np.ascontiguousarray(field_angle.T), True))
    longitude = angles[0]
    longitude[longitude < 0] += _TWO_PI
    longitude[longitude >= _TWO_PI] = 0.0
    return np.ascontiguousarray(np.asarray(_SPHERE.tran(angles, False)).T)


def sky_mapping(ra: float, dec: float, rotation: float, *, flip: bool) -> starlink.Ast.Mapping:
    """Make the mapping of one pointing, from field angles to longitude, in no particular turn, and latitude."""
    mirror = 1.0 if flip else -1.0
    cos_a, sin_a = math.cos(rotation), math.sin(rotation)
    matrix = ((mirror * cos_a, sin_a), (-mirror * sin_a, cos_a))
    # Without a source it calls nothing of Python, so that no other thread can come in between.
    header = starlink.Ast.FitsChan(None, None, "Encoding=FITS-WCS,IWC=1,SipReplace=0")
    for key, text in (("RADESYS", "ICRS"), ("CTYPE1", "RA---TAN"), ("CTYPE2", "DEC--TAN"), ("CUNIT1", "deg")):
        header.setfitsS(key, text, "", 0)
    header.setfitsS("CUNIT2", "deg", "", 0)
    header.setfitsF("CRPIX1", 1.0, "", 0)
    header.setfitsF("CRPIX2", 1.0, "", 0)
    # From radians, not the record's degrees: they differ in the last bit.
    header.setfitsF("CRVAL1", _wrap(ra) / _DEGREE, "", 0)
    header.setfitsF("CRVAL2", dec / _DEGREE, "", 0)
    # The default, but for a declination of exactly +90 degrees, where it would turn the field by half a turn.
    header.setfitsF("LONPOLE", 180.0, "", 0)
    for row, elements in enumerate(matrix, 1):
        for column, element in enumerate(elements, 1):
            if element != 0:
                header.setfitsF(f"CD{row}_{column}", element, "", 0)
    header.clear("Card")
    frames = header.read()
    # The sky is the current frame.
    to_sky = frames.getmapping(_find_frame(frames, "IWC"), frames.Current)
    to_plane = starlink.Ast.MatrixMap(np.array(matrix) * 180 / math.pi)
    return starlink.Ast.CmpMap(to_plane, to_sky, True).simplify()


def near_hull(points: FloatArray) -> npt.NDArray[np.intp]:
    """Find which points (K, 2) may be vertices of the hull of all, however it is rounded."""
    hull = points[plane_hull(points)]
    edges = np.roll(hull, -1, axis=0) - hull
    inward = np.stack([-edges[:, 1], edges[:, 0]], axis=-1) / np.linalg.norm(edges, axis=1)[:, None]
    depth = np.einsum("kei,ei->ke", points[:, None] - hull, inward).min(axis=1)
    return np.flatnonzero(depth < _HULL_MARGIN)


def _hull(directions: FloatArray) -> ConvexPolygon:
    """Hull points as `lsst.sphgeom` does."""
    return ConvexPolygon.convexHull(_unit_vectors(directions))


def _unit_vectors(directions: FloatArray) -> list[UnitVector3d]:
    """Make unit vectors of three or more points as they are: from three numbers sphgeom would normalise them again."""
    (encoded,) = encode_polygons(directions[None])
    polygon = ConvexPolygon.decode(encoded)
    assert isinstance(polygon, ConvexPolygon)
    return polygon.getVertices()


def _wrap(angle: float) -> float:
    """Bring an angle into [0, 2 pi)."""
    angle = math.fmod(angle, _TWO_PI)
    if angle < 0:
        angle += _TWO_PI
    return angle if angle < _TWO_PI else 0.0


def _find_frame(frames: starlink.Ast.FrameSet, domain: str) -> int:
    # It is the last one today.
    for index in range(frames.Nframe, 0, -1):
        if frames.getframe(index).Domain == domain:
            return index
    raise RuntimeError(f"AST made no {domain} frame")
