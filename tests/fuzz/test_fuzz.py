"""Nothing but errors of vtloc comes out of damaged and hostile files, in time and in bounds."""

from __future__ import annotations

import collections
from pathlib import Path
from random import Random

import pytest

from tests.fuzz.campaign import fuzz
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_else_comes_out(name: str) -> None:
    target = TARGETS[name]
    (seen,) = collections.deque(fuzz(target, range(target.count), known=True), maxlen=1)
    assert not seen.findings, "\n".join(map(str, seen.findings))
    # The target reaches what lies behind the first check, and damage is noticed.
    assert seen.counts["accepted"] > seen.tried // 50
    assert seen.counts["refused"] > seen.tried // 50
    assert seen.tried > target.count


@pytest.mark.parametrize("name", TARGETS)
def test_a_number_makes_the_same_input_each_time(name: str, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    target = TARGETS[name](tmp_path / "one")
    try:
        for number in range(5):
            first, second = (target.make(Random(f"{name} {number}")) for _ in range(2))
            assert first == second
        assert len({target.make(Random(number)) for number in range(40)}) > 20
        for good in target.good():
            target.run(good)
    finally:
        target.close()
