"""The learning rate of each step."""

from __future__ import annotations

import pytest

from vtloc.training.config import Schedule
from vtloc.training.learning_rate import learning_rate


def rates(schedule: Schedule, *, warmup_steps: int) -> list[float]:
    return [
        learning_rate(step, 100, highest=2.0, warmup_steps=warmup_steps, schedule=schedule)
        for step in range(101)
    ]


def test_a_constant_rate_is_the_highest_from_the_end_of_the_warm_up() -> None:
    assert rates("constant", warmup_steps=4) == [0.5, 1.0, 1.5] + [2.0] * 98
    assert rates("constant", warmup_steps=0) == [2.0] * 101


def test_a_cosine_warms_up_and_falls_to_zero() -> None:
    found = rates("cosine", warmup_steps=4)
    assert found[0] == 0.5
    assert max(found) in (found[3], found[4])
    assert found[50] == pytest.approx(1.0)
    assert found[100] == pytest.approx(0)
