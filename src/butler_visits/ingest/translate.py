"""Understand the headers of raw files: which exposure and which detectors of which instrument."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from astro_metadata_translator import MetadataTranslator, ObservationInfo
from astropy.coordinates import EarthLocation
from astropy.coordinates.sites import SiteRegistry

from ..errors import HeaderError, IngestError
from ..instruments import last_detector
from ..raws import RawFile, find_translator

_LOG = logging.getLogger(__name__)

PROPERTIES = (
    "instrument",
    "exposure_id",
    "observation_id",
    "visit_id",
    "observing_day",
    "observing_day_offset",
    "observation_counter",
    "group_counter_start",
    "group_counter_end",
    "exposure_group",
    "observation_type",
    "observation_reason",
    "can_see_sky",
    "has_simulated_content",
    "datetime_begin",
    "exposure_time",
    "datetime_end",
    "dark_time",
    "physical_filter",
    "object",
    "science_program",
    "tracking_radec",
    "boresight_rotation_angle",
    "boresight_rotation_coord",
    "altaz_begin",
    "detector_num",
    "detector_unique_name",
    "detector_name",
    "detector_group",
)
"""What exposure and detector records are made of, in the order in which it is printed."""

DETECTOR_PROPERTIES = frozenset(name for name in PROPERTIES if name.startswith("detector_"))
EXPOSURE_PROPERTIES = frozenset(PROPERTIES) - DETECTOR_PROPERTIES - {"instrument"}

REQUIRED = ("exposure_id", "observation_id", "datetime_begin", "observing_day", "physical_filter")
"""Properties without which there is no exposure record, in the order in which they are asked for."""


@dataclass(frozen=True)
class DetectorValues:
    """A detector, as a header names it."""

    id: int
    full_name: str
    name_in_raft: str | None = None
    raft: str | None = None
    purpose: str = "SCIENCE"


@dataclass(frozen=True, eq=False)
class TranslatedFile:
    """What a raw file's headers say."""

    uri: str
    translator: type[MetadataTranslator]
    observation: ObservationInfo
    """The exposure's properties."""

    detectors: tuple[DetectorValues, ...]
    """The detectors that have an image in the file, each once, in the order of their ids."""

    @property
    def exposure_id(self) -> int:
        """The exposure's id."""
        return int(self.observation.exposure_id or 0)


def translate_file(
    file: RawFile,
    translator: type[MetadataTranslator] | None = None,
    described: Sequence[type[MetadataTranslator]] = (),
) -> TranslatedFile:
    """Understand a raw file; `IngestError` if no translator knows it, or its headers lack what an exposure needs.

    ``described``: the translators among which to look first if none is given.
    """
    images = list(file.images)
    if not images:
        raise IngestError(f"{file.uri}: there is no image in it; expected a raw image with two axes in some HDU.")
    header = file.merged_header(images[0])
    if translator is None:
        translator = _find_translator(file, header, described)
    else:
        check_recognised(file, translator)
    if len(images) == 1:
        detector, observation = _detector(file, header, translator, EXPOSURE_PROPERTIES | DETECTOR_PROPERTIES)
        detectors = {detector.id: detector} if detector is not None else {}
    else:
        # Amplifiers of one detector each tell its number; images that tell none are no detector's.
        detectors = {}
        first = None
        for index in images:
            detector, _ = _detector(file, file.merged_header(index), translator, DETECTOR_PROPERTIES)
            if detector is not None and detector.id not in detectors:
                detectors[detector.id] = detector
                first = index if first is None else first
        header = file.merged_header(images[0] if first is None else first)
        observation = _translate(file, header, translator, EXPOSURE_PROPERTIES)
    # An exposure time that a description does not ask for may be missing, unless it is only that it cannot be read.
    is_damaged = bool(file.problems) and not hasattr(translator, "description")
    for name in (*REQUIRED, *(["exposure_time"] if is_damaged else [])):
        if lacks(observation, name):
            raise IngestError(_missing(file, translator, header, name))
    if not detectors:
        raise IngestError(_missing(file, translator, header, "detector_num"))
    limit = last_detector(translator.name or "")
    taken = [detectors[number] for number in sorted(detectors) if limit is None or number <= limit]
    if not taken:
        raise IngestError(
            f"{file.uri}: detector {min(detectors)} is none of {translator.name}'s imaging detectors, which end with "
            f"{limit}; leave the file out."
        )
    return TranslatedFile(file.uri, translator, observation, tuple(taken))


def check_recognised(file: RawFile, translator: type[MetadataTranslator]) -> None:
    """Raise `IngestError` if no image's header has what a description says of the instrument's files."""
    description = getattr(translator, "description", None)
    headers = [file.merged_header(index) for index in file.images]
    if description is None or any(translator.can_translate(header) for header in headers):
        return
    expected = ", ".join(f"{key}={' or '.join(map(repr, values))}" for key, values in description.recognise.items())
    found = "; ".join([", ".join(f"{key}={headers[0].get(key)!r}" for key in description.recognise), *file.problems])
    raise IngestError(
        f"{file.uri} is not from {description.name}: expected {expected}, and the header has {found}. Leave it out, or "
        "correct recognise in the description."
    )


