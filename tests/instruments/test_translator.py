"""Translators that are made from instrument descriptions."""

from __future__ import annotations

import re
from typing import Any

import astropy.units as u
import pytest
from astro_metadata_translator import PROPERTIES, MetadataTranslator, ObservationInfo
from astropy.coordinates import FK4, FK5, SkyCoord
from astropy.io import fits
from astropy.time import Time

from butler_visits.instruments.description import read_description
from butler_visits.instruments.translator import make_translator
from example_raws import EXAMPLES, HILLCAM, QUADCAM, describe
from translating import HEADER, failure, translate


@pytest.mark.parametrize("meant", ["science", "Science", "SCIENCE"])
def test_types_in_any_case(meant: str) -> None:
    info = translate(HEADER, observation_type={"key": "IMAGETYP", "map": {"object": meant}})
    assert (info.observation_type, info.observation_reason, info.can_see_sky) == (meant, "science", True)


def test_single_ccd() -> None:
    info = translate(HILLCAM, read_description(EXAMPLES / "hillcam.yaml"))
    assert info.instrument == "HillCam"
    assert info.exposure_id == info.visit_id == 20260401231402
    assert info.observation_id == "hc-2026-04-01T23:14:02.500"
    assert info.datetime_begin.utc.isot == "2026-04-01T23:14:02.500"
    assert (info.datetime_end - info.datetime_begin).to_value("s") == pytest.approx(120.0)
    assert info.exposure_time == info.dark_time == 120 * u.s
    assert info.observing_day == 20260401
    assert info.observation_type == info.observation_reason == "science"
    assert info.physical_filter == "Johnson V"
    assert info.object == "M 51"
    assert info.science_program == "survey"
    expected = SkyCoord("13h29m52.7s", "+47d11m43s")
    assert info.tracking_radec.separation(expected).arcsec < 1e-6
    assert info.boresight_rotation_angle.deg == pytest.approx(60.0)
    assert info.boresight_rotation_coord == "sky"
    assert (info.altaz_begin.alt.deg, info.altaz_begin.az.deg) == pytest.approx((71.5, 123.25))
    assert info.location.lat.deg == pytest.approx(47.7)
    assert (info.detector_num, info.detector_unique_name) == (0, "CCD")
    assert info.can_see_sky is True


def test_mosaic() -> None:
    description = read_description(EXAMPLES / "quadcam.yaml")
    info = translate({**QUADCAM, "CHIP": 4}, description)
    assert info.exposure_id == 2026040100017
    assert info.observation_id == "QC.20260401.00017"
    assert info.exposure_group == "20260401-B0004"
    assert info.observation_counter == info.group_counter_start == info.group_counter_end == 17
    assert info.observing_day == 20260401
    assert info.exposure_time.to_value("s") == 30.0
    assert info.dark_time is None
    assert info.datetime_end.utc.mjd == pytest.approx(QUADCAM["MJD-END"], abs=1e-12)
    assert info.physical_filter == "r_quad"
    assert info.altaz_begin.alt.deg == pytest.approx(90 - 31.25)
    expected = SkyCoord(150.25 * u.deg, -20.5 * u.deg, frame="fk5", equinox=Time(2026.25, format="jyear"))
    assert info.tracking_radec.icrs.separation(expected.icrs).arcsec < 1e-6
    assert (info.detector_num, info.detector_name) == (3, "SE")


@pytest.mark.parametrize(
    ("cards", "frame"),
    [
        ({}, "icrs"),
        ({"RADESYS": "ICRS", "EQUINOX": 2000.0}, "icrs"),
        ({"RADESYS": "fk5"}, "fk5"),
        ({"EQUINOX": 2026.25}, FK5(equinox=Time(2026.25, format="jyear"))),
        ({"EQUINOX": "B1950"}, FK4(equinox="B1950")),
        ({"RADECSYS": "FK4", "EPOCH": "1950.0"}, FK4(equinox="B1950")),
        ({"EQUINOX": 0}, "icrs"),
        ({"EQUINOX": "N/A"}, "icrs"),
    ],
)
def test_frame_of_the_header(cards: dict[str, Any], frame: Any) -> None:
    """RA and DEC are in it, unless the description says otherwise; other keywords are not."""
    found = translate({**HEADER, "RA": 150.0, "DEC": 2.0, **cards}).tracking_radec
    expected = SkyCoord(150.0, 2.0, unit="deg", frame=frame)
    assert found.icrs.separation(expected.icrs).arcsec < 1e-6
    described = {"ra": "RA", "dec": "DEC", "frame": "icrs"}, {"ra": "TELRA", "dec": "TELDEC"}
    for tracking in described:
        header = {**HEADER, tracking["ra"]: "10:00:00", tracking["dec"]: 2.0, **cards}
        found = translate(header, tracking_radec=tracking).tracking_radec
        assert found.icrs.separation(SkyCoord(150.0, 2.0, unit="deg")).arcsec < 1e-6


