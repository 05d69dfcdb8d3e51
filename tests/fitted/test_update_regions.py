"""Regions and pointings from an astrometric fit, in repositories."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest
from astropy.table import Table
from lsst.daf.butler import Butler, DatasetRef, FileDataset
from lsst.daf.butler.formatters.json import JsonFormatter
from lsst.resources import ResourcePath

from browser import content as page_content
from butler_visits.fitted.geometries import find_geometries
from butler_visits.fitted.update import update_visit_regions
from command_line import lines
from fitted_visits import (
    COUNTER,
    DATASETS,
    GROUP,
    RUN,
    assert_fitted,
    data_id,
    fits_of,
    fitted_pointing,
    pointings,
    store_fits,
    summary,
    tables,
    update,
    writes,
)
from raw_repository import count_statements
from simulated_survey import INSTRUMENT, insert_exposures
from visit_tables import N_DETECTORS, add_exposures, data_ids, delete_rows, exposure, make_task
from visit_tables import stored as records


def test_update(survey: Butler, tmp_path: Path) -> None:
    """Regions and pointings are the fit's, all else stays, and a second run writes nothing."""
    before = tables(survey)
    fits = fits_of(survey)
    store_fits(survey, tmp_path, fits)
    assert summary(update(survey)) == "3 visits: 3 updated, 0 left as they are"
    assert_fitted(survey, fits)
    assert pointings(survey) == {visit: fitted_pointing(fit) for visit, fit in fits.items()}
    after = tables(survey)
    for name in ("visit_definition", "visit_system", "visit_system_membership"):
        assert after[name] == before[name]
    changed = {"tracking_ra", "tracking_dec", "sky_angle"}
    for old, new in zip(before["exposure"], after["exposure"], strict=True):
        assert {name for name in old if old[name] != new[name]} == changed
    region = [*survey.dimensions["visit"].RecordClass.fields.names].index("region")
    for old, new in zip(before["visit"], after["visit"], strict=True):
        assert [i for i, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1]] == [region]

    with count_statements() as statements:
        assert summary(update(survey)) == "3 visits: 0 updated, 3 left as they are"
    # The Butler writes when a repository is opened.
    assert [one for one in statements if writes(one) and "opaque_meta" not in one] == []
    assert tables(survey) == after


@pytest.mark.sqlite_only
def test_preview(survey: Butler, tmp_path: Path) -> None:
    fits = fits_of(survey)
    first, second, third = fits
    fits[second]["boresight_ra"] = pointings(survey)[second][0]
    for detector in ("3", "7"):
        del fits[second]["detector_regions"][detector]
    delete_rows(survey, "visit_detector_region", visit=third, detector=4)
    before = tables(survey)
    store_fits(survey, tmp_path, fits)
    output = tmp_path / "plan.ecsv"
    head, *rest = lines(update(survey, "--dry-run", "--output", output))
    assert tables(survey) == before
    assert head == "3 visits: 3 update"
    # Three arcseconds about an axis: less for what is nearer to it.
    assert rest[0].startswith(f"  update    {first} (SC_O_20260401_000001): region differs by up to 2.")
    assert "; visit_detector_region of 9 detectors differs by up to 2." in rest[0]
    assert rest[0].endswith(
        f"; tracking_ra is stored as 35.0 and is now {fits[first]['boresight_ra']!r}; tracking_dec is stored as "
        f"-19.999 and is now {fits[first]['boresight_dec']!r}; sky_angle is stored as 10.0 and is now {math.pi!r}"
    )
    assert "tracking_ra" not in rest[1]
    assert "; tracking_dec is stored as -19.998 and is now " in rest[1]
    assert "; visit_detector_region of 7 detectors differs by" in rest[1]
    assert rest[1].endswith("; 2 detectors without a fit keep what is stored")
    assert "; visit_detector_region of 8 detectors differs by" in rest[2]
    assert rest[2].endswith("; 1 detector without a polygon gets one")
    table = Table.read(output)
    assert list(table["visit"]) == list(fits)
    assert list(table["action"]) == ["update"] * 3
    assert [row["reason"] for row in table] == [line.split("): ", 1)[1] for line in rest]

    kept = {(r.visit, r.detector): r.region for r in records(survey, "visit_detector_region")}
    page = tmp_path / "plan.html"
    assert summary(update(survey, "--output", page)) == "3 visits: 3 updated, 0 left as they are"
    assert page_content(page.read_text())["lines"] == ["3 visits: 3 update."]
    assert_fitted(survey, fits)
    regions = {(r.visit, r.detector): r.region for r in records(survey, "visit_detector_region")}
    assert len(regions) == 3 * N_DETECTORS
    assert all(regions[second, detector] == kept[second, detector] for detector in (3, 7))
    assert lines(update(survey, "--dry-run")) == ["3 visits: 3 unchanged"]


