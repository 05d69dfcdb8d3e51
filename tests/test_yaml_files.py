"""YAML of plain values: what PyYAML makes of anything else is an error that names the key."""

from __future__ import annotations

import re
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from butler_visits.yaml_files import DEEPEST, load_yaml

_TEN = ",".join


def bomb(levels: int, entry: str = "[{}]") -> str:
    """Write lists that each have the one before ten times."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]" if entry == "[{}]" else "a: &a {x: 1}"]
    for one, other in zip(string.ascii_lowercase[1:levels], string.ascii_lowercase, strict=False):
        lines.append(f"{one}: &{one} " + entry.format(",".join([f"*{other}"] * 10)))
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("serial: 2026-13-45", {"serial": "2026-13-45"}),
        ("serial: 2026-04-01", {"serial": "2026-04-01"}),
        ("time: 2026-04-01 12:30:00", {"time": "2026-04-01 12:30:00"}),
        ("a: =", {"a": "="}),
        ("a: 1_000\nb: 0x10\nc: 1.5\nd: yes\ne: ~", {"a": 1000, "b": 16, "c": 1.5, "d": True, "e": None}),
        ("a: [1e-8, -2E3, +.5e7, 3.e+1, 1.5e8]", {"a": [1e-8, -2000.0, 5e6, 30.0, 1.5e8]}),
        ("a: ['1e-8', \"2e3\", 1e-8x, e5, 1e5_0, 1e9999]", {"a": ["1e-8", "2e3", "1e-8x", "e5", "1e5_0", "1e9999"]}),
        ("1E5: 1E5", {"1E5": 1e5}),
        # What YAML 1.1 takes for octal and for a count of sixtieths, and its successor and most people do not.
        ("a: [010, -017, +0_10, 00, 07, 10, 0.10, 010.5]", {"a": ["010", "-017", "+0_10", 0, 7, 10, 0.1, 10.5]}),
        ("a: [0:30, -1:30, -70:44:58.5, 190:20:30.]", {"a": ["0:30", "-1:30", "-70:44:58.5", "190:20:30."]}),
        # Keys are names.
        (
            "{01: a, 010: b, 0x10: c, 1.50: d, 1:30: e, ~: f}",
            {"01": "a", "010": "b", "0x10": "c", "1.50": "d", "1:30": "e", "~": "f"},
        ),
        ("{on: a, No: b, true: c, 'false': d}", {"on": "a", "No": "b", True: "c", "false": "d"}),
        ("a: &a {x: 1}\nb: {<<: *a, y: 2}", {"a": {"x": 1}, "b": {"x": 1, "y": 2}}),
        ("a: {y: 2, <<: {x: 1, y: 3}}", {"a": {"x": 1, "y": 2}}),
        ("a: {<<: [{x: 1}, {x: 2, y: 3}]}", {"a": {"x": 1, "y": 3}}),
        ("a: <<", {"a": "<<"}),
        ("", None),
    ],
)
def test_plain_values(text: str, value: Any) -> None:
    assert load_yaml(text) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: !!int x", r"^name is 'x', which cannot be read as 'int'$"),
        ("a: {b: [1, !!float x]}", r"^a\.b\.1 is 'x'"),
        ("a: !!timestamp 2026-13-45", r"^a is '2026-13-45', which cannot be read as 'timestamp'"),
        ("a: !!binary x", r"^a is 'x', which cannot be read as 'binary'"),
        ("a: !!bool maybe", r"^a is 'maybe'"),
        ("a: " + "9" * 400, r"^a is '999.* … 9+', a number of too many digits$"),
        ("a: " + "9" * 5000, r"^a is '999.* … 9+'"),
        ("a: 0x" + "f" * 5000, r"^a is '0xfff.*', a number of too many digits"),
        ("a: !!python/object/apply:os.abort []", r"^a has the tag 'tag:yaml.org,2002:python/object/apply:os.abort'"),
        ("a: !!python/name:os.abort", r"^a is ''"),
        ("a: !ours {b: 1}", r"^a has the tag '!ours'"),
        ("a: &a [*a]", r"^a\.0 contains itself"),
        ("a: &a {b: {c: *a}}", r"^a\.b\.c contains itself"),
        ("a: {b: 1, c: 2, b: 3}", r"^a: the key b is there twice, the second time in line 1"),
        (bomb(9), r" has millions of values, which its aliases repeat"),
        (bomb(9, "{{<<: [{}]}}"), r" has millions of values, which its aliases repeat"),
        ("a: " + "[" * 900 + "]" * 900, rf" is in more than {DEEPEST} lists and mappings"),
        ("[" * 100_000, "depth|lists and mappings"),
        ("a: {1: b, 0x1: c}", "^a: the key 0x1 is there twice"),
        ("a: {!!int x: b}", r"^a\.x is 'x', which cannot be read as 'int'"),
        ("? [a]\n: b", "^the file has a key that is a list or a mapping"),
        ("a: {<<: 3}", r"^a\.<< must be a mapping or a list of mappings"),
        ("a: {<<: [{b: 1}, 2]}", r"^a\.<< must be a mapping or a list of mappings"),
        ("a: !!set {b}", r"^a has the tag 'tag:yaml.org,2002:set'"),
        ("a: {!ours b: 1}", r"^a\.b is 'b', which cannot be read as"),
        ("a: \0", "control characters"),
        ("a: [1", "line 1"),
        ("--- a\n--- b", "single document"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        load_yaml(text)
    assert len(str(error.value)) < 350
    assert "\n" not in str(error.value)


def test_bytes_that_are_no_text() -> None:
    for content in (b"\xff\xfe\x00", b"a: \xc9", bytes(100)):
        with pytest.raises(ValueError):
            load_yaml(content)


_TEXTS = st.text().filter(lambda text: not re.match(r"[-+.]?\d[\d.]*[eE]", text))
"""PyYAML writes a text such as 1e-8 without quotes."""

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | _TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(_VALUES)
def test_what_is_written_is_read(value: Any) -> None:
    import yaml

    assert load_yaml(yaml.safe_dump(value)) == value
