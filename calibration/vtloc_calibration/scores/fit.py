"""From raw scores to probabilities of being right, fitted on labelled moments.

A raw score orders answers; it does not say how often such an answer is right. Two maps are
fitted and compared by cross-validation over videos:

* ``isotonic``: any rising curve. Equal stretches are drawn together to their centre and joined by
  lines (centred isotonic regression), so that two different raw scores stay different.
* ``temperature``: the logistic curve of the score's log-odds, with a temperature and an offset;
  two numbers, hence the better choice where labels are few.

Both come out as the piecewise-linear map that a bundle stores.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vtloc_calibration.errors import CalibrationError
from vtloc_calibration.scores.reliability import brier_score, checked_answers
from vtloc_runtime.bundle.manifest import ScoreCalibration
from vtloc_runtime.errors import MissingExtraError

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Method = Literal["isotonic", "temperature"]
METHODS: tuple[Method, ...] = ("isotonic", "temperature")

MINIMUM_ANSWERS = 20
"""Fewer labelled answers than this say nothing about probabilities in steps of ten percent."""

_LOGISTIC_KNOTS = 65
_SMALLEST = 1e-6
_MOST_WEIGHT = 50.0
_UNPENALIZED = 1e9
"""Inverse strength of the penalty: none that shows, but the curve stays finite."""


def probabilities(raw: ArrayLike, calibration: ScoreCalibration) -> FloatArray:
    """The probabilities of many raw scores, as `score_calibration.calibrate` gives each.

    Args:
        raw: ``[n]``, 0 to 1.
        calibration: The fitted map.
    """
    return np.interp(np.asarray(raw, dtype=np.float64), calibration.raw, calibration.probability)


def with_margin(raw: ArrayLike, margin: ArrayLike, weight: float) -> FloatArray:
    """Raw scores with the margin of presence added to their log-odds, as the runtime does.

    Args:
        raw: ``[n]``, 0 to 1.
        margin: ``[n]``.
        weight: What a margin of one adds.
    """
    scores = np.asarray(raw, dtype=np.float64)
    if not weight:
        return scores
    odds = _log_odds(scores) + weight * np.asarray(margin, dtype=np.float64)
    return np.clip(_sigmoid(odds), _SMALLEST, 1 - _SMALLEST)


def margin_weight(raw: ArrayLike, margin: ArrayLike, correct: ArrayLike) -> float:
    """What a margin of one is worth, in log-odds of the raw score.

    Both are weighed by logistic regression. Where more margin would make an answer less likely
    right, or the scores themselves say nothing, it is 0.

    Args:
        raw: ``[n]``, 0 to 1.
        margin: ``[n]``.
        correct: ``[n]``, whether each answer was right.
    """
    scores, right = checked_answers(raw, correct)
    weights = _logistic(
        np.stack([_log_odds(scores), np.asarray(margin, dtype=np.float64)], axis=1), right
    )
    if weights[0] <= _SMALLEST:
        return 0.0
    return float(np.clip(weights[1] / weights[0], 0.0, _MOST_WEIGHT))


def fit(raw: ArrayLike, correct: ArrayLike, *, method: Method) -> ScoreCalibration:
    """Fit a rising map from raw scores to the probability of being right.

    Args:
        raw: ``[n]``, 0 to 1.
        correct: ``[n]``, whether each answer was right.
        method: ``isotonic`` or ``temperature``.

    Raises:
        CalibrationError: Too few answers, all of one kind, or all with one score.
        MissingExtraError: scikit-learn is not installed.
    """
    scores, right = checked_answers(raw, correct)
    _refuse_what_teaches_nothing(scores, right)
    return _FITS[method](scores, right)


def _refuse_what_teaches_nothing(scores: FloatArray, right: BoolArray) -> None:
    if len(scores) < MINIMUM_ANSWERS:
        raise CalibrationError(
            f"{len(scores)} labelled answers are too few; at least {MINIMUM_ANSWERS} are needed",
            remedy="Label more moments; a few hundred make a score worth trusting",
        )
    if right.all() or not right.any():
        raise CalibrationError(
            f"{'every' if right.all() else 'no'} answer is right: there is nothing to learn from",
            remedy="Add labelled moments that are harder, or easier, or check the labels",
        )
    if scores.min() == scores.max():
        raise CalibrationError(
            f"every answer has the score {scores[0]:g}: scores that do not differ predict nothing"
        )


def _fit_isotonic(scores: FloatArray, right: BoolArray) -> ScoreCalibration:
    # Half an answer of the opposite kind at either end: no finite sample proves 0 or 1.
    knots = np.concatenate([scores, [scores.min(), scores.max()]])
    labels = np.concatenate([right.astype(np.float64), [1.0, 0.0]])
    weights = np.concatenate([np.ones(len(scores)), [0.5, 0.5]])
    levels = (
        _sklearn("isotonic")
        .IsotonicRegression()
        .fit(knots, labels, sample_weight=weights)
        .predict(knots)
    )
    blocks = np.unique(levels)
    centres = np.array(
        [np.average(knots[levels == one], weights=weights[levels == one]) for one in blocks]
    )
    return _stored(*_reach_the_ends(centres, blocks))


def _reach_the_ends(raw: FloatArray, probability: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Continue the outermost lines to 0 and 1, at most half of what remains."""
    low, high = float(probability[0]), float(probability[-1])
    if len(raw) == 1:
        first, last = low, high
    else:
        rise = np.diff(probability) / np.maximum(np.diff(raw), _SMALLEST)
        first = max(low - float(rise[0] * raw[0]), low / 2)
        last = min(high + float(rise[-1] * (1 - raw[-1])), (1 + high) / 2)
    return (
        np.concatenate([[0.0], raw, [1.0]]),
        np.concatenate([[first], probability, [last]]),
    )


