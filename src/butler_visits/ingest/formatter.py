"""The name that repositories have recorded for `RawFormatter`."""

from ..instruments.formatter import RawFormatter

__all__ = ["RawFormatter"]
