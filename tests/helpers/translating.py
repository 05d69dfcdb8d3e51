"""A header, and its translation with a description made for a test."""

from __future__ import annotations

from typing import Any

import pytest
from astro_metadata_translator import ObservationInfo

from butler_visits.errors import HeaderError
from butler_visits.instruments.description import InstrumentDescription
from butler_visits.instruments.translator import make_translator
from example_raws import describe

HEADER = {
    "INSTRUME": "MyCam",
    "DATE-OBS": "2026-04-01T23:14:02.5",
    "EXPTIME": 30.0,
    "IMAGETYP": "object",
    "FILTER": "V",
}


def translate(header: dict[str, Any], description: InstrumentDescription | None = None, **properties: Any) -> Any:
    """Translate a header; properties are added to the smallest description."""
    translator = make_translator(description or describe(properties=properties))
    return ObservationInfo(dict(header), translator_class=translator, pedantic=True)


def failure(header: dict[str, Any], **properties: Any) -> str:
    """Return why a header cannot be translated."""
    with pytest.raises(KeyError) as error:
        translate(header, **properties)
    assert isinstance(error.value.__cause__, HeaderError)
    return str(error.value.__cause__)
