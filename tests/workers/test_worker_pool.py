"""A pool of processes on this machine."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, wait

import pytest

from butler_visits import VisitsError, WorkerPool


class PickyError(Exception):
    """An error that can be pickled, but not unpickled."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")


class PickyVisitsError(VisitsError, PickyError):
    """The same, of a kind that the command line knows."""


def sleep_and_return(seconds: float, value: int) -> int:
    time.sleep(seconds)
    return value


def be_picky(kind: type[PickyError]) -> None:
    raise kind("worker", "no reason")


def die(signal_number: int) -> None:
    os.kill(os.getpid(), signal_number)


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(2) as pool:
        yield pool


def test_calls(pool: WorkerPool) -> None:
    assert list(pool.map(divmod, range(20), [7] * 20)) == [divmod(number, 7) for number in range(20)]
    assert pool.submit(int, "11", base=2).result() == 3


def test_processes(pool: WorkerPool) -> None:
    futures = [pool.submit(sleep_and_return, 0.2, 0) for _ in range(2)]
    pids = {pool.submit(os.getpid).result() for _ in range(10)}
    assert os.getpid() not in pids
    assert len(pids) <= 2
    wait(futures)


def test_error(pool: WorkerPool) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        pool.submit(divmod, 1, 0).result()
    assert "fn(*args, **kwargs)" in caught.value.__notes__[0]


def test_error_that_cannot_be_sent(pool: WorkerPool) -> None:
    with pytest.raises(RuntimeError) as caught:
        pool.submit(be_picky, PickyError).result()
    assert str(caught.value) == "PickyError: worker: no reason"
    assert "in be_picky" in caught.value.__notes__[0]


def test_error_of_which_only_the_base_can_be_sent(pool: WorkerPool) -> None:
    with pytest.raises(VisitsError) as caught:
        pool.submit(be_picky, PickyVisitsError).result()
    assert type(caught.value) is VisitsError
    assert str(caught.value) == "worker: no reason"
    assert "in be_picky" in caught.value.__notes__[0]


def test_exit(pool: WorkerPool) -> None:
    """A call cannot end its process."""
    with pytest.raises(SystemExit, match="3"):
        pool.submit(sys.exit, 3).result()


def test_result_that_cannot_be_sent(pool: WorkerPool) -> None:
    with pytest.raises(TypeError, match="pickle"):
        pool.submit(memoryview, b"").result()


def test_dead_worker(pool: WorkerPool) -> None:
    """Its call fails, and no other."""
    futures = [pool.submit(sleep_and_return, 0.1, number) for number in range(3)]
    dead = pool.submit(die, signal.SIGKILL)
    futures += [pool.submit(sleep_and_return, 0.1, number) for number in range(3, 6)]
    with pytest.raises(BrokenExecutor, match="exit status -9"):
        dead.result()
    assert [future.result() for future in futures] == list(range(6))


def test_worker_that_died_while_it_had_nothing_to_do() -> None:
    with WorkerPool(1) as pool:
        pid = pool.submit(os.getpid).result()
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
        with pytest.raises(BrokenExecutor):
            pool.submit(os.getpid).result()
        assert pool.submit(os.getpid).result() != pid


def test_interrupt_is_the_parents(pool: WorkerPool) -> None:
    """Ctrl-C reaches every process of a terminal; workers leave it to the one that started them."""
    assert pool.submit(die, signal.SIGINT).result() is None


def test_initializer() -> None:
    with WorkerPool(1, initializer=os.putenv, initargs=("A", "B")) as pool:
        assert pool.submit(os.system, "test $A = B").result() == 0


@pytest.mark.parametrize("after", [0.0, 1.0], ids=["before they start", "at work"])
def test_kill(after: float) -> None:
    """An exception ends the processes, whatever they are doing."""
    futures = []

    def interrupted() -> None:
        with WorkerPool(2) as pool:
            futures.extend(pool.submit(sleep_and_return, 60, 0) for _ in range(5))
            time.sleep(after)
            raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - start < 20
    assert all(future.done() for future in futures)
