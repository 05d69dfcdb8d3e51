"""Print how much a run's memory grows (KiB, at its peak) beyond what the list of exposures takes; Linux only."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

from lsst.daf.butler import Butler

from butler_visits import DefineVisitsConfig, DefineVisitsTask
from simulated_survey import INSTRUMENT


def main() -> None:
    """Define the visits of the repository that is named on the command line."""
    butler = Butler.from_config(sys.argv[1], writeable=True)
    with butler.query() as query:
        exposures = list(query.dimension_records("exposure").where(instrument=INSTRUMENT))
    task = DefineVisitsTask(DefineVisitsConfig(), butler=butler)
    gc.collect()
    before = status("VmRSS")
    # Forget the peak so far. getrusage would not do: a child begins with its parent's peak.
    Path("/proc/self/clear_refs").write_text("5")
    result = task.run(exposures)
    assert result.n_new == len(exposures)
    print(status("VmHWM") - before)


def status(field: str) -> int:
    """Read a field of this process's status, KiB."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1])


if __name__ == "__main__":
    main()
