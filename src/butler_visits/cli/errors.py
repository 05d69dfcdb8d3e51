"""Errors that a user can mend become messages without a traceback."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches

import click
from lsst.daf.butler import Butler, ButlerUserError, DimensionUniverse, InvalidQueryError
from lsst.daf.butler.registry import RegistryError
from sqlalchemy.exc import SQLAlchemyError

from ..errors import OverrideError, VisitsError
from ..lists import first_line

_UNIVERSE = "butler_visits.universe"
"""Where a command's context has the dimensions of the repository, for advice on expressions."""


@contextmanager
def errors_as_messages(repo: str) -> Iterator[None]:
    """Turn errors that a user can mend into click's, which prints them and exits with status 1."""
    try:
        yield
    except OverrideError as error:
        raise click.BadParameter(str(error), param_hint="-c") from error
    except (VisitsError, ButlerUserError, RegistryError) as error:
        raise click.ClickException(str(error)) from error
    except (SQLAlchemyError, OSError) as error:
        raise click.ClickException(
            f"Repository {repo}: {first_line(error)}. Check that the repository can be read and written, and try again."
        ) from error


@contextmanager
def expression_errors(where: str) -> Iterator[None]:
    """Turn what is wrong with an expression into click's error."""
    try:
        yield
    except InvalidQueryError as error:
        said = f"{where!r} is no valid expression: {str(error).rstrip('.')}.{_meant(str(error))}"
        raise click.BadParameter(said, param_hint="--where") from error


def _meant(error: str) -> str:
    """Say which field somebody may have meant instead of one that there is not."""
    universe: DimensionUniverse | None = click.get_current_context().meta.get(_UNIVERSE)
    unknown = re.match(r"Unrecognized (?:field '(\w+)' for (\w+)|identifier '([\w.]+)')", error)
    if universe is None or unknown is None:
        return ""
    fields = {f"{element.name}.{field}" for element in universe.elements for field in element.RecordClass.fields.names}
    field, element, identifier = unknown.groups()
    if field:
        close = get_close_matches(field, [name.split(".")[1] for name in fields if name.startswith(f"{element}.")], 1)
        close = [f"{element}.{name}" for name in close]
    else:
        names = {*universe.elements.names, *(name if "." in identifier else name.split(".")[1] for name in fields)}
        close = get_close_matches(identifier, names, 1)
    return f" Did you mean {close[0]}?" if close else ""


def open_repository(repo: str, *, writeable: bool) -> Butler:
    """Open a repository."""
    try:
        return Butler.from_config(repo, writeable=writeable)
    except Exception as error:
        # None of our code runs in it, and for a file that is no repository the Butler raises nearly anything.
        raise opening_error(repo, error) from error


def opening_error(repo: str, error: Exception) -> click.ClickException:
    """Say why a repository cannot be opened."""
    if isinstance(error, FileNotFoundError):
        return click.ClickException(
            f"There is no data repository at {repo}: expected a folder with a butler.yaml, or a repository's alias."
        )
    return click.ClickException(f"The data repository {repo} cannot be opened: {first_line(error)}.")


def open_instrument(repo: str, instrument: str, *, writeable: bool) -> tuple[Butler, str]:
    """Open a repository, and find the name of one of its instruments."""
    from ..repository import resolve_instrument

    butler = open_repository(repo, writeable=writeable)
    click.get_current_context().meta[_UNIVERSE] = butler.dimensions
    return butler, resolve_instrument(butler, instrument)


def no_visits(instrument: str, where: str) -> click.ClickException:
    """Return the error for nothing to look at."""
    which = f" of exposures that match {where!r}" if where else ""
    return click.ClickException(
        f"{instrument} has no visits with a region{which}. The command define-visits makes them."
    )
