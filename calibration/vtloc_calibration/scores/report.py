"""Calibrate the scores of a bundle from its answers, and say what came of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from vtloc_calibration.errors import CalibrationError
from vtloc_calibration.report_files import finite
from vtloc_calibration.scores.fit import (
    FOLDS,
    MINIMUM_ANSWERS,
    Method,
    choose_method,
    cross_validate,
    fit,
    folds_by_group,
    margin_weight,
    probabilities,
    with_margin,
)
from vtloc_calibration.scores.rejection import (
    RejectionCurve,
    rejection_curve,
    threshold_for_precision,
    threshold_that_keeps,
)
from vtloc_calibration.scores.reliability import (
    ReliabilityBin,
    brier_score,
    expected_calibration_error,
    reliability_bins,
)
from vtloc_runtime.bundle.manifest import ScoreCalibration

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Evidence = Literal["margin", "score"]


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """One sentence, the best moment found for it, and what is known about it.

    Attributes:
        video: Name of the video.
        query: The sentence.
        present: Whether the video shows what the sentence describes.
        raw: The best moment's score before calibration.
        overlap: Its IoU with the closest labelled span; 0 for an absent sentence.
        start: Where the best moment starts, seconds.
        end: Where it ends, seconds.
        margin: By how much the sentence stands out from ordinary ones in the video; None where
            the bundle has no sentence bank.
    """

    video: str
    query: str
    present: bool
    raw: float
    overlap: float
    start: float
    end: float
    margin: float | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What the threshold for "no such moment" is chosen for.

    Attributes:
        kind: ``keep`` a share of the present sentences, reach a ``precision`` of the answers
            given, or ``never`` say that there is no such moment.
        share: The share, 0 to 1; not read for ``never``.
    """

    kind: Literal["keep", "precision", "never"] = "keep"
    share: float = 0.9


@dataclass(frozen=True, slots=True)
class Rejection:
    """What a threshold did, on the answers it was chosen on or on others.

    Attributes:
        kept: Share of present sentences that were answered.
        rejected: Share of absent sentences that were turned away; nan where there were none.
        precision: Share of the answers given that were right; nan where none was given.
    """

    kept: float
    rejected: float
    precision: float


@dataclass(frozen=True, slots=True)
class ScoreReport:
    """A calibration of scores, and how well it holds.

    Attributes:
        calibration: The map, with the threshold where scores decide about presence.
        evidence: What decides about presence: the margin where every answer has one, else the
            score.
        threshold: Below it the answer is "no such moment"; None never says so.
        method: How the map was fitted.
        iou: The overlap from which an answer counts as right.
        target: What the threshold was chosen for.
        present: Sentences that are in their video.
        absent: Sentences that are not.
        videos: Videos they are about.
        right: Share of the present sentences answered rightly.
        error_before: Expected calibration error of the raw scores.
        error_after: The same of calibrated scores, on videos that the fit did not see.
        brier_before: Brier score of the raw scores.
        brier_after: The same of calibrated scores, on videos that the fit did not see.
        bins_before: Reliability of the raw scores.
        bins_after: Reliability of calibrated scores, on videos that the fit did not see.
        chosen_on: What the threshold does to the answers that it was chosen on.
        held_out: What thresholds chosen on other videos do; None without a threshold.
        curve: Rejection against keeping, by the evidence; None without absent sentences.
        curve_of_scores: The same by calibrated scores of videos that the fit did not see.
    """

    calibration: ScoreCalibration
    evidence: Evidence
    threshold: float | None
    method: Method
    iou: float
    target: Target
    present: int
    absent: int
    videos: int
    right: float
    error_before: float
    error_after: float
    brier_before: float
    brier_after: float
    bins_before: tuple[ReliabilityBin, ...]
    bins_after: tuple[ReliabilityBin, ...]
    chosen_on: Rejection | None
    held_out: Rejection | None
    curve: RejectionCurve | None
    curve_of_scores: RejectionCurve | None

    @property
    def least_margin(self) -> float | None:
        """The threshold, where margins decide; None where scores do, or nothing."""
        return self.threshold if self.evidence == "margin" else None

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values; what was not measured is null."""
        bare = asdict(replace(self, curve=None, curve_of_scores=None, calibration=_NO_CALIBRATION))
        bare["calibration"] = msgspec.to_builtins(self.calibration)
        bare["curve"] = _plain_curve(self.curve)
        bare["curve_of_scores"] = _plain_curve(self.curve_of_scores)
        cleaned: dict[str, Any] = finite(bare)
        return cleaned

    def summary(self) -> dict[str, Any]:
        """The few figures that a bundle's manifest carries."""
        found: dict[str, Any] = {
            "method": self.method,
            "iou": self.iou,
            "present": self.present,
            "absent": self.absent,
            "videos": self.videos,
            "expected_calibration_error_before": self.error_before,
            "expected_calibration_error_held_out": self.error_after,
        }
        if self.held_out is not None:
            found["presence_by"] = self.evidence
            found["kept_held_out"] = self.held_out.kept
            found["rejected_held_out"] = self.held_out.rejected
        cleaned: dict[str, Any] = finite(found)
        return cleaned


_NO_CALIBRATION = ScoreCalibration(raw=(), probability=())


def _plain_curve(curve: RejectionCurve | None) -> dict[str, Any] | None:
    if curve is None:
        return None
    return {
        "thresholds": curve.thresholds.tolist(),
        "kept": curve.kept.tolist(),
        "rejected": curve.rejected.tolist(),
        "area": curve.area,
    }


