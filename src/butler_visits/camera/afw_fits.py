"""Read the FITS cameras that Rubin's afw package writes, without it.

Their tables are read without astropy, and the transforms in them by AST, which a damaged one can crash. So a file is
read and mapped in a child process first, once for each content.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from contextlib import suppress
from typing import Any

import numpy as np
import starlink.Ast

from ..cache import cache_folder
from ..errors import CameraFileError
from ..fits_blocks import read_hdus
from ..trial import find_problem
from .ast_transform import AstTransform, read_mapping
from .fits_table import FitsTable
from .model import Camera, Transform

_FOCAL_PLANE, _FIELD_ANGLE, _PIXELS = "FocalPlane", "FieldAngle", "Pixels"
_INDEX = 1  # The HDU of the archive's index, which has EXTNAME in some files and EXTTYPE only, or nothing, in others.

_READER = 1
"""Raise it where files that were read before must be tried again."""

_problems: dict[str, str] = {}
"""What is wrong with contents that were tried in this process, by their checksum; empty texts for nothing."""


def read_afw_camera(content: bytes, source: str) -> Camera:
    """Read a camera from an afw FITS file, whose format docs/design.md, Cameras, describes.

    Raises `CameraFileError` if the file is no camera or is damaged.
    """
    if problem := _problem(content):
        raise CameraFileError(
            f"{source} is not an afw camera file, or it is damaged ({problem}); replace the dataset, or give the "
            "camera as a camera_geometry dataset."
        )
    return parse_afw_camera(content, source)


def _problem(content: bytes) -> str:
    """Say what is wrong with a content, by a child process unless one has read it before."""
    checksum = hashlib.sha256(content).hexdigest()
    if checksum not in _problems:
        mark = cache_folder("cameras") / f"{checksum}-{_READER}-{starlink.Ast.version()}"
        # No cache is no harm: the file is tried by each process.
        with suppress(OSError):
            if mark.exists():
                return ""
        _problems[checksum] = find_problem(f"{__name__}:try_afw_camera", content)
        if not _problems[checksum]:
            with suppress(OSError):
                mark.parent.mkdir(parents=True, exist_ok=True)
                mark.touch()
    return _problems[checksum]


def try_afw_camera(content: bytes) -> None:
    """Do with a content what may be done with a camera, in a child process."""
    camera = parse_afw_camera(content, "the camera")
    for one in (camera, pickle.loads(pickle.dumps(camera))):
        # Corners that are nowhere are said where they are needed.
        with suppress(CameraFileError):
            one.corners(250)
        with suppress(CameraFileError):
            one.exact_corners(250)
        _ = one.flipped


def parse_afw_camera(content: bytes, source: str) -> Camera:
    """Read a camera that is known to be read without harm."""
    hdus = list(read_hdus(io.BytesIO(content), len(content)))
    tables: list[FitsTable | None] = []
    for number, hdu in enumerate(hdus):
        try:
            tables.append(FitsTable(hdu, content) if hdu.kind == "BINTABLE" else None)
        except ValueError as error:
            raise ValueError(f"HDU {number}: {error}") from error
    if len(tables) <= _INDEX:
        raise ValueError("it has no table")
    return _Archive(tables, source).camera()


class _Archive:
    """The tables of an afw archive."""

    def __init__(self, tables: list[FitsTable | None], source: str) -> None:
        self._tables = tables
        self._source = source
        self._columns: dict[tuple[int, str], list[Any] | None] = {}
        self._index: dict[int, list[tuple[int, int, int]]] = {}
        index = [self._column(_INDEX, column) for column in ("id", "cat.archive", "row0", "nrows", "name")]
        columns = [column for column in index if column is not None]
        if len(columns) < len(index):
            raise ValueError(f"HDU {_INDEX} is not the index of an archive")
        self._cameras: set[int] = set()
        for archive_id, table, row0, n_rows, name in zip(*columns, strict=True):
            if row0 < 0 or n_rows < 0 or not 0 < table < len(tables) - _INDEX:
                raise ValueError(
                    f"the index puts entry {archive_id} into rows {row0} to {row0 + n_rows} of HDU {_INDEX + table}"
                )
            # Tables are counted from the index.
            self._index.setdefault(archive_id, []).append((_INDEX + table, row0, n_rows))
            if name == "Camera":
                self._cameras.add(archive_id)

    def _values(self, archive_id: int, column: str) -> list[Any]:
        """Return an entry's values in the column, from whichever of its tables has the column."""
        # A detector's own table comes first: its amplifiers' has a name and a bbox_min_x too.
        for number, row0, n_rows in self._index.get(archive_id, []):
            if (values := self._column(number, column)) is not None:
                if len(values) < row0 + n_rows:
                    raise ValueError(f"HDU {number} ends before row {row0 + n_rows}")
                return values[row0 : row0 + n_rows]
        raise ValueError(f"archive entry {archive_id} has no table with a column {column}")

    def _value(self, archive_id: int, column: str) -> Any:
        """Return an entry's only value in the column."""
        values = self._values(archive_id, column)
        if len(values) != 1:
            raise ValueError(f"archive entry {archive_id} has {len(values)} rows with a column {column}, expected 1")
        return values[0]

    def _column(self, number: int, column: str) -> list[Any] | None:
        """Read a whole column, once; `None` if the table has none."""
        key = (number, _plain(column))
        if key not in self._columns:
            table = self._tables[number]
            # Some files write the same names otherwise.
            names = {} if table is None else {_plain(name): name for name in table.columns}
            self._columns[key] = table.column(names[key[1]]) if table is not None and key[1] in names else None
        return self._columns[key]

    def camera(self) -> Camera:
        """Put the camera together."""
        if len(self._cameras) != 1:
            raise ValueError(f"it holds {len(self._cameras)} cameras, expected 1")
        (camera_id,) = self._cameras
        name, transform_map = self._value(camera_id, "name"), self._value(camera_id, "transformMap")
        detectors = self._values(camera_id, "detector")

        def each(column: str) -> list[Any]:
            return [self._value(detector, column) for detector in detectors]

        names = each("name")
        low_x, low_y, high_x, high_y = map(each, ("bbox_min_x", "bbox_min_y", "bbox_max_x", "bbox_max_y"))
        ends = ("fromSysName", "fromSysDetectorName", "toSysName", "toSysDetectorName")
        columns = [self._values(transform_map, column) for column in (*ends, "transform")]
        links = {(a, b, c, d): transform for a, b, c, d, transform in zip(*columns, strict=True)}
        if len(links) < len(columns[0]):
            raise ValueError("two transforms lead from one system to the same other one")
        return Camera(
            name=name,
            detector_ids=np.array(each("id"), dtype=np.int64),
            detector_names=tuple(names),
            bounding_boxes=np.array([low_x, low_y, high_x, high_y], dtype=np.int64).T.reshape(-1, 2, 2),
            pixels_to_focal_plane=tuple(self._transform(links, (_PIXELS, name), (_FOCAL_PLANE, "")) for name in names),
            focal_plane_to_field_angle=self._transform(links, (_FOCAL_PLANE, ""), (_FIELD_ANGLE, "")),
            source=self._source,
            detector_types=tuple(map(int, each("type"))),
        )

    def _transform(
        self, links: dict[tuple[str, str, str, str], int], begin: tuple[str, str], end: tuple[str, str]
    ) -> Transform:
        """Find the transform from one system to another, which may be stored either way round."""
        if (forward := links.get(begin + end)) is not None:
            return self._mapping(forward, True)
        if (inverse := links.get(end + begin)) is not None:
            return self._mapping(inverse, False)
        raise ValueError(f"no transform from {' '.join(begin).strip()} to {end[0]}")

    def _mapping(self, archive_id: int, forward: bool) -> Transform:
        """Read an AST mapping."""
        text = self._value(archive_id, "bytes")
        try:
            return AstTransform(read_mapping(text), forward)
        except ValueError as error:
            raise ValueError(f"archive entry {archive_id} holds {error}") from error


def _plain(name: str) -> str:
    return name.casefold().replace(".", "").replace("_", "")
