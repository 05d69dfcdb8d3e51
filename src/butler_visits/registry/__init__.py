"""All reading and writing of dimension records, in bulk; the only room that writes."""

from .database import lock_exposures
from .reading import (
    fetch_bands,
    fetch_detector_names,
    fetch_detector_regions,
    fetch_detectors,
    fetch_detectors_of_visits,
    fetch_exposures,
    fetch_instrument,
    fetch_visits,
    resolve_instrument,
    select_exposures,
)
from .retry import in_transaction, try_again
from .stored import StoredVisit, fetch_exposures_of_visits, fetch_visits_of_exposures, read_visits
from .writing import StaleError, check_detectors, register_run, sync_visit_systems, write_fitted_visits, write_visits

__all__ = [
    "StaleError",
    "StoredVisit",
    "check_detectors",
    "fetch_bands",
    "fetch_detector_names",
    "fetch_detector_regions",
    "fetch_detectors",
    "fetch_detectors_of_visits",
    "fetch_exposures",
    "fetch_exposures_of_visits",
    "fetch_instrument",
    "fetch_visits",
    "fetch_visits_of_exposures",
    "in_transaction",
    "lock_exposures",
    "read_visits",
    "register_run",
    "resolve_instrument",
    "select_exposures",
    "sync_visit_systems",
    "try_again",
    "write_fitted_visits",
    "write_visits",
]
