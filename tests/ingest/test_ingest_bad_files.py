"""Folders with files that cannot be ingested: the others go in, and each bad one is reported with its reason."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits
from lsst.daf.butler import Butler

from butler_visits.errors import IngestError, RawFileError
from butler_visits.ingest import ingest_raws
from butler_visits.ingest.datasets import TransferMode
from ingest_helpers import DESCRIPTION, reasons, records, run_command, science, stored, summary
from simulated_raws import describe, raw_header, write_raws
from templates import make_repository


@pytest.fixture
def butler(tmp_path: Path) -> Butler:
    """Create an empty repository."""
    return make_repository(tmp_path / "repository")


def make_bad_folder(folder: Path) -> tuple[list[Path], list[str]]:
    """Write four good raws and one bad file of each kind; return the good files and the names of the bad ones."""
    good = write_raws(folder / "night1", science(4))
    bad = folder / "night2"
    bad.mkdir()
    (bad / "text.fits").write_text("Clouds from 23:40 on.\n")
    (bad / "empty.fits").touch()
    content = good[0].read_bytes()
    (bad / "truncated.fits").write_bytes(content[:-2000])
    (bad / "truncated_header.fits").write_bytes(content[:3000])
    header = fits.Header({"TELESCOP": "Elsewhere 1 m", "INSTRUME": "WhoCam"})
    fits.PrimaryHDU(np.zeros((4, 4), dtype=np.int16), header).writeto(bad / "unknown.fits")
    fits.PrimaryHDU(header=raw_header(science(5)[4])).writeto(bad / "no_image.fits")
    shutil.copy(good[1], bad / "duplicate.fits")
    incomplete = fits.PrimaryHDU(np.zeros((4, 4), dtype=np.int16), raw_header(science(6)[5]))
    incomplete.header["CCDNUM"] = 0
    del incomplete.header["EXPID"]
    incomplete.writeto(bad / "no_id.fits")
    (bad / "gone.fits").symlink_to(bad / "nowhere.fits")
    (bad / "notes.txt").write_text("No raw, and not asked for.\n")
    return good, sorted(path.name for path in bad.iterdir() if path.suffix == ".fits")


def test_bad_folder(butler: Butler, tmp_path: Path) -> None:
    good, bad = make_bad_folder(tmp_path / "raw")
    result = ingest_raws(butler, [tmp_path / "raw"], instrument=DESCRIPTION, on_error="skip")
    assert summary(result) == (len(good) + len(bad), len(good), 0, len(bad), len(good), len(good))
    why = reasons(result, bad)
    for name, reason in why.items():
        assert str(tmp_path / "raw" / "night2" / name) in reason
        assert "Traceback" not in reason
    assert "no FITS file" in why["text.fits"]
    assert "damaged or no FITS file" in why["empty.fits"]
    assert "truncated" in why["truncated.fits"]
    assert "truncated" in why["truncated_header.fits"]
    assert "WhoCam" in why["unknown.fits"]
    assert "there is no image" in why["no_image.fits"]
    assert "exposure_id" in why["no_id.fits"]
    assert "EXPID" in why["no_id.fits"]
    assert str(good[1]) in why["duplicate.fits"]
    assert "leave one of them out" in why["duplicate.fits"]
    assert "There is no file" in why["gone.fits"]
    clean = make_repository(tmp_path / "clean")
    ingest_raws(clean, good, instrument=DESCRIPTION)
    assert stored(butler) == stored(clean)
    # Once more, it is all the same.
    again = ingest_raws(butler, [tmp_path / "raw"], instrument=DESCRIPTION, on_error="skip")
    assert summary(again) == (len(good) + len(bad), 0, len(good), len(bad), 0, 0)
    assert [str(one) for one in again.failures] == [str(one) for one in result.failures]


def test_bad_folder_on_the_command_line(tmp_path: Path) -> None:
    good, bad = make_bad_folder(tmp_path / "raw")
    (tmp_path / "simcam.yaml").write_text(yaml.safe_dump(describe()))
    arguments = ("ingest", tmp_path / "repo", tmp_path / "raw", "--instrument", tmp_path / "simcam.yaml")
    result = run_command(*arguments, "--on-error", "skip")
    assert result.exit_code == 1
    assert f"{len(good) + len(bad)} files: {len(good)} ingested" in result.stdout
    assert result.stderr.count("Failed: ") == len(bad)
    assert f"Error: {len(bad)} files could not be ingested." in result.stderr
    result = run_command(*arguments)
    assert result.exit_code == 1
    assert "Traceback" not in result.stderr
    assert result.stderr.startswith(f"Error: {tmp_path / 'raw' / 'night2'}")


def test_nothing_of_a_batch_is_written_if_one_fails(butler: Butler, tmp_path: Path) -> None:
    good, _ = make_bad_folder(tmp_path / "raw")
    with pytest.raises((IngestError, RawFileError)):
        ingest_raws(butler, [tmp_path / "raw"], instrument=DESCRIPTION)
    assert not records(butler, "exposure")
    with pytest.raises((IngestError, RawFileError)):
        ingest_raws(butler, [tmp_path / "raw"], instrument=DESCRIPTION, batch_size=3)
    assert len(records(butler, "exposure")) == 3
    ingest_raws(butler, good, instrument=DESCRIPTION)
    assert len(records(butler, "exposure")) == 4


def test_a_file_without_permission(butler: Butler, tmp_path: Path) -> None:
    _, second = write_raws(tmp_path / "raw", science(2))
    second.chmod(0)
    if os.access(second, os.R_OK):
        pytest.skip("this user can read every file")
    result = ingest_raws(butler, [tmp_path / "raw"], instrument=DESCRIPTION, on_error="skip")
    assert summary(result) == (2, 1, 0, 1, 1, 1)
    assert str(result.failures[0]) == f"The file {second} cannot be read: permission denied."


def test_files_that_a_user_cannot_read(request: pytest.FixtureRequest) -> None:
    """The same for root, who can give that right up for a while."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    # Other users cannot enter pytest's own folders.
    top = Path(tempfile.mkdtemp())
    request.addfinalizer(lambda: shutil.rmtree(top))
    first, second = write_raws(top / "raw", science(2))
    folder = top / "raw" / "closed"
    folder.mkdir()
    butler = make_repository(top / "repository")
    for path in [top, *top.rglob("*")]:
        os.chown(path, 65534, 65534)
    second.chmod(0)
    folder.chmod(0)
    os.seteuid(65534)
    try:
        if not os.access(first, os.R_OK, effective_ids=True):
            pytest.skip(f"other users cannot enter {top.parent}")
        result = ingest_raws(butler, [top / "raw"], instrument=DESCRIPTION, on_error="skip")
    finally:
        os.seteuid(0)
    assert summary(result)[:4] == (2, 1, 0, 2)
    assert {str(one) for one in result.failures} == {
        f"The file {second} cannot be read: permission denied.",
        f"The folder {folder} cannot be searched: Permission denied.",
    }


