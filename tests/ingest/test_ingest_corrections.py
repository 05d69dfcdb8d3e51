"""Exposures that were wrong: what is replaced, what is left alone, and what becomes of their visits."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from astropy.time import Time
from lsst.daf.butler import Butler, DimensionRecord, Timespan
from lsst.daf.butler.registry import ConflictingDefinitionError

from butler_visits import IngestError, IngestResult, ingest_raws, ingest_table, redefine_visits
from ingest_helpers import DESCRIPTION, cluster_of, science, stored, summary
from ingest_helpers import records as all_records
from simulated_raws import write_raws
from simulated_survey import INSTRUMENT, NS_PER_S
from templates import make_repository
from visit_tables import DAY, exposure, make_task, records, tables
from visit_tables import stored as stored_visits

MakeSurvey = Callable[..., Butler]

both = pytest.mark.usefixtures("database")


def id_of(seq_num: int) -> int:
    return DAY * 100000 + seq_num


def table_of(*exposures: dict[str, Any], without: tuple[str, ...] = ()) -> Table:
    """Make a table with all that exposures have, but some columns."""
    columns: dict[str, list[Any]] = {name: [one[name] for one in exposures] for name in exposures[0]}
    columns["exposure_id"] = columns.pop("id")
    spans = columns.pop("timespan")
    columns["datetime_begin"], columns["datetime_end"] = ([_mjd(span.nsec[i]) for span in spans] for i in (0, 1))
    return Table({name: column for name, column in columns.items() if name not in without})


def _mjd(nsec: int) -> str:
    """Write a time of whole seconds in TAI."""
    begin = Timespan.model_validate((nsec, nsec + 1)).begin
    assert isinstance(begin, Time)
    return str(begin.tai.isot)


def ingest(butler: Butler, *exposures: dict[str, Any], **options: Any) -> IngestResult:
    return ingest_table(butler, table_of(*exposures), INSTRUMENT, time_scale="tai", **options)


def define(butler: Butler, grouping: str = "one-to-one-and-by-counter") -> None:
    make_task(butler, grouping).run(records(butler, [one.id for one in exposure_records(butler)]))


def redefine(butler: Butler, result: IngestResult, grouping: str = "one-to-one-and-by-counter") -> Any:
    corrected = [one.record.id for one in result.corrections]
    return redefine_visits(
        make_task(butler, grouping), INSTRUMENT, corrected, [one.stored for one in result.corrections]
    )


def exposures_of(butler: Butler) -> list[dict[str, Any]]:
    return [record.toDict() for record in all_records(butler, "exposure")]


def exposure_records(butler: Butler) -> list[DimensionRecord]:
    return sorted(stored_visits(butler, "exposure"), key=lambda record: int(record.id))


WRONG = (exposure(1), exposure(2, seq_start=2, seq_end=3), exposure(3, seq_start=2, seq_end=3), exposure(4))
RIGHT = (
    WRONG[0],
    WRONG[1],
    {**WRONG[2], "target_name": "M 31", "tracking_ra": 11.25, "physical_filter": "r_sim", "exposure_time": 17.0},
    {**WRONG[3], "physical_filter": "g_sim", "sky_angle": 77.0},
)


def test_corrected_rows_and_their_visits(make_survey: MakeSurvey) -> None:
    butler, fresh = make_survey(), make_survey()
    ingest(butler, *WRONG)
    define(butler)
    before = tables(butler), exposures_of(butler)

    with pytest.raises(ConflictingDefinitionError, match=r"target_name is stored as .* --update-records"):
        ingest(butler, *RIGHT)
    preview = ingest(butler, *RIGHT, update_records=True, dry_run=True)
    assert [(one.record.id, [field.field for field in one.differences]) for one in preview.corrections] == [
        (id_of(3), ["exposure_time", "target_name", "tracking_ra"]),
        (id_of(4), ["physical_filter", "sky_angle"]),
    ]
    assert "target_name is stored as 'field 2' and is now 'M 31'" in str(preview.corrections[0])
    assert (tables(butler), exposures_of(butler)) == before

    result = ingest(butler, *RIGHT, update_records=True)
    assert (result.n_files, result.n_ingested, result.n_skipped, result.n_updated) == (4, 0, 2, 2)
    assert result.exposures == {INSTRUMENT: [id_of(seq_num) for seq_num in (1, 2, 3, 4)]}
    assert [str(one) for one in result.corrections] == [str(one) for one in preview.corrections]
    redefine(butler, result)
    ingest(fresh, *RIGHT)
    define(fresh)
    assert exposures_of(butler) == exposures_of(fresh)
    assert tables(butler) == tables(fresh)
    again = ingest(butler, *RIGHT, update_records=True)
    assert (again.n_skipped, again.corrections) == (4, [])


@pytest.mark.parametrize("universe", range(9))
def test_universes(tmp_path: Path, universe: int) -> None:
    found: list[Any] = []
    for rows in ((WRONG, RIGHT), (RIGHT,)):
        butler = make_repository(tmp_path / f"repository{len(found)}", universe=universe)
        ingest_table(butler, table_of(*rows[0]), DESCRIPTION, time_scale="tai")
        for row in rows[1:]:
            assert ingest(butler, *row, update_records=True).n_updated == 2
        found.append((exposures_of(butler), all_records(butler, "physical_filter")))
        assert ingest(butler, *RIGHT).n_skipped == 4
    assert found[0] == found[1]


def test_a_new_filter_group_and_day(make_survey: MakeSurvey) -> None:
    butler = make_survey()
    ingest(butler, exposure(1))
    corrected = exposure(1, physical_filter="H-alpha", band="Ha", group="another", day_obs=DAY + 1)
    assert ingest(butler, corrected, update_records=True).n_updated == 1
    (record,) = exposure_records(butler)
    assert (record.physical_filter, record.group, record.day_obs) == ("H-alpha", "another", DAY + 1)


@both
def test_what_a_table_lacks_is_left_alone(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Neither what it has no column for, nor what it leaves empty, is compared or corrected."""
    butler = make_repository(tmp_path / "repository", cluster=cluster_of(request))
    ingest_table(butler, table_of(*WRONG), DESCRIPTION, time_scale="tai")
    before = exposures_of(butler)
    few = table_of(*WRONG)["exposure_id", "datetime_begin", "physical_filter"]
    assert summary(ingest_table(butler, few, INSTRUMENT, time_scale="tai")) == (4, 0, 4, 0, 0, 0)
    few["target_name"] = MaskedColumn(["", "M 31", "", "M 33"], mask=[True, False, True, False])
    few["sky_angle"] = [float("nan")] * 4
    result = ingest_table(butler, few, INSTRUMENT, time_scale="tai", update_records=True)
    assert (result.n_updated, result.n_skipped) == (2, 2)
    changes = {id_of(2): "M 31", id_of(4): "M 33"}
    assert exposures_of(butler) == [one | {"target_name": changes.get(one["id"], one["target_name"])} for one in before]


