"""The page of the night is made beside the watch, now and then and in the end, and nothing of it harms the watch."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from lsst.daf.butler import Butler

from browser import content
from butler_visits.watch.night_page import NightPage
from butler_visits.watch.tally import Tally
from simulated_survey import INSTRUMENT
from visit_tables import DAY, add_exposures, data_ids, exposure, make_task, root

pytest.importorskip("hpgeom", reason="hpgeom is not installed here")

pytestmark = pytest.mark.sqlite_only


def tally() -> Tally:
    return Tally(datetime(2026, 4, 1, 20, tzinfo=UTC), "watching", batches=1, instrument=INSTRUMENT, day_obs=DAY)


def visits_on(html: str) -> list[str]:
    names: list[str] = content(html)["visits"]["fields"]["name"]
    return sorted(names)


def wait_until(page: NightPage, state: Tally, done: Callable[[], object]) -> None:
    """Show a state again and again, as an idle watch does."""
    deadline = time.monotonic() + 120
    while not done():
        assert time.monotonic() < deadline
        page(state)
        time.sleep(0.02)


@pytest.mark.slow
def test_page_of_the_night(survey: Butler, tmp_path: Path) -> None:
    other_day = exposure(7, id=(DAY + 1) * 100000 + 7, obs_id="SC_O_20260402_000007", day_obs=DAY + 1)
    make_task(survey).run(data_ids(add_exposures(survey, [other_day])))
    file = tmp_path / "night.html"
    page, state = NightPage(str(root(survey)), str(file)), tally()
    state.batches = 0
    page(state)
    state.batches = 1
    wait_until(page, state, file.exists)
    first = file.read_text()
    assert visits_on(first) == [f"SC_O_{DAY}_00000{number}" for number in (1, 2, 3)]

    make_task(survey).run(data_ids(add_exposures(survey, [exposure(4)])))
    state.batches = 2
    for _ in range(5):
        # It is not a minute later.
        page(state)
    assert file.read_text() == first
    state.state = "ended"
    page(state)
    assert visits_on(file.read_text())[-1] == f"SC_O_{DAY}_000004"
    assert [one.name for one in tmp_path.iterdir() if one.suffix == ".html"] == ["night.html"]


@pytest.mark.slow
def test_what_cannot_be_made_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    page, state = NightPage(str(tmp_path / "missing"), str(tmp_path / "night.html"), interval=0), tally()
    for _ in range(2):
        state.batches += 1
        page(state)
        assert page._child is not None
        wait_until(page, state, lambda: page._child is None)
    [said] = [record.getMessage() for record in caplog.records]
    assert said.startswith("The page of the night could not be made: Error: There is no data repository at ")


def test_a_process_that_hangs_is_ended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    repo = tmp_path / "repository.yaml"
    # Nobody will ever write into it.
    os.mkfifo(repo)
    for state, limit in (("watching", 1.0), ("ended", 0.5)):
        page, shown = NightPage(str(repo), str(tmp_path / "night.html"), limit=limit), tally()
        shown.state = state
        page(shown)
        wait_until(page, shown, lambda page=page: page._child is None)  # type: ignore[misc]
    assert [record.getMessage() for record in caplog.records] == [
        "The page of the night could not be made: It takes longer than 1 s.",
        "The page of the night could not be made: It takes longer than 0.5 s.",
    ]
    assert list(tmp_path.iterdir()) == [repo]
