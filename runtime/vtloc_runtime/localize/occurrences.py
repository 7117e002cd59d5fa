"""The best spans of a video that share no frame, found without listing every span.

Spans begin and end at given boundaries and have a longest length, so the work grows with the
length of the video, not with its square.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
Chosen: TypeAlias = tuple[int, int, float]
"""First frame, last frame (inclusive) and worth of a span."""
Worth: TypeAlias = Callable[[IntArray, IntArray], FloatArray]
"""The worth of spans, given their first frames and the frames after their last."""


def best_spans(boundaries: IntArray, worth: Worth, *, longest: int, count: int) -> list[Chosen]:
    """The span of the highest worth, then the best of those that share no frame with it, and so on.

    Takes O(B * P) time and O(B) memory for B boundaries of which P lie within the longest span.

    Args:
        boundaries: ``[B]`` ascending, from 0 to the number of frames: where spans may begin and
            end. A stretch between two of them that is longer than ``longest`` is cut.
        worth: What spans are worth; -inf rules one out.
        longest: Frames in a span at most.
        count: Spans wanted at most.
    """
    edges = _cut_long_stretches(boundaries, longest)
    begins = np.arange(len(edges) - 1)
    reach = np.searchsorted(edges, edges[:-1] + longest, side="right") - 1
    best = np.full(len(begins), -np.inf)
    stops = begins + 1

    def search(rows: IntArray, bound: int) -> None:
        """Find the best end of the spans that begin at each of these boundaries."""
        best[rows] = -np.inf
        last = np.minimum(reach[rows], bound)
        for pieces in range(1, int((last - rows).max(initial=0)) + 1):
            open_rows = rows[rows + pieces <= last]
            values = worth(edges[open_rows], edges[open_rows + pieces])
            better = values > best[open_rows]
            improved = open_rows[better]
            best[improved], stops[improved] = values[better], improved + pieces

    search(begins, len(begins))
    chosen: list[Chosen] = []
    while len(chosen) < count:
        row = int(best.argmax())
        if np.isneginf(best[row]):
            break
        stop = int(stops[row])
        chosen.append((int(edges[row]), int(edges[stop]) - 1, float(best[row])))
        best[row:stop] = -np.inf
        # Only spans that begin before the chosen one can reach into it.
        before = np.arange(max(0, int(np.searchsorted(reach, row, side="right"))), row)
        crossing = before[(stops[before] > row) & ~np.isneginf(best[before])]
        search(crossing, row)
    return chosen


def _cut_long_stretches(boundaries: IntArray, longest: int) -> IntArray:
    """The boundaries, with more of them where two are further apart than the longest span."""
    gaps = np.diff(boundaries)
    if not (gaps > longest).any():
        return boundaries
    cut = [
        np.linspace(low, low + gap, -(-gap // longest), endpoint=False).round().astype(np.int64)
        for low, gap in zip(boundaries[:-1], gaps, strict=True)
    ]
    return np.concatenate([*cut, boundaries[-1:]])
