"""Headers from the index and sidecar files of astrometadata: fewer files are read, and the result is the same."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astro_metadata_translator.bin.writesidecar import write_sidecar_files
from astro_metadata_translator.tests import read_test_file
from astropy.io import fits
from lsst.daf.butler import Butler

from butler_visits.ingest import ingest_raws
from ingest_helpers import (
    DESCRIPTION,
    OLD,
    RUN,
    age,
    make_unreadable,
    run_command,
    science,
    stored,
    write_header,
    write_index,
)
from simulated_raws import write_raws
from templates import make_repository

Write = Callable[[Path, str], None]


def write_sidecars(folder: Path, content: str) -> None:
    _, failed = write_sidecar_files([str(folder)], r"\.fits", -1, content, True)
    assert not failed


both = pytest.mark.parametrize("write", [write_index, write_sidecars])


class Repositories:
    """Two repositories, with the index and without."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.instrument: Any = DESCRIPTION
        self.run = RUN

    def ingest(self, raws: Path, *, index: bool, **options: Any) -> Any:
        butler = make_repository(self.folder / ("with" if index else "without"))
        result = ingest_raws(butler, [raws], instrument=self.instrument, index=index, **options)
        return result, butler

    def expected(self, raws: Path) -> dict[str, Any]:
        return self.tables(self.ingest(raws, index=False)[1])

    def found(self, raws: Path) -> dict[str, Any]:
        return self.tables(self.ingest(raws, index=True)[1])

    def tables(self, butler: Butler) -> dict[str, Any]:
        tables = stored(butler, self.run)
        assert tables["raw"]
        return tables


@pytest.fixture
def repositories(tmp_path: Path) -> Repositories:
    return Repositories(tmp_path)


@both
def test_no_raw_is_read(repositories: Repositories, tmp_path: Path, write: Write) -> None:
    """Raws with one image, in their first HDU."""
    raws = tmp_path / "raws"
    files = write_raws(raws, science(6), detectors=(0, 3))
    age(raws)
    expected = repositories.expected(raws)
    write(raws, "metadata")
    make_unreadable(files)
    assert repositories.found(raws) == expected
    assert len(expected["raw"]) == 12


@both
def test_one_raw_of_each_layout_is_read(repositories: Repositories, tmp_path: Path, write: Write) -> None:
    """The image may be in an extension, of which the index does not tell how many there are."""
    raws = tmp_path / "raws"
    files = write_raws(raws, science(5), in_one_file=True)
    age(raws)
    expected = repositories.expected(raws)
    write(raws, "metadata")
    make_unreadable(sorted(files)[1:])
    assert repositories.found(raws) == expected
    assert len(expected["raw"]) == 5


def test_headers_are_read_if_asked_for(tmp_path: Path) -> None:
    raws = tmp_path / "raws"
    files = write_raws(raws, science(2))
    age(raws)
    write_index(raws, "metadata")
    make_unreadable(files)
    description = tmp_path / "instrument.yaml"
    description.write_text(json.dumps(DESCRIPTION.stored_content() | {"camera": DESCRIPTION.camera}))
    arguments = ("ingest", tmp_path / "repo", raws, "--instrument", description)
    result = run_command(*arguments, "--no-index")
    assert result.exit_code == 1
    assert "no FITS header can be read" in result.stderr
    result = run_command(*arguments)
    assert result.exit_code == 0, result.output
    assert "2 ingested" in result.output


