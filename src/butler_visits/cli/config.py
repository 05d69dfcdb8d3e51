"""The config that a command line asks for."""

from __future__ import annotations

__all__ = ["make_config"]

import logging
from collections.abc import Mapping
from types import MappingProxyType

import click
from lsst.daf.butler import Butler
from lsst.pipe.base.configOverrides import ConfigOverrides

from ..config import DefineVisitsConfig
from ..define.groups import check_grouping
from ..repository import fetch_instrument
from ..repository.instruments import stored_description
from ..task import DefineVisitsTask

_LOG = logging.getLogger(__name__)


def make_config(
    butler: Butler, instrument: str, config_file: str | None = None, overrides: Mapping[str, str] = MappingProxyType({})
) -> DefineVisitsConfig:
    """Put the config together: defaults, the instrument's overrides and description, the user's file and fields."""
    config = DefineVisitsConfig()
    try:
        fetch_instrument(butler, instrument).applyConfigOverrides(DefineVisitsTask._DefaultName, config)
    except Exception as error:
        # An instrument's class is somebody else's code, which can fail in any way.
        raise click.ClickException(f"The config overrides of instrument {instrument}: {_reason(error)}") from error
    if (description := stored_description(butler, instrument)) is not None:
        check_grouping(description.grouping, f"The stored description of {instrument}")
        config.groupExposures.name = description.grouping
    if config_file:
        try:
            config.load(config_file)
            config.validate()
        except Exception as error:
            # The file is the user's own code, which can fail in any way.
            raise click.ClickException(f"Config file {config_file}: {_reason(error)}") from error
    for field, value in overrides.items():
        override = ConfigOverrides()
        override.addValueOverride(field, value)
        try:
            override.applyTo(config)
            config.validate()
        except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
            raise click.BadParameter(f"{field}={value}: {_reason(error)}", param_hint="-c") from error
    if (
        config.groupExposures.name == "one-to-one-and-by-counter"
        and "seq_end" not in butler.dimensions["exposure"].RecordClass.fields.names
    ):
        _LOG.warning(
            "The exposures of this repository have no counters (seq_start, seq_end): one-to-one is used instead of "
            "one-to-one-and-by-counter."
        )
        config.groupExposures.name = "one-to-one"
    return config


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"
