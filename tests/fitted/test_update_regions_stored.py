"""Regions and pointings from an astrometric fit, where what is stored is odd."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from lsst.daf.butler import Butler
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.sphgeom import Angle, Circle, UnitVector3d

from butler_visits.fitted.geometries import find_geometries
from butler_visits.fitted.update import update_visit_regions
from command_line import lines
from fitted_visits import (
    GROUP,
    RUN,
    assert_fitted,
    fits_of,
    fitted_pointing,
    pointings,
    store_fits,
    summary,
    tables,
    update,
)
from simulated_survey import INSTRUMENT
from visit_tables import DAY, add_exposures, data_ids, exposure, make_task, spoil
from visit_tables import stored as records

pytestmark = pytest.mark.sqlite_only

CIRCLE = Circle(UnitVector3d.X(), Angle(0.1)).encode()


def test_no_polygons(survey: Butler, tmp_path: Path) -> None:
    """Whatever is stored as a region is replaced, and a distance is said only where there is one."""
    fits = fits_of(survey)
    first, second, third = fits
    store_fits(survey, tmp_path, fits)
    polygon = next(one.region for one in records(survey, "visit_detector_region")).encode()
    spoil(survey, "visit_detector_region", None, visit=first, detector=4)
    spoil(survey, "visit_detector_region", polygon[:-5], visit=second, detector=4)
    spoil(survey, "visit_detector_region", b"", visit=second, detector=5)
    spoil(survey, "visit_detector_region", polygon[:1] + b"\xff" * 72, visit=second, detector=6)
    spoil(survey, "visit_detector_region", CIRCLE, visit=second, detector=7)
    spoil(survey, "visit", None, id=second)
    for detector in range(9):
        spoil(survey, "visit_detector_region", CIRCLE, visit=third, detector=detector)
    spoil(survey, "visit", CIRCLE, id=third)
    _, *said = lines(update(survey, "--dry-run"))
    assert "visit_detector_region of 8 detectors differs by up to 2." in said[0]
    assert said[0].endswith("; 1 detector without a polygon gets one")
    assert "): region is stored as null and is now a ConvexPolygon; visit_detector_region of 5 detectors" in said[1]
    assert said[1].endswith("; 4 detectors without a polygon get one")
    assert "): region is stored as a Circle and is now a ConvexPolygon; tracking_ra is stored" in said[2]
    assert said[2].endswith("; 9 detectors without a polygon get one")
    assert not any(word in line for word in (" inf ", " nan ") for line in said)
    assert summary(update(survey)) == "3 visits: 3 updated, 0 left as they are"
    assert_fitted(survey, fits)
    assert summary(update(survey)) == "3 visits: 0 updated, 3 left as they are"


def test_unreadable_visit(survey: Butler, tmp_path: Path) -> None:
    """The Butler cannot read such a record, and nothing is written to its chunk."""
    fits = fits_of(survey)
    store_fits(survey, tmp_path, fits)
    first, second, third = fits
    (region,) = (one.region.encode() for one in records(survey, "visit") if one.id == second)
    spoil(survey, "visit", region[:-5], id=second)
    result = update(survey)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit), result.exception
    assert (
        f"Error: A visit record of {INSTRUMENT}, visit {first} to {third}, cannot be read: Byte-string" in result.output
    )
    where = ["--where", f"visit != {second}"]
    assert summary(update(survey, *where)) == "2 visits: 2 updated, 0 left as they are"


def test_exposures_of_another_day(make_survey: Callable[..., Butler], tmp_path: Path) -> None:
    """From universe 6 on the Butler's queries do not show that a visit has an exposure of another day."""
    butler = make_survey()
    # The visit is of its first day, and the pointing is that of the exposure with the lowest id.
    snaps = [exposure(1, seq_end=2, day_obs=DAY + 1), exposure(2, seq_start=1, seq_end=2)]
    first, second = add_exposures(butler, snaps)
    make_task(butler, GROUP).run(data_ids([first, second]))
    ((visit, fit),) = (fits := fits_of(butler)).items()
    assert [one.exposure for one in records(butler, "visit_definition")] == [second], "it is not hidden"
    before = pointings(butler)
    store_fits(butler, tmp_path, fits)
    assert summary(update(butler)) == "1 visit: 1 updated, 0 left as they are"
    assert_fitted(butler, fits)
    assert pointings(butler) == {**before, first: fitted_pointing(fit)}
    table = update_visit_regions(butler, find_geometries(butler, INSTRUMENT, [RUN])).to_table()
    assert [(row["visit"], row["exposures"]) for row in table] == [(visit, f"{first} {second}")]


def test_late_exposure_of_a_group(make_survey: Callable[..., Butler], tmp_path: Path) -> None:
    """What the how-to guide says of define-visits after a fit, where exposures are grouped."""
    butler = make_survey()
    task = make_task(butler, GROUP)
    (first,) = add_exposures(butler, [exposure(1, seq_end=2)])
    task.run(data_ids([first]))
    fits = fits_of(butler)
    store_fits(butler, tmp_path, fits)
    datasets = find_geometries(butler, INSTRUMENT, [RUN])
    update_visit_regions(butler, datasets)
    (late,) = add_exposures(butler, [exposure(2, seq_start=1, seq_end=2)])
    both = data_ids([first, late])
    fitted = tables(butler)
    with pytest.raises(ConflictingDefinitionError, match="is in conflict with what the repository has"):
        task.run(both, prefilter=True)
    task.run(both, skip_conflicting=True)
    assert tables(butler) == fitted
    task.run(both, incremental=True)
    assert tables(butler)["visit"] != fitted["visit"]
    update_visit_regions(butler, datasets)
    assert_fitted(butler, fits)
    joined = [(one.exposure, one.visit) for one in records(butler, "visit_definition")]
    assert sorted(joined) == [(first, *fits), (late, *fits)]