def _fit_temperature(scores: FloatArray, right: BoolArray) -> ScoreCalibration:
    inverse_temperature, offset = _logistic(_log_odds(scores)[:, None], right)
    if inverse_temperature <= 0:
        raise CalibrationError(
            "higher scores are right less often than lower ones: no rising map fits",
            remedy="Check that the labels belong to these videos and to this bundle",
        )
    # Knots lie densely where the answers are, and reach both ends.
    raw = np.unique(
        np.concatenate([[0.0], np.quantile(scores, np.linspace(0, 1, _LOGISTIC_KNOTS)), [1.0]])
    )
    return _stored(raw, _sigmoid(inverse_temperature * _log_odds(raw) + offset))


def _logistic(evidence: FloatArray, right: BoolArray) -> FloatArray:
    """Slopes and offset of the logistic curve with the highest likelihood.

    Args:
        evidence: ``[n, m]``.
        right: ``[n]``.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    linear_model = _sklearn("linear_model")
    # Platt's targets: the labels drawn in by one answer, which keeps separable data finite.
    positives, negatives = int(right.sum()), int((~right).sum())
    wanted = np.where(right, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    curve = linear_model.LogisticRegression(C=_UNPENALIZED, solver="newton-cholesky", tol=1e-9)
    # A target between 0 and 1 is an answer of either kind, weighed by it.
    curve.fit(
        np.tile(evidence, (2, 1)),
        np.repeat([1, 0], len(wanted)),
        sample_weight=np.concatenate([wanted, 1 - wanted]),
    )
    return np.append(curve.coef_[0], curve.intercept_)


def _sklearn(module: str) -> Any:
    try:
        return import_module(f"sklearn.{module}")
    except ImportError as error:
        raise MissingExtraError.for_package(
            "scikit-learn", extra="calibration", purpose="fitting scores"
        ) from error


def _log_odds(scores: FloatArray) -> FloatArray:
    inside = np.clip(scores, _SMALLEST, 1 - _SMALLEST)
    odds: FloatArray = np.log(inside) - np.log1p(-inside)
    return odds


def _sigmoid(values: FloatArray) -> FloatArray:
    stated: FloatArray = np.exp(-np.logaddexp(0, -values))
    return stated


def _stored(raw: FloatArray, probability: FloatArray) -> ScoreCalibration:
    """The map as a bundle stores it: raw scores strictly rising, probabilities never falling."""
    keep = np.append(True, np.diff(raw) > 0)
    # The last of equal raw scores would be lost; they belong to the ends, where it hardly matters.
    rising = np.maximum.accumulate(np.clip(probability[keep], 0.0, 1.0))
    return ScoreCalibration(
        raw=tuple(float(value) for value in raw[keep]),
        probability=tuple(float(value) for value in rising),
    )


_FITS: dict[Method, Callable[[FloatArray, BoolArray], ScoreCalibration]] = {
    "isotonic": _fit_isotonic,
    "temperature": _fit_temperature,
}


FOLDS = 5
"""Parts of a cross-validation; one is held out at a time."""


def folds_by_group(groups: ArrayLike, *, folds: int, seed: int = 0) -> NDArray[np.int64]:
    """Which fold each answer belongs to; answers of one group (a video) share a fold.

    Args:
        groups: ``[n]``, the name of each answer's group.
        folds: Folds wanted; no more than there are groups.
        seed: Of the shuffle.

    Returns:
        ``[n]``, 0 to folds - 1.

    Raises:
        CalibrationError: There are fewer than two groups.
    """
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        raise CalibrationError(
            "the labelled moments come from one video: nothing can be held out",
            remedy="Label moments in several videos",
        )
    order = np.random.default_rng(seed).permutation(len(names))
    fold = np.empty(len(names), dtype=np.int64)
    fold[order] = np.arange(len(names)) % min(folds, len(names))
    return fold[member]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What a method says about answers that its fit did not see.

    Attributes:
        method: How the map was fitted.
        probability: ``[n]``, each from the fit on the other folds.
        brier: Their Brier score.
    """

    method: Method
    probability: FloatArray
    brier: float


