"""Measure how much is read of many raws, and how fast, from a disk and from an object store.

The raws are sparse files of 34 MB, of which only the headers take room on the disk; the object store is moto's on
loopback, in a process of its own. Linux only.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from astropy.io import fits
from lsst.daf.butler import Butler, DatasetRef, DatasetType, DimensionRecord, FileDataset
from lsst.daf.butler.formatters.json import JsonFormatter

from butler_visits import DefineVisitsConfig, DefineVisitsTask
from butler_visits.raws import read_raw_files
from measure import report
from peak_memory import status
from simulated_survey import INSTRUMENT, camera, insert_exposures, make_repository, night

BLOCK = 2880
SIZE = (2048, 4096)
"""Pixels, of four bytes."""

BUCKET = "raws"

SERVER = """
import logging
import sys
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

application = DomainDispatcherApplication(create_backend_app)
sent = {"bytes": 0, "requests": 0}


def listen(environ, start_response):
    if environ["PATH_INFO"] == "/sent":
        start_response("200 OK", [])
        return [f"{sent['bytes']} {sent['requests']}".encode()]
    count = environ["PATH_INFO"].endswith(".fits") and environ["REQUEST_METHOD"] in ("GET", "HEAD")
    parts = list(application(environ, start_response))
    if count:
        sent["requests"] += 1
        if environ["REQUEST_METHOD"] == "GET":
            sent["bytes"] += sum(map(len, parts))
    return parts


logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = make_server("127.0.0.1", 0, listen, threaded=True)
print(server.server_port, flush=True)
server.serve_forever()
"""


def main() -> None:
    """Run all benchmarks and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--raws", type=int, default=1000, help="raws on the disk")
    parser.add_argument("--remote-raws", type=int, default=40, help="raws in the object store, which is in memory")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure_disk(Path(folder), arguments.raws)
        measure_visits(Path(folder), arguments.raws)
        measure_store(Path(folder), arguments.remote_raws)


def measure_disk(folder: Path, count: int) -> None:
    """Read the headers of local files."""
    paths = write_raws(folder / "raws", count)
    read_raw_files(paths[:20])
    before, start = bytes_read(), time.perf_counter()
    peak = begin_peak()
    for first in range(0, count, 200):
        read_raw_files(paths[first : first + 200])
    seconds, n_bytes = time.perf_counter() - start, bytes_read() - before
    megabytes = sum(path.stat().st_size for path in paths) / 1e6
    report(
        "disk",
        f"headers of {count} raws of {megabytes / count:.0f} MB",
        f"{n_bytes / count / BLOCK:.1f} blocks a file",
        f"{n_bytes / 1e6:.0f} of {megabytes:,.0f} MB; {count / seconds:.0f} files/s; "
        f"peak memory {status('VmHWM') / 1024 - peak:.0f} MiB",
    )


def measure_visits(folder: Path, count: int) -> None:
    """Define visits of the same files, which only they can place on the sky."""
    paths = sorted((folder / "raws").iterdir())
    butler, exposures = make_survey(folder / "repository", [str(path) for path in paths])
    for algorithm in ("all-raw-wcs", "single-raw-wcs"):
        task = make_task(butler, algorithm)
        start, before, peak = time.perf_counter(), bytes_read(), begin_peak()
        plan = task.plan(exposures)
        seconds = time.perf_counter() - start
        assert len(plan.visits) == count and not plan.failures
        report(
            "disk",
            f"plan of {count} visits, {algorithm}",
            f"{count / seconds:.0f} visits/s",
            f"{(bytes_read() - before) / count / BLOCK:.1f} blocks a visit, SQLite's included; "
            f"peak memory {status('VmHWM') / 1024 - peak:.0f} MiB",
        )


def measure_store(folder: Path, count: int) -> None:
    """Read the headers of files in an object store."""
    try:
        boto3 = importlib.import_module("boto3")
        importlib.import_module("moto.server")
    except ImportError as error:
        report("S3", f"headers of {count} raws", "not measured", f"{error}; pip install 'moto[s3,server]'")
        return
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        endpoint = f"http://127.0.0.1:{int(server.stdout.readline())}"
        os.environ |= {
            "S3_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "LSST_DISABLE_BUCKET_VALIDATION": "1",
        }
        client: Any = boto3.client("s3", endpoint_url=endpoint)
        client.create_bucket(Bucket=BUCKET)
        paths = write_raws(folder / "remote", count)
        for path in paths:
            client.put_object(Bucket=BUCKET, Key=path.name, Body=path.read_bytes())
        uris = [f"s3://{BUCKET}/{path.name}" for path in paths]
        butler, exposures = make_survey(folder / "remote repository", uris)
        before = sent(endpoint)
        start = time.perf_counter()
        plan = make_task(butler, "all-raw-wcs").plan(exposures)
        seconds = time.perf_counter() - start
        assert len(plan.visits) == count and not plan.failures
        n_bytes, n_requests = (b - a for a, b in zip(before, sent(endpoint), strict=True))
        report(
            "S3",
            f"plan of {count} visits, all-raw-wcs",
            f"{n_bytes / count / BLOCK:.1f} blocks a file",
            f"{n_bytes / 1e6:.1f} of {sum(path.stat().st_size for path in paths) / 1e6:,.0f} MB; "
            f"{n_requests / count:.1f} requests a file; {count / seconds:.0f} files/s, the server on the same machine",
        )
        server.kill()


