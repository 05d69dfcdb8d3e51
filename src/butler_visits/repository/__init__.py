"""All of the Butler and all SQL: records read and written in bulk, and which camera and which raws apply."""

from .database import in_transaction, is_served, lock_exposures, require_writeable
from .kept import check_kept, open_butler, unharmed
from .reading import (
    datastore_roots,
    expand_collections,
    fetch_bands,
    fetch_detector_names,
    fetch_detector_regions,
    fetch_detectors,
    fetch_detectors_of_visits,
    fetch_exposures,
    fetch_instrument,
    fetch_instruments,
    fetch_visits,
    resolve_instrument,
    select_exposures,
)
from .removing import remove_visits, select_visits
from .retry import GaveUpError, try_again, until_written
from .stored import (
    StoredVisit,
    fetch_exposures_of_visits,
    fetch_exposures_without_visit,
    fetch_visits_of_exposures,
    read_visits,
)
from .writing import Changes, StaleError, register_run, sync_visit_systems, write_changes

__all__ = [
    "Changes",
    "GaveUpError",
    "StaleError",
    "StoredVisit",
    "check_kept",
    "datastore_roots",
    "expand_collections",
    "fetch_bands",
    "fetch_detector_names",
    "fetch_detector_regions",
    "fetch_detectors",
    "fetch_detectors_of_visits",
    "fetch_exposures",
    "fetch_exposures_of_visits",
    "fetch_exposures_without_visit",
    "fetch_instrument",
    "fetch_instruments",
    "fetch_visits",
    "fetch_visits_of_exposures",
    "in_transaction",
    "is_served",
    "lock_exposures",
    "open_butler",
    "read_visits",
    "register_run",
    "remove_visits",
    "require_writeable",
    "resolve_instrument",
    "select_exposures",
    "select_visits",
    "sync_visit_systems",
    "try_again",
    "unharmed",
    "until_written",
    "write_changes",
]
