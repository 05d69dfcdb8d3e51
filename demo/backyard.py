"""Write a night of a camera with one CCD, as an acquisition program would, for docs/tutorial.md.

``python demo/backyard.py frames`` writes it into the folder frames.
"""

from __future__ import annotations

import math
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
from astropy.io import fits

SIZE: Final = (1548, 1040)
"""Binned pixels."""
PIXEL_SCALE: Final = 1.552
"""Arcseconds of a binned pixel."""
FIELDS: Final = [("M 51", 202.4696, 47.1953), ("M 101", 210.8023, 54.3489), ("NGC 5907", 228.9740, 56.3289)]
ROTATOR: Final = 30.0
NORTH: Final = 12.0
"""What the rotator says, degrees, and where the camera's y axis is then."""


def write_night(folder: Path) -> list[Path]:
    """Write a flat, a dark, a bias, and each field in two filters, of which the program has solved the first frame."""
    folder.mkdir(parents=True, exist_ok=True)
    frames: list[dict[str, Any]] = [
        {"IMAGETYP": "FLAT", "FILTER": "L", "EXPTIME": 2.0},
        {"IMAGETYP": "DARK", "EXPTIME": 180.0},
        {"IMAGETYP": "BIAS", "EXPTIME": 0.0},
    ]
    for name, ra, dec in FIELDS:
        for physical_filter in ("L", "Ha"):
            pointing = {"OBJECT": name, "OBJCTRA": _sexagesimal(ra / 15), "OBJCTDEC": f"+{_sexagesimal(dec)}"}
            frames.append({"IMAGETYP": "LIGHT", "FILTER": physical_filter, "EXPTIME": 180.0, **pointing})
    begin, files = datetime(2026, 4, 1, 20, 30), []
    for number, frame in enumerate(frames, start=1):
        header = fits.Header([("INSTRUME", "ZWO ASI2600MM Pro"), ("TELESCOP", "Newton 200/1000")])
        header["DATE-OBS"] = begin.isoformat(timespec="milliseconds")
        header.update({"XBINNING": 2, "YBINNING": 2, "XPIXSZ": 7.52, "YPIXSZ": 7.52, "FOCALLEN": 1000.0})
        header.update({"SITELAT": 47.7, "SITELONG": 11.6, "SITEELEV": 700.0, "ROTATANG": ROTATOR, **frame})
        if frame.get("OBJECT") == FIELDS[0][0] and frame["FILTER"] == "L":
            header.update(_wcs(*FIELDS[0][1:]))
        files.append(folder / f"{frame['IMAGETYP'].lower()}_{number:03d}.fits")
        pixels = np.full(SIZE[::-1], 800, dtype=np.int16)
        fits.PrimaryHDU(pixels, header).writeto(files[-1], overwrite=True)
        begin += timedelta(seconds=frame["EXPTIME"] + 15)
    return files


def _wcs(ra: float, dec: float) -> dict[str, Any]:
    """Return the WCS of a frame whose y axis is at a position angle, and which is not mirrored."""
    angle, scale = math.radians(NORTH), PIXEL_SCALE / 3600
    matrix = scale * np.array([[-math.cos(angle), math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return {
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CRVAL1": ra,
        "CRVAL2": dec,
        "CRPIX1": (SIZE[0] + 1) / 2,
        "CRPIX2": (SIZE[1] + 1) / 2,
        **{f"CD{i}_{j}": round(float(matrix[i - 1, j - 1]), 12) for i in (1, 2) for j in (1, 2)},
    }


def _sexagesimal(value: float) -> str:
    """Write an angle as 13 29 52."""
    seconds = round(value * 3600)
    return f"{seconds // 3600:02d} {seconds // 60 % 60:02d} {seconds % 60:02d}"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Usage: python demo/backyard.py FOLDER")
    print(f"{len(write_night(Path(sys.argv[1])))} frames are in {sys.argv[1]}.")
