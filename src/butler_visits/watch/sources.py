"""Where files come from: each source is watched by a thread of its own, so that none waits for another."""

from __future__ import annotations

import logging
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import takewhile
from select import select
from threading import Event, Thread
from time import monotonic
from typing import NamedTuple

from lsst.resources import ResourcePath

from ..errors import VisitsError
from ..ingest.files import file_name
from ..lists import first_line
from .places import REMOTE, Signature, is_raw_name, local_path, remote_size, signature_of_path

_LOG = logging.getLogger(__name__)

_CHECK = 0.1
"""Seconds between two looks of a source that waits for lines at whether the watch is to end."""

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 10.0
"""Seconds before a source is looked for again that went away."""


class Found(NamedTuple):
    """A file that is complete as far as a source can tell."""

    place: str
    signature: Signature | None
    """What it was like; `None` if it is not there."""

    arrived: float
    """By the clock that never jumps."""

    said: bool = False
    """Whether somebody said it, who is to hear if it is not there."""


class Looked(NamedTuple):
    """A source that was looked at as a whole."""

    source: str


class Finished(NamedTuple):
    """A source that has nothing more to give."""

    source: str


class Trouble(NamedTuple):
    """A source that went away; without a reason it is back."""

    source: str
    reason: str


News = Found | Looked | Finished | Trouble | None
"""What a source says; `None` has the watch look what is asked of it."""


