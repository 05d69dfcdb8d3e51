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

_TOKEN = " Set BUTLER_RUBIN_ACCESS_TOKEN to a token of yours."
_REMOTE = " Butler servers need more packages: pip install 'butler-visits[remote]'."
_HINTS = dict.fromkeys(["httpx2", "aiohttp", "requests"], _REMOTE)
"""What to say about packages that are not installed."""


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
    except UnicodeEncodeError as error:
        # Of a name from the command line, which may be any bytes.
        raise click.ClickException(f"{error.object!r} is not in UTF-8; give another name.") from error
    except (RuntimeError, ValueError) as error:
        if (failure := _server_failure(repo, error)) is None:
            raise
        raise failure from error


@contextmanager
def expression_errors(where: str) -> Iterator[None]:
    """Turn what is wrong with an expression into click's error."""
    try:
        yield
    except InvalidQueryError as error:
        said = f"{where!r} is not a valid expression: {str(error).rstrip('.')}.{_meant(str(error))}"
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


def open_repository(repo: str, *, writeable: bool, server: bool = False) -> Butler:
    """Open a repository; one that a Butler server has only if ``server`` says that this is enough."""
    from ..repository import is_served, open_butler

    try:
        butler = open_butler(repo, writeable=writeable)
        if server and is_served(butler):
            # The first question to the server.
            _ = butler.dimensions
    except Exception as error:
        # None of our code runs in it, and for a file that is no repository the Butler raises nearly anything.
        raise opening_error(repo, error) from error
    if not server:
        refuse_server(repo, butler)
    return butler


def refuse_server(repo: str, butler: Butler) -> None:
    """Refuse a repository that a Butler server has."""
    from ..repository import is_served

    if is_served(butler):
        raise click.ClickException(
            f"Through the Butler server {repo} nothing can be written: use the repository's own configuration, which "
            "names its database."
        )


def opening_error(repo: str, error: Exception) -> click.ClickException:
    """Say why a repository cannot be opened."""
    from ..repository.kept import is_unfinished

    if (failure := _server_failure(repo, error)) is not None:
        return failure
    if isinstance(error, FileNotFoundError):
        return click.ClickException(
            f"There is no data repository at {repo}: expected a folder with a butler.yaml, or a repository's alias."
        )
    # Of the package requests, which need not be installed.
    if any(kind.__name__ == "ConnectionError" for kind in type(error).__mro__):
        return click.ClickException(f"Nobody answers at {repo}; see that it is right, and try again.")
    if is_unfinished(error):
        return click.ClickException(
            f"A program was killed while it wrote into the data repository {repo}. What it had begun must be undone "
            "before anybody can read it: run this once as somebody who may write into its database."
        )
    hint = _HINTS.get(getattr(error, "name", ""), _TOKEN if "access credentials" in str(error) else "")
    return click.ClickException(f"The data repository {repo} cannot be opened: {first_line(error)}.{hint}")


def open_instrument(repo: str, instrument: str, *, writeable: bool, server: bool = False) -> tuple[Butler, str]:
    """Open a repository, and find the name of one of its instruments."""
    from ..repository import resolve_instrument

    butler = open_repository(repo, writeable=writeable, server=server)
    click.get_current_context().meta[_UNIVERSE] = butler.dimensions
    return butler, resolve_instrument(butler, instrument)


def _server_failure(repo: str, error: Exception) -> click.ClickException | None:
    """Return the error of a Butler server, if an error is one."""
    from ..repository.served import server_failure

    failure = server_failure(error)
    return None if failure is None else click.ClickException(f"The Butler server {repo} {failure}")


def no_visits(instrument: str, where: str) -> click.ClickException:
    """Return the error for nothing to look at."""
    which = f" of exposures that match {where!r}" if where else ""
    return click.ClickException(f"{instrument} has no visits with a region{which}. Define them with define-visits.")
