"""Whether the field is mirrored on its way to the sky."""

from __future__ import annotations

__all__ = ["expected_flip"]

from ..errors import CameraFileError
from .model import Camera


def expected_flip(camera: Camera, raws_flipped: bool | None, instrument: str) -> bool:
    """Tell whether an instrument's raws are mirrored and its camera does not say so.

    `None` for the raws means that they are as the camera says. A camera that is mirrored, of raws that are not, is a
    `CameraFileError`.
    """
    if raws_flipped is None:
        return False
    if camera.flipped and not raws_flipped:
        raise CameraFileError(
            f"The camera in {camera.source} is mirrored, which the raws of {instrument} are not; "
            "use a camera file of the right parity."
        )
    return raws_flipped and not camera.flipped
