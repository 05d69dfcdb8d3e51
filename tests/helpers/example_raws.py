"""Raw files of the instruments that are described in docs/examples."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Final

import numpy as np
from astropy.io import fits

from butler_visits.instruments.description import InstrumentDescription

EXAMPLES: Final = Path(__file__).parents[2] / "docs" / "examples"

HILLCAM: Final = {
    "INSTRUME": "SBIG STX-16803",
    "TELESCOP": "CDK20",
    "DATE-OBS": "2026-04-01T23:14:02.500",
    "EXPTIME": 120.0,
    "IMAGETYP": "Light Frame",
    "FILTER": "V",
    "OBJECT": "M 51",
    "OBJCTRA": "13 29 52.7",
    "OBJCTDEC": "+47 11 43",
    "ROTATANG": 30.0,
    "CENTALT": 71.5,
    "CENTAZ": 123.25,
}
"""Header of an exposure of HillCam."""

QUADCAM: Final = {
    "TELESCOP": "Ridge 1.2m",
    "INSTRUME": "QuadCam",
    "NIGHT": 20260401,
    "FRAME": 17,
    "BLOCK": 4,
    "DATE-OBS": "2026-04-02",
    "UTSHUT": "01:14:02.513",
    "MJD-END": 61132.0521,
    "SHUTMS": 30000,
    "OBSTYPE": "SKY",
    "FILTPOS": 2,
    "FIELD": "deep-3",
    "TELRA": 150.25,
    "TELDEC": -20.5,
    "TELEQUIN": 2026.25,
    "ROTSKY": 12.5,
    "ZENDIST": 31.25,
    "AZIMUTH": 200.0,
}
"""Primary header of an exposure of QuadCam."""

_WCS: Final = [("CTYPE1", "RA---TAN"), ("CTYPE2", "DEC--TAN")]


def write_hillcam(path: Path, **cards: Any) -> Path:
    """Write an exposure of HillCam; a card that is `None` is left out."""
    header = fits.Header([(key, value) for key, value in {**HILLCAM, **cards}.items() if value is not None])
    fits.PrimaryHDU(np.zeros((4, 4), dtype=np.int16), header).writeto(path)
    return path


def write_quadcam(path: Path, chips: tuple[int, ...] = (1, 2, 3, 4), *, wcs: bool = False, **cards: Any) -> Path:
    """Write an exposure of QuadCam with some of its chips; a card that is `None` is left out."""
    header = fits.Header([(key, value) for key, value in {**QUADCAM, **cards}.items() if value is not None])
    hdus = [fits.PrimaryHDU(header=header)]
    for chip in chips:
        chip_header = fits.Header([("CHIP", chip), *(_WCS if wcs else [])])
        hdus.append(fits.ImageHDU(np.zeros((4, 4), dtype=np.int16), chip_header))
    fits.HDUList(hdus).writeto(path)
    return path


SMALLEST: dict[str, Any] = {
    "name": "MyCam",
    "recognise": {"INSTRUME": "MyCam"},
    "filters": [{"name": "V", "band": "V"}],
    "detectors": [{"id": 0, "name": "CCD"}],
}


def describe(**changes: Any) -> InstrumentDescription:
    """Make the smallest description with other settings; those that are `None` are left out."""
    content = copy.deepcopy(SMALLEST) | changes
    given = {key: value for key, value in content.items() if value is not None}
    return InstrumentDescription.from_mapping(given, "my.yaml")
