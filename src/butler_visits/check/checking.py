"""Compare the visits of a repository with what would be computed now."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..define.visits import Options, PlannedVisit, ids_of
from ..errors import VisitsError
from ..lists import batches, batches_of_families
from ..repository import try_again
from ..task import DefineVisitsTask
from .checker import Checker
from .findings import CheckReport, Kind
from .identities import check_identities
from .scope import find_scope

Mend = Callable[[list[PlannedVisit], list[PlannedVisit]], None]
"""Takes the visits of a chunk that can be defined or get detector regions, and those that can get exposures."""


def check_visits(
    task: DefineVisitsTask,
    instrument: str,
    where: str = "",
    *,
    collections: Sequence[str] | None = None,
) -> CheckReport:
    """Compare the visits of a repository with what a task would compute now; reads only.

    Parameters
    ----------
    task : `DefineVisitsTask`
        The task, whose config says what visits are to be.
    instrument : `str`
        Name of the instrument.
    where : `str`, optional
        A Butler expression that selects exposures; these and their visits are checked. The default is all visits.
    collections : `~collections.abc.Sequence` [`str`], optional
        Collections to search for the camera; by default the Butler's own.

    Returns
    -------
    report : `CheckReport`
        What is not as it should be.

    Raises
    ------
    VisitsError
        If the expression selects nothing.
    lsst.daf.butler.InvalidQueryError, OverflowError
        If the expression is wrong.
    """
    return check_and_mend(task, instrument, where, collections, None)


def check_and_mend(
    task: DefineVisitsTask, instrument: str, where: str, collections: Sequence[str] | None, mend: Mend | None
) -> CheckReport:
    """Check visits, and let those be mended that can be.

    Raises `VisitsError` if the expression selects nothing, or if visits are to be mended and all are of other
    groupings; `lsst.daf.butler.InvalidQueryError` or `OverflowError` if the expression is wrong.
    """
    scope = try_again(task.butler, lambda: find_scope(task, instrument, where, collections))
    systems = {system.value for system in task.groupExposures.getVisitSystems()}
    grouping = task.config.groupExposures.name
    if mend is not None and scope.systems and all(systems.isdisjoint(own) for own in scope.systems.values()):
        n = len(scope.systems)
        which = f"The only visit of {instrument} is not" if n == 1 else f"None of the {n} visits of {instrument} is"
        raise VisitsError(
            f"{which} of a visit system of {grouping}. Give the config that they were defined with (-C, -c); to add "
            "visits of another grouping, use define-visits."
        )
    checker = Checker(task, instrument, scope, Options(collections=collections))
    for chunk in batches_of_families(scope.visits, task.config.chunkSize, ids_of):
        checker.to_define, checker.to_complete = [], []
        checker.check_chunk(chunk)
        if mend is not None and (checker.to_define or checker.to_complete):
            mend(checker.to_define, checker.to_complete)
    # Last, because what is computed of their exposures says what detectors they should have.
    unexpected = sorted(scope.joined.keys() - {visit.id for visit in scope.visits})
    for batch in batches(unexpected, task.config.chunkSize):
        checker.check_unexpected(batch)
    order = {kind: number for number, kind in enumerate(Kind)}
    findings = sorted(
        scope.failures + checker.findings + checker.without_camera() + check_identities(task.butler, instrument, scope),
        key=lambda found: (order[found.kind], found.visit or 0, found.exposures, found.detectors),
    )
    n_exposures = len(scope.selected - scope.off_sky)
    n_other = sum(visit in scope.systems and systems.isdisjoint(scope.systems[visit]) for visit in unexpected)
    regions = task.config.computeVisitRegions.name
    n_visits = len(scope.joined) + len(scope.untold)
    return CheckReport(instrument, grouping, regions, n_exposures, n_visits, n_other, findings, scope.untold)
