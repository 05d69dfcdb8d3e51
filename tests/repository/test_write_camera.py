"""Cameras are stored for visits to be defined with: ``write_camera``, and ``butler-visits write-camera``."""

from __future__ import annotations

import logging
import sys
import types
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from astropy.time import Time
from click.testing import Result
from lsst.daf.butler import Butler, CollectionType, DatasetRef, FormatterV2, Timespan
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.resources import ResourcePath

from butler_visits import CameraFileError, VisitsError
from butler_visits.repository import fetch_instrument
from butler_visits.repository.cameras import CameraFinder
from butler_visits.repository.write_camera import write_camera
from command_line import lines, message, run_program, visits_command
from simulated_survey import CALIB_COLLECTION, INSTRUMENT, camera
from visit_tables import add_exposures, data_ids, exposure, make_read_only, make_task, records, root, tables

pytestmark = pytest.mark.sqlite_only  # Files and options are the same for either; what the database does is marked.

MIDDLE = Time("2026-04-01", scale="tai")
RUNS = f"{INSTRUMENT}/calib/camera_geometry/*"


@pytest.fixture
def butler(make_survey: Callable[..., Butler]) -> Butler:
    """Return a repository of the survey without its camera."""
    return without_camera(make_survey())


def without_camera(butler: Butler) -> Butler:
    butler.registry.decertify(CALIB_COLLECTION, "camera_geometry", Timespan(None, None))
    refs = butler.query_datasets("camera_geometry", "*", find_first=False)
    butler.pruneDatasets(refs, purge=True, unstore=True, disassociate=True)
    return butler


def named(name: str = "Small") -> dict[str, Any]:
    return camera(rafts=1) | {"name": name}


def certified(butler: Butler) -> list[tuple[str, Timespan]]:
    """Return the names of the cameras in the conventional collection, and when each is valid."""
    with butler.query() as query:
        rows = list(
            query.join_dataset_search("camera_geometry", CALIB_COLLECTION)
            .general(["instrument"], dataset_fields={"camera_geometry": {"dataset_id", "timespan"}}, find_first=False)
            .where(instrument=INSTRUMENT)
        )
    found = []
    for row in rows:
        ref = butler.get_dataset(row["camera_geometry.dataset_id"])
        assert ref is not None
        found.append((butler.get(ref)["name"], row["camera_geometry.timespan"]))
    return sorted(found)


def datasets(butler: Butler) -> list[DatasetRef]:
    return butler.query_datasets("camera_geometry", RUNS, find_first=False, explain=False)


def content(butler: Butler) -> tuple[object, ...]:
    """Return all that writing a camera may change, except for its dataset type and the calibration collection."""
    files = sorted(path for path in root(butler).rglob("*.yaml") if path.name != "butler.yaml")
    return files, certified(butler), butler.collections.query(RUNS)


def run(butler: Butler, file: object, *options: object, instrument: str = INSTRUMENT) -> Result:
    return visits_command("write-camera", root(butler), instrument, file, *options)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "camera.yaml"
    path.write_text(yaml.safe_dump(named()))
    return path


@pytest.mark.parametrize("universe", [0, 5, None])
def test_visits_are_defined_with_it(make_survey: Callable[..., Butler], universe: int | None) -> None:
    """They are those of the survey's own camera, which is the same."""
    expected, butler = make_survey(), without_camera(make_survey(universe))
    stored = write_camera(butler, INSTRUMENT, camera(rafts=1))
    assert stored.is_new
    assert (stored.collection, stored.timespan) == (CALIB_COLLECTION, Timespan(None, None))
    assert stored.camera.detector_ids.tolist() == list(range(9))
    assert butler.get(stored.ref) == camera(rafts=1)
    if universe is None:
        for one in (expected, butler):
            ids = add_exposures(one, [exposure(1), exposure(2)])
            assert make_task(one).run(data_ids(ids)).n_new == 2
        assert tables(butler) == tables(expected)


def test_repository_that_never_had_a_camera(tmp_path: Path) -> None:
    """The dataset type and the collections are made."""
    butler = Butler.from_config(Butler.makeRepo(tmp_path / "new"), writeable=True)
    butler.registry.insertDimensionData(
        "instrument",
        {"name": INSTRUMENT, "class_name": "a.B", "visit_max": 1, "exposure_max": 1, "detector_max": 9},
    )
    write_camera(butler, INSTRUMENT, named())
    assert certified(butler) == [("Small", Timespan(None, None))]
    dataset_type = butler.get_dataset_type("camera_geometry")
    assert dataset_type.isCalibration()
    assert dataset_type.storageClass_name == "StructuredDataDict"


