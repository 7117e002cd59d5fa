"""Spans of frames in seconds: when they begin and end, and how long they may be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from vtloc_runtime.localize.spans.moments import Moment
from vtloc_runtime.localize.spans.score_calibration import calibrate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from vtloc_runtime.bundle.manifest import Manifest, ScoreCalibration
    from vtloc_runtime.localize.spans.decoding import Span
    from vtloc_runtime.localize.spans.occurrences import FloatArray, IntArray


def longest_moment(manifest: Manifest) -> float:
    """Seconds that a moment may last: as long as the bundle says, or as a window of its frames."""
    windows = manifest.windows
    if windows.seconds is not None:
        return windows.seconds
    return windows.frames / manifest.frames_per_second


def longest_span(times: ArrayLike, duration: float, manifest: Manifest) -> int:
    """Frames in a span at most: as long as a moment may be, at the mean rate of these frames.

    Args:
        times: ``[T]``, when what each frame shows begins, seconds, never falling.
        duration: The video's end on the same clock, seconds.
        manifest: The bundle's.
    """
    shown = np.asarray(times, dtype=np.float64)
    count = len(shown)
    total = max(float(duration), float(shown[-1])) - float(shown[0])
    # Times may lie so close together that no float holds their rate.
    share = min(1.0, longest_moment(manifest) / total) if total > 0 else 1.0
    return max(1, round(share * count))


def span_reach(times: ArrayLike, duration: float, manifest: Manifest) -> IntArray:
    """How far spans may reach, so that no moment lasts longer than the bundle says.

    A span may exceed that by half a frame, which `to_moments` cuts off; and a frame that stays
    longer on screen is a span of its own.

    Args:
        times: ``[T]``, when what each frame shows begins, seconds, never falling.
        duration: The video's end on the same clock, seconds.
        manifest: The bundle's.

    Returns:
        ``[T]``, for each frame the one after the last frame of the longest span that begins there.
    """
    edges = _sample_edges(times, duration)
    count = len(edges) - 1
    most = longest_moment(manifest) + float(edges[-1] - edges[0]) / count / 2
    reach = np.searchsorted(edges, edges[:-1] + most, side="right") - 1
    return np.maximum(reach, np.arange(1, count + 1))


def to_moments(
    spans: Sequence[Span],
    times: ArrayLike,
    duration: float,
    *,
    longest: float | None = None,
    calibration: ScoreCalibration | None = None,
    margin: float | None = None,
) -> tuple[Moment, ...]:
    """Spans of frames to moments in seconds, with calibrated scores.

    A span lasts from when its first frame begins until the next frame does, or the video ends.
    Samples that show the same frame share its time; but where a moment would be too long by that,
    or reach into another, each has an equal part of it.

    Args:
        spans: Best first, no two of which share a frame.
        times: ``[T]``, when what each frame shows begins, seconds, never falling.
        duration: The video's end on the same clock, seconds.
        longest: Seconds that a moment may last; what exceeds them is cut off. None: any number.
        calibration: From raw scores to probabilities; spans below its threshold are left out.
        margin: As for `calibrate`.

    Returns:
        The moments, best first; empty where all are below the threshold.
    """
    edges = _sample_edges(times, duration)
    shown = np.append(np.asarray(times, dtype=np.float64), edges[-1])
    left = shown[np.minimum(np.searchsorted(shown, shown[:-1], side="right"), len(shown) - 1)]
    bound = math.inf if longest is None else longest
    found = []
    for span in spans:
        score = span.score if calibration is None else calibrate(span.score, calibration, margin)
        threshold = None if calibration is None else calibration.threshold
        if threshold is None or score >= threshold:
            found.append((span, score))
    whole = [_moment(span, score, shown[:-1], left) for span, score in found]
    parts = [_moment(span, score, edges[:-1], edges[1:]) for span, score in found]
    fitting = [
        one if one.end - one.start <= bound else part
        for one, part in zip(whole, parts, strict=True)
    ]
    if _share_a_time(fitting):
        fitting = parts
    return tuple(Moment(one.start, min(one.end, one.start + bound), one.score) for one in fitting)


def _sample_edges(times: ArrayLike, duration: float) -> FloatArray:
    """``[T + 1]``, where samples begin and, last, the end; those of one frame share it evenly."""
    shown = np.asarray(times, dtype=np.float64)
    first = np.flatnonzero(np.append(True, np.diff(shown) > 0))
    places = np.append(first, len(shown))
    edges = np.append(shown[first], max(float(duration), float(shown[-1])))
    return np.asarray(np.interp(np.arange(len(shown) + 1), places, edges), dtype=np.float64)


def _moment(span: Span, score: float, begins: FloatArray, ends: FloatArray) -> Moment:
    """A span in seconds, given when each frame begins and ends; fractions lie between."""
    index = np.arange(len(begins))
    start = float(np.interp(span.start, index, begins))
    return Moment(start, max(start, float(np.interp(span.end, index, ends))), score)


def _share_a_time(moments: Sequence[Moment]) -> bool:
    """Whether two of them overlap."""
    ordered = sorted(moments, key=lambda one: (one.start, one.end))
    return any(one.end > following.start for one, following in pairwise(ordered))
