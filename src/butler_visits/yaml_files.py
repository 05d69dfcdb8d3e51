"""Read YAML files."""

from __future__ import annotations

import gc
import re
from functools import lru_cache
from typing import Any

import yaml

from .lists import shown

MOST_REPEATED = 1_000_000
"""Values that the aliases of a file may repeat."""

DEEPEST = 50
"""Levels of lists and mappings in each other."""

_GZIP = b"\x1f\x8b"

_TAG = "tag:yaml.org,2002:"
_MOST_BITS = 1_000
"""Of an integer; a float has 1,023 at most."""


_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d{1,3}$")
_DOUBTFUL = re.compile(r"[-+]?(0[0-7_]*[1-7][0-7_]+|[\d_.]*:.*)")
"""Texts that YAML 1.1 takes for octal numbers, such as 010, or for counts of sixtieths, such as 0:30."""


# libyaml, which nearly every installation of PyYAML has, is ten times faster.
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Plain values only, and dates as texts: what looks like one may be a serial number.

    Numbers may be written as everywhere, such as 1e-8, for which YAML 1.1 wants 1.0e-8. What people and the versions of
    YAML do not agree upon, such as 010 and 0:30, is no number.
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

    # PyYAML's way to tags by a node's place, of which there are none here, asked about each node.
    def descend_resolver(self, *_: Any) -> None:
        """Do nothing."""

    def ascend_resolver(self) -> None:
        """Do nothing."""


@lru_cache(10_000)
def _plain_tag(text: str) -> str:
    for tag, pattern in _Loader.yaml_implicit_resolvers.get(text[:1], ()):
        if pattern.match(text):
            is_number = tag in (f"{_TAG}int", f"{_TAG}float")
            return f"{_TAG}str" if is_number and _DOUBTFUL.fullmatch(text) else str(tag)
    return f"{_TAG}str"


_Loader.add_implicit_resolver(f"{_TAG}float", _EXPONENT, list("-+.0123456789"))


def load_yaml(content: bytes | str) -> Any:
    """Read YAML of plain values; a `ValueError` says in one line what is wrong with it, and at which key."""
    if isinstance(content, bytes) and content.startswith(_GZIP):
        raise ValueError("it is compressed with gzip; unpack it")
    # A large file is millions of objects, which Python would look through for garbage again and again.
    collects = gc.isenabled()
    gc.disable()
    try:
        loader = _Loader(content)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check_size(node, MOST_REPEATED + len(content))
            return _Values(loader).of(node)
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
            _check_size(node, MOST_REPEATED + len(content))
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(shown(" ".join(str(error).split()), 300, quotes=False)) from error


def _check_size(root: yaml.Node, most: int) -> None:
    """Check, before a value is made, that they are not too many when aliases are written out, nor too deep."""
    sizes: dict[int, int] = {}
    above: set[int] = set()
    keys: list[Any] = []

    def size_of(node: Any) -> int:
        if type(node) is yaml.ScalarNode:
            return 1
        if id(node) in above:
            raise ValueError(f"{_place(keys)} contains itself")
        if id(node) not in sizes:
            if len(above) == DEEPEST:
                raise ValueError(f"{_place(keys)} is in more than {DEEPEST} lists and mappings")
            above.add(id(node))
            size = 1
            is_mapping = type(node) is yaml.MappingNode
            for index, child in enumerate(node.value):
                key, value = child if is_mapping else (index, child)
                keys.append(key)
                size += size_of(value) + (size_of(key) if is_mapping else 0)
                keys.pop()
                if size > most:
                    raise ValueError(f"{_place(keys)} has millions of values, which its aliases repeat; write fewer")
            above.remove(id(node))
            sizes[id(node)] = size
        return sizes[id(node)]

    size_of(root)


