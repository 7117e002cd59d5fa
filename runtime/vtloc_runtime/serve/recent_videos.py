"""Encoded videos that were asked about lately, in memory."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
    from vtloc_runtime.localize.encoding.file_identity import FileState

_SETTLED = 2 * 10**9
"""Nanoseconds after a change in which another could leave no trace."""


class RecentVideos:
    """The videos that were used last, within a bound. Safe to use from several threads.

    Args:
        bound: Most bytes that their features may take.
    """

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._size = 0
        self._videos: OrderedDict[str, tuple[FileState, EncodedVideo]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str, state: FileState) -> EncodedVideo | None:
        """A video, if its file has not changed since it was kept.

        Args:
            name: The video's name.
            state: Its file's state now.
        """
        with self._lock:
            known = self._videos.get(name)
            if known is None or known[0] != state:
                return None
            self._videos.move_to_end(name)
            return known[1]

    def keep(self, name: str, state: FileState, video: EncodedVideo) -> None:
        """Keep a video, unless its file changed so recently that it may change again unseen.

        Args:
            name: The video's name.
            state: Its file's state before it was read.
            video: The encoded video.
        """
        if time.time_ns() - max(state.changed, state.modified) <= _SETTLED:
            return
        with self._lock:
            self._drop(name)
            self._videos[name] = (state, video)
            self._size += _size(video)
            while self._size > self._bound:
                self._drop(next(iter(self._videos)))

    def _drop(self, name: str) -> None:
        known = self._videos.pop(name, None)
        if known is not None:
            self._size -= _size(known[1])


def _size(video: EncodedVideo) -> int:
    index = 0 if video.index is None else video.index.nbytes
    return video.rows.nbytes + video.times.nbytes + index
