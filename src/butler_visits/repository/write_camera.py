"""Store a camera in a repository, and find the one that was stored for the latest time."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml
from astropy.time import Time
from lsst.daf.butler import (
    Butler,
    CollectionType,
    DatasetRef,
    DatasetType,
    FileDataset,
    MissingCollectionError,
    Timespan,
)
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.daf.butler.time_utils import TimeConverter
from lsst.resources import ResourcePath

from ..camera.afw_fits import read_afw_camera
from ..camera.model import Camera
from ..camera.yaml_camera import camera_from_mapping
from ..errors import CameraFileError, CameraLookupError, VisitsError
from ..instruments.formatter import CameraFormatter
from ..lists import listed
from ..yaml_files import load_yaml
from .cameras import CAMERA_DATASET_TYPES, CameraFinder
from .database import find_certified, require_writeable
from .kept import unharmed
from .reading import fetch_detectors, fetch_instrument, resolve_instrument
from .writing import register_run

_LOG = logging.getLogger(__name__)

_CAMERA, _GEOMETRY = CAMERA_DATASET_TYPES


class StoredCamera(NamedTuple):
    """A camera in a repository."""

    camera: Camera
    ref: DatasetRef
    collection: str
    timespan: Timespan
    is_new: bool


def write_camera(
    butler: Butler,
    instrument_name: str,
    content: Mapping[str, Any] | bytes,
    *,
    begin: Time | None = None,
    end: Time | None = None,
    collection: str | None = None,
) -> StoredCamera:
    """Store a camera as a ``camera_geometry`` dataset or, an afw FITS file, as a ``camera`` dataset, and certify it.

    Writing the same camera for the same times once more changes nothing.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository, writeable.
    instrument_name : `str`
        A registered instrument's name or full class name.
    content : `~collections.abc.Mapping` or `bytes`
        The content of a YAML camera, as docs/file-formats.md, YAML camera, describes it, or of an afw FITS file.
    begin, end : `astropy.time.Time`, optional
        The first time for which the camera is valid, and the first for which it is not any more. By default there is
        no limit.
    collection : `str`, optional
        The calibration collection; by default the instrument's conventional one, where every camera is searched for.

    Returns
    -------
    stored : `StoredCamera`
        What is in the repository now.

    Raises
    ------
    CameraFileError
        If the content is no camera.
    VisitsError
        If there is no such instrument, the times are in the wrong order or the collection is no calibration collection.
    lsst.daf.butler.registry.ConflictingDefinitionError
        If another camera is certified for some of these times.
    """
    require_writeable(butler)
    name = resolve_instrument(butler, instrument_name)
    instrument = fetch_instrument(butler, name)
    source = f"the camera for {name}"
    if isinstance(content, bytes):
        camera, stored, kind, storage_class = read_afw_camera(content, source), content, _CAMERA, "Camera"
        camera.corners()
    else:
        camera, stored = camera_from_mapping(content, source), _as_text(content)
        kind, storage_class = _GEOMETRY, "StructuredDataDict"
    timespan = _timespan(name, begin, end)
    if unknown := sorted(set(camera.detector_ids.tolist()) - fetch_detectors(butler, name)):
        _LOG.warning(
            "The camera has detectors that are not registered for %s, with the ids %s; visits can be defined with it "
            "when they are.",
            name,
            listed(unknown),
        )
    dataset_type = DatasetType(kind, ["instrument"], storage_class, isCalibration=True, universe=butler.dimensions)
    # Each content has a RUN of its own, so a camera that comes back later is the same dataset.
    digest = hashlib.sha256(stored).hexdigest()[:12]
    run = instrument.makeCalibrationCollectionName(kind, digest)
    collection = collection or instrument.makeCalibrationCollectionName()

    # Neither of these can be undone, so what can be checked is checked before.
    butler.registry.registerDatasetType(dataset_type)
    butler.collections.register(collection, CollectionType.CALIBRATION)
    if (type_ := butler.collections.get_info(collection).type) is not CollectionType.CALIBRATION:
        raise VisitsError(f"Collection {collection} is a {type_.name} collection; expected a CALIBRATION collection.")
    ref = _find_same(butler, dataset_type, name, collection, timespan, stored)
    is_new = ref is None
    if ref is None:
        register_run(butler, run)
        data_id = butler.registry.expandDataId(instrument=name)
        try:
            with butler.transaction(), unharmed(butler):
                ref = butler.find_dataset(dataset_type, instrument=name, collections=run)
                if ref is None:
                    ref = _put(butler, DatasetRef(dataset_type, data_id, run=run), stored)
                butler.registry.certify(collection, [ref], timespan)
        except ConflictingDefinitionError:
            # Somebody else was first, just now.
            is_new = False
            ref = _find_same(butler, dataset_type, name, collection, timespan, stored)
            if ref is None:
                raise
    other = _CAMERA if kind == _GEOMETRY else _GEOMETRY
    if any(one.timespan.overlaps(timespan) for one in find_certified(butler, [other], name, [collection])):
        _LOG.warning(
            "Collection %s has a %s dataset of these times too, and visits are defined with %s.",
            collection,
            other,
            "that one" if other == _CAMERA else "this one",
        )
    return StoredCamera(camera, ref, collection, timespan, is_new)


def _timespan(instrument: str, begin: Time | None, end: Time | None) -> Timespan:
    try:
        timespan = Timespan(begin, end, padInstantaneous=False)
    except ValueError as error:
        raise VisitsError(f"The camera of {instrument} cannot be valid from {begin} to {end}: {error}") from error
    if timespan.isEmpty():
        raise VisitsError(
            f"The camera of {instrument} cannot be valid from {begin} to {end}: the end must be later than the begin."
        )
    return timespan


def _as_text(content: Mapping[str, Any]) -> bytes:
    """Write the content as YAML, always in the same way."""
    try:
        return yaml.dump(dict(content), Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper)).encode()
    except yaml.representer.RepresenterError as error:
        value = error.args[-1]
        raise CameraFileError(
            f"The camera holds {value!r}, a {type(value).__name__}, which YAML has no form for; use plain numbers, "
            "texts, lists and dictionaries."
        ) from error


def _put(butler: Butler, ref: DatasetRef, stored: bytes) -> DatasetRef:
    if ref.datasetType.name == _GEOMETRY:
        return butler.put(load_yaml(stored), ref)
    with ResourcePath.temporary_uri(suffix=".fits") as place:
        place.write(stored)
        butler.ingest(FileDataset(place, [ref], formatter=CameraFormatter), transfer="copy")
    return ref


def _stored(butler: Butler, ref: DatasetRef) -> bytes:
    uri = butler.getURI(ref)
    try:
        return _as_text(butler.get(ref)) if ref.datasetType.name == _GEOMETRY else uri.read()
    except FileNotFoundError as error:
        raise CameraFileError(f"The camera file {uri} of collection {ref.run} is gone; restore the file.") from error


def _find_same(
    butler: Butler, dataset_type: DatasetType, instrument: str, collection: str, timespan: Timespan, stored: bytes
) -> DatasetRef | None:
    """Find the dataset with this content that is certified for these times; another one in its place is an error."""
    for one in find_certified(butler, [dataset_type.name], instrument, [collection]):
        if (ref := butler.get_dataset(one.dataset_id)) is None:
            continue
        if one.timespan == timespan and _stored(butler, ref) == stored:
            return ref
        if one.timespan.overlaps(timespan):
            raise ConflictingDefinitionError(
                f"A camera of {instrument} is certified in {collection} for {one.timespan} TAI, which overlaps "
                f"{timespan}; give other times, or first clear these with "
                f"butler.registry.decertify({collection!r}, {dataset_type.name!r}, timespan)."
            )
    return None


def latest_camera(butler: Butler, instrument_name: str) -> Camera:
    """Find the camera that an exposure of now would get or, if none is valid now, of the nearest time that has one.

    Raises `CameraLookupError` if there is none, and `CameraFileError` if it cannot be read.
    """
    name = resolve_instrument(butler, instrument_name)
    instrument = fetch_instrument(butler, name)
    searched = list(butler.collections.defaults)
    for collection in (instrument.makeCalibrationCollectionName(), instrument.makeUnboundedCalibrationRunName()):
        try:
            butler.collections.get_info(collection)
        except MissingCollectionError:
            continue
        searched.append(collection)
    now = TimeConverter().astropy_to_nsec(Time.now())
    # Of each camera's times, the nearest to now.
    moments = [
        min(max(now, one.timespan.nsec[0]), one.timespan.nsec[1] - 1)
        for one in find_certified(
            butler, CAMERA_DATASET_TYPES, name, butler.collections.query(searched, flatten_chains=True)
        )
    ]
    moment = min(moments, key=lambda moment: abs(moment - now), default=now)
    exposure = butler.dimensions["exposure"].RecordClass(
        instrument=name, id=0, timespan=Timespan.model_validate((moment, moment + 1))
    )
    try:
        (camera,) = CameraFinder(butler).find([exposure], instrument)
    except CameraLookupError as error:
        where = f"in {', '.join(searched)}" if searched else "because there are no collections to search"
        raise CameraLookupError(
            f"No camera geometry for {name}: there is no camera or camera_geometry dataset {where}, and no class "
            "that has one. Store one with butler-visits write-camera."
        ) from error
    return camera
