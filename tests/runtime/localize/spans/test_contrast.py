"""How clearly spans stand out: against numpy's correlation, and what they may not bridge."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vtloc_runtime.localize.spans.contrast import MATCHING, Contrast
from vtloc_runtime.localize.spans.decoding import combined, similarity


@settings(max_examples=100, deadline=None)
@given(st.integers(3, 30), st.integers(0, 2**16))
def test_it_is_the_correlation_with_the_span(length: int, seed: int) -> None:
    curve = np.random.default_rng(seed).normal(size=length)
    contrast = Contrast(curve, longest=length)
    for first in range(length):
        for stop in range(first + 1, length + 1):
            inside = np.zeros(length)
            inside[first:stop] = 1
            whole = stop - first == length
            expected = 0.0 if whole else float(np.corrcoef(inside, curve)[0, 1])
            (found,) = contrast(np.array([first]), np.array([stop]))
            assert found == pytest.approx(expected, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 40), st.integers(0, 2**16))
def test_only_spans_whose_pieces_all_match_count(length: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    curve = chance.normal(size=length)
    inner = np.flatnonzero(chance.random(length - 1) < 0.4) + 1
    edges = np.array([0, *inner, length])
    contrast = Contrast(curve, longest=length, boundaries=edges)
    plain = Contrast(curve, longest=length)
    for low in range(len(edges) - 1):
        for high in range(low + 1, len(edges)):
            first, stop = edges[low : low + 1], edges[high : high + 1]
            outside = np.delete(curve, np.arange(edges[low], edges[high]))
            rest = outside.mean() if len(outside) else 0.0
            pieces = [curve[edges[at] : edges[at + 1]].mean() for at in range(low, high)]
            level = rest + MATCHING * (max(pieces) - rest)
            if abs(min(pieces) - level) < 1e-9 or not len(outside):
                continue
            found = contrast(first, stop)[0]
            assert np.isneginf(found) == (min(pieces) < level)
            if not np.isneginf(found):
                assert found == plain(first, stop)[0]


def test_no_span_takes_in_a_neighbour_that_hardly_matches() -> None:
    lengths = [30, 5, 12, 30]
    curve = np.repeat([0.0, 0.6, 0.27, 0.0], lengths)
    curve = curve + 0.01 * np.random.default_rng(0).normal(size=len(curve))
    edges = np.concatenate([[0], np.cumsum(lengths)])
    best, second = similarity(curve, boundaries=edges, count=2)
    assert (best.start, best.end) == (30, 34)
    assert (second.start, second.end) == (35, 46)


def test_no_span_bridges_what_does_not_match() -> None:
    """Two occurrences and a little of something else between them: the nearest of the two."""
    lengths = [30, 12, 4, 12, 30]
    curve = np.repeat([0.1, 0.9, 0.2, 0.9, 0.1], lengths)
    curve = curve + 0.01 * np.random.default_rng(0).normal(size=len(curve))
    edges = np.concatenate([[0], np.cumsum(lengths)])
    bridged = similarity(curve, count=2)[0]
    assert (bridged.start, bridged.end) == (30, 57)
    apart = similarity(curve, boundaries=edges, count=5)
    assert sorted((span.start, span.end) for span in apart) == [(30, 41), (46, 57)]
    silent = np.zeros(len(curve))
    weighed = combined(silent, silent, curve, weight=12.0, boundaries=edges, count=5)
    assert sorted((span.start, span.end) for span in weighed) == [(30, 41), (46, 57)]


def test_pieces_are_those_of_a_timeline() -> None:
    curve = np.arange(200.0)
    edges = np.arange(0, 201, 10)
    assert Contrast(curve, longest=200, boundaries=edges).pieces == 20
    assert Contrast(curve, longest=50, boundaries=edges).pieces == 5
    assert Contrast(curve, longest=4, boundaries=edges[[0, -1]]).pieces == 1
    assert Contrast(curve, longest=50).pieces == 1
