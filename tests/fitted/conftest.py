"""Repositories with visits that a fit is for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from lsst.daf.butler import Butler

from visit_tables import add_exposures, data_ids, exposure, make_task


@pytest.fixture
def survey(make_survey: Callable[..., Butler]) -> Butler:
    """Return a repository with three visits of one exposure each."""
    butler = make_survey()
    make_task(butler).run(data_ids(add_exposures(butler, map(exposure, (1, 2, 3)))))
    return butler
