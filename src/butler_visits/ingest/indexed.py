"""Headers from the index and sidecar files that ``astrometadata`` writes, where they say all that the raws would.

Whenever there is doubt, a raw itself is read: if it is not older than the index, has another size than its header asks
for, may have more than one image, or was translated otherwise than it would be now.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections import Counter
from collections.abc import Hashable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from astro_metadata_translator import MetadataTranslator, ObservationInfo
from astro_metadata_translator.indexing import process_index_data, process_sidecar_data
from lsst.resources import ResourcePath

from ..errors import RawFileError
from ..instruments import has_one_detector, last_detector
from ..lists import FAILURES, first_line
from ..raws import RawFile, known_translators, read_raw_files
from ..raws.cards import RawHeader
from .files import SUFFIXES
from .translate import (
    EXPOSURE_PROPERTIES,
    PROPERTIES,
    REQUIRED,
    TranslatedFile,
    detector_values,
    lacks,
    translate_file,
)

_LOG = logging.getLogger(__name__)

_INDEX = "_index.json"
_CONTENT = "__CONTENT__"

_BLOCK = 2880
_CARDS_OF_BLOCK = 36
_TEXT_OF_CARD = 67
"""Characters of a long text that fit into a card."""

_REMARKS = ("COMMENT", "HISTORY", "")
"""Keywords that a header may have many of."""

_POINTING = frozenset(("tracking_radec", "boresight_rotation_angle", "altaz_begin"))
"""What exposures off the sky need not have."""


class _Header(dict[str, Any]):
    """A header in an index, which takes keywords in any case as those of files do."""

    problems: Mapping[str, str] = {}

    def __missing__(self, key: str) -> Any:
        found = _keyword(key)
        if found == key or not super().__contains__(found):
            raise KeyError(key)
        return self[found]

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or (isinstance(key, str) and super().__contains__(_keyword(key)))

    def get(self, key: str, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default


def _keyword(key: str) -> str:
    return key.strip().upper().removeprefix("HIERARCH ").strip()


@dataclass(frozen=True, eq=False)
class IndexedFile:
    """What an index says of a file."""

    uri: str
    content: RawFile | Mapping[str, Any]
    """Its header, or the properties of its exposure and its detector."""
    layout: Hashable
    """What files have alike that have as many images."""
    is_single: bool
    """Whether it is known that the file is whole and has one image, or images of one detector."""


class HeaderSource:
    """Reads the headers of raws, from an index where there is one and it can be trusted."""

    def __init__(
        self,
        translator: type[MetadataTranslator] | None,
        described: Sequence[type[MetadataTranslator]],
        threads: int,
        *,
        use_index: bool = True,
    ) -> None:
        self._translator = translator
        self._described = described
        self._threads = threads
        self._use_index = use_index
        self._folder: _Folder | None = None
        self._single: set[Hashable] = set()

    def read(self, uris: Sequence[str]) -> list[RawFile | RawFileError | IndexedFile]:
        """Return what is known of each file."""
        found = {uri: entry for uri in uris if (entry := self._find(uri)) is not None}
        # Where the index does not say how many images a file has, one of each layout is read and compared with it.
        samples: dict[Hashable, str] = {}
        for uri, entry in found.items():
            if not self._is_single(entry):
                samples.setdefault(entry.layout, uri)
        read = self._read([uri for uri in uris if uri not in found or uri in samples.values()])
        for layout, uri in samples.items():
            if self._agrees(read[uri], found[uri]):
                self._single.add(layout)
        read |= self._read([uri for uri, entry in found.items() if uri not in read and not self._is_single(entry)])
        return [read.get(uri) or found[uri] for uri in uris]

    def _read(self, uris: Sequence[str]) -> dict[str, RawFile | RawFileError | IndexedFile]:
        return dict(zip(uris, read_raw_files(uris, threads=self._threads), strict=True))

    def _is_single(self, entry: IndexedFile) -> bool:
        return entry.is_single or entry.layout in self._single

    def _agrees(self, file: RawFile | RawFileError | IndexedFile, entry: IndexedFile) -> bool:
        """Tell whether an index says of a file what it says itself, and the file shows no more."""
        if not isinstance(file, RawFile) or (isinstance(entry.content, RawFile) and len(file.images) > 1):
            return False
        try:
            read = translate_file(file, self._translator, self._described)
        except FAILURES:
            return False
        indexed = translate_indexed(entry, self._translator, self._described)
        return indexed is not None and _plain_values(read) == _plain_values(indexed)

    def _find(self, uri: str) -> IndexedFile | None:
        if not self._use_index:
            return None
        try:
            path = ResourcePath(uri, forceAbsolute=False, forceDirectory=False)
        except UnicodeError:
            # A name that is no text is for the reader to refuse.
            return None
        if not path.isLocal:
            # When it was changed is not known.
            return None
        folder, name = os.path.split(os.path.abspath(path.ospath))
        if self._folder is None or self._folder.path != folder:
            self._folder = _Folder(folder)
        return self._folder.find(uri, name)


class _Folder:
    """The index and the sidecar files of a folder."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._names = os.listdir(path)
        except OSError:
            self._names = []
        self._sidecars = Counter(_sidecar(name) for name in self._names if name.lower().endswith(SUFFIXES))
        self._time, self._mode, entries = self._read(_INDEX)
        self._entries = {os.path.normpath(os.path.join(path, key)): entry for key, entry in entries.items()}
        here = {os.path.join(path, name) for name in self._names}
        if not self._entries.keys() <= here:
            # It is another folder's, or was made before files were taken away.
            _LOG.info("%s names files that are not there, and is not used.", os.path.join(path, _INDEX))
            self._entries = {}
        # Files that are cut short are smaller than the others.
        sizes = [_size(os.path.join(path, name)) for name in self._names if name.lower().endswith(SUFFIXES[::4])]
        size, count = Counter(sizes).most_common(1)[0] if sizes else (0, 0)
        self._usual_size = size if 2 * count > len(sizes) > 1 else None

    def find(self, uri: str, name: str) -> IndexedFile | None:
        """Return what the index, or else a sidecar file, says of a file that was not changed after it was written."""
        path = os.path.join(self.path, name)
        try:
            # A link may have been set to another file.
            changed = max(os.stat(path).st_mtime_ns, os.lstat(path).st_mtime_ns)
            size = os.stat(path).st_size
        except OSError:
            return None
        if path in self._entries and changed < self._time:
            return self._indexed(uri, self._mode, self._entries[path], size)
        sidecar = _sidecar(name)
        if sidecar in self._names and self._sidecars[sidecar] == 1:
            written, mode, content = self._read(sidecar)
            if changed < written:
                return self._indexed(uri, mode, content, size)
        return None

    def _read(self, name: str) -> tuple[int, str, Mapping[str, Any]]:
        """Read a file: when it was written, of what kind it is, and its content."""
        nothing: tuple[int, str, Mapping[str, Any]] = 0, "", {}
        if name not in self._names:
            return nothing
        path = os.path.join(self.path, name)
        try:
            with open(path, encoding="utf-8") as file:
                written = os.fstat(file.fileno()).st_mtime_ns
                content = json.load(file)
            mode = content.get(_CONTENT)
            if mode not in ("metadata", "translated"):
                raise ValueError(f"{_CONTENT} is {mode!r}, expected 'metadata' or 'translated'")
            if name == _INDEX:
                return written, mode, process_index_data(content, force_metadata=True, force_dict=False)
            return written, mode, process_sidecar_data(content, force_metadata=True)
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            _LOG.warning("%s cannot be used (%s); the headers are read.", path, first_line(error))
            return nothing

    def _indexed(self, uri: str, mode: str, content: Mapping[str, Any], size: int) -> IndexedFile | None:
        if not uri.lower().endswith(SUFFIXES[::4]) or size == 0:
            # Whether a compressed one is whole its size does not tell.
            return None
        if mode == "metadata":
            return _with_header(uri, content, size)
        name = str(content.get("_translator"))
        # What is missing may be so in the header, or in an index of an older version.
        missing = frozenset(prop for prop in PROPERTIES if content.get(prop) is None)
        expected = _POINTING if content.get("can_see_sky") is False else frozenset[str]()
        is_single = size == self._usual_size and has_one_detector(name) and missing <= expected
        return IndexedFile(uri, content, (self.path, name, size, missing), is_single)


