"""Try in a process of its own what native code makes of foreign bytes: a crash, a hang or a flood stays in there.

The process imports what the tried function needs and nothing else, and is limited in memory and time.
"""

from __future__ import annotations

import importlib
import os
import resource
import signal
import subprocess
import sys

from .lists import first_line

CPU_SECONDS = 30
"""For any data; each two megabytes may take one more: a camera of 100,000 detectors takes 20 seconds."""
MEMORY = 2**30
"""Bytes of address space, of which Python and its libraries take a third; twenty times the data come on top."""

_CHILD = "from butler_visits.trial import _child; _child()"
_FAILED = 3


def find_problem(function: str, data: bytes, *arguments: str) -> str:
    """Call a function, named as module:function, with bytes and texts in a child process.

    Returns what goes wrong in a few words; nothing if nothing does.
    """
    seconds = CPU_SECONDS + len(data) // 2_000_000
    limits = (str(MEMORY + 20 * len(data)), str(seconds))
    # It finds what this process has found. Threads of numpy's libraries would take address space for each core.
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    environment = {**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    try:
        # A new process and not a fork, which would be one of a process with threads.
        done = subprocess.run(
            [sys.executable, "-P", "-c", _CHILD, *limits, function, *arguments],
            input=data,
            capture_output=True,
            timeout=4 * seconds,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"reading it takes more than {4 * seconds} seconds"
    except OSError as error:
        return f"a process to try it in cannot be started: {first_line(error)}"
    if done.returncode == 0:
        return ""
    if done.returncode == _FAILED:
        return done.stdout.decode(errors="replace")
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return f"reading it takes more than {seconds} seconds"
    if done.returncode < 0:
        return f"a process that read it was ended by {signal.Signals(-done.returncode).name}"
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return f"a process that read it ended with status {done.returncode}: {said[-1] if said else ''}"


def _child() -> None:
    """Call the function that the command line names with what comes from standard input."""
    memory, seconds, function, *arguments = sys.argv[1:]
    for kind, value in (
        (resource.RLIMIT_AS, int(memory)),
        (resource.RLIMIT_CPU, int(seconds)),
        (resource.RLIMIT_CORE, 0),
    ):
        _, most = resource.getrlimit(kind)
        resource.setrlimit(kind, (value if most == resource.RLIM_INFINITY else min(value, most), most))
    module, name = function.split(":")
    try:
        getattr(importlib.import_module(module), name)(sys.stdin.buffer.read(), *arguments)
    except MemoryError:
        problem = "reading it takes too much memory"
    except Exception as error:
        # Whatever it is, the file is not read where it would matter.
        problem = first_line(error)
    else:
        return
    sys.stdout.write(problem)
    sys.stdout.flush()
    os._exit(_FAILED)
