"""The command line: a plugin of ``butler``, and the program ``butler-visits``.

A command is the file of its name. ``butler`` loads this module at each start, and ``--help`` all commands: what takes
time is imported when a command runs.
"""

from __future__ import annotations

__all__ = ["butler_commands", "main"]

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click


def butler_commands() -> list[click.Command]:
    """Return the commands for the ``butler`` program (entry point group ``butler.cli``).

    Returns
    -------
    commands : `list` [`click.Command`]
        The commands that nobody else offers: ``butler`` refuses to start when two packages offer the same one.
    """
    from .define_visits import define_visits
    from .program import offered_elsewhere

    taken = offered_elsewhere()
    return [command for command in (define_visits,) if command.name not in taken]


def main() -> None:
    """Run the program ``butler-visits``."""
    from .program import butler_visits

    butler_visits()
