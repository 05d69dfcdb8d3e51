"""Define the visits of a Rubin-style data repository."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .camera import Camera
    from .camera.store import write_camera
    from .check import CheckReport, Finding, check_visits, repair_visits
    from .config import DefineVisitsConfig
    from .definition import VisitDefinitionData, VisitSystem
    from .errors import (
        CameraFileError,
        CameraFitError,
        CameraLookupError,
        DatabaseError,
        DefinitionError,
        IngestError,
        RawFileError,
        RecordError,
        VisitsError,
        WorkerError,
    )
    from .export import Outline, coverage_moc, ds9_regions, obscore_table, read_outlines
    from .grouping import (
        GroupExposuresByCounterConfig,
        GroupExposuresByCounterTask,
        GroupExposuresByGroupMetadataConfig,
        GroupExposuresByGroupMetadataTask,
        GroupExposuresConfig,
        GroupExposuresOneToOneConfig,
        GroupExposuresOneToOneTask,
        GroupExposuresTask,
    )
    from .ingest import (
        IngestFailure,
        IngestResult,
        InstrumentDescription,
        ingest_raws,
        ingest_table,
        read_description,
        register_instrument,
    )
    from .plan import Action, Difference, Failure, PlannedVisit
    from .regions import (
        ComputeVisitRegionsConfig,
        ComputeVisitRegionsFromAllRawWcsConfig,
        ComputeVisitRegionsFromAllRawWcsTask,
        ComputeVisitRegionsFromSingleRawWcsConfig,
        ComputeVisitRegionsFromSingleRawWcsTask,
        ComputeVisitRegionsTask,
        VisitRegions,
    )
    from .report import plot_coverage, plot_visit
    from .report.page import Page, plan_page, render_page, visits_page
    from .task import DefineVisitsTask
    from .update_regions import update_visit_regions
    from .visit_geometry import VisitGeometry, find_geometries
    from .visit_plan import VisitPlan
    from .worker_pool import WorkerPool

__all__ = [
    "Action",
    "Camera",
    "CameraFileError",
    "CameraFitError",
    "CameraLookupError",
    "CheckReport",
    "ComputeVisitRegionsConfig",
    "ComputeVisitRegionsFromAllRawWcsConfig",
    "ComputeVisitRegionsFromAllRawWcsTask",
    "ComputeVisitRegionsFromSingleRawWcsConfig",
    "ComputeVisitRegionsFromSingleRawWcsTask",
    "ComputeVisitRegionsTask",
    "DatabaseError",
    "DefineVisitsConfig",
    "DefineVisitsTask",
    "DefinitionError",
    "Difference",
    "Failure",
    "Finding",
    "GroupExposuresByCounterConfig",
    "GroupExposuresByCounterTask",
    "GroupExposuresByGroupMetadataConfig",
    "GroupExposuresByGroupMetadataTask",
    "GroupExposuresConfig",
    "GroupExposuresOneToOneConfig",
    "GroupExposuresOneToOneTask",
    "GroupExposuresTask",
    "IngestError",
    "IngestFailure",
    "IngestResult",
    "InstrumentDescription",
    "Outline",
    "Page",
    "PlannedVisit",
    "RawFileError",
    "RecordError",
    "VisitDefinitionData",
    "VisitGeometry",
    "VisitPlan",
    "VisitRegions",
    "VisitSystem",
    "VisitsError",
    "WorkerError",
    "WorkerPool",
    "check_visits",
    "coverage_moc",
    "ds9_regions",
    "find_geometries",
    "ingest_raws",
    "ingest_table",
    "obscore_table",
    "plan_page",
    "plot_coverage",
    "plot_visit",
    "read_description",
    "read_outlines",
    "register_instrument",
    "render_page",
    "repair_visits",
    "update_visit_regions",
    "visits_page",
    "write_camera",
]

_HOMES = {
    "Action": "plan",
    "Camera": "camera",
    "CameraFileError": "errors",
    "CameraFitError": "errors",
    "CameraLookupError": "errors",
    "CheckReport": "check",
    "ComputeVisitRegionsConfig": "regions",
    "ComputeVisitRegionsFromAllRawWcsConfig": "regions",
    "ComputeVisitRegionsFromAllRawWcsTask": "regions",
    "ComputeVisitRegionsFromSingleRawWcsConfig": "regions",
    "ComputeVisitRegionsFromSingleRawWcsTask": "regions",
    "ComputeVisitRegionsTask": "regions",
    "DatabaseError": "errors",
    "DefineVisitsConfig": "config",
    "DefineVisitsTask": "task",
    "DefinitionError": "errors",
    "Difference": "plan",
    "Failure": "plan",
    "Finding": "check",
    "GroupExposuresByCounterConfig": "grouping",
    "GroupExposuresByCounterTask": "grouping",
    "GroupExposuresByGroupMetadataConfig": "grouping",
    "GroupExposuresByGroupMetadataTask": "grouping",
    "GroupExposuresConfig": "grouping",
    "GroupExposuresOneToOneConfig": "grouping",
    "GroupExposuresOneToOneTask": "grouping",
    "GroupExposuresTask": "grouping",
    "IngestError": "errors",
    "IngestFailure": "ingest",
    "IngestResult": "ingest",
    "InstrumentDescription": "ingest",
    "Outline": "export",
    "Page": "report.page",
    "PlannedVisit": "plan",
    "RawFileError": "errors",
    "RecordError": "errors",
    "VisitDefinitionData": "definition",
    "VisitGeometry": "visit_geometry",
    "VisitPlan": "visit_plan",
    "VisitRegions": "regions",
    "VisitSystem": "definition",
    "VisitsError": "errors",
    "WorkerError": "errors",
    "WorkerPool": "worker_pool",
    "check_visits": "check",
    "coverage_moc": "export",
    "ds9_regions": "export",
    "find_geometries": "visit_geometry",
    "ingest_raws": "ingest",
    "ingest_table": "ingest",
    "obscore_table": "export",
    "plan_page": "report.page",
    "plot_coverage": "report",
    "plot_visit": "report",
    "read_description": "ingest",
    "read_outlines": "export",
    "register_instrument": "ingest",
    "render_page": "report.page",
    "repair_visits": "check",
    "update_visit_regions": "update_regions",
    "visits_page": "report.page",
    "write_camera": "camera.store",
}
"""The module that each public name is from.

They are imported when they are first used: ``butler`` imports this package at each start, for its command only.
"""


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(import_module(f"{__name__}.{home}"), name)