@pytest.mark.parametrize(("key", "value"), [("RADESYS", "GAPPT"), ("EQUINOX", "tonight")])
def test_unknown_frame_of_the_header(key: str, value: str) -> None:
    assert re.search(f"{key} is '{value}'.*give a frame", failure({**HEADER, "RA": 150.0, "DEC": 2.0, key: value}))


@pytest.mark.parametrize("value", [0.0, 20.0, 60436.0, 2460437.5, "2460437.5", "tonight"])
def test_equinox_that_is_none(value: Any) -> None:
    """Precession over millennia would put the exposure anywhere."""
    source = {"ra": "RA", "dec": "DEC", "frame": "fk5", "equinox": "EQ"}
    said = failure({**HEADER, "RA": 150.0, "DEC": 2.0, "EQ": value}, tracking_radec=source)
    assert re.search(r"Property tracking_radec\.equinox of instrument MyCam \(EQ\): .*" + re.escape(str(value)), said)
    assert "list it under missing" in said


@pytest.mark.parametrize(
    ("value", "frame"),
    [
        (2000.0, FK5(equinox="J2000")),
        (" 2000 ", FK5(equinox="J2000")),
        ("j2000.0", FK5(equinox="J2000")),
        ("B1950", FK5(equinox="B1950")),
        ("JNow", FK5(equinox=Time("2026-04-01T23:14:02.5"))),
        ("N/A", FK5(equinox="J1975")),
    ],
)
def test_equinox(value: Any, frame: Any) -> None:
    equinox = {"key": "EQ", "default": "J1975"}
    source = {"ra": "RA", "dec": "DEC", "frame": "fk5", "equinox": equinox}
    found = translate({**HEADER, "RA": 150.0, "DEC": 2.0, "EQ": value}, tracking_radec=source).tracking_radec
    assert found.icrs.separation(SkyCoord(150.0, 2.0, unit="deg", frame=frame).icrs).arcsec < 1e-4


def test_all_properties_have_a_translation() -> None:
    info = translate(HEADER)
    assert all(hasattr(info, name) for name in PROPERTIES)
    assert info.tracking_radec is info.boresight_rotation_angle is info.altaz_begin is info.science_program is None
    assert info.boresight_rotation_coord == "unknown"


def test_same_description_same_translator() -> None:
    """And astro_metadata_translator does not know it: one process may have several descriptions of one instrument."""
    first = make_translator(describe(name="FoundCam", recognise={"CAM": ["A", "B"], "VERSION": 3}))
    assert first is make_translator(describe(name="FoundCam", recognise={"CAM": ["A", "B"], "VERSION": 3}))
    for name in ("A", " b "):
        header = fits.Header({**HEADER, "INSTRUME": "X", "CAM": name, "VERSION": 3}.items())
        assert first.can_translate(header)
        assert ObservationInfo(header, translator_class=first, quiet=True).translator_name == "FoundCam"
    for cards in ({"CAM": "C", "VERSION": 3}, {"CAM": "A", "VERSION": 4}, {"CAM": "A"}):
        assert not first.can_translate({**HEADER, **cards})
    assert make_translator(describe(name="FoundCam", recognise={"CAM": "C"})) is not first
    assert "FoundCam" not in MetadataTranslator.translators


@pytest.mark.parametrize(
    ("header", "given", "expected"),
    [
        ({}, "object", "science"),
        ({}, "LIGHT FRAME", "science"),
        ({}, "Zero", "bias"),
        ({}, "Dark Frame", "dark"),
        ({}, "Flat Field", "flat"),
        ({}, "Focus", "focus"),
    ],
)
def test_observation_types(header: dict[str, Any], given: str, expected: str) -> None:
    assert translate({**HEADER, "IMAGETYP": given, **header}).observation_type == expected


