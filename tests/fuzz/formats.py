"""What is read, each with whole samples of it, and what is done with one that is damaged."""

from __future__ import annotations

import gzip
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from astropy.io import fits
from astropy.table import Table
from lsst.daf.butler import Butler

from butler_visits.camera.afw_fits import read_afw_camera
from butler_visits.camera.describe import describe_camera
from butler_visits.camera.yaml_camera import read_yaml_camera
from butler_visits.errors import VisitsError
from butler_visits.ingest import ingest_table
from butler_visits.ingest.describe import describe_file
from butler_visits.ingest.translate import translate_file
from butler_visits.instruments.description import read_description
from butler_visits.instruments.translator import make_translator
from butler_visits.lists import FAILURES
from butler_visits.raws import RawFile, RawWcs, find_detector, read_raw_files
from butler_visits.raws.cards import RawHeader
from ingest_helpers import DESCRIPTION, science
from simulated_raws import describe, write_raws
from simulated_survey import camera
from stored_visits import GOLDEN
from templates import make_repository, one_raft
from visit_tables import add_exposures, data_ids, exposure, make_task, only, spoil, stored


@dataclass(frozen=True)
class Format:
    """A kind of input."""

    samples: Callable[[Path], list[Path]]
    """Writes whole files into a folder."""
    read: Callable[[Path], Any]
    """Does what a command would; what it raises must be for a user."""
    share: float
    """Of all inputs."""
    is_text: bool = False
    is_file: bool = True
    """Whether messages name it."""


def _raws(folder: Path) -> list[Path]:
    """Write a raw of each layout; images are small, for pixels are not read."""
    exposures, layout = science(1), camera(rafts=1)
    paths = [
        write_raws(folder / "single", exposures, camera=layout)[0],
        write_raws(folder / "multi", exposures, camera=layout, detectors=(0, 1, 2), in_one_file=True)[0],
        folder / "compressed.fits.fz",
        folder / "packed.fits.gz",
    ]
    with fits.open(paths[0]) as hdus:
        index = 0 if hdus[0].header["NAXIS"] else 1
        image = fits.CompImageHDU(hdus[index].data[:8, :8], hdus[index].header)
        fits.HDUList([fits.PrimaryHDU(), image]).writeto(paths[2])
    paths[3].write_bytes(gzip.compress(paths[0].read_bytes(), 1))
    return paths


def _read_raw(path: Path) -> None:
    (file,) = read_raw_files([path])
    if not isinstance(file, RawFile):
        raise file
    str(describe_file(path, DESCRIPTION))
    translated = translate_file(file, make_translator(DESCRIPTION))
    names = {detector.id: detector.name for detector in DESCRIPTION.detectors}
    for detector in translated.detectors:
        RawWcs(find_detector(file, detector.id, names[detector.id]))


def _afw_cameras(folder: Path) -> list[Path]:
    (path,) = (GOLDEN / "repos" / "comCamSim").glob("*/calib/unbounded/camera/*.fits")
    copy = folder / "camera.fits"
    copy.write_bytes(path.read_bytes())
    return [copy]


def _read_afw(path: Path) -> None:
    str(describe_camera(read_afw_camera(path.read_bytes(), str(path))))


def _yaml_cameras(folder: Path) -> list[Path]:
    path = folder / "camera.yaml"
    path.write_text(yaml.safe_dump(camera(rafts=1)))
    return [path]


def _read_yaml(path: Path) -> None:
    str(describe_camera(read_yaml_camera(path.read_bytes(), str(path))))


def _descriptions(folder: Path) -> list[Path]:
    path = folder / "instrument.yaml"
    path.write_text(yaml.safe_dump(describe()))
    return [path]


def _tables(folder: Path) -> list[Path]:
    table = Table(
        {
            "exposure_id": [1, 2, 3],
            "datetime_begin": ["2026-04-01T23:15:00", "2026-04-01T23:16:00.5", "2026-04-02T00:03:00"],
            "physical_filter": ["g_sim", "r_sim", "g_sim"],
            "exposure_time": np.ma.array([30.0, 15.0, 1.0], mask=[False, True, False]),
            "tracking_ra": [1.0, 2.0, 3.0],
            "tracking_dec": [1.0, 2.0, 3.0],
            "can_see_sky": [True, False, True],
        },
        meta={"TIMESYS": "tai"},
    )
    kinds = {"ecsv": "ascii.ecsv", "csv": "ascii.csv", "vot": "votable", "parquet": "parquet", "fits": "fits"}
    paths = []
    for ending, kind in kinds.items():
        paths.append(folder / f"table.{ending}")
        table.write(paths[-1], format=kind)
    return paths


@cache
def _butler(folder: Path) -> Butler:
    return make_repository(folder / "repository", one_raft)


def _read_table(path: Path) -> None:
    result = ingest_table(_butler(path.parent), path, DESCRIPTION, on_error="skip", dry_run=True)
    if result.failures:
        raise RowsError(max(map(str, result.failures), key=len))


class RowsError(Exception):
    """Rows that were reported."""


