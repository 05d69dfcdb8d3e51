"""Outlines as a table with the names of IVOA's ObsCore."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from astropy.time import Time

from ..geometry import lon_lat
from ..lists import batches
from .outlines import Outline, read_vertices

if TYPE_CHECKING:
    from astropy.io.votable.tree import VOTableFile
    from astropy.table import Table
    from lsst.daf.butler import DimensionRecord

_BATCH = 20_000
"""Rows that are made at once for a Parquet file."""


class _Column(NamedTuple):
    """What a column of the table is."""

    type: type
    ucd: str
    description: str
    unit: str | None = None


_MJD = "MJD, time scale UTC"
_COLUMNS: Mapping[str, _Column] = MappingProxyType(
    {
        "obs_collection": _Column(str, "meta.id", "Name of the instrument"),
        "obs_id": _Column(str, "meta.id", "Name of the visit"),
        "visit": _Column(int, "meta.id;obs", "Id of the visit"),
        "detector": _Column(int, "meta.id;instr.det", "Id of the detector"),
        "detector_name": _Column(str, "meta.id;instr.det", "Full name of the detector"),
        "target_name": _Column(str, "meta.id;src", "What was observed"),
        "s_ra": _Column(float, "pos.eq.ra", "Right ascension (ICRS) of the centre of the outline", "deg"),
        "s_dec": _Column(float, "pos.eq.dec", "Declination (ICRS) of the centre of the outline", "deg"),
        "s_fov": _Column(float, "phys.angSize;instr.fov", "Diameter of a circle around the outline", "deg"),
        "s_region": _Column(str, "pos.outline;obs.field", "Outline, STC-S; counterclockwise as seen on the sky"),
        "t_min": _Column(float, "time.start;obs.exposure", f"Begin of the first exposure, {_MJD}", "d"),
        "t_max": _Column(float, "time.end;obs.exposure", f"End of the last exposure, {_MJD}", "d"),
        "t_exptime": _Column(float, "time.duration;obs.exposure", "Exposure time, of all exposures together", "s"),
        "instrument_name": _Column(str, "meta.id;instr", "Name of the instrument"),
        "physical_filter": _Column(str, "meta.id;instr.filter", "Name of the filter"),
        "band": _Column(str, "instr.bandpass", "Name of the filter's band"),
        "day_obs": _Column(int, "time.epoch;obs", "Observing day, YYYYMMDD"),
    }
)
_SYSTEMS = {"s_ra": "icrs", "s_dec": "icrs", "s_region": "icrs", "t_min": "utc", "t_max": "utc"}
"""The VOTable's coordinate or time system that columns are in."""
_VOTABLE_TYPES: Mapping[type, tuple[str, str | None]] = MappingProxyType(
    {str: ("unicodeChar", "*"), int: ("long", None), float: ("double", None)}
)
_OF_DETECTORS = ("detector", "detector_name")


def obscore_table(outlines: Iterable[Outline], *, detectors: bool = False) -> Table:
    """Make a table with the names of ObsCore, and a row for each outline.

    Parameters
    ----------
    outlines : `~collections.abc.Iterable` [`Outline`]
        Outlines of visits or detectors.
    detectors : `bool`, optional
        Whether they are of detectors.

    Returns
    -------
    table : `astropy.table.Table`
        Columns ``obs_collection`` and ``instrument_name`` (the instrument), ``obs_id`` (the visit's name), ``visit``
        (its id), for detectors ``detector`` and ``detector_name``, ``target_name``, ``s_ra``, ``s_dec`` and ``s_fov``
        (degrees), ``s_region`` (STC-S), ``t_min`` and ``t_max`` (MJD, UTC), ``t_exptime`` (seconds),
        ``physical_filter``, ``band`` and ``day_obs``. What is not known is masked. Each column has a unit, a
        description and, in its ``meta``, a ``ucd``.
    """
    from astropy.table import Column, MaskedColumn, Table

    table = Table()
    for name, values in _values(outlines, detectors).items():
        column = _COLUMNS[name]
        about = {"unit": column.unit, "description": column.description, "meta": {"ucd": column.ucd}}
        mask = [value is None for value in values]
        if any(mask):
            table[name] = MaskedColumn(_filled(name, values), mask=mask, dtype=column.type, **about)
        else:
            table[name] = Column(values, dtype=column.type, **about)
    return table


def write_obscore_votable(outlines: Iterable[Outline], file: Path, *, detectors: bool = False) -> None:
    """Write the table that `obscore_table` makes as VOTable, which also says its coordinate system and time scale."""
    _votable(_values(outlines, detectors)).to_xml(str(file))


def write_obscore_parquet(outlines: Iterable[Outline], file: Path, *, detectors: bool = False) -> None:
    """Write the table that `obscore_table` makes as Parquet, some thousand rows at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    xml = io.BytesIO()
    _votable(_values([], detectors)).to_xml(xml)
    types = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    schema = pa.schema(
        [(name, types[_COLUMNS[name].type]) for name in _names(detectors)],
        metadata={"IVOA.VOTable-Parquet.version": "1.0", "IVOA.VOTable-Parquet.content": xml.getvalue()},
    )
    with pq.ParquetWriter(file, schema) as writer:
        for batch in batches(outlines, _BATCH):
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
        column = _COLUMNS[name]
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
        )
        field.description = column.description
        table.fields.append(field)
    table.create_arrays(len(next(iter(values.values()))))
    for name, column_values in values.items():
        table.array[name] = _filled(name, column_values)
        table.array.mask[name] = [value is None for value in column_values]
    return votable


def _filled(name: str, values: Sequence[Any]) -> list[Any]:
    """Replace nulls by what the column's type makes of nothing: an empty text, or zero."""
    return [_COLUMNS[name].type() if value is None else value for value in values]


def _names(detectors: bool) -> list[str]:
    return [name for name in _COLUMNS if detectors or name not in _OF_DETECTORS]


def _values(outlines: Iterable[Outline], detectors: bool) -> dict[str, list[Any]]:
    """Return the columns' values; `None` is null."""
    values: dict[str, list[Any]] = {name: [] for name in _names(detectors)}
    visit = None
    for outline in outlines:
        if outline.visit is not visit:
            visit = outline.visit
            of_visit = _of_visit(visit)
        row = {**of_visit, **_of_outline(outline)}
        for name, column in values.items():
            column.append(row[name])
    return values


def _of_visit(visit: DimensionRecord) -> dict[str, Any]:
    begin, end = (None, None) if visit.timespan is None else (visit.timespan.begin, visit.timespan.end)
    return {
        "obs_collection": visit.instrument,
        "obs_id": visit.name,
        "visit": visit.id,
        "target_name": visit.target_name,
        "t_min": _mjd(begin),
        "t_max": _mjd(end),
        "t_exptime": visit.exposure_time,
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
