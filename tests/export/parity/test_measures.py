"""Differences between arrays, to the digit."""

from __future__ import annotations

import numpy as np
import pytest

from vtloc_export.parity.measures import BOUNDS, Bound, difference, worst


def test_the_measures_of_a_small_example():
    found = difference(np.array([3.0, 4.5]), np.array([3.0, 4.0]))
    assert found.max_abs == 0.5
    assert found.mean_abs == 0.25
    assert found.relative_l2 == pytest.approx(0.1)
    assert found.cosine == pytest.approx(27 / (5 * np.sqrt(29.25)))
    assert (found.low, found.high) == (0.0, 4.0)


def test_equal_arrays_do_not_differ():
    same = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float16)
    found = difference(same, same)
    assert (found.max_abs, found.relative_l2) == (0, 0)
    assert found.cosine == pytest.approx(1)
    assert difference(np.zeros(3), np.zeros(3)).cosine == 1


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_breaks_every_bound(broken):
    found = difference(np.array([1.0, broken]), np.array([1.0, 2.0]))
    assert all(bound.broken_by(found) for bound in BOUNDS.values())


def test_another_shape_breaks_every_bound():
    found = difference(np.ones((2, 1)), np.ones(2))
    assert all(bound.broken_by(found) for bound in BOUNDS.values())


def test_the_worst_keeps_the_worst_of_each_measure():
    one = difference(np.array([1.0, 2.1]), np.array([1.0, 2.0]))
    two = difference(np.array([9.0, 2.0]), np.array([-9.0, 2.0]))
    both = worst([one, two])
    assert both.max_abs == 18
    assert both.cosine == two.cosine
    assert (both.low, both.high) == (-9.0, 2.0)


def test_a_bound_says_what_broke_it():
    found = difference(np.array([1.0, 1.0]), np.array([1.0, 2.0]))
    assert "relative L2 0.447 is above 0.1" in (Bound(0.1, 0.9).broken_by(found) or "")
    assert "cosine 0.948683 is below 0.99" in (Bound(1.0, 0.99).broken_by(found) or "")
    assert Bound(1.0, 0.9).broken_by(found) is None
