"""Read YAML files."""

from __future__ import annotations

from typing import Any

import yaml


def load_yaml(content: bytes | str) -> Any:
    """Read YAML of plain values; a `ValueError` says in one line what is wrong with it."""
    try:
        # libyaml, which nearly every installation of PyYAML has, is ten times faster.
        return yaml.load(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(" ".join(str(error).split())) from error
