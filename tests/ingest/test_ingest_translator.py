"""Translators in Python that people have already: with ``--translator`` and as plugins, in every process later."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astro_metadata_translator import MetadataTranslator
from astropy.io import fits
from click.testing import Result
from lsst.daf.butler import Butler

from butler_visits.errors import IngestError
from butler_visits.ingest import ingest_raws
from butler_visits.repository.instruments import stored_translator
from command_line import run_program
from example_raws import EXAMPLES
from ingest_helpers import age, make_unreadable, records, run_command, stored, write_index
from obs_duocam import DuoCamTranslator
from templates import make_repository

HELPERS = Path(__file__).parents[1] / "helpers"
MODULE = "obs_duocam"
RUN = "DuoCam/raw/all"


def write_raw(path: Path, number: int, sides: tuple[str, ...] = ("left", "right"), **cards: Any) -> Path:
    header = {
        "CAMERA": "Duo",
        "FRAMEID": f"D{number:05d}",
        "MJDBEG": 61000.25 + number / 100,
        "EXPTIME": 30.0,
        "TARGET": "wrong",
        "FILT": "r_duo",
        "PROG": "survey",
        "KIND": "science",
        "POINTRA": 150.0,
        "POINTDEC": 2.0,
        **cards,
    }
    primary = fits.Header([(key, value) for key, value in header.items() if value is not None])
    hdus = [fits.PrimaryHDU(header=primary)]
    for n, side in enumerate(sides):
        wcs = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0 + 0.01 * n, "CRVAL2": 2.0}
        matrix = {"CRPIX1": 16.5, "CRPIX2": 12.5, "CD1_1": -2e-4, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 2e-4}
        hdus.append(fits.ImageHDU(np.zeros((24, 32), np.int16), fits.Header({"SIDE": side, **wcs, **matrix})))
    path.parent.mkdir(exist_ok=True)
    fits.HDUList(hdus).writeto(path)
    return path


@pytest.fixture
def raws(tmp_path: Path) -> Path:
    for number in (1, 2, 3):
        write_raw(tmp_path / "raws" / f"{number}.fits", number)
    return tmp_path / "raws"


def message(result: Result) -> str:
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert "Traceback" not in result.output
    return result.stderr.split("Error: ", 1)[1]


def test_all_that_is_registered(raws: Path, tmp_path: Path) -> None:
    result = run_command("ingest", tmp_path / "repo", raws, "--translator", MODULE)
    assert result.exit_code == 0, result.output
    butler = Butler.from_config(str(tmp_path / "repo"))
    (instrument,) = records(butler, "instrument")
    assert (instrument.name, instrument.class_name) == ("DuoCam", "butler_visits.instruments.described.DuoCam")
    assert [(one.name, one.band) for one in records(butler, "physical_filter")] == [("r_duo", "r")]
    assert [(one.id, one.full_name, one.purpose) for one in records(butler, "detector")] == [
        (0, "D0", "SCIENCE"),
        (1, "D1", "SCIENCE"),
    ]
    exposures = records(butler, "exposure")
    assert [(one.id, one.obs_id, one.target_name) for one in exposures] == [
        (number, f"D0000{number}", "right") for number in (1, 2, 3)
    ]
    assert {(one.tracking_ra, one.tracking_dec, one.sky_angle) for one in exposures} == {(150.0, 2.0, 0.0)}
    assert len(stored(butler, RUN)["raw"]) == 6


@pytest.mark.slow
def test_a_new_process_knows_it(raws: Path, tmp_path: Path) -> None:
    """The repository remembers the module, which is needed to find the images of the detectors."""
    butler = make_repository(tmp_path / "repo")
    ingest_raws(butler, [raws], translator=MODULE)
    # In this process too, and for more files.
    write_raw(raws / "4.fits", 4)
    result = ingest_raws(butler, [raws])
    assert (result.n_ingested, result.n_skipped) == (1, 3)
    defined = run_program(
        "butler-visits",
        *("define-visits", tmp_path / "repo", "DuoCam", "-c", "computeVisitRegions=all-raw-wcs", "--processes", 2),
        PYTHONPATH=f"{HELPERS}:{Path(sys.modules['butler_visits'].__file__ or '').parents[1]}",
    )
    assert defined.returncode == 0, defined.stderr
    regions = {(one.visit, one.detector): one.region for one in records(butler, "visit_detector_region")}
    assert sorted(regions) == [(visit, detector) for visit in (1, 2, 3, 4) for detector in (0, 1)]
    centre = regions[4, 1].getBoundingCircle().getCenter()
    assert np.rad2deg(np.arctan2(centre.y(), centre.x())) == pytest.approx(150.01, abs=1e-3)


def test_where_the_module_is_not(raws: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    butler = make_repository(tmp_path / "repo")
    ingest_raws(butler, [raws], translator=MODULE)
    (ref,) = butler.query_datasets("instrument_translator", "DuoCam/translator")
    assert butler.get(ref) == {"module": MODULE}
    butler.collections.register("u/another")
    butler.put({"module": "obs_nowhere"}, "instrument_translator", instrument="DuoCam", run="u/another")
    butler.collections.redefine_chain("DuoCam/translator", ["u/another"])
    with caplog.at_level(logging.WARNING, logger="butler_visits"):
        assert stored_translator(butler, "DuoCam") is None
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said.startswith("Instrument DuoCam was ingested with a translator that is not here: The translator module")
    assert "'obs_nowhere' cannot be imported" in said


def test_describe(raws: Path) -> None:
    result = run_command("describe", raws / "1.fits", "--translator", MODULE)
    assert result.exit_code == 0, result.output
    assert "Translator DuoCam" in result.output
    result = run_command("describe", raws / "1.fits", "--translator", MODULE, "--instrument", EXAMPLES / "hillcam.yaml")
    assert result.exit_code == 2
    assert "give one of them" in result.stderr


def test_other_telescopes(raws: Path, tmp_path: Path) -> None:
    """The translator stumbles over their headers, which hinders nobody."""
    header = fits.Header({"INSTRUME": "Other", "TELESCOP": "Other"})
    fits.PrimaryHDU(np.zeros((4, 4), np.int16), header).writeto(raws / "other.fits")
    result = ingest_raws(make_repository(tmp_path / "repo"), [raws], translator=MODULE, on_error="skip")
    assert (result.n_ingested, result.n_failed) == (3, 1)
    assert "no translator knows this telescope (TELESCOP='Other', INSTRUME='Other')" in str(result.failures[0])


NO_NAME = "from astro_metadata_translator import FitsTranslator\nclass T(FitsTranslator):\n    pass\n"
BAD_NAME = """
from obs_duocam import DuoCamTranslator
class T(DuoCamTranslator):
    name = "Duo Cam 2"
