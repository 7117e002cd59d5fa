"""Fuller batches: what several threads want from one network at the same time runs as one batch."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Run: TypeAlias = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


class FrameCombiner:
    """Runs a network over frames, joining the batches that wait while it is busy.

    No thread of its own and no waiting for company: whoever finds the network free runs all that
    has come in so far, and hands the others their part. A network that nobody else wants runs at
    once.

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
        while not request.done.is_set():
            with self._free:
                together = self._take()
                if together:
                    self._serve(together)
                    continue
            # Another thread has taken it along; its result is on the way.
            request.done.wait()
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
        if len(requests) == 1:
            requests[0].serve(self._run)
            return
        try:
            features = self._run(np.concatenate([request.images for request in requests]))
        except Exception:  # noqa: BLE001 - each is tried alone, for an error of its own
            for request in requests:
                request.serve(self._run)
        except BaseException as error:
            for request in requests:
                request.fail(error)
            raise
        else:
            ends = np.cumsum([len(request.images) for request in requests])
            for request, part in zip(requests, np.split(features, ends[:-1]), strict=True):
                request.finish(part)


class _Request:
    def __init__(self, images: NDArray[np.uint8]) -> None:
        self.images = images
        self.done = threading.Event()
        self._features: NDArray[np.float32] | None = None
        self._error: BaseException | None = None

    def serve(self, run: Run) -> None:
        try:
            self.finish(run(self.images))
        except BaseException as error:  # noqa: BLE001 - raised again by whoever asked
            self.fail(error)

    def finish(self, features: NDArray[np.float32]) -> None:
        self._features = features
        self.done.set()

    def fail(self, error: BaseException) -> None:
        self._error = error
        self.done.set()

    def result(self) -> NDArray[np.float32]:
        if self._features is None:
            raise self._error or RuntimeError("the request was never served")
        return self._features
