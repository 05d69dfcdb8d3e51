"""Raw headers and tables to exposure records and datasets."""

from .raws import ingest_raws
from .result import Correction, IngestFailure, IngestResult
from .table import ingest_table

__all__ = ["Correction", "IngestFailure", "IngestResult", "ingest_raws", "ingest_table"]
