"""What a draft says of exposures: how files are recognised, times, types and filters."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from astropy.time import Time

from ...errors import IngestError
from ...instruments.description import LONGEST_NAME
from ...instruments.times import has_time_of_day, read_scale, read_time
from ...lists import counted, listed
from ..records import guess_band
from .frames import Frame, Section, files_by_value, key_or_keys, keys_with_values, named_values, says

_CAMERA_KEYS = ("INSTRUME", "CAMERA", "DETNAM", "CCDNAME", "TELESCOP")
_TYPE_KEYS = ("IMAGETYP", "OBSTYPE", "IMGTYPE", "IMTYPE", "EXPTYPE", "FRAMETYP", "FRAME", "PICTTYPE")
_FILTER_KEYS = ("FILTER", "FILTERID", "FILTNAM", "FILTNAME", "FILTER1", "INSFLNAM", "FLTRNAM")
_TIME_KEYS = ("DATE-OBS", "DATE-BEG", "DATE_OBS", "DATE-STA", "DATEOBS")
_CLOCK_KEYS = ("TIME-OBS", "UT", "UTC", "UT-START", "UTSTART", "UTC-OBS", "TIME", "TM-START")
_DAYS = {"MJD-OBS": "mjd", "MJD-BEG": "mjd", "JD": "jd", "JD-OBS": "jd", "JD-UTC": "jd", "JD_UTC": "jd"}
_TIMES = ("EXPTIME", "EXPOSURE", "EXP_TIME", "EXPTIM", "ITIME")

_USUAL_TYPES = {
    **dict.fromkeys(("Light", "Light Frame", "Object"), "science"),
    **dict.fromkeys(("Flat", "Flat Field", "Flat Frame"), "flat"),
    **dict.fromkeys(("Dark", "Dark Frame", "DarkFlat", "Dark Flat"), "dark"),
    **dict.fromkeys(("Bias", "Bias Frame", "Zero"), "bias"),
    "Snapshot": "acq",
}
_NUMBERED_TYPES = {"1": "science", "2": "bias", "3": "dark", "4": "flat"}
"""PICTTYPE of SBIG's software and TheSkyX."""

_TYPE_PATTERNS = (
    ("science", r"(light|object|science|tricolor|target).*"),
    ("dark", r".*(darkflat|flatdark|dark).*"),
    ("bias", r".*(bias|zero|offset).*"),
    ("skyflat", r".*(skyflat|twilight|duskflat|dawnflat).*"),
    ("flat", r".*flat.*"),
    ("arc", r"(arc|comp|comparison|lamp).*"),
    ("acq", r"(snapshot|acq|preview|loop).*"),
    ("focus", r"(auto)?focus.*"),
)


def recognise(frames: Sequence[Frame]) -> Section:
    """Name the instrument, and say by what its files are known.

    Raises `IngestError` if they do not say it, or are of several cameras.
    """
    key = next((key for key in _CAMERA_KEYS if all(frame.get(key) is not None for frame in frames)), None)
    if key is None:
        lacking = next((frame for frame in frames if frame.get("INSTRUME") is None), frames[0])
        raise IngestError(
            f"{lacking}: the header does not say which camera it is from (INSTRUME); let the acquisition program write "
            "that, or leave the file out."
        )
    values = files_by_value(frames, key)
    if len({str(value).casefold() for value in values}) > 1:
        raise IngestError(
            f"The files are of several cameras by {key}: {named_values(values)}. A draft is of one: give its files "
            "only."
        )
    value = next(iter(values))
    if isinstance(value, bool):
        raise IngestError(f"{frames[0]}: {key} is {value!r}; expected the camera's name.")
    name = re.sub(r"[^A-Za-z0-9]+", "-", str(value)).strip("-")
    name = (name if re.match("[A-Za-z]", name) else f"Cam-{name}".strip("-"))[:LONGEST_NAME].strip("-")
    said = ["The name is yours to choose: data IDs have it. Files are known by what is under recognise."]
    check = []
    telescopes = files_by_value(frames, "TELESCOP") if key != "TELESCOP" else {}
    if len(telescopes) == 1:
        said.append(f"If the camera is used on several telescopes, add there: TELESCOP: {next(iter(telescopes))!r}")
    elif telescopes:
        check.append(f"TELESCOP differs: {named_values(telescopes)}; this description takes them all alike.")
    return Section({"name": name, "recognise": {key: value}}, said, check)


