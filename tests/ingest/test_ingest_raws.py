"""Ingesting raw files: what is written, and what is left alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from astro_metadata_translator import MetadataTranslator
from astropy.io import fits
from lsst.daf.butler import Butler, Timespan
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.resources import ResourcePath

from butler_visits.errors import IngestError
from butler_visits.ingest import ingest_raws
from butler_visits.instruments.translator import make_translator
from butler_visits.repository.instruments import register_instrument
from ingest_helpers import DESCRIPTION, RUN, cluster_of, files_in, records, science, stored, summary
from simulated_raws import describe, raw_header, write_raws
from simulated_survey import FILTERS, INSTRUMENT
from templates import make_repository

MakeSurvey = Callable[..., Butler]


both = pytest.mark.usefixtures("database")
"""For tests that run with both databases: those of what is written, not of what is read from headers and tables."""


@pytest.fixture
def butler(tmp_path: Path, request: pytest.FixtureRequest) -> Butler:
    """Create an empty repository."""
    return make_repository(tmp_path / "repository", cluster=cluster_of(request))


@both
def test_everything_is_there(butler: Butler, tmp_path: Path) -> None:
    exposures = science(5)
    files = write_raws(tmp_path / "raw", exposures, detectors=(3, 4))
    result = ingest_raws(butler, [tmp_path / "raw"], instrument=DESCRIPTION)
    assert summary(result) == (10, 10, 0, 0, 10, 5)
    assert result.exposures == {INSTRUMENT: [one["id"] for one in exposures]}
    names = butler.dimensions["exposure"].RecordClass.fields.names
    for record, exposure in zip(records(butler, "exposure"), exposures, strict=True):
        for name in names:
            given = {"instrument": INSTRUMENT, **exposure}[name]
            assert getattr(record, name) == (pytest.approx(given) if isinstance(given, float) else given), name
    assert {record.name: record.band for record in records(butler, "physical_filter")} == FILTERS
    assert {record.name for record in records(butler, "group")} == {one["group"] for one in exposures}
    day = exposures[0]["day_obs"]
    assert [(record.id, record.timespan) for record in records(butler, "day_obs")] == [
        (day, Timespan.from_day_obs(day))
    ]
    with butler.query() as query:
        refs = {(ref.dataId["exposure"], ref.dataId["detector"]): ref for ref in query.datasets("raw", RUN)}
    expected = [(exposure["id"], detector) for exposure in exposures for detector in (3, 4)]
    assert {key: butler.getURI(refs[key]).ospath for key in expected} == dict(
        zip(expected, map(str, files), strict=True)
    )
    assert set(refs) == set(expected)


@both
def test_running_twice_changes_nothing(butler: Butler, tmp_path: Path) -> None:
    write_raws(tmp_path / "raw", science(4))
    ingest_raws(butler, [tmp_path / "raw"], instrument=DESCRIPTION)
    before = stored(butler)
    # The description is in the repository now.
    for instrument in (DESCRIPTION, INSTRUMENT, None):
        again = ingest_raws(butler, [tmp_path / "raw"], instrument=instrument)
        assert summary(again) == (4, 0, 4, 0, 0, 0)
        assert len(again.exposures[INSTRUMENT]) == 4
    assert stored(butler) == before


def test_files_may_come_one_by_one(tmp_path: Path) -> None:
    files = write_raws(tmp_path / "raw", science(3), detectors=(0, 1))
    together, one_by_one = (make_repository(tmp_path / name) for name in ("together", "one_by_one"))
    ingest_raws(together, files, instrument=DESCRIPTION)
    for file in reversed(files):
        assert ingest_raws(one_by_one, [file], instrument=DESCRIPTION).n_ingested == 1
    assert stored(one_by_one) == stored(together)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_batches(butler: Butler, tmp_path: Path, batch_size: int) -> None:
    files = write_raws(tmp_path / "raw", science(3), detectors=(0, 1, 2))
    result = ingest_raws(butler, files, instrument=DESCRIPTION, batch_size=batch_size, threads=2)
    assert summary(result) == (9, 9, 0, 0, 9, 3)


@both
def test_several_detectors_in_one_file(butler: Butler, tmp_path: Path) -> None:
    exposures = science(2)
    files = write_raws(tmp_path / "raw", exposures, detectors=(0, 5, 7), in_one_file=True)
    result = ingest_raws(butler, files, instrument=DESCRIPTION)
    assert summary(result) == (2, 2, 0, 0, 6, 2)
    with butler.query() as query:
        refs = list(query.datasets("raw", RUN))
    assert {ref.dataId["detector"] for ref in refs} == {0, 5, 7}
    assert {butler.getURI(ref).ospath for ref in refs} == set(map(str, files))
    assert ingest_raws(butler, files, instrument=DESCRIPTION).n_skipped == 2


def test_amplifiers_are_one_detector(butler: Butler, tmp_path: Path) -> None:
    (exposure,) = science(1)
    header = raw_header(exposure)
    header["CCDNUM"] = 6
    amplifiers = [fits.ImageHDU(np.zeros((4, 4), dtype=np.int16), fits.Header({"AMP": i})) for i in range(4)]
    fits.HDUList([fits.PrimaryHDU(header=header), *amplifiers]).writeto(tmp_path / "amps.fits")
    result = ingest_raws(butler, [tmp_path / "amps.fits"], instrument=DESCRIPTION)
    assert summary(result) == (1, 1, 0, 0, 1, 1)


def test_compressed_files(butler: Butler, tmp_path: Path) -> None:
    first, second = science(2)
    header = raw_header(first)
    header["CCDNUM"] = 1
    image = np.zeros((40, 40), dtype=np.int16)
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(image, header)]).writeto(tmp_path / "a.fits.fz")
    header = raw_header(second)
    header["CCDNUM"] = 1
    fits.PrimaryHDU(image, header).writeto(tmp_path / "b.FITS.gz")
    result = ingest_raws(butler, [tmp_path], instrument=DESCRIPTION, transfer="copy")
    assert summary(result) == (2, 2, 0, 0, 2, 2)


@pytest.mark.parametrize("transfer", ["direct", "copy", "link", "symlink", "move"])
def test_transfer_modes(butler: Butler, tmp_path: Path, transfer: Any) -> None:
    root = ResourcePath(tmp_path / "repository")
    files = write_raws(tmp_path / "raw", science(3), detectors=(0, 1), in_one_file=True)
    content = [file.read_bytes() for file in files]
    ingest_raws(butler, files, instrument=DESCRIPTION, transfer=transfer)
    with butler.query() as query:
        refs = list(query.datasets("raw", RUN).order_by("exposure", "detector"))
    paths = [Path(butler.getURI(ref).ospath) for ref in refs]
    assert [path.read_bytes() for path in paths] == [one for one in content for _ in range(2)]
    assert len(set(paths)) == 3
    assert {file.exists() for file in files} == {transfer != "move"}
    if transfer == "direct":
        assert paths[::2] == files
        return
    assert all(ResourcePath(path).relative_to(root) for path in paths)
    assert [path.is_symlink() for path in paths] == [transfer == "symlink"] * 6
    assert [path.stat().st_nlink for path in paths] == [2 if transfer == "link" else 1] * 6
    before = stored(butler)
    n_left = 0 if transfer == "move" else 3
    assert ingest_raws(butler, [tmp_path / "raw"], instrument=DESCRIPTION, transfer=transfer).n_skipped == n_left
    assert stored(butler) == before


@both
def test_moved_files_of_a_killed_process_are_removed(butler: Butler, tmp_path: Path) -> None:
    files = write_raws(tmp_path / "raw", science(2))
    # What is left when a process is killed after it has written, and before it has removed.
    ingest_raws(butler, files, instrument=DESCRIPTION, transfer="copy")
    result = ingest_raws(butler, files, instrument=DESCRIPTION, transfer="move")
    assert summary(result) == (2, 0, 2, 0, 0, 0)
    assert not files_in(tmp_path / "raw")
    assert all(there for *_, there in stored(butler)["raw"])


def test_a_file_in_the_repository_is_not_removed(butler: Butler, tmp_path: Path) -> None:
    files = write_raws(tmp_path / "raw", science(2))
    ingest_raws(butler, files, instrument=DESCRIPTION, transfer="copy")
    inside = [path for path in files_in(tmp_path / "repository") if path.suffix == ".fits"]
    assert summary(ingest_raws(butler, inside, instrument=DESCRIPTION, transfer="move")) == (2, 0, 2, 0, 0, 0)
    assert all(there for *_, there in stored(butler)["raw"])


def test_moving_a_symbolic_link_leaves_its_file(butler: Butler, tmp_path: Path) -> None:
    (file,) = write_raws(tmp_path / "raw", science(1))
    link = tmp_path / "link.fits"
    link.symlink_to(file)
    ingest_raws(butler, [link], instrument=DESCRIPTION, transfer="move")
    assert not link.is_symlink()
    ((*_, there),) = stored(butler)["raw"]
    assert file.exists()
    assert there


@both
def test_output_run(butler: Butler, tmp_path: Path) -> None:
    write_raws(tmp_path / "raw", science(2))
    ingest_raws(butler, [tmp_path / "raw"], instrument=DESCRIPTION, output_run="mine/raws")
    assert len(stored(butler, "mine/raws")["raw"]) == 2
    butler.collections.register("tagged", type=butler.collections.get_info("mine/raws").type.TAGGED)
    with pytest.raises(IngestError, match="Collection tagged is a TAGGED collection; raws go into a RUN"):
        ingest_raws(butler, [tmp_path / "raw"], instrument=DESCRIPTION, output_run="tagged")


@pytest.mark.parametrize("universe", range(9))
def test_universes(tmp_path: Path, universe: int) -> None:
    butler = make_repository(tmp_path / "repository", universe=universe)
    exposures = science(3)
    write_raws(tmp_path / "raw", exposures, detectors=(0, 1), in_one_file=True)
    result = ingest_raws(butler, [tmp_path / "raw"], instrument=DESCRIPTION)
    assert summary(result) == (3, 3, 0, 0, 6, 3)
    names = set(butler.dimensions["exposure"].RecordClass.fields.names)
    assert ("group_name" in names) == (universe < 6)
    for record, exposure in zip(records(butler, "exposure"), exposures, strict=True):
        # Of a described instrument a visit is its exposure, unless it has groups.
        given = {"instrument": INSTRUMENT, **exposure, "group_name": exposure["group"], "group_id": exposure["id"]}
        for name in names:
            assert getattr(record, name) == (
                pytest.approx(given[name]) if isinstance(given[name], float) else given[name]
            ), name
    assert summary(ingest_raws(butler, [tmp_path / "raw"])) == (3, 0, 3, 0, 0, 0)


class Stumbling:
    """What is asked for a translator and fails in its own way."""

    @classmethod
    def can_translate(cls, header: Any, filename: str | None = None) -> bool:
        return bool(header["CAMERA"])


def test_registered_instrument_is_left_alone(make_survey: MakeSurvey, tmp_path: Path) -> None:
    butler = make_survey()
    before = {element: records(butler, element) for element in ("instrument", "detector", "physical_filter")}
    exposures = science(2)
    write_raws(tmp_path / "raw", exposures)
    # As a package of somebody else's would make it known.
    translators = dict(MetadataTranslator.translators)
    MetadataTranslator.translators.clear()
    # The one before it does not take headers without its own card.
    MetadataTranslator.translators["Stumbling"] = cast(Any, Stumbling)
    MetadataTranslator.translators.update(translators)
    MetadataTranslator.translators[INSTRUMENT] = make_translator(DESCRIPTION)
    assert ingest_raws(butler, [tmp_path / "raw"]).n_ingested == 2
    assert {element: records(butler, element) for element in before} == before


def change(file: Path, **cards: Any) -> None:
    """Change cards of a file's primary header."""
    for key, value in cards.items():
        fits.setval(file, key, value=value)


