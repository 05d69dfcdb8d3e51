"""Ingest raw files: their exposures' records, and ``raw`` datasets."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

from astro_metadata_translator import MetadataTranslator
from lsst.daf.butler import Butler
from lsst.daf.butler.progress import Progress, ProgressBar
from lsst.resources import ResourcePath, ResourcePathExpression

from ..errors import IncompleteFileError, IngestError, RawFileError, noting
from ..lists import FAILURES, batches, counted, isolate, reason_of
from ..raws import RawFile, import_translators, read_raw_files
from ..raws.headers import THREADS
from ..repository import check_kept, datastore_roots, fetch_instruments, try_again
from ..repository.instruments import store_translator
from .choice import GivenInstrument, InstrumentChoice, band_of, choose_instrument
from .datasets import Raw, RawWriter, TransferMode
from .days import DayRollover
from .doubts import warn_of_times
from .files import FoundFiles, find_raw_files
from .filters import filters_error, lacks_filter
from .image_finder import ImageFinder
from .images import ImageChoice, images_wanted
from .indexed import HeaderSource, IndexedFile, translate_indexed
from .insert import ExposurePlan, check_arguments, plan_and_write
from .records import OWN_ID, is_of_one_second, observation_values
from .result import IngestFailure, IngestResult
from .transfer import gone_error, staging
from .translate import TranslatedFile, find_sites, translate_file

_LOG = logging.getLogger(__name__)

_PROGRESS = Progress("butler_visits.ingest")

_BATCH = 200
"""Files in one transaction. More are hardly faster, and SQLAlchemy keeps statements as long as a batch in memory."""

_READ_AHEAD = 4
"""Files whose headers are held at once, for each thread."""


def ingest_raws(
    butler: Butler,
    files: Iterable[ResourcePathExpression] | FoundFiles,
    *,
    instrument: GivenInstrument | None = None,
    translator: str | None = None,
    transfer: TransferMode = "direct",
    output_run: str | None = None,
    threads: int = THREADS,
    index: bool = True,
    batch_size: int = _BATCH,
    on_error: Literal["raise", "skip"] = "raise",
    update_records: bool = False,
    images: ImageChoice = "auto",
    dry_run: bool = False,
) -> IngestResult:
    """Put raw files into a repository: their exposures' records, and a ``raw`` dataset for each detector.

    Only headers are read. Files that are there already are skipped, so that running it twice is safe, and a process
    that was killed is simply started again.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository, writeable.
    files : `~collections.abc.Iterable` [`lsst.resources.ResourcePathExpression`]
        Files and folders, of which the FITS files are taken; or what `find_raw_files` has found.
    instrument : `lsst.resources.ResourcePathExpression` or `InstrumentDescription`, optional
        The instrument that the files are of: a registered name, a name that astro_metadata_translator knows, a
        description, or a YAML file that has one. By default the headers say it.
    translator : `str`, optional
        A Python module with `~astro_metadata_translator.MetadataTranslator` classes, which read the headers; or the
        name of a plugin of astro_metadata_translator. The repository remembers it.
    transfer : `str`, optional
        ``direct`` leaves the files where they are; ``copy``, ``link`` (a hard link or, where that is not possible, a
        symbolic one), ``symlink`` and ``move`` put them into the repository.
    output_run : `str`, optional
        The run collection of the datasets; by default the instrument's own, ``<instrument>/raw/all``.
    threads : `int`, optional
        Files that are read at the same time.
    index : `bool`, optional
        Take headers from index and sidecar files of ``astrometadata`` where they say what the files would; else read
        all.
    batch_size : `int`, optional
        Files that are written together, in one transaction.
    on_error : `str`, optional
        ``raise`` stops at the first file that cannot be ingested, and nothing of its batch is written; ``skip`` reports
        such files and ingests all others.
    update_records : `bool`, optional
        Replace exposures that are stored otherwise, instead of raising; `redefine_visits` does so with their visits.
    images : `str`, optional
        Store an image beside each raw, from the same file: ``trimmed``, a ``raw_image`` of what shows sky, or
        ``untrimmed``, a ``raw_image_untrimmed`` with prescan and overscan; `None` stores none. The default is
        ``trimmed`` where ``lsst-images`` is installed and the repository takes them.
    dry_run : `bool`, optional
        Write nothing; the result is what would be done.

    Returns
    -------
    result : `IngestResult`
        What was done.

    Raises
    ------
    IngestError, RawFileError
        If a file cannot be read or understood, or has the same exposure and detector as another.
    lsst.daf.butler.registry.ConflictingDefinitionError
        If an exposure is stored otherwise.
    TypeError
        If the Butler is read-only.
    """
    check_arguments(butler, on_error, dry_run=dry_run)
    if transfer not in get_args(TransferMode):
        raise ValueError(f"transfer must be one of {', '.join(get_args(TransferMode))}, not {transfer!r}.")
    if threads < 1 or batch_size < 1:
        raise ValueError("threads and batch_size must be at least 1.")
    ingest = RawIngest(
        butler,
        choose_instrument(butler, instrument, translator=translator, register=not dry_run),
        transfer,
        output_run,
        threads,
        index=index,
        skip_errors=on_error == "skip",
        update_records=update_records,
        images=images,
        dry_run=dry_run,
    )
    return ingest.run(files if isinstance(files, FoundFiles) else list_raw_files(files, butler, transfer), batch_size)


def list_raw_files(
    places: Iterable[ResourcePathExpression], butler: Butler | None, transfer: TransferMode
) -> FoundFiles:
    """List the files to ingest, but for those that the repository has put away itself."""
    # Files that are moved are gone when they are ingested.
    own = [] if butler is None else datastore_roots(butler)
    return find_raw_files(places, repository=own, may_be_empty=transfer == "move")


@dataclass
class RawIngest:
    """What `ingest_raws` does, again and again with everything warm."""

    butler: Butler
    choice: InstrumentChoice
    transfer: TransferMode
    output_run: str | None
    threads: int
    index: bool
    skip_errors: bool
    update_records: bool
    images: ImageChoice
    dry_run: bool
    may_grow: bool = False
    """Whether files may just be written, so that zeros behind the last HDU are room for another one."""

    def __post_init__(self) -> None:
        self._headers = HeaderSource(self.choice.translator, self.choice.described, self.threads, use_index=self.index)
        self._writers: dict[str, RawWriter] = {}
        # By translator the fields of its instrument's record.
        self._files: Sequence[str] = ()
        self._instruments: dict[type[MetadataTranslator], Mapping[str, Any]] = {}
        self._remembered: set[str] = set()
        self._image_finder = ImageFinder(self.butler, self.threads)
        self._begin()

    def _begin(self) -> None:
        """Forget what was done before."""
        self._exposures: dict[str, set[int]] = defaultdict(set)
        self._image_finder.renew()
        self._result = IngestResult()
        self._days = DayRollover(self.butler)
        self.seen: dict[tuple[str, int], list[tuple[str, tuple[int, ...]]]] = defaultdict(list)
        """By instrument and exposure the files in the repository, and which detectors each shows."""
        # The same detectors are one tuple.
        self._detectors: dict[tuple[int, ...], tuple[int, ...]] = {}

    def run(self, found: FoundFiles, batch_size: int) -> IngestResult:
        """Ingest files."""
        self._begin()
        files, errors = found
        self._files = files
        for error in errors:
            self._fail(str(error), error)
        self._result.n_files = len(files)
        find_sites()
        bar: ProgressBar[None]
        with (
            noting(lambda: "" if self.dry_run else self._result.stored("file")),
            _PROGRESS.bar(total=len(files), desc=f"Ingesting {counted(len(files), 'file')}") as bar,
        ):
            for batch in batches(files, batch_size):
                # Nothing of a batch is kept while the next one is read.
                for name, raws in self._understand(batch).items():
                    self._write(name, raws)
                bar.update(len(batch))
        self._result.exposures = {name: sorted(ids) for name, ids in self._exposures.items()}
        if not self.dry_run:
            for name, ids in self._result.exposures.items():
                check_kept(self.butler, "exposure", name, ids)
        return self._result

    def _fail(self, source: str, error: Exception) -> None:
        if not self.skip_errors:
            raise error
        self._result.failures.append(IngestFailure(source, reason_of(error), type(error)))

    def _understand(self, files: Sequence[str]) -> dict[str, list[Raw]]:
        """Read and translate the headers of files; return what is to be stored by instrument."""
        raws: dict[str, list[Raw]] = defaultdict(list)
        # The headers themselves take much memory, so only some are there at once.
        for some in batches(files, _READ_AHEAD * self.threads):
            translated: dict[type[MetadataTranslator], list[TranslatedFile]] = defaultdict(list)
            files_read = dict(zip(some, self._headers.read(some), strict=True))
            for uri, file in files_read.items():
                try:
                    one = self._translate(uri, file)
                    fields = self.choice.accept(uri, one.translator)
                except FAILURES as error:
                    if lacks_filter(error) and not self.skip_errors:
                        raise self._lacking_filters(error, uri) from error
                    self._fail(uri, error)
                    continue
                self._instruments[one.translator] = fields
                translated[one.translator].append(one)
            hdus: Mapping[str, Mapping[int, Sequence[int]]] = {}
            if images_wanted(self.images):
                names = {translator: fields["name"] for translator, fields in self._instruments.items()}
                hdus = self._image_finder.find(files_read, [one for ones in translated.values() for one in ones], names)
            for translator, ones in translated.items():
                values = observation_values([(one.uri, one.observation) for one in ones], partial(band_of, translator))
                for one, value in zip(ones, values, strict=True):
                    if isinstance(value, Exception):
                        self._fail(one.uri, value)
                    else:
                        raw = Raw(one.uri, value, one.detectors, hdus.get(one.uri, {}))
                        raws[self._instruments[translator]["name"]].append(raw)
        warn_of_times([raw.exposure for some in raws.values() for raw in some])
        return raws

    def _translate(self, uri: str, file: RawFile | RawFileError | IndexedFile) -> TranslatedFile:
        """Understand a file; one that an index says too little of is read after all."""
        translator, described = self.choice.translator, self.choice.described
        if isinstance(file, IndexedFile):
            if (indexed := translate_indexed(file, translator, described)) is not None:
                return indexed
            (file,) = read_raw_files([uri])
        if isinstance(file, RawFileError):
            raise gone_error(uri) if self._is_moved(uri) else file
        if self.may_grow and file.has_zeros_behind:
            raise IncompleteFileError(
                f"{uri}, HDU {len(file.headers)}: there are zeros where it may come; if the file is complete, cut "
                "them off, or use `butler-visits ingest`."
            )
        return translate_file(file, translator, described)

    def _lacking_filters(self, error: Exception, first: str) -> Exception:
        """Find all filters that the description lacks, so that it is mended once: read the other files too."""
        lacking = {first: error}
        for some in batches(self._files[self._files.index(first) + 1 :], _READ_AHEAD * self.threads):
            for uri, file in zip(some, read_raw_files(some, threads=self.threads), strict=True):
                if isinstance(file, Exception):
                    continue
                try:
                    translate_file(file, self.choice.translator, self.choice.described)
                except FAILURES as other:
                    if lacks_filter(other):
                        lacking[uri] = other
        return error if len(lacking) == 1 else filters_error(lacking)

    def _is_moved(self, uri: str) -> bool:
        """Tell whether a file is not there any more because another process may have moved it."""
        if self.transfer != "move":
            return False
        try:
            return not ResourcePath(uri).exists()
        except Exception:
            # What the libraries behind each scheme raise is anything; why it cannot be read is known already.
            return False

    def _write(self, name: str, raws: Sequence[Raw]) -> None:
        """Write files of an instrument, and count them."""
        writer = self._writer(name)
        outcomes, refused = isolate(lambda some: self._write_together(writer, some), raws, skip=self.skip_errors)
        outcomes += refused
        self._remember_translator(name)
        there = [raw for raw, outcome in outcomes if outcome == 0]
        others = try_again(self.butler, lambda: writer.elsewhere(there))
        for raw, outcome in outcomes:
            if isinstance(outcome, Exception):
                self._fail(raw.uri, outcome)
            elif raw in others and self.update_records:
                # It is there to say what its header should have said.
                _LOG.warning("%s is read for its header only: the repository has %s for it.", raw.uri, others[raw])
                self._count(name, raw, 0)
            elif raw in others:
                self._fail(raw.uri, _duplicate_error(name, raw, raw.detectors[0].id, str(others[raw])))
            else:
                self._count(name, raw, outcome)

    def _remember_translator(self, name: str) -> None:
        """Store which module the translator of a new instrument's headers is in, for other processes."""
        module = self.choice.module
        if module is None or self.dry_run or name in self._remembered or name not in fetch_instruments(self.butler):
            return
        # The module may have others, whose files are read by translators of another kind.
        if any(one.name == name for one in import_translators(module)):
            try_again(self.butler, lambda: store_translator(self.butler, name, module))
        self._remembered.add(name)

    def _count(self, name: str, raw: Raw, n_new: int) -> None:
        """Count a file that is in the repository now, with so many new datasets."""
        detectors = tuple(one.id for one in raw.detectors)
        self.seen[name, raw.exposure.id].append((raw.uri, self._detectors.setdefault(detectors, detectors)))
        self._exposures[name].add(raw.exposure.id)
        self._days.add(name, raw.exposure)
        self._result.n_datasets += n_new
        self._result.n_ingested += n_new > 0
        self._result.n_skipped += n_new == 0

    def _writer(self, name: str) -> RawWriter:
        if name not in self._writers:
            fields = next(fields for fields in self._instruments.values() if fields["name"] == name)
            self._writers[name] = try_again(
                self.butler,
                lambda: RawWriter(
                    self.butler, fields, self.transfer, self.output_run, images=self.images, dry_run=self.dry_run
                ),
            )
        return self._writers[name]

    def _write_together(self, writer: RawWriter, raws: Sequence[Raw]) -> list[tuple[Raw, int | Exception]]:
        """Write files in one transaction, and return how many datasets of each are new, or why it is left out."""
        name = writer.instrument["name"]

        def write(plan: ExposurePlan) -> list[tuple[Raw, int | Exception]]:
            outcomes: dict[Raw, int | Exception] = {}
            conflicts = {id(values): error for values, error in plan.failures}
            here: dict[tuple[int, int], str] = {}
            for raw in raws:
                error = conflicts.get(id(raw.exposure)) or self._find_duplicate(name, raw, here)
                if error is not None and not self.skip_errors:
                    raise error
                outcomes[raw] = 0 if error is None else error
            good = [raw for raw, outcome in outcomes.items() if outcome == 0]
            if good:
                outcomes.update(zip(good, writer.write(plan, good, staged), strict=True))
            return list(outcomes.items())

        def given_before(exposure: int) -> str | None:
            return next((uri for uri, _ in self.seen.get((name, exposure), [])), None)

        with staging(self.butler) as staged:
            writer.n_images = 0
            plan, outcomes = plan_and_write(
                self.butler,
                writer.instrument,
                [raw.exposure for raw in raws],
                write,
                given_before if self.update_records else None,
            )
        self._result.n_exposures += len(plan.new)
        self._result.n_images += writer.n_images
        if any(not isinstance(outcome, Exception) for _, outcome in outcomes):
            self._result.corrections += [correction for _, correction in plan.changed]
        return outcomes

    def _find_duplicate(self, instrument: str, raw: Raw, here: dict[tuple[int, int], str]) -> IngestError | None:
        """Find out whether another file has the same exposure and detector; otherwise note that this one has."""
        exposure = raw.exposure.id
        before = self.seen.get((instrument, exposure), [])
        for detector in (one.id for one in raw.detectors):
            other = here.get((exposure, detector)) or next((uri for uri, ids in before if detector in ids), None)
            if other is not None:
                return _duplicate_error(instrument, raw, detector, other)
        here.update(((exposure, one.id), raw.uri) for one in raw.detectors)
        return None


def _duplicate_error(instrument: str, raw: Raw, detector: int, other: str) -> IngestError:
    advice = f" {OWN_ID}" if is_of_one_second(raw.exposure, raw.exposure.fields["timespan"]) else ""
    return IngestError(
        f"{raw.uri}: it shows detector {detector} in exposure {raw.exposure.id} of {instrument}, and so does {other}; "
        f"leave one of them out.{advice}"
    )
