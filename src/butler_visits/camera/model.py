"""A camera as arrays: its detectors' boxes, and where their pixels lie in the field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..errors import CameraFileError

Transform = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
"""Takes points of shape (K, 2) and returns their images, of the same shape."""


_FARTHEST = 100.0
"""Radians on the tangent plane, which are 89.4 degrees from the boresight."""


def box_corners(boxes: npt.NDArray[np.int64], padding: int = 0) -> npt.NDArray[np.float64]:
    """Return the corners (D, 4, 2) of boxes (D, 2, 2) of pixels that are grown by a padding on each side.

    They are the lower left, lower right, upper right and upper left edges of the pixels, whose centres are integers.
    """
    (left, bottom), (right, top) = np.moveaxis(boxes + (padding + 0.5) * np.array([[-1], [1]]), 0, -1)
    return np.stack([left, bottom, right, bottom, right, top, left, top], axis=-1).reshape(-1, 4, 2)


@dataclass(frozen=True, eq=False)
class Camera:
    """The geometry of a camera.

    Parameters
    ----------
    name : `str`
        The camera's name.
    detector_ids : `numpy.ndarray` of `int`, shape (D,)
        Identifiers of the detectors, in the camera's own order.
    detector_names : `tuple` [`str`]
        Their names.
    bounding_boxes : `numpy.ndarray` of `int`, shape (D, 2, 2)
        Their pixels: ((min x, min y), (max x, max y)), both inclusive.
    pixels_to_focal_plane : `tuple` [`Transform`]
        For each detector, pixels (centres are integers) to millimetres on the focal plane.
    focal_plane_to_field_angle : `Transform`
        Millimetres on the focal plane to radians on the tangent plane.
    source : `str`
        Where the description is from, for messages.
    detector_types : `tuple` [`int`]
        As ``detectorType`` of YAML cameras: 0 science, 1 focus, 2 guider, 3 wavefront; empty if all are science.
    """

    name: str
    detector_ids: npt.NDArray[np.int64]
    detector_names: tuple[str, ...]
    bounding_boxes: npt.NDArray[np.int64]
    pixels_to_focal_plane: tuple[Transform, ...]
    focal_plane_to_field_angle: Transform
    source: str = "memory"
    detector_types: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.detector_ids):
            raise CameraFileError(f"The camera in {self.source} has no detectors.")
        for what, values in (("id", self.detector_ids.tolist()), ("name", self.detector_names)):
            value, count = Counter(values).most_common(1)[0]
            if count > 1:
                raise CameraFileError(
                    f"The camera in {self.source} has several detectors with the {what} {value}; each needs its own."
                )

    def corners(self, padding: int = 0) -> npt.NDArray[np.float64]:
        """Find the corners of all detectors in the field.

        Parameters
        ----------
        padding : `int`, optional
            Pixels by which each detector is grown on each side.

        Returns
        -------
        corners : `numpy.ndarray`, shape (D, 4, 2)
            Field angles in radians: lower left, lower right, upper right and upper left corner.

        Raises
        ------
        CameraFileError
            If a detector has no pixels, or a corner no finite place in the field.
        """
        pixels = self._pixel_corners(padding)
        with np.errstate(all="ignore"):
            # What overflows is nowhere, which is said below.
            focal_plane = np.stack(
                [transform(p) for transform, p in zip(self.pixels_to_focal_plane, pixels, strict=True)]
            )
            field_angle = self.focal_plane_to_field_angle(focal_plane.reshape(-1, 2)).reshape(pixels.shape)
        return self._finite(field_angle)

    def exact_corners(self, padding: int = 0) -> npt.NDArray[np.float64] | None:
        """Find the corners as Rubin's own software does, to the bit.

        Parameters
        ----------
        padding : `int`, optional
            Pixels by which each detector is grown on each side.

        Returns
        -------
        corners : `numpy.ndarray`, shape (D, 4, 2), or `None`
            As of `corners`; `None` if the camera is not from an afw FITS file.

        Raises
        ------
        CameraFileError
            As of `corners`.
        """
        from .ast_transform import AstTransform, exact_field_angle

        to_field = self.focal_plane_to_field_angle
        to_focal_plane = [one for one in self.pixels_to_focal_plane if isinstance(one, AstTransform)]
        if not isinstance(to_field, AstTransform) or len(to_focal_plane) < len(self.pixels_to_focal_plane):
            return None
        return self._finite(exact_field_angle(self._pixel_corners(padding), to_focal_plane, to_field))

    def _pixel_corners(self, padding: int) -> npt.NDArray[np.float64]:
        """Return the corners of the grown detectors, pixels (D, 4, 2)."""
        pixels = box_corners(self.bounding_boxes, padding)
        if (empty := (pixels[:, 2] <= pixels[:, 0]).any(axis=1)).any():
            name = self.detector_names[int(np.argmax(empty))]
            raise CameraFileError(
                f"Detector {name} of the camera in {self.source} has no pixels with a padding of {padding}; check its "
                "bbox and the padding."
            )
        return pixels

    def _finite(self, field_angle: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return corners (D, 4, 2), if all are somewhere."""
        # Not a number is not less either.
        finite = (np.abs(field_angle) < _FARTHEST).all(axis=(1, 2))
        if not finite.all():
            name = self.detector_names[int(np.argmin(finite))]
            raise CameraFileError(
                f"The camera in {self.source} puts a corner of detector {name} at no field angle below "
                f"{_FARTHEST:g} radians; check its transforms."
            )
        return field_angle

    @cached_property
    def flipped(self) -> bool:
        """Whether the focal plane is seen mirrored: its Jacobian into the field is negative at the origin."""
        step = 1e-3  # mm: a tenth of a usual pixel
        points = np.array([[step, 0.0], [-step, 0.0], [0.0, step], [0.0, -step]])
        right, left, up, down = self.focal_plane_to_field_angle(points)
        (a, c), (b, d) = right - left, up - down
        return bool(a * d - b * c < 0)
