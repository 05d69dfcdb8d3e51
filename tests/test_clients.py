"""Code that was written for the original runs with its imports changed: what services and algorithms do with it."""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astro_metadata_translator import MetadataTranslator, ObservationInfo
from astropy import log
from astropy.io import fits
from lsst.daf.butler import Butler, CollectionType, MissingCollectionError, Timespan
from lsst.daf.butler.progress import Progress
from lsst.daf.butler.registry import DataIdError
from lsst.daf.butler.registry.interfaces import DatabaseConflictError
from lsst.pex.config import registerConfigurable
from lsst.pipe.base import Instrument
from lsst.sphgeom import Region

import butler_visits
from butler_visits import (
    ComputeVisitRegionsFromSingleRawWcsTask,
    ComputeVisitRegionsTask,
    ConfigError,
    DefineVisitsConfig,
    DefineVisitsTask,
    VisitDefinitionData,
)
from butler_visits.config import make_config
from butler_visits.instruments import StandInInstrument
from butler_visits.instruments.description import InstrumentDescription
from butler_visits.instruments.translator import make_translator
from butler_visits.raws import RawFile, RawWcs, find_detector, read_raw_files
from command_line import run_program
from instrument_classes import SimCam, set_class
from simulated_survey import CAMERA_RUN, INSTRUMENT
from visit_tables import (
    N_DETECTORS,
    add_exposures,
    counts,
    data_ids,
    delete_rows,
    exposure,
    make_task,
    root,
    stored,
    tables,
)

pytestmark = pytest.mark.sqlite_only

NIGHT = [exposure(1), exposure(2), exposure(3, seq_start=3, seq_end=4), exposure(4, seq_start=3, seq_end=4)]


@pytest.fixture
def butler(make_survey: Callable[..., Butler]) -> Butler:
    butler = make_survey()
    add_exposures(butler, NIGHT)
    return butler


@pytest.fixture
def given() -> list[dict[str, Any]]:
    return data_ids(one["id"] for one in NIGHT)


class UndoneError(Exception):
    """What a caller raises in a transaction."""


# A task that lives as long as its process


def test_after_a_transaction_that_was_rolled_back(butler: Butler, given: list[dict[str, Any]]) -> None:
    task = DefineVisitsTask(butler=butler)
    with pytest.raises(UndoneError), butler.transaction():
        assert task.run(given).n_new == 4
        raise UndoneError
    assert stored(butler, "visit") == stored(butler, "visit_system") == []
    assert task.run(given).n_new == 4
    assert task.run(given).n_skipped == 4


def test_collection_that_was_not_what_it_is(butler: Butler, given: list[dict[str, Any]]) -> None:
    """Nothing is remembered of a collection: neither of one that was undone, nor of one that was removed."""
    task = DefineVisitsTask(butler=butler)
    with pytest.raises(UndoneError), butler.transaction():
        butler.collections.register("cameras", CollectionType.TAGGED)
        assert len(task.plan(given, collections="cameras")) == 4
        raise UndoneError
    with pytest.raises(MissingCollectionError, match="cameras"):
        task.plan(given, collections="cameras")
    butler.registry.decertify("SimCam/calib", "camera_geometry", Timespan(None, None))
    butler.collections.register("own", CollectionType.RUN)
    butler.collections.register("cameras", CollectionType.RUN)
    ref = butler.find_dataset("camera_geometry", instrument=INSTRUMENT, collections=CAMERA_RUN)
    assert ref is not None
    butler.put(butler.get(ref), "camera_geometry", instrument=INSTRUMENT, run="own")
    butler.removeRuns([CAMERA_RUN])
    with pytest.raises(LookupError):
        task.plan(given, collections="cameras")
    butler.removeRuns(["cameras"])
    butler.collections.register("cameras", CollectionType.CHAINED)
    butler.collections.redefine_chain("cameras", ["own"])
    assert task.run(given, collections="cameras").n_new == 4


