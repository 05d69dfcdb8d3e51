"""Files that could not be ingested: which of them are bad, and what becomes of those."""

from __future__ import annotations

import logging
import shutil
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from time import monotonic, time

from ..errors import IncompleteFileError, VisitsError
from ..ingest.result import IngestFailure
from ..lists import first_line, printable
from .aside import Aside, Entry
from .places import REMOTE, Signature, local_path
from .settings import Settings
from .tally import BadFile

_LOG = logging.getLogger(__name__)


class AsideFiles(Aside[str]):
    """Files that were set aside, by their places."""

    def __init__(self, settings: Settings, bad: dict[str, BadFile]) -> None:
        """Set files aside, and list those in ``bad`` that are not only incomplete or in others' trouble."""
        super().__init__(settings.first_wait, settings.longest_wait)
        self._settings = settings
        self._bad = bad
        self._unmoved: set[str] = set()

    def drop(self, key: str) -> None:
        super().drop(key)
        self._bad.pop(key, None)
        self._unmoved.discard(key)

    def put_failures(
        self, failures: Iterable[IngestFailure], signatures: dict[str, Signature | None], said: set[str]
    ) -> None:
        """Set files aside that could not be ingested.

        ``signatures``: what they are like, without those whose disk does not answer. ``said``: those that somebody has
        named, who is to hear if they are not there.
        """
        complaints = []
        for failure in failures:
            if (place := failure.source) in signatures:
                complaints.append(self._put_failure(failure, signatures[place], is_said=place in said))
            else:
                self.put_unknown(place)
        complain(complaints)

    def put_unknown(self, place: str) -> None:
        """Set a file aside of which nothing can be told now: it is neither bad nor gone."""
        self.put(place, "its disk does not answer")

    def _put_failure(self, failure: IngestFailure, signature: Signature | None, *, is_said: bool) -> str:
        """Set a file aside, and return what is to be logged."""
        place, reason, kind = failure.source, failure.reason, failure.cause
        is_new = self.put(place, reason)
        entry = self.entries[place]
        if entry.signature != signature:
            # It has changed.
            entry.first = monotonic()
        entry.signature = signature
        is_old = self._is_old(entry)
        if signature is None and not is_said:
            # It is gone: it was given another name, or what it is on is not mounted.
            self._bad.pop(place, None)
            if is_old or self._settings.once:
                self.drop(place)
            return ""
        if issubclass(kind, OSError) and not issubclass(kind, VisitsError):
            return f"{place} has to wait: {reason}" if is_new else ""
        if issubclass(kind, IncompleteFileError) and not is_old:
            # It grows, and only somebody who does not wait for that, or said that it is complete, need hear of it.
            return f"{place} has to wait: {reason}" if is_new and (self._settings.once or is_said) else ""
        is_new |= place not in self._bad
        self._bad[place] = BadFile(place, reason, entry.since, entry.tries)
        if self._settings.move_bad is not None and is_old and (path := local_path(place)) is not None:
            self._move(Path(path), self._settings.move_bad, place)
        return f"{place} is set aside: {reason}" if is_new else ""

    def _is_old(self, entry: Entry) -> bool:
        """Tell whether a file has been bad for so long that it will stay so."""
        if monotonic() - entry.first >= self._settings.give_up:
            return True
        if not self._settings.once or entry.signature is None or entry.signature == REMOTE:
            return False
        # Who looks once knows only how long ago a file was changed.
        return time() - entry.signature[1] / 1e9 >= self._settings.give_up

    def _move(self, source: Path, folder: Path, place: str) -> None:
        """Move a bad file away, of which the list still tells."""
        target, number = folder / source.name, 0
        while target.exists():
            number += 1
            target = folder / f"{source.name}.{number}"
        try:
            shutil.move(source, target)
        except OSError as error:
            if place not in self._unmoved:
                self._unmoved.add(place)
                _LOG.warning("%s cannot be moved to %s: %s. It is tried again.", source, folder, first_line(error))
            return
        _LOG.warning("%s is moved to %s.", printable(str(source)), printable(str(target)))
        super().drop(place)


def complain(complaints: Sequence[str]) -> None:
    """Log why things were set aside: one line for each kind of reason."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for one in filter(None, complaints):
        kinds[_kind_of(one)].append(one)
    for first, *others in kinds.values():
        _LOG.warning("%s%s", printable(first), f" (and {len(others)} more like it)" if others else "")


def _kind_of(complaint: str) -> str:
    """Leave out of a complaint what it says of one file or exposure."""
    return " ".join(word for word in complaint.split() if "/" not in word and not any(map(str.isdigit, word)))
