"""Build a simulated repository and define its visits as a user would; then do so from raw files, and as they come.

``make demo`` runs this in the project's virtual environment.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import yaml
from lsst.daf.butler import Butler, DimensionRecord

from simulated_raws import describe, write_raws
from simulated_survey import INSTRUMENT, insert_exposures, make_repository, night

PROJECT = Path(__file__).resolve().parent.parent
REPOSITORY = PROJECT / "demo-repository"
CONFIG = REPOSITORY / "define-visits-config.py"
PAGE = REPOSITORY / "visits.html"

EXAMPLES = PROJECT / "examples"

RAW_FOLDER = PROJECT / "demo-raws"
RAW_REPOSITORY = RAW_FOLDER / "repository"
RAWS = RAW_FOLDER / "night"
INCOMING = RAW_FOLDER / "incoming"
STATUS = RAW_FOLDER / "status.json"
DESCRIPTION = RAW_FOLDER / "simcam.yaml"


def main() -> None:
    """Run the demo."""
    snaps = from_exposures()
    raw = from_raws()
    after_visits()
    at_night()

    ra, dec = snaps.tracking_ra, snaps.tracking_dec
    print(f"The repositories are {REPOSITORY}\nand {RAW_REPOSITORY}")
    print(f"Open {PAGE} in a browser.")
    print("Try next:")
    query = ["butler", "query-dimension-records", _shown(REPOSITORY)]
    ours = f"instrument = '{INSTRUMENT}'"
    over_point = f"visit_detector_region.region OVERLAPS POINT({ra:.3f}, {dec:.3f})"
    for command in (
        [*query, "visit", "--limit", "3"],
        [*query, "visit_definition", "--where", f"{ours} AND visit = {snaps.id}"],
        [*query, "visit_detector_region", "--where", f"{ours} AND {over_point}"],
        ["butler", "define-visits", "--help"],
        ["butler-visits", "plot", _shown(REPOSITORY), INSTRUMENT, "-o", _shown(PAGE.with_suffix(".png"))],
        ["butler-visits", "describe", _shown(raw), "--instrument", _shown(DESCRIPTION)],
    ):
        print("  " + _as_typed(command))


def from_exposures() -> DimensionRecord:
    """Define the visits of exposures that a repository has.

    Returns
    -------
    exposure : `lsst.daf.butler.DimensionRecord`
        The first exposure of a visit of two snaps, which has the same id.
    """
    print("A simulated survey camera, and a night of exposures")
    shutil.rmtree(REPOSITORY, ignore_errors=True)
    butler = make_repository(REPOSITORY)
    exposures = night()
    insert_exposures(butler, exposures)
    CONFIG.write_text(
        "# Two snaps of one field are a visit, and each exposure is one as well.\n"
        'config.groupExposures.name = "one-to-one-and-by-counter"\n'
    )
    n_detectors = len(_records(butler, "detector"))
    print(f"  {n_detectors} detectors and {len(exposures)} exposures, in {_shown(REPOSITORY)}\n")

    define_visits = ["butler", "define-visits", _shown(REPOSITORY), INSTRUMENT, "-C", _shown(CONFIG)]

    print("Define the visits")
    _run(define_visits)
    _show_exposures(butler)
    snaps = _show_visits(butler)

    print("Define them again: nothing changes")
    _run(define_visits)

    print("Look at them")
    _run(["butler-visits", "report", _shown(REPOSITORY), INSTRUMENT, "-C", _shown(CONFIG), "-o", _shown(PAGE)])
    return snaps


def from_raws() -> Path:
    """Go from raw files to visits.

    Returns
    -------
    raw : `pathlib.Path`
        One of the files.
    """
    print("From raw files: a few exposures of the camera's central raft")
    shutil.rmtree(RAW_FOLDER, ignore_errors=True)
    description = describe()
    detectors = range(len(description["camera"]["CCDs"]))
    raws = write_raws(RAWS, some_exposures(), detectors=detectors, in_one_file=True, camera=description["camera"])
    DESCRIPTION.write_text(yaml.safe_dump(description, sort_keys=False))
    print(f"  {len(raws)} FITS files with {len(detectors)} detectors each, in {_shown(RAWS)}")
    print(f"  and what their headers mean, in {_shown(DESCRIPTION)}\n")

    print("Put them into a repository, and define the visits")
    ingest = ["butler-visits", "ingest", _shown(RAW_REPOSITORY), _shown(RAWS), "--instrument", _shown(DESCRIPTION)]
    _run(ingest)
    _run(["butler", "define-visits", _shown(RAW_REPOSITORY), INSTRUMENT])
    _show_exposures(Butler.from_config(RAW_REPOSITORY))
    return raws[-1]


def after_visits() -> None:
    """Find sources on the visits' images, and put them together by patches of the sky."""
    if importlib.util.find_spec("lsst.images") is None or not Path(_program("pipetask")).exists():
        print("A pipeline over the visits is left out: lsst-images and lsst-ctrl-mpexec need Python 3.12 or newer.\n")
        return
    print("Run a pipeline over the visits' images, of which SimCam/raw/images has the pixels")
    skymap = ["butler-visits", "make-skymap", _shown(RAW_REPOSITORY), "sky", "--rings", "12", "--patch-size", "4"]
    _run(skymap)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(EXAMPLES), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    where = f"instrument = '{INSTRUMENT}' AND visit_system = 0 AND detector = 4 AND skymap = 'sky'"
    pipeline = ["-p", _shown(EXAMPLES / "count_sources.yaml"), "--register-dataset-types", "-d", where]
    collections = ["-i", f"{INSTRUMENT}/raw/images", "-o", f"{INSTRUMENT}/runs/sources"]
    _run(["pipetask", "--log-level", "ERROR", "run", "-b", _shown(RAW_REPOSITORY), *collections, *pipeline])
    butler = Butler.from_config(RAW_REPOSITORY, collections=f"{INSTRUMENT}/runs/sources")
    for name in ("visit_sources", "patch_sources"):
        tables = [butler.get(ref) for ref in butler.query_datasets(name)]
        print(f"  {name}: {sum(map(len, tables))} sources in {len(tables)} tables")
    print()


