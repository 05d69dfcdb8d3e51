"""Lists: in batches, item by item where one fails, and in words."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from .errors import DatabaseError, VisitsError

_T = TypeVar("_T")
_R = TypeVar("_R")
_Id = TypeVar("_Id", int, str)

_IDS = 10_000
"""Values in one list of a statement: PostgreSQL takes 65,535 in all."""


def batches(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Split an iterable, which may be a generator, into lists; `itertools.batched` is there from Python 3.12 on."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def id_batches(ids: Iterable[_Id]) -> Iterator[list[_Id]]:
    """Split ids or names into lists that a statement takes: each once, in their order."""
    return batches(sorted(set(ids)), _IDS)


def batches_of_families(items: Iterable[_T], size: int, marks: Callable[[_T], set[int]]) -> Iterator[list[_T]]:
    """Split an iterable into lists, but never between neighbours that have a mark in common."""
    batch: list[_T] = []
    family: set[int] = set()
    for item in items:
        own = marks(item)
        if family.isdisjoint(own):
            if len(batch) >= size:
                yield batch
                batch = []
            family = set()
        batch.append(item)
        family |= own
    if batch:
        yield batch


FAILURES = (VisitsError, ValueError, RuntimeError, LookupError, ArithmeticError, OSError)
"""What may be wrong with an item: our own errors, and those that an algorithm of somebody else raises."""


def isolate(
    call: Callable[[Sequence[_T]], list[_R]], items: Sequence[_T], *, skip: bool = True
) -> tuple[list[_R], list[tuple[_T, Exception]]]:
    """Call a function with all items; where it fails with each half, down to single items, if these may be skipped.

    Raises `DatabaseError` if the database fails.
    """
    if not items:
        return [], []
    if not skip:
        return call(items), []
    try:
        return call(items), []
    except DatabaseError:
        # It fails for every item alike.
        raise
    except FAILURES as error:
        if len(items) == 1:
            return [], [(items[0], error)]
    half = len(items) // 2
    results, failed = isolate(call, items[:half])
    more_results, more_failed = isolate(call, items[half:])
    return results + more_results, failed + more_failed


def reason_of(error: BaseException) -> str:
    """Say what went wrong."""
    return str(error) if isinstance(error, VisitsError) else f"{type(error).__name__}: {error}"


def first_line(error: BaseException) -> str:
    """Return an error's first line without its full stop; of SQLAlchemy's errors it is the database's own."""
    text = str(getattr(error, "orig", None) or error).strip()
    return text.splitlines()[0].rstrip(".") if text else type(error).__name__


def shown(value: object, most: int = 80, *, quotes: bool = True) -> str:
    """Show a value in a message, of a long one the beginning and the end."""
    # Python's own for a short one: some integers have no repr, and some lists a large one.
    if isinstance(value, str):
        text = value if len(value) <= most else f"{value[: most * 2 // 3]} … {value[-most // 3 :]}"
        return repr(text) if quotes else text
    short = _Repr()
    short.maxother = short.maxlong = most
    short.maxstring = most // 2
    text = short.repr(value)
    return text if len(text) <= most else f"{text[: most * 2 // 3]} … {text[-most // 3 :]}"


class _Repr(reprlib.Repr):
    def repr_int(self, value: int, level: int) -> str:
        return super().repr_int(value, level) if value.bit_length() < 10_000 else "an integer of thousands of digits"


def printable(text: str) -> str:
    r"""Write what is neither printable nor the end of a line as Python does: ``\x1b``."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(one if one.isprintable() or one == "\n" else ascii(one)[1:-1] for one in text)


def one_line(text: str) -> str:
    r"""Write ends of lines as Python does, where a name shall not look like a line of ours: ``\n``."""
    return text.replace("\n", r"\n")


def counted(number: int, what: str, form: str = "") -> str:
    """Say how many there are of something."""
    return f"1 {what}" if number == 1 else f"{number:{form}} {what}s"


def angle_text(arcsec: float) -> str:
    """Say a distance on the sky in a unit in which it can be read."""
    for unit, size in (("arcsec", 1), ("arcmin", 60)):
        if abs(arcsec) < 120 * size:
            return f"{arcsec / size:.3g} {unit}"
    return f"{arcsec / 3600:.3g} degrees"


def listed(items: Iterable[object], most: int | None = None) -> str:
    """Name all of some things, or so many at most: a, b, c and 7 more."""
    items = list(items)
    more = f" and {len(items) - most} more" if most is not None and len(items) > most else ""
    return ", ".join(map(str, items[:most])) + more


def aligned(rows: Sequence[Sequence[str]], left: Collection[int] | None = None) -> list[str]:
    """Write a table with its columns below each other, all flush left, or those that are given and others right."""
    rows = [[one_line(printable(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if left is None or column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def without_controls(text: str) -> str:
    r"""Write control characters, and what XML cannot hold, as Python does: ``\x1b``."""
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)
