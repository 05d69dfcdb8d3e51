"""Records for every dimension universe."""

from __future__ import annotations

import cmath
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import pytest
from lsst.daf.butler import Butler, Timespan
from lsst.pipe.base import Struct
from lsst.sphgeom import LonLat, UnitVector3d

from butler_visits import DefineVisitsConfig, DefineVisitsTask
from command_line import define_visits
from simulated_survey import INSTRUMENT, insert_exposures, night
from stored_visits import Tables, differences, index_rows, make_config, read_records, read_tables
from visit_tables import mixed_night, root

MakeSurvey = Callable[[int], Butler]
Exposure = dict[str, Any]

N_DETECTORS = 9
CENTRAL_DETECTOR = 4
SYSTEMS = {
    "one-to-one": {0: "one-to-one"},
    "by-group-metadata": {1: "by-group-metadata"},
    "one-to-one-and-by-counter": {0: "one-to-one", 2: "by-seq-start-end"},
}
CASES = [
    (universe, grouping)
    for universe in range(9)
    for grouping in SYSTEMS
    # The first two universes have no counters.
    if universe >= 2 or grouping != "one-to-one-and-by-counter"
]


@dataclass
class Expected:
    """A visit that is to be defined."""

    id: int
    name: str
    systems: set[int]
    exposures: list[Exposure]

    def row(self) -> dict[str, Any]:
        """Compute all fields but the region, whichever universe has them."""
        spans = [exposure["timespan"].nsec for exposure in self.exposures]
        reason = self.common("observation_reason")
        return {
            "instrument": INSTRUMENT,
            "id": self.id,
            "name": self.name,
            "visit_system": min(self.systems),
            "physical_filter": self.common("physical_filter"),
            "target_name": self.common("target_name"),
            "science_program": self.common("science_program"),
            "observation_reason": "various" if reason is None else reason,
            "day_obs": self.combined("day_obs", min),
            "seq_num": self.combined("seq_num", min),
            "exposure_time": self.combined("exposure_time", total),
            "zenith_angle": self.combined("zenith_angle", lambda values: total(values) / len(values)),
            "azimuth": self.combined("azimuth", mean_angle),
            "timespan": Timespan.model_validate((min(b for b, _ in spans), max(e for _, e in spans))),
        }

    def common(self, field: str) -> Any:
        first, *others = (exposure[field] for exposure in self.exposures)
        return first if all(other == first for other in others) else None

    def combined(self, field: str, combine: Callable[[list[Any]], Any]) -> Any:
        values = [exposure[field] for exposure in self.exposures]
        return None if None in values else combine(values)


def total(values: list[float]) -> float:
    """Add from left to right, as the built-in sum does before Python 3.12 only."""
    return reduce(add, values)


def mean_angle(degrees: list[float]) -> float:
    if len(degrees) == 1:
        return degrees[0]
    return math.degrees(cmath.phase(sum(cmath.rect(1.0, math.radians(angle)) for angle in degrees)))


def grouped(exposures: Sequence[Exposure], *fields: str) -> dict[tuple[Any, ...], list[Exposure]]:
    groups = defaultdict(list)
    for exposure in exposures:
        groups[tuple(exposure[field] for field in fields)].append(exposure)
    return groups


def expected_visits(exposures: Sequence[Exposure], universe: int, grouping: str) -> list[Expected]:
    # Before universe 7 nothing says that a dome flat does not see the sky.
    on_sky = [e for e in exposures if e["tracking_ra"] is not None and (universe < 7 or e["can_see_sky"] is not False)]
    if grouping == "one-to-one":
        return [Expected(e["id"], e["obs_id"], {0}, [e]) for e in on_sky]
    if grouping == "by-group-metadata":
        # The group_id of the older universes lacks the first six digits.
        unused = 0 if universe >= 6 else 6
        groups = grouped(on_sky, "group").items()
        return [Expected(int("".join(c for c in g if c.isdigit())[unused:]), g, {1}, es) for (g,), es in groups]
    visits = []
    for first, *others in grouped(on_sky, "day_obs", "seq_start", "seq_end").values():
        if not others:
            visits.append(Expected(first["id"], first["obs_id"], {0, 2}, [first]))
            continue
        visits.append(Expected(first["id"], first["obs_id"], {2}, [first, *others]))
        visits.append(Expected(int(f"9{first['id']}"), f"{first['obs_id']}_first", {0}, [first]))
        visits.extend(Expected(e["id"], e["obs_id"], {0}, [e]) for e in others)
    return visits


def expected_tables(visits: Sequence[Expected], butler: Butler, grouping: str) -> Tables:
    """Make the rows of all tables but the regions'; without memberships where a visit itself has its system."""
    fields = butler.dimensions["visit"].RecordClass.fields.names
    rows = {
        "visit_system": [{"instrument": INSTRUMENT, "id": i, "name": name} for i, name in SYSTEMS[grouping].items()],
        "visit": [{name: visit.row()[name] for name in fields if name != "region"} for visit in visits],
        "visit_definition": [
            {"instrument": INSTRUMENT, "visit": visit.id, "exposure": exposure["id"]}
            for visit in visits
            for exposure in visit.exposures
        ],
        "visit_system_membership": [
            {"instrument": INSTRUMENT, "visit": visit.id, "visit_system": system}
            for visit in visits
            for system in visit.systems
        ],
    }
    if butler.dimensions.version < 2:
        del rows["visit_system_membership"]
        (system,) = SYSTEMS[grouping]
        rows["visit_definition"] = [{**row, "visit_system": system} for row in rows["visit_definition"]]
    return {table: index_rows(table, table_rows) for table, table_rows in rows.items()}