@pytest.mark.both_databases
def test_each_time_has_its_camera(butler: Butler, tmp_path: Path) -> None:
    """One camera before a time and another one after it, written on the command line."""
    begins = {seq_num: exposure(seq_num)["timespan"].begin for seq_num in (1, 2)}
    middle = begins[2].isot
    for name, option in (("early", "--end"), ("late", "--begin")):
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(named(name)))
        (line,) = lines(run(butler, path, option, middle))
        word = "until" if option == "--end" else "from"
        shown = middle.rstrip("0").rstrip(".")
        assert line == f"Stored camera {name} (9 detectors) in SimCam/calib, valid {word} {shown} TAI."
    ids = add_exposures(butler, [exposure(1), exposure(2)])
    found = CameraFinder(butler).find(records(butler, ids), fetch_instrument(butler, INSTRUMENT))
    assert [one.name for one in found] == ["early", "late"]
    assert make_task(butler).run(data_ids(ids)).n_new == 2
    assert certified(butler) == [("early", Timespan(None, begins[2])), ("late", Timespan(begins[2], None))]


@pytest.mark.parametrize(
    "text", ["2026-04-01", "2026-04-01T00:00", "2026-04-01 00:00:00", "2026-04-01T00:00:00.000", " 2026-04-01 "]
)
def test_times_are_tai(butler: Butler, file: Path, text: str) -> None:
    assert run(butler, file, "--begin", text).exit_code == 0
    assert certified(butler) == [("Small", Timespan(MIDDLE, None))]


@pytest.mark.both_databases
def test_the_same_again(butler: Butler, file: Path) -> None:
    assert lines(run(butler, file)) == [
        "Stored camera Small (9 detectors) in SimCam/calib, valid for all times.",
    ]
    before = content(butler)
    assert lines(run(butler, file)) == [
        "Camera Small is already stored in SimCam/calib, valid for all times; nothing has changed."
    ]
    # The order of fields, the merge keys and the numbers' form are not the camera.
    shuffled = dict(reversed(named().items()))
    stored = write_camera(butler, INSTRUMENT, shuffled)
    assert not stored.is_new
    assert [stored.ref] == datasets(butler)
    assert content(butler) == before


def test_the_same_put_by_hand(make_survey: Callable[..., Butler]) -> None:
    butler = make_survey()
    stored = write_camera(butler, INSTRUMENT, camera(rafts=1))
    assert not stored.is_new
    assert stored.ref.run == "SimCam/calib/unbounded"
    assert not datasets(butler)


@pytest.mark.both_databases
def test_the_same_for_other_times(butler: Butler) -> None:
    """A camera that comes back is one dataset."""
    first = write_camera(butler, INSTRUMENT, named(), end=MIDDLE)
    second = write_camera(butler, INSTRUMENT, named(), begin=MIDDLE)
    assert second.is_new
    assert first.ref == second.ref
    assert certified(butler) == [("Small", Timespan(None, MIDDLE)), ("Small", Timespan(MIDDLE, None))]


@pytest.mark.both_databases
@pytest.mark.parametrize("name", ["Small", "Other"])
def test_times_that_overlap(butler: Butler, tmp_path: Path, name: str) -> None:
    write_camera(butler, INSTRUMENT, named(), begin=MIDDLE)
    before = content(butler)
    with pytest.raises(ConflictingDefinitionError, match=r"SimCam.*\[2026-04-01T00:00:00, ∞\).*decertify"):
        write_camera(butler, INSTRUMENT, named(name))
    path = tmp_path / "other.yaml"
    path.write_text(yaml.safe_dump(named(name)))
    said = message(run(butler, path, "--end", "2026-04-01T00:00:00.001"))
    assert "give other times" in said
    assert content(butler) == before
    # What the message advises.
    butler.registry.decertify(CALIB_COLLECTION, "camera_geometry", Timespan(None, None))
    assert run(butler, path).exit_code == 0
    assert certified(butler) == [(name, Timespan(None, None))]


@pytest.mark.both_databases
def test_other_instruments_are_others(butler: Butler) -> None:
    butler.registry.insertDimensionData(
        "instrument",
        {"name": "Two", "class_name": "a.Two", "visit_max": 1, "exposure_max": 1, "detector_max": 9},
    )
    write_camera(butler, INSTRUMENT, named(), collection="shared")
    assert write_camera(butler, "Two", named("Other"), collection="shared").is_new
    assert write_camera(butler, "a.Two", named("Other")).collection == "Two/calib"


