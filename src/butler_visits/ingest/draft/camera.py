"""What a draft says of the camera: how many pixels, how large, and at what focal length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...camera_fit.pixel_size import SIZES, millimetres
from ...errors import IngestError
from ...lists import counted
from .frames import Frame, Section, says

_BINNED_SIZES = ("XPIXSZ", "XPIXELSZ")
_OTHER_SIZES = tuple(key for key in SIZES if key not in _BINNED_SIZES)
_RADIAN = math.degrees(3600)
"""Arcseconds."""

_SAME = 1.02
"""Factor by which scales that are the same may differ."""


def camera(frames: Sequence[Frame], name: str, flipped: bool | None) -> list[Section]:
    """Describe a camera of one detector; if nobody knows the scale of its images there is none.

    Raises `IngestError` if the frames are of several focal lengths.
    """
    sky = [frame for frame in frames if frame.sees_sky] or list(frames)
    largest = max(sky, key=lambda frame: np.prod(frame.image.box[1] - frame.image.box[0]))
    low, high = largest.image.box.tolist()
    width, height = (high[axis] - low[axis] + 1 for axis in (0, 1))
    said, check = [], _windows(sky, largest)
    solved = [frame for frame in sky if frame.wcs is not None]
    size, about_size, doubt = _pixel_size(sky, solved)
    binned = sorted({frame.image.binning for frame in frames} - {(1, 1)})
    if binned:
        x, y = binned[0]
        said.append(
            f"Frames are binned {', '.join(f'{x} x {y}' for x, y in binned)}: {width} x {height} are the detector's "
            f"own pixels, {x * y} of which are one of a {x} x {y} binned frame."
        )
    focal = _focal_length(sky, check)
    by_wcs = [frame.wcs.pixel_scale * _RADIAN for frame in solved if frame.wcs is not None]
    if by_wcs:
        scale = float(np.median(by_wcs))
        if max(by_wcs) > _SAME * min(by_wcs):
            raise IngestError(
                f"Solved frames have pixels of {min(by_wcs):.4g} to {max(by_wcs):.4g} arcsec; a draft is of one focal "
                "length: give its files only."
            )
        size = size or (scale * focal / _RADIAN if focal else 0.005)
        said.append(f"The scale, {scale:.5g} arcsec a pixel, is from {counted(len(solved), 'solved frame')}.")
        nominal = focal and about_size and _RADIAN * size / focal
        if nominal and not 1 / _SAME < nominal / scale < _SAME:
            check.append(
                f"FOCALLEN and the size of a pixel give {nominal:.4g} arcsec, and solved frames {scale:.4g}, which "
                "counts."
            )
        plate_scale = scale / size
    elif size and focal:
        plate_scale = _RADIAN / focal
        said.append(
            f"The scale, {plate_scale * size:.5g} arcsec a pixel, is from FOCALLEN, {focal:g} mm; solved frames are "
            "more exact."
        )
        check += doubt
    else:
        lacking = "the focal length (FOCALLEN, mm)" if size else "the size of a pixel (XPIXSZ, micrometres)"
        lacking = lacking if size or focal else "the focal length (FOCALLEN) and the size of a pixel (XPIXSZ)"
        check.append(
            f"No header has {lacking}, and no frame is solved, so there is no camera, and only solved frames become "
            "visits, with -c computeVisitRegions=all-raw-wcs. Better: solve a frame, and run describe again."
        )
        return [Section({"detectors": [{"id": 0, "name": "CCD"}]}, check=check)]
    content: dict[str, Any] = {
        "name": name,
        "plateScale": round(plate_scale, 6),
        "transforms": {
            "nativeSys": "FocalPlane",
            "FieldAngle": {"transformType": "radial", "coeffs": [0.0, 1.0]},
        },
        "CCDs": {
            "CCD": {
                "id": 0,
                "bbox": [low, high],
                "pixelSize": [round(size, 8), round(size * _ratio(sky), 8)],
                "refpos": [(low[axis] + high[axis]) / 2 for axis in (0, 1)],
                "offset": [0.0, 0.0],
            }
        },
    }
    said += [about_size] if about_size else []
    said.append("plateScale: arcsec/mm, 206265 / focal length in mm. pixelSize: mm. bbox: first and last pixel.")
    sections = [Section({"camera": content}, said, check)]
    if flipped is not None:
        how = "mirrored: with north up, east is on the right" if flipped else "not mirrored"
        sections.append(Section({"raws_flipped": flipped}, [f"Solved frames are {how}."]))
    return sections


def _windows(frames: Sequence[Frame], largest: Frame) -> list[str]:
    """Say which frames do not show all of the detector."""
    full = np.diff(largest.image.box, axis=0)[0] + 1
    small = [
        frame
        for frame in frames
        if (full - np.diff(frame.image.box, axis=0)[0] - 1 >= np.maximum(frame.image.binning, 2) * 2).any()
    ]
    check = []
    if small:
        size = " x ".join(str(n) for n in np.diff(small[0].image.box, axis=0)[0] + 1)
        check.append(
            f"{counted(len(small), 'frame')} of the sky {'shows' if len(small) == 1 else 'show'} only a part of the "
            f"detector, first {small[0]} ({size} of {full[0]} x {full[1]} pixels): regions from the record would be "
            "too large; leave them out, or solve them."
        )
    if any(largest.number(key) for key in ("XORGSUBF", "YORGSUBF")):
        check.append(
            f"All frames are windows: {largest} begins at XORGSUBF {largest.get('XORGSUBF')}, YORGSUBF "
            f"{largest.get('YORGSUBF')}. The middle of the window is taken for where the telescope looked."
        )
    return check


def _pixel_size(sky: Sequence[Frame], solved: Sequence[Frame]) -> tuple[float | None, str, list[str]]:
    """Find the size of a detector's own pixel, mm; say where it is from, and what is doubtful about it."""
    for key in _OTHER_SIZES:
        sizes = [size for frame in sky if (size := millimetres(frame.number(key))) is not None]
        if sizes:
            return sizes[0], f"The size of a pixel, {sizes[0] * 1000:.5g} micrometres, is from {key}.", []
    for key in _BINNED_SIZES:
        having = [(f, size) for f in sky if (size := millimetres(f.number(key))) is not None]
        if not having:
            continue
        single = next((size for frame, size in having if frame.image.binning[0] == 1), None)
        if single is not None:
            return single, f"The size of a pixel, {single * 1000:.5g} micrometres, is from {key}.", []
        frame, size = having[0]
        binning = frame.image.binning[0]
        is_binned, why = _counts_binned(having, key, solved)
        own = size / binning if is_binned else size
        kind = f"a pixel that is binned by {binning}" if is_binned else "a pixel that is not binned"
        said = (
            f"{key}, {size * 1000:.5g} micrometres, is taken for the size of {kind}: the detector's own have "
            f"{own * 1000:.5g}"
        )
        return own, f"{said}{why}.", [] if why else [f"{said}, as FITS headers of most programs have it."]
    return None, "", []