@pytest.mark.parametrize(("given", "sees"), [("object", True), ("bias", False), ("flat", False), ("focus", None)])
def test_off_sky_has_no_pointing(given: str, sees: bool | None) -> None:
    header = {**HEADER, "IMAGETYP": given, "RA": 10.0, "DEC": -20.0, "ROT": 5.0}
    info = translate(header, boresight_rotation_angle="ROT")
    assert info.can_see_sky is sees
    assert (info.tracking_radec is None) == (info.boresight_rotation_angle is None) == (sees is False)
    # Nor need it have one.
    if sees is False:
        translate({**HEADER, "IMAGETYP": given}, boresight_rotation_angle="ROT", tracking_radec={"ra": "A", "dec": "B"})


@pytest.mark.parametrize(
    ("parts", "angle"),
    [
        ((-5, 30, 15.5), -5 - 30 / 60 - 15.5 / 3600),
        ((-0.0, 30, 15.5), -30 / 60 - 15.5 / 3600),
        ((5.0, 30.0, 0.0), 5.5),
        (("-00", "30", "15"), -30 / 60 - 15 / 3600),
        ((5.5, 30, 15), None),
    ],
)
def test_parts_of_an_angle(parts: tuple[Any, ...], angle: float | None) -> None:
    cards = {**HEADER, **dict(zip("DMS", parts, strict=True)), "RA": 150.0}
    for template in ("{D}:{M}:{S}", "{D} {M} {S}"):
        source = {"ra": "RA", "dec": {"template": template}}
        if angle is None:
            assert "(D, M, S): expected a number or an angle" in failure(cards, tracking_radec=source)
        else:
            assert translate(cards, tracking_radec=source).tracking_radec.dec.deg == pytest.approx(angle, abs=1e-12)


@pytest.mark.parametrize(
    ("ra", "unit", "expected"),
    [
        (187.5, None, 187.5),
        ("187.5", None, 187.5),
        ("12:30:00", None, 187.5),
        ("12 30 00", None, 187.5),
        ("12:30:00", "hourangle", 187.5),
        ("12:30:00", "deg", 12.5),
        (12.5, "hourangle", 187.5),
        ("12.5", "hourangle", 187.5),
    ],
)
def test_right_ascensions(ra: Any, unit: str | None, expected: float) -> None:
    source = {"key": "RA"} if unit is None else {"key": "RA", "unit": unit}
    info = translate({**HEADER, "RA": ra, "DEC": "-30:15:00"}, tracking_radec={"ra": source, "dec": "DEC"})
    assert info.tracking_radec.ra.deg == pytest.approx(expected, abs=1e-12)
    assert info.tracking_radec.dec.deg == pytest.approx(-30.25, abs=1e-12)


@pytest.mark.parametrize(
    ("source", "cards", "expected"),
    [
        ({"key": "T"}, {"T": "2026-04-01T23:14:02.5"}, "2026-04-01T23:14:39.500"),
        ({"key": "T"}, {"T": "2026-04-01 23:14:02.5Z"}, "2026-04-01T23:14:39.500"),
        ({"key": "T"}, {"T": "2026-04-01T23:14:02.5", "TIMESYS": "TAI"}, "2026-04-01T23:14:02.500"),
        ({"key": "T", "scale": "utc"}, {"T": "2026-04-01T23:14:02.5", "TIMESYS": "TAI"}, "2026-04-01T23:14:39.500"),
        ({"key": "T", "scale": "tai", "format": "mjd"}, {"T": 61131.5}, "2026-04-01T12:00:00.000"),
        ({"key": "T", "scale": "tai", "format": "jd"}, {"T": "2461132.0"}, "2026-04-01T12:00:00.000"),
        ({"template": "{D}T{T}", "scale": "tai"}, {"D": "2026-04-01", "T": "23:14:02"}, "2026-04-01T23:14:02.000"),
    ],
)
def test_times(source: dict[str, Any], cards: dict[str, Any], expected: str) -> None:
    assert translate({**HEADER, **cards}, datetime_begin=source).datetime_begin.tai.isot == expected


