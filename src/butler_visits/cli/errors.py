"""Errors that a user can mend become messages without a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
from lsst.daf.butler import Butler, ButlerUserError, InvalidQueryError
from lsst.daf.butler.registry import RegistryError
from sqlalchemy.exc import SQLAlchemyError

from ..errors import OverrideError, VisitsError
from ..lists import first_line


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
        raise click.BadParameter(f"{where!r} is no valid expression: {error}", param_hint="--where") from error


def open_repository(repo: str, *, writeable: bool) -> Butler:
    """Open a repository."""
    try:
        return Butler.from_config(repo, writeable=writeable)
    except FileNotFoundError as error:
        raise click.ClickException(
            f"There is no data repository at {repo}: expected a folder with a butler.yaml, or a repository's alias."
        ) from error
    except Exception as error:
        # None of our code runs in it, and for a file that is no repository the Butler raises nearly anything.
        raise click.ClickException(f"The data repository {repo} cannot be opened: {first_line(error)}.") from error


def open_instrument(repo: str, instrument: str, *, writeable: bool) -> tuple[Butler, str]:
    """Open a repository, and find the name of one of its instruments."""
    from ..repository import resolve_instrument

    butler = open_repository(repo, writeable=writeable)
    return butler, resolve_instrument(butler, instrument)


def no_visits(instrument: str, where: str) -> click.ClickException:
    """Return the error for nothing to look at."""
    which = f" of exposures that match {where!r}" if where else ""
    return click.ClickException(
        f"{instrument} has no visits with a region{which}. The command define-visits makes them."
    )
