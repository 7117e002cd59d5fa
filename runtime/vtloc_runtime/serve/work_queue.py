"""A bounded queue of work: a few calls at once, some more that wait, and the rest turned away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

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

    async def run(self, work: Callable[[], _Result]) -> _Result:
        """Run work in its turn.

        Args:
            work: What to do. It is not interrupted: when time is up, the caller learns it, and the
                work keeps its place until it ends.

        Raises:
            BusyError: Too many calls wait already, its turn did not come in time, or the service
                is stopping.
            LateError: It took too long.
        """
        if self._closed:
            raise BusyError("the service is stopping", 5)
        if self._held >= self._most:
            raise BusyError(f"{self._held} requests are in progress already", 1)
        self._held += 1
        loop = asyncio.get_running_loop()
        future = self._pool.submit(work)
        future.add_done_callback(lambda _: _call(loop, self._release))
        result = asyncio.wrap_future(future)
        # If nobody waits any more, nobody needs to hear of an error.
        result.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            # Shielded, because a thread that runs cannot be cancelled.
            return await asyncio.wait_for(asyncio.shield(result), self._timeout)
        except TimeoutError:
            if future.cancel():
                raise BusyError("the request had to wait too long", 5) from None
            raise LateError(
                f"the request took more than {self._timeout:g} s",
                remedy="Ask about a shorter video, or encode it first: vtloc-run encode",
            ) from None

    def close(self, *, finish: bool = True) -> None:
        """Refuse new work.

        Args:
            finish: Do what was accepted first, and wait for it; otherwise what has not begun is
                dropped.
        """
        self._closed = True
        self._pool.shutdown(wait=finish, cancel_futures=not finish)

    def _release(self) -> None:
        self._held -= 1


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(function)
