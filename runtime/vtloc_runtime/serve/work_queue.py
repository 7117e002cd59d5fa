"""A bounded queue of work: a few calls at once, some more that wait, and the rest turned away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from vtloc_runtime.errors import BackendError

_Result = TypeVar("_Result")


class BusyError(BackendError):
    """There is too much to do; the same request may be answered later.

    Attributes:
        retry_after: Seconds after which to ask again.
    """

    kind = "busy"

    def __init__(self, what: str, retry_after: int) -> None:
        super().__init__(what, remedy=f"Ask again in {retry_after} s")
        self.retry_after = retry_after


class LateError(BackendError):
    """The work took longer than it may."""

    kind = "timeout"


class GoneError(BackendError):
    """Nobody waits for the work any more."""

    kind = "gone"


class WorkQueue:
    """Runs work in threads, on behalf of an event loop.

    Args:
        at_once: Calls that run at the same time.
        waiting: Calls that may wait for their turn.
        timeout: Seconds that a call may wait and run.
    """

    def __init__(self, at_once: int, waiting: int, timeout: float) -> None:
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="work")
        self._most = at_once + waiting
        self._timeout = timeout
        self._held = 0
        self._closed = False

    @property
    def held(self) -> int:
        """Calls that wait or run."""
        return self._held

    async def run(
        self, work: Callable[[], _Result], *, gone: Callable[[], Awaitable[object]] | None = None
    ) -> _Result:
        """Run work in its turn.

        Args:
            work: What to do. It is not interrupted: when time is up, the caller learns it, and the
                work keeps its place until it ends.
            gone: Returns once the caller has gone. Work that still waits then loses its place.

        Raises:
            BusyError: Too many calls wait already, its turn did not come in time, or the service
                is stopping.
            LateError: It took too long.
            GoneError: The caller has gone.
        """
        if self._closed:
            raise BusyError("the service is stopping", 5)
        if self._held >= self._most:
            raise BusyError(f"{self._held} requests are in progress already", 1)
        self._held += 1
        loop = asyncio.get_running_loop()
        result: asyncio.Future[_Result] = loop.create_future()
        future = self._pool.submit(work)
        # One call of the loop for each piece of work: every one wakes it.
        future.add_done_callback(lambda done: _call(loop, lambda: self._finish(done, result)))
        watch = asyncio.ensure_future(gone()) if gone is not None else None
        awaited: set[asyncio.Future[Any]] = {result} if watch is None else {result, watch}
        try:
            done, _ = await asyncio.wait(
                awaited, timeout=self._timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if result in done:
                return result.result()
            begun = not future.cancel()
            if done:
                raise GoneError("nobody waits for the answer any more")
            if not begun:
                raise BusyError("the request had to wait too long", 5)
            raise LateError(
                f"the request took more than {self._timeout:g} s",
                remedy="Ask about a shorter video, or encode it first: vtloc-run encode",
            )
        finally:
            # An error that comes now is nobody's.
            result.cancel()
            if watch is not None:
                watch.cancel()

    def close(self, *, finish: bool = True) -> None:
        """Refuse new work.

        Args:
            finish: Do what was accepted first, and wait for it; otherwise what has not begun is
                dropped.
        """
        self._closed = True
        self._pool.shutdown(wait=finish, cancel_futures=not finish)

    def _finish(self, done: Future[_Result], result: asyncio.Future[_Result]) -> None:
        self._held -= 1
        if result.done() or done.cancelled():
            return
        error = done.exception()
        if error is None:
            result.set_result(done.result())
        else:
            result.set_exception(error)


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    # The loop may close at any time.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(function)
