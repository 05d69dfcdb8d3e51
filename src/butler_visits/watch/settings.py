"""What a watch is asked to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..ingest.choice import GivenInstrument
from ..ingest.datasets import TransferMode
from ..ingest.images import ImageChoice

MOST_FILES = 200
"""Files of a batch."""


@dataclass(frozen=True)
class Settings:
    """What a watch is asked to do, as the command's options say it; times are seconds."""

    instrument: GivenInstrument | None = None
    translator: str | None = None
    transfer: TransferMode = "direct"
    output_run: str | None = None
    images: ImageChoice = "auto"
    collections: Sequence[str] | None = None
    config_file: str | None = None
    config: Mapping[str, str] = field(default_factory=dict)

    poll: float | None = None
    """Between two looks at a folder or prefix; `None` for inotify where that is to be had."""

    settle: float = 2.0
    """How long a file must not have changed, of which no event says that it is complete."""

    give_up: float = 600.0
    """After which a file that stays incomplete is bad, and one that stays bad is moved."""

    batch: float = 0.5
    """How long files are collected from the first one on."""

    once: bool = False
    """Do what there is to do, and end."""

    give_up_database: bool = False
    """End where the database fails, instead of waiting for it."""

    move_bad: Path | None = None

    first_wait: float = 5.0
    longest_wait: float = 300.0
    """Before what was set aside is tried again: at first, and at most."""
