"""``define-visits`` that shows what it would do, writes tables, skips failures and takes config fields."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from astropy.table import Column, Table
from astropy.table.meta import get_header_from_yaml
from lsst.daf.butler import Butler

from butler_visits.define.visit_plan import VisitPlan
from command_line import define_visits, lines, run_program, without_rate
from simulated_survey import INSTRUMENT
from visit_tables import DAY, add_exposures, data_ids, exposure, make_read_only, make_task, root, stored, tables

# The command line calls the library, which is tested with both.
pytestmark = pytest.mark.sqlite_only

EXPOSURES = [exposure(1, target_name=None), *(exposure(n, seq_start=2, seq_end=3) for n in (2, 3)), exposure(4)]
DARK = exposure(5, observation_type="dark", tracking_ra=None)
LEFT_OUT = "Left out 1 exposure not on the sky: 1 dark."
NEW = "4 visits: 4 new, 0 updated, 0 left as they are."


@pytest.fixture
def butler(make_survey: Callable[..., Butler]) -> Butler:
    """Return a repository with five exposures, one of which does not see the sky."""
    butler = make_survey()
    add_exposures(butler, [*EXPOSURES, DARK])
    return butler


@pytest.fixture
def defined(butler: Butler) -> Butler:
    """Return a repository with three visits, one of which is in conflict with its exposure."""
    make_task(butler).run(given(3))
    add_exposures(butler, [{**EXPOSURES[0], "target_name": "M 31"}], replace=True)
    return butler


def given(count: int | None = None) -> list[dict[str, Any]]:
    return data_ids(one["id"] for one in EXPOSURES[:count])


def plan_of(butler: Butler, grouping: str = "one-to-one", **options: Any) -> VisitPlan:
    return make_task(butler, grouping).plan(given(), **options)


def failure(*arguments: object, status: int) -> str:
    """Run a command that must fail without stack frames, and return what it says on the error stream."""
    result = define_visits(*arguments)
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == status, result.output
    assert 'File "' not in result.output
    return result.stderr


# --dry-run


@pytest.mark.parametrize("options", [[], ["--update-records"], ["--incremental"], ["--skip-conflicting"]])
def test_dry_run(defined: Butler, options: list[str]) -> None:
    before = tables(defined)
    chosen: dict[str, Any] = {option.strip("-").replace("-", "_"): True for option in options}
    plan = plan_of(defined, **chosen)
    expected = [*str(plan).splitlines(), LEFT_OUT]
    # Its status says whether there are conflicts.
    status = 0 if options else 1
    assert lines(define_visits(root(defined), INSTRUMENT, "--dry-run", *options), status=status) == expected
    assert tables(defined) == before


def test_dry_run_writes_no_visit_system(butler: Butler) -> None:
    assert lines(define_visits(root(butler), INSTRUMENT, "--dry-run"))[0] == "4 visits: 4 new"
    assert not stored(butler, "visit_system")
    assert lines(define_visits(root(butler), INSTRUMENT)) == [NEW, LEFT_OUT]


def test_dry_run_of_a_read_only_repository(defined: Butler) -> None:
    expected = [*str(plan_of(defined)).splitlines(), LEFT_OUT]
    make_read_only(defined)
    assert lines(define_visits(root(defined), INSTRUMENT, "--dry-run"), status=1) == expected
    assert re.search("read-?only", failure(root(defined), INSTRUMENT, status=1))


def test_dry_run_with_prefilter(defined: Butler) -> None:
    printed = lines(define_visits(root(defined), INSTRUMENT, "--dry-run", "--prefilter"))
    new = f"  new       {EXPOSURES[3]['id']} ({EXPOSURES[3]['obs_id']})"
    assert printed == ["1 visit: 1 new", new, "Left out 3 exposures with a visit already.", LEFT_OUT]


def test_dry_run_of_nothing(butler: Butler) -> None:
    where = "exposure.seq_num > 9"
    printed = lines(define_visits(root(butler), INSTRUMENT, "--dry-run", "--where", where))
    assert printed[-1] == f"Nothing defined: {INSTRUMENT} has no exposures that match {where!r}."


# --output


FORMATS = {
    ".ecsv": "ascii.ecsv",
    ".csv": "ascii.csv",
    ".parquet": "parquet",
    ".fits": "fits",
    ".vot": "votable",
    ".xml": "votable",
}


def values(column: Column) -> list[Any]:
    """Return numbers as they are and all else as text, which is null in some formats where it is empty."""
    if column.dtype.kind == "f":
        return column.tolist()
    return ["" if value is None else str(value) for value in column.tolist()]


def read(file: Path) -> Table:
    if file.suffix != ".parquet":
        return Table.read(file, format=FORMATS[file.suffix.lower()])
    # Only to read it, astropy wants pandas.
    content = pyarrow.parquet.read_table(file)
    header = get_header_from_yaml(content.schema.metadata[b"table_meta_yaml"].decode().splitlines())
    units = {column["name"]: column.get("unit") for column in header["datatype"]}
    table = Table(content.to_pydict(), names=content.column_names)
    for name, unit in units.items():
        table[name].unit = unit
    return table


def assert_holds(file: Path, expected: Table) -> None:
    found = read(file)
    assert found.colnames == expected.colnames
    for name in expected.colnames:
        assert values(found[name]) == values(expected[name])
        assert found[name].unit == (None if file.suffix == ".csv" else expected[name].unit)


@pytest.mark.parametrize("ending", [*FORMATS, ".FITS"])
def test_output(defined: Butler, tmp_path: Path, ending: str) -> None:
    before = tables(defined)
    plan = plan_of(defined, "by-group-metadata")
    file = tmp_path / f"plan{ending}"
    arguments = (root(defined), INSTRUMENT, "-c", "groupExposures=by-group-metadata", "--output", file)
    assert lines(define_visits(*arguments, "--dry-run")) == [*str(plan).splitlines(), LEFT_OUT]
    assert tables(defined) == before
    assert_holds(file, plan.to_table())

    file.write_text("what was there before")
    assert lines(define_visits(*arguments)) == ["3 visits: 3 new, 0 updated, 0 left as they are.", LEFT_OUT]
    assert len(stored(defined, "visit")) == 3 + 3
    assert_holds(file, plan.to_table())
    assert [path for path in tmp_path.iterdir() if path.is_file()] == [file]


def test_output_has_the_conflicts(defined: Butler, tmp_path: Path) -> None:
    table = plan_of(defined).to_table()
    assert "conflict" in table["action"]
    define_visits(root(defined), INSTRUMENT, "--output", tmp_path / "plan.ecsv")
    assert_holds(tmp_path / "plan.ecsv", table)


@pytest.mark.parametrize("ending", FORMATS)
def test_output_of_nothing(butler: Butler, tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"plan{ending}"
    result = define_visits(root(butler), INSTRUMENT, "--where", "exposure.seq_num > 9", "--output", file)
    assert result.exit_code == 0, result.output
    assert_holds(file, make_task(butler).plan([]).to_table())


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("plan.txt", 2, r"\.ecsv, \.csv, \.parquet, \.fits, \.vot, \.xml"),
        ("nowhere/plan.ecsv", 2, "no folder .*nowhere"),
        ("folder.ecsv", 1, r"folder\.ecsv"),
        ("full/plan.fits", 2, "no folder .*full"),
    ],
)
def test_output_that_cannot_be(butler: Butler, tmp_path: Path, name: str, status: int, said: str) -> None:
    (tmp_path / "folder.ecsv").mkdir()
    (tmp_path / "full").touch()
    before, files = tables(butler), sorted(tmp_path.iterdir())
    assert re.search(said, failure(root(butler), INSTRUMENT, "--output", tmp_path / name, status=status))
    assert re.search(said, failure(root(butler), INSTRUMENT, "--dry-run", "--output", tmp_path / name, status=status))
    assert tables(butler) == before
    assert sorted(tmp_path.iterdir()) == files


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder in which nobody can write")
def test_output_in_a_folder_that_cannot_be_written(butler: Butler) -> None:
    before = tables(butler)
    assert "/proc/plan.csv" in failure(root(butler), INSTRUMENT, "--output", "/proc/plan.csv", status=1)
    assert tables(butler) == before


# --on-error


@pytest.fixture
def with_bad(butler: Butler) -> Butler:
    """Return a repository with two exposures that cannot be handled, besides the good ones."""
    add_exposures(butler, [exposure(number, tracking_dec=91.0) for number in (6, 7)])
    return butler


BAD = [f"Exposure {DAY}0000{number} has tracking_dec 91" for number in (6, 7)]


def test_on_error_skip(with_bad: Butler) -> None:
    result = define_visits(root(with_bad), INSTRUMENT, "--on-error", "skip")
    assert lines(result, status=1) == [NEW, LEFT_OUT]
    failed = [line for line in result.stderr.splitlines() if line.startswith("Failed: ")]
    assert len(failed) == len(BAD)
    for line, said in zip(failed, BAD, strict=True):
        assert said in line
    assert result.stderr.splitlines()[-1] == "Error: 2 visits could not be defined."
    assert 'File "' not in result.stderr
    assert [visit.seq_num for visit in stored(with_bad, "visit")] == [1, 2, 3, 4]


@pytest.mark.parametrize("options", [[], ["--on-error", "raise"]])
def test_on_error_raise(with_bad: Butler, options: list[str]) -> None:
    assert BAD[0] in failure(root(with_bad), INSTRUMENT, *options, status=1)
    assert not stored(with_bad, "visit")


def test_on_error_skip_with_a_dry_run_and_a_table(with_bad: Butler, tmp_path: Path) -> None:
    file = tmp_path / "plan.csv"
    result = define_visits(root(with_bad), INSTRUMENT, "--on-error", "skip", "--dry-run", "--output", file)
    assert result.exit_code == 1
    assert "6 visits: 4 new, 2 failed" in result.stdout
    for said in BAD:
        assert said in result.output
    assert_holds(file, plan_of(with_bad).to_table())
    assert not stored(with_bad, "visit")


def test_on_error_of_another_value(butler: Butler) -> None:
    assert "'ignore'" in failure(root(butler), INSTRUMENT, "--on-error", "ignore", status=2)


# -c


@pytest.mark.parametrize("option", ["-c", "--config"])
@pytest.mark.parametrize("field", ["groupExposures", "groupExposures.name"])
def test_config_field(butler: Butler, option: str, field: str) -> None:
    printed = lines(define_visits(root(butler), INSTRUMENT, option, f"{field}=by-group-metadata"))
    assert printed[0] == "3 visits: 3 new, 0 updated, 0 left as they are."


def test_config_fields_come_after_the_file(butler: Butler, tmp_path: Path) -> None:
    file = tmp_path / "config.py"
    file.write_text('config.groupExposures.name = "by-group-metadata"\nconfig.chunkSize = 7\n')
    fields = ["-c", "groupExposures=one-to-one", "-c", "computeVisitRegions.active.padding=4000", "-c", "chunkSize=1"]
    assert lines(define_visits(root(butler), INSTRUMENT, *fields, "-C", file)) == [NEW, LEFT_OUT]
    # A padding that is not the same would be a conflict.
    again = define_visits(root(butler), INSTRUMENT, "-c", "computeVisitRegions.active.padding=4000")
    assert lines(again)[0] == "4 visits: 0 new, 0 updated, 4 left as they are."
    assert define_visits(root(butler), INSTRUMENT).exit_code == 1


@pytest.mark.parametrize(
    "override",
    [
        "nonsense=1",
        "groupExposures.nonsense=1",
        "chunkSize.nonsense=1",
        "=1",
        "chunkSize=many",
        "chunkSize=0",
        "regionTolerance=None",
        "groupExposures=nonsense",
        "groupExposures=None",
        "groupExposures=[1]",
        "computeVisitRegions.active.padding=wide",
        "computeVisitRegions.active.wcsSource=nonsense",
        "chunkSize",
    ],
)
def test_bad_config_field(butler: Butler, override: str) -> None:
    result = define_visits(root(butler), INSTRUMENT, "-c", override)
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code in (1, 2)
    assert 'File "' not in result.output
    field = override.partition("=")[0].split(".")[-1]
    assert field in result.stderr
    assert not stored(butler, "visit")


# Progress and conflicts


def test_progress(butler: Butler) -> None:
    result = run_program("butler", "--progress", "define-visits", root(butler), INSTRUMENT)
    assert result.returncode == 0, result.stderr
    assert "Defining 4 visits" in result.stdout
    assert without_rate(result.stdout).splitlines()[-2:] == [NEW, LEFT_OUT]


@pytest.mark.parametrize(("count", "others"), [(10, []), (11, ["1 more visit"]), (14, ["4 more visits"])])
def test_many_conflicts(make_survey: Callable[..., Butler], count: int, others: list[str]) -> None:
    butler = make_survey()
    ids = add_exposures(butler, [exposure(number) for number in range(1, count + 2)])
    make_task(butler).run(data_ids(ids))
    changed = [exposure(number, target_name=f"M {number}") for number in range(1, count + 1)]
    add_exposures(butler, changed, replace=True)
    message = failure(root(butler), INSTRUMENT, status=1)
    conflicts = [line for line in message.splitlines() if "is in conflict" in line]
    assert len(conflicts) == 10
    for number, line in enumerate(conflicts, start=1):
        assert f"Visit {DAY}{number:05d} " in line
        assert f"'field {number}' and is now 'M {number}'" in line
    assert re.findall(r"(\d+ more visits?)\b", message) == others
    for option in ("--update-records", "--skip-conflicting", "--dry-run"):
        assert option in message


def as_json(*arguments: object, status: int = 0) -> dict[str, Any]:
    """Run the command and read what it prints for programs."""
    result = define_visits(*arguments, "--format", "json")
    assert result.exit_code == status, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_plan_as_json(defined: Butler) -> None:
    found = as_json(root(defined), INSTRUMENT, "--dry-run", status=1)
    assert (found["instrument"], found["n_exposures"], found["counts"]) == (INSTRUMENT, 5, None)
    assert (found["off_sky_types"], found["failures"]) == ({"dark": 1}, [])
    plan = plan_of(defined)
    assert found["plan"]["actions"] == {"conflict": 1, "unchanged": 2, "new": 1}
    for row, visit in zip(found["plan"]["visits"], plan, strict=True):
        assert row["visit"] == visit.definition.id
        assert row["exposures"] == [visit.definition.id]
        assert row["action"] == visit.action.value
        assert row["reason"] == (visit.reason or None)
    assert [row["target_name"] is None for row in found["plan"]["visits"]] == [False, False, False, False]


def test_result_as_json(butler: Butler) -> None:
    add_exposures(butler, [{**EXPOSURES[1], "tracking_dec": 100.0}], replace=True)
    found = as_json(root(butler), INSTRUMENT, "--on-error", "skip", status=1)
    assert found["counts"]["n_new"] == 3
    assert found["counts"]["n_failed"] == 1
    (failure,) = found["failures"]
    assert failure["exposures"] == [EXPOSURES[1]["id"]]
    assert "100" in failure["reason"]
    assert found["plan"] is None
    assert len(stored(butler, "visit")) == 3


def test_result_with_a_table_as_json(butler: Butler, tmp_path: Path) -> None:
    found = as_json(root(butler), INSTRUMENT, "--output", tmp_path / "plan.csv")
    assert found["counts"]["n_new"] == 4
    assert found["plan"]["actions"] == {"new": 4}
    assert [row["target_name"] is None for row in found["plan"]["visits"]] == [True, False, False, False]