def test_duplicates_are_found_in_any_batch(butler: Butler, tmp_path: Path) -> None:
    files = write_raws(tmp_path / "raw", science(3), detectors=(0, 1))
    shutil.copytree(tmp_path / "raw", tmp_path / "again")
    result = ingest_raws(
        butler, [tmp_path / "raw", tmp_path / "again"], instrument=DESCRIPTION, batch_size=2, on_error="skip"
    )
    assert summary(result) == (12, 6, 0, 6, 6, 3)
    assert all("leave one of them out" in str(one) for one in result.failures)
    # Another day, the repository knows the first file.
    with pytest.raises(IngestError) as error:
        ingest_raws(butler, [tmp_path / "again"], instrument=DESCRIPTION)
    assert str(files[0]) in str(error.value)
    assert str(tmp_path / "again" / files[0].name) in str(error.value)


def test_duplicates_of_a_bad_file_go_in(butler: Butler, tmp_path: Path) -> None:
    _, second, _ = write_raws(tmp_path / "raw", science(1), detectors=(0, 1, 2))
    shutil.copy(second, tmp_path / "raw" / "zz.fits")
    fits.setval(second, "OBJECT", value="another")
    result = ingest_raws(butler, [tmp_path / "raw"], instrument=DESCRIPTION, on_error="skip")
    assert summary(result) == (4, 3, 0, 1, 3, 1)
    assert str(second) in str(result.failures[0])


def test_the_same_file_twice_is_one(butler: Butler, tmp_path: Path) -> None:
    files = write_raws(tmp_path / "raw", science(2))
    result = ingest_raws(butler, [files[1], tmp_path / "raw", files[0]], instrument=DESCRIPTION)
    assert summary(result) == (2, 2, 0, 0, 2, 2)


