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

_AT_ONCE = 4096
"""Spans whose worth is asked for together, about; asking costs more than a span does."""


def best_spans(boundaries: IntArray, worth: Worth, *, reach: IntArray, count: int) -> list[Chosen]:
    """The span of the highest worth, then the best of those that share no frame with it, and so on.

    Takes O(B * P) time and O(B) memory for B boundaries of which P lie within the longest span.

    Args:
        boundaries: ``[B]`` ascending, from 0 to the number of frames: where spans may begin and
            end. A stretch between two of them that is longer than a span may be is cut.
        worth: What spans are worth; -inf rules one out.
        reach: ``[T]`` never falling, for each frame the one after the last frame of the longest
            span that begins there.
        count: Spans wanted at most.
    """
    edges = cut_long_stretches(boundaries, reach)
    begins = np.arange(len(edges) - 1)
    furthest = np.searchsorted(edges, reach[edges[:-1]], side="right") - 1
    best = np.full(len(begins), -np.inf)
    stops = begins + 1

    def search(rows: IntArray, bound: int) -> None:
        """Find the best end of the spans that begin at each of these boundaries."""
        best[rows] = -np.inf
        last = np.minimum(furthest[rows], bound)
        most = int((last - rows).max(initial=0))
        several = max(1, _AT_ONCE // max(1, len(rows)))
        for fewest in range(1, most + 1, several):
            ends = np.arange(fewest, min(fewest + several, most + 1))[:, None] + rows
            reached = ends <= last
            values = np.full(ends.shape, -np.inf)
            values[reached] = worth(
                edges[np.broadcast_to(rows, ends.shape)[reached]], edges[ends[reached]]
            )
            highest = values.max(axis=0)
            better = highest > best[rows]
            improved = rows[better]
            best[improved] = highest[better]
            # Of spans that are worth the same, the shortest.
            stops[improved] = improved + fewest + values[:, better].argmax(axis=0)

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
        before = np.arange(max(0, int(np.searchsorted(furthest, row, side="right"))), row)
        crossing = before[(stops[before] > row) & ~np.isneginf(best[before])]
        search(crossing, row)
    return chosen


def cut_long_stretches(boundaries: IntArray, reach: IntArray) -> IntArray:
    """The boundaries, with more of them where two are further apart than a span may be.

    Args:
        boundaries: ``[B]`` ascending, from 0 to the number of frames.
        reach: As for `best_spans`.
    """
    if not (boundaries[1:] > reach[boundaries[:-1]]).any():
        return boundaries
    edges = [int(boundaries[0])]
    for high in boundaries[1:]:
        low, cuts = edges[-1], [edges[-1]]
        while cuts[-1] < high:
            cuts.append(min(int(high), int(reach[cuts[-1]])))
        # Equal parts, where they are short enough, rather than a last one of a few frames.
        even = np.linspace(low, high, len(cuts)).round().astype(np.int64)
        edges += (even if (even[1:] <= reach[even[:-1]]).all() else np.array(cuts))[1:].tolist()
    return np.array(edges, dtype=np.int64)


def even_reach(length: int, longest: int | None = None) -> IntArray:
    """How far spans may reach that hold so many frames at most; None sets no limit."""
    return np.minimum(np.arange(length) + (longest or length), length)
