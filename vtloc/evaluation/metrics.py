"""The measures of the field: R@k at an IoU, mean IoU, and mean average precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vtloc.errors import AnnotationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vtloc_runtime.localize.spans.moments import Moment

THRESHOLDS = (0.1, 0.3, 0.5, 0.7)
"""IoU thresholds that the paper reports."""

RANKS = (1, 5)

PRECISION_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""IoU thresholds 0.5, 0.55, ... 0.95, over which QVHighlights averages precision."""

_PRECISION_ANSWERS = 10
"""QVHighlights judges the ten best moments of an answer."""


@dataclass(frozen=True, slots=True)
class Scores:
    """How well some answers match, in percent.

    Attributes:
        queries: How many queries were judged.
        recall: By rank and IoU threshold, the share of queries with a hit among the first
            ``rank`` moments.
        mean_iou: Mean over the queries of the first moment's IoU.
        average_precision: By IoU threshold, mean over the queries; None where not asked for.
    """

    queries: int
    recall: dict[tuple[int, float], float]
    mean_iou: float
    average_precision: dict[float, float] | None = None

    @property
    def mean_average_precision(self) -> float | None:
        """Average precision over all its thresholds, as QVHighlights ranks systems."""
        if self.average_precision is None:
            return None
        return float(np.mean(list(self.average_precision.values())))

    def to_json(self) -> dict[str, Any]:
        """The scores as plain values, under the names that papers use."""
        plain: dict[str, Any] = {"queries": self.queries, "mIoU": self.mean_iou}
        for (rank, threshold), share in self.recall.items():
            plain[f"R{rank}@{threshold:g}"] = share
        if self.average_precision is not None:
            plain["mAP"] = self.mean_average_precision
            for threshold, precision in self.average_precision.items():
                plain[f"mAP@{threshold:g}"] = precision
        return plain


def score(
    pairs: Iterable[tuple[Sequence[Moment], Sequence[Moment]]],
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    strict: bool = False,
    precision: bool = False,
) -> Scores:
    """Judge answers.

    Args:
        pairs: For each query its true moments and its answer, best first. A moment's IoU is that
            with the true moment that it overlaps most; no answer has IoU zero.
        thresholds: IoU thresholds of recall.
        strict: Whether a hit needs an IoU above the threshold, as 2D-TAN counts, not merely
            equal to it.
        precision: Whether average precision is computed too.

    Raises:
        AnnotationError: A query has no true moment, or there is no query.
    """
    firsts: list[float] = []
    hits = {(rank, threshold): 0 for rank in RANKS for threshold in thresholds}
    precisions: list[list[float]] = []
    for truth, answer in pairs:
        if not truth:
            raise AnnotationError("a query without labels cannot be judged")
        overlaps = [max(moment.overlap(true) for true in truth) for moment in answer[: max(RANKS)]]
        firsts.append(overlaps[0] if overlaps else 0.0)
        for rank, threshold in hits:
            best = max(overlaps[:rank], default=-1.0)
            hits[rank, threshold] += best > threshold if strict else best >= threshold
        if precision:
            precisions.append([average_precision(truth, answer, t) for t in PRECISION_THRESHOLDS])
    if not firsts:
        raise AnnotationError("there is no query to judge")
    means = 100 * np.mean(precisions, axis=0) if precision else []
    return Scores(
        queries=len(firsts),
        recall={key: 100 * count / len(firsts) for key, count in hits.items()},
        mean_iou=100 * float(np.mean(firsts)),
        average_precision=(
            dict(zip(PRECISION_THRESHOLDS, map(float, means), strict=True)) if precision else None
        ),
    )


def average_precision(truth: Sequence[Moment], answer: Sequence[Moment], threshold: float) -> float:
    """Average precision of one query, as QVHighlights defines it.

    The ten best moments of an answer, by falling score, each claim the true moment that they
    overlap most among those unclaimed and overlapped by at least ``threshold``. Precision is made
    monotone and integrated over recall.

    Args:
        truth: The query's true moments.
        answer: Its answer.
        threshold: IoU that claims a true moment.

    Returns:
        0 to 1.
    """
    best = sorted(answer[:_PRECISION_ANSWERS], key=lambda moment: -moment.score)
    claimed: set[int] = set()
    recalls, precisions = [0.0], [0.0]
    for place, moment in enumerate(best, start=1):
        overlaps = {i: moment.overlap(t) for i, t in enumerate(truth) if i not in claimed}
        choice = max(overlaps, key=lambda i: overlaps[i], default=None)
        if choice is not None and overlaps[choice] >= threshold:
            claimed.add(choice)
        recalls.append(len(claimed) / len(truth))
        precisions.append(len(claimed) / place)
    envelope = np.maximum.accumulate(precisions[::-1])[::-1]
    return float(np.sum(np.diff(recalls) * envelope[1:]))