@pytest.mark.sqlite_only
def test_structured_data(survey: Butler, tmp_path: Path) -> None:
    """A repository can have the datasets under a storage class that any Butler can write, as JSON or YAML."""
    fits = fits_of(survey)
    last = max(fits)
    others = {visit: fit for visit, fit in fits.items() if visit != last}
    store_fits(survey, tmp_path, others, storage_class="StructuredDataDict", name="my_fit")
    detectors = {int(key): value for key, value in fits[last]["detector_regions"].items()}
    fit = {**fits[last], "detector_regions": detectors}
    written = survey.put(fit, "my_fit", instrument=INSTRUMENT, visit=last, run=RUN)
    assert survey.getURI(written).getExtension() == ".yaml"
    assert summary(update(survey, "--dataset-type", "my_fit")) == "3 visits: 3 updated, 0 left as they are"
    assert_fitted(survey, fits)


@pytest.mark.sqlite_only
def test_zip_files_and_object_stores(survey: Butler, store: str, tmp_path: Path) -> None:
    """The Butler can store many small files as one, here and elsewhere."""
    fits = fits_of(survey)
    store_fits(survey, tmp_path, fits)
    packed = survey.retrieve_artifacts_zip(survey.query_datasets(DATASETS, RUN), tmp_path)
    survey.removeRuns([RUN])
    archive = ResourcePath(f"{store}fit.zip")
    archive.transfer_from(packed, transfer="copy")
    survey.ingest_zip(archive, transfer="direct")
    alone = ResourcePath(f"{store}alone.json")
    first = min(fits)
    fits[first]["orientation"] = 1.25
    alone.write(json.dumps(fits[first]).encode())
    survey.collections.register("better")
    ref = DatasetRef(survey.get_dataset_type(DATASETS), data_id(survey, first), "better")
    survey.ingest(FileDataset(alone, [ref], formatter=JsonFormatter), transfer="direct")
    plan = [f"3 visits: 3 {action}" for action in ("update", "unchanged")]
    datasets = find_geometries(survey, INSTRUMENT, ["better", RUN])
    assert update_visit_regions(survey, datasets).summary == plan[0]
    assert_fitted(survey, fits)
    assert pointings(survey)[first] == fitted_pointing(fits[first])
    assert update_visit_regions(survey, datasets).summary == plan[1]
    with ZipFile(tmp_path / "empty.zip", "w") as empty:
        empty.writestr("other.json", "{}")
    for content, said in (
        ((tmp_path / "empty.zip").read_bytes(), "the zip file does not have it"),
        (b"{}", "the file cannot be read (BadZipFile: "),
    ):
        archive.write(content)
        result = update(survey)
        assert result.exit_code == 1
        assert f"{archive}#zip-path=" in result.output
        assert said in result.output


