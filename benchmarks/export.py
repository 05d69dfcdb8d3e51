"""Measure how long ``export`` and ``plot`` take, and how much memory, for many visits of 189 detectors; Linux only."""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lsst.daf.butler import Butler

from butler_visits import DefineVisitsConfig, DefineVisitsTask
from butler_visits.cli.program import butler_visits
from peak_memory import status
from repositories import Place
from simulated_survey import INSTRUMENT


def main() -> None:
    """Make a repository, unless it is there, and write one file of each kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visits", type=int, default=2_000, help="visits of the repository")
    parser.add_argument("--folder", type=Path, help="where to keep the repository, or to find it again")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        repository = (arguments.folder or Path(temporary)) / "repository1"
        if not repository.exists():
            template = Place(repository.parent, None).template(arguments.visits)
            butler = Butler.from_config(template.folder, writeable=True)
            DefineVisitsTask(DefineVisitsConfig(), butler=butler).run(template.exposures)
        for detectors in (False, True):
            wanted = (repository, INSTRUMENT, "--detectors" if detectors else "--visits")
            for ending in (".fits", ".vot", ".ecsv", ".parquet", ".reg"):
                file = Path(temporary) / f"export{ending}"
                what = f"{ending} of {'detectors' if detectors else 'visits'}"
                measure(what, file, partial(command, "export", *wanted, "-o", file))
        picture = Path(temporary) / "visits.png"
        measure("picture", picture, partial(command, "plot", repository, INSTRUMENT, "-o", picture))


def command(*arguments: object) -> None:
    """Run a command of ``butler-visits``."""
    butler_visits.main(list(map(str, arguments)), standalone_mode=False)


def measure(what: str, file: Path, call: Callable[[], None]) -> None:
    """Write a file, and print what it took."""
    gc.collect()
    before = status("VmRSS")
    # Forget the peak so far.
    Path("/proc/self/clear_refs").write_text("5")
    start, cpu = time.perf_counter(), time.process_time()
    call()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(
        f"{what}: {seconds:.1f} s ({cpu:.1f} s of one processor), {file.stat().st_size / 1e6:.1f} MB, "
        f"{(status('VmHWM') - before) / 1024:.0f} MiB more memory at the peak",
        flush=True,
    )


if __name__ == "__main__":
    main()
