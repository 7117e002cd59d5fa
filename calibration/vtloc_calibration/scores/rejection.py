"""When to answer "no such moment": what a threshold keeps, and what it turns away."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vtloc_calibration.errors import CalibrationError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RejectionCurve:
    """What every threshold does to sentences that are in the video and to those that are not.

    A sentence is answered where its score is at least the threshold, and turned away below it.

    Attributes:
        thresholds: ``[n]``, ascending; the first keeps everything, the last nothing.
        kept: ``[n]``, share of the present sentences that are answered; never rises.
        rejected: ``[n]``, share of the absent sentences that are turned away; never falls.
    """

    thresholds: FloatArray
    kept: FloatArray
    rejected: FloatArray

    @property
    def area(self) -> float:
        """Area under rejection against keeping: 1 tells them apart, 0.5 guesses."""
        # From nothing kept to everything kept; ties between the two kinds count half.
        return float(np.trapezoid(self.rejected[::-1], self.kept[::-1]))

    def at(self, threshold: float) -> tuple[float, float]:
        """Kept share of present sentences, and rejected share of absent ones, at a threshold."""
        index = int(np.searchsorted(self.thresholds, threshold, side="left"))
        index = min(index, len(self.thresholds) - 1)
        return float(self.kept[index]), float(self.rejected[index])


def rejection_curve(present: ArrayLike, absent: ArrayLike) -> RejectionCurve:
    """The curve of rejection against keeping.

    Args:
        present: ``[n]``, scores of sentences that are in their video.
        absent: ``[m]``, scores of sentences that are not.

    Raises:
        CalibrationError: One kind is missing, or a score is not finite.
    """
    inside, outside = _scores(present, "present"), _scores(absent, "absent")
    seen = np.unique(np.concatenate([inside, outside]))
    thresholds = np.append(seen, np.nextafter(seen[-1], np.inf))
    kept = 1 - np.searchsorted(np.sort(inside), thresholds, side="left") / len(inside)
    rejected = np.searchsorted(np.sort(outside), thresholds, side="left") / len(outside)
    return RejectionCurve(thresholds, kept, rejected)


def threshold_that_keeps(present: ArrayLike, *, share: float) -> float:
    """The highest threshold that still answers a share of the present sentences.

    Args:
        present: ``[n]``, scores of sentences that are in their video.
        share: Share that must be answered, above 0 and up to 1.

    Returns:
        A threshold half-way to the next lower score, so that rounding elsewhere changes nothing.

    Raises:
        CalibrationError: The share is impossible, or there is no score.
    """
    if not 0 < share <= 1:
        raise CalibrationError(
            f"cannot keep a share of {share:g}", remedy="Ask for more than 0 and at most 1"
        )
    scores = np.sort(_scores(present, "present"))
    # An epsilon, or 0.9 of 10 sentences would be 10 of them in floating point.
    needed = math.ceil(share * len(scores) - 1e-9)
    return _just_below(scores, float(scores[len(scores) - needed]))


def threshold_for_precision(
    scores: ArrayLike, correct: ArrayLike, *, precision: float, minimum: int = 1
) -> float:
    """The lowest threshold above which a share of the answers is right.

    Args:
        scores: ``[n]``, of present and absent sentences together.
        correct: ``[n]``, whether each answer was right; for an absent sentence it never is.
        precision: Share of the answers given that must be right, above 0 and up to 1.
        minimum: Answers that must remain, so that the share means something.

    Returns:
        A threshold half-way to the next lower score.

    Raises:
        CalibrationError: No threshold reaches that precision; the message names the best one.
    """
    if not 0 < precision <= 1:
        raise CalibrationError(
            f"a precision of {precision:g} is impossible",
            remedy="Ask for more than 0 and at most 1",
        )
    values = _scores(scores, "labelled")
    right = np.asarray(correct, dtype=bool)
    if right.shape != values.shape:
        raise CalibrationError(f"there are {len(values)} scores but {right.size} labels")
    order = np.argsort(-values, kind="stable")
    ranked = values[order]
    share = np.cumsum(right[order]) / np.arange(1, len(ranked) + 1)
    # A threshold cannot cut between equal scores: only the last of them is a place to stop.
    stops = np.append(ranked[1:] != ranked[:-1], True) & (np.arange(len(ranked)) + 1 >= minimum)
    reached = np.flatnonzero(stops & (share >= precision - 1e-12))
    if not len(reached):
        best = float(share[stops].max()) if stops.any() else 0.0
        raise CalibrationError(
            f"no threshold reaches a precision of {precision:g} with at least {minimum} "
            f"answers left; the best is {best:.3f}",
            remedy="Ask for less, or for a share to keep instead",
        )
    return _just_below(np.sort(values), float(ranked[reached[-1]]))


def _just_below(ascending: FloatArray, score: float) -> float:
    """Half-way from a score to the next lower one; the score itself where none is lower."""
    index = int(np.searchsorted(ascending, score, side="left"))
    if index == 0:
        return score
    middle = (float(ascending[index - 1]) + score) / 2
    return middle if ascending[index - 1] < middle else score


def _scores(values: ArrayLike, kind: str) -> FloatArray:
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or not len(scores):
        raise CalibrationError(f"there are no {kind} sentences to choose a threshold by")
    if not np.isfinite(scores).all():
        raise CalibrationError(f"the scores of the {kind} sentences are not all finite")
    return scores