def types(frames: Sequence[Frame]) -> Section:
    """Say what types of frames there are, and write it into the frames."""
    keys = [key for key in _TYPE_KEYS if any(_type(key, value) is not None for value in files_by_value(frames, key))]
    keys = keys or keys_with_values(frames, _TYPE_KEYS)
    if keys and all(frame.get(keys[0]) is not None for frame in frames):
        keys = keys[:1]
    if not keys:
        for frame in frames:
            frame.kind = "science"
        unsure = "No header says whether a frame is of the sky, a flat, a dark or a bias: all are taken for science."
        return Section({"observation_type": {"value": "science"}}, check=[f"{unsure} Leave the others out."])
    meant = dict(_NUMBERED_TYPES) if "PICTTYPE" in keys else {}
    meant |= _USUAL_TYPES if keys != ["PICTTYPE"] else {}
    known = {one.casefold() for one in meant}
    check: list[str] = []
    unknown: dict[str, Frame] = {}
    without: list[Frame] = []
    for frame in frames:
        key = next((key for key in keys if frame.get(key) is not None), None)
        if key is None:
            without.append(frame)
            continue
        text = str(frame.get(key))
        frame.kind = _type(key, text) or text.casefold()
        if _type(key, text) is None:
            unknown[text] = frame
        if text.casefold() not in known:
            meant[text] = frame.kind
            known.add(text.casefold())
    for text, frame in unknown.items():
        check.append(
            f"Frames of type {text!r} (first {frame}) are taken for frames of the sky; write science, bias, dark, flat "
            "or another word for it."
        )
    if without:
        check.append(f"{without[0]} does not say what type of frame it is ({', '.join(keys)}); leave such files out.")
    found = Counter(frame.kind for frame in frames if frame.kind)
    said = f"In these files: {listed(f'{count} {kind}' for kind, count in found.items())}."
    return Section({"observation_type": {"key": key_or_keys(keys), "map": meant}}, [said], check)


def _type(key: str, value: object) -> str | None:
    if key == "PICTTYPE":
        return _NUMBERED_TYPES.get(str(value))
    text = re.sub(r"[^a-z]+", "", str(value).casefold())
    return next((kind for kind, pattern in _TYPE_PATTERNS if re.fullmatch(pattern, text)), None)


def filters(frames: Sequence[Frame]) -> tuple[Section, Section | None]:
    """List the filters, with the bands that their names suggest, and say where a header has them."""
    keys = keys_with_values(frames, _FILTER_KEYS)[:1]
    names: dict[str, str] = {}
    spelt: dict[str, str] = {}
    for frame in frames:
        if keys and (value := frame.get(keys[0])) is not None:
            text = str(value)
            spelt[text] = names.setdefault(text.casefold(), text[:LONGEST_NAME].strip())
    listed_filters = [{"name": name, "band": _band(name)} for name in sorted(set(names.values()))]
    none = next(word for word in ("none", "no filter", "without") if word not in names)
    if not keys:
        section = Section({"filters": [{"name": none, "band": "white"}]}, ["No header has a filter."])
        return section, Section({"physical_filter": {"value": none}})
    where: dict[str, object] = {"key": keys[0]}
    if any(text != name for text, name in spelt.items()):
        where["map"] = {text: spelt[text] for text in {one.casefold(): one for one in spelt}.values()}
    # An exposure of the sky may lack its filter by mistake, if others have one.
    is_always_there = all(frame.get(keys[0]) is not None for frame in frames if frame.sees_sky)
    where["default_off_sky" if is_always_there else "default"] = none
    check = []
    if not is_always_there:
        lacking = [frame for frame in frames if frame.sees_sky and frame.get(keys[0]) is None]
        check.append(f"{counted(len(lacking), 'frame')} of the sky without a filter, first {lacking[0]}: {none!r}.")
    listed_filters.append({"name": none, "band": none})
    said = ["All filters of these files, and a name for frames without; the bands are guessed. Add those that lack."]
    return Section({"filters": listed_filters}, said), Section({"physical_filter": where}, check=check)


def _band(name: str) -> str:
    band = "white" if name.casefold() in ("l", "lum", "luminance", "clear", "c") else guess_band(name)
    return band[:LONGEST_NAME]


