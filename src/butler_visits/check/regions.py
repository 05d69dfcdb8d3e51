"""What is wrong with the regions of visits and their detectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
from lsst.daf.butler import DimensionRecord

from ..define.visits import PlannedVisit
from ..geometry.comparison import outline_distances, outside_distances, unreadable
from ..lists import angle_text
from .findings import Finding, Kind, named

ROUNDING = 1e-6
"""Arcsec by which regions may differ that were computed alike. Others may be fitted ones, whatever tolerance is asked
for, and are not to be lost."""


class DetectorPair(NamedTuple):
    """A detector's region that is not stored as it is computed."""

    visit: DimensionRecord
    detector: int
    stored: bytes
    computed: bytes


def differing_detectors(plan: PlannedVisit, stored: Mapping[int, bytes | None]) -> list[DetectorPair]:
    """Return the regions of a visit's detectors that are not equal bit by bit."""
    if plan.stored is None:
        return []
    pairs = ((detector, stored.get(detector), region.encode()) for detector, region in plan.regions.detectors().items())
    return [DetectorPair(plan.stored, d, old, new) for d, old, new in pairs if old is not None and old != new]


def compare_detectors(differing: Sequence[DetectorPair], tolerance: float) -> tuple[list[Finding], set[int]]:
    """Find the detector regions of many visits that differ from those that would be computed.

    ``tolerance``: how far they may differ, arcsec.
    """
    findings: list[Finding] = []
    changed: set[int] = set()
    distances = outline_distances([one.stored for one in differing], [one.computed for one in differing])
    pairs = zip(differing, distances.tolist(), strict=True)
    for _, of_visit in groupby(pairs, key=lambda pair: pair[0].visit.id):
        # A region of another kind has no distance, which is not a number here.
        all_of_visit = list(of_visit)
        if not all(distance <= ROUNDING for _, distance in all_of_visit):
            changed.add(all_of_visit[0][0].visit.id)
        found = [(one, distance) for one, distance in all_of_visit if not _tolerated(distance, tolerance)]
        if found:
            visit, detectors = found[0][0].visit, tuple(sorted(one.detector for one, _ in found))
            text = f"Visit {visit.id} ({visit.name}): the region of {named('detector', detectors)}"
            known = [distance for _, distance in found if np.isfinite(distance)]
            largest = max(known) if known else None
            text += " is of another kind." if largest is None else f" differs by up to {angle_text(largest)}."
            findings.append(
                Finding(Kind.DETECTOR_REGION, text, visit.id, detectors=detectors, distance=largest),
            )
    return findings, changed


def check_fields(plan: PlannedVisit, tolerance: float) -> list[Finding]:
    """Find how a visit's record differs from what would be computed.

    ``tolerance``: how far its region may differ, arcsec.
    """
    findings = []
    visit = plan.definition.id
    name = f"Visit {visit} ({plan.definition.name})"
    fields = [str(difference) for difference in plan.differences if difference.field != "region"]
    if fields:
        findings.append(Finding(Kind.FIELDS, f"{name}: {'; '.join(fields)}.", visit))
    for difference in plan.differences:
        if difference.field != "region" or _tolerated(difference.distance, tolerance):
            continue
        stored = difference.stored
        # Damage is told apart.
        if stored is None or not unreadable({visit: stored.encode()}):
            kind = Kind.NULL_REGION if stored is None else Kind.REGION
            findings.append(Finding(kind, f"{name}: {difference}.", visit, distance=difference.distance))
    return findings


def check_detectors(visit: DimensionRecord, regions: Mapping[int, bytes | None], tolerance: float) -> list[Finding]:
    """Check a stored visit's region, and that of its detectors against it.

    ``tolerance``: how far they may reach out, arcsec.
    """
    if visit.region is None:
        return []
    name, outline = f"Visit {visit.id} ({visit.name})", visit.region.encode()
    if unreadable({visit.id: outline}):
        return [Finding(Kind.UNREADABLE_REGION, f"{name}: its region is damaged.", visit.id)]
    known = {detector: region for detector, region in regions.items() if region is not None}
    outside = outside_distances(known, outline, max(tolerance, ROUNDING))
    if not outside:
        return []
    largest = max(outside.values())
    text = f"{name}: the region of {named('detector', outside)} reaches out of it by up to {angle_text(largest)}."
    detectors = tuple(sorted(outside))
    return [Finding(Kind.DETECTOR_OUTSIDE, text, visit.id, detectors=detectors, distance=largest)]


def _tolerated(distance: float | None, tolerance: float) -> bool:
    """Tell whether regions that differ, which have no distance if one is no polygon, are equal all the same."""
    return distance is not None and 0 < tolerance >= distance
