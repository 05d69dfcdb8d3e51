"""Moments as headers write them: the right one, or a refusal."""

from __future__ import annotations

import pytest

from butler_visits.instruments.times import digits_of_time, read_scale, read_time


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-06T07:08:09.5", "2024-05-06T07:08:09.500000000"),
        ("2024-05-06T07:08:09.123456789", "2024-05-06T07:08:09.123456789"),
        ("2024-05-06 07:08:09,5", "2024-05-06T07:08:09.500000000"),
        ("2024-05-06T07:08", "2024-05-06T07:08:00.000000000"),
        ("2024-05-06T08:00:00Z", "2024-05-06T08:00:00.000000000"),
        ("2024-05-06T08:00:00 UTC", "2024-05-06T08:00:00.000000000"),
        ("2024-05-06T08:00:00+00:00", "2024-05-06T08:00:00.000000000"),
        ("2024-05-06T01:00:00+02:00", "2024-05-05T23:00:00.000000000"),
        ("2024-05-06T08:00:00-0330", "2024-05-06T11:30:00.000000000"),
        ("2024-05-06T08:00:00 +02", "2024-05-06T06:00:00.000000000"),
        ("06/05/98T07:08:09", "1998-05-06T07:08:09.000000000"),
        ("25/05/1998T07:08:09", "1998-05-25T07:08:09.000000000"),
        ("05/25/1998T07:08:09", "1998-05-25T07:08:09.000000000"),
        ("2024/05/06T07:08:09", "2024-05-06T07:08:09.000000000"),
        ("2024/5/6T7:8:9", "2024-05-06T07:08:09.000000000"),
        ("2024:05:06 07:08:09", "2024-05-06T07:08:09.000000000"),
        ("2024-05-06T07 08 09.5", "2024-05-06T07:08:09.500000000"),
        ("2024-05-06T 7: 8: 9.5", "2024-05-06T07:08:09.500000000"),
        ("2024-05-06T07h08m09.5s", "2024-05-06T07:08:09.500000000"),
        ("2024-05-06T25689.5", "2024-05-06T07:08:09.500000000"),
        ("2024-05-06T0", "2024-05-06T00:00:00.000000000"),
        ("20240506T070809.5", "2024-05-06T07:08:09.500000000"),
        ("20240506T25689.5", "2024-05-06T07:08:09.500000000"),
        ("2024-05-06T24:00:00", "2024-05-07T00:00:00.000000000"),
        ("2024-05-06T07:08:60", "2024-05-06T07:09:00.000000000"),
        ("2024-05-06T23:59:60.0", "2024-05-07T00:00:00.000000000"),
        ("2016-12-31T23:59:60.5", "2016-12-31T23:59:60.500000000"),
    ],
)
def test_texts(text: str, expected: str) -> None:
    time = read_time(text, "isot", "utc").utc
    time.precision = 9
    assert time.isot == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("2024-05-06", "no time of day"),
        ("yesterday", "expected one such as"),
        ("06/05/24T07:08:09", "old form"),
        ("05/25/98T07:08:09", "old form"),
        ("06-05-98T07:08:09", "old form"),
        ("06/05/1998T07:08:09", "day and month or month and day"),
        ("2024-02-30T00:00:00", "day"),
        ("2024-13-01T00:00:00", "month"),
        ("0000-00-00T00:00:00", "year"),
        ("2024-05-06T7.136", "hours"),
        ("2024-05-06T070809", "hhmmss"),
        ("2024-05-06T123456", "hhmmss"),
        ("20240506T70809", "hhmmss"),
        ("2024-05-06T86400", "hhmmss"),
        ("2024-05-06T07:60:00", "not a time of day"),
        ("2024-05-06T07:08:60.5", "not a time of day"),
        ("2024-05-06T24:00:01", "not a time of day"),
        ("2024-05-06T25:00:00", "not a time of day"),
        ("2024-05-06T07:08:09 PM", "not a time of day"),
        ("2024-05-06T-1:00:00", "not a time of day"),
        ("2024-05-06T08:00:00+15:00", "offset from UTC"),
        ("2024-05-06T08:00:00+01:75", "offset from UTC"),
        ("2024-05-06T07:08:09T07:08:09", "not a time of day"),
    ],
)
def test_what_is_no_time_or_doubtful(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_time(text, "isot", "utc")


@pytest.mark.parametrize(
    ("value", "form", "scale", "tai"),
    [
        ("60436.5", "mjd", "tai", "2024-05-06T12:00:00.000000000"),
        (60436.5, "mjd", "utc", "2024-05-06T12:00:37.000000000"),
        ("2460437.0D0", "jd", "tt", "2024-05-06T11:59:27.816000000"),
        ("60436.123456789012345", "mjd", "tai", "2024-05-06T02:57:46.666570667"),
        ("2024-05-06T12:00:00", "isot", "gps", "2024-05-06T12:00:19.000000000"),
        (60436.5, "mjd", "gps", "2024-05-06T12:00:19.000000000"),
        ("2024-05-06T12:00:00+02:00", "isot", "local", "2024-05-06T10:00:37.000000000"),
        ("2024-05-06T12:00:00", "isot", "tcg", "2024-05-06T11:59:26.774737898"),
    ],
)
def test_scales(value: str | float, form: str, scale: str, tai: str) -> None:
    time = read_time(value, form, scale).tai
    time.precision = 9
    assert time.isot == tai


def test_universal_time_of_the_rotating_earth() -> None:
    """It is less than a second from UTC, by tables that end some time."""
    time = read_time("2016-05-06T12:00:00", "isot", "ut1")
    assert 0.1 < abs((time.tai - read_time("2016-05-06T12:00:00", "isot", "utc").tai).to_value("s")) < 0.9
    with pytest.raises(ValueError, match="how far UT1 is from UTC is not known yet"):
        read_time("2095-05-06T12:00:00", "isot", "ut1")


@pytest.mark.parametrize(
    ("value", "form", "scale", "problem"),
    [
        ("2024-05-06T08:00:00", "isot", "local", "TIMESYS is LOCAL.*give a key that has UTC"),
        (60436.5, "mjd", "local", "TIMESYS is LOCAL"),
        ("2024-05-06T08:00:00Z", "isot", "tai", "the scale is TAI"),
        ("2024-05-06T08:00:00+02:00", "isot", "gps", "the scale is GPS"),
        ("60_436", "mjd", "utc", "no number"),
        ("noon", "mjd", "utc", "float"),
        (True, "mjd", "utc", "no number"),
    ],
)
def test_scales_that_contradict(value: str | float, form: str, scale: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_time(value, form, scale)


@pytest.mark.parametrize(
    ("value", "scale"),
    [
        *((name, "utc") for name in ("UTC", "utc", "UT", "GMT", "UTC approximate", "UTC(NTP)", "UTC (NIST)", " utc ")),
        *((name, "utc") for name in (None, "", "  ", "N/A", "UNKNOWN")),
        *((name, "tai") for name in ("TAI", "IAT", "TAI(NIST)")),
        *((name, "tt") for name in ("TT", "TDT", "ET", "tt(tai)")),
        *((name, name.lower()) for name in ("TDB", "TCB", "TCG", "GPS", "UT1", "LOCAL")),
        ("local time", "local"),
    ],
)
def test_timesys(value: str | None, scale: str) -> None:
    assert read_scale(value) == scale


@pytest.mark.parametrize("value", ["UTC+2", "GMT -4", "UTC/local", "UTCX", "PST", "Universal", 5, True])
def test_timesys_that_is_not_known(value: object) -> None:
    with pytest.raises(ValueError, match=r"TIMESYS is .* not a time scale"):
        read_scale(value)


def test_digits() -> None:
    time = read_time("2024-05-06T07:08:09.5", "isot", "utc")
    assert digits_of_time(time.tai) == 20240506070809
    assert digits_of_time(time.tai, milliseconds=True) == 20240506070809500
