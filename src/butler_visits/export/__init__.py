"""Outlines of visits and detectors, for other tools to read."""

from .columns import BAND_RANGES
from .ds9 import ds9_regions
from .geojson import geojson
from .moc import coverage_moc
from .obscore import obscore_rows, obscore_table, write_obscore_csv, write_obscore_parquet, write_obscore_votable
from .outlines import Outline, read_outlines

__all__ = [
    "BAND_RANGES",
    "Outline",
    "coverage_moc",
    "ds9_regions",
    "geojson",
    "obscore_rows",
    "obscore_table",
    "read_outlines",
    "write_obscore_csv",
    "write_obscore_parquet",
    "write_obscore_votable",
]
