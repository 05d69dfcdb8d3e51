"""Mend what `DefineVisitsTask` can mend without overwriting anything."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial

from .. import repository
from ..define.clashes import PlannedNames, refuse_names
from ..define.outcome import Outcome
from ..define.plan import plan_visits
from ..define.records import visit_system_records
from ..define.visits import Action, Failure, Options, PlannedVisit, label_of
from ..define.write import write_visits
from ..errors import DefinitionError, noting
from ..lists import counted, isolate, reason_of
from ..task import DefineVisitsTask
from .checking import check_and_mend, check_visits
from .findings import CheckReport, Repair
from .regions import ROUNDING


def repair_visits(
    task: DefineVisitsTask, instrument: str, where: str = "", *, collections: Sequence[str] | None = None
) -> CheckReport:
    """Define visits that are missing, complete groups, and add exposures and detector regions that visits lack.

    Visits that differ from what would be computed are left as they are, because their regions may be fitted ones.
    Each visit is mended whole or not at all, also if this is interrupted.

    Parameters
    ----------
    task : `DefineVisitsTask`
        The task, whose config says what visits are to be.
    instrument : `str`
        Name of the instrument.
    where : `str`, optional
        A Butler expression that selects exposures; these and their visits are mended. The default is all visits.
    collections : `~collections.abc.Sequence` [`str`], optional
        Collections to search for the camera; by default the Butler's own.

    Returns
    -------
    report : `CheckReport`
        What is left to be mended by hand, and what was done.

    Raises
    ------
    VisitsError
        If the expression selects nothing, or if all stored visits are of other groupings.
    lsst.daf.butler.InvalidQueryError, OverflowError
        If the expression is wrong.
    """
    repository.require_writeable(task.butler)
    repair = Repair()
    refused: set[int] = set()
    butler = task.butler

    def mend(to_define: list[PlannedVisit], to_complete: list[PlannedVisit]) -> None:
        systems = visit_system_records(instrument, task.groupExposures.getVisitSystems(), butler.dimensions)
        repository.try_again(butler, lambda: repository.sync_visit_systems(butler, instrument, systems))
        for checked, incremental in ((to_define, False), (to_complete, True)):
            options = Options(
                collections=collections, incremental=incremental, check_detector_regions=True, skip_errors=True
            )
            planned, failed = isolate(partial(_write, task, options), checked)
            failures = [
                Failure(tuple(exposure.id for exposure in one.definition.exposures), reason_of(error))
                for one, error in failed
            ]
            outcome = Outcome.of(planned, failures, options)
            repair.n_new += outcome.n_new
            repair.n_updated += outcome.n_fully_updated + outcome.n_partially_updated
            repair.failures += outcome.failures
            refused.update(one.definition.id for one, _ in failed)

    with noting(lambda: f"at least {counted(repair.n_new + repair.n_updated, 'visit')} were repaired"):
        report = check_and_mend(task, instrument, where, collections, mend)
    if any(finding.repairable for finding in report.findings):
        report = check_visits(task, instrument, where, collections=collections)
    # What could not be repaired now cannot be for the same reason when it is tried again.
    report.findings = [
        dataclasses.replace(finding, repairable=finding.repairable and finding.visit not in refused)
        for finding in report.findings
    ]
    report.repair = repair
    return report


def _write(task: DefineVisitsTask, options: Options, checked: Sequence[PlannedVisit]) -> list[PlannedVisit]:
    """Write visits, all of them or none, if what is stored of them is what was checked."""
    butler = task.butler
    update_obscore = task.config.updateObsCoreTable
    try:
        planned, _ = repository.try_again(
            butler,
            lambda: repository.until_written(
                lambda: _plan(task, options, checked),
                lambda some: write_visits(butler, some, update_obscore=update_obscore),
                lambda some: [one.to_write for one in some],
            ),
        )
    except repository.GaveUpError as error:
        if isinstance(error.reason, repository.StaleError):
            raise DefinitionError(
                f"Another process has changed {label_of(checked)} since the check; check again."
            ) from error
        raise DefinitionError(f"The database refuses {label_of(checked)}: {error}.") from error.reason
    return planned


def _plan(task: DefineVisitsTask, options: Options, checked: Sequence[PlannedVisit]) -> list[PlannedVisit]:
    definitions = [one.definition for one in checked]
    # Whatever tolerance the check has: with another one than rounding, a visit's regions could be of two minds.
    tolerance = min(task.config.regionTolerance, ROUNDING)
    planned = plan_visits(task.butler, definitions, task.computeVisitRegions, options, tolerance)
    for plan, one in zip(planned, checked, strict=True):
        if one.stored is not None:
            # This is what must still be there when it is written: the regions of a fit may have come.
            plan.stored = one.stored
        elif not plan.is_new:
            # Somebody else has defined it.
            plan.action = Action.UNCHANGED
    refuse_names(task.butler, planned, options, PlannedNames())
    return planned
