"""Whether the field is mirrored on its way to the sky."""

from __future__ import annotations

from ..errors import CameraFileError
from .model import Camera


def expected_flip(camera: Camera, raws_flipped: bool | None, instrument: str) -> bool:
    """Tell whether an instrument's raws are mirrored and its camera does not say so; `None` is as the camera says.

    Raises `CameraFileError` if the camera is mirrored and the raws are not.
    """
    if raws_flipped is None:
        return False
    if camera.flipped and not raws_flipped:
        raise CameraFileError(
            f"The camera in {camera.source} is mirrored, which the raws of {instrument} are not; "
            "use a camera file of the right parity."
        )
    return raws_flipped and not camera.flipped
