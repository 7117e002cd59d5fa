"""Work in turn: a few at once, a few that wait, the rest turned away."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest

from vtloc_runtime.serve.work_queue import BusyError, LateError, WorkQueue


def test_what_does_not_fit_is_turned_away() -> None:
    queue = WorkQueue(1, 1, 30.0)
    go = threading.Event()

    async def ask() -> None:
        first = asyncio.create_task(queue.run(lambda: go.wait(20)))
        second = asyncio.create_task(queue.run(lambda: "second"))
        await asyncio.sleep(0.05)
        assert queue.held == 2
        with pytest.raises(BusyError) as refused:
            await queue.run(lambda: "third")
        assert refused.value.retry_after >= 1
        go.set()
        assert await first
        assert await second == "second"
        await asyncio.sleep(0.05)
        assert queue.held == 0
        assert await queue.run(lambda: "later") == "later"

    asyncio.run(ask())
    queue.close()


def test_errors_are_the_callers_own() -> None:
    queue = WorkQueue(1, 0, 30.0)

    def fail() -> None:
        raise ValueError("wrong")

    async def ask() -> None:
        for _ in range(3):
            with pytest.raises(ValueError, match="wrong"):
                await queue.run(fail)
            await asyncio.sleep(0.05)

    asyncio.run(ask())
    queue.close()


def test_late_work_keeps_its_place_until_it_ends() -> None:
    queue = WorkQueue(1, 1, 0.2)
    go = threading.Event()

    async def ask() -> None:
        first = asyncio.create_task(queue.run(lambda: go.wait(20)))
        second = asyncio.create_task(queue.run(lambda: "never"))
        with pytest.raises(LateError):
            await first
        with pytest.raises(BusyError):
            await second
        await asyncio.sleep(0.05)
        assert queue.held == 1
        go.set()
        await asyncio.sleep(0.1)
        assert queue.held == 0
        assert await queue.run(lambda: "again") == "again"

    asyncio.run(ask())
    queue.close()


def test_a_queue_that_closes_finishes_what_it_has_and_takes_nothing_new() -> None:
    queue = WorkQueue(1, 2, 30.0)
    done: list[int] = []

    async def ask() -> None:
        tasks = [
            asyncio.create_task(queue.run(partial(done.append, number))) for number in range(3)
        ]
        await asyncio.sleep(0)
        await asyncio.to_thread(queue.close)
        with pytest.raises(BusyError, match="stopping"):
            await queue.run(lambda: done.append(9))
        await asyncio.gather(*tasks)

    asyncio.run(ask())
    assert sorted(done) == [0, 1, 2]
