"""Samples of the simulated mosaic to fit cameras to, and how far a fit is from the truth."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np

from butler_visits.camera_fit.fit import DetectorSamples, FittedCamera, Pointing
from mosaic import mosaic_camera, pixel_grid, truth_directions

PIXEL = 0.264 * np.pi / 180 / 3600
MOSAIC = mosaic_camera()
NAMES = tuple(MOSAIC["CCDs"])
POINTINGS: dict[Any, Pointing] = {
    101: Pointing(0.0003, -0.6, 0.5),
    102: Pointing(6.2828, -0.602, -2.4),
    103: Pointing(0.001, -0.5985, 3.1),
}


def known(pointing: Pointing) -> tuple[float, float, float]:
    """Return where an exposure looked and how it was turned."""
    assert pointing.rotation is not None
    return pointing.ra, pointing.dec, pointing.rotation


def sample(
    camera: Mapping[str, Any],
    name: str,
    exposure: Hashable,
    pointing: Pointing,
    noise: float = 0.0,
    seed: int = 0,
) -> DetectorSamples:
    """Sample the truth; the noise is in pixels on each axis."""
    pixels = pixel_grid()
    rng = np.random.default_rng([seed, hash(exposure), camera["CCDs"][name]["id"]])
    directions = truth_directions(camera, name, pixels + noise * rng.normal(size=pixels.shape), *known(pointing))
    ccd = camera["CCDs"][name]
    return DetectorSamples(ccd["id"], name, exposure, np.array(ccd["bbox"]), pixels, directions)


def samples(
    camera: Mapping[str, Any] = MOSAIC,
    pointings: Mapping[Any, Pointing] = POINTINGS,
    names: Iterable[str] = NAMES,
    **kwargs: Any,
) -> list[DetectorSamples]:
    names = list(names)
    return [sample(camera, name, e, p, **kwargs) for e, p in pointings.items() for name in names]


def error(
    fitted: FittedCamera,
    truth: Mapping[str, Any] = MOSAIC,
    pointings: Mapping[Any, Pointing] = POINTINGS,
    padding: float = 250,
) -> float:
    """Return the largest distance between fit and truth, in pixels, over all detectors grown by the padding."""
    pixels = pixel_grid(9, padding)
    differences = np.array(
        [
            truth_directions(fitted.mapping, name, pixels, *known(fitted.pointings[exposure]))
            - truth_directions(truth, name, pixels, *known(pointing))
            for exposure, pointing in pointings.items()
            for name in truth["CCDs"]
        ]
    )
    return float(np.linalg.norm(differences, axis=-1).max() / PIXEL)
