"""The command ``fit-camera``."""

from __future__ import annotations

from collections.abc import Sequence

import click
from lsst.daf.butler.cli.opt import options_file_option
from lsst.daf.butler.cli.utils import MWArgumentDecorator

from ..lists import counted
from .errors import errors_as_messages
from .options import VisitsCommand
from .output import echo

raws_argument = MWArgumentDecorator(
    "raws", help="RAW is the path or URI of a FITS file with a WCS for each detector in it."
)


@click.command(short_help="Make a camera from raws.", cls=VisitsCommand)
@raws_argument(required=True, nargs=-1, metavar="RAW...")
@click.option("-o", "--output", metavar="FILE", required=True, help="The YAML camera to write.")
@options_file_option()
def fit_camera(raws: Sequence[str], output: str) -> None:
    """Fit a camera to the WCSs in the headers of raw files, and write it as YAML.

    The raws are of one or more exposures of one camera whose geometry nobody has written down: where its detectors lie
    and how they are turned and scaled is fitted, and one radial distortion for all of them.
    """
    from ..camera_fit.raws import fit_camera_to_files
    from ..camera_fit.yaml_text import camera_yaml
    from .files import check_file_name, written_whole

    check_file_name(output)
    with errors_as_messages(output):
        fitted = fit_camera_to_files(raws)
        text = camera_yaml(fitted)
    with written_whole(output, "camera") as partial:
        partial.write_text(text)
    echo("Distances between the camera and the raws' WCSs, pixels:")
    width = max(len("detector"), *map(len, fitted.residuals))
    echo(f"{'detector':{width}}      rms  largest")
    for name, residual in fitted.residuals.items():
        echo(f"{name:{width}} {residual.rms:8.3f} {residual.max:8.3f}")
    for exposure, name, residual in fitted.rejected:
        echo(f"Left out: detector {name} of exposure {exposure}, {residual.rms:.3f} pixels from the others.")
    for note in fitted.notes:
        echo(note)
    parity = "flipped" if fitted.flipped else "not flipped"
    echo(
        f"Camera {fitted.mapping['name']} of {counted(len(fitted.residuals), 'detector')} ({parity}), from "
        f"{counted(len(fitted.pointings), 'exposure')}, is in {output}."
    )
