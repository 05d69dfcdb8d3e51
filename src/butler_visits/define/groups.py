"""Group exposures into visits, and give the visits their ids and names."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence, Set
from typing import Any, ClassVar

from lsst.daf.butler import DimensionRecord
from lsst.daf.butler.registry import Registry
from lsst.pex.config import Config, Field, makeRegistry, registerConfigurable
from lsst.pipe.base import Instrument, Task

from ..errors import DefinitionError, DescriptionError
from ..lists import listed
from .visits import VisitDefinitionData, VisitSystem


class GroupExposuresConfig(Config):
    """Base of the grouping algorithms' configs."""


class GroupExposuresTask(Task, metaclass=ABCMeta):
    """Groups exposures into visits; its registry holds the algorithms.

    Parameters
    ----------
    config : `GroupExposuresConfig`, optional
        The algorithm's config.
    **kwargs
        Passed to `lsst.pipe.base.Task`.
    """

    ConfigClass: ClassVar[type[Config]] = GroupExposuresConfig
    _DefaultName: ClassVar[str] = "groupExposures"

    registry = makeRegistry(doc="Algorithms that group exposures into visits.", configBaseType=GroupExposuresConfig)

    @abstractmethod
    def find_missing(self, exposures: list[DimensionRecord], registry: Registry) -> list[DimensionRecord]:
        """Find the exposures of the same groups that are not given.

        Parameters
        ----------
        exposures : `list` [`lsst.daf.butler.DimensionRecord`]
            The given ``exposure`` records.
        registry : `lsst.daf.butler.registry.Registry`
            The repository's registry.

        Returns
        -------
        missing : `list` [`lsst.daf.butler.DimensionRecord`]
            Further ``exposure`` records, found with one query for all groups.
        """
        raise NotImplementedError()

    @abstractmethod
    def group_exposures(self, exposures: list[DimensionRecord]) -> dict[Any, list[DimensionRecord]]:
        """Split exposures into groups.

        Parameters
        ----------
        exposures : `list` [`lsst.daf.butler.DimensionRecord`]
            ``exposure`` records of one instrument.

        Returns
        -------
        groups : `dict` [`object`, `list` [`lsst.daf.butler.DimensionRecord`]]
            The groups by a key of the algorithm's choice.
        """
        raise NotImplementedError()

    @abstractmethod
    def group(self, exposures: list[DimensionRecord], instrument: Instrument) -> Iterable[VisitDefinitionData]:
        """Group exposures into visits.

        Parameters
        ----------
        exposures : `list` [`lsst.daf.butler.DimensionRecord`]
            ``exposure`` records of one instrument.
        instrument : `lsst.pipe.base.Instrument`
            That instrument; a stand-in where its class cannot be imported.

        Returns
        -------
        visits : `~collections.abc.Iterable` [`VisitDefinitionData`]
            The visits.
        """
        raise NotImplementedError()

    @abstractmethod
    def getVisitSystems(self) -> set[VisitSystem]:
        """Return the visit systems that the algorithm's visits are in.

        Returns
        -------
        systems : `set` [`VisitSystem`]
            The systems.
        """
        raise NotImplementedError()


def check_grouping(name: str, source: str) -> None:
    """Refuse the name of a grouping algorithm that is not registered, with a `DescriptionError`."""
    if name not in GroupExposuresTask.registry:
        known = ", ".join(sorted(GroupExposuresTask.registry))
        raise DescriptionError(f"{source}: grouping must be one of {known}, not {name!r}.")


def fitting_grouping(systems: Set[int]) -> str | None:
    """Name the algorithm that makes visits of just these visit systems, if there is one of ours."""
    fitting = {
        frozenset({0}): "one-to-one",
        frozenset({1}): "by-group-metadata",
        frozenset({0, 2}): "one-to-one-and-by-counter",
    }
    return fitting.get(frozenset(systems))


def _retired(kind: type) -> Any:
    return Field(doc="Retired: ignored, kept so that old config files load.", dtype=kind, default=None, optional=True)


class _VisitSystemConfig(GroupExposuresConfig):
    visitSystemId = _retired(int)
    visitSystemName = _retired(str)


class GroupExposuresOneToOneConfig(_VisitSystemConfig):
    """Config of `GroupExposuresOneToOneTask`."""


