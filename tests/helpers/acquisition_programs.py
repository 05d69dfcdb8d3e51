"""Headers of frames as common acquisition programs write them, with their comments where these say something."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from astropy.io import fits

Cards = Mapping[str, Any]
"""Values, or pairs of a value and a comment."""

# M 51 from 11.6 degrees east on a night of May: what all have looked at, unless they say otherwise.
RA, DEC = 202.469575, 47.195258

NINA: Final[Cards] = {
    "IMAGETYP": ("LIGHT", "Type of exposure"),
    "EXPOSURE": (300.0, "[s] Exposure duration"),
    "EXPTIME": (300.0, "[s] Exposure duration"),
    "DATE-LOC": ("2024-05-07T00:21:43.118", "Time of observation (local)"),
    "DATE-OBS": ("2024-05-06T22:21:43.118", "Time of observation (UTC)"),
    "XBINNING": (1, "X axis binning factor"),
    "YBINNING": (1, "Y axis binning factor"),
    "GAIN": (100, "Sensor gain"),
    "OFFSET": (50, "Sensor gain offset"),
    "XPIXSZ": (3.76, "[um] Pixel X axis size"),
    "YPIXSZ": (3.76, "[um] Pixel Y axis size"),
    "INSTRUME": ("ZWO ASI2600MM Pro", "Imaging instrument name"),
    "TELESCOP": ("Newton 200/800", "Name of telescope"),
    "FOCALLEN": (800.0, "[mm] Focal length"),
    "FOCRATIO": (4.0, "Focal ratio"),
    "RA": (RA, "[deg] RA of telescope"),
    "DEC": (DEC, "[deg] Declination of telescope"),
    "CENTALT": (83.5, "[deg] Altitude of telescope"),
    "CENTAZ": (268.0, "[deg] Azimuth of telescope"),
    "AIRMASS": (1.0, "Airmass at frame center (Gueymard 1993)"),
    "PIERSIDE": ("West", "Telescope pointing state"),
    "SITEELEV": (700.0, "[m] Observation site elevation"),
    "SITELAT": (47.7, "[deg] Observation site latitude"),
    "SITELONG": (11.6, "[deg] Observation site longitude"),
    "FWHEEL": ("ZWO EFW", "Filter Wheel name"),
    "FILTER": ("Ha", "Active filter name"),
    "OBJECT": ("M 51", "Name of the object of interest"),
    "OBJCTRA": ("13 29 52", "[H M S] RA of imaged object"),
    "OBJCTDEC": ("+47 11 42", "[D M S] Declination of imaged object"),
    "OBJCTROT": (0.0, "[deg] planned rotation of imaged object"),
    "ROWORDER": ("TOP-DOWN", "FITS Image Orientation"),
    "EQUINOX": (2000.0, "Equinox of celestial coordinate system"),
    "SWCREATE": ("N.I.N.A. 3.1.2.9001 (x64)", "Software that created this file"),
}

MAXIM: Final[Cards] = {
    "INSTRUME": ("Apogee USB/Net", "instrument or camera used"),
    "DATE-OBS": ("2014-10-26T03:04:05.12", "YYYY-MM-DDThh:mm:ss observation, UT"),
    "EXPTIME": (120.0, "Exposure time in seconds"),
    "EXPOSURE": (120.0, "Exposure time in seconds"),
    "XPIXSZ": (18.0, "Pixel Width in microns (after binning)"),
    "YPIXSZ": (18.0, "Pixel Height in microns (after binning)"),
    "XBINNING": (2, "Binning factor in width"),
    "YBINNING": (2, "Binning factor in height"),
    "XORGSUBF": (0, "Subframe X position in binned pixels"),
    "YORGSUBF": (0, "Subframe Y position in binned pixels"),
    "FILTER": ("Luminance", "Filter used when taking image"),
    "IMAGETYP": ("Light Frame", "Type of image"),
    "SITELAT": ("+32 24 00", "Latitude of the imaging location"),
    "SITELONG": ("-110 48 00", "Longitude of the imaging location"),
    "JD": (2456956.6278370367, "Julian Date at start of exposure"),
    "FOCALLEN": (4000.0, "Focal length of telescope in mm"),
    "APTDIA": (500.0, "Aperture diameter of telescope in mm"),
    "SBSTDVER": ("SBFITSEXT Version 1.0", "Version of SBFITSEXT standard in effect"),
    "SWCREATE": ("MaxIm DL Version 5.24 130605 0R3R7", "Name of software"),
    "OBJECT": "NGC 6946",
    "OBJCTRA": ("20 34 52", "Nominal Right Ascension of center of image"),
    "OBJCTDEC": ("+60 09 14", "Nominal Declination of center of image"),
    "OBJCTALT": (" 58.0000", "Nominal altitude of center of image"),
    "OBJCTAZ": ("340.5000", "Nominal azimuth of center of image"),
    "PIERSIDE": ("WEST", "Side of pier telescope is on"),
    "AIRMASS": (1.169, "Relative optical path length through atmosphere"),
    "TELESCOP": ("RC 20", "telescope used to acquire this image"),
}

SHARPCAP: Final[Cards] = {
    "ROWORDER": ("TOP-DOWN", "Image row order"),
    "IMAGETYP": "Light",
    "INSTRUME": ("ZWO ASI294MC Pro", "Camera name"),
    "EXPTIME": (15.0, "Exposure time (seconds)"),
    "DATE-OBS": ("2024-05-06T22:21:43.1181234", "System Clock:Est. Frame Start"),
    "DATE-AVG": ("2024-05-06T22:21:50.6181234", "System Clock:Est. Frame Mid Point"),
    "XBINNING": 1,
    "YBINNING": 1,
    "XPIXSZ": (4.63, "microns, includes binning if any"),
    "YPIXSZ": (4.63, "microns, includes binning if any"),
    "BAYERPAT": "RGGB",
    "FOCALLEN": (430.0, "mm"),
    "TELESCOP": "EQMOD ASCOM HEQ5/6",
    "OBJCTRA": ("13 30 54.096", "Epoch : JNOW"),
    "OBJCTDEC": ("+47 04 12.472", "Epoch : JNOW"),
    "RA": (202.7254003, "Epoch : JNOW"),
    "DEC": (47.0701310, "Epoch : JNOW"),
    "SITELAT": "47 42 00",
    "SITELONG": "11 36 00",
    "SWCREATE": "SharpCap v4.1.11817.0, 64 bit",
}

APT: Final[Cards] = {
    "IMAGETYP": ("Light Frame", "The type of the image"),
    "INSTRUME": ("QHY268M", "Camera used"),
    "DATE-OBS": ("2024-05-06T22:21:43", "UTC start time of the exposure"),
    "EXPTIME": (180.0, "Exposure in seconds"),
    "EXPOSURE": (180.0, "Exposure in seconds"),
    "XBINNING": (1, "Binning on X axis"),
    "YBINNING": (1, "Binning on Y axis"),
    "XPIXSZ": (3.76, "Pixel size in microns - X axis"),
    "YPIXSZ": (3.76, "Pixel size in microns - Y axis"),
    "FOCALLEN": (530, "Focal length in mm"),
    "OBJECT": "M 51",
    "OBJCTRA": ("13 29 52.70", "RA of the object"),
    "OBJCTDEC": ("+47 11 42.9", "DEC of the object"),
    "FILTER": "Sii",
    "SITELAT": (" 47 42 00.000", "The site Latitude"),
    "SITELONG": ("+11 36 00.000", "The site Longitude"),
    "SWCREATE": "APT-Astro Photography Tool - v.4.10",
}

EKOS: Final[Cards] = {
    "ROWORDER": ("TOP-DOWN", "Row Order"),
    "INSTRUME": ("ZWO CCD ASI1600MM Pro", "CCD Name"),
    "TELESCOP": ("EQMod Mount", "Telescope name"),
    "OBSERVER": "Unknown",
    "OBJECT": "M51",
    "EXPTIME": (60.0, "Total Exposure Time (s)"),
    "PIXSIZE1": (3.8, "Pixel Size 1 (microns)"),
    "PIXSIZE2": (3.8, "Pixel Size 2 (microns)"),
    "XBINNING": (2, "Binning factor in width"),
    "YBINNING": (2, "Binning factor in height"),
    "XPIXSZ": (7.6, "X binned pixel size in microns"),
    "YPIXSZ": (7.6, "Y binned pixel size in microns"),
    "FRAME": ("Light", "Frame Type"),
    "IMAGETYP": ("Light Frame", "Frame Type"),
    "FILTER": "Red",
    "FOCALLEN": (600.0, "Focal Length (mm)"),
    "SCALE": (2.6127, "arcsecs per pixel"),
    "SITELAT": (47.7, "Latitude of the imaging site in degrees"),
    "SITELONG": (11.6, "Longitude of the imaging site in degrees"),
    "AIRMASS": (1.000411, "Airmass"),
    "OBJCTAZ": (268.0, "Azimuth of center of image in Degrees"),
    "OBJCTALT": (83.5, "Altitude of center of image in Degrees"),
    "OBJCTRA": ("13 29 52.70", "Object J2000 RA in Hours"),
    "OBJCTDEC": ("47 11 42.93", "Object J2000 DEC in Degrees"),
    "RA": (RA, "Object J2000 RA in Degrees"),
    "DEC": (DEC, "Object J2000 DEC in Degrees"),
    "PIERSIDE": ("WEST", "West, looking East"),
    "EQUINOX": (2000, "Equinox"),
    "DATE-OBS": ("2024-05-06T22:21:43.118", "UTC start date of observation"),
}

ASIAIR: Final[Cards] = {
    "CREATOR": ("ZWO ASIAIR Plus", "Capture software"),
    "OFFSET": 50,
    "EXPOSURE": (300.0, "Exposure time in seconds"),
    "EXPTIME": (300.0, "Exposure time in seconds"),
    "CCD-TEMP": -10.0,
    "IMAGETYP": ("Light", "Type of image"),
    "RA": (RA, "Telescope Right Ascension in degrees"),
    "DEC": (DEC, "Telescope Declination in degrees"),
    "DATE-OBS": ("2024-05-06T22:21:43.118123", "Image created time"),
    "FOCALLEN": (382, "Focal length of telescope in mm"),
    "XPIXSZ": (3.76, "Pixel size in microns (with binning)"),
    "YPIXSZ": (3.76, "Pixel size in microns (with binning)"),
    "XBINNING": 1,
    "YBINNING": 1,
    "INSTRUME": "ZWO ASI2600MC Pro",
    "TELESCOP": "ZWO AM5",
    "OBJECT": "M 51",
    "SITELAT": 47.7,
    "SITELONG": 11.6,
    "BAYERPAT": "RGGB",
}

SGPRO: Final[Cards] = {
    "CREATOR": ("Sequence Generator Pro v3.2.0.660", "Creation software"),
    "OBJECT": "M 51",
    "INSTRUME": ("QSI 683 wsg", "Camera name"),
    "SITENAME": "Back yard",
    "SITEELEV": 700,
    "SITELONG": ("11 36 0.000 E", "Longitude"),
    "SITELAT": ("47 42 0.000 N", "Latitude"),
    "IMAGETYP": "LIGHT",
    "DATE-LOC": ("2024-05-07T00:21:43.1180000", "Local exposure start"),
    "DATE-OBS": ("2024-05-06T22:21:43.1180000", "UTC of exp start"),
    "EXPOSURE": (600.0, "Exposure time in seconds"),
    "EXPTIME": (600.0, "Exposure time in seconds"),
    "TELESCOP": "FSQ-106",
    "XBINNING": 1,
    "YBINNING": 1,
    "FILTER": "Lum",
    "FOCALLEN": (530.0, "Focal length"),
    "XPIXSZ": (5.4, "Pixel width in microns"),
    "YPIXSZ": (5.4, "Pixel height in microns"),
    "RA": (RA, "Object Right Ascension"),
    "DEC": (DEC, "Object Declination"),
    "CRVAL1": RA,
    "CRVAL2": DEC,
    "OBJCTRA": ("13 29 52.698", "Object Right Ascension (J2000)"),
    "OBJCTDEC": ("+47 11 42.929", "Object Declination (J2000)"),
    "AIRMASS": 1.0004,
    "OBJCTALT": 83.5,
    "CENTALT": 83.5,
    "ANGLE": (33.0, "Image angle"),
}

THESKYX: Final[Cards] = {
    "INSTRUME": "SBIG STF-8300 CCD Camera",
    "TELESCOP": "Paramount MX",
    "DATE-OBS": ("2024-05-06T22:21:43.118", "UTC of exposure start"),
    "LOCALTIM": ("5/7/2024 12:21:43.118 AM DST", "Local time at exposure start"),
    "EXPTIME": (240.0, "The exposure time in seconds"),
    "IMAGETYP": "Light Frame",
    "PICTTYPE": (1, "Image type as index 0=Unknown 1=Light, 2=Bias, 3=Dark, 4=Flat"),
    "XBINNING": 2,
    "YBINNING": 2,
    "XPIXSZ": (10.8, "Pixel width in microns"),
    "YPIXSZ": (10.8, "Pixel height in microns"),
    "FILTER": "Blue",
    "OBJECT": "M 51",
    "OBJCTRA": ("13h 29m 52.70s", "The RA of center of image (J2000)"),
    "OBJCTDEC": ("+47d 11m 42.9s", "The dec of center of image (J2000)"),
    "FOCALLEN": (1200.0, "Focal length of telescope in mm"),
    "ROTATANG": (30.0, "Rotator angle in degrees"),
    "SITELAT": "47:42:00",
    "SITELONG": "11:36:00",
    "SWCREATE": "TheSkyX Version 10.5.0 Build 12545",
}

PROGRAMS: Final = {
    "NINA": NINA,
    "MaxIm DL": MAXIM,
    "SharpCap": SHARPCAP,
    "APT": APT,
    "Ekos": EKOS,
    "ASIAIR": ASIAIR,
    "SGPro": SGPRO,
    "TheSkyX": THESKYX,
}


def write_frame(path: Path, cards: Cards, *, size: tuple[int, int] = (60, 40), **changes: Any) -> Path:
    """Write a frame; a change to `None` leaves a card out, and ``_`` in a keyword is a dash."""
    changes = {
        key.replace("_", "-") if key.replace("_", "-") in cards else key: value for key, value in changes.items()
    }
    header = fits.Header()
    for key, value in {**cards, **changes}.items():
        if value is not None:
            header[key] = value
    fits.PrimaryHDU(np.zeros(size[::-1], dtype=np.uint16), header).writeto(path)
    return path


def solved(
    scale: float, angle: float, *, mirrored: bool = False, ra: float = RA, dec: float = DEC,
    size: tuple[int, int] = (60, 40),
) -> dict[str, Any]:  # fmt: skip
    """Make the cards of a WCS: arcsec a pixel, degrees from north through east to the y axis."""
    a, s = math.radians(angle), scale / 3600
    # The image of x and y on the sky, east and north.
    x = (-math.cos(a), math.sin(a)) if not mirrored else (math.cos(a), -math.sin(a))
    y = (math.sin(a), math.cos(a))
    return {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra, "CRVAL2": dec, "CUNIT1": "deg", "CUNIT2": "deg",
        "CRPIX1": (size[0] + 1) / 2, "CRPIX2": (size[1] + 1) / 2,
        "CD1_1": s * x[0], "CD1_2": s * y[0], "CD2_1": s * x[1], "CD2_2": s * y[1],
    }  # fmt: skip
