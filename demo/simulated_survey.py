"""A simulated survey: its camera, a repository for it, and nights of exposures.

The demo, the tests and the benchmarks share this module. Nothing in it comes from a real telescope, and the
same arguments always give the same camera and the same night.
"""

from __future__ import annotations

import datetime
import itertools
import math
import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from lsst.daf.butler import Butler, CollectionType, Config, DatasetType, DimensionConfig, Timespan
from lsst.resources import ResourcePath, ResourcePathExpression

INSTRUMENT: Final = "SimCam"
FILTERS: Final = {"g_sim": "g", "r_sim": "r", "i_sim": "i"}
"""Band of each physical filter."""

CALIB_COLLECTION: Final = f"{INSTRUMENT}/calib"
CAMERA_RUN: Final = f"{INSTRUMENT}/calib/unbounded"

CCD_SIZE: Final = (4072, 4000)
"""Pixels in x and y."""
PIXEL_SIZE: Final = 0.01
"""Millimetres."""
CCD_SPACING: Final = 42.25
"""Millimetres from one CCD's centre to the next."""
RAFT_SPACING: Final = 127.0
"""Millimetres from one raft's centre to the next."""
PLATE_SCALE: Final = 20.0
"""Arcseconds per millimetre."""
DISTORTION: Final = 8e-9
"""Coefficient of r^3: 8 arcsec of distortion at the edge of the field, 370 mm from the centre."""

LATITUDE: Final = -30.24
"""Of the simulated telescope, degrees."""
LONGITUDE: Final = -70.75
"""Of the simulated telescope, degrees, east positive."""

EXPOSURES_PER_NIGHT: Final = 800
"""What fits between dusk and dawn. Longer requests go on the next night."""
FIELDS_PER_FILTER: Final = 12
"""Fields in a row between two filter changes."""
SNAPS_EVERY: Final = 7
"""One field in so many is taken as two snaps instead of one exposure."""
NS_PER_S: Final = 1_000_000_000


def camera(rafts: int = 21) -> dict[str, Any]:
    """Describe the simulated camera in the format of Rubin's YAML cameras.

    Parameters
    ----------
    rafts : `int`, optional
        Number of rafts, of nine CCDs each, from the centre outwards. The full
        camera has 21.

    Returns
    -------
    camera : `dict`
        The camera. Detectors are numbered from 0, raft by raft.
    """
    sites = [(x, y) for x in range(5) for y in range(5) if not (x in (0, 4) and y in (0, 4))]
    if not 1 <= rafts <= len(sites):
        raise ValueError(f"The camera has 1 to {len(sites)} rafts, not {rafts}.")
    centre_first = sorted(sites, key=lambda site: math.hypot(site[0] - 2, site[1] - 2))

    width, height = CCD_SIZE
    ccds: dict[str, dict[str, Any]] = {}
    for raft_x, raft_y in sorted(centre_first[:rafts]):
        for ccd_x, ccd_y in itertools.product(range(3), repeat=2):
            ccds[f"R{raft_x}{raft_y}_S{ccd_x}{ccd_y}"] = {
                "id": len(ccds),
                "serial": f"SIM-{raft_x}{raft_y}{ccd_x}{ccd_y}",
                "detectorType": 0,
                "bbox": [[0, 0], [width - 1, height - 1]],
                "pixelSize": [PIXEL_SIZE, PIXEL_SIZE],
                "refpos": [(width - 1) / 2, (height - 1) / 2],
                "offset": [
                    (raft_x - 2) * RAFT_SPACING + (ccd_x - 1) * CCD_SPACING,
                    (raft_y - 2) * RAFT_SPACING + (ccd_y - 1) * CCD_SPACING,
                ],
                "yaw": 0.0,
                "pitch": 0.0,
                "roll": 0.0,
            }
    return {
        "name": INSTRUMENT,
        "plateScale": PLATE_SCALE,
        "transforms": {
            "nativeSys": "FocalPlane",
            "FieldAngle": {"transformType": "radial", "coeffs": [0.0, 1.0, 0.0, DISTORTION]},
        },
        "CCDs": ccds,
    }


FULL_CAMERA: Final = camera()