@registerConfigurable("one-to-one", GroupExposuresTask.registry)
class GroupExposuresOneToOneTask(GroupExposuresTask):
    """Makes a visit of each exposure, with the exposure's id and name."""

    ConfigClass = GroupExposuresOneToOneConfig

    def find_missing(self, exposures: list[DimensionRecord], registry: Registry) -> list[DimensionRecord]:
        return []

    def group_exposures(self, exposures: list[DimensionRecord]) -> dict[Any, list[DimensionRecord]]:
        return {exposure.id: [exposure] for exposure in exposures}

    def group(self, exposures: list[DimensionRecord], instrument: Instrument) -> Iterator[VisitDefinitionData]:
        for exposure in exposures:
            yield _one_to_one(exposure, self.getVisitSystems())

    def getVisitSystems(self) -> set[VisitSystem]:
        return {VisitSystem.ONE_TO_ONE}


class GroupExposuresByGroupMetadataConfig(_VisitSystemConfig):
    """Config of `GroupExposuresByGroupMetadataTask`."""


@registerConfigurable("by-group-metadata", GroupExposuresTask.registry)
class GroupExposuresByGroupMetadataTask(GroupExposuresTask):
    """Makes a visit of all exposures with the same group, which the acquisition system gave them."""

    ConfigClass = GroupExposuresByGroupMetadataConfig

    def find_missing(self, exposures: list[DimensionRecord], registry: Registry) -> list[DimensionRecord]:
        if not exposures:
            return []
        where = "group IN (groups)" if _has_group_dimension(exposures) else "exposure.group_name IN (groups)"
        found = registry.queryDimensionRecords(
            "exposure",
            where=where,
            bind={"groups": list(self.group_exposures(exposures))},
            instrument=exposures[0].instrument,
        )
        return _not_given(found, exposures)

    def group_exposures(self, exposures: list[DimensionRecord]) -> dict[Any, list[DimensionRecord]]:
        field = "group" if _has_group_dimension(exposures) else "group_name"
        groups = _group_by(exposures, lambda exposure: getattr(exposure, field))
        if None in groups:
            raise DefinitionError(
                f"Exposure {groups[None][0].id} has no {field}, which by-group-metadata needs; "
                "use another grouping algorithm for it."
            )
        return groups

    def group(self, exposures: list[DimensionRecord], instrument: Instrument) -> Iterator[VisitDefinitionData]:
        for name, members in self.group_exposures(exposures).items():
            yield VisitDefinitionData(
                instrument=members[0].instrument,
                id=self._visit_id(name, members, instrument),
                name=name,
                visit_systems=self.getVisitSystems(),
                exposures=members,
            )

    def getVisitSystems(self) -> set[VisitSystem]:
        return {VisitSystem.BY_GROUP_METADATA}

    @staticmethod
    def _visit_id(name: str, members: Sequence[DimensionRecord], instrument: Instrument) -> int:
        if _has_group_dimension(members):
            to_id = getattr(instrument, "group_name_to_group_id", _digits)
            ids = {to_id(name)}
        else:
            ids = {exposure.group_id for exposure in members}
        if len(ids) > 1:
            names = listed(sorted(map(str, ids)))
            raise DefinitionError(
                f"The exposures of group {name!r} have several group ids ({names}); correct group_id of its exposures "
                f"{', '.join(str(exposure.id) for exposure in members)}."
            )
        (visit_id,) = ids
        if visit_id is None:
            raise DefinitionError(
                f"Group {name!r} gives no visit id: expected digits in its name. Use another grouping algorithm for it."
            )
        return int(visit_id)


class GroupExposuresByCounterConfig(_VisitSystemConfig):
    """Config of `GroupExposuresByCounterTask`."""


