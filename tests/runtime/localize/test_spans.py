"""Decoding: every strategy against brute force, and spans to seconds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vtloc_runtime.bundle.manifest import ScoreCalibration
from vtloc_runtime.errors import NetworkError
from vtloc_runtime.localize import spans as decoding
from vtloc_runtime.localize.spans import Span

LIMITS = st.sampled_from([0.0, 0.125, 0.25, 0.5, 0.75, 1.0])


def rows(count: int) -> st.SearchStrategy[np.ndarray]:
    """``count`` rows of logits over the same 1 to 14 frames."""
    numbers = st.floats(-12, 12, allow_subnormal=False)
    return st.integers(1, 14).flatmap(
        lambda length: hnp.arrays(np.float64, (count, length), elements=numbers)
    )


def frame_iou(one: tuple[int, int], other: tuple[int, int]) -> float:
    inside = max(0, min(one[1], other[1]) - max(one[0], other[0]) + 1)
    lengths = (one[1] - one[0] + 1) + (other[1] - other[0] + 1)
    return inside / (lengths - inside)


def greedy(totals: dict[tuple[int, int], float], count: int, limit: float) -> list[float]:
    """The totals of greedy suppression over every pair, by the plainest program."""
    chosen: list[tuple[int, int]] = []
    while len(chosen) < count:
        free = [pair for pair in totals if all(frame_iou(pair, c) <= limit for c in chosen)]
        if not free:
            break
        chosen.append(max(free, key=totals.__getitem__))
    return [totals[pair] for pair in chosen]


def pairs(length: int) -> list[tuple[int, int]]:
    return [(first, last) for first in range(length) for last in range(first, length)]


@given(rows(2))
def test_joint_finds_the_best_ordered_pair(logits: np.ndarray) -> None:
    start, end = logits
    (span,) = decoding.joint(start, end)
    best = max(start[a] + end[b] for a, b in pairs(len(start)))
    assert start[int(span.start)] + end[int(span.end)] == best
    assert span.score == pytest.approx(1 / (1 + math.exp(-best / 2)))


@given(rows(2), st.integers(1, 6), LIMITS)
@settings(max_examples=300)
def test_further_joint_spans_are_greedy_suppression_over_all_pairs(
    logits: np.ndarray, count: int, limit: float
) -> None:
    # Distinct sums, so that the plain program and the fast one have no ties to break.
    start, end = logits + np.random.default_rng(7).uniform(0, 1e-6, logits.shape)
    totals = {(a, b): start[a] + end[b] for a, b in pairs(len(start))}
    spans = decoding.joint(start, end, count=count, overlap=limit)
    found = [totals[int(span.start), int(span.end)] for span in spans]
    assert found == greedy(totals, count, limit)
    assert [span.score for span in spans] == sorted((s.score for s in spans), reverse=True)


@given(rows(1), st.integers(1, 5), LIMITS)
@settings(max_examples=300)
def test_similarity_finds_the_spans_that_correlate_best(
    logits: np.ndarray, count: int, limit: float
) -> None:
    curve = logits[0] + np.random.default_rng(7).uniform(0, 1e-3, logits.shape[1])
    length = len(curve)
    if length < 3:
        return
    totals = {}
    for first, last in pairs(length):
        inside = np.zeros(length)
        inside[first : last + 1] = 1
        whole = last - first + 1 == length
        totals[first, last] = 0.0 if whole else float(np.corrcoef(inside, curve)[0, 1])
    spans = decoding.similarity(curve, count=count, overlap=limit)
    expected = [max(0.0, total) for total in greedy(totals, count, limit)]
    assert [span.score for span in spans] == pytest.approx(expected, abs=1e-7)


def test_similarity_finds_the_raised_stretch_of_a_noisy_curve() -> None:
    curve = np.random.default_rng(3).normal(size=97)
    curve[30:50] += 3
    spans = decoding.similarity(curve, count=4)
    assert (spans[0].start, spans[0].end) == (30, 49)
    assert len(spans) == 4


def test_a_flat_curve_answers_with_the_whole_video_at_no_score() -> None:
    assert decoding.similarity(np.full(6, 0.3)) == (Span(0, 5, 0.0),)
    assert decoding.similarity([0.3]) == (Span(0, 0, 0.0),)


def test_argmax_takes_the_highest_start_and_end() -> None:
    span = decoding.argmax([0.0, 4.0, 1.0, 0.0], [0.0, 1.0, 0.0, 2.0])
    assert (span.start, span.end) == (1, 3)
    assert span.score == pytest.approx(1 / (1 + math.exp(-3)))


def test_argmax_swaps_an_end_before_the_start() -> None:
    span = decoding.argmax([0.0, 0.0, 4.0], [3.0, 0.0, 0.0])
    assert (span.start, span.end) == (0, 2)


@given(rows(2))
def test_soft_is_the_expectation_under_softmax(logits: np.ndarray) -> None:
    places = np.arange(logits.shape[1])
    means = [float(places @ (np.exp(row) / np.exp(row).sum())) for row in logits]
    span = decoding.soft(*logits)
    assert [span.start, span.end] == pytest.approx(sorted(means))
    assert 0 <= span.score <= 1


@given(rows(3), st.sampled_from(["joint", "argmax", "soft", "similarity"]))
def test_padding_frames_change_nothing(logits: np.ndarray, strategy: str) -> None:
    start, end, curve = logits
    mask = np.array([True] * logits.shape[1] + [False] * 3)
    padded = [np.append(row, [50.0, 60.0, 55.0]) for row in logits]
    plain = decoding.decode(strategy, start, end, curve=curve, count=3)
    masked = decoding.decode(strategy, padded[0], padded[1], curve=padded[2], mask=mask, count=3)
    assert masked == plain


def test_long_rows_are_decoded_as_short_ones() -> None:
    start, end = np.random.default_rng(5).normal(size=(2, 40_000))
    (span,) = decoding.joint(start, end)
    reach = np.maximum.accumulate(end[::-1])[::-1]
    assert start[int(span.start)] + end[int(span.end)] == (start + reach).max()


@pytest.mark.parametrize("strategy", ["joint", "argmax", "soft", "similarity"])
def test_logits_that_are_not_finite_are_refused(strategy: str) -> None:
    broken = [0.0, math.nan]
    with pytest.raises(NetworkError, match="not finite"):
        decoding.decode(strategy, broken, broken, curve=broken)


def test_no_frame_and_unequal_rows_are_refused() -> None:
    with pytest.raises(NetworkError, match="no frame"):
        decoding.joint([1.0], [1.0], mask=[False])
    with pytest.raises(NetworkError, match="shapes"):
        decoding.joint([1.0], [1.0, 2.0])
    with pytest.raises(NetworkError, match="share"):
        decoding.decode("similarity", [1.0], [1.0])


def test_a_span_lasts_until_its_last_frame_leaves_the_screen() -> None:
    times = [0.0, 1.0, 2.1, 3.0]
    moments = decoding.to_moments([Span(1, 2, 0.9), Span(3, 3, 0.8)], times, 3.6)
    assert [(m.start, m.end, m.score) for m in moments] == [(1.0, 3.0, 0.9), (3.0, 3.6, 0.8)]


def test_samples_of_one_frame_share_its_whole_time() -> None:
    times = [0.0, 0.0, 0.0, 3.0, 3.0]
    moments = decoding.to_moments([Span(1, 1, 0.5), Span(3, 4, 0.5)], times, 5.5)
    assert [(m.start, m.end) for m in moments] == [(0.0, 3.0), (3.0, 5.5)]


def test_fractions_of_frames_lie_between_their_times() -> None:
    (moment,) = decoding.to_moments([Span(0.5, 1.5, 0.5)], [0.0, 2.0, 4.0], 6.0)
    assert (moment.start, moment.end) == (1.0, 5.0)


@given(
    st.lists(st.floats(0, 100), min_size=1, max_size=12).map(sorted),
    st.floats(0, 120),
    st.data(),
)
def test_moments_stay_in_order_and_in_the_video(
    times: list[float], duration: float, data: st.DataObject
) -> None:
    first = data.draw(st.integers(0, len(times) - 1))
    last = data.draw(st.integers(first, len(times) - 1))
    (moment,) = decoding.to_moments([Span(first, last, 0.5)], times, duration)
    assert 0 <= moment.start <= moment.end <= max(duration, times[-1])


def test_calibration_maps_scores_and_drops_what_is_no_moment() -> None:
    calibration = ScoreCalibration(raw=(0.2, 0.6), probability=(0.1, 0.9), threshold=0.5)
    spans = [Span(0, 0, 0.5), Span(1, 1, 0.3), Span(1, 1, 0.99)]
    moments = decoding.to_moments(spans, [0.0, 1.0], 2.0, calibration=calibration)
    assert [moment.score for moment in moments] == pytest.approx([0.7, 0.9])
