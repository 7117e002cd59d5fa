"""A bounded queue between a decoding thread and its consumer."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vtloc_runtime.video.frame import Frame


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The last thing that comes of a part.

    Attributes:
        ended: Whether the video ends in it.
        lost: Whether it cannot be planned; the frames so far are right.
    """

    ended: bool
    lost: bool


class Channel:
    """A queue of bounded length between two threads, which either side can close."""

    def __init__(self, length: int) -> None:
        self._items: deque[Frame | PartEnd | BaseException] = deque()
        self._length = length
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: Frame | PartEnd | BaseException) -> bool:
        """Wait for room; False where the channel was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._length)
            if self._closed:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def take(self) -> Frame | PartEnd:
        """Wait for the next item; an error is raised here, where it is wanted."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._items))
            item = self._items.popleft()
            self._changed.notify_all()
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        """Wake both sides; nothing more passes."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