@pytest.mark.parametrize("in_one_file", [True, False])
@pytest.mark.parametrize(
    ("suffix", "write"),
    [("fits", write_index), ("fits", write_sidecars), ("fits.gz", write_index), ("fits.fz", write_index)],
)
def test_several_detectors_in_a_file(
    repositories: Repositories, tmp_path: Path, write: Write, in_one_file: bool, suffix: str
) -> None:
    """Files with several images, and compressed ones, of which the size tells nothing, are read."""
    raws = tmp_path / "raws"
    for file in write_raws(raws, science(3), detectors=(1, 2, 5), in_one_file=in_one_file):
        if suffix == "fits":
            continue
        with fits.open(file) as hdus:
            if suffix == "fits.fz":
                images = [fits.CompImageHDU(hdu.data, hdu.header) for hdu in hdus if hdu.data is not None]
                hdus = fits.HDUList([fits.PrimaryHDU(header=hdus[0].header if in_one_file else None), *images])
            hdus.writeto(file.with_suffix("." + suffix))
        file.unlink()
    age(raws)
    write(raws, "metadata")
    expected = repositories.expected(raws)
    assert repositories.found(raws) == expected
    assert len(expected["raw"]) == 9


def test_layouts_that_look_alike(repositories: Repositories, tmp_path: Path) -> None:
    """A second image may be as small as can be, and stand before or behind the one in the index."""
    raws = tmp_path / "raws"
    image = np.zeros((4, 4), np.int16)
    for number, file in enumerate(sorted(write_raws(raws, science(6), detectors=(1,)))):
        with fits.open(file) as hdus:
            second = fits.ImageHDU(image, fits.Header({"CCDNUM": 2}))
            first = fits.PrimaryHDU(image, hdus[0].header)
        hdus = fits.HDUList([first, second][: 1 + number % 2])
        hdus.writeto(file, overwrite=True)
    age(raws)
    for hdu in (0, 1, -1):
        write_index(raws, "metadata", hdu)
        shutil.rmtree(tmp_path / "with", ignore_errors=True)
        shutil.rmtree(tmp_path / "without", ignore_errors=True)
        expected = repositories.expected(raws)
        assert repositories.found(raws) == expected
        assert len(expected["raw"]) == 9


def rewrite(file: Path, **cards: Any) -> None:
    with fits.open(file, mode="update") as hdus:
        hdus[0].header.update(cards)


def newer(raws: Path, file: Path) -> None:
    rewrite(file, OBJECT="changed")


def as_old_as_the_index(raws: Path, file: Path) -> None:
    rewrite(file, OBJECT="changed")
    index = (raws / "_index.json").stat()
    os.utime(file, ns=(index.st_mtime_ns, index.st_mtime_ns))


def of_another_size(raws: Path, file: Path) -> None:
    rewrite(file, **{f"MORE{n}": n for n in range(100)}, OBJECT="changed")
    os.utime(file, (OLD, OLD))


def linked(raws: Path, file: Path) -> None:
    other = raws.parent / "other.fits"
    shutil.copy(file, other)
    rewrite(other, OBJECT="changed")
    os.utime(other, (OLD, OLD))
    file.unlink()
    file.symlink_to(other)
    index = (raws / "_index.json").stat().st_mtime + 5
    os.utime(file, (index, index), follow_symlinks=False)


def not_in_the_index(raws: Path, file: Path) -> None:
    content = json.loads((raws / "_index.json").read_text())
    del content[file.name]
    (raws / "_index.json").write_text(json.dumps(content))


@pytest.mark.parametrize("change", [newer, as_old_as_the_index, of_another_size, linked, not_in_the_index])
def test_changed_files(repositories: Repositories, tmp_path: Path, change: Callable[[Path, Path], None]) -> None:
    raws = tmp_path / "raws"
    files = sorted(write_raws(raws, science(4)))
    age(raws)
    write_index(raws, "metadata")
    change(raws, files[2])
    expected = repositories.expected(raws)
    # Only the file itself is read.
    make_unreadable(file for file in files if file != files[2])
    assert repositories.found(raws) == expected


def test_index_of_other_files(repositories: Repositories, tmp_path: Path) -> None:
    """Of files with the same names, which the one that is read tells where the image is in an extension."""
    raws, others = tmp_path / "raws", tmp_path / "others"
    files = sorted(write_raws(raws, science(3), in_one_file=True))
    for file, other in zip(files, sorted(write_raws(others, science(6)[3:], in_one_file=True)), strict=True):
        other.rename(others / file.name)
    write_index(others, "metadata")
    shutil.copy(others / "_index.json", raws)
    age(raws)
    assert repositories.found(raws) == repositories.expected(raws)


