"""The state of a watch, for all that shows it."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from secrets import token_hex

from pydantic import AwareDatetime, TypeAdapter

from ..lists import counted, one_line, printable


@dataclass(frozen=True)
class BadFile:
    """A file that was set aside."""

    path: str
    reason: str
    since: AwareDatetime
    tries: int


@dataclass
class Tally:
    """The state of a watch. Its times are aware, in UTC."""

    since: AwareDatetime
    """When this watch began."""

    state: str = "starting"
    """Starting, catching up, watching, waiting for the database, waiting for SOURCE, stopping or ended."""

    files: int = 0
    exposures: int = 0
    visits: int = 0
    batches: int = 0
    last_exposure: str | None = None
    last_batch: AwareDatetime | None = None
    lag: float = 0.0
    """Seconds from the last arrival of the last batch until its visits were committed."""

    waiting: int = 0
    """Files that grow or were set aside, and exposures that were."""

    bad: dict[str, BadFile] = field(default_factory=dict)
    instrument: str | None = None
    day_obs: int | None = None
    """Instrument and day of the last exposure, for the page of the night."""

    written: AwareDatetime | None = None
    """When it was written to a file."""

    def summary(self) -> str:
        """Say it in one line."""
        said = [counted(self.files, "file"), counted(self.exposures, "exposure"), counted(self.visits, "visit")]
        said += [f"{self.lag:.1f} s behind"] * (self.state != "ended")
        said += [f"{self.waiting} waiting"] * bool(self.waiting) + [counted(len(self.bad), "bad file")] * bool(self.bad)
        return one_line(printable(f"{self.state[:1].upper()}{self.state[1:]}: {', '.join(said)}."))

    def as_json(self) -> str:
        """Write it as JSON."""
        # All other characters that are not printable it writes so itself.
        return json.dumps(asdict(self), indent=2, default=datetime.isoformat).replace("\x7f", r"\u007f") + "\n"

    @staticmethod
    def from_json(text: str) -> Tally:
        """Read what `as_json` wrote; raises `ValueError` for anything else."""
        try:
            return _adapter().validate_python(json.loads(text))
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error


Show = Callable[[Tally], None]
"""What shows a watch: it is called after each batch, at each change of state, and now and then in between."""


@cache
def _adapter() -> TypeAdapter[Tally]:
    return TypeAdapter(Tally)


def write_status(path: Path, tally: Tally) -> None:
    """Write the state into a file, which is replaced whole."""
    _replace(path, dataclasses.replace(tally, written=datetime.now(UTC)).as_json())


def write_bad_files(path: Path, tally: Tally) -> None:
    """Write the bad files as JSON lines into a file, which is replaced whole."""
    _replace(path, "".join(json.dumps(asdict(one), default=datetime.isoformat) + "\n" for one in tally.bad.values()))


def _replace(path: Path, text: str) -> None:
    # A short name, because a file's name can be as long as names may be.
    partial = path.with_name(f".{token_hex(8)}.json")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        with suppress(OSError):
            partial.unlink()