def test_what_follows_is_corrected_too(make_survey: MakeSurvey) -> None:
    """What was made of a column is made of it again; what was given otherwise is kept."""
    butler = make_survey()
    columns = {"exposure_id": [1, 2], "physical_filter": ["r_sim"] * 2, "exposure_time": [30.0, 30.0]}
    begins = ["2026-04-01T23:15:00", "2026-04-01T23:16:00"]
    table = Table({**columns, "datetime_begin": begins, "observation_type": ["science"] * 2})
    table["can_see_sky"] = MaskedColumn([True, True], mask=[True, False])
    table["dark_time"] = MaskedColumn([0.0, 31.0], mask=[True, False])
    ingest_table(butler, table, INSTRUMENT)
    table.remove_columns(["can_see_sky", "dark_time"])
    table["observation_type"] = ["Dark", "Science"]
    table["exposure_time"] = [40.0, 40.0]
    table["datetime_begin"] = [begins[0], "2026-04-02T23:16:00"]
    assert ingest_table(butler, table, INSTRUMENT, update_records=True).n_updated == 2
    first, second = exposure_records(butler)
    assert (first.can_see_sky, first.observation_reason, first.dark_time, first.day_obs) == (
        False,
        "unknown",
        40.0,
        DAY,
    )
    assert (second.can_see_sky, second.observation_reason, second.dark_time) == (True, "science", 31.0)
    assert second.day_obs == DAY + 1
    assert [one.timespan.nsec[1] - one.timespan.nsec[0] for one in (first, second)] == [40 * NS_PER_S] * 2


