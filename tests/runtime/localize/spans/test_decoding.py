"""Decoding: every strategy against brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vtloc_runtime.bundle.manifest import DecodingStrategy
from vtloc_runtime.errors import NetworkError
from vtloc_runtime.localize.spans import decoding
from vtloc_runtime.localize.spans.decoding import Span

LENGTHS = st.integers(1, 14)


def rows(count: int) -> st.SearchStrategy[np.ndarray]:
    """``count`` rows of logits over the same 1 to 14 frames."""
    numbers = st.floats(-12, 12, allow_subnormal=False)
    return st.integers(1, 14).flatmap(
        lambda length: hnp.arrays(np.float64, (count, length), elements=numbers)
    )


def greedy(totals: dict[tuple[int, int], float], count: int) -> list[float]:
    """The totals of the best pairs that share no frame, by the plainest program."""
    chosen: list[tuple[int, int]] = []
    while len(chosen) < count:
        free = [p for p in totals if all(p[1] < c[0] or p[0] > c[1] for c in chosen)]
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


@given(rows(2), st.integers(1, 6), LENGTHS)
@settings(max_examples=200)
def test_further_joint_spans_share_no_frame_and_fall_in_score(
    logits: np.ndarray, count: int, longest: int
) -> None:
    # Distinct sums, so that the plain program and the fast one have no ties to break.
    start, end = logits + np.random.default_rng(7).uniform(0, 1e-6, logits.shape)
    totals = {(a, b): start[a] + end[b] for a, b in pairs(len(start)) if b - a < longest}
    spans = decoding.joint(start, end, count=count, longest=longest)
    found = [totals[int(span.start), int(span.end)] for span in spans]
    assert found == greedy(totals, count)
    assert [span.score for span in spans] == sorted((s.score for s in spans), reverse=True)


@given(rows(1), st.integers(1, 5))
@settings(max_examples=200)
def test_similarity_finds_the_spans_that_correlate_best(logits: np.ndarray, count: int) -> None:
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
    spans = decoding.similarity(curve, count=count)
    expected = [max(0.0, total) for total in greedy(totals, count)]
    assert [span.score for span in spans] == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("strategy", ["joint", "argmax", "soft", "similarity", "combined"])
@given(rows(3), st.integers(1, 14), st.integers(1, 4))
@settings(max_examples=60)
def test_no_span_is_longer_than_it_may_be(
    strategy: DecodingStrategy, logits: np.ndarray, longest: int, count: int
) -> None:
    start, end, curve = logits
    for span in decoding.decode(strategy, start, end, curve=curve, longest=longest, count=count):
        assert span.end - span.start <= longest - 1 + 1e-9


def test_a_moment_keeps_its_contrast_however_long_the_video() -> None:
    chance = np.random.default_rng(0)
    moment = 1 + 0.2 * chance.normal(size=12)
    found = []
    for length in (200, 2_000, 20_000):
        curve = 0.2 * chance.normal(size=length)
        curve[100:112] = moment
        (span,) = decoding.similarity(curve, longest=75)
        assert (span.start, span.end) == (100, 111)
        found.append(span.score)
    assert found == pytest.approx([found[0]] * 3, abs=0.02)


def test_what_comes_again_is_answered_by_each_time() -> None:
    curve = np.tile([0.1] * 20 + [0.9] * 6 + [0.2] * 14, 15)
    curve = curve + 0.02 * np.random.default_rng(0).normal(size=len(curve))
    spans = decoding.similarity(curve, longest=75, count=15)
    assert sorted((span.start, span.end) for span in spans) == [
        (20 + 40 * loop, 25 + 40 * loop) for loop in range(15)
    ]


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


def test_long_rows_are_decoded_as_short_ones() -> None:
    start, end = np.random.default_rng(5).normal(size=(2, 40_000))
    (span,) = decoding.joint(start, end, longest=75)
    reach = np.lib.stride_tricks.sliding_window_view(np.append(end, [-np.inf] * 74), 75)
    assert start[int(span.start)] + end[int(span.end)] == (start + reach.max(axis=1)).max()


@pytest.mark.parametrize("strategy", ["joint", "argmax", "soft", "similarity"])
def test_logits_that_are_not_finite_are_refused(strategy: DecodingStrategy) -> None:
    broken = [0.0, math.nan]
    with pytest.raises(NetworkError, match="not finite"):
        decoding.decode(strategy, broken, broken, curve=broken)


def test_no_frame_and_unequal_rows_are_refused() -> None:
    with pytest.raises(NetworkError, match="no frame"):
        decoding.joint([], [])
    with pytest.raises(NetworkError, match="shapes"):
        decoding.joint([1.0], [1.0, 2.0])
    with pytest.raises(NetworkError, match="share"):
        decoding.decode("similarity", [1.0], [1.0])
