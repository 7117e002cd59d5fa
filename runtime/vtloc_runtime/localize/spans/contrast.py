"""How clearly a span of frames stands out from the rest of a video, by its curve of cosines."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from vtloc_runtime.localize.spans.occurrences import FloatArray, IntArray

MATCHING = 0.5
"""How far each piece of a span must come from the level outside towards the span's best piece."""


class Contrast:
    """Pearson's correlation of a curve with "inside the span", for any span at once.

    In a video longer than a span may be, that correlation would shrink with the video. There it
    is the correlation in a timeline of ``longest`` frames that holds the span and, for the rest,
    what lies outside of it in the whole video: so it means the same whatever the length.

    A span is a moment only if all of it matches. Where the pieces of the video are known, every
    piece of a span must lie closer to the span's best piece than to the mean outside; so no span
    takes in a neighbour that hardly matches, or bridges one to reach another occurrence.

    Args:
        curve: ``[T]``, finite.
        longest: Frames in a span at most.
        boundaries: ``[B]`` ascending, from 0 to T: where pieces begin and end. None knows none.
    """

    def __init__(
        self, curve: FloatArray, *, longest: int, boundaries: IntArray | None = None
    ) -> None:
        deviations = curve - curve.mean()
        spread = math.sqrt(float(deviations @ deviations))
        bound = 1e-9 * max(1.0, float(np.abs(curve).max())) * math.sqrt(len(curve))
        self.flat = spread <= bound
        """Whether the curve is constant, so that no span stands out."""
        self._sums = np.concatenate([[0.0], np.cumsum(deviations)])
        self._squares = np.concatenate([[0.0], np.cumsum(deviations**2)])
        self._length = len(curve)
        self._timeline = min(longest, len(curve))
        known = 1 if boundaries is None else len(boundaries) - 1
        self.pieces = max(1.0, known * self._timeline / len(curve))
        """How many pieces a timeline has on average; 1 where none are known."""
        self._pieces = None if boundaries is None else _PieceMeans(self._sums, boundaries)

    def __call__(self, first: IntArray, stop: IntArray) -> FloatArray:
        """The contrast of spans.

        Args:
            first: First frames.
            stop: The frames after the last.

        Returns:
            -1 to 1; 0 for all of the timeline; -inf where a piece of the span does not match.
        """
        if self.flat:
            return np.zeros(len(first))
        inside = (stop - first).astype(np.float64)
        outside = np.maximum(self._length - inside, 1.0)
        total = self._sums[stop] - self._sums[first]
        squares = self._squares[stop] - self._squares[first]
        mean, rest = total / inside, (self._sums[-1] - total) / outside
        share = np.minimum(inside / self._timeline, 1.0)
        within = np.maximum(squares / inside - mean**2, 0.0)
        without = np.maximum((self._squares[-1] - squares) / outside - rest**2, 0.0)
        between = share * (1 - share) * (mean - rest) ** 2
        spread = np.sqrt(share * within + (1 - share) * without + between)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = (mean - rest) * np.sqrt(share * (1 - share)) / spread
        found = np.where((share < 1) & (spread > 0), found, 0.0)
        if self._pieces is not None:
            lowest, highest = self._pieces.bounds(first, stop)
            level = rest + MATCHING * (highest - rest)
            slack = 1e-12 * self._length
            found[lowest < level - slack] = -np.inf
        return found


class _PieceMeans:
    """The lowest and highest mean of a piece within any span: sparse tables over powers of two.

    Args:
        sums: ``[T + 1]``, the curve added up.
        boundaries: ``[B]`` ascending, from 0 to T.
    """

    def __init__(self, sums: FloatArray, boundaries: IntArray) -> None:
        means = np.diff(sums[boundaries]) / np.diff(boundaries)
        self._piece = np.repeat(np.arange(len(means)), np.diff(boundaries))
        self._levels = [(means, means)]
        width = 1
        while 2 * width <= len(means):
            low, high = self._levels[-1]
            self._levels.append(
                (np.minimum(low[:-width], low[width:]), np.maximum(high[:-width], high[width:]))
            )
            width *= 2

    def bounds(self, first: IntArray, stop: IntArray) -> tuple[FloatArray, FloatArray]:
        """The lowest and the highest mean among the pieces that each span touches."""
        low, high = self._piece[first], self._piece[stop - 1]
        lowest, highest = np.empty(len(first)), np.empty(len(first))
        depth = np.frexp(high - low + 1.0)[1] - 1
        for level, (least, most) in enumerate(self._levels):
            rows = depth == level
            begin, last = low[rows], high[rows] - (1 << level) + 1
            lowest[rows] = np.minimum(least[begin], least[last])
            highest[rows] = np.maximum(most[begin], most[last])
        return lowest, highest
