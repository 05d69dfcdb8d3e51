"""Print how much a run's memory grows (KiB, at its peak) beyond what the list of exposures takes."""

from __future__ import annotations

import gc
import resource
import sys

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
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = task.run(exposures)
    assert result.n_new == len(exposures)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


if __name__ == "__main__":
    main()