def times(frames: Sequence[Frame]) -> tuple[list[Section], bool]:
    """Say where begin and exposure time are, and write the begin into the frames; also whether ids need fractions.

    Raises `IngestError` if no header has a time.
    """
    keys = [key for key in _TIME_KEYS if all(frame.get(key) is not None for frame in frames)]
    if not keys:
        keys = keys_with_values(frames, _TIME_KEYS)
    days = next((key for key in _DAYS if all(frame.number(key) is not None for frame in frames)), None)
    sections = []
    if not keys and days is None:
        raise IngestError(f"{frames[0]}: the header does not say when it was taken; expected DATE-OBS.")
    source: dict[str, object] = {"key": days, "format": _DAYS[days], "scale": "utc"} if days else {}
    said: list[str] = []
    check: list[str] = []
    if keys:
        source = _begin_source(frames, keys[0])
        for frame in frames:
            frame.begin = _begin(frame, source)
        text = frames[0].comment(keys[0])
        if says(text, "local"):
            check.append(f"The comment of {keys[0]} is {text!r}, and it is taken for UTC; give a key that has UTC.")
        if says(text, "created", "end"):
            check.append(f"{keys[0]} is taken for the begin, though its comment, {text!r}, may mean the end.")
        if days and (late := _disagree(frames, days)) is not None:
            hours = f"{abs(late) * 24:.2f} hours {'behind' if late > 0 else 'ahead of'} {keys[0]}"
            check.append(f"{days} is {hours}, which may be local time: {days} is taken, as UTC.")
            source = {"key": days, "format": _DAYS[days], "scale": "utc"}
    if days and source.get("key") == days:
        for frame in frames:
            frame.begin = Time(frame.number(str(days)), format=_DAYS[str(days)], scale="utc")
    if unread := [frame for frame in frames if frame.begin is None]:
        check.append(f"The time of {unread[0]} is not understood; describe says why.")
    sections.append(Section({"datetime_begin": source}, said, check))
    sections.append(_exposure_time(frames))
    begins = Counter(int(frame.begin.unix) for frame in frames if frame.begin is not None)
    is_close = max(begins.values(), default=0) > 1
    exact = {round(frame.begin.unix, 3) for frame in frames if frame.begin is not None}
    if is_close and len(exact) < begins.total():
        sections[0].check = [
            *sections[0].check,
            f"{counted(begins.total() - len(exact), 'frame')} of the same time as another one by the header; an "
            "exposure needs a time, or an exposure_id, of its own.",
        ]
    return sections, is_close


def _begin_source(frames: Sequence[Frame], key: str) -> dict[str, object]:
    scale = {} if any(frame.get("TIMESYS") is not None for frame in frames) else {"scale": "utc"}
    if all(has_time_of_day(str(frame.get(key))) for frame in frames if frame.get(key) is not None):
        return {"key": key, **scale}
    clock = next(iter(keys_with_values(frames, _CLOCK_KEYS)), None)
    if clock is None or (clock == "TIME-OBS" and key == "DATE-OBS"):
        return {"key": key, **scale}
    return {"template": f"{{{key}}}T{{{clock}}}", **scale}


def _begin(frame: Frame, source: dict[str, object]) -> Time | None:
    try:
        if "template" in source:
            text = re.sub(r"\{([^}]+)\}", lambda match: str(frame.get(match[1])), str(source["template"]))
        else:
            text = str(frame.get(str(source["key"])))
            if not has_time_of_day(text) and frame.get("TIME-OBS") is not None:
                text += f"T{frame.get('TIME-OBS')}"
        return read_time(text, "isot", read_scale(frame.get("TIMESYS")))
    except ValueError:
        return None


def _disagree(frames: Sequence[Frame], days: str) -> float | None:
    """Return by how many days a time of DATE-OBS is later than one of another card, if not by rounding or exposing."""
    late = []
    for frame in frames:
        if frame.begin is None:
            return None
        longest = max(abs(frame.number(key) or 0) for key in _TIMES)
        late.append(float(frame.begin.utc.to_value(_DAYS[days])) - float(frame.number(days) or 0))
        if abs(late[-1]) * 86400 < longest + 600:
            return None
    return late[0]


def _exposure_time(frames: Sequence[Frame]) -> Section:
    keys = keys_with_values(frames, _TIMES)
    if not keys:
        if keys_with_values(frames, ["EXPOINUS"]):
            return Section({"exposure_time": {"key": "EXPOINUS", "unit": "us"}}, ["EXPOINUS is in microseconds."])
        return Section(
            {"exposure_time": {"key": "EXPTIME", "default": None}},
            check=["No header has an exposure time, so exposures have none."],
        )
    units = {key: _unit(frames, key) for key in keys}
    keys = [key for key in keys if units[key] == units[keys[0]]]
    check = []
    for key in keys[1:]:
        other = next((f for f in frames if f.number(key) != f.number(keys[0]) and f.number(keys[0]) is not None), None)
        if other is not None and other.number(key) is not None:
            both = f"{keys[0]} is {other.get(keys[0])} and {key} is {other.get(key)}"
            check.append(f"{other}: {both}; {keys[0]} is taken, in {units[keys[0]]}.")
    longest = max((frame.number(keys[0]) or 0 for frame in frames), default=0)
    if longest > 7200 and units[keys[0]] == "s":
        check.append(f"{keys[0]} is up to {longest:g}; if these are not seconds, correct the unit.")
    return Section({"exposure_time": {"key": key_or_keys(keys), "unit": units[keys[0]]}}, check=check)


def _unit(frames: Sequence[Frame], key: str) -> str:
    text = next((comment for frame in frames if (comment := frame.comment(key))), "")
    if says(text, "ms", "msec", "milliseconds?", "millisec"):
        return "ms"
    if says(text, "us", "usec", "microseconds?", "microsec", "µs"):
        return "us"
    return "min" if says(text, "minutes?") else "s"
