"""Parts of long videos that idle workers take from the worker that has the video."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vtloc_runtime.localize.encoding.parted_encoding import PartWork
    from vtloc_runtime.video.isolation.chunks import Read

_LOOK = 0.2


class _SharedVideo:
    """The parts of one video: which are not taken yet, and how many workers are at them."""

    def __init__(self, count: int, work: PartWork) -> None:
        self.count = count
        self.work = work
        self.next = 0
        self.at_work = 0
        self.error: BaseException | None = None

    @property
    def left(self) -> int:
        """Parts that nobody has taken; none after an error."""
        return 0 if self.error is not None else self.count - self.next


class PartBoard:
    """Where workers offer parts of their video, and take parts of others when they are idle.

    An idle worker takes from the video with the most parts left. Parts are taken in runs, long
    ones first: every run begins with the opening of the file.

    Args:
        workers: How many workers there are.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._changed = threading.Condition()
        self._videos: list[_SharedVideo] = []
        self._busy = 0

    @contextmanager
    def busy(self) -> Iterator[None]:
        """For as long as a worker has a video of its own, whose parts may still be offered."""
        with self._changed:
            self._busy += 1
        try:
            yield
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    def share(self, read: Read, count: int, work: PartWork) -> None:
        """Do the parts of a video, with the help of idle workers.

        Args:
            read: This worker's way to read videos.
            count: How many parts there are.
            work: Does consecutive parts.

        Raises:
            BaseException: The first error of any part; no more parts are begun after it.
        """
        video = _SharedVideo(count, work)
        with self._changed:
            self._videos.append(video)
            self._changed.notify_all()
        try:
            while self._do_one(read, video):
                pass
        finally:
            with self._changed:
                # Once it is off the board nobody takes from it.
                self._videos.remove(video)
                self._changed.wait_for(lambda: not video.at_work)
        if video.error is not None:
            raise video.error

    def help(self, read: Read, stopped: Callable[[], bool]) -> None:
        """Do parts of others' videos, for as long as anybody has a video.

        Args:
            read: This worker's way to read videos.
            stopped: Whether the run has been stopped.
        """
        while not stopped():
            with self._changed:
                video = max(self._videos, key=lambda one: one.left, default=None)
                if video is None or not video.left:
                    if not self._busy:
                        return
                    self._changed.wait(_LOOK)
                    continue
            self._do_one(read, video)

    def _do_one(self, read: Read, video: _SharedVideo) -> bool:
        """Do the next run of parts; False where there is none."""
        with self._changed:
            if video not in self._videos or not video.left:
                return False
            first = video.next
            video.next += max(1, video.left // (2 * self._workers))
            stop = video.next
            video.at_work += 1
        try:
            video.work(read, first, stop)
        except BaseException as error:  # noqa: BLE001 - raised again by `share`
            with self._changed:
                video.error = video.error or error
        finally:
            with self._changed:
                video.at_work -= 1
                self._changed.notify_all()
        return True
