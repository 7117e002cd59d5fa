"""Recall, mean IoU and average precision: by hand, by rule, and as published."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtloc.annotations import read_split
from vtloc.annotations.examples import Example
from vtloc.errors import AnnotationError
from vtloc.evaluation import (
    average_precision,
    best_constant_window,
    constant_window,
    score,
    whole_video,
)
from vtloc_runtime.localize.spans.moments import Moment


def moment(start: float, end: float, sure: float = 1.0) -> Moment:
    return Moment(start, end, sure)


times = st.tuples(st.floats(0, 50), st.floats(0.5, 50)).map(lambda t: moment(t[0], t[0] + t[1]))


def test_scores_by_hand() -> None:
    pairs = [
        ([moment(0, 10)], [moment(0, 10)]),  # IoU 1
        ([moment(0, 10)], [moment(5, 15), moment(0, 9)]),  # 1/3, then 0.9
        ([moment(0, 10), moment(20, 30)], [moment(20, 25)]),  # best of two: 0.5
        ([moment(0, 10)], []),  # no answer
    ]
    scores = score(pairs, thresholds=(0.3, 0.5, 0.7))
    assert scores.queries == 4
    assert scores.recall[1, 0.3] == 75
    assert scores.recall[1, 0.5] == 50
    assert scores.recall[1, 0.7] == 25
    assert scores.recall[5, 0.7] == 50
    assert scores.mean_iou == pytest.approx(100 * (1 + 1 / 3 + 0.5) / 4)


def test_an_iou_equal_to_the_threshold_is_a_hit_unless_strict() -> None:
    pairs = [([moment(0, 10)], [moment(0, 5)])]
    assert score(pairs).recall[1, 0.5] == 100
    assert score(pairs, strict=True).recall[1, 0.5] == 0


@given(st.lists(st.tuples(times, st.lists(times, max_size=6)), min_size=1, max_size=8))
def test_recall_grows_with_rank_and_falls_with_the_threshold(cases) -> None:
    recall = score([([truth], answer) for truth, answer in cases]).recall
    assert recall[1, 0.1] >= recall[1, 0.3] >= recall[1, 0.5] >= recall[1, 0.7]
    assert all(recall[5, threshold] >= recall[1, threshold] for threshold in (0.1, 0.5, 0.7))


@given(st.lists(times, min_size=1, max_size=5, unique=True))
def test_the_truth_itself_scores_everything(truth) -> None:
    scores = score([(truth, truth)], precision=True)
    assert scores.mean_iou == pytest.approx(100)
    assert set(scores.recall.values()) == {100}
    assert scores.mean_average_precision == pytest.approx(100)


def test_queries_without_labels_cannot_be_judged() -> None:
    with pytest.raises(AnnotationError, match="without labels"):
        score([([], [moment(0, 1)])])
    with pytest.raises(AnnotationError, match="no query"):
        score([])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        # Both found, in the first two places.
        ([(0, 10, 0.9), (20, 30, 0.8)], 1.0),
        # A wrong one first: precision 1/2 and 2/3, made monotone: 2/3 over all recall.
        ([(50, 60, 0.9), (0, 10, 0.8), (20, 30, 0.7)], 2 / 3),
        # One of two found at once: half the recall at precision one.
        ([(0, 10, 0.9)], 0.5),
        # The same moment claimed twice counts once.
        ([(0, 10, 0.9), (0, 9, 0.8), (20, 30, 0.7)], 0.5 * 1 + 0.5 * 2 / 3),
        # Scores, not places, decide the order.
        ([(50, 60, 0.1), (0, 10, 0.8), (20, 30, 0.7)], 1.0),
        # Only the ten best count.
        ([*[(90, 91, 0.9)] * 10, (0, 10, 0.8)], 0.0),
        ([], 0.0),
    ],
)
def test_average_precision_by_hand(answer, expected: float) -> None:
    truth = [moment(0, 10), moment(20, 30)]
    found = average_precision(truth, [moment(*entry) for entry in answer], 0.5)
    assert found == pytest.approx(expected)


def test_a_moment_claims_the_truth_it_overlaps_most() -> None:
    truth = [moment(0, 10), moment(2, 12)]
    found = average_precision(truth, [moment(2, 12, 0.9), moment(0, 10, 0.8)], 0.5)
    assert found == pytest.approx(1.0)


def test_the_constant_window_is_the_one_that_hits_most() -> None:
    examples = [Example(str(i), "v", 10.0, "q", (moment(4, 8),)) for i in range(3)] + [
        Example("3", "v", 20.0, "q", (moment(0, 2),))
    ]
    assert best_constant_window(examples) == pytest.approx((0.4, 0.8))
    assert constant_window(examples[3], (0.4, 0.8)) == (moment(8, 16),)


GOLDEN = [
    ("val_1", [42.87, 22.74, 11.39], 32.29),
    ("val_2", [48.02, 21.21, 12.41], 34.57),
]


@pytest.mark.media
@pytest.mark.parametrize(("split", "recall", "mean"), GOLDEN)
def test_the_whole_video_scores_as_published(
    media: Path, split: str, recall: list[float], mean: float
) -> None:
    examples = read_split(media / f"annotations/activitynet_captions/{split}.json").examples
    scores = score((example.moments, whole_video(example)) for example in examples)
    found = [scores.recall[1, threshold] for threshold in (0.3, 0.5, 0.7)]
    assert [round(value, 2) for value in found] == recall
    assert round(scores.mean_iou, 2) == mean


@pytest.mark.media
def test_the_constant_window_scores_as_published(media: Path) -> None:
    folder = media / "annotations/activitynet_captions"
    window = best_constant_window(read_split(folder / "train.json").examples)
    assert window == (0.30, 0.95)
    examples = read_split(folder / "val_1.json").examples
    scores = score((example.moments, constant_window(example, window)) for example in examples)
    found = [scores.recall[1, threshold] for threshold in (0.3, 0.5, 0.7)]
    assert [round(value, 2) for value in found] == [40.66, 27.39, 10.02]
    assert round(scores.mean_iou, 2) == 28.60
