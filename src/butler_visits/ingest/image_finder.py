"""Find the HDUs of the images that are stored beside raws."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from astro_metadata_translator import MetadataTranslator
from lsst.daf.butler import Butler

from ..camera.yaml_camera import camera_from_mapping
from ..errors import RawFileError
from ..instruments import load_instrument, segments_1_on_top
from ..instruments.description import InstrumentDescription
from ..raws import RawFile, read_raw_files
from ..raws.pixels import IntArray, image_hdus
from ..repository import fetch_instruments
from ..repository.cameras import CameraFinder
from .indexed import IndexedFile
from .translate import TranslatedFile

_LOG = logging.getLogger(__name__)


class ImageFinder:
    """Finds the image of each detector in raw files, with the cameras that the repository has."""

    def __init__(self, butler: Butler, threads: int) -> None:
        self._butler = butler
        self._threads = threads
        self._cameras = CameraFinder(butler)
        self._boxes: dict[str, Mapping[int, Sequence[IntArray]]] = {}

    def renew(self) -> None:
        """Ask again which cameras there are."""
        self._boxes.clear()

    def find(
        self,
        files: Mapping[str, RawFile | RawFileError | IndexedFile],
        translated: Sequence[TranslatedFile],
        names: Mapping[type[MetadataTranslator], str],
    ) -> dict[str, dict[int, Sequence[int]]]:
        """Find the HDUs of each detector's image by file; those of which an index tells are read.

        ``names``: instruments by translator.
        """
        unread = [one.uri for one in translated if not isinstance(files[one.uri], RawFile)]
        read = {**files, **dict(zip(unread, read_raw_files(unread, threads=self._threads), strict=True))}
        hdus: dict[str, dict[int, Sequence[int]]] = defaultdict(dict)
        for one in translated:
            file = read[one.uri]
            if not isinstance(file, RawFile):
                _LOG.warning("%s It is ingested without an image.", file)
                continue
            described = getattr(one.translator, "description", None)
            file = replace(file, described=one.translator if described else None)
            only = described is not None and len(described.detectors) == 1
            name = names[one.translator]
            boxes = self._camera_boxes(name, described)
            for detector in one.detectors:
                try:
                    hdus[one.uri][detector.id] = image_hdus(
                        file,
                        detector.id,
                        detector.full_name,
                        boxes=boxes.get(detector.id, ()),
                        segments_1_on_top=segments_1_on_top(name),
                        alone=len(one.detectors) == 1,
                        only=only,
                    )
                except RawFileError as error:
                    _LOG.warning("%s It is ingested without an image.", error)
        return hdus

    def _camera_boxes(self, name: str, description: InstrumentDescription | None) -> Mapping[int, Sequence[IntArray]]:
        """Return the pixels of each detector by the cameras that an instrument has, or will have."""
        if name not in self._boxes:
            record = fetch_instruments(self._butler).get(name)
            boxes = self._cameras.boxes(load_instrument(record)) if record is not None else {}
            if not boxes and description is not None and description.camera is not None:
                camera = camera_from_mapping(description.camera, "the description")
                boxes = {
                    id_: [box] for id_, box in zip(camera.detector_ids.tolist(), camera.bounding_boxes, strict=True)
                }
            self._boxes[name] = boxes
        return self._boxes[name]
