"""A region algorithm with which workers get into trouble; a module of its own, so that they can import it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any, Final

from lsst.pex.config import Field, registerConfigurable
from sqlalchemy import event

from butler_visits import (
    ComputeVisitRegionsFromSingleRawWcsConfig,
    ComputeVisitRegionsFromSingleRawWcsTask,
    ComputeVisitRegionsTask,
    VisitDefinitionData,
    VisitRegions,
    VisitsError,
)
from visit_tables import engine


class PickyError(VisitsError):
    """An error that can be pickled, but not unpickled."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")


class PickyLookupError(LookupError):
    """An error that cannot be pickled, of a kind that is not ours."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.lock = threading.Lock()


ERRORS: Final[Mapping[str, Callable[[str], BaseException]]] = {
    "AttributeError": AttributeError,
    "ValueError": ValueError,
    "PickyError": lambda text: PickyError(text, "no reason"),
    "PickyLookupError": PickyLookupError,
    "SystemExit": SystemExit,
    "BrokenExecutor": BrokenExecutor,
}


class WorkerTroubleConfig(ComputeVisitRegionsFromSingleRawWcsConfig):
    """Config of `WorkerTroubleTask`."""

    fails = Field[str]("The target whose visits fail.", default="")
    error = Field[str]("What they fail with.", default="ValueError")
    dies = Field[str]("The target whose visits are the end of the process, in the middle of writing.", default="")
    times = Field[int]("How often they are.", default=1)
    deaths = Field[str]("A file with a line for each death.", default="")
    seconds = Field[float]("How long each chunk takes.", default=0.0)


@registerConfigurable("worker-trouble", ComputeVisitRegionsTask.registry)
class WorkerTroubleTask(ComputeVisitRegionsFromSingleRawWcsTask):
    """Fails, takes its time, or kills the process that it runs in."""

    ConfigClass = WorkerTroubleConfig
    config: WorkerTroubleConfig

    def compute_all(
        self, visits: Sequence[VisitDefinitionData], *, collections: Sequence[str] | None = None
    ) -> list[VisitRegions]:
        time.sleep(self.config.seconds)
        targets = {exposure.target_name for visit in visits for exposure in visit.exposures}
        if self.config.fails in targets:
            raise ERRORS[self.config.error](f"no region for {self.config.fails}")
        if self.config.dies in targets:
            deaths = Path(self.config.deaths)
            if len(deaths.read_text().splitlines()) < self.config.times:
                event.listen(engine(self.butler), "after_cursor_execute", self._die)
        return super().compute_all(visits, collections=collections)

    def _die(self, connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO") and "visit_detector_region" in statement:
            with Path(self.config.deaths).open("a") as deaths:
                deaths.write(f"{os.getpid()}\n")
            os.kill(os.getpid(), signal.SIGKILL)
