"""The program ``butler-visits``, and what other packages offer."""

from __future__ import annotations

__all__ = ["VisitsCommand", "butler_visits", "offered_elsewhere"]

import click
import yaml
from lsst.daf.butler.cli.butler import ButlerCLI, LoaderCLI
from lsst.daf.butler.cli.opt import (
    log_file_option,
    log_label_option,
    log_level_option,
    log_tty_option,
    long_log_option,
)
from lsst.daf.butler.cli.progress import ClickProgressHandler
from lsst.daf.butler.cli.utils import ButlerCommand


class VisitsCommand(ButlerCommand):
    """A command of ``butler-visits``; ``butler`` may have it too."""

    extra_epilog = "Options of the program, such as --log-level, stand before the command's name."


class ButlerVisitsCLI(LoaderCLI):
    """Loads the commands of ``butler-visits``."""

    localCmdPkg = "butler_visits.cli.commands"


@click.command(cls=ButlerVisitsCLI, context_settings={"help_option_names": ["-h", "--help"]})
@log_level_option()
@long_log_option()
@log_file_option()
@log_tty_option()
@log_label_option()
@ClickProgressHandler.option
@click.version_option(package_name="butler-visits")
def butler_visits(**_: object) -> None:
    """Define the visits of a data repository.

    Log options apply to all subcommands.
    """


def offered_elsewhere() -> set[str]:
    """Find the commands that come to ``butler`` through the environment variable DAF_BUTLER_PLUGINS."""
    names: set[str] = set()
    for path in ButlerCLI.getPluginList():
        try:
            content = yaml.safe_load(path.read())
            names.update(content["cmd"]["commands"])
        except (OSError, yaml.YAMLError, KeyError, TypeError):
            continue
    return names
