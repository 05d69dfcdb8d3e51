"""The columns of ObsCore, and the wavelengths of filters."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Column(NamedTuple):
    """What a column of the table is."""

    type: type
    ucd: str
    description: str
    utype: str | None = None
    """Its place in the data model, with ``obscore:`` before it in a VOTable; `None` for a column of ours."""
    unit: str | None = None
    xtype: str | None = None


_MJD = "MJD, time scale UTC"
# IVOA Recommendation ObsCore 1.1, table 6: the columns that every ObsTAP service has, in its order. Then our own.
COLUMNS: Mapping[str, Column] = MappingProxyType(
    {
        "dataproduct_type": Column(str, "meta.code.class", "Kind of data", "ObsDataset.dataProductType"),
        "calib_level": Column(int, "meta.code;obs.calib", "Level of calibration", "ObsDataset.calibLevel"),
        "obs_collection": Column(str, "meta.id", "Name of the instrument", "DataID.collection"),
        "obs_id": Column(str, "meta.id", "Name of the visit", "DataID.observationID"),
        "obs_publisher_did": Column(str, "meta.ref.ivoid", "The publisher's identifier", "Curation.publisherDID"),
        "access_url": Column(str, "meta.ref.url", "Where the data are; not known", "Access.reference"),
        "access_format": Column(str, "meta.code.mime", "Format of the data; not known", "Access.format"),
        "access_estsize": Column(
            int, "phys.size;meta.file", "Size of the data; not known", "Access.size", unit="kbyte"
        ),
        "target_name": Column(str, "meta.id;src", "What was observed", "Target.name"),
        "s_ra": Column(
            float,
            "pos.eq.ra",
            "Right ascension (ICRS) of the centre of the outline",
            "Char.SpatialAxis.Coverage.Location.Coord.Position2D.Value2.C1",
            "deg",
        ),
        "s_dec": Column(
            float,
            "pos.eq.dec",
            "Declination (ICRS) of the centre of the outline",
            "Char.SpatialAxis.Coverage.Location.Coord.Position2D.Value2.C2",
            "deg",
        ),
        "s_fov": Column(
            float,
            "phys.angSize;instr.fov",
            "Diameter of a circle around the outline",
            "Char.SpatialAxis.Coverage.Bounds.Extent.diameter",
            "deg",
        ),
        "s_region": Column(
            str,
            "pos.outline;obs.field",
            "Outline, STC-S; counterclockwise as seen on the sky",
            "Char.SpatialAxis.Coverage.Support.Area",
            xtype="adql:REGION",
        ),
        "s_resolution": Column(
            float, "pos.angResolution", "Seeing; not known", "Char.SpatialAxis.Resolution.Refval.value", "arcsec"
        ),
        "s_xel1": Column(int, "meta.number", "Pixels along the first axis; not known", "Char.SpatialAxis.numBins1"),
        "s_xel2": Column(int, "meta.number", "Pixels along the second axis; not known", "Char.SpatialAxis.numBins2"),
        "t_min": Column(
            float,
            "time.start;obs.exposure",
            f"Begin of the first exposure, {_MJD}",
            "Char.TimeAxis.Coverage.Bounds.Limits.StartTime",
            "d",
        ),
        "t_max": Column(
            float,
            "time.end;obs.exposure",
            f"End of the last exposure, {_MJD}",
            "Char.TimeAxis.Coverage.Bounds.Limits.StopTime",
            "d",
        ),
        "t_exptime": Column(
            float,
            "time.duration;obs.exposure",
            "Exposure time, of all exposures together",
            "Char.TimeAxis.Coverage.Support.Extent",
            "s",
        ),
        "t_resolution": Column(
            float, "time.resolution", "Resolution in time; not known", "Char.TimeAxis.Resolution.Refval.value", "s"
        ),
        "t_xel": Column(int, "meta.number", "Elements along the time axis; not known", "Char.TimeAxis.numBins"),
        "em_min": Column(
            float,
            "em.wl;stat.min",
            "Shortest wavelength of the filter",
            "Char.SpectralAxis.Coverage.Bounds.Limits.LoLimit",
            "m",
        ),
        "em_max": Column(
            float,
            "em.wl;stat.max",
            "Longest wavelength of the filter",
            "Char.SpectralAxis.Coverage.Bounds.Limits.HiLimit",
            "m",
        ),
        "em_res_power": Column(
            float, "spect.resolution", "Resolving power; not known", "Char.SpectralAxis.Resolution.ResolPower.refVal"
        ),
        "em_xel": Column(
            int, "meta.number", "Elements along the spectral axis; not known", "Char.SpectralAxis.numBins"
        ),
        "o_ucd": Column(str, "meta.ucd", "What pixels measure; not known", "Char.ObservableAxis.ucd"),
        "pol_states": Column(
            str, "meta.code;phys.polarization", "States of polarization; not known", "Char.PolarizationAxis.stateList"
        ),
        "pol_xel": Column(int, "meta.number", "Number of these; not known", "Char.PolarizationAxis.numBins"),
        "facility_name": Column(str, "meta.id;instr.tel", "Telescope; not known", "Provenance.ObsConfig.Facility.name"),
        "instrument_name": Column(
            str, "meta.id;instr", "Name of the instrument", "Provenance.ObsConfig.Instrument.name"
        ),
        "visit": Column(int, "meta.id;obs", "Id of the visit"),
        "detector": Column(int, "meta.id;instr.det", "Id of the detector"),
        "detector_name": Column(str, "meta.id;instr.det", "Full name of the detector"),
        "physical_filter": Column(str, "meta.id;instr.filter", "Name of the filter"),
        "band": Column(str, "instr.bandpass", "Name of the filter's band"),
        "day_obs": Column(int, "time.epoch;obs", "Observing day, YYYYMMDD"),
    }
)

# Nanometres. LSST Science Requirements Document (LPM-17), table of filters: the sides of each.
_SIDES = {"u": (350, 400), "g": (400, 552), "r": (552, 691), "i": (691, 818), "z": (818, 922), "y": (950, 1080)}
# Bessell 2005, ARA&A 43, 293, table 1: effective wavelength and width of Johnson's and Cousins's bands.
_WIDTHS = {
    **{"U": (366.3, 65), "B": (436.1, 89), "V": (544.8, 84), "R": (640.7, 158), "I": (798.0, 154)},
    **{"J": (1220, 213), "H": (1630, 307), "K": (2190, 390)},
}
BAND_RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {band: (low / 1e9, high / 1e9) for band, (low, high) in _SIDES.items()}
    | {band: ((middle - width / 2) / 1e9, (middle + width / 2) / 1e9) for band, (middle, width) in _WIDTHS.items()}
)
"""Wavelengths (metres) that bands of these names have, nominally."""
