"""Filters that a description lacks, of many files in one message."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from ..errors import HeaderError, IngestError


def lacks_filter(error: Exception) -> bool:
    """Tell whether a file is refused for its filter."""
    return _filter_mistake(error) is not None


def filters_error(errors: Mapping[str, Exception]) -> IngestError:
    """Make one error of those of several files that are refused for their filters."""
    files: dict[str, list[str]] = defaultdict(list)
    for uri, error in errors.items():
        mistake = _filter_mistake(error)
        files["none" if mistake is None or mistake.value is None else repr(mistake.value)].append(uri)
    filters = ", ".join(f"{name} ({len(uris)}, first in {uris[0]})" for name, uris in sorted(files.items()))
    advice = "add them to filters or to the map of properties.physical_filter"
    if "none" in files:
        advice += ", or give that a default or default_off_sky for files that have none"
    return IngestError(f"{len(errors)} files have filters that the description lacks: {filters}; {advice}.")


def _filter_mistake(error: Exception) -> HeaderError | None:
    mistakes = error.mistakes if isinstance(error, IngestError) else ()
    return next((one for one in mistakes if one.prop == "physical_filter"), None)
