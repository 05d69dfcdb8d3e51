"""How a repository reads raws: as the instrument's own class says, which needs Rubin's software."""

from __future__ import annotations

from typing import Any, ClassVar

from lsst.daf.butler import Formatter, FormatterV2, Location
from lsst.resources import ResourcePath

from ..errors import VisitsError
from . import import_instrument_class, known_class_name


class RawFormatter(FormatterV2):
    """Reads raws with the formatter of their instrument's class.

    A datastore can record only formatters that can be imported, and those of Rubin's packages cannot where they are not
    installed. So this one stands for them. Where both are installed, it passes the reading on to the formatter that the
    registered instrument's class names.
    """

    default_extension: ClassVar[str] = ".fits"
    can_read_from_uri: ClassVar[bool] = True

    @classmethod
    def validate_extension(cls, location: Location) -> None:
        # Docstring inherited. A raw is known by its content, and may be called anything.
        return None

    def read_from_uri(self, uri: ResourcePath, component: str | None = None, expected_size: int = -1) -> Any:
        formatter_class = self._instrument_formatter()
        if issubclass(formatter_class, FormatterV2):
            return formatter_class(self.file_descriptor, ref=self.dataset_ref).read(component=component)
        return formatter_class(self.file_descriptor, dataId=self.data_id).read(component=component)

    def _instrument_formatter(self) -> type[Formatter | FormatterV2]:
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
