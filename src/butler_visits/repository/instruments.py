"""Register instruments in a repository, so that a new process knows them."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from astro_metadata_translator import MetadataTranslator
from lsst.daf.butler import (
    Butler,
    CollectionType,
    DatasetType,
    DimensionRecord,
    MissingCollectionError,
    MissingDatasetTypeError,
)
from lsst.daf.butler.registry import ConflictingDefinitionError

from ..errors import DescriptionError, IngestError
from ..instruments.described import class_name as described_class_name
from ..instruments.description import InstrumentDescription
from ..instruments.translator import make_translator
from ..raws import import_translators
from .database import require_writeable, text_limit
from .kept import unharmed
from .reading import fetch_instruments
from .write_camera import write_camera
from .writing import register_run

_LOG = logging.getLogger(__name__)

_DESCRIPTION, _TRANSLATOR = "description", "translator"
"""What is stored with an instrument, in a dataset of type ``instrument_<kind>`` in the collection ``<name>/<kind>``."""


def register_instrument(butler: Butler, description: InstrumentDescription, *, update: bool = False) -> None:
    """Register an instrument that has a description, with its filters, detectors and camera.

    Registering it again adds the filters and detectors that are new, and replaces the other settings.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository, writeable.
    description : `InstrumentDescription`
        The instrument.
    update : `bool`, optional
        Whether records that differ are updated; otherwise they are an error.

    Raises
    ------
    lsst.daf.butler.registry.ConflictingDefinitionError
        If a record or a camera is there and differs; the message names the fields.
    DescriptionError
        If a name is longer than the repository takes.
    """
    require_writeable(butler)
    name = description.name
    register(
        butler,
        _with_registered_limits(butler, description, description.record(described_class_name(name))),
        detectors=({"full_name": one.name, **one.model_dump(exclude={"name"})} for one in description.detectors),
        filters=(one.model_dump() for one in description.filters),
        update=update,
    )
    if description.camera_content is not None:
        write_camera(butler, name, description.camera_content)
    _store_description(butler, description)


def _with_registered_limits(
    butler: Butler, description: InstrumentDescription, fields: dict[str, Any]
) -> dict[str, Any]:
    """Keep the limits of a registered instrument that the description does not give: ids are packed with them."""
    stored = fetch_instruments(butler).get(description.name)
    if stored is None:
        return fields
    given = description.model_fields_set
    kept = {name for name in ("exposure_max", "detector_max") if name not in given}
    # With a limit that is given, older versions had the same for visits.
    if "exposure_max" in kept or stored.visit_max == description.exposure_max:
        kept.add("visit_max")
    return {**fields, **{name: getattr(stored, name) for name in kept}}


def register(
    butler: Butler,
    instrument: Mapping[str, Any],
    *,
    detectors: Iterable[Mapping[str, Any]] = (),
    filters: Iterable[Mapping[str, Any]] = (),
    update: bool = False,
) -> None:
    """Register an instrument, detectors and filters; those that are there and equal are left alone.

    Raises `lsst.daf.butler.registry.ConflictingDefinitionError` if a record differs, and `DescriptionError` if a name
    is longer than the repository takes.
    """
    name = instrument["name"]
    with butler.transaction(), unharmed(butler):
        _sync(butler, "instrument", name, [instrument], update)
        for element, rows in (("detector", detectors), ("physical_filter", filters)):
            _sync(butler, element, name, [{"instrument": name, **row} for row in rows], update)


def _sync(butler: Butler, element: str, instrument: str, rows: list[Mapping[str, Any]], update: bool) -> None:
    if not rows:
        return
    key = "id" if element == "detector" else "name"
    with butler.query() as query:
        stored = {
            record.toDict()[key]: record
            for record in query.dimension_records(element).where("instrument = name", bind={"name": instrument})
        }
    new, changed = [], []
    for row in rows:
        record = stored.get(row[key])
        if record is None:
            new.append(row)
            continue
        there = record.toDict()
        given = {field: value for field, value in row.items() if value is not None and there[field] != value}
        # What nobody knew yet is no contradiction.
        if not update and (different := {field: value for field, value in given.items() if there[field] is not None}):
            raise ConflictingDefinitionError(_conflict(element, instrument, record, different))
        if given:
            changed.append({**there, **given})
    _check_lengths(butler, element, instrument, [*new, *changed])
    if new:
        butler.registry.insertDimensionData(element, *new, skip_existing=True)
    if changed:
        butler.registry.insertDimensionData(element, *changed, replace=True)


def _check_lengths(butler: Butler, element: str, instrument: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Refuse texts that are too long for the repository: older ones take less."""
    for column in butler.dimensions[element].schema.all:
        limit = text_limit(column)
        for row in rows:
            text = row.get(column.name)
            if isinstance(text, str) and limit is not None and len(text) > limit:
                raise DescriptionError(
                    f"Instrument {instrument}: {column.name} {text!r} of the dimension {element} has {len(text)} "
                    f"characters; this repository takes {limit}."
                )


