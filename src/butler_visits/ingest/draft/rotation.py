"""What a draft says of how the camera was turned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...geometry import FloatArray, axes, ra_dec
from ...lists import counted
from .frames import Frame, Section, key_or_keys, without_visit

_ROTATIONS = ("POSANGLE", "POSANG", "POS_ANG", "PA", "ROTSKYPA", "ROTATANG", "ROTANGLE", "ROTPA")
_ROTATIONS_IF_SOLVED = ("OBJCTROT", "ANGLE", "ROTATOR")
"""What was planned, or may be anything: only what solved frames confirm is taken."""

_SAME_ANGLE = 1.0
"""Degrees by which rotations that are the same may differ."""


def rotation(frames: Sequence[Frame]) -> tuple[Section | None, bool | None]:
    """Say how the camera was turned, and whether its images are mirrored, as far as solved frames tell it.

    The section is `None` if nothing says it.
    """
    sky = [frame for frame in frames if frame.sees_sky]
    solved = [(frame, *_orientation(frame)) for frame in sky if frame.wcs is not None]
    if not solved:
        return _unconfirmed(sky), None
    mirrored = {is_mirrored for _, _, is_mirrored in solved}
    flipped = mirrored.pop() if len(mirrored) == 1 else None
    angles = np.array([angle for _, angle, _ in solved])
    n = counted(len(solved), "solved frame")
    for key in (*_ROTATIONS, *_ROTATIONS_IF_SOLVED):
        turned = [(angle, number) for frame, angle, _ in solved if (number := frame.number(key)) is not None]
        # In a header or two a program may not have known it.
        if 2 * len(turned) <= len(solved) or (fit := _fit(*np.array(turned).T[::-1])) is None:
            continue
        sign, offset, is_tested = fit
        if key in _ROTATIONS_IF_SOLVED and not is_tested:
            continue
        n_turned = counted(len(turned), "solved frame")
        is_confirmed = is_tested and (not offset or np.ptp([number for _, number in turned]) > _SAME_ANGLE)
        how = f"as {n_turned} confirm{'s' * (len(turned) == 1)}" if is_confirmed else f"fitted to {n_turned}"
        said = f"From {key}, {how}: north through east to the y axis."
        way = "backwards" if sign < 0 else "from north through east"
        unsure = f"That {key} counts {way} is not sure: no two solved frames have different ones."
        more, check = _more_keys(sky, solved, key, sign, offset)
        content: dict[str, Any] = {"multiply": sign} if sign < 0 else {}
        content |= {"add": round((offset + 180) % 360 - 180, 3)} if offset else {}
        return _section([key, *more], content, [said], [*([] if is_tested else [unsure]), *check], sky), flipped
    if _scatter(angles, 180) > _SAME_ANGLE:
        turns = f"({angles.min():.1f} to {angles.max():.1f} degrees)"
        return Section({}, check=[f"The camera is turned differently in {n} {turns}, and no card says how."]), flipped
    return _fixed(solved, n), flipped


def _unconfirmed(sky: Sequence[Frame]) -> Section | None:
    """Take the rotation of the header as it is, if there is one."""
    keys = [key for key in _ROTATIONS if any(_is_turn(frame, key) for frame in sky)]
    if not keys:
        return None
    more, check = _more_keys(sky, [], keys[0], 1, 0.0)
    unsure = f"{keys[0]} is taken as it is, from north through east; no solved frame confirms it."
    return _section([keys[0], *more], {}, [], [unsure, *check], sky)


def _more_keys(
    sky: Sequence[Frame], solved: Sequence[tuple[Frame, float, bool]], key: str, sign: int, offset: float
) -> tuple[list[str], list[str]]:
    """Find a key for frames that lack the first one, and say so; it must count from where the first one does."""
    lacking = [frame for frame in sky if frame.wcs is None and not _is_turn(frame, key)]
    for other in _ROTATIONS:
        if not any(_is_turn(frame, other) for frame in lacking):
            continue
        off = [
            angle - sign * (frame.number(other) or 0) - offset for frame, angle, _ in solved if _is_turn(frame, other)
        ]
        is_same = all(abs((one + 90) % 180 - 90) <= _SAME_ANGLE for one in off)
        # Of what no solved frame confirms no more is known than that it may be the plain angle.
        if is_same and (off or (sign > 0 and not offset)):
            return [other], [f"{other} is taken for frames without {key}; it is not sure that both mean the same."]
    return [], []


def _section(
    keys: Sequence[str], content: dict[str, Any], said: Sequence[str], check: Sequence[str], sky: Sequence[Frame]
) -> Section:
    """Write down where the rotation is, and which frames have none."""
    check = [*check, *without_visit(sky, keys, lambda frame: any(_is_turn(frame, key) for key in keys))]
    return Section({"boresight_rotation_angle": {"key": key_or_keys(keys), **content, "default": None}}, said, check)


def _is_turn(frame: Frame, key: str) -> bool:
    """Tell whether a card has an angle."""
    number = frame.number(key)
    return number is not None and abs(number) <= 720


def _fixed(solved: Sequence[tuple[Frame, float, bool]], n: str) -> Section:
    """Say how a camera that is not turned lies: perhaps upside down on the other side of the pier."""
    check = [f"The rotation is that of {n}: true as long as nobody turns the camera."]
    sides: dict[str, list[float]] = {}
    for frame, angle, _ in solved:
        sides.setdefault(str(frame.get("PIERSIDE") or "").casefold(), []).append(angle)
    if sides.keys() <= {"east", "west"}:
        means = {
            side: _mean(np.array(angles)) for side, angles in sides.items() if _scatter(np.array(angles)) <= _SAME_ANGLE
        }
        if means.keys() == sides.keys():
            if len(means) == 1:
                ((side, mean),) = means.items()
                means["west" if side == "east" else "east"] = round((mean + 180) % 360, 3)
                check.append(f"Frames of the other side of the pier than {side} are taken to be upside down.")
            content = {"key": "PIERSIDE", "map": {side.title(): means[side] for side in ("east", "west")}}
            return Section({"boresight_rotation_angle": {**content, "default": means[next(iter(sides))]}}, check=check)
    angles = np.array([angle for _, angle, _ in solved])
    if _scatter(angles) > _SAME_ANGLE:
        check.append("Some of them are upside down; the outline is the same.")
    mean = _mean(angles) if _scatter(angles) <= _SAME_ANGLE else round(float(angles[0]), 3)
    return Section({"boresight_rotation_angle": {"value": mean}}, check=check)


def _orientation(frame: Frame) -> tuple[float, bool]:
    """Return the angle from north through east to the y axis, degrees, and whether the image is mirrored."""
    assert frame.wcs is not None
    low, high = frame.image.box.astype(float)
    middle, size = (low + high) / 2, (high - low + 1) / 4
    centre, right, up = frame.wcs.directions(middle + np.array([[0, 0], [size[0], 0], [0, size[1]]]))
    east, north = axes(*ra_dec(centre))
    x, y = np.array([east, north]) @ (right - centre), np.array([east, north]) @ (up - centre)
    # With north up, east is to the left.
    return math.degrees(math.atan2(*y)) % 360, bool(x[0] * y[1] - x[1] * y[0] > 0)


def _fit(values: FloatArray, angles: FloatArray) -> tuple[int, float, bool] | None:
    """Fit angles by sign * value + offset; also tells whether the values tell the sign.

    A half turn does not count: beyond the meridian a telescope is upside down. `None` if it does not fit.
    """
    fits = {}
    for sign in (1, -1):
        off = angles - sign * values
        period = next((p for p in (360, 180) if _scatter(off, p) <= _SAME_ANGLE), None)
        if period:
            mean = _mean(off, period)
            near = 0.0 if min(abs(mean), abs(mean - period)) < 0.05 else mean
            fits[sign] = near, period
    if not fits:
        return None
    # By one value alone a sign is told by an offset of nothing or quarters of a turn.
    quarters = [sign for sign, (offset, _) in fits.items() if _is_quarter(offset)]
    is_tested = len(fits) == 1 or len(quarters) == 1
    best = (quarters or list(fits))[0]
    return best, fits[best][0], is_tested


def _is_quarter(angle: float) -> bool:
    return abs((angle + 45) % 90 - 45) < 2


def _mean(angles: FloatArray, period: float = 360) -> float:
    turned = np.exp(2j * math.pi * angles / period).mean()
    return round(math.degrees(np.angle(turned)) * period / 360 % period, 3) % period


def _scatter(angles: FloatArray, period: float = 360) -> float:
    """Return the largest distance from the mean, degrees."""
    turned = np.exp(2j * math.pi * angles / period)
    return float(np.abs(np.angle(turned / turned.mean(), deg=True)).max()) * period / 360
