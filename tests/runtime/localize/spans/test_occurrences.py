"""The best spans that share no frame, against the plainest program."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vtloc_runtime.localize.spans import occurrences
from vtloc_runtime.localize.spans.occurrences import best_spans, even_reach


def plainest(
    values: np.ndarray, edges: list[int], longest: int, count: int
) -> list[tuple[int, int]]:
    """Greedy choice among all spans between edges, listed one by one."""
    spans = {
        (low, high - 1): values[low, high - 1]
        for low in edges
        for high in edges
        if low < high <= low + longest
    }
    chosen: list[tuple[int, int]] = []
    while spans and len(chosen) < count:
        best = max(spans, key=spans.__getitem__)
        chosen.append(best)
        spans = {pair: v for pair, v in spans.items() if pair[1] < best[0] or pair[0] > best[1]}
    return chosen


@settings(max_examples=300, deadline=None)
@given(
    length=st.integers(1, 18),
    longest=st.integers(1, 20),
    count=st.integers(1, 6),
    some=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_they_are_the_best_of_all_spans_that_keep_apart(
    length: int, longest: int, count: int, some: bool, seed: int
) -> None:
    chance = np.random.default_rng(seed)
    values = chance.normal(size=(length, length))
    gaps = chance.integers(1, longest + 1, size=length) if some else np.ones(length, int)
    edges = np.unique(np.minimum(np.concatenate([[0], np.cumsum(gaps)]), length))
    found = best_spans(
        edges,
        lambda first, stop: values[first, stop - 1],
        reach=even_reach(length, longest),
        count=count,
    )
    assert [pair[:2] for pair in found] == plainest(values, edges.tolist(), longest, count)
    assert [pair[2] for pair in found] == [values[first, last] for first, last, _ in found]


@settings(max_examples=200, deadline=None)
@given(
    length=st.integers(1, 40),
    longest=st.integers(1, 40),
    at_once=st.integers(1, 200),
    seed=st.integers(0, 2**16),
)
def test_of_spans_that_are_worth_the_same_the_earliest_and_shortest_is_chosen(
    length: int, longest: int, at_once: int, seed: int
) -> None:
    values = np.random.default_rng(seed).integers(0, 4, size=(length, length)).astype(float)
    values[values == 0] = -np.inf
    with pytest.MonkeyPatch.context() as patch:
        # However many spans are looked at together.
        patch.setattr(occurrences, "_AT_ONCE", at_once)
        found = best_spans(
            np.arange(length + 1),
            lambda first, stop: values[first, stop - 1],
            reach=even_reach(length, longest),
            count=1,
        )
    spans = [(a, b) for a in range(length) for b in range(a, min(a + longest, length))]
    best = max(spans, key=lambda span: values[span])
    assert found == ([] if values[best] == -np.inf else [(*best, values[best])])


@given(length=st.integers(1, 300), longest=st.integers(1, 40))
def test_a_stretch_without_boundaries_is_cut_to_the_longest_span(length: int, longest: int) -> None:
    found = best_spans(
        np.array([0, length]),
        lambda first, stop: (stop - first).astype(float),
        reach=even_reach(length, longest),
        count=1000,
    )
    assert max(last - first + 1 for first, last, _ in found) <= longest
    assert sum(last - first + 1 for first, last, _ in found) == length


def test_spans_worth_nothing_are_never_chosen() -> None:
    found = best_spans(
        np.arange(6),
        lambda first, stop: np.where((first == 2) & (stop == 4), 1.0, -np.inf),
        reach=even_reach(5),
        count=3,
    )
    assert found == [(2, 3, 1.0)]