def test_limit_that_was_not_raised_after_all(butler: Butler, given: list[dict[str, Any]]) -> None:
    (record,) = butler.registry.queryDimensionRecords("instrument")
    described = {**record.toDict(), "class_name": f"butler_visits.instruments.described.{INSTRUMENT}", "visit_max": 10}
    butler.registry.syncDimensionData("instrument", described, update=True)
    task = DefineVisitsTask(butler=butler)
    with pytest.raises(UndoneError), butler.transaction():
        butler.registry.syncDimensionData("instrument", {**described, "visit_max": 10**17}, update=True)
        assert task.run(given).n_new == 4
        raise UndoneError
    with pytest.raises(RuntimeError, match="visit_max"):
        task.run(given)


class Numbered(SimCam):
    """The instrument, if its class numbered the groups."""

    @staticmethod
    def group_name_to_group_id(group_name: str) -> int:
        return 7


def test_class_that_was_not_the_instruments_after_all(butler: Butler, given: list[dict[str, Any]]) -> None:
    task = make_task(butler, "by-group-metadata")
    for class_name, id_ in ((f"{__name__}.Numbered", 7), ("no.such.Class", 20260401235901000)):
        with pytest.raises(UndoneError), butler.transaction():
            set_class(butler, class_name)
            assert [visit.definition.id for visit in task.plan(given[:1])] == [id_]
            raise UndoneError
    assert isinstance(task.computeVisitRegions.getInstrument(INSTRUMENT), StandInInstrument)
    assert [visit.definition.id for visit in task.plan(given[:1])] == [20260401235901000]


def test_after_an_error(butler: Butler, given: list[dict[str, Any]]) -> None:
    task = DefineVisitsTask(butler=butler)
    with pytest.raises(DataIdError, match="has no exposure 77"):
        task.run([*given, *data_ids([77])])
    assert task.run(given).n_new == 4
    add_exposures(butler, [{**NIGHT[0], "exposure_time": 99.0}], replace=True)
    with pytest.raises(DatabaseConflictError, match="exposure_time"):
        task.run(given)
    assert task.run(given, skip_conflicting=True).n_skipped == 4


def test_nothing_grows_with_the_runs(butler: Butler, given: list[dict[str, Any]]) -> None:
    task = DefineVisitsTask(butler=butler)

    def size() -> int:
        return sum(len(task.metadata.getArray(name)) for name in task.metadata)

    task.run(given[:1])
    task.plan(given[:1])
    after_one = size()
    task.metadata["runner"] = "kept"
    for _ in range(5):
        task.run(given[:1])
        task.plan(given[:1])
    assert size() == after_one + 1
    assert task.metadata["runner"] == "kept"


# Errors and results


def test_conflicts_are_what_the_original_raises(butler: Butler, given: list[dict[str, Any]]) -> None:
    task = DefineVisitsTask(butler=butler)
    task.run(given)
    add_exposures(butler, [{**NIGHT[0], "target_name": "other"}], replace=True)
    with pytest.raises(
        DatabaseConflictError, match=r"Visit \d+1 .*target_name is stored as 'field 1' and is now 'other'"
    ):
        task.run(given)


@pytest.mark.parametrize(
    "incomplete", [{"instrument": INSTRUMENT}, {"exposure": 1}, {"instrument": INSTRUMENT, "exposure": None}]
)
def test_incomplete_data_ids(butler: Butler, incomplete: dict[str, Any]) -> None:
    with pytest.raises(DataIdError, match="incomplete: expected values for instrument and exposure"):
        DefineVisitsTask(butler=butler).run([incomplete])


@pytest.mark.parametrize("exposure_id", [2**63, 2**70, -1])
def test_ids_that_no_exposure_can_have(butler: Butler, exposure_id: int) -> None:
    with pytest.raises(DataIdError, match=f"has no exposure {exposure_id}"):
        DefineVisitsTask(butler=butler).run(data_ids([exposure_id]))


