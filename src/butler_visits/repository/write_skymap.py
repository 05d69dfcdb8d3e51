"""Store a skymap: tracts of the sky, each with its patches, for whatever is made of visits that overlap.

A tract is a rectangle on the plane that touches the sky at its centre, and patches are squares of it. So the borders of
all are great circles, as the Butler's regions have them.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np
from lsst.daf.butler import Butler
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.sphgeom import ConvexPolygon, UnitVector3d

from ..errors import VisitsError
from ..geometry import FloatArray, axes, directions
from ..lists import batches
from .database import require_writeable
from .kept import unharmed

_MOST_PATCHES = 1_000_000
_BATCH = 10_000


@dataclasses.dataclass(frozen=True)
class Tract:
    """A tract; angles and lengths on its plane in radians."""

    ra: float
    dec: float
    nx: int
    ny: int
    patch_size: float

    def corners(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """Return where corners of patches are, unit vectors (..., 3); ``x``, ``y`` count patches from the first one."""
        east, north = axes(self.ra, self.dec)
        plane_x, plane_y = (x - self.nx / 2) * self.patch_size, (y - self.ny / 2) * self.patch_size
        # East is to the left, as in an image of the sky.
        vectors = directions(self.ra, self.dec) - plane_x[..., None] * east + plane_y[..., None] * north
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)

    def region(self, x: int, y: int, width: int, height: int) -> ConvexPolygon:
        """Return the region of some of its patches."""
        found = self.corners(np.array([x, x + width, x + width, x]), np.array([y, y, y + height, y + height]))
        return ConvexPolygon.convexHull([UnitVector3d(*corner) for corner in found])


def rectangle(ra: float, dec: float, width: float, height: float, patch_size: float) -> list[Tract]:
    """Lay one tract over a rectangle of the sky; all in degrees.

    Raises `VisitsError` if it is too large for a plane.
    """
    _check_lengths(patch_size)
    if not (np.isfinite(ra) and -90 <= dec <= 90):
        raise VisitsError(f"A rectangle is centred on a place of the sky, in degrees; found {ra} {dec}.")
    if not (0 < width <= 90 and 0 < height <= 90):
        raise VisitsError("A rectangle is at most 90 degrees wide and high; for more of the sky take rings.")
    half = np.tan(np.deg2rad([width, height]) / 2)
    return [_tract(np.deg2rad(ra), np.deg2rad(dec), half, patch_size)]


def rings(count: int, overlap: float, patch_size: float) -> list[Tract]:
    """Lay tracts over the whole sky, in rings of equal height; ``overlap`` and ``patch_size`` in degrees.

    Raises `VisitsError` if there are so few rings that tracts are too large for a plane.
    """
    _check_lengths(patch_size, overlap)
    if count < 4:
        raise VisitsError("A skymap has at least 4 rings.")
    height = np.pi / count
    tracts: list[Tract] = []
    for ring in range(count):
        low, high = -np.pi / 2 + ring * height, -np.pi / 2 + (ring + 1) * height
        widest = 1.0 if low < 0 < high else max(np.cos(low), np.cos(high))
        n_tracts = max(3, int(np.ceil(2 * np.pi * widest / height - 1e-9)))
        half_width = np.pi / n_tracts
        # The border of the tract's cell, on its plane; the cell's corners are not where it is widest.
        t = np.linspace(-1, 1, 101)
        ra = np.concatenate([t, t, np.full(101, -1), np.full(101, 1)]) * half_width
        dec = np.concatenate([np.full(101, low), np.full(101, high), *[(low + high) / 2 + t * height / 2] * 2])
        middle = (low + high) / 2
        east, north = axes(0.0, middle)
        border = directions(ra, dec)
        plane = np.stack([border @ east, border @ north], axis=-1) / (border @ directions(0.0, middle))[:, None]
        half = np.abs(plane).max(axis=0) + np.deg2rad(overlap) / 2
        tracts += [_tract((2 * k + 1) * half_width, middle, half, patch_size) for k in range(n_tracts)]
    return tracts


def _check_lengths(patch_size: float, overlap: float = 0.0) -> None:
    if not (0 < patch_size < np.inf and 0 <= overlap < np.inf):
        raise VisitsError("The side of a patch and the overlap of tracts are finite numbers of degrees.")


def _tract(ra: float, dec: float, half: FloatArray, patch_size: float) -> Tract:
    """Make a tract of whole patches that reaches as far as it should, in radians on its plane."""
    size = np.deg2rad(patch_size)
    nx, ny = np.maximum(1, np.ceil(2 * half / size - 1e-9)).astype(int).tolist()
    return Tract(float(ra), float(dec), nx, ny, float(size))


def write_skymap(butler: Butler, name: str, tracts: Sequence[Tract]) -> bool:
    """Store a skymap with all its tracts and patches, in one transaction; `False` if it is there already.

    Raises `ConflictingDefinitionError` if another one has the name, and `VisitsError` if it has too many patches.
    """
    require_writeable(butler)
    n_patches = sum(tract.nx * tract.ny for tract in tracts)
    if n_patches > _MOST_PATCHES:
        raise VisitsError(f"The skymap would have {n_patches} patches; take larger ones, or fewer tracts.")
    digest = hashlib.sha1(repr(tracts).encode(), usedforsecurity=False).digest()
    with butler.query() as query:
        stored = [record for record in query.dimension_records("skymap") if record.name == name]
    if stored:
        if stored[0].hash != digest:
            raise ConflictingDefinitionError(f"There is another skymap {name} already; choose another name.")
        return False
    fields = {
        "name": name,
        "hash": digest,
        "tract_max": len(tracts),
        "patch_nx_max": max(tract.nx for tract in tracts),
        "patch_ny_max": max(tract.ny for tract in tracts),
    }
    insert = butler.registry.insertDimensionData
    with butler.transaction(), unharmed(butler):
        insert("skymap", fields)
        for batch in batches(enumerate(tracts), _BATCH):
            insert(
                "tract",
                *({"skymap": name, "id": id_, "region": one.region(0, 0, one.nx, one.ny)} for id_, one in batch),
            )
        patches = (
            {
                "skymap": name,
                "tract": id_,
                "id": y * one.nx + x,
                "cell_x": x,
                "cell_y": y,
                "region": one.region(x, y, 1, 1),
            }
            for id_, one in enumerate(tracts)
            for y in range(one.ny)
            for x in range(one.nx)
        )
        for rows in batches(patches, _BATCH):
            insert("patch", *rows)
    return True
