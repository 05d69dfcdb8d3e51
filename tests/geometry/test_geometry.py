"""Properties of the geometry, against independent formulas and lsst.sphgeom."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from lsst.sphgeom import Angle, Circle, ConvexPolygon, LonLat, UnitVector3d

from butler_visits.geometry import (
    boundary_distance,
    decode_polygon,
    encode_polygons,
    field_angle_to_sky,
    outline_distance,
    plane_hull,
    polygon_area,
)

ARCSEC = math.pi / 180 / 3600
ra_values = st.floats(0, 2 * math.pi)
dec_values = st.floats(-math.pi / 2, math.pi / 2)
angles = st.floats(-2 * math.pi, 2 * math.pi)
field_angles = st.tuples(st.floats(-0.05, 0.05), st.floats(-0.05, 0.05))


def decoded(encoded: bytes) -> ConvexPolygon:
    polygon = ConvexPolygon.decode(encoded)
    assert isinstance(polygon, ConvexPolygon)
    return polygon


def _directions(points: list[tuple[float, float]], ra: float, dec: float) -> np.ndarray:
    return field_angle_to_sky(np.array(points), ra, dec, 0.3)


@given(ra_values, dec_values, angles, st.lists(field_angles, min_size=1, max_size=5), st.booleans())
def test_lift_has_unit_length_and_the_right_distances(
    ra: float, dec: float, rotation: float, points: list[tuple[float, float]], flip: bool
) -> None:
    directions = field_angle_to_sky(points, ra, dec, rotation, flip=flip)
    assert np.linalg.norm(directions, axis=-1) == pytest.approx(1, abs=4e-16)
    boresight = [math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec)]
    # On the tangent plane a point's radius is the tangent of its distance from the boresight.
    radius = np.hypot(*np.transpose(points))
    assert directions @ boresight == pytest.approx(1 / np.hypot(1, radius), abs=1e-15)


@given(ra_values, st.floats(-1.5, 1.5), angles)
def test_rotation_and_parity(ra: float, dec: float, rotation: float) -> None:
    """A small step along the field's y axis goes to north by cos a, to east by sin a; x is mirrored unless flipped."""
    step = 1e-6
    east = np.array([-math.sin(ra), math.cos(ra), 0])
    north = np.array([-math.sin(dec) * math.cos(ra), -math.sin(dec) * math.sin(ra), math.cos(dec)])
    for flip, sign in ((False, -1), (True, 1)):
        x, y = field_angle_to_sky([(step, 0), (0, step)], ra, dec, rotation, flip=flip)
        assert [y @ east / step, y @ north / step] == pytest.approx([math.sin(rotation), math.cos(rotation)], abs=1e-9)
        assert [x @ east / step, x @ north / step] == pytest.approx(
            [sign * math.cos(rotation), -sign * math.sin(rotation)], abs=1e-9
        )


@given(
    st.lists(st.tuples(ra_values, dec_values, angles), min_size=1, max_size=4),
    st.lists(field_angles, min_size=1, max_size=4),
)
def test_lift_of_many_pointings_is_that_of_each(
    pointings: list[tuple[float, float, float]], points: list[tuple[float, float]]
) -> None:
    together = field_angle_to_sky(points, *np.transpose(pointings))
    assert together.shape == (len(pointings), len(points), 3)
    for directions, pointing in zip(together, pointings, strict=True):
        assert directions == pytest.approx(field_angle_to_sky(points, *pointing), abs=2e-16)


@given(st.lists(field_angles, min_size=3, max_size=30))
def test_hull_contains_all_points_and_turns_left(points: list[tuple[float, float]]) -> None:
    xy = np.array(points)
    try:
        hull = plane_hull(xy)
    except ValueError:
        # Only points on a line have no hull: the smaller extent of the cloud is rounding.
        assert np.linalg.svd(xy - xy.mean(axis=0), compute_uv=False)[1] < 1e-12
        return
    assert len(set(hull)) == len(hull) >= 3
    vertices = xy[hull]
    edges = np.roll(vertices, -1, axis=0) - vertices
    turns = edges[:, 0] * np.roll(edges[:, 1], -1) - edges[:, 1] * np.roll(edges[:, 0], -1)
    assert (turns > 0).all()
    offsets = xy[:, None] - vertices
    outside = (edges[:, 1] * offsets[..., 0] - edges[:, 0] * offsets[..., 1]) / np.hypot(*edges.T)
    assert outside.max() <= 1e-14


