"""The closest frame of every film, from half precision, in one pass."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vtloc_runtime.errors import FeatureError
from vtloc_runtime.library.catalogue import Rows
from vtloc_runtime.library.closest import ERROR, closest_cosines
from vtloc_runtime.library.feature_table import pack


def ranges_of(counts: list[int], gaps: list[int]) -> tuple[list[Rows], int]:
    """Ranges of so many rows, each after a gap; and the number of rows in all."""
    ranges, first = [], 0
    for count, gap in zip(counts, gaps, strict=True):
        ranges.append(Rows(first + gap, count, 0))
        first += gap + count
    return ranges, first


@pytest.fixture(params=["numkong", "numpy"], autouse=True)
def multiplier(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What multiplies: the package where it is installed, and NumPy where it is not."""
    name: str = request.param
    if name == "numkong":
        pytest.importorskip("numkong")
    else:
        monkeypatch.setattr("vtloc_runtime.library.closest.find_spec", lambda _name: None)
    return name


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    films=st.lists(st.tuples(st.integers(1, 700), st.sampled_from([0, 0, 5])), min_size=1),
    width=st.integers(1, 40),
    spread=st.sampled_from([1e-6, 1.0, 1e4]),
    seed=st.integers(0, 999),
)
def test_cosines_are_those_of_the_features(
    films: list[tuple[int, int]], width: int, spread: float, seed: int
) -> None:
    chance = np.random.default_rng(seed)
    ranges, total = ranges_of([count for count, _ in films], [gap for _, gap in films])
    features = chance.normal(size=(total, width)) * spread
    features[chance.random(total) < 0.02] = 0
    features[chance.random(features.shape) < 0.05] *= 1e-6
    vectors = chance.normal(size=(3, width))
    chance.shuffle(ranges)
    found = closest_cosines(pack(features), [*ranges, ranges[0]], vectors)
    lengths = np.linalg.norm(features, axis=1)[:, None] * np.linalg.norm(vectors, axis=1)
    cosines = features @ vectors.T / np.where(lengths > 0, lengths, 1)
    for number, rows in enumerate([*ranges, ranges[0]]):
        exact = cosines[rows.first : rows.first + rows.count].max(axis=0)
        assert np.abs(found[:, number] - exact).max() <= ERROR


def test_impossible_cosines_are_damage() -> None:
    table = pack(np.ones((4, 8)))
    table[2] = np.float16(1000)
    with pytest.raises(FeatureError, match="damaged"):
        closest_cosines(table, [Rows(0, 4, 0)], np.ones((1, 8)))