@pytest.mark.parametrize("exposure_id", [20260401000001.5, "1.5", "one", b"1"])
def test_ids_that_are_no_integers(butler: Butler, exposure_id: Any) -> None:
    """Never rounded to another exposure."""
    with pytest.raises(ValueError, match="whose exposure is an integer"):
        DefineVisitsTask(butler=butler).run(data_ids([exposure_id]))


@pytest.mark.parametrize("nothing", [[], {}, (), iter(())])
def test_nothing_gives_zeros(butler: Butler, nothing: Iterable[Any]) -> None:
    assert counts(DefineVisitsTask(butler=butler).run(nothing)) == {}


def test_the_name_that_the_original_has_today(butler: Butler, given: list[dict[str, Any]]) -> None:
    task = DefineVisitsTask(butler=butler)
    assert len(task.plan(dataIds_or_records=given)) == 4
    assert task.run(dataIds_or_records=given).n_new == 4
    with pytest.raises(TypeError, match="dataIds or as dataIds_or_records"):
        task.run(given, dataIds_or_records=given)
    with pytest.raises(ValueError, match="Expected an iterable of exposure records or data IDs, got None"):
        task.run()


def test_results_are_integers(butler: Butler, given: list[dict[str, Any]]) -> None:
    dark = exposure(5, observation_type="dark", tracking_ra=None, can_see_sky=False)
    ids = add_exposures(butler, [dark])
    result = DefineVisitsTask(butler=butler).run([*given, *data_ids(ids), *data_ids([77])], on_error="skip")
    assert {type(value) for value in result.getDict().values()} == {int}
    assert result.off_sky_types == {"dark": 1}
    assert [failure.exposures for failure in result.failures] == [(77,)]


# Subclasses and algorithms


@registerConfigurable("test-clients", ComputeVisitRegionsTask.registry)
class UsesThePublicParts(ComputeVisitRegionsFromSingleRawWcsTask):
    seen: list[Any] = []

    def compute(self, visit: VisitDefinitionData, *, collections: Any = None) -> tuple[Region, dict[int, Region]]:
        instrument = self.getInstrument(visit.instrument)
        self.seen.append((instrument.getName(), self.instrumentMap[visit.instrument] is instrument, self.butler))
        return super().compute(visit, collections=collections)


def test_public_parts_of_the_tasks(butler: Butler, given: list[dict[str, Any]]) -> None:
    config = DefineVisitsConfig()
    config.computeVisitRegions.name = "test-clients"
    task = DefineVisitsTask(config, butler=butler)
    assert task.universe is butler.dimensions
    assert isinstance(task.progress, Progress)
    assert task.run(given[:1]).n_new == 1
    assert UsesThePublicParts.seen == [(INSTRUMENT, True, butler)]
    assert isinstance(task.computeVisitRegions.getInstrument(INSTRUMENT), Instrument)


def test_a_method_that_would_be_ignored(butler: Butler) -> None:
    class Own(DefineVisitsTask):
        def _buildVisitRecords(self, definition: Any, *, collections: Any = None) -> Any:
            raise NotImplementedError

    with pytest.raises(TypeError, match="Own has _buildVisitRecords, which this task does not call"):
        Own(butler=butler)


def test_names_of_the_original() -> None:
    for name, ours in {
        "_GroupExposuresOneToOneTask": "GroupExposuresOneToOneTask",
        "_GroupExposuresByGroupMetadataTask": "GroupExposuresByGroupMetadataTask",
        "_GroupExposuresByCounterAndExposuresTask": "GroupExposuresByCounterTask",
        "GroupExposuresByCounterAndExposuresConfig": "GroupExposuresByCounterConfig",
        "_ComputeVisitRegionsFromSingleRawWcsTask": "ComputeVisitRegionsFromSingleRawWcsTask",
    }.items():
        assert getattr(butler_visits, name) is getattr(butler_visits, ours)


# Collections