@pytest.mark.sqlite_only
def test_which_datasets(survey: Butler, tmp_path: Path) -> None:
    """The first collection that has a visit's dataset counts, and an expression leaves others out."""
    fits = fits_of(survey)
    first, second, third = fits
    store_fits(survey, tmp_path, {first: {**fits[first], "orientation": 1.25}}, run="better")
    store_fits(survey, tmp_path, fits)
    where = ["--where", f"visit < {third} AND visit.science_program = 'SURVEY-1'"]
    assert summary(update(survey, *where, collections=f"better, {RUN}")) == "2 visits: 2 updated, 0 left as they are"
    angles = {visit: pointing[2] for visit, pointing in pointings(survey).items()}
    assert angles == {first: 1.25, second: fits[second]["orientation"], third: 30.0}


@pytest.mark.sqlite_only
def test_oldest_universe(make_survey: Callable[..., Butler], tmp_path: Path) -> None:
    butler = make_survey(0)
    insert_exposures(butler, [exposure(1), exposure(2)])
    make_task(butler).run(records(butler, "exposure"))
    fits = fits_of(butler)
    store_fits(butler, tmp_path, fits)
    assert summary(update(butler)) == "2 visits: 2 updated, 0 left as they are"
    regions = {record.id: record.region.encode().hex() for record in records(butler, "visit")}
    assert regions == {visit: fit["visit_region"] for visit, fit in fits.items()}
    assert pointings(butler) == {visit: fitted_pointing(fit) for visit, fit in fits.items()}
    assert summary(update(butler)) == "2 visits: 0 updated, 2 left as they are"


# Visits of several exposures

SNAPS = [exposure(1), exposure(2, seq_start=2, seq_end=3), exposure(3, seq_start=2, seq_end=3)]
SINGLE_ID, FIRST_ID, SECOND_ID = (one["id"] for one in SNAPS)
FIRST_ALONE = int(f"9{FIRST_ID}")


@pytest.mark.sqlite_only
@pytest.mark.parametrize(
    ("grouping", "pointing_of"),
    [
        # The second snap is in one visit only, whose pointing is the first one's.
        (GROUP, {SINGLE_ID: 20260401235901000, FIRST_ID: 20260401235902000}),
        (COUNTER, {SINGLE_ID: SINGLE_ID, FIRST_ID: FIRST_ALONE, SECOND_ID: SECOND_ID}),
    ],
)
def test_exposures_of_a_sequence(
    make_survey: Callable[..., Butler], tmp_path: Path, grouping: str, pointing_of: dict[int, int]
) -> None:
    butler = make_survey()
    make_task(butler, grouping).run(data_ids(add_exposures(butler, SNAPS)))
    fits = fits_of(butler)
    before = pointings(butler)
    store_fits(butler, tmp_path, fits)
    assert summary(update(butler)).startswith(f"{len(fits)} visits: {len(fits)} updated")
    assert_fitted(butler, fits)
    after = {**before, **{one: fitted_pointing(fits[visit]) for one, visit in pointing_of.items()}}
    assert pointings(butler) == after
    # Also one after the other, and in another order, nothing is turned back.
    for dataset in reversed(find_geometries(butler, INSTRUMENT, [RUN])):
        assert update_visit_regions(butler, [dataset]).summary == "1 visit: 1 unchanged"
    assert pointings(butler) == after


@pytest.mark.sqlite_only
def test_two_visits_of_one_exposure(make_survey: Callable[..., Butler], tmp_path: Path) -> None:
    butler = make_survey()
    given = data_ids(add_exposures(butler, [exposure(1)]))
    make_task(butler).run(given)
    make_task(butler, GROUP).run(given)
    fits = fits_of(butler)
    assert len(fits) == 2
    store_fits(butler, tmp_path, fits)
    assert summary(update(butler)) == "2 visits: 2 updated, 0 left as they are"
    assert_fitted(butler, fits)
    assert pointings(butler) == {exposure(1)["id"]: fitted_pointing(fits[min(fits)])}
    again = update_visit_regions(butler, find_geometries(butler, INSTRUMENT, [RUN]))
    assert again.summary == "2 visits: 2 unchanged"
