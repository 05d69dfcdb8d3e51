"""Put a draft together, write it with its comments, and try it on the files."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import yaml
from lsst.resources import ResourcePathExpression

from ...errors import IngestError
from ...instruments.description import InstrumentDescription
from ...instruments.translator import make_translator
from ...lists import counted, one_line, printable
from ...yaml_files import load_yaml
from ..files import find_raw_files
from ..translate import find_sites, translate_file
from . import camera, exposure
from .frames import Frame, Section, files_by_value, keys_with_values, read_frames
from .pointing import horizon, pointing
from .rotation import rotation
from .site import site

_ADVICE = "Nothing says how the camera was turned: only frames that are solved (with a WCS) become visits."


@dataclass(frozen=True)
class Draft:
    """A draft of an instrument description; ``text`` is the YAML file."""

    name: str
    text: str
    n_files: int
    check: tuple[str, ...]
    """What a user should look at."""
    example: str
    """The file of the first frame of the sky, or of any frame."""


def draft_description(places: Sequence[ResourcePathExpression]) -> Draft:
    """Draft a description from raw files, or those in folders, of one camera with one detector.

    Raises `IngestError` if there are no files, or a draft cannot be made of them.
    """
    found = find_raw_files(places)
    if found.errors:
        raise found.errors[0]
    find_sites()
    frames, left_out = read_frames(found.files)
    named = exposure.recognise(frames)
    types = exposure.types(frames)
    times, is_close = exposure.times(frames)
    filters, physical_filter = exposure.filters(frames)
    place = site(frames)
    looked, *missing = pointing(frames)
    turned, flipped = rotation(frames)
    if turned is None:
        turned = Section({}, check=[_ADVICE])
    cameras = camera.camera(frames, named.content["name"], flipped)
    properties = [*times, types, physical_filter, looked, turned, horizon(frames)]
    top = [named, *place, filters, *missing]
    if is_close:
        begin = times[0].content["datetime_begin"]
        template = begin.get("template") or f"{{{begin.get('key')}}}"
        if begin.get("format", "isot") == "isot":
            ids = Section({"exposure_id": {"template": template}}, ["Exposures begin in the same second."])
            properties.insert(0, ids)
            top.append(Section({"exposure_max": 3 * 10**16}))
    kept = [one for one in properties if one is not None]
    about = [frame.wcs_problem for frame in frames if frame.wcs_problem]
    check = [*left_out, *about, *(line for one in (*top, *kept, *cameras) for line in one.check)]
    text = "\n".join(_lines(frames, top, kept, cameras))
    check += _tried(text, frames)
    first = next((frame for frame in frames if frame.kind == "science"), frames[0])
    return Draft(named.content["name"], f"{text}\n", len(frames), tuple(check), first.file.uri)


def _tried(text: str, frames: Sequence[Frame]) -> list[str]:
    """Translate the files with a draft, and say which it does not fit."""
    translator = make_translator(InstrumentDescription.from_mapping(load_yaml(text), "the draft"))
    problems = []
    for frame in frames:
        try:
            translate_file(frame.file, translator)
        except IngestError as error:
            problems.append(str(error))
    more = f" {counted(len(problems) - 1, 'more file')} would be refused too." if len(problems) > 1 else ""
    return [f"ingest will refuse {problems[0]}{more}"] if problems else []


def _lines(
    frames: Sequence[Frame], top: list[Section], properties: list[Section], cameras: list[Section]
) -> Iterator[str]:
    written_by = next(iter(keys_with_values(frames, ("SWCREATE", "CREATOR", "PROGRAM", "SOFTWARE"))), None)
    by = "" if written_by is None else f" by {next(iter(files_by_value(frames, written_by)))}"
    yield from _comment(
        f"Draft of an instrument description, from {counted(len(frames), 'file')}{by}. What is marked with CHECK was "
        "not sure; docs/instruments.md explains all keys. Next: butler-visits ingest REPO RAWS --instrument THIS_FILE"
    )
    for section in top:
        yield ""
        yield from _written(section)
    yield from ("", "properties:")
    for section in properties:
        yield from (f"  {line}" for line in _written(section))
    for section in cameras:
        yield ""
        yield from _written(section)


def _written(section: Section) -> Iterator[str]:
    for line in section.said:
        yield from _comment(line)
    for line in section.check:
        yield from _comment(f"CHECK: {line}")
    if section.content:
        is_plain = not any(isinstance(value, dict | list) for value in section.content.values())
        yield from yaml.dump(
            section.content,
            Dumper=_Dumper,
            default_flow_style=False if is_plain else None,
            sort_keys=False,
            width=110,
            allow_unicode=True,
        ).splitlines()


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        one_line(printable(text)), 118, initial_indent="# ", subsequent_indent="# ", break_long_words=False
    )


class _Dumper(yaml.SafeDumper):
    """Writes lists of numbers on one line, and values that are there twice twice."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _list(dumper: _Dumper, data: list[object]) -> yaml.Node:
    flow = True if data and not any(isinstance(one, dict) for one in data) else None
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=flow)


_Dumper.add_representer(list, _list)