def test_hull_leaves_collinear_points_out() -> None:
    grid = np.array([(x, y) for x in np.linspace(-0.03, 0.03, 7) for y in np.linspace(-0.02, 0.02, 5)])
    hull = plane_hull(grid)
    assert sorted(map(tuple, grid[hull])) == [(-0.03, -0.02), (-0.03, 0.02), (0.03, -0.02), (0.03, 0.02)]


def test_hull_of_a_line() -> None:
    with pytest.raises(ValueError, match="line"):
        plane_hull([(0, 0), (1e-3, 1e-3), (2e-3, 2e-3), (5e-4, 5e-4)])


@given(ra_values, dec_values, angles, st.lists(field_angles, min_size=3, max_size=20))
def test_lifted_hull_is_convex_for_sphgeom(
    ra: float, dec: float, rotation: float, points: list[tuple[float, float]]
) -> None:
    try:
        hull = plane_hull(points)
    except ValueError:
        assume(False)
    vertices = field_angle_to_sky(np.array(points)[hull], ra, dec, rotation, flip=True)
    polygon = decoded(encode_polygons(vertices[None])[0])
    # Its own hull, found with exact arithmetic, has the same vertices in the same order.
    again = ConvexPolygon([UnitVector3d(*v) for v in vertices.tolist()])
    assert len(again.getVertices()) == len(polygon.getVertices())
    found = decode_polygon(again.encode())
    assert found is not None
    assert float(outline_distance(found, vertices)) < 1e-15


@given(ra_values, dec_values, st.integers(3, 9))
def test_polygon_bytes_are_sphgeoms(ra: float, dec: float, count: int) -> None:
    theta = np.arange(count) * 2 * np.pi / count
    vertices = field_angle_to_sky(0.01 * np.transpose([np.cos(theta), np.sin(theta)]), ra, dec, 0.0, flip=True)
    (encoded,) = encode_polygons(vertices[None])
    polygon = decoded(encoded)
    assert polygon.encode() == encoded
    assert np.array([list(v) for v in polygon.getVertices()]).tolist() == vertices.tolist()
    found = decode_polygon(encoded)
    assert found is not None
    assert np.array_equal(found, vertices)
    assert polygon.contains(UnitVector3d(*vertices.sum(axis=0)))


def test_other_regions_are_no_polygons() -> None:
    assert decode_polygon(Circle(UnitVector3d(1, 0, 0), Angle.fromDegrees(1)).encode()) is None


@given(ra_values, dec_values, st.floats(-0.02, 0.02), st.floats(0, 1), st.floats(1e-3, 0.05))
def test_distance_to_an_edge(ra: float, dec: float, offset: float, fraction: float, half: float) -> None:
    """A point at a known angle beside an edge: the pole of the edge's circle gives it."""
    square = [(-half, -half), (half, -half), (half, half), (-half, half)]
    polygon = _directions(square, ra, dec)
    start, end = polygon[0], polygon[1]
    on_edge = start + fraction * (end - start)
    on_edge /= np.linalg.norm(on_edge)
    pole = np.cross(start, end)
    pole /= np.linalg.norm(pole)
    point = math.cos(offset) * on_edge + math.sin(offset) * pole
    distance = boundary_distance(point[None], polygon)[0]
    assert distance <= abs(offset) + 1e-15
    if abs(offset) < half * min(fraction, 1 - fraction):
        assert distance == pytest.approx(abs(offset), abs=1e-15)


@given(ra_values, dec_values, st.floats(1e-12, 0.5))
def test_distance_to_a_corner(ra: float, dec: float, offset: float) -> None:
    polygon = _directions([(-0.01, -0.01), (0.01, -0.01), (0.0, 0.01)], ra, dec)
    # Straight away from the corner, seen from the middle of the opposite edge.
    corner, middle = polygon[2], polygon[0] + polygon[1]
    middle /= np.linalg.norm(middle)
    away = corner - middle * (corner @ middle)
    away /= np.linalg.norm(away)
    away -= middle * (away @ middle)  # what rounding left
    along = math.atan2(corner @ away, corner @ middle) + offset
    point = math.cos(along) * middle + math.sin(along) * away
    assert boundary_distance(point[None], polygon)[0] == pytest.approx(offset, rel=1e-9, abs=1e-15)


