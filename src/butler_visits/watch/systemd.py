"""What systemd is told of a service with ``Type=notify``, as sd_notify(3) describes it."""

from __future__ import annotations

import os
import socket

from .tally import Tally


class Notifier:
    """Tells systemd that the watch is ready, alive, or about to stop; nothing where it was not started by systemd."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        # An abstract socket has a name that begins with a null.
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]
        self._said: set[str] = set()

    def __call__(self, tally: Tally) -> None:
        """Send the state."""
        lines = [f"STATUS={tally.summary()}"]
        if tally.state in ("stopping", "ended"):
            lines += self._once("STOPPING=1")
        elif tally.state != "starting":
            # A watch that waits for its database is ready too: systemd would start it again and again.
            lines += [*self._once("READY=1"), "WATCHDOG=1"]
        if self._address:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                # Systemd may be busy; the watch does not wait for it.
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode(), self._address)
            self._said.update(lines)

    def _once(self, line: str) -> list[str]:
        return [] if line in self._said else [line]
