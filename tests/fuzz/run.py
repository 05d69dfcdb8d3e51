"""Read damaged files of all kinds: python tests/fuzz/run.py 10000 [FORMAT ...].

A worker reads them, within limits of memory and time, so that a crash, a hang and a flood are found and survived.
"""

from __future__ import annotations

import os
import queue
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

_SECONDS = 180
"""That an input may take, on a machine that does much else; of the worker's own time it may take less."""
_CPU_SECONDS = 10
_MEMORY = 4 * 2**30
_PROCESSES = 2
FIRST = 16_000_000
"""Seed of the first input."""


def inputs_of(name: str, inputs: int) -> int:
    """Return how many of all inputs are of a format."""
    from formats import FORMATS

    return max(1, round(inputs * FORMATS[name].share))


def find_faults(name: str, seeds: range) -> tuple[Counter[str], list[str]]:
    """Read the damaged files of some seeds; return how many ended how, and the faults."""
    counts: Counter[str] = Counter()
    faults: list[str] = []
    waiting = list(seeds)
    while waiting:
        for seed, said in _worker(name, waiting):
            waiting = waiting[waiting.index(seed) + 1 :]
            counts[said.split(":")[0]] += 1
            if said.startswith("FAULT"):
                faults.append(f"{name}, seed {seed}: {said}")
    return counts, faults


def _worker(name: str, seeds: list[int]) -> Iterator[tuple[int, str]]:
    """Yield what a worker says of each seed, until it ends, and how it ended."""
    command = [sys.executable, __file__, "worker", name, *map(str, seeds)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        assert process.stdout is not None
        output = process.stdout

        def read() -> None:
            for line in output:
                lines.put(line)
            lines.put(None)

        threading.Thread(target=read, daemon=True).start()
        for seed in seeds:
            try:
                line = lines.get(timeout=_SECONDS)
            except queue.Empty:
                process.kill()
                yield seed, f"FAULT: more than {_SECONDS} seconds"
                return
            if line is None:
                yield seed, f"FAULT: the process ended with {process.wait()}"
                return
            yield seed, line.strip()


def work(name: str, seeds: list[int]) -> None:
    """Read the damaged files of some seeds, and print a line for each."""
    from damage import damage
    from formats import FORMATS, outcome

    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        kind = FORMATS[name]
        samples = kind.samples(Path(folder))
        contents = [sample.read_bytes() for sample in samples]
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        for seed in seeds:
            path = samples[seed % len(samples)]
            damaged = Path(folder) / f"damaged_{path.name}"
            damaged.write_bytes(damage(contents[seed % len(samples)], seed, is_text=kind.is_text))
            before = time.process_time()
            said = " ".join(outcome(kind, damaged).split())
            if (taken := time.process_time() - before) > _CPU_SECONDS:
                said = f"FAULT: {taken:.0f} seconds, then {said}"
            print(said[:2000], flush=True)


def main(inputs: int, names: list[str]) -> int:
    """Read damaged files of all formats, and print the faults."""
    from formats import FORMATS

    jobs: queue.SimpleQueue[tuple[str, range]] = queue.SimpleQueue()
    for name in names or FORMATS:
        count = inputs_of(name, inputs)
        for first in range(0, count, 250):
            jobs.put((name, range(FIRST + first, FIRST + min(first + 250, count))))
    counts: dict[str, Counter[str]] = {name: Counter() for name in names or FORMATS}
    faults: list[str] = []

    def run() -> None:
        while not jobs.empty():
            name, seeds = jobs.get()
            found, new = find_faults(name, seeds)
            counts[name] += found
            faults.extend(new)
            for fault in new:
                print(fault, flush=True)

    threads = [threading.Thread(target=run) for _ in range(_PROCESSES)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, ended in counts.items():
        print(f"{name}: {', '.join(f'{number} {said}' for said, number in sorted(ended.items()))}")
    print(
        f"{sum(map(Counter.total, counts.values()))} inputs in {time.monotonic() - begin:.0f} s, {len(faults)} faults"
    )
    return bool(faults)


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        work(sys.argv[2], [int(seed) for seed in sys.argv[3:]])
    else:
        sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
