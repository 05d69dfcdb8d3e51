"""Maps, rules and templates: where no single key says what a property is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from butler_visits.instruments.description import InstrumentDescription
from butler_visits.instruments.translator import make_translator
from example_raws import describe
from translating import HEADER, failure, translate

PIER = {"key": "PIERSIDE", "map": {"East": 3.2, "West": 183.2}}

TYPES = {
    "key": "OBSTYPE",
    "rules": [
        {"when": {"OBSTYPE": "dark", "OBJECT": "*bias*"}, "value": "bias"},
        {"when": {"OBJECT": ["focus*", "*_foc?"]}, "value": "focus"},
        {"when": {"OBSTYPE": None, "EXPTIME": 0}, "value": "bias"},
    ],
}


def translate_stored(header: dict[str, Any], **properties: Any) -> Any:
    """Translate with a description that a repository has given back."""
    content = json.loads(json.dumps(describe(properties=properties).stored_content()))
    return translate(header, InstrumentDescription.from_mapping(content, "stored"))


@pytest.mark.parametrize("translated", [translate, translate_stored])
@pytest.mark.parametrize(
    ("prop", "source", "card", "right"),
    [
        ("boresight_rotation_angle", PIER, "East", 3.2),
        ("boresight_rotation_angle", PIER, " west ", 183.2),
        ("boresight_rotation_angle", PIER | {"multiply": -1, "add": 90}, "West", 183.2),
        ("boresight_rotation_angle", PIER | {"unit": "arcmin"}, "West", 183.2 / 60),
        ("boresight_rotation_angle", PIER | {"default": 10}, "N/E", 10),
        ("boresight_rotation_angle", PIER | {"default": None}, "N/E", None),
        ("exposure_time", {"key": "X", "map": {"short": 500, "long": 2000}, "unit": "ms"}, "Short", 0.5),
        ("observation_counter", {"key": "X", "map": {"A": 1, "B": 2}}, "b", 2),
        ("can_see_sky", {"key": "X", "map": {"OPEN": True, "CLOSED": False}}, "closed", False),
        ("object", {"key": "X", "map": {1: "one", 2: "two"}}, 1, "one"),
        ("object", {"key": "X", "map": {1: "one", 2: "two"}}, 2.0, "two"),
        ("object", {"key": "X", "map": {1: "one", 2: "two"}}, "2", "two"),
        ("object", {"key": "X", "map": {2.5: "two and a half"}}, 2.5, "two and a half"),
        ("object", {"key": "X", "map": {True: "yes", False: "no"}}, False, "no"),
        ("object", {"key": "X", "map": {"T": "yes", "F": "no"}}, True, "yes"),
        ("object", {"template": "{X}-{EXPTIME:.0f}", "map": {"a-30": "half a minute"}}, "A", "half a minute"),
    ],
)
def test_maps(translated: Any, prop: str, source: Any, card: Any, right: Any) -> None:
    key = "PIERSIDE" if source.get("key") == "PIERSIDE" else "X"
    found = getattr(translated({**HEADER, key: card}, **{prop: source}), prop)
    found = getattr(found, "value", found)
    assert found == (pytest.approx(right) if isinstance(right, float) else right)


@pytest.mark.parametrize(
    ("prop", "source", "card"),
    [
        ("boresight_rotation_angle", PIER, "sideways"),
        ("exposure_time", {"key": "PIERSIDE", "map": {"East": 1, "West": 2}}, 3),
        ("object", {"key": "PIERSIDE", "map": {"East": "a", "West": "b"}}, True),
    ],
)
def test_unknown_values_of_a_map(prop: str, source: Any, card: Any) -> None:
    said = failure({**HEADER, "PIERSIDE": card}, **{prop: source})
    assert said.startswith(f"Property {prop} of instrument MyCam (PIERSIDE): {card!r} is none of the values in its map")
    assert said.endswith("which are ['East', 'West'].")


@pytest.mark.parametrize(
    ("cards", "right"),
    [
        ({"OBSTYPE": "dark", "OBJECT": "Nightly BIAS 3"}, "bias"),
        ({"OBSTYPE": "DARK ", "OBJECT": "dark 300s"}, "dark"),
        ({"OBSTYPE": "dark"}, "dark"),
        ({"OBSTYPE": "object", "OBJECT": "bias"}, "science"),
        ({"OBSTYPE": "object", "OBJECT": "Focus run"}, "focus"),
        ({"OBSTYPE": "object", "OBJECT": "M31_foc2"}, "focus"),
        ({"OBSTYPE": "object", "OBJECT": "M31_foc22"}, "science"),
        ({"EXPTIME": 0.0}, "bias"),
        ({"OBJECT": "defocus"}, None),
    ],
)
def test_rules(cards: dict[str, Any], right: str | None) -> None:
    """The first rule that fits counts, and where none does the key."""
    header = {key: value for key, value in HEADER.items() if key != "IMAGETYP"} | cards
    if right is None:
        assert "(OBSTYPE, OBJECT, EXPTIME): the header has no value" in failure(header, observation_type=TYPES)
    else:
        assert translate(header, observation_type=TYPES).observation_type == right
        assert translate_stored(header, observation_type=TYPES).observation_type == right


@pytest.mark.parametrize(
    ("meant", "card", "fits"),
    [
        (False, "OFF", True),
        (False, "no", True),
        (False, False, True),
        (False, 0, True),
        (False, "on", False),
        (False, "x", False),
        (True, "On", True),
        (True, "T", True),
        (True, 1, True),
        (True, 2, False),
    ],
)
def test_words_that_yaml_takes_for_flags(meant: bool, card: Any, fits: bool) -> None:
    """Without quotes off is false."""
    source = {"key": "OBJECT", "rules": [{"when": {"LAMP": meant}, "value": "yes"}]}
    header = {**HEADER, "OBJECT": "other", "LAMP": card}
    for translated in (translate, translate_stored):
        assert translated(header, object=source).object == ("yes" if fits else "other")
    recognise = {"INSTRUME": HEADER["INSTRUME"], "LAMP": meant}
    assert make_translator(describe(recognise=recognise)).can_translate(header) == fits


def test_rules_alone() -> None:
    rules = [{"when": {"FILTER": "[OIII]*"}, "value": 3.5}, {"when": {"FILTER": ["V", "R"]}, "value": 2}]
    header = {**HEADER, "AIRMASS": 1.0}
    assert translate({**HEADER, "RA": 1.0, "DEC": 2.0}, boresight_airmass={"rules": rules}).boresight_airmass == 2
    assert translate(header, boresight_airmass={"rules": rules[:1], "default": None}).boresight_airmass is None
    assert "(FILTER): none of the rules fits;" in failure(header, boresight_airmass={"rules": rules[:1]})
    # Brackets are themselves.
    named = {"key": "OBJECT", "rules": [{"when": {"OBJECT": "[OIII]*"}, "value": "line"}]}
    assert translate({**HEADER, "OBJECT": "O"}, object=named).object == "O"
    assert translate({**HEADER, "OBJECT": "[OIII] M 42"}, object=named).object == "line"


def test_templates_with_properties() -> None:
    properties: dict[str, Any] = {
        "exposure_id": {"template": "{observing_day}{FRAME:05d}"},
        "observation_id": {"template": "{telescope}_{exposure_id}_{physical_filter}"},
        "physical_filter": {"key": "FILTER", "map": {"v": "V"}},
    }
    info = translate({**HEADER, "FRAME": 17, "TELESCOP": "MyTel"}, **properties)
    assert (info.exposure_id, info.observation_id) == (2026040100017, "MyTel_2026040100017_V")
    # The header's key, in upper case, is not the property.
    mapped = {"key": "OBJECT", "map": {"m 51": "M51"}}
    info = translate({**HEADER, "OBJECT": "M 51"}, object=mapped, observation_id={"template": "{OBJECT}/{object}"})
    assert info.observation_id == "M 51/M51"
    # What a property lacks the template lacks.
    said = failure({**HEADER, "FRAME": 17}, observation_id={"template": "{telescope}_{FRAME}"})
    assert "observation_id of instrument MyCam (telescope, FRAME): the header has no value for telescope" in said


def test_cards_of_properties_in_templates_are_used() -> None:
    translator = make_translator(describe(properties={"exposure_id": {"template": "{observing_day}{FRAME:05d}"}}))
    instance = translator({**HEADER, "FRAME": 17})
    instance.to_exposure_id()
    assert instance.cards_used() == {"DATE-OBS", "FRAME"}


@pytest.mark.parametrize(
    ("cards", "right"),
    [
        ({"IMAGETYP": "dark"}, "closed"),
        ({"IMAGETYP": "bias", "FILTER": "  "}, "closed"),
        ({"IMAGETYP": "flat", "FILTER": "V"}, "V"),
        ({"IMAGETYP": "object", "FILTER": "V"}, "V"),
        ({"IMAGETYP": "object"}, None),
        ({"IMAGETYP": "skyflat"}, None),
        ({"IMAGETYP": "flat", "FILTER": "Ha"}, None),
        ({"IMAGETYP": "dark", "FILTER": "Ha"}, None),
    ],
)
def test_filter_of_frames_off_the_sky(cards: dict[str, Any], right: str | None) -> None:
    """Only what the header lacks: a filter that is there and unknown is a mistake, of a flat above all."""
    filters = [{"name": name, "band": name} for name in ("V", "closed")]
    description = describe(
        filters=filters, properties={"physical_filter": {"key": "FILTER", "default_off_sky": "closed"}}
    )
    header = {key: value for key, value in HEADER.items() if key != "FILTER"} | cards
    if right is None:
        with pytest.raises(KeyError, match="physical_filter"):
            translate(header, description)
    else:
        assert translate(header, description).physical_filter == right
