"""Outlines as a table of IVOA's ObsCore, as TAP services have it (ObsTAP)."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
from astropy.time import Time

from ..geometry import lon_lat
from ..lists import batches, without_controls
from .columns import BAND_RANGES, COLUMNS
from .outlines import Outline, finite_or_none, read_vertices

if TYPE_CHECKING:
    from astropy.io.votable.tree import VOTableFile
    from astropy.table import Table
    from lsst.daf.butler import DimensionRecord

Row = dict[str, Any]

_BATCH = 20_000
"""Rows that are made at once for a Parquet file."""
_SYSTEMS = {"s_ra": "icrs", "s_dec": "icrs", "s_region": "icrs", "t_min": "utc", "t_max": "utc"}
"""The VOTable's coordinate or time system that columns are in."""
_VOTABLE_TYPES: Mapping[type, tuple[str, str | None]] = MappingProxyType(
    {str: ("unicodeChar", "*"), int: ("long", None), float: ("double", None)}
)
_OF_DETECTORS = ("detector", "detector_name")
_NOT_KNOWN = dict.fromkeys(COLUMNS)


def obscore_rows(
    outlines: Iterable[Outline],
    *,
    publisher: str | None = None,
    ranges: Mapping[str, tuple[float, float]] = MappingProxyType({}),
) -> Iterator[Row]:
    """Describe outlines as rows of ObsCore.

    Parameters
    ----------
    outlines : `~collections.abc.Iterable` [`Outline`]
        Outlines of visits or detectors.
    publisher : `str`, optional
        The IVOA identifier (``ivo://authority/path``) with which ``obs_publisher_did`` begins; then come a question
        mark, the visit's name and, for a detector, a slash and its id. Without it that column is null.
    ranges : `~collections.abc.Mapping` [`str`, `tuple` [`float`, `float`]], optional
        Shortest and longest wavelength (metres) of physical filters or bands. Bands that are not in it have those of
        `BAND_RANGES`.

    Yields
    ------
    row : `dict` [`str`, `typing.Any`]
        All columns by name, `None` where not known: those of IVOA's ObsCore 1.1 that are not optional, and ``visit``
        (id), ``detector`` (id), ``detector_name``, ``physical_filter``, ``band`` and ``day_obs``. Places are ICRS
        degrees, ``s_region`` is STC-S, ``t_min`` and ``t_max`` are MJD (UTC).
    """
    of_bands = {**BAND_RANGES, **ranges}
    visit = None
    for outline in outlines:
        if outline.visit is not visit:
            visit = outline.visit
            of_visit = _of_visit(visit)
            if publisher:
                of_visit["obs_publisher_did"] = f"{publisher}?{quote(visit.name, safe='')}"
        low, high = ranges.get(visit.physical_filter or "") or of_bands.get(outline.band or "") or (None, None)
        row = {**_NOT_KNOWN, **of_visit, **_of_outline(outline), "em_min": low, "em_max": high}
        if publisher and outline.detector is not None:
            row["obs_publisher_did"] += f"/{outline.detector}"
        yield row


def obscore_table(
    outlines: Iterable[Outline],
    *,
    detectors: bool = False,
    publisher: str | None = None,
    ranges: Mapping[str, tuple[float, float]] = MappingProxyType({}),
) -> Table:
    r"""Make a table of ObsCore, with a row for each outline.

    Parameters
    ----------
    outlines, publisher, ranges
        As in `obscore_rows`.
    detectors : `bool`, optional
        Whether they are outlines of detectors; only then it has the columns ``detector`` and ``detector_name``.

    Returns
    -------
    table : `astropy.table.Table`
        The columns that `obscore_rows` names. What is not known is masked. Each column has a unit, a description and,
        in its ``meta``, a ``ucd`` and, if it is ObsCore's, a ``utype``. Control characters are written as ``\x1b``.
    """
    from astropy.table import Column, MaskedColumn, Table

    table = Table()
    rows = obscore_rows(outlines, publisher=publisher, ranges=ranges)
    for name, values in _values(rows, detectors).items():
        column = COLUMNS[name]
        meta = {"ucd": column.ucd} | ({"utype": f"obscore:{column.utype}"} if column.utype else {})
        about = {"unit": column.unit, "description": column.description, "meta": meta}
        mask = [value is None for value in values]
        if any(mask):
            table[name] = MaskedColumn(_filled(name, values), mask=mask, dtype=column.type, **about)
        else:
            table[name] = Column(_filled(name, values), dtype=column.type, **about)
    return table


def write_obscore_votable(rows: Iterable[Row], file: Path, *, detectors: bool = False) -> None:
    """Write the table that `obscore_table` makes as VOTable, which also says its coordinate system and time scale."""
    _votable(_values(rows, detectors)).to_xml(str(file))


