"""Exposures from tables of any kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from astropy.time import Time
from lsst.daf.butler import Butler, Timespan
from lsst.daf.butler.registry import ConflictingDefinitionError

from butler_visits import DefineVisitsTask
from butler_visits.errors import IngestError
from butler_visits.ingest import ingest_table
from ingest_helpers import BEGINS, DESCRIPTION, cluster_of, records, small, summary
from simulated_survey import INSTRUMENT, night
from templates import make_repository

SURVEY = [one for one in night(40) if one["observation_type"] == "science"]
FIELDS = (
    *("obs_id", "exposure_time", "dark_time", "day_obs", "observation_type", "observation_reason", "physical_filter"),
    *("target_name", "science_program", "group", "seq_num", "seq_start", "seq_end", "tracking_ra", "tracking_dec"),
    *("sky_angle", "azimuth", "zenith_angle", "can_see_sky", "has_simulated"),
)
MJDS = [61131.96875, 61131.96945023148, 61132.00208333333]
LEAP_SECONDS = 37


both = pytest.mark.usefixtures("database")
"""For tests that run with both databases: those of what is written, not of what is read from headers and tables."""


@pytest.fixture
def butler(tmp_path: Path, request: pytest.FixtureRequest) -> Butler:
    """Create an empty repository."""
    return make_repository(tmp_path / "repository", cluster=cluster_of(request))


def survey_table() -> Table:
    """Make a table of a simulated survey, with all that exposures can have."""
    table = Table({name: [one[name] for one in SURVEY] for name in FIELDS})
    table["exposure_id"] = [one["id"] for one in SURVEY]
    for column, index in (("datetime_begin", 0), ("datetime_end", 1)):
        nsec = np.array([one["timespan"].nsec[index] for one in SURVEY])
        days, rest = np.divmod(nsec, 86_400_000_000_000)
        times = Time(days + 2440587.5, rest / 86_400_000_000_000, format="jd", scale="tai")
        times.format = "isot"
        times.precision = 9
        table[column] = times.value
    return table


def write_parquet(table: Table, path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({name: table[name].tolist() for name in table.colnames}), path)


WRITERS: dict[str, Callable[[Table, Path], None]] = {
    "ecsv": lambda table, path: table.write(path, format="ascii.ecsv"),
    "csv": lambda table, path: table.write(path, format="ascii.csv"),
    "fits": lambda table, path: table.write(path, format="fits"),
    "vot": lambda table, path: table.write(path, format="votable"),
    "parquet": write_parquet,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_formats(butler: Butler, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"survey.{kind}"
    WRITERS[kind](survey_table(), path)
    result = ingest_table(butler, path, DESCRIPTION, time_scale="tai")
    n = len(SURVEY)
    assert summary(result) == (n, n, 0, 0, 0, n)
    assert result.exposures == {INSTRUMENT: [one["id"] for one in SURVEY]}
    for record, one in zip(records(butler, "exposure"), SURVEY, strict=True):
        expected = {"instrument": INSTRUMENT, **one}
        for name in record.fields.names:
            assert (
                getattr(record, name) == pytest.approx(expected[name])
                if isinstance(expected[name], float)
                else getattr(record, name) == expected[name]
            ), name
    assert summary(ingest_table(butler, path, DESCRIPTION, time_scale="tai")) == (n, 0, n, 0, 0, 0)


def begins(butler: Butler) -> list[float]:
    """Return when the exposures began, in seconds since the first of `BEGINS`, as UTC."""
    first = Time(BEGINS[0], scale="utc").unix_tai * 1e9
    return [(record.timespan.nsec[0] - first) / 1e9 for record in records(butler, "exposure")]


@both
def test_defaults(butler: Butler) -> None:
    ingest_table(butler, small(), "NewCam")
    first, *_, last = records(butler, "exposure")
    assert first.toDict() == {
        "instrument": "NewCam",
        "id": 1,
        "obs_id": "1",
        "day_obs": 20260401,
        "group": "1",
        "physical_filter": "g",
        "exposure_time": None,
        "dark_time": None,
        "observation_type": "science",
        "observation_reason": "science",
        "seq_num": 0,
        "seq_start": 0,
        "seq_end": 0,
        "target_name": None,
        "science_program": None,
        "tracking_ra": None,
        "tracking_dec": None,
        "sky_angle": None,
        "azimuth": None,
        "zenith_angle": None,
        "has_simulated": False,
        "can_see_sky": True,
        "timespan": first.timespan,
    }
    assert last.day_obs == 20260402
    assert begins(butler) == pytest.approx([0, 60.5, 2880], abs=1e-6)
    (instrument,) = records(butler, "instrument")
    assert instrument.class_name == "butler_visits.instruments.described.NewCam"
    assert {record.name: record.band for record in records(butler, "physical_filter")} == {"g": "g", "r": "r"}
    assert {record.id: record.timespan for record in records(butler, "day_obs")}[20260401] == Timespan.from_day_obs(
        20260401
    )


@pytest.mark.parametrize(
    ("column", "scale", "shift"),
    [
        (BEGINS, "utc", 0),
        (BEGINS, "tai", -LEAP_SECONDS),
        ([text.replace("T", " ") for text in BEGINS], "utc", 0),
        ([f"{text}Z" for text in BEGINS], "utc", 0),
        (MJDS, "utc", 0),
        (MJDS, "tai", -LEAP_SECONDS),
        ([mjd + 2400000.5 for mjd in MJDS], "utc", 0),
        ([mjd * 24 for mjd in MJDS] * u.hour, "utc", 0),
        (MJDS * u.day, "utc", 0),
        ([MJDS[0], MJDS[1] + 2400000.5, MJDS[2]], "utc", 0),
        (Time(BEGINS).unix * u.s, "utc", 0),
        (np.array(BEGINS, dtype="datetime64[ns]"), "utc", 0),
        (Time(BEGINS, scale="utc"), "tai", 0),
        (Time(BEGINS, scale="tai"), "utc", -LEAP_SECONDS),
    ],
)
def test_times(butler: Butler, column: Any, scale: str, shift: int) -> None:
    ingest_table(butler, small(datetime_begin=column), "NewCam", time_scale=scale)
    # A Julian date has some 50 microseconds.
    assert begins(butler) == pytest.approx([shift, 60.5 + shift, 2880 + shift], abs=1e-4)


def test_units(butler: Butler) -> None:
    table = QTable(small(altitude=[60.0, 45.0, 30.0]))
    table["ra"] = [1.0, 12.5, 23.0] * u.hourangle
    table["DEC"] = [-1800.0, 0.0, 600.0] * u.arcmin
    table["exptime"] = [0.5, 1.0, 2.0] * u.min
    table["sky_angle"] = np.radians([10.0, 20.0, 30.0]) * u.rad
    ingest_table(butler, table, "NewCam")
    found = records(butler, "exposure")
    assert [one.tracking_ra for one in found] == pytest.approx([15.0, 187.5, 345.0])
    assert [one.tracking_dec for one in found] == pytest.approx([-30.0, 0.0, 10.0])
    assert [one.exposure_time for one in found] == pytest.approx([30.0, 60.0, 120.0])
    assert [one.sky_angle for one in found] == pytest.approx([10.0, 20.0, 30.0])
    assert [one.zenith_angle for one in found] == pytest.approx([30.0, 45.0, 60.0])
    assert [one.timespan.nsec[1] - one.timespan.nsec[0] for one in found] == [30e9, 60e9, 120e9]


def test_units_in_files(butler: Butler, tmp_path: Path) -> None:
    table = QTable(small(exposure_time=[0.5, 1.0, 2.0] * u.min))
    table.write(tmp_path / "a.ecsv")
    fields = [pyarrow.field(name, pyarrow.array(table[name].tolist()).type) for name in table.colnames[:3]]
    fields.append(pyarrow.field("exposure_time", pyarrow.float64(), metadata={"unit": "min"}))
    arrays = [pyarrow.array(table[name].tolist()) for name in table.colnames[:3]] + [pyarrow.array([0.5, 1.0, 2.0])]
    pyarrow.parquet.write_table(
        pyarrow.Table.from_arrays(arrays, schema=pyarrow.schema(fields)), tmp_path / "a.parquet"
    )
    assert ingest_table(butler, tmp_path / "a.ecsv", "NewCam").n_ingested == 3
    assert ingest_table(butler, tmp_path / "a.parquet", "NewCam").n_skipped == 3
    assert [one.exposure_time for one in records(butler, "exposure")] == pytest.approx([30.0, 60.0, 120.0])


def test_parquet_of_other_programs(butler: Butler, tmp_path: Path) -> None:
    table = pyarrow.table(
        {
            "exposure_id": [1, 2],
            "datetime_begin": pyarrow.array(
                [np.datetime64(one, "us").item() for one in BEGINS[:2]], type=pyarrow.timestamp("us", tz="UTC")
            ),
            "physical_filter": pyarrow.array(["g", "r"]).dictionary_encode(),
            "seq_num": [None, 5],
            "target_name": ["M 31", None],
            "can_see_sky": [None, False],
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    ingest_table(butler, tmp_path / "a.parquet", "NewCam")
    first, second = records(butler, "exposure")
    assert (first.seq_num, first.target_name, first.can_see_sky) == (0, "M 31", True)
    assert (second.seq_num, second.target_name, second.can_see_sky) == (5, None, False)
    assert begins(butler) == pytest.approx([0, 60.5], abs=1e-6)


def test_sexagesimal_angles(butler: Butler) -> None:
    table = small(tracking_ra=["01:00:00", "12 30 00", "345.0"], tracking_dec=["-30:00:00", "+00 00 00", "10d"])
    ingest_table(butler, table, "NewCam")
    found = records(butler, "exposure")
    assert [one.tracking_ra for one in found] == pytest.approx([15.0, 187.5, 345.0])
    assert [one.tracking_dec for one in found] == pytest.approx([-30.0, 0.0, 10.0])


def test_sky_coordinates(butler: Butler, tmp_path: Path) -> None:
    table = small(tracking_radec=SkyCoord([10.0, 20.0, 30.0] * u.deg, [1.0, 2.0, 3.0] * u.deg, frame="fk5"))
    table.write(tmp_path / "a.ecsv")
    ingest_table(butler, tmp_path / "a.ecsv", "NewCam")
    found = records(butler, "exposure")
    assert [one.tracking_ra for one in found] == pytest.approx([10.0, 20.0, 30.0], abs=1e-4)
    assert [one.tracking_dec for one in found] == pytest.approx([1.0, 2.0, 3.0], abs=1e-4)


def test_other_names_and_constants(butler: Butler) -> None:
    table = Table({"obsid": ["7", "8"], "UT": BEGINS[:2], "type": ["dark", "science"]})
    names = {"exposure_id": "obsid", "datetime_begin": "UT", "observation_type": "type"}
    ingest_table(butler, table, "NewCam", names=names, constants={"physical_filter": "clear", "sky_angle": "12.5"})
    first, second = records(butler, "exposure")
    assert [(one.id, one.physical_filter, one.sky_angle) for one in (first, second)] == [
        (7, "clear", 12.5),
        (8, "clear", 12.5),
    ]
    assert (first.can_see_sky, first.observation_reason) == (False, "unknown")
    assert (second.can_see_sky, second.observation_reason) == (True, "science")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"exposure_id": [1, 2.5, 3]}, r"The table, row 2, column exposure_id: 2\.5 is not a whole number\."),
        ({"exposure_id": ["1", "2", "x"]}, r"row 3, column exposure_id: 'x' is not a whole number\."),
        ({"exposure_id": np.ma.masked_equal([1, 2, 3], 3)}, r"row 3, column exposure_id: there is no value"),
        ({"datetime_begin": [BEGINS[0], "yesterday", BEGINS[2]]}, r"row 2, column datetime_begin: 'yesterday' is not "),
        ({"datetime_begin": [1.0, 2.0, 3.0] * u.m}, r"datetime_begin: its unit is m; expected one of time, such as d"),
        ({"physical_filter": ["g", "", "r"]}, r"row 2, column physical_filter: there is no value; each exposure must"),
        ({"physical_filter": ["g", "r", "x" * 33]}, r"row 3: physical_filter is 'xxx.*33 characters; the repository t"),
        ({"ra": [1.0, 2.0, 3.0], "dec": [0.0, 91.0, 0.0]}, r"row 2, column dec: 91\.0 is not a declination"),
        ({"ra": ["a", "b", "c"], "dec": [0, 0, 0]}, r"row 1, column ra: 'a' is not an angle such as"),
        ({"ra": [1.0, 2.0, 3.0]}, r"has a column for tracking_ra and none for tracking_dec"),
        ({"exptime": [1.0, np.inf, 1.0]}, r"row 2, column exptime: inf is not a number"),
        ({"exptime": [1.0, 2.0, 3.0] * u.deg}, r"column exptime: its unit is deg; expected one of time, such as s"),
        ({"can_see_sky": ["yes", "no", "maybe"]}, r"row 3, column can_see_sky: 'maybe' is neither true nor false"),
        ({"can_see_sky": [1.0, 0.0, 0.5]}, r"row 3, column can_see_sky: 0\.5 is neither true nor false"),
        ({"end": [BEGINS[1], BEGINS[0], BEGINS[2]]}, r"row 2, column end: the exposure ends before it begins"),
        ({"exposure_id": None}, r"The table has no column for exposure_id, which .* its columns are datetime_begin"),
        ({"obs_id": ["a", "b", "a"]}, r"row 3: exposure 3 of NewCam is called 'a', and so is exposure 1"),
        ({"datetime_begin": ["2026-01-01", "1066-10-14", "x"]}, r"row 2, .* '1066-10-14' is out of range"),
        ({"datetime_begin": [MJDS[0], 3e5, 6e4]}, r"row 2, column datetime_begin: 300000\.0 is out of range"),
        ({"mjd": MJDS, "begin": Time([6e4, 6e4, 2e5], format="mjd"), "datetime_begin": None}, r"row 3, column begin: "),
        ({"datetime_begin": [1e9, 1e300, 1e10]}, r"row 1, column datetime_begin: 1000000000\.0 is not a time"),
        ({"datetime_begin": np.zeros((3, 2))}, r"column datetime_begin: each row has an array of shape \(2,\)"),
        ({"exptime": [1.0, 2.0, -3.0]}, r"row 3, column exptime: -3\.0 is out of range; expected 0 to "),
        ({"exptime": [1.0, 1e10, 2.0]}, r"row 2, column exptime: 10000000000\.0 is out of range; expected 0 to 864000"),
        ({"ra": [1.0, 999.0, 2.0], "dec": [0.0] * 3}, r"row 2, column ra: 999\.0 is out of range; expected -360"),
        ({"dark_time": [1.0, -2.0, 3.0]}, r"row 2, column dark_time: -2\.0 is out of range"),
        ({"exposure_id": [1, -2, 3]}, r"row 2, column exposure_id: -2 is out of range; expected 0 to 10{15}\."),
        ({"exposure_id": [1, 2, 10**15 + 1]}, r"row 3, column exposure_id: 1000000000000001 is out of range"),
        ({"seq_num": ["1", "2", str(2**63)]}, r"row 3, column seq_num: 9223372036854775808 is out of range"),
        ({"tracking_radec": ["a", "b", "c"]}, r"column tracking_radec: expected sky coordinates"),
    ],
)  # fmt: skip
def test_mistakes(butler: Butler, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(IngestError, match=message):
        ingest_table(butler, small(**columns), "NewCam")
    assert not records(butler, "exposure")


def test_bad_rows_can_be_skipped(butler: Butler) -> None:
    table = small(ra=["1", "x", "3"], dec=[1.0, 2.0, 99.0])
    result = ingest_table(butler, table, "NewCam", on_error="skip")
    assert summary(result) == (3, 1, 0, 2, 0, 1)
    assert [str(one) for one in result.failures] == [
        "The table, row 2, column ra: 'x' is not an angle such as 12.5 or 12:30:00.",
        "The table, row 3, column dec: 99.0 is not a declination; expected -90 to 90 degrees.",
    ]


@both
def test_texts_that_no_database_takes(butler: Butler) -> None:
    table = small(target_name=["a", "b\0c", "d"], group=["e", "f", "\ud800"])
    result = ingest_table(butler, table, "NewCam", on_error="skip")
    assert summary(result) == (3, 1, 0, 2, 0, 1)
    assert [str(one) for one in result.failures] == [
        "The table, row 2, column target_name: 'b\\x00c' is not a text; expected Unicode without NUL characters.",
        "The table, row 3, column group: '\\ud800' is not a text; expected Unicode without NUL characters.",
    ]
    with pytest.raises(IngestError, match=r"row 1, column observation_reason: 'x.x00y' is not a text"):
        ingest_table(butler, small(), "NewCam", constants={"observation_reason": "x\0y"})
    assert [record.id for record in records(butler, "exposure")] == [1]


def test_bytes_that_are_no_text(butler: Butler, tmp_path: Path) -> None:
    """FITS tables have bytes; those of one row stop no other."""
    begin = np.array([b"2026-04-01T01:00:00", b"2026-04-01T02:00:00", b"2026-04-0\xf01T03:00:00"])
    table = small(target_name=np.array([b"M 31", b"M\xff33", b"M 51"]))
    table["datetime_begin"] = begin
    table.write(tmp_path / "table.fits")
    result = ingest_table(butler, tmp_path / "table.fits", "NewCam", on_error="skip", time_scale="tai")
    assert summary(result) == (3, 1, 0, 2, 0, 1)
    said = sorted(str(one) for one in result.failures)
    assert "row 2, column target_name: 'M\\udcff33' is not a text" in said[0]
    assert "row 3, column datetime_begin: '2026-04-0\\udcf01T03:00:00' is" in said[1]


@both
def test_a_second_run(butler: Butler) -> None:
    table, n = survey_table(), len(SURVEY)
    assert summary(ingest_table(butler, table, DESCRIPTION, time_scale="tai")) == (n, n, 0, 0, 0, n)
    before = [record.toDict() for record in records(butler, "exposure")]
    assert summary(ingest_table(butler, table, INSTRUMENT, time_scale="tai", batch_size=7)) == (n, 0, n, 0, 0, 0)
    assert [record.toDict() for record in records(butler, "exposure")] == before
    assert [record.id for record in records(butler, "exposure")] == [one["id"] for one in SURVEY]


def test_names_that_are_wrong(butler: Butler) -> None:
    with pytest.raises(IngestError, match="'exposure' is not a property of exposures; expected one of exposure_id"):
        ingest_table(butler, small(), "NewCam", names={"exposure": "exposure_id"})
    with pytest.raises(IngestError, match="has no column 'nope' for target_name; its columns are exposure_id, "):
        ingest_table(butler, small(), "NewCam", names={"target_name": "nope"})
    with pytest.raises(IngestError, match="The time scale must be one of utc, tai, tt, not 'gps'"):
        ingest_table(butler, small(), "NewCam", time_scale="gps")
    with pytest.raises(IngestError, match="'2 cameras' cannot be the name of a new instrument; expected a letter"):
        ingest_table(butler, small(), "2 cameras")


def test_files_that_are_no_tables(butler: Butler, tmp_path: Path) -> None:
    with pytest.raises(IngestError, match=r"There is no table .*missing\.csv"):
        ingest_table(butler, tmp_path / "missing.csv", "NewCam")
    with pytest.raises(IngestError, match=r"must end in one of \.ecsv, \.csv, \.fits"):
        ingest_table(butler, tmp_path / "table.xyz", "NewCam")
    for name in ("a.ecsv", "a.fits", "a.vot", "a.parquet"):
        (tmp_path / name).write_bytes(b"\x00\x01 nothing like that")
        with pytest.raises(IngestError, match=rf"The table .*{name} cannot be read: "):
            ingest_table(butler, tmp_path / name, "NewCam")


@both
def test_conflicts(butler: Butler) -> None:
    ingest_table(butler, small(target_name=["a", "b", "c"]), "NewCam")
    changed = small(target_name=["a", "x", "c"])
    with pytest.raises(ConflictingDefinitionError) as error:
        ingest_table(butler, changed, "NewCam")
    assert "The table, row 2: exposure 2 (2) of NewCam" in str(error.value)
    assert "target_name is stored as 'b' and is now 'x'" in str(error.value)
    assert summary(ingest_table(butler, changed, "NewCam", on_error="skip")) == (3, 0, 2, 1, 0, 0)
    with pytest.raises(ConflictingDefinitionError, match="differs from The table, row 1: "):
        ingest_table(butler, small(exposure_id=[11, 11, 12]), "NewCam")


@pytest.mark.parametrize("batch_size", [1, 2, 1000])
def test_batches(butler: Butler, batch_size: int) -> None:
    table = survey_table()
    result = ingest_table(butler, table, DESCRIPTION, time_scale="tai", batch_size=batch_size)
    assert result.n_ingested == len(SURVEY)
    assert ingest_table(butler, table, INSTRUMENT, time_scale="tai", batch_size=7).n_skipped == len(SURVEY)


@pytest.mark.parametrize("universe", range(9))
def test_universes_and_visits(tmp_path: Path, universe: int) -> None:
    butler = make_repository(tmp_path / "repository", universe=universe)
    ingest_table(butler, survey_table(), DESCRIPTION, time_scale="tai")
    exposures = records(butler, "exposure")
    assert len(exposures) == len(SURVEY)
    result = DefineVisitsTask(butler=butler).run(exposures)
    assert (result.n_new, result.n_off_sky) == (len(SURVEY), 0)