@both
def test_conflict_with_the_repository(butler: Butler, tmp_path: Path) -> None:
    first, second = write_raws(tmp_path / "raw", science(2))
    ingest_raws(butler, [first, second], instrument=DESCRIPTION)
    before = stored(butler)
    change(second, OBJECT="another", EXPTIME=31.5)
    with pytest.raises(ConflictingDefinitionError) as error:
        ingest_raws(butler, [first, second], instrument=DESCRIPTION)
    message = str(error.value)
    assert message.startswith(f"{second}: exposure {science(2)[1]['id']}")
    assert "target_name is stored as 'field_" in message
    assert "and is now 'another'" in message
    assert "exposure_time is stored as 30.0 and is now 31.5" in message
    result = ingest_raws(butler, [first, second], instrument=DESCRIPTION, on_error="skip")
    assert summary(result) == (2, 0, 1, 1, 0, 0)
    assert stored(butler) == before


def test_rounding_is_no_conflict(butler: Butler, tmp_path: Path) -> None:
    (file,) = write_raws(tmp_path / "raw", science(1))
    ingest_raws(butler, [file], instrument=DESCRIPTION)
    change(file, RA=science(1)[0]["tracking_ra"] + 1e-12)
    assert ingest_raws(butler, [file], instrument=DESCRIPTION).n_skipped == 1


