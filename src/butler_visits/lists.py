"""Lists: in batches, item by item where one fails, and in words."""

from __future__ import annotations

__all__ = ["FAILURES", "batches", "batches_of_families", "counted", "isolate", "reason_of"]

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from .errors import DatabaseError, VisitsError

_T = TypeVar("_T")
_R = TypeVar("_R")


def batches(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Split an iterable, which may be a generator, into lists; `itertools.batched` is there from Python 3.12 on."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


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
    call: Callable[[Sequence[_T]], list[_R]], items: Sequence[_T]
) -> tuple[list[_R], list[tuple[_T, Exception]]]:
    """Call a function with all items; where it fails with each half, down to single items.

    Raises `DatabaseError` if the database fails.
    """
    if not items:
        return [], []
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


def counted(number: int, what: str) -> str:
    """Say how many there are of something."""
    return f"1 {what}" if number == 1 else f"{number} {what}s"
