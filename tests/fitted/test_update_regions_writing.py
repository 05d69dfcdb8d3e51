"""Regions and pointings from an astrometric fit: written whole, in bulk, beside others, and what follows them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lsst.daf.butler import Butler
from sqlalchemy import event, text

from butler_visits.fitted.geometries import find_geometries
from butler_visits.fitted.update import update_visit_regions
from command_line import define_visits
from fitted_visits import (
    GROUP,
    RUN,
    assert_fitted,
    fits_of,
    pointings,
    store_fits,
    summary,
    tables,
    update,
    writes,
)
from obscore import DETECTORS, FIRST, SECOND, SINGLE, obscore_regions, polygon
from raw_repository import count_statements
from simulated_survey import INSTRUMENT
from visit_tables import add_exposures, connect, data_ids, engine, exposure, make_task, root
from visit_tables import stored as records
from visit_tables import tables as visit_tables


class RefusedError(Exception):
    """The database does not answer any more."""


@contextmanager
def before_statements(butler: Butler, do: Callable[[str], None]) -> Iterator[None]:
    """Do something before each statement that a Butler sends."""

    def listen(_connection: Any, _cursor: Any, statement: str, *_others: Any) -> None:
        do(statement)

    event.listen(engine(butler), "before_cursor_execute", listen)
    try:
        yield
    finally:
        event.remove(engine(butler), "before_cursor_execute", listen)


def states(butler: Butler) -> dict[int, Any]:
    """Return all that an update may change, by visit."""
    found = visit_tables(butler)
    detectors = records(butler, "visit_detector_region")
    return {
        record.id: (
            record.region.encode(),
            {one.detector: one.region.encode() for one in detectors if one.visit == record.id},
            [row for name in ("visit_overlap", "detector_overlap") for row in found[name] if row[0] == record.id],
            pointings(butler)[record.id],
        )
        for record in records(butler, "visit")
    }


@pytest.mark.sqlite_only
def test_whole_wherever_it_ends(survey: Butler, tmp_path: Path) -> None:
    """Whichever row the database refuses, each chunk is there whole or not at all."""
    store_fits(survey, tmp_path, fits_of(survey))
    datasets = find_geometries(survey, INSTRUMENT, [RUN])[:2]
    sent = 0
    limit = 0
    found = [states(survey)]

    def refuse(statement: str) -> None:
        nonlocal sent
        sent += writes(statement)
        if sent > limit:
            raise RefusedError

    for _ in range(100):
        sent = 0
        try:
            with before_statements(survey, refuse):
                update_visit_regions(survey, datasets, chunk_size=1)
            break
        except RefusedError:
            found.append(states(survey))
            # When the first chunk is there, it begins anew with the second.
            limit = limit + 1 if found[-1] == found[-2] else 0
    else:
        pytest.fail("it never ends")
    old, new = found[0], states(survey)
    first, second, third = old
    assert [visit for visit in old if old[visit] == new[visit]] == [third]
    whole = [{**old, first: a[first], second: b[second]} for a, b in ((old, old), (new, old), (new, new))]
    assert all(one in whole for one in found)
    # It has ended before, between and after the two.
    assert [found.count(one) > 5 for one in whole[:2]] == [True, True]


@pytest.mark.sqlite_only
@pytest.mark.parametrize("what", ["visit", "exposure"])
def test_changed_in_between(survey: Butler, tmp_path: Path, what: str) -> None:
    """What another process has changed since the plan was made is not turned back."""
    fits = fits_of(survey)
    store_fits(survey, tmp_path, fits)
    (stored, *_) = records(survey, what)
    other = Butler.from_config(root(survey), writeable=True)
    changes = iter([111.0])
    joins = 0

    def change(statement: str) -> None:
        nonlocal joins
        joins += "visit_definition" in statement
        # The third is the last that is read for a plan, and the next transaction writes.
        if joins == 3 and statement.startswith("BEGIN"):
            for value in changes:
                row = {**stored.toDict(), "exposure_time": value}
                other.registry.insertDimensionData(what, row, replace=True)

    with before_statements(survey, change):
        plan = update_visit_regions(survey, find_geometries(survey, INSTRUMENT, [RUN]))
    assert next(changes, None) is None, "nothing was changed"
    assert {visit.action.value for visit in plan} == {"update"}
    assert_fitted(survey, fits)
    assert {one.exposure_time for one in records(survey, what) if one.id == stored.id} == {111.0}


@pytest.mark.postgresql_only  # SQLite locks the whole database.
def test_visits_are_locked(survey: Butler, tmp_path: Path) -> None:
    """Who changes a visit while it is written waits for that, and is not overwritten."""
    fits = fits_of(survey)
    store_fits(survey, tmp_path, fits)

    def change() -> None:
        with connect(survey) as connection:
            connection.execute(text("UPDATE visit SET exposure_time = 111"))

    others: list[Future[None]] = []

    def let_change(statement: str) -> None:
        if not others and statement.startswith("INSERT INTO public.exposure"):
            others.append(pool.submit(change))
            time.sleep(0.3)

    with ThreadPoolExecutor(1) as pool, before_statements(survey, let_change):
        update_visit_regions(survey, find_geometries(survey, INSTRUMENT, [RUN]))
        others[0].result(30)
    assert_fitted(survey, fits)
    assert [record.exposure_time for record in records(survey, "visit")] == [111.0] * 3


@pytest.mark.postgresql_only  # SQLite locks the whole database.
def test_two_at_once(survey: Butler, tmp_path: Path) -> None:
    """Somebody replaces the regions of the same visits by computed ones: each visit is one's or the other's."""
    fits = fits_of(survey)
    store_fits(survey, tmp_path, fits)
    given = data_ids(fits)
    writers = [Butler.from_config(root(survey), writeable=True) for _ in range(2)]

    def fit() -> None:
        for _ in range(2):
            update_visit_regions(writers[0], find_geometries(writers[0], INSTRUMENT, [RUN]), chunk_size=2)

    def define() -> None:
        for _ in range(2):
            make_task(writers[1], chunkSize=1).run(given, update_records=True)

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(fit), pool.submit(define)]:
            future.result(60)
    detectors = records(survey, "visit_detector_region")
    for record in records(survey, "visit"):
        fit_of = fits[record.id]
        same = {
            one.region.encode().hex() == fit_of["detector_regions"][str(one.detector)]
            for one in detectors
            if one.visit == record.id
        }
        assert same == {record.region.encode().hex() == fit_of["visit_region"]}
    for writer in writers:
        writer.close()
    assert summary(update(survey)).startswith("3 visits: ")
    assert_fitted(survey, fits)


@pytest.mark.sqlite_only
def test_no_query_for_each_visit(make_survey: Callable[..., Butler], tmp_path: Path) -> None:
    counted: dict[tuple[str, int], int] = {}
    for n_visits in (2, 20):
        butler = make_survey()
        make_task(butler).run(data_ids(add_exposures(butler, map(exposure, range(1, n_visits + 1)))))
        store_fits(butler, tmp_path, fits_of(butler), run=f"fit{n_visits}")
        for run in ("first", "second"):
            with count_statements() as found:
                plan = update_visit_regions(butler, find_geometries(butler, INSTRUMENT, [f"fit{n_visits}"]))
            assert len(plan) == n_visits
            counted[run, n_visits] = len(found)
    assert counted["first", 20] == counted["first", 2] > counted["second", 2]
    assert counted["second", 20] == counted["second", 2] > 0


# What depends on regions


@pytest.mark.parametrize("grouping", ["one-to-one", GROUP])
def test_obscore(obscore_butler: Butler, tmp_path: Path, grouping: str) -> None:
    """The registry's ObsCore table has the fitted regions of exposures, unless that is switched off."""
    butler = obscore_butler
    make_task(butler, grouping).run(data_ids([SINGLE, FIRST, SECOND]))
    before = obscore_regions(butler)
    fits = fits_of(butler)
    store_fits(butler, tmp_path, fits)
    datasets = find_geometries(butler, INSTRUMENT, [RUN])
    update_visit_regions(butler, datasets[:1], update_obscore=False)
    assert obscore_regions(butler) == before
    update_visit_regions(butler, datasets[1:])
    after = {key: region for key, region in before.items() if key[0] == SINGLE}
    fitted = {(one.visit, one.detector): one.region for one in records(butler, "visit_detector_region")}
    visit_of = {FIRST: FIRST, SECOND: SECOND} if grouping == "one-to-one" else dict.fromkeys((FIRST, SECOND), max(fits))
    after |= {(one, d): polygon(fitted[visit, d]) for one, visit in visit_of.items() for d in DETECTORS}
    assert obscore_regions(butler) == after != before


@pytest.mark.sqlite_only
def test_define_visits_afterwards(survey: Butler, tmp_path: Path) -> None:
    """What the how-to guide says of define-visits after a fit."""
    fits = fits_of(survey)
    store_fits(survey, tmp_path, fits)
    update(survey)
    fitted = tables(survey)
    refused = define_visits(root(survey), INSTRUMENT)
    assert refused.exit_code == 1
    assert "region differs by up to" in refused.output
    assert define_visits(root(survey), INSTRUMENT, "--skip-conflicting").exit_code == 0
    assert define_visits(root(survey), INSTRUMENT, "--prefilter").exit_code == 0
    assert tables(survey) == fitted
    assert define_visits(root(survey), INSTRUMENT, "--incremental").exit_code == 0
    computed = tables(survey)
    assert computed["visit"] != fitted["visit"]
    # The pointings are the fit's still, and so it can be done again.
    assert computed["exposure"] == fitted["exposure"]
    assert summary(update(survey)) == "3 visits: 3 updated, 0 left as they are"
    assert tables(survey) == fitted