def make_repository(
    root: ResourcePathExpression,
    *,
    universe: int | None = None,
    camera: Mapping[str, Any] = FULL_CAMERA,
    database: str | None = None,
) -> Butler:
    """Create a repository with the instrument and its camera in it.

    Parameters
    ----------
    root : path or URI
        Where to create the repository.
    universe : `int`, optional
        Version of the dimension universe, 0 to 8. Default is the Butler's.
    camera : `~collections.abc.Mapping`, optional
        The camera, as `camera` returns it.
    database : `str`, optional
        URL of an empty database. Default is an SQLite file in the repository.

    Returns
    -------
    butler : `lsst.daf.butler.Butler`
        A writeable Butler for the repository.
    """
    config = None
    if database is not None:
        config = Config()
        config["registry", "db"] = database
    dimension_config = None
    if universe is not None:
        dimension_config = DimensionConfig(
            ResourcePath(f"resource://lsst.daf.butler/configs/old_dimensions/daf_butler_universe{universe}.yaml")
        )
    butler = Butler.from_config(Butler.makeRepo(root, config, dimensionConfig=dimension_config), writeable=True)
    register_instrument(butler, camera)
    return butler


def register_instrument(butler: Butler, camera: Mapping[str, Any] = FULL_CAMERA) -> None:
    """Register the instrument in a repository, and store its camera.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        Writeable Butler of a repository.
    camera : `~collections.abc.Mapping`, optional
        The camera, as `camera` returns it.
    """
    _insert(
        butler,
        "instrument",
        [
            {
                "name": INSTRUMENT,
                # Nothing that can be imported: the normal case without Rubin's stack.
                "class_name": f"simulated_camera.{INSTRUMENT}",
                # Large enough for an id that is all the digits of a group's name.
                "visit_max": 10**17,
                "exposure_max": 10**17,
                "detector_max": 1000,
            }
        ],
    )
    _insert(
        butler,
        "detector",
        [
            {
                "instrument": INSTRUMENT,
                "id": ccd["id"],
                "full_name": name,
                "raft": name.split("_")[0],
                "name_in_raft": name.split("_")[1],
                "purpose": "SCIENCE",
            }
            for name, ccd in camera["CCDs"].items()
        ],
    )
    _insert(
        butler,
        "physical_filter",
        [{"instrument": INSTRUMENT, "name": name, "band": band} for name, band in FILTERS.items()],
    )

    dataset_type = DatasetType(
        "camera_geometry",
        ["instrument"],
        "StructuredDataDict",
        isCalibration=True,
        universe=butler.dimensions,
    )
    butler.registry.registerDatasetType(dataset_type)
    butler.collections.register(CAMERA_RUN, CollectionType.RUN)
    butler.collections.register(CALIB_COLLECTION, CollectionType.CALIBRATION)
    ref = butler.put(dict(camera), dataset_type, instrument=INSTRUMENT, run=CAMERA_RUN)
    butler.registry.certify(CALIB_COLLECTION, [ref], Timespan(None, None))


def night(n: int = 150, *, seed: int = 1, first_day: datetime.date = datetime.date(2026, 4, 1)) -> list[dict[str, Any]]:
    """Simulate a night of exposures, or as many nights as it takes.

    A night is dome flats and darks in the evening, dithered survey fields in
    three filters, one in seven of them as two snaps, and biases and darks in
    the morning.

    Parameters
    ----------
    n : `int`, optional
        Number of exposures.
    seed : `int`, optional
        Seed of the fields, the dithers and the times.
    first_day : `datetime.date`, optional
        Observing day of the first night.

    Returns
    -------
    exposures : `list` [ `dict` ]
        The exposures in the order they were taken, with the fields that the
        ``exposure`` dimension has in the newest universe.
        `insert_exposures` adapts them to the repository's.
    """
    rng = random.Random(seed)
    exposures: list[dict[str, Any]] = []
    for nights in itertools.count():
        missing = n - len(exposures)
        if missing <= 0:
            break
        day = first_day + datetime.timedelta(days=nights)
        exposures.extend(_one_night(min(missing, EXPOSURES_PER_NIGHT), day, rng))
    return exposures


