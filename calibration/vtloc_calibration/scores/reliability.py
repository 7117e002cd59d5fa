"""How far stated probabilities lie from what really happened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vtloc_calibration.errors import CalibrationError

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The answers whose stated probability falls between two bounds.

    Attributes:
        low: Lower bound, included.
        high: Upper bound, excluded (but 1.0 belongs to the last bin).
        count: Answers in the bin.
        stated: Mean stated probability; the bin's middle where it is empty.
        observed: Share that was right; nan where the bin is empty.
    """

    low: float
    high: float
    count: int
    stated: float
    observed: float


def checked_answers(probability: ArrayLike, correct: ArrayLike) -> tuple[FloatArray, BoolArray]:
    """Both as arrays of one length.

    Args:
        probability: ``[n]``, 0 to 1.
        correct: ``[n]``, whether each answer was right.

    Raises:
        CalibrationError: They disagree in length, are empty, or leave the range 0 to 1.
    """
    stated = np.asarray(probability, dtype=np.float64)
    right = np.asarray(correct, dtype=bool)
    if stated.ndim != 1 or stated.shape != right.shape:
        raise CalibrationError(
            f"scores of shape {stated.shape} do not match labels of shape {right.shape}"
        )
    if not len(stated):
        raise CalibrationError(
            "there are no labelled answers",
            remedy="Give labelled moments whose videos are available",
        )
    if not (np.isfinite(stated).all() and stated.min() >= 0 and stated.max() <= 1):
        raise CalibrationError("scores must be finite and lie between 0 and 1")
    return stated, right


def reliability_bins(
    probability: ArrayLike, correct: ArrayLike, *, bins: int = 10
) -> tuple[ReliabilityBin, ...]:
    """Sort answers by stated probability into bins of equal width.

    Args:
        probability: ``[n]``, 0 to 1.
        correct: ``[n]``, whether each answer was right.
        bins: How many bins.

    Raises:
        CalibrationError: The arrays do not fit each other, or there are fewer than one bin.
    """
    stated, right = checked_answers(probability, correct)
    if bins < 1:
        raise CalibrationError(f"{bins} bins cannot hold anything", remedy="Use at least 1")
    place = np.minimum((stated * bins).astype(np.int64), bins - 1)
    edges = np.arange(bins + 1) / bins
    found = []
    for index in range(bins):
        inside = place == index
        count = int(inside.sum())
        middle = float(edges[index] + edges[index + 1]) / 2
        found.append(
            ReliabilityBin(
                low=float(edges[index]),
                high=float(edges[index + 1]),
                count=count,
                stated=float(stated[inside].mean()) if count else middle,
                observed=float(right[inside].mean()) if count else float("nan"),
            )
        )
    return tuple(found)


def expected_calibration_error(probability: ArrayLike, correct: ArrayLike) -> float:
    """Mean distance between stated probability and observed share, weighted by the bins' counts.

    Args:
        probability: ``[n]``, 0 to 1.
        correct: ``[n]``, whether each answer was right.

    Returns:
        0 (every bin keeps its word) to 1.

    Raises:
        CalibrationError: The arrays do not fit each other.
    """
    filled = [one for one in reliability_bins(probability, correct) if one.count]
    total = sum(one.count for one in filled)
    return sum(one.count * abs(one.stated - one.observed) for one in filled) / total


def brier_score(probability: ArrayLike, correct: ArrayLike) -> float:
    """Mean squared distance of the stated probability from what happened, 0 to 1.

    Unlike the calibration error it also rewards telling right answers from wrong ones.

    Args:
        probability: ``[n]``, 0 to 1.
        correct: ``[n]``, whether each answer was right.

    Raises:
        CalibrationError: The arrays do not fit each other.
    """
    stated, right = checked_answers(probability, correct)
    return float(np.mean((stated - right) ** 2))
