"""Trained boundaries and the curve of cosines, weighed together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vtloc_runtime.errors import NetworkError
from vtloc_runtime.localize.spans.decoding import combined, decode, joint

rows = st.integers(1, 14).flatmap(
    lambda length: st.tuples(
        *[st.lists(st.floats(-4, 4, width=32), min_size=length, max_size=length) for _ in range(3)]
    )
)


def correlation(curve, first, last):
    """Pearson's correlation with the span's indicator, 0 where either is constant."""
    inside = np.zeros(len(curve))
    inside[first : last + 1] = 1
    if np.ptp(inside) == 0 or np.ptp(curve) <= 1e-6:
        return 0.0
    return np.corrcoef(curve, inside)[0, 1]


@settings(max_examples=200, deadline=None)
@given(rows=rows, weight=st.sampled_from([0.5, 3.0, 8.0]))
def test_the_best_span_is_the_best_of_all(rows, weight):
    starts, ends, curve = (np.array(row) for row in rows)
    if 0 < np.ptp(curve) < 1e-3:
        return
    span = combined(starts, ends, curve, weight=weight)[0]

    def worth(first, last):
        return starts[first] + ends[last] + weight * correlation(curve, first, last)

    best = max(
        worth(first, last) for first in range(len(curve)) for last in range(first, len(curve))
    )
    found = worth(int(span.start), int(span.end))
    assert found == pytest.approx(best, abs=1e-6)
    assert 0 <= span.score <= 1


@settings(deadline=None)
@given(rows=rows)
def test_several_spans_keep_apart_and_fall_in_score(rows):
    starts, ends, curve = rows
    spans = combined(starts, ends, curve, weight=4.0, count=4)
    assert 1 <= len(spans) <= 4
    scores = [span.score for span in spans]
    assert scores == sorted(scores, reverse=True)
    for index, one in enumerate(spans):
        assert all(one.end < other.start or one.start > other.end for other in spans[:index])


@settings(deadline=None)
@given(rows=rows)
def test_without_weight_it_is_joint(rows):
    starts, ends, curve = rows
    one, other = combined(starts, ends, curve, weight=0.0)[0], joint(starts, ends)[0]
    assert one.score == pytest.approx(other.score)


def test_the_curve_decides_where_boundaries_cannot():
    logits = np.zeros(12)
    curve = [0.0] * 4 + [1.0] * 3 + [0.0] * 5
    span = decode("combined", logits, logits, curve=curve)[0]
    assert (span.start, span.end) == (4, 6)


@pytest.mark.parametrize(("step", "first"), [(40, 30), (4, 10)])
def test_the_curve_outweighs_boundaries_in_a_video_of_many_pieces(step, first):
    """The curve stands out more at the first of two stretches, the network prefers the second."""
    curve = np.repeat([0.0, 1.0, 0.3, 0.7, 0.0], [10, 10, 10, 10, 40])
    starts, ends = np.full(80, -6.0), np.full(80, -6.0)
    starts[30] = ends[39] = 0.0
    edges = np.array([0, 10, 20, 30, *range(40, 81, step)])
    span = combined(starts, ends, curve, weight=6.0, boundaries=edges)[0]
    assert (span.start, span.end) == (first, first + 9)


def test_it_needs_a_shared_space():
    with pytest.raises(NetworkError, match="share"):
        decode("combined", [0.0], [0.0])
