"""Geometry on the sphere: numpy in, numpy out, no Butler."""

from .hulls import plane_hull, sky_hull
from .polygons import boundary_distance, decode_polygon, encode_polygons, outline_distance, polygon_area
from .sphere import ARCSEC, FloatArray, field_angle_to_sky, lon_lat

__all__ = [
    "ARCSEC",
    "FloatArray",
    "boundary_distance",
    "decode_polygon",
    "encode_polygons",
    "field_angle_to_sky",
    "lon_lat",
    "outline_distance",
    "plane_hull",
    "polygon_area",
    "sky_hull",
]
