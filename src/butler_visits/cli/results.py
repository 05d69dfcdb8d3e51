"""What has become of exposures, said in words."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import click
from lsst.pipe.base import Struct

from ..define.visit_plan import VisitPlan
from ..lists import counted, listed
from .output import echo


def echo_result(result: Struct, n_exposures: int, instrument: str, where: str, seconds: float) -> None:
    """Say what was done, and what was not."""
    if result.n_visits:
        updated = result.n_fully_updated + result.n_partially_updated
        kinds = f"{result.n_new} new, {updated} updated, {result.n_skipped} left as they are"
        rate = f"{seconds:.1f} s, {result.n_visits / seconds:.0f} a second"
        echo(f"{counted(result.n_visits, 'visit')}: {kinds} ({rate}).", stored="The visits are stored.")
    echo_left_out(result, n_exposures, instrument, where)
    for failure in result.failures:
        echo(f"Failed: {failure}", err=True)
    if result.failures:
        raise click.ClickException(f"{counted(result.n_failed, 'visit')} could not be defined.")


def echo_left_out(result: Struct | VisitPlan, n_exposures: int, instrument: str, where: str) -> None:
    """Say which exposures have not become visits, and why."""
    if n_exposures == 0:
        which = f" that match {where!r}" if where else ""
        echo(f"Nothing defined: {instrument} has no exposures{which}.")
    if isinstance(result, Struct) and n_exposures and not result.n_visits and not result.failures:
        echo("Nothing defined.")
    if result.n_filtered:
        echo(f"Left out {counted(result.n_filtered, 'exposure')} with a visit already.")
    if types := result.off_sky_types:
        kinds = listed(f"{count} {name}" for name, count in sorted(types.items(), key=lambda c: (-c[1], c[0])))
        echo(f"Left out {counted(sum(types.values()), 'exposure')} not on the sky: {kinds}.")


def echo_json(instrument: str, n_exposures: int, plan: VisitPlan | None, result: Struct | None) -> None:
    """Print what is planned, or what was done, for programs."""
    done = plan if result is None else result
    assert done is not None
    about: dict[str, Any] = {
        "instrument": instrument,
        "n_exposures": n_exposures,
        "counts": None if result is None else result.getDict(),
        "off_sky_types": done.off_sky_types,
        "failures": [{"exposures": list(each.exposures), "reason": each.reason} for each in done.failures],
        "plan": None,
    }
    if plan is not None:
        actions = Counter(visit.action.value for visit in plan)
        about["plan"] = {"actions": dict(actions), "n_filtered": plan.n_filtered, "visits": plan.to_dicts()}
    # All other characters that are not printable are escaped already.
    echo(
        json.dumps(about, indent=2, allow_nan=False).replace("\x7f", r"\u007f"),
        stored="The visits are stored." * (result is not None),
    )
