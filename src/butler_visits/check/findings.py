"""What can be wrong with the visits of a repository, and what can be done about it."""

from __future__ import annotations

import dataclasses
import enum
from collections import Counter, defaultdict
from collections.abc import Collection
from typing import Any

from ..define.visits import Failure
from ..lists import angle_text, counted, listed, one_line

_LISTED = 10
"""Findings of a kind that a text shows."""

_LISTED_IDS = 5
"""Exposures or detectors that a sentence names."""


class Kind(enum.Enum):
    """What is wrong; the values are words for scripts."""

    NO_VISIT = "no-visit"
    PARTIAL_GROUP = "partial-group"
    FAILED = "failed"
    NO_CAMERA = "no-camera"
    CLASHING_ID = "clashing-id"
    CLASHING_NAME = "clashing-name"
    NO_DEFINITION = "no-definition"
    NO_MEMBERSHIP = "no-membership"
    TWO_VISITS = "two-visits"
    NO_DETECTOR_REGION = "no-detector-region"
    NULL_REGION = "null-region"
    UNREADABLE_REGION = "unreadable-region"
    FIELDS = "fields"
    REGION = "region"
    DETECTOR_REGION = "detector-region"
    DETECTOR_OUTSIDE = "detector-outside"
    EXTRA_EXPOSURE = "extra-exposure"
    NO_EXPOSURE = "no-exposure"
    OFF_SKY = "off-sky"
    UNEXPECTED_VISIT = "unexpected-visit"
    SEVERAL_DAYS = "several-days"
    LARGE_ID = "large-id"

    @property
    def title(self) -> str:
        """What it means, in a few words."""
        return _TITLES[self]

    @property
    def advice(self) -> str:
        """What to do about findings that a repair cannot mend."""
        return _ADVICE[self]


_TITLES = {
    Kind.NO_VISIT: "exposures on the sky whose visit is not defined",
    Kind.PARTIAL_GROUP: "visits that lack exposures of their group",
    Kind.FAILED: "exposures of which no visit can be computed",
    Kind.NO_CAMERA: "exposures without camera geometry, whose visits cannot be computed",
    Kind.CLASHING_ID: "groups of exposures that give the id of another visit, or of one of another grouping",
    Kind.CLASHING_NAME: "groups of exposures that give the name of another visit",
    Kind.NO_DEFINITION: "visits that no exposure is joined to",
    Kind.NO_MEMBERSHIP: "visits that are not in a visit system they belong to",
    Kind.TWO_VISITS: "exposures that are in several visits of one visit system",
    Kind.NO_DETECTOR_REGION: "visits that lack regions of detectors",
    Kind.NULL_REGION: "visits with regions that are null",
    Kind.UNREADABLE_REGION: "visits with regions that are damaged",
    Kind.FIELDS: "visits with fields that would be computed differently now",
    Kind.REGION: "visits whose region would be computed differently now",
    Kind.DETECTOR_REGION: "visits with detector regions that would be computed differently now",
    Kind.DETECTOR_OUTSIDE: "visits with detector regions that reach out of the visit's",
    Kind.EXTRA_EXPOSURE: "visits with exposures of other groups",
    Kind.NO_EXPOSURE: "visits with exposures that do not exist",
    Kind.OFF_SKY: "visits with exposures that are not on the sky",
    Kind.UNEXPECTED_VISIT: "visits that the grouping does not make of their exposures",
    Kind.SEVERAL_DAYS: "visits with exposures of several day_obs, of which pipelines see those of the smallest only",
    Kind.LARGE_ID: "visits whose ids are too large for pipelines to pack them",
}

_REPLACE = (
    "'define-visits --update-records' replaces what is stored; do not use it where the regions are meant to differ, as "
    "after update-regions."
)
_REMOVE = (
    "'butler-visits remove-visits' removes a visit, and 'define-visits --incremental' defines then what its exposures "
    "give now; or correct the exposures' records or the config."
)
_ANOTHER = (
    "Use another grouping algorithm for these exposures, or correct their records; 'butler-visits remove-visits' "
    "removes a visit that is wrong."
)

