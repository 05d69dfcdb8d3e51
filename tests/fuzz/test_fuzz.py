"""A few hundred damaged files of each format; `make fuzz` reads ten thousand."""

from __future__ import annotations

import pytest

import run
from damage import damage
from formats import FORMATS

INPUTS = 400
"""Of all formats together."""


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files(name: str, golden: object) -> None:
    """Each is read, or refused with a message for a user; no traceback, crash, hang or flood."""
    count = run.inputs_of(name, INPUTS)
    counts, faults = run.find_faults(name, range(run.FIRST, run.FIRST + count))
    assert not faults, "\n".join(faults)
    assert counts.total() == count
    # Damage that nothing survives, and damage that does none, would test nothing.
    assert counts["read"]
    assert counts["refused"]


def test_damage_is_the_same_for_a_seed() -> None:
    content = b"SIMPLE  =                    T".ljust(80) * 10
    for is_text in (False, True):
        some = [damage(content, seed, is_text=is_text) for seed in range(100)]
        assert some == [damage(content, seed, is_text=is_text) for seed in range(100)]
        assert len({one for one in some if one != content}) > 80
