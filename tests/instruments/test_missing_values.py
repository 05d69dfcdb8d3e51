"""What stands for no value in headers, and what stands for another one and must not count."""

from __future__ import annotations

from typing import Any

import pytest
from test_translator import HEADER, failure, translate

from example_raws import describe

SKY = {"RA": 150.0, "DEC": 2.0}

FORMS = ["N/A", "n/a", "NA", "UNKNOWN", "nan", "None", "##:##:##", "--:--:--", "INDEF", "?", "*****", "", "  "]
"""What programs write that know no value."""


@pytest.mark.parametrize("form", [*FORMS, float("nan"), float("inf")])
def test_optional_values(form: Any) -> None:
    for key in ("RA", "DEC", "OBJECT", "PROPID", "TELESCOP", "AIRMASS", "TIMESYS"):
        info = translate({**HEADER, **SKY, "OBJECT": "M 1", key: form})
        assert (info.tracking_radec is None) is (key in SKY)
        assert (info.object is None) is (key == "OBJECT")
        assert info.science_program is info.telescope is info.boresight_airmass is None
        assert info.datetime_begin.utc.isot == "2026-04-01T23:14:02.500"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("key", "prop"),
    [
        ("EXPTIME", "exposure_time"),
        ("DATE-OBS", "datetime_begin"),
        ("IMAGETYP", "observation_type"),
        ("FILTER", "physical_filter"),
    ],
)
def test_required_values(key: str, prop: str, form: str) -> None:
    said = failure({**HEADER, key: form})
    assert f"Property {prop} of instrument MyCam" in said
    assert "the header has no value" in said


def test_next_key_counts() -> None:
    assert translate({**HEADER, "IMAGETYP": "UNKNOWN", "OBSTYPE": "dark"}).observation_type == "dark"
    assert "no value for UT" in failure(
        {**HEADER, "DATE-OBS": "2026-04-01", "UT": "##:##:##"}, datetime_begin={"template": "{DATE-OBS}T{UT}"}
    )


def test_names_that_a_description_knows() -> None:
    """They are values, even if others mean none by them."""
    kind = {"key": "IMAGETYP", "map": {"UNKNOWN": "test"}}
    assert translate({**HEADER, "IMAGETYP": "unknown"}, observation_type=kind).observation_type == "test"
    description = describe(filters=[{"name": "None", "band": "white"}, {"name": "NA", "band": "Na"}])
    for name in ("None", "NA"):
        assert translate({**HEADER, "FILTER": name}, description).physical_filter == name
    detectors = [{"id": 0, "name": "N.A"}, {"id": 1, "name": "-"}]
    description = describe(detectors=detectors, properties={"detector_name": "CHIP"})
    assert translate({**HEADER, "CHIP": "-"}, description).detector_num == 1


@pytest.mark.parametrize("value", [-999, -999.0, "-999", "-999.00", "off", "OFF"])
def test_values_that_a_description_calls_missing(value: Any) -> None:
    description = describe(missing=["off", -999])
    info = translate({**HEADER, **SKY, "OBJECT": "M 1", "RA": value}, description)
    assert (info.tracking_radec, info.object) == (None, "M 1")
    assert "(EXPTIME): the header has no value" in failure_of({**HEADER, "EXPTIME": value}, missing=["off", -999])


def test_a_word_that_yaml_takes_for_a_flag() -> None:
    """Without quotes off is false, which is no number."""
    description = describe(missing=[False])
    assert translate({**HEADER, **SKY, "RA": "OFF"}, description).tracking_radec is None
    assert translate({**HEADER, **SKY, "OBJECT": "F"}, description).object == "F"
    info = translate({**HEADER, **SKY, "RA": 0.0, "EXPTIME": 0}, description)
    assert info.tracking_radec is not None
    assert info.exposure_time.value == 0


def failure_of(header: dict[str, Any], **settings: Any) -> str:
    """Return why a header cannot be translated with other settings of the description."""
    with pytest.raises(KeyError) as error:
        translate(header, describe(**settings))
    return str(error.value.__cause__)


