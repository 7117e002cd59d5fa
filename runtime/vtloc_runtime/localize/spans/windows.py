"""Long videos: windows that overlap, and one timeline stitched from what each window said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Window:
    """A slice of a video's frames.

    Attributes:
        start: First frame.
        stop: One past the last frame.
    """

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def plan_windows(length: int, *, frames: int, overlap: int) -> tuple[Window, ...]:
    """Cut a video into as few equal windows as cover it, sharing at least ``overlap`` frames.

    The windows are spread evenly, so no last one is left with a few frames and no context.

    Args:
        length: Frames in the video, at least 1.
        frames: Frames in one window.
        overlap: Frames that neighbours share at least, fewer than ``frames``.
    """
    if length <= frames:
        return (Window(0, length),)
    count = -(-(length - overlap) // (frames - overlap))
    starts = [round(index * (length - frames) / (count - 1)) for index in range(count)]
    return tuple(Window(start, start + frames) for start in starts)


class Timeline:
    """Values of every frame of a video, stitched from windows.

    Where windows overlap, each frame's values are a mean that favours the window in which the
    frame lies further from a cut, for there the network saw more of what surrounds it.

    Args:
        windows: All windows of the video, in order.
        shape: Of what is known of each frame.
    """

    def __init__(self, windows: tuple[Window, ...], shape: tuple[int, ...]) -> None:
        self._windows = windows
        length = windows[-1].stop
        self._sums = np.zeros((*shape, length))
        self._weights = np.zeros(length)

    def add(self, index: int, values: NDArray[np.floating]) -> None:
        """Add one window's answer.

        Args:
            index: Which window.
            values: ``[*shape, len(window)]``.
        """
        window = self._windows[index]
        weights = self._taper(index)
        part = slice(window.start, window.stop)
        self._sums[..., part] += weights * values
        self._weights[part] += weights

    def values(self) -> NDArray[np.float64]:
        """``[*shape, T]`` of the whole video, once every window was added."""
        stitched: NDArray[np.float64] = self._sums / self._weights
        return stitched

    def _taper(self, index: int) -> NDArray[np.float64]:
        """One inside the window, falling towards the cuts over what the neighbour shares."""
        window = self._windows[index]
        place = np.arange(len(window), dtype=np.float64)
        weights = np.ones(len(window))
        if index > 0:
            shared = self._windows[index - 1].stop - window.start
            weights = np.minimum(weights, (place + 1) / (shared + 1))
        if index + 1 < len(self._windows):
            shared = window.stop - self._windows[index + 1].start
            weights = np.minimum(weights, place[::-1] / (shared + 1) + 1 / (shared + 1))
        return weights
