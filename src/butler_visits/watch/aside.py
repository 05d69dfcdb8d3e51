"""What was set aside, and when it is tried again."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Generic, TypeVar

from .places import Signature

_K = TypeVar("_K", bound=Hashable)


@dataclass
class Entry:
    """Something that was set aside, and why."""

    reason: str = ""
    tries: int = 0
    due: float = 0.0
    first: float = field(default_factory=monotonic)
    """When it was set aside, by the clock that never jumps; ``since`` is for people."""

    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    signature: Signature | None = None
    """What a file was like."""


class Aside(Generic[_K]):
    """Keeps things until they are due, each time after twice the wait."""

    def __init__(self, first_wait: float, longest_wait: float) -> None:
        self._waits = first_wait, longest_wait
        self._heap: list[tuple[float, int, _K]] = []
        self._count = 0
        self.entries: dict[_K, Entry] = {}

    def put(self, key: _K, reason: str) -> bool:
        """Set something aside, perhaps again; returns whether that or the reason is new."""
        first, longest = self._waits
        entry = self.entries.setdefault(key, Entry())
        is_new = entry.reason != reason
        entry.reason = reason
        entry.due = monotonic() + min(first * 2.0 ** min(entry.tries, 30), longest)
        entry.tries += 1
        # Another number for each, because not all keys can be compared.
        self._count += 1
        heapq.heappush(self._heap, (entry.due, self._count, key))
        return is_new

    def drop(self, key: _K) -> None:
        """Forget something that is well, or gone."""
        self.entries.pop(key, None)

    def _clean(self) -> None:
        """Drop from the heap what is not set aside any more, or later."""
        while self._heap and self._due_of(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)

    def _due_of(self, key: _K) -> float | None:
        return self.entries[key].due if key in self.entries else None

    @property
    def next_due(self) -> float | None:
        """When something is due next."""
        self._clean()
        return self._heap[0][0] if self._heap else None

    def take_due(self, most: int) -> list[_K]:
        """Return what is due; it stays set aside until it is dropped, but is not due before it is put again."""
        keys: list[_K] = []
        now = monotonic()
        while len(keys) < most and (due := self.next_due) is not None and due <= now:
            keys.append(heapq.heappop(self._heap)[2])
        return keys