class _Values:
    """The values of nodes: those of a node that aliases repeat, or of a text, are made once."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._collections: dict[int, Any] = {}
        self._scalars: dict[tuple[str, str], Any] = {}
        self._keys: list[Any] = []

    def of(self, node: yaml.Node) -> Any:
        """Make the value of a node; a `ValueError` names the key of what is wrong."""
        if type(node) is yaml.ScalarNode:
            known = (node.tag, node.value)
            if known not in self._scalars:
                self._scalars[known] = self._scalar(node)
            return self._scalars[known]
        if id(node) not in self._collections:
            if type(node) is yaml.MappingNode and node.tag == f"{_TAG}map":
                self._collections[id(node)] = self._mapping(node)
            elif type(node) is yaml.SequenceNode and node.tag == f"{_TAG}seq":
                self._collections[id(node)] = [self._within(index, child) for index, child in enumerate(node.value)]
            else:
                what = f"has the tag {shown(node.tag)}, which nothing here has; leave it out"
                raise ValueError(f"{_place(self._keys)} {what}")
        return self._collections[id(node)]

    def _within(self, key: Any, node: yaml.Node) -> Any:
        self._keys.append(key)
        value = self.of(node)
        self._keys.pop()
        return value

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        if node.tag in (f"{_TAG}str", f"{_TAG}merge"):
            return node.value
        try:
            value = self._loader.construct_object(node)
        except Exception as error:
            # PyYAML makes a value of a text without a look at it, and fails in any way.
            kind = shown(node.tag.removeprefix(_TAG))
            raise ValueError(f"{_place(self._keys)} is {shown(node.value)}, which cannot be read as {kind}") from error
        if isinstance(value, int) and value.bit_length() > _MOST_BITS:
            raise ValueError(f"{_place(self._keys)} is {shown(node.value)}, a number of too many digits")
        return value

    def _mapping(self, node: yaml.MappingNode) -> dict[Any, Any]:
        """Make a mapping; what `<<` adds to it stands first, and its own keys win."""
        own: dict[Any, Any] = {}
        seen: set[Any] = set()
        added: dict[Any, Any] = {}
        for key, value in node.value:
            if key.tag == f"{_TAG}merge":
                added.update(self._added(value))
                continue
            name, number = self._name(key)
            if number in seen:
                # The first one would be lost.
                line = key.start_mark.line + 1
                where = f"{_place(self._keys)}: " if self._keys else ""
                what = shown(str(key.value), quotes=False)
                raise ValueError(f"{where}the key {what} is there twice, the second time in line {line}")
            seen.add(number)
            own[name] = self._within(key, value)
        return {**added, **own} if added else own

    def _added(self, node: yaml.Node) -> dict[Any, Any]:
        """Make what `<<` adds: a mapping, or several, of which the first one wins."""
        value = self._within("<<", node)
        added: dict[Any, Any] = {}
        for mapping in reversed(value) if isinstance(value, list) else [value]:
            if not isinstance(mapping, dict):
                raise ValueError(f"{_place([*self._keys, '<<'])} must be a mapping or a list of mappings")
            added.update(mapping)
        return added

    def _name(self, key: yaml.Node) -> tuple[Any, Any]:
        """Return a key as it is written, and the number by which other readers know it, if it is one."""
        if type(key) is not yaml.ScalarNode:
            raise ValueError(f"{_place(self._keys)} has a key that is a list or a mapping; a key is a text or a number")
        value = self._within(key, key)
        if isinstance(value, bool):
            # A detector may be called ON, 010 or 1E5.
            name = value if key.value.casefold() in ("true", "false") else key.value
            return name, key.value
        return key.value, value if isinstance(value, int | float) else key.value


def _place(keys: list[Any]) -> str:
    """Tell where a value is: keys of mappings are nodes."""
    if not keys:
        return "the file"
    names = [key.value if type(key) is yaml.ScalarNode else key for key in keys]
    return shown(".".join("a key" if isinstance(name, yaml.Node) else str(name) for name in names), 100, quotes=False)
