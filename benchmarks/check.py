"""Measure how long ``check`` takes, and how much memory, for many visits of 189 detectors; Linux only."""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from pathlib import Path

from lsst.daf.butler import Butler

from butler_visits import DefineVisitsConfig, DefineVisitsTask
from butler_visits.check import check_visits
from peak_memory import status
from repositories import Place
from simulated_survey import INSTRUMENT


def main() -> None:
    """Make a repository, unless it is there, and check it twice: nothing differs, then every region does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visits", type=int, default=10_000, help="visits of the repository")
    parser.add_argument("--folder", type=Path, help="where to keep the repository, or to find it again")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        if not (folder / "repository1").exists():
            make(folder, arguments.visits)
        butler = Butler.from_config(folder / "repository1")
        measure(butler, "sound", padding=250)
        measure(butler, "every region differs", padding=251)


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
