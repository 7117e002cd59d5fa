"""Finer ends: a second look, four times a second, at the seconds around each end of a moment.

An end that was found among frames a second apart moves to where the frames around it change most,
in the direction that the sentence asks for: towards it where the moment starts, away from it where
it ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from vtloc_runtime.localize.spans.similarity import cosine_curve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vtloc_runtime.bundle.manifest import SharedSpace
    from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
    from vtloc_runtime.localize.spans.moments import Localization, Moment

STEP = 0.25
"""Seconds between frames of the second look."""

REACH = 1.5
"""Seconds on either side of an end that are looked at, in frames a second apart."""

_CLEAR = 0.3
"""The share of the frames' squared error that a cut must explain."""
_LEAST = 0.005
"""The squared error, a frame, that is taken for a change at all; frames have length 1."""
_FEWEST = 3


@dataclass(frozen=True, slots=True)
class _End:
    """An end that may move.

    Attributes:
        time: Where it was found, seconds.
        low: No earlier than this.
        high: No later than this.
    """

    time: float
    low: float
    high: float


def instants_around(
    answers: Iterable[Localization], duration: float, *, step: float
) -> tuple[float, ...]:
    """The seconds to look at: those around every end of every moment.

    Args:
        answers: About one video.
        duration: The video's end, seconds.
        step: Seconds between the frames of the first look.

    Returns:
        Ascending; empty where no moment has an end that could move.
    """
    places: set[int] = set()
    for answer in answers:
        for moment in answer.moments:
            for end in _ends(moment, answer.moments, duration, reach=REACH * step):
                if end.high > end.low:
                    # A common grid, so that ends close to each other share frames.
                    places.update(
                        range(int(np.ceil(end.low / STEP)), int(np.ceil(end.high / STEP)))
                    )
    return tuple(place * STEP for place in sorted(places))


def refine(
    answer: Localization,
    sentence: NDArray[np.floating],
    frames: EncodedVideo,
    *,
    duration: float,
    step: float,
    longest: float,
    shared: SharedSpace | None,
) -> Localization:
    """Move the ends of an answer's moments to where finer frames change.

    Args:
        answer: What the first look found.
        sentence: ``[Ds]``, its sentence.
        frames: The frames at `instants_around` this answer, others among them.
        duration: The video's end, seconds.
        step: As for `instants_around`.
        longest: Seconds that a moment may last.
        shared: The columns that lie in the sentence's space; None: there is no such space, and
            ends move whatever the direction of the change.
    """
    columns = slice(None) if shared is None else slice(shared.start, shared.stop)
    features = frames.features[:, columns].astype(np.float32)
    features /= np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    curve = None if shared is None else cosine_curve(frames.features, sentence, shared)
    moved = []
    for moment in answer.moments:
        start, end = (
            _cut(features, curve, frames.times, place, rising=rising)
            for place, rising in zip(
                _ends(moment, answer.moments, duration, reach=REACH * step),
                (True, False),
                strict=True,
            )
        )
        moved.append(replace(moment, start=start, end=min(end, start + longest)))
    return replace(answer, moments=tuple(moved))


def _ends(
    moment: Moment, moments: Sequence[Moment], duration: float, *, reach: float
) -> tuple[_End, _End]:
    """Both ends of a moment; each may move to its middle, or towards the next moment.

    The video's own beginning and end stay where they are.
    """
    middle = (moment.start + moment.end) / 2
    # Two moments may each come to the middle of what lies between them.
    ends = [one.end for one in moments if one.end <= moment.start]
    starts = [one.start for one in moments if one.start >= moment.end]
    before = (max(ends) + moment.start) / 2 if ends else 0.0
    after = (min(starts) + moment.end) / 2 if starts else duration
    begins, stops = moment.start > 0, moment.end < duration
    return (
        _End(
            moment.start,
            max(before, moment.start - reach) if begins else moment.start,
            min(middle, moment.start + reach) if begins else moment.start,
        ),
        _End(
            moment.end,
            max(middle, moment.end - reach) if stops else moment.end,
            min(after, moment.end + reach) if stops else moment.end,
        ),
    )


def _cut(
    features: NDArray[np.float32],
    curve: NDArray[np.float64] | None,
    times: NDArray[np.float64],
    end: _End,
    *,
    rising: bool,
) -> float:
    """Where the frames between an end's bounds change most; the end itself where none clearly do.

    Args:
        features: ``[F, D]``, of length 1 each.
        curve: ``[F]``, cosines to the sentence; None lets changes of any direction count.
        times: ``[F]`` seconds, ascending.
        end: The end.
        rising: Whether frames must come closer to the sentence, or leave it.
    """
    first, stop = np.searchsorted(times, [end.low - 1e-6, end.high - 1e-6])
    count = int(stop - first)
    if count < _FEWEST:
        return end.time
    sums = np.cumsum(features[first:stop], axis=0, dtype=np.float64)
    sizes = np.arange(1, count)
    left, right, total = sums[:-1], sums[-1] - sums[:-1], sums[-1]
    gains = (left**2).sum(axis=1) / sizes + (right**2).sum(axis=1) / (count - sizes)
    gains -= total @ total / count
    if curve is not None:
        grown = np.cumsum(curve[first:stop])
        step = (grown[-1] - grown[:-1]) / (count - sizes) - grown[:-1] / sizes
        gains[step <= 0 if rising else step >= 0] = 0.0
    best = int(gains.argmax())
    error = count - total @ total / count
    if gains[best] < max(_CLEAR * error, _LEAST * count):
        return end.time
    return float(np.clip(times[first + best + 1], end.low, end.high))
