"""What raw files say: their headers, which HDU shows which detector, and its WCS."""

from .datasets import RawReader
from .detectors import FoundDetector, list_detectors
from .hdus import DetectorImage, find_detector
from .headers import RawFile, read_raw_files
from .wcs import RawWcs

__all__ = [
    "DetectorImage",
    "FoundDetector",
    "RawFile",
    "RawReader",
    "RawWcs",
    "find_detector",
    "list_detectors",
    "read_raw_files",
]
