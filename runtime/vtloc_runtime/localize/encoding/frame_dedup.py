"""Frames that share features: what hardly differs from an encoded frame is not encoded again.

Each frame is compared with the last *encoded* one, so that slow changes never add up, and block by
block, so that something small that enters a still picture is seen. How much a block may differ
follows the video's own noise: a screen recording has none and is held to half a grey level, a
camera's picture trembles and is given more, up to a bound that was measured to move no answer.
"""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFAULT_REUSE = 2.0
"""Most grey levels by which a block may differ; 0 shares among equal frames only."""

RULE = 3
"""Version of the rule below: features made by another are not the same."""

_BLOCK = 16
_QUIET = 0.5
_ABOVE_NOISE = 3.0
_REMEMBERED = 16
_FEWEST = 4


class FrameDeduplicator:
    """Decides, frame after frame of one video, which have to be encoded.

    Args:
        most: Most grey levels by which a block may differ, however noisy the video is; 0 lets
            only equal frames share.
    """

    def __init__(self, most: float = DEFAULT_REUSE) -> None:
        self._most = most
        self._encoded: NDArray[np.uint8] | None = None
        self._last: NDArray[np.uint8] | None = None
        self._noise: deque[float] = deque(maxlen=_REMEMBERED)

    def is_new(self, image: NDArray[np.uint8]) -> bool:
        """Whether the video's next frame differs from the last encoded one; then it is the new one.

        A frame equal to the one before it is never new, and says nothing about noise: whether it
        is shown here at all makes no difference.

        Args:
            image: ``[S, S, 3]`` uint8; kept, so it must not change.
        """
        # Here, because the command line reads the constants above before it needs numpy.
        import numpy as np

        last, self._last = self._last, image
        if last is not None and np.array_equal(image, last):
            self._last = last
            return False
        encoded = self._encoded
        if last is None or encoded is None or image.shape != encoded.shape:
            self._encoded = image
            return True
        if self._most <= 0:
            new = not np.array_equal(image, encoded)
        else:
            step = block_differences(image, last)
            self._noise.append(float(np.median(step)))
            change = step if encoded is last else block_differences(image, encoded)
            new = bool(change.max() > self._allowed())
        if new:
            self._encoded = image
        return new

    def release(self) -> None:
        """Copy what is remembered, so that whatever it is a part of can be freed."""
        same = self._last is self._encoded
        self._encoded = None if self._encoded is None else self._encoded.copy()
        self._last = self._encoded if same or self._last is None else self._last.copy()

    def _allowed(self) -> float:
        """What noise explains: some times what half of all blocks change by, as a rule."""
        noise = median(self._noise) if len(self._noise) >= _FEWEST else 0.0
        return min(self._most, max(_QUIET, _ABOVE_NOISE * noise))


def block_differences(image: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How far two frames lie apart in each block of 16 pixels.

    Args:
        image: ``[S, S, 3]`` uint8.
        other: Likewise.

    Returns:
        ``[B, B]``, the mean of the absolute differences over a block's pixels and channels.
    """
    import numpy as np

    rows, columns, channels = image.shape
    # Stays in bytes, which is several times faster than differences with a sign.
    apart = np.maximum(image, other) - np.minimum(image, other)
    tops, lefts = np.arange(0, rows, _BLOCK), np.arange(0, columns, _BLOCK)
    flat = apart.reshape(rows, columns * channels)
    strips = np.add.reduceat(flat, tops, axis=0, dtype=np.uint32)
    sums = np.add.reduceat(strips, channels * lefts, axis=1)
    areas = np.outer(np.diff(tops, append=rows), np.diff(lefts, append=columns))
    return np.asarray(sums / (channels * areas), dtype=np.float64)
