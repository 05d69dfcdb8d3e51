"""Texts of any length, types in any case, instruments by any path, and two descriptions of one instrument."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from astropy.table import Table
from lsst.daf.butler import Butler
from lsst.daf.butler.column_spec import StringColumnSpec
from lsst.pipe.base import Instrument
from lsst.resources import ResourcePath

from butler_visits import IngestError, ingest_raws, ingest_table, read_description, register_instrument
from butler_visits.errors import DescriptionError
from butler_visits.repository import fetch_exposures
from butler_visits.repository.raws import RawReader
from example_raws import EXAMPLES, write_quadcam
from ingest_helpers import DESCRIPTION, cluster_of, records, science
from simulated_raws import describe, write_raws
from simulated_survey import INSTRUMENT
from templates import make_repository

both = pytest.mark.usefixtures("database")

BEGINS = ["2026-04-01T23:15:00", "2026-04-01T23:16:00.5", "2026-04-02T00:03:00"]


@pytest.fixture
def butler(tmp_path: Path, request: pytest.FixtureRequest) -> Butler:
    """Create an empty repository."""
    return make_repository(tmp_path / "repository", cluster=cluster_of(request))


def table(n: int, **columns: list[Any]) -> Table:
    begins = [f"2026-04-01T23:15:{number:02d}" for number in range(n)]
    return Table({"exposure_id": range(1, n + 1), "datetime_begin": begins, "physical_filter": ["g"] * n, **columns})


def test_types_in_any_case(butler: Butler) -> None:
    kinds = ["flat", "FLAT", "Bias", "Dark", "ZERO", "Arc", "science", "SCIENCE", "Science", "Focus"]
    ingest_table(butler, table(len(kinds), observation_type=kinds), "NewCam")
    found = sorted(records(butler, "exposure"), key=lambda one: one.id)
    assert [one.observation_type for one in found] == kinds
    assert [one.can_see_sky for one in found] == [False] * 6 + [True] * 3 + [None]
    assert [one.observation_reason for one in found] == ["unknown"] * 6 + ["science"] * 3 + ["unknown"]


@both
def test_long_texts(butler: Butler) -> None:
    """The database takes texts of any length where the universe says more than 32 characters, and those are whole."""
    long = {name: ["x" * 200] for name in ("target_name", "science_program", "observation_reason", "obs_id", "group")}
    given = table(1, observation_type=["y" * 20], **long)
    ingest_table(butler, given, "NewCam")
    (record,) = records(butler, "exposure")
    assert {name: getattr(record, name) for name in long} == {name: value for name, (value,) in long.items()}
    assert record.observation_type == "y" * 16
    assert ingest_table(butler, given, "NewCam").n_skipped == 1
    with pytest.raises(
        IngestError, match=r"physical_filter is 'fff.* which has 33 characters; the repository takes 32"
    ):
        ingest_table(butler, table(1, exposure_id=[7], physical_filter=["f" * 33]), "NewCam")


@pytest.mark.parametrize("universe", range(9))
def test_long_texts_in_old_repositories(tmp_path: Path, universe: int) -> None:
    butler = make_repository(tmp_path / "repository", universe=universe)
    ingest_table(butler, table(1, target_name=["x" * 65], observation_reason=["z" * 65]), "NewCam")
    (record,) = records(butler, "exposure")
    reason = next(one for one in butler.dimensions["exposure"].schema.all if one.name == "observation_reason")
    assert isinstance(reason, StringColumnSpec)
    assert record.target_name == "x" * 65
    assert record.observation_reason == "z" * (65 if reason.length > 32 else 32)


@both
def test_long_names_of_instruments(butler: Butler) -> None:
    name = "N" * 32
    ingest_table(butler, table(1), name)
    other = read_description(EXAMPLES / "hillcam.yaml").model_copy(update={"name": "H" * 32})
    register_instrument(butler, other)
    assert [Instrument.from_string(one, butler.registry).getName() for one in (name, "H" * 32)] == [name, "H" * 32]
    with pytest.raises(IngestError, match=r"cannot be the name of a new instrument; .* 32 characters at most"):
        ingest_table(butler, table(1), "N" * 33)


@pytest.mark.parametrize("kind", [Path, str, ResourcePath])
def test_a_description_by_any_path(tmp_path: Path, butler: Butler, kind: Any) -> None:
    # Only what is not a text needs no suffix.
    path = tmp_path / ("simcam.yaml" if kind is str else "simcam.description")
    path.write_text(yaml.safe_dump(describe()))
    write_raws(tmp_path / "raw", science(1))
    assert ingest_raws(butler, [tmp_path / "raw"], instrument=kind(path)).n_ingested == 1
    assert ingest_table(butler, table(1, physical_filter=["g_sim"]), kind(path)).n_ingested == 1
    assert [record.name for record in records(butler, "instrument")] == [INSTRUMENT]


def test_a_path_that_is_no_description(tmp_path: Path, butler: Butler) -> None:
    for call in (lambda: ingest_raws(butler, [], instrument=tmp_path / "missing"), lambda: ingest_table(
        butler, table(1), tmp_path / "missing"
    )):  # fmt: skip
        with pytest.raises(DescriptionError, match=r"There is no instrument description .*missing"):
            call()


def test_two_descriptions_of_one_instrument(tmp_path: Path) -> None:
    """Each repository reads its raws with its own description, also after another one was read in this process."""
    content = yaml.safe_load((EXAMPLES / "quadcam.yaml").read_text())
    other = content | {
        "properties": content["properties"] | {"detector_num": {"key": "CHIP", "multiply": -1, "add": 4}}
    }
    shutil.copy(EXAMPLES / "quadcam_camera.yaml", tmp_path)
    files, butlers, hdus = [], [], []
    for name, description in (("one", content), ("other", other)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(description))
        butlers.append(make_repository(tmp_path / name))
        register_instrument(butlers[-1], read_description(tmp_path / f"{name}.yaml"))
        files.append(write_quadcam(tmp_path / f"{name}.fits", (1, 2), wcs=True))
    readers = [RawReader(butler) for butler in butlers]
    for number in (1, 2):
        for butler, file, reader in zip(butlers, files, readers, strict=True):
            if number == 1:
                ingest_raws(butler, [file])
            (exposure,) = fetch_exposures(
                butler, "QuadCam", [record.id for record in records(butler, "exposure")]
            ).values()
            raws = reader.find([exposure], ["QuadCam/raw/all"])[exposure.id]
            found = {ref.dataId["detector"]: wcs for ref, wcs in reader.read(list(raws.values()))}
            # The headers have no more of a WCS than its name, which is an error that names the HDU.
            hdus.append({detector: str(wcs).partition(", HDU ")[2][0] for detector, wcs in found.items()})
    assert hdus == [{0: "1", 1: "2"}, {3: "1", 2: "2"}] * 2


@pytest.mark.parametrize("described", [False, True])
def test_a_group_of_two_days(butler: Butler, caplog: pytest.LogCaptureFixture, described: bool) -> None:
    """Two snaps around midnight are one group, which a described instrument can be spared by its days' begin."""
    given = Table(
        {
            "exposure_id": [1, 2, 3],
            "datetime_begin": ["2026-04-01T23:58:00", "2026-04-02T00:00:50", "2026-04-02T00:03:00"],
            "physical_filter": ["g_sim"] * 3,
            "group": ["A-1", "A-1", "A-2"],
        }
    )
    ingest_table(butler, given, DESCRIPTION if described else INSTRUMENT, time_scale="tai", batch_size=1)
    assert "Exposures 1 and 2 of SimCam are of one group (A-1) and of two observing days" in caplog.text
    assert ("set day_obs_offset_hours in the description of SimCam" in caplog.text) == described
    caplog.clear()
    later = DESCRIPTION.model_copy(update={"name": "LaterCam", "day_obs_offset_hours": 12.0})
    ingest_table(butler, given, later, time_scale="tai")
    assert "observing days" not in caplog.text
