"""Described instruments in a repository: registered, and known to a new process."""

from __future__ import annotations

import copy
import math
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from astro_metadata_translator import MetadataTranslator
from astropy.table import Table
from lsst.daf.butler import Butler, DataCoordinate
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.pipe.base import Instrument, ObservationDimensionPacker
from lsst.utils import doImportType

from butler_visits import DefineVisitsConfig, DefineVisitsTask, DefinitionError, ingest_table
from butler_visits.errors import DescriptionError
from butler_visits.ingest.translate import translate_file
from butler_visits.instruments import described, import_instrument_class, known_instrument, last_detector
from butler_visits.instruments.described import described_class, instrument_record
from butler_visits.instruments.description import InstrumentDescription, read_description
from butler_visits.instruments.translator import make_translator
from butler_visits.raws import RawFile, find_detector, read_raw_files
from butler_visits.repository import resolve_instrument
from butler_visits.repository.instruments import register, register_instrument, stored_description
from butler_visits.repository.write_camera import write_camera
from command_line import define_visits, run_program, run_python
from example_raws import EXAMPLES, describe, write_quadcam
from simulated_survey import insert_exposures
from templates import make_repository
from visit_tables import exposure, root

HILLCAM = EXAMPLES / "hillcam.yaml"
QUADCAM = EXAMPLES / "quadcam.yaml"

GROUP = "2026-04-01T23:59:07.000"


def on_quadcam(number: int, **changes: Any) -> dict[str, Any]:
    return exposure(number, physical_filter="g_quad", instrument="QuadCam", **changes)


def records(butler: Butler, element: str) -> list[dict[str, Any]]:
    with butler.query() as query:
        return [record.toDict() for record in query.dimension_records(element)]


def changed(description: InstrumentDescription, **changes: Any) -> InstrumentDescription:
    content = copy.deepcopy(description.stored_content()) | {"camera": description.camera} | changes
    return InstrumentDescription.from_mapping(content, "changed.yaml")


@pytest.mark.parametrize("universe", [*range(9)])
def test_registered_in_every_universe(tmp_path: Path, universe: int) -> None:
    butler = make_repository(tmp_path / "repo", universe=universe)
    description = read_description(QUADCAM)
    for _ in range(2):
        register_instrument(butler, description)
    (instrument,) = records(butler, "instrument")
    assert instrument["name"] == "QuadCam"
    # Its groups are named by night and block, and some by their time.
    assert instrument["exposure_max"] == 10**15
    assert instrument["visit_max"] > 20991231235959999
    assert [(one["id"], one["full_name"], one["purpose"]) for one in records(butler, "detector")] == [
        (0, "NW", "SCIENCE"),
        (1, "NE", "SCIENCE"),
        (2, "SW", "SCIENCE"),
        (3, "SE", "SCIENCE"),
    ]
    assert {one["name"]: one["band"] for one in records(butler, "physical_filter")} == {
        "g_quad": "g",
        "r_quad": "r",
        "i_quad": "i",
        "closed": "none",
    }
    (ref,) = butler.query_datasets("camera_geometry", "*", find_first=False)
    assert butler.get(ref) == description.camera_content
    stored = stored_description(butler, "QuadCam")
    assert stored is not None
    assert stored.stored_content() == description.stored_content()
    assert isinstance(Instrument.from_string("QuadCam", butler.registry), Instrument)


