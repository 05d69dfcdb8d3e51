"""The command ``show-camera``."""

from __future__ import annotations

from pathlib import Path

import click
from lsst.daf.butler.cli.opt import options_file_option
from lsst.daf.butler.cli.utils import MWArgumentDecorator

from ..errors import require
from .errors import errors_as_messages, open_instrument
from .options import VisitsCommand
from .output import echo

repo_or_file_argument = MWArgumentDecorator(
    "repo_or_file", help="REPO is the path or URI of a data repository, FILE of a YAML camera or an afw FITS camera."
)
instrument_of_repo_argument = MWArgumentDecorator(
    "instrument", help="INSTRUMENT is an instrument of REPO: a registered name or full class name."
)


@click.command(short_help="Describe a camera.", cls=VisitsCommand)
@repo_or_file_argument(required=True, metavar="REPO|FILE")
@instrument_of_repo_argument(required=False)
@click.option("--plot", metavar="FILE", help="Draw the focal plane and the field on the sky; .png, .pdf or .svg.")
@click.option("-o", "--output", metavar="FILE", help="Write the camera as a YAML camera; .yaml or .yml.")
@options_file_option()
def show_camera(repo_or_file: str, instrument: str | None, plot: str | None, output: str | None) -> None:
    """Print a camera's detectors, pixel scale, field of view and parity.

    The camera is that of a file, or the one of a repository's instrument that is valid now; if none is, the one of the
    nearest time. With --output it is also written as a YAML camera, and the largest distance on the sky between the
    same pixel of both is printed.
    """
    from ..camera.afw_fits import read_afw_camera
    from ..camera.describe import describe_camera
    from ..camera.to_yaml import camera_to_mapping
    from ..camera.yaml_camera import read_yaml_camera
    from ..camera_fit.yaml_text import dump
    from ..instruments import raws_flipped
    from ..report import PICTURE_ENDINGS, plot_camera
    from ..repository import fetch_instrument
    from ..repository.write_camera import latest_camera
    from .files import FITS, check_file_name, read_file, written_whole

    flip, note = False, ""
    with errors_as_messages(repo_or_file):
        if plot:
            require("matplotlib")
            check_file_name(plot, PICTURE_ENDINGS, "--plot")
        if output:
            check_file_name(output, (".yaml", ".yml"))
        if instrument is None:
            content = read_file(repo_or_file)
            camera = (read_afw_camera if content.startswith(FITS) else read_yaml_camera)(content, repo_or_file)
        else:
            butler, name = open_instrument(repo_or_file, instrument, writeable=False, server=True)
            camera = latest_camera(butler, name)
            expected = raws_flipped(fetch_instrument(butler, name))
            if expected is None:
                expected = camera.flipped
            flip = expected and not camera.flipped
            if flip:
                note = f"The raws of {name} are flipped, so the field is mirrored on its way to the sky all the same."
            elif camera.flipped and not expected:
                note = f"The raws of {name} are not flipped, so define-visits does not take this camera."
        converted = camera_to_mapping(camera) if output else None
        echo(describe_camera(camera))
        if note:
            echo(f"\n{note}")
        if plot:
            with written_whole(plot, "picture") as partial:
                plot_camera(camera, flip=flip).savefig(partial, format=Path(plot).suffix[1:].lower())
            echo(f"\nThe picture of the camera is in {plot}.")
        if output and converted:
            far = f"at most {converted.deviation:.2g} arcsec from where {' '.join(camera.source.split())} has it"
            with written_whole(output, "camera") as partial:
                partial.write_text(f"# Each pixel is {far}.\n{dump(converted.mapping)}", encoding="utf-8")
            echo(f"\nWrote {output}: each pixel is {far}.")
