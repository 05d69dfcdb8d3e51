"""The tutorial is true: its commands, run one after the other, print what it shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from pages import PROJECT, check_steps

pytestmark = pytest.mark.slow


def test_tutorial(tmp_path: Path) -> None:
    folder = tmp_path / "tutorial"
    folder.mkdir()
    (folder / "demo").symlink_to(PROJECT / "demo")
    assert check_steps(PROJECT / "docs" / "tutorial.md", folder) > 20
    assert (folder / "camera.png").stat().st_size > 10_000
