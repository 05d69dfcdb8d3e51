"""Which instrument files are of."""

from __future__ import annotations

__all__ = ["InstrumentChoice", "band_of", "choose_instrument", "read_if_description"]

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from astro_metadata_translator import MetadataTranslator
from lsst.daf.butler import Butler

from ..define.groups import check_grouping
from ..errors import IngestError, VisitsError
from ..instruments import known_instrument
from ..instruments.described import class_name, instrument_record
from ..instruments.description import InstrumentDescription, read_description
from ..instruments.translator import make_translator
from ..repository import fetch_instruments, resolve_instrument
from ..repository.instruments import register_instrument, stored_description
from .records import guess_band

_LONGEST_NAME = 28
"""Characters that leave room for the module before them in the name of the class, of which a repository takes 64."""

_DESCRIPTION_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class InstrumentChoice:
    """The instrument that a user has named, if any."""

    name: str | None = None
    """Its name in data IDs; `None` if each file's header says what it is of."""

    translator: type[MetadataTranslator] | None = None
    """The translator of its headers, if it has a description."""

    @property
    def description(self) -> InstrumentDescription | None:
        """Its description, if it has one."""
        return getattr(self.translator, "description", None)

    def fields(self) -> Mapping[str, Any]:
        """Return the fields of the record of the instrument that was named, if it is not registered yet."""
        name = str(self.name)
        translator = self.translator or MetadataTranslator.translators.get(name)
        return instrument_record(
            name, class_name(name) if translator is None else known_instrument(translator).class_name
        )

    def accept(self, uri: str, translator: type[MetadataTranslator]) -> Mapping[str, Any]:
        """Return the fields of the record of a file's instrument; `IngestError` if it is not the one that was named."""
        known = known_instrument(translator)
        if self.name not in (None, known.name):
            raise IngestError(f"{uri}: the file is of {known.name}, and not of {self.name}; leave it out.")
        return instrument_record(known.name, known.class_name)


def choose_instrument(
    butler: Butler, instrument: str | InstrumentDescription | None, *, any_name: bool = False
) -> InstrumentChoice:
    """Find the instrument that a user names, and register it if it has a description that is given.

    Raises `IngestError` if nobody knows it, `DescriptionError` if the description makes no sense, and
    `lsst.daf.butler.registry.ConflictingDefinitionError` if the instrument is registered otherwise than it is
    described.
    """
    instrument = read_if_description(instrument)
    if instrument is None:
        # The descriptions that the repository has make their translators known.
        for name in fetch_instruments(butler):
            if (description := stored_description(butler, name)) is not None:
                make_translator(description)
        return InstrumentChoice()
    if isinstance(instrument, InstrumentDescription):
        check_grouping(instrument.grouping, f"The description of {instrument.name}")
        register_instrument(butler, instrument)
        return InstrumentChoice(instrument.name, make_translator(instrument))
    try:
        name = resolve_instrument(butler, instrument)
    except VisitsError as error:
        if instrument in MetadataTranslator.translators:
            return InstrumentChoice(instrument)
        if any_name:
            return InstrumentChoice(_check_name(instrument))
        raise IngestError(
            f"{error} Name one of these, one whose headers astro_metadata_translator knows "
            f"({', '.join(sorted(MetadataTranslator.translators))}), or a YAML file that describes the instrument."
        ) from error
    description = stored_description(butler, name)
    return InstrumentChoice(name, None if description is None else make_translator(description))


def read_if_description(instrument: str | InstrumentDescription | None) -> str | InstrumentDescription | None:
    """Read a description, if a file is given."""
    if isinstance(instrument, str) and instrument.lower().endswith(_DESCRIPTION_SUFFIXES):
        description = read_description(instrument)
        check_grouping(description.grouping, instrument)
        return description
    return instrument


def _check_name(name: str) -> str:
    """Refuse a name that no class can have: others find the instrument's by it."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name) or len(name) > _LONGEST_NAME:
        raise IngestError(
            f"{name!r} is no name for a new instrument; expected a letter, then letters, digits, - and _, "
            f"{_LONGEST_NAME} characters at most."
        )
    return name


def band_of(translator: type[MetadataTranslator] | None, physical_filter: str) -> str:
    """Say the band of a physical filter."""
    description = getattr(translator, "description", None)
    for one in () if description is None else description.filters:
        if one.name == physical_filter and one.band:
            return str(one.band)
    return guess_band(physical_filter)
