"""The report page of the current night, made in a process of its own."""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress

from ..errors import require
from .tally import Tally

_LOG = logging.getLogger(__name__)

_COMMAND = "from butler_visits.cli import main; main()"


class NightPage:
    """Keeps the page up to date: at most once in ``interval`` seconds, and once more when the watch has ended.

    A process that takes longer than ``limit`` seconds is ended. What goes wrong is logged once.
    """

    def __init__(
        self,
        repo: str,
        file: str,
        config_file: str | None = None,
        config: Mapping[str, str] | None = None,
        *,
        interval: float = 60,
        limit: float = 600,
    ) -> None:
        require("hpgeom")
        self._repo, self._options = repo, ["-o", file]
        if config_file is not None:
            self._options += ["-C", config_file]
        for name, value in (config or {}).items():
            self._options += ["-c", f"{name}={value}"]
        self._interval, self._limit = interval, limit
        self._child: subprocess.Popen[bytes] | None = None
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        self._begun = -math.inf
        self._shown = 0
        self._failed = ""

    def __call__(self, tally: Tally) -> None:
        """Make the page if it is time for it; when the watch has ended wait for the last one."""
        # Who ends the watch at once does not wait for a page.
        ended = tally.state == "ended" and not isinstance(sys.exception(), KeyboardInterrupt)
        self._look(wait=ended)
        due = ended or time.monotonic() - self._begun >= self._interval
        if self._child is None and due and tally.batches != self._shown and tally.instrument is not None:
            self._start(tally.instrument, tally.day_obs)
            self._shown = tally.batches
            self._look(wait=ended)

    def _start(self, instrument: str, day_obs: int | None) -> None:
        command = [sys.executable, "-P", "-c", _COMMAND, "report", self._repo, instrument, *self._options]
        if day_obs is not None:
            command += ["--where", f"exposure.day_obs = {day_obs}"]
        self._begun = time.monotonic()
        self._said.seek(0)
        self._said.truncate()
        # In a session of its own, because Ctrl-C is for the watch.
        self._child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._said, start_new_session=True
        )
        with suppress(OSError):
            # The watch goes first.
            os.setpriority(os.PRIO_PROCESS, self._child.pid, 10)

    def _look(self, wait: bool) -> None:
        """See whether the process has ended, and how, or wait for that; end one that takes too long."""
        if self._child is None:
            return
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(min(self._limit, 60) if wait else 0)
        late = self._child.poll() is None and (wait or time.monotonic() - self._begun > self._limit)
        if late:
            # So it removes what it has written until then.
            self._child.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(1)
            # One that hangs on a share may not even hear this: nobody waits for it.
            self._child.kill()
        elif self._child.returncode is None:
            return
        reason = f"It takes longer than {self._limit:g} s." if late else self._reason()
        if reason and reason != self._failed:
            _LOG.warning("The page of the night could not be made: %s", reason)
        self._child, self._failed = None, reason

    def _reason(self) -> str:
        """Return what the process said last, if it has failed."""
        if self._child is None or not self._child.returncode:
            return ""
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").split("\n")
        return next(filter(None, reversed(lines)), f"exit status {self._child.returncode}")
