"""What a camera looks like, in numbers and in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import CameraFileError
from ..geometry import ARCSEC, field_angle_to_sky, plane_hull
from ..lists import aligned
from .model import Camera, box_corners


@dataclass(frozen=True, eq=False)
class CameraDescription:
    """A camera in numbers; `str` of it is a text to be read."""

    camera: Camera
    sizes: npt.NDArray[np.int64]  # (D, 2), pixels in x and y
    centres: npt.NDArray[np.float64]  # (D, 2), mm: where the middles of the detectors' boxes are on the focal plane
    yaws: npt.NDArray[np.float64]  # (D,), degrees in (-180, 180] from the focal plane's x axis to that of the pixels
    pixel_scales: npt.NDArray[np.float64]  # (D,), arcsec: roots of the areas on the sky of the middle pixels
    field_size: tuple[float, float]  # degrees that all detectors span in x and y
    field_diameter: float  # degrees, of two points of the field at most

    def __str__(self) -> str:
        scales = [f"{scale:.4g}" for scale in (self.pixel_scales.min(), self.pixel_scales.max())]
        scale = scales[0] if scales[0] == scales[1] else " to ".join(scales)
        width, height = self.field_size
        rows = [("id", "name", "pixels", "x (mm)", "y (mm)", "yaw (deg)")]
        for index, (size, centre) in enumerate(zip(self.sizes, self.centres, strict=True)):
            # Adding 0.0 makes a negative zero positive.
            x, y, yaw = (round(float(value), 3) + 0.0 for value in (*centre, self.yaws[index]))
            name = self.camera.detector_names[index]
            identifier = str(self.camera.detector_ids[index])
            rows.append((identifier, name, f"{size[0]} x {size[1]}", f"{x:.3f}", f"{y:.3f}", f"{yaw:g}"))
        return "\n".join(
            [
                f"Camera {self.camera.name}, from {self.camera.source}",
                f"Detectors: {len(self.sizes)}",
                f"Pixel scale: {scale} arcsec/pixel",
                f"Field of view: {width:.4g} x {height:.4g} degrees, {self.field_diameter:.4g} degrees across",
                f"Parity: {self.parity}",
                "",
                *aligned(rows, left=(1,)),
            ]
        )

    @property
    def parity(self) -> str:
        """Whether the camera is flipped, in a sentence."""
        if self.camera.flipped:
            return "flipped. Seen on the sky, the focal plane is mirrored."
        return "not flipped. Seen on the sky, the focal plane is turned but not mirrored."


def describe_camera(camera: Camera) -> CameraDescription:
    """Measure a camera; a `CameraFileError` if a detector has no pixels or no finite place, or all have no area."""
    corners = camera.corners().reshape(-1, 2)
    boxes = camera.bounding_boxes
    middles = boxes.mean(axis=1)
    # Half a pixel to the left and right of the middle, and below and above it.
    steps = np.array([[0.0, 0.0], [-0.5, 0.0], [0.5, 0.0], [0.0, -0.5], [0.0, 0.5]])
    focal_plane = np.stack(
        [transform(middle + steps) for transform, middle in zip(camera.pixels_to_focal_plane, middles, strict=True)]
    )
    along_x = focal_plane[:, 2] - focal_plane[:, 1]
    field_angle = camera.focal_plane_to_field_angle(focal_plane.reshape(-1, 2))
    sky = field_angle_to_sky(field_angle, 0.0, 0.0, 0.0).reshape(-1, 5, 3)
    areas = np.linalg.norm(np.cross(sky[:, 2] - sky[:, 1], sky[:, 4] - sky[:, 3]), axis=-1)
    # The two farthest points of the field are vertices of its hull.
    try:
        hull = field_angle_to_sky(corners[plane_hull(corners)], 0.0, 0.0, 0.0)
    except ValueError:
        raise CameraFileError(f"The camera in {camera.source} has no area in the field.") from None
    chord = np.linalg.norm(hull[:, None] - hull[None, :], axis=-1).max()
    width, height = np.rad2deg(np.arctan(corners.max(axis=0)) - np.arctan(corners.min(axis=0)))
    return CameraDescription(
        camera=camera,
        sizes=boxes[:, 1] - boxes[:, 0] + 1,
        centres=focal_plane[:, 0],
        yaws=np.rad2deg(np.arctan2(along_x[:, 1], along_x[:, 0])),
        pixel_scales=np.sqrt(areas) / ARCSEC,
        field_size=(float(width), float(height)),
        field_diameter=float(np.rad2deg(2 * np.arcsin(chord / 2))),
    )


def focal_plane_corners(camera: Camera) -> npt.NDArray[np.float64]:
    """Find where the detectors' corners are on the focal plane, (D, 4, 2) mm, in the order of `Camera.corners`."""
    pixels = box_corners(camera.bounding_boxes)
    return np.stack([transform(p) for transform, p in zip(camera.pixels_to_focal_plane, pixels, strict=True)])


def sky_corners(camera: Camera, *, flip: bool = False) -> npt.NDArray[np.float64]:
    """Find where the detectors' corners are on the sky at rotation 0, in the order of `Camera.corners`.

    They are (D, 4, 2) degrees to the east and to the north of the boresight, on the tangent plane.
    """
    corners = camera.corners()
    # On the equator at right ascension 0 the axes are the boresight, east and north.
    boresight, east, north = np.moveaxis(
        field_angle_to_sky(corners.reshape(-1, 2), 0.0, 0.0, 0.0, flip=flip).reshape(*corners.shape[:2], 3), -1, 0
    )
    return np.rad2deg(np.stack([east / boresight, north / boresight], axis=-1))
