"""Write a night of raws of a telescope that nobody has heard of, for docs/tutorial.md.

``python demo/lakecam.py night1`` writes the first night into the folder night1, and ``night2`` the second.
"""

from __future__ import annotations

import math
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
from astropy.io import fits

SIZE: Final = 1024
"""Pixels of a detector in x and y."""
PIXEL_SCALE: Final = 1.2 / 3600
"""Degrees."""
CCDS: Final = {
    "NE": (-536.0, 536.0, 0.0),
    "NW": (536.0, 536.0, 0.4),
    "SE": (-536.0, -536.0, 0.0),
    "SW": (536.0, -536.0, 180.0),
}
"""Where the middle of each detector is, in pixels from the middle of the mosaic, and how it is turned, degrees."""

FIELDS: Final = {
    "night1": [("M 51", 202.4696, 47.1953), ("M 101", 210.8023, 54.3489), ("NGC 5907", 228.9740, 56.3289)],
    "night2": [("M 51", 202.4696, 47.1953), ("M 92", 259.2808, 43.1359)],
}
BEGINS: Final = {"night1": datetime(2026, 4, 1, 20, 30), "night2": datetime(2026, 4, 2, 20, 30)}
POSITION_ANGLE: Final = 12.0
"""From north through east to the camera's y axis, degrees."""


def write_night(folder: Path, night: str) -> list[Path]:
    """Write the raws of a night: biases, flats, and each field in two filters."""
    folder.mkdir(parents=True, exist_ok=True)
    calibrations = [("zero", "Clear", 0.0), ("zero", "Clear", 0.0), ("flat", "Blue", 8.0), ("flat", "Visual", 5.0)]
    frames: list[dict[str, Any]] = [
        {"IMAGETYP": kind, "FILTER": name, "EXPOSURE": seconds} for kind, name, seconds in calibrations
    ]
    for number, (name, ra, dec) in enumerate(FIELDS[night]):
        for physical_filter, seconds in (("Blue", 120.0), ("Visual", 60.0)):
            frames.append(
                {
                    "IMAGETYP": "object",
                    "FILTER": physical_filter,
                    "EXPOSURE": seconds,
                    "OBJECT": name,
                    "RA": _sexagesimal(ra / 15, 2),
                    "DEC": f"{dec:+.4f}",
                    "PA": POSITION_ANGLE,
                    "AIRMASS": round(1.05 + 0.07 * number, 3),
                }
            )

    time, files = BEGINS[night], []
    for number, frame in enumerate(frames, start=1):
        primary = {"TELESCOP": "Lakeside 0.3m", "INSTRUME": "LakeCam", "OBSERVER": "A. Byrne", "FRAME": number}
        primary |= {"DATE-OBS": time.isoformat(timespec="milliseconds")} | frame
        time += timedelta(seconds=frame["EXPOSURE"] + 20.5)
        files.append(folder / f"lc{number:04d}.fits.fz")
        _write(files[-1], fits.Header(list(primary.items())))
    return files


def _write(path: Path, primary: fits.Header) -> None:
    """Write a raw: a primary header, and a compressed image for each detector, with a WCS if it is of the sky."""
    hdus = [fits.PrimaryHDU(header=primary)]
    image = np.full((SIZE, SIZE), 1000, dtype=np.int16)
    for number, (name, place) in enumerate(CCDS.items(), start=1):
        header = fits.Header([("EXTNAME", name), ("CCDNUM", number), ("PIXSIZE1", 15.0, "[um]")])
        if "RA" in primary:
            hours, minutes, seconds = map(float, primary["RA"].split(":"))
            header.update(_wcs(15 * (hours + minutes / 60 + seconds / 3600), float(primary["DEC"]), *place))
        hdus.append(fits.CompImageHDU(image, header))
    fits.HDUList(hdus).writeto(path, overwrite=True)


def _wcs(ra: float, dec: float, x: float, y: float, yaw: float) -> dict[str, Any]:
    """Return the WCS of a detector."""
    angle = math.radians(POSITION_ANGLE)
    # From the focal plane, where x is west and y north at position angle 0, to the east and the north.
    to_sky = PIXEL_SCALE * np.array([[-math.cos(angle), math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    turn = math.radians(yaw)
    turned = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    # The pixel, from 1, at which the boresight would be.
    reference = (SIZE + 1) / 2 - turned.T @ (x, y)
    matrix = to_sky @ turned
    return {
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CRVAL1": ra,
        "CRVAL2": dec,
        "CRPIX1": round(float(reference[0]), 4),
        "CRPIX2": round(float(reference[1]), 4),
        **{f"CD{i}_{j}": round(float(matrix[i - 1, j - 1]), 12) for i in (1, 2) for j in (1, 2)},
    }


def _sexagesimal(value: float, digits: int) -> str:
    """Write hours as 13:29:52.70."""
    units = round(value * 3600 * 10**digits)
    seconds, part = divmod(units, 10**digits)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{part:0{digits}d}"


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in FIELDS:
        sys.exit(f"Usage: python demo/lakecam.py {'|'.join(FIELDS)}")
    written = write_night(Path(sys.argv[1]), sys.argv[1])
    print(f"{len(written)} raws are in {sys.argv[1]}.")