def edit(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def changed(index: Path) -> None:
        content = json.loads(index.read_text())
        index.write_text(json.dumps(change(content) or content))

    return changed


@pytest.fixture(scope="module")
def raws_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write two raws, for tests that change their index only."""
    folder = tmp_path_factory.mktemp("indexed")
    write_raws(folder / "raws", science(2))
    age(folder / "raws")
    return folder


@pytest.fixture
def raws(raws_folder: Path) -> Path:
    """Return the raws, without an index."""
    index = raws_folder / "raws" / "_index.json"
    if index.is_dir():
        index.rmdir()
    index.unlink(missing_ok=True)
    return raws_folder / "raws"


@pytest.fixture(scope="module")
def ingested(raws_folder: Path) -> Butler:
    """Make a repository of what the raws say."""
    butler = make_repository(raws_folder / "repo")
    assert ingest_raws(butler, [raws_folder / "raws"], instrument=DESCRIPTION, index=False).n_ingested == 2
    return butler


def of_another_folder(index: Path) -> None:
    """Of the next night, whose files are called alike but for one."""
    content = json.loads(index.read_text())
    content["__COMMON__"]["OBJECT"] = "next night"
    content["another.fits"] = {}
    index.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "damage",
    [
        lambda index: index.write_text(index.read_text()[:-100]),
        lambda index: index.write_text(""),
        lambda index: index.write_bytes(b"\xff\xfe"),
        lambda index: index.write_text("[" * 100_000),
        lambda index: index.write_text("[]"),
        lambda index: (index.unlink(), index.mkdir()),
        edit(lambda content: content.pop("__COMMON__") and None),
        edit(lambda content: content.pop("__CONTENT__") and None),
        edit(lambda content: content | {"__CONTENT__": "something"}),
        edit(lambda content: content | {"__COMMON__": []}),
        edit(lambda content: content | {"__COMMON__": {}}),
        edit(lambda content: {key: {} if key.endswith(".fits") else value for key, value in content.items()}),
        edit(lambda content: {key: [] if key.endswith(".fits") else value for key, value in content.items()}),
        edit(lambda content: {f"raws/{key}" if key.endswith(".fits") else key: v for key, v in content.items()}),
        edit(lambda content: {f"/no/{key}" if key.endswith(".fits") else key: v for key, v in content.items()}),
        edit(lambda content: content["__COMMON__"].update(NAXIS1="4")),
        edit(lambda content: content["__COMMON__"].update(NAXIS=-1)),
        edit(lambda content: content["__COMMON__"].update(NAXIS1=5000)),
        edit(lambda content: content["__COMMON__"].pop("NAXIS2") and None),
        edit(lambda content: content["__COMMON__"].update(INSTRUME="Other")),
        edit(lambda content: content["__COMMON__"].update(EXPTIME=[1, 2])),
        of_another_folder,
    ],
)
def test_damaged_index(ingested: Butler, raws: Path, damage: Callable[[Path], Any]) -> None:
    """Headers that differ from those of the raws would be in conflict with the exposures that are stored."""
    write_index(raws, "metadata")
    damage(raws / "_index.json")
    result = ingest_raws(ingested, [raws])
    assert (result.n_skipped, result.n_exposures, result.n_datasets) == (2, 0, 0)


def test_damaged_index_is_said(ingested: Butler, raws: Path, caplog: pytest.LogCaptureFixture) -> None:
    (raws / "_index.json").write_text("{")
    with caplog.at_level(logging.WARNING, logger="butler_visits"):
        ingest_raws(ingested, [raws])
    (said,) = caplog.messages
    assert said.startswith(f"{raws / '_index.json'} cannot be used (")
    assert said.endswith("; the headers are read.")


def test_one_sidecar_of_two_files(repositories: Repositories, tmp_path: Path) -> None:
    """A.fits and A.fit have the same."""
    raws = tmp_path / "raws"
    first, second = sorted(write_raws(raws, science(2)))
    age(raws)
    second.rename(first.with_suffix(".fit"))
    write_sidecars(raws, "metadata")
    expected = repositories.expected(raws)
    assert len(expected["raw"]) == 2
    assert repositories.found(raws) == expected


def test_keywords_in_any_case(repositories: Repositories, tmp_path: Path) -> None:
    """A description may write keywords as it likes, and have long ones."""
    raws = tmp_path / "raws"
    files = write_raws(raws, science(3))
    for file in files:
        rewrite(file, **{"HIERARCH ESO OBS NAME": "a name"})
    age(raws)
    content = DESCRIPTION.stored_content() | {"camera": DESCRIPTION.camera}
    properties = content["properties"] | {"observation_id": "obsid", "object": "HIERARCH eso obs name"}
    repositories.instrument = type(DESCRIPTION).from_mapping(content | {"properties": properties}, "any case")
    expected = repositories.expected(raws)
    assert {one["target_name"] for one in expected["exposure"]} == {"a name"}
    write_index(raws, "metadata")
    make_unreadable(files)
    assert repositories.found(raws) == expected


@pytest.fixture
def hsc(repositories: Repositories, tmp_path: Path, golden: Path) -> list[Path]:
    repositories.instrument, repositories.run = None, "HSC/raw/all"
    return write_hsc(tmp_path, golden)


def write_hsc(folder: Path, golden: Path) -> list[Path]:
    """Write raws of HSC, one for each of some detectors of an exposure."""
    (folder / "raws").mkdir()
    header = dict(read_test_file(str(golden / "headers" / "fitsheader-hsc.yaml")))
    files = [folder / "raws" / f"{detector}.fits" for detector in (50, 51, 52)]
    for file in files:
        write_header(header | {"DET-ID": int(file.stem)}, file)
    age(folder / "raws")
    return files


@pytest.fixture(scope="module")
def ingested_hsc(tmp_path_factory: pytest.TempPathFactory, golden: Path) -> tuple[Butler, Path]:
    """Make a repository of what raws of HSC say, for tests that change their index only."""
    folder = tmp_path_factory.mktemp("hsc")
    write_hsc(folder, golden)
    butler = make_repository(folder / "repo")
    assert ingest_raws(butler, [folder / "raws"], index=False).n_ingested == 3
    return butler, folder / "raws"


def close(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compare tables; angles were turned from one frame to another and back."""
    assert found.keys() == expected.keys()
    for table in expected:
        assert len(found[table]) == len(expected[table])
        for one, other in zip(found[table], expected[table], strict=True):
            for name, value in other.items() if isinstance(other, dict) else enumerate(other):
                right = pytest.approx(value, rel=1e-12) if isinstance(value, float) else value
                assert one[name] == right, (table, name)


@both
def test_translated(repositories: Repositories, hsc: list[Path], write: Write) -> None:
    expected = repositories.expected(hsc[0].parent)
    assert [number for _, number, *_ in expected["raw"]] == [50, 51, 52]
    write(hsc[0].parent, "translated")
    make_unreadable(hsc)
    close(repositories.found(hsc[0].parent), expected)


def test_translated_and_cut_short(repositories: Repositories, hsc: list[Path]) -> None:
    """Its size is not that of the others, so it is read."""
    with hsc[1].open("ab") as file:
        file.truncate(hsc[1].stat().st_size - 2880)
    age(hsc[0].parent)
    write_index(hsc[0].parent, "translated")
    for index in (False, True):
        result, _ = repositories.ingest(hsc[0].parent, index=index, on_error="skip")
        assert (result.n_ingested, result.n_failed) == (2, 1)
        assert "the file is truncated" in str(result.failures[0])


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry.update(_translator="DECam"),
        lambda entry: entry.update(_translator="NoCam"),
        lambda entry: entry.pop("_translator"),
        lambda entry: entry.pop("can_see_sky"),
        lambda entry: entry.pop("group_counter_start"),
        lambda entry: entry.pop("tracking_radec"),
        lambda entry: entry.pop("altaz_begin"),
        lambda entry: entry.pop("detector_group"),
        lambda entry: entry.pop("detector_num"),
        lambda entry: entry.update(exposure_time="long"),
        lambda entry: entry.update(datetime_begin=[1]),
        lambda entry: entry.update(ext_more=1),
        lambda entry: entry.clear(),
    ],
)
def test_translated_otherwise(ingested_hsc: tuple[Butler, Path], change: Callable[[Any], Any]) -> None:
    butler, folder = ingested_hsc
    write_index(folder, "translated")
    content = json.loads((folder / "_index.json").read_text())
    common = content.pop("__COMMON__")
    mode = content.pop("__CONTENT__")
    for entry in content.values():
        entry |= common
        change(entry)
    (folder / "_index.json").write_text(json.dumps({"__CONTENT__": mode, "__COMMON__": {}, **content}))
    result = ingest_raws(butler, [folder])
    assert (result.n_skipped, result.n_exposures, result.n_datasets) == (3, 0, 0)


