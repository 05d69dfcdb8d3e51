"""Metrics of a watch are what Prometheus reads."""

from __future__ import annotations

import socket
import urllib.request
from datetime import UTC, datetime
from urllib.error import URLError

import pytest

from butler_visits.errors import VisitsError
from butler_visits.watch.tally import BadFile, Tally

pytest.importorskip("prometheus_client", reason="prometheus_client is not installed here")

from prometheus_client.parser import text_string_to_metric_families

from butler_visits.watch.metrics import serve

SINCE = datetime(2026, 4, 1, 20, tzinfo=UTC)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def read(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    return {
        sample.name: sample.value for family in families for sample in family.samples if "created" not in sample.name
    }


def ours(port: int) -> dict[str, float]:
    return {name: value for name, value in read(port).items() if name.startswith("butler_visits_")}


def test_values() -> None:
    port = free_port()
    show = serve(port)
    try:
        assert ours(port) == {}
        assert read(port)["process_resident_memory_bytes"] > 0
        tally = Tally(SINCE)
        show(tally)
        assert ours(port)["butler_visits_watching"] == 0
        assert "butler_visits_last_batch_time_seconds" not in ours(port)

        tally.state, tally.last_batch, tally.lag, tally.waiting = "watching", SINCE, 0.25, 1
        tally.files, tally.exposures, tally.visits, tally.batches = 12, 4, 3, 2
        tally.bad["a"] = BadFile("a", "b", SINCE, 1)
        show(tally)
        since = SINCE.timestamp()
        assert ours(port) == {
            "butler_visits_files_total": 12,
            "butler_visits_exposures_total": 4,
            "butler_visits_visits_total": 3,
            "butler_visits_batches_total": 2,
            "butler_visits_lag_seconds": 0.25,
            "butler_visits_waiting": 1,
            "butler_visits_bad_files": 1,
            "butler_visits_watching": 1,
            "butler_visits_start_time_seconds": since,
            "butler_visits_last_batch_time_seconds": since,
        }
    finally:
        show(Tally(SINCE, "ended"))
    with pytest.raises(URLError):
        read(port)


def test_port_that_is_taken() -> None:
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(VisitsError, match=f"at port {port}: Address already in use. Choose another."):
            serve(port)