def _counts_binned(having: Sequence[tuple[Frame, float]], key: str, solved: Sequence[Frame]) -> tuple[bool, str]:
    """Tell whether a size is that of a binned pixel, and why; by default it is."""
    frame, size = having[0]
    comment = frame.comment(key)
    if says(comment, "unbinned", "not binned", "without binning", "before binning"):
        return False, ", as its comment says"
    if says(comment, "binned", "binning"):
        return True, ", as its comment says"
    binnings = {one.image.binning[0]: length for one, length in having}
    if len(binnings) > 1:
        (a, first), (b, second), *_ = binnings.items()
        if math.isclose(first, second, rel_tol=0.01):
            return False, ", which is the same with other binnings"
        if math.isclose(first / a, second / b, rel_tol=0.01):
            return True, ", which is larger with more binning"
    focal = _focal_length([one for one, _ in having], [])
    scales = [one.wcs.pixel_scale for one in solved if one.wcs is not None]
    if focal and scales:
        by_wcs = float(np.median(scales)) * focal
        if abs(math.log(size / by_wcs)) < 0.2:
            return False, ", because FOCALLEN and solved frames say so"
        return True, ", because FOCALLEN and solved frames say so" if abs(
            math.log(size / frame.image.binning[0] / by_wcs)
        ) < 0.2 else ""
    return True, ""


def _ratio(frames: Sequence[Frame]) -> float:
    """Return how much higher than wide a detector's own pixels are."""
    for frame in frames:
        x, y = frame.number("XPIXSZ"), frame.number("YPIXSZ")
        if x and y and 0.2 < y / x < 5:
            x_bin, y_bin = frame.image.binning
            is_square = math.isclose(x, y, rel_tol=1e-6)
            return 1.0 if is_square else y / y_bin / (x / x_bin)
    return 1.0


def _focal_length(frames: Sequence[Frame], check: list[str]) -> float | None:
    """Return the focal length, mm.

    Raises `IngestError` if frames have several.
    """
    for key in ("FOCALLEN", "FOCLEN", "TELFOCLN"):
        having = [frame for frame in frames if (number := frame.number(key)) is not None and number > 0]
        if not having:
            continue
        numbers = [frame.number(key) or 0 for frame in having]
        if max(numbers) > 1.05 * min(numbers):
            raise IngestError(
                f"{key} is {min(numbers):g} to {max(numbers):g}; a draft is of one telescope: give its files only."
            )
        comment = having[0].comment(key)
        factor = 1.0
        if says(comment, "m", "met(er|re)s?"):
            factor = 1000.0
        elif says(comment, "cm"):
            factor = 10.0
        elif says(comment, "in", "inch(es)?") and says(comment, r"\[in(ch)?(es)?\]", "inch(es)?"):
            factor = 25.4
        length = float(np.median(numbers)) * factor
        # A lens has 8 mm, and the longest telescope 200 m.
        if 8 <= length <= 200_000:
            return length
        text = f"{key} is {numbers[0]:g}, which is not a focal length in mm."
        if text not in check:
            check.append(text)
    return None
