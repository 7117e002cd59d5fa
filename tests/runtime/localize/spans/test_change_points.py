"""Where a video changes, against an independent program and on films of known scenes."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest
import ruptures
from hypothesis import given, settings
from hypothesis import strategies as st

from vtloc_runtime.bundle.manifest import SharedSpace
from vtloc_runtime.localize.spans import change_points as module
from vtloc_runtime.localize.spans.change_points import change_points


def scenes(*lengths: int, noise: float = 0.05, seed: int = 0) -> np.ndarray:
    """Frames of scenes that look nothing like each other."""
    chance = np.random.default_rng(seed)
    places = np.repeat(np.eye(len(lengths), 96), lengths, axis=0)
    return (places + noise * chance.normal(size=places.shape)).astype(np.float32)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(2, 30), min_size=1, max_size=8), st.integers(0, 99))
def test_they_are_where_scenes_change(lengths: list[int], seed: int) -> None:
    found = change_points(scenes(*lengths, seed=seed))
    assert found.tolist() == [0, *np.cumsum(lengths)]


@pytest.mark.parametrize("length", [1, 2, 127, 128, 129, 500])
def test_a_scene_that_stays_is_one_piece_whatever_its_noise(length: int) -> None:
    for noise in (0.0, 0.05, 1.0):
        assert change_points(scenes(length, noise=noise)).tolist() == [0, length]


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 60), st.integers(0, 1000))
def test_the_pieces_are_the_cheapest_of_all(length: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    rows = np.cumsum(chance.normal(size=(length, 5)), axis=0) + chance.normal(size=(length, 5))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    price = module.PRICE * np.mean(np.square(np.diff(unit, axis=0)).sum(axis=1)) / 2
    oracle = ruptures.Pelt(model="l2", min_size=1, jump=1).fit(unit).predict(pen=price)
    expected, found = np.array([0, *oracle]), change_points(rows)

    def cost(cuts: np.ndarray) -> float:
        pieces = [unit[low:high] for low, high in pairwise(cuts)]
        return price * len(pieces) + sum(((p - p.mean(axis=0)) ** 2).sum() for p in pieces)

    assert cost(found) <= cost(expected) + 1e-3


def test_windows_change_no_cut_of_a_long_film() -> None:
    lengths = np.random.default_rng(1).integers(3, 40, size=60)
    rows = np.concatenate([scenes(*part, seed=i) for i, part in enumerate(lengths.reshape(10, 6))])
    assert change_points(rows).tolist() == [0, *np.cumsum(lengths)]


def test_only_the_shared_columns_count() -> None:
    rows = scenes(6, 9)
    blind = np.concatenate([np.random.default_rng(0).normal(size=(15, 8)), rows], axis=1)
    found = change_points(blind, SharedSpace(start=8, stop=8 + rows.shape[1]))
    assert found.tolist() == [0, 6, 15]


def test_the_work_grows_with_the_length_alone() -> None:
    """Eight times the frames: near eight times the time, where a whole table would take 64."""
    rows = np.tile(scenes(*[20] * 24), (20, 1))
    taken = []
    for length in (len(rows) // 8, len(rows)):
        least = np.inf
        for _ in range(5):
            began = time.thread_time()
            change_points(rows[:length])
            least = min(least, time.thread_time() - began)
        taken.append(least)
    assert taken[1] < 32 * taken[0]
