"""Which instrument files are of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from astro_metadata_translator import MetadataTranslator
from lsst.daf.butler import Butler
from lsst.resources import ResourcePathExpression

from ..define.groups import check_grouping
from ..errors import IngestError, VisitsError
from ..instruments import known_instrument
from ..instruments.described import class_name, instrument_record
from ..instruments.description import LONGEST_NAME, InstrumentDescription, is_instrument_name, read_description
from ..instruments.translator import make_translator
from ..raws import import_translators, known_translators
from ..repository import fetch_instruments, resolve_instrument
from ..repository.instruments import register_instrument, stored_translator
from .records import guess_band

GivenInstrument = ResourcePathExpression | InstrumentDescription
"""A name, a description, or the path of one: a text that ends as one of a YAML file does, or any other kind of path."""

_ANY_GROUPING = ""
"""Nobody says yet how exposures of an instrument without a description are grouped."""

_DESCRIPTION_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class InstrumentChoice:
    """The instrument that a user has named, if any."""

    name: str | None = None
    """Its name in data IDs; `None` if each file's header says what it is of."""

    translator: type[MetadataTranslator] | None = None
    """The translator of its headers, if it has a description."""

    described: tuple[type[MetadataTranslator], ...] = ()
    """Translators that come first: those of the module that is given, and those that the repository knows of."""

    module: str | None = None
    """The module that is given."""

    @property
    def description(self) -> InstrumentDescription | None:
        """Its description, if it has one."""
        return getattr(self.translator, "description", None)

    def fields(self) -> Mapping[str, Any]:
        """Return the fields of the record of the instrument that was named, if it is not registered yet."""
        name = str(self.name)
        translator = self.translator or known_translators().get(name)
        cls = class_name(name) if translator is None else known_instrument(translator).class_name
        return instrument_record(name, cls, grouping=_ANY_GROUPING)

    def accept(self, uri: str, translator: type[MetadataTranslator]) -> Mapping[str, Any]:
        """Return the fields of the record of a file's instrument; `IngestError` if it is not the one that was named."""
        known = known_instrument(translator)
        if not is_instrument_name(known.name):
            raise IngestError(
                f"{uri}: its translator {translator.__name__} is called {known.name!r}, which cannot be the name of "
                f"an instrument; expected a letter, then letters, digits, - and _, {LONGEST_NAME} characters at most."
            )
        if self.name not in (None, known.name):
            raise IngestError(f"{uri}: the file is of {known.name}, and not of {self.name}; leave it out.")
        return instrument_record(known.name, known.class_name, grouping=_ANY_GROUPING)


def choose_instrument(
    butler: Butler,
    instrument: GivenInstrument | None,
    *,
    translator: str | None = None,
    any_name: bool = False,
    register: bool = True,
) -> InstrumentChoice:
    """Find the instrument that a user names, and register it if it has a description that is given.

    ``translator``: a module with translators of headers.

    ``register``: false if nothing may be written. Raises `IngestError` if nobody knows it, `DescriptionError` if the
    description makes no sense, and
    `lsst.daf.butler.registry.ConflictingDefinitionError` if the instrument is registered otherwise than it is
    described.
    """
    instrument = read_if_description(instrument)
    given = () if translator is None else import_translators(translator)
    if instrument is None:
        stored = filter(None, (stored_translator(butler, name) for name in fetch_instruments(butler)))
        return InstrumentChoice(described=(*given, *stored), module=translator)
    if isinstance(instrument, InstrumentDescription):
        if translator is not None:
            raise IngestError(
                f"The headers of {instrument.name} are read as its description says or by the translator in "
                f"{translator}, and not by both; give one of them."
            )
        check_grouping(instrument.grouping, f"The description of {instrument.name}")
        if register:
            register_instrument(butler, instrument)
        return InstrumentChoice(instrument.name, make_translator(instrument))
    try:
        name = resolve_instrument(butler, instrument)
    except VisitsError as error:
        check_new_instrument(instrument, any_name=any_name, reason=str(error))
        return InstrumentChoice(instrument, described=given, module=translator)
    found = None if given else stored_translator(butler, name)
    if found is None or not hasattr(found, "description"):
        return InstrumentChoice(name, described=(*given, *filter(None, [found])), module=translator)
    return InstrumentChoice(name, found)


def read_if_description(instrument: GivenInstrument | None) -> str | InstrumentDescription | None:
    """Read a description, if a file is given.

    Raises `DescriptionError` if the file makes no sense.
    """
    if instrument is None or isinstance(instrument, InstrumentDescription):
        return instrument
    if isinstance(instrument, str) and not instrument.lower().endswith(_DESCRIPTION_SUFFIXES):
        return instrument
    description = read_description(instrument)
    check_grouping(description.grouping, str(instrument))
    return description


def check_new_instrument(
    instrument: str | InstrumentDescription | None, *, any_name: bool = False, reason: str = ""
) -> None:
    """Refuse an instrument that is not registered and cannot be.

    ``reason``: how it is known that it is not registered; by default because the repository is new. Raises
    `IngestError`.
    """
    if not isinstance(instrument, str) or instrument in known_translators():
        return
    if not any_name:
        raise IngestError(
            f"{reason or f'The repository is new, and has no instrument {instrument!r}.'} Name a registered one, one "
            "whose headers astro_metadata_translator knows "
            f"({', '.join(sorted(known_translators()))}), or a YAML file that describes the instrument."
        )
    if not is_instrument_name(instrument):
        raise IngestError(
            f"{instrument!r} cannot be the name of a new instrument; expected a letter, then letters, digits, - and _, "
            f"{LONGEST_NAME} characters at most."
        )


def band_of(translator: type[MetadataTranslator] | None, physical_filter: str) -> str:
    """Say the band of a physical filter."""
    description = getattr(translator, "description", None)
    for one in () if description is None else description.filters:
        if one.name == physical_filter and one.band:
            return str(one.band)
    return guess_band(physical_filter)