def cross_validate(
    raw: ArrayLike,
    correct: ArrayLike,
    groups: ArrayLike,
    *,
    method: Method,
    seed: int = 0,
) -> HeldOut:
    """Judge a method by answers of videos that its fit did not see.

    Args:
        raw: ``[n]``, 0 to 1.
        correct: ``[n]``, whether each answer was right.
        groups: ``[n]``, the video of each answer.
        method: How to fit.
        seed: Of the folds.

    Raises:
        CalibrationError: A fold leaves too little to fit.
    """
    scores, right = checked_answers(raw, correct)
    fold = folds_by_group(groups, folds=FOLDS, seed=seed)
    stated = np.full(len(scores), math.nan)
    for index in range(int(fold.max()) + 1):
        held = fold == index
        fitted = fit(scores[~held], right[~held], method=method)
        stated[held] = probabilities(scores[held], fitted)
    return HeldOut(method, stated, brier_score(stated, right))


def choose_method(
    raw: ArrayLike, correct: ArrayLike, groups: ArrayLike, *, seed: int = 0
) -> HeldOut:
    """The method with the lower Brier score on held-out videos.

    Args:
        raw: ``[n]``, 0 to 1.
        correct: ``[n]``, whether each answer was right.
        groups: ``[n]``, the video of each answer.
        seed: Of the folds.

    Raises:
        CalibrationError: No method can be fitted.
    """
    tried: list[HeldOut] = []
    refused: CalibrationError | None = None
    for method in METHODS:
        try:
            tried.append(cross_validate(raw, correct, groups, method=method, seed=seed))
        except CalibrationError as error:
            refused = error
    if not tried:
        raise refused or CalibrationError("no method was tried")
    return min(tried, key=lambda held: held.brier)
