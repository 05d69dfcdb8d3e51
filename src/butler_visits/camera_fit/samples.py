"""What a camera is fitted to, checked and arranged."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import CameraFitError
from ..lists import counted
from .solver import FloatArray, Observations


@dataclass(frozen=True, eq=False)
class DetectorSamples:
    """Where K pixels of a detector were on the sky in one exposure."""

    detector_id: int
    name: str
    exposure: Hashable
    box: npt.NDArray[np.int64]  # the detector's pixels: ((min x, min y), (max x, max y)), both inclusive
    pixels: FloatArray  # (K, 2); their centres are integers
    directions: FloatArray  # (K, 3), unit vectors


def check_detectors(samples: Sequence[DetectorSamples]) -> tuple[dict[str, int], dict[str, npt.NDArray[np.int64]]]:
    """Return id and box of each detector, in the order of their ids, after checking that samples agree on them."""
    first: dict[str, DetectorSamples] = {}
    names: dict[int, str] = {}
    for sample in samples:
        other = first.setdefault(sample.name, sample)
        where = f"exposures {other.exposure} and {sample.exposure}"
        if sample.detector_id != other.detector_id:
            raise CameraFitError(
                f"Detector {sample.name} has the ids {other.detector_id} and {sample.detector_id}, in {where}."
            )
        if names.setdefault(sample.detector_id, sample.name) != sample.name:
            raise CameraFitError(
                f"Detectors {names[sample.detector_id]} and {sample.name} have the same id, {sample.detector_id}."
            )
        if np.shape(sample.box) != (2, 2) or (np.asarray(sample.box)[1] < np.asarray(sample.box)[0]).any():
            raise CameraFitError(
                f"Detector {sample.name} has no pixels in exposure {sample.exposure}: its box is {sample.box!r}."
            )
        if not np.array_equal(sample.box, other.box):
            raise CameraFitError(
                f"Detector {sample.name} has two boxes, {np.asarray(other.box).tolist()} and "
                f"{np.asarray(sample.box).tolist()}, in {where}; leave out exposures that are binned or windowed."
            )
    ordered = sorted(first.values(), key=lambda sample: sample.detector_id)
    return (
        {sample.name: int(sample.detector_id) for sample in ordered},
        {sample.name: np.asarray(sample.box, dtype=np.int64) for sample in ordered},
    )


def make_observations(samples: Sequence[DetectorSamples], boxes: Mapping[str, npt.NDArray[np.int64]]) -> Observations:
    """Sort samples into groups; pixels are counted from the middle of their detector's box."""
    detectors, exposures = tuple(boxes), tuple(dict.fromkeys(sample.exposure for sample in samples))
    detector_numbers = {name: number for number, name in enumerate(detectors)}
    exposure_numbers = {exposure: number for number, exposure in enumerate(exposures)}
    # Several samples of a detector in one exposure, say of its amplifiers, are one group.
    groups: dict[tuple[int, int], list[tuple[FloatArray, FloatArray]]] = {}
    for sample in samples:
        pixels, directions = (np.asarray(array, dtype=float) for array in (sample.pixels, sample.directions))
        where = f"Detector {sample.name} in exposure {sample.exposure}"
        if pixels.ndim != 2 or pixels.shape[1:] != (2,) or directions.shape != (len(pixels), 3):
            raise CameraFitError(f"{where} has pixels of shape {pixels.shape}, directions of {directions.shape}.")
        if not (np.isfinite(pixels).all() and np.isfinite(directions).all()):
            raise CameraFitError(f"{where} has pixels or directions that are not numbers; check its WCS.")
        key = exposure_numbers[sample.exposure], detector_numbers[sample.name]
        groups.setdefault(key, []).append((pixels - boxes[sample.name].mean(axis=0), directions))
    counts = {key: sum(len(pixels) for pixels, _ in parts) for key, parts in groups.items()}
    (exposure, detector), least = min(counts.items(), key=lambda item: item[1])
    # Four numbers of a detector, three of an exposure, three of the optics, less the two that are conventions.
    unknown = 4 * len(detectors) + 3 * len(exposures) + 1
    if least < 3 or 2 * sum(counts.values()) < unknown:
        raise CameraFitError(
            f"{counted(sum(counts.values()), 'pixel')} of {counted(len(detectors), 'detector')} in "
            f"{counted(len(exposures), 'exposure')} do not determine the {unknown} unknowns of a camera; the fewest, "
            f"{least}, are of detector {detectors[detector]} in exposure {exposures[exposure]}."
        )
    parts = [part for key in groups for part in groups[key]]
    return Observations(
        detectors=detectors,
        exposures=exposures,
        pixels=np.concatenate([pixels for pixels, _ in parts]),
        directions=np.concatenate([directions for _, directions in parts]),
        group=np.repeat(np.arange(len(groups)), list(counts.values())),
        detector=np.array([key[1] for key in groups]),
        exposure=np.array([key[0] for key in groups]),
    )