_ADVICE = {
    Kind.NO_VISIT: (
        "An exposure is in one visit of a visit system at most; repair or remove ('butler-visits remove-visits') the "
        "other visits first."
    ),
    Kind.PARTIAL_GROUP: (
        "'define-visits --incremental' completes them, and replaces fields and regions that differ; --repair does not "
        "replace any. Where exposures are in other visits, repair or remove ('butler-visits remove-visits') those "
        "first."
    ),
    Kind.FAILED: "Correct the exposures' records, the camera or the config.",
    Kind.NO_CAMERA: (
        "Store a camera with 'butler-visits write-camera', or name its collection with --collections. Until then "
        "visits are not compared with what would be computed."
    ),
    Kind.CLASHING_ID: f"Give the config that the visits were defined with, if it was another one. {_ANOTHER}",
    Kind.CLASHING_NAME: _ANOTHER,
    Kind.NO_DEFINITION: (
        "'define-visits --incremental' joins exposures to them, and replaces fields and regions that differ; "
        "'butler-visits remove-visits' removes visits that no exposure would give."
    ),
    Kind.NO_MEMBERSHIP: (
        "'define-visits --incremental' puts them into it, and replaces fields and regions that differ; 'butler-visits "
        "remove-visits' removes visits that no exposure would give."
    ),
    Kind.NO_DETECTOR_REGION: (
        "First repair what else is found in these visits, and check those of another grouping with its config. Where "
        "they differ from what would be computed, their regions may be fitted ones; 'define-visits --update-records' "
        "replaces all of them."
    ),
    Kind.UNREADABLE_REGION: (
        "'define-visits --update-records' replaces the regions of detectors; where that of a visit is damaged, remove "
        "it ('butler-visits remove-visits') and define it again."
    ),
    **dict.fromkeys(
        [Kind.NULL_REGION, Kind.FIELDS, Kind.REGION, Kind.DETECTOR_REGION, Kind.DETECTOR_OUTSIDE], _REPLACE
    ),
    **dict.fromkeys(
        [Kind.TWO_VISITS, Kind.EXTRA_EXPOSURE, Kind.NO_EXPOSURE, Kind.OFF_SKY, Kind.UNEXPECTED_VISIT], _REMOVE
    ),
    Kind.SEVERAL_DAYS: "Then 'define-visits --update-records' updates their visits.",
    Kind.LARGE_ID: "With another visit_max or detector_max, ids are packed differently from before.",
}


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that is not as it should be."""

    kind: Kind
    """What is wrong."""

    text: str
    """A sentence."""

    visit: int | None = None
    """Id of the visit that it is about, be it stored or not."""

    exposures: tuple[int, ...] = ()
    """Ids of the exposures that it is about."""

    detectors: tuple[int, ...] = ()
    """Ids of the detectors that it is about."""

    distance: float | None = None
    """Where regions differ, by how much at most, arcsec."""

    repairable: bool = False
    """Whether `repair_visits` can mend it."""

    def to_dict(self) -> dict[str, Any]:
        """Make a mapping for JSON.

        Returns
        -------
        mapping : `dict`
            Always the same keys.
        """
        return {
            "kind": self.kind.value,
            "visit": self.visit,
            "exposures": list(self.exposures),
            "detectors": list(self.detectors),
            "distance_arcsec": self.distance,
            "repairable": self.repairable,
            "text": self.text,
        }


@dataclasses.dataclass
class Repair:
    """What a repair has done."""

    n_new: int = 0
    """Visits that were defined."""

    n_updated: int = 0
    """Visits that got exposures or detector regions."""

    failures: list[Failure] = dataclasses.field(default_factory=list)
    """Exposures whose visit could not be mended, and why."""

    def to_dict(self) -> dict[str, Any]:
        """Make a mapping for JSON.

        Returns
        -------
        mapping : `dict`
            Always the same keys.
        """
        failures = [{"exposures": list(failure.exposures), "reason": failure.reason} for failure in self.failures]
        return {"n_new": self.n_new, "n_updated": self.n_updated, "failures": failures}

    def __str__(self) -> str:
        done = f"Repaired: {counted(self.n_new, 'visit')} defined, {counted(self.n_updated, 'visit')} completed."
        lines = [done, *(f"Could not be repaired: {failure}" for failure in self.failures[:_LISTED])]
        if len(self.failures) > _LISTED:
            lines.append(f"Nor could {len(self.failures) - _LISTED} more; --format json lists all.")
        return "\n".join(lines)


@dataclasses.dataclass
class CheckReport:
    """What a check has found; ``print(report)`` shows the first findings of each kind."""

    instrument: str
    """Name of the instrument."""

    grouping: str
    """Name of the grouping algorithm."""

    regions: str
    """Name of the region algorithm."""

    n_exposures: int
    """Exposures on the sky."""

    n_visits: int
    """Stored visits."""

    n_other_visits: int
    """How many of these belong only to visit systems of other groupings, and were not compared with anything."""

    findings: list[Finding]
    """What is wrong, by kind and then by visit."""

    untold: list[int] = dataclasses.field(default_factory=list)
    """Ids of visits that were not checked, because a Butler server does not tell which exposures they have."""

    repair: Repair | None = None
    """What was done before the findings were made, if a repair was asked for."""

    @property
    def sound(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def to_dict(self) -> dict[str, Any]:
        """Make a mapping for JSON.

        Returns
        -------
        mapping : `dict`
            Always the same keys; ``counts`` has all kinds.
        """
        counts = Counter(finding.kind for finding in self.findings)
        return {
            "instrument": self.instrument,
            "grouping": self.grouping,
            "regions": self.regions,
            "n_exposures": self.n_exposures,
            "n_visits": self.n_visits,
            "n_other_visits": self.n_other_visits,
            "untold": self.untold,
            "sound": self.sound,
            "counts": {kind.value: counts[kind] for kind in Kind},
            "findings": [finding.to_dict() for finding in self.findings],
            "repair": None if self.repair is None else self.repair.to_dict(),
        }

    def __str__(self) -> str:
        lines = [] if self.repair is None else [str(self.repair)]
        lines.append(
            f"{self.instrument}: {counted(self.n_visits, 'visit')} stored, {counted(self.n_exposures, 'exposure')} on "
            f"the sky, checked with {self.grouping} and {self.regions}."
        )
        if self.n_other_visits:
            lines.append(
                f"{counted(self.n_other_visits, 'visit')} of other groupings, not compared; check these with the "
                "config that they were defined with."
            )
        if self.untold:
            lines.append(
                f"{counted(len(self.untold), 'visit')} with exposures of other days (day_obs), not checked: which they "
                f"have cannot be told through a Butler server, but with the repository's own configuration: "
                f"{listed(self.untold, _LISTED)}."
            )
        if self.sound:
            return "\n".join([*lines, f"Nothing is wrong with {'the others' if self.untold else 'them'}."])
        lines.append(f"{counted(len(self.findings), 'finding')}.")
        by_kind: dict[Kind, list[Finding]] = defaultdict(list)
        for finding in self.findings:
            by_kind[finding.kind].append(finding)
        for kind, findings in by_kind.items():
            distances = [finding.distance for finding in findings if finding.distance is not None]
            largest = f", by up to {angle_text(max(distances))}" if distances else ""
            lines.append(f"\n{kind.value} ({len(findings)}): {kind.title}{largest}")
            lines += [one_line(f"  {finding.text}") for finding in findings[:_LISTED]]
            if len(findings) > _LISTED:
                lines.append(f"  And {len(findings) - _LISTED} more; --format json lists all.")
            repairable = sum(finding.repairable for finding in findings)
            if repairable:
                which = "these" if repairable == len(findings) else f"{repairable} of these"
                lines.append(f"  --repair fixes {which}.")
            if repairable < len(findings):
                lines.append(f"  {kind.advice}")
        return "\n".join(lines)


def named(what: str, ids: Collection[int]) -> str:
    """Name some things by their ids."""
    return f"{what}{'s' * (len(ids) != 1)} {listed(sorted(ids), _LISTED_IDS)}"
