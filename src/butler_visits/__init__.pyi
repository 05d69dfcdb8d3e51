from .camera import Camera
from .check import CheckReport, Finding, check_visits, repair_visits
from .config import DefineVisitsConfig
from .define.groups import (
    GroupExposuresByCounterAndExposuresConfig,
    GroupExposuresByCounterConfig,
    GroupExposuresByCounterTask,
    GroupExposuresByGroupMetadataConfig,
    GroupExposuresByGroupMetadataTask,
    GroupExposuresConfig,
    GroupExposuresOneToOneConfig,
    GroupExposuresOneToOneTask,
    GroupExposuresTask,
)
from .define.groups import _GroupExposuresByCounterAndExposuresTask as _GroupExposuresByCounterAndExposuresTask
from .define.groups import _GroupExposuresByGroupMetadataTask as _GroupExposuresByGroupMetadataTask
from .define.groups import _GroupExposuresOneToOneTask as _GroupExposuresOneToOneTask
from .define.regions import (
    ComputeVisitRegionsConfig,
    ComputeVisitRegionsFromAllRawWcsConfig,
    ComputeVisitRegionsFromAllRawWcsTask,
    ComputeVisitRegionsFromSingleRawWcsConfig,
    ComputeVisitRegionsFromSingleRawWcsTask,
    ComputeVisitRegionsTask,
)
from .define.regions.single_raw_wcs import (
    _ComputeVisitRegionsFromSingleRawWcsTask as _ComputeVisitRegionsFromSingleRawWcsTask,
)
from .define.visit_plan import VisitPlan
from .define.visits import Action, Difference, Failure, PlannedVisit, VisitDefinitionData, VisitRegions, VisitSystem
from .errors import (
    CameraFileError,
    CameraFitError,
    CameraLookupError,
    ConfigError,
    DatabaseError,
    DefinitionError,
    IngestError,
    RawFileError,
    RecordError,
    VisitsError,
    WorkerError,
)
from .export import Outline, coverage_moc, ds9_regions, obscore_table, read_outlines
from .fitted.geometries import VisitGeometry, find_geometries
from .fitted.update import update_visit_regions
from .ingest import Correction, IngestFailure, IngestResult, ingest_raws, ingest_table
from .instruments.description import InstrumentDescription, read_description
from .redefine import redefine_visits
from .report import plot_coverage, plot_visit
from .report.page import Page, plan_page, render_page, visits_page
from .repository.instruments import register_instrument
from .repository.write_camera import write_camera
from .script import define_visits, defineVisits
from .task import DefineVisitsTask

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
    "ConfigError",
    "Correction",
    "DatabaseError",
    "DefineVisitsConfig",
    "DefineVisitsTask",
    "DefinitionError",
    "Difference",
    "Failure",
    "Finding",
    "GroupExposuresByCounterAndExposuresConfig",
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
    "check_visits",
    "coverage_moc",
    "defineVisits",
    "define_visits",
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
    "redefine_visits",
    "register_instrument",
    "render_page",
    "repair_visits",
    "update_visit_regions",
    "visits_page",
    "write_camera",
]
