"""What happens to who wants the pixels of a raw."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
from lsst.daf.butler import Butler, DatasetRef, FormatterV2
from lsst.pipe.base import Instrument
from lsst.resources import ResourcePath

from butler_visits.ingest import ingest_raws
from ingest_helpers import DESCRIPTION, RUN, records, science
from simulated_raws import write_raws
from templates import make_repository


class Exposure:
    """Stands for Rubin's own class, ``lsst.afw.image.Exposure``."""

    def __init__(self, *content: Any) -> None:
        self.content = content


class PixelFormatter(FormatterV2):
    """Stands for the formatter of one of Rubin's packages."""

    can_read_from_uri = True

    def read_from_uri(self, uri: ResourcePath, component: str | None = None, expected_size: int = -1) -> Any:
        return Exposure(uri.basename(), self.data_id["detector"])


class PixelCam(Instrument):
    """Stands for the class of an instrument that Rubin's software knows."""

    @classmethod
    def getName(cls) -> str:
        return "SimCam"

    def register(self, registry: Any, *, update: bool = False) -> None:
        (record,) = list(registry.queryDimensionRecords("instrument", instrument="SimCam"))
        registry.syncDimensionData(
            "instrument", {**record.toDict(), "class_name": "installed_package.PixelCam"}, update=update
        )

    def getRawFormatter(self, dataId: Any) -> Any:
        return PixelFormatter


def one_raw(butler: Butler) -> DatasetRef:
    with butler.query() as query:
        return next(iter(query.datasets("raw", RUN).with_dimension_records()))


def test_without_rubins_software(tmp_path: Path) -> None:
    butler = make_repository(tmp_path / "repository")
    ingest_raws(butler, write_raws(tmp_path / "raw", science(1)), instrument=DESCRIPTION)
    ref = one_raw(butler)
    with pytest.raises(ValueError, match="The pixels of SimCam's raws are read by Rubin's software") as error:
        butler.get(ref)
    assert "butler.getURI" in str(error.value)
    # The file's place is there for everyone.
    assert butler.getURI(ref).exists()


def test_with_rubins_software(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    butler = make_repository(tmp_path / "repository")
    (file,) = write_raws(tmp_path / "raw", science(1), detectors=(2,))
    ingest_raws(butler, [file], instrument=DESCRIPTION)
    modules: dict[str, dict[str, Any]] = {
        "installed_package": {"PixelCam": PixelCam},
        "lsst.afw": {},
        "lsst.afw.image": {"Exposure": Exposure},
    }
    for name, content in modules.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    PixelCam().register(butler.registry, update=True)
    assert records(butler, "instrument")[0].class_name == "installed_package.PixelCam"
    ref = one_raw(butler)
    assert butler.get(ref).content == (file.name, 2)
