"""Measure butler-visits against the classic way and the floor, on SQLite and on PostgreSQL; ``make bench`` runs this.

Everything is measured in one run, in turns, and reported as ratios of medians: figures of two runs, let alone of two
machines, cannot be compared.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from lsst.daf.butler import Butler

from butler_visits import DefineVisitsConfig, DefineVisitsTask
from butler_visits.camera.yaml_camera import camera_from_mapping
from butler_visits.define.pointings import Pointings
from butler_visits.define.regions.footprint import Footprint
from classic import PADDING, ClassicTask, floor_records, insert_floor, visit_records
from measure import median, report, spread, timed
from repositories import Cluster, Place, find_programs, size
from simulated_survey import camera
from survey import measure_survey

PARTS = ("runs", "one", "workers", "growth", "geometry", "help", "memory", "survey")


def main() -> None:
    """Run the benchmarks and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visits", type=int, default=400, help="visits of the speed comparison")
    parser.add_argument("--rounds", type=int, default=5, help="runs of which medians are taken")
    parser.add_argument("--parts", nargs="*", default=PARTS, choices=PARTS, help="what to measure; the default is all")
    parser.add_argument("--survey", type=int, default=100_000, help="visits of the largest repository")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        places = [Place(folder / "sqlite", None)]
        if (programs := find_programs()) is not None:
            places.append(Place(folder / "postgresql", stack.enter_context(Cluster(programs))))
        else:
            print("PostgreSQL's server is not installed here, so it is left out.")
        for place in places:
            if "runs" in arguments.parts:
                measure_runs(place, arguments.visits, arguments.rounds)
            if "one" in arguments.parts:
                measure_one_exposure(place, arguments.rounds)
            if "workers" in arguments.parts:
                measure_workers(place, arguments.visits, arguments.rounds)
            if "growth" in arguments.parts:
                measure_growth(place)
        if "geometry" in arguments.parts:
            measure_geometry(arguments.rounds)
        if "help" in arguments.parts:
            measure_help(arguments.rounds)
        if "memory" in arguments.parts:
            measure_memory(places[0])
        if "survey" in arguments.parts:
            measure_survey(places[0], arguments.survey)


def measure_runs(place: Place, n_visits: int, rounds: int) -> None:
    """Compare a first and a second run."""
    template = place.template(n_visits)
    exposures = template.exposures
    with place.copy(template) as butler:
        visits = visit_records(butler, exposures)
        records = floor_records(butler, visits.values())
        empty = size(butler)
    seconds: dict[str, list[float]] = {name: [] for name in ("floor", "ours", "ours again", "classic", "classic again")}
    for _ in range(rounds):
        with place.copy(template) as butler:
            seconds["floor"].append(timed(partial(insert_floor, butler, records)))
        with place.copy(template) as butler:
            task = make_task(butler)
            seconds["ours"].append(timed(partial(task.run, exposures)))
            seconds["ours again"].append(timed(partial(task.run, exposures)))
            grown = size(butler) - empty
        with place.copy(template) as butler:
            classic = ClassicTask(butler, visits)
            seconds["classic"].append(timed(partial(classic.run, exposures)))
            seconds["classic again"].append(timed(partial(classic.run, exposures)))
    ratio = median(seconds["ours"]) / median(seconds["floor"])
    what = f"{n_visits} visits of 189 detectors, first run"
    report(place.name, what, f"{ratio:.2f} x floor", spread(seconds, "ours", "floor"))
    faster = median(seconds["classic"]) / median(seconds["ours"])
    report("", "", f"{faster:.1f} x faster than classic", spread(seconds, "classic"))
    faster = median(seconds["classic again"]) / median(seconds["ours again"])
    again = spread(seconds, "ours again", "classic again")
    report("", "second run, nothing to do", f"{faster:.0f} x faster than classic", again)
    report("", "the database's growth", f"{grown / n_visits / 1024:.0f} KiB a visit", "")


def measure_one_exposure(place: Place, rounds: int) -> None:
    """Compare single new exposures, given to a task that exists."""
    count = 10 * rounds
    template = place.template(3 * count + 2)
    exposures = template.exposures
    with place.copy(template) as butler:
        visits = visit_records(butler, exposures)
        task, classic = make_task(butler), ClassicTask(butler, visits)
        known = exposures.pop()
        task.run([known])
        classic.run([exposures.pop()])
        seconds: dict[str, list[float]] = {"ours": [], "classic": [], "floor": [], "known": []}
        for _ in range(count):
            seconds["ours"].append(timed(lambda: task.run([exposures.pop()])))
            seconds["classic"].append(timed(lambda: classic.run([exposures.pop()])))
            seconds["floor"].append(timed(partial(insert_floor, butler, visits[exposures.pop().id])))
            seconds["known"].append(timed(lambda: task.run([known])))
    ratio = median(seconds["ours"]) / median(seconds["classic"])
    details = spread(seconds, "ours", "classic", "floor", unit="ms")
    report(place.name, "one new exposure", f"{ratio:.2f} x classic", details)
    report(
        "",
        "one exposure that is known",
        f"{1000 * median(seconds['known']):.1f} ms",
        spread(seconds, "known", unit="ms"),
    )


