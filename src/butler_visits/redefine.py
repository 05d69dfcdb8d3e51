"""Bring visits up to date whose exposures were corrected."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Literal

from lsst.daf.butler import DimensionRecord
from lsst.pipe.base import Struct

from . import repository
from .define.pointings import is_on_sky, saw_sky
from .lists import id_batches, isolate
from .task import DefineVisitsTask

_LOG = logging.getLogger(__name__)


def redefine_visits(
    task: DefineVisitsTask,
    instrument: str,
    exposures: Iterable[int],
    former: Iterable[DimensionRecord] = (),
    *,
    on_error: Literal["raise", "skip"] = "raise",
) -> Struct:
    """Update the visits of exposures whose records were corrected, and of the groups that they were in before.

    Visits that exist are replaced with their detector regions, also regions of an astrometric fit. An exposure that is
    not on the sky any more is a warning that names its visits, because no exposure is ever removed from a visit.

    Parameters
    ----------
    task : `DefineVisitsTask`
        The task, whose config says what visits are to be.
    instrument : `str`
        Name of the instrument.
    exposures : `~collections.abc.Iterable` [`int`]
        Ids of the exposures.
    former : `~collections.abc.Iterable` [`lsst.daf.butler.DimensionRecord`], optional
        Their records as they were, such as ``stored`` of what `IngestResult` has in ``corrections``. Without them the
        former groups are those whose visits the exposures are in.
    on_error : `str`, optional
        As for `DefineVisitsTask.run`.

    Returns
    -------
    result : `lsst.pipe.base.Struct`
        As `DefineVisitsTask.run` returns, with ``update_records`` and ``incremental``.

    Raises
    ------
    lsst.daf.butler.registry.ConflictingDefinitionError, RuntimeError, LookupError, TypeError
        As `DefineVisitsTask.run` does.
    """
    butler = task.butler
    corrected = set(exposures)
    visits = repository.fetch_visits_of_exposures(butler, instrument, corrected)
    in_visits = repository.fetch_exposures_of_visits(butler, instrument, set().union(*visits.values()))
    wanted = corrected.union(*in_visits.values())
    before = {record.id: record for record in former}
    for batch in id_batches(before):
        # Those that were in no group have left none.
        found, _ = isolate(
            lambda some: task.groupExposures.find_missing(list(some), butler.registry), [before[id_] for id_ in batch]
        )
        wanted.update(exposure.id for exposure in found)
    records = repository.fetch_exposures(butler, instrument, wanted)
    _warn_off_sky(task, [records[exposure] for exposure in sorted(corrected & records.keys() & visits.keys())], visits)
    return task.run(records.values(), update_records=True, incremental=True, on_error=on_error)


def _warn_off_sky(task: DefineVisitsTask, exposures: list[DimensionRecord], visits: dict[int, set[int]]) -> None:
    """Name the visits that have exposures which are not on the sky any more."""
    off_sky = [exposure for exposure in exposures if not is_on_sky(exposure)]
    pointed = task.computeVisitRegions.find_pointed([exposure for exposure in off_sky if saw_sky(exposure)])
    for exposure in off_sky:
        if exposure.id not in pointed:
            _LOG.warning(
                "Exposure %d of %s is not on the sky any more (observation type %r), and still in visit %s; "
                "'butler-visits remove-visits' removes a visit.",
                exposure.id,
                exposure.instrument,
                exposure.observation_type,
                ", ".join(map(str, sorted(visits[exposure.id]))),
            )