@cache
def find_sites() -> None:
    """Let translators ask astropy for observatories without the network, which is an error that they do not expect.

    They have coordinates of their own for one that it does not know. Where there is no network astropy has no list, and
    gets one of one observatory, once and for good: other threads must not find it gone.
    """
    try:
        EarthLocation.get_site_names()
    except OSError:
        EarthLocation._site_registry = SiteRegistry.from_json(
            {
                "greenwich": {
                    "name": "Greenwich",
                    "longitude": 0.0,
                    "longitude_unit": "degree",
                    "latitude": 51.4778,
                    "latitude_unit": "degree",
                    "elevation": 46.0,
                    "elevation_unit": "meter",
                    "aliases": [],
                }
            }
        )


def _find_translator(
    file: RawFile, header: MutableMapping[str, Any], described: Sequence[type[MetadataTranslator]]
) -> type[MetadataTranslator]:
    # Of several descriptions of one instrument astro_metadata_translator knows the last one only.
    for one in described:
        with contextlib.suppress(Exception):
            if one.can_translate(header, filename=file.uri):
                return one
    try:
        return find_translator(header, file.uri)
    except Exception as error:
        # A translator may stumble over a header of another telescope in any way.
        reason = "" if isinstance(error, ValueError) else f" ({type(error).__name__}: {error})"
        shown = ", ".join(f"{key}={header[key]!r}" for key in ("TELESCOP", "INSTRUME") if key in header)
        shown = "; ".join([shown or "no TELESCOP, no INSTRUME", *file.problems])
        raise IngestError(
            f"{file.uri}: no translator knows this telescope ({shown}){reason}; describe "
            "it in a YAML file, and name that with --instrument, or the module of its translator with --translator."
        ) from error


def _detector(
    file: RawFile, header: MutableMapping[str, Any], translator: type[MetadataTranslator], properties: frozenset[str]
) -> tuple[DetectorValues | None, ObservationInfo]:
    """Return which detector an image shows, if it shows one, and all that was translated."""
    info = _translate(file, header, translator, properties)
    return detector_values(info, translator), info


def detector_values(info: ObservationInfo, translator: type[MetadataTranslator]) -> DetectorValues | None:
    """Return the detector that a translated header names, if it names one."""
    number = info.detector_num
    if not isinstance(number, int):
        return None
    description = getattr(translator, "description", None)
    for described in () if description is None else description.detectors:
        if described.id == number:
            return DetectorValues(number, described.name, described.name_in_raft, described.raft, described.purpose)
    name = str(info.detector_unique_name or info.detector_name or number)
    raft = info.detector_group
    return DetectorValues(number, name, info.detector_name, None if raft is None else str(raft))


def _translate(
    file: RawFile, header: MutableMapping[str, Any], translator: type[MetadataTranslator], properties: frozenset[str]
) -> ObservationInfo:
    # A description says what the header must have. Images that show no detector are left out all the same.
    pedantic = hasattr(translator, "description") and properties >= EXPOSURE_PROPERTIES
    try:
        return ObservationInfo(
            header, translator_class=translator, pedantic=pedantic, subset=set(properties), quiet=True
        )
    except Exception as error:
        if mistakes := _mistakes(file, header, translator, properties) if pedantic else []:
            refused = IngestError(f"{file.uri}: {' '.join(map(str, mistakes))}")
            refused.mistakes = mistakes
            raise refused from error
        # What a translator does not expect may fail in any way, and one file's must not stop the others.
        cause = error.__cause__ or error
        raise IngestError(
            f"{file.uri}: translator {translator.name} fails on the header ({type(cause).__name__}: {cause})."
        ) from error


def _mistakes(
    file: RawFile, header: MutableMapping[str, Any], translator: type[MetadataTranslator], properties: frozenset[str]
) -> list[HeaderError]:
    """List all that a header lacks for its description; ObservationInfo stops at any of it."""
    found: dict[str, HeaderError] = {}
    for name in sorted(properties):
        try:
            getattr(translator(header, filename=file.uri), f"to_{name}")()
        except HeaderError as error:
            found.setdefault(str(error), error)
        except Exception:
            continue
    return list(found.values())


def lacks(info: ObservationInfo, name: str) -> bool:
    """Tell whether a property has no value; blanks are none."""
    value = getattr(info, name)
    return value is None or (isinstance(value, str) and not value.strip())


def _missing(file: RawFile, translator: type[MetadataTranslator], header: MutableMapping[str, Any], name: str) -> str:
    """Say why a property has no value."""
    try:
        getattr(translator(header, filename=file.uri), f"to_{name}")()
        reason = "the header says none"
    except Exception as error:
        # The same failure as before, which was passed over because the property might not have been needed.
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    reason = "; ".join([reason, *file.problems])
    return f"{file.uri}: translator {translator.name} finds no {name} in the header ({reason}), which must be there."
