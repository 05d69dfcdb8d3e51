"""Raw headers and tables to exposure records, and the instruments that they are from."""

from .description import InstrumentDescription, read_description
from .raws import ingest_raws
from .register import instrument_record, register, register_instrument, stored_description
from .result import IngestFailure, IngestResult
from .table import ingest_table

__all__ = [
    "IngestFailure",
    "IngestResult",
    "InstrumentDescription",
    "ingest_raws",
    "ingest_table",
    "instrument_record",
    "read_description",
    "register",
    "register_instrument",
    "stored_description",
]
