"""Idle workers take parts of others' videos, each part once."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest

from vtloc_runtime.batch.workers.part_board import PartBoard

READ: Any = object()


def test_alone_a_worker_does_all_parts_of_its_video_in_order() -> None:
    done: list[int] = []
    PartBoard(1).share(READ, 7, lambda _read, first, stop: done.extend(range(first, stop)))
    assert done == list(range(7))


def test_every_part_is_done_once_by_any_worker() -> None:
    board = PartBoard(4)
    done: Counter[int] = Counter()
    lock = threading.Lock()
    helped = threading.Barrier(4, timeout=10)

    met = threading.local()

    def work(_read: Any, first: int, stop: int) -> None:
        if not hasattr(met, "others"):
            met.others = helped.wait()  # four workers are at it at once, or this breaks
        with lock:
            done.update(range(first, stop))

    with board.busy():
        threads = [
            threading.Thread(target=board.help, args=(READ, lambda: False)) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        board.share(READ, 32, work)
    for thread in threads:
        thread.join(timeout=10)
        assert not thread.is_alive()
    assert done == Counter(range(32))


def test_help_goes_to_the_video_with_the_most_left() -> None:
    board = PartBoard(1)
    helped: list[str] = []
    begun, go = threading.Semaphore(0), threading.Event()

    def work(name: str) -> Any:
        def do(read: Any, _first: int, _stop: int) -> None:
            if read == "helper":
                helped.append(name)
                go.set()
                return
            begun.release()
            assert go.wait(10)

        return do

    def own(name: str, count: int) -> None:
        with board.busy():
            board.share(READ, count, work(name))

    threads = [threading.Thread(target=own, args=one) for one in (("short", 4), ("long", 40))]
    for thread in threads:
        thread.start()
    assert all(begun.acquire(timeout=10) for _ in threads)
    board.help("helper", go.is_set)  # type: ignore[arg-type]
    for thread in threads:
        thread.join(timeout=10)
    assert helped[0] == "long"


def test_an_error_of_any_part_is_the_videos() -> None:
    done: list[int] = []

    def work(_read: Any, first: int, _stop: int) -> None:
        done.append(first)
        if first == 2:
            raise ValueError("the third part")

    with pytest.raises(ValueError, match="the third part"):
        PartBoard(8).share(READ, 9, work)
    assert done == [0, 1, 2]


def test_help_ends_with_the_last_video_and_when_the_run_stops() -> None:
    board = PartBoard(2)
    board.help(READ, lambda: False)
    with board.busy():
        board.help(READ, lambda: True)