@both
def test_days_that_begin_at_another_hour(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """As the warning of two observing days advises: where a table does not say the day, it follows from the begin."""
    butler = make_repository(tmp_path / "repository", cluster=cluster_of(request))
    begins = ["2026-04-01T23:58:00", "2026-04-02T00:00:50", "2026-04-02T13:00:00", "2026-04-02T01:00:00"]
    table = Table({"exposure_id": [1, 2, 3, 4], "datetime_begin": begins, "physical_filter": ["g_sim"] * 4})
    table["day_obs"] = MaskedColumn([0, 0, 0, DAY + 9], mask=[True, True, True, False])
    ingest_table(butler, table, DESCRIPTION, time_scale="tai")
    table.remove_column("day_obs")
    again: dict[str, Any] = {"time_scale": "tai", "update_records": True, "batch_size": 1}
    at_midnight = (DAY, DAY + 1, DAY + 1)
    for hours, days in ((12.0, (DAY, DAY, DAY + 1)), (14.0, (DAY, DAY, DAY)), (0.0, at_midnight)):
        later = DESCRIPTION.model_copy(update={"day_obs_offset_hours": hours})
        preview = ingest_table(butler, table, later, dry_run=True, **again)
        result = ingest_table(butler, table, later, **again)
        assert [str(one) for one in result.corrections] == [str(one) for one in preview.corrections] != []
        found = {record.id: record.day_obs for record in exposure_records(butler)}
        # What was said stays.
        assert found == dict(zip((1, 2, 3), days, strict=True)) | {4: DAY + 9}
        spans = {record.id: record.timespan for record in stored_visits(butler, "day_obs")}
        assert spans[DAY] == Timespan.from_day_obs(DAY, round(3600 * hours))
        assert ingest_table(butler, table, later, **again).corrections == []


def test_an_exposure_keeps_its_length(make_survey: MakeSurvey) -> None:
    butler = make_survey()
    ingest(butler, exposure(1))
    few = table_of(exposure(2))["exposure_id", "datetime_begin", "physical_filter"]
    few["exposure_id"] = id_of(1)
    ingest_table(butler, few, INSTRUMENT, time_scale="tai", update_records=True)
    (record,) = exposure_records(butler)
    assert record.toDict() == {"instrument": INSTRUMENT, **exposure(1), "has_simulated": False} | {
        "timespan": exposure(2)["timespan"]
    }


def test_rows_that_disagree(make_survey: MakeSurvey) -> None:
    """Of one exposure there is one truth in a run, in whatever batches its rows are."""
    butler = make_survey()
    ingest(butler, exposure(1), exposure(2))
    before = exposures_of(butler)
    one, other = exposure(1, target_name="M 31"), exposure(1, target_name="M 33")
    for rows in ((one, other), (exposure(1), other)):
        for batch_size in (1, 10):
            with pytest.raises(ConflictingDefinitionError, match="differs from The table, row 1: target_name is"):
                ingest(butler, *rows, update_records=True, batch_size=batch_size, dry_run=True)
    result = ingest(butler, one, other, exposure(2), update_records=True, on_error="skip")
    assert (result.n_updated, result.n_skipped, result.n_failed) == (1, 1, 1)
    assert exposures_of(butler) == [before[0] | {"target_name": "M 31"}, before[1]]


def test_names_stay_unique(make_survey: MakeSurvey) -> None:
    butler = make_survey()
    ingest(butler, exposure(1), exposure(2))
    taken = exposure(1, obs_id=exposure(2)["obs_id"])
    with pytest.raises(IngestError, match=f"and so is exposure {id_of(2)}; each needs a name of its own"):
        ingest(butler, taken, update_records=True)
    free = exposure(1, obs_id="another")
    assert ingest(butler, free, update_records=True).n_updated == 1
    assert [one.obs_id for one in exposure_records(butler)] == ["another", exposure(2)["obs_id"]]


def test_the_group_before(make_survey: MakeSurvey) -> None:
    """An exposure that had not been joined to its group's visit leaves it: that visit is looked at too."""
    butler = make_survey()
    ingest(butler, exposure(1, group="A-1"))
    define(butler, "by-group-metadata")
    ingest(butler, exposure(2, group="A-1"))
    before = tables(butler)
    result = ingest(butler, exposure(2, group="B-2"), update_records=True)
    run = redefine(butler, result, "by-group-metadata")
    assert (run.n_visits, run.n_new, run.n_fully_updated) == (2, 1, 1)
    after = tables(butler)
    assert sorted(row[-2:] for row in after["visit_definition"]) == sorted(
        [*(row[-2:] for row in before["visit_definition"]), *(row[-2:] for row in after["visit_definition"][1:])]
    )
    assert [row for row in after["visit"] if row in before["visit"]] == before["visit"]


def test_not_on_the_sky_any_more(make_survey: MakeSurvey, caplog: pytest.LogCaptureFixture) -> None:
    butler = make_survey()
    ingest(butler, exposure(1), exposure(2))
    define(butler)
    before = tables(butler)
    result = ingest(butler, exposure(1, observation_type="dark", can_see_sky=False), exposure(2), update_records=True)
    with caplog.at_level(logging.WARNING):
        run = redefine(butler, result)
    assert (run.n_visits, run.n_off_sky) == (0, 1)
    assert f"Exposure {id_of(1)} of {INSTRUMENT} is not on the sky any more" in caplog.text
    assert f"still in visit {id_of(1)};" in caplog.text
    assert tables(butler) == before


@both
def test_corrected_headers(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    butler = make_repository(tmp_path / "repository", cluster=cluster_of(request))
    files = write_raws(tmp_path / "raw", science(2), detectors=(0, 1))
    ingest_raws(butler, files, instrument=DESCRIPTION)
    before = stored(butler)
    for file in files[:2]:
        fits.setval(file, "OBJECT", value="M 31")
    preview = ingest_raws(butler, files, update_records=True, dry_run=True)
    assert summary(preview) == (4, 0, 4, 0, 0, 0)
    assert [[str(field) for field in one.differences] for one in preview.corrections] == [
        [f"target_name is stored as {science(2)[0]['target_name']!r} and is now 'M 31'"]
    ]
    assert stored(butler) == before
    result = ingest_raws(butler, files, update_records=True)
    assert (result.n_updated, result.n_skipped) == (1, 4)
    assert stored(butler) == before | {
        "exposure": [before["exposure"][0] | {"target_name": "M 31"}, *before["exposure"][1:]]
    }


@pytest.mark.parametrize("batch_size", [1, 10])
@pytest.mark.parametrize("changed", [0, 1])
def test_files_that_disagree(tmp_path: Path, batch_size: int, changed: int) -> None:
    """The files of an exposure must agree before it is replaced as one of them says."""
    butler = make_repository(tmp_path / "repository")
    files = write_raws(tmp_path / "raw", science(1), detectors=(0, 1))
    ingest_raws(butler, files, instrument=DESCRIPTION)
    fits.setval(files[changed], "OBJECT", value="M 31")
    with pytest.raises(ConflictingDefinitionError, match=f"{files[1]}.* differs from {files[0]}: target_name is"):
        ingest_raws(butler, files, update_records=True, batch_size=batch_size)


def test_headers_of_copied_files(tmp_path: Path) -> None:
    """The repository's own copy is as it was; its record is corrected, and a second run changes nothing."""
    butler = make_repository(tmp_path / "repository")
    (file,) = write_raws(tmp_path / "raw", science(1))
    ingest_raws(butler, [file], instrument=DESCRIPTION, transfer="copy")
    fits.setval(file, "OBJECT", value="M 31")
    for n_updated in (1, 0):
        result = ingest_raws(butler, [file], update_records=True, transfer="copy")
        assert (result.n_updated, result.n_skipped, result.n_failed) == (n_updated, 1, 0)
        assert [one["target_name"] for one in exposures_of(butler)] == ["M 31"]


@pytest.mark.parametrize("transfer", ["direct", "copy", "move"])
def test_a_dry_run_writes_nothing(tmp_path: Path, transfer: Any) -> None:
    """Neither exposures nor anything that must be there before them, also through a Butler that cannot write."""
    make_repository(tmp_path / "repository")
    files = write_raws(tmp_path / "raw", science(2), detectors=(0, 1))
    butler = Butler.from_config(tmp_path / "repository", writeable=False)
    content = {path: path.read_bytes() for path in (tmp_path / "repository").rglob("*") if path.is_file()}
    result = ingest_raws(butler, [tmp_path / "raw"], instrument=DESCRIPTION, transfer=transfer, dry_run=True)
    assert summary(result) == (4, 4, 0, 0, 4, 2)
    result = ingest_table(butler, table_of(*WRONG), DESCRIPTION, time_scale="tai", dry_run=True)
    assert summary(result) == (4, 4, 0, 0, 0, 4)
    assert not butler.collections.query("*")
    assert content == {path: path.read_bytes() for path in (tmp_path / "repository").rglob("*") if path.is_file()}
    assert all(file.exists() for file in files)