def test_files_of_an_exposure_must_agree(butler: Butler, tmp_path: Path) -> None:
    files = write_raws(tmp_path / "raw", science(1), detectors=(0, 1, 2))
    change(files[1], FILTER="r_sim", ROTPA=12.0)
    with pytest.raises(ConflictingDefinitionError, match="physical_filter is g_sim there and r_sim here") as error:
        ingest_raws(butler, files, instrument=DESCRIPTION)
    assert f"differs from {files[0]}" in str(error.value)
    assert not records(butler, "exposure")
    result = ingest_raws(butler, files, instrument=DESCRIPTION, on_error="skip")
    assert summary(result) == (3, 2, 0, 1, 2, 1)


@both
def test_names_of_exposures_must_differ(butler: Butler, tmp_path: Path) -> None:
    files = write_raws(tmp_path / "raw", science(4))
    change(files[2], OBSID=science(4)[0]["obs_id"])
    with pytest.raises(IngestError, match=r"is called 'SC_O_\d+_\d+', and so is exposure \d+; each") as error:
        ingest_raws(butler, files, instrument=DESCRIPTION)
    assert str(files[2]) in str(error.value)
    assert not records(butler, "exposure")
    result = ingest_raws(butler, files, instrument=DESCRIPTION, on_error="skip")
    assert summary(result) == (4, 3, 0, 1, 3, 3)
    with pytest.raises(IngestError, match="and so is exposure"):
        ingest_raws(butler, [files[2]], instrument=DESCRIPTION)