@pytest.mark.parametrize(("offset", "day"), [(0, 20260401), (-1, 20260402), (12, 20260401), (24, 20260331)])
def test_observing_day(offset: float, day: int) -> None:
    info = translate(HEADER, describe(day_obs_offset_hours=offset))
    assert info.observing_day == day
    assert info.observing_day_offset.to_value("h") == offset
    assert translate({**HEADER, "N": "2026-03-05"}, observing_day="N").observing_day == 20260305


@pytest.mark.parametrize("missing", [None, "", "   ", float("nan")])
def test_candidates_and_defaults(missing: Any) -> None:
    source = {"key": ["A", "B"], "unit": "ms", "multiply": 2, "default": 7}
    assert translate({**HEADER, "A": missing, "B": 500}, exposure_time=source).exposure_time.to_value("s") == 1.0
    # The default is in the unit, and is not changed otherwise.
    assert translate({**HEADER, "A": missing}, exposure_time=source).exposure_time.to_value("ms") == 7.0
    # Nor is it when the header has the same number.
    assert translate({**HEADER, "A": 7}, exposure_time=source).exposure_time.to_value("ms") == 14.0
    assert translate(HEADER, object={"key": "A", "default": None}).object is None


@pytest.mark.parametrize(
    ("properties", "cards", "said"),
    [
        ({}, {"EXPTIME": None}, "Property exposure_time of instrument MyCam (EXPTIME): the header has no value"),
        ({}, {"EXPTIME": "long"}, "(EXPTIME): expected a number, not 'long'"),
        ({}, {"EXPTIME": True}, "(EXPTIME): expected a number, not True"),
        ({}, {"EXPTIME": -1}, "expected no negative number"),
        ({}, {"DATE-OBS": "yesterday"}, "(DATE-BEG, DATE-OBS): 'yesterday' is not a time of format isot and scale utc"),
        ({}, {"DATE-OBS": "2026-04-01"}, "there is no time of day; put date and time together with a template"),
        ({}, {"DATE-OBS": "2026-13-01T00:00:00"}, "is not a time of format isot"),
        ({}, {"TIMESYS": "PST"}, "the header's TIMESYS is 'PST', which is not a time scale; give a scale"),
        ({}, {"FILTER": "U"}, "Property physical_filter of instrument MyCam (FILTER): 'U' is none of the filters"),
        ({}, {"FILTER": None}, "correct the header, or give another key or a default"),
        ({}, {"RA": "north", "DEC": 0}, "Property tracking_radec.ra of instrument MyCam (RA): expected a number or"),
        ({}, {"RA": 0, "DEC": 91.0}, "Property tracking_radec.dec of instrument MyCam (DEC): 91.0 degrees"),
        ({"boresight_rotation_angle": "ROT"}, {}, "Property boresight_rotation_angle of instrument MyCam (ROT)"),
        ({"exposure_id": "N"}, {"N": "12a"}, "(N): expected a whole number, not '12a'"),
        ({"exposure_id": "N"}, {"N": 1.5}, "(N): expected a whole number, not 1.5"),
        ({"exposure_id": {"template": "{A}{B:05d}"}}, {"A": 1}, "(A, B): the header has no value for B"),
        ({"exposure_id": {"template": "{A:05d}"}}, {"A": "x"}, "does not go into '{A:05d}'"),
        ({"observation_type": {"key": "K", "map": {"S": "science"}}}, {"K": "Q"}, "'Q' is none of the values in its"),
        ({"detector_num": "CCD"}, {"CCD": 3}, "Property detector_num of instrument MyCam (CCD): 3 is none of"),
        ({"can_see_sky": "SKY"}, {"SKY": "yes"}, "(SKY): expected T or F, not 'yes'"),
    ],
)  # fmt: skip
def test_what_headers_lack(properties: dict[str, Any], cards: dict[str, Any], said: str) -> None:
    header = {key: value for key, value in {**HEADER, **cards}.items() if value is not None}
    assert said in failure(header, **properties)


def test_cards_used() -> None:
    translator = make_translator(describe())(HEADER)
    assert translator.cards_used() == set()
    translator.to_datetime_end()
    assert translator.cards_used() == {"DATE-OBS", "EXPTIME"}
