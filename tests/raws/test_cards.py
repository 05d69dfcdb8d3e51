"""Headers with damaged cards."""

from __future__ import annotations

import pytest

from butler_visits.raws.cards import MergedHeader, RawHeader
from raw_files import warnings_of


def header(*cards: str) -> RawHeader:
    """Make a header of cards as they stand in a file."""
    lines = [f"{card:80}" for card in ("SIMPLE  =                    T", *cards, "END")]
    made = RawHeader.fromstring("".join(lines).encode("latin-1"))
    made.label = "a.fits, HDU 0"
    return made


@pytest.mark.parametrize(
    ("card", "value"),
    [
        ("EXPTIME =               3.0D1", 30.0),
        ("exptime =                30.0", 30.0),
        ("EXPTIME = 30.0/sec", 30.0),
        ("EXPTIME = 30.0 / caf\xe9", 30.0),
        ("HIERARCH EXPTIME=30.0", 30.0),
        ("EXPTIME = 'a''b'", "a'b"),
        ("EXPTIME = 'a&'", "a&"),
        ("EXPTIME = T", True),
    ],
)
def test_readable(card: str, value: object, caplog: pytest.LogCaptureFixture) -> None:
    found = header(card)
    assert "EXPTIME" in found
    assert found["EXPTIME"] == found.get("exptime") == value
    assert not warnings_of(caplog)


@pytest.mark.parametrize("text", ["-0", "-00", "- 0", "-0.0"])
def test_the_sign_of_zero(text: str) -> None:
    """Of degrees whose minutes are in another card."""
    assert str(header(f"DECDEG  = {text:>20} / degrees")["DECDEG"]) == "-0.0"
    assert str(header("DECDEG  = 0 / degrees -0")["DECDEG"]) == "0"


@pytest.mark.parametrize(
    ("cards", "text"),
    [
        (["EXPTIME =                 30,0 / sec"], "'30,0'"),
        (["EXPTIME = 'M 31"], '"\'M 31"'),
        (["EXPTIME = 'M\0'"], r'"' + r"'M\x00'" + '"'),
        (["EXPTIME = 'M\xfcnch'"], "\"'Münch'\""),
        (["EXPTIME = " + "'" + 69 * "x"], "xxx"),
        (["EXPTIME = 'a&'", "CONTINUE  'b"], "'a&'"),
        (["EXPTIME = 'a&'", "CONTINUE"], "'a&'"),
        (["EXPTIME   30.0"], "'30.0'"),
        (["EXPTIME =30.0"], "'30.0'"),
        (["EXPTIME =\t30.0"], "'30.0'"),
        (["EXPTIME = 1 000.0"], "'1 000.0'"),
        (["EXPTIME = 30.0 sec"], "'30.0 sec'"),
        (["EXPTIME = 1_0"], "'1_0'"),
        (["EXPTIME = inf"], "'inf'"),
        (["EXPTIME = 2024-05-06"], "'2024-05-06'"),
    ],
)
def test_unreadable(cards: list[str], text: str, caplog: pytest.LogCaptureFixture) -> None:
    """They count as missing, and one warning says so."""
    found = MergedHeader({}, header("OBJECT  = 'M 1'"), header(*cards))
    for _ in range(2):
        assert "EXPTIME" not in found
        assert found.get("EXPTIME", 5) == 5
        with pytest.raises(KeyError):
            found["EXPTIME"]
    (problem,) = found.problems.values()
    assert problem.startswith("card EXPTIME cannot be read: ")
    assert text.strip("'\"") in problem.replace("\\'", "'")
    assert warnings_of(caplog) == [f"a.fits, HDU 0: {problem}; it counts as missing."]
    assert found["OBJECT"] == "M 1"


@pytest.mark.parametrize("text", ["nan", "NaN", "N/A", "UNKNOWN", "-", "", "/ a comment", "##:##:##"])
def test_no_value(text: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is not worth a warning where a card without quotes says that it has none."""
    assert header(f"EXPTIME = {text}").get("EXPTIME") is None
    assert not warnings_of(caplog)


def test_the_first_hdu_has_what_another_one_has_damaged(caplog: pytest.LogCaptureFixture) -> None:
    found = MergedHeader({}, header("EXPTIME = 3,0"), header("EXPTIME = 4.0"))
    assert (found["EXPTIME"], found.problems) == (4.0, {})
    assert "3,0" in warnings_of(caplog)[0]


@pytest.mark.parametrize(
    ("cards", "counts"),
    [
        (["EXPTIME = 30", "EXPTIME = 30"], True),
        (["EXPTIME = 30", "EXPTIME = 60"], False),
        (["EXPTIME = 30", "EXPTIME = 3,0"], False),
        (["EXPTIME = 3,0", "EXPTIME = 30"], False),
    ],
)
def test_repeated_cards(cards: list[str], counts: bool) -> None:
    found = MergedHeader({}, header(*cards))
    found.refuse_repeated("EXPTIME")
    assert found.get("EXPTIME") == (30 if counts else None)
    assert bool(found.problems) is not counts
