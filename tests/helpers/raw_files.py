"""Files of small images with given headers, and the regions of the mosaic's detectors that they should have."""

from __future__ import annotations

import atexit
import functools
import itertools
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from lsst.daf.butler import Butler

from mosaic import HEIGHT, WIDTH, wcs_header
from raw_repository import (
    CAMERA,
    IDS,
    POINTING,
    Pointing,
    add_exposure,
    border,
    hull,
    ingest,
    make_repository,
    region_task,
    visit_of,
)
from stored_visits import outline_distance

TOLERANCE = 0.01
"""Arcsec."""


def write(path: Path, images: Sequence[fits.Header | None], *, empty_primary: bool = True) -> Path:
    """Write a file of small images with given headers; `None` is a table. Nobody reads the pixels.

    A header's own NAXIS1 and NAXIS2 are its image's size, by default a detector's, of which a hole is left in the file.
    """
    with path.open("wb") as file:
        if empty_primary:
            file.write(fits.PrimaryHDU().header.tostring().encode())
        for index, header in enumerate(images):
            if header is None:
                table = fits.BinTableHDU.from_columns([fits.Column("x", "D", array=np.zeros(3))])
                file.write(table.header.tostring().encode() + bytes(2880))
                continue
            first = {"SIMPLE": True} if index == 0 and not empty_primary else {"XTENSION": "IMAGE"}
            basics = {"BITPIX": 8, "NAXIS": 2, "NAXIS1": WIDTH, "NAXIS2": HEIGHT}
            own = {key: header[key] for key in header if key.startswith("NAXIS")}
            basics |= own | ({} if "SIMPLE" in first else {"PCOUNT": 0, "GCOUNT": 1})
            whole = fits.Header(first | basics)
            whole.extend(card for card in header.cards if card.keyword not in own)
            file.write(whole.tostring(padding=True).encode())
            sizes = [whole[f"NAXIS{axis}"] for axis in range(1, whole["NAXIS"] + 1)]
            file.truncate(file.seek(-(-int(np.prod(sizes)) // 2880) * 2880, 1))
    return path


def wcs(name: str, cards: Mapping[str, Any] | None = None, pointing: Pointing = POINTING) -> fits.Header:
    """Make a header with a detector's WCS and further cards."""
    header = wcs_header(CAMERA, name, *pointing[:3], "TPV")
    header.update(cards or {})
    return header


@functools.cache
def repository() -> Butler:
    """Return a repository that the tests of this module share; each has an exposure of its own."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    return make_repository(folder / "repository", camera=None)


NUMBERS = itertools.count(1)


def regions_of(path: Path, names: Sequence[str], padding: int = 0) -> dict[int, Any]:
    """Ingest a file and compute the regions of its detectors."""
    butler = repository()
    exposure = add_exposure(butler, next(NUMBERS))
    ingest(butler, exposure, path, names)
    return region_task(butler, "all-raw-wcs", padding=padding).compute(visit_of(exposure))[1]


def check(path: Path, names: Sequence[str], padding: int = 0) -> None:
    found = regions_of(path, names, padding)
    assert found.keys() == {IDS[name] for name in names}
    for name in names:
        assert outline_distance(found[IDS[name]], hull(border(name, padding=padding))) < TOLERANCE


def binned(header: fits.Header, x: int, y: int) -> fits.Header:
    """Bin an image of a whole detector."""
    for axis, size, factor in ((1, WIDTH, x), (2, HEIGHT, y)):
        header[f"NAXIS{axis}"] = size // factor
        header[f"CRPIX{axis}"] = (header[f"CRPIX{axis}"] - 0.5) / factor + 0.5
        for i in (1, 2):
            header[f"CD{i}_{axis}"] *= factor
    return header


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelname == "WARNING" and "butler_visits" in r.name]
