"""What a page without visits says to do next."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
import yaml
from lsst.daf.butler import Butler

from butler_visits.report.page import visits_page
from command_line import visits_command
from simulated_raws import describe, write_raws
from simulated_survey import INSTRUMENT, night
from visit_tables import add_exposures, exposure, root
from watching import repository_of

pytestmark = pytest.mark.sqlite_only

FLATS = [exposure(k, observation_type="flat", can_see_sky=False, tracking_ra=None) for k in (7, 8)]


def run_commands(steps: Sequence[str], files: Mapping[str, object]) -> None:
    """Run the commands of a page; what it names in capitals stands for files."""
    commands = [step.removeprefix("$ ") for step in steps if step.startswith("$ ")]
    assert commands
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program in ("butler", "butler-visits")
        result = visits_command(*(files.get(one, one) for one in arguments))
        assert result.exit_code == 0, f"{command}: {result.output}"


def test_commands_without_exposures(tmp_path: Path) -> None:
    repo = repository_of(tmp_path / "repo")
    butler = Butler.from_config(repo)
    write_raws(tmp_path / "raw", night(12), detectors=range(9), in_one_file=True)
    (tmp_path / "simcam.yaml").write_text(yaml.safe_dump(describe()))
    steps = visits_page(butler, INSTRUMENT).next_steps
    assert steps[0].startswith(f"There are no exposures of {INSTRUMENT} yet.")
    files = {"REPO": str(repo), "RAW…": str(tmp_path / "raw"), "FILE": str(tmp_path / "simcam.yaml")}
    run_commands(steps, files)
    butler.registry.refresh()
    assert visits_page(butler, INSTRUMENT).visits


def test_some_can_become_visits(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    add_exposures(butler, [*map(exposure, range(4, 6)), *FLATS])
    steps = visits_page(butler, INSTRUMENT).next_steps
    assert steps[0].startswith(f"2 of 4 exposures of {INSTRUMENT} can become visits.")
    run_commands(steps, {"REPO": root(butler)})
    assert len(visits_page(butler, INSTRUMENT).visits) == 2


def test_commands_of_some_exposures(make_survey: Callable[..., Butler]) -> None:
    """They do what the page is of, and no more."""
    butler = make_survey()
    add_exposures(butler, [*map(exposure, range(1, 5)), *FLATS])
    where = "exposure.seq_num IN (2, 8) AND exposure.target_name != 'M 31'"
    steps = visits_page(butler, INSTRUMENT, where=where).next_steps
    assert steps[0].startswith(f"1 of 2 exposures of {INSTRUMENT} that match {where!r} can become visits.")
    run_commands(steps, {"REPO": root(butler)})
    assert len(visits_page(butler, INSTRUMENT).visits) == 1


@pytest.mark.parametrize("where", ["", "exposure.observation_type = 'flat'"])
def test_none_can_become_a_visit(make_survey: Callable[..., Butler], where: str) -> None:
    butler = make_survey()
    add_exposures(butler, [*FLATS, *([exposure(1)] if where else [exposure(3, tracking_dec=95.0)])])
    (step,) = visits_page(butler, INSTRUMENT, where=where).next_steps
    count = 2 if where else 3
    selected = f" that match {where!r}" if where else ""
    assert step == f"None of {count} exposures of {INSTRUMENT}{selected} can become visits: the reasons stand below."


def test_no_exposure_matches(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    add_exposures(butler, FLATS)
    where = "exposure.observation_type = 'science'"
    assert list(visits_page(butler, INSTRUMENT, where=where).next_steps) == [
        f"No exposure of {INSTRUMENT} matches {where!r}."
    ]
