"""What is wrong with the visits of a repository, and a repair of what can be mended safely."""

from .checking import check_visits
from .findings import CheckReport, Finding, Kind, Repair
from .repair import repair_visits

__all__ = ["CheckReport", "Finding", "Kind", "Repair", "check_visits", "repair_visits"]