"""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, r"The translator module 'my_module' cannot be imported \(ModuleNotFoundError: .*expected the name of a"),
        ("1 / 0\n", r"'my_module' cannot be imported \(ZeroDivisionError: division by zero\)"),
        ("import nowhere\n", r"'my_module' cannot be imported \(ModuleNotFoundError: No module named 'nowhere'\)"),
        ("raise SystemExit(1)\n", r"'my_module' cannot be imported \(SystemExit: 1\)"),
        ("import math\n", r"The module 'my_module' has no translator; expected a subclass of"),
        (NO_NAME, r"has no translator; expected a subclass of astro_metadata_translator.MetadataTranslator that has a"),
    ],
)
def test_modules_without_translators(
    raws: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, said: str
) -> None:
    if content is not None:
        (tmp_path / "my_module.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_module", raising=False)
    result = run_command("ingest", tmp_path / "repo", raws, "--translator", "my_module")
    text = message(result)
    assert re.search(said, text)
    assert not (tmp_path / "repo").exists()


def test_with_a_description(raws: Path, tmp_path: Path) -> None:
    with pytest.raises(IngestError, match=r"by the translator in obs_duocam, and not by both; give one of them"):
        ingest_raws(
            make_repository(tmp_path / "repo"), [raws], translator=MODULE, instrument=str(EXAMPLES / "hillcam.yaml")
        )


def test_what_the_header_lacks(tmp_path: Path) -> None:
    butler = make_repository(tmp_path / "repo")
    for number, card in enumerate(("FILT", "MJDBEG", "FRAMEID", "TARGET")):
        write_raw(tmp_path / "raws" / f"{card}.fits", number, **dict[str, Any]({card: None}))
    write_raw(tmp_path / "raws" / "SIDE.fits", 5, sides=("above",))
    result = ingest_raws(butler, [tmp_path / "raws"], translator=MODULE, on_error="skip")
    assert (result.n_ingested, result.n_failed) == (1, 4)
    said = {Path(one.source).stem: str(one) for one in result.failures}
    for card, prop in (
        ("FILT", "physical_filter"),
        ("MJDBEG", "datetime_begin"),
        ("FRAMEID", "exposure_id"),
        ("SIDE", "detector_num"),
    ):
        assert f"translator DuoCam finds no {prop} in the header" in said[card]


def test_a_name_that_is_no_instrument(raws: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MetadataTranslator, "translators", dict(MetadataTranslator.translators))
    (tmp_path / "bad_name.py").write_text(BAD_NAME)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        IngestError, match=r"translator T is called 'Duo Cam 2', which cannot be the name of an instrument"
    ):
        ingest_raws(make_repository(tmp_path / "repo"), [raws], translator="bad_name")


def test_plugins(raws: Path, tmp_path: Path) -> None:
    """Translators of installed packages are found by their entry points, as astrometadata finds them."""
    metadata = tmp_path / "plugins" / "obs_duocam-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: obs-duocam\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[astro_metadata_translators]\nduo = obs_duocam.translators:DuoCamTranslator\nbroken = obs_nowhere:names\n"
    )
    places = [tmp_path / "plugins", HELPERS, Path(sys.modules["butler_visits"].__file__ or "").parents[1]]
    found = run_program("butler-visits", "describe", raws / "1.fits", PYTHONPATH=":".join(map(str, places)))
    assert found.returncode == 0, found.stderr
    assert "Translator DuoCam" in found.stdout
    assert "The translator module 'broken' cannot be imported" in found.stderr


def test_translated_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of files of which one was read, those of the same size are taken from the index."""
    raws = tmp_path / "raws"
    files = [write_raw(raws / f"{n}.fits", n, sides=("left",)) for n in range(1, 6)]
    butler = make_repository(tmp_path / "without")
    age(raws)
    ingest_raws(butler, [raws], translator=MODULE, index=False)
    with monkeypatch.context() as patched:
        patched.setitem(MetadataTranslator.translators, "DuoCam", DuoCamTranslator)
        write_index(raws, "translated")
    make_unreadable(files[1:])
    other = make_repository(tmp_path / "with")
    ingest_raws(other, [raws], translator=MODULE)
    assert stored(other, RUN) == stored(butler, RUN)


def test_translated_index_of_several_detectors(raws: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    age(raws)
    with monkeypatch.context() as patched:
        patched.setitem(MetadataTranslator.translators, "DuoCam", DuoCamTranslator)
        write_index(raws, "translated")
    butlers = [make_repository(tmp_path / name) for name in ("with", "without")]
    for butler, index in zip(butlers, (True, False), strict=True):
        ingest_raws(butler, [raws], translator=MODULE, index=index)
    assert stored(butlers[0], RUN) == stored(butlers[1], RUN)
    assert len(stored(butlers[0], RUN)["raw"]) == 6
