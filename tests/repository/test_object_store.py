"""A repository whose files are in an S3 store, which runs on this machine for as long as the test does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from lsst.daf.butler import Butler

from command_line import run_new_program, without_rate
from simulated_survey import INSTRUMENT, camera, insert_exposures, make_repository, night, register_instrument
from visit_tables import make_task, stored, tables

pytestmark = pytest.mark.slow

boto3 = pytest.importorskip("boto3", reason="boto3 is not installed here")
moto_server = pytest.importorskip("moto.server", reason="moto is not installed here")

EXPOSURES = [one for one in night(60) if one["observation_type"] == "science"]
PAGE = Path(__file__).parents[2] / "docs" / "many-machines.md"


def test_camera_in_a_store(store: str, tmp_path: Path) -> None:
    """Visits are defined, by workers too, with a camera that is in the store."""
    page = PAGE.read_text()
    (content,) = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (command,) = re.findall(r"^butler (create REPO .*)$", page, re.MULTILINE)
    assert f"root: {store}repository\n" in content
    seed, repository = tmp_path / "seed.yaml", tmp_path / "repository"
    seed.write_text(content)
    named = {"REPO": repository, "seed.yaml": seed}
    created = run_new_program("butler", *(named.get(word, word) for word in command.split()))
    assert created.returncode == 0, created.stderr
    butler = Butler.from_config(repository, writeable=True)
    register_instrument(butler, camera(rafts=1))
    insert_exposures(butler, EXPOSURES)
    (ref,) = butler.query_datasets("camera_geometry", f"{INSTRUMENT}/calib/unbounded")
    assert butler.getURI(ref).scheme == "s3"

    first = run_new_program("butler", "define-visits", repository, INSTRUMENT, "--where", "exposure.seq_num < 20")
    assert first.returncode == 0, first.stderr
    rest = run_new_program("butler", "define-visits", repository, INSTRUMENT, "--processes", 2)
    n_first, n = len([one for one in EXPOSURES if one["seq_num"] < 20]), len(EXPOSURES)
    assert 0 < n_first < n
    assert without_rate(first.stdout).startswith(f"{n_first} visits: {n_first} new, ")
    assert without_rate(rest.stdout) == f"{n} visits: {n - n_first} new, 0 updated, {n_first} left as they are.\n"

    alone = make_repository(tmp_path / "alone", camera=camera(rafts=1))
    insert_exposures(alone, EXPOSURES)
    make_task(alone).run(stored(alone, "exposure"))
    assert tables(butler) == tables(alone)
