"""Outlines of visits and detectors, for other tools to read."""

from .ds9 import ds9_regions
from .moc import coverage_moc
from .obscore import obscore_table, write_obscore_parquet, write_obscore_votable
from .outlines import Outline, read_outlines

__all__ = [
    "Outline",
    "coverage_moc",
    "ds9_regions",
    "obscore_table",
    "read_outlines",
    "write_obscore_parquet",
    "write_obscore_votable",
]
