"""The grouping algorithms: their ids, warnings and queries, what they refuse, and the visit systems."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from lsst.daf.butler import Butler, DimensionRecord
from lsst.pex.config import registerConfigurable
from lsst.pipe.base import Instrument
from sqlalchemy import event
from sqlalchemy.engine import Engine

from butler_visits import (
    DefinitionError,
    GroupExposuresOneToOneTask,
    GroupExposuresTask,
    VisitDefinitionData,
    VisitSystem,
)
from command_line import define_visits
from simulated_survey import INSTRUMENT
from visit_tables import add_exposures, data_ids, exposure, make_task, records, root, stored, tables

pytestmark = pytest.mark.sqlite_only  # Groups are made in memory; queries and what the database refuses are marked.

COUNTER = "one-to-one-and-by-counter"
GROUP = "by-group-metadata"
SNAPS = [exposure(2, seq_start=2, seq_end=4), exposure(3, seq_start=2, seq_end=4), exposure(4, seq_start=2, seq_end=4)]


@pytest.fixture
def butler(make_survey: Callable[..., Butler]) -> Butler:
    return make_survey()


def pairs(count: int) -> list[dict[str, Any]]:
    """Describe groups of two snaps."""
    return [exposure(n, seq_start=n - n % 2, seq_end=n - n % 2 + 1) for n in range(2, 2 * count + 2)]


def systems_of(butler: Butler) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {visit.id: set() for visit in stored(butler, "visit")}
    for membership in stored(butler, "visit_system_membership"):
        found[membership.visit].add(membership.visit_system)
    return found


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.endswith("defineVisits.groupExposures") and record.levelno == logging.WARNING
    ]


# Visit ids of groups


class NumberedGroups(Instrument):
    """An instrument whose class knows how its groups are numbered."""

    @classmethod
    def getName(cls) -> str:
        return INSTRUMENT

    def register(self, registry: Any, *, update: bool = False) -> None:
        raise AssertionError("not used")

    def getRawFormatter(self, dataId: Any) -> Any:
        raise AssertionError("not used")

    @staticmethod
    def group_name_to_group_id(group_name: str) -> int:
        return 7000 + int(group_name[-6:-4])


def test_instrument_class_numbers_the_groups(butler: Butler) -> None:
    ids = add_exposures(butler, [exposure(1), *SNAPS])
    with butler.query() as query:
        (record,) = query.dimension_records("instrument")
    fields = record.toDict() | {"class_name": f"{__name__}.NumberedGroups"}
    butler.registry.syncDimensionData("instrument", fields, update=True)
    make_task(butler, GROUP).run(data_ids(ids))
    assert {visit.id: visit.name for visit in stored(butler, "visit")} == {
        7001: "2026-04-01T23:59:01.000",
        7002: "2026-04-01T23:59:02.000",
    }


# Visit systems


def test_all_visit_systems() -> None:
    assert VisitSystem.all() == {VisitSystem.ONE_TO_ONE, VisitSystem.BY_GROUP_METADATA, VisitSystem.BY_SEQ_START_END}
    assert sorted((system.value, str(system)) for system in VisitSystem.all()) == [
        (0, "one-to-one"),
        (1, "by-group-metadata"),
        (2, "by-seq-start-end"),
    ]


@pytest.mark.parametrize("system", VisitSystem)
def test_visit_system_from_name(system: VisitSystem) -> None:
    dashed = str(system)
    for name in (dashed, dashed.upper(), dashed.title(), dashed.replace("-", "_"), system.name):
        assert VisitSystem.from_name(name) is system


@pytest.mark.parametrize("name", ["by-counter", "one to one", "", "0"])
def test_unknown_visit_system(name: str) -> None:
    with pytest.raises(KeyError) as error:
        VisitSystem.from_name(name)
    for part in (repr(name), "one-to-one", "by-group-metadata", "by-seq-start-end"):
        assert part in error.value.args[0]


def test_visit_systems_from_names() -> None:
    assert VisitSystem.from_names(["One-To-One", "BY_SEQ_START_END", "one_to_one"]) == {
        VisitSystem.ONE_TO_ONE,
        VisitSystem.BY_SEQ_START_END,
    }
    nothings: list[Iterable[str] | None] = [None, [], (), iter([])]
    for nothing in nothings:
        assert VisitSystem.from_names(nothing) == VisitSystem.all()
    with pytest.raises(KeyError, match="nonsense"):
        VisitSystem.from_names(["one-to-one", "nonsense"])


# Counters


@pytest.mark.parametrize(
    ("given", "warned"),
    [(SNAPS[1:], True), (SNAPS, False), (SNAPS[:1], False), (SNAPS[::2], False)],
    ids=["first missing", "all", "only the first", "middle missing"],
)
def test_missing_first_snap_is_warned_of(
    butler: Butler, caplog: pytest.LogCaptureFixture, given: list[dict[str, Any]], warned: bool
) -> None:
    make_task(butler, COUNTER).run(data_ids(add_exposures(butler, given)))
    found = warnings_of(caplog)
    assert len(found) == warned
    if warned:
        for part in ("2 to 4", str(given[0]["day_obs"]), str(given[0]["id"])):
            assert part in found[0]
        assert systems_of(butler) == {one["id"]: {0} for one in given}


def test_camera_without_a_counter(butler: Butler, caplog: pytest.LogCaptureFixture) -> None:
    """A counter of 0 means that there is none: nothing is missing, and there is nothing to warn of."""
    no_counter = [{**one, "seq_num": 0} for one in SNAPS]
    make_task(butler, COUNTER).run(data_ids(add_exposures(butler, no_counter)))
    assert not warnings_of(caplog)
    assert systems_of(butler) == {one["id"]: {0} for one in no_counter}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)], ids=str)
@pytest.mark.parametrize("seq_num", [None, 0, 1, 9])
def test_number_outside_of_its_sequence(
    butler: Butler, caplog: pytest.LogCaptureFixture, seq_num: int | None, order: tuple[int, ...]
) -> None:
    """It is a visit of its own, whatever the order in which exposures arrive, and in whatever runs."""
    given = [*SNAPS[:2], {**SNAPS[2], "seq_num": seq_num}]
    for index in order:
        make_task(butler, COUNTER).run(data_ids(add_exposures(butler, [given[index]])), incremental=True)
    first, second, outside = (one["id"] for one in given)
    assert systems_of(butler) == {first: {2}, int(f"9{first}"): {0}, second: {0}, outside: {0}}
    found = tables(butler)
    assert {row.exposure for row in stored(butler, "visit_definition") if row.visit == first} == {first, second}
    caplog.clear()
    assert make_task(butler, COUNTER).run(data_ids([first, second, outside])).n_skipped == 4
    assert tables(butler) == found
    assert [str(outside) in warning for warning in warnings_of(caplog)] == [True] * (seq_num != 0)


def test_null_sequence(butler: Butler, caplog: pytest.LogCaptureFixture) -> None:
    """Exposures without any counter are single ones, and no other is missing from their group."""
    given = [{**exposure(n), "seq_num": None, "seq_start": None, "seq_end": None} for n in (5, 6)]
    ids = add_exposures(butler, given)
    make_task(butler, COUNTER).run(data_ids(ids[:1]), incremental=True)
    assert not warnings_of(caplog)
    assert systems_of(butler) == {ids[0]: {0, 2}}


@pytest.mark.parametrize("seq_num", [None, 9], ids=["null", "outside"])
def test_uncounted_exposure_is_not_missing(butler: Butler, seq_num: int | None) -> None:
    ids = add_exposures(butler, [*SNAPS[:2], {**SNAPS[2], "seq_num": seq_num}])
    task = make_task(butler, COUNTER)
    given = records(butler, ids[:1])
    assert [one.id for one in task.groupExposures.find_missing(given, butler.registry)] == ids[1:2]


# Queries


@contextmanager
def count_selects(table: str = "") -> Iterator[list[str]]:
    """Collect the SELECT statements, those from the given table if there is one."""
    found: list[str] = []

    def listen(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        source = rf'(FROM|JOIN)\s+\(*(public\.)?"?{table}\b' if table else ""
        if statement.lstrip().startswith(("SELECT", "WITH")) and re.search(source, statement):
            found.append(statement)

    event.listen(Engine, "before_cursor_execute", listen)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", listen)


@pytest.mark.both_databases
@pytest.mark.parametrize("n_groups", [1, 30])
@pytest.mark.parametrize("grouping", [GROUP, COUNTER])
def test_missing_exposures_are_one_query(butler: Butler, grouping: str, n_groups: int) -> None:
    ids = add_exposures(butler, pairs(n_groups))
    given = records(butler, ids[::2])
    task = make_task(butler, grouping)
    with count_selects("exposure") as selects:
        found = task.groupExposures.find_missing(given, butler.registry)
    assert sorted(one.id for one in found) == ids[1::2]
    assert len(selects) == 1, selects


@pytest.mark.both_databases
@pytest.mark.parametrize(("grouping", "incremental"), [("one-to-one", False), (GROUP, True), (COUNTER, True)])
def test_no_query_for_each_visit(make_survey: Callable[..., Butler], grouping: str, incremental: bool) -> None:
    """A chunk of ten times as many visits is read with as many statements, when it is written and when it is there."""
    selects: dict[tuple[str, int], int] = {}
    for n_groups in (2, 20):
        butler = make_survey()
        given = data_ids(add_exposures(butler, pairs(n_groups)))
        for run in ("first", "second"):
            with count_selects() as found:
                result = make_task(butler, grouping).run(given, incremental=incremental)
            assert (result.n_new if run == "first" else result.n_skipped) >= n_groups
            selects[run, n_groups] = len(found)
    assert selects["first", 20] == selects["first", 2] > 0
    assert selects["second", 20] == selects["second", 2] > 0


# Algorithms that make no sense


@registerConfigurable("tests-odd-visits", GroupExposuresTask.registry)
class OddVisitsTask(GroupExposuresOneToOneTask):
    """Makes one visit of the last exposure that a test wants, and leaves the others alone."""

    change: Callable[[VisitDefinitionData], None]

    def group(self, exposures: list[DimensionRecord], instrument: Instrument) -> Iterator[VisitDefinitionData]:
        *others, odd = super().group(exposures, instrument)
        yield from others
        type(self).change(odd)
        yield odd


def set_id(visit: VisitDefinitionData, visit_id: int) -> None:
    visit.id = visit_id


def repeat_exposure(visit: VisitDefinitionData) -> None:
    visit.exposures = [*visit.exposures, *visit.exposures]


ODD_VISITS: dict[str, tuple[Callable[[VisitDefinitionData], None], list[str]]] = {
    "2^63": (lambda visit: set_id(visit, 2**63), [str(2**63), str(SNAPS[-1]["id"])]),
    "2^80": (lambda visit: set_id(visit, 2**80), [str(2**80), str(SNAPS[-1]["id"])]),
    "negative": (lambda visit: set_id(visit, -5), ["-5", str(SNAPS[-1]["id"])]),
    "no exposures": (lambda visit: visit.exposures.clear(), [str(SNAPS[-1]["id"])]),
    "twice": (repeat_exposure, [str(SNAPS[-1]["id"])]),
}


@pytest.mark.parametrize("case", ODD_VISITS)
def test_odd_visits(butler: Butler, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    change, said = ODD_VISITS[case]
    monkeypatch.setattr(OddVisitsTask, "change", staticmethod(change), raising=False)
    given = data_ids(add_exposures(butler, SNAPS))
    with pytest.raises(DefinitionError) as error:
        make_task(butler, "tests-odd-visits").run(given)
    for part in said:
        assert part in str(error.value)
    assert not stored(butler, "visit")


@pytest.mark.both_databases
def test_largest_visit_id(butler: Butler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OddVisitsTask, "change", staticmethod(lambda visit: set_id(visit, 2**63 - 1)), raising=False)
    given = data_ids(add_exposures(butler, SNAPS))
    make_task(butler, "tests-odd-visits").run(given)
    assert max(visit.id for visit in stored(butler, "visit")) == 2**63 - 1
    before = tables(butler)
    assert make_task(butler, "tests-odd-visits").run(given).n_skipped == len(given)
    assert tables(butler) == before


@pytest.mark.both_databases
def test_exposure_id_without_room_for_the_digit(butler: Butler) -> None:
    """The first snap's own visit has the digit 9 before its id, which must still be an integer of a database."""
    snaps = [{**SNAPS[0], "id": 3 * 10**17}, {**SNAPS[1], "id": 3 * 10**17 + 1}]
    ids = add_exposures(butler, snaps)
    with pytest.raises(DefinitionError, match=rf"9{ids[0]}"):
        make_task(butler, COUNTER).run(data_ids(ids))
    assert not stored(butler, "visit")


@pytest.mark.both_databases
@pytest.mark.parametrize("number", ["99999999999999999999999", "-99999999999999999999999"])
def test_where_with_a_number_too_large(butler: Butler, number: str) -> None:
    add_exposures(butler, SNAPS)
    result = define_visits(root(butler), INSTRUMENT, "--where", f"exposure.id = {number}")
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code != 0
    assert "Error: " in result.output
    assert "Traceback" not in result.output
    assert 'File "' not in result.output
