"""Define the visits of a Rubin-style data repository."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .camera import Camera
    from .camera.store import write_camera
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
        VisitsError,
        WorkerError,
    )
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
    from .task import DefineVisitsTask
    from .visit_plan import VisitPlan
    from .worker_pool import WorkerPool

__all__ = [
    "Action",
    "Camera",
    "CameraFileError",
    "CameraFitError",
    "CameraLookupError",
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
    "PlannedVisit",
    "RawFileError",
    "VisitDefinitionData",
    "VisitPlan",
    "VisitRegions",
    "VisitSystem",
    "VisitsError",
    "WorkerError",
    "WorkerPool",
    "ingest_raws",
    "ingest_table",
    "read_description",
    "register_instrument",
    "write_camera",
]

_HOMES = {
    "Action": "plan",
    "Camera": "camera",
    "CameraFileError": "errors",
    "CameraFitError": "errors",
    "CameraLookupError": "errors",
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
    "PlannedVisit": "plan",
    "RawFileError": "errors",
    "VisitDefinitionData": "definition",
    "VisitPlan": "visit_plan",
    "VisitRegions": "regions",
    "VisitSystem": "definition",
    "VisitsError": "errors",
    "WorkerError": "errors",
    "WorkerPool": "worker_pool",
    "ingest_raws": "ingest",
    "ingest_table": "ingest",
    "read_description": "ingest",
    "register_instrument": "ingest",
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
