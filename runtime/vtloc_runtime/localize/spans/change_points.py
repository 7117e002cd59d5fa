"""Where what a video shows changes: the places at which a moment may begin or end.

The frames are cut into pieces, each as alike inside as can be: the segmentation with the least
squared error within the pieces, plus a price for each piece, found by dynamic programming. The
price follows the video: it is a multiple of how much a frame differs from its neighbours, so that
noise alone makes no piece.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vtloc_runtime.localize.encoding.encoded_video import FrameFeatures

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vtloc_runtime.bundle.manifest import SharedSpace
    from vtloc_runtime.localize.spans.occurrences import FloatArray, IntArray

PRICE = 2.5
"""What a piece costs, in squared differences of neighbours."""

WINDOW = 128
"""Frames that are cut at once; windows share half of them, and each keeps its middle."""

_BLOCK = 4096


def change_points(
    features: FrameFeatures | NDArray[np.floating],
    shared: SharedSpace | None = None,
    *,
    steps: float | None = None,
) -> IntArray:
    """Cut a video where what it shows changes.

    Takes O(T * WINDOW) time and, beside the features, O(T) memory.

    Args:
        features: ``[T, Dv]``, T at least 1.
        shared: The columns to look at; None takes all.
        steps: The video's own sum of squared steps, where not all of its frames were seen.

    Returns:
        The first frame of every piece and, last, T.
    """
    length = len(features)
    frames = _frame_directions(features, shared)
    # The variance of a frame around what its neighbours show, as far as neighbours tell.
    total = _squared_steps(frames) if steps is None else steps
    price = PRICE * (max(total / (length - 1) / 2, 1e-6) if length > 1 else 1.0)
    if length <= WINDOW:
        return _pieces(frames[:], price)
    half = WINDOW // 2
    cut = np.zeros(length + 1, dtype=bool)
    cut[length] = True
    for start in (*range(0, length - WINDOW, half), length - WINDOW):
        # A cut near a window's edge is judged better by the neighbour that sees beyond it.
        low = 0 if start == 0 else start + half // 2
        high = length if start + WINDOW == length else start + half // 2 + half
        places = _pieces(frames[start : start + WINDOW], price) + start
        cut[places[(places >= low) & (places < high)]] = True
    return np.flatnonzero(cut)


def _directions(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """Every frame at length 1; those without a direction stay zero."""
    rows = features.astype(np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return rows


def squared_steps(
    features: FrameFeatures | NDArray[np.floating], shared: SharedSpace | None = None
) -> float:
    """The sum, over neighbouring frames, of the squared distance between their directions.

    Args:
        features: ``[T, Dv]``.
        shared: The columns to look at; None takes all.
    """
    return _squared_steps(_frame_directions(features, shared))


def _frame_directions(
    features: FrameFeatures | NDArray[np.floating], shared: SharedSpace | None
) -> FrameFeatures:
    columns = slice(None) if shared is None else slice(shared.start, shared.stop)
    table = features if isinstance(features, FrameFeatures) else FrameFeatures(features)
    return FrameFeatures(_directions(table.rows[:, columns]), table.index)


def _squared_steps(frames: FrameFeatures) -> float:
    total = 0.0
    for top in range(0, len(frames) - 1, _BLOCK):
        steps = np.diff(frames[top : top + _BLOCK + 1], axis=0)
        total += float(np.square(steps).sum(dtype=np.float64))
    return total


def _pieces(window: NDArray[np.floating], price: float) -> IntArray:
    """The boundaries of the best pieces of a window ``[n, D]``, 0 and n among them."""
    size = len(window)
    costs = _costs(window)
    least = np.full(size + 1, np.inf)
    least[0] = 0
    begins = np.zeros(size + 1, dtype=np.int64)
    for stop in range(1, size + 1):
        # What begins at this boundary or later counts for nothing: it costs infinity so far.
        totals = least + costs[stop]
        begins[stop] = first = totals.argmin()
        least[stop] = totals[first] + price
    boundaries = [size]
    while boundaries[-1] > 0:
        boundaries.append(int(begins[boundaries[-1]]))
    return np.array(boundaries[::-1], dtype=np.int64)


def _costs(window: NDArray[np.floating]) -> FloatArray:
    """The squared error within ``first..stop - 1`` at ``[stop, first]``, for each pair in order."""
    size = len(window)
    products = window @ window.T
    sums = np.zeros((size + 1, size + 1))
    np.cumsum(products, axis=1, out=sums[1:, 1:])
    np.cumsum(sums[1:], axis=0, out=sums[1:])
    own = np.zeros(size + 1)
    np.cumsum(np.diagonal(products), out=own[1:])
    corner = np.diagonal(sums)
    places = np.arange(size + 1.0)
    costs: FloatArray = sums + sums.T
    costs -= corner
    costs -= corner[:, None]
    costs /= np.maximum(places[:, None] - places, 1)
    costs += own[:, None]
    costs -= own
    return costs
