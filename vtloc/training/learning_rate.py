"""The learning rate over a run: a linear warm-up, then constant or along half a cosine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vtloc.training.config import Schedule


def learning_rate(
    step: int, steps: int, *, highest: float, warmup_steps: int, schedule: Schedule
) -> float:
    """The learning rate of a step.

    Args:
        step: Counted from zero over all epochs.
        steps: How many there will be at most.
        highest: The rate that the schedule starts from.
        warmup_steps: Steps over which the rate rises from zero.
        schedule: ``constant``, or ``cosine`` down to zero at the end.
    """
    warm = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
    if schedule == "constant":
        return highest * warm
    share = min(1.0, step / max(1, steps))
    return highest * warm * 0.5 * (1 + math.cos(math.pi * share))
