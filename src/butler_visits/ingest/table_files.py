"""Read tables of any common kind."""

from __future__ import annotations

import gzip
import os
from itertools import takewhile
from typing import Any, BinaryIO, cast

import numpy as np
from astropy.table import MaskedColumn, Table
from astropy.table.meta import get_header_from_yaml
from lsst.resources import ResourcePath, ResourcePathExpression

from ..errors import IngestError
from ..fits_blocks import read_hdus
from ..yaml_files import check_yaml

_FORMATS = {
    ".ecsv": "ascii.ecsv",
    ".csv": "ascii.csv",
    ".fits": "fits",
    ".fit": "fits",
    ".vot": "votable",
    ".xml": "votable",
    ".votable": "votable",
    ".parquet": "parquet",
    ".parq": "parquet",
}


def read_table(uri: ResourcePathExpression) -> Table:
    """Read a table; `IngestError` if it cannot be read."""
    path = ResourcePath(uri, forceAbsolute=False)
    name = path.basename().lower().removesuffix(".gz")
    kind = next((kind for suffix, kind in _FORMATS.items() if name.endswith(suffix)), None)
    if kind is None:
        raise IngestError(
            f"The table {uri} must end in one of {', '.join(_FORMATS)}, which says what kind of table it is."
        )
    try:
        with path.as_local() as local:
            if kind == "parquet":
                return _read_parquet(local.ospath)
            if kind == "fits":
                return _read_fits(local.ospath)
            if kind == "ascii.ecsv":
                _check_ecsv(local.ospath)
            return Table.read(local.ospath, format=kind)
    except FileNotFoundError:
        raise IngestError(f"There is no table {uri}.") from None
    except Exception as error:
        # Each format's reader, and each remote file's, has errors of its own.
        first = next(iter(str(error).strip().splitlines()), "")
        raise IngestError(f"The table {uri} cannot be read: {type(error).__name__}: {first.rstrip('.')}.") from error


def _is_packed(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _check_ecsv(path: str) -> None:
    """Check the YAML before the columns, in which a few aliases can stand for any number of values."""
    with (gzip.open if _is_packed(path) else open)(path, "rt", encoding="utf-8") as file:
        lines = takewhile(lambda line: line.startswith("#"), file)
        # The first line says %ECSV, which is none of YAML's directives.
        check_yaml("".join(line[2:] for line in lines if not line.startswith("# %")))


def _check_fits(path: str) -> None:
    """Check the structure, which astropy believes."""
    if _is_packed(path):
        with gzip.open(path) as unpacked:
            _ = list(read_hdus(cast(BinaryIO, unpacked)))
    else:
        with open(path, "rb") as file:
            _ = list(read_hdus(file, os.path.getsize(path)))


def _read_fits(path: str) -> Table:
    """Read a FITS table, with columns of times as such, and with all metadata."""
    _check_fits(path)
    table = Table.read(path, format="fits")
    try:
        native = Table.read(path, format="fits", astropy_native=True)
    except AssertionError:
        # A TIMESYS that astropy does not know.
        return table
    # Where astropy reads columns of times, it drops TIMESYS, which other columns need.
    native.meta = table.meta
    return native


def _read_parquet(path: str) -> Table:
    """Read a Parquet file; astropy would need pandas for it."""
    import pyarrow.parquet
    import pyarrow.types as kinds

    content = pyarrow.parquet.read_table(path)
    units = _parquet_units(content.schema)
    columns: dict[str, Any] = {}
    for field in content.schema:
        values = content[field.name].combine_chunks()
        if kinds.is_dictionary(values.type):
            values = values.dictionary_decode()
        if kinds.is_temporal(values.type):
            # As ISO texts, which keep nanoseconds; a time zone is gone, and its times are UTC.
            data = values.cast(pyarrow.timestamp("ns")).to_numpy(zero_copy_only=False)
            texts, mask = np.datetime_as_string(data), np.isnat(data)
        else:
            some = values.to_pylist()
            mask = np.array([value is None for value in some], dtype=bool)
            known = next((value for value in some if value is not None), "")
            texts = np.array([type(known)() if value is None else value for value in some])
        columns[field.name] = MaskedColumn(texts, mask=mask, unit=units.get(field.name))
    return Table(columns)


def _parquet_units(schema: Any) -> dict[str, str]:
    """Find the units in what astropy adds to a Parquet file, and in the columns' own metadata."""
    units: dict[str, str] = {}
    header = (schema.metadata or {}).get(b"table_meta_yaml")
    if header is not None:
        check_yaml(header.decode())
        described = get_header_from_yaml(header.decode().split("\n"))["datatype"]
        units = {column["name"]: str(column["unit"]) for column in described if column.get("unit")}
    own = {field.name: (field.metadata or {}).get(b"unit") for field in schema}
    return {**units, **{name: unit.decode() for name, unit in own.items() if unit}}
