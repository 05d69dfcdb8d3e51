"""Take things in batches."""

from __future__ import annotations

__all__ = ["batches", "batches_of_families"]

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

_T = TypeVar("_T")


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