def _conflict(element: str, instrument: str, record: DimensionRecord, different: Mapping[str, Any]) -> str:
    what = {"instrument": "Instrument", "detector": "Detector", "physical_filter": "Filter"}[element]
    which = instrument if element == "instrument" else f"{record.dataId[element]} of {instrument}"
    fields = ", ".join(f"{field} {getattr(record, field)!r}, not {value!r}" for field, value in different.items())
    return f"{what} {which} is registered with {fields}. Correct the description, or update the record."


def _store_description(butler: Butler, description: InstrumentDescription) -> None:
    """Make the description the current one; those before it stay, each in its own run."""
    _store(butler, _DESCRIPTION, description.name, description.stored_content())


def store_translator(butler: Butler, instrument: str, module: str) -> None:
    """Let other processes know in which module the translator of an instrument's headers is."""
    _store(butler, _TRANSLATOR, instrument, {"module": module})


def _store(butler: Butler, kind: str, instrument: str, content: dict[str, Any]) -> None:
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
    chain = _collection(kind, instrument)
    run = f"{chain}/{digest}"
    dataset_type = DatasetType(f"instrument_{kind}", ["instrument"], "StructuredDataDict", universe=butler.dimensions)
    butler.registry.registerDatasetType(dataset_type)
    register_run(butler, run)
    butler.collections.register(chain, CollectionType.CHAINED)
    if butler.find_dataset(dataset_type, instrument=instrument, collections=run) is None:
        try:
            butler.put(content, dataset_type, instrument=instrument, run=run)
        except ConflictingDefinitionError:
            # Another process was first, with the same content.
            if butler.find_dataset(dataset_type, instrument=instrument, collections=run) is None:
                raise
    if butler.collections.get_info(chain).children != (run,):
        butler.collections.redefine_chain(chain, [run])


def stored_description(butler: Butler, instrument: str) -> InstrumentDescription | None:
    """Read the description of a registered instrument, if it has one.

    Raises `DescriptionError` if it is of a version of this package that knows other settings.
    """
    content = _stored(butler, _DESCRIPTION, instrument)
    if content is None:
        return None
    return InstrumentDescription.from_mapping(content, f"The stored description of {instrument}")


def stored_translator(butler: Butler, instrument: str) -> type[MetadataTranslator] | None:
    """Return the translator of an instrument that has a description, or one in Python that the repository knows of."""
    description = stored_description(butler, instrument)
    if description is not None:
        return make_translator(description)
    content = _stored(butler, _TRANSLATOR, instrument)
    if content is None:
        return None
    try:
        translators = import_translators(str(content["module"]))
    except IngestError as error:
        _LOG.warning("Instrument %s was ingested with a translator that is not here: %s", instrument, error)
        return None
    return next((one for one in translators if one.name == instrument), None)


def _stored(butler: Butler, kind: str, instrument: str) -> Any:
    try:
        ref = butler.find_dataset(
            f"instrument_{kind}", instrument=instrument, collections=_collection(kind, instrument)
        )
    except (MissingDatasetTypeError, MissingCollectionError):
        return None
    return None if ref is None else butler.get(ref)


def _collection(kind: str, instrument: str) -> str:
    return f"{instrument}/{kind}"
