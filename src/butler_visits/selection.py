"""From what a caller gives to the exposures that visits are made of."""

from __future__ import annotations

__all__ = ["expand", "split_off_sky", "without_visit"]

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lsst.daf.butler import Butler, DataCoordinate, DataIdValueError, DimensionRecord

from . import registry
from .errors import DefinitionError
from .pointing import is_on_sky


def expand(
    butler: Butler, data_ids: Iterable[Mapping[str, Any] | DataCoordinate | DimensionRecord]
) -> list[DimensionRecord]:
    """Turn data IDs into exposure records.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    data_ids : `~collections.abc.Iterable`
        Data IDs or ``exposure`` records, mixed or not.

    Returns
    -------
    exposures : `list` [`lsst.daf.butler.DimensionRecord`]
        The exposures, each once, ordered by id.

    Raises
    ------
    DefinitionError
        If they are of several instruments.
    ValueError
        If a record is of another dimension.
    lsst.daf.butler.DataIdValueError
        If an exposure is not in the repository.
    """
    records: dict[tuple[str, int], DimensionRecord] = {}
    wanted: set[tuple[str, int]] = set()
    dimensions = butler.dimensions.conform(["exposure"])
    for data_id in data_ids:
        if isinstance(data_id, DimensionRecord):
            if data_id.definition.name != "exposure":
                raise ValueError(f"Expected exposure records or data IDs, got a {data_id.definition.name} record.")
            records[data_id.instrument, data_id.id] = data_id
        else:
            coordinate = DataCoordinate.standardize(
                data_id, dimensions=dimensions, defaults=butler.registry.defaults.dataId
            )
            wanted.add((str(coordinate["instrument"]), int(coordinate["exposure"])))
    instruments = {instrument for instrument, _ in records} | {instrument for instrument, _ in wanted}
    if len(instruments) > 1:
        raise DefinitionError(
            f"The exposures are of several instruments ({', '.join(sorted(instruments))}); define the visits of "
            "one instrument at a time."
        )
    for instrument in instruments:
        unknown = {exposure for _, exposure in wanted - records.keys()}
        found = registry.fetch_exposures(butler, instrument, unknown)
        if missing := sorted(unknown - found.keys()):
            others = f" (and {len(missing) - 1} others of those given)" if len(missing) > 1 else ""
            raise DataIdValueError(f"{instrument} has no exposure {missing[0]}{others}.")
        records.update(((instrument, exposure), record) for exposure, record in found.items())
    return [records[key] for key in sorted(records)]


def split_off_sky(
    exposures: Iterable[DimensionRecord], ignore: bool
) -> tuple[list[DimensionRecord], list[DimensionRecord]]:
    """Split exposures into those on the sky and others.

    Parameters
    ----------
    exposures : `~collections.abc.Iterable` [`lsst.daf.butler.DimensionRecord`]
        The exposures.
    ignore : `bool`
        Whether exposures that are not on the sky are to be ignored.

    Returns
    -------
    on_sky, off_sky : `list` [`lsst.daf.butler.DimensionRecord`]
        The two kinds.

    Raises
    ------
    DefinitionError
        If there is one that is not on the sky and that is not to be ignored.
    """
    on_sky: list[DimensionRecord] = []
    off_sky: list[DimensionRecord] = []
    for exposure in exposures:
        (on_sky if is_on_sky(exposure) else off_sky).append(exposure)
    if off_sky and not ignore:
        first = off_sky[0]
        raise DefinitionError(
            f"Exposure {first.id}, of observation type {first.observation_type!r}, is not on the sky, and "
            "ignoreNonScienceExposures is false; leave it out or change the config."
        )
    return on_sky, off_sky


def without_visit(
    butler: Butler, exposures: Sequence[DimensionRecord], *, complete_only: bool
) -> list[DimensionRecord]:
    """Drop exposures that belong to a visit.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    exposures : `~collections.abc.Sequence` [`lsst.daf.butler.DimensionRecord`]
        Exposures of one instrument, at least one.
    complete_only : `bool`
        Whether to drop only those whose visits have the regions of all detectors.

    Returns
    -------
    exposures : `list` [`lsst.daf.butler.DimensionRecord`]
        The others.
    """
    instrument = exposures[0].instrument
    visits = registry.fetch_visits_of_exposures(butler, instrument, [exposure.id for exposure in exposures])
    incomplete: set[int] = set()
    if complete_only:
        detectors = registry.fetch_detectors(butler, instrument)
        all_visits = set().union(*visits.values())
        stored = registry.fetch_detectors_of_visits(butler, instrument, all_visits)
        incomplete = {visit for visit in all_visits if not detectors <= stored.get(visit, set())}
    return [exposure for exposure in exposures if exposure.id not in visits or visits[exposure.id] & incomplete]
