"""Measure how a second run and ``--prefilter`` grow with the visits that are stored, and the command's memory."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from lsst.daf.butler import Butler

from butler_visits import DefineVisitsConfig, DefineVisitsTask
from measure import median, report, spread, timed
from repositories import Place
from simulated_survey import INSTRUMENT, camera

_ROUNDS = 3

_PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""A small process that starts another one: a child's peak begins with the memory of its parent."""


def measure_survey(place: Place, n_visits: int) -> None:
    """Define a hundredth, a tenth and all of some visits of nine detectors, and run again over them."""
    compare({n: make_survey(place, n) for n in (n_visits // 100, n_visits // 10, n_visits)})


def make_survey(place: Place, n_visits: int) -> Path:
    """Make a repository with visits."""
    template = place.template(n_visits, camera(rafts=1))
    with Butler.from_config(template.folder, writeable=True) as butler:
        DefineVisitsTask(DefineVisitsConfig(), butler=butler).run(template.exposures)
    return template.folder


def compare(folders: Mapping[int, Path]) -> None:
    """Compare runs over all visits of repositories, by their number, the smallest first."""
    measured = {n_visits: _run_again(folder) for n_visits, folder in folders.items()}
    first, *others = measured
    for n_visits in others:
        for what in measured[first]:
            each = {str(n): [seconds / n for seconds in measured[n][what]] for n in (n_visits, first)}
            ratio = median(each[str(n_visits)]) / median(each[str(first)])
            details = f"processor time a visit: {spread(each, *each, unit='ms')}"
            report("SQLite", f"{n_visits:,} visits, {what}", f"{ratio:.2f} x {first:,}, a visit", details)
    command = [
        str(Path(sys.executable).with_name("butler-visits")),
        "define-visits",
        str(folders[n_visits]),
        INSTRUMENT,
    ]
    for options in ([], ["--prefilter"]):
        peak = _peak([*command, *options])
        report("", f"{n_visits:,} visits, the command {' '.join(options)}", f"{peak:.0f} MB at the peak", "")


def _run_again(folder: Path) -> dict[str, list[float]]:
    """Return how long runs over all visits take that are there, seconds of the processor."""
    with Butler.from_config(folder, writeable=True) as butler:
        task = DefineVisitsTask(DefineVisitsConfig(), butler=butler)
        with butler.query() as query:
            exposures = list(query.dimension_records("exposure").where(instrument=INSTRUMENT))
        assert task.run(exposures).n_skipped == len(exposures)
        again, prefilter = partial(task.run, exposures), partial(task.run, exposures, prefilter=True)
        return {
            "second run": [timed(again, time.process_time) for _ in range(_ROUNDS)],
            "prefilter": [timed(prefilter, time.process_time) for _ in range(_ROUNDS)],
        }


def _peak(command: Sequence[str]) -> float:
    """Return the largest resident memory of a command, megabytes."""
    output = subprocess.run([sys.executable, "-c", _PEAK, *command], check=True, capture_output=True, text=True).stdout
    return int(output) * 1024 / 1e6