@registerConfigurable("one-to-one-and-by-counter", GroupExposuresTask.registry)
class GroupExposuresByCounterTask(GroupExposuresTask):
    """Makes a visit of each exposure, and one of each sequence that the camera's counters mark."""

    ConfigClass = GroupExposuresByCounterConfig

    def find_missing(self, exposures: list[DimensionRecord], registry: Registry) -> list[DimensionRecord]:
        sequences = {key for key in self.group_exposures(exposures) if None not in key and key[1] != key[2]}
        if not sequences:
            return []
        days, starts, ends = (sorted(set(values)) for values in zip(*sequences, strict=True))
        day = "day_obs" if _has_group_dimension(exposures) else "exposure.day_obs"
        found = registry.queryDimensionRecords(
            "exposure",
            where=f"{day} IN (days) AND exposure.seq_start IN (starts) AND exposure.seq_end IN (ends)",
            bind={"days": days, "starts": starts, "ends": ends},
            instrument=exposures[0].instrument,
        )
        return [
            exposure
            for exposure in _not_given(found, exposures)
            if _sequence(exposure) in sequences and _is_counted(exposure)
        ]

    def group_exposures(self, exposures: list[DimensionRecord]) -> dict[Any, list[DimensionRecord]]:
        if exposures and "seq_end" not in exposures[0].fields.names:
            raise DefinitionError(
                "The repository's exposures have no seq_start and seq_end, which one-to-one-and-by-counter needs; "
                "use one-to-one."
            )
        return _group_by(exposures, _sequence)

    def group(self, exposures: list[DimensionRecord], instrument: Instrument) -> Iterator[VisitDefinitionData]:
        for (day_obs, seq_start, seq_end), members in self.group_exposures(exposures).items():
            if seq_start == seq_end:
                for exposure in members:
                    yield _one_to_one(exposure, self.getVisitSystems())
                continue
            # What is not counted cannot be found later either, and nothing may depend on the order of arrival.
            counted = sorted(filter(_is_counted, members), key=lambda e: (e.seq_num, e.id))
            singles = [exposure for exposure in members if not _is_counted(exposure)]
            # A counter of 0 means that the camera has none.
            if uncounted := [exposure for exposure in singles if exposure.seq_num != 0]:
                self.log.warning(
                    "Sequence %s to %s of day %s: the number %s of exposure %s is not in it; it is a visit of its own.",
                    seq_start,
                    seq_end,
                    day_obs,
                    uncounted[0].seq_num,
                    " and ".join(str(exposure.id) for exposure in uncounted),
                )
            if counted and counted[0].seq_num != seq_start:
                self.log.warning(
                    "Sequence %s to %s of day %s: its first exposure is not there yet (the earliest is exposure %s "
                    "with number %s), so it is not made a visit of several exposures.",
                    seq_start,
                    seq_end,
                    day_obs,
                    counted[0].id,
                    counted[0].seq_num,
                )
                singles += counted
            elif counted:
                first = counted[0]
                yield VisitDefinitionData(
                    instrument=first.instrument,
                    id=first.id,
                    name=first.obs_id,
                    visit_systems={VisitSystem.BY_SEQ_START_END},
                    exposures=counted,
                )
                yield VisitDefinitionData(
                    instrument=first.instrument,
                    id=int(f"9{first.id}"),
                    name=f"{first.obs_id}_first",
                    visit_systems={VisitSystem.ONE_TO_ONE},
                    exposures=[first],
                )
                singles += counted[1:]
            for exposure in singles:
                yield _one_to_one(exposure, {VisitSystem.ONE_TO_ONE})

    def getVisitSystems(self) -> set[VisitSystem]:
        return {VisitSystem.ONE_TO_ONE, VisitSystem.BY_SEQ_START_END}


def _one_to_one(exposure: DimensionRecord, systems: set[VisitSystem]) -> VisitDefinitionData:
    return VisitDefinitionData(
        instrument=exposure.instrument,
        id=exposure.id,
        name=exposure.obs_id,
        visit_systems=systems,
        exposures=[exposure],
    )


def _is_counted(exposure: DimensionRecord) -> bool:
    """Tell whether an exposure is one of those that its counters mark as a sequence."""
    sequence = (*_sequence(exposure), exposure.seq_num)
    return None not in sequence and exposure.seq_start <= exposure.seq_num <= exposure.seq_end


def _sequence(exposure: DimensionRecord) -> tuple[int | None, int | None, int | None]:
    return exposure.day_obs, exposure.seq_start, exposure.seq_end


def _digits(name: str) -> int | None:
    """Put all digits of a name together."""
    digits = "".join(c for c in name if c in "0123456789")
    return int(digits) if digits else None


def _has_group_dimension(exposures: Sequence[DimensionRecord]) -> bool:
    """Tell whether group and day_obs are dimensions, as they are from universe 6 on, and not plain fields."""
    return bool(exposures) and "group" in exposures[0].fields.names


def _group_by(exposures: Iterable[DimensionRecord], key: Any) -> dict[Any, list[DimensionRecord]]:
    groups: dict[Hashable, list[DimensionRecord]] = defaultdict(list)
    for exposure in exposures:
        groups[key(exposure)].append(exposure)
    return dict(groups)


def _not_given(found: Iterable[DimensionRecord], given: Iterable[DimensionRecord]) -> list[DimensionRecord]:
    known = {exposure.id for exposure in given}
    return [exposure for exposure in found if exposure.id not in known]


# The original's names.
_GroupExposuresOneToOneTask = GroupExposuresOneToOneTask
_GroupExposuresByGroupMetadataTask = GroupExposuresByGroupMetadataTask
_GroupExposuresByCounterAndExposuresTask = GroupExposuresByCounterTask
GroupExposuresByCounterAndExposuresConfig = GroupExposuresByCounterConfig
