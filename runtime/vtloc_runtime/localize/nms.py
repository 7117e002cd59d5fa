"""Greedy non-maximum suppression over every span of a video, without listing every span.

The next span chosen is always the best of all those that overlap none of the chosen ones by more
than the limit. Overlap is intersection over union, counted in frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
Chosen: TypeAlias = tuple[int, int, float]
"""First frame, last frame (inclusive) and value of a span."""

_TABLE = 16384
"""Values worked on at once: 128 KiB, which a core's own cache holds."""


def highest_pairs(
    starts: FloatArray, ends: FloatArray, *, count: int, overlap: float
) -> list[Chosen]:
    """Spans whose start value plus end value is highest.

    O(T log T + T * count^2) time, O(T log T) memory.

    Args:
        starts: ``[T]``, what starting at each frame is worth.
        ends: ``[T]``, what ending at each frame is worth.
        count: Spans wanted at most.
        overlap: Largest IoU between two spans, 0 to 1.
    """
    highest = _RangeMaximum(ends)

    def best(low: IntArray, high: IntArray) -> tuple[FloatArray, IntArray]:
        last = highest.position(low, high)
        return starts + np.where(last >= 0, ends[last], -np.inf), last

    return _suppress(best, len(starts), count, overlap)


def highest_sums(
    values: FloatArray,
    scale: FloatArray,
    *,
    count: int,
    overlap: float,
    starts: FloatArray | None = None,
    ends: FloatArray | None = None,
) -> list[Chosen]:
    """Spans whose sum of values, times a factor of the span's length, is highest.

    O(T^2) time for the first span and as a rule far less for the others, O(T) memory.

    Args:
        values: ``[T]``, what holding each frame is worth.
        scale: ``[T]``, the factor of lengths 1 to T.
        count: Spans wanted at most.
        overlap: Largest IoU between two spans, 0 to 1.
        starts: ``[T]``, what starting at each frame is worth besides; None is nothing.
        ends: ``[T]``, what ending at each frame is worth besides; None is nothing.
    """
    length = len(values)
    begin = np.zeros(length) if starts is None else starts
    finish = np.zeros(length) if ends is None else ends
    spans = _SpanTotals(values, scale, begin, finish)
    lengths = np.arange(1, length + 1)
    firsts, totals = spans.best_of_each_length()
    chosen: list[Chosen] = []
    while len(chosen) < count:
        best = int(totals.argmax())
        if np.isinf(totals[best]):
            break
        first, last = int(firsts[best]), int(firsts[best]) + best
        chosen.append((first, last, float(totals[best])))
        if len(chosen) == count:
            break
        # Only a length whose best span is now ruled out has to be searched again.
        inside = np.minimum(firsts + lengths, last + 1) - np.maximum(firsts, first)
        stale = (inside > overlap * (lengths + (best + 1) - inside)) & np.isfinite(totals)
        for row in np.flatnonzero(stale):
            worth = spans.of_length(int(lengths[row]))
            firsts[row], totals[row] = _best_start(worth, int(lengths[row]), chosen, overlap)
    return chosen


