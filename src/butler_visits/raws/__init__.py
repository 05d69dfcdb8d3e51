"""What raw files say: their headers, which HDU shows which detector, and its WCS; no Butler."""

from .cards import MergedHeader
from .detectors import FoundDetector, list_detectors
from .frames import is_unknown
from .hdus import DetectorImage, find_detector
from .headers import RawFile, read_raw_files
from .place import angle_between, check_place
from .translators import find_translator, import_translators, known_translators
from .wcs import RawWcs

__all__ = [
    "DetectorImage",
    "FoundDetector",
    "MergedHeader",
    "RawFile",
    "RawWcs",
    "angle_between",
    "check_place",
    "find_detector",
    "find_translator",
    "import_translators",
    "is_unknown",
    "known_translators",
    "list_detectors",
    "read_raw_files",
]
