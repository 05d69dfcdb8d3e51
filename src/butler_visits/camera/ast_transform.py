"""Transforms as Rubin's camera files hold them: mappings of the Starlink AST library."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import starlink.Ast

FloatArray = npt.NDArray[np.float64]

_LOCK = threading.Lock()
"""Held while AST reads an object.

AST's channels call back into Python for each line, where another thread may go on; two that read at once end the
process with a segmentation fault. Everything else of AST runs under Python's own lock from beginning to end.
"""


def read_mapping(text: str) -> starlink.Ast.Mapping:
    """Read a mapping of points to points from AST's own text, which begins at the word Begin; else a `ValueError`."""
    at = text.find("Begin")
    if at < 0:
        raise ValueError("no AST object")
    with _LOCK:
        mapping = starlink.Ast.Channel(_Lines(text[at:])).read()
    if mapping is None or not mapping.isamapping() or mapping.Nin != 2 or mapping.Nout != 2:
        raise ValueError("not a mapping of points to points")
    return mapping


class AstTransform:
    """A transform that is stored as an AST mapping.

    It is called like any other, with points of shape (K, 2), and can be pickled, which AST's objects cannot.
    """

    def __init__(self, mapping: starlink.Ast.Mapping, forward: bool) -> None:
        self.mapping = mapping
        self.forward = forward

    def __call__(self, points: FloatArray) -> FloatArray:
        return _transform(self.mapping, points, self.forward)

    def __getstate__(self) -> dict[str, Any]:
        # AST writes 17 digits, from which a number is read back to the bit.
        return {"mapping": str(self.mapping), "forward": self.forward}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(read_mapping(state["mapping"]), state["forward"])  # type: ignore[misc]

    def oriented(self, forward: bool) -> starlink.Ast.Mapping:
        """Return a mapping of its own, since AST inverts in place: forward it is the transform, or else its inverse."""
        mapping = self.mapping.copy()
        if forward != self.forward:
            mapping.invert()
        return mapping


def exact_field_angle(
    pixels: FloatArray, pixels_to_focal_plane: Sequence[AstTransform], focal_plane_to_field_angle: AstTransform
) -> FloatArray:
    """Take points (D, K, 2) of D detectors, pixels, to the field (radians) in one step.

    Simplified, a detector's affine step may melt into what follows, which rounds otherwise than two steps do. (With the
    cameras at hand, whose detectors are not turned, both have the same bits.)
    """
    frames = starlink.Ast.FrameSet(starlink.Ast.Frame(2))
    frames.addframe(1, focal_plane_to_field_angle.oriented(True), starlink.Ast.Frame(2))
    field = frames.Nframe
    field_angle = np.empty(pixels.shape)
    for index, (transform, points) in enumerate(zip(pixels_to_focal_plane, pixels, strict=True)):
        frames.addframe(1, transform.oriented(False), starlink.Ast.Frame(2))
        mapping = frames.getmapping(frames.Nframe, field).simplify()
        field_angle[index] = _transform(mapping, points, True)
    return field_angle


def _transform(mapping: starlink.Ast.Mapping, points: FloatArray, forward: bool) -> FloatArray:
    """Map points (K, 2); not a number where one has no image."""
    image = np.asarray(mapping.tran(np.ascontiguousarray(points.T), forward)).T
    return np.where(image == starlink.Ast.BAD, np.nan, image)


class _Lines:
    """The lines of a text, as AST's channels ask for them."""

    def __init__(self, text: str) -> None:
        self._lines: Iterator[str] = iter(text.splitlines())

    def astsource(self) -> str | None:
        """Return the next line."""
        return next(self._lines, None)
