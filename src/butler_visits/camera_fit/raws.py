"""Fit a camera to the WCSs of raw files."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np
from astro_metadata_translator import ObservationInfo
from astropy.io import fits
from lsst.resources import ResourcePathExpression

from ..errors import RawFileError
from ..geometry import directions
from ..raws import FoundDetector, RawFile, RawWcs, angle_between, check_place, list_detectors, read_raw_files
from .fit import DetectorSamples, FittedCamera, Pointing, fit_camera
from .pixel_size import find_pixel_size

_LOG = logging.getLogger(__name__)

_EXPOSURE_KEYS = ("EXPID", "EXPNUM", "OBSID", "OBS-ID", "EXP-ID", "DATE-OBS", "MJD-OBS")
"""Keywords that tell exposures apart, the best first."""

_TIME_KEYS = ("TIME-OBS", "UT", "UTC", "UTC-OBS", "UTSTART", "UT-START", "TIME", "UTSHUT")
"""Keywords with the time of day, where DATE-OBS has none."""


def fit_camera_to_files(uris: Sequence[ResourcePathExpression]) -> FittedCamera:
    """Fit a camera to raw files; a `RawFileError` or a `CameraFitError` if they do not tell one.

    Its centre is where the exposures point: as ``astro_metadata_translator`` understands their headers, or the
    reference point (``CRVAL1``, ``CRVAL2``) that all detectors of an exposure share.
    """
    found: list[tuple[Hashable, FoundDetector]] = []
    for file in read_raw_files(list(dict.fromkeys(map(str, uris)))):
        if isinstance(file, RawFileError):
            raise file
        found += [(_exposure(file, detector), detector) for detector in list_detectors(file)]
    numbers = _numbers(found)
    pointings, told = _pointings(found)
    samples, wcss = [], []
    for (exposure, detector), number in zip(found, numbers, strict=True):
        wcs = RawWcs(detector.image)
        if exposure in told:
            place = directions(pointings[exposure].ra, pointings[exposure].dec)
            area = float(np.prod(wcs.box[1] - wcs.box[0] + 1)) * len(set(numbers))
            field = wcs.pixel_scale * math.sqrt(area)
            reference = f"its header says that the telescope looked (exposure {exposure})"
            check_place(f"{wcs.label}: the detector is", float(angle_between(wcs.centre, place)), field, reference)
        wcss.append(wcs)
        grid = wcs.grid()
        name = detector.name or str(number)
        samples.append(DetectorSamples(number, name, exposure, wcs.box, grid, wcs.directions(grid)))
    first = found[0][1].image
    headers = (first.header, first.file.headers[0])
    pixel_size, note = find_pixel_size(headers, first.binning[0], wcss[0].pixel_scale)
    fitted = fit_camera(
        samples,
        name=str(_value(first.file, first.index, "INSTRUME") or "camera").strip(),
        pixel_size=pixel_size,
        pointings=pointings,
    )
    return replace(fitted, notes=(note,))


def _numbers(found: Sequence[tuple[Hashable, FoundDetector]]) -> list[int]:
    """Return the detectors' numbers; where no header tells them, they are numbered by their names."""
    detectors = [detector for _, detector in found]
    told = [detector.number for detector in detectors if detector.number is not None]
    if len(told) == len(detectors):
        return told
    names = {detector.name for detector in detectors}
    if names == {None} and not told and len({exposure for exposure, _ in found}) == len(found):
        # Exposures with one detector each: it is the same in all.
        return [0] * len(found)
    for detector in detectors:
        if detector.name is None:
            raise RawFileError(
                f"{detector.image.label}: the header tells neither number nor name of the detector; expected CCDNUM "
                "or EXTNAME, or give raws of a camera with one detector."
            )
    _LOG.warning(
        "No header tells the detectors' numbers, so they are numbered from 0 by their names; change id in the camera "
        "where the repository has other ones."
    )
    order = {name: number for number, name in enumerate(sorted(names, key=str))}
    return [order[detector.name] for detector in detectors]


def _exposure(file: RawFile, detector: FoundDetector) -> Hashable:
    """Return what tells an exposure from others; if nothing does, its file is an exposure."""
    for key in _EXPOSURE_KEYS:
        value = _value(file, detector.image.index, key)
        if value is None:
            continue
        if key == "DATE-OBS" and "T" not in str(value):
            times = (_value(file, detector.image.index, key) for key in _TIME_KEYS)
            return value, next((time for time in times if time is not None), file.uri)
        return value
    return file.uri


def _value(file: RawFile, index: int, key: str) -> str | int | float | None:
    """Return a keyword's value, of the image's HDU or else of the file's first one."""
    value = file.headers[index].get(key, file.headers[0].get(key))
    return None if isinstance(value, fits.card.Undefined) else value


def _pointings(found: Sequence[tuple[Hashable, FoundDetector]]) -> tuple[dict[Hashable, Pointing], set[Hashable]]:
    """Find where exposures point, of those whose headers tell it, and of which not only the WCSs do."""
    references: dict[Hashable, set[tuple[float, float]]] = defaultdict(set)
    counts: dict[Hashable, int] = defaultdict(int)
    pointings: dict[Hashable, Pointing] = {}
    for exposure, detector in found:
        header = detector.image.header
        references[exposure].add((_number(header.get("CRVAL1")), _number(header.get("CRVAL2"))))
        counts[exposure] += 1
        if exposure not in pointings and (pointing := _translated_pointing(detector)) is not None:
            pointings[exposure] = pointing
    told = set(pointings)
    for exposure, values in references.items():
        # A reference point of one detector only may be anywhere, for instance in its middle.
        if exposure not in pointings and len(values) == 1 and counts[exposure] > 1:
            ((ra, dec),) = np.deg2rad(list(values))
            pointings[exposure] = Pointing(float(ra), float(dec))
    return pointings, told


def _number(value: object) -> float:
    # What is no number the WCS's own checks report.
    return float(value) if isinstance(value, int | float) else np.nan


def _translated_pointing(detector: FoundDetector) -> Pointing | None:
    """Ask astro_metadata_translator where an exposure points."""
    file = detector.image.file
    if file.translator is None:
        return None
    try:
        wanted = {"tracking_radec", "boresight_rotation_angle", "boresight_rotation_coord"}
        header = file.merged_header(detector.image.index)
        info = ObservationInfo(header, translator_class=file.translator, pedantic=False, subset=wanted)
    except (ValueError, KeyError, TypeError):
        return None
    if info.tracking_radec is None:
        return None
    rotation = None
    if info.boresight_rotation_coord == "sky" and info.boresight_rotation_angle is not None:
        rotation = float(info.boresight_rotation_angle.rad)
    return Pointing(float(info.tracking_radec.icrs.ra.rad), float(info.tracking_radec.icrs.dec.rad), rotation)
