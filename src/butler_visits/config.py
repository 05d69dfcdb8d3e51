"""The config of the task that defines visits, and how it is put together."""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lsst.daf.butler import Butler
from lsst.pex.config import Config, Field, RangeField
from lsst.pipe.base.configOverrides import ConfigOverrides
from lsst.resources import ResourcePath

from .define.groups import GroupExposuresTask, check_grouping, fitting_grouping
from .define.regions import ComputeVisitRegionsTask
from .define.visits import name_systems
from .errors import ConfigError, OverrideError
from .lists import first_line
from .repository import fetch_instrument
from .repository.instruments import stored_description
from .repository.stored import systems_in_use

_LOG = logging.getLogger(__name__)

_NAME = "defineVisits"
"""What instruments' classes call this config."""

_ORIGINAL = re.compile(
    r"^(?:import (lsst\.obs\.[\w.]+)|assert type\(config\) is (lsst\.obs\.[\w.]+)\.\w+,.*)$", re.MULTILINE
)
"""How a config file begins that the original has saved."""

_SETTING = re.compile(r"config\.(?P<field>groupExposures|computeVisitRegions)\[(?P<name>'[^']*'|\"[^\"]*\")\]")
"""How a line of a saved config begins that sets a field of an algorithm."""


class DefineVisitsConfig(Config):
    """Config of `DefineVisitsTask`."""

    groupExposures = GroupExposuresTask.registry.makeField(
        doc="Algorithm that groups exposures into visits.", default="one-to-one"
    )
    computeVisitRegions = ComputeVisitRegionsTask.registry.makeField(
        doc="Algorithm that computes the regions of visits and of their detectors.", default="single-raw-wcs"
    )
    ignoreNonScienceExposures = Field[bool](
        doc="Whether exposures that are not on the sky are ignored; otherwise they are an error.",
        default=True,
    )
    updateObsCoreTable = Field[bool](
        doc="Whether exposures' regions are updated in the registry's ObsCore table, if it has one.",
        default=True,
    )
    regionTolerance = RangeField(
        dtype=float,
        doc="Distance (arcsec) up to which a computed region equals a stored one; 0 asks for identical bits.",
        default=1e-6,
        min=0.0,
    )
    chunkSize = RangeField(
        dtype=int,
        doc="Visits that are computed, compared and written together, in one transaction.",
        default=500,
        min=1,
    )

    def __reduce__(self) -> Any:
        """Pickle the settings of the chosen algorithms only.

        A saved config has the settings of all algorithms that are registered in this process. A worker's process need
        not know any but the chosen ones.
        """
        load, (cls, saved) = super().__reduce__()
        lines = [line for line in saved.decode().splitlines(keepends=True) if self._is_needed(line)]
        return load, (cls, "".join(lines).encode())

    def _is_needed(self, line: str) -> bool:
        setting = _SETTING.match(line)
        return setting is None or setting["name"][1:-1] == getattr(self, setting["field"]).name


def make_config(
    butler: Butler,
    instrument: str,
    config_file: str | None = None,
    overrides: Mapping[str, str] = MappingProxyType({}),
    *,
    groups: bool = True,
) -> DefineVisitsConfig:
    """Put a config together: defaults, the instrument's overrides and description, a file and single fields.

    If exposures are to be grouped, and none of these says how, what is stored does. Raises `ConfigError` if one of
    these makes no sense.
    """
    config = DefineVisitsConfig()
    try:
        fetch_instrument(butler, instrument).applyConfigOverrides(_NAME, config)
    except Exception as error:
        # An instrument's class is somebody else's code, which can fail in any way.
        raise ConfigError(f"The config overrides of instrument {instrument}: {_reason(error)}") from error
    if (description := stored_description(butler, instrument)) is not None:
        check_grouping(description.grouping, f"The stored description of {instrument}")
        if "grouping" in description.model_fields_set:
            config.groupExposures.name = description.grouping
    if config_file:
        try:
            text = ResourcePath(config_file, forceAbsolute=False).read().decode()
            config.loadFromString(_ORIGINAL.sub(_left_out, text), filename=str(config_file))
            config.validate()
        except Exception as error:
            # The file is the user's own code, which can fail in any way.
            raise ConfigError(f"Config file {config_file}: {_reason(error)}") from error
    for field, value in overrides.items():
        override = ConfigOverrides()
        override.addValueOverride(field, value)
        try:
            override.applyTo(config)
            config.validate()
        except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
            raise OverrideError(f"{field}={value}: {_reason(error)}") from error
    if groups:
        _fit_grouping(butler, instrument, config)
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


def _fit_grouping(butler: Butler, instrument: str, config: DefineVisitsConfig) -> None:
    """Take the grouping algorithm that fits the visits that are stored, unless somebody has chosen one."""
    if any(label != "default" for _, _, label in config.history["groupExposures"]):
        return
    default = config.groupExposures.name
    systems = systems_in_use(butler, instrument)
    fitting = fitting_grouping(systems)
    if fitting is not None and fitting != default:
        config.groupExposures.name = fitting
        _LOG.warning("Exposures are grouped with %s, which fits the visits that %s has.", fitting, instrument)
    elif systems and fitting is None:
        _LOG.warning(
            "%s has visits of %s, which no grouping algorithm makes alone. Exposures are grouped with %s; "
            "-c groupExposures=NAME chooses another one.",
            instrument,
            name_systems(systems),
            default,
        )


def _left_out(line: re.Match[str]) -> str:
    """Leave a line out that needs a module of the original's, where that is not installed."""
    try:
        installed = importlib.util.find_spec(line[1] or line[2]) is not None
    except ImportError:
        installed = False
    return line[0] if installed and line[1] else ""


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)}"
