"""Regions of visits: the base task, and a file for each algorithm."""

from .base import ComputeVisitRegionsConfig, ComputeVisitRegionsTask, VisitRegions
from .single_raw_wcs import (
    ComputeVisitRegionsFromSingleRawWcsConfig,
    ComputeVisitRegionsFromSingleRawWcsTask,
)

__all__ = [
    "ComputeVisitRegionsConfig",
    "ComputeVisitRegionsFromSingleRawWcsConfig",
    "ComputeVisitRegionsFromSingleRawWcsTask",
    "ComputeVisitRegionsTask",
    "VisitRegions",
]
