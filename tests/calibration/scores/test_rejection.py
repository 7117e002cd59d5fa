"""A threshold keeps its promise on the answers that it was chosen on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtloc_calibration.errors import CalibrationError
from vtloc_calibration.scores.rejection import (
    rejection_curve,
    threshold_for_precision,
    threshold_that_keeps,
)

SCORES = st.lists(st.floats(0, 1).map(lambda value: round(value, 3)), min_size=1, max_size=60)


@given(SCORES, st.floats(0.01, 1))
def test_the_share_to_keep_is_kept(scores: list[float], share: float) -> None:
    threshold = threshold_that_keeps(scores, share=share)
    kept = np.mean(np.array(scores) >= threshold)
    assert kept >= share - 1e-9


@given(SCORES, st.floats(0.01, 1))
def test_no_higher_threshold_keeps_the_share(scores: list[float], share: float) -> None:
    threshold = threshold_that_keeps(scores, share=share)
    values = np.array(scores)
    lowest_kept = values[values >= threshold].min()
    assert np.mean(values > lowest_kept) < share


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1), st.floats(0.01, 1))
def test_the_precision_asked_for_is_held_or_refused(
    answers: list[tuple[int, bool]], precision: float
) -> None:
    scores = np.array([score / 20 for score, _ in answers])
    right = np.array([label for _, label in answers])
    reachable = [np.mean(right[scores >= one]) for one in scores]
    if max(reachable) < precision - 1e-12:
        with pytest.raises(CalibrationError, match="the best is"):
            threshold_for_precision(scores, right, precision=precision)
        return
    threshold = threshold_for_precision(scores, right, precision=precision)
    kept = scores >= threshold
    assert right[kept].mean() >= precision - 1e-9
    # And no lower threshold would have done, so that nothing is turned away for nothing.
    for lower in scores[scores < threshold]:
        assert right[scores >= lower].mean() < precision


@given(SCORES, SCORES)
def test_the_curve_says_what_each_threshold_does(present: list[float], absent: list[float]) -> None:
    curve = rejection_curve(present, absent)
    assert curve.kept[0] == 1
    assert curve.rejected[0] == 0
    assert curve.kept[-1] == 0
    assert curve.rejected[-1] == 1
    for threshold in [0.0, 0.25, 0.5, 1.0]:
        assert curve.at(threshold) == pytest.approx(
            (np.mean(np.array(present) >= threshold), np.mean(np.array(absent) < threshold))
        )


@given(SCORES, SCORES)
def test_the_area_is_the_chance_that_a_present_sentence_scores_higher(
    present: list[float], absent: list[float]
) -> None:
    pairs = np.sign(np.array(present)[:, None] - np.array(absent)[None])
    assert rejection_curve(present, absent).area == pytest.approx((pairs.mean() + 1) / 2)


def test_a_threshold_lies_between_scores_so_that_rounding_changes_nothing() -> None:
    assert threshold_that_keeps([0.2, 0.4, 0.6], share=0.6) == pytest.approx(0.3)
    assert threshold_for_precision(
        [0.2, 0.4, 0.6], [False, True, True], precision=1.0
    ) == pytest.approx(0.3)


@pytest.mark.parametrize("share", [0, -1, 1.1])
def test_impossible_shares_are_refused(share: float) -> None:
    with pytest.raises(CalibrationError, match="share"):
        threshold_that_keeps([0.5], share=share)
    with pytest.raises(CalibrationError, match="impossible"):
        threshold_for_precision([0.5], [True], precision=share)


def test_a_kind_without_sentences_is_refused() -> None:
    with pytest.raises(CalibrationError, match="no absent"):
        rejection_curve([0.5], [])