def test_translated_by_another_than_the_description(repositories: Repositories, hsc: list[Path]) -> None:
    """What a description says of the headers counts, whether it is given or stored."""
    folder = hsc[0].parent
    described = {
        "name": "HSC",
        "recognise": {"TELESCOP": "Subaru"},
        "filters": [{"name": "i", "band": "i"}],
        "detectors": [{"id": number, "name": f"ccd{number}"} for number in (50, 51, 52)],
        "properties": {
            "datetime_begin": {"template": "{DATE-OBS}T{UT-STR}"},
            "observation_type": "DATA-TYP",
            "physical_filter": {"value": "i"},
            "detector_num": "DET-ID",
        },
    }
    write_index(folder, "translated")
    repositories.instrument = type(DESCRIPTION).from_mapping(described, "HSC.yaml")
    expected = repositories.expected(folder)
    assert {one["full_name"] for one in expected["detector"]} == {"ccd50", "ccd51", "ccd52"}
    assert repositories.found(folder) == expected
    for instrument in (None, "HSC"):
        butler = Butler.from_config(str(folder.parent / "with"), writeable=True)
        again = ingest_raws(butler, [folder], instrument=instrument)
        assert (again.n_skipped, again.n_failed) == (3, 0)


@both
def test_translated_with_several_detectors(
    repositories: Repositories, tmp_path: Path, golden: Path, write: Write
) -> None:
    """DECam's files have all detectors, of which the index has the first."""
    raws = tmp_path / "raws"
    raws.mkdir()
    repositories.instrument, repositories.run = None, "DECam/raw/all"
    write_header(read_test_file(str(golden / "headers" / "fitsheader-decam.yaml")), raws / "one.fits")
    with fits.open(raws / "one.fits") as hdus:
        primary = hdus[0].header.copy()
    (raws / "one.fits").unlink()
    detectors = {25: "S1", 26: "S2", 62: "N31"}
    cards = [fits.Header({"CCDNUM": number, "DETPOS": name}) for number, name in detectors.items()]
    images = [fits.ImageHDU(np.zeros((4, 5), np.int16), header) for header in cards]
    for number in range(3):
        header = fits.PrimaryHDU(header=primary).header
        header["EXPNUM"], header["OBSID"] = 160000 + number, f"ct4m{number}"
        fits.HDUList([fits.PrimaryHDU(header=header), *images]).writeto(raws / f"{number}.fits")
    age(raws)
    write(raws, "translated")
    expected = repositories.expected(raws)
    assert len(expected["raw"]) == 9
    assert repositories.found(raws) == expected
