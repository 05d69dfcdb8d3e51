"""The page's list: its order, values that are no numbers, what is far down, and what goes on paper and into files."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from browser import NIGHT, field, opened, page_of, settle, texts
from butler_visits.report.page import PageVisit, build, render_page

pytestmark = [pytest.mark.slow, pytest.mark.sqlite_only]

FIRST = "#list tbody tr[data-visit] td:first-child"


def write(folder: Path, visits: Sequence[PageVisit]) -> Path:
    file = folder / "visits.html"
    file.write_text(render_page(page_of(visits)))
    return file


def with_fields(id_: int, **fields: Any) -> PageVisit:
    visit = field(id_, 10.0 + id_ / 10, -20.0)
    return dataclasses.replace(visit, fields={**visit.fields, **fields})


def sort_by(page: Any, name: str) -> None:
    page.locator("#list thead").get_by_text(name, exact=True).click()


def saved(page: Any) -> list[dict[str, str]]:
    """Save the list, and read it as Python does."""
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    return list(csv.DictReader(io.StringIO(Path(download.value.path()).read_bytes().decode(), newline="")))


def print_page(page: Any) -> None:
    """Lay a page out as on A4 paper with margins, in pixels."""
    page.set_viewport_size({"width": 720, "height": 1040})
    page.emulate_media(media="print")
    page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    settle(page)


# Values


def test_numbers_that_are_none(chromium: Any, tmp_path: Path) -> None:
    """They are shown, sorted and saved as what they are; numbers among them are sorted as numbers."""
    times = [30.0, math.nan, 7.25, math.inf, None, -math.inf, 100.0]
    visits = [with_fields(k, exposure_time=time, azimuth=math.inf) for k, time in enumerate(times)]
    visits[0] = dataclasses.replace(visits[0], stored={"exposure_time": math.nan}, action="update")
    with opened(chromium, write(tmp_path, visits), accept_downloads=True) as page:
        assert texts(page, "#list tbody td.number:nth-child(7)") == ["30", "nan", "7.25", "inf", "–", "-inf", "100"]
        sort_by(page, "Exposure time (s)")
        assert texts(page, FIRST) == ["5", "2", "0", "6", "3", "1", "4"]
        rows = saved(page)
        assert [row["exposure_time"] for row in rows] == ["-inf", "7.25", "30", "100", "inf", "nan", ""]
        page.select_option("#colour", "depth")
        page.get_by_role("button", name="3", exact=True).click()
        fields = dict(zip(texts(page, "#fields tbody th"), texts(page, "#fields td:nth-child(2)"), strict=True))
        assert (fields["exposure_time"], fields["azimuth"]) == ("inf", "inf")
        page.get_by_role("button", name="0", exact=True).click()
        assert texts(page, "#fields td.changed") == ["30", "nan"]


# Sorting


@pytest.mark.parametrize("seed", [1, 2])
def test_order_is_one(chromium: Any, tmp_path: Path, seed: int) -> None:
    """Whatever the order before, names are sorted by the numbers in them."""
    targets = ["1a", "1b", "2", "3", "9", "10", "11", "20a", "100", "m 3", "M 31", "NGC 9", "NGC 10", None]
    exposures = [(9,), (10,), (10, 11), (12,), (100,), *((20220406025653255 + k,) for k in range(9))]
    visits = [
        dataclasses.replace(with_fields(k, target_name=name, physical_filter=str(7 * k)), exposures=joined)
        for k, (name, joined) in enumerate(zip(targets, exposures, strict=True))
    ]
    random.Random(seed).shuffle(visits)
    expected = [str(k) for k in range(len(visits))]
    with opened(chromium, write(tmp_path, visits)) as page:
        for name in ("Target", "Exposures", "Filter"):
            sort_by(page, name)
            assert texts(page, FIRST) == expected, name
            sort_by(page, name)
            last = expected[-1:] if name == "Target" else []
            assert texts(page, FIRST) == [*reversed(expected[: len(expected) - len(last)]), *last], name
            sort_by(page, "Begin (TAI)")


# What is far down


def test_chosen_visit_is_listed(chromium: Any, tmp_path: Path) -> None:
    """Also if it is farther down than the list goes."""
    visits = [field(k, k / 2, -20.0) for k in range(250)]
    with opened(chromium, write(tmp_path, visits), address="#visit=137") as page:
        rows = [str(k) for k in [*range(100), 137]]
        assert texts(page, FIRST) == rows
        assert texts(page, "#list tr[aria-current] td:first-child") == ["137"]
        assert "37 visits" in texts(page, "#list tbody tr:not([data-visit])")[0]
        page.get_by_role("button", name="137", exact=True).click()
        assert page.evaluate("() => document.activeElement.textContent") == "137", "the keyboard stays where it is"
        page.get_by_role("button", name="Show more", exact=True).click()
        assert texts(page, FIRST) == [str(k) for k in range(200)]
        assert texts(page, "#list tr[aria-current] td:first-child") == ["137"]
        page.evaluate("() => visitsPage.select({ visit: 200 }, true)")
        assert texts(page, FIRST) == [str(k) for k in range(201)]
        assert not texts(page, "#list tbody tr:not([data-visit])"), "nothing is between"
        page.evaluate("() => visitsPage.select({ visit: 3 }, true)")
        assert texts(page, FIRST) == [str(k) for k in range(200)]
        # Found by its name, chosen, and all the others again.
        page.fill("#text", "visit_249")
        page.locator("#count").filter(has_text="1 of 250").wait_for()
        page.get_by_role("button", name="249", exact=True).click()
        page.fill("#text", "")
        page.locator("#count").filter(has_text="250 of 250").wait_for()
        assert texts(page, "#list tr[aria-current] td:first-child") == ["249"]
        assert texts(page, "#listed") == ["100 of 250 visits are listed"]


# Paper


def test_all_rows_are_printed(chromium: Any, tmp_path: Path) -> None:
    visits = [field(k, k / 2, -20.0, day_obs=NIGHT + k // 2) for k in range(250)]
    with opened(chromium, write(tmp_path, visits)) as page:
        assert len(texts(page, "#list tbody tr")) == 100
        print_page(page)
        assert texts(page, FIRST) == [str(k) for k in range(250)]
        assert len(texts(page, "#counts tbody tr")) == 126, "nights, and the line of all"
        assert texts(page, "#listed") == texts(page, "#listed-nights") == [""]
        assert not page.is_visible("#filtered"), "nothing was filtered"


def test_paper_says_what_it_lacks(chromium: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "MAX_OUTLINES", 120)
    visits = [field(k, k / 2, -20.0, day_obs=NIGHT + k) for k in range(130)]
    with opened(chromium, write(tmp_path, visits)) as page:
        print_page(page)
        assert len(texts(page, "#list tbody tr")) == 120
        for said, what in (("#listed", "visits"), ("#listed-nights", "nights")):
            assert page.is_visible(said)
            assert texts(page, said) == [f"120 of 130 {what} are listed"]


def test_paper_says_what_was_filtered(chromium: Any, tmp_path: Path) -> None:
    names = ["M 31", "M 31", "M 33", "M 31"]
    visits = [
        field(k, 10.0 * k, -20.0, target_name=name, physical_filter=f"{b}_1", band=b)
        for k, (name, b) in enumerate(zip(names, "grrr", strict=True))
    ]
    with opened(chromium, write(tmp_path, visits)) as page:
        page.fill("#text", "m 31")
        page.locator("#count").filter(has_text="3 of 4").wait_for()
        page.locator("#legend button").first.click()
        assert not page.is_visible("#filtered")
        print_page(page)
        assert page.is_visible("#filtered")
        assert texts(page, "#filtered") == ["3 of 4 visits: text “m 31”; not on the map: g_1."]
        page.evaluate("() => dispatchEvent(new Event('afterprint'))")
        page.emulate_media(media="screen")
        assert not page.is_visible("#filtered")
        page.locator("#legend button").first.click()
        page.fill("#text", "")
        page.select_option("#band", "r")
        page.select_option("#night", str(NIGHT))
        page.locator("#count").filter(has_text="3 of 4").wait_for()
        print_page(page)
        assert texts(page, "#filtered") == [f"3 of 4 visits: night {NIGHT}, band r."]


# Files


def test_names_come_back(chromium: Any, tmp_path: Path) -> None:
    """From what is saved and what is copied; what looks like a formula stays as it is, as where export writes it."""
    names = ['"M 31', "=cmd|x", 'b, "quoted"', "c\nd", "e\tf", "+1", "@g", "it's", "g\r\nh", " i "]
    visits = [with_fields(k, target_name=name) for k, name in enumerate(names)]
    with opened(chromium, write(tmp_path, visits), accept_downloads=True) as page:
        assert [row["target"] for row in saved(page)] == names
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.get_by_role("button", name="Copy").click()
        page.locator("#copied").filter(has_text="10 visits copied").wait_for()
        copied = page.evaluate("() => navigator.clipboard.readText()")
        rows = list(csv.DictReader(io.StringIO(copied, newline=""), dialect="excel-tab"))
        assert [row["target"] for row in rows] == names
        assert [row["visit"] for row in rows] == [str(k) for k in range(10)]
        assert "\tb, " not in copied
        assert "\t=cmd|x\t" in copied, "what needs no quotes has none"
