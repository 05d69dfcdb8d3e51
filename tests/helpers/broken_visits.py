"""Visits that are broken in many ways, and what a check is to find."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
from lsst.daf.butler import Butler
from lsst.sphgeom import Circle, ConvexPolygon, Region, UnitVector3d
from sqlalchemy import text

from butler_visits.check import CheckReport, Finding, check_visits
from simulated_survey import INSTRUMENT
from visit_tables import (
    DAY,
    add_exposures,
    connect,
    data_ids,
    delete_rows,
    engine,
    exposure,
    make_task,
    root,
)

MakeSurvey = Callable[..., Butler]
GROUP = "by-group-metadata"
COUNTER = "one-to-one-and-by-counter"
CENTRE = 4
"""The detector in the middle."""
ALL = tuple(range(9))
ARCSEC = np.pi / 180 / 3600


def ids(*numbers: int) -> tuple[int, ...]:
    """Return the ids of exposures by their numbers."""
    return tuple(DAY * 100000 + number for number in numbers)


def visit_id(seq_start: int) -> int:
    """Return the id of a group's visit: the digits of its name."""
    return 20260401235900000 + 1000 * seq_start


def snaps(seq_start: int, **changes: Any) -> list[dict[str, Any]]:
    """Describe two exposures of one group."""
    return [
        exposure(number, seq_start=seq_start, seq_end=seq_start + 1, **changes) for number in (seq_start, seq_start + 1)
    ]


EXPOSURES = [exposure(1), *snaps(2), exposure(4)]


def defined(make_survey: MakeSurvey, grouping: str = GROUP) -> Butler:
    """Make a repository with the visits of two single exposures and of two snaps."""
    butler = make_survey()
    make_task(butler, grouping).run(data_ids(add_exposures(butler, EXPOSURES)))
    return butler


def check(butler: Butler, grouping: str = GROUP, where: str = "") -> CheckReport:
    return check_visits(make_task(butler, grouping), INSTRUMENT, where)


def kinds(report: CheckReport) -> list[str]:
    return [finding.kind.value for finding in report.findings]


def correct(butler: Butler, one: dict[str, Any], **changes: Any) -> None:
    """Correct the record of an exposure."""
    add_exposures(butler, [{**one, **changes}], replace=True)


def execute(butler: Butler, *statements: str) -> None:
    """Change rows behind the Butler's back, whatever refers to them."""
    if engine(butler).dialect.name == "postgresql":
        with connect(butler) as connection:
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            changed = [connection.execute(text(statement)).rowcount for statement in statements]
    else:
        # Without the Butler's settings SQLite does not look at what refers to a row.
        with closing(sqlite3.connect(root(butler) / "gen3.sqlite3")) as database, database:
            changed = [database.execute(statement).rowcount for statement in statements]
    assert all(number > 0 for number in changed)


def grown(region: ConvexPolygon, arcsec: float) -> ConvexPolygon:
    """Move each vertex away from the middle; that far it is from the old outline."""
    vertices = np.array([[v.x(), v.y(), v.z()] for v in region.getVertices()])
    away = vertices - vertices.mean(axis=0)
    away -= (away * vertices).sum(axis=1, keepdims=True) * vertices
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    return ConvexPolygon([UnitVector3d(*vertex) for vertex in vertices + np.tan(arcsec * ARCSEC) * away])


def grow(arcsec: float) -> Callable[[ConvexPolygon], ConvexPolygon]:
    return lambda region: grown(region, arcsec)


def replace_region(butler: Butler, change: Callable[[ConvexPolygon], Region], visit: int, detector: int | None) -> None:
    """Store another region of a visit, or of a detector of it."""
    element = "visit" if detector is None else "visit_detector_region"
    keys = {"visit": visit} if detector is None else {"visit": visit, "detector": detector}
    with butler.query() as query:
        (record,) = query.dimension_records(element).where({"instrument": INSTRUMENT, **keys})
    fields = {**record.toDict(), "region": change(record.region)}
    butler.registry.insertDimensionData(element, butler.dimensions[element].RecordClass(**fields), replace=True)


def delete_detector(butler: Butler, visit: int, detector: int) -> None:
    for table in ("visit_detector_region", "visit_detector_region_skypix_overlap"):
        delete_rows(butler, table, visit=visit, detector=detector)


