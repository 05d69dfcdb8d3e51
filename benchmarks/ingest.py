"""Measure the ingest of raw files: in batches against file by file, and the memory that it takes.

Everything is measured in one run, in turns: figures of two runs, let alone of two machines, cannot be compared.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from astro_metadata_translator.indexing import calculate_index
from astropy.io import fits
from lsst.daf.butler import Butler

from butler_visits.ingest import ingest_raws
from butler_visits.ingest.indexed import HeaderSource, IndexedFile
from butler_visits.instruments.description import InstrumentDescription
from butler_visits.raws.headers import THREADS
from butler_visits.repository.instruments import register_instrument
from simulated_raws import describe, write_raws
from simulated_survey import camera as simulated_camera
from simulated_survey import night

MEMORY_OF = (500, 2000)
"""Numbers of files of which the peak memory is compared."""

N_INDEXED = 189
"""Files of one exposure that have an index."""

N_WARM_UP = 1000
"""Files that are ingested before memory is measured: SQLAlchemy keeps the last 500 statements, some 20 MiB, and each
batch has new ones because the Butler's temporary tables have random names.
"""


def main() -> None:
    """Run all benchmarks and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=2000, help="files that are ingested in batches")
    parser.add_argument("--one-by-one", type=int, default=200, help="files that are ingested one by one, in each round")
    parser.add_argument("--rounds", type=int, default=3, help="runs of which medians are taken")
    parser.add_argument("--peak-memory", nargs=3, metavar=("REPO", "WARM_UP", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak_memory:
        print_peak_memory(*map(Path, arguments.peak_memory))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write_raws(folder / "raw", night(arguments.files + N_WARM_UP))
        files, warm_up = files[:-N_WARM_UP], files[-N_WARM_UP:]
        make_template(folder / "template")
        measure_speed(folder, files, arguments.one_by_one, arguments.rounds)
        measure_index(folder, arguments.rounds)
        measure_memory(folder, files, warm_up)


def make_template(path: Path) -> None:
    """Create a repository with the instrument in it."""
    description = InstrumentDescription.from_mapping(describe(), "the simulated instrument")
    register_instrument(Butler.from_config(Butler.makeRepo(path), writeable=True), description)


def measure_speed(folder: Path, files: list[Path], n_one_by_one: int, rounds: int) -> None:
    """Compare batches with one transaction for each file, per file."""
    seconds: dict[str, list[float]] = {"batches": [], "one by one": [], "again": []}
    few = files[:: max(1, len(files) // n_one_by_one)]
    for round_ in range(rounds):
        repository = folder / f"batches{round_}"
        shutil.copytree(folder / "template", repository)
        seconds["batches"].append(timed(repository, files) / len(files))
        seconds["again"].append(timed(repository, files, n_new=0) / len(files))
        shutil.rmtree(repository)
        repository = folder / f"one_by_one{round_}"
        shutil.copytree(folder / "template", repository)
        seconds["one by one"].append(timed(repository, few, batch_size=1) / len(few))
        shutil.rmtree(repository)
    medians = {what: statistics.median(values) for what, values in seconds.items()}
    for what, values in seconds.items():
        shown = ", ".join(f"{1e3 * value:.1f}" for value in sorted(values))
        print(f"{what:<12} {1e3 * medians[what]:6.1f} ms a file (median of {shown})")
    print(
        f"{len(files)} files in batches are {medians['one by one'] / medians['batches']:.1f} x faster than one by one."
    )


def measure_index(folder: Path, rounds: int) -> None:
    """Compare the headers of a camera's raws with an index of them, read alone and with all that an ingest does."""
    camera = simulated_camera(rafts=21)
    files = write_raws(folder / "indexed", night(1), detectors=range(N_INDEXED), camera=camera)
    for file in files:
        os.utime(file, (0, 0))
    headers: dict[str, Any] = {file.name: dict(fits.getheader(file)) for file in files}
    (folder / "indexed" / "_index.json").write_text(json.dumps(calculate_index(headers, "metadata")))
    description = InstrumentDescription.from_mapping(describe(camera), "the simulated instrument")
    register_instrument(Butler.from_config(Butler.makeRepo(folder / "camera"), writeable=True), description)
    seconds: dict[tuple[str, bool], list[float]] = defaultdict(list)
    for round_ in range(rounds):
        for index in (False, True):
            begin = time.perf_counter()
            found = HeaderSource(None, (), THREADS, use_index=index).read([str(file) for file in files])
            seconds["headers", index].append(time.perf_counter() - begin)
            assert all(isinstance(one, IndexedFile) == index for one in found)
            repository = folder / f"index{round_}{index}"
            shutil.copytree(folder / "camera", repository)
            seconds["ingest", index].append(timed(repository, files, index=index))
            shutil.rmtree(repository)
    for what in ("headers", "ingest"):
        raws, indexed = (1e3 * statistics.median(seconds[what, index]) for index in (False, True))
        print(f"{what:<12} {raws:6.0f} ms for {N_INDEXED} raws, {indexed:.0f} ms with an index of them")


def timed(repository: Path, files: list[Path], *, n_new: int | None = None, **options: int) -> float:
    """Ingest files and return the seconds that it takes."""
    butler = Butler.from_config(repository, writeable=True)
    gc.collect()
    begin = time.perf_counter()
    result = ingest_raws(butler, files, **options)  # type: ignore[arg-type]
    seconds = time.perf_counter() - begin
    assert result.n_ingested == (len(files) if n_new is None else n_new)
    return seconds


def measure_memory(folder: Path, files: list[Path], warm_up: list[Path]) -> None:
    """Compare the peak memory of few and of many files, each in a process of its own."""
    peaks = {}
    for number in (some for some in MEMORY_OF if some <= len(files)):
        repository, raws = folder / f"memory{number}", folder / f"raws{number}"
        shutil.copytree(folder / "template", repository)
        for part, some in (("warm_up", warm_up), ("files", files[:number])):
            (raws / part).mkdir(parents=True)
            for file in some:
                (raws / part / file.name).hardlink_to(file)
        command = [sys.executable, __file__, "--peak-memory", *map(str, (repository, raws / "warm_up", raws / "files"))]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks[number] = int(done.stdout.splitlines()[-1]) / 1024
    shown = ", ".join(f"{peak:.0f} MiB for {number} files" for number, peak in peaks.items())
    print(f"Memory at its peak, beyond what is there before: {shown}.")


def print_peak_memory(repository: Path, warm_up: Path, folder: Path) -> None:
    """Ingest a folder, and print how much the memory grows at its peak (KiB); Linux only."""
    butler = Butler.from_config(repository, writeable=True)
    ingest_raws(butler, [warm_up])
    gc.collect()
    before = status("VmRSS")
    # Forget the peak so far. getrusage would not do: a child begins with its parent's peak.
    Path("/proc/self/clear_refs").write_text("5")
    result = ingest_raws(butler, [folder])
    assert result.n_ingested == len(list(folder.iterdir()))
    print(status("VmHWM") - before)


def status(field: str) -> int:
    """Read a field of this process's status, KiB."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1])


if __name__ == "__main__":
    main()
