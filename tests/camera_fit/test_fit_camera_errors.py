"""Samples that contradict each other, or do not determine a camera."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from butler_visits.camera_fit.fit import DetectorSamples, Pointing, fit_camera
from butler_visits.camera_fit.yaml_text import camera_yaml
from butler_visits.errors import CameraFitError
from mosaic import truth_directions
from mosaic_samples import MOSAIC, NAMES, POINTINGS, error, known, sample, samples


def damaged(kind: str, s: DetectorSamples) -> DetectorSamples:
    """Give a detector's samples the fault of a header."""
    if kind == "binned":
        return replace(
            s, directions=sample(MOSAIC, s.name, s.exposure, POINTINGS[s.exposure]).directions[::2].repeat(2, 0)[:25]
        )
    if kind == "same place":
        return replace(s, directions=truth_directions(MOSAIC, "N1", s.pixels, *known(POINTINGS[s.exposure])))
    if kind == "mirrored":
        return replace(s, pixels=s.pixels * [-1, 1] + [2047, 0])
    if kind == "shifted":
        shift = np.random.default_rng(s.detector_id).normal(size=2) * 60
        return replace(s, directions=truth_directions(MOSAIC, s.name, s.pixels + shift, *known(POINTINGS[s.exposure])))
    raise AssertionError(kind)


@pytest.mark.parametrize("kind", ["binned", "same place", "mirrored", "shifted"])
@pytest.mark.parametrize("bad", [101, 103])
def test_bad_exposure(kind: str, bad: int) -> None:
    found = [damaged(kind, s) if s.exposure == bad else s for s in samples(noise=0.02)]
    fitted = fit_camera(found, name="Fitted")
    good = {exposure: pointing for exposure, pointing in POINTINGS.items() if exposure != bad}
    assert error(fitted, pointings=good) < 0.1
    assert {exposure for exposure, _, _ in fitted.rejected} == {bad}


@pytest.mark.parametrize("kind", ["binned", "mirrored", "shifted"])
def test_bad_detector_in_one_exposure(kind: str) -> None:
    found = [damaged(kind, s) if (s.exposure, s.name) == (101, "S1") else s for s in samples(noise=0.02)]
    fitted = fit_camera(found, name="Fitted")
    assert error(fitted) < 0.1
    ((exposure, name, residual),) = fitted.rejected
    assert (exposure, name) == (101, "S1")
    assert residual.rms > 10
    assert "S1" in fitted.residuals
    assert f"# S1       {residual.rms:8.3f} {residual.max:8.3f}  exposure 101\n" in camera_yaml(fitted)


def test_contradiction_without_a_majority() -> None:
    found = [damaged("shifted", s) if s.exposure == 101 else s for s in samples() if s.exposure != 103]
    with pytest.raises(CameraFitError, match=r"Detector \w\d is \d+\.\d pixels .* exposure 10\d deviates most"):
        fit_camera(found, name="Fitted")


def test_detector_whose_only_exposure_is_bad() -> None:
    found = [s for s in samples() if s.name != "S2" or s.exposure == 103]
    found = [damaged("shifted", s) if s.exposure == 103 else s for s in found]
    with pytest.raises(CameraFitError, match="Exposure 103, with detector S2, shares no detector"):
        fit_camera(found, name="Fitted")


def test_exposures_without_a_common_detector() -> None:
    found = [s for s in samples() if (s.name in NAMES[:5]) == (s.exposure == 101)]
    with pytest.raises(CameraFitError, match="Exposure 102, with detector M3, shares no detector with exposure 101"):
        fit_camera(found, name="Fitted")


def change(found: list[DetectorSamples], at: int, **values: Any) -> list[DetectorSamples]:
    return [replace(s, **values) if number == at else s for number, s in enumerate(found)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"detector_id": 5}, "Detector N2 has the ids 4 and 5, in exposures 101 and 102"),
        ({"detector_id": 3, "name": "X"}, "Detectors N1 and X have the same id, 3"),
        ({"box": np.array([[0, 0], [1023, 2047]])}, "Detector N2 has two boxes, .* binned or windowed"),
        ({"box": np.array([[5, 0], [4, 2047]])}, "Detector N2 has no pixels in exposure 102"),
        ({"directions": np.full((25, 3), np.nan)}, "Detector N2 in exposure 102 has .* not numbers"),
        ({"directions": np.zeros((24, 3))}, "Detector N2 in exposure 102 has pixels of shape"),
        (
            {"pixels": np.zeros((2, 2)), "directions": np.ones((2, 3))},
            "the fewest, 2, are of detector N2 in exposure 102",
        ),
        ({"pixels": np.arange(25)[:, None] * [1.0, 2.0]}, "Detector N2 has fewer than three pixels off a line"),
        (
            {"directions": -sample(MOSAIC, "N2", 102, POINTINGS[102]).directions},
            "Exposure 102 has samples .* 60 degrees",
        ),
    ],
)
def test_errors_name_the_detector_and_the_exposure(values: dict[str, Any], message: str) -> None:
    with pytest.raises(CameraFitError, match=message):
        fit_camera(change(samples(), 11, **values), name="Fitted")


def test_too_few_samples() -> None:
    few = [replace(s, pixels=s.pixels[[0, 4, 20]], directions=s.directions[[0, 4, 20]]) for s in samples(names=["N1"])][
        :1
    ]
    with pytest.raises(CameraFitError, match="3 pixels of 1 detector in 1 exposure do not determine the 8 unknowns"):
        fit_camera(few, name="Fitted")
    with pytest.raises(CameraFitError, match="no samples"):
        fit_camera([], name="Fitted")


@pytest.mark.parametrize("pointing", [(np.nan, 0.0), (0.0, 0.0, np.inf)])
def test_pointings_must_be_numbers(pointing: tuple[float, ...]) -> None:
    with pytest.raises(CameraFitError, match="Exposure 102 has a pointing that is not a number"):
        fit_camera(samples(), name="Fitted", pointings={102: Pointing(*pointing)})


@pytest.mark.parametrize("pixel_size", [0.0, -1.0, np.nan])
def test_pixel_size_must_be_positive(pixel_size: float) -> None:
    with pytest.raises(CameraFitError, match="size of a pixel"):
        fit_camera(samples(), name="Fitted", pixel_size=pixel_size)
