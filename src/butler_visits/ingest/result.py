"""What an ingest has done."""

from __future__ import annotations

import dataclasses

from lsst.daf.butler import DimensionRecord

from ..define.visits import Difference
from ..errors import VisitsError
from ..lists import counted


@dataclasses.dataclass(frozen=True)
class IngestFailure:
    """A file, or a row of a table, that was not ingested."""

    source: str
    """The file, or the row of the table."""

    reason: str
    """Why; it names the source."""

    cause: type[BaseException] = VisitsError
    """The class of the error."""

    def __str__(self) -> str:
        return self.reason


@dataclasses.dataclass(frozen=True)
class Correction:
    """An exposure whose record is replaced, because it is stored otherwise than a file or a row has it now."""

    source: str
    """The file, or the row of the table."""

    stored: DimensionRecord
    """The ``exposure`` record as it was."""

    record: DimensionRecord
    """The record as it is now."""

    differences: tuple[Difference, ...]
    """The fields that differ."""

    def __str__(self) -> str:
        fields = "; ".join(map(str, self.differences))
        return f"exposure {self.record.id} ({self.record.obs_id}) of {self.record.instrument}: {fields}"


@dataclasses.dataclass
class IngestResult:
    """What an ingest has done."""

    n_files: int = 0
    """Files, or rows of a table, that were given."""

    n_ingested: int = 0
    """Files, or rows, that are in the repository now and were not before."""

    n_skipped: int = 0
    """Files, or rows, that were there already and equal."""

    n_datasets: int = 0
    """``raw`` datasets that are new: one for each detector of a file."""

    n_images: int = 0
    """``raw_image`` datasets that are new, or ``raw_image_untrimmed``."""

    n_exposures: int = 0
    """Exposures that are new."""

    exposures: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    """By instrument the ids of all exposures of the files or rows, new ones and those that were there already."""

    corrections: list[Correction] = dataclasses.field(default_factory=list)
    """Exposures whose records were replaced; without ``update_records`` none."""

    failures: list[IngestFailure] = dataclasses.field(default_factory=list)
    """What was left out, and why; with ``on_error="raise"`` none."""

    def stored(self, what: str) -> str:
        """Say what is stored at least: a batch may be, and not be counted yet."""
        return f"at least {self.n_ingested + self.n_skipped} of {counted(self.n_files, what)} are in the repository"

    @property
    def n_updated(self) -> int:
        """Exposures whose records were replaced."""
        return len(self.corrections)

    @property
    def n_failed(self) -> int:
        """Files, or rows, that were not ingested."""
        return len(self.failures)
