"""A simulated mosaic of ten CCDs whose truth is known: its camera, and raws whose WCSs reproduce it exactly.

Angles are in radians, pixels are 0-based (a FITS pixel is one more), and the same arguments give the same files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from butler_visits.camera.yaml_camera import camera_from_mapping
from butler_visits.geometry import field_angle_to_sky

FloatArray = npt.NDArray[np.float64]
Kind = Literal["TPV", "SIP"]
Layout = Literal["one-image", "multi", "amplifiers"]

WIDTH: Final = 2048
HEIGHT: Final = 4096
PLATE_SCALE: Final = 17.6
"""Arcseconds per millimetre: 0.264 arcsec per pixel of 0.015 mm."""
DISTORTION: Final = 3.9e-7
"""Coefficient of r^3, per square millimetre: 0.3% at the edge of the field, 88 mm from the centre."""
PRESCAN: Final = 24
OVERSCAN: Final = 32
"""Columns before and after the pixels of an amplifier, in the order in which they are read."""

_BLOCK: Final = 2880
"""Bytes, of which FITS files are made."""

# id, name, offset (mm), yaw (degrees), pixel size (mm). The ids have gaps and follow no order.
_DETECTORS: Final = (
    (3, "N1", (-34.1, 63.4), 0.12, 0.015),
    (4, "N2", (-1.7, 64.2), -0.31, 0.015),
    (7, "N3", (32.9, 63.1), 0.0, 0.01502),
    (12, "M1", (-66.2, 0.6), 0.2, 0.015),
    (9, "M2", (-33.4, -0.4), -0.1, 0.01499),
    (15, "M3", (0.3, 0.2), 0.05, 0.015),
    (16, "M4", (33.5, 0.8), 180.0, 0.015),
    (17, "M5", (66.4, -0.9), 0.45, 0.015),
    (31, "S1", (-16.8, -63.7), -0.5, 0.01501),
    (60, "S2", (17.1, -64.5), 179.7, 0.015),
)


def mosaic_camera(parity: bool = False) -> dict[str, Any]:
    """Describe the mosaic as a YAML camera; with ``parity``, its focal plane is seen mirrored."""
    return {
        "name": "Mosaic10",
        "plateScale": PLATE_SCALE,
        "focalPlaneParity": parity,
        "transforms": {
            "nativeSys": "FocalPlane",
            "FieldAngle": {"transformType": "radial", "coeffs": [0.0, 1.0, 0.0, DISTORTION]},
        },
        "CCDs": {
            name: {
                "id": detector,
                "serial": f"SIM-{detector}",
                "detectorType": 0,
                "bbox": [[0, 0], [WIDTH - 1, HEIGHT - 1]],
                "pixelSize": [pixel_size, pixel_size],
                "refpos": [(WIDTH - 1) / 2, (HEIGHT - 1) / 2],
                "offset": list(offset),
                "yaw": yaw,
                "pitch": 0.0,
                "roll": 0.0,
            }
            for detector, name, offset, yaw, pixel_size in _DETECTORS
        },
    }


def pixel_grid(count: int = 5, padding: float = 0.0) -> FloatArray:
    """Return count x count pixels, shape (K, 2), from corner to corner of a detector grown by ``padding`` pixels."""
    x = np.linspace(-0.5 - padding, WIDTH - 0.5 + padding, count)
    y = np.linspace(-0.5 - padding, HEIGHT - 0.5 + padding, count)
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def truth_directions(
    camera_mapping: Mapping[str, Any],
    name: str,
    pixels: FloatArray,
    ra: float,
    dec: float,
    rotation: float,
    flip: bool = False,
) -> FloatArray:
    """Return where pixels (K, 2) of a detector look: unit vectors (K, 3)."""
    camera = camera_from_mapping(camera_mapping, "mosaic")
    transform = camera.pixels_to_focal_plane[camera.detector_names.index(name)]
    field_angle = camera.focal_plane_to_field_angle(transform(np.asarray(pixels, dtype=float)))
    return field_angle_to_sky(field_angle, ra, dec, rotation, flip=flip)


def wcs_header(
    camera_mapping: Mapping[str, Any],
    name: str,
    ra: float,
    dec: float,
    rotation: float,
    kind: Kind,
    flip: bool = False,
) -> fits.Header:
    """Make the header of a WCS that gives a detector's truth exactly.

    On the tangent plane at the boresight, xi = X (1 + k r^2) with X linear in the pixel. TPV says so in its cubic terms
    (Calabretta et al., https://fits.gsfc.nasa.gov/registry/tpvwcs/tpv.html), SIP in those of a polynomial around the
    pixel at which the boresight would be, which is outside of most detectors (Shupe et al., ASP Conf. 347, 491, 2005).
    """
    return _wcs(camera_mapping, name, ra, dec, rotation, kind, flip, np.zeros(2), np.ones(2))


def _wcs(
    camera_mapping: Mapping[str, Any],
    name: str,
    ra: float,
    dec: float,
    rotation: float,
    kind: Kind,
    flip: bool,
    origin: FloatArray,
    signs: FloatArray,
) -> fits.Header:
    """Make the WCS header of an image whose pixel p is pixel ``origin + signs * p`` of the detector, both 0-based."""
    ccd = camera_mapping["CCDs"][name]
    scale = camera_mapping["plateScale"] / 3600
    cubic = camera_mapping["transforms"]["FieldAngle"]["coeffs"][3]
    camera = camera_from_mapping(camera_mapping, "mosaic")
    transform = camera.pixels_to_focal_plane[camera.detector_names.index(name)]
    start, right, up = transform(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    to_plane = np.column_stack([right - start, up - start]) * signs  # mm per pixel of the image
    centre = signs * (np.array(ccd["refpos"]) - np.linalg.solve(to_plane * signs, ccd["offset"]) - origin)
    mirror = np.diag([-1.0 if camera.flipped else 1.0, 1.0])
    m, cos, sin = 1.0 if flip else -1.0, np.cos(rotation), np.sin(rotation)
    to_sky = np.array([[m * cos, sin], [-m * sin, cos]])  # docs/design.md, Regions, step 3
    cd = scale * to_sky @ mirror @ to_plane

    code = "TPV" if kind == "TPV" else "TAN-SIP"
    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"] = f"RA---{code}", f"DEC--{code}"
    header["CUNIT1"] = header["CUNIT2"] = "deg"
    header["CRVAL1"], header["CRVAL2"] = np.rad2deg(ra) % 360, np.rad2deg(dec)
    header["CRPIX1"], header["CRPIX2"] = centre + 1
    for (i, j), value in np.ndenumerate(cd):
        header[f"CD{i + 1}_{j + 1}"] = value
    header["RADESYS"] = "ICRS"
    if kind == "TPV":
        for axis in "12":
            header[f"PV{axis}_1"] = 1.0
            header[f"PV{axis}_7"] = header[f"PV{axis}_9"] = cubic / scale**2
    else:
        square = cubic * to_plane.T @ to_plane  # r^2 as a form in the pixel
        header["A_ORDER"] = header["B_ORDER"] = 3
        header["A_3_0"] = header["B_2_1"] = square[0, 0]
        header["A_2_1"] = header["B_1_2"] = 2 * square[0, 1]
        header["A_1_2"] = header["B_0_3"] = square[1, 1]
    return header


def write_raw(
    path: str | Path,
    camera_mapping: Mapping[str, Any],
    names: Sequence[str],
    ra: float,
    dec: float,
    rotation: float,
    kind: Kind,
    *,
    exposure_id: int = 1,
    layout: Layout = "one-image",
    compressed: bool = False,
    flip: bool = False,
    bitpix: int = 8,
    **cards: Any,
) -> None:
    """Write a raw of zeros with truthful headers; uncompressed, the zeros are a hole that takes no disk.

    Parameters
    ----------
    names
        The detectors: exactly one, except for ``multi``.
    kind
        Of the WCS.
    layout
        ``one-image``: the image is the primary HDU (the first extension if compressed). ``multi``: an empty primary
        and an image for each detector. ``amplifiers``: an empty primary and four images, of which three are mirrored.
    bitpix
        8, 16 or -32. A detector has 8.4 million pixels: -32 makes a raw of 34 MB.
    **cards
        More cards of each header, or other values.
    """
    if layout != "multi" and len(names) != 1:
        raise ValueError(f"A raw of layout {layout} has one detector, not {len(names)}.")
    common = {
        "EXPID": exposure_id,
        "DATE-OBS": f"2026-03-14T{exposure_id // 60 % 24:02d}:{exposure_id % 60:02d}:00.000",
        "EXPTIME": 30.0,
        "FILTER": "r",
        "OBJECT": "field",
        "OBSTYPE": "object",
        "INSTRUME": camera_mapping["name"],
        "RA": float(np.rad2deg(ra) % 360),
        "DEC": float(np.rad2deg(dec)),
    } | cards

    def image(name: str, origin: FloatArray, signs: FloatArray, extra: Mapping[str, Any]) -> fits.Header:
        header = _wcs(camera_mapping, name, ra, dec, rotation, kind, flip, origin, signs)
        header.update({"CCDNUM": camera_mapping["CCDs"][name]["id"], "EXTNAME": name} | dict(extra) | common)
        return header

    images: list[tuple[tuple[int, int], fits.Header]]
    if layout == "amplifiers":
        images = [
            ((PRESCAN + WIDTH // 2 + OVERSCAN, HEIGHT // 2), image(names[0], *amplifier))
            for amplifier in amplifiers(names[0])
        ]
    else:
        images = [((WIDTH, HEIGHT), image(name, np.zeros(2), np.ones(2), {})) for name in names]
    if compressed:
        _write_compressed(Path(path), images, common, bitpix)
    else:
        _write_sparse(Path(path), images, common, bitpix, primary=layout == "one-image")


def write_big_raws(
    folder: Path, camera_mapping: Mapping[str, Any], count: int, ra: float, dec: float, rotation: float
) -> list[Path]:
    """Write raws of 34 MB each, of the detectors in turn, one exposure after ten; on disk they take some KB."""
    detectors = list(camera_mapping["CCDs"])
    paths = []
    for index in range(count):
        exposure, name = 1 + index // len(detectors), detectors[index % len(detectors)]
        paths.append(folder / f"raw_{exposure:06d}_{name}.fits")
        write_raw(paths[-1], camera_mapping, [name], ra, dec, rotation, "TPV", exposure_id=exposure, bitpix=-32)
    return paths


def amplifiers(name: str) -> Iterator[tuple[FloatArray, FloatArray, dict[str, Any]]]:
    """Yield origin, signs and cards of the four quadrants, each read from its corner of the detector."""
    x_size, y_size = WIDTH // 2, HEIGHT // 2
    for number, (right, top) in enumerate([(0, 0), (1, 0), (0, 1), (1, 1)], start=1):
        signs = np.array([-1.0 if right else 1.0, -1.0 if top else 1.0])
        # The first pixel that sees light is the detector's corner.
        corner = np.array([WIDTH - 1 if right else 0, HEIGHT - 1 if top else 0], dtype=float)
        x_section = f"{WIDTH}:{x_size + 1}" if right else f"1:{x_size}"
        y_section = f"{HEIGHT}:{y_size + 1}" if top else f"1:{y_size}"
        yield (
            corner - signs * np.array([PRESCAN, 0]),
            signs,
            {
                "EXTNAME": f"{name}A{number}",
                "AMPNAME": f"A{number}",
                "DETSIZE": f"[1:{WIDTH},1:{HEIGHT}]",
                "DETSEC": f"[{x_section},{y_section}]",
                "DATASEC": f"[{PRESCAN + 1}:{PRESCAN + x_size},1:{y_size}]",
                "BIASSEC": f"[{PRESCAN + x_size + 1}:{PRESCAN + x_size + OVERSCAN},1:{y_size}]",
            },
        )


def _write_compressed(
    path: Path, images: Iterable[tuple[tuple[int, int], fits.Header]], common: Mapping[str, Any], bitpix: int
) -> None:
    dtype = {8: np.uint8, 16: np.int16, -32: np.float32}[bitpix]
    hdus = [fits.CompImageHDU(np.zeros(size[::-1], dtype=dtype), header) for size, header in images]
    fits.HDUList([fits.PrimaryHDU(header=fits.Header(dict(common))), *hdus]).writeto(path)


def _write_sparse(
    path: Path,
    images: Iterable[tuple[tuple[int, int], fits.Header]],
    common: Mapping[str, Any],
    bitpix: int,
    primary: bool,
) -> None:
    """Write headers and skip what would be data: the file system reads a hole as zeros."""
    with path.open("wb") as file:
        if not primary:
            file.write(_basics({"SIMPLE": True, "BITPIX": 8, "NAXIS": 0, "EXTEND": True}, fits.Header(dict(common))))
        for size, header in images:
            first = {"SIMPLE": True} if primary else {"XTENSION": "IMAGE"}
            basics = first | {"BITPIX": bitpix, "NAXIS": 2, "NAXIS1": size[0], "NAXIS2": size[1]}
            file.write(_basics(basics if primary else basics | {"PCOUNT": 0, "GCOUNT": 1}, header))
            n_bytes = size[0] * size[1] * abs(bitpix) // 8
            file.truncate(file.seek(-(-n_bytes // _BLOCK) * _BLOCK, 1))


def _basics(cards: Mapping[str, Any], header: fits.Header) -> bytes:
    """Encode a header that begins with the given cards."""
    whole = fits.Header(dict(cards))
    whole.extend(header)
    return whole.tostring(padding=True).encode("ascii")
