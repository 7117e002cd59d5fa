"""The search keeps few islands, and only measured sets."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtloc_calibration.quantize.island_search import (
    AnswerDrift,
    Effect,
    Measure,
    ParityBounds,
    choose_islands,
    rank,
)
from vtloc_export.parity.measures import Bound, Difference


def difference(relative_l2: float) -> Difference:
    return Difference(1.0, 0.1, 1 - relative_l2**2 / 2, relative_l2, -1.0, 1.0)


def adding(costs: dict[str, float]) -> Measure:
    """Errors of modules add up as independent noise does."""

    def measure(lowered: frozenset[str]) -> Effect:
        total = math.sqrt(sum(costs[module] ** 2 for module in lowered))
        return Effect({"features": difference(total)})

    return measure


BOUNDS = ParityBounds(Bound(relative_l2=0.1, cosine=0.9))
COSTS = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=2), st.floats(0, 0.3), min_size=1, max_size=12
)


@given(COSTS)
def test_the_bounds_hold_and_no_island_is_needless(costs: dict[str, float]) -> None:
    measure = adding(costs)
    ranked = [one.module for one in rank(list(costs), measure)]
    choice = choose_islands(ranked, measure, BOUNDS)
    assert choice.holds
    assert BOUNDS.broken_by(measure(choice.lowered)) is None
    assert choice.lowered | set(choice.islands) == set(costs)
    assert not choice.lowered & set(choice.islands)
    for island in choice.islands:
        assert BOUNDS.broken_by(measure(choice.lowered | {island})) is not None


def test_one_bad_module_is_the_only_island() -> None:
    costs = {"stem": 0.02, "blocks.0": 0.5, "blocks.1": 0.03, "head": 0.01}
    measure = adding(costs)
    ranked = rank(list(costs), measure)
    assert [one.module for one in ranked] == ["blocks.0", "blocks.1", "stem", "head"]
    assert ranked[1].alone.relative_l2 == pytest.approx(0.03)
    assert ranked[1].together.relative_l2 == pytest.approx(math.sqrt(0.0014))
    choice = choose_islands([one.module for one in ranked], measure, BOUNDS)
    assert choice.islands == ("blocks.0",)
    assert choice.reason is not None
    assert "above 0.1" in choice.reason


def test_nothing_is_an_island_where_everything_may_be_lowered() -> None:
    choice = choose_islands(["a", "b"], adding({"a": 0.01, "b": 0.01}), BOUNDS)
    assert choice.islands == ()
    assert choice.reason is None


def test_bounds_that_nothing_holds_are_said_not_to_hold() -> None:
    def broken(lowered: frozenset[str]) -> Effect:
        return Effect({"features": difference(0.5)})

    choice = choose_islands(["a", "b"], broken, BOUNDS)
    assert choice.islands == ("a", "b")
    assert not choice.holds


def test_answers_have_bounds_of_their_own() -> None:
    bounds = ParityBounds(Bound(1.0, 0.0), moved=0.01, task=0.01)
    tensors = {"features": difference(0.0)}
    assert bounds.broken_by(Effect(tensors)) is None
    moved = bounds.broken_by(Effect(tensors, AnswerDrift(200, 0.02, 0.99)))
    assert moved is not None
    assert "2.0% of answers move" in moved
    worse = bounds.broken_by(Effect(tensors, AnswerDrift(200, 0.0, 1.0, 0.0, 0.02)))
    assert worse is not None
    assert "mIoU falls by 2.0%" in worse
    missed = bounds.broken_by(Effect(tensors, AnswerDrift(200, 0.0, 1.0, 0.015, 0.0)))
    assert missed is not None
    assert "R@0.5 falls" in missed


def test_one_sentence_may_change_sides() -> None:
    bounds = ParityBounds(Bound(1.0, 0.0), task=0.01)
    assert bounds.broken_by(Effect({}, AnswerDrift(20, 0.05, 0.95, 1 / 20, 0.0))) is None
    assert bounds.broken_by(Effect({}, AnswerDrift(20, 0.1, 0.9, 2 / 20, 0.0))) is not None


def test_an_overflow_ranks_first() -> None:
    def measure(lowered: frozenset[str]) -> Effect:
        return Effect({"features": difference(math.nan if "b" in lowered else 0.001)})

    assert rank(["a", "b", "c"], measure)[0].module == "b"
