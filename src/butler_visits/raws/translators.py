"""Translators of headers in Python: those that astro_metadata_translator knows, and those of other packages."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from astro_metadata_translator import MetadataTranslator

from ..errors import IngestError
from ..lists import first_line

_LOG = logging.getLogger(__name__)

_GROUP = "astro_metadata_translators"
"""Entry points of astro_metadata_translator's plugins."""

_VARIABLE = "METADATA_TRANSLATORS"
"""Names of more modules or plugins, with colons between them."""


def find_translator(header: Mapping[str, Any], uri: str) -> type[MetadataTranslator]:
    """Find the translator of a header among all that are known; may fail in any way, as translators do."""
    known = known_translators()
    try:
        return MetadataTranslator.determine_translator(header, filename=uri)
    except Exception:
        # One that stumbles over a header of another telescope must not keep those behind it from being asked.
        for one in known.values():
            with suppress(Exception):
                if one.can_translate(header, filename=uri):
                    return one
        raise


@cache
def _import_plugins() -> None:
    for name in [*_plugins(), *filter(None, os.environ.get(_VARIABLE, "").split(":"))]:
        try:
            import_translators(name)
        except IngestError as error:
            _LOG.warning("%s Its translators are not used.", error)


def known_translators() -> Mapping[str, type[MetadataTranslator]]:
    """Return all translators by their names, those of installed plugins too."""
    _import_plugins()
    return MetadataTranslator.translators


def import_translators(name: str) -> tuple[type[MetadataTranslator], ...]:
    """Import the translators in a module, or those that a plugin of astro_metadata_translator offers.

    Raises `IngestError` if it cannot be imported or has none.
    """
    plugin = _plugins().get(name)
    try:
        if plugin is not None:
            plugin.load()
        module = importlib.import_module(name if plugin is None else plugin.module)
    except (Exception, SystemExit) as error:
        # Somebody else's module may fail in any way.
        raise IngestError(
            f"The translator module {name!r} cannot be imported ({type(error).__name__}: {first_line(error)}); "
            "expected the name of a Python module that is installed or in a folder of PYTHONPATH."
        ) from error
    classes = [one for one in vars(module).values() if isinstance(one, type) and issubclass(one, MetadataTranslator)]
    named = [one for one in dict.fromkeys([*MetadataTranslator.translators.values(), *classes]) if one.name is not None]
    own = [one for one in named if (one.__module__ + ".").startswith(module.__name__ + ".")]
    imported = [one for one in classes if one in named and one not in own]
    # Base classes that it has imported are not meant.
    found = (
        *own,
        *(
            one
            for one in imported
            if not one.__module__.startswith("astro_metadata_translator.")
            and not any(issubclass(other, one) for other in own)
        ),
    )
    if not found:
        raise IngestError(
            f"The module {name!r} has no translator; expected a subclass of "
            "astro_metadata_translator.MetadataTranslator that has a name."
        )
    return found


def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=_GROUP)}