def at_night(n_exposures: int = 8) -> None:
    """Let files appear for ten seconds, and see visits appear."""
    print("Ten seconds of a night: files come into a folder, one after the other, and visits come of them")
    INCOMING.mkdir()
    camera = describe()["camera"]
    science = [one for one in night() if one["observation_type"] == "science"]
    command = ["butler-visits", "watch", _shown(RAW_REPOSITORY), _shown(INCOMING), "--status", _shown(STATUS)]
    print("$ " + _as_typed(command), flush=True)
    watch = subprocess.Popen([_program(command[0]), *command[1:]], cwd=PROJECT)
    try:
        for exposure in science[-n_exposures:]:
            begin = time.monotonic()
            detectors = range(len(camera["CCDs"]))
            (file,) = write_raws(RAWS, [exposure], detectors=detectors, in_one_file=True, camera=camera)
            # In one step, so that it is whole where it is seen.
            file.rename(INCOMING / file.name)
            time.sleep(max(0.0, begin + 10 / n_exposures - time.monotonic()))
        # The program may have been slow to start.
        while not STATUS.exists() or json.loads(STATUS.read_text())["files"] < n_exposures:
            if watch.poll() is not None:
                sys.exit(f"The command ended with exit status {watch.returncode}.")
            time.sleep(0.1)
    finally:
        watch.terminate()
        watch.wait()
    print()


def some_exposures() -> list[dict[str, Any]]:
    """Take two flats, two biases and eight exposures of the sky, of which two are snaps of one field."""
    chosen: list[dict[str, Any]] = []
    for observation_type, first, number in (("flat", 0, 2), ("bias", 0, 2), ("science", 2, 8)):
        chosen += [one for one in night() if one["observation_type"] == observation_type][first : first + number]
    return chosen


