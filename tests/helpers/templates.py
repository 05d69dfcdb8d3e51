"""The one way to make a repository for a test: each kind is made once, or once in a process, and copied."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from lsst.daf.butler import Butler, ButlerConfig, Config, DimensionConfig
from lsst.resources import ResourcePath

from postgres import Cluster
from simulated_survey import camera, register_instrument

SHARED: Final = "BUTLER_VISITS_TEMPLATES"
"""The variable that names the folder of what all processes of a run of tests share."""

Fill = Callable[[Butler], None]
"""Puts into an empty repository what all of its kind have."""


class _Template(NamedTuple):
    folder: Path
    config: ButlerConfig
    database: str | None
    """Name of a database in PostgreSQL."""


def nothing(butler: Butler) -> None:
    """Leave a repository empty."""


def one_raft(butler: Butler) -> None:
    """Register the simulated survey, whose camera has nine detectors here."""
    register_instrument(butler, camera(rafts=1))


def make_repository(
    path: Path, fill: Fill = nothing, *, universe: int | None = None, cluster: Cluster | None = None
) -> Butler:
    """Make a repository in a folder that is not there yet, with its registry in SQLite or in a PostgreSQL cluster."""
    template = _template(fill, universe, cluster)
    shutil.copytree(template.folder, path)
    config = ButlerConfig(template.config)
    config.configDir = ResourcePath(path, forceDirectory=True)
    if cluster is not None and template.database is not None:
        url = cluster.url(cluster.create_database(template.database))
        file = path / "butler.yaml"
        file.write_text(file.read_text().replace(cluster.url(template.database), url))
        config["registry", "db"] = url
    # With all defaults read already, which takes as long as half of the rest.
    return Butler.from_config(config, writeable=True)


@cache
def _template(fill: Fill, universe: int | None, cluster: Cluster | None) -> _Template:
    shared = None
    if cluster is None and fill in (nothing, one_raft) and SHARED in os.environ:
        shared = Path(os.environ[SHARED]) / f"{fill.__name__}-{universe}"
        if shared.exists():
            return _Template(shared, ButlerConfig(shared), None)
    folder = Path(tempfile.mkdtemp(dir=shared and shared.parent)) / "repository"
    atexit.register(shutil.rmtree, folder.parent, ignore_errors=True)
    config, database = None, None
    if cluster is not None:
        config, database = Config(), cluster.create_database()
        config["registry", "db"] = cluster.url(database)
    dimensions = None
    if universe is not None:
        dimensions = DimensionConfig(OLD_UNIVERSES.join(f"daf_butler_universe{universe}.yaml"))
    butler = Butler.from_config(Butler.makeRepo(folder, config, dimensionConfig=dimensions), writeable=True)
    fill(butler)
    # Only a database that nobody is connected to can be copied.
    butler.close()
    if shared is not None:
        # Unless another process was faster.
        with suppress(OSError):
            folder.rename(shared)
        folder = shared
    return _Template(folder, ButlerConfig(folder), database)


OLD_UNIVERSES: Final = ResourcePath("resource://lsst.daf.butler/configs/old_dimensions/", forceDirectory=True)