class Source(ABC):
    """Watches something, and says what is found."""

    def __init__(self, name: str, tell: Callable[[News], None]) -> None:
        self.name = name
        self._tell = tell
        self._ended = Event()
        self._in_trouble = False

    def start(self) -> None:
        """Begin to watch."""
        # One that waits for a disk or a pipe for good does not keep the process.
        Thread(target=self._run, name=f"watch {self.name}", daemon=True).start()

    def end(self) -> None:
        """Let the thread end."""
        self._ended.set()

    def forget(self, place: str) -> None:  # noqa: B027 (most have nothing to forget)
        """Do not remember that a file was given; called by another thread."""

    def _run(self) -> None:
        wait = _FIRST_WAIT
        while not self._ended.is_set():
            try:
                self._watch()
                self._tell(Finished(self.name))
                return
            except Exception as error:
                # The libraries behind each kind of source raise nearly anything, and it may be back any time.
                if not self._in_trouble:
                    wait = _FIRST_WAIT
                self._in_trouble = True
                self._tell(Trouble(self.name, first_line(error)))
            self._ended.wait(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    def _is_well(self) -> None:
        """Say that the source is back, if it was away."""
        if self._in_trouble:
            self._in_trouble = False
            self._tell(Trouble(self.name, ""))

    @abstractmethod
    def _watch(self) -> None:
        """Watch until there is nothing more to come; raises anything where the source goes away."""


class Unsettled:
    """Files of which no event says that they are complete: they are when they have not changed for a while."""

    def __init__(self, settle: float, knows: Callable[[str, Signature], bool]) -> None:
        self._settle = settle
        self.knows = knows
        # All wait equally long, so they are due in the order in which they came.
        self._waiting: dict[str, tuple[Signature, float]] = {}
        # What was given and is not known: it may be bad, or about to be taken.
        self._given: dict[str, Signature] = {}
        self._given_before: dict[str, Signature] = {}

    def begin_look(self) -> None:
        """Forget what was given and is not seen any more; to be called before all files are seen again."""
        self._given_before, self._given = self._given, {}

    def see(self, place: str, signature: Signature) -> None:
        """Look at a file."""
        if self.knows(place, signature):
            self._waiting.pop(place, None)
        elif signature in (self._given.get(place), self._given_before.get(place)):
            self._given[place] = signature
        elif place not in self._waiting or self._waiting[place][0] != signature:
            self._wait(place, signature)

    def _wait(self, place: str, signature: Signature) -> None:
        self._waiting.pop(place, None)
        self._waiting[place] = signature, monotonic()

    def drop(self, place: str) -> None:
        """Let a file not wait any more: it is complete, or gone."""
        self._waiting.pop(place, None)

    def forget(self, place: str) -> None:
        """Give a file again if it is seen again; may be called by another thread."""
        # In this order, because the other thread may begin a look in between.
        self._given.pop(place, None)
        self._given_before.pop(place, None)

    def due(self) -> list[str]:
        """List the files that have to be looked at again."""
        before = monotonic() - self._settle
        return [place for place, _ in takewhile(lambda one: one[1][1] <= before, self._waiting.items())]

    def settled(self, place: str, signature: Signature | None, *, once: bool) -> bool:
        """Tell whether a file that was due has not changed; one that has goes on to wait, unless that is done once."""
        before, _ = self._waiting.pop(place)
        if signature == before:
            self._given[place] = before
            return True
        if signature is not None and not once:
            self._wait(place, signature)
        return False

    def next_due(self) -> float:
        """Say in how many seconds a file has to be looked at again."""
        for _, since in self._waiting.values():
            return max(0.0, since + self._settle - monotonic())
        return math.inf


class Polled(Source):
    """A source that is looked at as a whole now and then; in between, files may settle."""

    _is_remote = False

    def __init__(
        self, name: str, tell: Callable[[News], None], unsettled: Unsettled, *, poll: float, once: bool
    ) -> None:
        super().__init__(name, tell)
        self._unsettled = unsettled
        self._poll = poll
        self._once = once

    def forget(self, place: str) -> None:
        self._unsettled.forget(place)

    @abstractmethod
    def _look(self) -> None:
        """See all files."""

    @abstractmethod
    def _signature(self, place: str) -> Signature | None:
        """Say what a file is like now; `None` if it is gone."""

    def _wait(self, seconds: float) -> None:
        """Wait, or take what comes in the meantime."""
        self._ended.wait(seconds)

    def _watch(self) -> None:
        while not self._ended.is_set():
            looked = monotonic()
            self._unsettled.begin_look()
            self._look()
            self._is_well()
            self._tell(Looked(self.name))
            while not self._ended.is_set() and (self._once or monotonic() < looked + self._poll):
                wait = self._unsettled.next_due()
                if self._once and wait == math.inf:
                    return
                self._wait(wait if self._once else max(0.0, min(wait, looked + self._poll - monotonic())))
                self._settle()

    def _settle(self) -> None:
        """Give the files that have not changed for a while."""
        for place in self._unsettled.due():
            signature = self._signature(place)
            if self._unsettled.settled(place, signature, once=self._once):
                self._tell(Found(place, REMOTE if self._is_remote else signature, monotonic()))
            elif self._once and signature is not None:
                _LOG.warning("%s is still being written; the next run takes it.", place)


class Lines(Source):
    """Places on the standard input, one a line: whoever writes them says that they are complete."""

    _MOST_AHEAD = 400
    """Lines that wait, before no more are read."""

    def __init__(
        self,
        tell: Callable[[News], None],
        file: int,
        knows: Callable[[str, Signature], bool],
        waiting: Callable[[], int],
    ) -> None:
        super().__init__("-", tell)
        self._file = file
        self._knows = knows
        self._n_waiting = waiting

    def _watch(self) -> None:
        rest = b""
        self._tell(Looked(self.name))
        while True:
            while self._n_waiting() > self._MOST_AHEAD and not self._ended.is_set():
                self._ended.wait(0.05)
            # What is read is taken off the list of whoever writes it, so nothing is read that nobody waits for.
            while not self._ended.is_set() and not select([self._file], [], [], _CHECK)[0]:
                pass
            if self._ended.is_set():
                return
            # All that was read is passed on, so that nothing is lost in a buffer.
            if not (content := os.read(self._file, 1 << 14)):
                break
            *lines, rest = (rest + content).split(b"\n")
            self._pass_on(lines)
        self._pass_on([rest])

    def _pass_on(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            if not (place := os.fsdecode(line).strip()):
                continue
            signature: Signature | None = REMOTE
            if (path := local_path(place)) is not None:
                # The name that it has in a folder that is watched too.
                place = file_name(path)
                with suppress(OSError):
                    signature = signature_of_path(path)
            # What was sent once is often sent again.
            if signature is None or not self._knows(place, signature):
                self._tell(Found(place, signature, monotonic(), said=True))


class Prefix(Polled):
    """A prefix of URIs, which is listed now and then."""

    _is_remote = True

    _WHOLE = frozenset({"s3", "gs"})
    """Schemes of stores whose objects are there as a whole or not at all."""

    def __init__(
        self, uri: ResourcePath, tell: Callable[[News], None], unsettled: Unsettled, *, poll: float, once: bool
    ) -> None:
        super().__init__(str(uri), tell, unsettled, poll=poll, once=once)
        self._uri = uri

    def _look(self) -> None:
        try:
            self._see_all()
        except NotImplementedError as error:
            raise VisitsError(
                f"{self._uri} cannot be listed ({first_line(error)}). Name its files on the standard input, with - "
                "as SOURCE"
            ) from error

    def _see_all(self) -> None:
        for parent, folders, names in self._uri.walk():
            folders.sort()
            for name in sorted(filter(is_raw_name, names)):
                place = str(parent.join(name))
                signature = self._signature(place)
                if signature is not None:
                    self._unsettled.see(place, signature)

    def _signature(self, place: str) -> Signature | None:
        # To ask for the size of what is known would be a request each.
        if self._uri.scheme in self._WHOLE or self._unsettled.knows(place, REMOTE):
            return REMOTE
        size = remote_size(place)
        return None if size is None else (size, 0)
