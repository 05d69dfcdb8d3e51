"""Instrument descriptions: what a telescope without a translator writes into its headers, and what its camera is."""

from __future__ import annotations

import re
import types
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from lsst.resources import ResourcePath, ResourcePathExpression
from pydantic import BaseModel, Field, StrictBool, StringConstraints, ValidationError, field_validator, model_validator

from ..camera import Camera
from ..camera.yaml_camera import camera_from_mapping, detector_type
from ..errors import CameraFileError, DescriptionError, RawFileError
from ..lists import counted, shown
from ..yaml_files import load_yaml
from .sources import Model, Properties

LONGEST_NAME = 32
"""Characters that repositories take; those with old universes take fewer, and say so."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_NAME, strip_whitespace=True)]
"""A name, of the length that repositories take."""

PACKED = 2**63
"""What the product of ``visit_max`` and ``detector_max`` must be below: pipelines pack both ids into one number."""

_MOST_MISTAKES = 20
"""Mistakes of a description that are listed."""

_LONGEST_TIME = 3 * 10**16
"""What the digits of times to the millisecond are below, until the year 2999."""

_INSTRUMENT_NAME = r"^[A-Za-z][A-Za-z0-9_-]*$"

_PURPOSES = {0: "SCIENCE", 1: "FOCUS", 2: "GUIDER", 3: "WAVEFRONT"}
"""Purpose of a detector by the ``detectorType`` that YAML cameras have."""


class Filter(Model):
    """A physical filter."""

    name: Name
    band: Name


class Detector(Model):
    """A detector."""

    id: int = Field(ge=0)
    name: Name
    raft: Name | None = None
    name_in_raft: Name | None = None
    purpose: Literal["SCIENCE", "WAVEFRONT", "GUIDER", "FOCUS"] = "SCIENCE"


class Location(Model):
    """Where the telescope stands."""

    longitude: float = Field(ge=-180, le=360)
    """Degrees, east positive."""
    latitude: float = Field(ge=-90, le=90)
    """Degrees, north positive."""
    height: float = 0.0
    """Metres."""


class InstrumentDescription(Model):
    """An instrument: its headers, filters, detectors and camera.

    docs/instruments.md describes all fields; `read_description` reads a file.
    """

    name: Annotated[str, StringConstraints(pattern=_INSTRUMENT_NAME, max_length=LONGEST_NAME)]
    """Name of the instrument in data IDs."""
    recognise: dict[str, tuple[str | int | float | bool, ...]] = Field(min_length=1)
    """Header keys and the values, one or several of each, by which its files are known."""
    filters: tuple[Filter, ...] = Field(min_length=1)
    detectors: tuple[Detector, ...] = ()
    """By default those of the camera."""
    camera: dict[str, Any] | None = None
    """Content of a YAML camera; in a file also the path of one."""
    raws_flipped: StrictBool | None = None
    """Whether raw images are mirrored; by default what the camera says."""
    grouping: str = "one-to-one"
    """Algorithm that groups exposures into visits."""
    missing: tuple[str | int | float | bool, ...] = ()
    """Values of the header that stand for none, such as -999; others that usually do, such as N/A, are known."""
    properties: Properties = Properties()
    location: Location | None = None
    """By default what the header says in OBSGEO-X, -Y and -Z."""
    day_obs_offset_hours: float = Field(default=0.0, ge=-24, le=24)
    """An observing day begins so many hours after midnight TAI."""
    exposure_max: int = Field(default=10**15, gt=0)
    """Upper limit of the ids of exposures; that of visits follows from it and the grouping."""
    detector_max: int = Field(default=1000, gt=0)
    """Upper limit of the ids of detectors; lower by default where the ids of visits are long."""

    @field_validator("recognise", mode="before")
    @classmethod
    def _listed(cls, recognise: Any) -> Any:
        if isinstance(recognise, Mapping):
            return {key: value if isinstance(value, (list, tuple)) else (value,) for key, value in recognise.items()}
        return recognise

    @field_validator("filters")
    @classmethod
    def _filters_unique(cls, filters: tuple[Filter, ...]) -> tuple[Filter, ...]:
        _unique("the name", (f.name for f in filters))
        return filters

    @field_validator("detectors")
    @classmethod
    def _detectors_unique(cls, detectors: tuple[Detector, ...]) -> tuple[Detector, ...]:
        _unique("the id", (detector.id for detector in detectors))
        _unique("the name", (detector.name for detector in detectors))
        return detectors

    @field_validator("camera")
    @classmethod
    def _camera_is_one(cls, camera: dict[str, Any] | None) -> dict[str, Any] | None:
        if camera is not None:
            try:
                camera_from_mapping(camera, "the camera").corners()
            except CameraFileError as error:
                raise ValueError(str(error).replace("the camera: ", "has a mistake: ").rstrip(".")) from None
        return camera

    @model_validator(mode="before")
    @classmethod
    def _detectors_of_camera(cls, data: Any) -> Any:
        """Take the detectors from the camera where they are not listed."""
        if not isinstance(data, Mapping) or data.get("detectors") or not isinstance(data.get("camera"), Mapping):
            return data
        ccds = data["camera"].get("CCDs")
        if not isinstance(ccds, Mapping) or not all(isinstance(ccd, Mapping) for ccd in ccds.values()):
            return data
        detectors = [
            {"id": ccd["id"], "name": str(name), "purpose": _PURPOSES.get(detector_type(ccd), "SCIENCE")}
            for name, ccd in ccds.items()
            if "id" in ccd
        ]
        return {**data, "detectors": detectors}

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if not self.detectors:
            raise ValueError("has neither detectors nor a camera; list the detectors, or give the camera that has them")
        if (largest := max(detector.id for detector in self.detectors)) >= self.detector_max:
            raise ValueError(f"detector id {largest} must be below detector_max, which is {self.detector_max}")
        properties = self.properties
        if len(self.detectors) > 1 and properties.detector_num is None and properties.detector_name is None:
            raise ValueError(
                f"has {len(self.detectors)} detectors, and no way to tell them apart; give properties.detector_num or "
                "properties.detector_name a key"
            )
        source = properties.physical_filter
        values = [*(source.map or {}).values(), *(rule.value for rule in source.rules)]
        named = {source.value, source.default, source.default_off_sky, *values} - {None}
        if unknown := sorted(named - {f.name for f in self.filters}, key=str):
            raise ValueError(f"properties.physical_filter gives {unknown[0]!r}, which is none of the filters")
        if self.camera is not None:
            self._check_camera(camera_from_mapping(self.camera, "the camera"))
        return self

    def _check_camera(self, camera: Camera) -> None:
        listed = {detector.id: detector.name for detector in self.detectors}
        for detector_id, name in zip(camera.detector_ids.tolist(), camera.detector_names, strict=True):
            if listed.get(detector_id) != name:
                other = f"{listed[detector_id]!r}" if detector_id in listed else "missing"
                raise ValueError(f"the camera has a detector {detector_id} {name!r}, which is {other} in detectors")
        if self.raws_flipped is False and camera.flipped:
            raise ValueError("raws_flipped is false, and the camera is mirrored; correct one of them")

    def record(self, class_name: str) -> dict[str, Any]:
        """Put the fields of its record together, for an instrument that is not registered yet."""
        given = self.model_fields_set
        fields = instrument_record(
            self.name,
            class_name,
            exposure_max=self.exposure_max,
            detector_max=self.detector_max if "detector_max" in given else None,
            grouping=self.grouping,
        )
        # As few as there are; what pipelines can pack is then left for visits.
        n_detectors = max(fields["detector_max"], 1 + max(detector.id for detector in self.detectors))
        packable = (PACKED - 1) // n_detectors
        if fields["visit_max"] > packable:
            least = _least_visit_max(self.grouping, self.exposure_max)
            if packable < least:
                raise DescriptionError(
                    f"Instrument {self.name}: pipelines pack the ids of visits, below {least} with grouping "
                    f"{self.grouping} and exposure_max {self.exposure_max}, with those of detectors, below "
                    f"{n_detectors}, into 63 bits, which cannot hold them; lower exposure_max or detector_max."
                )
            fields["visit_max"] = packable
        return {**fields, "detector_max": n_detectors}

    @cached_property
    def camera_content(self) -> dict[str, Any] | None:
        """Content of the camera, as mirrored as the raws are; `None` if there is no camera."""
        if self.camera is None or not self.raws_flipped or camera_from_mapping(self.camera, "the camera").flipped:
            return self.camera
        transforms = self.camera["transforms"]
        parity = self.camera.get("focalPlaneParity", transforms.get("focalPlaneParity", False))
        return {**self.camera, "focalPlaneParity": not parity}

    def stored_content(self) -> dict[str, Any]:
        """Return what a repository keeps of it, which is all but the camera.

        Returns
        -------
        content : `dict`
            Content from which the same description is made again.
        """
        content = self.model_dump(mode="json", exclude_unset=True, exclude={"camera"})
        content["detectors"] = [detector.model_dump(mode="json", exclude_unset=True) for detector in self.detectors]
        return content

    @classmethod
    def from_mapping(cls, content: Any, source: str) -> Self:
        """Make a description from the content of a file.

        Parameters
        ----------
        content : `~collections.abc.Mapping`
            The content.
        source : `str`
            Where it is from, for messages.

        Returns
        -------
        description : `InstrumentDescription`
            The description.

        Raises
        ------
        DescriptionError
            If it makes no sense; the message has a line for each mistake.
        """
        if not isinstance(content, Mapping):
            raise DescriptionError(
                f"{source}: an instrument description is a mapping with the keys name, recognise, filters and others; "
                "docs/instruments.md has examples."
            )
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            # A list without its bad entries may be called too short.
            mistakes = [one for one in error.errors() if one["type"] != "too_short" or not one["input"]]
            lines = [f"{source}: {_mistake(one)}" for one in mistakes[:_MOST_MISTAKES]]
            if len(mistakes) > _MOST_MISTAKES:
                lines.append(f"{source}: {counted(len(mistakes) - _MOST_MISTAKES, 'more mistake')}.")
            raise DescriptionError("\n".join(lines)) from None


def read_description(uri: ResourcePathExpression) -> InstrumentDescription:
    """Read an instrument description.

    Parameters
    ----------
    uri : `lsst.resources.ResourcePathExpression`
        A YAML file. The path of a camera in it begins at its folder.

    Returns
    -------
    description : `InstrumentDescription`
        The description.

    Raises
    ------
    DescriptionError
        If it cannot be read or makes no sense.
    CameraFileError
        If that is so of its camera.
    """
    path = ResourcePath(uri, forceAbsolute=False)
    content = _read_yaml(path, "instrument description")
    if isinstance(content, dict) and isinstance(content.get("camera"), str):
        place = ResourcePath(content["camera"], root=ResourcePath(uri).dirname())
        camera = _read_yaml(place, "camera")
        camera_from_mapping(camera, str(place))
        content["camera"] = camera
    return InstrumentDescription.from_mapping(content, str(uri))


def _read_yaml(path: ResourcePath, what: str) -> Any:
    # It takes astropy's FITS along.
    from ..raws.headers import read_file

    name = path.ospath if path.isLocal else str(path)
    try:
        return load_yaml(read_file(path))
    except FileNotFoundError:
        raise DescriptionError(f"There is no {what} {name}.") from None
    except ValueError as error:
        raise DescriptionError(f"{name} is not a YAML file: {error}.") from error
    except (OSError, RawFileError) as error:
        raise DescriptionError(f"The {what} {name} cannot be read: {str(error).rstrip('.')}.") from error


def _unique(what: str, values: Iterable[Any]) -> None:
    for value, count in Counter(values).items():
        if count > 1:
            raise ValueError(f"{count} of them have {what} {shown(value)}; each needs its own")


def _mistake(error: Mapping[str, Any]) -> str:
    """Say where a description is wrong, and what is allowed."""
    place = shown(".".join(str(part) for part in error["loc"]), 200, quotes=False)
    match error["type"]:
        case "missing":
            return f"{place} is missing; it must be given."
        case "too_short":
            return f"{place} is empty; it must have at least one entry."
        case "string_too_long" | "string_too_short":
            limit = f"at most {error['ctx'].get('max_length')}" if "max_length" in error["ctx"] else "at least one"
            return f"{place} must have {limit} characters, not {shown(error['input'])}."
        case "tuple_type":
            return f"{place} must be a list, not {shown(error['input'])}."
        case "dict_type" | "model_type" | "model_attributes_type":
            fields = ", ".join(_fields_at(error["loc"])) or "names to values"
            return f"{place} must be a mapping of {fields}, not {shown(error['input'])}."
        case "extra_forbidden":
            *parent, key = error["loc"]
            return f"{place} is not known; {shown(key)} must be one of {', '.join(_fields_at(parent))}."
        case "value_error":
            return f"{place or 'the description'} {error['ctx']['error']}."
        case "literal_error":
            return f"{place} must be {error['ctx']['expected']}, not {shown(error['input'])}."
        case "string_pattern_mismatch":
            return (
                f"{place} must begin with a letter and have letters, digits, - and _ only, not {shown(error['input'])}."
            )
        case "string_type":
            return f"{place} must be a text, not {shown(error['input'])}; put it in quotes."
    message = error["msg"].removeprefix("Input should be ").removeprefix("a valid ")
    return f"{place} must be {message}, not {shown(error['input'])}."


def _fields_at(place: Iterable[str | int]) -> list[str]:
    """List the keys that are allowed at a place."""
    model: type[BaseModel] | None = InstrumentDescription
    for part in place:
        if model is not None and isinstance(part, str):
            model = _model_in(model.model_fields[part].annotation)
    return [] if model is None else list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Find the model in an annotation such as ``Model | None`` or ``tuple[Model, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (tuple, Union, types.UnionType):
        return next((model for arg in get_args(annotation) if (model := _model_in(arg)) is not None), None)
    return None


def is_instrument_name(name: str) -> bool:
    """Tell whether an instrument can have a name: others find its class by it."""
    return bool(re.fullmatch(_INSTRUMENT_NAME, name)) and len(name) <= LONGEST_NAME


def instrument_record(
    name: str,
    class_name: str,
    *,
    exposure_max: int | None = None,
    detector_max: int | None = None,
    grouping: str = "one-to-one",
) -> dict[str, Any]:
    """Put the fields of a record together, with a limit for visits that a grouping's ids fit into; '' for any."""
    fields = InstrumentDescription.model_fields
    exposure_max = exposure_max or fields["exposure_max"].default
    visit_max = max(_least_visit_max(grouping, exposure_max), _LONGEST_TIME if grouping == "by-group-metadata" else 0)
    return {
        "name": name,
        "class_name": class_name,
        "visit_max": visit_max,
        "exposure_max": exposure_max,
        "detector_max": detector_max or min(fields["detector_max"].default, (PACKED - 1) // visit_max),
    }


def _least_visit_max(grouping: str, exposure_max: int) -> int:
    """Return what the ids of visits must be below at least."""
    # A digit 9 before the exposure's id.
    longer = 10 ** (len(str(exposure_max - 1)) + 1)
    # The digits of a time, as which groups are named, with milliseconds.
    time = max(2100 * 10**13, exposure_max)
    return {"one-to-one": exposure_max, "by-group-metadata": time, "one-to-one-and-by-counter": longer}.get(
        grouping, max(longer, time)
    )