def insert_exposures(butler: Butler, exposures: Iterable[Mapping[str, Any]]) -> None:
    """Insert exposures into a repository of any dimension universe.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        Writeable Butler of the repository.
    exposures : `~collections.abc.Iterable` [ `~collections.abc.Mapping` ]
        Exposures as `night` returns them. One without an ``instrument`` is
        the simulated camera's. Fields that the universe lacks are left out.
    """
    rows = [{"instrument": INSTRUMENT, **exposure} for exposure in exposures]
    for row in rows:
        # Before universe 6 the group is two fields of the exposure.
        row["group_name"] = row["group"]
        row["group_id"] = int("".join(filter(str.isdigit, row["group"]))[6:])

    with butler.transaction():
        if "group" in butler.dimensions.elements.names:
            groups = {(row["instrument"], row["group"]): None for row in rows}
            days = {(row["instrument"], row["day_obs"]): None for row in rows}
            _insert(butler, "group", [{"instrument": i, "name": name} for i, name in groups])
            _insert(butler, "day_obs", [{"instrument": i, "id": day} for i, day in days])
        _insert(butler, "exposure", rows, skip_existing=False)


def _insert(butler: Butler, element: str, rows: Iterable[Mapping[str, Any]], skip_existing: bool = True) -> None:
    """Insert rows, without the fields that the repository's universe lacks."""
    names = butler.dimensions[element].RecordClass.fields.names
    known = [{name: value for name, value in row.items() if name in names} for row in rows]
    butler.registry.insertDimensionData(element, *known, skip_existing=skip_existing)


