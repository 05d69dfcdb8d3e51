"""The formatters that repositories have recorded; their full names stay as they are."""

from __future__ import annotations

__all__ = ["RawFormatter", "RawImageFormatter", "image_formatter"]

import importlib.util
import logging
import re
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

import astropy.units as u
import numpy as np
from lsst.daf.butler import FormatterV2, Location
from lsst.resources import ResourcePath

from ..errors import RawFileError, VisitsError
from ..instruments import segments_1_on_top
from ..instruments.formatter import RawFormatter
from ..raws import RawFile, RawWcs, read_raw_files
from ..raws.hdus import detector_image, has_celestial_wcs
from ..raws.image_wcs import sky_projection
from ..raws.pixels import Layout, find_layout

_LOG = logging.getLogger(__name__)

_UNITS = {"counts": "count", "electrons": "electron", "e-": "electron", "e": "electron"}
"""What programs write for BUNIT that astropy does not know, or only otherwise, in lower case."""

_NAME = re.compile(r"RawImage((?:_\d+|_\d+to\d+)+)(_untrimmed)?")


class RawImageFormatter(FormatterV2):
    """Reads the image of a detector from the HDUs of a raw file that its name says.

    A datastore records nothing but a formatter's name, and which HDUs show a detector takes what only the repository
    knows: the detector's name, the instrument's description. So that is found out once, at ingest, and
    ``RawImage_1to16`` in this module is a formatter that reads HDUs 1 to 16.
    """

    default_extension: ClassVar[str] = ".fits"
    can_read_from_uri: ClassVar[bool] = True
    hdus: ClassVar[tuple[int, ...]] = ()
    keep_overscan: ClassVar[bool] = False

    @classmethod
    def validate_extension(cls, location: Location) -> None:
        # Docstring inherited. A raw is known by its content, and may be called anything.
        return None

    def read_from_uri(self, uri: ResourcePath, component: str | None = None, expected_size: int = -1) -> Any:
        parameters = self.file_descriptor.parameters or {}
        as_array = self.file_descriptor.storageClass.name == "NumpyArray"
        if not as_array and not images_installed():
            raise VisitsError(no_images_message(f"dataset {self.dataset_ref.datasetType.name}"))
        if not (uri.isLocal or parameters or component):
            # All of it is read, which is faster from a copy.
            with uri.as_local() as local:
                return self.read_from_uri(local)
        (file,) = read_raw_files([uri])
        if isinstance(file, RawFileError):
            raise file
        if changed := [index for index in self.hdus if index not in file.images]:
            raise RawFileError(
                f"{file.uri}: HDU {changed[0]} is not an image, so the file is not the one whose image was stored; "
                f"restore it, or remove the dataset {self.dataset_ref.datasetType.name} and run add-images."
            )
        on_top = segments_1_on_top(str(self.data_id["instrument"]))
        layout = find_layout(file, self.hdus, keep_overscan=self.keep_overscan, segments_1_on_top=on_top)
        if as_array:
            return layout.read(uri)
        return self._image(uri, file, layout, parameters.get("bbox"), component)

    def _image(self, uri: ResourcePath, file: RawFile, layout: Layout, bbox: Any, component: str | None) -> Any:
        from lsst.images import Box, Image

        (x0, y0), (x1, y1) = layout.box.tolist()
        whole = Box.factory[y0 : y1 + 1, x0 : x1 + 1]
        if bbox is None:
            bbox = whole
        elif not isinstance(bbox, Box):
            raise VisitsError(f"bbox is {bbox!r}; expected an lsst.images.Box, such as {whole!r}.")
        elif not whole.contains(bbox):
            raise VisitsError(f"bbox {bbox} reaches beyond the image of {file.uri}, which has {whole}.")
        if component == "bbox":
            return bbox
        if component == "unit":
            return self._unit(file)
        projection = self._projection(file, layout, whole)
        if component == "sky_projection":
            return projection
        box = [[bbox.x.min, bbox.y.min], [bbox.x.max, bbox.y.max]]
        return Image(layout.read(uri, box), bbox=bbox, unit=self._unit(file), sky_projection=projection)

    def _unit(self, file: RawFile) -> u.UnitBase | None:
        texts = {str(file.headers[index].get("BUNIT", "")).strip() for index in self.hdus}
        try:
            # Of several that differ none is the image's.
            (text,) = texts
            return u.Unit(_UNITS.get(text.lower(), text.lower())) if text else None
        except ValueError:
            return None

    def _projection(self, file: RawFile, layout: Layout, whole: Any) -> Any:
        """Return where pixels are on the sky; `None` if the header does not say it."""
        from lsst.images import DetectorFrame

        index = next((index for index in self.hdus if has_celestial_wcs(file.headers[index])), None)
        if index is None or not layout.on_detector:
            return None
        try:
            raw = RawWcs(detector_image(file, index, self.hdus))
        except RawFileError as error:
            _LOG.warning("%s The image has no WCS.", error)
            return None
        frame = DetectorFrame(
            instrument=str(self.data_id["instrument"]), detector=int(self.data_id["detector"]), bbox=whole
        )
        projection = sky_projection(raw, layout, frame)
        if projection is None:
            _LOG.warning("%s: the header's WCS cannot be written with SIP's terms. The image has no WCS.", raw.label)
        return projection


def images_installed() -> bool:
    """Tell whether a Butler can give images."""
    return importlib.util.find_spec("lsst.images") is not None


def no_images_message(what: str) -> str:
    """Say that something is an image, which cannot be had here."""
    return (
        f"The {what} of this repository has storage class ImageV2, which needs lsst-images and Python 3.12 or newer; "
        "pip install 'butler-visits[images]' there."
    )


def image_formatter(hdus: Sequence[int], *, keep_overscan: bool = False) -> type[RawImageFormatter]:
    """Return the formatter that reads an image from HDUs; they are numbered from 0, in any order."""
    ordered = np.unique(hdus)
    runs = np.split(ordered, np.flatnonzero(np.diff(ordered) > 1) + 1)
    parts = [str(run[0]) if len(run) == 1 else f"{run[0]}to{run[-1]}" for run in runs]
    return _make("RawImage_" + "_".join(parts) + "_untrimmed" * keep_overscan)


@cache
def _make(name: str) -> type[RawImageFormatter]:
    match = _NAME.fullmatch(name)
    if match is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    hdus: list[int] = []
    for part in match[1].strip("_").split("_"):
        first, _, last = part.partition("to")
        hdus += range(int(first), int(last or first) + 1)
    return type(
        name,
        (RawImageFormatter,),
        {
            "hdus": tuple(hdus),
            "keep_overscan": bool(match[2]),
            "__module__": __name__,
            "__doc__": f"Reads HDUs {hdus}.",
        },
    )


def __getattr__(name: str) -> type[RawImageFormatter]:
    return _make(name)
