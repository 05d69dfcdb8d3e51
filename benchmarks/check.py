"""Measure how long ``check`` takes, and how much memory, for many visits of 189 detectors; Linux only."""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import tempfile
import time
from pathlib import Path

from lsst.daf.butler import Butler

from butler_visits import DefineVisitsConfig, DefineVisitsTask
from butler_visits.check import check_visits
from butler_visits.repository import fetch_instruments
from peak_memory import status
from repositories import Place
from simulated_survey import INSTRUMENT

# What tests share, as for PostgreSQL.
from butler_server import TOKEN, butler_server, move_files  # isort: skip
from object_store import object_store  # isort: skip


def main() -> None:
    """Make a repository, unless it is there, and check it twice: nothing differs, then every region does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visits", type=int, default=10_000, help="visits of the repository")
    parser.add_argument("--folder", type=Path, help="where to keep the repository, or to find it again")
    parser.add_argument("--server", action="store_true", help="check a copy through a Butler server too (Python 3.13)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        if not (folder / "repository1").exists():
            make(folder, arguments.visits)
        butler = Butler.from_config(folder / "repository1")
        measure(butler, "sound", padding=250)
        measure(butler, "every region differs", padding=251)
        if arguments.server:
            measure_served(folder / "repository1", Path(temporary))


def measure_served(repository: Path, folder: Path) -> None:
    """Check a copy of a repository through a Butler server, and say what the server took."""
    served = Path(shutil.copytree(repository, folder / "served"))
    with object_store() as store, butler_server({"served": served}, folder / "log") as (url, process):
        move_files(served, store)
        os.environ |= TOKEN
        butler = Butler.from_config(f"{url}served")
        # What the server does once.
        fetch_instruments(butler)
        for what, padding in (("sound", 250), ("every region differs", 251)):
            before = sum(process.cpu_times()[:2])
            measure(butler, f"through a server, {what}", padding)
            print(f"  {sum(process.cpu_times()[:2]) - before:.1f} s of the server's processor", flush=True)


def make(folder: Path, n_visits: int) -> None:
    """Make a repository and define its visits."""
    template = Place(folder, None).template(n_visits)
    start = time.perf_counter()
    butler = Butler.from_config(template.folder, writeable=True)
    DefineVisitsTask(DefineVisitsConfig(), butler=butler).run(template.exposures)
    print(f"define-visits: {n_visits} visits, {time.perf_counter() - start:.1f} s", flush=True)


def measure(butler: Butler, what: str, padding: int) -> None:
    """Check a repository, and print what it took."""
    config = DefineVisitsConfig()
    config.computeVisitRegions.active.padding = padding
    task = DefineVisitsTask(config, butler=butler)
    gc.collect()
    before = status("VmRSS")
    # Forget the peak so far.
    Path("/proc/self/clear_refs").write_text("5")
    start, cpu = time.perf_counter(), time.process_time()
    report = check_visits(task, INSTRUMENT)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    grown = (status("VmHWM") - before) / 1024
    print(
        f"{what}: {report.n_visits} visits, {len(report.findings)} findings, {seconds:.1f} s ({cpu:.1f} s of one "
        f"processor), {report.n_visits / seconds:.0f} visits a second, {grown:.0f} MiB more memory at the peak",
        flush=True,
    )


if __name__ == "__main__":
    main()