@pytest.mark.both_databases
def test_nothing_half_written(butler: Butler, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the power is out")

    monkeypatch.setattr(type(butler.registry), "certify", fail)
    with pytest.raises(RuntimeError, match="the power is out"):
        write_camera(butler, INSTRUMENT, named())
    monkeypatch.undo()
    assert not datasets(butler)
    assert not certified(butler)
    assert not list(root(butler).rglob("camera_geometry*.yaml"))
    assert write_camera(butler, INSTRUMENT, named()).is_new


@pytest.mark.both_databases
def test_two_at_once(butler: Butler, file: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = list(
            pool.map(lambda _: run_program("butler-visits", "write-camera", root(butler), INSTRUMENT, file), "ab")
        )
    assert [one.returncode for one in both] == [0, 0], [one.stderr for one in both]
    assert len(datasets(butler)) == 1
    assert certified(butler) == [("Small", Timespan(None, None))]


@pytest.mark.both_databases
def test_own_collection(butler: Butler) -> None:
    write_camera(butler, INSTRUMENT, named(), collection="mine")
    assert not certified(butler)
    records_ = records(butler, add_exposures(butler, [exposure(1)]))
    (found,) = CameraFinder(butler).find(records_, fetch_instrument(butler, INSTRUMENT), ["mine"])
    assert found.name == "Small"


@pytest.mark.parametrize("kind", [CollectionType.RUN, CollectionType.TAGGED, CollectionType.CHAINED])
def test_collection_of_another_type(butler: Butler, kind: CollectionType) -> None:
    butler.collections.register("mine", kind)
    with pytest.raises(VisitsError, match=f"mine is a {kind.name} collection"):
        write_camera(butler, INSTRUMENT, named(), collection="mine")
    assert not butler.collections.query(RUNS)


def test_camera_datasets_go_first(copy_golden: Callable[[str], Path], caplog: pytest.LogCaptureFixture) -> None:
    butler = Butler.from_config(copy_golden("comCamSim"), writeable=True)
    with caplog.at_level(logging.WARNING, logger="butler_visits"):
        write_camera(butler, "LSSTComCamSim", named())
    (record,) = caplog.records
    assert "LSSTComCamSim/calib has a camera dataset" in record.getMessage()


def test_no_camera_is_written(butler: Butler) -> None:
    before = content(butler)
    broken = named()
    del broken["CCDs"]["R22_S11"]["bbox"]
    with pytest.raises(CameraFileError, match=r"camera for SimCam: detector R22_S11 lacks the field bbox"):
        write_camera(butler, INSTRUMENT, broken)
    with pytest.raises(CameraFileError, match=r"holds np.float64\(20.0\), a float64"):
        write_camera(butler, INSTRUMENT, named() | {"plateScale": np.float64(20.0)})
    with pytest.raises(VisitsError, match="the end must be later"):
        write_camera(butler, INSTRUMENT, named(), begin=MIDDLE, end=MIDDLE)
    with pytest.raises(VisitsError, match="earlier than"):
        write_camera(butler, INSTRUMENT, named(), end=Time("1960-01-01", scale="tai"), begin=Time(1e5, format="jd"))
    with pytest.raises(VisitsError, match="registered: SimCam"):
        write_camera(butler, "OtherCam", named())
    assert content(butler) == before


def test_merge_keys_and_dates(butler: Butler, tmp_path: Path) -> None:
    """What YAML can say beside a camera is kept; a date as the text that it is."""
    path = tmp_path / "camera.yaml"
    path.write_text(
        """
        name: Two
        date: 2026-04-01
        plateScale: 10
        transforms: {nativeSys: FocalPlane, FieldAngle: {transformType: radial, coeffs: [0, 1]}}
        CCDs:
          a: &a {id: 0, bbox: [[0, 0], [9, 9]], pixelSize: [0.01, 0.01], refpos: [4.5, 4.5], offset: [0, 0]}
          b: {<<: *a, id: 1, offset: [1, 0]}
        """
    )
    assert run(butler, path).exit_code == 0
    (ref,) = datasets(butler)
    assert butler.get(ref) == yaml.safe_load(path.read_text()) | {"date": "2026-04-01"}
    assert lines(run(butler, path))[0].endswith("nothing has changed.")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "There is no file"),
        ("", "camera.yaml"),
        ("CCDs: [", "is not a YAML camera"),
        ("name: x", "lacks the field CCDs"),
        ("SIMPLE  =                    T", "is not an afw camera file"),
    ],
)
def test_file_that_is_no_camera(butler: Butler, file: Path, text: str | None, said: str) -> None:
    before = content(butler)
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    answer = message(run(butler, file))
    assert said in answer
    assert str(file) in answer
    assert content(butler) == before


@pytest.mark.parametrize("text", ["soon", "2026-13-01", "2026-04-01T00:00:00Z", "2026-04-01T00:00:00+09:00", "59000"])
@pytest.mark.parametrize("option", ["--begin", "--end"])
def test_bad_time(butler: Butler, file: Path, option: str, text: str) -> None:
    answer = message(run(butler, file, option, text))
    assert option in answer
    assert repr(text) in answer
    assert "TAI" in answer