def measure_workers(place: Place, n_visits: int, rounds: int) -> None:
    """Compare local pools of one and two workers, which run already, with each other and with a run in this process."""
    template = place.template(n_visits)
    seconds: dict[str, list[float]] = {"one": [], "two": [], "none": [], "one counts": [], "two count": []}
    context = get_context("forkserver")
    with ProcessPoolExecutor(1, context) as one, ProcessPoolExecutor(2, context) as two:
        for _ in range(rounds):
            for name, pool in {"one": one, "two": two, "none": None}.items():
                with place.copy(template) as butler:
                    task = make_task(butler)
                    if pool is not None:
                        # So that all have started. Opening the repository is a part of each run, as it is for users.
                        list(pool.map(count_up, [10_000_000] * 2))
                    seconds[name].append(timed(partial(task.run, template.exposures, executor=pool)))
            for name, pool in {"one counts": one, "two count": two}.items():
                seconds[name].append(timed(partial(count_twice, pool)))
    ratio = median(seconds["one"]) / median(seconds["two"])
    what = f"{n_visits} visits of 189 detectors, two workers"
    details = spread(seconds, "two", "one")
    report(place.name, what, f"{ratio:.2f} x faster than one", details)
    ratio = median(seconds["none"]) / median(seconds["two"])
    report("", "", f"{ratio:.2f} x faster than none", spread(seconds, "none"))
    ratio = median(seconds["one counts"]) / median(seconds["two count"])
    report("", "  two workers that count only", f"{ratio:.2f} x faster than one", spread(seconds, "two count"))


def count_twice(pool: Executor) -> None:
    """Let workers do something without a database."""
    list(pool.map(count_up, [20_000_000] * 2))


def count_up(number: int) -> int:
    """Keep a core busy."""
    return sum(range(number))


def measure_growth(place: Place) -> None:
    """See how time grows with the visits that are there, with a camera of nine detectors."""
    step, steps = 1000, 10
    template = place.template(step * steps, camera(rafts=1))
    with place.copy(template) as butler:
        task = make_task(butler)
        parts = [template.exposures[step * i : step * (i + 1)] for i in range(steps)]
        seconds = {"each thousand": [timed(partial(task.run, part)) for part in parts]}
        first, last = seconds["each thousand"][0], seconds["each thousand"][-1]
        again = timed(partial(task.run, template.exposures))
    report(
        place.name,
        "10,000 visits of 9 detectors, the last thousand",
        f"{last / first:.2f} x the first thousand",
        f"last {last:.3g} s; first {first:.3g} s; {spread(seconds, *seconds)}; all again {again:.3g} s",
    )
    seconds = {name: [] for name in ("1,000 at once", "10,000 at once")}
    for _ in range(3):
        for name, part in zip(seconds, (parts[0], template.exposures), strict=True):
            with place.copy(template) as butler:
                seconds[name].append(timed(partial(make_task(butler).run, part)))
    ratio = median(seconds["10,000 at once"]) / median(seconds["1,000 at once"])
    report("", "10,000 visits of 9 detectors, at once", f"{ratio:.1f} x 1,000 visits", spread(seconds, *seconds))


def measure_geometry(rounds: int) -> None:
    """Count detector regions, as encoded polygons, a second; no database."""
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
    rate = n_pointings * len(footprint.detector_ids) / median(seconds["lift"])
    report("", "pointings to polygon bytes", f"{rate:,.0f} detector regions/s", spread(seconds, "lift"))


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
    ratio = median(seconds["define-visits --help"]) / median(seconds["butler --help"])
    report("", "butler define-visits --help", f"{ratio:.2f} x butler --help", spread(seconds, *seconds))


def measure_memory(place: Place) -> None:
    """Compare the peak memory of few and of many visits, beyond the list of exposures."""
    peaks = {}
    for n_visits in (500, 5000):
        template = place.template(n_visits)
        output = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("peak_memory.py")), str(template.folder)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        peaks[n_visits] = int(output.split()[-1])
    few, many = (peak / 1024 for peak in peaks.values())
    report(place.name, "peak memory, 5,000 visits", f"{many / few:.2f} x 500 visits", f"{many:.0f} MiB, {few:.0f} MiB")


def make_task(butler: Butler) -> DefineVisitsTask:
    """Make a task with the default config."""
    return DefineVisitsTask(DefineVisitsConfig(), butler=butler)


if __name__ == "__main__":
    main()
