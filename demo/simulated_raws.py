"""Raw files of the simulated survey: small images with headers as long as real ones, and a description of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.time import Time, TimeDelta

from butler_visits.camera.yaml_camera import camera_from_mapping
from butler_visits.geometry import field_angle_to_sky
from simulated_survey import FILTERS, INSTRUMENT, NS_PER_S
from simulated_survey import camera as simulated_camera

N_TELEMETRY: Final = 90
"""Cards that nobody asks for, of which real headers have many."""

WINDOW: Final = 64
"""Pixels in x and y that are read out of the middle of a CCD, in raws that have a WCS."""

N_STARS: Final = 10
"""On each detector, in images of the sky that have a WCS."""


def describe(camera: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Describe the simulated instrument, as a YAML file would.

    Parameters
    ----------
    camera : `~collections.abc.Mapping`, optional
        Its camera; by default one raft of nine CCDs.

    Returns
    -------
    description : `dict`
        Content of an instrument description.
    """
    return {
        "name": INSTRUMENT,
        "recognise": {"INSTRUME": INSTRUMENT},
        "filters": [{"name": name, "band": band} for name, band in FILTERS.items()],
        "camera": dict(camera or simulated_camera(rafts=1)),
        "grouping": "one-to-one-and-by-counter",
        "properties": {
            "exposure_id": "EXPID",
            "observation_id": "OBSID",
            "datetime_begin": "DATE-BEG",
            "datetime_end": "DATE-END",
            "exposure_time": "EXPTIME",
            "dark_time": "DARKTIME",
            "observing_day": "DAYOBS",
            "observation_type": "IMGTYPE",
            "observation_reason": "REASON",
            "physical_filter": "FILTER",
            "object": {"key": "OBJECT", "default": None},
            "science_program": "PROGRAM",
            "exposure_group": "GROUPID",
            "observation_counter": "SEQNUM",
            "group_counter_start": "SEQSTART",
            "group_counter_end": "SEQEND",
            "tracking_radec": {"ra": {"key": "RA", "default": None}, "dec": {"key": "DEC", "default": None}},
            "boresight_rotation_angle": {"key": "ROTPA", "default": None},
            "altaz_begin": {"alt": {"key": "ALT", "default": None}, "az": {"key": "AZ", "default": None}},
            "can_see_sky": {"key": "SEESSKY", "default": None},
            "has_simulated_content": {"value": True},
            "detector_num": "CCDNUM",
        },
    }


def raw_header(exposure: Mapping[str, Any]) -> fits.Header:
    """Make the primary header of an exposure.

    Parameters
    ----------
    exposure : `~collections.abc.Mapping`
        The exposure, as `simulated_survey.night` returns it.

    Returns
    -------
    header : `astropy.io.fits.Header`
        Its header.
    """
    begin, end = (_isot(nsec) for nsec in exposure["timespan"].nsec)
    zenith_angle = exposure["zenith_angle"]
    cards = {
        "TELESCOP": "Simulated telescope",
        "INSTRUME": exposure.get("instrument", INSTRUMENT),
        "EXPID": exposure["id"],
        "OBSID": exposure["obs_id"],
        "TIMESYS": "TAI",
        "DATE-BEG": begin,
        "DATE-END": end,
        "EXPTIME": exposure["exposure_time"],
        "DARKTIME": exposure["dark_time"],
        "DAYOBS": exposure["day_obs"],
        "IMGTYPE": exposure["observation_type"],
        "REASON": exposure["observation_reason"],
        "FILTER": exposure["physical_filter"],
        "OBJECT": exposure["target_name"],
        "PROGRAM": exposure["science_program"],
        "GROUPID": exposure["group"],
        "SEQNUM": exposure["seq_num"],
        "SEQSTART": exposure["seq_start"],
        "SEQEND": exposure["seq_end"],
        "RA": exposure["tracking_ra"],
        "DEC": exposure["tracking_dec"],
        "ROTPA": exposure["sky_angle"],
        "ALT": None if zenith_angle is None else 90.0 - zenith_angle,
        "AZ": exposure["azimuth"],
        "AIRMASS": None if zenith_angle is None else round(1 / math.cos(math.radians(zenith_angle)), 4),
        "SEESSKY": exposure["can_see_sky"],
    }
    header = fits.Header([(key, value) for key, value in cards.items() if value is not None])
    for number in range(N_TELEMETRY):
        header[f"TEMP{number:04d}"] = (280.0 + 0.125 * number, f"[K] temperature of sensor {number}")
    return header