def write_obscore_csv(rows: Iterable[Row], file: Path, *, detectors: bool = False) -> None:
    """Write rows as CSV: a line of names, nothing where nothing is known, all digits of numbers."""
    with file.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, _names(detectors), extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_obscore_parquet(rows: Iterable[Row], file: Path, *, detectors: bool = False) -> None:
    """Write the table that `obscore_table` makes as Parquet, some thousand rows at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    xml = io.BytesIO()
    _votable(_values([], detectors)).to_xml(xml)
    types = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    schema = pa.schema(
        [(name, types[COLUMNS[name].type]) for name in _names(detectors)],
        metadata={"IVOA.VOTable-Parquet.version": "1.0", "IVOA.VOTable-Parquet.content": xml.getvalue()},
    )
    with pq.ParquetWriter(file, schema) as writer:
        for batch in batches(rows, _BATCH):
            writer.write_table(pa.table(_values(batch, detectors), schema=schema))


def _votable(values: Mapping[str, Sequence[Any]]) -> VOTableFile:
    """Make a VOTable of columns."""
    from astropy.io.votable.tree import CooSys, Field, Resource, TableElement, TimeSys, VOTableFile

    votable = VOTableFile(version="1.4")
    resource = Resource()
    votable.resources.append(resource)
    # The two systems want to be told the version that they are for.
    config = {f"version_1_{minor}_or_later": True for minor in range(1, 5)}
    resource.coordinate_systems.append(CooSys(ID="icrs", system="ICRS", config=config))
    resource.time_systems.append(
        TimeSys(ID="utc", timescale="UTC", timeorigin=2400000.5, refposition="TOPOCENTER", config=config)
    )
    table = TableElement(votable)
    resource.tables.append(table)
    for name in values:
        column = COLUMNS[name]
        datatype, arraysize = _VOTABLE_TYPES[column.type]
        field = Field(
            votable,
            ID=name,
            name=name,
            datatype=datatype,
            arraysize=arraysize,
            unit=column.unit,
            ucd=column.ucd,
            ref=_SYSTEMS.get(name),
            utype=f"obscore:{column.utype}" if column.utype else None,
            xtype=column.xtype,
        )
        field.description = column.description
        table.fields.append(field)
    table.create_arrays(len(next(iter(values.values()))))
    for name, column_values in values.items():
        table.array[name] = _filled(name, column_values)
        table.array.mask[name] = [value is None for value in column_values]
    return votable


def _filled(name: str, values: Sequence[Any]) -> list[Any]:
    """Replace nulls by what the column's type makes of nothing, an empty text or zero, and control characters."""
    kind = COLUMNS[name].type
    if kind is str:
        return [without_controls(value or "") for value in values]
    return [kind() if value is None else value for value in values]


def _names(detectors: bool) -> list[str]:
    return [name for name in COLUMNS if detectors or name not in _OF_DETECTORS]


def _values(rows: Iterable[Row], detectors: bool) -> dict[str, list[Any]]:
    """Turn rows into columns."""
    values: dict[str, list[Any]] = {name: [] for name in _names(detectors)}
    for row in rows:
        for name, column in values.items():
            column.append(row[name])
    return values


def _of_visit(visit: DimensionRecord) -> dict[str, Any]:
    begin, end = (None, None) if visit.timespan is None else (visit.timespan.begin, visit.timespan.end)
    return {
        "dataproduct_type": "image",
        # Raw data in a standard format.
        "calib_level": 1,
        "obs_collection": visit.instrument,
        "obs_id": visit.name,
        "visit": visit.id,
        "target_name": visit.target_name,
        "t_min": _mjd(begin),
        "t_max": _mjd(end),
        "t_exptime": finite_or_none(visit.exposure_time),
        "instrument_name": visit.instrument,
        "physical_filter": visit.physical_filter,
        # The oldest universes have no day of a visit.
        "day_obs": getattr(visit, "day_obs", None),
    }


def _mjd(time: Any) -> float | None:
    """Return a time as MJD, UTC; unbounded ends are no times."""
    if not isinstance(time, Time):
        return None
    with warnings.catch_warnings():
        # Years to come may have leap seconds that nobody knows yet, as in simulations.
        warnings.filterwarnings("ignore", ".*dubious year")
        return float(time.utc.mjd)


def _of_outline(outline: Outline) -> dict[str, Any]:
    # Sphgeom goes around counterclockwise as seen from outside the sphere, the IVOA as seen from its centre.
    vertices = lon_lat(read_vertices(outline.region)[::-1])
    centre = outline.region.getCentroid()
    ra, dec = lon_lat(np.array([centre.x(), centre.y(), centre.z()])).tolist()
    return {
        "band": outline.band,
        "detector": outline.detector,
        "detector_name": outline.detector_name,
        "s_ra": ra,
        "s_dec": dec,
        "s_fov": 2 * outline.region.getBoundingCircle().getOpeningAngle().asDegrees(),
        "s_region": f"POLYGON ICRS {' '.join(map(repr, vertices.ravel().tolist()))}",
    }
