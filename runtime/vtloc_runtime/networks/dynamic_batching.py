"""Fuller batches: what several threads want from one network at the same time runs as one batch."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Run: TypeAlias = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


class DynamicBatcher:
    """Runs a network over frames, joining the batches that wait while it is busy.

    It has no thread of its own and never waits for more: a thread that finds the network free runs
    all that has come in so far, and hands the others their part. A network that nobody else wants
    runs at once.

    Args:
        run: Takes frames ``[B, S, S, 3]``, gives features ``[B, Dv]``.
        limit: Frames in one run at most; a single batch above it runs alone.
        at_once: Runs under way at once.
    """

    def __init__(self, run: Run, *, limit: int, at_once: int = 2) -> None:
        self._run = run
        self._limit = limit
        self._free = threading.Semaphore(at_once)
        self._lock = threading.Lock()
        self._waiting: deque[_Request] = deque()

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The features of one batch.

        Raises:
            NetworkError: The network refused these frames, or failed on them.
        """
        request = _Request(images)
        with self._lock:
            self._waiting.append(request)
        try:
            while not request.done():
                with self._free:
                    # Cleared before the look at what has happened, so that nothing is missed.
                    request.look.clear()
                    if not request.done() and (together := self._take()):
                        self._serve(together)
                        continue
                if not request.done():
                    # Another thread has taken it along: its result comes, or it comes back.
                    request.look.wait()
        finally:
            with self._lock:
                if request in self._waiting:
                    self._waiting.remove(request)
        return request.result()

    def _take(self) -> list[_Request]:
        """The requests that came first, as many as one run holds."""
        with self._lock:
            taken: list[_Request] = []
            frames = 0
            while self._waiting and (
                not taken or frames + len(self._waiting[0].images) <= self._limit
            ):
                taken.append(self._waiting.popleft())
                frames += len(taken[-1].images)
            return taken

    def _serve(self, requests: list[_Request]) -> None:
        try:
            self._run_together(requests)
        finally:
            # An interrupt is this thread's own: the others' requests go back to their owners.
            left = [request for request in requests if not request.done()]
            with self._lock:
                self._waiting.extendleft(reversed(left))
            for request in left:
                request.look.set()

    def _run_together(self, requests: list[_Request]) -> None:
        if len(requests) > 1:
            try:
                features = self._run(np.concatenate([request.images for request in requests]))
            except Exception:  # noqa: BLE001 - each is tried alone, for an error of its own
                features = None
            if features is not None:
                ends = np.cumsum([len(request.images) for request in requests])
                for request, part in zip(requests, np.split(features, ends[:-1]), strict=True):
                    request.finish(part)
                return
        for request in requests:
            request.serve(self._run)


class _Request:
    def __init__(self, images: NDArray[np.uint8]) -> None:
        self.images = images
        self.look = threading.Event()
        self._features: NDArray[np.float32] | None = None
        self._error: Exception | None = None

    def done(self) -> bool:
        """Whether there is a result, or an error."""
        return self._features is not None or self._error is not None

    def serve(self, run: Run) -> None:
        """Run it alone; an error is kept for the thread that asked, an interrupt goes through."""
        try:
            self.finish(run(self.images))
        except Exception as error:  # noqa: BLE001 - raised again on the thread that asked
            self._error = error
            self.look.set()

    def finish(self, features: NDArray[np.float32]) -> None:
        """Keep its part of what a run gave."""
        self._features = features
        self.look.set()

    def result(self) -> NDArray[np.float32]:
        if self._features is None:
            raise self._error or RuntimeError("the request was never served")
        return self._features