def write_raws(
    folder: Path,
    exposures: Iterable[Mapping[str, Any]],
    *,
    detectors: Sequence[int] = (0,),
    in_one_file: bool = False,
    camera: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write the raw files of exposures.

    Parameters
    ----------
    folder : `pathlib.Path`
        Where to write them; it is created.
    exposures : `~collections.abc.Iterable` [`~collections.abc.Mapping`]
        Exposures, as `simulated_survey.night` returns them.
    detectors : `~collections.abc.Sequence` [`int`], optional
        Detectors that are read out.
    in_one_file : `bool`, optional
        Whether all detectors of an exposure are in one file, or each has a file of its own.
    camera : `~collections.abc.Mapping`, optional
        The camera. If it is given, images of the sky have a WCS, and all say which window of the CCD they show.

    Returns
    -------
    files : `list` [`pathlib.Path`]
        The files, in the order of the exposures and detectors.
    """
    folder.mkdir(parents=True, exist_ok=True)
    nothing = np.zeros((4, 4), dtype=np.int16)
    files = []
    for exposure in exposures:
        header = raw_header(exposure)
        cards = {detector: {"CCDNUM": detector} for detector in detectors}
        if camera is not None:
            for detector in detectors:
                cards[detector] |= _window(camera, detector, exposure)
        if in_one_file:
            hdus = [
                fits.ImageHDU(nothing if camera is None else _pixels(exposure, detector), fits.Header(cards[detector]))
                for detector in detectors
            ]
            files.append(folder / f"{exposure['obs_id']}.fits")
            fits.HDUList([fits.PrimaryHDU(header=header), *hdus]).writeto(files[-1])
            continue
        for detector in detectors:
            header.update(cards[detector])
            files.append(folder / f"{exposure['obs_id']}_{detector:03d}.fits")
            image = nothing if camera is None else _pixels(exposure, detector)
            fits.PrimaryHDU(image, header).writeto(files[-1])
    return files


def _pixels(exposure: Mapping[str, Any], detector: int) -> npt.NDArray[np.uint16]:
    """Make noise and, if the exposure is of the sky, the same ten stars in all exposures of a detector's field."""
    rng = np.random.default_rng([exposure["id"], detector])
    image = rng.normal(1000, 5, (WINDOW, WINDOW))
    if exposure["can_see_sky"]:
        stars = np.random.default_rng([exposure["day_obs"], exposure["seq_start"], detector])
        # In a grid, so that no two are one.
        cells = stars.permutation(16)[:N_STARS]
        centres = np.stack([cells % 4, cells // 4], axis=1) * WINDOW // 4 + stars.uniform(
            5, WINDOW // 4 - 5, (N_STARS, 2)
        )
        y, x = np.indices(image.shape)
        for x0, y0 in centres:
            image += 1000 * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 4)
    return np.rint(image).astype(np.uint16)


def _window(camera: Mapping[str, Any], detector: int, exposure: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sections of a detector's window and, if the exposure is of the sky, its WCS."""
    model = camera_from_mapping(camera, "the simulated camera")
    index = model.detector_ids.tolist().index(detector)
    middle = model.bounding_boxes[index].mean(axis=0)
    first = np.rint(middle - (WINDOW - 1) / 2).astype(int) + 1
    last = first + WINDOW - 1
    cards: dict[str, Any] = {
        "DATASEC": f"[1:{WINDOW},1:{WINDOW}]",
        "CCDSEC": f"[{first[0]}:{last[0]},{first[1]}:{last[1]}]",
    }
    if not exposure["can_see_sky"]:
        return cards
    pixels = middle + np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    field_angle = model.focal_plane_to_field_angle(model.pixels_to_focal_plane[index](pixels))
    pointing = np.deg2rad([exposure[name] for name in ("tracking_ra", "tracking_dec", "sky_angle")])
    centre, *neighbours = field_angle_to_sky(field_angle, *pointing)
    ra, dec = np.arctan2(centre[1], centre[0]), np.arcsin(centre[2])
    east = np.array([-np.sin(ra), np.cos(ra), 0.0])
    axes = np.stack([east, np.cross(centre, east)])
    matrix = np.rad2deg(axes @ (np.stack(neighbours, axis=1) - centre[:, None]))
    crpix = middle + 2 - first
    return cards | {
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CRVAL1": float(np.rad2deg(ra) % 360),
        "CRVAL2": float(np.rad2deg(dec)),
        "CRPIX1": float(crpix[0]),
        "CRPIX2": float(crpix[1]),
        **{f"CD{i}_{j}": float(matrix[i - 1, j - 1]) for i in (1, 2) for j in (1, 2)},
    }


def _isot(nsec: int) -> str:
    """Write TAI nanoseconds since 1970 as FITS does."""
    epoch = Time("1970-01-01T00:00:00", format="isot", scale="tai")
    days, rest = divmod(nsec, 86400 * NS_PER_S)
    time = epoch + TimeDelta(float(days), rest / NS_PER_S / 86400, format="jd", scale="tai")
    time.precision = 9
    return str(time.isot)
