"""The watch itself: takes what sources find, batch by batch, until it is told to end."""

from __future__ import annotations

import logging
import os
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from time import monotonic

from lsst.daf.butler import Butler, DimensionRecord
from lsst.resources import ResourcePath

from ..errors import DatabaseError
from ..ingest.files import as_resource
from ..lists import counted, first_line, listed
from ..repository import datastore_roots
from .aside import Aside
from .bad import AsideFiles, complain
from .folders import Folder
from .memory import Memory, Taken
from .places import REMOTE, signatures_of
from .settings import MOST_FILES, Settings
from .signals import ended_by_signals
from .sources import Finished, Found, Lines, Looked, News, Prefix, Source, Trouble, Unsettled
from .tally import Show, Tally
from .trouble import Patience, StoppedError, is_database_trouble
from .work import Exposure, Work

_LOG = logging.getLogger(__name__)

_HEARTBEAT = 5.0
"""Seconds after which the state is shown again where nothing happens."""

_REMOTE_POLL = 30.0
"""Seconds between two listings of a prefix."""

_LAST_LINES = 5.0
"""Seconds in which the lines that were read before the watch is to end must have come."""

_MOST_RETRIED = 100
"""Exposures without visits that are done between two batches of new files, which shall not wait for them.

Those for which it has failed take longer, so there are fewer.
"""


