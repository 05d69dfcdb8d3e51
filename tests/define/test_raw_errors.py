"""Raws that cannot be used: each a clear error that names file and HDU, and only its exposure is left out."""

from __future__ import annotations

import gzip
import itertools
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from astropy.io import fits
from lsst.daf.butler import Butler, DimensionRecord
from lsst.pipe.base import Struct

from butler_visits import DefineVisitsTask, DefinitionError, RawFileError, VisitsError
from butler_visits.raws import read_raw_files
from command_line import define_visits, run_program
from mosaic import write_raw
from raw_repository import (
    ACROSS_RA_0,
    AT_THE_POLE,
    CAMERA,
    INSTRUMENT,
    NAMES,
    POINTING,
    add_exposure,
    add_raws,
    define_task,
    defined_visits,
    ingest,
    make_repository,
    region_task,
    stored_regions,
    visit_of,
)
from visit_tables import root

NAN = float("nan")
BLOCK = 2880
DATA = 2048 * 4096


def cards(**values: Any) -> Callable[[Path], None]:
    """Return a function that changes cards of M1's header; `None` removes one."""

    def change(path: Path) -> None:
        with fits.open(path, mode="update", memmap=False) as hdus:
            for key, value in values.items():
                if value is None:
                    del hdus[0].header[key]
                else:
                    hdus[0].header[key] = value

    return change


def text_card(key: str, text: str) -> Callable[[Path], None]:
    """Return a function that overwrites a card's value with text as it is, which astropy would not write."""

    def change(path: Path) -> None:
        content = path.read_bytes()
        start = content.index(f"{key:<8}=".encode())
        path.write_bytes(content[: start + 10] + f"{text:>20}".ljust(70).encode() + content[start + 80 :])

    return change


def cut(size: int) -> Callable[[Path], None]:
    """Return a function that shortens a file, from its end if the size is negative."""

    def change(path: Path) -> None:
        with path.open("r+b") as file:
            file.truncate(size if size > 0 else path.stat().st_size + size)

    return change


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def write(content: bytes) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.write_bytes(content)

    return change


def rewrite(names: list[str], **options: Any) -> Callable[[Path], None]:
    """Return a function that replaces the file by another raw."""

    def change(path: Path) -> None:
        path.unlink()
        write_raw(path, CAMERA, names, *POINTING[:3], "TPV", **options)

    return change


def cut_second_header(path: Path) -> None:
    """Leave half of the header of a file's second extension."""
    rewrite(["N1", "N2"], layout="multi")(path)
    with fits.open(path) as hdus:
        start = hdus[2].fileinfo()["hdrLoc"]
    cut(start + 1000)(path)


