"""Whatever the order in which exposures arrive, the visits are the same in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import cycle, permutations
from typing import Any

import pytest
from lsst.daf.butler import Butler

from visit_tables import (
    ELEMENTS,
    N_DETECTORS,
    Tables,
    add_exposures,
    data_ids,
    exposure,
    make_task,
    records,
    stored,
    tables,
)

EXPOSURES = [exposure(1), exposure(2, seq_start=2, seq_end=3), exposure(3, seq_start=2, seq_end=3)]
SINGLE, FIRST, SECOND = (one["id"] for one in EXPOSURES)

# Exposures and visit systems of each visit.
EXPECTED = {
    "by-group-metadata": {
        20260401235901000: ([SINGLE], [1]),
        20260401235902000: ([FIRST, SECOND], [1]),
    },
    "one-to-one-and-by-counter": {
        SINGLE: ([SINGLE], [0, 2]),
        FIRST: ([FIRST, SECOND], [2]),
        int(f"9{FIRST}"): ([FIRST], [0]),
        SECOND: ([SECOND], [0]),
    },
}

KINDS: dict[str, Callable[[Butler, Iterable[int]], list[Any]]] = {
    "data IDs": lambda butler, ids: data_ids(ids),
    "records": records,
}


@pytest.fixture(scope="module")
def final() -> dict[str, Tables]:
    """Hold the final tables of the first arrival order of each grouping."""
    return {}


# What is given does not depend on the order, so that each order is tried with one kind.
ORDERS = list(zip(permutations(range(3)), cycle(KINDS)))


@pytest.mark.sqlite_only
@pytest.mark.parametrize("one_by_one", [False, True], ids=["in one run", "one by one"])
@pytest.mark.parametrize(("order", "kind"), ORDERS)
@pytest.mark.parametrize("grouping", EXPECTED)
def test_same_visits(
    make_survey: Callable[..., Butler],
    final: dict[str, Tables],
    grouping: str,
    order: tuple[int, ...],
    one_by_one: bool,
    kind: str,
) -> None:
    butler = make_survey()
    arriving = [EXPOSURES[i] for i in order]
    for batch in [[one] for one in arriving] if one_by_one else [arriving]:
        ids = add_exposures(butler, batch)
        make_task(butler, grouping).run(KINDS[kind](butler, ids), incremental=one_by_one)
    visits = {
        visit.id: (
            sorted(row.exposure for row in stored(butler, "visit_definition") if row.visit == visit.id),
            sorted(row.visit_system for row in stored(butler, "visit_system_membership") if row.visit == visit.id),
        )
        for visit in stored(butler, "visit")
    }
    assert visits == EXPECTED[grouping]
    assert len(stored(butler, "visit_detector_region")) == N_DETECTORS * len(visits)
    found = tables(butler)
    assert all(found[element] for element in ELEMENTS)
    assert found == final.setdefault(grouping, found)


@pytest.mark.postgresql_only
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
@pytest.mark.parametrize("grouping", EXPECTED)
def test_same_visits_in_postgresql(
    make_survey: Callable[..., Butler], final: dict[str, Tables], grouping: str, order: tuple[int, ...]
) -> None:
    test_same_visits(make_survey, final, grouping, order, one_by_one=True, kind="records")