def test_filters_and_detectors_are_added(tmp_path: Path) -> None:
    butler = make_repository(tmp_path / "repo")
    description = read_description(HILLCAM)
    register_instrument(butler, description)
    filters = [*description.stored_content()["filters"], {"name": "H-alpha", "band": "Ha"}]
    detectors = [{"id": 0, "name": "CCD"}, {"id": 1, "name": "guider", "purpose": "GUIDER"}]
    properties = description.stored_content()["properties"] | {"detector_num": {"key": "CCD", "default": 0}}
    more = changed(
        description, filters=filters, detectors=detectors, properties=properties, grouping="by-group-metadata"
    )
    register_instrument(butler, more)
    assert len(records(butler, "physical_filter")) == 6
    assert [one["purpose"] for one in records(butler, "detector")] == ["SCIENCE", "GUIDER"]
    stored = stored_description(butler, "HillCam")
    assert stored is not None
    assert stored.grouping == "by-group-metadata"
    # An older description is the current one again.
    register_instrument(butler, description)
    stored = stored_description(butler, "HillCam")
    assert stored is not None
    assert stored.grouping == "one-to-one"
    assert len(records(butler, "physical_filter")) == 6


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"filters": [{"name": "V", "band": "v"}]}, "Filter V of MyCam is registered with band 'V', not 'v'"),
        ({"detectors": [{"id": 0, "name": "E2V"}]}, "Detector 0 of MyCam is registered with full_name 'CCD', not"),
        ({"detectors": [{"id": 0, "name": "CCD", "purpose": "FOCUS"}]}, "purpose 'SCIENCE', not 'FOCUS'"),
        ({"exposure_max": 10**9}, "Instrument MyCam is registered with visit_max 1000000000000000, not 1000000000"),
    ],
)  # fmt: skip
def test_conflicts(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    butler = make_repository(tmp_path / "repo")
    register_instrument(butler, describe())
    before = {element: records(butler, element) for element in ("instrument", "detector", "physical_filter")}
    with pytest.raises(ConflictingDefinitionError) as error:
        register_instrument(butler, describe(**changes))
    assert said in str(error.value)
    assert before == {element: records(butler, element) for element in before}
    register_instrument(butler, describe(**changes), update=True)
    register_instrument(butler, describe(**changes))


GROUPINGS = {
    "one-to-one": 10**15 - 1,
    "one-to-one-and-by-counter": int(f"9{10**15 - 1}"),
    "by-group-metadata": 20991231235959999,
}
"""By grouping the largest id of a visit."""


@pytest.mark.parametrize("grouping", GROUPINGS)
@pytest.mark.parametrize("n_detectors", [1, 9, 205, 430])
def test_limits_of_ids(tmp_path: Path, grouping: str, n_detectors: int) -> None:
    """Visits have ids below `visit_max`, and packers, which multiply it with `detector_max`, have 63 bits."""
    butler = make_repository(tmp_path / "repo")
    detectors = [{"id": number, "name": str(number)} for number in range(n_detectors)]
    description = describe(detectors=detectors, grouping=grouping, properties={"detector_num": "CCD"})
    register_instrument(butler, description)
    (instrument,) = records(butler, "instrument")
    assert instrument["visit_max"] > GROUPINGS[grouping]
    assert instrument["detector_max"] >= n_detectors
    assert instrument["visit_max"] * instrument["detector_max"] < 2**63
    # As pipelines do.
    data_id = butler.registry.expandDataId(instrument="MyCam")
    packer = ObservationDimensionPacker(data_id, is_exposure=False)
    assert packer.maxBits <= 63
    largest = DataCoordinate.standardize(
        instrument="MyCam", visit=GROUPINGS[grouping], detector=n_detectors - 1, universe=butler.dimensions
    )
    packed = packer.pack(largest)
    assert isinstance(packed, int)
    assert packer.unpack(packed) == largest


def test_limits_of_undescribed_instruments(tmp_path: Path) -> None:
    butler = make_repository(tmp_path / "repo")
    table = Table({"exposure_id": [1], "mjd": [61131.9], "filter": ["g"]})
    ingest_table(butler, table, "NewCam")
    (instrument,) = records(butler, "instrument")
    assert instrument["visit_max"] > max(GROUPINGS.values())
    assert instrument["visit_max"] * instrument["detector_max"] < 2**63
    assert instrument["detector_max"] >= 205


@pytest.mark.parametrize("grouping", GROUPINGS)
@pytest.mark.parametrize(("given", "stored"), [({}, 10**15), ({"exposure_max": 10**9}, 10**9)])
def test_registered_limits_are_kept(tmp_path: Path, grouping: str, given: dict[str, int], stored: int) -> None:
    """What an older version has registered is no conflict, and stays."""
    butler = make_repository(tmp_path / "repo")
    record = instrument_record("MyCam", "butler_visits.instruments.described.MyCam")
    register(butler, {**record, "visit_max": stored, "exposure_max": stored, "detector_max": 1000})
    before = records(butler, "instrument")
    for update in (False, True):
        register_instrument(butler, describe(grouping=grouping, **given), update=update)
        Instrument.from_string("MyCam", butler.registry).register(butler.registry, update=update)
        assert records(butler, "instrument") == before


def test_limits_that_cannot_be(tmp_path: Path) -> None:
    butler = make_repository(tmp_path / "repo")
    description = describe(grouping="by-group-metadata", detector_max=1000)
    with pytest.raises(DescriptionError, match=r"below 21000000000000000 .* below 1000, into 63 bits, .* lower"):
        register_instrument(butler, description)
    assert not records(butler, "instrument")


def test_names_that_old_repositories_do_not_take(tmp_path: Path) -> None:
    butler = make_repository(tmp_path / "repo", universe=0)
    with pytest.raises(DescriptionError, match=r"'MyVeryLongCamera17' .* has 18 characters; this repository takes 16"):
        register_instrument(butler, describe(name="MyVeryLongCamera17"))
    assert not records(butler, "instrument")


def test_fields_met_one_by_one(tmp_path: Path) -> None:
    """What is not known yet is filled in, and what is not given is left alone."""
    butler = make_repository(tmp_path / "repo")
    record = instrument_record("DECam", "lsst.obs.decam.DarkEnergyCamera")
    register(butler, record, detectors=[{"id": 1, "full_name": "S29"}], filters=[{"name": "g", "band": "g"}])
    register(butler, record, detectors=[{"id": 1, "full_name": "S29", "raft": "S", "purpose": None}])
    register(butler, record, detectors=[{"id": 1, "full_name": "S29"}, {"id": 2, "full_name": "S30"}])
    assert [(one["full_name"], one["raft"]) for one in records(butler, "detector")] == [("S29", "S"), ("S30", None)]
    with pytest.raises(ConflictingDefinitionError, match="raft 'S', not 'N'"):
        register(butler, record, detectors=[{"id": 1, "full_name": "S29", "raft": "N"}])


@pytest.mark.parametrize("name", ["MyCam", "LSSTCam-imSim", "a_b", "described"])
def test_class(tmp_path: Path, name: str) -> None:
    butler = make_repository(tmp_path / "repo")
    register_instrument(butler, describe(name=name, recognise={"CAM": name}))
    (record,) = records(butler, "instrument")
    cls = doImportType(record["class_name"])
    assert cls is doImportType(record["class_name"])
    assert issubclass(cls, Instrument)
    assert cls.getName() == name
    instrument = Instrument.from_string(name, butler.registry)
    assert type(instrument) is cls
    assert instrument.makeDefaultRawIngestRunName() == f"{name}/raw/all"
    formatter = instrument.getRawFormatter({})
    assert doImportType(f"{formatter.__module__}.{formatter.__qualname__}") is formatter
    # Registering by the class, as `butler register-instrument` does, finds the same record.
    instrument.register(butler.registry)
    other = make_repository(tmp_path / "other")
    cls().register(other.registry)
    assert records(other, "instrument") == [record]


def test_names_that_are_no_instruments() -> None:
    for name in ("__path__", "_private", "__wrapped__", "", "3com", "é", "two words", "a.b", "x\n", "x" * 33):
        assert not hasattr(described, name)


def test_new_process(tmp_path: Path) -> None:
    """The standard commands, and Python, know the instrument from the repository alone."""
    butler = make_repository(tmp_path / "repo")
    register_instrument(butler, read_description(QUADCAM))
    insert_exposures(butler, [on_quadcam(number, group=GROUP) for number in (1, 2)])
    repo = root(butler)

    code = (
        "import sys; from lsst.daf.butler import Butler; from lsst.pipe.base import Instrument; "
        "print(Instrument.from_string('QuadCam', Butler.from_config(sys.argv[1]).registry).getName())"
    )
    done = run_python(code, repo)
    assert done.stdout.strip() == "QuadCam", done.stderr
    shown = run_program("butler", "query-dimension-records", repo, "instrument")
    assert shown.returncode == 0, shown.stderr
    assert "QuadCam" in shown.stdout
    defined = run_program("butler", "define-visits", repo, "QuadCam")
    assert defined.returncode == 0, defined.stderr
    # Both exposures of the group are one visit: the description says so.
    assert defined.stdout.startswith("1 visit: 1 new")
    (visit,) = records(butler, "visit")
    assert visit["name"] == GROUP


def test_grouping_and_the_config_file(tmp_path: Path) -> None:
    """A config file goes before the description, and that before the defaults."""
    config = tmp_path / "config.py"
    config.write_text('config.groupExposures.name = "one-to-one"\n')
    for number, (options, names) in enumerate([((), [GROUP]), (("-C", config), None)]):
        butler = make_repository(tmp_path / f"repo{number}")
        register_instrument(butler, read_description(QUADCAM))
        snaps = [on_quadcam(n, group=GROUP) for n in (1, 2)]
        insert_exposures(butler, snaps)
        result = define_visits(root(butler), "QuadCam", *options)
        assert result.exit_code == 0, result.output
        expected = names or [snap["obs_id"] for snap in snaps]
        assert [visit["name"] for visit in records(butler, "visit")] == expected


@pytest.mark.parametrize("flipped", [False, True])
def test_parity(tmp_path: Path, flipped: bool) -> None:
    """With north up, the chips of the camera's positive x are in the west, and in the east if raws are flipped."""
    butler = make_repository(tmp_path / "repo")
    description = changed(read_description(QUADCAM), raws_flipped=flipped)
    register_instrument(butler, description)
    insert_exposures(
        butler,
        [on_quadcam(1, tracking_ra=150.0, tracking_dec=0.0, sky_angle=0.0)],
    )
    assert define_visits(root(butler), "QuadCam").exit_code == 0
    centres = {one["detector"]: one["region"].getCentroid() for one in records(butler, "visit_detector_region")}
    east, north = {}, {}
    for detector, centre in centres.items():
        x, y, z = centre
        east[detector] = math.degrees(math.atan2(y, x)) % 360 - 150
        north[detector] = math.degrees(math.asin(z))
    assert (east[1] > 0) == (east[3] > 0) == flipped
    assert (east[0] < 0) == (east[2] < 0) == flipped
    assert north[0] > 0 > north[2]


def test_other_camera_says_its_own_parity(tmp_path: Path) -> None:
    """A camera that is stored later needs no setting of the instrument to be taken as it is."""
    butler = make_repository(tmp_path / "repo")
    description = read_description(QUADCAM)
    assert description.camera is not None
    register_instrument(butler, changed(description, camera=None, raws_flipped=None))
    insert_exposures(butler, [on_quadcam(1)])
    config = DefineVisitsConfig()
    (exposure_record,) = butler.query_dimension_records("exposure")
    task = DefineVisitsTask(config, butler=butler)
    with pytest.raises(LookupError):
        task.run([exposure_record])
    write_camera(butler, "QuadCam", {**description.camera, "focalPlaneParity": True})
    assert DefineVisitsTask(config, butler=butler).run([exposure_record]).n_new == 1


def test_detector_missing_from_the_description(tmp_path: Path) -> None:
    butler = make_repository(tmp_path / "repo")
    description = read_description(HILLCAM)
    register_instrument(butler, changed(description, camera=None))
    quad = read_description(QUADCAM).camera
    assert quad is not None
    write_camera(butler, "HillCam", quad)
    insert_exposures(butler, [exposure(1, physical_filter="Luminance", instrument="HillCam")])
    with pytest.raises(DefinitionError, match="3 detectors that are not registered"):
        DefineVisitsTask(DefineVisitsConfig(), butler=butler).run(list(butler.query_dimension_records("exposure")))


def test_known_instruments() -> None:
    for name in ("DECam", "HSC", "MegaPrime", "SDSS", "SuprimeCam"):
        known = known_instrument(MetadataTranslator.translators[name])
        assert known == (name, f"butler_visits.instruments.described.{name}")
        instrument_class = doImportType(known.class_name)
        assert issubclass(instrument_class, Instrument) and instrument_class.getName() == name
    with pytest.raises(ValueError, match="not one instrument's"):
        known_instrument(MetadataTranslator)  # type: ignore[type-abstract]
    assert last_detector("DECam") == 62
    assert last_detector("HSC") is None


def test_class_of_rubin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package of an instrument is installed, its class is the instrument's, by either name."""
    butler = make_repository(tmp_path / "repo")
    register(butler, instrument_record("DECam", "butler_visits.instruments.described.DECam"))
    assert resolve_instrument(butler, "lsst.obs.decam.DarkEnergyCamera") == "DECam"
    assert type(Instrument.from_string("DECam", butler.registry)).__module__ == "butler_visits.instruments.described"
    package = ModuleType("lsst.obs.decam")
    dark_energy_camera = type("DarkEnergyCamera", (described_class("DECam"),), {})
    vars(package)["DarkEnergyCamera"] = dark_energy_camera
    for name in ("lsst.obs", "lsst.obs.decam"):
        monkeypatch.setitem(sys.modules, name, package)
    monkeypatch.setattr("lsst.obs", package, raising=False)
    import_instrument_class.cache_clear()
    try:
        assert type(Instrument.from_string("DECam", butler.registry)) is dark_energy_camera
    finally:
        import_instrument_class.cache_clear()


def test_hdu_of_a_detector(tmp_path: Path) -> None:
    """QuadCam's headers count chips from 1 and the camera from 0: the description knows that."""
    description = read_description(QUADCAM)
    translator = make_translator(description)
    (file,) = read_raw_files([write_quadcam(tmp_path / "q.fits", wcs=True)])
    assert isinstance(file, RawFile)
    assert [one.id for one in translate_file(file, translator).detectors] == [0, 1, 2, 3]
    file = replace(file, described=translator)
    for detector in description.detectors:
        assert find_detector(file, detector.id, detector.name).header["CHIP"] == detector.id + 1
