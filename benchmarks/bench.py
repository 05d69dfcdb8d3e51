"""Measure butler-visits against the classic way and the floor; ``make bench`` runs this.

Everything is measured in one run, in turns, and reported as ratios of medians: figures of two runs, let alone of two
machines, cannot be compared.
"""

from __future__ import annotations

import argparse
import gc
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from lsst.daf.butler import Butler, DimensionRecord

from butler_visits import DefineVisitsConfig, DefineVisitsTask
from butler_visits.camera.yaml_camera import camera_from_mapping
from butler_visits.pointing import Pointings
from butler_visits.regions.footprint import Footprint
from classic import PADDING, ClassicTask, insert_floor
from simulated_survey import INSTRUMENT, insert_exposures, make_repository, night


def main() -> None:
    """Run all benchmarks and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visits", type=int, default=400, help="visits of the speed comparison")
    parser.add_argument("--rounds", type=int, default=5, help="runs of which medians are taken")
    parser.add_argument("--skip-memory", action="store_true", help="leave the slowest part out")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure_runs(Path(folder), arguments.visits, arguments.rounds)
        measure_one_exposure(Path(folder), arguments.rounds)
        measure_geometry(arguments.rounds)
        measure_help(arguments.rounds)
        if not arguments.skip_memory:
            measure_memory(Path(folder))


def report(what: str, ratio: str, details: str) -> None:
    """Print a row of the table."""
    print(f"{what:<44}{ratio:<34}{details}", flush=True)


def measure_runs(folder: Path, n_visits: int, rounds: int) -> None:
    """Compare a first and a second run."""
    template, exposures = make_template(folder / "runs", n_visits)
    records = floor_records(template, exposures)
    seconds: dict[str, list[float]] = {name: [] for name in ("floor", "ours", "ours again", "classic", "classic again")}
    for round_ in range(rounds):
        target = folder / f"floor{round_}"
        butler = copy(template, target)
        seconds["floor"].append(timed(partial(insert_floor, butler, records)))
        shutil.rmtree(target)

        butler = copy(template, target)
        task = DefineVisitsTask(DefineVisitsConfig(), butler=butler)
        seconds["ours"].append(timed(partial(task.run, exposures)))
        seconds["ours again"].append(timed(partial(task.run, exposures)))
        shutil.rmtree(target)

        butler = copy(template, target)
        classic = ClassicTask(butler, INSTRUMENT)
        seconds["classic"].append(timed(partial(classic.run, exposures)))
        seconds["classic again"].append(timed(partial(classic.run, exposures)))
        shutil.rmtree(target)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    what = f"{n_visits} visits of 189 detectors"
    report(f"{what}, first run", f"{medians['ours'] / medians['floor']:.2f} x floor", spread(seconds, "ours", "floor"))
    report("", f"{medians['classic'] / medians['ours']:.1f} x faster than classic", spread(seconds, "classic"))
    faster = f"{medians['classic again'] / medians['ours again']:.0f} x faster than classic"
    report("  second run, nothing to do", faster, spread(seconds, "ours again", "classic again"))


def measure_one_exposure(folder: Path, rounds: int) -> None:
    """Compare single new exposures, given to a task that exists."""
    count = 10 * rounds
    template, exposures = make_template(folder / "one", 3 * count + 2)
    butler = copy(template, folder / "one-copy")
    task, classic = DefineVisitsTask(DefineVisitsConfig(), butler=butler), ClassicTask(butler, INSTRUMENT)
    task.run([exposures.pop()])
    classic.run([exposures.pop()])
    seconds: dict[str, list[float]] = {"ours": [], "classic": [], "floor": []}
    for _ in range(count):
        seconds["ours"].append(timed(lambda: task.run([exposures.pop()])))
        seconds["classic"].append(timed(lambda: classic.run([exposures.pop()])))
        records = classic.records(exposures.pop())
        seconds["floor"].append(timed(partial(insert_floor, butler, records)))
    ratio = statistics.median(seconds["ours"]) / statistics.median(seconds["classic"])
    report("one new exposure", f"{ratio:.2f} x classic", spread(seconds, "ours", "classic", "floor", unit="ms"))


def measure_geometry(rounds: int) -> None:
    """Count detector regions, as encoded polygons, a second; no database."""
    from simulated_survey import camera

    model = camera_from_mapping(camera(), "simulated survey")
    footprint = Footprint(model, PADDING, flip=False)
    rng = np.random.default_rng(1)
    n_pointings = 2000
    pointings = Pointings(*(rng.uniform(low, high, n_pointings) for low, high in ((0, 6.28), (-1.5, 1.5), (0, 6.28))))

    def lift() -> None:
        for start in range(0, n_pointings, 500):
            part = Pointings(*(values[start : start + 500] for values in pointings))
            footprint.visit_polygons(part)
            footprint.detector_polygons(part)

    seconds = {"lift": [timed(lift) for _ in range(rounds)]}
    rate = n_pointings * len(footprint.detector_ids) / statistics.median(seconds["lift"])
    report("pointings to polygon bytes", f"{rate:,.0f} detector regions/s", spread(seconds, "lift"))


def measure_help(rounds: int) -> None:
    """Compare the start of ``butler define-visits`` with that of ``butler`` without the plugin."""
    without = (
        "import sys; from importlib import metadata as m; e = m.entry_points; import lsst.daf.butler.cli.butler as b; "
    )
    without += "b.entry_points = lambda group: [p for p in e(group=group) if p.name != 'butler_visits']; "
    commands = {
        "butler --help": [sys.executable, "-c", without + "sys.argv = ['butler', '--help']; b.main()"],
        "define-visits --help": [
            sys.executable,
            "-c",
            "import sys; import lsst.daf.butler.cli.butler as b; "
            "sys.argv = ['butler', 'define-visits', '--help']; b.main()",
        ],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds + 1):
        for name, command in commands.items():
            seconds[name].append(timed(partial(subprocess.run, command, check=True, stdout=subprocess.DEVNULL)))
    # The first one filled the disk's cache.
    seconds = {name: values[1:] for name, values in seconds.items()}
    ratio = statistics.median(seconds["define-visits --help"]) / statistics.median(seconds["butler --help"])
    report("butler define-visits --help", f"{ratio:.2f} x butler --help", spread(seconds, *seconds))


def measure_memory(folder: Path) -> None:
    """Compare the peak memory of few and of many visits, beyond the list of exposures."""
    peaks = {}
    for n_visits in (500, 5000):
        target = folder / f"memory{n_visits}"
        make_template(target, n_visits)
        output = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("peak_memory.py")), str(target)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        peaks[n_visits] = int(output.split()[-1])
        shutil.rmtree(target)
    few, many = (peak / 1024 for peak in peaks.values())
    report("peak memory, 5,000 visits", f"{many / few:.2f} x 500 visits", f"{many:.0f} MiB, {few:.0f} MiB")


def make_template(target: Path, n_visits: int) -> tuple[Path, list[DimensionRecord]]:
    """Make a repository with exposures on the sky, and return them."""
    butler = make_repository(target)
    rows = [row for row in night(2 * n_visits + 100) if row["observation_type"] == "science"][:n_visits]
    assert len(rows) == n_visits
    insert_exposures(butler, rows)
    with butler.query() as query:
        return target, list(query.dimension_records("exposure").where(instrument=INSTRUMENT))


def floor_records(template: Path, exposures: list[DimensionRecord]) -> dict[str, list[DimensionRecord]]:
    """Make all records that a first run inserts."""
    butler = Butler.from_config(template)
    classic = ClassicTask(butler, INSTRUMENT)
    system = butler.dimensions["visit_system"].RecordClass(instrument=INSTRUMENT, id=0, name="one-to-one")
    records: dict[str, list[DimensionRecord]] = {"visit_system": [system]}
    for exposure in exposures:
        for element, made in classic.records(exposure).items():
            records.setdefault(element, []).extend(made)
    return records


def copy(template: Path, target: Path) -> Butler:
    """Open a fresh copy of a repository."""
    shutil.copytree(template, target)
    return Butler.from_config(target, writeable=True)


def timed(call: Callable[[], object]) -> float:
    """Return how many seconds a call takes."""
    gc.collect()
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def spread(seconds: dict[str, list[float]], *names: str, unit: str = "s") -> str:
    """Say the median and the range of some measurements."""
    factor = {"s": 1, "ms": 1000}[unit]
    return "; ".join(
        f"{name} {factor * statistics.median(values):.3g} {unit} "
        f"({factor * min(values):.3g} to {factor * max(values):.3g})"
        for name, values in ((name, seconds[name]) for name in names)
    )


if __name__ == "__main__":
    main()
