"""The command ``write-camera``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from lsst.daf.butler.cli.opt import options_file_option
from lsst.daf.butler.cli.utils import MWArgumentDecorator

from ..lists import counted
from ..yaml_files import load_yaml
from .errors import errors_as_messages, open_repository
from .options import VisitsCommand, instrument_argument, repo_argument
from .output import echo

if TYPE_CHECKING:
    from astropy.time import Time
    from lsst.daf.butler import Timespan

file_argument = MWArgumentDecorator("file", help="FILE is the path or URI of a YAML camera or an afw FITS camera.")


@click.command(short_help="Store a camera for defining visits.", cls=VisitsCommand)
@repo_argument
@instrument_argument
@file_argument(required=True)
@click.option("--begin", metavar="TIME", help="Time from which the camera is valid; by default it always was.")
@click.option("--end", metavar="TIME", help="Time from which it is no longer valid; by default there is none.")
@options_file_option()
def write_camera(repo: str, instrument: str, file: str, begin: str | None, end: str | None) -> None:
    """Store a camera in a data repository, and certify it for the times for which it is valid.

    A YAML camera becomes a camera_geometry dataset in the instrument's calibration collection, where define-visits
    finds it, and an afw FITS file a camera dataset, which Rubin's own software reads too. Times are TAI in ISO form,
    such as 2026-04-01 or 2026-04-01T12:00:00. Storing the same camera again is safe.
    """
    from ..camera.afw_fits import read_afw_camera
    from ..camera.yaml_camera import read_yaml_camera
    from ..repository.write_camera import write_camera as store_camera
    from .files import FITS, read_file

    first, last = _time(begin, "--begin"), _time(end, "--end")
    content = read_file(file)
    is_fits = content.startswith(FITS)
    with errors_as_messages(repo):
        # This finds what is wrong with the file, and names it.
        (read_afw_camera if is_fits else read_yaml_camera)(content, file)
        data = content if is_fits else load_yaml(content)
        stored = store_camera(open_repository(repo, writeable=True), instrument, data, begin=first, end=last)
    camera, valid = stored.camera, f"in {stored.collection}, {_words(stored.timespan)}"
    if stored.is_new:
        echo(
            f"Stored camera {camera.name} ({counted(len(camera.detector_ids), 'detector')}) {valid}.",
            stored="The camera is stored.",
        )
    else:
        echo(f"Camera {camera.name} is already stored {valid}; nothing has changed.")


def _time(text: str | None, option: str) -> Time | None:
    if text is None:
        return None
    from astropy.time import Time

    try:
        return Time(text.strip().replace("T", " "), format="iso", scale="tai")
    except ValueError as error:
        raise click.BadParameter(
            f"{text!r} is not an ISO time; give one such as 2026-04-01T12:00:00, in TAI.", param_hint=option
        ) from error


def _words(timespan: Timespan) -> str:
    """Say when something is valid."""
    from astropy.time import Time

    ends = {"from": timespan.begin, "until": timespan.end}
    # Without the zeros of a fraction.
    words = [f"{word} {end.isot.rstrip('0').rstrip('.')}" for word, end in ends.items() if isinstance(end, Time)]
    return f"valid {' '.join(words)} TAI" if words else "valid for all times"