def broken(make_survey: MakeSurvey) -> Butler:
    """Make a repository of many groups, each broken in one way."""
    butler = make_survey()
    late = snaps(4)[1], *snaps(33)
    in_time = [exposure(1), *snaps(2), snaps(4)[0], *snaps(6), *snaps(8)]
    in_time += [exposure(number) for number in range(10, 30)]
    make_task(butler, GROUP).run(data_ids(add_exposures(butler, in_time)))
    # Exposures that come late, of a group that is there and of one that is not.
    add_exposures(butler, late)
    delete_rows(butler, "visit_definition", visit=visit_id(6))
    delete_rows(butler, "visit_definition", visit=visit_id(10))
    delete_rows(butler, "visit_system_membership", visit=visit_id(11))
    delete_detector(butler, visit_id(12), 7)
    execute(
        butler,
        f"UPDATE visit SET region = NULL WHERE id = {visit_id(13)}",
        f"UPDATE visit_detector_region SET region = NULL WHERE visit = {visit_id(14)} AND detector = {CENTRE}",
        f"DELETE FROM exposure WHERE id IN ({ids(8)[0]}, {ids(15)[0]})",
    )
    replace_region(butler, grow(2.5), visit_id(16), None)
    replace_region(butler, grow(2.5), visit_id(17), CENTRE)
    replace_region(butler, grow(2.5), visit_id(18), 0)
    replace_region(butler, grow(-1.0), visit_id(19), None)
    replace_region(butler, lambda region: Circle(region.getCentroid()), visit_id(20), None)
    replace_region(butler, lambda region: Circle(region.getCentroid()), visit_id(21), CENTRE)
    correct(butler, exposure(22), target_name="M 31", zenith_angle=45.0)
    correct(butler, exposure(23), tracking_dec=exposure(23)["tracking_dec"] + 3 / 3600)
    correct(butler, exposure(24), tracking_ra=None)
    # Two that change places, one that goes to another group and one that founds one.
    correct(butler, exposure(25), group=exposure(26)["group"])
    correct(butler, exposure(26), group=exposure(25)["group"])
    correct(butler, snaps(2)[1], group=exposure(27)["group"])
    correct(butler, exposure(28), group="2026-04-02T00:00:00.035")
    # Groups with the digits of another, of which one is defined and two are not.
    add_exposures(butler, [exposure(36, group="20260401T235929.000")])
    clashing = {37: "2026-04-01T23:59:37.000", 38: "20260401T235937.000"}
    add_exposures(butler, [exposure(number, group=group) for number, group in clashing.items()])
    # A group with two filters, and one whose name a visit has.
    add_exposures(butler, [snaps(39)[0], {**snaps(39)[1], "physical_filter": "g_sim"}])
    add_exposures(butler, [exposure(41)])
    execute(butler, f"UPDATE visit SET name = '{exposure(41)['group']}' WHERE id = {visit_id(1)}")
    return butler


ONE_WAY: list[tuple[str, int, tuple[int, ...], tuple[int, ...], float | None, bool]] = [
    # Kind, visit, exposures, detectors, distance, repairable
    ("no-visit", visit_id(33), ids(33, 34), (), None, True),
    ("no-visit", 20260402000000035, ids(28), (), None, False),
    ("partial-group", visit_id(4), ids(5), (), None, True),
    ("partial-group", visit_id(27), ids(3), (), None, False),
    ("failed", visit_id(39), ids(39, 40), (), None, False),
    ("clashing-id", visit_id(25), ids(26), (), None, False),
    ("clashing-id", visit_id(26), ids(25), (), None, False),
    ("clashing-id", visit_id(29), ids(29), (), None, False),
    ("clashing-id", visit_id(29), ids(36), (), None, False),
    ("clashing-id", visit_id(37), ids(37), (), None, False),
    ("clashing-id", visit_id(37), ids(38), (), None, False),
    ("clashing-name", visit_id(41), ids(41), (), None, False),
    ("no-definition", visit_id(6), ids(6, 7), (), None, True),
    ("no-definition", visit_id(10), ids(10), (), None, True),
    ("no-membership", visit_id(11), (), (), None, True),
    ("no-detector-region", visit_id(12), (), (7,), None, True),
    ("null-region", visit_id(13), (), (), None, False),
    ("null-region", visit_id(14), (), (CENTRE,), None, False),
    ("fields", visit_id(1), (), (), None, False),
    ("fields", visit_id(22), (), (), None, False),
    ("region", visit_id(16), (), (), 2.5, False),
    ("region", visit_id(19), (), (), 1.0, False),
    ("region", visit_id(20), (), (), None, False),
    ("region", visit_id(23), (), (), 3.0, False),
    ("detector-region", visit_id(17), (), (CENTRE,), 2.5, False),
    ("detector-region", visit_id(18), (), (0,), 2.5, False),
    ("detector-region", visit_id(21), (), (CENTRE,), None, False),
    ("detector-region", visit_id(23), (), ALL, 3.0, False),
    ("detector-outside", visit_id(18), (), (0,), 2.5, False),
    # All but the detector in the middle are at the edge.
    ("detector-outside", visit_id(19), (), (0, 1, 2, 3, 5, 6, 7, 8), 1.0, False),
    ("extra-exposure", visit_id(2), ids(3), (), None, False),
    ("no-exposure", visit_id(8), ids(8), (), None, False),
    ("no-exposure", visit_id(15), ids(15), (), None, False),
    ("off-sky", visit_id(24), ids(24), (), None, False),
    ("unexpected-visit", visit_id(28), ids(28), (), None, False),
]


def same(finding: Finding, expected: tuple[str, int, tuple[int, ...], tuple[int, ...], float | None, bool]) -> bool:
    """Compare a finding; a distance is that of a vertex that was moved, or less where others moved along an edge."""
    kind, visit, exposures, detectors, distance, repairable = expected
    near = finding.distance is None if distance is None else 0.6 < (finding.distance or 0) / distance < 1 + 1e-4
    found = finding.kind.value, finding.visit, finding.exposures, finding.detectors, finding.repairable
    return near and found == (kind, visit, exposures, detectors, repairable)