def _with_header(uri: str, content: Mapping[str, Any], size: int) -> IndexedFile | None:
    """Take the header of a file that can have no second image, or is alike to one that has none.

    The index has merged the first two headers, so the size of the file tells how much there is beside.
    """
    if content.get("SIMPLE") is not True or str(content.get("XTENSION", "IMAGE")).strip() != "IMAGE":
        return None
    numbers = [content.get("NAXIS"), content.get("BITPIX"), content.get("PCOUNT", 0), content.get("GCOUNT", 1)]
    n_axes, bits, more, groups = (number if type(number) is int else -1 for number in numbers)
    axes = [axis for n in range(1, n_axes + 1) if type(axis := content.get(f"NAXIS{n}")) is int and axis > 0]
    remarks = [content[key] for key in _REMARKS if key in content]
    cards = {key: value for key, value in content.items() if key not in _REMARKS}
    if not len(axes) == n_axes >= 2 or any(isinstance(value, (list, dict)) for value in cards.values()):
        return None
    data = -(-(abs(bits) // 8 * groups * (more + math.prod(axes))) // _BLOCK)
    texts = (value for value in cards.values() if isinstance(value, str))
    n_cards = len(cards) + sum(max(0, -(-len(text) // _TEXT_OF_CARD) - 1) for text in texts)
    n_cards += sum(len(remark if isinstance(remark, list) else str(remark).splitlines()) for remark in remarks)
    header = -(-(n_cards + 1) // _CARDS_OF_BLOCK)
    spare, odd = divmod(size - (data + header) * _BLOCK, _BLOCK)
    if odd or spare < 0:
        return None
    # Another image would take a block for its header and one at least for its pixels. An image that is compressed may
    # be of any size, but is in an extension.
    is_single = spare < 2 and "XTENSION" not in content
    file = RawFile(uri, (cast(RawHeader, _Header(cards)),), {0: (axes[0], axes[1])})
    return IndexedFile(uri, file, (frozenset(cards), bits, *axes, spare), is_single)


def translate_indexed(
    entry: IndexedFile, translator: type[MetadataTranslator] | None, described: Sequence[type[MetadataTranslator]]
) -> TranslatedFile | None:
    """Understand a file without reading it, as `translate_file` would; `None` if it must be read."""
    try:
        if isinstance(entry.content, RawFile):
            return translate_file(entry.content, translator, described)
        if translator is not None or any(hasattr(one, "description") for one in described):
            # Whether they are of a described instrument only the headers say.
            return None
        return _translated(entry, entry.content, described)
    except (*FAILURES, TypeError):
        return None


def _translated(
    entry: IndexedFile, content: Mapping[str, Any], described: Sequence[type[MetadataTranslator]]
) -> TranslatedFile | None:
    name = str(content.get("_translator"))
    translator = next((one for one in described if one.name == name), None)
    if not described:
        translator = known_translators().get(name)
    if translator is None:
        return None
    if content.get("instrument") not in (translator.name, translator.supported_instrument):
        return None
    info = ObservationInfo.from_simple(cast(MutableMapping[str, Any], dict(content)))
    if any(lacks(info, prop) for prop in REQUIRED):
        return None
    detector = detector_values(info, translator)
    limit = last_detector(name)
    if detector is None or (limit is not None and detector.id > limit):
        return None
    return TranslatedFile(entry.uri, translator, info, (detector,))


def _plain_values(file: TranslatedFile) -> dict[str, Any]:
    """List what a file says in texts and whole numbers, and which other values there are."""
    values = {prop: getattr(file.observation, prop) for prop in EXPOSURE_PROPERTIES}
    plain = {prop: value if isinstance(value, str | int | None) else "given" for prop, value in values.items()}
    return {**plain, "detectors": file.detectors}


def _sidecar(name: str) -> str:
    try:
        name.encode()
    except UnicodeError:
        # A name that is no text has none.
        return ""
    return os.path.basename(ResourcePath(name, forceAbsolute=False).updatedExtension(".json").ospath)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1
