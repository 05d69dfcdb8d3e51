"""The frames that a draft is made from, and what is said about it."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from astropy.time import Time

from ...errors import IngestError, RawFileError
from ...lists import counted, listed, shown
from ...raws import RawFile, RawWcs, is_unknown, read_raw_files
from ...raws.hdus import DetectorImage, detector_image, has_celestial_wcs, one_detector, own_images
from ...raws.headers import DETECTOR_KEYS

OFF_SKY = ("bias", "dark", "flat", "arc")


@dataclass
class Section:
    """A part of a description, and what is said about it."""

    content: dict[str, Any]
    said: Sequence[str] = ()
    check: Sequence[str] = ()
    """What may be wrong; it is printed too."""


@dataclass
class Frame:
    """A file with one detector's image."""

    file: RawFile
    index: int
    image: DetectorImage
    kind: str = ""
    """Its type, as visits have it; empty until that is known."""
    begin: Time | None = None
    wcs_problem: str = ""
    _header: Mapping[str, Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._header = self.file.merged_header(self.index)

    def __str__(self) -> str:
        return self.file.uri

    def get(self, key: str) -> Any:
        """Return a card's value, `None` if it has none."""
        value = self._header.get(key)
        value = value.strip() if isinstance(value, str) else value
        return None if is_unknown(value) or (isinstance(value, float) and not math.isfinite(value)) else value

    def number(self, key: str) -> float | None:
        """Return a card's value if it is a number, in quotes too."""
        value = self.get(key)
        try:
            number = float(value)
        except (TypeError, ValueError):
            return None
        return number if math.isfinite(number) and not isinstance(value, bool) else None

    def comment(self, key: str) -> str:
        """Return a card's comment in lower case."""
        for header in (self.file.headers[self.index], self.file.headers[0]):
            if key in header:
                return str(header.comments[key]).casefold()
        return ""

    @property
    def sees_sky(self) -> bool:
        """Whether it is taken for one of the sky."""
        return self.kind not in OFF_SKY

    @cached_property
    def wcs(self) -> RawWcs | None:
        """Its WCS, if it was solved."""
        if not self.sees_sky or not has_celestial_wcs(self.file.headers[self.index]) or _says_no(self.get("PLTSOLVD")):
            return None
        try:
            return RawWcs(self.image)
        except RawFileError as error:
            self.wcs_problem = str(error)
            return None


def _says_no(value: object) -> bool:
    return value is False or str(value).casefold() in ("f", "false", "n", "no", "0")


def read_frames(uris: Sequence[str]) -> tuple[list[Frame], list[str]]:
    """Read the headers of files; also says which of them are left out, and why.

    Raises `IngestError` if they are not of one camera with one detector.
    """
    frames, left_out = [], []
    for file in read_raw_files(uris):
        if isinstance(file, RawFileError):
            left_out.append(str(file))
        elif not file.images:
            left_out.append(f"{file.uri}: there is no image in it.")
        else:
            if file.translator is not None:
                raise IngestError(
                    f"{file.uri}: headers of {file.translator.name} are understood without a description; run ingest "
                    "without one."
                )
            own = own_images(file, list(file.images))
            if len(own) > 1 and not one_detector(file):
                raise IngestError(
                    f"{file.uri} has {len(own)} images; a draft can be made for cameras with one detector only. For a "
                    "mosaic see the second part of docs/tutorial.md."
                )
            try:
                frames.append(Frame(file, own[0], detector_image(file, own[0], own)))
            except RawFileError as error:
                left_out.append(str(error))
    if not frames:
        raise IngestError(left_out[0] if len(left_out) == 1 else "\n".join(["No file can be read.", *left_out[:10]]))
    for key in DETECTOR_KEYS:
        values = files_by_value(frames, key)
        if len(values) > 1 and not any(isinstance(value, float) for value in values):
            raise IngestError(
                f"{key} differs: {named_values(values)}. A draft can be made for cameras with one detector only. For a "
                "mosaic see the second part of docs/tutorial.md."
            )
    return frames, left_out


def files_by_value(frames: Iterable[Frame], key: str) -> dict[Hashable, list[Frame]]:
    """Sort frames by a card's value, those that have one."""
    found: dict[Hashable, list[Frame]] = defaultdict(list)
    for frame in frames:
        if (value := frame.get(key)) is not None:
            found[value].append(frame)
    return dict(found)


def named_values(values: Mapping[Hashable, Sequence[Frame]]) -> str:
    """List values with the number of their files, and the first of these."""
    return ", ".join(
        f"{shown(value)} ({counted(len(frames), 'file')}, first {frames[0]})" for value, frames in values.items()
    )


def keys_with_values(frames: Sequence[Frame], keys: Iterable[str]) -> list[str]:
    """Choose the keys that have a value in some frame."""
    return [key for key in keys if any(frame.get(key) is not None for frame in frames)]


def key_or_keys(keys: Sequence[str]) -> str | list[str]:
    """Write keys as a description has them."""
    return keys[0] if len(keys) == 1 else list(keys)


def without_visit(frames: Iterable[Frame], keys: Sequence[str], is_there: Callable[[Frame], bool]) -> list[str]:
    """Say which frames become no visit, because they lack what some keys say and are not solved either."""
    lacking = [frame for frame in frames if frame.kind == "science" and frame.wcs is None and not is_there(frame)]
    if not lacking:
        return []
    what = f"{counted(len(lacking), 'frame')} of the sky without {listed(keys)}, first {lacking[0]}"
    return [f"{what}: there is no visit of a frame that neither has it nor is solved."]


def says(text: str, *words: str) -> bool:
    """Tell whether a comment has one of some words."""
    return any(re.search(rf"(?<![a-z]){word}(?![a-z])", text) for word in words)
