"""The function behind the command."""

from __future__ import annotations

from lsst.daf.butler import Butler
from lsst.pipe.base import Struct
from lsst.resources import ResourcePathExpression

from .config import make_config
from .repository import require_writeable, resolve_instrument, select_exposures
from .task import Collections, DefineVisitsTask


def define_visits(
    repo: ResourcePathExpression,
    config_file: str | None,
    collections: Collections,
    instrument: str,
    where: str | None = None,
    update_records: bool = False,
    incremental: bool = False,
    skip_conflicting: bool = False,
    prefilter: bool = False,
    check_detector_regions: bool = False,
) -> Struct:
    """Define the visits of a repository's exposures.

    Parameters
    ----------
    repo : `lsst.resources.ResourcePathExpression`
        Path, URI or alias of the repository.
    config_file : `str` or `None`
        A config file, loaded after the instrument's own overrides; one that the original has saved will do.
    collections : `str`, `re.Pattern`, ``...`` or `~collections.abc.Iterable` of these, or `None`
        Collections to search for the camera; none means the instrument's own.
    instrument : `str`
        A registered name, or the full name of a registered instrument's class.
    where : `str`, optional
        A Butler expression that selects exposures; the default is all.
    update_records, incremental, skip_conflicting, prefilter, check_detector_regions : `bool`, optional
        As of `DefineVisitsTask.run`.

    Returns
    -------
    result : `lsst.pipe.base.Struct`
        As `DefineVisitsTask.run` returns.

    Raises
    ------
    VisitsError
        If there is no such instrument, or if the config makes no sense.
    lsst.daf.butler.InvalidQueryError
        If the expression is wrong.
    RuntimeError, LookupError, TypeError, lsst.daf.butler.registry.RegistryError
        As `DefineVisitsTask.run` raises.
    """
    with Butler.from_config(repo, writeable=True) as butler:
        require_writeable(butler)
        name = resolve_instrument(butler, instrument)
        task = DefineVisitsTask(make_config(butler, name, config_file), butler=butler)
        return task.run(
            select_exposures(butler, name, where or ""),
            collections=collections or None,
            update_records=update_records,
            incremental=incremental,
            skip_conflicting=skip_conflicting,
            prefilter=prefilter,
            check_detector_regions=check_detector_regions,
        )


defineVisits = define_visits
"""The original's name."""
