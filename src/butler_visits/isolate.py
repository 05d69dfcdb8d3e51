"""Find the items that a call fails for, so that all others are done."""

from __future__ import annotations

__all__ = ["FAILURES", "isolate", "reason_of"]

from collections.abc import Callable, Sequence
from typing import TypeVar

from .errors import DatabaseError, VisitsError

_T = TypeVar("_T")
_R = TypeVar("_R")

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
