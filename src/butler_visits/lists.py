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
    """Split an iterable, which may be a generator, into lists; `itertools.batched` is there from Python 3.12 on.

    Parameters
    ----------
    items : `~collections.abc.Iterable`
        The items.
    size : `int`
        Length of all lists but the last.

    Yields
    ------
    batch : `list`
        The next items, at least one.
    """
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def batches_of_families(items: Iterable[_T], size: int, marks: Callable[[_T], set[int]]) -> Iterator[list[_T]]:
    """Split an iterable into lists, but never between neighbours that have a mark in common.

    Parameters
    ----------
    items : `~collections.abc.Iterable`
        The items; those of a family follow each other.
    size : `int`
        Length of all lists but the last, or more where a family would be split.
    marks : `~collections.abc.Callable`
        Returns the marks of an item.

    Yields
    ------
    batch : `list`
        The next items, at least one.
    """
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

    Parameters
    ----------
    call : `~collections.abc.Callable`
        Takes a sequence of items and returns a list, and does nothing if it fails.
    items : `~collections.abc.Sequence`
        The items.

    Returns
    -------
    results : `list`
        What the calls returned, in the order of the items.
    failed : `list` [`tuple` [`object`, `Exception`]]
        The items that it fails for, each with the error. For k of n items about k log n calls are made.

    Raises
    ------
    DatabaseError
        If the database fails.
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
    """Say what went wrong.

    Parameters
    ----------
    error : `BaseException`
        The error.

    Returns
    -------
    reason : `str`
        The message of one of our errors; of another also its type.
    """
    return str(error) if isinstance(error, VisitsError) else f"{type(error).__name__}: {error}"


def counted(number: int, what: str) -> str:
    """Say how many there are of something.

    Parameters
    ----------
    number : `int`
        How many.
    what : `str`
        What one of them is called.

    Returns
    -------
    text : `str`
        As "1 visit" or "2 visits".
    """
    return f"1 {what}" if number == 1 else f"{number} {what}s"
