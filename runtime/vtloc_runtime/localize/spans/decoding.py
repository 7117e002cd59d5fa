"""Logits to spans: the one truth, for the runtime and for training's evaluation alike.

A span is an inclusive range of frames. Five strategies find spans for one sentence in one video:

* ``joint``: the pair start <= end with the highest joint odds; the default.
* ``argmax``: equation 14 of the paper, start and end each on its own.
* ``soft``: equation 15, the expectation under softmax.
* ``similarity``: training-free, the span that the frame-to-sentence cosine draws most clearly.
* ``combined``: ``joint`` and ``similarity`` weighed together, by how much each can know.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vtloc_runtime.errors import NetworkError
from vtloc_runtime.localize.spans.contrast import Contrast
from vtloc_runtime.localize.spans.occurrences import (
    FloatArray,
    IntArray,
    best_spans,
    cut_long_stretches,
    even_reach,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from vtloc_runtime.bundle.manifest import DecodingStrategy


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
    longest: int | None = None,
    reach: IntArray | None = None,
    curve: ArrayLike | None = None,
    boundaries: IntArray | None = None,
    count: int = 1,
    similarity_weight: float = 6.0,
) -> tuple[Span, ...]:
    """Find the best spans by name of strategy.

    Args:
        strategy: Which way to decode.
        start_logits: ``[T]``, one a frame.
        end_logits: ``[T]``, one a frame.
        longest: Frames in a span at most; None sets no limit.
        reach: As for `best_spans`; ``argmax`` and ``soft`` do not read it.
        curve: ``[T]``, the cosine of each frame to the sentence; only ``similarity`` and
            ``combined`` read it.
        boundaries: As for `similarity`; only ``similarity`` and ``combined`` read it.
        count: Spans wanted at most; ``argmax`` and ``soft`` know only one.
        similarity_weight: As for `combined`.

    Raises:
        NetworkError: The logits disagree in length, are not finite, or there is no frame.
    """
    if strategy == "argmax":
        return (argmax(start_logits, end_logits, longest=longest),)
    if strategy == "soft":
        return (soft(start_logits, end_logits, longest=longest),)
    if strategy == "joint":
        return joint(start_logits, end_logits, longest=longest, reach=reach, count=count)
    if curve is None:
        raise NetworkError(
            "decoding by similarity needs a space that frames and sentences share",
            remedy="Decode by joint, or use a bundle whose encoders share a space",
        )
    if strategy == "similarity":
        return similarity(curve, boundaries=boundaries, longest=longest, reach=reach, count=count)
    return combined(
        start_logits,
        end_logits,
        curve,
        weight=similarity_weight,
        boundaries=boundaries,
        longest=longest,
        reach=reach,
        count=count,
    )


def argmax(start_logits: ArrayLike, end_logits: ArrayLike, *, longest: int | None = None) -> Span:
    """Equation 14: the frames with the highest start and the highest end logit.

    The equation does not say what an end before the start means; here the two change places.
    In a video longer than a span may be, the end is looked for around the start.

    Args:
        start_logits: ``[T]``.
        end_logits: ``[T]``.
        longest: Frames in the span at most; None sets no limit.

    Raises:
        NetworkError: The logits disagree in length, are not finite, or there is no frame.
    """
    starts, ends = _rows(start_logits, end_logits)
    reach = (longest or len(starts)) - 1
    first = int(starts.argmax())
    low = max(0, first - reach)
    last = low + int(ends[low : first + reach + 1].argmax())
    score = _pair_score(float(starts[first]), float(ends[last]))
    return Span(min(first, last), max(first, last), score)


def soft(start_logits: ArrayLike, end_logits: ArrayLike, *, longest: int | None = None) -> Span:
    """Equation 15: the expected start and the expected end frame under softmax.

    The score is that of the frames nearest to the two expectations. In a video longer than a
    span may be, the expectation is over as many frames around the highest start logit.

    Args:
        start_logits: ``[T]``.
        end_logits: ``[T]``.
        longest: Frames in the span at most; None sets no limit.

    Raises:
        NetworkError: The logits disagree in length, are not finite, or there is no frame.
    """
    starts, ends = _rows(start_logits, end_logits)
    size = min(longest or len(starts), len(starts))
    low = min(max(0, int(starts.argmax()) - size // 2), len(starts) - size)
    frames = np.arange(low, low + size)
    starts, ends = starts[frames], ends[frames]
    first = float(_softmax(starts) @ frames)
    last = float(_softmax(ends) @ frames)
    nearest = [int(np.abs(frames - place).argmin()) for place in (first, last)]
    score = _pair_score(float(starts[nearest[0]]), float(ends[nearest[1]]))
    return Span(min(first, last), max(first, last), score)


def joint(
    start_logits: ArrayLike,
    end_logits: ArrayLike,
    *,
    longest: int | None = None,
    reach: IntArray | None = None,
    count: int = 1,
) -> tuple[Span, ...]:
    """The pairs start <= end with the highest sum of logits, best first, that share no frame.

    The score of a pair is the sigmoid of its mean logit, that is, the geometric mean of its two
    odds: it orders pairs as the sum does, and compares between videos as a softmax would not.
    Takes O(T * longest) time and O(T) memory.

    Args:
        start_logits: ``[T]``.
        end_logits: ``[T]``.
        longest: Frames in a span at most; None sets no limit.
        reach: As for `best_spans`, where frames are not evenly spaced; None: ``longest`` frames.
        count: Spans wanted at most; fewer come where no more fit.

    Raises:
        NetworkError: The logits disagree in length, are not finite, or there is no frame.
    """
    starts, ends = _rows(start_logits, end_logits)
    found = best_spans(
        np.arange(len(starts) + 1),
        lambda first, stop: starts[first] + ends[stop - 1],
        reach=even_reach(len(starts), longest) if reach is None else reach,
        count=count,
    )
    return tuple(Span(first, last, _sigmoid(total / 2)) for first, last, total in found)


def similarity(
    curve: ArrayLike,
    *,
    boundaries: IntArray | None = None,
    longest: int | None = None,
    reach: IntArray | None = None,
    count: int = 1,
) -> tuple[Span, ...]:
    """The spans that stand out most clearly from the rest of the curve; no training.

    The score is that of `Contrast`, never below 0. A flat curve favours no span, so it answers
    with the whole video, as far as a span may reach, at score 0.

    Args:
        curve: ``[T]``, the cosine of each frame to the sentence.
        boundaries: ``[B]`` ascending, from 0 to T: the frames at which spans may begin, and
            before which they may end; every piece between two of them that a span holds must
            match, as `Contrast` says. None allows all frames.
        longest: Frames in a span at most; None sets no limit.
        reach: As for `best_spans`, where frames are not evenly spaced; None: ``longest`` frames.
        count: Spans wanted at most.

    Raises:
        NetworkError: The curve is not finite, or there is no frame.
    """
    (values,) = _rows(curve)
    length = len(values)
    limit = even_reach(length, longest) if reach is None else reach
    pieces = None if boundaries is None else cut_long_stretches(boundaries, limit)
    contrast = Contrast(values, longest=longest or length, boundaries=pieces)
    if contrast.flat:
        return (Span(0, int(limit[0]) - 1, 0.0),)
    edges = np.arange(length + 1) if pieces is None else pieces
    found = best_spans(edges, contrast, reach=limit, count=count)
    return tuple(Span(first, last, min(max(total, 0.0), 1.0)) for first, last, total in found)


def combined(
    start_logits: ArrayLike,
    end_logits: ArrayLike,
    curve: ArrayLike,
    *,
    weight: float,
    boundaries: IntArray | None = None,
    longest: int | None = None,
    reach: IntArray | None = None,
    count: int = 1,
) -> tuple[Span, ...]:
    """The spans with the highest sum of shared logits and weighted contrast.

    The trained boundaries say where a moment may begin and end, the contrast of ``similarity``
    what lies between them. Each piece of a video bears witness to a contrast, but a span has one
    pair of logits, however long the video: so the pair is shared out over the pieces of the
    timeline that `Contrast` looks at, and counts less where a contrast is better founded.

    The score is the sigmoid of half of what the sum exceeds a contrast of one half by: with a
    single piece, such a contrast leaves the score of `joint` as it was.

    Args:
        start_logits: ``[T]``.
        end_logits: ``[T]``.
        curve: ``[T]``, the cosine of each frame to the sentence.
        weight: What a contrast of one is worth; at 0, spans are in the order of `joint`.
        boundaries: As for `similarity`; None takes the video for one piece.
        longest: Frames in a span at most.
        reach: As for `best_spans`, where frames are not evenly spaced; None: ``longest`` frames.
        count: Spans wanted at most.

    Raises:
        NetworkError: The rows disagree in length, are not finite, or there is no frame.
    """
    starts, ends, values = _rows(start_logits, end_logits, curve)
    length = len(values)
    limit = even_reach(length, longest) if reach is None else reach
    pieces = None if boundaries is None else cut_long_stretches(boundaries, limit)
    contrast = Contrast(values, longest=longest or length, boundaries=pieces)
    share = 1 / contrast.pieces
    found = best_spans(
        np.arange(length + 1) if pieces is None else pieces,
        lambda first, stop: (
            share * (starts[first] + ends[stop - 1]) + weight * contrast(first, stop)
        ),
        reach=limit,
        count=count,
    )
    return tuple(
        Span(first, last, _sigmoid((total - weight / 2) / 2)) for first, last, total in found
    )


def _rows(*rows: ArrayLike) -> list[FloatArray]:
    """Rows of one number a frame each, as float64, checked."""
    values = [np.asarray(row, dtype=np.float64) for row in rows]
    shape = values[0].shape
    if len(shape) != 1 or any(row.shape != shape for row in values):
        shapes = ", ".join(str(row.shape) for row in values)
        raise NetworkError(f"decoding takes one row a frame each, not shapes {shapes}")
    if not shape[0]:
        raise NetworkError("there is no frame to decode")
    if not all(np.isfinite(row).all() for row in values):
        raise NetworkError(
            "the localizer gave values that are not finite",
            where="localizer",
            remedy="Use a precision with more range, such as fp32",
        )
    return values


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
