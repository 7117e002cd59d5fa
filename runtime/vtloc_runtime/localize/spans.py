"""Logits to moments: the one truth, for the runtime and for training's evaluation alike.

A span is an inclusive range of frames. Five strategies find spans for one sentence in one video:

* ``joint``: the pair start <= end with the highest joint odds; the default.
* ``argmax``: equation 14 of the paper, start and end each on its own.
* ``soft``: equation 15, the expectation under softmax.
* ``similarity``: training-free, the span that the frame-to-sentence cosine draws most clearly.
* ``combined``: ``joint`` and ``similarity`` weighed together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vtloc_runtime.errors import NetworkError
from vtloc_runtime.localize.moments import Moment
from vtloc_runtime.localize.nms import FloatArray, IntArray, highest_pairs, highest_sums

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from vtloc_runtime.bundle.manifest import DecodingStrategy, ScoreCalibration


@dataclass(frozen=True, slots=True)
class Span:
    """A range of frames that may be the moment.

    Attributes:
        start: First frame; a whole number, except from ``soft``.
        end: Last frame, inclusive; a whole number, except from ``soft``.
        score: 0 to 1, comparable between sentences and videos, before calibration.
    """

    start: float
    end: float
    score: float


def decode(
    strategy: DecodingStrategy,
    start_logits: ArrayLike,
    end_logits: ArrayLike,
    *,
    curve: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    count: int = 1,
    overlap: float = 0.5,
    similarity_weight: float = 6.0,
) -> tuple[Span, ...]:
    """Find the best spans by name of strategy.

    Args:
        strategy: Which way to decode.
        start_logits: ``[T]``, one a frame.
        end_logits: ``[T]``, one a frame.
        curve: ``[T]``, the cosine of each frame to the sentence; only ``similarity`` and
            ``combined`` read it.
        mask: ``[T]`` bool, True for real frames; None means that all are.
        count: Spans wanted at most; ``argmax`` and ``soft`` know only one.
        overlap: Two spans overlap by at most this IoU.
        similarity_weight: As for `combined`.

    Raises:
        NetworkError: The logits disagree in length, are not finite, or there is no frame.
    """
    if strategy == "argmax":
        return (argmax(start_logits, end_logits, mask=mask),)
    if strategy == "soft":
        return (soft(start_logits, end_logits, mask=mask),)
    if strategy == "joint":
        return joint(start_logits, end_logits, mask=mask, count=count, overlap=overlap)
    if curve is None:
        raise NetworkError(
            "decoding by similarity needs a space that frames and sentences share",
            remedy="Decode by joint, or use a bundle whose encoders share a space",
        )
    if strategy == "similarity":
        return similarity(curve, mask=mask, count=count, overlap=overlap)
    return combined(
        start_logits,
        end_logits,
        curve,
        weight=similarity_weight,
        mask=mask,
        count=count,
        overlap=overlap,
    )


def argmax(
    start_logits: ArrayLike, end_logits: ArrayLike, *, mask: ArrayLike | None = None
) -> Span:
    """Equation 14: the frames with the highest start and the highest end logit.

    The equation does not say what an end before the start means; here the two change places.

    Args:
        start_logits: ``[T]``.
        end_logits: ``[T]``.
        mask: ``[T]`` bool, True for real frames.

    Raises:
        NetworkError: The logits disagree in length, are not finite, or there is no frame.
    """
    frames, (starts, ends) = _real_frames(mask, start_logits, end_logits)
    first, last = int(starts.argmax()), int(ends.argmax())
    score = _pair_score(float(starts[first]), float(ends[last]))
    return Span(int(frames[min(first, last)]), int(frames[max(first, last)]), score)


def soft(start_logits: ArrayLike, end_logits: ArrayLike, *, mask: ArrayLike | None = None) -> Span:
    """Equation 15: the expected start and the expected end frame under softmax.

    The score is that of the frames nearest to the two expectations.

    Args:
        start_logits: ``[T]``.
        end_logits: ``[T]``.
        mask: ``[T]`` bool, True for real frames.

    Raises:
        NetworkError: The logits disagree in length, are not finite, or there is no frame.
    """
    frames, (starts, ends) = _real_frames(mask, start_logits, end_logits)
    first = float(_softmax(starts) @ frames)
    last = float(_softmax(ends) @ frames)
    nearest = [int(np.abs(frames - place).argmin()) for place in (first, last)]
    score = _pair_score(float(starts[nearest[0]]), float(ends[nearest[1]]))
    return Span(min(first, last), max(first, last), score)


def joint(
    start_logits: ArrayLike,
    end_logits: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    count: int = 1,
    overlap: float = 0.5,
) -> tuple[Span, ...]:
    """The pairs start <= end with the highest sum of logits, best first, without near-repeats.

    The score of a pair is the sigmoid of its mean logit, that is, the geometric mean of its two
    odds: it orders pairs as the sum does, and compares between videos as a softmax would not.
    Each further span is the best of those that overlap no earlier one by more than ``overlap``
    (in frames): exactly greedy non-maximum suppression over all pairs, in
    O(T log T + T * count^2) time and O(T log T) memory.

    Args:
        start_logits: ``[T]``.
        end_logits: ``[T]``.
        mask: ``[T]`` bool, True for real frames.
        count: Spans wanted at most; fewer come where no more fit.
        overlap: Largest IoU between two spans of the answer, 0 to 1.

    Raises:
        NetworkError: The logits disagree in length, are not finite, or there is no frame.
    """
    frames, (starts, ends) = _real_frames(mask, start_logits, end_logits)
    return tuple(
        Span(int(frames[first]), int(frames[last]), _sigmoid(total / 2))
        for first, last, total in highest_pairs(starts, ends, count=count, overlap=overlap)
    )


def similarity(
    curve: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    count: int = 1,
    overlap: float = 0.5,
) -> tuple[Span, ...]:
    """The spans whose indicator correlates best with the curve of cosines; no training.

    The score is Pearson's correlation of the curve with "1 inside the span, 0 outside", never
    below 0. A flat curve favours no span, so it answers with the whole video at score 0. All
    O(T^2) spans are weighed, one length after another, in O(T) memory.

    Args:
        curve: ``[T]``, the cosine of each frame to the sentence.
        mask: ``[T]`` bool, True for real frames.
        count: Spans wanted at most.
        overlap: Largest IoU between two spans of the answer, 0 to 1.

    Raises:
        NetworkError: The curve is not finite, or there is no frame.
    """
    frames, (values,) = _real_frames(mask, curve)
    deviations, scale = _correlation(values)
    if not scale.any():
        return (Span(int(frames[0]), int(frames[-1]), 0.0),)
    return tuple(
        Span(int(frames[first]), int(frames[last]), min(max(total, 0.0), 1.0))
        for first, last, total in highest_sums(deviations, scale, count=count, overlap=overlap)
    )


def combined(
    start_logits: ArrayLike,
    end_logits: ArrayLike,
    curve: ArrayLike,
    *,
    weight: float,
    mask: ArrayLike | None = None,
    count: int = 1,
    overlap: float = 0.5,
) -> tuple[Span, ...]:
    """The spans with the highest sum of start logit, end logit and weighted correlation.

    The trained boundaries say where a moment may begin and end, the correlation of ``similarity``
    what lies between them. A correlation of one half leaves the score of `joint` as it was.
    O(T^2) time, O(T) memory.

    Args:
        start_logits: ``[T]``.
        end_logits: ``[T]``.
        curve: ``[T]``, the cosine of each frame to the sentence.
        weight: What a correlation of one is worth; 0 is `joint`.
        mask: ``[T]`` bool, True for real frames.
        count: Spans wanted at most.
        overlap: Largest IoU between two spans of the answer, 0 to 1.

    Raises:
        NetworkError: The rows disagree in length, are not finite, or there is no frame.
    """
    frames, (starts, ends, values) = _real_frames(mask, start_logits, end_logits, curve)
    deviations, scale = _correlation(values)
    found = highest_sums(
        deviations, weight * scale, count=count, overlap=overlap, starts=starts, ends=ends
    )
    return tuple(
        Span(int(frames[first]), int(frames[last]), _sigmoid((total - weight / 2) / 2))
        for first, last, total in found
    )


def to_moments(
    spans: Sequence[Span],
    times: ArrayLike,
    duration: float,
    *,
    calibration: ScoreCalibration | None = None,
) -> tuple[Moment, ...]:
    """Spans of frames to moments in seconds, with calibrated scores.

    A span lasts from its first frame's own time until its last frame leaves the screen: the next
    frame's time, or the video's end. Samples that show the same frame share its time.

    Args:
        spans: Best first.
        times: ``[T]``, when each frame came on screen, seconds, never falling.
        duration: The video's end on the same clock, seconds.
        calibration: From raw scores to probabilities; spans below its threshold are left out.

    Returns:
        The moments, best first; empty where all are below the threshold.
    """
    shown = np.asarray(times, dtype=np.float64)
    end = max(float(duration), float(shown[-1]))
    edges = np.append(shown, end)
    left = edges[np.minimum(np.searchsorted(edges, shown, side="right"), len(shown))]
    index = np.arange(len(shown))
    moments = []
    for span in spans:
        score = span.score if calibration is None else calibrate(span.score, calibration)
        threshold = None if calibration is None else calibration.threshold
        if threshold is not None and score < threshold:
            continue
        start = float(np.interp(span.start, index, shown))
        stop = float(np.interp(span.end, index, left))
        moments.append(Moment(start, max(start, stop), score))
    return tuple(moments)


def calibrate(score: float, calibration: ScoreCalibration) -> float:
    """The probability that belongs to a raw score: linear between the fitted points.

    Args:
        score: A span's raw score, 0 to 1.
        calibration: The fitted points; scores beyond them get the outermost probability.
    """
    return float(np.interp(score, calibration.raw, calibration.probability))


def _real_frames(mask: ArrayLike | None, *rows: ArrayLike) -> tuple[IntArray, list[FloatArray]]:
    """Indices of the real frames, and each row at those, as float64."""
    values = [np.asarray(row, dtype=np.float64) for row in rows]
    shape = values[0].shape
    keep = np.ones(shape, dtype=bool) if mask is None else np.asarray(mask, dtype=bool)
    if len(shape) != 1 or any(row.shape != shape for row in values) or keep.shape != shape:
        shapes = ", ".join(str(row.shape) for row in (*values, keep))
        raise NetworkError(f"decoding takes one row a frame each, not shapes {shapes}")
    frames = np.flatnonzero(keep)
    if not len(frames):
        raise NetworkError("there is no frame to decode")
    real = [row[frames] for row in values]
    if not all(np.isfinite(row).all() for row in real):
        raise NetworkError(
            "the localizer gave values that are not finite",
            where="localizer",
            remedy="Use a precision with more range, such as fp32",
        )
    return frames, real


def _correlation(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """A curve's deviations, and what a span's sum of them is divided by, for each length.

    The product is Pearson's correlation of the curve with "1 inside the span, 0 outside". All
    factors of a flat curve are zero, and that of the whole video, whose indicator is constant.
    """
    deviations = values - values.mean()
    spread = math.sqrt(float(deviations @ deviations))
    length = len(values)
    if spread <= 1e-9 * max(1.0, float(np.abs(values).max())) * math.sqrt(length):
        return deviations, np.zeros(length)
    sizes = np.arange(1, length)
    return deviations, np.append(1 / (spread * np.sqrt(sizes * (1 - sizes / length))), 0.0)


def _pair_score(start_logit: float, end_logit: float) -> float:
    return _sigmoid((start_logit + end_logit) / 2)


def _sigmoid(value: float) -> float:
    if value >= 0:
        return 1 / (1 + math.exp(-value))
    odds = math.exp(value)
    return odds / (1 + odds)


def _softmax(logits: FloatArray) -> FloatArray:
    weights = np.exp(logits - logits.max())
    return np.asarray(weights / weights.sum())
