"""What ``write-camera``, ``show-camera`` and ``fit-camera`` do."""

from __future__ import annotations

__all__ = ["fit", "show", "write"]

from collections.abc import Sequence
from pathlib import Path

import click
import yaml
from astropy.time import Time
from lsst.daf.butler import Timespan
from lsst.resources import ResourcePath

from ..camera import Camera
from ..camera.afw_fits import read_afw_camera
from ..camera.describe import describe_camera
from ..camera.yaml_camera import read_yaml_camera
from ..camera_fit.raws import fit_camera_to_files
from ..camera_fit.yaml_text import camera_yaml
from ..instruments import raws_flipped
from ..report import PICTURE_ENDINGS, plot_camera, require_matplotlib
from ..repository import fetch_instrument, resolve_instrument
from ..repository.write_camera import latest_camera
from ..repository.write_camera import write_camera as store_camera
from .errors import errors_as_messages, open_repository
from .output import check_file_name, written_whole

_FITS = b"SIMPLE"
"""How a FITS file begins."""


def write(repo: str, instrument: str, file: str, begin: str | None, end: str | None) -> None:
    """Store a YAML camera in a repository, and say for when it is valid."""
    first, last = _time(begin, "--begin"), _time(end, "--end")
    content = _read(file)
    if content.startswith(_FITS):
        raise click.ClickException(f"{file} is a FITS file; write-camera takes YAML cameras.")
    with errors_as_messages(repo):
        # This finds what is wrong with the file, and names it.
        read_yaml_camera(content, file)
        data = yaml.load(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        stored = store_camera(open_repository(repo, writeable=True), instrument, data, begin=first, end=last)
    valid = f"in {stored.collection}, {_words(stored.timespan)}"
    if stored.is_new:
        click.echo(f"Stored camera {stored.camera.name} ({len(stored.camera.detector_ids)} detectors) {valid}.")
    else:
        click.echo(f"Camera {stored.camera.name} is there already {valid}; nothing has changed.")


def show(repo_or_file: str, instrument: str | None, plot: str | None) -> None:
    """Print what a camera looks like, and draw it if asked."""
    flip, note = False, ""
    with errors_as_messages(repo_or_file):
        if plot:
            require_matplotlib()
            check_file_name(plot, PICTURE_ENDINGS, "--plot")
        if instrument is None:
            camera = _read_camera(repo_or_file)
        else:
            butler = open_repository(repo_or_file, writeable=False)
            name = resolve_instrument(butler, instrument)
            camera = latest_camera(butler, name)
            expected = raws_flipped(fetch_instrument(butler, name))
            if expected is None:
                expected = camera.flipped
            flip = expected and not camera.flipped
            if flip:
                note = f"The raws of {name} are flipped, so the field is mirrored on its way to the sky all the same."
            elif camera.flipped and not expected:
                note = f"The raws of {name} are not flipped, so define-visits does not take this camera."
        click.echo(describe_camera(camera))
        if note:
            click.echo(f"\n{note}")
        if plot:
            _draw(camera, plot, flip=flip)


def _words(timespan: Timespan) -> str:
    """Say when something is valid."""
    ends = {"from": timespan.begin, "until": timespan.end}
    # Without the zeros of a fraction.
    words = [f"{word} {end.isot.rstrip('0').rstrip('.')}" for word, end in ends.items() if isinstance(end, Time)]
    return f"valid {' '.join(words)} TAI" if words else "valid for all times"


def _time(text: str | None, option: str) -> Time | None:
    if text is None:
        return None
    try:
        return Time(text.strip().replace("T", " "), format="iso", scale="tai")
    except ValueError as error:
        raise click.BadParameter(
            f"{text!r} is no ISO time; give one such as 2026-04-01T12:00:00, in TAI.", param_hint=option
        ) from error


def _read(file: str) -> bytes:
    try:
        return ResourcePath(file, forceDirectory=False).read()
    except FileNotFoundError as error:
        raise click.ClickException(f"There is no file {file}.") from error
    except IsADirectoryError as error:
        raise click.ClickException(
            f"{file} is a folder; expected a camera file, or a repository followed by an instrument."
        ) from error
    except Exception as error:
        # The libraries behind each kind of URI raise nearly anything.
        raise click.ClickException(f"File {file} cannot be read: {type(error).__name__}: {error}") from error


def _read_camera(file: str) -> Camera:
    content = _read(file)
    return (read_afw_camera if content.startswith(_FITS) else read_yaml_camera)(content, file)


def _draw(camera: Camera, name: str, *, flip: bool) -> None:
    """Draw a camera to a file."""
    with written_whole(name, "picture") as partial:
        plot_camera(camera, flip=flip).savefig(partial, format=Path(name).suffix[1:].lower())


def fit(raws: Sequence[str], output: str) -> None:
    """Fit a camera to raw files, print how well it fits, and write it."""
    path = Path(output)
    if not path.parent.is_dir():
        raise click.BadParameter(f"there is no folder {str(path.parent)!r} for {path.name}.", param_hint="--output")
    with errors_as_messages(output):
        fitted = fit_camera_to_files(raws)
        text = camera_yaml(fitted)
    with written_whole(output, "camera") as partial:
        partial.write_text(text)
    click.echo("Distances between the camera and the raws' WCSs, pixels:")
    width = max(len("detector"), *map(len, fitted.residuals))
    click.echo(f"{'detector':{width}}      rms  largest")
    for name, residual in fitted.residuals.items():
        click.echo(f"{name:{width}} {residual.rms:8.3f} {residual.max:8.3f}")
    for exposure, name, residual in fitted.rejected:
        click.echo(f"Left out: detector {name} of exposure {exposure}, {residual.rms:.3f} pixels from the others.")
    parity = "flipped" if fitted.flipped else "not flipped"
    n_detectors, n_exposures = len(fitted.residuals), len(fitted.pointings)
    click.echo(
        f"Camera {fitted.mapping['name']} of {n_detectors} detector{'s' * (n_detectors > 1)} ({parity}), from "
        f"{n_exposures} exposure{'s' * (n_exposures > 1)}, is in {output}."
    )