def _one_night(n: int, day: datetime.date, rng: random.Random) -> Iterator[dict[str, Any]]:
    """Take the ``n`` exposures of one night."""
    n_flats, n_darks, n_biases = round(0.1 * n), round(0.04 * n), round(0.04 * n)
    n_survey = n - n_flats - 2 * n_darks - n_biases
    log = _ObservingLog(day, rng)

    log.wait_until(21.0)
    filters = list(FILTERS)
    for i in range(n_flats):
        # A dome flat has a pointing, but the screen is in the way of the sky.
        hour_angle, dec = 40.0, LATITUDE
        yield log.expose(
            3.0,
            observation_type="flat",
            observation_reason="calibration",
            physical_filter=filters[i * len(filters) // n_flats],
            target_name="dome screen",
            can_see_sky=False,
            ra=(log.sidereal_time() - hour_angle) % 360.0,
            dec=dec,
            sky_angle=0.0,
        )
    for _ in range(n_darks):
        yield log.expose(30.0, **_shutter_closed("dark"))

    log.wait_until(23.7)
    taken = 0
    for field in itertools.count():
        if taken == n_survey:
            break
        if field % FIELDS_PER_FILTER == 0:
            # A strip of neighbouring fields that crosses the meridian.
            strip_ra = log.sidereal_time() + rng.uniform(-20.0, 5.0)
            strip_dec = rng.uniform(-65.0, 5.0)
            rotation = rng.uniform(0.0, 360.0)
            physical_filter = filters[field // FIELDS_PER_FILTER % len(filters)]
        step = field % FIELDS_PER_FILTER
        snaps = 2 if field % SNAPS_EVERY == SNAPS_EVERY - 1 and taken + 2 <= n_survey else 1
        ra = strip_ra + (3.0 * step + rng.uniform(-0.5, 0.5)) / math.cos(math.radians(strip_dec))
        pointing = {
            "ra": round(ra % 360.0, 6),
            "dec": round(strip_dec + rng.uniform(-0.5, 0.5), 6),
            "sky_angle": round((rotation + rng.uniform(-1.0, 1.0)) % 360.0, 6),
        }
        log.slew(rng.uniform(4.0, 6.0))
        yield from log.snaps(
            snaps,
            30.0 / snaps,
            observation_type="science",
            observation_reason="survey",
            physical_filter=physical_filter,
            target_name=f"field_{ra % 360.0:03.0f}{strip_dec:+03.0f}",
            can_see_sky=True,
            **pointing,
        )
        taken += snaps

    log.slew(600.0)
    for _ in range(n_biases):
        yield log.expose(0.0, **_shutter_closed("bias"))
    for _ in range(n_darks):
        yield log.expose(30.0, **_shutter_closed("dark"))


def _shutter_closed(observation_type: str) -> dict[str, Any]:
    """Return the fields of a dark or bias: it points nowhere.

    Whether it could see the sky is left open (null), as in many repositories.
    """
    return {
        "observation_type": observation_type,
        "observation_reason": "calibration",
        "physical_filter": next(iter(FILTERS)),
        "target_name": None,
        "can_see_sky": None,
        "ra": None,
        "dec": None,
        "sky_angle": None,
    }


class _ObservingLog:
    """The clock and the counter of one night.

    Parameters
    ----------
    day : `datetime.date`
        Observing day.
    rng : `random.Random`
        Source of the fractions of a second.
    """

    readout = 2.0
    """Seconds."""

    def __init__(self, day: datetime.date, rng: random.Random) -> None:
        self.day_obs = int(day.strftime("%Y%m%d"))
        self.seq_num = 0
        # TAI has no leap seconds, so that plain datetimes do for it.
        self.midnight = datetime.datetime.combine(day, datetime.time())
        self.rng = rng
        self.seconds = 0.0

    def wait_until(self, hours: float) -> None:
        """Wait until so many hours after the observing day's midnight."""
        self.seconds = max(self.seconds, 3600.0 * hours) + self.rng.uniform(0.0, 10.0)

    def slew(self, seconds: float) -> None:
        """Let the time of a slew pass."""
        self.seconds += seconds

    def now(self) -> datetime.datetime:
        """Return the time, TAI, to the millisecond."""
        return self.midnight + datetime.timedelta(milliseconds=round(1000 * self.seconds))

    def sidereal_time(self) -> float:
        """Return the local sidereal time in degrees.

        The usual linear formula for Greenwich, with TAI for UT1: 0.2 degrees
        off, which does not matter here.
        """
        days = (self.now() - datetime.datetime(2000, 1, 1, 12)).total_seconds() / 86400.0
        return (280.46062 + 360.98564737 * days + LONGITUDE) % 360.0

    def expose(self, exposure_time: float, **fields: Any) -> dict[str, Any]:
        """Take a single exposure; `snaps` says how."""
        return next(self.snaps(1, exposure_time, **fields))

    def snaps(
        self,
        n: int,
        exposure_time: float,
        *,
        ra: float | None,
        dec: float | None,
        sky_angle: float | None,
        **fields: Any,
    ) -> Iterator[dict[str, Any]]:
        """Take exposures of one group, one after the other.

        Parameters
        ----------
        n : `int`
            Number of exposures.
        exposure_time : `float`
            Seconds, of each.
        ra, dec, sky_angle : `float` or `None`
            Pointing and rotation, degrees.
        **fields
            Further fields of the exposures, taken as they are.

        Yields
        ------
        exposure : `dict`
            The next exposure.
        """
        group = self.now().isoformat(timespec="milliseconds")
        seq_start = self.seq_num + 1
        for _ in range(n):
            self.seq_num += 1
            azimuth, zenith_angle = self._horizontal(ra, dec)
            begin = _tai_ns(self.now())
            self.seconds += exposure_time
            end = _tai_ns(self.now()) + NS_PER_S  # The shutter takes a second.
            self.seconds += 1.0 + self.readout + self.rng.uniform(0.0, 0.1)
            yield {
                "id": self.day_obs * 100000 + self.seq_num,
                "obs_id": f"SC_O_{self.day_obs}_{self.seq_num:06d}",
                "day_obs": self.day_obs,
                "seq_num": self.seq_num,
                "seq_start": seq_start,
                "seq_end": seq_start + n - 1,
                "group": group,
                "exposure_time": exposure_time,
                "dark_time": exposure_time + 0.6,
                "science_program": "SURVEY-1",
                "tracking_ra": ra,
                "tracking_dec": dec,
                "sky_angle": sky_angle,
                "azimuth": azimuth,
                "zenith_angle": zenith_angle,
                "has_simulated": True,
                # Much quicker than by way of astropy.time, and exact.
                "timespan": Timespan.model_validate((begin, end)),
                **fields,
            }

    def _horizontal(self, ra: float | None, dec: float | None) -> tuple[float | None, float | None]:
        """Return azimuth, north through east, and zenith angle in degrees."""
        if ra is None or dec is None:
            return None, None
        h = math.radians(self.sidereal_time() - ra)
        d, lat = math.radians(dec), math.radians(LATITUDE)
        east = -math.cos(d) * math.sin(h)
        north = math.sin(d) * math.cos(lat) - math.cos(d) * math.cos(h) * math.sin(lat)
        up = math.sin(d) * math.sin(lat) + math.cos(d) * math.cos(h) * math.cos(lat)
        azimuth = math.degrees(math.atan2(east, north)) % 360.0
        zenith_angle = math.degrees(math.atan2(math.hypot(east, north), up))
        return round(azimuth, 6), round(zenith_angle, 6)


def _tai_ns(time: datetime.datetime) -> int:
    """Return TAI nanoseconds since 1970, which is how the Butler stores times."""
    return (time - datetime.datetime(1970, 1, 1)) // datetime.timedelta(microseconds=1) * 1000
