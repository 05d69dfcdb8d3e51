"""How a repository reads raws and cameras of Rubin's classes: with Rubin's software, where that is installed.

A datastore can record only formatters that can be imported, and those of Rubin's packages cannot where they are not
installed. So these stand for them, and pass the reading on.
"""

from __future__ import annotations

from typing import Any, ClassVar

from lsst.daf.butler import Formatter, FormatterV2, Location
from lsst.resources import ResourcePath
from lsst.utils import doImportType

from ..errors import VisitsError
from . import import_instrument_class, known_class_name

_CAMERA_FORMATTER = "lsst.obs.base.formatters.fitsGeneric.FitsGenericFormatter"


class _RubinFormatter(FormatterV2):
    """Reads files with a formatter of Rubin's."""

    default_extension: ClassVar[str] = ".fits"
    can_read_from_uri: ClassVar[bool] = True

    @classmethod
    def validate_extension(cls, location: Location) -> None:
        # Docstring inherited. A file is known by its content, and may be called anything.
        return None

    def read_from_uri(self, uri: ResourcePath, component: str | None = None, expected_size: int = -1) -> Any:
        formatter_class = self._rubin_formatter()
        if issubclass(formatter_class, FormatterV2):
            return formatter_class(self.file_descriptor, ref=self.dataset_ref).read(component=component)
        return formatter_class(self.file_descriptor, dataId=self.data_id).read(component=component)

    def _rubin_formatter(self) -> type[Formatter | FormatterV2]:
        """Import the formatter; a `VisitsError` if it is not installed."""
        raise NotImplementedError


class RawFormatter(_RubinFormatter):
    """Reads raws with the formatter that the registered instrument's class names."""

    def _rubin_formatter(self) -> type[Formatter | FormatterV2]:
        name = str(self.data_id["instrument"])
        # Whoever asks for a dataset by its reference alone gives no records.
        record = self.data_id.records["instrument"] if self.data_id.hasRecords() else None
        class_name = known_class_name(name) if record is None else record.class_name
        cls = import_instrument_class(class_name) if class_name else None
        formatter = None if cls is None else cls().getRawFormatter(self.data_id)
        if formatter is None or issubclass(formatter, RawFormatter):
            raise VisitsError(
                f"The pixels of {name}'s raws are read by Rubin's software, and its class of the instrument is not "
                "installed here. Take the file's place from butler.getURI, and open it with astropy.io.fits."
            )
        return formatter


class CameraFormatter(_RubinFormatter):
    """Reads cameras, afw FITS files, with the formatter that Rubin's own repositories have for them."""

    def _rubin_formatter(self) -> type[Formatter | FormatterV2]:
        try:
            formatter: type[Formatter | FormatterV2] = doImportType(_CAMERA_FORMATTER)
        except ImportError as error:
            raise VisitsError(
                "Objects of lsst.afw are made by Rubin's software, which is not installed here. butler-visits reads "
                "the camera's file itself; butler.getURI tells its place."
            ) from error
        return formatter
