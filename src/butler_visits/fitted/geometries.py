"""What an astrometric fit says of visits: the datasets that hold it, found and read in bulk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import PurePosixPath
from typing import Annotated, Any, Self
from urllib.parse import unquote
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt
import pydantic
from lsst.daf.butler import Butler, DatasetRef, MissingDatasetTypeError
from lsst.daf.butler.pydantic_utils import SerializableRegion
from lsst.resources import ResourcePath
from lsst.sphgeom import ConvexPolygon, Region

from ..errors import VisitsError
from ..geometry import FloatArray, decode_polygon
from ..raws.headers import THREADS
from ..repository.reading import expression
from ..yaml_files import load_yaml

_LISTED = 10
"""Datasets that one error tells of."""

_NO_POLYGON = "{}: expected unit vectors that go counterclockwise around a convex polygon"

_ROUNDING = 1e-12
"""How far (radians) a vertex of a convex polygon may lie outside an edge: 2e-7 arcsec, far above rounding."""


def _as_polygon(value: Any, handler: pydantic.ValidatorFunctionWrapHandler) -> ConvexPolygon:
    try:
        region: Region = handler(value)
    except RuntimeError as error:
        # What sphgeom raises for other bytes than its own, and pydantic takes no ValueError for.
        raise ValueError("expected an encoded region") from error
    if not isinstance(region, ConvexPolygon):
        raise ValueError(f"expected a ConvexPolygon, not a {type(region).__name__}")
    return region


def _by_detector(value: Any, handler: pydantic.ValidatorFunctionWrapHandler) -> dict[int, ConvexPolygon]:
    regions: dict[int, ConvexPolygon] = handler(value)
    if len(regions) < len(value):
        raise ValueError("a detector is there twice")
    return regions


# Two turns are more than any convention needs; beyond them it is no angle in degrees.
_Degrees = Annotated[float, pydantic.Field(strict=True, allow_inf_nan=False, ge=-720, le=720)]
_Polygon = Annotated[SerializableRegion, pydantic.WrapValidator(_as_polygon)]


class VisitGeometry(pydantic.BaseModel):
    """Where a visit was, according to an astrometric fit; other fields of a file are ignored."""

    model_config = pydantic.ConfigDict(frozen=True)

    boresight_ra: _Degrees
    """ICRS right ascension of the boresight, degrees."""

    boresight_dec: Annotated[_Degrees, pydantic.Field(ge=-90, le=90)]
    """ICRS declination of the boresight, degrees."""

    orientation: _Degrees
    """Rotation angle of the camera on the sky, degrees, as ``sky_angle`` of an exposure."""

    visit_region: _Polygon
    """Region of the visit, a `lsst.sphgeom.ConvexPolygon`."""

    detector_regions: Annotated[dict[int, _Polygon], pydantic.WrapValidator(_by_detector)]
    """Regions of the detectors by their ids, each a `lsst.sphgeom.ConvexPolygon`."""

    @pydantic.model_validator(mode="after")
    def _check_polygons(self) -> Self:
        """Refuse polygons that are none: sphgeom decodes any vertices."""
        names = ["visit_region", *(f"detector_regions.{detector}" for detector in self.detector_regions)]
        by_size: dict[int, list[tuple[str, FloatArray]]] = defaultdict(list)
        for name, region in zip(names, (self.visit_region, *self.detector_regions.values()), strict=True):
            vertices = decode_polygon(region.encode())
            if vertices is None:
                raise ValueError(_NO_POLYGON.format(name))
            by_size[len(vertices)].append((name, vertices))
        for group in by_size.values():
            convex = _are_convex(np.array([vertices for _, vertices in group]))
            for (name, _), good in zip(group, convex, strict=True):
                if not good:
                    raise ValueError(_NO_POLYGON.format(name))
        return self


def _are_convex(polygons: FloatArray) -> npt.NDArray[np.bool_]:
    """Tell whether polygons (N, V, 3) have unit vectors for vertices and every vertex inside of every edge."""
    edges = np.roll(polygons, -1, axis=1) - polygons
    inward = np.cross(polygons, edges)
    length = np.linalg.norm(inward, axis=-1)[..., None]
    # From differences, because the product of a vertex and an edge's normal loses its last digits.
    depth = np.einsum("nei,neki->nek", inward, polygons[:, None] - polygons[:, :, None])
    # Two equal vertices have no edge between them.
    depth = np.divide(depth, length, out=np.zeros_like(depth), where=length != 0)
    unit = np.abs(np.linalg.norm(polygons, axis=-1) - 1) < 1e-9
    return np.asarray(unit.all(axis=1) & (depth >= -_ROUNDING).all(axis=(1, 2)) & (depth > _ROUNDING).any(axis=(1, 2)))


def find_geometries(
    butler: Butler,
    instrument: str,
    collections: Sequence[str],
    dataset_type: str = "visit_geometry",
    where: str = "",
) -> list[DatasetRef]:
    """Find the fitted geometry of visits, with one query.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    instrument : `str`
        Name of the instrument.
    collections : `~collections.abc.Sequence` [`str`]
        Collections to search; of each visit the first dataset is taken.
    dataset_type : `str`, optional
        Name of the datasets' type.
    where : `str`, optional
        A Butler expression that selects datasets by their data IDs, for instance ``visit.day_obs = 20260401``; the
        default is all.

    Returns
    -------
    datasets : `list` [`lsst.daf.butler.DatasetRef`]
        A dataset for each visit that has one, in the order of the visits' ids.

    Raises
    ------
    VisitsError
        If the dataset type is not registered, or not one of datasets that each belong to a visit.
    lsst.daf.butler.MissingCollectionError
        If a collection is not there.
    lsst.daf.butler.InvalidQueryError
        If the expression is wrong.
    """
    try:
        found = butler.get_dataset_type(dataset_type)
    except MissingDatasetTypeError as error:
        raise VisitsError(
            f"No dataset type {dataset_type!r} is registered in this repository; name the one that has the fitted "
            "geometry of visits with --dataset-type (in Python dataset_type)."
        ) from error
    if found.dimensions != butler.dimensions.conform(["visit"]) or found.isCalibration():
        kind = " of calibrations" if found.isCalibration() else ""
        raise VisitsError(
            f"Dataset type {dataset_type!r} is one{kind} with dimensions {', '.join(found.dimensions.required)}; "
            "expected a dataset for each instrument and visit, and no calibrations."
        )
    with expression(where), butler.query() as query:
        datasets = query.datasets(found, collections, find_first=True).where(where, instrument=instrument)
        return sorted(datasets, key=lambda dataset: int(dataset.dataId["visit"]))


def read_geometries(
    butler: Butler, datasets: Sequence[DatasetRef], detectors: Collection[int]
) -> dict[int, VisitGeometry]:
    """Read the fitted geometry of visits; many files at the same time.

    The files are read, and not the datasets through the Butler, which would import the Python type of their storage
    class. Rubin's is not installed where Rubin's stack is not. Raises `VisitsError`, which names the visits, files and
    fields.
    """
    uris = butler.get_many_uris(datasets, allow_missing=True)
    files = {
        dataset: file for dataset in datasets if dataset in uris and (file := uris[dataset].primaryURI) is not None
    }
    read = _read_files(set(files.values()))
    geometries: dict[int, VisitGeometry] = {}
    wrong: list[str] = []
    for dataset in datasets:
        visit = int(dataset.dataId["visit"])
        file = files.get(dataset)
        geometry = "it has no file in the datastore" if file is None else read[file]
        if isinstance(geometry, VisitGeometry) and (unknown := geometry.detector_regions.keys() - set(detectors)):
            geometry = f"detector_regions.{min(unknown)}: no such detector is registered"
        if isinstance(geometry, VisitGeometry):
            geometries[visit] = geometry
        else:
            where = f"run {dataset.run}" if file is None else str(file)
            wrong.append(f"The {dataset.datasetType.name} of visit {visit} in {where}: {geometry}.")
    if wrong:
        lines = wrong[:_LISTED]
        if len(wrong) > _LISTED:
            lines.append(f"{len(wrong) - _LISTED} more cannot be taken either.")
        lines.append(
            "Store what is right in a collection that is searched first, or leave these visits out with --where (in "
            "Python where). Visits that were updated before are whole, and running it again is safe."
        )
        raise VisitsError("\n".join(lines))
    return geometries


def _read_files(files: Collection[ResourcePath]) -> dict[ResourcePath, VisitGeometry | str]:
    """Read files, of which several may be in one zip file, or say what is wrong with them."""
    together: dict[ResourcePath, list[ResourcePath]] = defaultdict(list)
    for file in files:
        together[file.replace(fragment="")].append(file)
    with ThreadPoolExecutor(THREADS) as pool:
        read = pool.map(_read, together.keys(), together.values())
        return dict(zip((file for some in together.values() for file in some), chain.from_iterable(read), strict=True))


def _read(file: ResourcePath, datasets: Sequence[ResourcePath]) -> list[VisitGeometry | str]:
    """Read the datasets of a file, which is either the only one itself or a zip file that they are in."""
    try:
        if not datasets[0].fragment:
            return [_parse(file.read(), file.getExtension())]
        with file.open("rb") as stream, ZipFile(stream) as archive:
            return [_unpack(archive, unquote(dataset.fragment).partition("=")[2]) for dataset in datasets]
    except FileNotFoundError:
        return ["the file is gone"] * len(datasets)
    except Exception as error:
        # The libraries behind each kind of URI raise nearly anything.
        return [f"the file cannot be read ({type(error).__name__}: {error})"] * len(datasets)


def _unpack(archive: ZipFile, name: str) -> VisitGeometry | str:
    if name not in archive.NameToInfo:
        return "the zip file does not have it"
    return _parse(archive.read(name), PurePosixPath(name).suffix)


def _parse(content: bytes, extension: str) -> VisitGeometry | str:
    try:
        if extension in (".yaml", ".yml"):
            return VisitGeometry.model_validate(load_yaml(content))
        return VisitGeometry.model_validate_json(content)
    except pydantic.ValidationError as error:
        return _first_of(error)
    except ValueError as error:
        return f"it is not YAML ({error})"


def _first_of(error: pydantic.ValidationError) -> str:
    """Say which field is wrong, and how."""
    first = error.errors(include_url=False)[0]
    said = str(first["ctx"]["error"]) if first["type"] == "value_error" else first["msg"]
    return ": ".join(filter(None, [".".join(map(str, first["loc"])), said]))
