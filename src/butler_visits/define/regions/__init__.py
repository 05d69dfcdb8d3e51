"""Regions of visits: the base task, and a file for each algorithm."""

from .all_raw_wcs import ComputeVisitRegionsFromAllRawWcsConfig, ComputeVisitRegionsFromAllRawWcsTask
from .base import ComputeVisitRegionsConfig, ComputeVisitRegionsTask
from .single_raw_wcs import ComputeVisitRegionsFromSingleRawWcsConfig, ComputeVisitRegionsFromSingleRawWcsTask

__all__ = [
    "ComputeVisitRegionsConfig",
    "ComputeVisitRegionsFromAllRawWcsConfig",
    "ComputeVisitRegionsFromAllRawWcsTask",
    "ComputeVisitRegionsFromSingleRawWcsConfig",
    "ComputeVisitRegionsFromSingleRawWcsTask",
    "ComputeVisitRegionsTask",
]
