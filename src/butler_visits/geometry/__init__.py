"""Geometry on the sphere: numpy in, numpy out, no Butler."""

from .hulls import plane_hull, sky_hull
from .polygons import boundary_distance, decode_polygon, encode_polygons, outline_distance, polygon_area
from .sphere import ARCSEC, FloatArray, axes, directions, field_angle_to_sky, largest_distance, lon_lat, ra_dec

__all__ = [
    "ARCSEC",
    "FloatArray",
    "axes",
    "boundary_distance",
    "decode_polygon",
    "directions",
    "encode_polygons",
    "field_angle_to_sky",
    "largest_distance",
    "lon_lat",
    "outline_distance",
    "plane_hull",
    "polygon_area",
    "ra_dec",
    "sky_hull",
]
