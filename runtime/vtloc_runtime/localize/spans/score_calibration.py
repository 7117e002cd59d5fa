"""From a span's raw score to the probability that it is right."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from vtloc_runtime.bundle.manifest import ScoreCalibration

_SURE = 1e-6
"""As near to 0 and 1 as a score counts when its log-odds are taken."""


def calibrate(score: float, calibration: ScoreCalibration, margin: float | None = None) -> float:
    """The probability that belongs to a raw score.

    Where a sentence is surely shown, its best span is right more often than its score alone
    says, so the margin of presence counts as well.

    Args:
        score: A span's raw score, 0 to 1.
        calibration: The fitted points; between them the map is linear, and scores beyond them
            get the outermost probability.
        margin: By how much the sentence stands out from ordinary ones in the video; None counts
            as nothing.
    """
    if margin is not None and calibration.margin_weight:
        odds = log_odds(score) + calibration.margin_weight * margin
        score = 1 / (1 + math.exp(-odds)) if odds > 0 else math.exp(odds) / (1 + math.exp(odds))
    return float(np.interp(score, calibration.raw, calibration.probability))


def log_odds(score: float) -> float:
    """The logarithm of a score's odds, for 0 and 1 as well."""
    inside = min(max(score, _SURE), 1 - _SURE)
    return math.log(inside / (1 - inside))