class Watcher:
    """Watches sources, and takes what comes into a repository."""

    def __init__(
        self,
        open_butler: Callable[[], Butler],
        repository: str,
        sources: Sequence[str],
        settings: Settings,
        *,
        shows: Sequence[Show] = (),
        say: Callable[[str], object] = print,
        standard_input: int = 0,
    ) -> None:
        self.tally = Tally(datetime.now(UTC))
        self._settings = settings
        self._open_butler = open_butler
        self._butler: Butler | None = None
        self._names = list(dict.fromkeys(sources))
        self._shows = shows
        self._say = say
        self._standard_input = standard_input
        self._memory = Memory(repository, settings.output_run, settings.images, *self._names)
        self._news: SimpleQueue[News] = SimpleQueue()
        self._fresh: dict[str, Found] = {}
        self._said: set[str] = set()
        self._backlog: deque[Exposure] = deque()
        self._files = AsideFiles(settings, self.tally.bad)
        self._exposures: Aside[Exposure] = Aside(settings.first_wait, settings.longest_wait)
        self._catching_up: set[str] = set()
        self._running: set[str] = set()
        self._sources: list[Source] = []
        self._away: dict[str, str] = {}
        self._stopping = False
        self._stopped = self._last_shown = self._renewed = 0.0
        self._complained: set[str] = set()
        self._patience = Patience(self._wait_for_database, self._reopen, give_up=settings.give_up_database)

    def stop(self) -> bool:
        """Let the watch end after its batch; returns whether that is news.

        May be called by a signal's handler, or another thread.
        """
        is_news, self._stopping = not self._stopping, True
        self._news.put(None)
        return is_news

    @property
    def was_stopped(self) -> bool:
        """Whether somebody wanted it to end."""
        return self._stopping

    @property
    def failed(self) -> list[str]:
        """The files and exposures that are set aside, and the sources that are not there."""
        exposures = (f"exposure {exposure} of {instrument}" for instrument, exposure in self._exposures.entries)
        # Of an incomplete file the next run knows, but not of one that somebody has said.
        files = (place for place in self._files.entries if place in self.tally.bad or place in self._said)
        return [*files, *exposures, *self._away]

    def run(self) -> Tally:
        """Watch until there is nothing more to come, or the watch is told to end."""
        self._show()
        with ended_by_signals(self.stop), self._patience.asked():
            try:
                self._begin()
                self._sources = self._make_sources()
                self._running = {source.name for source in self._sources}
                self._catching_up = set(self._running)
                for source in self._sources:
                    source.start()
                self._loop()
            except StoppedError:
                # What is not done is found at the next start, but for what somebody has said.
                self._say_lost_lines()
            finally:
                for source in self._sources:
                    source.end()
                self._memory.close()
                if self._butler is not None:
                    self._butler.close()
                self._set_state("ended")
        return self.tally

    def _say_lost_lines(self) -> None:
        """Log what was read from the standard input and cannot be taken any more."""
        with suppress(Empty):
            while True:
                self._hear(self._news.get_nowait())
        if lost := sorted(self._said - self._files.entries.keys()):
            _LOG.warning(
                "The database is away, and what was read from the standard input is not taken: %s. Send it again.",
                listed(lost, len(lost)),
            )

    def _begin(self) -> None:
        """Open the repository, and see what is in it."""
        self._butler = self._patience.open(self._open_butler)
        self._set_state("catching up")
        self._work = self._patience.call(self._make_work)
        self._patience.call(self._compare)

    def _make_work(self) -> Work:
        # With the Butler that is open now: it is another one after the database was away.
        assert self._butler is not None
        return Work(self._butler, self._settings)

    def _compare(self) -> list[str]:
        """Forget files that the repository does not have, and find exposures without visits; return these files."""
        missing: set[str] = set()
        gone: set[str] = set()
        for files in self._memory.batches():
            missing.update(self._work.not_stored(files))
            gone.update(
                place for place, is_like in signatures_of(one.place for one in files).items() if is_like is None
            )
            self._show()
        undefined = self._work.undefined()
        # At last, so that nothing is forgotten where the database fails and this is done again.
        self._memory.forget(missing | gone)
        self._backlog.extend(undefined)
        return sorted(missing - gone)

    def _reopen(self) -> None:
        """Open the repository again, which may be restored from a copy, or made anew."""
        try:
            if self._butler is not None:
                self._butler.close()
            self._butler = self._open_butler()
            self._work = self._make_work()
        except Exception as error:
            # It was there, and all was well with it, when the watch began.
            raise DatabaseError(first_line(error)) from error
        now = monotonic()
        self._fresh |= {place: Found(place, is_like, now) for place, is_like in signatures_of(self._compare()).items()}

    def _n_ahead(self) -> int:
        """Count what was found and not taken yet."""
        return self._news.qsize() + len(self._fresh)

    def _make_sources(self) -> list[Source]:
        settings = self._settings
        sources: list[Source] = []
        for name in self._names:
            if name == "-":
                sources.append(Lines(self._news.put, self._standard_input, self._memory.knows, self._n_ahead))
                continue
            place = as_resource(name)
            if place.isLocal:
                own = {os.path.realpath(root.ospath) for root in datastore_roots(self._work.butler) if root.isLocal}
                unsettled = Unsettled(settings.settle, self._memory.knows)
                root = os.path.abspath(place.ospath)
                sources.append(Folder(root, self._news.put, unsettled, poll=settings.poll, once=settings.once, own=own))
            else:
                unsettled = Unsettled(settings.settle, lambda place, _: self._memory.knows(place, REMOTE))
                folder = ResourcePath(name, forceDirectory=True)
                poll = settings.poll or _REMOTE_POLL
                sources.append(Prefix(folder, self._news.put, unsettled, poll=poll, once=settings.once))
        return sources

    def _loop(self) -> None:
        while True:
            self._gather()
            if self._fresh and self._is_time():
                places = list(self._fresh)[:MOST_FILES]
                self._take([self._fresh.pop(place) for place in places])
            if self._stopping and not self._fresh.keys() & self._said and not self._reads_lines():
                return
            if self._backlog:
                some = [self._backlog.popleft() for _ in range(min(_MOST_RETRIED, len(self._backlog)))]
                self._define_again(some)
            elif not self._running and not self._fresh:
                return
            elif due := self._files.take_due(MOST_FILES):
                self._try_again(due)
            elif exposures := self._exposures.take_due(_MOST_RETRIED // 5):
                self._define_again(exposures)
            elif not self._fresh:
                self._rest()

    def _reads_lines(self) -> bool:
        """Tell whether lines may come yet though the watch is to end: what was read is taken."""
        # One that hangs, because a disk does, is not waited for.
        return "-" in self._running and monotonic() - self._stopped < _LAST_LINES

    def _gather(self) -> None:
        """Take the news, and wait for them as long as there is nothing else to do."""
        now = monotonic()
        if self._stopping and not self._fresh and self._reads_lines():
            wait = _LAST_LINES / 50
        elif self._stopping or self._backlog or not self._running or len(self._fresh) >= MOST_FILES:
            wait = 0.0
        elif self._fresh:
            wait = next(iter(self._fresh.values())).arrived + self._settings.batch - now
        else:
            wait = _HEARTBEAT
        for due in (self._files.next_due, self._exposures.next_due):
            if due is not None:
                wait = min(wait, due - now)
        try:
            news = self._news.get(timeout=wait) if wait > 0.0 else self._news.get_nowait()
            while True:
                self._hear(news)
                news = self._news.get_nowait()
        except Empty:
            return

    def _hear(self, news: News) -> None:
        match news:
            case Found(place):
                # What it was like last, and when it came first.
                first = self._fresh.get(place, news)
                self._fresh[place] = news._replace(arrived=first.arrived)
                if news.said:
                    self._said.add(place)
            case Looked(source):
                self._catching_up.discard(source)
            case Finished(source):
                self._running.discard(source)
                self._catching_up.discard(source)
            case Trouble(source, reason):
                self._hear_trouble(source, reason)
            case None:
                self._stopped = monotonic()
                for each in self._sources:
                    each.end()
                self._set_state("stopping")

    def _hear_trouble(self, source: str, reason: str) -> None:
        if not reason:
            if self._away.pop(source, None) is not None:
                _LOG.warning("%s is back.", source)
        elif source not in self._away:
            self._away[source] = reason
            _LOG.warning("%s is away: %s.%s", source, reason, "" if self._settings.once else " It is waited for.")
        if self._settings.once and reason:
            self._running.discard(source)
            self._catching_up.discard(source)

    def _is_time(self) -> bool:
        """Tell whether a batch has been collected."""
        first = next(iter(self._fresh.values()))
        is_over = monotonic() - first.arrived >= self._settings.batch
        return is_over or len(self._fresh) >= MOST_FILES or self._stopping or not self._running

    def _rest(self) -> None:
        """Say that there is nothing to do."""
        if self._away:
            state = f"waiting for {listed(self._away)}"
        else:
            state = "catching up" if self._catching_up else "watching"
        if self._stopping:
            state = "stopping"
        self._set_state(state)
        if monotonic() - self._last_shown >= _HEARTBEAT:
            self._show()

    def _take(self, files: Sequence[Found]) -> None:
        """Ingest files, and define the visits of their exposures."""
        signatures = {file.place: file.signature for file in files}
        ingested = self._patience.call(lambda: self._work.ingest(list(signatures)))
        n_visits = 0
        for instrument, exposures in ingested.exposures.items():
            n_visits += self._define(instrument, exposures)
        if self._settings.transfer != "move":
            self._memory.add(
                Taken(place, *signature, instrument, exposure, detectors)
                for place, (instrument, exposure, detectors) in ingested.files.items()
                if (signature := signatures[place]) is not None
            )
        for place in ingested.files:
            self._files.drop(place)
            self._said.discard(place)
        if ingested.failures:
            # They may have gone, or have grown, in the meantime.
            now = signatures_of(failure.source for failure in ingested.failures)
            self._files.put_failures(ingested.failures, now, self._said)
        # What is not set aside is taken, or gone: if it comes again as it was, it is to be given again.
        for place in signatures.keys() - self._files.entries.keys():
            for source in self._sources:
                source.forget(place)
        self._finish_batch(max(file.arrived for file in files), ingested.n_files, ingested.n_exposures, n_visits)

    def _finish_batch(self, last_arrival: float, n_files: int, n_exposures: int, n_visits: int) -> None:
        """Count a batch, and say it, if it has brought anything."""
        tally = self.tally
        if not (n_files or n_exposures or n_visits):
            self._show()
            return
        tally.files += n_files
        tally.exposures += n_exposures
        tally.batches += 1
        tally.last_batch = datetime.now(UTC)
        tally.lag = max(0.0, monotonic() - last_arrival)
        said = [counted(n_files, "file"), counted(n_exposures, "exposure"), counted(n_visits, "visit")]
        waiting = len(self._files.entries) + len(self._exposures.entries)
        said += [f"{tally.lag:.1f} s behind"] + [f"{waiting} waiting"] * bool(waiting)
        self._say(f"{tally.last_batch:%Y-%m-%dT%H:%M:%SZ} {', '.join(said)}")
        self._show()

    def _define(self, instrument: str, exposures: Sequence[int]) -> int:
        """Define visits, and set aside the exposures for which that is not possible; returns how many are new."""
        defined = self._patience.call(lambda: self._work.define(instrument, exposures))
        for exposure in {*exposures} - defined.failures.keys():
            self._exposures.drop((instrument, exposure))
        complain(
            [
                f"Exposure {exposure} of {instrument} is set aside: {reason}"
                for exposure, reason in defined.failures.items()
                if self._exposures.put((instrument, exposure), reason)
            ]
        )
        self.tally.visits += defined.n_visits
        if defined.last is not None:
            self._note(defined.last)
        return defined.n_visits

    def _note(self, exposure: DimensionRecord) -> None:
        self.tally.last_exposure = exposure.obs_id
        self.tally.instrument = exposure.instrument
        self.tally.day_obs = exposure.day_obs

    def _define_again(self, exposures: Sequence[Exposure]) -> None:
        """Define the visits of exposures that have waited."""
        by_instrument: dict[str, list[int]] = defaultdict(list)
        for instrument, exposure in exposures:
            by_instrument[instrument].append(exposure)
        n_visits = sum(self._define(instrument, some) for instrument, some in by_instrument.items())
        if n_visits:
            self._say(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {counted(n_visits, 'visit')} of exposures that waited")
        self._show()

    def _try_again(self, places: Sequence[str]) -> None:
        """Ingest files that were set aside."""
        now = monotonic()
        if now - self._renewed >= self._settings.longest_wait / 10:
            # Their instrument may be known by now.
            self._renewed = now
            self._renew()
        signatures = signatures_of(places)
        for place in places:
            if place not in signatures:
                self._files.put_unknown(place)
        if signatures:
            self._take([Found(place, signature, now) for place, signature in signatures.items()])

    def _renew(self) -> None:
        """Learn of new instruments; where that fails, what is known already has to do."""
        try:
            # Not the method itself: after the database was away there is other work.
            self._patience.call(lambda: self._work.renew())
        except StoppedError:
            raise
        except Exception as error:
            if is_database_trouble(error):
                raise
            self._complain_once(f"The instruments of the repository cannot be read again: {first_line(error)}")

    def _complain_once(self, complaint: str) -> None:
        if complaint not in self._complained:
            self._complained.add(complaint)
            _LOG.warning("%s", complaint)

    def _wait_for_database(self, reason: str) -> bool:
        """Say that the database is waited for, or without a reason that it is back; returns whether to go on."""
        if not reason:
            self._set_state("catching up")
        elif not self._stopping:
            self._set_state("waiting for the database")
            if monotonic() - self._last_shown >= _HEARTBEAT:
                self._show()
        return not self._stopping

    def _set_state(self, state: str) -> None:
        if state != self.tally.state:
            self.tally.state = state
            self._show()

    def _show(self) -> None:
        self._last_shown = monotonic()
        self.tally.waiting = len(self._files.entries) + len(self._exposures.entries)
        for show in self._shows:
            try:
                show(self.tally)
            except Exception as error:
                # Whatever goes wrong with what is to be seen, the exposures come first.
                self._complain_once(f"What shows the watch failed, which goes on: {first_line(error)}.")