@given(ra_values, dec_values, st.floats(1e-15, 1e-6))
def test_distance_keeps_its_precision_beside_a_doubled_vertex(ra: float, dec: float, gap: float) -> None:
    """An edge far shorter than a milliarcsecond must not spoil the distances to it."""
    outline = [(-0.01, -0.01), (0.01, -0.01), (0.01, 0.01), (0.01 - gap, 0.01), (-0.01, 0.01)]
    doubled = _directions(outline, ra, dec)
    plain = _directions([outline[i] for i in (0, 1, 2, 4)], ra, dec)
    assert float(outline_distance(doubled, plain)) < 1e-15


@given(ra_values, dec_values, st.floats(0, 1e-3))
def test_outline_distance_of_a_scaled_square(ra: float, dec: float, growth: float) -> None:
    square = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * 0.01
    a, b = _directions(list(map(tuple, square)), ra, dec), _directions(list(map(tuple, square * (1 + growth))), ra, dec)
    expected = math.atan(math.hypot(0.01, 0.01) * (1 + growth)) - math.atan(math.hypot(0.01, 0.01))
    assert float(outline_distance(a, b)) == pytest.approx(expected, abs=2e-15)
    assert float(outline_distance(a, b)) == float(outline_distance(b, a))


def test_distance_in_bulk_is_that_of_each() -> None:
    rng = np.random.default_rng(1)
    polygons = np.stack([_directions([(-0.01, 0), (0.01, 0), (0, 0.01)], *rng.uniform(0, 1.5, 2)) for _ in range(5)])
    points = polygons + rng.normal(scale=1e-4, size=polygons.shape)
    points /= np.linalg.norm(points, axis=-1, keepdims=True)
    together = boundary_distance(points, polygons)
    assert together.tolist() == [boundary_distance(p, q).tolist() for p, q in zip(points, polygons, strict=True)]


@pytest.mark.parametrize("ra", [0, 90, 359.9])
def test_polygons_at_the_pole_and_across_zero(ra: float) -> None:
    """What sphgeom says of a field around the pole, and of one that RA 0 goes through."""
    square = [(-0.02, -0.02), (0.02, -0.02), (0.02, 0.02), (-0.02, 0.02)]
    for dec in (-90.0, 89.5, 90.0, 0.0):
        vertices = field_angle_to_sky(square, math.radians(ra), math.radians(dec), 0.4, flip=True)
        polygon = decoded(encode_polygons(vertices[None])[0])
        assert polygon.contains(UnitVector3d(LonLat.fromDegrees(ra, dec)))
        assert not polygon.contains(UnitVector3d(LonLat.fromDegrees(ra, dec - 3 if dec > 0 else dec + 3)))


@given(st.permutations([0, 1, 2]))
def test_area_of_an_octant(order: list[int]) -> None:
    """An eighth of the sphere; negative if its corners go clockwise."""
    corners = np.eye(3)[order]
    assert polygon_area(corners) == pytest.approx(np.linalg.det(corners) * math.pi / 2, rel=1e-15)


@given(ra_values, dec_values, angles, st.floats(1e-6, 1.5), st.floats(1e-6, 1.5))
def test_area_of_a_rectangle(ra: float, dec: float, rotation: float, x: float, y: float) -> None:
    """A rectangle on the tangent plane is the base of a pyramid, whose solid angle is known."""
    corners = field_angle_to_sky([(-x, y), (x, y), (x, -y), (-x, -y)], ra, dec, rotation)[::-1]
    expected = 4 * math.atan2(x * y, math.sqrt(1 + x**2 + y**2))
    # The corners are rounded by 1e-16, which matters if a side is short.
    assert abs(polygon_area(corners)) == pytest.approx(expected, rel=1e-13 + 1e-15 / min(x, y))


@given(st.lists(field_angles, min_size=4, max_size=20), ra_values, dec_values, st.data())
def test_area_is_that_of_its_parts(
    points: list[tuple[float, float]], ra: float, dec: float, data: st.DataObject
) -> None:
    xy = np.array(points)
    assume(np.linalg.svd(xy - xy.mean(axis=0), compute_uv=False)[1] > 1e-6)
    hull = field_angle_to_sky(xy[plane_hull(xy)], ra, dec, 0.3)
    assume(len(hull) > 3)
    cut = data.draw(st.integers(2, len(hull) - 2))
    turned = np.roll(hull, data.draw(st.integers(0, len(hull) - 1)), axis=0)
    parts = polygon_area(turned[: cut + 1]) + polygon_area(np.concatenate([turned[cut:], turned[:1]]))
    assert parts == pytest.approx(polygon_area(hull), rel=1e-9, abs=1e-18)
