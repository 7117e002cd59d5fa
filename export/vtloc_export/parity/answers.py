"""Parity of answers: where moments stay, and how the scores on labels change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vtloc.evaluation.metrics import Scores, score
from vtloc_export.parity.bounds import (
    ANSWER_BOUNDS,
    MOVED_SECONDS,
    AnswerBound,
)
from vtloc_export.parity.report import AnswerParity

if TYPE_CHECKING:
    from vtloc_export.parity.questions import Question
    from vtloc_runtime.localize.spans.moments import Localization, Moment

SAME = MOVED_SECONDS
"""Seconds that the best moment's start and end may move and still count as the same answer."""
TIE = 0.01
"""Moments whose scores are this close, relatively, are one answer as good as the other."""


def answer_parity(
    backend: str,
    precision: str,
    questions: Sequence[Question],
    expected: Sequence[Localization],
    found: Sequence[Localization],
    *,
    bound: AnswerBound | None = None,
) -> AnswerParity:
    """Compare answers with the reference's, and with the labels where there are any."""
    pairs = list(zip(expected, found, strict=True))
    overlaps = [_overlap(old, new) for old, new in pairs]
    same = float(np.mean([_same(old, new) for old, new in pairs]))
    near_ties = same - float(np.mean([_stays(old, new) for old, new in pairs]))
    drift = _drift(questions, expected, found)
    iou = float(np.mean(overlaps))
    bound = bound or ANSWER_BOUNDS[precision]
    worst = max(drift.items(), key=lambda item: abs(item[1]), default=("", 0.0))
    answered = sum(old.best is not None for old in expected)
    broken = None
    if 2 * answered < len(expected):
        broken = (
            f"the PyTorch model answers {answered} of {len(expected)} questions: too few to compare"
        )
    elif same < bound.same:
        broken = f"{same:.1%} of the answers stay where they were, below {bound.same:.0%}"
    elif iou < bound.iou:
        broken = f"mean IoU with the reference's answers is {iou:.3f}, below {bound.iou}"
        if near_ties:
            broken += (
                f"; {near_ties:.1%} of the answers moved to a near-tie, as those of a network that "
                "is hardly trained do"
            )
    elif abs(worst[1]) > max(bound.drift, 100 / len(pairs)):
        broken = f"{worst[0]} moves by {worst[1]:+.2f} points, more than {bound.drift}"
    return AnswerParity(backend, precision, len(pairs), same, near_ties, iou, drift, broken)


def _overlap(old: Localization, new: Localization) -> float:
    if old.best is None or new.best is None:
        return float(old.best is new.best)
    return old.best.overlap(new.best)


def _stays(old: Localization, new: Localization) -> bool:
    """Whether the best moment stays where it was."""
    if old.best is None or new.best is None:
        return old.best is new.best
    return _apart(old.best, new.best) < SAME


def _same(old: Localization, new: Localization) -> bool:
    """Whether the best moment stays where it was, or moves to a near-tie."""
    if old.best is None or new.best is None:
        return old.best is new.best
    # Where the reference itself is torn between moments, either of them is its answer.
    tied = (item for item in old.moments if item.score >= (1 - TIE) * old.best.score)
    return any(_apart(item, new.best) < SAME for item in tied)


def _apart(one: Moment, other: Moment) -> float:
    """How far the ends of two moments are apart at most, seconds."""
    return max(abs(one.start - other.start), abs(one.end - other.end))


def _drift(
    questions: Sequence[Question], expected: Sequence[Localization], found: Sequence[Localization]
) -> dict[str, float]:
    if any(question.truth is None for question in questions):
        return {}
    truth = [moments for question in questions for moments in question.truth or ()]
    old, new = (_scores(truth, answers) for answers in (expected, found))
    drift = {
        f"R{rank}@{threshold:g}": new.recall[rank, threshold] - old.recall[rank, threshold]
        for rank, threshold in old.recall
    }
    return {**drift, "mIoU": new.mean_iou - old.mean_iou}


def _scores(truth: Sequence[tuple[Any, ...]], answers: Sequence[Localization]) -> Scores:
    return score((true, answer.moments) for true, answer in zip(truth, answers, strict=True))
