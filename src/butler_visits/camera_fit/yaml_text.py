"""Write a fitted camera as a YAML file for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from ..lists import counted
from .fit import FittedCamera

_HEADER = """\
# The geometry of the camera {name}, fitted by butler-visits to where its pixels were on the sky
# in {exposures}. Put it in a repository with
#
#     butler-visits write-camera REPO INSTRUMENT FILE
#
# Distances between this camera and the sky, in pixels (root mean square and largest):
#
"""

_TOP = """
# plateScale: arcseconds per millimetre at the centre.
# focalPlaneParity: whether the sky is seen mirrored; if true, the x axis is reversed on the way to the field.
"""

_TRANSFORMS = """
# From the focal plane to the field: a point r millimetres from the centre is seen plateScale * (c0 + c1 r + c2 r^2 +
# ...) from the boresight; on the tangent plane, in the direction in which it lies.
"""

_DETECTORS = """
# The detectors. A pixel p, whose centre is an integer counted from 0, is at
# offset + Rz(yaw) Ry(pitch) Rx(roll) pixelSize (p - refpos) on the focal plane.
#   id            number of the detector in the Butler
#   detectorType  0 for science
#   bbox          first and last pixel: [[x, y], [x, y]]
#   pixelSize     millimetres
#   refpos        pixels; here the middle of the detector
#   offset        millimetres: where refpos is on the focal plane
#   yaw           degrees, as pitch and roll; a roll of 180 is a detector that is read from behind
"""


def camera_yaml(camera: FittedCamera) -> str:
    """Write a fitted camera as commented YAML."""
    mapping = camera.mapping
    parts = {key: value for key, value in mapping.items() if key not in ("transforms", "CCDs")}
    width = max(len("detector"), *map(len, camera.residuals))
    table = [f"{'detector':{width}}      rms      max"]
    table += [f"{name:{width}} {residual.rms:8.3f} {residual.max:8.3f}" for name, residual in camera.residuals.items()]
    if camera.rejected:
        table += ["", "Left out, because they contradict the others:"]
        table += [
            f"{name:{width}} {residual.rms:8.3f} {residual.max:8.3f}  exposure {exposure}"
            for exposure, name, residual in camera.rejected
        ]
    if camera.notes:
        table += ["", *camera.notes]
    name, exposures = " ".join(str(mapping["name"]).split()), counted(len(camera.pointings), "exposure")
    return "".join(
        [
            _HEADER.format(name=name, exposures=exposures),
            *(f"# {' '.join(line.splitlines())}".rstrip() + "\n" for line in table),
            _TOP,
            dump(parts),
            _TRANSFORMS,
            dump({"transforms": mapping["transforms"]}),
            _DETECTORS,
            dump({"CCDs": mapping["CCDs"]}),
        ]
    )


class _Dumper(yaml.SafeDumper):
    """Writes lists on one line."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(
    list, lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)
)


def dump(part: Mapping[str, Any]) -> str:
    """Write parts of a camera, lists on one line."""
    return yaml.dump(dict(part), Dumper=_Dumper, default_flow_style=False, sort_keys=False, width=1000)
