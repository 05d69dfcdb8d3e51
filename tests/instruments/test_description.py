"""Instrument descriptions: what is read from a file, and what is said about mistakes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from butler_visits import CameraFileError
from butler_visits.errors import DescriptionError
from butler_visits.ingest.choice import read_if_description
from butler_visits.instruments.description import InstrumentDescription, read_description
from butler_visits.instruments.sources import Properties
from example_raws import EXAMPLES, SMALLEST, describe
from simulated_survey import camera


def mistakes(**changes: Any) -> str:
    with pytest.raises(DescriptionError) as error:
        describe(**changes)
    lines = str(error.value).splitlines()
    assert all(line.startswith("my.yaml: ") and line.endswith(".") for line in lines)
    return "\n".join(line.removeprefix("my.yaml: ") for line in lines)


@pytest.mark.parametrize("name", ["hillcam", "quadcam"])
def test_examples(name: str) -> None:
    description = read_description(EXAMPLES / f"{name}.yaml")
    assert description.name.casefold() == name
    content = description.stored_content()
    assert "camera" not in content
    # What a repository keeps makes the same description again.
    assert InstrumentDescription.from_mapping(yaml.safe_load(yaml.safe_dump(content)), "x").stored_content() == content


def test_defaults() -> None:
    description = describe()
    assert description.grouping == "one-to-one"
    assert description.camera_content is None
    assert description.raws_flipped is None
    assert description.properties == Properties()
    with pytest.raises(Exception, match="frozen"):
        description.name = "Other"


def test_detectors_of_the_camera() -> None:
    content = camera(rafts=1)
    content["CCDs"]["R22_S00"]["detectorType"] = 2
    description = describe(detectors=None, camera=content, properties={"detector_name": "EXTNAME"})
    assert [detector.id for detector in description.detectors] == list(range(9))
    assert {detector.name: detector.purpose for detector in description.detectors}["R22_S00"] == "GUIDER"
    assert {detector.purpose for detector in description.detectors} == {"GUIDER", "SCIENCE"}


@pytest.mark.parametrize("parity", [None, False, True])
def test_raws_flipped_is_in_the_camera(parity: bool | None) -> None:
    content = camera(rafts=1) if parity is None else {**camera(rafts=1), "focalPlaneParity": parity}
    flipped = describe(detectors=None, camera=content, raws_flipped=True, properties={"detector_num": "CCD"})
    assert flipped.camera_content is not None
    assert flipped.camera_content["focalPlaneParity"] is True
    unsaid = describe(detectors=None, camera=content, properties={"detector_num": "CCD"})
    assert unsaid.camera_content == content
    if parity:
        text = mistakes(detectors=None, camera=content, raws_flipped=False, properties={"detector_num": "CCD"})
        assert "raws_flipped is false, and the camera is mirrored" in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": None}, "name is missing"),
        ({"name": "1cam"}, "name must begin with a letter and have letters, digits, - and _ only, not '1cam'"),
        ({"name": "My.Cam"}, "name must begin with a letter"),
        ({"name": "x" * 33}, "name must have at most 32 characters"),
        ({"name": 5}, "name must be a text, not 5; put it in quotes"),
        ({"telescop": "X"}, "telescop is not known; 'telescop' must be one of name, recognise, filters, detectors"),
        ({"recognise": {}}, "recognise is empty"),
        ({"recognise": "INSTRUME"}, "recognise must be a mapping"),
        ({"filters": [{"name": "V"}]}, "filters.0.band is missing"),
        ({"filters": [{"name": "V", "band": "V", "wave": 1}]}, "filters.0.wave is not known; 'wave' must be one of"),
        ({"filters": [{"name": "V", "band": "V"}] * 2}, "filters 2 of them have the name 'V'"),
        ({"detectors": [{"id": 0, "name": "a"}, {"id": 0, "name": "b"}]}, "detectors 2 of them have the id 0"),
        ({"detectors": [{"id": 0, "name": "a"}, {"id": 1, "name": "a"}]}, "detectors 2 of them have the name 'a'"),
        ({"detectors": [{"id": -1, "name": "a"}]}, "detectors.0.id must be greater than or equal to 0"),
        ({"detectors": [{"id": 0, "name": "a", "purpose": "X"}]}, "purpose must be 'SCIENCE', 'WAVEFRONT',"),
        ({"detectors": [{"id": 1000, "name": "a"}]}, "detector id 1000 must be below detector_max, which is 1000"),
        ({"detectors": None}, "has neither detectors nor a camera"),
        ({"detectors": {"id": 0}}, "detectors must be a list"),
        ({"detectors": [{"id": i, "name": f"{i}"} for i in (0, 1)]}, "give properties.detector_num or"),
        ({"camera": {"CCDs": {"CCD": {"id": 0}}}}, "camera has a mistake: detector CCD lacks the field bbox"),
        ({"camera": camera(rafts=1)}, "the camera has a detector 0 'R22_S00', which is 'CCD' in detectors"),
        ({"location": {"longitude": 0, "latitude": 95}}, "location.latitude must be less than or equal to 90"),
        # For pydantic true is 1.
        ({"location": {"longitude": 0, "latitude": True}}, "location.latitude must be a number, not True"),
        ({"location": {"longitude": 0, "latitude": 0, "height": math.inf}}, "location.height must be a finite number"),
        ({"detectors": [{"id": True, "name": "a"}]}, "detectors.0.id must be a number, not True"),
        ({"day_obs_offset_hours": True}, "day_obs_offset_hours must be a number, not True"),
        ({"exposure_max": True}, "exposure_max must be a number, not True"),
        *(({"raws_flipped": value}, f"boolean, not {value!r}") for value in ("perhaps", "false", "yes", 0, 1)),
    ],
)  # fmt: skip
def test_mistakes(changes: dict[str, Any], said: str) -> None:
    text = mistakes(**changes)
    assert said in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "source", "said"),
    [
        ("exptime", "EXPTIME", "'exptime' must be one of telescope, exposure_id"),
        ("exposure_time", 30, "must be a header key, or a mapping of key, template, value, default, map, rules"),
        ("exposure_time", {}, "must have one of key, template and value, and has none"),
        ("exposure_time", {"key": "A", "value": 1}, "must have one of key, template and value, and has key and value"),
        ("exposure_time", {"key": "A", "unit": "deg"}, "unit is 'deg', which is not a unit of time, such as s"),
        ("exposure_time", {"key": "A", "unit": "fortnigt"}, "not a unit of time"),
        ("exposure_time", {"key": []}, "properties.exposure_time.key is empty"),
        ("boresight_rotation_angle", {"key": "A", "unit": "m"}, "not a unit of angle, such as deg, hourangle or rad"),
        ("datetime_begin", {"key": "A", "scale": "gps"}, "scale must be 'utc', 'tai' or 'tt', not 'gps'"),
        ("datetime_begin", {"key": "A", "format": "iso"}, "format must be 'isot', 'mjd', 'jd' or 'unix', not 'iso'"),
        ("datetime_begin", {"key": "A", "default": None}, "must have a key or a template"),
        ("observation_id", {"template": None}, "must have one of key, template and value, and has none"),
        ("observation_id", {"template": "obs"}, "must have header keys in braces"),
        ("observation_id", {"template": "{A.__class__}"}, "must have header keys in braces"),
        ("observation_id", {"template": "{A"}, "is not a template"),
        ("observation_id", {"template": "{A:>1000000000}"}, "has the format code >1000000000; expected"),
        ("observation_id", {"template": "{A:.{B}f}"}, "has the format code .{B}f; expected one such as 05d"),
        ("tracking_radec", "RA", "properties.tracking_radec must be a mapping of ra, dec, frame, equinox"),
        ("tracking_radec", {"ra": "RA"}, "properties.tracking_radec.dec is missing"),
        ("tracking_radec", {"ra": "RA", "dec": "DEC", "equinox": "EQ"}, "has an equinox, which the frame icrs has not"),
        ("physical_filter", {"key": "F", "map": {"R": "Red"}}, "properties.physical_filter gives 'Red', which is none"),
        ("physical_filter", {"key": "F", "default": "none"}, "properties.physical_filter gives 'none', which is none"),
        ("physical_filter", {"key": "F", "default_off_sky": "none"}, "properties.physical_filter gives 'none', which"),
        ("physical_filter", {"rules": [{"when": {"A": 1}, "value": "x"}]}, "physical_filter gives 'x', which is"),
        ("exposure_time", {"key": "A", "map": {"x": "long"}}, "exposure_time.map.x must be number, unable to parse"),
        ("exposure_time", {"key": "A", "map": {"x": True}}, "exposure_time.map.x must be a number, not True"),
        ("exposure_time", {"key": "A", "map": {"x": math.nan}}, "exposure_time.map.x must be a finite number, not nan"),
        ("exposure_time", {"key": "A", "multiply": True}, "exposure_time.multiply must be a number, not True"),
        ("exposure_time", {"key": "A", "add": math.nan}, "exposure_time.add must be a finite number, not nan"),
        ("exposure_id", {"key": "A", "add": False}, "exposure_id.add must be a number, not False"),
        ("exposure_id", {"key": "A", "map": {"x": 1.5}}, "exposure_id.map.x must be "),
        ("can_see_sky", {"key": "A", "map": {"x": "open"}}, "can_see_sky.map.x must be "),
        ("object", {"key": "A", "map": {"x": 5}}, "object.map.x must be a text, not 5; put it in quotes"),
        ("object", {"key": "A", "map": {"x": "a", "X ": "b"}}, "object.map has the key 'x' more than once"),
        ("object", {"key": "A", "map": {1: "a", "1": "b"}}, "object.map has the key '1' more than once"),
        ("object", {"value": "A", "map": {"A": "B"}}, "has a map, which is for values of the header, and a constant"),
        ("datetime_begin", {"key": "A", "map": {"x": "2026-01-01"}}, "must have a key or a template"),
        ("object", {"rules": [{"value": "x"}]}, "object.rules.0.when is missing"),
        ("object", {"rules": [{"when": {}, "value": "x"}]}, "object.rules.0.when is empty"),
        ("object", {"rules": [{"when": {"A": 1}, "vaule": "x"}]}, "'vaule' must be one of when, value"),
        ("exposure_id", {"template": "{datetime_begin}{FRAME}"}, "has the property datetime_begin, which is neither"),
        ("observation_id", {"template": "{exposure_time}s"}, "has the property exposure_time, which is neither a text"),
    ],
)  # fmt: skip
def test_mistakes_in_properties(name: str, source: Any, said: str) -> None:
    text = mistakes(properties={name: source})
    assert f"properties.{name}" in text
    assert said in text


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({"object": {"template": "{object}"}}, "object needs object;"),
        ({"exposure_id": {"template": "{observation_id}"}}, "needs exposure_id"),
        (
            {"observing_day": {"template": "{exposure_id}"}, "exposure_id": {"template": "{observing_day}{N:04d}"}},
            "needs exposure_id",
        ),
        ({"datetime_begin": {"template": "{observing_day}T{UT}"}}, "needs observing_day"),
        ({"observation_type": {"template": "{physical_filter}"}}, "which needs can_see_sky"),
        ({"detector_name": {"template": "{detector_num}"}}, "needs detector_num"),
        (
            {
                "observation_type": {"template": "{object}"},
                "object": {"template": "{exposure_group}"},
                "exposure_group": {"template": "{observation_type}"},
            },
            "needs exposure_group",
        ),
    ],
)
def test_circles_between_properties(properties: dict[str, Any], said: str) -> None:
    text = mistakes(properties=properties)
    assert "properties go round in a circle: " in text
    assert said in text
    assert len(text.splitlines()) == 1


def test_all_mistakes_at_once() -> None:
    assert len(mistakes(name="1", filters=[], properties={"a": 1, "object": {}}).splitlines()) == 4


def test_unknown_grouping(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(yaml.safe_dump(SMALLEST | {"grouping": "by-night"}))
    known = "by-group-metadata, one-to-one, one-to-one-and-by-counter"
    with pytest.raises(DescriptionError, match=rf"my\.yaml: grouping must be one of {known}.*, not 'by-night'"):
        read_if_description(str(file))


@pytest.mark.parametrize("content", ["", "- 1", "name", "name: [", "\x00"])
def test_no_description(tmp_path: Path, content: str) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(content)
    with pytest.raises(DescriptionError, match=r"my\.yaml"):
        read_description(file)


def test_missing_files(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    with pytest.raises(DescriptionError, match=r"no instrument description .*my\.yaml"):
        read_description(file)
    file.write_text(yaml.safe_dump({**SMALLEST, "camera": "where/cam.yaml"}))
    with pytest.raises(DescriptionError, match=r"no camera .*where/cam\.yaml"):
        read_description(file)
    (tmp_path / "where").mkdir()
    (tmp_path / "where" / "cam.yaml").write_text("CCDs: {}")
    with pytest.raises(CameraFileError, match=r"where/cam\.yaml"):
        read_description(file)


def test_camera_beside_the_description(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The camera's path begins at the description's folder, wherever the process is."""
    (tmp_path / "cameras").mkdir()
    (tmp_path / "cameras" / "cam.yaml").write_text(yaml.safe_dump(camera(rafts=1)))
    content = {**SMALLEST, "camera": "cameras/cam.yaml", "properties": {"detector_num": "CCD"}}
    content.pop("detectors")
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.chdir(tmp_path / "cameras")
    for uri in (tmp_path / "my.yaml", "../my.yaml", (tmp_path / "my.yaml").as_uri()):
        assert read_description(uri).camera == camera(rafts=1)


def test_documentation_names_all_settings() -> None:
    text = (EXAMPLES.parent / "instruments.md").read_text()
    for name in (*InstrumentDescription.model_fields, *Properties.model_fields):
        assert f"`{name}`" in text, name
    example = text.split("```yaml\n")[1].split("```")[0]
    assert InstrumentDescription.from_mapping(yaml.safe_load(example), "docs") == describe()