def check_tables(butler: Butler, exposures: Sequence[Exposure], grouping: str) -> None:
    """Check all rows; of the regions that they are at the right place."""
    visits = expected_visits(exposures, butler.dimensions.version, grouping)
    found = read_tables(butler)
    outlines = {row["id"]: row.pop("region") for row in found["visit"].values()}
    regions = {(row["visit"], row["detector"]): row["region"] for row in found.pop("visit_detector_region").values()}
    # One part in 10^14 allows for the order in which the unit vectors of a mean angle are added.
    assert differences(found, expected_tables(visits, butler, grouping), relative=1e-14) == []
    assert regions.keys() == {(visit.id, detector) for visit in visits for detector in range(N_DETECTORS)}
    for visit in visits:
        first = visit.exposures[0]
        pointing = UnitVector3d(LonLat.fromDegrees(first["tracking_ra"], first["tracking_dec"]))
        of_visit = [regions[visit.id, detector] for detector in range(N_DETECTORS)]
        assert [i for i, region in enumerate(of_visit) if region.contains(pointing)] == [CENTRAL_DETECTOR]
        assert all(outlines[visit.id].contains(region.getCentroid()) for region in of_visit)


@pytest.mark.sqlite_only
@pytest.mark.parametrize(("universe", "grouping"), CASES)
def test_records(universe: int, grouping: str, make_survey: MakeSurvey) -> None:
    butler = make_survey(universe)
    assert butler.dimensions.version == universe
    exposures = mixed_night()
    insert_exposures(butler, exposures)
    task = DefineVisitsTask(make_config(grouping), butler=butler)

    first = task.run(read_records(butler, "exposure"))
    check_tables(butler, exposures, grouping)
    defined = read_tables(butler)
    assert first.n_visits == first.n_new == len(defined["visit"])
    assert first.n_skipped == 0

    second = task.run(read_records(butler, "exposure"))
    assert second.n_visits == second.n_skipped == first.n_visits
    assert second.n_new == second.n_fully_updated == second.n_partially_updated == 0
    assert read_tables(butler) == defined


# Those where what is stored of a visit, or of an exposure's group, has changed.
@pytest.mark.postgresql_only
@pytest.mark.parametrize(("universe", "grouping"), [case for case in CASES if case[0] in (1, 2, 6, 8)])
def test_records_in_postgresql(universe: int, grouping: str, make_survey: MakeSurvey) -> None:
    test_records(universe, grouping, make_survey)


@pytest.mark.parametrize("universe", [5, 8])
def test_group_of_two_days(universe: int, make_survey: MakeSurvey) -> None:
    """From universe 6 on the Butler's queries do not show that a visit has an exposure of another day."""
    butler = make_survey(universe)
    evening, morning = night(30)[5:7]
    morning |= {"group": evening["group"], "day_obs": evening["day_obs"] + 1}
    task = DefineVisitsTask(make_config("by-group-metadata"), butler=butler)

    def run(exposure: Exposure, **options: Any) -> Struct:
        return task.run([{"instrument": INSTRUMENT, "exposure": exposure["id"]}], **options)

    insert_exposures(butler, [evening])
    assert run(evening, incremental=True).n_new == 1
    insert_exposures(butler, [morning])
    assert run(morning, incremental=True).n_partially_updated == 1
    check_tables(butler, [evening, morning], "by-group-metadata")
    for exposure in (evening, morning):
        assert run(exposure, incremental=True).n_skipped == 1
    check_tables(butler, [evening, morning], "by-group-metadata")
    for exposure in (evening, morning):
        assert run(exposure, prefilter=True).n_filtered == 1


@pytest.mark.sqlite_only  # It is about which grouping is used.
@pytest.mark.parametrize(
    ("universe", "warns", "grouping"),
    [(0, True, "one-to-one"), (1, True, "one-to-one"), (2, False, "one-to-one-and-by-counter")],
)
def test_command_line_falls_back_without_counters(
    universe: int, warns: bool, grouping: str, make_survey: MakeSurvey, caplog: pytest.LogCaptureFixture
) -> None:
    butler = make_survey(universe)
    exposures = night(20)
    insert_exposures(butler, exposures)
    option = "groupExposures.name=one-to-one-and-by-counter"
    result = define_visits(root(butler), INSTRUMENT, "-c", option)
    assert result.exit_code == 0, result.output
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == int(warns)
    assert all("one-to-one is used instead of one-to-one-and-by-counter" in one for one in warnings)
    check_tables(butler, exposures, grouping)


@pytest.mark.sqlite_only  # It is about the config.
@pytest.mark.parametrize("grouping", SYSTEMS)
def test_retired_fields_are_ignored(grouping: str, make_survey: MakeSurvey, tmp_path: Path) -> None:
    path = tmp_path / "config.py"
    path.write_text(
        f"config.groupExposures.name = {grouping!r}\n"
        f"config.groupExposures[{grouping!r}].visitSystemId = 7\n"
        f"config.groupExposures[{grouping!r}].visitSystemName = 'seven'\n"
    )
    config = DefineVisitsConfig()
    config.load(path)
    config.validate()
    assert config.groupExposures.active.visitSystemId == 7

    butler = make_survey(8)
    exposures = night(20)
    insert_exposures(butler, exposures)
    DefineVisitsTask(config, butler=butler).run(read_records(butler, "exposure"))
    check_tables(butler, exposures, grouping)
