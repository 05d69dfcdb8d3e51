"""Tables whose headers promise what is not there: an error that names the file, before a library believes them."""

from __future__ import annotations

import gzip
import string
from pathlib import Path

import pytest
from astropy.table import Table

from butler_visits.errors import IngestError
from butler_visits.ingest.table_files import read_table


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"NAXIS2  =                    2", b"NAXIS2  =          99999999999", "truncated"),
        (b"NAXIS   =                    2", b"NAXIS   =          99999999999", "NAXIS is 99999999999"),
        (b"TFIELDS =                    1", b"TFIELDS =           1000000000", "TFIELDS is 1000000000"),
    ],
)
def test_fits(tmp_path: Path, packed: bool, old: bytes, new: bytes, said: str) -> None:
    path = tmp_path / ("table.fits.gz" if packed else "table.fits")
    Table({"exposure_id": [1, 2]}).write(tmp_path / "whole.fits")
    content = (tmp_path / "whole.fits").read_bytes()
    assert old in content
    content = content.replace(old, new)
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(IngestError, match=rf"{path.name} cannot be read: .*({said}|larger|unpacked)"):
        read_table(path)


def test_ecsv_with_merge_keys_of_merge_keys(tmp_path: Path) -> None:
    """Twenty lines of YAML that PyYAML would take years and terabytes for."""
    lines = ["a: &a {x: 1}"]
    for one, other in zip(string.ascii_lowercase[1:20], string.ascii_lowercase, strict=False):
        lines.append(f"{one}: &{one} {{<<: [{', '.join([f'*{other}'] * 10)}]}}")
    path = tmp_path / "table.ecsv"
    Table({"exposure_id": [1, 2]}).write(path)
    text = path.read_text()
    meta = "# meta:\n" + "".join(f"#   {line}\n" for line in lines)
    path.write_text(text.replace("# schema:", f"{meta}# schema:"))
    with pytest.raises(IngestError, match=r"table\.ecsv cannot be read: ValueError: .* has millions of values"):
        read_table(path)
