"""Read the FITS cameras that Rubin's afw package writes, without it."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import numpy as np
import starlink.Ast
from astropy.io import fits

from ..errors import CameraFileError
from ..lists import first_line
from .ast_transform import AstTransform, read_mapping
from .model import Camera, Transform

_FOCAL_PLANE, _FIELD_ANGLE, _PIXELS = "FocalPlane", "FieldAngle", "Pixels"
_INDEX = 1  # The HDU of the archive's index, which has EXTNAME in some files and EXTTYPE only, or nothing, in others.


def read_afw_camera(content: bytes, source: str) -> Camera:
    """Read a camera from an afw FITS file, whose format docs/design.md, Cameras, describes.

    Raises `CameraFileError` if the file is no camera or is damaged.
    """
    try:
        with fits.open(io.BytesIO(content), memmap=False) as hdus:
            last = hdus[-1].fileinfo()
            if last["datLoc"] + last["datSpan"] > len(content):
                raise ValueError("it is truncated")
            return _Archive(hdus, source).camera()
    except (
        OSError,
        KeyError,
        IndexError,
        TypeError,
        ValueError,
        fits.VerifyError,
        starlink.Ast.AstError,
    ) as error:
        raise CameraFileError(
            f"{source} is no afw camera file or is damaged ({first_line(error)}); replace the dataset, "
            "or give the camera as a camera_geometry dataset."
        ) from error


class _Archive:
    """The tables of an afw archive."""

    def __init__(self, hdus: fits.HDUList, source: str) -> None:
        self._hdus = hdus
        self._source = source
        self._index: dict[int, list[tuple[int, int, int]]] = {}
        index = [self._column(_INDEX, column) for column in ("id", "cat.archive", "row0", "nrows", "name")]
        if any(column is None for column in index):
            raise KeyError(f"HDU {_INDEX} is no archive's index")
        self._cameras: set[int] = set()
        for archive_id, table, row0, n_rows, name in zip(*index, strict=True):
            # Tables are counted from the index.
            self._index.setdefault(archive_id, []).append((_INDEX + table, row0, n_rows))
            if name == "Camera":
                self._cameras.add(archive_id)

    def _values(self, archive_id: int, column: str) -> list[Any]:
        """Return an entry's values in the column, from whichever of its tables has the column."""
        # A detector's own table comes first: its amplifiers' has a name and a bbox_min_x too.
        for number, row0, n_rows in self._index[archive_id]:
            if (values := self._column(number, column)) is not None:
                if len(values) < row0 + n_rows:
                    raise ValueError(f"HDU {number} ends before row {row0 + n_rows}")
                return values[row0 : row0 + n_rows]
        raise KeyError(f"archive entry {archive_id} has no table with a column {column}")

    @cache  # noqa: B019 - an archive lives as long as the file is read
    def _column(self, number: int, column: str) -> list[Any] | None:
        """Read a whole column at once: astropy takes a millisecond for a row."""
        table = self._hdus[number].data
        if not isinstance(table, fits.FITS_rec):
            return None
        # Some files write the same names otherwise.
        names = {_plain(name): name for name in table.columns.names}
        if (name := names.get(_plain(column))) is None:
            return None
        values = table[name]
        return (
            values.tolist() if values.dtype.kind in "iuf" and values.ndim == 1 else [_text(value) for value in values]
        )

    def camera(self) -> Camera:
        """Put the camera together."""
        if len(self._cameras) != 1:
            raise ValueError(f"it holds {len(self._cameras)} cameras, expected 1")
        (camera_id,) = self._cameras
        (name,) = self._values(camera_id, "name")
        (transform_map,) = self._values(camera_id, "transformMap")
        detectors = self._values(camera_id, "detector")

        def each(column: str) -> list[Any]:
            return [self._values(detector, column)[0] for detector in detectors]

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
        )

    def _transform(
        self, links: dict[tuple[str, str, str, str], int], begin: tuple[str, str], end: tuple[str, str]
    ) -> Transform:
        """Find the transform from one system to another, which may be stored either way round."""
        if (forward := links.get(begin + end)) is not None:
            return self._mapping(forward, True)
        if (inverse := links.get(end + begin)) is not None:
            return self._mapping(inverse, False)
        raise KeyError(f"no transform from {' '.join(begin).strip()} to {end[0]}")

    def _mapping(self, archive_id: int, forward: bool) -> Transform:
        """Read an AST mapping."""
        (text,) = self._values(archive_id, "bytes")
        try:
            return AstTransform(read_mapping(text), forward)
        except ValueError as error:
            raise ValueError(f"archive entry {archive_id} holds {error}") from error


def _plain(name: str) -> str:
    return name.casefold().replace(".", "").replace("_", "")


def _text(value: Any) -> str:
    """Read a text, which astropy gives as a string, as single characters or as bytes."""
    if isinstance(value, str):
        return value.strip()
    characters = np.asarray(value)
    return (characters.tobytes().decode("ascii") if characters.dtype.kind == "u" else "".join(characters)).strip()
