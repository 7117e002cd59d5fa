"""What holds for every answer, whatever the video."""

from __future__ import annotations

from vtloc_runtime.localize.spans.moments import Localization

# Spans are made of frames' times in FP64; an end may be rounded.
_ROUNDING = 1e-6


def check_answer(answer: Localization, duration: float) -> None:
    """Moments lie in the video, and their scores are shares that never rise."""
    last = 1.0
    for moment in answer.moments:
        assert 0 <= moment.start <= moment.end <= duration + _ROUNDING, moment
        assert 0 <= moment.score <= last, moment
        last = moment.score
