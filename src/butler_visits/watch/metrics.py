"""The state of a watch for Prometheus, and all that reads what it reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..errors import VisitsError, require
from .tally import Show, Tally

if TYPE_CHECKING:
    from prometheus_client import Metric

_TAKING = ("catching up", "watching")


def serve(port: int) -> Show:
    """Serve metrics at a port, until the watch has ended."""
    require("prometheus_client")
    from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.registry import Collector

    shown: list[Tally] = []

    class State(Collector):
        def collect(self) -> Iterator[Metric]:
            for tally in shown:
                for name, text, value in _values(tally):
                    family = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
                    yield family(f"butler_visits_{name}", text, value=value)

    registry = CollectorRegistry()
    # Memory and processor time.
    ProcessCollector(registry=registry)
    registry.register(State())
    try:
        server, thread = start_http_server(port, registry=registry)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise VisitsError(f"Metrics cannot be served at port {port}: {reason}. Choose another.") from error

    def show(tally: Tally) -> None:
        # The engine changes it, and what is read here is read at once.
        shown[:] = [tally]
        if tally.state == "ended" and thread.is_alive():
            server.shutdown()
            server.server_close()
            thread.join()

    return show


def _values(tally: Tally) -> Iterator[tuple[str, str, float]]:
    yield "files_total", "Files that were taken.", tally.files
    yield "exposures_total", "Exposures that were stored.", tally.exposures
    yield "visits_total", "Visits that were defined or updated.", tally.visits
    yield "batches_total", "Batches that were stored.", tally.batches
    yield "lag_seconds", "From the last arrival of the last batch until its visits were stored.", tally.lag
    yield "waiting", "Files and exposures that wait: they grow, or were set aside.", tally.waiting
    yield "bad_files", "Files that were set aside.", len(tally.bad)
    yield "watching", "1 while files are taken; 0 at the beginning, in waits and at the end.", tally.state in _TAKING
    yield "start_time_seconds", "When the watch began, since 1970.", tally.since.timestamp()
    if tally.last_batch is not None:
        yield "last_batch_time_seconds", "When the last batch was stored, since 1970.", tally.last_batch.timestamp()
