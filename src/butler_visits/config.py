"""The config of the task that defines visits."""

from __future__ import annotations

__all__ = ["DefineVisitsConfig"]

import re
from typing import Any

from lsst.pex.config import Config, Field, RangeField

from .define.groups import GroupExposuresTask
from .define.regions import ComputeVisitRegionsTask

_SETTING = re.compile(r"config\.(?P<field>groupExposures|computeVisitRegions)\[(?P<name>'[^']*'|\"[^\"]*\")\]")
"""How a line of a saved config begins that sets a field of an algorithm."""


class DefineVisitsConfig(Config):
    """Config of `DefineVisitsTask`."""

    groupExposures = GroupExposuresTask.registry.makeField(
        doc="Algorithm that groups exposures into visits.", default="one-to-one"
    )
    computeVisitRegions = ComputeVisitRegionsTask.registry.makeField(
        doc="Algorithm that computes the regions of visits and of their detectors.", default="single-raw-wcs"
    )
    ignoreNonScienceExposures = Field[bool](
        doc="Whether exposures that are not on the sky are ignored; otherwise they are an error.",
        default=True,
    )
    updateObsCoreTable = Field[bool](
        doc="Whether exposures' regions are updated in the registry's ObsCore table, if it has one.",
        default=True,
    )
    regionTolerance = RangeField(
        dtype=float,
        doc="Distance (arcsec) up to which a computed region equals a stored one; 0 asks for identical bits.",
        default=1e-6,
        min=0.0,
    )
    chunkSize = RangeField(
        dtype=int,
        doc="Visits that are computed, compared and written together, in one transaction.",
        default=500,
        min=1,
    )

    def __reduce__(self) -> Any:
        """Pickle the settings of the chosen algorithms only.

        A saved config has the settings of all algorithms that are registered in this process. A worker's process need
        not know any but the chosen ones.
        """
        load, (cls, saved) = super().__reduce__()
        lines = [line for line in saved.decode().splitlines(keepends=True) if self._is_needed(line)]
        return load, (cls, "".join(lines).encode())

    def _is_needed(self, line: str) -> bool:
        setting = _SETTING.match(line)
        return setting is None or setting["name"][1:-1] == getattr(self, setting["field"]).name
