"""Regions of exposures in the registry's ObsCore table, in repositories that have one."""

from __future__ import annotations

from pathlib import Path

import pytest
from lsst.daf.butler import Butler

from obscore import (
    DETECTORS,
    EXPOSURES,
    FIRST,
    NO_REGIONS,
    REGISTRY,
    SECOND,
    SINGLE,
    VISITS,
    make_obscore_repository,
    obscore_regions,
    visit_regions,
)
from visit_tables import add_exposures, data_ids, make_task, only


@pytest.fixture
def butler(obscore_butler: Butler) -> Butler:
    return obscore_butler


@pytest.mark.parametrize("grouping", VISITS)
def test_inserted(butler: Butler, grouping: str) -> None:
    make_task(butler, grouping).run(data_ids([SINGLE, FIRST, SECOND]))
    assert obscore_regions(butler) == visit_regions(butler, VISITS[grouping])


@pytest.mark.parametrize("option", ["update_records", "incremental"])
def test_updated(butler: Butler, option: str) -> None:
    task = make_task(butler)
    task.run(data_ids([SINGLE, FIRST]))
    before = obscore_regions(butler)
    add_exposures(butler, [{**EXPOSURES[0], "tracking_dec": -31.0}], replace=True)
    task.run(data_ids([SINGLE]), **only(option))
    after = obscore_regions(butler)
    assert {key for key in after if after[key] != before[key]} == {(SINGLE, detector) for detector in DETECTORS}
    assert after == {**NO_REGIONS, **visit_regions(butler, {SINGLE: SINGLE, FIRST: FIRST})}


def test_switched_off(butler: Butler) -> None:
    assert make_task(butler, updateObsCoreTable=False).run(data_ids([SINGLE, FIRST])).n_new == 2
    assert obscore_regions(butler) == NO_REGIONS


def test_late_snap(butler: Butler) -> None:
    """A snap that joins a visit whose region stays as it is gets that region too."""
    task = make_task(butler, "by-group-metadata")
    task.run(data_ids([FIRST]))
    assert task.run(data_ids([SECOND]), incremental=True).n_partially_updated == 1
    expected = visit_regions(butler, {one: VISITS["by-group-metadata"][one] for one in (FIRST, SECOND)})
    assert obscore_regions(butler) == {**NO_REGIONS, **expected}


@pytest.mark.parametrize("order", [(FIRST, SECOND), (SECOND, FIRST)], ids=["in order", "backwards"])
def test_own_visit_goes_first(butler: Butler, order: tuple[int, int]) -> None:
    """Where an exposure has a visit of its own, that one's region is its region, whatever is written last."""
    task = make_task(butler, "one-to-one-and-by-counter")
    task.run(data_ids(order[:1]))
    task.run(data_ids(order[1:]), incremental=True)
    expected = visit_regions(butler, {one: VISITS["one-to-one-and-by-counter"][one] for one in order})
    assert obscore_regions(butler) == {**NO_REGIONS, **expected}


def test_table_without_the_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing can be updated in it, which is said."""
    monkeypatch.setattr("obscore.REGISTRY", "\n".join(REGISTRY.splitlines()[:-3]) + "\n")
    monkeypatch.setattr("obscore.obscore_regions", lambda butler: NO_REGIONS)
    butler = make_obscore_repository(tmp_path)
    assert make_task(butler).run(data_ids([SINGLE])).n_new == 1
    assert "ObsCore table has no column for exposure, detector" in caplog.text
    assert 'templates "{exposure}", "{detector}"' in caplog.text


def test_table_without_the_exposures(butler: Butler, caplog: pytest.LogCaptureFixture) -> None:
    """Raws may come later, or not at all."""
    butler.removeRuns(["raws"])
    assert make_task(butler).run(data_ids([SINGLE])).n_new == 1
    assert "no column" not in caplog.text
