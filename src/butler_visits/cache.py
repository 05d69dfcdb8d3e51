"""Where this package keeps what only saves time."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def cache_folder(what: str) -> Path:
    """Return the folder, of those of the user's that may be lost, in which something is kept; it need not be there."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    with suppress(RuntimeError):
        return Path(given if os.path.isabs(given) else "~/.cache").expanduser() / "butler-visits" / what
    # Nothing can be kept there.
    return Path(os.devnull)
