"""Measure the night: how long it takes from a file to its visit, and whether a watch stays small and keeps up.

Everything is measured in one run. The latency is from the rename of an exposure's last file until the visit is
committed, as SQLite's file says, which is looked at every five milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from lsst.daf.butler import Butler

from butler_visits.instruments.description import InstrumentDescription
from butler_visits.repository.instruments import register_instrument
from measure import report
from simulated_raws import describe, write_raws
from simulated_survey import night

PROGRAM = "from butler_visits.cli import main; main()"
PARTS = ("latency", "many")

N_WARM_UP = 5
"""Exposures before any is measured."""


def main() -> None:
    """Run the benchmarks and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exposures", type=int, default=500, help="exposures of which the latency is measured")
    parser.add_argument("--cron", type=int, default=20, help="exposures for which ingest is started")
    parser.add_argument("--files", type=int, default=20_000, help="files of the long night")
    parser.add_argument("--rate", type=float, default=20.0, help="files of the long night that come in a second")
    parser.add_argument("--parts", nargs="*", default=PARTS, choices=PARTS, help="what to measure; the default is all")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        make_template(folder / "template")
        if "latency" in arguments.parts:
            for n_detectors in (1, 9):
                measure_latency(folder, n_detectors, arguments.exposures, arguments.cron)
        if "many" in arguments.parts:
            measure_many(folder, arguments.files, arguments.rate)


def make_template(path: Path) -> None:
    """Create a repository with the instrument in it."""
    description = InstrumentDescription.from_mapping(describe(), "the simulated instrument")
    register_instrument(Butler.from_config(Butler.makeRepo(path), writeable=True), description)


def science(number: int) -> list[dict[str, Any]]:
    """Take exposures of the sky; each has a visit of its own, with its id or that with a nine before it."""
    return [one for one in night(2 * number + 20) if one["observation_type"] == "science"][:number]


def measure_latency(folder: Path, n_detectors: int, n_exposures: int, n_cron: int) -> None:
    """Compare a watch with starting ``ingest`` for each file."""
    exposures = science(n_exposures + n_cron + N_WARM_UP)
    files = write_raws(folder / "raw", exposures, detectors=range(n_detectors))
    groups = [files[n : n + n_detectors] for n in range(0, len(files), n_detectors)]
    what = f"{n_detectors} detector{'s' * (n_detectors > 1)}"
    processor: dict[str, float] = {}
    for batch in ("0.5", "0"):
        repository = copy_of(folder / "template", folder / "repository")
        with watching(repository, folder / "incoming", "--batch", batch) as watch:
            for group in groups[:N_WARM_UP]:
                latency(group, folder / "incoming", repository)
            before = seconds_of(watch)
            taken = [
                latency(group, folder / "incoming", repository) for group in groups[N_WARM_UP : N_WARM_UP + n_exposures]
            ]
            processor[batch] = (seconds_of(watch) - before) / len(taken)
        name = "default --batch" if batch == "0.5" else f"--batch {batch}"
        details = f"99 %: {np.percentile(taken, 99):.3f} s; {1e3 * processor[batch]:.0f} ms of a processor"
        report("watch", f"{what}, {name}", f"median {np.median(taken):.3f} s", details)
        shutil.rmtree(repository)
    repository = copy_of(folder / "template", folder / "repository")
    begin, before = time.monotonic(), children_seconds()
    for group in groups[-n_cron:]:
        for file in group:
            command = ["ingest", str(repository), str(file), "--define-visits"]
            subprocess.run([sys.executable, "-c", PROGRAM, *command], check=True, stdout=subprocess.DEVNULL)
    cron = (children_seconds() - before) / n_cron
    seconds = (time.monotonic() - begin) / n_cron
    ratios = ", ".join(f"{cron / value:.0f} x --batch {batch}" for batch, value in processor.items())
    report("ingest", f"{what}, started for each file", f"{seconds:.2f} s", f"{cron:.2f} s of a processor: {ratios}")
    shutil.rmtree(repository)
    shutil.rmtree(folder / "raw")


