"""Folders: what comes into them is told by the kernel (inotify), or found by looking at them now and then."""

from __future__ import annotations

import errno
import logging
import math
import os
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from time import monotonic, time
from typing import TYPE_CHECKING

from ..ingest.files import file_name
from .places import Signature, is_raw_name, local_path, signature_of_path
from .sources import Found, News, Polled, Unsettled

if TYPE_CHECKING:
    from inotify_simple import Event, INotify

_LOG = logging.getLogger(__name__)

_POLL = 5.0
"""Seconds between two looks at a folder, where there is no inotify."""

_RESCAN = 300.0
"""Seconds between two looks at a folder of which the kernel tells, for what it does not tell of."""

_CHECK = 1.0
"""Seconds between two looks at whether a folder is still the same."""

_READ_AGAIN = 10.0
"""Seconds before a folder is tried again that could not be read."""


class _ReplacedError(Exception):
    """A folder that was removed, and perhaps made again."""


class Folder(Polled):
    """A folder, and all folders in it."""

    def __init__(
        self,
        root: str,
        tell: Callable[[News], None],
        unsettled: Unsettled,
        *,
        poll: float | None,
        once: bool,
        own: Collection[str] = (),
    ) -> None:
        """Watch a folder, but none of ``own``: the real paths of where a repository has its files."""
        self._with_events = poll is None and not once and _has_inotify()
        super().__init__(root, tell, unsettled, poll=_RESCAN if self._with_events else poll or _POLL, once=once)
        self._root = root
        self._own = own
        self._inotify: INotify | None = None
        self._folders: dict[int, str] = {}
        self._created: set[str] = set()
        self._unreadable: dict[str, float] = {}
        self._complained: set[str] = set()

    def _watch(self) -> None:
        with self._listening():
            status = os.stat(self._root)
            self._identity = status.st_dev, status.st_ino
            super()._watch()

    @contextmanager
    def _listening(self) -> Iterator[None]:
        if not self._with_events:
            yield
            return
        from inotify_simple import INotify

        self._folders.clear()
        try:
            inotify = INotify()
        except OSError as error:
            self._poll_instead(error)
            yield
            return
        with inotify:
            self._inotify = inotify
            try:
                yield
            finally:
                self._inotify = None

    def _poll_instead(self, error: OSError) -> None:
        """Do without inotify, whose resources are limited."""
        self._inotify = None
        self._with_events = False
        self._poll = _POLL
        _LOG.warning(
            "%s: the system has no more inotify watches for it (%s); it is looked at every %g s instead. Raise "
            "fs.inotify.max_user_watches and max_user_instances with sysctl, or give --poll.",
            self._root,
            error.strerror,
            _POLL,
        )

    def _look(self) -> None:
        self._created.clear()
        self._scan(self._root, again=True)

    def _scan(self, folder: str, *, again: bool = False) -> None:
        """See all files in a folder and those in it, and have the kernel tell of what comes.

        ``again``: leave to the kernel what may just be written in folders of which it tells already.
        """
        folders = [folder]
        while folders:
            parent = folders.pop()
            try:
                # First, so that nothing comes in between.
                heard = self._listen(parent) and again
                with os.scandir(parent) as entries:
                    for entry in entries:
                        if entry.name.startswith("."):
                            continue
                        if entry.is_dir(follow_symlinks=False):
                            if not self._own or os.path.realpath(entry.path) not in self._own:
                                folders.append(entry.path)
                        elif is_raw_name(entry.name):
                            self._see(entry.path, heard=heard)
            except (FileNotFoundError, NotADirectoryError):
                if parent == self._root:
                    raise
            except OSError as error:
                if parent == self._root:
                    raise
                self._unreadable[parent] = monotonic() + _READ_AGAIN
                if parent not in self._complained:
                    self._complained.add(parent)
                    _LOG.warning("The folder %s cannot be read: %s. It is tried again.", parent, error.strerror)

    def _listen(self, folder: str) -> bool:
        """Have the kernel tell of what comes into a folder; returns whether it does already."""
        if self._inotify is None:
            return False
        from inotify_simple import flags

        mask = flags.CLOSE_WRITE | flags.MOVED_TO | flags.CREATE | flags.OPEN | flags.DELETE_SELF | flags.MOVE_SELF
        try:
            number = self._inotify.add_watch(folder, mask | flags.ONLYDIR)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.ENOMEM, errno.EMFILE):
                raise
            self._poll_instead(error)
            return False
        is_known = number in self._folders
        self._folders[number] = folder
        return is_known

    def _see(self, path: str, *, heard: bool) -> None:
        """See a file; ``heard``: in a folder of which the kernel tells since the last look."""
        if (signature := signature_of_path(path)) is None:
            return
        if heard and 0.0 <= time() - signature[1] / 1e9 < _RESCAN:
            # Who writes it will close it. If not, the next look finds it.
            return
        self._unsettled.see(file_name(path), signature)

    def _signature(self, place: str) -> Signature | None:
        path = local_path(place)
        return None if path is None else signature_of_path(path)

    def _wait(self, seconds: float) -> None:
        until = monotonic() + seconds
        while not self._ended.is_set():
            left = min(until - monotonic(), _CHECK)
            if self._inotify is None:
                self._ended.wait(max(0.0, left))
            else:
                self._hear(max(0.0, left))
            status = os.stat(self._root)
            if (status.st_dev, status.st_ino) != self._identity:
                raise _ReplacedError("it was replaced")
            for folder in [one for one, due in self._unreadable.items() if due <= monotonic()]:
                del self._unreadable[folder]
                self._scan(folder)
            if monotonic() >= until or self._unsettled.next_due() <= 0.0:
                return

    def _hear(self, seconds: float) -> None:
        """Take what the kernel tells."""
        assert self._inotify is not None
        for event in self._inotify.read(timeout=math.ceil(1000 * seconds)):
            self._take(event)
            if self._inotify is None:
                return

    def _take(self, event: Event) -> None:
        from inotify_simple import flags

        if event.mask & flags.Q_OVERFLOW:
            _LOG.warning("%s: more has come than the kernel can tell; all of it is looked at again.", self._root)
            self._scan(self._root)
            return
        folder = self._folders.get(event.wd)
        if folder is None:
            return
        if event.mask & (flags.IGNORED | flags.UNMOUNT):
            del self._folders[event.wd]
            if folder == self._root:
                # One that was made again at once may even have the same number.
                raise _ReplacedError("it was replaced")
        elif event.mask & flags.MOVE_SELF:
            self._moved(folder)
        elif event.name:
            path = os.path.join(folder, event.name)
            if event.mask & flags.ISDIR:
                is_new = event.mask & (flags.CREATE | flags.MOVED_TO)
                if is_new and not event.name.startswith(".") and os.path.realpath(path) not in self._own:
                    self._scan(path)
            elif is_raw_name(event.name):
                if event.mask & flags.OPEN:
                    self._opened(path)
                else:
                    self._take_file(path, closed=bool(event.mask & (flags.CLOSE_WRITE | flags.MOVED_TO)))

    def _opened(self, path: str) -> None:
        """Wait until a file is closed that was created by opening it, and not linked when it was whole."""
        if path in self._created:
            self._created.discard(path)
            self._unsettled.drop(file_name(path))

    def _take_file(self, path: str, *, closed: bool) -> None:
        self._created.discard(path)
        signature = signature_of_path(path)
        if signature is None:
            return
        try:
            status = os.lstat(path)
        except OSError:
            return
        place = file_name(path)
        is_link = stat.S_ISLNK(status.st_mode)
        if closed and not is_link:
            self._unsettled.drop(place)
            if not self._unsettled.knows(place, signature):
                self._tell(Found(place, signature, monotonic()))
        else:
            # Nobody closes a link, and what it leads to may be growing elsewhere.
            self._unsettled.see(place, signature)
            if not is_link and status.st_nlink == 1:
                self._created.add(path)

    def _moved(self, folder: str) -> None:
        """Hear no more of what was moved out; what was moved within has its new name already."""
        assert self._inotify is not None
        if folder == self._root or os.path.isdir(folder):
            return
        for number in [n for n, path in self._folders.items() if path == folder or path.startswith(folder + os.sep)]:
            del self._folders[number]
            with suppress(OSError):
                self._inotify.rm_watch(number)


def _has_inotify() -> bool:
    if find_spec("inotify_simple") is not None:
        try:
            import inotify_simple  # noqa: F401
        except (ImportError, OSError, AttributeError):
            return False
        return True
    _LOG.warning(
        "Without inotify-simple folders are looked at every %g s; pip install 'butler-visits[watch]' has the kernel "
        "tell at once.",
        _POLL,
    )
    return False