@both
def test_long_texts_are_stored_whole(butler: Butler, tmp_path: Path) -> None:
    first, second = write_raws(tmp_path / "raw", science(2))
    change(first, OBJECT="x" * 66)
    change(second, OBSID="y" * 65)
    result = ingest_raws(butler, [first, second], instrument=DESCRIPTION, on_error="skip")
    assert summary(result) == (2, 2, 0, 0, 2, 2)
    one, other = sorted(records(butler, "exposure"), key=lambda record: int(record.id))
    assert (one.target_name, other.obs_id) == ("x" * 66, "y" * 65)
    assert ingest_raws(butler, [first], instrument=DESCRIPTION).n_skipped == 1


@both
def test_two_instruments_at_once(butler: Butler, tmp_path: Path) -> None:
    other = type(DESCRIPTION).from_mapping(
        {**describe(), "name": "OtherCam", "recognise": {"INSTRUME": "OtherCam"}}, "the other"
    )
    for description in (DESCRIPTION, other):
        register_instrument(butler, description)
    write_raws(tmp_path / "raw" / "a", science(2))
    write_raws(tmp_path / "raw" / "b", [{**one, "instrument": "OtherCam"} for one in science(3)])
    result = ingest_raws(butler, [tmp_path / "raw"])
    assert summary(result) == (5, 5, 0, 0, 5, 5)
    assert {name: len(ids) for name, ids in result.exposures.items()} == {INSTRUMENT: 2, "OtherCam": 3}
    # An instrument that is named takes only its own.
    result = ingest_raws(butler, [tmp_path / "raw"], instrument="OtherCam", on_error="skip")
    assert summary(result) == (5, 0, 3, 2, 0, 0)
    assert len(stored(butler, "OtherCam/raw/all")["raw"]) == 3


def test_a_read_only_butler(butler: Butler, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="read-only Butler"):
        ingest_raws(Butler.from_config(tmp_path / "repository", writeable=False), [tmp_path])


def test_options_that_make_no_sense(butler: Butler, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="transfer must be one of direct, copy"):
        ingest_raws(butler, [tmp_path], transfer="teleport")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="on_error must be 'raise' or 'skip'"):
        ingest_raws(butler, [tmp_path], on_error="ignore")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1"):
        ingest_raws(butler, [tmp_path], threads=0)
    with pytest.raises(IngestError, match=r"No instrument 'Nope' is registered.*astro_metadata_translator knows"):
        ingest_raws(butler, [tmp_path], instrument="Nope")


def test_moving_to_another_device(butler: Butler, tmp_path: Path) -> None:
    others = [
        other
        for other in map(Path, ("/dev/shm", "/var/tmp"))
        if os.access(other, os.W_OK) and other.stat().st_dev != tmp_path.stat().st_dev
    ]
    if not others:
        pytest.skip("no second file system")
    folder = others[0] / f"butler-visits-{os.getpid()}"
    try:
        files = write_raws(folder, science(2))
        ingest_raws(butler, files, instrument=DESCRIPTION, transfer="move")
        assert not files_in(folder)
        assert all(there for *_, there in stored(butler)["raw"])
    finally:
        for path in files_in(folder):
            path.unlink()
        folder.rmdir()