def _run(command: list[str]) -> None:
    """Show a command and run it in the project's folder, as a user would."""
    print("$ " + _as_typed(command), flush=True)
    status = subprocess.run([_program(command[0]), *command[1:]], cwd=PROJECT, check=False).returncode
    if status:
        sys.exit(f"The command failed with exit status {status}.")
    print()


def _show_exposures(butler: Butler) -> None:
    """Show which exposures have a visit, and why the others have none."""
    in_a_visit = {record.exposure for record in _records(butler, "visit_definition")}
    taken: Counter[tuple[str, str]] = Counter()
    defined: Counter[tuple[str, str]] = Counter()
    for exposure in _records(butler, "exposure"):
        kind = (exposure.observation_type, _why_off_sky(exposure))
        taken[kind] += 1
        defined[kind] += exposure.id in in_a_visit
    print(f"{'exposures':<12}{'taken':>6}{'in a visit':>12}   left out because")
    for kind in sorted(taken, key=lambda kind: -taken[kind]):
        print(f"{kind[0]:<12}{taken[kind]:>6}{defined[kind]:>12}   {kind[1]}".rstrip())
    print()


def _why_off_sky(exposure: DimensionRecord) -> str:
    """Say why an exposure is not of the sky; nothing if it is."""
    if exposure.can_see_sky is False:
        return "can_see_sky is false"
    missing = [name for name in ("tracking_ra", "tracking_dec", "sky_angle") if getattr(exposure, name) is None]
    return f"no {', '.join(missing)}" if missing else ""


def _show_visits(butler: Butler) -> DimensionRecord:
    """Show a few visits, among them one of two snaps.

    Returns
    -------
    exposure : `lsst.daf.butler.DimensionRecord`
        The first exposure of that visit, which has the same id.
    """
    visits = _records(butler, "visit")
    exposures = {exposure.id: exposure for exposure in _records(butler, "exposure")}
    regions = Counter(record.visit for record in _records(butler, "visit_detector_region"))
    members = defaultdict(list)
    for record in _records(butler, "visit_definition"):
        members[record.visit].append(record.exposure)

    snaps = next(visit for visit in visits if len(members[visit.id]) > 1)
    nearby = {exposures[id].seq_num for id in members[snaps.id]}
    nearby = set(range(min(nearby) - 2, max(nearby) + 1))
    print(f"{len(visits)} visits, {sum(len(members[v.id]) > 1 for v in visits)} of them of two snaps. A few:")
    print(f"  {'visit':<16}{'name':<28}{'filter':<8}{'seconds':>7}{'detectors':>11}  its seq_num")
    for visit in sorted(visits, key=lambda visit: (visit.seq_num, visit.id)):
        if visit.seq_num in nearby:
            seq_nums = ", ".join(str(exposures[id].seq_num) for id in sorted(members[visit.id]))
            print(
                f"  {visit.id:<16}{visit.name:<28}{visit.physical_filter:<8}"
                f"{visit.exposure_time:>7.0f}{regions[visit.id]:>11}  {seq_nums}"
            )
    print()
    return exposures[snaps.id]


def _records(butler: Butler, element: str) -> list[DimensionRecord]:
    """Return all of the instrument's records of a dimension element."""
    with butler.query() as query:
        records = query.dimension_records(element).where(instrument=INSTRUMENT)
        return sorted(records, key=lambda record: record.dataId)


def _program(name: str) -> str:
    """Return the path of a program in the virtual environment."""
    return str(Path(sys.executable).parent / name)


def _as_typed(command: list[str]) -> str:
    """Return a command as one would type it in the project's folder."""
    words = [_shown(Path(_program(command[0]))), *command[1:]]
    # shlex.join would quote the quotes in a --where beyond reading.
    return " ".join(word if shlex.quote(word) == word else f'"{word}"' for word in words)


def _shown(path: Path) -> str:
    """Return a path as seen from the project's folder."""
    return str(path.relative_to(PROJECT)) if path.is_relative_to(PROJECT) else str(path)


if __name__ == "__main__":
    main()
