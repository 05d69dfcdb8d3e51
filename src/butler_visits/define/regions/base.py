"""The subtask that computes regions: what every algorithm offers."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from lsst.daf.butler import Butler, DimensionRecord
from lsst.pex.config import Config, Field, makeRegistry
from lsst.pipe.base import Instrument, Task
from lsst.sphgeom import Region

from ...repository.database import in_transaction
from ...repository.reading import fetch_instrument
from ..visits import VisitDefinitionData, VisitRegions


class ComputeVisitRegionsConfig(Config):
    """Base of the region algorithms' configs."""

    padding = Field[int](
        doc="Pixels by which a detector's box is grown on each side, for pointings that are not exact.",
        default=250,
    )


class ComputeVisitRegionsTask(Task, metaclass=ABCMeta):
    """Computes the regions of visits and of their detectors; its registry holds the algorithms.

    Parameters
    ----------
    config : `ComputeVisitRegionsConfig`, optional
        The algorithm's config.
    butler : `lsst.daf.butler.Butler`
        The repository.
    **kwargs
        Passed to `lsst.pipe.base.Task`.
    """

    ConfigClass: ClassVar[type[Config]] = ComputeVisitRegionsConfig
    _DefaultName: ClassVar[str] = "computeVisitRegions"

    registry = makeRegistry(
        doc="Algorithms that compute the regions of visits.", configBaseType=ComputeVisitRegionsConfig
    )

    def __init__(self, config: Config | None = None, *, butler: Butler, **kwargs: Any) -> None:
        super().__init__(config=config, **kwargs)
        self.butler = butler
        self.instrumentMap: dict[str, Instrument] = {}
        # Those that were read in a transaction, which the caller may undo.
        self._unsure: set[str] = set()

    def getInstrument(self, instrumentName: str) -> Instrument:
        """Return the instrument that is registered under a name; outside of transactions it is made once.

        Parameters
        ----------
        instrumentName : `str`
            The registered name.

        Returns
        -------
        instrument : `lsst.pipe.base.Instrument`
            Its class's instance, or a stand-in where that cannot be imported.
        """
        if instrumentName not in self.instrumentMap or instrumentName in self._unsure:
            self.instrumentMap[instrumentName] = fetch_instrument(self.butler, instrumentName)
            (self._unsure.add if in_transaction(self.butler) else self._unsure.discard)(instrumentName)
        return self.instrumentMap[instrumentName]

    @abstractmethod
    def compute(
        self, visit: VisitDefinitionData, *, collections: Sequence[str] | None = None
    ) -> tuple[Region, dict[int, Region]]:
        """Compute the regions of one visit.

        Parameters
        ----------
        visit : `VisitDefinitionData`
            The visit.
        collections : `~collections.abc.Sequence` [`str`], optional
            Collections to search for datasets; by default the Butler's own.

        Returns
        -------
        region : `lsst.sphgeom.Region`
            The visit's region.
        detectors : `dict` [`int`, `lsst.sphgeom.Region`]
            The detectors' regions by their ids.
        """
        raise NotImplementedError()

    def compute_all(
        self, visits: Sequence[VisitDefinitionData], *, collections: Sequence[str] | None = None
    ) -> list[VisitRegions]:
        """Compute the regions of many visits of one instrument.

        An algorithm that can do better than one by one overrides this.

        Parameters
        ----------
        visits : `~collections.abc.Sequence` [`VisitDefinitionData`]
            The visits.
        collections : `~collections.abc.Sequence` [`str`], optional
            Collections to search for datasets; by default the Butler's own.

        Returns
        -------
        regions : `list` [`VisitRegions`]
            The regions of each visit.
        """
        computed = (self.compute(visit, collections=collections) for visit in visits)
        return [VisitRegions(region, detectors.keys(), detectors.copy) for region, detectors in computed]

    def find_pointed(
        self, exposures: Sequence[DimensionRecord], *, collections: Sequence[str] | None = None
    ) -> set[int]:
        """Tell which exposures can be placed on the sky although their records have no pointing.

        An algorithm that does not depend on the records' pointings overrides this; by default there are none.

        Parameters
        ----------
        exposures : `~collections.abc.Sequence` [`lsst.daf.butler.DimensionRecord`]
            Exposures of one instrument that saw the sky and whose records do not say where.
        collections : `~collections.abc.Sequence` [`str`], optional
            Collections to search for datasets; by default the Butler's own.

        Returns
        -------
        exposures : `set` [`int`]
            The ids of those exposures.
        """
        return set()
