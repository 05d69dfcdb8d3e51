"""Classes of instruments that have no package of their own: ``butler_visits.instruments.described.NAME``.

A repository knows an instrument's class by its full name, and a new process has to find it by that and nothing else. So
every name is a class here: Rubin's own, of an instrument that has one, where its package is installed; else one that
knows the name only. What else there is to know of the instrument is stored in the repository.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from lsst.daf.butler import DataId
from lsst.pipe.base import Instrument

from . import StandInInstrument, import_instrument_class, known_class_name
from .description import instrument_record, is_instrument_name
from .formatter import RawFormatter


class DescribedInstrument(StandInInstrument):
    """Base of the instruments that are known from a description, or from the translator of their headers."""

    camera_has_parity = True
    """The camera says whether raws are mirrored; the description's camera is stored so."""

    def register(self, registry: Any, *, update: bool = False) -> None:
        # Filters and detectors are in the instrument's description.
        fields = instrument_record(self.getName(), class_name(self.getName()))
        for record in registry.queryDimensionRecords("instrument"):
            if record.name == self.getName():
                # Its description may have other limits, and ids are packed with them.
                fields |= {name: getattr(record, name) for name in ("visit_max", "exposure_max", "detector_max")}
        registry.syncDimensionData("instrument", fields, update=update)

    def getRawFormatter(self, dataId: DataId) -> Any:
        return RawFormatter


@cache
def described_class(name: str) -> type[DescribedInstrument]:
    """Make the class of an instrument."""
    return type(name, (DescribedInstrument,), {"_name": name, "__module__": __name__, "__doc__": f"Instrument {name}."})


def class_name(name: str) -> str:
    """Return the full name of an instrument's class."""
    return f"{__name__}.{name}"


def __getattr__(name: str) -> type[Instrument]:
    # Whoever asks for anything else must hear that it is not there.
    if not is_instrument_name(name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    rubin = known_class_name(name)
    return (rubin and import_instrument_class(rubin)) or described_class(name)
