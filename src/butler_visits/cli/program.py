"""The program ``butler-visits``, and what other packages offer."""

from __future__ import annotations

from collections import defaultdict
from difflib import get_close_matches

import click
from lsst.daf.butler.cli.butler import ButlerCLI, LoaderCLI, PluginCommand
from lsst.daf.butler.cli.opt import log_file_option, log_label_option, log_level_option, log_tty_option, long_log_option
from lsst.daf.butler.cli.progress import ClickProgressHandler

from ..yaml_files import load_yaml

COMMANDS = (
    "add-images",
    "check",
    "define-visits",
    "describe",
    "export",
    "fit-camera",
    "ingest",
    "ingest-table",
    "make-skymap",
    "plot",
    "remove-visits",
    "report",
    "show-camera",
    "update-regions",
    "watch",
    "watch-status",
    "write-camera",
)
"""The command ``fit-camera`` is the function ``fit_camera`` in the file of that name."""


class ButlerVisitsCLI(LoaderCLI):
    """Finds the commands of ``butler-visits`` by their names."""

    localCmdPkg = "butler_visits.cli"

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if close := get_close_matches(args[0], COMMANDS, 1):
                raise click.UsageError(f"No such command {args[0]!r}. Did you mean {close[0]!r}?", ctx) from error
            raise

    def getLocalCommands(self) -> defaultdict[str, list[str | PluginCommand]]:
        modules = {name: f"{self.localCmdPkg}.{self._cmdNameToFuncName(name)}" for name in COMMANDS}
        return defaultdict(list, {name: [module] for name, module in modules.items()})


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
            content = load_yaml(path.read())
            names.update(content["cmd"]["commands"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return names
