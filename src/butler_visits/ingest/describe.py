"""Say what is understood from a raw file, and where each value is from."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any

import astropy.units as u
from astro_metadata_translator import MetadataTranslator, fix_header
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.time import Time
from lsst.daf.butler import DimensionRecord, DimensionUniverse
from lsst.resources import ResourcePathExpression

from ..define.pointings import is_on_sky
from ..errors import HeaderError, IngestError, RawFileError
from ..instruments import known_instrument
from ..instruments.description import InstrumentDescription
from ..instruments.translator import DescribedTranslator, make_translator
from ..lists import aligned
from ..raws import RawFile, find_translator, import_translators, read_raw_files
from .doubts import warn_of_times
from .files import as_resource
from .records import exposure_record, guess_band, observation_values
from .translate import PROPERTIES, TranslatedFile, check_recognised, find_sites, translate_file


@dataclasses.dataclass(frozen=True)
class DescribedProperty:
    """A property of an observation."""

    name: str
    value: Any
    """Its value, `None` if there is none."""
    origin: str
    """The header keys that it is from, or that it is from none; or why there is no value, if that is a mistake."""


@dataclasses.dataclass(frozen=True, eq=False)
class FileDescription:
    """What is understood from a raw file; ``str()`` gives a page of text."""

    uri: str
    translator: type[MetadataTranslator]
    properties: tuple[DescribedProperty, ...]
    """Of the exposure and of the first detector."""
    detectors: tuple[tuple[int, DescribedProperty, DescribedProperty], ...]
    """For each image its HDU and the detector's number and unique name."""
    record: DimensionRecord | None
    """The exposure record, of the newest universe; `None` if there can be none."""
    problem: str
    """Why there can be none; empty if there is one."""

    @property
    def missing(self) -> list[str]:
        """The fields of the exposure record that have no value."""
        return [] if self.record is None else [name for name, value in self.record.toDict().items() if value is None]

    def __str__(self) -> str:
        cls = self.translator
        described = issubclass(cls, DescribedTranslator)
        kind = "made from its description" if described else f"{cls.__module__}.{cls.__qualname__}"
        properties = []
        reasons: dict[str, str] = {}
        for one in self.properties:
            # What lacks in one property lacks in all that depend on it.
            first = one.name if one.value is not None or not one.origin else reasons.setdefault(one.origin, one.name)
            properties.append((one.name, _text(one.value), one.origin if first == one.name else f"as for {first}"))
        lines = [f"File {self.uri}", f"Translator {cls.name} ({kind})", ""]
        lines += aligned([("property", "value", "from"), *properties])
        lines += ["", *aligned([("HDU", "detector", "name", "from"), *self._detector_rows()]), ""]
        if self.record is None:
            return "\n".join([*lines, "No exposure record can be made."])
        fields = [(name, _text(value)) for name, value in self.record.toDict().items()]
        lines += aligned([("exposure record", "value"), *fields])
        if self.missing:
            lines += ["", f"Missing: {', '.join(self.missing)}."]
            if not is_on_sky(self.record) and self.record.can_see_sky is not False:
                lines.append(
                    "Without tracking_ra, tracking_dec and sky_angle the record does not say where the exposure looked."
                )
        return "\n".join(lines)

    def _detector_rows(self) -> Iterator[tuple[str, str, str, str]]:
        for hdu, number, name in self.detectors:
            origin = number.origin if number.value is None or number.origin == name.origin else name.origin
            yield str(hdu), _text(number.value), _text(name.value), origin


def describe_file(
    uri: ResourcePathExpression, description: InstrumentDescription | None = None, *, module: str | None = None
) -> FileDescription:
    """Find out what is understood from a raw file.

    ``module``: a module with translators in Python, which come first.

    Raises `RawFileError` if it cannot be read, and `IngestError` if it has no image, is not from the described
    instrument, or nobody knows the telescope.
    """
    # A path is shown as it was given, unless it could be taken for a URI.
    place = as_resource(uri) if set(str(uri)) & set("#%$") else uri
    (file,) = read_raw_files([place])
    if isinstance(file, RawFileError):
        raise file
    translator: type[MetadataTranslator] | None = None if description is None else make_translator(description)
    if not file.images:
        raise IngestError(f"{file.uri}: there is no image in it; expected a raw image with two axes in some HDU.")
    if translator is not None:
        check_recognised(file, translator)
    find_sites()
    if translator is None:
        translator = _find_translator(file, () if module is None else import_translators(module))
    headers = {index: file.merged_header(index) for index in file.images}
    for header in headers.values():
        fix_header(header, translator_class=translator, filename=file.uri)
    detectors = tuple(
        (
            index,
            _describe(translator, header, file, "detector_num"),
            _describe(translator, header, file, "detector_unique_name"),
        )
        for index, header in headers.items()
    )
    first = next((index for index, number, _ in detectors if number.value is not None), detectors[0][0])
    properties = tuple(_describe(translator, headers[first], file, name) for name in PROPERTIES)
    try:
        record, problem = _record(translate_file(file, translator), description), ""
    except IngestError as error:
        record, problem = None, str(error)
    return FileDescription(file.uri, translator, properties, detectors, record, problem)


def _find_translator(file: RawFile, first: Sequence[type[MetadataTranslator]]) -> type[MetadataTranslator]:
    header = file.merged_header(min(file.images))
    with contextlib.suppress(Exception):
        return next((one for one in first if one.can_translate(header)), None) or find_translator(header, file.uri)
    # It finds none either, and says why.
    return translate_file(file).translator


def _describe(
    translator: type[MetadataTranslator], header: MutableMapping[str, Any], file: RawFile, name: str
) -> DescribedProperty:
    # An own instance for each property, as it does not tell of which one a card was used.
    instance = translator(header, filename=file.uri)
    try:
        value = getattr(instance, f"to_{name}")()
    except HeaderError as error:
        return DescribedProperty(name, None, str(error))
    except Exception as error:
        # A translator may fail in any way on what it does not expect.
        return DescribedProperty(name, None, f"{type(error).__name__}: {' '.join(str(error).split())}")
    if value is None:
        return DescribedProperty(name, None, "")
    return DescribedProperty(name, value, ", ".join(sorted(instance.cards_used())) or "not from the header")


def _record(translated: TranslatedFile, description: InstrumentDescription | None) -> DimensionRecord:
    bands = {} if description is None else {one.name: one.band for one in description.filters}
    (values,) = observation_values(
        [(translated.uri, translated.observation)], lambda name: bands.get(name) or guess_band(name)
    )
    if isinstance(values, IngestError):
        raise values
    warn_of_times([values])
    return exposure_record(values, known_instrument(translated.translator).name, DimensionUniverse())


def _text(value: Any) -> str:
    if isinstance(value, Time):
        try:
            return f"{value.isot} {value.scale.upper()}"
        except ValueError:
            # Of ERFA, which counts years only so far.
            return f"the year {value.jyear:.6g}"
    if isinstance(value, SkyCoord):
        return f"{value.icrs.ra.deg:.6f} {value.icrs.dec.deg:+.6f} deg (ICRS)"
    if isinstance(value, AltAz):
        return f"altitude {value.alt.deg:.4f}, azimuth {value.az.deg:.4f} deg"
    if isinstance(value, EarthLocation):
        return f"{value.lon.deg:.5f} {value.lat.deg:.5f} deg, {value.height.to_value(u.m):.0f} m"
    return "-" if value is None else str(value)