def write_raws(folder: Path, count: int) -> list[Path]:
    """Write raws with headers of ordinary length."""
    folder.mkdir()
    paths = []
    for number in range(count):
        header = fits.Header({"SIMPLE": True, "BITPIX": -32, "NAXIS": 2, "NAXIS1": SIZE[0], "NAXIS2": SIZE[1]})
        header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": number * 0.36 % 360, "CRVAL2": -30.0})
        header.update({"CRPIX1": 1024.5, "CRPIX2": 2048.5, "CD1_1": -5.56e-5, "CD2_2": 5.56e-5, "RADESYS": "ICRS"})
        header.update({f"KEY{i}": f"value {i} of {number}" for i in range(120)})
        paths.append(folder / f"raw{number:06d}.fits")
        with paths[-1].open("wb") as file:
            file.write(header.tostring().encode())
            file.truncate(file.seek(-(-4 * SIZE[0] * SIZE[1] // BLOCK) * BLOCK, 1))
    return paths


def make_survey(root: Path, uris: Sequence[str]) -> tuple[Butler, list[DimensionRecord]]:
    """Make a repository of exposures without a pointing, each with a raw of its first detector."""
    one_ccd = camera(rafts=1)
    first = next(iter(one_ccd["CCDs"]))
    # The raws' detector, in the middle of the field.
    ccd = one_ccd["CCDs"][first] | {"bbox": [[0, 0], [SIZE[0] - 1, SIZE[1] - 1]], "offset": [0.0, 0.0]}
    ccd |= {"refpos": [(SIZE[0] - 1) / 2, (SIZE[1] - 1) / 2]}
    butler = make_repository(root, camera=one_ccd | {"CCDs": {first: ccd}, "plateScale": 5.56e-5 * 3600 / 0.01})
    rows = [row for row in night(2 * len(uris) + 100) if row["observation_type"] == "science"][: len(uris)]
    nowhere = dict.fromkeys(("tracking_ra", "tracking_dec", "sky_angle"))
    insert_exposures(butler, [row | nowhere for row in rows])
    dataset_type = DatasetType("raw", ["instrument", "detector", "exposure"], "Exposure", universe=butler.dimensions)
    butler.registry.registerDatasetType(dataset_type)
    run = f"{INSTRUMENT}/raw/all"
    butler.collections.register(run)
    with butler.query() as query:
        exposures = sorted(query.dimension_records("exposure").where(instrument=INSTRUMENT), key=lambda e: int(e.id))
    datasets = []
    for exposure, uri in zip(exposures, uris, strict=True):
        data_id = butler.registry.expandDataId(instrument=INSTRUMENT, exposure=exposure.id, detector=0)
        datasets.append(FileDataset(uri, DatasetRef(dataset_type, data_id, run=run), formatter=JsonFormatter))
    butler.ingest(*datasets, transfer="direct")
    return butler, exposures


def make_task(butler: Butler, algorithm: str) -> DefineVisitsTask:
    """Make the task with an algorithm of regions."""
    config = DefineVisitsConfig()
    config.computeVisitRegions.name = algorithm
    return DefineVisitsTask(config, butler=butler)


def bytes_read() -> int:
    """Return how many bytes this process has read, from the disk or not."""
    (count,) = re.findall(r"rchar: (\d+)", Path("/proc/self/io").read_text())
    return int(count)


def begin_peak() -> float:
    """Forget the peak of this process's memory so far, and return what it takes now, MiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS") / 1024


def sent(endpoint: str) -> list[int]:
    """Ask the object store how many bytes of raws it has sent, and with how many requests."""
    with urllib.request.urlopen(f"{endpoint}/sent") as response:
        return [int(number) for number in response.read().split()]


if __name__ == "__main__":
    main()
