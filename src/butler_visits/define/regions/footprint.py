"""A camera's outline in the field, and its place on the sky for many pointings."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

from ...camera.model import Camera
from ...errors import CameraFileError
from ...geometry import encode_polygons, field_angle_to_sky, largest_distance, plane_hull
from ..pointings import Pointings
from .exact import ExactFootprint


class Footprint:
    """The corners of a camera's detectors, grown by some pixels, and the hulls of them, found once for all visits.

    Great circles are straight lines on the tangent plane, so a hull's vertices are the same corners in every visit.
    Raises `CameraFileError` if a detector has no area.
    """

    def __init__(self, camera: Camera, padding: int, *, flip: bool) -> None:
        self.flip = flip
        self._camera = camera
        self._padding = padding
        self.detector_ids: list[int] = camera.detector_ids.tolist()
        self.corners: npt.NDArray[np.float64] = camera.corners(padding)
        try:
            self.hull = self._outline(self.corners.reshape(-1, 2))
        except ValueError:
            raise CameraFileError(f"The camera in {camera.source} has no area in the field.") from None
        # Detectors with the same number of vertices (four, but for degenerate ones) are lifted together.
        self._outlines: dict[int, tuple[list[int], list[npt.NDArray[np.float64]]]] = {}
        for index, corners in enumerate(self.corners):
            try:
                vertices = self._outline(corners)
            except ValueError:
                raise CameraFileError(
                    f"Detector {camera.detector_names[index]} of the camera in {camera.source} has no area in the "
                    f"field with a padding of {padding} pixels; check its bbox and its transforms."
                ) from None
            members, outlines = self._outlines.setdefault(len(vertices), ([], []))
            members.append(self.detector_ids[index])
            outlines.append(vertices)

    def _outline(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the vertices of the hull, counterclockwise when they have been lifted to the sky."""
        vertices = points[plane_hull(points)]
        # Seen from the boresight the field's x axis is mirrored unless it is flipped.
        return vertices if self.flip else vertices[::-1]

    @cached_property
    def exact(self) -> ExactFootprint | None:
        """The same to the bits that Rubin's own software has, of cameras from afw FITS files."""
        corners = self._camera.exact_corners(self._padding)
        return None if corners is None else ExactFootprint(self.detector_ids, corners, flip=self.flip)

    @cached_property
    def diameter(self) -> float:
        """The largest distance of two corners on the sky, radians."""
        (corners,) = field_angle_to_sky(self.hull, *np.zeros((3, 1)), flip=self.flip)
        return largest_distance(corners)

    def visit_polygons(self, pointings: Pointings) -> list[bytes]:
        """Compute the outlines of the whole camera."""
        return encode_polygons(field_angle_to_sky(self.hull, *pointings, flip=self.flip))

    def detector_polygons(self, pointings: Pointings) -> list[dict[int, bytes]]:
        """Compute the outlines of all detectors."""
        count = len(pointings.ra)
        result: list[dict[int, bytes]] = [{} for _ in range(count)]
        for n_vertices, (members, outlines) in self._outlines.items():
            sky = field_angle_to_sky(np.concatenate(outlines), *pointings, flip=self.flip)
            encoded = iter(encode_polygons(sky.reshape(-1, n_vertices, 3)))
            for polygons in result:
                polygons.update(zip(members, encoded, strict=False))
        return result

    def corner_directions(self, pointings: Pointings) -> npt.NDArray[np.float64]:
        """Compute where all corners of all detectors are.

        Returns ``directions`` (N, D, 4, 3): unit vectors.
        """
        directions = field_angle_to_sky(self.corners.reshape(-1, 2), *pointings, flip=self.flip)
        return directions.reshape(-1, *self.corners.shape[:2], 3)
