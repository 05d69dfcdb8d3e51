"""Read YAML files."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import yaml

from .lists import shown

MOST_REPEATED = 1_000_000
"""Values that the aliases of a file may repeat."""

DEEPEST = 50
"""Levels of lists and mappings in each other."""

_TAG = "tag:yaml.org,2002:"
_TEXTS = (f"{_TAG}str", f"{_TAG}merge")
_COLLECTIONS = tuple(_TAG + name for name in ("seq", "map", "set", "omap", "pairs"))
_MOST_BITS = 1_000
"""Of an integer; a float has 1,023 at most."""


_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d{1,3}$")


# libyaml, which nearly every installation of PyYAML has, is ten times faster.
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Plain values only, and dates as texts: what looks like one may be a serial number.

    Numbers may be written as everywhere, such as 1e-8, for which YAML 1.1 wants 1.0e-8.
    """

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in (f"{_TAG}timestamp", f"{_TAG}value")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        """Find the tag of a node; of the same texts, of which a large file is full, once."""
        if kind is yaml.ScalarNode and implicit[0]:
            return _plain_tag(value)
        return str(super().resolve(kind, value, implicit))


@lru_cache(10_000)
def _plain_tag(text: str) -> str:
    for tag, pattern in _Loader.yaml_implicit_resolvers.get(text[:1], ()):
        if pattern.match(text):
            return str(tag)
    return f"{_TAG}str"


_Loader.add_implicit_resolver(f"{_TAG}float", _EXPONENT, list("-+.0123456789"))


def load_yaml(content: bytes | str) -> Any:
    """Read YAML of plain values; a `ValueError` says in one line what is wrong with it, and at which key."""
    # A large file is millions of objects, which Python would look through for garbage again and again.
    collects = gc.isenabled()
    gc.disable()
    try:
        loader = _Loader(content)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check(loader, node, MOST_REPEATED + len(content))
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except RecursionError:
        raise ValueError(f"it has more than {DEEPEST} lists and mappings in each other") from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise ValueError(shown(" ".join(str(error).split()), 300, quotes=False)) from error
    finally:
        if collects:
            gc.enable()


def check_yaml(content: str) -> None:
    """Raise `ValueError` for YAML that another reader would take for ever for: what its aliases repeat is too much."""
    try:
        node = yaml.compose(content, Loader=_Loader)
        if node is not None:
            _check(None, node, MOST_REPEATED + len(content))
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(shown(" ".join(str(error).split()), 300, quotes=False)) from error


def _check(loader: Any, root: yaml.Node, most: int) -> None:
    """Check all values before any is made, and that they are not too many when aliases are written out.

    Raises `ValueError` with the key. Without a loader only the second is checked.
    """
    sizes: dict[int, int] = {}
    above: set[int] = set()
    keys: list[str] = []

    def size_of(node: yaml.Node) -> int:
        if isinstance(node, yaml.ScalarNode):
            if loader is not None:
                _check_scalar(loader, node, keys)
            return 1
        if loader is not None and node.tag not in _COLLECTIONS:
            raise ValueError(f"{_place(keys)} has the tag {shown(node.tag)}, which nothing here has; leave it out")
        if id(node) in above:
            raise ValueError(f"{_place(keys)} contains itself")
        if id(node) not in sizes:
            if len(above) == DEEPEST:
                raise ValueError(f"{_place(keys)} is in more than {DEEPEST} lists and mappings")
            if loader is not None and isinstance(node, yaml.MappingNode):
                _check_keys(loader, node, keys)
            above.add(id(node))
            size = 1
            for key, child in _children(node):
                if type(child) is yaml.ScalarNode and child.tag in _TEXTS:
                    # Most of a large file.
                    size += 1
                    continue
                keys.append(key)
                size += size_of(child)
                keys.pop()
                if size > most:
                    raise ValueError(f"{_place(keys)} has millions of values, which its aliases repeat; write fewer")
            above.remove(id(node))
            sizes[id(node)] = size
        return sizes[id(node)]

    size_of(root)


def _children(node: yaml.Node) -> Iterator[tuple[str, yaml.Node]]:
    if isinstance(node, yaml.SequenceNode):
        yield from ((str(index), child) for index, child in enumerate(node.value))
        return
    for key, value in node.value:
        name = str(key.value) if isinstance(key, yaml.ScalarNode) else "a key"
        yield name, key
        yield name, value


def _check_scalar(loader: Any, node: yaml.ScalarNode, keys: list[str]) -> None:
    if node.tag in _TEXTS:
        return
    try:
        value = loader.construct_object(node)
    except Exception as error:
        # PyYAML makes a value of a text without a look at it, and fails in any way.
        kind = shown(node.tag.removeprefix(_TAG))
        raise ValueError(f"{_place(keys)} is {shown(node.value)}, which cannot be read as {kind}") from error
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise ValueError(f"{_place(keys)} is {shown(node.value)}, a number of too many digits")


def _check_keys(loader: Any, node: yaml.MappingNode, keys: list[str]) -> None:
    """Raise `ValueError` for a key that is there twice, of which the first one would be lost."""
    names = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != f"{_TAG}merge":
            if key.tag == f"{_TAG}float" and _EXPONENT.match(key.value):
                # A detector may be called 1E5.
                key.tag = f"{_TAG}str"
            if key.tag not in _TEXTS:
                _check_scalar(loader, key, [*keys, str(key.value)])
            name = key.value if key.tag in _TEXTS else loader.construct_object(key)
            if name in names:
                line = key.start_mark.line + 1
                where = f"{_place(keys)}: " if keys else ""
                what = shown(str(key.value), quotes=False)
                raise ValueError(f"{where}the key {what} is there twice, the second time in line {line}")
            names.add(name)


def _place(keys: list[str]) -> str:
    return shown(".".join(keys), 100, quotes=False) if keys else "the file"
