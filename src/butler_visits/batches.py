"""Take things in batches; `itertools.batched` is there from Python 3.12 on."""

from __future__ import annotations

__all__ = ["batches"]

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

_T = TypeVar("_T")


def batches(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Split an iterable, which may be a generator, into lists.

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
