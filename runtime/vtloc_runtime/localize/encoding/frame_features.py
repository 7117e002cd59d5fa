"""Frames to features, a batch at a time; frames that resemble another take its features."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import repeat
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from vtloc_runtime.localize.encoding.frame_dedup import FrameDeduplicator

if TYPE_CHECKING:
    from numpy.typing import NDArray

PART = 256
"""Frames after which features begin anew: those of a part depend on nothing outside it."""

RunFrames: TypeAlias = Callable[["NDArray[np.uint8]"], "NDArray[np.float32]"]
"""Encodes ``[B, S, S, 3]`` uint8 to ``[B, Dv]`` float32."""

_ROWS = 256


class FeatureCollector:
    """Collects the features of a video's frames, or of one of its parts.

    Which frames share features, and which are encoded in one batch, depends on the frames of the
    same part alone, so that parts can be encoded apart and give the same bits.

    Args:
        run: Encodes a batch of pictures.
        reuse: Most grey levels by which frames that share features may differ.
        batch: Pictures in one batch at most.
        parts: Frames of each part, in order; `PART` each by default.

    Attributes:
        frames: Frames so far.
    """

    def __init__(
        self, run: RunFrames, reuse: float, batch: int, parts: Iterable[int] | None = None
    ) -> None:
        self._run = run
        self._most = reuse
        self._batch = batch
        self._reuse = FrameDeduplicator(reuse)
        self._table = np.empty((0, 0), dtype=np.float32)
        self._rows = 0
        self._pending: NDArray[np.uint8] = np.empty(0, dtype=np.uint8)
        self._waiting = 0
        self._index: list[NDArray[np.int64]] = []
        self._parts = repeat(PART) if parts is None else iter(parts)
        self._left = next(self._parts, PART)
        self.frames = 0

    def add(self, images: NDArray[np.uint8], index: NDArray[np.int64]) -> None:
        """Add the next frames: pictures ``[M, S, S, 3]``, and which one each shows ``[N]``."""
        while len(index):
            part = index[: self._left]
            self._add(images, part)
            index = index[len(part) :]
            self._left -= len(part)
            if not self._left:
                self._flush()
                self._reuse = FrameDeduplicator(self._most)
                self._left = next(self._parts, PART)
        self._reuse.release()

    def table(self) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
        """Features ``[M, Dv]``, and the row of each frame ``[T]``; nothing can be added later.

        The index is None where each frame has a row of its own.
        """
        self._flush()
        table = self._table
        # Nobody else holds the table yet.
        table.resize((self._rows, table.shape[1]), refcheck=False)
        return table, None if self._rows == self.frames else np.concatenate(self._index)

    def _add(self, images: NDArray[np.uint8], index: NDArray[np.int64]) -> None:
        first, last = int(index[0]), int(index[-1])
        rows = np.empty(last - first + 1, dtype=np.int64)
        for number, image in enumerate(images[first : last + 1]):
            if self._reuse.is_new(image):
                self._keep(image)
            rows[number] = self._rows + self._waiting - 1
            if self._waiting == self._batch:
                self._flush()
        self._index.append(rows[index - first])
        self.frames += len(index)

    def _keep(self, image: NDArray[np.uint8]) -> None:
        """Copy a picture into the next batch."""
        if self._pending.shape[1:] != image.shape:
            self._pending = np.empty((self._batch, *image.shape), dtype=np.uint8)
        self._pending[self._waiting] = image
        self._waiting += 1

    def _flush(self) -> None:
        """Encode the pictures that wait."""
        if not self._waiting:
            return
        found = self._run(self._pending[: self._waiting])
        self._reserve(self._rows + len(found), found.shape[1])
        self._table[self._rows : self._rows + len(found)] = found
        self._rows += len(found)
        self._waiting = 0

    def _reserve(self, rows: int, width: int) -> None:
        """Make room: grown in place, a long video's features never lie in memory twice."""
        if not self._rows:
            self._table = np.empty((max(rows, _ROWS), width), dtype=np.float32)
        elif rows > len(self._table):
            self._table.resize((rows + _ROWS, width), refcheck=False)


def joined(
    parts: list[tuple[NDArray[np.float32], NDArray[np.int64] | None]], frames: int
) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
    """The table of a whole video, from those of its parts in order; the list is emptied.

    Args:
        parts: What :meth:`FeatureCollector.table` gave for each.
        frames: Frames of all parts.
    """
    total = sum(len(rows) for rows, _ in parts)
    table = np.empty((total, parts[0][0].shape[1]), dtype=np.float32)
    index: list[NDArray[np.int64]] = []
    top = 0
    parts.reverse()
    while parts:
        # Each part's rows are freed as soon as they are copied.
        rows, own = parts.pop()
        table[top : top + len(rows)] = rows
        index.append(top + (np.arange(len(rows)) if own is None else own))
        top += len(rows)
    return table, None if total == frames else np.concatenate(index)
