"""Processes that begin as forks of a server which has imported everything already: each would take seconds for that."""

from __future__ import annotations

import multiprocessing
import os
import sys
from functools import cache
from multiprocessing.context import ForkServerContext
from multiprocessing.forkserver import ensure_running
from typing import Final

import pytest

_IMPORTED: Final = [
    "butler_visits.ingest",
    "butler_visits.task",
    "command_line",
    "ingest_helpers",
    "lsst.daf.butler.cli.butler",
    "lsst.daf.butler.direct_butler",
    "psycopg",
    "visit_tables",
]


@cache
def children() -> ForkServerContext:
    """Return the way to start such processes; they all have one server, which is started now."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    with pytest.MonkeyPatch.context() as patch:
        # What the server imports must be where it looks.
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        ensure_running()
    return context