@pytest.mark.parametrize(
    ("properties", "cards", "said"),
    [
        ({}, {"RA": 999.0}, "(RA): 999.0 degrees is not from -360 to 360; if it stands for no value, list it under"),
        ({}, {"RA": -999}, "(RA): -999.0 degrees is not"),
        ({}, {"RA": "999"}, "(RA): 999.0 degrees is not"),
        ({}, {"RA": "25:00:00"}, "(RA): expected a number or an angle such as 12:34:56.7, not '25:00:00'"),
        ({}, {"RA": "25:61:00"}, "(RA): expected a number or an angle such as 12:34:56.7, not '25:61:00'"),
        ({}, {"RA": "12:61:00"}, "not '12:61:00'"),
        ({}, {"RA": "150,5"}, "not '150,5'"),
        ({}, {"DEC": 99.0}, "(DEC): 99.0 degrees is not from -90 to 90"),
        ({}, {"DEC": "-90:00:01"}, "(DEC): -90.00027777777778 degrees is not from -90 to 90"),
        ({}, {"DEC": -999}, "(DEC): -999.0 degrees is not from -90 to 90"),
        ({"tracking_radec": {"ra": {"key": "RA", "unit": "hourangle"}, "dec": "DEC"}}, {"RA": 25}, "is not from -360"),
        ({"boresight_rotation_angle": "ROT"}, {"ROT": -999}, "(ROT): -999.0 degrees is not from -720 to 720"),
        ({"altaz_begin": {"alt": "ALT", "az": "AZ"}}, {"ALT": 30, "AZ": -999}, "(AZ): -999.0 degrees is not from -720"),
        ({"altaz_begin": {"alt": "ALT", "az": "AZ"}}, {"ALT": -999, "AZ": 1}, "(ALT): -999.0 degrees is not from -90"),
        ({}, {"EXPTIME": "30,0"}, "(EXPTIME): expected a number, not '30,0'"),
        ({}, {"EXPTIME": "3_0"}, "(EXPTIME): expected a number, not '3_0'"),
        ({}, {"EXPTIME": 30 + 1j}, "(EXPTIME): expected a number, not (30+1j)"),
        ({}, {"EXPTIME": "-30"}, "expected no negative number"),
        ({"exposure_id": "N"}, {"N": 1 + 1j}, "(N): expected a whole number"),
        ({"exposure_id": "N"}, {"N": "1_0"}, "(N): expected a whole number"),
        ({}, {"TIMESYS": "LOCAL"}, "TIMESYS is LOCAL, and nothing says how far that is from UTC; give a key"),
        ({}, {"TIMESYS": "UTC+2"}, "the header's TIMESYS is 'UTC+2', which is not a time scale; give a scale"),
        ({}, {"DATE-OBS": "2026-04-01T23:14:02Z", "TIMESYS": "TAI"}, "the scale is TAI"),
        ({"datetime_begin": {"key": "T", "format": "jd"}}, {"T": 60436.5}, "(T): 60436.5 is not a time of format jd"),
        ({"datetime_begin": {"key": "T", "format": "mjd"}}, {"T": 2460437.5}, "that would be the year 8595"),
        ({"datetime_begin": {"key": "T", "format": "unix"}}, {"T": 1714979289500}, "the year 56314"),
        ({}, {"DATE-OBS": "06/05/24", "TIME-OBS": "07:08:09"}, "old form"),
    ],
)  # fmt: skip
def test_what_is_not_wrapped_and_not_guessed(properties: dict[str, Any], cards: dict[str, Any], said: str) -> None:
    assert said in failure({**HEADER, **SKY, **cards}, **properties)


@pytest.mark.parametrize(
    ("ra", "dec", "expected"),
    [(-10.0, -90, (350.0, -90.0)), (360, 90, (0.0, 90.0)), ("24:00:00", "+90:00:00", (0.0, 90.0))],
)
def test_ends_of_the_sphere(ra: Any, dec: Any, expected: tuple[float, float]) -> None:
    found = translate({**HEADER, "RA": ra, "DEC": dec}).tracking_radec
    assert ((found.ra.deg + 1e-6) % 360, found.dec.deg) == pytest.approx((expected[0] + 1e-6, expected[1]), abs=1e-9)


def test_fortran_exponents() -> None:
    assert translate({**HEADER, "EXPTIME": "3.0D1"}).exposure_time.to_value("s") == 30.0


@pytest.mark.parametrize("time", ["23:14:02.5", 83642.5, "23 14 02.5"])
def test_date_and_time_in_two_cards(time: Any) -> None:
    """DATE-OBS and TIME-OBS, as FITS had it."""
    header = {**HEADER, "DATE-OBS": "2026-04-01", "TIME-OBS": time}
    assert translate(header).datetime_begin.utc.isot == "2026-04-01T23:14:02.500"
    assert "put date and time together with a template" in failure({**header, "TIME-OBS": "N/A"})


def test_ids_with_the_fraction_of_the_second() -> None:
    for source, cards in (("DATE-OBS", {}), ({"template": "{D}T{T}"}, {"D": "2026-04-01", "T": "23:14:02.5"})):
        info = translate({**HEADER, **cards}, exposure_id=source)
        assert (info.exposure_id, info.observation_id) == (20260401231402500, "20260401231402500")
    assert "(N): '2026-04-01T25:00' is not a time" in failure({**HEADER, "N": "2026-04-01T25:00"}, exposure_id="N")


@pytest.mark.parametrize(
    ("given", "angle"), [(400.0, 40.0), (-400.0, 320.0), (720, 0.0), (360.0, 360.0), (-90.0, -90.0), ("365:30:00", 5.5)]
)
def test_more_than_a_turn(given: Any, angle: float) -> None:
    """Rotators and mounts turn more than once; what is within a turn stays as it is."""
    properties: dict[str, Any] = {"boresight_rotation_angle": "ROT", "altaz_begin": {"alt": "ALT", "az": "ROT"}}
    info = translate({**HEADER, **SKY, "ALT": 30.0, "ROT": given}, **properties)
    assert info.boresight_rotation_angle.deg == pytest.approx(angle, abs=1e-12)
    assert info.altaz_begin.az.deg == pytest.approx(angle % 360, abs=1e-12)