class _SpanTotals:
    """What every span of a video is worth, computed when it is asked for."""

    def __init__(
        self, values: FloatArray, scale: FloatArray, begin: FloatArray, finish: FloatArray
    ) -> None:
        self._sums = np.concatenate([[0.0], np.cumsum(values)])
        self._scale, self._begin, self._finish = scale, begin, finish

    def of_length(self, size: int) -> FloatArray:
        """``[T - size + 1]``, the worth of the spans of one length by where they start."""
        worth: FloatArray = (self._sums[size:] - self._sums[:-size]) * self._scale[size - 1]
        worth += self._begin[: len(worth)] + self._finish[size - 1 :]
        return worth

    def best_of_each_length(self) -> tuple[IntArray, FloatArray]:
        """``[T]`` each: the start of the best span of every length, and its worth.

        Many lengths are computed at once, as rows of a table that stays in the processor's cache;
        where a row reaches beyond the video its spans are worth nothing.
        """
        length = len(self._begin)
        sums = np.concatenate([self._sums, np.zeros(length)])
        finish = np.concatenate([self._finish, np.full(length, -np.inf)])
        firsts, totals = np.empty(length, dtype=np.int64), np.empty(length)
        low = 0
        while low < length:
            # Spans of so many frames fit only so many times: the table narrows as they grow.
            wide = length - low
            if wide > _TABLE // 8:
                worth = self.of_length(low + 1)
                firsts[low] = start = int(worth.argmax())
                totals[low] = worth[start]
                low += 1
                continue
            high = min(length, low + max(1, _TABLE // wide))
            later = sliding_window_view(sums[low + 1 : high + wide], wide)
            worth = later - self._sums[:wide]
            worth *= self._scale[low:high, None]
            worth += self._begin[:wide] + sliding_window_view(finish[low : high - 1 + wide], wide)
            firsts[low:high] = worth.argmax(axis=1)
            totals[low:high] = worth.max(axis=1)
            low = high
        return firsts, totals


def _best_start(
    totals: FloatArray, length: int, chosen: list[Chosen], overlap: float
) -> tuple[int, float]:
    """Start and worth of the best span of one length that overlaps no chosen one too much."""
    for first, last, _ in chosen:
        other = last - first + 1
        shared = math.floor(overlap * (length + other) / (1 + overlap))
        while shared <= overlap * (length + other - shared):
            shared += 1
        if shared <= min(length, other):
            totals[max(0, first + shared - length) : last + 2 - shared] = -np.inf
    start = int(totals.argmax())
    return start, float(totals[start])


def _suppress(
    best: Callable[[IntArray, IntArray], tuple[FloatArray, IntArray]],
    length: int,
    count: int,
    overlap: float,
) -> list[Chosen]:
    """Greedy non-maximum suppression over every span.

    Overlap forbids, for each start and each chosen span, one range of ends; ``best`` answers for
    each start with the best end between two bounds, and is asked about each gap that is left.
    """
    starts = np.arange(length)
    chosen: list[Chosen] = []
    while len(chosen) < count:
        totals = np.full(length, -np.inf)
        ends = np.full(length, -1)
        for low, high in _allowed_ends(starts, chosen, length, overlap):
            total, end = best(low, high)
            better = (low <= high) & (total > totals)
            totals[better], ends[better] = total[better], end[better]
        first = int(totals.argmax())
        if totals[first] == -np.inf:
            break
        chosen.append((first, int(ends[first]), float(totals[first])))
    return chosen


def _allowed_ends(
    starts: IntArray, chosen: list[Chosen], length: int, overlap: float
) -> list[tuple[IntArray, IntArray]]:
    """For each start, the ranges of ends (inclusive; empty where low > high) still open."""
    if not chosen:
        return [(starts, np.full_like(starts, length - 1))]
    forbidden = [_forbidden_ends(starts, first, last, overlap) for first, last, _ in chosen]
    low = np.stack([pair[0] for pair in forbidden])
    high = np.stack([pair[1] for pair in forbidden])
    order = np.argsort(low, axis=0, kind="stable")
    low, high = np.take_along_axis(low, order, 0), np.take_along_axis(high, order, 0)
    ranges = []
    free = starts
    for lower, upper in zip(low, high, strict=True):
        ranges.append((free, np.minimum(lower - 1, length - 1)))
        free = np.maximum(free, upper + 1)
    ranges.append((free, np.full_like(starts, length - 1)))
    return ranges


def _forbidden_ends(
    starts: IntArray, first: int, last: int, overlap: float
) -> tuple[IntArray, IntArray]:
    """For each start, the ends whose span overlaps ``first..last`` by more than ``overlap``.

    For a fixed start the IoU rises until the end reaches ``last`` and falls after it, so the
    forbidden ends are one range; where there are none it is empty and lies beyond every end.
    """
    far = np.iinfo(np.int64).max // 2
    inside = np.maximum(starts, first)
    covered = last - inside + 1
    # Up to `last` the union stays the same; after it the intersection does.
    union = (last - first + 1) + (inside - starts)
    low = np.maximum(np.floor(inside - 1 + overlap * union).astype(np.int64) + 1, inside)
    if overlap > 0:
        high = np.ceil(covered / overlap + starts - 1 + first - inside).astype(np.int64) - 1
        high = np.maximum(high, last)
    else:
        high = np.full_like(starts, far)
    none = (covered <= 0) | (low > last)
    return np.where(none, far, low), np.where(none, far, high)


class _RangeMaximum:
    """Where the largest value of any range stands: a sparse table over powers of two."""

    def __init__(self, values: FloatArray) -> None:
        self._values = values
        self._levels: list[IntArray] = [np.arange(len(values))]
        width = 1
        while 2 * width <= len(values):
            below = self._levels[-1]
            self._levels.append(self._larger(below[:-width], below[width:]))
            width *= 2
        rows = max(len(level) for level in self._levels)
        self._table = np.zeros((len(self._levels), rows), dtype=np.int64)
        for row, level in zip(self._table, self._levels, strict=True):
            row[: len(level)] = level

    def position(self, low: IntArray, high: IntArray) -> IntArray:
        """Position of the largest value in each range ``low..high``; -1 for empty ranges."""
        empty = low > high
        lower = np.where(empty, 0, low)
        upper = np.where(empty, 0, high)
        level = np.frexp(upper - lower + 1.0)[1] - 1
        left = self._table[level, lower]
        right = self._table[level, upper - (1 << level) + 1]
        return np.where(empty, -1, self._larger(left, right))

    def _larger(self, left: IntArray, right: IntArray) -> IntArray:
        return np.where(self._values[left] >= self._values[right], left, right)
