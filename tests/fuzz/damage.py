"""Damage to contents of files: random, and the same for the same seed."""

from __future__ import annotations

import random
import re

_CARD = 80
_CARDS = re.compile(rb"[A-Z][A-Z0-9_-]{0,7} *= ")
_NUMBER = re.compile(rb"-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")
_ODD_NUMBERS = (
    *(b"0", b"-1", b"1", b"2147483648", b"99999999999", b"-9223372036854775809", b"9" * 30, b"9" * 400, b"9" * 5000),
    *(b"1e300", b"-1.0e+308", b"1.0e-320", b"1e400", b".nan", b"nan", b"-.inf", b"inf", b"0x" + b"f" * 300, b"1:59:59"),
)
_ODD_TEXTS = (
    *(b"''", b"'", b'"', b"\0", b"\xff\xfe", b"\x1b[31m", "é\u202e".encode(), b"x" * 100_000, b"2026-13-45", b"=1+1"),
    *(b"!!int x", b"!!timestamp 2026-13-45", b"!!python/object/apply:os.abort []", b"!!binary x", b"*a", b"&a [*a]"),
    *(b"[" * 2000, b"{a: " * 2000, b"<<: 3", b"{}", b"[]", b"[[], [[]]]", b"~", b"- - -", b"? [a]", b"- !!set {a, b}"),
)
_ODD_CARDS = (
    *(b"T", b"F", b"'text'", b"'unterminated", b"30,0", b"(1.0, 2.0)", b"99999999999", b"-1", b"1E400", b"NaN", b"0"),
    *(
        b"1D-400",
        b"'12:00:00.0'",
        b"''",
        b"'" + b"x" * 68,
        b"\0\0\0",
        b"\xff" * 9,
        b"2026-13-45",
        b"1.5",
        b"'RA---XYZ'",
    ),
    *(b"'[1:0,99999999999:-1]'", b"'1.0.0'", b"+", b"/", b"'a&'"),
)


def damage(content: bytes, seed: int, *, is_text: bool) -> bytes:
    """Change a content: half of the time by a single byte, as a disk or a network would."""
    chance = random.Random(seed)
    if chance.random() < 0.5:
        return _byte(content, chance)
    ways = [_byte, _bytes, _cut, _repeat, *((_number, _text, _line) if is_text else (_card, _card, _card, _number))]
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        content = chance.choice(ways)(content, chance) or b" "
    return content


def _byte(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content))
    # Half of them where a file says what the rest of it is.
    if chance.random() < 0.5 and (cards := [match.start() for match in _CARDS.finditer(content)]):
        at = min(chance.choice(cards) + chance.randrange(31), len(content) - 1)
    value = chance.choice((chance.randrange(256), chance.randrange(32, 127), content[at] ^ 1 << chance.randrange(8)))
    return content[:at] + bytes([value]) + content[at + 1 :]


def _bytes(content: bytes, chance: random.Random) -> bytes:
    for _ in range(chance.choice((2, 8, 100))):
        content = _byte(content, chance)
    return content


def _cut(content: bytes, chance: random.Random) -> bytes:
    begin = chance.randrange(len(content))
    return content[:begin] + content[begin + chance.choice((1, 80, 2880, len(content))) :]


def _repeat(content: bytes, chance: random.Random) -> bytes:
    begin = chance.randrange(len(content))
    part = content[begin : begin + chance.choice((1, 80, 2880, 50_000))]
    return content[:begin] + part * chance.choice((2, 3, 20)) + content[begin:]


def _card(content: bytes, chance: random.Random) -> bytes:
    """Replace the value of a card, or put the card of one keyword where another one is."""
    places = [match.start() for match in _CARDS.finditer(content)]
    if not places:
        return _byte(content, chance)
    at = chance.choice(places)
    if chance.random() < 0.2:
        other = chance.choice(places)
        return content[:at] + content[other : other + _CARD] + content[at + _CARD :]
    value = chance.choice(_ODD_CARDS)[:70]
    return content[: at + 10] + value.ljust(70) + content[at + _CARD :]


def _number(content: bytes, chance: random.Random) -> bytes:
    numbers = list(_NUMBER.finditer(content))
    if not numbers:
        return _byte(content, chance)
    number = chance.choice(numbers)
    return content[: number.start()] + chance.choice(_ODD_NUMBERS) + content[number.end() :]


def _text(content: bytes, chance: random.Random) -> bytes:
    words = list(re.finditer(rb"[A-Za-z_]\w*", content))
    if not words:
        return _byte(content, chance)
    word = chance.choice(words)
    return content[: word.start()] + chance.choice(_ODD_TEXTS) + content[word.end() :]


def _line(content: bytes, chance: random.Random) -> bytes:
    lines = content.split(b"\n")
    at = chance.randrange(len(lines))
    other = chance.choice(lines)
    lines[at : at + 1] = chance.choice(
        ([], [other], [lines[at], other], [b"  " + lines[at]], [chance.choice(_ODD_TEXTS)])
    )
    return b"\n".join(lines)