def test_places_with_nothing(butler: Butler, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(IngestError, match=r"There are no FITS files in folder .*empty; expected names that end in"):
        ingest_raws(butler, [tmp_path / "empty"], instrument=DESCRIPTION)
    with pytest.raises(IngestError, match=r"There is no file or folder .*missing"):
        ingest_raws(butler, [tmp_path / "missing"], instrument=DESCRIPTION)


@pytest.mark.parametrize("transfer", ["direct", "copy"])
def test_names_of_files(butler: Butler, tmp_path: Path, transfer: TransferMode) -> None:
    """A disk has any bytes but the slash in them; a name that is no text is refused, and stops nothing."""
    names = ["a b", "a#b", "a%20b", "a?b", "$HOME", "${HOME}b", "~", "~root", "-", "s3:x", "é", "a\nb", "a\x1b[31m"]
    folder = tmp_path / "raw"
    for exposure, name in zip(science(len(names)), names, strict=True):
        (file,) = write_raws(tmp_path / "made", [exposure])
        folder.mkdir(exist_ok=True)
        file.rename(folder / f"{name}.fits")
    (file,) = write_raws(tmp_path / "made", science(len(names) + 1)[-1:])
    os.rename(file, os.fsencode(folder) + b"/a\xff.fits")
    result = ingest_raws(butler, [folder], instrument=DESCRIPTION, on_error="skip", transfer=transfer)
    assert (result.n_ingested, result.n_failed) == (len(names), 1), result.failures
    (failure,) = result.failures
    assert "its name is not in UTF-8; rename it" in str(failure)
    assert all(uri for *_, uri in stored(butler)["raw"])


def test_what_a_folder_is_searched_for(butler: Butler, tmp_path: Path) -> None:
    exposures = science(4)
    names = ["a.fit", "deep/er/b.FTS", "c.Fits", "d.dat"]
    for exposure, name in zip(exposures, names, strict=True):
        (file,) = write_raws(tmp_path / "made", [exposure])
        target = tmp_path / "raw" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        file.rename(target)
    result = ingest_raws(butler, [tmp_path / "raw"], instrument=DESCRIPTION)
    assert result.n_ingested == 3
    # A file that is named is taken, whatever it is called.
    result = ingest_raws(butler, [tmp_path / "raw" / "d.dat"], instrument=DESCRIPTION, transfer="copy")
    assert result.n_ingested == 1


def test_a_filter_that_is_not_described(butler: Butler, tmp_path: Path) -> None:
    first, _ = write_raws(tmp_path / "raw", science(2))
    fits.setval(first, "FILTER", value="clear")
    result = ingest_raws(butler, [tmp_path / "raw"], instrument=DESCRIPTION, on_error="skip")
    assert summary(result) == (2, 1, 0, 1, 1, 1)
    assert "physical_filter" in str(result.failures[0])
    assert "clear" in str(result.failures[0])


def test_a_detector_with_the_name_of_another(tmp_path: Path, golden: Path) -> None:
    from astro_metadata_translator.tests import read_test_file
    from test_ingest_headers import write_header

    header = read_test_file(golden / "headers" / "fitsheader-decam.yaml")
    write_header(header, tmp_path / "a.fits")
    write_header({**header, "EXPNUM": 229389, "OBSID": "other", "CCDNUM": 26}, tmp_path / "b.fits")
    butler = make_repository(tmp_path / "repository")
    with pytest.raises(IngestError, match="Detector 26 of DECam is called 'S1', which is the name of detector 25"):
        ingest_raws(butler, [tmp_path / "a.fits", tmp_path / "b.fits"])
    result = ingest_raws(butler, [tmp_path / "a.fits", tmp_path / "b.fits"], on_error="skip")
    assert summary(result) == (2, 1, 0, 1, 1, 1)
    # Focus detectors take no images of the sky.
    write_header({**header, "EXPNUM": 229390, "OBSID": "focus", "CCDNUM": 63, "DETPOS": "FS1"}, tmp_path / "c.fits")
    with pytest.raises(IngestError, match="detector 63 is none of DECam's imaging detectors, which end with 62"):
        ingest_raws(butler, [tmp_path / "c.fits"])