def test_bad_arguments(butler: Butler, file: Path) -> None:
    assert "registered: SimCam" in message(run(butler, file, instrument="OtherCam"))
    assert "must be later" in message(run(butler, file, "--begin", "2026-04-02", "--end", "2026-04-01"))
    assert "is a folder" in message(run(butler, file.parent))
    assert not certified(butler)
    make_read_only(butler)
    assert str(root(butler)) in message(run(butler, file))


# afw FITS files


@pytest.fixture
def afw_file(golden: Path) -> Path:
    (path,) = (golden / "repos" / "comCamSim").glob("*/calib/unbounded/camera/*.fits")
    return path


@pytest.mark.both_databases
@pytest.mark.parametrize("universe", [0, None])
def test_afw_file(
    make_survey: Callable[..., Butler], afw_file: Path, universe: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    """It is a dataset as Rubin's repositories have it, with the same bytes, and goes before a camera_geometry."""
    butler = make_survey(universe)
    with caplog.at_level(logging.WARNING, logger="butler_visits"):
        (line,) = lines(run(butler, afw_file, "--begin", "2020-01-01"))
    assert line == "Stored camera LSSTComCamSim (9 detectors) in SimCam/calib, valid from 2020-01-01T00:00:00 TAI."
    assert "a camera_geometry dataset of these times too, and visits are defined with this one" in caplog.text
    (line,) = lines(run(butler, afw_file, "--begin", "2020-01-01"))
    assert line.endswith("nothing has changed.")
    butler.registry.refresh()
    (ref,) = butler.query_datasets("camera", "SimCam/calib/camera/*", find_first=False)
    assert ref.datasetType.isCalibration()
    assert (ref.datasetType.storageClass_name, set(ref.datasetType.dimensions.names)) == ("Camera", {"instrument"})
    assert butler.getURI(ref).read() == afw_file.read_bytes()
    if universe is None:
        found = CameraFinder(butler).find(
            records(butler, add_exposures(butler, [exposure(1)])), fetch_instrument(butler, INSTRUMENT)
        )
        assert [one.name for one in found] == ["LSSTComCamSim"]
    with pytest.raises(ConflictingDefinitionError, match=r"decertify\('SimCam/calib', 'camera', timespan\)"):
        write_camera(butler, INSTRUMENT, afw_file.read_bytes())


def test_afw_file_in_rubins_own_repository(copy_golden: Callable[[str], Path], afw_file: Path) -> None:
    """The dataset type is the same; the camera that is certified there is found to be the same."""
    butler = Butler.from_config(copy_golden("comCamSim"), writeable=True)
    stored = write_camera(butler, "LSSTComCamSim", afw_file.read_bytes())
    assert not stored.is_new
    assert stored.ref.run == "LSSTComCamSim/calib/unbounded"


def test_afw_file_for_rubins_own_software(
    make_survey: Callable[..., Butler], afw_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it the error tells what to do; with it, its own formatter makes the camera."""
    ref = write_camera(butler := make_survey(), INSTRUMENT, afw_file.read_bytes()).ref
    with pytest.raises(Exception, match=r"lsst\.afw"):
        butler.get(ref)

    class Camera:
        """Stands for ``lsst.afw.cameraGeom.Camera``."""

        size = 0

    class FitsGenericFormatter(FormatterV2):
        """Stands for the formatter of Rubin's software."""

        can_read_from_uri = True

        def read_from_uri(self, uri: ResourcePath, component: str | None = None, expected_size: int = -1) -> Any:
            camera = Camera()
            camera.size = uri.size()
            return camera

    modules: dict[str, dict[str, Any]] = {
        "lsst.afw": {},
        "lsst.afw.cameraGeom": {"Camera": Camera},
        "lsst.obs": {},
        "lsst.obs.base": {},
        "lsst.obs.base.formatters": {},
        "lsst.obs.base.formatters.fitsGeneric": {"FitsGenericFormatter": FitsGenericFormatter},
    }
    for name, names in modules.items():
        module = types.ModuleType(name)
        vars(module).update(names)
        monkeypatch.setitem(sys.modules, name, module)
    assert Butler.from_config(root(butler)).get(ref).size == afw_file.stat().st_size


def test_afw_file_that_is_damaged(butler: Butler, afw_file: Path, tmp_path: Path) -> None:
    (tmp_path / "camera.fits").write_bytes(afw_file.read_bytes()[:50_000])
    assert "camera.fits" in message(run(butler, tmp_path / "camera.fits"))
    assert not butler.registry.queryDatasetTypes("camera")
    assert not butler.collections.query("SimCam/calib/camera/*")
