"""The errors that a user can mend; the command line prints them without a traceback."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Self

_LONG_VALUE = re.compile(r"'([^'\n]{60})[^'\n]{1000,}([^'\n]{20})'")
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_SIGNATURE = re.compile(r"\?[\w%&=+/~*.:-]*Signature=[\w%&=+/~*.:-]*\w")
"""What a Butler server's URLs end with, which lets everybody read the file for an hour."""
_LONG_LINE = re.compile(r"^(.{3000}).{2000,}(.{500})$", re.MULTILINE)


class VisitsError(Exception):
    """Base of the errors that a change of the input, the options or the repository cures."""

    common = ""
    """The message without the exposure that it is about, if others can have the same."""

    def __str__(self) -> str:
        # What a file holds, and a message quotes, may be as long as the file, and may be meant for a terminal.
        text = _SIGNATURE.sub("", super().__str__())
        short = _LONG_LINE.sub(r"\1 … \2", _LONG_VALUE.sub(r"'\1 … \2'", text))
        return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), short)

    @classmethod
    def of_exposure(cls, exposure: int, problem: str) -> Self:
        """Make the error of an exposure with a problem that others can have too."""
        error = cls(f"Exposure {exposure}{problem}")
        error.common = f"Exposure …{problem}"
        return error


class ConfigError(VisitsError, ValueError):
    """A config file, an override or an instrument's own overrides that make no sense."""


class OverrideError(ConfigError):
    """An override of a config field that makes no sense."""


class DefinitionError(VisitsError, RuntimeError):
    """Exposures from which no valid visit can be made."""


class CameraFileError(VisitsError, RuntimeError):
    """A camera description that cannot be read or makes no sense."""


class CameraFitError(VisitsError, RuntimeError):
    """Places on the sky to which no camera can be fitted."""


class CameraLookupError(VisitsError, LookupError):
    """No camera geometry was found for an exposure."""


class DatabaseError(VisitsError, RuntimeError):
    """A database that cannot be reached, or fails again and again for no fault of what was asked of it."""


class ReadOnlyError(VisitsError, TypeError):
    """A repository that is to be written, and was opened to be read."""


class RawFileError(VisitsError, RuntimeError):
    """A raw file that cannot be read, or from whose headers no detector's WCS can be taken."""


class IncompleteFileError(RawFileError):
    """A raw file that ends before its headers say, and may still be growing."""


class WcsError(RawFileError):
    """A raw whose header has a WCS that cannot be used."""


class NoWcsError(WcsError):
    """A raw whose header has no celestial WCS."""


class RecordError(VisitsError, RuntimeError):
    """A stored record that the Butler cannot read, because its region is damaged."""


class DescriptionError(VisitsError, ValueError):
    """An instrument description that cannot be read or makes no sense."""


class HeaderError(VisitsError, ValueError):
    """A header that lacks what an instrument description expects, or has it in another form."""

    prop = ""
    """The property that it is about."""

    value: object = None
    """The value that is none of those which the property can have."""


class IngestError(VisitsError, RuntimeError):
    """A file or a row of a table of which no exposure can be made."""

    mistakes: Sequence[HeaderError] = ()
    """All that is wrong with its header, if that is what hinders it."""


class WorkerError(VisitsError, RuntimeError):
    """Visits that workers could not define, because they died or cannot be reached, or must not for a transaction."""


_NEEDS = {
    "matplotlib": ("Pictures need", "report"),
    "mocpy": ("MOCs need", "report"),
    "hpgeom": ("The page needs", "report"),
    "prometheus_client": ("Metrics need", "watch"),
    "skyproj": ("Pictures need", "report"),
}


def require(package: str) -> None:
    """Raise `VisitsError` where a package that something needs is not installed."""
    if importlib.util.find_spec(package) is None:
        who, extra = _NEEDS[package]
        raise VisitsError(f"{who} {package}, which is not installed: pip install 'butler-visits[{extra}]'.")


@contextmanager
def noting(done: Callable[[], str]) -> Iterator[None]:
    """Let Ctrl-C say what has been done until then, in a note of the exception."""
    try:
        yield
    except KeyboardInterrupt as error:
        if note := done():
            error.add_note(note)
        raise
