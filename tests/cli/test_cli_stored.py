"""The command line and what is stored: which grouping fits, removing visits, the status of a dry run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from lsst.daf.butler import Butler, DatasetType
from sqlalchemy import text

from broken_visits import COUNTER, GROUP, correct, ids, snaps
from command_line import define_visits, lines, message, visits_command
from obscore import DETECTORS, EXPOSURES, FIRST, NO_REGIONS, SECOND, SINGLE, obscore_regions, visit_regions
from simulated_survey import INSTRUMENT, insert_exposures
from visit_tables import add_exposures, connect, data_ids, exposure, make_read_only, make_task, root, stored, tables

MakeSurvey = Callable[..., Butler]

ONE = "one-to-one"
NIGHT = [*snaps(1), exposure(3)]


def defined(make_survey: MakeSurvey, *groupings: str, universe: int | None = None) -> Butler:
    butler = make_survey(universe)
    insert_exposures(butler, NIGHT)
    for grouping in groupings:
        make_task(butler, grouping).run(data_ids(ids(1, 2, 3)))
    return butler


def remove(butler: Butler, *arguments: object) -> list[str]:
    return lines(visits_command("remove-visits", root(butler), INSTRUMENT, *arguments))


# Which grouping


@pytest.mark.sqlite_only
@pytest.mark.parametrize(
    ("groupings", "universe", "fitting"),
    [
        ([ONE], None, None),
        ([GROUP], None, GROUP),
        ([COUNTER], None, COUNTER),
        ([GROUP], 1, GROUP),
        ([ONE], 1, None),
    ],
)
def test_grouping_that_fits(
    make_survey: MakeSurvey,
    caplog: pytest.LogCaptureFixture,
    groupings: list[str],
    universe: int | None,
    fitting: str | None,
) -> None:
    butler = defined(make_survey, *groupings, universe=universe)
    # What a run that failed has left behind decides nothing.
    row = {"instrument": INSTRUMENT, "id": 1 if GROUP not in groupings else 0, "name": "left"}
    butler.registry.insertDimensionData("visit_system", row)
    before = tables(butler) if universe is None else {}
    printed = lines(define_visits(root(butler), INSTRUMENT))
    assert " 0 new, 0 updated, " in printed[0]
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    said = f"Exposures are grouped with {fitting}, which fits the visits that {INSTRUMENT} has."
    assert warnings == ([said] if fitting else [])
    result = visits_command("check", root(butler), INSTRUMENT)
    assert result.exit_code == 0 and f"checked with {fitting or ONE}" in result.stdout
    assert universe is not None or tables(butler) == before


@pytest.mark.sqlite_only
@pytest.mark.parametrize("groupings", [[ONE, GROUP], [COUNTER, GROUP]])
def test_groupings_of_which_none_fits(
    make_survey: MakeSurvey, caplog: pytest.LogCaptureFixture, groupings: list[str]
) -> None:
    butler = defined(make_survey, *groupings)
    define_visits(root(butler), INSTRUMENT, "--dry-run")
    (warning,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    assert "by-group-metadata, which no grouping algorithm makes alone" in warning or "and by-group" in warning
    assert "grouped with one-to-one" in warning and "-c groupExposures=NAME" in warning


@pytest.mark.sqlite_only
@pytest.mark.parametrize("way", ["-c", "-C"])
def test_grouping_that_is_said(
    make_survey: MakeSurvey, caplog: pytest.LogCaptureFixture, tmp_path: Path, way: str
) -> None:
    butler = defined(make_survey, GROUP)
    file = tmp_path / "config.py"
    file.write_text(f"config.groupExposures.name = {ONE!r}\n")
    printed = lines(define_visits(root(butler), INSTRUMENT, way, file if way == "-C" else f"groupExposures={ONE}"))
    assert printed[0].startswith("3 visits: 3 new, ")
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.sqlite_only
def test_no_visits_and_the_default(make_survey: MakeSurvey, caplog: pytest.LogCaptureFixture) -> None:
    butler = defined(make_survey)
    assert lines(define_visits(root(butler), INSTRUMENT))[0].startswith("3 visits: 3 new, ")
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


# --dry-run


@pytest.mark.sqlite_only
def test_dry_run_with_conflicts(make_survey: MakeSurvey) -> None:
    butler = defined(make_survey, ONE)
    assert define_visits(root(butler), INSTRUMENT, "--dry-run").exit_code == 0
    correct(butler, NIGHT[2], target_name="M 31")
    result = define_visits(root(butler), INSTRUMENT, "--dry-run")
    assert result.exit_code == 1
    assert result.stdout.startswith("3 visits: 2 unchanged, 1 conflict\n")
    assert define_visits(root(butler), INSTRUMENT, "--dry-run", "--skip-conflicting").exit_code == 0
    assert define_visits(root(butler), INSTRUMENT, "--dry-run", "--incremental").exit_code == 0


@pytest.mark.sqlite_only
def test_counts_of_a_dry_run_add_up(make_survey: MakeSurvey) -> None:
    butler = defined(make_survey, ONE)
    correct(butler, NIGHT[2], target_name="M 31")
    add_exposures(butler, [{**exposure(4), "obs_id": f"{NIGHT[0]['obs_id']}_first"}, exposure(5)])
    with connect(butler) as connection:
        connection.execute(text(f"UPDATE exposure SET zenith_angle = 'x' WHERE id = {ids(5)[0]}"))
        connection.execute(text(f"UPDATE exposure SET zenith_angle = NULL WHERE id = {ids(5)[0]}"))
    group = ["-c", f"groupExposures={GROUP}"]
    add_exposures(butler, [exposure(6, group="2026-04-01T23:59:05.000"), exposure(7, group="20260401T235905.000")])
    result = define_visits(root(butler), INSTRUMENT, "--dry-run", "--on-error", "skip", *group)
    assert result.exit_code == 1
    summary = result.stdout.splitlines()[0]
    total, parts = summary.split(" visits: ")
    assert "failed" in parts
    assert int(total) == sum(int(part.split()[0]) for part in parts.split(", "))


# remove-visits


@pytest.mark.parametrize("universe", [None, 0, 1, 2, 5])
def test_removed_whole(make_survey: MakeSurvey, universe: int | None) -> None:
    butler = defined(make_survey, GROUP, universe=universe)
    before = everything(butler)
    dry = remove(butler, "--visit", visits_of(butler)[1], "--dry-run")
    assert dry[0] == "1 visit would be removed:"
    assert everything(butler) == before
    removed = visits_of(butler)
    assert remove(butler, "--visit", removed[0], "--visit", removed[1])[0] == "2 visits removed:"
    after = everything(butler)
    assert {name for name in before if "visit" in name and after[name]} == {"visit_system"} | {
        name for name in before if name.endswith("_summary") and before[name]
    }
    assert {name: rows for name, rows in after.items() if "visit" not in name} == {
        name: rows for name, rows in before.items() if "visit" not in name
    }
    assert make_task(butler, GROUP).run(data_ids(ids(1, 2, 3))).n_new == 2
    assert everything(butler) == before


def visits_of(butler: Butler) -> list[int]:
    return sorted(record.id for record in stored(butler, "visit"))


def everything(butler: Butler) -> dict[str, list[tuple[object, ...]]]:
    """Read all tables of a repository."""
    from sqlalchemy import inspect

    with connect(butler) as connection:
        names = inspect(connection).get_table_names()
        return {
            name: sorted((tuple(row) for row in connection.execute(text(f'SELECT * FROM "{name}"'))), key=repr)
            for name in names
        }


@pytest.mark.sqlite_only
def test_removed_by_an_expression(make_survey: MakeSurvey) -> None:
    butler = defined(make_survey, COUNTER)
    others = {record.id for record in stored(butler, "visit")} - {ids(1)[0]}
    assert remove(butler, "--where", f"visit = {ids(1)[0]}") == [
        "1 visit removed:",
        f"  {ids(1)[0]} ({NIGHT[0]['obs_id']})",
    ]
    assert set(visits_of(butler)) == others
    assert remove(butler, "--where", "day_obs = 20260401")[0] == "3 visits removed:"
    assert not visits_of(butler)
    result = visits_command("remove-visits", root(butler), INSTRUMENT, "--where", "day_obs = 20260401")
    assert "No visit of SimCam matches 'day_obs = 20260401'" in message(result)


@pytest.mark.sqlite_only
def test_visits_with_datasets_stay(make_survey: MakeSurvey) -> None:
    butler = defined(make_survey, GROUP)
    one, other = visits_of(butler)
    butler.collections.register("results")
    kinds_of = {"calexp": ["instrument", "visit", "detector"], "summary": ["instrument", "visit"]}
    for name, dimensions in kinds_of.items():
        kind = DatasetType(name, dimensions, "StructuredDataDict", universe=butler.dimensions)
        butler.registry.registerDatasetType(kind)
        keys = {"instrument": INSTRUMENT, "visit": one, "detector": 3}
        butler.put({}, kind, {key: keys[key] for key in dimensions}, run="results")
    before = everything(butler)
    for arguments in (["--visit", one], ["--where", "day_obs > 1"], ["--visit", one, "--dry-run"]):
        result = visits_command("remove-visits", root(butler), INSTRUMENT, *arguments)
        said = message(result)
        assert result.exit_code == 1
        assert f"{one} (2026-04-01T23:59:01.000) has calexp and summary" in said and "Nothing is removed" in said
        assert f"{other} (" not in said
    assert everything(butler) == before
    # What it says can be done.
    butler.removeRuns(["results"])
    assert remove(butler, "--where", "day_obs > 1")[0] == "2 visits removed:"


@pytest.mark.sqlite_only
def test_removing_what_cannot_be(make_survey: MakeSurvey) -> None:
    butler = defined(make_survey, ONE)
    arguments = ("remove-visits", root(butler), INSTRUMENT)
    for wrong in ([], ["--visit", 1, "--where", "visit > 1"]):
        assert visits_command(*arguments, *wrong).exit_code == 2
    assert "SimCam has no visit 5." in message(visits_command(*arguments, "--visit", ids(1)[0], "--visit", 5))
    assert "--where" in message(visits_command(*arguments, "--where", "visit = = 1"))
    assert len(visits_of(butler)) == 3
    make_read_only(butler)
    butler.close()
    assert remove(butler, "--visit", ids(1)[0], "--dry-run")[0] == "1 visit would be removed:"
    assert "read" in message(visits_command(*arguments, "--visit", ids(1)[0]))


@pytest.mark.sqlite_only
def test_removed_regions_of_obscore(obscore_butler: Butler) -> None:
    """Exposures have the regions of the visits that are left, or none."""
    butler = obscore_butler
    make_task(butler, COUNTER).run(data_ids([one["id"] for one in EXPOSURES]))
    own = int(f"9{FIRST}")
    remove(butler, "--visit", own, "--visit", SINGLE)
    left = {FIRST: FIRST, SECOND: SECOND}
    assert obscore_regions(butler) == {**NO_REGIONS, **visit_regions(butler, left)}
    remove(butler, "--visit", FIRST)
    assert obscore_regions(butler) == {**NO_REGIONS, **visit_regions(butler, {SECOND: SECOND})}
    remove(butler, "--visit", SECOND)
    assert obscore_regions(butler) == NO_REGIONS
    manager = butler.registry.obsCoreTableManager
    assert manager is not None
    with manager.query(["s_ra", "s_dec", "s_fov"]) as rows:
        assert {tuple(row) for row in rows} == {(None, None, None)}
    make_task(butler, ONE).run(data_ids([one["id"] for one in EXPOSURES]))
    assert obscore_regions(butler) == visit_regions(butler, {one["id"]: one["id"] for one in EXPOSURES})
    assert len(DETECTORS) * len(EXPOSURES) == len(obscore_regions(butler))
