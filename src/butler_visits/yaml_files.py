"""Read YAML files."""

from __future__ import annotations

import gc
from typing import Any

import yaml


# libyaml, which nearly every installation of PyYAML has, is ten times faster.
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Plain values only, and each key of a mapping once."""

    def flatten_mapping(self, node: Any) -> None:
        # It comes here before its keys are read, and again for each merge key that brings it into another one.
        if not hasattr(node, "has_been_here"):
            node.has_been_here = True
            keys = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                    value = self.construct_object(key)
                    if value in keys:
                        line = key.start_mark.line + 1
                        raise ValueError(f"the key {key.value} is there twice, the second time in line {line}")
                    keys.add(value)
        super().flatten_mapping(node)


def load_yaml(content: bytes | str) -> Any:
    """Read YAML of plain values; a `ValueError` says in one line what is wrong with it."""
    # A large file is millions of objects, which Python would look through for garbage again and again.
    collects = gc.isenabled()
    gc.disable()
    try:
        return yaml.load(content, Loader=_Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(" ".join(str(error).split())) from error
    finally:
        if collects:
            gc.enable()