_PROJECTIONS = (
    "AZP SZP TAN STG SIN ARC ZPN ZEA AIR CYP CEA CAR MER SFL PAR MOL AIT COP COE COD COO BON PCO TSC CSC QSC HPX XPH "
    "TPV TNX ZPX TAB"
)
_ODD = (
    *(0.0, -0.0, 1.0, -1.0, 90.0, -90.0, 180.0, 360.0, 30.0, 1e-8, 5e-324, 1e-300, 1e20, -1e20, 1e300, -1.7e308),
    *(2.0**31, 2.0**31 + 0.5, -(2.0**31) - 1, 2.0**63, "12:00:00", "", True),
)


def _seeds(folder: Path) -> list[Path]:
    path = folder / "seed"
    path.write_bytes(bytes(range(256)) * 8)
    return [path]


def _read_wcs(path: Path) -> None:
    """Take a file's content for the seed of a header, of which wcslib sees what passes our checks."""
    chance = random.Random(path.read_bytes())

    def number(usual: float) -> Any:
        kind = chance.random()
        return chance.choice(_ODD) if kind < 0.02 else chance.uniform(-usual, usual)

    code, suffix = chance.choice(_PROJECTIONS.split()), chance.choice(("", "-SIP"))
    kinds = chance.choice((("RA--", "DEC-"), ("DEC-", "RA--"), ("GLON", "GLAT"), ("ELON", "ELAT")))
    header = RawHeader()
    for axis in (1, 2):
        header[f"CTYPE{axis}"] = f"{kinds[axis - 1]}-{code}{suffix if code == 'TAN' else ''}"
        header[f"CRVAL{axis}"] = number(90.0)
        header[f"CRPIX{axis}"] = number(100.0)
        for other in (1, 2):
            header[f"CD{axis}_{other}"] = number(1e-4)
        for term in range(chance.choice((0, 0, 1, 3, 6, 30))):
            header[f"PV{axis}_{term}"] = number(chance.choice((1.0, 90.0)))
    for letter in "AB" if suffix else "":
        header[f"{letter}_ORDER"] = chance.randrange(10)
        for _ in range(chance.randrange(8)):
            header[f"{letter}_{chance.randrange(10)}_{chance.randrange(10)}"] = number(1e-6)
    for keyword in ("LONPOLE", "LATPOLE", "CROTA2", "CDELT1", "EQUINOX"):
        if chance.random() < 0.1:
            header[keyword] = number(180.0)
    for keyword in list(header):
        if chance.random() < 0.01:
            del header[keyword]
    file = RawFile(str(path), (header,), {0: (64, 64)})
    wcs = RawWcs(find_detector(file, 0, None))
    wcs.directions([[0.0, 0.0], [1e9, -1e9], [math.nan, math.inf]])


def _regions(folder: Path) -> list[Path]:
    butler = _butler(folder)
    add_exposures(butler, [exposure(1), exposure(2)])
    make_task(butler).run(data_ids(record.id for record in stored(butler, "exposure")))
    path = folder / "region"
    path.write_bytes(stored(butler, "visit")[0].region.encode())
    return [path]


def _read_region(path: Path) -> None:
    """Find it with a check, and replace it."""
    from broken_visits import check

    butler = _butler(path.parent)
    whole = stored_bytes(butler)
    visit = min(whole)
    spoil(butler, "visit", path.read_bytes(), id=visit)
    try:
        str(check(butler, "one-to-one"))
        make_task(butler).run(data_ids([visit]), on_error="skip")
        make_task(butler).run(data_ids([visit]), **only("update_records"))
    finally:
        spoil(butler, "visit", whole[visit], id=visit)


@cache
def stored_bytes(butler: Butler) -> dict[int, bytes]:
    """Return the regions of all visits as they were first."""
    return {visit.id: visit.region.encode() for visit in stored(butler, "visit")}


FORMATS = {
    "raw": Format(_raws, _read_raw, 0.2),
    "afw camera": Format(_afw_cameras, _read_afw, 0.1),
    "YAML camera": Format(_yaml_cameras, _read_yaml, 0.15, is_text=True),
    "description": Format(_descriptions, read_description, 0.15, is_text=True),
    "table": Format(_tables, _read_table, 0.2, is_text=True),
    "wcs": Format(_seeds, _read_wcs, 0.15),
    "region": Format(_regions, _read_region, 0.05, is_file=False),
}
TOO_LONG = 6000
"""Characters of a message."""


def outcome(kind: Format, path: Path) -> str:
    """Read a file; say `read`, `refused`, or what is wrong with how that ends."""
    try:
        kind.read(path)
    except RowsError as error:
        return fault_of(str(error), "")
    except FAILURES as error:
        if not isinstance(error, VisitsError):
            return f"FAULT: {type(error).__name__}: {error}"
        return fault_of(str(error), path.name if kind.is_file else "")
    except Exception as error:
        return f"FAULT: {type(error).__name__}: {error}"
    return "read"


def fault_of(message: str, name: str) -> str:
    """Say what is wrong with a message."""
    if len(message) > TOO_LONG:
        return f"FAULT: a message of {len(message)} characters: {message[:300]}"
    if name not in message:
        return f"FAULT: no file is named: {message}"
    if any(not character.isprintable() and character != "\n" for character in message):
        return f"FAULT: characters that cannot be printed: {message!r}"
    return "refused"