@pytest.mark.parametrize(
    "collections",
    [
        "cameras/a",
        ["none", "cameras/a"],
        ("cameras/a",),
        {"cameras/a"},
        "cameras/*",
        ["none", "camera?/a"],
        re.compile("cameras/.*"),
        [re.compile("cameras/.*")],
        ...,
        "chain",
    ],
    ids=repr,
)
def test_collections_in_every_form(butler: Butler, given: list[dict[str, Any]], collections: Any) -> None:
    for name in ("none", "cameras/a"):
        butler.collections.register(name, CollectionType.CALIBRATION if name == "none" else CollectionType.RUN)
    butler.collections.register("chain", CollectionType.CHAINED)
    butler.collections.redefine_chain("chain", ["none", "cameras/a"])
    ref = butler.find_dataset("camera_geometry", instrument=INSTRUMENT, collections=CAMERA_RUN)
    assert ref is not None
    butler.put(butler.get(ref), "camera_geometry", instrument=INSTRUMENT, run="cameras/a")
    # Without the conventional ones there is the given one only.
    butler.removeRuns([CAMERA_RUN])
    task = DefineVisitsTask(butler=butler)
    with pytest.raises(LookupError):
        task.run(given[:1], collections=["none"])
    assert len(task.plan(given[:1], collections=collections)) == 1
    (definition,) = task.groupExposures.group(stored(butler, "exposure")[:1], None)  # type: ignore[arg-type]
    _, detectors = task.computeVisitRegions.compute(definition, collections=collections)
    assert len(detectors) == N_DETECTORS
    assert task.run(given, collections=(name for name in ["cameras/a"])).n_new == 4


# What is logged


def test_log(butler: Butler, given: list[dict[str, Any]], caplog: pytest.LogCaptureFixture) -> None:
    task = DefineVisitsTask(butler=butler)
    assert task.log.name == "lsst.defineVisits"

    def said(**options: Any) -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="lsst.defineVisits"):
            task.run([*given, *data_ids([77])], on_error="skip", **options)
        return [record.getMessage() for record in caplog.records if record.name == "lsst.defineVisits"]

    failed = f"Failed: Exposure 77: {INSTRUMENT} has no exposure 77."
    assert said() == ["4 visits: 4 new, 0 updated, 0 left as they are.", failed]
    delete_rows(butler, "visit_detector_region", visit=NIGHT[0]["id"], detector=4)
    assert said(check_detector_regions=True) == [
        "4 visits: 0 new, 1 updated, 3 left as they are.",
        "Added detector regions that 1 visit lacked.",
        failed,
    ]
    assert said(prefilter=True) == [
        "0 visits: 0 new, 0 updated, 0 left as they are.",
        "Left out 4 exposures with a visit already.",
        failed,
    ]


# The function behind the command


