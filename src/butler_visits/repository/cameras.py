"""Which camera applies to an exposure."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from time import monotonic
from uuid import UUID

import numpy as np
import numpy.typing as npt
from lsst.daf.butler import Butler, CollectionType, DimensionRecord, Timespan
from lsst.pipe.base import Instrument

from ..camera.afw_fits import read_afw_camera
from ..camera.afw_object import camera_from_afw
from ..camera.model import Camera
from ..camera.yaml_camera import camera_from_mapping, read_yaml_camera
from ..errors import CameraFileError, CameraLookupError
from ..instruments import StandInInstrument
from ..lists import reason_of
from ..raws.headers import STALLED, read_file
from .database import find_certified, is_served, one_connection, read_collection_types, recorded_size
from .reading import expand_collections
from .served import Certified

_LOG = logging.getLogger(__name__)

CAMERA_DATASET_TYPES = ("camera", "camera_geometry")
"""Where cameras are stored: Rubin's dataset type, then ours."""

_KNOWN = 60.0
"""Seconds for which it is remembered what cameras a server has."""


class CameraFinder:
    """Finds the camera of each exposure; a camera is read once."""

    def __init__(self, butler: Butler, *, versioned_only: bool = False) -> None:
        self._butler = butler
        self._versioned_only = versioned_only
        self._read: dict[UUID | str, Camera] = {}
        # What a server has told, and until when it is not asked again, for each visit of a chunk.
        self._known: dict[tuple[str, ...], tuple[tuple[list[str], list[Certified]], float]] = {}
        # What could not be read from a server, and until when that is not tried again, for each visit of a chunk.
        self._failed: dict[UUID, tuple[str, float]] = {}

    def find(
        self, exposures: Sequence[DimensionRecord], instrument: Instrument, collections: Sequence[str] | None = None
    ) -> list[Camera]:
        """Find the camera of each exposure, valid when it begins, in the order of docs/design.md, Cameras.

        Raises `CameraLookupError` if there is none, `CameraFileError` if one cannot be read, and
        `lsst.daf.butler.MissingCollectionError` if one of the given collections is not there.
        """
        given = expand_collections(self._butler, collections)
        names = list(self._butler.collections.defaults if given is None else given)
        searched, candidates = self._search(names, instrument)
        found: dict[int | None, Camera] = {}
        cameras = []
        for exposure in exposures:
            begin = _begin(exposure)
            if begin not in found:
                found[begin] = self._choose(exposure, begin, candidates, instrument, searched)
            cameras.append(found[begin])
        return cameras

    def boxes(self, instrument: Instrument) -> dict[int, list[npt.NDArray[np.int64]]]:
        """Return the pixels (2, 2) of each detector by all cameras that an instrument has; without what is damaged."""
        _, candidates = self._search(list(self._butler.collections.defaults), instrument)
        cameras: list[Camera] = []
        for candidate in candidates:
            try:
                cameras.append(self._dataset_camera(candidate))
            except (CameraFileError, CameraLookupError) as error:
                _LOG.info("%s", error)
        if not (candidates or self._versioned_only or isinstance(instrument, StandInInstrument)):
            try:
                camera = self._class_camera(instrument)
            except CameraFileError as error:
                _LOG.info("%s", error)
            else:
                cameras += [camera] if isinstance(camera, Camera) else []
        found: dict[int, list[npt.NDArray[np.int64]]] = defaultdict(list)
        for camera in cameras:
            for detector, box in zip(camera.detector_ids.tolist(), camera.bounding_boxes, strict=True):
                found[detector].append(box)
        return found

    def _search(self, names: list[str], instrument: Instrument) -> tuple[list[str], list[Certified]]:
        """List where cameras are searched for, and those that are there."""
        key = (instrument.getName(), *names)
        known, until = self._known.get(key, (None, 0.0))
        if known is not None and monotonic() < until:
            return known
        conventional = [instrument.makeCalibrationCollectionName(), instrument.makeUnboundedCalibrationRunName()]
        with one_connection(self._butler):
            types = read_collection_types(self._butler, [*names, *conventional])
            names = [*names, *(name for name in conventional if name in types)]
            searched = list(dict.fromkeys(self._flatten(names, types)))
            candidates = self._certified(instrument.getName(), searched)
        if is_served(self._butler):
            self._known[key] = (searched, candidates), monotonic() + _KNOWN
        return searched, candidates

    def _flatten(self, collections: Sequence[str], types: Mapping[str, CollectionType]) -> list[str]:
        """List the collections that have datasets of their own, in the order of a search."""
        flat: list[str] = []
        for name in collections:
            if types.get(name, CollectionType.CHAINED) is not CollectionType.CHAINED:
                flat.append(name)
                continue
            # An error if it is not there.
            children = self._butler.collections.get_info(name).children
            flat.extend(self._flatten(children, read_collection_types(self._butler, children)))
        return flat

    def _certified(self, instrument: str, collections: Sequence[str]) -> list[Certified]:
        """List all cameras of the instrument, the first to be taken first."""
        return sorted(
            find_certified(self._butler, CAMERA_DATASET_TYPES, instrument, collections),
            key=lambda one: (CAMERA_DATASET_TYPES.index(one.dataset_type), collections.index(one.collection)),
        )

    def _choose(
        self,
        exposure: DimensionRecord,
        begin: int | None,
        candidates: Sequence[Certified],
        instrument: Instrument,
        searched: Sequence[str],
    ) -> Camera:
        for candidate in candidates:
            valid_from, valid_to = candidate.timespan.nsec
            if candidate.timespan == Timespan(None, None) or (begin is not None and valid_from <= begin < valid_to):
                return self._dataset_camera(candidate)
        no_class_camera = ""
        if not self._versioned_only and not isinstance(instrument, StandInInstrument):
            camera = self._class_camera(instrument)
            if isinstance(camera, Camera):
                return camera
            no_class_camera = camera
        if candidates:
            when = "has no timespan" if begin is None else f"begins at {exposure.timespan.begin.isot} TAI"
            n = len(candidates)
            which = "the only certified camera is not" if n == 1 else f"none of the {n} certified cameras is"
            problem = f"{which} valid for it (the exposure {when})"
        else:
            where = f"in {', '.join(searched)}" if searched else "because there are no collections to search"
            problem = f"there is no camera or camera_geometry dataset {where}"
        raise CameraLookupError(
            f"No camera geometry for exposure {exposure.id} of {instrument.getName()}: {problem}"
            f"{no_class_camera}. "
            f"Certify one in {instrument.makeCalibrationCollectionName()}, or name its collection with --collections."
        )

    def _dataset_camera(self, candidate: Certified) -> Camera:
        camera = self._read.get(candidate.dataset_id)
        if camera is None:
            content, uri = self._content(candidate)
            read = read_afw_camera if candidate.dataset_type == "camera" else read_yaml_camera
            camera = read(content, uri)
            self._read[candidate.dataset_id] = camera
            _LOG.info(
                "Camera %s is from dataset type %s in collection %s.",
                camera.name,
                candidate.dataset_type,
                candidate.collection,
            )
        return camera

    def _content(self, candidate: Certified) -> tuple[bytes, str]:
        """Read the file of a camera, and say where it is."""
        problem, until = self._failed.get(candidate.dataset_id, ("", 0.0))
        if monotonic() < until:
            raise CameraFileError(problem)
        ref = self._butler.get_dataset(candidate.dataset_id)
        if ref is None:
            raise CameraLookupError(f"Camera dataset {candidate.dataset_id} was removed while it was looked up.")
        uri = self._butler.getURI(ref)
        # A server's URIs are signed, for an hour and for nobody to see.
        place = str(uri).partition("?")[0]
        which = f"The camera file {place} of collection {candidate.collection}"
        try:
            content = read_file(uri)
        except FileNotFoundError as error:
            raise CameraFileError(f"{which} is gone; restore the file.") from error
        except Exception as error:
            # The libraries for remote files each have errors of their own.
            problem = f"{which} cannot be read: {reason_of(error).rstrip('.')}."
            if not uri.isLocal:
                self._failed[candidate.dataset_id] = problem, monotonic() + STALLED
            raise CameraFileError(problem) from error
        size = recorded_size(self._butler, ref)
        if size is not None and size != len(content):
            # Half a camera may make sense too.
            raise CameraFileError(
                f"{which} has {len(content)} bytes, and had {size} when it was stored; restore the file."
            )
        return content, place

    def _class_camera(self, instrument: Instrument) -> Camera | str:
        """Ask the instrument's class, which need not have a camera; if it has none, return what there is to say."""
        get_camera = getattr(instrument, "getCamera", None)
        if get_camera is None:
            return ""
        class_name = f"{type(instrument).__module__}.{type(instrument).__qualname__}"
        if class_name not in self._read:
            try:
                camera = get_camera()
            except ImportError as error:
                # Its package is there, and Rubin's stack is not.
                return f"; {class_name}.getCamera() needs what is not installed ({error})"
            except Exception as error:
                raise CameraFileError(f"{class_name}.getCamera() failed: {type(error).__name__}: {error}") from error
            if isinstance(camera, Mapping):
                camera = camera_from_mapping(camera, f"{class_name}.getCamera()")
            elif hasattr(camera, "getTransformMap"):
                camera = camera_from_afw(camera, f"{class_name}.getCamera()")
            if not isinstance(camera, Camera):
                raise CameraFileError(
                    f"{class_name}.getCamera() returned a {type(camera).__name__}; expected a butler_visits or an "
                    "lsst.afw.cameraGeom Camera, or the content of a YAML camera. Certify a camera dataset instead."
                )
            self._read[class_name] = camera
            _LOG.info("Camera %s is from %s.getCamera().", camera.name, class_name)
        return self._read[class_name]


def _begin(exposure: DimensionRecord) -> int | None:
    """Return when an exposure begins, TAI nanoseconds since 1970; `None` if nobody knows."""
    timespan = exposure.timespan
    if timespan is None or timespan.isEmpty() or timespan.begin is None:
        return None
    return timespan.nsec[0]