def cut_gzip(path: Path) -> None:
    packed = gzip.compress(path.read_bytes(), 1)
    path.write_bytes(packed[: len(packed) // 2])


def empty_image(path: Path) -> None:
    """Write an image without pixels."""
    header = fits.getheader(path)
    header["NAXIS1"] = 0
    path.write_bytes(header.tostring().encode())


class Case(NamedTuple):
    """What is wrong with the raw of detector M1, and what is said of it; FILE stands for the file."""

    change: Callable[[Path], Any]
    said: str


HDU = r"FILE, HDU 0 \(M1\)"
NO_WCS = rf"{HDU}: no celestial WCS for detector 12; expected CTYPE1 and CTYPE2 such as RA---TAN"
NO_USE = rf"{HDU}: the header's WCS (cannot be used|is degenerate)"

CASES = {
    "no WCS": Case(cards(**dict.fromkeys(("CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2"))), NO_WCS),
    "no CTYPE2": Case(cards(CTYPE2=None), NO_WCS),
    "linear": Case(cards(CTYPE1="LINEAR", CTYPE2="LINEAR"), NO_WCS),
    "two longitudes": Case(cards(CTYPE2="RA---TPV"), NO_WCS),
    "mixed frames": Case(cards(CTYPE2="GLAT-TPV"), rf"{NO_USE}|{NO_WCS}"),
    "mixed projections": Case(cards(CTYPE2="DEC--TAN"), NO_USE),
    "unknown projection": Case(cards(CTYPE1="RA---XYZ", CTYPE2="DEC--XYZ"), NO_USE),
    "zero CD": Case(cards(CD1_1=0.0, CD1_2=0.0, CD2_1=0.0, CD2_2=0.0), NO_USE),
    "singular CD": Case(cards(CD1_1=1e-5, CD1_2=1e-5, CD2_1=1e-5, CD2_2=1e-5), NO_USE),
    "no CD": Case(cards(CD1_1=None, CD1_2=None, CD2_1=None, CD2_2=None), rf"{HDU}: .*(CD|scale|degenerate)"),
    # What is no number wcslib leaves out, and takes zero for it.
    "no CRVAL": Case(cards(CRVAL1=None, CRVAL2=None), rf"{HDU}: .*CRVAL1"),
    "NaN CRVAL": Case(text_card("CRVAL1", "NaN"), r"FILE, HDU 0.*: .*CRVAL1"),
    "NaN CRVAL as text": Case(cards(CRVAL1="NaN", CRVAL2="NaN"), rf"{HDU}: .*CRVAL1"),
    "infinite CRVAL": Case(text_card("CRVAL2", "1E400"), rf"{NO_USE}|{HDU}: .*CRVAL2"),
    "CRVAL2 off the sphere": Case(cards(CRVAL2=95.0), NO_USE),
    "text CRPIX": Case(cards(CRPIX1="unknown"), rf"{HDU}: .*CRPIX1"),
    "NaN CD": Case(text_card("CD1_1", "NaN"), r"FILE, HDU 0.*: .*CD1_1"),
    "tiny CD": Case(cards(CD1_1=1e-18, CD1_2=0.0, CD2_1=0.0, CD2_2=1e-18), NO_USE),
    "huge CD": Case(
        cards(CD1_1=5.0, CD1_2=0.0, CD2_1=0.0, CD2_2=5.0),
        rf"{NO_USE}|FILE, HDU 0 \(M1\): the (WCS puts detector 12|camera in .* only to)",
    ),
    "folded TPV": Case(cards(PV1_7=-3.7), NO_USE),
    "no image": Case(lambda path: fits.PrimaryHDU().writeto(path, overwrite=True), "FILE: .*It has no image"),
    "image without pixels": Case(empty_image, "FILE: .*It has no image"),
    "other detectors": Case(
        rewrite(["N1", "N2"], layout="multi"),
        r"FILE: no HDU is known to show detector 12 \(M1\)\. Its images are in HDUs 1 \(CCDNUM=3, EXTNAME='N1'\); "
        r"2 \(CCDNUM=4, EXTNAME='N2'\); expected one image, the id or name in one of CCDNUM",
    ),
    "cut in the header": Case(cut(1000), "FILE, HDU 0: .*header.*truncated"),
    "cut after the header": Case(
        cut(BLOCK), rf"FILE, HDU 0( \(M1\))?: the file is truncated, {DATA} of {BLOCK + DATA} bytes are missing"
    ),
    "cut in the data": Case(
        cut(BLOCK + 10**6), rf"FILE, HDU 0( \(M1\))?: the file is truncated, {DATA - 10**6} of {BLOCK + DATA} bytes"
    ),
    "cut in the second header": Case(cut_second_header, "FILE, HDU 2: .*truncated"),
    "cut gzip": Case(cut_gzip, "FILE, HDU 0: .*(truncated|damaged)|FILE cannot be read"),
    "empty": Case(write(b""), "FILE, HDU 0: .*(truncated|damaged|no FITS)"),
    "text": Case(write(b"No image here.\n" * 500), "FILE, HDU 0: .*no FITS"),
    "zeros": Case(write(bytes(4 * BLOCK)), "FILE, HDU 0: .*no FITS"),
    "SIMPLE only": Case(write(b"SIMPLE  =                    T".ljust(80)), "FILE, HDU 0: .*(truncated|damaged)"),
    "binary header": Case(write(b"SIMPLE  =                    T".ljust(80) + b"\xff" * 5680), "FILE, HDU 0: "),
    "gone": Case(Path.unlink, "There is no file FILE; restore it"),
    "folder": Case(replace_by_folder, "FILE"),
}


def prepare(tmp_path: Path, case: Case, *, recorded: bool = False) -> tuple[Butler, list[DimensionRecord], str]:
    """Make a repository with three exposures, of which the second has a bad raw; return what is said of it."""
    butler = make_repository(tmp_path / "repository")
    pointings = (ACROSS_RA_0, POINTING, AT_THE_POLE)
    exposures = [add_exposure(butler, n, p if recorded else None) for n, p in enumerate(pointings, start=1)]
    for exposure, pointing in zip(exposures, pointings, strict=True):
        (path,) = add_raws(butler, exposure, tmp_path, pointing, ["M1"])
        if exposure is exposures[1]:
            case.change(path)
            bad = path
    return butler, exposures, case.said.replace("FILE", rf"\S*{re.escape(bad.name)}")


def check_skipped(butler: Butler, exposures: list[DimensionRecord], result: Struct, said: str) -> None:
    (failure,) = result.failures
    assert failure.exposures == (exposures[1].id,)
    assert re.search(said, failure.reason), failure.reason
    assert (result.n_new, result.n_failed, result.n_off_sky) == (2, 1, 0)
    assert defined_visits(butler) == [exposures[0].id, exposures[2].id]


class Night(NamedTuple):
    """A repository with an exposure for each case, every other one good."""

    butler: Butler
    """It cannot write."""

    bad: dict[str, DimensionRecord]
    good: list[DimensionRecord]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    folder = tmp_path_factory.mktemp("night")
    butler = make_repository(folder / "repository")
    bad, good = {}, []
    for number, (name, case) in enumerate(CASES.items()):
        bad[name] = add_exposure(butler, 2 * number + 1)
        case.change(*add_raws(butler, bad[name], folder, POINTING, ["M1"]))
        good.append(add_exposure(butler, 2 * number + 2))
        add_raws(butler, good[-1], folder, POINTING, ["M1"])
    return Night(Butler.from_config(folder / "repository"), bad, good)


def said_of(case: Case, exposure: DimensionRecord) -> str:
    return case.said.replace("FILE", rf"\S*raw_{exposure.id}_M1\.fits")


ALGORITHMS = [("all-raw-wcs", {}), ("single-raw-wcs", {"wcsSource": "raw"})]


@pytest.mark.parametrize(("algorithm", "fields"), ALGORITHMS, ids=["all", "single"])
@pytest.mark.parametrize("name", CASES)
def test_bad_raw(night: Night, name: str, algorithm: str, fields: dict[str, str]) -> None:
    """An error that is one of ours and a `RuntimeError`, and nothing is written."""
    with pytest.raises(RuntimeError, match=said_of(CASES[name], night.bad[name])) as caught:
        region_task(night.butler, algorithm, **fields).compute(visit_of(night.bad[name]))
    assert isinstance(caught.value, VisitsError)


@pytest.mark.parametrize(("algorithm", "fields"), ALGORITHMS, ids=["all", "single"])
def test_bad_raws_are_left_out(night: Night, tmp_path: Path, algorithm: str, fields: dict[str, str]) -> None:
    """All others are defined, and each is reported with its reason."""
    shutil.copytree(root(night.butler), tmp_path / "repository")
    butler = Butler.from_config(tmp_path / "repository", writeable=True)
    exposures = [*night.good, *night.bad.values()]
    with pytest.raises(RawFileError, match=r"raw_\d+_M1\.fits"):
        define_task(butler, algorithm, **fields).run(exposures)
    assert not defined_visits(butler)
    result = define_task(butler, algorithm, **fields).run(exposures, on_error="skip")
    reasons = {failure.exposures: failure.reason for failure in result.failures}
    assert reasons.keys() == {(exposure.id,) for exposure in night.bad.values()}
    assert defined_visits(butler) == [exposure.id for exposure in night.good]
    for name, exposure in night.bad.items():
        assert re.search(said_of(CASES[name], exposure), reasons[exposure.id,]), reasons[exposure.id,]


@pytest.mark.parametrize("name", ["zero CD", "gone"])
def test_bad_raw_and_good_record(tmp_path: Path, name: str) -> None:
    """With auto nobody looks at the raws of exposures that know where they looked."""
    butler, exposures, _ = prepare(tmp_path, CASES[name], recorded=True)
    assert define_task(butler).run(exposures).n_new == 3


@pytest.mark.parametrize("name", ["no WCS", "zero CD", "gone"])
def test_bad_raw_and_no_record(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """With auto it is off the sky, and a warning says why."""
    butler, exposures, said = prepare(tmp_path, CASES[name])
    result = define_task(butler).run(exposures)
    assert (result.n_new, result.n_off_sky, result.n_failed) == (2, 1, 0)
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING" and "butler_visits" in r.name]
    assert len(warnings) == 1
    assert re.search(f"Exposure {exposures[1].id} .*{said}", warnings[0])


@pytest.mark.parametrize("missing", [1, 100, BLOCK - 1, BLOCK])
def test_only_the_padding_is_missing(tmp_path: Path, missing: int) -> None:
    """The last block's padding holds nothing: without it a file is whole; short of a byte of data it is not."""
    butler = make_repository(tmp_path / "repository", camera=None)
    exposure = add_exposure(butler, 1)
    (path,) = add_raws(butler, exposure, tmp_path, POINTING, ["M1"])
    padding = -DATA % BLOCK
    assert path.stat().st_size == BLOCK + DATA + padding
    cut(-missing)(path)
    task = region_task(butler, "all-raw-wcs")
    if missing <= padding:
        assert task.compute(visit_of(exposure))[1].keys() == {12}
    else:
        with pytest.raises(RawFileError, match=f"{path.name}, HDU 0.* truncated, {missing - padding} of "):
            task.compute(visit_of(exposure))


@pytest.mark.parametrize(("algorithm", "fields"), ALGORITHMS, ids=["all", "single"])
def test_a_dataset_without_a_file(tmp_path: Path, algorithm: str, fields: dict[str, str]) -> None:
    """The registry knows the raw, the datastore does not."""
    butler, exposures, _ = prepare(tmp_path, Case(lambda path: None, ""))
    refs = butler.query_datasets(
        "raw", f"{INSTRUMENT}/raw/all", where=f"exposure = {exposures[1].id}", instrument=INSTRUMENT
    )
    butler.pruneDatasets(refs, disassociate=False, unstore=True, purge=False)
    said = rf"The raw .*{exposures[1].id}.* of run {INSTRUMENT}/raw/all has no file in the datastore"
    with pytest.raises(RawFileError, match=said):
        define_task(butler, algorithm, **fields).run(exposures)
    result = define_task(butler, algorithm, **fields).run(exposures, on_error="skip")
    check_skipped(butler, exposures, result, said)


@pytest.mark.parametrize(("algorithm", "fields"), ALGORITHMS, ids=["all", "single"])
def test_no_raw(tmp_path: Path, algorithm: str, fields: dict[str, str]) -> None:
    """Of an exposure that has a pointing, and is not to take it from its record."""
    butler, exposures, _ = prepare(tmp_path, Case(lambda path: None, ""), recorded=True)
    refs = butler.query_datasets(
        "raw", f"{INSTRUMENT}/raw/all", where=f"exposure = {exposures[1].id}", instrument=INSTRUMENT
    )
    butler.pruneDatasets(refs, disassociate=True, unstore=True, purge=True)
    said = rf"Exposure {exposures[1].id} has no raw in {INSTRUMENT}/raw/all .*--collections"
    with pytest.raises(DefinitionError, match=said):
        define_task(butler, algorithm, **fields).run(exposures)
    result = define_task(butler, algorithm, **fields).run(exposures, on_error="skip")
    check_skipped(butler, exposures, result, said)


def test_a_repository_that_has_never_seen_a_raw(tmp_path: Path) -> None:
    """No raw, no run for raws, and not even the dataset type."""
    butler = make_repository(tmp_path / "repository")
    exposure = add_exposure(butler, 1, POINTING)
    for remove in (lambda: None, lambda: butler.registry.removeDatasetType("raw")):
        remove()
        with pytest.raises(DefinitionError, match=f"{exposure.id} has no raw in any collection"):
            define_task(butler, "all-raw-wcs").run([exposure])
        assert define_task(butler, "all-raw-wcs").run([exposure], on_error="skip").n_failed == 1
    assert define_task(butler).run([exposure]).n_new == 1


def test_one_bad_detector(tmp_path: Path) -> None:
    """A bad raw of ten takes the exposure with it: a region that lacks a detector would be wrong."""
    butler = make_repository(tmp_path / "repository", camera=None)
    exposures = [add_exposure(butler, number) for number in (1, 2)]
    paths = [add_raws(butler, exposure, tmp_path, POINTING) for exposure in exposures]
    bad = paths[1][NAMES.index("S1")]
    cut(10**6)(bad)
    result = define_task(butler, "all-raw-wcs").run(exposures, on_error="skip")
    assert defined_visits(butler) == [exposures[0].id]
    (failure,) = result.failures
    assert bad.name in failure.reason
    assert len(stored_regions(butler, exposures[0].id)[1]) == len(NAMES)


def test_many_bad_raws(tmp_path: Path) -> None:
    """A night of which half cannot be used, over several chunks."""
    butler = make_repository(tmp_path / "repository", camera=None)
    exposures = [add_exposure(butler, number) for number in range(1, 15)]
    for exposure in exposures:
        path = tmp_path / f"{exposure.id}.fits"
        write_raw(path, CAMERA, ["M1"], *POINTING[:3], "TPV")
        ingest(butler, exposure, path, ["M1"])
        if exposure.seq_num % 2:
            cut(10**6)(path)
    config = define_task(butler, "all-raw-wcs").config
    config.chunkSize = 4
    result = DefineVisitsTask(config, butler=butler).run(exposures, on_error="skip")
    assert sorted(failure.exposures for failure in result.failures) == [(e.id,) for e in exposures if e.seq_num % 2]
    assert defined_visits(butler) == [exposure.id for exposure in exposures if not exposure.seq_num % 2]


def test_read_raw_files(tmp_path: Path) -> None:
    """Errors come in the files' places and stop nothing."""
    good, bad, gone = tmp_path / "good.fits", tmp_path / "bad.fits", tmp_path / "gone.fits"
    write_raw(good, CAMERA, ["M1"], *POINTING[:3], "TPV")
    bad.write_text("no FITS")
    found = read_raw_files([gone, good, bad, good])
    assert [isinstance(one, RawFileError) for one in found] == [True, False, True, False]
    assert str(gone) in str(found[0])
    assert str(bad) in str(found[2])
    assert read_raw_files([]) == []


# The command line


@pytest.mark.parametrize("name", ["zero CD", "cut in the data", "gone"])
def test_command_line(tmp_path: Path, name: str) -> None:
    butler, exposures, said = prepare(tmp_path, CASES[name])
    arguments = (root(butler), INSTRUMENT, "-c", "computeVisitRegions.name=all-raw-wcs")
    result = define_visits(*arguments)
    assert result.exit_code == 1
    assert re.fullmatch(rf"Error: (Exposure {exposures[1].id}\W[^/]*)?{said}.*\n", result.stderr, re.DOTALL)
    assert "Traceback" not in result.output
    result = define_visits(*arguments, "--on-error", "skip")
    assert result.exit_code == 1
    assert re.search(rf"Failed: .*{exposures[1].id}.*{said}", result.stderr)
    assert "Error: 1 visit could not be defined." in result.stderr
    assert defined_visits(butler) == [exposures[0].id, exposures[2].id]


def test_program(tmp_path: Path) -> None:
    """As a user sees it, with nothing of the libraries' warnings in it."""
    butler, exposures, said = prepare(tmp_path, CASES["cut in the data"])
    (tmp_path / "config.py").write_text("config.computeVisitRegions['single-raw-wcs'].wcsSource = 'raw'\n")
    done = run_program("butler-visits", "define-visits", root(butler), INSTRUMENT, "-C", tmp_path / "config.py")
    assert done.returncode == 1
    *log, error = done.stderr.splitlines()
    assert re.match(rf"Error: (Exposure {exposures[1].id}\W[^/]*)?{said}", error)
    assert all(re.match(r"butler_visits\S* INFO: ", line) for line in log), log


@pytest.mark.parametrize(("algorithm", "fields"), [("single-raw-wcs", {"wcsSource": "raw"}), ("all-raw-wcs", {})])
def test_errors_that_are_forgotten(
    tmp_path: Path, algorithm: str, fields: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has failed is remembered for a minute; if that ends while it is looked at, it is still an error."""
    butler = make_repository(tmp_path / "repository")
    exposure = add_exposure(butler, 1)
    (path,) = add_raws(butler, exposure, tmp_path, names=NAMES[:1])
    path.write_bytes(b"no FITS file")
    clock = itertools.count(0, 61)
    monkeypatch.setattr("butler_visits.define.regions.raw_pointings.time.monotonic", lambda: float(next(clock)))
    task = region_task(butler, algorithm, **fields)
    for _ in range(3):
        with pytest.raises(RawFileError, match=f"Exposure {exposure.id}, detector"):
            task.compute(visit_of(exposure))