def copy_of(template: Path, path: Path) -> Path:
    shutil.copytree(template, path)
    return path


@contextmanager
def watching(repository: Path, incoming: Path, *options: str) -> Iterator[psutil.Process]:
    """Watch a new folder, until that has begun and to its good end."""
    incoming.mkdir()
    status = repository.parent / "status.json"
    command = ["watch", str(repository), str(incoming), "--status", str(status), *options]
    log = repository.parent / "watch.log"
    with log.open("w") as output:
        child = subprocess.Popen([sys.executable, "-c", PROGRAM, *command], stdout=output, stderr=output)
    try:
        while not status.exists() or json.loads(status.read_text())["state"] != "watching":
            assert child.poll() is None, log.read_text()
            time.sleep(0.05)
        yield psutil.Process(child.pid)
    finally:
        child.send_signal(signal.SIGTERM)
        assert child.wait(120) == 0, log.read_text()
        status.unlink()
        shutil.rmtree(incoming)


def latency(files: Sequence[Path], incoming: Path, repository: Path) -> float:
    """Move an exposure's files into place, and wait for its visits."""
    before = n_visits(repository)
    partial = [shutil.copy(file, incoming / f".{file.name}.part") for file in files]
    for one, file in zip(partial, files, strict=True):
        os.rename(one, incoming / file.name)
    begin = time.perf_counter()
    while n_visits(repository) == before:
        assert time.perf_counter() < begin + 60, files
        time.sleep(0.005)
    seconds = time.perf_counter() - begin
    # Exposures do not come in step with anything.
    time.sleep(random.uniform(0, 0.1))
    return seconds


def n_visits(repository: Path) -> int:
    with sqlite3.connect(f"file:{repository}/gen3.sqlite3?mode=ro", uri=True) as connection:
        (number,) = connection.execute("SELECT count(*) FROM visit_definition").fetchone()
    connection.close()
    return int(number)


def seconds_of(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def children_seconds() -> float:
    times = os.times()
    return times.children_user + times.children_system


def measure_many(folder: Path, n_files: int, rate: float) -> None:
    """Let files come evenly, and see memory and lag."""
    repository = copy_of(folder / "template", folder / "repository")
    files = write_raws(folder / "raw", night(n_files))
    incoming, status = folder / "incoming", folder / "status.json"
    memory: list[tuple[int, float]] = []
    lags: list[tuple[int, float]] = []
    with watching(repository, incoming) as watch:
        begin = time.monotonic()
        for number, file in enumerate(files):
            time.sleep(max(0, begin + number / rate - time.monotonic()))
            file.rename(incoming / file.name)
            if number % 100 == 99:
                state = json.loads(status.read_text())
                lags.append((state["files"], state["lag"]))
                memory.append((state["files"], watch.memory_info().rss / 2**20))
        while json.loads(status.read_text())["files"] < n_files:
            time.sleep(0.5)
        behind = time.monotonic() - begin - n_files / rate
        memory.append((n_files, watch.memory_info().rss / 2**20))
        processor = seconds_of(watch)
    warm = next(size for taken, size in memory if taken >= min(2000, n_files // 2))
    what = f"{n_files} files, {rate:g} a second"
    sizes = ", ".join(f"{size:.0f}" for _, size in memory[:: len(memory) // 10])
    report("watch", what, f"{memory[-1][1] - warm:+.0f} MiB since {min(2000, n_files // 2)} files", f"{sizes} MiB")
    quarters = np.array_split([lag for _, lag in lags], 4)
    shown = ", ".join(f"{np.median(quarter):.2f}" for quarter in quarters)
    report(
        "",
        "",
        f"done {behind:.1f} s after the last",
        f"median lag by quarters {shown} s; {1e3 * processor / n_files:.0f} ms a file",
    )
    shutil.rmtree(repository)
    shutil.rmtree(folder / "raw")


if __name__ == "__main__":
    main()
