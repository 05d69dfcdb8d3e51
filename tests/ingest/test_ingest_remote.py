"""Raw files, descriptions and tables that are not on a disk of this computer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from butler_visits.errors import IngestError, RawFileError
from butler_visits.ingest import ingest_raws, ingest_table
from ingest_helpers import DESCRIPTION, RUN, science, stored, summary
from simulated_raws import describe, write_raws
from simulated_survey import INSTRUMENT
from templates import make_repository

pytest.importorskip("moto")
boto3 = pytest.importorskip("boto3")
BUCKET = "nights"


@pytest.fixture
def upload() -> Iterator[Any]:
    """Return a client for a bucket in memory."""
    from lsst.resources.s3utils import clean_test_environment_for_s3
    from moto import mock_aws

    # Clients are remembered, also those of tests that had no credentials.
    with clean_test_environment_for_s3(), mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET)
        yield client


def test_remote_files(upload: Any, tmp_path: Path) -> None:
    files = write_raws(tmp_path / "raw", science(3), detectors=(0, 1), in_one_file=True)
    for file in files:
        upload.upload_file(str(file), BUCKET, f"2026/april/{file.name}")
    upload.put_object(Bucket=BUCKET, Key="2026/notes.txt", Body=b"Clouds")
    upload.put_object(Bucket=BUCKET, Key="simcam.yaml", Body=yaml.safe_dump(describe()).encode())
    folder = f"s3://{BUCKET}/2026/"
    for transfer in ("direct", "copy"):
        butler = make_repository(tmp_path / transfer)
        result = ingest_raws(butler, [folder], instrument=f"s3://{BUCKET}/simcam.yaml", transfer=transfer)
        assert summary(result) == (3, 3, 0, 0, 6, 3)
        with butler.query() as query:
            uris = {str(butler.getURI(ref)) for ref in query.datasets("raw", RUN)}
        assert all(uri.startswith(folder) for uri in uris) == (transfer == "direct")
        assert all(there for *_, there in stored(butler)["raw"])
        assert summary(ingest_raws(butler, [folder], transfer=transfer)) == (3, 0, 3, 0, 0, 0)
    result = ingest_raws(butler, [f"s3://{BUCKET}/missing.fits"], on_error="skip")
    assert summary(result) == (1, 0, 0, 1, 0, 0)
    assert f"s3://{BUCKET}/missing.fits" in str(result.failures[0])


def test_remote_files_cannot_be_linked(upload: Any, tmp_path: Path) -> None:
    (file,) = write_raws(tmp_path / "raw", science(1))
    upload.upload_file(str(file), BUCKET, file.name)
    butler = make_repository(tmp_path / "repository")
    result = ingest_raws(
        butler, [f"s3://{BUCKET}/{file.name}"], instrument=DESCRIPTION, transfer="symlink", on_error="skip"
    )
    assert summary(result) == (1, 0, 0, 1, 0, 0)
    assert not stored(butler)["exposure"]


def test_remote_files_can_be_moved(upload: Any, tmp_path: Path) -> None:
    (file,) = write_raws(tmp_path / "raw", science(1))
    upload.upload_file(str(file), BUCKET, file.name)
    butler = make_repository(tmp_path / "repository")
    ingest_raws(butler, [f"s3://{BUCKET}/{file.name}"], instrument=DESCRIPTION, transfer="move")
    assert "Contents" not in upload.list_objects_v2(Bucket=BUCKET)
    assert all(there for *_, there in stored(butler)["raw"])


def test_remote_table(upload: Any, tmp_path: Path) -> None:
    content = b"exposure_id,mjd,filter\n1,61131.9,g\n"
    upload.put_object(Bucket=BUCKET, Key="log.csv", Body=content)
    butler = make_repository(tmp_path / "repository")
    assert ingest_table(butler, f"s3://{BUCKET}/log.csv", INSTRUMENT).n_ingested == 1
    with pytest.raises(IngestError, match=r"There is no table s3://nights/other\.csv"):
        ingest_table(butler, f"s3://{BUCKET}/other.csv", INSTRUMENT)


def test_store_without_credentials(upload: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether another process has moved the file cannot be asked either."""
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(key)
    butler = make_repository(tmp_path / "repository")
    with pytest.raises(RawFileError, match=r"The file s3://nights/raw\.fits cannot be read: "):
        ingest_raws(butler, [f"s3://{BUCKET}/raw.fits"], instrument=DESCRIPTION, transfer="move")
