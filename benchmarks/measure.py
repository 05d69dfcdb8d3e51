"""Take times, and print them."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable

median = statistics.median


def report(where: str, what: str, ratio: str, details: str) -> None:
    """Print a row of the table."""
    print(f"{where:<12}{what:<50}{ratio:<34}{details}", flush=True)


def timed(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return how many seconds a call takes; of this processor's with the clock `time.process_time`."""
    gc.collect()
    start = clock()
    call()
    return clock() - start


def spread(seconds: dict[str, list[float]], *names: str, unit: str = "s") -> str:
    """Say the median and the range of some measurements."""
    factor = {"s": 1, "ms": 1000}[unit]
    return "; ".join(
        f"{name} {factor * median(values):.3g} {unit} ({factor * min(values):.3g} to {factor * max(values):.3g})"
        for name, values in ((name, seconds[name]) for name in names)
    )
