"""What the project knows of instruments, and what stands in for a class that cannot be imported."""

from __future__ import annotations

__all__ = [
    "KnownInstrument",
    "StandInInstrument",
    "has_one_detector",
    "import_instrument_class",
    "known_class_name",
    "known_instrument",
    "last_detector",
    "load_instrument",
    "raws_flipped",
    "segments_1_on_top",
]

import importlib.util
import inspect
import logging
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from lsst.daf.butler import DataId, DimensionRecord
from lsst.pipe.base import Instrument
from lsst.utils import doImportType

from ..yaml_files import load_yaml

if TYPE_CHECKING:
    from astro_metadata_translator import MetadataTranslator

_LOG = logging.getLogger(__name__)


class StandInInstrument(Instrument):
    """Stands in for an instrument class that cannot be imported: the usual case without Rubin's stack.

    It has the instrument's name, the conventional collection names and, for a few known instruments, config overrides.
    """

    _name: str

    @classmethod
    def getName(cls) -> str:
        return cls._name

    def register(self, registry: Any, *, update: bool = False) -> None:
        raise NotImplementedError(f"The class of instrument {self.getName()} cannot be imported.")

    def getRawFormatter(self, dataId: DataId) -> Any:
        raise NotImplementedError(f"The class of instrument {self.getName()} cannot be imported.")

    def applyConfigOverrides(self, name: str, config: Any) -> None:
        padding = _known(self.getName()).get("padding")
        if name == "defineVisits" and padding is not None:
            config.computeVisitRegions.active.padding = padding


def load_instrument(record: DimensionRecord) -> Instrument:
    """Make the instrument of a record."""
    cls = import_instrument_class(record.class_name)
    if cls is not None and inspect.isabstract(cls):
        _LOG.warning("Instrument class %s is abstract; the class is not used.", record.class_name)
        cls = None
    if cls is None:
        cls = type("StandInInstrument", (StandInInstrument,), {"_name": record.name})
    return cls()


@cache
def import_instrument_class(name: str) -> type[Instrument] | None:
    """Import an instrument's class."""
    try:
        cls = doImportType(name)
    except Exception as error:
        if isinstance(error, ImportError) and not _is_installed(name):
            # The usual case.
            return None
        # A class of somebody else, whose module can fail in any way; there is a way to do without.
        _LOG.warning(
            "Instrument class %s cannot be imported and is not used: %s: %s", name, type(error).__name__, error
        )
        return None
    return cls if isinstance(cls, type) and issubclass(cls, Instrument) else None


def _is_installed(name: str) -> bool:
    """Tell whether there is a module for a class, so that it is its import that fails."""
    try:
        return importlib.util.find_spec(name.rpartition(".")[0]) is not None
    except (ImportError, ValueError):
        return False


def raws_flipped(instrument: Instrument) -> bool | None:
    """Tell whether an instrument's raw images are mirrored; `None` if its camera says it, as described ones' do."""
    known = _known(instrument.getName()).get("raws_flipped")
    if known is None:
        return None if getattr(instrument, "camera_has_parity", False) else False
    return bool(known)


class KnownInstrument(NamedTuple):
    """An instrument whose headers have a translator."""

    name: str
    """Its name in data IDs."""
    class_name: str
    """Full name of its class."""


def known_instrument(translator: type[MetadataTranslator]) -> KnownInstrument:
    """Find out under what name and class an instrument is registered, whose headers this translator translates."""
    if not translator.name:
        raise ValueError(f"Translator {translator.__name__} is not one instrument's.")
    return KnownInstrument(translator.name, f"{__name__}.described.{translator.name}")


def known_class_name(name: str) -> str | None:
    """Tell the class that Rubin's own software has for an instrument."""
    return _known(name).get("class_name")


def last_detector(name: str) -> int | None:
    """Tell which of an instrument's detectors is the last that takes images of the sky."""
    return _known(name).get("last_detector")


def has_one_detector(name: str) -> bool:
    """Tell whether each raw file of an instrument is known to show one detector."""
    return bool(_known(name).get("one_detector"))


def segments_1_on_top(name: str) -> Literal[True, "unknown"] | None:
    """Tell whether a camera has Segment10 to Segment17 at the top of a detector; `None` if the sections tell it."""
    known = _known(name)
    return None if "segments_1_on_top" not in known else known["segments_1_on_top"] or "unknown"


def _known(name: str) -> dict[str, Any]:
    return _table().get(name, {})


@cache
def _table() -> dict[str, dict[str, Any]]:
    table: dict[str, dict[str, Any]] = load_yaml(resources.files(__package__).joinpath("known.yaml").read_text())
    return table
