"""The translator of a camera with two detectors in a file, which only it can tell apart."""

from __future__ import annotations

__all__ = ["DuoCamTranslator"]

from collections.abc import Mapping, MutableMapping
from typing import Any

import astropy.units as u
from astro_metadata_translator import FitsTranslator, cache_translation
from astropy.coordinates import Angle, EarthLocation, SkyCoord
from astropy.time import Time


class DuoCamTranslator(FitsTranslator):
    """Translates headers of DuoCam."""

    name = "DuoCam"
    supported_instrument = "DuoCam"

    _const_map = {
        **dict.fromkeys(("temperature", "pressure", "relative_humidity", "altaz_begin", "boresight_airmass")),
        "boresight_rotation_angle": Angle(0 * u.deg),
        "boresight_rotation_coord": "sky",
        "detector_group": None,
    }
    _trivial_map = {
        "exposure_time": ("EXPTIME", {"unit": u.s}),
        "dark_time": ("EXPTIME", {"unit": u.s}),
        "object": "TARGET",
        "physical_filter": "FILT",
        "science_program": "PROG",
        "observation_type": "KIND",
        "observation_id": "FRAMEID",
    }

    @classmethod
    def can_translate(cls, header: Mapping[str, Any], filename: str | None = None) -> bool:
        return bool(header["CAMERA"] == "Duo")

    @classmethod
    def fix_header(
        cls, header: MutableMapping[str, Any], instrument: str, obsid: str, filename: str | None = None
    ) -> bool:
        if header.get("TARGET") == "wrong":
            header["TARGET"] = "right"
            return True
        return False

    def to_instrument(self) -> str:
        return "DuoCam"

    def to_telescope(self) -> str:
        return "Duo"

    def to_location(self) -> EarthLocation:
        return EarthLocation.from_geodetic(10 * u.deg, 20 * u.deg, 1000 * u.m)

    @cache_translation
    def to_exposure_id(self) -> int:
        return int(self._header["FRAMEID"].removeprefix("D"))

    to_visit_id = to_exposure_id

    @cache_translation
    def to_datetime_begin(self) -> Time:
        return Time(self._header["MJDBEG"], format="mjd", scale="tai")

    @cache_translation
    def to_datetime_end(self) -> Time:
        return self.to_datetime_begin() + self.to_exposure_time()

    @cache_translation
    def to_tracking_radec(self) -> SkyCoord:
        return SkyCoord(self._header["POINTRA"], self._header["POINTDEC"], unit="deg", frame="icrs")

    @cache_translation
    def to_detector_num(self) -> int:
        return {"left": 0, "right": 1}[self._header["SIDE"]]

    def to_detector_name(self) -> str:
        return f"D{self.to_detector_num()}"

    to_detector_unique_name = to_detector_serial = to_detector_name

    def to_detector_exposure_id(self) -> int:
        return 2 * self.to_exposure_id() + self.to_detector_num()
