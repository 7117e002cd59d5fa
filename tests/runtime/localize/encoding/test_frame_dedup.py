"""Frames that share features: noise does not matter, whatever else happens does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vtloc_runtime.batch.results.fingerprint import run_fingerprint
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.localize.encoding.frame_dedup import (
    DEFAULT_REUSE,
    FrameDeduplicator,
    block_differences,
)
from vtloc_runtime.networks.load import Placement

SIDE = 64
Images = list[NDArray[np.uint8]]


def still(noise: float, count: int, seed: int = 0) -> Images:
    """A still picture as a camera with some noise sees it again and again."""
    chance = np.random.default_rng(seed)
    picture = chance.integers(60, 200, (SIDE, SIDE, 3))
    seen = [picture + chance.normal(0, noise, picture.shape) for _ in range(count)]
    return [np.clip(np.round(frame), 0, 255).astype(np.uint8) for frame in seen]


def encoded(images: Images, most: float = DEFAULT_REUSE) -> list[int]:
    reuse = FrameDeduplicator(most)
    return [index for index, image in enumerate(images) if reuse.is_new(image)]


def test_a_still_picture_is_encoded_once() -> None:
    assert encoded(still(0, 50)) == [0]


def test_noise_is_not_taken_for_change_once_it_is_known() -> None:
    assert max(encoded(still(0.5, 50))) < 8


def test_nothing_is_trusted_to_be_noise_beyond_the_bound() -> None:
    assert encoded(still(8, 50)) == list(range(50))


@pytest.mark.parametrize("noise", [0, 0.5])
def test_something_small_that_enters_is_seen(noise: float) -> None:
    images = still(noise, 40)
    images[25][10:18, 40:48] = 255 - images[25][10:18, 40:48]
    assert {25, 26} <= set(encoded(images))


def test_slow_changes_do_not_add_up() -> None:
    picture = np.full((SIDE, SIDE, 3), 100, dtype=np.float64)
    images = [np.round(picture + 0.3 * step).astype(np.uint8) for step in range(100)]
    starts = encoded(images)
    for index, image in enumerate(images):
        source = max(start for start in starts if start <= index)
        assert np.abs(image.astype(int) - images[source]).max() <= DEFAULT_REUSE


def test_exactly_equal_frames_share_and_no_others_where_none_may_differ() -> None:
    images = still(0, 5)
    images[2] = images[2].copy()
    images[2][0, 0, 0] ^= 1
    assert encoded(images, most=0) == [0, 2, 3]


def test_a_picture_of_another_size_is_new() -> None:
    assert encoded([*still(0, 2), np.zeros((32, 32, 3), dtype=np.uint8)]) == [0, 2]


def test_what_is_remembered_outlives_the_chunk_that_it_came_in() -> None:
    chunk = np.stack(still(0, 3))
    reuse = FrameDeduplicator()
    assert reuse.is_new(chunk[0])
    assert not reuse.is_new(chunk[1])
    reuse.release()
    chunk[:2] = 0
    assert not reuse.is_new(chunk[2])


def test_what_is_shared_is_part_of_a_runs_identity(colour_bundle: Path) -> None:
    bundle = Bundle.open(colour_bundle)

    def identity(reuse: float) -> str:
        return run_fingerprint(
            bundle,
            Placement.choose(bundle),
            decoding=None,
            moments=1,
            reuse=reuse,
        )

    assert len({identity(0), identity(1), identity(DEFAULT_REUSE)}) == 3


@given(st.integers(1, 50), st.integers(0, 2**16))
def test_block_differences_are_means_of_blocks_of_sixteen(side: int, seed: int) -> None:
    one, other = np.random.default_rng(seed).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    found = block_differences(one, other)
    apart = np.abs(one.astype(int) - other)
    for row in range(found.shape[0]):
        for column in range(found.shape[1]):
            block = apart[16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
            assert found[row, column] == pytest.approx(block.mean())
