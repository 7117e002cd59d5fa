"""Blind baselines: scores without looking at the video. Every table of results has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vtloc.errors import AnnotationError
from vtloc_runtime.localize.spans.moments import Moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vtloc.annotations.examples import Example

_STEP = 0.05
"""Grid of the constant window, as a share of the video."""

_HIT = 0.5
"""IoU."""


def whole_video(example: Example) -> tuple[Moment, ...]:
    """Answer with everything."""
    return (Moment(0.0, example.duration, 1.0),)


def constant_window(example: Example, window: tuple[float, float]) -> tuple[Moment, ...]:
    """Answer with the same share of every video.

    Args:
        example: The query.
        window: Start and end as shares of the duration.
    """
    start, end = (share * example.duration for share in window)
    return (Moment(start, end, 1.0),)


def best_constant_window(examples: Sequence[Example]) -> tuple[float, float]:
    """The constant window that hits most examples at an IoU of 0.5; ties go to the higher mean IoU.

    Args:
        examples: The training split: choosing on the split that is judged would be cheating.

    Raises:
        AnnotationError: No example is labelled.
    """
    truth = np.array(
        [
            (moment.start / example.duration, moment.end / example.duration)
            for example in examples
            for moment in example.moments
        ]
    )
    if not len(truth):
        raise AnnotationError("there is no labelled example to choose a window from")
    steps = round(1 / _STEP)
    best, window = (-1.0, -1.0), (0.0, 1.0)
    for first in range(steps):
        for last in range(first + 1, steps + 1):
            start, end = first / steps, last / steps
            shared = np.minimum(truth[:, 1], end) - np.maximum(truth[:, 0], start)
            union = np.maximum(truth[:, 1], end) - np.minimum(truth[:, 0], start)
            overlap = np.maximum(shared, 0) / union
            found = (float(np.mean(overlap >= _HIT)), float(overlap.mean()))
            if found > best:
                best, window = found, (start, end)
    return window