def calibrate_scores(
    answers: Sequence[ScoredAnswer],
    *,
    method: Method | None = None,
    target: Target | None = None,
    iou: float = 0.5,
    seed: int = 0,
) -> ScoreReport:
    """Fit the map and the threshold, and judge both on videos that they did not see.

    The map is fitted on present sentences: the probability is that of a right answer, given that
    the video shows what is asked for. Whether it does is what the threshold decides.

    Args:
        answers: Present sentences, and absent ones for the threshold.
        method: How to fit; None takes the better of the two by cross-validation.
        target: What the threshold is chosen for.
        iou: The overlap from which an answer counts as right.
        seed: Of the folds.

    Raises:
        CalibrationError: The answers are too few, all of one kind, or the target is out of reach.
    """
    wanted = target or Target()
    plain, present, right, videos = _columns(answers, iou)
    margins = _margins(answers)
    raw, weight = plain, 0.0
    if margins is not None and present.any():
        weight = margin_weight(plain[present], margins[present], right[present])
        raw = with_margin(plain, margins, weight)
    inside = raw[present], right[present], videos[present]
    held = (
        choose_method(*inside, seed=seed)
        if method is None
        else cross_validate(*inside, method=method, seed=seed)
    )
    fitted = fit(raw[present], right[present], method=held.method)
    fitted = msgspec.structs.replace(fitted, margin_weight=weight)
    evidence = probabilities(raw, fitted) if margins is None else margins
    threshold = _choose_threshold(evidence, right, present, wanted)
    fold = folds_by_group(videos, folds=FOLDS, seed=seed)
    unseen_scores = _unseen_scores(raw, right, present, fold, held.method)
    unseen = unseen_scores if margins is None else margins
    unseen_thresholds = _unseen_thresholds(unseen, right, present, fold, wanted)
    if margins is None:
        fitted = msgspec.structs.replace(fitted, threshold=threshold)
    return ScoreReport(
        calibration=fitted,
        evidence="score" if margins is None else "margin",
        threshold=threshold,
        method=held.method,
        iou=iou,
        target=wanted,
        present=int(present.sum()),
        absent=int((~present).sum()),
        videos=len(set(videos)),
        right=float(right[present].mean()),
        error_before=expected_calibration_error(plain[present], right[present]),
        error_after=expected_calibration_error(held.probability, right[present]),
        brier_before=brier_score(plain[present], right[present]),
        brier_after=held.brier,
        bins_before=reliability_bins(plain[present], right[present]),
        bins_after=reliability_bins(held.probability, right[present]),
        chosen_on=None if threshold is None else _rejection(evidence >= threshold, right, present),
        held_out=None
        if threshold is None
        else _rejection(unseen >= unseen_thresholds, right, present),
        curve=_curve(unseen, present),
        curve_of_scores=_curve(unseen_scores, present),
    )


def _columns(
    answers: Sequence[ScoredAnswer], iou: float
) -> tuple[FloatArray, BoolArray, BoolArray, NDArray[np.str_]]:
    """Each answer's raw score, whether its sentence is present, whether it is right, its video."""
    raw = np.array([one.raw for one in answers], dtype=np.float64)
    present = np.array([one.present for one in answers], dtype=bool)
    right = present & np.array([one.overlap >= iou for one in answers], dtype=bool)
    if present.sum() < MINIMUM_ANSWERS:
        raise CalibrationError(
            f"{int(present.sum())} sentences that are in their video are too few; "
            f"at least {MINIMUM_ANSWERS} are needed",
            remedy="Label more moments; a few hundred make a score worth trusting",
        )
    return raw, present, right, np.array([one.video for one in answers])


def _margins(answers: Sequence[ScoredAnswer]) -> FloatArray | None:
    found = [one.margin for one in answers if one.margin is not None]
    return np.array(found, dtype=np.float64) if len(found) == len(answers) else None


def _curve(evidence: FloatArray, present: BoolArray) -> RejectionCurve | None:
    return rejection_curve(evidence[present], evidence[~present]) if (~present).any() else None


def _choose_threshold(
    evidence: FloatArray, right: BoolArray, present: BoolArray, target: Target
) -> float | None:
    if target.kind == "never":
        return None
    if target.kind == "keep":
        return threshold_that_keeps(evidence[present], share=target.share)
    return threshold_for_precision(
        evidence, right, precision=target.share, minimum=MINIMUM_ANSWERS // 2
    )


def _unseen_scores(
    raw: FloatArray, right: BoolArray, present: BoolArray, fold: NDArray[np.int64], method: Method
) -> FloatArray:
    """Each answer's probability, from a map that was fitted on other videos."""
    stated = np.full(len(raw), math.nan)
    for index in range(int(fold.max()) + 1):
        held, seen = fold == index, (fold != index) & present
        stated[held] = probabilities(raw[held], fit(raw[seen], right[seen], method=method))
    return stated


def _unseen_thresholds(
    evidence: FloatArray,
    right: BoolArray,
    present: BoolArray,
    fold: NDArray[np.int64],
    target: Target,
) -> FloatArray:
    """Each answer's threshold, chosen on other videos."""
    thresholds = np.full(len(evidence), -math.inf)
    for index in range(int(fold.max()) + 1):
        held, seen = fold == index, fold != index
        chosen = _choose_threshold(evidence[seen], right[seen], present[seen], target)
        if chosen is not None:
            thresholds[held] = chosen
    return thresholds


def _rejection(answered: BoolArray, right: BoolArray, present: BoolArray) -> Rejection:
    absent = ~present
    return Rejection(
        kept=float(answered[present].mean()),
        rejected=float((~answered[absent]).mean()) if absent.any() else math.nan,
        precision=float(right[answered].mean()) if answered.any() else math.nan,
    )