def test_define_visits(butler: Butler, tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text('config.groupExposures.name = "by-group-metadata"\n')
    result = butler_visits.define_visits(str(root(butler)), str(tmp_path / "config.py"), None, INSTRUMENT)
    assert counts(result) == {"n_visits": 3, "n_new": 3}
    again = butler_visits.defineVisits(
        str(root(butler)), str(tmp_path / "config.py"), "SimCam/calib", INSTRUMENT, where="exposure.seq_num < 3"
    )
    assert counts(again) == {"n_visits": 2, "n_skipped": 2}
    assert {visit.name for visit in stored(butler, "visit")} == {one["group"] for one in NIGHT}


SAVED = """import lsst.obs.base.defineVisits
assert type(config) is lsst.obs.base.defineVisits.DefineVisitsConfig, f"config is of type \
{type(config).__module__}.{type(config).__name__} instead of lsst.obs.base.defineVisits.DefineVisitsConfig"

import lsst.obs.base
# Parameters for the raw-wcs algorithm.
config.groupExposures['one-to-one'].visitSystemId=0
config.groupExposures['by-group-metadata'].visitSystemName='by-group-metadata'
config.groupExposures.name='by-group-metadata'
config.computeVisitRegions['single-raw-wcs'].padding=100
config.computeVisitRegions.name='single-raw-wcs'
config.ignoreNonScienceExposures=True
""".replace("\\\n", "")


def test_config_that_the_original_saved(butler: Butler, tmp_path: Path) -> None:
    file = tmp_path / "saved.py"
    file.write_text(SAVED)
    modules = set(sys.modules)
    config = make_config(butler, INSTRUMENT, str(file))
    assert config.groupExposures.name == "by-group-metadata"
    assert config.computeVisitRegions["single-raw-wcs"].padding == 100
    assert not {name for name in set(sys.modules) - modules if name.startswith("lsst.obs")}
    # What else a file says is taken at its word.
    file.write_text(SAVED + "import lsst.meas.nothing\n")
    with pytest.raises(ConfigError, match=r"saved\.py: ModuleNotFoundError: .*lsst\.meas"):
        make_config(butler, INSTRUMENT, str(file))


def test_config_that_was_saved_here(butler: Butler, tmp_path: Path) -> None:
    config = DefineVisitsConfig()
    config.groupExposures.name = "by-group-metadata"
    config.save(str(tmp_path / "own.py"))
    assert make_config(butler, INSTRUMENT, str(tmp_path / "own.py")) == config


def test_summary_is_printed_and_in_the_log_file(butler: Butler, tmp_path: Path) -> None:
    """On the terminal it stands once."""
    file = tmp_path / "log.txt"
    done = run_program("butler-visits", "--log-file", file, "define-visits", root(butler), INSTRUMENT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("4 visits: 4 new") == 1
    assert "4 visits" not in done.stderr
    assert "4 visits: 4 new, 0 updated, 0 left as they are." in file.read_text()


# Threads


def test_two_tasks_in_two_threads(make_survey: Callable[..., Butler]) -> None:
    butlers = [make_survey(), make_survey(), make_survey()]
    for butler in butlers:
        add_exposures(butler, NIGHT)
    given = data_ids(one["id"] for one in NIGHT)
    make_task(butlers[2], "by-group-metadata").run(given)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda butler: make_task(butler, "by-group-metadata").run(given), butlers[:2]))
    assert [result.n_new for result in results] == [3, 3]
    assert tables(butlers[0]) == tables(butlers[1]) == tables(butlers[2])


def test_reading_headers_changes_nothing_of_the_process(tmp_path: Path) -> None:
    """Filters, log levels and the table of translators are all threads'."""
    fits.PrimaryHDU(np.zeros((4, 4)), fits.Header(HEADER)).writeto(tmp_path / "a.fits")
    description = InstrumentDescription.from_mapping(DESCRIPTION, "description")
    seen: list[Any] = []
    done = threading.Event()

    def state() -> tuple[Any, ...]:
        return list(warnings.filters), log.level, dict(MetadataTranslator.translators)

    def watch() -> None:
        while not done.is_set():
            seen.append(state())
            time.sleep(0)

    before = state()
    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(5):
        translator = make_translator(description)
        assert make_translator(description) is translator
        ObservationInfo(dict(HEADER), translator_class=translator, quiet=True)
        (file,) = read_raw_files([str(tmp_path / "a.fits")])
        assert isinstance(file, RawFile)
        RawWcs(find_detector(file, 0, None, alone=True))
    done.set()
    watcher.join()
    assert len(seen) > 5
    assert all(one == before for one in [*seen, state()])


HEADER = {
    "INSTRUME": "MyCam",
    "FILTER": "V",
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRPIX1": 2.5,
    "CRPIX2": 2.5,
    "CRVAL1": 150.0,
    "CRVAL2": 2.0,
    "CD1_1": -1e-4,
    "CD2_2": 1e-4,
    "DATE-OBS": "06/05/98",
}

DESCRIPTION = {
    "name": "MyCam",
    "recognise": {"INSTRUME": "MyCam"},
    "filters": [{"name": "V", "band": "V"}],
    "detectors": [{"id": 0, "name": "CCD"}],
    "properties": {"physical_filter": "FILTER"},
}
